//! Examples and properties of attribution, through its public functions only.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod batch;
mod costs;
mod day;
mod pools;
mod properties;
mod support;
mod tree;
