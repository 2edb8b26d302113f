//! Costs that arrive as a bill and not as events (POOL-5), pro rata by day while the period runs.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use num_bigint::BigInt;
use num_traits::ToPrimitive;
use recoup_model::organisation::{Billing, Recurring};
use recoup_model::{FindingKind, Id, Organisation, Severity};
use recoup_money::{Amount, Currency, PICO_PER_UNIT, div_half_even, mul_div_half_even};

use crate::charges::{Ground, Sums, add};
use crate::draft::Draft;
use crate::error::{LedgerError, fits};
use crate::journal::PROVIDER;
use crate::line::{Bearer, Line, LineKey, LineKind};
use crate::settle::PeriodInput;

/// Where a bill goes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    Pool(Id),
    /// The owner of an agent that is not shared, and the agent.
    Owner(Id, Id),
    Nobody,
}

impl Target {
    fn owner(&self) -> Option<Id> {
        match self {
            Self::Owner(team, _) => Some(team.clone()),
            Self::Pool(_) | Self::Nobody => None,
        }
    }
}

/// A bill and who bears it: what is rounded, and charged as one line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Bill {
    id: Id,
    target: Target,
}

/// The days of a bill.
#[derive(Debug, Default)]
struct Run {
    /// Days with a rate.
    days: u64,
    /// Sum over these days of amount x rate into the organisation's currency, in square picounits: it may need more than
    /// 128 bits (MON-3).
    exact: BigInt,
    /// The first day without a rate, and the currency that has none.
    unpriced: Option<(NaiveDate, Currency)>,
}

/// What the bills of the period cost, in order: the sum over the days of amount x rate, by the days of the month, rounded
/// half to even once.
///
/// Each day counts with the organisation version, the entry and the exchange rate in force on it: a bill that changes
/// in the middle of a month changes from that day on. A day without a rate is unpriced (MON-4) and no part of the cost.
fn bills(input: &PeriodInput<'_>) -> Result<Vec<(Bill, Run, Amount)>, LedgerError> {
    let days = days_of(input);
    let priced = runs(input)?.into_iter().map(|(bill, run)| {
        let divisor = fits(PICO_PER_UNIT.checked_mul(days), "a recurring bill")?;
        let cost = fits(big_div_half_even(&run.exact, divisor).map(Amount::from_pico), "a recurring bill")?;
        Ok((bill, run, cost))
    });
    priced.collect()
}

/// [`div_half_even`] of a sum of any size. Twice the divisor goes in an even number of times, so that the rest alone
/// decides which neighbour is the even one.
fn big_div_half_even(sum: &BigInt, divisor: i128) -> Option<i128> {
    let twice = BigInt::from(divisor.checked_mul(2)?);
    let rest = sum % &twice;
    let even = ((sum - &rest) / &twice).to_i128()?.checked_mul(2)?;
    even.checked_add(div_half_even(rest.to_i128()?, divisor)?)
}

fn days_of(input: &PeriodInput<'_>) -> i128 {
    i128::try_from(input.period.days().count()).unwrap_or(i128::MAX)
}

/// Adds the bills to what pools are made of and split by, and nothing else.
pub(crate) fn add_to(input: &PeriodInput<'_>, ground: &mut Ground) -> Result<(), LedgerError> {
    for (bill, _, cost) in bills(input)? {
        match bill.target {
            Target::Pool(pool) => add(&mut ground.pools, pool, cost)?,
            Target::Owner(team, _) => add(&mut ground.direct, Bearer::Team(team), cost)?,
            Target::Nobody => {
                ground.add_unattributed(input, cost)?;
            }
        }
    }
    Ok(())
}

/// Charges the bills of the period.
pub(crate) fn charge(input: &PeriodInput<'_>, draft: &mut Draft, sums: &mut Sums) -> Result<(), LedgerError> {
    for (bill, run, cost) in bills(input)? {
        if let Some((day, currency)) = run.unpriced {
            sums.add_unpriced(bill.target.owner(), 1)?;
            let detail = format!(
                "the recurring bill `{}` in {currency} has no exchange rate on {day}; add one to `[[rates]]`",
                bill.id
            );
            draft.find(Severity::Warning, FindingKind::Unpriced, &bill.id, detail);
        }
        sums.priced_cost = fits(sums.priced_cost.checked_add(cost), "the priced cost")?;
        match bill.target.clone() {
            Target::Pool(pool) => add(&mut sums.ground.pools, pool, cost)?,
            Target::Nobody => sums.add_unattributed(input, draft, cost)?,
            Target::Owner(team, agent) => {
                add(&mut sums.ground.direct, Bearer::Team(team.clone()), cost)?;
                // Without any day that has a rate there is no line, rather than one of 0 (RAT-2).
                let months = mul_div_half_even(i128::from(run.days), PICO_PER_UNIT, days_of(input));
                let months = fits(months.map(Amount::from_pico), "a number of months")?;
                let line = Line::new(line_key(&bill, agent), cost).with_quantity(months);
                draft.bear(PROVIDER, &Bearer::Team(team), line)?;
            }
        }
    }
    Ok(())
}

fn line_key(bill: &Bill, agent: Id) -> LineKey {
    LineKey {
        agent: Some(agent),
        billing: Some(Billing::Token),
        sku: Some(bill.id.clone()),
        unit: Some(Id::from("month")),
        ..LineKey::of(LineKind::Charge)
    }
}

fn runs(input: &PeriodInput<'_>) -> Result<BTreeMap<Bill, Run>, LedgerError> {
    let mut runs: BTreeMap<Bill, Run> = BTreeMap::new();
    for day in input.local_days() {
        let organisation = &input.history.on(day).organisation;
        let runs_on = |entry: &&Recurring| entry.from <= day && entry.to.is_none_or(|to| day < to);
        for entry in organisation.recurring.iter().filter(runs_on) {
            let bill = Bill { id: entry.id.clone(), target: target(organisation, entry) };
            let run = runs.entry(bill).or_default();
            match rate_on(organisation, entry.currency, day) {
                Some(rate) => {
                    run.days = fits(run.days.checked_add(1), "the days of a recurring bill")?;
                    run.exact += BigInt::from(entry.amount.pico()) * rate.pico();
                }
                None => run.unpriced = run.unpriced.or(Some((day, entry.currency))),
            }
        }
    }
    Ok(runs)
}

fn target(organisation: &Organisation, entry: &Recurring) -> Target {
    if let Some(pool) = &entry.pool {
        return Target::Pool(pool.clone());
    }
    let Some((id, agent)) = entry.agent.as_ref().and_then(|id| Some((id, organisation.agents.get(id)?))) else {
        return Target::Nobody;
    };
    match (&agent.shared_pool, &agent.owner) {
        (Some(pool), _) => Target::Pool(pool.clone()),
        (None, Some(owner)) if organisation.teams.contains_key(owner) => Target::Owner(owner.clone(), id.clone()),
        (None, _) => Target::Nobody,
    }
}

/// The dated rate into the organisation's currency (MON-4); of several of one date the last in the file.
fn rate_on(organisation: &Organisation, currency: Currency, day: NaiveDate) -> Option<Amount> {
    if currency == organisation.currency {
        return Some(Amount::from_pico(PICO_PER_UNIT));
    }
    let applies = |rate: &&recoup_model::organisation::ExchangeRate| {
        rate.from_currency == currency && rate.to_currency == organisation.currency && rate.from <= day
    };
    organisation.rates.iter().filter(applies).max_by_key(|rate| rate.from).map(|rate| rate.rate)
}
