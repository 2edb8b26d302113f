//! The nightly run: mark what new events touch, turn each such day into facts, settle the open periods.
//!
//! Plan (which days, and why), then execute (each day on its own, idempotent), then settle. I/O per day: the blocks of
//! its UTC days, the other blocks of traces that reach beyond them, one group of puts, one final record.

mod load;
mod mark;
mod rows;
mod settle;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::NaiveDate;
use recoup_attribution::batch::{Batch, day_facts};
use recoup_attribution::facts::DayFacts;
use recoup_attribution::{Context, Grain};
use recoup_documents::RULES_VERSION;
use recoup_model::period::TIME_ZONE_DATA;
use recoup_model::{Digest, Period};
use recoup_money::Amount;
use recoup_store::{Expect, Key, Write};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::task::JoinSet;

pub(crate) use load::{Cut, DayTraces, Prints, group, unreadable};
pub(crate) use settle::{SETTLED, SettledPeriod, SettledRecord, carry_past, nights_of, no_night, settled_partition};

use crate::access::Principal;
use crate::app::{App, World};
use crate::close;
use crate::error::Refusal;
use crate::facts::{FACTS_FORM, NIGHTS, Night, facts_digest, facts_partition, night_sort, query_puts, settlement_puts};
use crate::records;
use crate::runs::Running;
use crate::shipped::Known;
use rows::Rows;

/// The partition of days that a night has to do.
pub(crate) const DIRTY: &str = "dirty";
/// The partition of closed months whose fingerprints were dropped.
const PRINTS_DROPPED: &str = "prints-dropped";
/// Days worked on at the same time.
pub(crate) const DAYS_AT_ONCE: usize = 2;

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
    /// Why: `new events`, `organisation changed`, `price changed: NAME`.
    pub(crate) reason: String,
}

/// What a run did to a day.
#[derive(Clone, Debug, Serialize)]
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
    /// Runs the nights that have something to do and settles the open periods.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`], or what stopped it; days already done stay done.
    pub async fn nightly(
        self: &Arc<Self>,
        principal: &Principal,
        run: &str,
        through: Through,
    ) -> Result<Value, Refusal> {
        principal.may_run()?;
        let running = self.begin_run(run, "nightly").await?;
        let outcome = self.nightly_steps(&running, through).await;
        self.end_run(run, &outcome).await?;
        outcome
    }

    async fn nightly_steps(self: &Arc<Self>, running: &Running, through: Through) -> Result<Value, Refusal> {
        let world = self.world().await?;
        self.keep_shipped().await?;
        self.mark_days(running, &world).await?;
        let yesterday = world.history.calendar().day_of(self.now_ns()).pred_opt().unwrap_or_default();
        let last = match through {
            Through::Yesterday => yesterday,
            Through::Day(day) => day,
            Through::All => NaiveDate::MAX,
        };
        let closing = close::closing_period(self.books()).await?;
        let marked = records::all::<Dirty>(self.books(), DIRTY, "").await?;
        let mut plan: Vec<_> = marked.into_iter().map(|(_, dirty, version)| (dirty, Some(version))).collect();
        plan.extend(self.without_queries(&plan).await?);
        plan.retain(|(dirty, _)| dirty.day <= last && closing.is_none_or(|period| !period.contains(dirty.day)));
        let plan = plan.into_iter().map(|(dirty, version)| (dirty, version, Grain::Query)).collect();
        let (days, unread) = self.run_days(running, &world, plan).await?;
        self.progress(running, "settling the open periods", days.len(), days.len());
        let periods = self.settle_open_periods(&world).await?;
        let summary: Vec<_> = periods.iter().map(SettledPeriod::summary).collect();
        self.drop_prints_of_closed_months().await?;
        serde_json::to_value(serde_json::json!({ "days": days, "unread": unread, "periods": summary }))
            .map_err(|error| Refusal::computation("write the outcome", error))
    }

    /// Fingerprints save computing them again while a month is open; of closed ones they are room for nothing. A UTC day
    /// that reaches into another month keeps them.
    async fn drop_prints_of_closed_months(&self) -> Result<(), Refusal> {
        let nights = self.nights().await?;
        for record in close::period_records(self.books()).await?.iter().filter(|record| record.is_closed()) {
            let key = Key::new(PRINTS_DROPPED, record.period.to_string());
            let lacks = |(night, _): &(Night, u64)| record.period.contains(night.day) && night.queries.is_none();
            if nights.iter().any(lacks) || records::get::<String>(self.books(), &key).await?.is_some() {
                continue;
            }
            let (first, last) = (record.period.first_day(), record.period.days().last().unwrap_or_default());
            let inside = record.period.days().filter(|day| *day != first && *day != last).collect();
            self.ports.log.drop_prints(inside).await?;
            self.books().write(vec![records::put(key, &self.now_text(), Expect::Any)?]).await?;
        }
        Ok(())
    }

    async fn run_days(
        self: &Arc<Self>,
        running: &Running,
        world: &Arc<World>,
        plan: Vec<(Dirty, Option<u64>, Grain)>,
    ) -> Result<(Vec<DayOutcome>, Vec<String>), Refusal> {
        let closed = self.closed_worlds(world).await?;
        let mut unread = Vec::new();
        let total = plan.len();
        let mut queue = plan.into_iter();
        let mut tasks = JoinSet::new();
        let mut outcomes = Vec::with_capacity(total);
        loop {
            while tasks.len() < DAYS_AT_ONCE {
                let Some((dirty, version, grain)) = queue.next() else { break };
                let own = closed.get(&Period::of(dirty.day)).unwrap_or(world);
                let (app, world, run) = (Arc::clone(self), Arc::clone(own), running.run.clone());
                tasks.spawn(async move { app.run_day(world, &run, (dirty, version), grain).await });
            }
            let Some(joined) = tasks.join_next().await else { break };
            let outcome = match joined.map_err(|error| Refusal::computation("run a day", error))? {
                Ok(outcome) => outcome,
                // The day stays marked, so that no close passes it by; the others go on.
                Err(error) => match unreadable(&error) {
                    Some((block, reason)) => {
                        tracing::error!(block, reason, "a block cannot be read");
                        let line = format!("{block}: {reason}");
                        if !unread.contains(&line) {
                            unread.push(line);
                        }
                        continue;
                    }
                    None => return Err(error),
                },
            };
            self.progress(running, format!("day {}", outcome.day), outcomes.len().saturating_add(1), total);
            outcomes.push(outcome);
        }
        outcomes.sort_by_key(|outcome| (outcome.day, outcome.lane));
        Ok((outcomes, unread))
    }

    /// What the days of closed periods are made with: the organisation and the prices as they were known at the close,
    /// and prices that came later for what had none (LED-4, RAT-2).
    pub(crate) async fn closed_worlds(&self, world: &World) -> Result<BTreeMap<Period, Arc<World>>, Refusal> {
        let mut worlds = BTreeMap::new();
        for record in close::period_records(self.books()).await?.iter().filter(|record| record.is_closed()) {
            worlds.insert(record.period, self.world_of(world, record, Known::Since).await?);
        }
        Ok(worlds)
    }

    /// Nights that a close has run, without what queries need: no mark tells of them.
    async fn without_queries(&self, marked: &[(Dirty, Option<u64>)]) -> Result<Vec<(Dirty, Option<u64>)>, Refusal> {
        let is_marked =
            |night: &Night| marked.iter().any(|(dirty, _)| (dirty.day, dirty.lane) == (night.day, night.lane));
        let nights = self.nights().await?.into_iter().map(|(night, _)| night);
        let lacking = nights.filter(|night| night.queries.is_none() && !is_marked(night));
        let reason = || "the facts of queries are still to be made".to_owned();
        Ok(lacking.map(|night| (Dirty { day: night.day, lane: night.lane, reason: reason() }, None)).collect())
    }

    /// Runs the nights that a close lacks, in the grain of settlements.
    pub(crate) async fn run_missing_nights(
        self: &Arc<Self>,
        running: &Running,
        world: &Arc<World>,
        period: Period,
    ) -> Result<(), Refusal> {
        let dirty = records::all::<Dirty>(self.books(), DIRTY, "").await?;
        let ours = dirty.into_iter().filter(|(_, dirty, _)| period.contains(dirty.day));
        let plan = ours.map(|(_, dirty, version)| (dirty, Some(version), Grain::Settlement)).collect();
        self.run_days(running, world, plan).await?;
        Ok(())
    }

    async fn run_day(
        &self,
        world: Arc<World>,
        run: &str,
        (dirty, mark): (Dirty, Option<u64>),
        grain: Grain,
    ) -> Result<DayOutcome, Refusal> {
        let (day, lane) = (dirty.day, dirty.lane);
        let traces = self.load_day(&world, (day, lane), (Cut::NONE, Prints::Stored)).await?;
        let organisations = traces.days.iter().map(|day| (*day, world.history.on(*day).digest)).collect();
        let shared = Arc::clone(&world);
        let own_run = run.to_owned();
        let made = tokio::task::spawn_blocking(move || make_facts(&shared, (day, lane, grain), &own_run, &traces))
            .await
            .map_err(|error| Refusal::computation("attribute a day", error))??;
        let key = Key::new(NIGHTS, night_sort(day, lane));
        let before = records::get::<Night>(self.books(), &key).await?;
        let held = before.as_ref().map(|(night, _)| night);
        let changed = held.is_none_or(|night| night.facts != made.digest || night.form != FACTS_FORM);
        let same = !changed && held.is_some_and(|night| made.queries.is_none() || night.queries == made.queries);
        let night = Night {
            day,
            lane,
            run: if same { held.map(|night| night.run.clone()).unwrap_or_default() } else { run.to_owned() },
            organisations,
            names: made.facts.price_names.iter().map(|name| (name.clone(), world.prices.name_digest(name))).collect(),
            exchange: world.prices.exchange_digest(),
            form: FACTS_FORM,
            facts: made.digest,
            queries: if same { held.and_then(|night| night.queries) } else { made.queries },
            events: made.facts.counted.values().map(|set| set.events).sum(),
            rules: RULES_VERSION,
            catalogue: world.prices.digest(),
            time_zone_data: TIME_ZONE_DATA.to_owned(),
            finished_at: self.now_text(),
        };
        if !same {
            records::write_in_groups(self.books(), made.puts).await?;
        }
        let expect = before.as_ref().map_or(Expect::Absent, |(_, version)| Expect::Version(*version));
        self.books().write(vec![records::put(key, &night, expect)?]).await?;
        if let Some(mark) = mark {
            self.clear_dirty(day, lane, mark).await?;
        }
        if let Some((old, _)) = before.as_ref().filter(|_| !same) {
            records::remove_all(self.books(), &facts_partition(day, lane), &format!("{}/", old.run)).await?;
        }
        Ok(DayOutcome {
            day,
            lane,
            reason: dirty.reason,
            events: night.events,
            events_before: before.map(|(night, _)| night.events),
            cost: total_cost(&made.facts)?,
            changed,
        })
    }

    /// Takes the mark away, unless new events have marked the day again meanwhile.
    async fn clear_dirty(&self, day: NaiveDate, lane: u16, version: u64) -> Result<(), Refusal> {
        let key = Key::new(DIRTY, night_sort(day, lane));
        match self.books().write(vec![Write::Delete { key, expect: Expect::Version(version) }]).await {
            Ok(()) | Err(recoup_store::WriteError::Conflict(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// A day's facts in the grain of settlements, and everything that is stored of it.
struct Made {
    facts: DayFacts,
    digest: Digest,
    queries: Option<Digest>,
    puts: Vec<Write>,
}

fn make_facts(
    world: &World,
    (day, lane, grain): (NaiveDate, u16, Grain),
    run: &str,
    traces: &DayTraces,
) -> Result<Made, Refusal> {
    let facts = facts_in_grain(world, (day, grain), traces)?;
    let fine = match grain {
        Grain::Query => query_puts(&facts, lane, run)?,
        Grain::Settlement => Vec::new(),
    };
    let facts = match grain {
        Grain::Query => facts
            .in_settlement_grain(&world.history)
            .map_err(|error| Refusal::computation("add up the costs of a day", error))?,
        Grain::Settlement => facts,
    };
    let mut puts = settlement_puts(&facts, lane, run)?;
    let digest = facts_digest(&puts, run);
    let queries = (grain == Grain::Query).then(|| facts_digest(&fine, run));
    puts.extend(fine);
    Ok(Made { facts, digest, queries, puts })
}

fn total_cost(facts: &DayFacts) -> Result<Amount, Refusal> {
    Amount::checked_sum(facts.cells.values().map(|cell| cell.cost))
        .ok_or_else(|| Refusal::computation("add a day's cost", "the sum overflows"))
}

/// Attributes every trace of a day and adds up what falls on it.
pub(crate) fn facts_in_grain(world: &World, day: (NaiveDate, Grain), loaded: &DayTraces) -> Result<DayFacts, Refusal> {
    let context = Context { history: &world.history, rater: world.prices.as_ref() };
    let mut batch = Batch::new(world.prices.as_ref());
    let rows = Rows::fill(&mut batch, &loaded.blocks, &loaded.beyond);
    day_facts(day, &mut batch, &loaded.excluded, &context, &rows)
        .map_err(|error| Refusal::computation("attribute a day", error))
}

/// The first and the last period that is not closed: from the first with facts, or the one after the last closed before
/// it, to the last with facts, or the one that is being closed. A month without events in between is a month too.
pub(crate) fn open_span(
    nights: &[(Night, u64)],
    closed: &[Period],
    closing: Option<Period>,
) -> Option<(Period, Period)> {
    let with_facts: BTreeSet<Period> = nights.iter().map(|(night, _)| Period::of(night.day)).collect();
    let known = with_facts.first().copied().into_iter().chain(closed.first().copied()).min()?;
    let closing = closing.filter(|period| *period >= known && !closed.contains(period));
    let open: BTreeSet<Period> =
        with_facts.into_iter().filter(|period| !closed.contains(period)).chain(closing).collect();
    let (first, last) = (*open.first()?, *open.last()?);
    let after_closed = closed.iter().rev().find(|period| **period < first).map(|period| period.next());
    Some((after_closed.unwrap_or(first), last))
}
