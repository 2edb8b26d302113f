//! How figures came about: where a span has its tags from, what went into a pool and who bears it.
//!
//! Start reading at [`pools`].

pub(crate) mod bills;
pub mod pools;
pub(crate) mod ratio;
pub(crate) mod why;
