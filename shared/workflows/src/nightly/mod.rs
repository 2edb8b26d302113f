//! The nightly run: mark what new events touch, turn each such day into facts, settle the open periods.
//!
//! Plan (which days, and why), then execute (each day on its own, idempotent), then settle. Each is a step that any process
//! may take; start reading at `steps`. I/O per day: the blocks of its UTC days, the other blocks of traces that reach beyond
//! them, one group of puts, one final record.

mod day;
mod decoded;
mod load;
mod mark;
mod moved;
mod post;
mod rows;
mod seen;
mod settle;
mod steps;

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use recoup_attribution::batch::{Batch, day_facts, settlement_facts};
use recoup_attribution::facts::DayFacts;
use recoup_attribution::{AttributionError, Context, Grain, SettlementFacts};
use recoup_model::Period;
use recoup_money::Amount;
use serde::{Deserialize, Serialize};

pub(crate) use decoded::DecodedBlocks;
pub(crate) use load::{Cut, DayTraces, Prints, group, unreadable};
pub(crate) use mark::partners;
pub(crate) use settle::{SETTLED, SettledPeriod, SettledRecord, carry_past, nights_of, no_night, settled_partition};
pub use steps::{NightPlan, SettleStep};

use crate::app::{App, World};
use crate::error::Refusal;
use crate::facts::Night;
use rows::Rows;

/// The partition of days that a night has to do.
pub(crate) const DIRTY: &str = "dirty";
/// Days worked on at the same time: while one is read, others are added up.
const DAYS_AT_ONCE: usize = 3;
/// The same where processes share the work: each has little memory.
const DAYS_AT_ONCE_SHARING: usize = 2;

/// Which days to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Through {
    /// Every day that has something to do, up to the last local day that is over.
    Yesterday,
    /// Up to this local day.
    Day(NaiveDate),
    /// Every day that has something to do, an unfinished one too.
    All,
}

/// A day that has something to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Dirty {
    pub(crate) day: NaiveDate,
    pub(crate) lane: u16,
    /// Why: `new events`, `organisation changed: agents[triage].billing`, `price changed: NAME`.
    pub(crate) reason: String,
}

/// What a run did to a day.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DayOutcome {
    /// The local day.
    pub day: NaiveDate,
    /// The lane.
    pub lane: u16,
    /// Why it was run.
    pub reason: String,
    /// Events that count now.
    pub events: u64,
    /// Events that counted before; `None`: the first run of this day.
    pub events_before: Option<u64>,
    /// Priced cost of the day now.
    pub cost: Amount,
    /// Whether any figure changed.
    pub changed: bool,
}

impl App {
    /// How many days this process works on at the same time.
    pub(crate) const fn days_at_once(&self) -> usize {
        if self.sharing { DAYS_AT_ONCE_SHARING } else { DAYS_AT_ONCE }
    }
}

/// Attributes every trace of a day and adds up what falls on it.
pub(crate) fn facts_in_grain(world: &World, day: (NaiveDate, Grain), loaded: &DayTraces) -> Result<DayFacts, Refusal> {
    let batch = Batch::new(world.prices.as_ref());
    // What tasks used no settlement reads.
    attribute(world, day, (loaded, if day.1 == Grain::Settlement { batch.without_work() } else { batch }))
}

/// The same as a settlement reads it.
pub(crate) fn facts_to_settle(world: &World, day: NaiveDate, loaded: &DayTraces) -> Result<SettlementFacts, Refusal> {
    // What tasks used no settlement reads.
    let batch = Batch::new(world.prices.as_ref()).without_work();
    let context = Context { history: &world.history, rater: world.prices.as_ref() };
    let rows = Rows::new(&loaded.blocks, &loaded.beyond);
    settlement_facts(day, batch, &loaded.excluded, &context, &rows).map_err(|error| not_attributed(&error))
}

fn not_attributed(error: &AttributionError) -> Refusal {
    Refusal::computation("attribute a day", error)
}

/// The same in the grain of settlements, with what tasks used, where so many of the dearest of each agent and task type are
/// kept.
pub(crate) fn facts_keeping(
    world: &World,
    day: NaiveDate,
    (loaded, dearest_max): (&DayTraces, usize),
) -> Result<DayFacts, Refusal> {
    let batch = Batch::new(world.prices.as_ref()).keeping(dearest_max);
    attribute(world, (day, Grain::Settlement), (loaded, batch))
}

fn attribute(
    world: &World,
    day: (NaiveDate, Grain),
    (loaded, batch): (&DayTraces, Batch<'_>),
) -> Result<DayFacts, Refusal> {
    let context = Context { history: &world.history, rater: world.prices.as_ref() };
    let rows = Rows::new(&loaded.blocks, &loaded.beyond);
    day_facts(day, batch, &loaded.excluded, &context, &rows).map_err(|error| not_attributed(&error))
}

/// What a settlement reads of the facts of some days.
pub(crate) fn to_settle(days: &BTreeMap<NaiveDate, DayFacts>) -> Result<BTreeMap<NaiveDate, SettlementFacts>, Refusal> {
    SettlementFacts::of_days(days).map_err(|error| Refusal::computation("add up the costs of a day", error))
}

/// The first and the last period that is not closed: from the first with facts, or the one after the last closed before
/// it, to the last with facts, or the one that is being closed. A month without events in between is a month too; before the
/// first with facts only one that has bills, where it is being closed.
pub(crate) fn open_span(
    nights: &[(Night, u64)],
    closed: &[Period],
    (closing, has_bills): (Option<Period>, impl Fn(Period) -> bool),
) -> Option<(Period, Period)> {
    let with_facts: BTreeSet<Period> = nights.iter().map(|(night, _)| Period::of(night.day)).collect();
    let billed = closing.filter(|period| has_bills(*period));
    let known = with_facts.first().copied().into_iter().chain(closed.first().copied()).chain(billed).min()?;
    let closing = closing.filter(|period| *period >= known && !closed.contains(period));
    let open: BTreeSet<Period> =
        with_facts.into_iter().filter(|period| !closed.contains(period)).chain(closing).collect();
    let (first, last) = (*open.first()?, *open.last()?);
    let after_closed = closed.iter().rev().find(|period| **period < first).map(|period| period.next());
    Some((after_closed.unwrap_or(first), last))
}
