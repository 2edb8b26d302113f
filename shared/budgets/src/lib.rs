//! Budgets: which counters a trace posts to, how far each budget is used, and whether work may begin.
//!
//! Owns: scopes and periods of budgets, what of a trace counts for which of them before and after its root has arrived,
//! tiers and when they fire, which limits apply to whom, admission, why a budget is overrun.
//! Does not own: what a span costs and who pays once the root is known (`recoup-attribution`), where counters are kept.
//! Invariants: BUD-1, BUD-2, BUD-3 (the decision), BUD-4, ANO-1, ANO-2, ANO-3, ANO-4.
//! Start reading at [`postings`], then [`admission`] and [`tiers`].

pub mod admission;
pub mod anomaly;
mod counter;
pub mod forecast;
pub mod overrun;
mod posting;
mod reserved;
pub mod tiers;
mod usage;

pub use counter::{Counter, PeriodKind, Watched};
pub use posting::{Borne, CriticalSpan, PostingError, critical_spans, postings};
pub use reserved::{Reservations, Reserved};
pub use usage::{Tier, Usage, counter_of, usage};
