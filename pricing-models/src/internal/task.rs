//! The price of a completed task (PRC-1): smoothed cost of all tasks over smoothed completed tasks.

use recoup_money::{Amount, PICO_PER_UNIT};

use super::Observation;

/// What a day showed for the task price: the cost of all its tasks, failed ones included, over the completed ones.
/// `None` on overflow.
#[must_use]
pub fn observe(cost: Amount, tasks: u64, completed: u64) -> Option<Observation> {
    let quantity = Amount::from_pico(PICO_PER_UNIT).checked_mul(i128::from(completed))?;
    Some(Observation { cost, quantity, tasks, completed })
}

/// What so many completed tasks are charged at a price; exact. `None` on overflow.
#[must_use]
pub fn task_charge(price: Amount, completed: u64) -> Option<Amount> {
    price.checked_mul(i128::from(completed))
}
