//! Notices in the form of each channel, and what comes back from Slack.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod amazon_q;
mod callback;
mod email;
mod goldens;
mod properties;
mod samples;
mod slack;
