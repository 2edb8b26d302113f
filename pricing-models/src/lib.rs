//! Prices: the effective-dated catalogue, the rating of events, and the internal prices of tasks and minutes.
//!
//! Owns: the shipped catalogue and its format, the import of LiteLLM's price map, which price applies to an event and
//! what it then costs, the nightly smoothing of internal prices and their locks.
//! Does not own: token semantics of wire formats (`recoup-metering`), who pays (`recoup-attribution`), what is posted
//! (`recoup-ledger`), or where prices are stored.
//! Invariants: MON-1, MON-3, MON-4, EVT-6, RAT-1, RAT-2, RAT-3, PRC-1, PRC-2, PRC-3, PRC-4, PRC-6.
//! Start reading at [`PriceBook`], then [`Catalogue`] and [`internal`].

mod book;
mod catalogue;
mod check;
mod entry;
mod exchange;
pub mod internal;
pub mod litellm;
mod rating;
mod shipped;
mod tariff;
mod wide;

pub use book::{PriceBook, PriceBookError};
pub use catalogue::{Catalogue, CatalogueError};
pub use check::{Compared, Disagreement, check};
pub use entry::{EntryError, LongContext, ModelPrice, PriceEntry, Priced, RateTable, Rates, Tier, UnitPrice, rate_of};
pub use rating::TOKENS_PER_RATE;
