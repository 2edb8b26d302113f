//! Channels that reach people: Slack and e-mail. What a service refuses says whether it may be tried again.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;

/// Why something did not arrive. `word` is the service's own: `channel_not_found`, `429`, `timed out`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChannelError {
    /// It may arrive later. It may also have arrived: a connection that breaks off leaves that open.
    #[error("{service} did not take it for now: {word}")]
    Again {
        /// `Slack`, `the mail server`.
        service: &'static str,
        /// Why.
        word: String,
        /// Not sooner than after so long, where the service says so.
        after: Option<Duration>,
    },
    /// It will never arrive like this.
    #[error("{service} refused it: {word}")]
    GivenUp {
        /// `Slack`, `the mail server`.
        service: &'static str,
        /// Why.
        word: String,
    },
}

impl ChannelError {
    /// The service's own word.
    #[must_use]
    pub fn word(&self) -> &str {
        match self {
            Self::Again { word, .. } | Self::GivenUp { word, .. } => word,
        }
    }
}

/// Where a message stands in Slack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posted {
    /// The channel's id, which updates need, whatever name it was posted to.
    pub channel: String,
    /// Names the message in its channel.
    pub ts: String,
}

/// How Slack is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlackReach {
    /// Every channel that the app is in, by name or id; messages can be updated and answered in threads.
    Channels,
    /// The one channel that an incoming webhook belongs to; what is posted stays as it is.
    OneWebhook,
}

/// Slack. Messages are `{"text":..,"blocks":[..]}`.
#[async_trait]
pub trait Slack: Send + Sync {
    /// How it is reached.
    fn reach(&self) -> SlackReach;

    /// Posts a message, below another one where `thread` names it. `None`: the webhook does not say where it stands.
    async fn post(&self, channel: &str, message: &Value, thread: Option<&str>) -> Result<Option<Posted>, ChannelError>;

    /// Puts a message in the place of one that stands there.
    async fn update(&self, at: &Posted, message: &Value) -> Result<(), ChannelError>;

    /// Opens a modal for whoever clicked; within three seconds.
    async fn open_view(&self, trigger: &str, view: &Value) -> Result<(), ChannelError>;

    /// Answers a click at the address that came with it: within half an hour, five times at most.
    async fn respond(&self, response_url: &str, message: &Value) -> Result<(), ChannelError>;
}

/// An e-mail. Letters beyond ASCII are the adapter's to encode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email {
    /// One address.
    pub to: String,
    /// One line.
    pub subject: String,
    /// For those who read text.
    pub text: String,
    /// For the others.
    pub html: String,
    /// Names it: the same e-mail sent twice has the same id, so that readers' programs show it once.
    pub id: String,
}

/// E-mail.
#[async_trait]
pub trait Mail: Send + Sync {
    /// Hands an e-mail over; when this returns, the mail server has it.
    async fn send(&self, email: &Email) -> Result<(), ChannelError>;
}
