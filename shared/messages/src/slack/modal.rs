//! The modal that asks for an extension.

use serde_json::{Value, json};

use super::block::plain;
use crate::text::cut;

/// Names the modal in callbacks.
pub(super) const EXTENSION: &str = "extension";
/// Characters of a reason.
pub const REASON_CHARS_MAX: usize = 1_000;

/// An input of the modal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// How much more.
    Amount,
    /// Why.
    Reason,
}

impl Field {
    /// Names its block and its element.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Amount => "amount",
            Self::Reason => "reason",
        }
    }
}

/// What the modal is about.
#[derive(Clone, Copy, Debug)]
pub struct ExtensionAsk<'a> {
    /// The alert whose button was clicked; comes back with the answer.
    pub alert: &'a str,
    /// `team:support`.
    pub scope: &'a str,
    /// `2026-11`.
    pub period: &'a str,
    /// `USD`.
    pub currency: &'a str,
}

/// The `view` of `views.open`.
#[must_use]
pub fn extension_modal(ask: &ExtensionAsk<'_>) -> Value {
    let input = |field: Field, label: String, element: Value| json!({ "type": "input", "block_id": field.name(), "label": plain(&label, 2_000), "element": element });
    let about = format!("More budget for {} in {}. Somebody other than you decides.", ask.scope, ask.period);
    let amount = json!({
        "type": "plain_text_input", "action_id": Field::Amount.name(), "max_length": 40,
        "placeholder": plain("250.00", 150),
    });
    let reason = json!({
        "type": "plain_text_input", "action_id": Field::Reason.name(), "multiline": true,
        "max_length": REASON_CHARS_MAX,
        "placeholder": plain("What it is needed for", 150),
    });
    json!({
        "type": "modal", "callback_id": EXTENSION, "private_metadata": cut(ask.alert, 3_000),
        "title": plain("Request extension", 24), "submit": plain("Send", 24), "close": plain("Cancel", 24),
        "blocks": [
            { "type": "section", "text": plain(&about, 3_000) },
            input(Field::Amount, format!("How much more, in {}", ask.currency), amount),
            input(Field::Reason, "Why".to_owned(), reason),
        ],
    })
}

/// The answer to a `view_submission` that keeps the modal open and shows what is wrong with an input.
#[must_use]
pub fn modal_error(field: Field, words: &str) -> Value {
    json!({ "response_action": "errors", "errors": { field.name(): cut(words, 300) } })
}
