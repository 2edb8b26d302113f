//! Internal prices: what a team pays for a task or a minute, found nightly from the ground truth.
//!
//! Three billing models (PRC-7), a file each: [`token`] passes the rated cost through; [`task`] and [`time`] smooth cost and
//! quantity and divide ([`smoothing`]), and a lock decides how the price in force follows (PRC-3). [`markup`] is added to any
//! of them, apart (PRC-5).

mod lock;
pub mod markup;
pub mod smoothing;
pub mod task;
pub mod time;
pub mod token;

pub use smoothing::{Observation, PriceError, PricePolicy, PriceState, advance, alpha_pico};
