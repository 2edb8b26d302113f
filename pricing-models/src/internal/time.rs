//! The price of a minute (PRC-4): smoothed cost over smoothed active minutes. Idle minutes have a rate of their own, which
//! the organisation states and nothing is smoothed into; what they earn is part of the charges, and so of the variance.

use recoup_money::{Amount, mul_div_half_even};

use super::Observation;

/// Nanoseconds in a minute.
const MINUTE_NS: i128 = 60_000_000_000;

/// Active time of one task in minutes, half to even at 12 digits, once per task (MON-1).
///
/// ```
/// let minutes = recoup_pricing::internal::time::task_minutes_pico(90_000_000_000);
/// assert_eq!(minutes.to_string(), "1.5");
/// ```
#[must_use]
pub fn task_minutes_pico(active_ns: u64) -> Amount {
    // The quotient is smaller than 2^64 * 10^12 / MINUTE_NS, so it always fits.
    let pico = mul_div_half_even(i128::from(active_ns), recoup_money::PICO_PER_UNIT, MINUTE_NS);
    Amount::from_pico(pico.unwrap_or_default())
}

/// What a day showed for the time price: the cost and the minutes ([`task_minutes_pico`], summed) of the tasks that have a
/// duration.
#[must_use]
pub const fn observe(cost: Amount, minutes: Amount, tasks: u64, completed: u64) -> Observation {
    Observation { cost, quantity: minutes, tasks, completed }
}

/// What one task's active (or idle) time is charged at a rate per minute, half to even once (MON-1). `None` on overflow.
#[must_use]
pub fn time_charge(rate: Amount, active_ns: u64) -> Option<Amount> {
    mul_div_half_even(rate.pico(), i128::from(active_ns), MINUTE_NS).map(Amount::from_pico)
}
