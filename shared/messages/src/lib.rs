//! Messages: what somebody should hear of, in the form of each channel.
//!
//! Owns: the notice and how it looks in Slack, in e-mail, in Amazon Q; limits of those forms; the signature of what Slack
//! sends back and what it means.
//! Does not own: when something is told and to whom (`recoup-workflows`), how it travels (`recoup-channels`).
//! Start reading at [`Notice`].

pub mod amazon_q;
pub mod email;
mod notice;
pub mod slack;
mod table;
mod text;

pub use notice::{Action, Audience, Fact, Notice, Outcome, Severity, Table};
pub use text::{ascii_line, grouped, one_line, when};
