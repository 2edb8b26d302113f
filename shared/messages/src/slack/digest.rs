//! One message for many notices.

use serde_json::{Value, json};

use super::SlackMessage;
use super::block::{CONTEXT_MAX, header, marked, section, when};
use super::message::mark;
use crate::notice::{Notice, Severity};
use crate::text::{escaped, one_line};

/// Titles that a digest lists.
pub const TITLES_MAX: usize = 10;
/// Characters of a title in a digest.
const TITLE_MAX: usize = 250;

/// A notice that was held back, as far as a digest tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldBack {
    /// How urgent it is.
    pub severity: Severity,
    /// Its title.
    pub title: String,
}

impl From<&Notice> for HeldBack {
    fn from(notice: &Notice) -> Self {
        Self { severity: notice.severity, title: notice.title.clone() }
    }
}

/// Says that `count` notices were held back, and which: the first [`TITLES_MAX`] of `held` are listed. `at` is the time of
/// the digest, RFC 3339.
#[must_use]
pub fn digest(held: &[HeldBack], count: usize, at: &str) -> SlackMessage {
    let count = count.max(held.len());
    let notices = if count == 1 { "1 notice was".to_owned() } else { format!("{count} notices were") };
    let title = format!("{notices} held back");
    let listed = held.iter().take(TITLES_MAX);
    let mut lines: Vec<String> =
        listed.map(|one| format!("• {} {}", mark(one.severity), escaped(&one_line(&one.title), TITLE_MAX))).collect();
    let others = count.saturating_sub(lines.len());
    if others > 0 {
        lines.push(if lines.is_empty() { format!("{others} in all") } else { format!("… and {others} more") });
    }
    let blocks: [Value; 4] = [
        header(&format!("📬 {title}")),
        section("More came at once than this channel is sent. Alerts of budgets stay in `recoup alerts`."),
        section(&lines.join("\n")),
        json!({ "type": "context", "elements": [marked(&when(at, CONTEXT_MAX))] }),
    ];
    SlackMessage { text: format!("{title}: more came at once than this channel is sent."), blocks: json!(blocks) }
}
