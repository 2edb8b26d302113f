//! How a price came about, night by night: what each night observed and what it made of it (PRC-1 to PRC-4).

use chrono::NaiveDate;
use recoup_money::Amount;
use recoup_pricing::internal::{Observation, PricePolicy, PriceState};

use crate::error::LedgerError;
use crate::line::PricedKey;
use crate::parts::Alone;
use crate::prices::{observe_days, run_nights};
use crate::rate_card::opening_states;
use crate::settle::PeriodInput;

/// One night of one price.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriceNight {
    /// The local day.
    pub day: NaiveDate,
    /// The day's tasks, whoever pays for them.
    pub seen: Observation,
    /// What is added to their cost: parts of pools that the price recovers, less variance that was carried in.
    pub beside: Amount,
    /// The policy of the night.
    pub policy: PricePolicy,
    /// The smoothed sums before it; `None`: the first night with a task.
    pub before: Option<PriceState>,
    /// The smoothed sums after it.
    pub after: PriceState,
}

/// The nights of a period for one price, in order, from the first with a task on. The input's own prices have no part in it.
///
/// # Errors
/// [`LedgerError`], as of the settlement that made the price.
pub fn price_nights(input: &PeriodInput<'_>, key: &PricedKey) -> Result<Vec<PriceNight>, LedgerError> {
    let mut nights = Vec::new();
    let observed = observe_days(input, &Alone)?;
    run_nights(input, (&[key], &observed), &opening_states(input)?, |night| nights.push(night))?;
    Ok(nights)
}
