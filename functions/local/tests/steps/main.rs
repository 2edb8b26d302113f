//! Nights and closes taken in steps by several processes: the same figures as in one go, whatever crashes in between.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod adopt;
mod alerts;
mod anomalies;
mod api;
mod authorize;
mod command_line;
mod jobs;
mod lists;
mod notify;
mod over_http;
mod parts;
mod race;
mod refused;
mod rollup;
mod sharing;
mod simulations;
mod slack;
mod slow;
mod stage;
mod true_up;
mod turn;
mod unavailable;
mod watch;
