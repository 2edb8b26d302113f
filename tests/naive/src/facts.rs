//! What each local day amounts to, as named figures, so that the reference's and the engine's can be laid side by side.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use num_traits::Zero;
use recoup_model::organisation::{Billing, History};
use recoup_model::{Id, Kind, Status};

use crate::number::{Q, text, whole};
use crate::rate::What;
use crate::trace::{Span, Task, Trace};

/// Figures by name.
pub type Figures = BTreeMap<String, String>;

/// Every figure of a world.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// What each day amounts to.
    pub days: Figures,
    /// What each month is settled to.
    pub months: Figures,
}

/// An id or its absence.
#[must_use]
pub fn shown(id: Option<&Id>) -> String {
    id.map_or_else(|| "-".to_owned(), ToString::to_string)
}

/// Sums by name, each of some figures.
#[derive(Default)]
struct Sums(BTreeMap<String, Vec<Q>>);

impl Sums {
    fn add(&mut self, name: String, figures: &[Q]) {
        let sums = self.0.entry(name).or_insert_with(|| vec![Q::zero(); figures.len()]);
        sums.iter_mut().zip(figures).for_each(|(sum, figure)| *sum += figure);
    }
}

/// The figures of a day.
#[must_use]
pub fn of_day(history: &History, traces: &[Trace], day: NaiveDate) -> Figures {
    let mut sums = Sums::default();
    for trace in traces {
        for (at, span) in trace.spans.iter().enumerate().filter(|(_, span)| span.day == day) {
            add_cells(&mut sums, trace, span);
            add_pool_use(&mut sums, trace, span);
            add_agents(&mut sums, trace, at);
        }
        if let Some(task) = trace.task.as_ref().filter(|task| task.ended_on == day) {
            add_task(&mut sums, history, trace, task);
        }
    }
    let shown = |sums: Vec<Q>| sums.iter().map(text).collect::<Vec<_>>().join(" ");
    sums.0.into_iter().map(|(name, sums)| (name, shown(sums))).collect()
}

/// The name of what was bought.
#[must_use]
pub fn item(what: &What) -> String {
    match what {
        What::Tokens(class) => class.name().to_owned(),
        What::Units(sku, unit) => format!("{sku} in {}", shown(unit.as_ref())),
        What::Reported => "reported".to_owned(),
        What::Unpriced => "unpriced".to_owned(),
        What::Frame => "frame".to_owned(),
    }
}

fn task_name(task: Option<&Task>) -> String {
    task.map_or_else(
        || "-".to_owned(),
        |task| format!("({} {} {} {})", shown(task.agent.as_ref()), task.task_type, task.ended_on, task.active_ns > 0),
    )
}

/// Cost, quantity, events by cell; cost, events, tasks by user.
fn add_cells(sums: &mut Sums, trace: &Trace, span: &Span) {
    let payer = format!("team={} project={}", shown(trace.payer.as_ref()), shown(trace.project.as_ref()));
    let tags = format!("agent={} type={}", shown(span.agent.as_ref()), shown(span.task_type.as_ref()));
    let kind = span.event.kind.name();
    // The event counts once: as unpriced where a part of it is (RAT-2), else with its first part.
    let counted = span.bought.iter().position(|bought| bought.what == What::Unpriced).unwrap_or(0);
    for (at, bought) in span.bought.iter().enumerate() {
        let sold = format!("provider={} model={}", shown(bought.provider.as_ref()), shown(bought.model.as_ref()));
        let to = format!("task={} pool={}", task_name(trace.task.as_ref()), shown(span.pool.as_ref()));
        let unobserved = if bought.unobserved { " unobserved" } else { "" };
        let name = format!("cell {payer} {tags} {kind} {sold} {} {to}{unobserved}", item(&bought.what));
        sums.add(name, &[bought.cost.clone(), bought.quantity.clone(), whole(u64::from(at == counted))]);
    }
}

/// Invocations, tokens, milliseconds and cost by consumer.
fn add_pool_use(sums: &mut Sums, trace: &Trace, span: &Span) {
    let Some(pool) = &span.pool else { return };
    let root = shown(trace.spans[trace.root].agent.as_ref());
    let via = shown(span.via.as_ref());
    let name = format!("pool {pool} team={} via={via} root agent={root}", shown(trace.payer.as_ref()));
    let usage = use_of(span);
    if usage.iter().any(|figure| !figure.is_zero()) {
        sums.add(name, &usage);
    }
}

/// Invocations, tokens, milliseconds, cost.
#[must_use]
pub fn use_of(span: &Span) -> [Q; 4] {
    let duration_ms = span.event.duration_ms.filter(|_| span.counts() && span.event.kind != Kind::Agent);
    [whole(u64::from(span.invocation)), tokens_of(span), whole(duration_ms.unwrap_or(0)), span.cost()]
}

/// The tokens that count at a span: its own, or those that only a wrapper saw.
fn tokens_of(span: &Span) -> Q {
    if !span.counts() {
        return Q::zero();
    }
    if span.event.kind == Kind::Agent {
        return span.bought.iter().filter(|bought| bought.unobserved).map(|bought| &bought.quantity).sum();
    }
    whole(span.event.usage.map_or(0, |usage| usage.total()))
}

/// ATR-2: exclusive, inclusive and re-entrant cost and frames by agent.
fn add_agents(sums: &mut Sums, trace: &Trace, at: usize) {
    let span = &trace.spans[at];
    let above = trace.above(at);
    // A frame in which nothing counts is none.
    let holds = (0..trace.spans.len()).any(|below| trace.spans[below].counts() && trace.above(below).contains(&at));
    let mut agents: Vec<&Id> = above.iter().filter_map(|up| trace.spans[*up].agent.as_ref()).collect();
    agents.sort();
    agents.dedup();
    for agent in agents {
        let own = span.agent.as_ref() == Some(agent);
        let frames = above.iter().filter(|up| trace.spans[**up].agent.as_ref() == Some(agent));
        let nested = frames.filter(|up| trace.spans[**up].frame.is_some()).count() > 1;
        let part = |holds: bool| if holds { span.cost() } else { Q::zero() };
        let frame = whole(u64::from(own && span.frame.is_some() && holds));
        let figures = [part(own), span.cost(), part(nested), frame];
        if figures.iter().any(|figure| !figure.is_zero()) {
            sums.add(format!("agent {agent}"), &figures);
        }
    }
}

/// PRC-1, PRC-4: tasks, by how they ended, their cost and time.
fn add_task(sums: &mut Sums, history: &History, trace: &Trace, task: &Task) {
    let name = format!(
        "task team={} agent={} type={}",
        shown(trace.payer.as_ref()),
        shown(task.agent.as_ref()),
        task.task_type
    );
    let ended = |status: Status| whole(u64::from(task.status == Some(status)));
    let cost = trace.direct_cost();
    let timed = if task.active_ns > 0 { cost.clone() } else { Q::zero() };
    let (active, idle) = (whole(task.active_ns), whole(task.idle_ns));
    let is_timed = whole(u64::from(task.active_ns > 0));
    let (timed_tasks, timed_completed) = (is_timed.clone(), is_timed * ended(Status::Ok));
    let counts = [whole(1), ended(Status::Ok), ended(Status::Error), ended(Status::Killed)];
    let figures = [&counts[..], &[cost, timed, timed_tasks, timed_completed, active, idle]].concat();
    let organisation = &history.on(task.ended_on).organisation;
    let by_time =
        trace.payer.as_ref().is_some_and(|team| organisation.billing(team, task.agent.as_deref()) == Billing::Time);
    if by_time && task.active_ns > 0 {
        sums.add(format!("{name} of {} ns", task.active_ns), &[whole(1)]);
    }
    sums.add(name, &figures);
}
