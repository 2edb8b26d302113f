//! E-mail over SMTP.

use std::error::Error as _;
use std::time::Duration;
use std::{fmt, io};

use async_trait::async_trait;
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::{self, AsyncSmtpTransport};
use lettre::{AsyncTransport as _, Message, Tokio1Executor};
use recoup_store::{ChannelError, Email, Mail};
use reqwest::Url;

use crate::SetupError;

/// How long the server may take for each step.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);
/// Causes of an error that are looked at.
const CAUSES_MAX: usize = 8;
const SERVER: &str = "the mail server";
const SCHEMES: &str = "write smtps://USER:PASSWORD@HOST (TLS), smtp://USER:PASSWORD@HOST:587?tls=required (STARTTLS), or \
                       smtp://HOST:PORT without encryption";

/// A mail server.
pub struct SmtpMail {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

impl fmt::Debug for SmtpMail {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("SmtpMail").finish_non_exhaustive()
    }
}

impl SmtpMail {
    /// A mail server by its URL, and whom e-mail comes from. Nothing is sent.
    ///
    /// # Errors
    /// For an address that cannot be one, without repeating it.
    pub fn new(url: &str, from: Mailbox) -> Result<Self, SetupError> {
        // An error says that it was installed before.
        drop(rustls::crypto::ring::default_provider().install_default());
        check(url)?;
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(url);
        // The error may repeat the address, and with it the password.
        let transport = transport.map_err(|error| match error.is_tls() {
            true => SetupError("TLS cannot be prepared: this machine has no certificates of authorities".to_owned()),
            false => SetupError(format!("it is no address of a mail server; {SCHEMES}")),
        })?;
        Ok(Self { transport: transport.timeout(Some(STEP_TIMEOUT)).build(), from })
    }

    /// Reads whom e-mail comes from.
    ///
    /// # Errors
    /// For what is no address.
    pub fn sender(text: &str) -> Result<Mailbox, SetupError> {
        text.parse().map_err(|_| SetupError("it is no address; write `recoup <recoup@example.com>`".to_owned()))
    }

    fn message(&self, email: &Email) -> Result<Message, ChannelError> {
        let to: Mailbox = email.to.parse().map_err(|_| given_up("the address of the recipient is none"))?;
        let domain = self.from.email.domain();
        Message::builder()
            .from(self.from.clone())
            .to(to)
            .subject(&email.subject)
            .message_id(Some(format!("<{}@{domain}>", email.id)))
            .date_now()
            .multipart(MultiPart::alternative_plain_html(email.text.clone(), email.html.clone()))
            .map_err(|_| given_up("it cannot be written as an e-mail"))
    }
}

#[async_trait]
impl Mail for SmtpMail {
    async fn send(&self, email: &Email) -> Result<(), ChannelError> {
        let message = self.message(email)?;
        self.transport.send(message).await.map(drop).map_err(|error| failed(&error))
    }
}

fn check(url: &str) -> Result<(), SetupError> {
    let wrong = || SetupError(format!("it is no address of a mail server; {SCHEMES}"));
    let parsed = Url::parse(url).map_err(|_| wrong())?;
    let is_known = matches!(parsed.scheme(), "smtp" | "smtps") && parsed.has_host();
    if !is_known {
        return Err(wrong());
    }
    let tls = parsed.query_pairs().find(|(name, _)| name == "tls").map(|(_, value)| value.into_owned());
    if tls.as_deref().is_some_and(|tls| tls != "required") {
        return Err(SetupError(format!("`tls` can be `required` and nothing less; {SCHEMES}")));
    }
    if parsed.password().is_some() && parsed.scheme() == "smtp" && tls.is_none() {
        let is_here = matches!(parsed.host_str(), Some("127.0.0.1" | "localhost" | "[::1]"));
        if !is_here {
            let detail = format!("it would send the password without encryption; {SCHEMES}");
            return Err(SetupError(detail));
        }
    }
    Ok(())
}

fn given_up(word: &str) -> ChannelError {
    ChannelError::GivenUp { service: SERVER, word: word.to_owned() }
}

/// Why an encrypted connection did not come about, where that is the cause.
fn of_tls(error: &smtp::Error) -> Option<&rustls::Error> {
    let mut cause = error.source();
    for _ in 0..CAUSES_MAX {
        let at = cause?;
        // What an I/O error holds is not among its causes.
        let held = at.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let found = held.and_then(|held| held.downcast_ref()).or_else(|| at.downcast_ref());
        if found.is_some() {
            return found;
        }
        cause = at.source();
    }
    None
}

/// What the server says may be repeated; what the client says may name the address.
fn failed(error: &smtp::Error) -> ChannelError {
    let code = error.status().map(|code| code.to_string());
    match code {
        Some(code) if error.is_permanent() => given_up(&code),
        Some(word) => ChannelError::Again { service: SERVER, word, after: None },
        None => {
            let word = if error.is_timeout() {
                "timed out"
            } else if let Some(refused) = of_tls(error) {
                match refused {
                    rustls::Error::InvalidCertificate(_) => "its certificate is not trusted for its name",
                    _ => "no encrypted connection came about",
                }
            } else if error.is_client() {
                "it offers no STARTTLS, or no way to log in"
            } else if error.is_tls() {
                "no encrypted connection came about"
            } else if error.is_response() {
                "it does not speak SMTP as it should"
            } else {
                "the connection broke off or did not come about"
            };
            ChannelError::Again { service: SERVER, word: word.to_owned(), after: None }
        }
    }
}
