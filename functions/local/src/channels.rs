//! The channels of `recoup serve`, as the environment configures them. A wrong variable stops the start with a message that
//! names it; what a variable says is never repeated.

use std::env::{self, VarError};
use std::sync::Arc;

use recoup_channels::{SLACK_API_URL, SetupError, SlackClient, SlackSettings, SmtpMail};
use recoup_http::{Answering, SlackDoor};
use recoup_store::{Mail, Slack};
use recoup_workflows::notify::{AlertQueue, Channels};

use crate::failure::Failure;

const BOT_TOKEN: &str = "RECOUP_SLACK_BOT_TOKEN";
const WEBHOOK_URL: &str = "RECOUP_SLACK_WEBHOOK_URL";
const SIGNING_SECRET: &str = "RECOUP_SLACK_SIGNING_SECRET";
const API_URL: &str = "RECOUP_SLACK_API_URL";
const SMTP_URL: &str = "RECOUP_SMTP_URL";
const MAIL_FROM: &str = "RECOUP_MAIL_FROM";

/// What is configured.
pub(crate) struct Configured {
    /// What reaches people.
    pub(crate) channels: Channels,
    signing_secret: Option<String>,
    words: String,
}

impl Configured {
    /// What the environment of this process says.
    pub(crate) fn of_process() -> Result<Self, Failure> {
        let mut values = Vec::new();
        for name in [BOT_TOKEN, WEBHOOK_URL, SIGNING_SECRET, API_URL, SMTP_URL, MAIL_FROM] {
            match env::var(name) {
                Ok(value) if !value.trim().is_empty() => values.push((name, value.trim().to_owned())),
                Ok(_) | Err(VarError::NotPresent) => {}
                Err(VarError::NotUnicode(_)) => return Err(wrong(name, "it is not UTF-8")),
            }
        }
        Self::of(|name| values.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone()))
    }

    fn of(variable: impl Fn(&str) -> Option<String>) -> Result<Self, Failure> {
        let (slack, slack_words) = match (variable(BOT_TOKEN), variable(WEBHOOK_URL)) {
            (Some(_), Some(_)) => {
                return Err(wrong(WEBHOOK_URL, &format!("{BOT_TOKEN} is set as well; keep one of them")));
            }
            (Some(token), None) => (Some(bot(token, variable(API_URL))?), "Slack by a bot"),
            (None, Some(url)) => {
                let client = SlackClient::new(SlackSettings::Webhook { url }).map_err(at(WEBHOOK_URL))?;
                (Some(client), "Slack by a webhook, in its one channel")
            }
            (None, None) => (None, ""),
        };
        let signing_secret = variable(SIGNING_SECRET);
        if slack.is_none() && signing_secret.is_some() {
            let detail = format!("it is of no use without {BOT_TOKEN} or {WEBHOOK_URL}");
            return Err(wrong(SIGNING_SECRET, &detail));
        }
        let mail = match (variable(SMTP_URL), variable(MAIL_FROM)) {
            (Some(url), Some(from)) => {
                let sender = SmtpMail::sender(&from).map_err(at(MAIL_FROM))?;
                Some((SmtpMail::new(&url, sender).map_err(at(SMTP_URL))?, from))
            }
            (Some(_), None) => return Err(wrong(MAIL_FROM, &format!("it is missing, and {SMTP_URL} is set"))),
            (None, Some(_)) => return Err(wrong(SMTP_URL, &format!("it is missing, and {MAIL_FROM} is set"))),
            (None, None) => None,
        };
        let mut on = Vec::new();
        let mut off = Vec::new();
        match (&slack, &signing_secret) {
            (Some(_), Some(_)) => on.push(format!("{slack_words}, buttons at /v1/slack/actions")),
            (Some(_), None) => {
                on.push(slack_words.to_owned());
                off.push(format!("Slack's buttons ({SIGNING_SECRET})"));
            }
            (None, _) => off.push(format!("Slack ({BOT_TOKEN} or {WEBHOOK_URL})")),
        }
        match &mail {
            Some((_, from)) => on.push(format!("e-mail from {from}")),
            None => off.push(format!("e-mail ({SMTP_URL})")),
        }
        let on = if on.is_empty() { "nobody but the log".to_owned() } else { on.join("; ") };
        let off = if off.is_empty() { String::new() } else { format!(". Not configured: {}", off.join(", ")) };
        let slack = slack.map(|slack| Arc::new(slack) as Arc<dyn Slack>);
        let mail = mail.map(|(mail, _)| Arc::new(mail) as Arc<dyn Mail>);
        let channels = Channels { slack, mail };
        Ok(Self { channels, signing_secret, words: format!("Alerts go to {on}{off}") })
    }

    /// In one line, without secrets.
    pub(crate) fn words(&self) -> &str {
        &self.words
    }

    /// The door for Slack's buttons, where their signature can be checked.
    pub(crate) fn door(&self, queue: &AlertQueue) -> Option<SlackDoor> {
        let (secret, slack) = (self.signing_secret.as_deref()?, self.channels.slack.clone()?);
        Some(SlackDoor::new(secret, slack, Answering::Queue(queue.clone())))
    }
}

fn bot(token: String, api_url: Option<String>) -> Result<SlackClient, Failure> {
    let settings = |api_url: &str| SlackSettings::Bot { token: token.clone(), api_url: api_url.to_owned() };
    let client = SlackClient::new(settings(SLACK_API_URL)).map_err(at(BOT_TOKEN))?;
    match api_url {
        None => Ok(client),
        Some(api_url) => SlackClient::new(settings(&api_url)).map_err(at(API_URL)),
    }
}

fn wrong(name: &str, detail: &str) -> Failure {
    Failure::usage(format!("the variable {name} cannot be used: {detail}"))
}

fn at(name: &'static str) -> impl Fn(SetupError) -> Failure {
    move |error| wrong(name, &error.to_string())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::{API_URL, BOT_TOKEN, Configured, MAIL_FROM, SIGNING_SECRET, SMTP_URL, WEBHOOK_URL};

    fn configured(variables: &[(&str, &str)]) -> Result<String, String> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Configured::of(variable).map(|found| found.words().to_owned()).map_err(|failure| failure.to_string())
    }

    #[test]
    fn what_is_configured_and_what_not_is_one_line_without_secrets() {
        assert_eq!(
            configured(&[]).unwrap(),
            "Alerts go to nobody but the log. Not configured: Slack (RECOUP_SLACK_BOT_TOKEN or \
             RECOUP_SLACK_WEBHOOK_URL), e-mail (RECOUP_SMTP_URL)"
        );
        let all = [
            (BOT_TOKEN, "xoxb-hush"),
            (SIGNING_SECRET, "hush"),
            (SMTP_URL, "smtps://ana:hush@mail.example.com"),
            (MAIL_FROM, "recoup <recoup@example.com>"),
        ];
        let words = configured(&all).unwrap();
        let expected =
            "Alerts go to Slack by a bot, buttons at /v1/slack/actions; e-mail from recoup <recoup@example.com>";
        assert_eq!(words, expected);
    }

    #[test]
    fn what_is_wrong_is_named_and_not_repeated() {
        let cases: [(&str, &[(&str, &str)]); 9] = [
            (BOT_TOKEN, &[(BOT_TOKEN, "xoxb hush")]),
            (API_URL, &[(BOT_TOKEN, "xoxb-1"), (API_URL, "hush")]),
            (WEBHOOK_URL, &[(WEBHOOK_URL, "hush")]),
            (WEBHOOK_URL, &[(WEBHOOK_URL, "https://a.example/hush"), (BOT_TOKEN, "xoxb-1")]),
            (SIGNING_SECRET, &[(SIGNING_SECRET, "hush")]),
            (MAIL_FROM, &[(SMTP_URL, "smtp://hush")]),
            (MAIL_FROM, &[(SMTP_URL, "smtp://a.example"), (MAIL_FROM, "hush")]),
            (SMTP_URL, &[(SMTP_URL, "http://hush"), (MAIL_FROM, "a@example.com")]),
            (SMTP_URL, &[(SMTP_URL, "smtp://ana:hush@mail.example.com"), (MAIL_FROM, "a@example.com")]),
        ];
        for (name, variables) in cases {
            let said = configured(variables).unwrap_err();
            assert!(said.starts_with(&format!("the variable {name} cannot be used: ")), "{said}");
            assert!(!said.contains("hush"), "{said}");
        }
    }
}
