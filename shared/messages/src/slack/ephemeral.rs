//! An answer that only whoever pressed a button sees.

use serde_json::{Value, json};

use super::block::SECTION_MAX;
use crate::text::escaped;

/// What is posted to the address that came with a click. The message with the button stays as it is.
#[must_use]
pub fn ephemeral(words: &str) -> Value {
    json!({ "response_type": "ephemeral", "replace_original": false, "text": escaped(words, SECTION_MAX) })
}
