//! Budgets: which counters a trace posts to and how far each budget is used.
//!
//! Owns: scopes and periods of budgets, what of a trace counts for which of them before and after its root has arrived,
//! tiers.
//! Does not own: what a span costs and who pays once the root is known (`recoup-attribution`), where counters are kept.
//! Invariants: BUD-1, BUD-2 (when a tier is reached).
//! Start reading at [`postings`], then [`usage`].

mod counter;
mod posting;
mod usage;

pub use counter::{Counter, PeriodKind, Watched};
pub use posting::{PostingError, postings};
pub use usage::{Tier, Usage, counter_of, usage};
