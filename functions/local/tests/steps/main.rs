//! Nights and closes taken in steps by several processes: the same figures as in one go, whatever crashes in between.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod alerts;
mod api;
mod authorize;
mod command_line;
mod parts;
mod rollup;
mod stage;
mod turn;
mod watch;
