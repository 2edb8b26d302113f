//! Parts of Block Kit, and the lengths that Slack takes, in units of [`crate::text`].

use serde_json::{Value, json};

use crate::text::escaped;

/// Characters of a header.
pub(super) const HEADER_MAX: usize = 150;
/// Characters of a section's text.
pub(super) const SECTION_MAX: usize = 3_000;
/// Characters of a field.
pub(super) const FIELD_MAX: usize = 2_000;
/// Fields of a section.
pub(super) const FIELDS_MAX: usize = 10;
/// Buttons of a message; Slack takes 25 in a block.
pub(super) const BUTTONS_MAX: usize = 5;
/// Characters on a button.
pub(super) const BUTTON_MAX: usize = 75;
/// Characters that a button sends back.
pub(super) const VALUE_MAX: usize = 2_000;
/// Characters of an address.
pub(super) const URL_MAX: usize = 3_000;
/// Characters of a context's text; Slack names no limit of its own.
pub(super) const CONTEXT_MAX: usize = 2_000;

/// Text without a look.
pub(super) fn plain(text: &str, units_max: usize) -> Value {
    json!({ "type": "plain_text", "text": escaped(text, units_max), "emoji": false })
}

/// Text with Slack's marks, which was escaped already. Nothing in it becomes a mention or a link.
pub(super) fn marked(text: &str) -> Value {
    json!({ "type": "mrkdwn", "text": text, "verbatim": true })
}

/// A header.
pub(super) fn header(text: &str) -> Value {
    json!({ "type": "header", "text": plain(text, HEADER_MAX) })
}

/// A section of text with Slack's marks.
pub(super) fn section(text: &str) -> Value {
    json!({ "type": "section", "text": marked(text) })
}

/// A time in the reader's own zone, where Slack can show it so.
pub(super) fn when(at: &str, units_max: usize) -> String {
    let written = escaped(&crate::text::when(at), units_max);
    crate::text::seconds(at).map_or_else(
        || written.clone(),
        |seconds| format!("<!date^{seconds}^{{date_short_pretty}}, {{time}}|{written}>"),
    )
}
