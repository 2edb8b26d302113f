//! Recurring bills of a period with the arithmetic of each (POOL-5): a second reading of the organisation file, so that
//! what the ledger booked can be compared with it.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use recoup_model::organisation::{ExchangeRate, History, Recurring};
use recoup_model::{Id, Organisation, Period};
use recoup_money::{Amount, Currency, PICO_PER_UNIT, mul_div_half_even};

use crate::error::Refusal;

/// Who bears a bill.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum BilledTo {
    /// A pool, named or that of a shared agent.
    Pool(Id),
    /// The owner of an agent that is not shared, and the agent.
    Owner(Id, Id),
    /// Nobody that is known.
    Nobody,
}

/// A bill as it stood on some days of the period.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BillKey {
    pub(crate) id: Id,
    pub(crate) to: BilledTo,
    pub(crate) amount: Amount,
    pub(crate) currency: Currency,
}

/// What it comes to.
#[derive(Clone, Debug, Default)]
pub(crate) struct BillDays {
    pub(crate) days: u64,
    /// Sum of the days' rates into the organisation's currency.
    pub(crate) rates: Amount,
    pub(crate) cost: Amount,
}

/// The bills of the period up to its last night.
pub(crate) fn bills_of(
    history: &History,
    period: Period,
    through: NaiveDate,
) -> Result<BTreeMap<BillKey, BillDays>, Refusal> {
    let overflow = || Refusal::computation("add up the recurring bills", "the sum overflows");
    let mut bills: BTreeMap<BillKey, BillDays> = BTreeMap::new();
    for day in period.days().take_while(|day| *day <= through) {
        let organisation = &history.on(day).organisation;
        let runs = |entry: &&Recurring| entry.from <= day && entry.to.is_none_or(|to| day < to);
        for entry in organisation.recurring.iter().filter(runs) {
            let to = billed_to(organisation, entry);
            let key = BillKey { id: entry.id.clone(), to, amount: entry.amount, currency: entry.currency };
            let bill = bills.entry(key).or_default();
            bill.days = bill.days.saturating_add(1);
            let rate = rate_on(organisation, entry.currency, day).unwrap_or_default();
            bill.rates = bill.rates.checked_add(rate).ok_or_else(overflow)?;
        }
    }
    let month = i128::try_from(period.days().count()).unwrap_or(i128::MAX);
    for (key, bill) in &mut bills {
        let divisor = PICO_PER_UNIT.checked_mul(month).ok_or_else(overflow)?;
        let cost = mul_div_half_even(key.amount.pico(), bill.rates.pico(), divisor).ok_or_else(overflow)?;
        bill.cost = Amount::from_pico(cost);
    }
    Ok(bills)
}

fn billed_to(organisation: &Organisation, entry: &Recurring) -> BilledTo {
    if let Some(pool) = &entry.pool {
        return BilledTo::Pool(pool.clone());
    }
    let declared = entry.agent.as_ref().and_then(|id| Some((id, organisation.agents.get(id)?)));
    match declared.map(|(id, agent)| (id, &agent.shared_pool, &agent.owner)) {
        Some((_, Some(pool), _)) => BilledTo::Pool(pool.clone()),
        Some((id, None, Some(owner))) if organisation.teams.contains_key(owner) => {
            BilledTo::Owner(owner.clone(), id.clone())
        }
        _ => BilledTo::Nobody,
    }
}

fn rate_on(organisation: &Organisation, currency: Currency, day: NaiveDate) -> Option<Amount> {
    if currency == organisation.currency {
        return Some(Amount::from_pico(PICO_PER_UNIT));
    }
    let applies = |rate: &&ExchangeRate| {
        (rate.from_currency, rate.to_currency) == (currency, organisation.currency) && rate.from <= day
    };
    organisation.rates.iter().filter(applies).max_by_key(|rate| rate.from).map(|rate| rate.rate)
}

/// The arithmetic: `310 x 31 / 31 = 310`, with the sum of the days' rates where another currency is converted.
pub(crate) fn arithmetic(key: &BillKey, bill: &BillDays, period: Period) -> String {
    let (month, BillKey { amount, currency, .. }) = (period.days().count(), key);
    let days = bill.days;
    if bill.rates == Amount::from_pico(PICO_PER_UNIT).checked_mul(i128::from(days)).unwrap_or_default() {
        return format!("{amount} {currency} x {days} of {month} days = {}", bill.cost);
    }
    format!("{amount} {currency} x {} (sum of the rates of {days} days) / {month} days = {}", bill.rates, bill.cost)
}
