//! The ledger as a whole: day facts in, settlements out.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod approval;
mod closing;
mod idle;
mod markup;
mod pools;
mod prices;
mod property;
mod recovery;
mod variances;
mod world;
