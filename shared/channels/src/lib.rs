//! The ports to people: Slack over HTTPS, e-mail over SMTP.
//!
//! Owns: how a message travels, which answers of a service mean "later" and which "never", and that tokens, passwords and
//! addresses that open something stay out of logs and errors.
//! Does not own: what a message says (`recoup-messages`), who is told, when it is tried again (`recoup-workflows`).
//! Start reading at [`SlackClient`] and [`SmtpMail`].

mod slack;
mod smtp;

pub use slack::{SLACK_API_URL, SlackClient, SlackSettings};
pub use smtp::SmtpMail;

/// Why a channel cannot be set up. It never repeats what was given.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SetupError(pub(crate) String);
