//! What could not be worked off, put aside where somebody sees it.

use aws_types::SdkConfig;
use recoup_store::StoreError;
use serde::{Deserialize, Serialize};

use crate::client::sqs_client;
use crate::failure::{Service, failed};

const SENDING: &str = "put a dead letter aside";
/// Bytes of a reason; what is longer is cut.
pub(crate) const REASON_BYTES_MAX: usize = 4 * 1024;
/// Bytes of a key; what is longer is cut.
pub(crate) const KEY_BYTES_MAX: usize = 1024;

/// Something that could not be worked off. In the queue it is a JSON object with these fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Which it is, so that it can be found: the key of a block or the id of an alert.
    pub key: String,
    /// Why it could not be worked off.
    pub reason: String,
    /// Who gave up: `rollup`, `notify`.
    pub source: String,
}

/// A queue.
#[derive(Clone, Debug)]
pub struct DeadLetters {
    client: aws_sdk_sqs::Client,
    queue: String,
}

impl DeadLetters {
    /// A queue by its URL.
    #[must_use]
    pub fn new(queue_url: impl Into<String>, config: &SdkConfig) -> Self {
        Self { client: sqs_client(config), queue: queue_url.into() }
    }

    /// Puts a letter into the queue; it is there when this returns.
    ///
    /// # Errors
    /// Whatever SQS says.
    pub async fn send(&self, letter: &DeadLetter) -> Result<(), StoreError> {
        let bounded = DeadLetter {
            key: cut(&letter.key, KEY_BYTES_MAX),
            reason: cut(&letter.reason, REASON_BYTES_MAX),
            source: cut(&letter.source, KEY_BYTES_MAX),
        };
        let body = serde_json::to_string(&bounded).map_err(|error| StoreError::unavailable(SENDING, error))?;
        let sent = self.client.send_message().queue_url(&self.queue).message_body(body).send().await;
        sent.map(drop).map_err(failed(Service::Sqs, SENDING))
    }
}

/// The first bytes of a text, whole letters only; SQS takes no control characters but these.
fn cut(text: &str, bytes_max: usize) -> String {
    let is_taken = |letter: char| !letter.is_control() || matches!(letter, '\t' | '\n' | '\r');
    let mut kept = String::new();
    for letter in text.chars().map(|letter| if is_taken(letter) { letter } else { ' ' }) {
        if kept.len().saturating_add(letter.len_utf8()) > bytes_max {
            break;
        }
        kept.push(letter);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn rat_3_texts_are_cut_between_letters() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abc", 2), "ab");
        assert_eq!(cut("aéb", 2), "a");
        assert_eq!(cut("a\u{0}b\nc", 9), "a b\nc");
    }
}
