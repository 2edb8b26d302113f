//! Traces added up to the facts of a local day.
//!
//! What the rules leave open: the duration of a pool's use leaves `agent` spans out, as PRC-4 does, since they last as
//! long as what is inside them.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use recoup_model::period::utc_day;
use recoup_model::{CostPart, Finding, FindingKind, Id, Kind, Rating, Status};
use recoup_money::{Amount, Currency, PICO_PER_UNIT};

use crate::error::AttributionError;
use crate::event_set::EventPrints;
use crate::facts::{CellKey, CellValue, DayFacts, FINDINGS_PER_KIND_MAX, Item, PoolUseKey, TaskKey, TaskOf, UserKey};
use crate::reported::is_reported_frame;
use crate::resolve::Context;
use crate::sum::{add_amount, add_count};
use crate::task::{Task, is_billed_by_time};
use crate::trace::{Span, Trace};
use crate::work::{Calls, DEAREST_MAX, TaskWork, Work, WorkKey, bounded_retries};

/// Adds up the facts of one local day (of one lane), in any order of traces.
#[derive(Clone, Debug)]
pub struct DayBuilder {
    facts: DayFacts,
    counted: BTreeMap<NaiveDate, EventPrints>,
    context: EventPrints,
    findings: BTreeMap<FindingKind, BTreeSet<Finding>>,
    models: BTreeSet<(Option<Id>, Option<Id>)>,
    skus: BTreeSet<Id>,
    /// Other currencies than the organisation's in which costs were reported.
    currencies: BTreeSet<Currency>,
    /// `None`: what tasks used is not asked for.
    dearest_max: Option<usize>,
}

/// One rating of a span, with the names that it was bought under.
struct Booking<'a> {
    rating: &'a Rating,
    provider: Option<&'a Id>,
    model: Option<&'a Id>,
    unobserved: bool,
    /// Tokens or units, where the rating knows no price.
    unpriced: Amount,
}

impl DayBuilder {
    /// A day without traces.
    #[must_use]
    pub fn new(day: NaiveDate) -> Self {
        Self {
            facts: DayFacts::empty(day),
            counted: BTreeMap::new(),
            context: EventPrints::default(),
            findings: BTreeMap::new(),
            models: BTreeSet::new(),
            skus: BTreeSet::new(),
            currencies: BTreeSet::new(),
            dearest_max: Some(DEAREST_MAX),
        }
    }

    /// The same, but so many of the dearest tasks are kept; `None`: what tasks used is left out.
    #[must_use]
    pub(crate) const fn keeping(mut self, dearest_max: Option<usize>) -> Self {
        self.dearest_max = dearest_max;
        self
    }

    /// Makes room for the prints of so many events of the day.
    pub(crate) fn make_room(&mut self, events: usize) {
        self.counted.insert(self.facts.day, EventPrints::with_room(events));
    }

    /// Adds what a trace contributes to the day; nothing where it has no span on it. Each trace once.
    ///
    /// # Errors
    /// [`AttributionError::Overflow`]; the builder is of no use afterwards.
    pub fn add(&mut self, trace: &Trace, context: &Context<'_>) -> Result<(), AttributionError> {
        let day = self.facts.day;
        if !trace.spans.iter().any(|span| span.local_day == day) {
            return Ok(());
        }
        trace.spans.iter().for_each(|span| self.add_fingerprint(span));
        for span in trace.spans.iter().filter(|span| span.local_day == day) {
            self.add_pool_use(trace, span)?;
            if span.counts() {
                self.add_cost(trace, span)?;
            }
        }
        // What other days' spans cost decides on tasks that end here, so that their names belong to this day as well.
        // What a frame reports is compared with what calls that are billed in another trace would cost.
        let compares = trace.spans.iter().any(is_reported_frame);
        let is_rated = |span: &&Span| span.counts() || (compares && span.superseded_by.is_none());
        for span in trace.spans.iter().filter(is_rated) {
            self.add_names(span, context);
        }
        self.add_agents(trace)?;
        if let Some(task) = trace.task.as_ref().filter(|task| task.of.ended_on == day) {
            self.add_task(trace, task, context)?;
            self.add_work(trace, task)?;
        }
        self.add_findings(trace)
    }

    /// The facts.
    #[must_use]
    pub fn finish(self) -> DayFacts {
        let mut facts = self.facts;
        facts.counted = self.counted.into_iter().filter_map(|(day, events)| Some((day, events.finish()?))).collect();
        facts.context = self.context.finish();
        facts.findings = self.findings.into_values().flatten().collect();
        facts.findings.sort_unstable();
        let models = self.models.iter().map(|(provider, model)| price_name(provider.as_ref(), model.as_ref()));
        let rates = self.currencies.iter().map(|currency| format!("rate:{currency}"));
        facts.price_names = models.chain(self.skus.iter().map(sku_name)).chain(rates).collect();
        facts
    }

    fn add_fingerprint(&mut self, span: &Span) {
        if span.counts() {
            let today = span.local_day == self.facts.day;
            self.prints_of(today.then(|| utc_day(span.event.used_at_ns))).add(span.identity, &span.digest.0);
        }
    }

    /// Where the events that count are noted for the manifest: those used on this day by UTC day, or those of other days.
    pub(crate) fn prints_of(&mut self, today: Option<NaiveDate>) -> &mut EventPrints {
        match today {
            Some(utc_day) => self.counted.entry(utc_day).or_default(),
            None => &mut self.context,
        }
    }

    fn add_cost(&mut self, trace: &Trace, span: &Span) -> Result<(), AttributionError> {
        let mut events = 1;
        for booking in bookings_of(span) {
            let mut cost = Amount::ZERO;
            let first = events;
            for (item, part) in items_of(&booking) {
                let key = cell_key(trace, span, &booking, item);
                let cell = self.facts.cells.entry(key).or_default();
                add_amount(&mut cell.cost, part.cost, "cells.cost")?;
                add_amount(&mut cell.quantity, part.quantity, "cells.quantity")?;
                add_count(&mut cell.events, events, "cells.events")?;
                add_amount(&mut cost, part.cost, "users.cost")?;
                events = 0;
            }
            let user = self.facts.users.entry(user_key(trace, span, booking.model)).or_default();
            add_amount(&mut user.cost, cost, "users.cost")?;
            add_count(&mut user.events, first, "users.events")?;
            if matches!(booking.rating, Rating::Unpriced(_)) {
                add_count(&mut user.unpriced, first, "users.unpriced")?;
            }
        }
        Ok(())
    }

    fn add_names(&mut self, span: &Span, context: &Context<'_>) {
        let event = &span.event;
        let mut add_model = |provider: &Option<Id>, model: &Option<Id>| {
            if provider.is_some() || model.is_some() {
                self.models.insert((provider.clone(), model.clone()));
            }
        };
        add_model(&event.provider, &event.model);
        if let Some(unobserved) = &span.unobserved {
            add_model(&unobserved.provider, &unobserved.model);
        }
        if let Some(quantity) = event.quantity.as_ref().filter(|quantity| !self.skus.contains(&quantity.sku)) {
            self.skus.insert(quantity.sku.clone());
        }
        let reported = event.reported.as_ref().map(|reported| reported.currency);
        self.currencies.extend(reported.filter(|currency| Some(*currency) != context.rater.reporting_currency()));
    }

    fn add_pool_use(&mut self, trace: &Trace, span: &Span) -> Result<(), AttributionError> {
        let Some(pool) = span.pool.clone().filter(|_| span.counts() || span.invocation) else { return Ok(()) };
        let agent = trace.root_span().and_then(|root| root.agent.clone());
        let key = PoolUseKey { pool, team: trace.payer.team.clone(), via: span.via.clone(), agent };
        let used = self.facts.pools.entry(key).or_default();
        add_count(&mut used.invocations, u64::from(span.invocation), "pools.invocations")?;
        if span.counts() {
            let duration_ms = span.event.duration_ms.filter(|_| span.event.kind != Kind::Agent).unwrap_or_default();
            add_count(&mut used.tokens, span.tokens(), "pools.tokens")?;
            add_count(&mut used.duration_ms, duration_ms, "pools.duration_ms")?;
            add_amount(&mut used.cost, span.exclusive, "pools.cost")?;
        }
        Ok(())
    }

    /// A first frame has the agent nowhere above it, so the subtrees of first frames are disjoint and together the set
    /// of spans that have it at or above them; those of second frames are what is re-entrant (ATR-2).
    fn add_agents(&mut self, trace: &Trace) -> Result<(), AttributionError> {
        let day = self.facts.day;
        let costs = running_costs(trace, day)?;
        for (at, span) in trace.spans.iter().enumerate() {
            let Some(agent) = &span.agent else { continue };
            let below = match span.frame {
                Some(1 | 2) => cost_between(&costs, at, at.saturating_add(span.subtree))?,
                _ => Amount::ZERO,
            };
            let today = span.local_day == day && span.counted_below;
            if !today && below.is_zero() {
                continue;
            }
            let sums = self.facts.agents.entry(agent.clone()).or_default();
            match span.frame {
                Some(1) => add_amount(&mut sums.inclusive, below, "agents.inclusive")?,
                Some(2) => add_amount(&mut sums.reentrant, below, "agents.reentrant")?,
                _ => {}
            }
            if today {
                add_amount(&mut sums.exclusive, span.exclusive, "agents.exclusive")?;
                add_count(&mut sums.frames, u64::from(span.frame.is_some()), "agents.frames")?;
            }
        }
        Ok(())
    }

    fn add_task(&mut self, trace: &Trace, task: &Task, context: &Context<'_>) -> Result<(), AttributionError> {
        let TaskOf { agent, task_type, timed, .. } = task.of.clone();
        let key = TaskKey { team: trace.payer.team.clone(), agent, task_type };
        let sums = self.facts.tasks.entry(key).or_default();
        add_count(&mut sums.tasks, 1, "tasks")?;
        match task.status {
            Some(Status::Ok) => add_count(&mut sums.completed, 1, "tasks.completed")?,
            Some(Status::Error) => add_count(&mut sums.failed, 1, "tasks.failed")?,
            Some(Status::Killed) => add_count(&mut sums.killed, 1, "tasks.killed")?,
            None => {}
        }
        add_amount(&mut sums.direct_cost, task.direct_cost, "tasks.direct_cost")?;
        add_count(&mut sums.active_ns, task.active_ns, "tasks.active_ns")?;
        add_count(&mut sums.idle_ns, task.idle_ns, "tasks.idle_ns")?;
        if timed {
            add_amount(&mut sums.timed_cost, task.direct_cost, "tasks.timed_cost")?;
            add_count(&mut sums.timed_tasks, 1, "tasks.timed_tasks")?;
            add_count(&mut sums.timed_completed, u64::from(task.status == Some(Status::Ok)), "tasks.timed_completed")?;
        }
        if timed && is_billed_by_time(trace.payer.team.as_ref(), &task.of, context) {
            add_count(sums.durations_ns.entry(task.active_ns).or_default(), 1, "tasks.durations_ns")?;
            if task.idle_ns > 0 {
                add_count(sums.idles_ns.entry(task.idle_ns).or_default(), 1, "tasks.idles_ns")?;
            }
        }
        let Some(root) = trace.root_span() else { return Ok(()) };
        let model = bookings_of(root).next().and_then(|booking| booking.model);
        let user = self.facts.users.entry(user_key(trace, root, model)).or_default();
        add_count(&mut user.tasks, 1, "users.tasks")
    }

    fn add_work(&mut self, trace: &Trace, task: &Task) -> Result<(), AttributionError> {
        let (Some(root), Some(dearest_max)) = (trace.root_span(), self.dearest_max) else { return Ok(()) };
        let mut models: BTreeMap<Id, Calls> = BTreeMap::new();
        let (mut calls, mut retries) = (0_u64, 0_u64);
        for span in trace.spans.iter().filter(|span| span.counts()) {
            let booked = bookings_of(span).filter(|booking| *booking.rating != Rating::Free);
            for (number, booking) in booked.enumerate() {
                let (name, tokens) = call_of(span, &booking);
                let cost = cost_of(&booking);
                models.entry(name).or_default().add(&Calls { calls: 1, tokens, cost })?;
                calls = calls.saturating_add(1);
                let is_retry = number == 0 && span.event.retry_of.is_some();
                retries = retries.saturating_add(u64::from(is_retry));
            }
        }
        let key = WorkKey { agent: task.of.agent.clone(), task_type: task.of.task_type.clone() };
        let work = self.facts.work.entry(key).or_insert_with(|| Work::new(dearest_max));
        let task = TaskWork {
            trace: Id::clone(&trace.trace),
            team: trace.payer.team.clone(),
            ended_at_ns: root.event.used_at_ns,
            retries: bounded_retries(retries, calls),
            models,
        };
        work.add(root.identity.trace, task)
    }

    fn add_findings(&mut self, trace: &Trace) -> Result<(), AttributionError> {
        let day = self.facts.day;
        let concerns = |at: &usize| trace.spans.get(*at).is_some_and(|span| span.local_day == day);
        for (finding, _) in trace.findings.iter().zip(&trace.finding_spans).filter(|(_, at)| concerns(at)) {
            add_count(self.facts.finding_counts.entry(finding.kind).or_default(), 1, "finding_counts")?;
            let kept = self.findings.entry(finding.kind).or_default();
            if kept.len() < FINDINGS_PER_KIND_MAX {
                kept.insert(finding.clone());
            } else if kept.last().is_some_and(|last| finding < last) && kept.insert(finding.clone()) {
                kept.pop_last();
            }
        }
        Ok(())
    }
}

/// The name of a model that is looked up in the catalogue.
pub(crate) fn price_name(provider: Option<&Id>, model: Option<&Id>) -> String {
    let part = |name: Option<&Id>| name.map_or("-", |name| name).to_owned();
    format!("model:{}/{}", part(provider), part(model))
}

/// And of a SKU.
pub(crate) fn sku_name(sku: &Id) -> String {
    format!("sku:{sku}")
}

/// What a span's event is booked as: its own rating, what only a wrapper saw, or else a frame.
fn bookings_of(span: &Span) -> impl Iterator<Item = Booking<'_>> {
    let unobserved = span.unobserved.as_ref().map(|unobserved| Booking {
        rating: &unobserved.rating,
        provider: unobserved.provider.as_ref(),
        model: unobserved.model.as_ref(),
        unobserved: true,
        unpriced: whole(unobserved.usage.total()),
    });
    let own = (span.own != Rating::Free).then(|| Booking {
        rating: &span.own,
        provider: span.event.provider.as_ref(),
        model: span.event.model.as_ref(),
        unobserved: false,
        unpriced: match (&span.event.usage, &span.event.quantity) {
            (Some(usage), _) if !span.is_wrapper() => whole(usage.total()),
            (_, Some(quantity)) => quantity.quantity,
            _ => Amount::ZERO,
        },
    });
    let frame = (own.is_none() && unobserved.is_none()).then_some(Booking {
        rating: &span.own,
        provider: None,
        model: None,
        unobserved: false,
        unpriced: Amount::ZERO,
    });
    // The event counts in its first booking: where a part of it has no price, it is an unpriced event (RAT-2).
    let is_unpriced = |booking: &Option<Booking<'_>>| {
        booking.as_ref().is_some_and(|booking| matches!(booking.rating, Rating::Unpriced(_)))
    };
    let swap = is_unpriced(&unobserved) && !is_unpriced(&own);
    let (first, second) = if swap { (unobserved, own) } else { (own, unobserved) };
    first.into_iter().chain(second).chain(frame)
}

/// What a booking is called by, and its tokens.
fn call_of(span: &Span, booking: &Booking<'_>) -> (Id, u64) {
    let event = &span.event;
    let bucket = || Id::from(event.kind.name());
    if booking.unobserved {
        let tokens = span.unobserved.as_ref().map_or(0, |unobserved| unobserved.usage.total());
        return (booking.model.cloned().unwrap_or_else(bucket), tokens);
    }
    let usage = event.usage.as_ref().filter(|_| !span.is_wrapper());
    let sku = event.quantity.as_ref().filter(|_| usage.is_none()).map(|quantity| &quantity.sku);
    (sku.or(booking.model).cloned().unwrap_or_else(bucket), usage.map_or(0, |usage| usage.total()))
}

fn cost_of(booking: &Booking<'_>) -> Amount {
    match booking.rating {
        Rating::Priced { cost, .. } => *cost,
        Rating::Free | Rating::Unpriced(_) => Amount::ZERO,
    }
}

fn whole(count: u64) -> Amount {
    // 2^64 units are below 2^104 picounits.
    Amount::from_pico(i128::from(count).saturating_mul(PICO_PER_UNIT))
}

/// The items of a booking in item order, at least one; events are counted by the caller.
fn items_of(booking: &Booking<'_>) -> Vec<(Item, CellValue)> {
    let value = |cost, quantity| CellValue { cost, quantity, events: 0 };
    let mut items: Vec<(Item, CellValue)> = match booking.rating {
        Rating::Free => vec![(Item::Frame, CellValue::default())],
        Rating::Unpriced(_) => vec![(Item::Unpriced, value(Amount::ZERO, booking.unpriced))],
        Rating::Priced { parts, .. } if parts.is_empty() => {
            // Usage without a single token: an event all the same.
            vec![(Item::Tokens(recoup_model::TokenClass::Input), CellValue::default())]
        }
        Rating::Priced { parts, .. } => parts
            .iter()
            .map(|part| match part {
                CostPart::Tokens { class, tokens, cost } => (Item::Tokens(*class), value(*cost, whole(*tokens))),
                CostPart::Units { sku, quantity, unit, cost } => {
                    (Item::Units { sku: sku.clone(), unit: unit.clone() }, value(*cost, *quantity))
                }
                CostPart::Reported { cost } => (Item::Reported, value(*cost, Amount::ZERO)),
            })
            .collect(),
    };
    items.sort_by(|one, other| one.0.cmp(&other.0));
    items
}

fn cell_key(trace: &Trace, span: &Span, booking: &Booking<'_>, item: Item) -> CellKey {
    CellKey {
        team: trace.payer.team.clone(),
        project: trace.payer.project.clone(),
        agent: span.agent.clone(),
        task_type: span.task_type.clone(),
        kind: span.event.kind,
        provider: booking.provider.cloned(),
        model: booking.model.cloned(),
        item,
        task: trace.task.as_ref().map(|task| task.of.clone()),
        pool: span.pool.clone(),
        unobserved: booking.unobserved,
    }
}

fn user_key(trace: &Trace, span: &Span, model: Option<&Id>) -> UserKey {
    UserKey {
        team: trace.payer.team.clone(),
        project: trace.payer.project.clone(),
        user: trace.payer.user.clone(),
        agent: span.agent.clone(),
        task_type: span.task_type.clone(),
        model: model.cloned(),
        kind: span.event.kind,
    }
}

/// Cost of the day's spans before each position, and of all of them at the end.
fn running_costs(trace: &Trace, day: NaiveDate) -> Result<Vec<Amount>, AttributionError> {
    let mut sum = Amount::ZERO;
    let mut sums = Vec::with_capacity(trace.spans.len().saturating_add(1));
    sums.push(sum);
    for span in &trace.spans {
        if span.local_day == day {
            add_amount(&mut sum, span.exclusive, "agents.inclusive")?;
        }
        sums.push(sum);
    }
    Ok(sums)
}

fn cost_between(sums: &[Amount], begin: usize, end: usize) -> Result<Amount, AttributionError> {
    let at = |position: usize| sums.get(position).copied().unwrap_or_default();
    at(end).checked_sub(at(begin)).ok_or(AttributionError::Overflow { field: "agents.inclusive" })
}
