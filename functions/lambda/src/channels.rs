//! The channels of a function: Slack with what a secret holds, e-mail through SES.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_types::SdkConfig;
use recoup_channels::{SLACK_API_URL, SlackClient, SlackSettings};
use recoup_http::{Answering, SlackDoor};
use recoup_store::{Mail, Slack, StoreError};
use recoup_store_aws::{SesMail, read_secret};
use recoup_workflows::notify::Channels;

use crate::context::{Context, Environment, StartError};

/// The ARN of a secret of Secrets Manager, a JSON object with these fields; it may be left out.
const SECRET: &str = "RECOUP_SLACK_SECRET";
/// The token of a bot.
const BOT_TOKEN: &str = "bot_token";
/// The address of an incoming webhook, where there is no bot.
const WEBHOOK_URL: &str = "webhook_url";
/// What Slack signs its requests with.
const SIGNING_SECRET: &str = "signing_secret";
/// The address of Slack's Web API, where it is another one than Slack's own.
const API_URL: &str = "RECOUP_SLACK_API_URL";
/// The sender of e-mail; it may be left out.
const MAIL_FROM: &str = "RECOUP_MAIL_FROM";

pub(crate) type Secret = BTreeMap<String, String>;

/// The secret that the environment names, if it names one.
pub(crate) async fn read(environment: &Environment, config: &SdkConfig) -> Result<Secret, StoreError> {
    match environment.optional(SECRET) {
        Some(arn) => read_secret(arn, config).await,
        None => Ok(Secret::new()),
    }
}

impl Context {
    /// What reaches people: as much of it as is configured.
    ///
    /// # Errors
    /// [`StartError`], which repeats nothing of the secret.
    pub fn channels(&self) -> Result<Channels, StartError> {
        let secret = self.secret()?;
        let from = self.environment.optional(MAIL_FROM);
        let mail = from.map(|from| Arc::new(SesMail::new(from, &self.config)) as Arc<dyn Mail>);
        Ok(Channels { slack: self.slack(secret)?, mail })
    }

    /// The door for Slack's buttons; `None`: nothing says what Slack signs with.
    ///
    /// # Errors
    /// [`StartError`], which repeats nothing of the secret.
    pub fn slack_door(&self) -> Result<Option<SlackDoor>, StartError> {
        let secret = self.secret()?;
        let (Some(slack), Some(signing)) = (self.slack(secret)?, field(secret, SIGNING_SECRET)) else {
            return Ok(None);
        };
        Ok(Some(SlackDoor::new(signing, slack, Answering::AtOnce)))
    }

    fn secret(&self) -> Result<&Secret, StartError> {
        self.secret.as_ref().map_err(|error| StartError::Secret(Arc::clone(error)))
    }

    fn slack(&self, secret: &Secret) -> Result<Option<Arc<dyn Slack>>, StartError> {
        let api_url = self.environment.optional(API_URL).unwrap_or(SLACK_API_URL).to_owned();
        let settings = match (field(secret, BOT_TOKEN), field(secret, WEBHOOK_URL)) {
            (Some(token), _) => SlackSettings::Bot { token: token.to_owned(), api_url },
            (None, Some(url)) => SlackSettings::Webhook { url: url.to_owned() },
            (None, None) => return Ok(None),
        };
        let client = SlackClient::new(settings).map_err(|error| StartError::Slack(error.to_string()))?;
        Ok(Some(Arc::new(client)))
    }
}

/// A field of the secret; empty is left out.
fn field<'a>(secret: &'a Secret, name: &str) -> Option<&'a str> {
    secret.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
}
