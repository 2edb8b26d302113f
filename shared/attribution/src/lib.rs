//! Traces put back together: who pays for each span, what each agent cost, what went into shared pools.
//!
//! Owns: root and payer of a trace, inheritance of tags, wrappers, frames and re-entrance, invocations of shared
//! agents, and the [`DayFacts`] that a night stores.
//! Does not own: prices (it asks a [`recoup_model::Rater`]), the split of pools, ledger entries.
//! Invariants: EVT-2 (shared responses), EVT-3, EVT-5, ATR-1 to ATR-5, PRC-0, PRC-4 (active time).
//! Start reading at [`facts`].

pub mod facts;
mod pairs;

pub use facts::DayFacts;
