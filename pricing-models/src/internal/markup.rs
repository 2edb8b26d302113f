//! Markup: what a price model adds to its charges (PRC-5), apart from them and no part of the variance.
//!
//! What the semantics leave open, and what is done:
//! * A percentage is taken of the charge as it stands on the statement, so that its reader can repeat it.
//! * It is rounded half to even to 12 digits once per task (MON-1). Tokens have no tasks of their own: what a (team, agent,
//!   task type) passes through on one local day is taken together, so that nights and periods stay sums.
//! * A fixed markup is one per completed task or per active minute. Tokens have none.
//! * Cost that passes through because a price is missing (PRC-2, PRC-4) has no markup: there is no price to add it to.

use recoup_model::organisation::Markup;
use recoup_money::{Amount, PICO_PER_UNIT, mul_div_half_even};

use super::time::time_charge;

/// A hundred percent, in picounits.
const HUNDRED_PERCENT: i128 = 100 * PICO_PER_UNIT;

/// Percent of a charge, half to even once. `None` on overflow.
///
/// ```
/// use recoup_pricing::internal::markup::percent_of;
/// let markup = percent_of("5".parse().unwrap(), "0.3524".parse().unwrap());
/// assert_eq!(markup.unwrap().to_string(), "0.01762");
/// ```
#[must_use]
pub fn percent_of(percent: Amount, charge: Amount) -> Option<Amount> {
    mul_div_half_even(charge.pico(), percent.pico(), HUNDRED_PERCENT).map(Amount::from_pico)
}

/// What is added to so many completed tasks at a price. `None` on overflow.
#[must_use]
pub fn task_markup(markup: Markup, price: Amount, completed: u64) -> Option<Amount> {
    let each = match markup {
        Markup::Percent(percent) => percent_of(percent, price)?,
        Markup::Fixed(each) => each,
    };
    each.checked_mul(i128::from(completed))
}

/// What is added to one task's active time at a price per minute. `None` on overflow.
#[must_use]
pub fn time_markup(markup: Markup, price: Amount, active_ns: u64) -> Option<Amount> {
    match markup {
        Markup::Percent(percent) => percent_of(percent, time_charge(price, active_ns)?),
        Markup::Fixed(per_minute) => time_charge(per_minute, active_ns),
    }
}

/// What is added to one local day's pass-through. `None` on overflow.
#[must_use]
pub fn token_markup(markup: Markup, cost: Amount) -> Option<Amount> {
    match markup {
        Markup::Percent(percent) => percent_of(percent, cost),
        Markup::Fixed(_) => Some(Amount::ZERO),
    }
}

/// The price of a markup as a line states it: per unit of currency charged, or per task or minute.
#[must_use]
pub fn markup_price(markup: Markup) -> Option<Amount> {
    match markup {
        Markup::Percent(percent) => percent_of(percent, Amount::from_pico(PICO_PER_UNIT)),
        Markup::Fixed(each) => Some(each),
    }
}
