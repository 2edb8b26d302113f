//! Alerts out: what somebody should hear of, to a topic that routes it by its attributes.

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::error::StoreError;

/// Characters of a subject (the limit of SNS).
pub const SUBJECT_CHARS_MAX: usize = 100;
/// Bytes of an alert in all its forms, attributes included (the limit of SNS).
pub const ALERT_BYTES_MAX: usize = 256 * 1024;
/// Attributes of an alert (what raw delivery to SQS takes).
pub const ATTRIBUTES_MAX: usize = 10;

/// An alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// Names it: the same alert sent twice has the same id.
    pub id: String,
    /// One line of at most [`SUBJECT_CHARS_MAX`] printable ASCII characters.
    pub subject: String,
    /// For people who read e-mail as text.
    pub text: String,
    /// For programs: a JSON object as text.
    pub json: String,
    /// What subscriptions filter by: `kind`, `team`, `period` and so on.
    pub attributes: BTreeMap<String, String>,
}

/// A topic.
#[async_trait]
pub trait Alerts: Send + Sync {
    /// Hands an alert over; when this returns, whoever carries it further has it.
    async fn publish(&self, alert: &Alert) -> Result<(), StoreError>;
}
