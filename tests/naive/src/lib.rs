//! Statements recomputed the slow, obvious way, and random months to compare them on.
//!
//! Owns: a second implementation of rating by own prices, attribution, internal prices, charges, pools, variance and
//! corrections, written from the rules alone over exact rationals ([`reference`]); a generator of small nasty months
//! ([`generate`]); the composition of the engine as nights and closes compose it ([`engine`]); the comparison of both
//! and the search for the smallest month that still differs.
//! Does not own: any rule of the product. What the rules leave open and both sides decided alike stands in the README.
//! Start reading at [`world::World`], then [`reference::replay`].
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what fails in here has to fail the test"
)]

pub mod agree;
pub mod book;
pub mod engine;
pub mod facts;
pub mod generate;
pub mod ground;
pub mod markup;
pub mod month;
pub mod number;
pub mod pools;
pub mod prices;
pub mod random;
pub mod rate;
pub mod recovery;
pub mod reference;
pub mod story;
pub mod trace;
pub mod world;
