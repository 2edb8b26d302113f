//! Internal prices: what a team pays for a task or a minute, found nightly from the ground truth.
//!
//! Three billing models (PRC-7). Task ([`task`]) and time ([`time`]) smooth cost and quantity and divide ([`smoothing`]).
//! Token (PRC-6) is pass-through: the charge is the event's rated cost, so it needs no code here.

pub mod smoothing;
pub mod task;
pub mod time;

pub use smoothing::{Observation, PriceError, PricePolicy, PriceState, advance, alpha_pico};
