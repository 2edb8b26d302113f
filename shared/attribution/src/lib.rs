//! Traces put back together: who pays for each span, what each agent cost, what went into shared pools.
//!
//! Owns: root and payer of a trace, inheritance of tags, wrappers, frames and re-entrance, invocations of shared
//! agents, and the [`DayFacts`] that a night stores.
//! Does not own: prices (it asks a [`recoup_model::Rater`]), the split of pools, ledger entries.
//! Invariants: EVT-2 (shared responses), EVT-3, EVT-5, ATR-1 to ATR-5, PRC-0, PRC-4 (active time).
//! Start reading at [`resolve`], then [`facts`].

pub mod batch;
mod corrections;
mod day;
mod error;
mod event_set;
pub mod facts;
mod first;
mod frames;
mod grain;
mod graph;
mod merge;
mod notes;
mod order;
mod pairs;
mod payer;
mod reported;
mod resolve;
mod response;
pub mod settlement;
mod sum;
mod task;
mod trace;
mod tree;
pub mod work;
mod wrapper;

pub use day::DayBuilder;
pub use error::AttributionError;
pub use facts::DayFacts;
pub use first::first_recorded;
pub use grain::Grain;
pub use payer::{Payer, PayerSource};
pub use resolve::{Context, resolve};
pub use response::{Call, Report, reports_of, root_names_team, second_reports};
pub use settlement::SettlementFacts;
pub use task::Task;
pub use trace::{Place, Span, TagFrom, Trace, Unobserved};
