//! E-mail through SES, with the text and the page of HTML.

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_sesv2::config::http::HttpResponse;
use aws_sdk_sesv2::error::{BuildError, ProvideErrorMetadata, SdkError};
use aws_sdk_sesv2::operation::send_email::SendEmailError;
use aws_sdk_sesv2::types::{Body, Content, Destination, EmailContent, Message, MessageHeader};
use aws_types::SdkConfig;
use recoup_store::{ChannelError, Email, Mail, causes};

const SES: &str = "SES";
const CHARSET: &str = "UTF-8";
/// The header that names the alert. SES gives each e-mail a `Message-ID` of its own.
const ID_HEADER: &str = "X-Recoup-Alert";
/// How long to leave SES alone when it is asked for too much.
const THROTTLED: Duration = Duration::from_secs(30);
/// Refusals that mean: not now. A right may be missing only until IAM knows of it everywhere.
const PASSING: [&str; 9] = [
    "AccessDenied",
    "AccessDeniedException",
    "ExpiredToken",
    "ExpiredTokenException",
    "LimitExceededException",
    "SendingPausedException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
];
/// Answers of a service that is in trouble itself.
const TROUBLE: std::ops::RangeInclusive<u16> = 500..=599;

/// A sender of SES.
#[derive(Clone, Debug)]
pub struct SesMail {
    client: aws_sdk_sesv2::Client,
    from: String,
}

impl SesMail {
    /// E-mail from an address whose identity SES has verified.
    #[must_use]
    pub fn new(from: impl Into<String>, config: &SdkConfig) -> Self {
        Self { client: aws_sdk_sesv2::Client::new(config), from: from.into() }
    }
}

fn content(text: &str) -> Result<Content, BuildError> {
    Content::builder().data(text).charset(CHARSET).build()
}

fn message(email: &Email) -> Result<Message, BuildError> {
    let body = Body::builder().text(content(&email.text)?).html(content(&email.html)?).build();
    let id = MessageHeader::builder().name(ID_HEADER).value(&email.id).build()?;
    Ok(Message::builder().subject(content(&email.subject)?).body(body).headers(id).build())
}

#[async_trait]
impl Mail for SesMail {
    async fn send(&self, email: &Email) -> Result<(), ChannelError> {
        let message =
            message(email).map_err(|error| ChannelError::GivenUp { service: SES, word: error.to_string() })?;
        let call = self.client.send_email().from_email_address(&self.from);
        let call = call.destination(Destination::builder().to_addresses(&email.to).build());
        let sent = call.content(EmailContent::builder().simple(message).build()).send().await;
        sent.map(drop).map_err(|error| refusal(&error))
    }
}

/// Whatever is not a refusal of SES itself may have been sent, or may be later.
fn refusal(error: &SdkError<SendEmailError, HttpResponse>) -> ChannelError {
    let Some(answer) = error.as_service_error() else {
        return ChannelError::Again { service: SES, word: causes(error), after: None };
    };
    let code = answer.code().unwrap_or("no code");
    let word = answer.message().map_or_else(|| code.to_owned(), |message| format!("{message} ({code})"));
    let in_trouble = error.raw_response().is_some_and(|response| TROUBLE.contains(&response.status().as_u16()));
    if in_trouble || PASSING.contains(&code) {
        return ChannelError::Again { service: SES, word, after: Some(THROTTLED) };
    }
    ChannelError::GivenUp { service: SES, word }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn an_e_mail_has_its_text_its_page_and_its_name() {
        let email = Email {
            to: "ana@example.com".into(),
            subject: "Budget at 90%".into(),
            text: "Spent".into(),
            html: "<p>Spent</p>".into(),
            id: "alr_1".into(),
        };
        let message = message(&email).unwrap();
        let body = message.body().unwrap();
        assert_eq!(body.text().unwrap().data(), "Spent");
        assert_eq!(body.html().unwrap().data(), "<p>Spent</p>");
        assert_eq!(message.headers().iter().map(MessageHeader::value).collect::<Vec<_>>(), ["alr_1"]);
    }
}
