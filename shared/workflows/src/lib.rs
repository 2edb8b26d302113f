//! What recoup does, one workflow per duty: load through a port, decide in a pure crate, commit through a port.
//!
//! Owns: the order of steps, what is written together, who may see what, the names of records in the books.
//! Does not own: rules of money (pure crates), storage (adapters), HTTP (`recoup-http`), configuration (`functions`).
//! Invariants: EVT-2 (shared responses over traces), RAT-2 (re-run when a price arrives), CLO-1, CLO-3, LED-4.
//! Start reading at [`App`], then [`ingest`], [`nightly`], [`close`].

pub mod access;
mod adopt;
pub mod alerts;
pub mod anomalies;
pub mod app;
pub mod audit;
pub mod authorize;
pub mod budgets;
pub mod catalogue;
pub mod close;
pub mod error;
mod exemptions;
pub mod explain;
pub mod extensions;
pub mod facts;
pub mod ingest;
pub mod jobs;
pub mod lists;
pub mod lives;
pub mod nightly;
pub mod notify;
pub mod organisation;
pub mod overruns;
mod packed;
pub mod people;
pub mod plans;
pub mod queries;
pub mod rate_cards;
mod records;
mod replay;
pub mod reviews;
pub mod rollup;
pub mod runs;
pub mod set_budget;
pub mod shipped;
pub mod simulate;
pub mod spend;
pub mod statements;
pub mod traces;
pub mod turn;
pub mod verify;
pub mod watch;
pub mod weekly;
mod workers;

pub use access::{Principal, Role};
pub use alerts::Tell;
pub use app::{App, Ports};
pub use error::Refusal;
pub use jobs::Job;
