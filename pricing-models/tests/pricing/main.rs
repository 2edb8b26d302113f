//! Prices against their cases and their invariants.
#![expect(clippy::unwrap_used, reason = "tests")]

mod cases;
mod catalogue;
mod litellm;
mod rating;
mod smoothing;
mod support;
mod tariff;
