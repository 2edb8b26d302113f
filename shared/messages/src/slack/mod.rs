//! Slack: messages of Block Kit, the modal, and what comes back from them.
//!
//! Everything of a notice is shown as text: `&`, `<` and `>` are escaped, and nothing is turned into a mention or a link.
//! Slack's marks in it (`*`, `_`, backticks) can change the look of their own piece of text and no more.
//! What is longer than Slack takes is cut, with an ellipsis; an address or an id is left out rather than cut.
//! Start reading at [`message`]; what a click sends is read by [`callback::parse`], after [`signature::verify`].

mod block;
pub mod callback;
mod digest;
mod ephemeral;
mod message;
mod modal;
pub mod signature;

use serde::Serialize;
use serde_json::Value;

pub use digest::{HeldBack, TITLES_MAX, digest};
pub use ephemeral::ephemeral;
pub(crate) use message::mark;
pub use message::message;
pub use modal::{ExtensionAsk, Field, REASON_CHARS_MAX, extension_modal, modal_error};

/// A message, as `chat.postMessage`, `chat.update` and webhooks take it; the channel is the sender's to add.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SlackMessage {
    /// What notifications show, and clients without blocks; never empty.
    pub text: String,
    /// The blocks, an array.
    pub blocks: Value,
}
