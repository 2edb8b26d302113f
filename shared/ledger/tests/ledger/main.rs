//! The ledger as a whole: day facts in, settlements out.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod closing;
mod pools;
mod prices;
mod property;
mod variances;
mod world;
