//! The test bench of the one-machine product: the real binary, seen from outside.
//!
//! Owns: finding and running `recoup`, data folders and servers that live as long as a test, a client of the HTTP
//! interface, events and organisations to feed it, and the call of the independent recomputation.
//! Does not own: any rule of the product. Nothing here links a crate of it, so that both cannot share a fault.
//! Start reading at [`Books`], then `tests/machine/`.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what fails in here has to fail the test"
)]

mod amount;
mod books;
mod calendar;
mod chance;
mod client;
mod company;
mod fake_mail;
mod fake_slack;
mod race;
mod reference;
mod server;
mod traffic;

pub use amount::{Pico, pico, sum};
pub use books::{Books, Ran, recoup_binary};
pub use calendar::{BERLIN, Month, local, noon, today};
pub use chance::Chance;
pub use client::{Client, NDJSON, Reply, gzip, zstd};
pub use company::{EVERYTHING, SMALL, large_call};
pub use fake_mail::{FakeMail, Mail};
pub use fake_slack::{BOT_TOKEN, FakeSlack, Fault, Message, SIGNING_SECRET, signed};
pub use race::{Known, RACE_CALL_MAX, RACE_MODEL, Race, Racing};
pub use reference::{Recomputed, recompute, recompute_approved};
pub use server::Server;
pub use traffic::{Traffic, lines};
