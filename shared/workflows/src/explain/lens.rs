//! What of a day's facts, or of a single trace's, makes up a line: the same reading for both, so that days and traces add up
//! to the same amount.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use recoup_attribution::DayFacts;
use recoup_attribution::facts::{CellKey, CellValue, TaskKey, TaskValue};
use recoup_ledger::{LineKey, PricedKey};
use recoup_model::Id;
use recoup_model::organisation::{Billing, Markup};
use recoup_money::Amount;
use recoup_pricing::internal::markup::{task_markup, time_markup};
use recoup_pricing::internal::task::task_charge;
use recoup_pricing::internal::time::{task_minutes_pico, time_charge};

use super::route::{Destination, Tariffs, is_of_line};
use super::step::{overflow, plus, sum, whole};
use crate::error::Refusal;

/// What makes up an amount.
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// Cost of a line of tokens or units.
    Tokens(LineKey),
    /// Cost of tasks that pass through.
    Passing(PricedKey),
    /// Actual cost behind charges at a price.
    Actual(PricedKey),
    /// Cost of a pool's events, and of those that nobody pays where it is the pool for them.
    Pool(Id),
    /// Completed tasks at the version of a price that begins on a day.
    Tasks(PricedKey, NaiveDate),
    /// Active minutes at the version of a price that begins on a day.
    Minutes(PricedKey, NaiveDate),
    /// Idle minutes at a rate that holds since a day; `None`: idle minutes that have no rate.
    Idle(PricedKey, Option<NaiveDate>),
    /// A markup on tasks or minutes.
    Markup(PricedKey, Markup),
}

/// A reading of facts for one payer.
pub(crate) struct Lens<'a> {
    pub(crate) tariffs: &'a Tariffs<'a>,
    /// `None`: whoever pays.
    pub(crate) team: Option<&'a Id>,
    pub(crate) what: What,
    /// First day of the stretch of days with the same idle rate, by day.
    pub(crate) idle_since: BTreeMap<NaiveDate, NaiveDate>,
}

/// What was read.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Read {
    pub(crate) amount: Amount,
    /// Tokens, units, tasks or nanoseconds.
    pub(crate) quantity: Amount,
    /// Whether anything was found, even at no cost.
    pub(crate) found: bool,
}

impl Read {
    fn add(&mut self, amount: Amount, quantity: Amount) -> Result<(), Refusal> {
        self.found = true;
        plus(&mut self.amount, amount)?;
        plus(&mut self.quantity, quantity)
    }
}

impl<'a> Lens<'a> {
    pub(crate) fn new(tariffs: &'a Tariffs<'a>, team: Option<&'a Id>, what: What) -> Self {
        Self { tariffs, team, what, idle_since: BTreeMap::new() }
    }

    /// Reads the facts of a day, or of a trace on a day.
    pub(crate) fn read(&self, facts: &DayFacts) -> Result<Read, Refusal> {
        let mut read = Read::default();
        match &self.what {
            What::Tokens(_) | What::Passing(_) | What::Actual(_) | What::Pool(_) => {
                for (_, value) in self.cells(facts) {
                    // A reported cost has no usage to count: its line counts the events.
                    let counts_events =
                        matches!(&self.what, What::Tokens(line) if line.unit.as_deref() == Some("event"));
                    read.add(value.cost, if counts_events { whole(value.events)? } else { value.quantity })?;
                }
            }
            _ => {
                for (key, value) in &facts.tasks {
                    self.read_task(facts.day, (key, value), &mut read)?;
                }
            }
        }
        Ok(read)
    }

    /// The cells that it reads; for tasks and minutes those of their actual cost.
    pub(crate) fn cells<'f>(&self, facts: &'f DayFacts) -> Vec<(&'f CellKey, &'f CellValue)> {
        let ours = |key: &CellKey| self.team.is_none_or(|team| key.team.as_ref() == Some(team));
        facts.cells.iter().filter(|(key, _)| ours(key) && self.is_read(key)).collect()
    }

    fn is_read(&self, cell: &CellKey) -> bool {
        let destination = self.tariffs.destination(cell);
        match &self.what {
            What::Tokens(line) => destination == Destination::Tokens && is_of_line(cell, line),
            What::Passing(key) => destination == Destination::Passing(key.clone()),
            What::Actual(key) => destination == Destination::Priced(key.clone()),
            What::Markup(key, markup) => {
                let ended_on = cell.task.as_ref().map(|task| task.ended_on).unwrap_or_default();
                let organisation = &self.tariffs.history.on(ended_on).organisation;
                let held = cell.team.as_ref().and_then(|team| organisation.markup(team, Some(&key.agent)));
                destination == Destination::Priced(key.clone()) && held == Some(*markup)
            }
            What::Pool(pool) => match destination {
                Destination::Pool(into) => into == pool,
                // What nobody pays goes into the pool for it (ATR-6).
                Destination::Nobody => self.tariffs.unattributed_pool() == Some(pool),
                _ => false,
            },
            What::Tasks(key, from) | What::Minutes(key, from) => {
                let ended_on = cell.task.as_ref().map(|task| task.ended_on).unwrap_or_default();
                destination == Destination::Priced(key.clone())
                    && self.tariffs.in_force(key, ended_on).is_some_and(|price| price.from == *from)
            }
            What::Idle(..) => false,
        }
    }

    fn read_task(&self, day: NaiveDate, (key, value): (&TaskKey, &TaskValue), read: &mut Read) -> Result<(), Refusal> {
        let (Some(team), Some(agent)) = (&key.team, &key.agent) else { return Ok(()) };
        if self.team.is_some_and(|only| only != team) {
            return Ok(());
        }
        let Some(of) = self.tariffs.key_on(day, team, (agent, &key.task_type)) else { return Ok(()) };
        let price = self.tariffs.in_force(&of, day);
        match &self.what {
            What::Tasks(wanted, from) if of == *wanted => {
                let Some(price) = price.filter(|price| price.from == *from) else { return Ok(()) };
                let charge = task_charge(price.price, value.completed).ok_or_else(overflow)?;
                read.add(charge, whole(value.completed)?)
            }
            What::Minutes(wanted, from) if of == *wanted => {
                let Some(price) = price.filter(|price| price.from == *from) else { return Ok(()) };
                read.add(charge_each(price.price, &value.durations_ns)?, nanoseconds(sum_ns(&value.durations_ns)?))
            }
            What::Idle(wanted, since) if of == *wanted => self.read_idle(day, (value, price.is_some()), *since, read),
            What::Markup(wanted, markup) if of == *wanted => {
                let here = self.tariffs.history.on(day).organisation.markup(team, Some(agent));
                let Some(price) = price.filter(|_| here == Some(*markup)) else { return Ok(()) };
                let (amount, quantity) = markup_of(*markup, price.price, (&of, value))?;
                read.add(amount, quantity)
            }
            _ => Ok(()),
        }
    }

    /// Idle minutes at a rate stand on the line of that rate, those that have none on a line of their own (PRC-4).
    fn read_idle(
        &self,
        day: NaiveDate,
        (value, has_price): (&TaskValue, bool),
        since: Option<NaiveDate>,
        read: &mut Read,
    ) -> Result<(), Refusal> {
        let agent = match &self.what {
            What::Idle(key, _) => &key.agent,
            _ => return Ok(()),
        };
        let rate = self.tariffs.history.on(day).organisation.idle_rate(agent);
        let charged_ns = match has_price {
            _ if rate.is_zero() => value.idle_ns,
            true => sum_ns(&value.idles_ns)?.min(value.idle_ns),
            false => 0,
        };
        let rest_ns = value.idle_ns.saturating_sub(charged_ns);
        match since {
            Some(since) if charged_ns > 0 && self.idle_since.get(&day) == Some(&since) => {
                read.add(charge_each(rate, &value.idles_ns)?, nanoseconds(charged_ns))
            }
            None if rest_ns > 0 => read.add(Amount::ZERO, nanoseconds(rest_ns)),
            _ => Ok(()),
        }
    }
}

fn markup_of(
    markup: Markup,
    price: Amount,
    (key, value): (&PricedKey, &TaskValue),
) -> Result<(Amount, Amount), Refusal> {
    if key.model.billing() == Billing::Task {
        let added = task_markup(markup, price, value.completed).ok_or_else(overflow)?;
        return Ok((added, whole(value.completed)?));
    }
    let each = value.durations_ns.iter().map(|(ns, count)| {
        let one = time_markup(markup, price, *ns).ok_or_else(overflow)?;
        one.checked_mul(i128::from(*count)).ok_or_else(overflow)
    });
    let added = sum(each.collect::<Result<Vec<_>, _>>()?)?;
    Ok((added, nanoseconds(sum_ns(&value.durations_ns)?)))
}

/// Nanoseconds of each task -> tasks, charged at a rate per minute, each task rounded once (MON-1).
pub(crate) fn charge_each(rate: Amount, durations: &BTreeMap<u64, u64>) -> Result<Amount, Refusal> {
    let each = durations.iter().map(|(ns, count)| time_charge(rate, *ns)?.checked_mul(i128::from(*count)));
    sum(each.collect::<Option<Vec<_>>>().ok_or_else(overflow)?)
}

pub(crate) fn sum_ns(durations: &BTreeMap<u64, u64>) -> Result<u64, Refusal> {
    let sum = durations.iter().try_fold(0_u64, |sum, (ns, count)| sum.checked_add(ns.checked_mul(*count)?));
    sum.ok_or_else(overflow)
}

/// Nanoseconds, held as picounits until they are converted once.
fn nanoseconds(ns: u64) -> Amount {
    Amount::from_pico(i128::from(ns))
}

/// The minutes of nanoseconds that were added up as by [`Lens::read`].
pub(crate) fn minutes_of(ns: Amount) -> Amount {
    task_minutes_pico(u64::try_from(ns.pico()).unwrap_or(u64::MAX))
}
