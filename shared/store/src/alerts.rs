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
    /// For chats that read the topic themselves (Amazon Q Developer): a JSON object as text.
    pub chat: Option<String>,
    /// What subscriptions filter by: `kind`, `team`, `period` and so on.
    pub attributes: BTreeMap<String, String>,
}

/// What every topic refuses before it sends anything.
///
/// # Errors
/// [`StoreError::Unavailable`] that says which limit is exceeded.
pub fn check_alert(alert: &Alert) -> Result<(), StoreError> {
    let wrong = check_subject(&alert.subject).or_else(|| check_attributes(alert)).or_else(|| check_size(alert));
    let told = |wrong| StoreError::unavailable("publish an alert", format!("the alert `{}`: {wrong}", alert.id));
    wrong.map_or(Ok(()), |wrong| Err(told(wrong)))
}

fn check_subject(subject: &str) -> Option<String> {
    let is_plain = subject.bytes().all(|letter| letter.is_ascii_graphic() || letter == b' ');
    if subject.is_empty() || subject.starts_with(' ') || !is_plain {
        return Some("its subject is not one line of printable ASCII that begins with no space".to_owned());
    }
    let chars = subject.len();
    (chars > SUBJECT_CHARS_MAX).then(|| format!("its subject has {chars} characters, at most {SUBJECT_CHARS_MAX} fit"))
}

fn check_attributes(alert: &Alert) -> Option<String> {
    // The id travels as an attribute too.
    let count = alert.attributes.len().saturating_add(1);
    if count > ATTRIBUTES_MAX {
        return Some(format!("it has {count} attributes with its id, at most {ATTRIBUTES_MAX} fit"));
    }
    let is_named = |name: &str| {
        let is_letter = |letter: u8| letter.is_ascii_alphanumeric() || b"_-".contains(&letter);
        !name.is_empty() && name != "id" && name.bytes().all(is_letter)
    };
    if let Some(name) = alert.attributes.keys().find(|name| !is_named(name)) {
        return Some(format!("`{name}` cannot name an attribute: letters, digits, `_` and `-`, not `id`"));
    }
    let empty = alert.attributes.iter().find(|(_, value)| value.is_empty());
    let empty = empty.map(|(name, _)| name.as_str()).or_else(|| alert.id.is_empty().then_some("id"));
    empty.map(|name| format!("the attribute `{name}` is empty; leave it out"))
}

fn check_size(alert: &Alert) -> Option<String> {
    let chat = alert.chat.as_deref();
    if alert.text.is_empty() || alert.json.is_empty() || chat == Some("") {
        return Some("its text or its JSON is empty".to_owned());
    }
    let attributes = alert.attributes.iter().map(|(name, value)| name.len().saturating_add(value.len()));
    let texts = [&alert.subject, &alert.text, &alert.json, &alert.id].map(String::len);
    let texts = texts.into_iter().chain(chat.map(str::len));
    let bytes = attributes.chain(texts).fold(0, usize::saturating_add);
    (bytes > ALERT_BYTES_MAX).then(|| format!("it has {bytes} bytes, at most {ALERT_BYTES_MAX} fit"))
}

/// A topic.
#[async_trait]
pub trait Alerts: Send + Sync {
    /// Hands an alert over; when this returns, whoever carries it further has it.
    async fn publish(&self, alert: &Alert) -> Result<(), StoreError>;
}
