//! E-mail: a text for those who read text, a page of HTML for the others.

mod html;
mod plain;

use crate::notice::Notice;
use crate::text::{cut, one_line};

pub use plain::plain_text;

/// Characters of a subject; most readers show fewer.
const SUBJECT_MAX: usize = 200;

/// An e-mail; from whom and to whom is the sender's to add.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email {
    /// One line without control characters. Letters beyond ASCII stay: whoever sends it encodes them.
    pub subject: String,
    /// For those who read text.
    pub text: String,
    /// For the others: a whole page that loads nothing.
    pub html: String,
}

/// A notice as an e-mail.
#[must_use]
pub fn render(notice: &Notice) -> Email {
    let subject = cut(&one_line(&format!("[recoup] {}", notice.heading())), SUBJECT_MAX);
    Email { subject, text: plain_text(notice), html: html::page_of(notice) }
}
