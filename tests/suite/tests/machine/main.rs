//! The whole product on one machine: the real binary over HTTP, its socket, its command line and its files.
//!
//! Each test has data folders and servers of its own. `RECOUP_BIN` names another binary than `target/debug/recoup`.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod bad_input;
mod budgets;
mod corrections;
mod crash;
mod daylight;
mod demo;
mod explain;
mod explained;
mod identity;
mod keys;
mod missing_nights;
mod nights;
mod order;
mod organisation;
mod pools;
mod race;
mod rate_cards;
mod reach;
mod recomputed;
mod simulate;
mod slack;
mod socket;
mod statements;
mod unpriced;
