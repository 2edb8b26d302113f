//! One trace put back together: tree, payer, costs, frames, use of pools, task (EVT-3, EVT-5, ATR-1 to ATR-4, PRC-0).
//!
//! Spans stand in order of (start, event id): the smaller index wins every tie.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use num_traits::Zero;
use recoup_model::organisation::{History, Organisation};
use recoup_model::{Event, Id, Kind, Recorded, Status, Tags, Usage};

use crate::number::Q;
use crate::rate::{Bought, Seller, What, excess, organisation_at, rate_event, rate_tokens, rate_wrapper};

/// (trace, event) by name; an event without a trace is one of its own.
pub type Name = (Option<Id>, Id, Id);

/// One span with what is found out about it.
#[derive(Clone, Debug)]
pub struct Span {
    /// The event as reported.
    pub event: Event,
    /// The default tags of its API key.
    pub key_tags: Tags,
    /// The local day of its end.
    pub day: NaiveDate,
    /// Another event corrects it (EVT-3).
    pub superseded: bool,
    /// Another report of the same call is billed (EVT-2).
    pub excluded: bool,
    /// What it hangs on.
    pub parent: Option<usize>,
    /// Its resolved agent.
    pub agent: Option<Id>,
    /// Its resolved task type.
    pub task_type: Option<Id>,
    /// The pool that bears its cost.
    pub pool: Option<Id>,
    /// The nearest other pool above.
    pub via: Option<Id>,
    /// What it buys; empty where it does not count.
    pub bought: Vec<Bought>,
    /// What that costs.
    pub cost: Q,
    /// How many frames of its agent lie at or above it, where it starts one.
    pub frame: Option<usize>,
    /// Whether that is an invocation of a shared agent.
    pub invocation: bool,
}

impl Span {
    /// Whether it bears cost.
    #[must_use]
    pub fn counts(&self) -> bool {
        !self.superseded && !self.excluded
    }

    /// What it costs.
    #[must_use]
    pub fn cost(&self) -> Q {
        self.cost.clone()
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> Name {
        name_of(&self.event)
    }
}

/// A task (PRC-0).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// The root's agent.
    pub agent: Option<Id>,
    /// The root's task type.
    pub task_type: Id,
    /// The local day on which the root ended.
    pub ended_on: NaiveDate,
    /// How.
    pub status: Option<Status>,
    /// Nanoseconds in the union of intervals (PRC-4).
    pub active_ns: u64,
    /// Nanoseconds of the root's interval outside it.
    pub idle_ns: u64,
}

/// A trace.
#[derive(Clone, Debug)]
pub struct Trace {
    /// Its spans by (start, id).
    pub spans: Vec<Span>,
    /// The index of the root.
    pub root: usize,
    /// Who pays; `None`: nobody.
    pub payer: Option<Id>,
    /// The payer's user.
    pub user: Option<Id>,
    /// The payer's project.
    pub project: Option<Id>,
    /// The task, where it is one.
    pub task: Option<Task>,
}

impl Trace {
    /// A span and what is above it, upwards.
    #[must_use]
    pub fn above(&self, at: usize) -> Vec<usize> {
        let mut chain = vec![at];
        while let Some(parent) = self.spans[*chain.last().unwrap()].parent {
            chain.push(parent);
        }
        chain
    }

    /// A span and what is below it.
    fn below(&self, at: usize) -> Vec<usize> {
        (0..self.spans.len()).filter(|other| self.above(*other).contains(&at)).collect()
    }

    fn children(&self, at: usize) -> Vec<usize> {
        (0..self.spans.len()).filter(|other| self.spans[*other].parent == Some(at)).collect()
    }

    fn find(&self, event_id: &Id) -> Option<usize> {
        self.spans.iter().position(|span| span.event.event_id == *event_id)
    }

    /// Cost that went into no pool (PRC-1).
    #[must_use]
    pub fn direct_cost(&self) -> Q {
        self.spans.iter().filter(|span| span.pool.is_none()).map(Span::cost).sum()
    }
}

/// The name of an event.
#[must_use]
pub fn name_of(event: &Event) -> Name {
    (event.trace_id.clone(), event.trace_name().clone(), event.event_id.clone())
}

/// Why a span has no parent in the trace. In the order in which a root is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Top {
    Parentless,
    Orphan,
    LoopCut,
}

/// The shape of a trace before anything is known of costs: which event corrects which, parents, root.
struct Shape {
    /// What each event corrects.
    corrects: Vec<Option<usize>>,
    /// What stands for each event in the end.
    current: Vec<usize>,
    parents: Vec<Option<usize>>,
    root: usize,
    root_arrived: bool,
}

fn shape(events: &[&Recorded]) -> Shape {
    let find = |id: &Id| events.iter().position(|other| other.event.event_id == *id);
    let named: Vec<Option<usize>> =
        events.iter().map(|recorded| recorded.event.supersedes.as_ref().and_then(find)).collect();
    // EVT-3: what closes a loop corrects nothing.
    let corrects: Vec<Option<usize>> = (0..events.len()).map(|at| named[at].filter(|_| !returns(&named, at))).collect();
    let successor = |at: usize| (0..events.len()).find(|other| corrects[*other] == Some(at));
    let current: Vec<usize> = (0..events.len())
        .map(|mut at| {
            while let Some(next) = successor(at) {
                at = next;
            }
            at
        })
        .collect();
    let pointers: Vec<Result<usize, Top>> =
        (0..events.len()).map(|at| pointer(events, (&corrects, &current), (at, at))).collect();
    let (parents, tops) = cut_loops(pointers);
    let root = (0..events.len())
        .filter(|at| current[*at] == *at && parents[*at].is_none())
        .min_by_key(|at| (tops[*at], *at))
        .unwrap();
    let hang = |at: usize| if at == root { None } else { Some(parents[at].unwrap_or(root)) };
    Shape {
        corrects,
        current,
        parents: (0..events.len()).map(hang).collect(),
        root,
        root_arrived: tops[root] == Some(Top::Parentless),
    }
}

/// Whether following pointers from a place leads back to it.
fn returns(next: &[Option<usize>], from: usize) -> bool {
    let mut at = next[from];
    for _ in 0..next.len() {
        match at {
            Some(place) if place == from => return true,
            Some(place) => at = next[place],
            None => return false,
        }
    }
    false
}

/// The parent that an event names, or what stands for it. A correction that names none, or names what it stands for,
/// hangs where the corrected event would.
fn pointer(
    events: &[&Recorded],
    (corrects, current): (&[Option<usize>], &[usize]),
    (at, stands_for): (usize, usize),
) -> Result<usize, Top> {
    let corrected = || match corrects[at] {
        Some(corrected) => pointer(events, (corrects, current), (corrected, stands_for)),
        None => Err(Top::Parentless),
    };
    let Some(parent) = &events[at].event.parent_id else { return corrected() };
    let named = events.iter().position(|other| other.event.event_id == *parent).ok_or(Top::Orphan)?;
    if current[named] == stands_for && corrects[at].is_some() { corrected() } else { Ok(current[named]) }
}

/// ATR-3: each loop is cut at its earliest start, which is the smallest index.
fn cut_loops(pointers: Vec<Result<usize, Top>>) -> (Vec<Option<usize>>, Vec<Option<Top>>) {
    let mut parents: Vec<Option<usize>> = pointers.iter().map(|pointer| pointer.ok()).collect();
    let mut tops: Vec<Option<Top>> = pointers.into_iter().map(Result::err).collect();
    for at in 0..parents.len() {
        if returns(&parents, at) {
            parents[at] = None;
            tops[at] = Some(Top::LoopCut);
        }
    }
    (parents, tops)
}

/// Events by trace, those of one by (start, id).
#[must_use]
pub fn group(events: &[Recorded]) -> Vec<Vec<&Recorded>> {
    let mut traces: BTreeMap<(bool, Id), Vec<&Recorded>> = BTreeMap::new();
    for recorded in events {
        let key = (recorded.event.trace_id.is_some(), recorded.event.trace_name().clone());
        traces.entry(key).or_default().push(recorded);
    }
    let mut traces: Vec<Vec<&Recorded>> = traces.into_values().collect();
    for trace in &mut traces {
        trace.sort_by_key(|recorded| (recorded.event.started_at_ns(), recorded.event.event_id.clone()));
    }
    traces
}

/// EVT-2: the events that do not count because another report of the same provider call does.
///
/// A report that was corrected (EVT-3) is no report any more: what stands in its place reports the call that it names, or
/// where it names none the one that it corrects, under the smallest of their ids. A wrapper reports no call.
#[must_use]
pub fn find_excluded(history: &History, events: &[Recorded]) -> BTreeSet<Name> {
    type Candidate = (bool, Id, Id, Name);
    let mut calls: BTreeMap<(Id, Id), Vec<Candidate>> = BTreeMap::new();
    for trace in group(events) {
        let shape = shape(&trace);
        let root = trace[shape.root];
        let organisation = organisation_at(history, root.event.used_at_ns);
        let named = root.event.tags.team.as_ref().or(root.origin.resource_team.as_ref());
        let unnamed = !named.is_some_and(|team| organisation.teams.contains_key(team));
        for at in (0..trace.len()).filter(|at| shape.current[*at] == *at) {
            let event = &trace[at].event;
            let versions: Vec<&Event> =
                std::iter::successors(Some(at), |at| shape.corrects[*at]).map(|at| &trace[at].event).collect();
            let call = versions.iter().find_map(|event| call_of(event)).filter(|_| event.kind != Kind::Agent);
            let Some(call) = call else { continue };
            let id = versions.iter().map(|event| event.event_id.clone()).min().unwrap();
            calls.entry(call).or_default().push((unnamed, event.trace_name().clone(), id, name_of(event)));
        }
    }
    let losers = |mut reports: Vec<Candidate>| {
        reports.sort();
        reports.into_iter().skip(1).map(|report| report.3)
    };
    calls.into_values().flat_map(losers).collect()
}

fn call_of(event: &Event) -> Option<(Id, Id)> {
    let call = (event.provider.clone()?, event.response_id.clone()?);
    (event.kind != Kind::Agent).then_some(call)
}

/// Puts one trace back together.
#[must_use]
pub fn resolve(history: &History, events: &[&Recorded], excluded: &BTreeSet<Name>) -> Trace {
    let shape = shape(events);
    let mut trace = Trace {
        spans: (0..events.len()).map(|at| span(history, events[at], &shape, (at, excluded))).collect(),
        root: shape.root,
        payer: None,
        user: None,
        project: None,
        task: None,
    };
    resolve_tags(history, &mut trace);
    resolve_payer(history, &mut trace, events);
    for span in trace.spans.iter_mut().filter(|span| span.counts()) {
        span.bought = rate_event(history, &span.event);
    }
    let firsts = first_reports(events, &shape);
    add_unobserved(history, &mut trace, &firsts);
    keep_excess_of_frames(history, &mut trace, &firsts);
    for span in &mut trace.spans {
        span.cost = span.bought.iter().map(|bought| &bought.cost).sum();
    }
    mark_frames(&mut trace);
    mark_invocations(&mut trace, &shape);
    trace.task = find_task(&trace, shape.root_arrived);
    trace
}

fn span(history: &History, recorded: &Recorded, shape: &Shape, (at, excluded): (usize, &BTreeSet<Name>)) -> Span {
    Span {
        event: recorded.event.clone(),
        key_tags: (*recorded.origin.key_tags).clone(),
        day: history.calendar().day_of(recorded.event.used_at_ns),
        superseded: shape.current[at] != at,
        excluded: excluded.contains(&name_of(&recorded.event)),
        parent: shape.parents[at],
        agent: None,
        task_type: None,
        pool: None,
        via: None,
        bought: Vec::new(),
        cost: Q::zero(),
        frame: None,
        invocation: false,
    }
}

/// ATR-1: agent and task type are the span's own, else the nearest ancestor's, else its key's default. ATR-4: a span of
/// a shared agent belongs to its pool.
fn resolve_tags(history: &History, trace: &mut Trace) {
    for at in 0..trace.spans.len() {
        let above = trace.above(at);
        let tag = |read: fn(&Tags) -> &Option<Id>| {
            let named = above.iter().find_map(|up| read(&trace.spans[*up].event.tags).clone());
            named.or_else(|| read(&trace.spans[at].key_tags).clone())
        };
        let (agent, task_type) = (tag(|tags| &tags.agent), tag(|tags| &tags.task_type));
        let span = &mut trace.spans[at];
        let organisation = &history.on(span.day).organisation;
        span.pool = agent.as_ref().and_then(|agent| organisation.shared_pool(agent)).cloned();
        (span.agent, span.task_type) = (agent, task_type);
    }
    for at in 0..trace.spans.len() {
        let pool = trace.spans[at].pool.clone();
        let others = trace.above(at).into_iter().filter_map(|up| trace.spans[up].pool.clone());
        trace.spans[at].via = pool.and_then(|pool| others.into_iter().find(|other| *other != pool));
    }
}

/// ATR-1: the first source that names a team decides; a team that the organisation does not have pays nothing.
fn resolve_payer(history: &History, trace: &mut Trace, events: &[&Recorded]) {
    let root = events[trace.root];
    let organisation = organisation_at(history, root.event.used_at_ns);
    let (own, key) = (&root.event.tags, &root.origin.key_tags);
    let named = own
        .team
        .clone()
        .or_else(|| root.origin.resource_team.clone())
        .or_else(|| team_of(organisation, own.user.as_ref()))
        .or_else(|| key.team.clone())
        .or_else(|| team_of(organisation, key.user.as_ref().filter(|_| own.user.is_none())))
        .or_else(|| trace.spans.iter().filter(|span| !span.superseded).find_map(|span| span.event.tags.team.clone()));
    trace.payer = named.filter(|team| organisation.teams.contains_key(team));
    trace.user = own.user.clone().or_else(|| key.user.clone());
    trace.project = own.project.clone().or_else(|| key.project.clone());
}

fn team_of(organisation: &Organisation, user: Option<&Id>) -> Option<Id> {
    organisation.people.get(user?)?.team.clone()
}

/// EVT-2: of each event the one of its trace that reports the same call before it.
fn first_reports(events: &[&Recorded], shape: &Shape) -> Vec<Option<usize>> {
    type Report = (Id, Id, usize);
    let mut calls: BTreeMap<(Id, Id), Vec<Report>> = BTreeMap::new();
    for at in (0..events.len()).filter(|at| shape.current[*at] == *at && events[*at].event.kind != Kind::Agent) {
        let versions: Vec<&Event> =
            std::iter::successors(Some(at), |at| shape.corrects[*at]).map(|at| &events[at].event).collect();
        let Some(call) = versions.iter().find_map(|event| call_of(event)) else { continue };
        let id = versions.iter().map(|event| event.event_id.clone()).min().unwrap();
        calls.entry(call).or_default().push((id, events[at].event.event_id.clone(), at));
    }
    let mut firsts = vec![None; events.len()];
    for mut reports in calls.into_values() {
        reports.sort();
        for (_, _, second) in &reports[1..] {
            firsts[*second] = Some(reports[0].2);
        }
    }
    firsts
}

/// The reports at or below a span that were seen twice there: theirs and the first report of the same call meet at it.
fn seen_twice(trace: &Trace, firsts: &[Option<usize>], here: usize) -> Vec<usize> {
    let meets_here = |second: &usize| {
        let Some(first) = firsts[*second] else { return false };
        trace.above(*second).into_iter().find(|up| trace.above(first).contains(up)) == Some(here)
    };
    (0..firsts.len()).filter(meets_here).collect()
}

/// EVT-5: wrappers, from the bottom up.
fn add_unobserved(history: &History, trace: &mut Trace, firsts: &[Option<usize>]) {
    let mut upwards: Vec<usize> = (0..trace.spans.len()).collect();
    upwards.sort_by_key(|at| std::cmp::Reverse(trace.above(*at).len()));
    let mut inclusive: BTreeMap<usize, Usage> = BTreeMap::new();
    for at in upwards {
        let mut below = Usage::NONE;
        for child in trace.children(at) {
            below = add(below, inclusive[&child]);
        }
        let twice = seen_twice(trace, firsts, at);
        for second in twice.iter().filter(|second| **second != at) {
            below = less(below, trace.spans[*second].event.usage.unwrap_or(Usage::NONE));
        }
        if twice.contains(&at) {
            // Its own report lies below it already.
            inclusive.insert(at, below);
            continue;
        }
        let span = &trace.spans[at];
        let own = span.event.usage.filter(|_| !span.superseded).unwrap_or(Usage::NONE);
        if span.event.kind == Kind::Agent {
            let more = excess(own, below);
            inclusive.insert(at, add(below, more));
            if more != Usage::NONE && span.counts() {
                buy_unobserved(history, trace, at, more);
            }
        } else {
            inclusive.insert(at, add(below, own));
        }
        if trace.spans[at].counts() && trace.spans[at].bought.is_empty() {
            let (quantity, cost) = (Q::zero(), Q::zero());
            let frame = Bought { provider: None, model: None, what: What::Frame, quantity, cost, unobserved: false };
            trace.spans[at].bought.push(frame);
        }
    }
}

/// EVT-1: an `agent` event has no cost of its own. What one reports stands for itself and all below it: only what is more
/// than that is bought there.
fn keep_excess_of_frames(history: &History, trace: &mut Trace, firsts: &[Option<usize>]) {
    let mut upwards: Vec<usize> = (0..trace.spans.len()).collect();
    upwards.sort_by_key(|at| std::cmp::Reverse(trace.above(*at).len()));
    let mut inclusive: BTreeMap<usize, Q> = BTreeMap::new();
    for at in upwards {
        let mut below: Q = trace.children(at).into_iter().map(|child| inclusive[&child].clone()).sum();
        for second in seen_twice(trace, firsts, at) {
            below -= rate_event(history, &trace.spans[second].event).iter().map(|bought| &bought.cost).sum::<Q>();
        }
        let span = &trace.spans[at];
        let event = &span.event;
        let is_frame = event.kind == Kind::Agent && event.usage.is_none() && event.quantity.is_none();
        // What is billed in another trace was seen here all the same.
        let seen = if span.excluded { rate_event(history, event) } else { span.bought.clone() };
        let own: Q = if span.superseded { Q::zero() } else { seen.iter().map(|bought| &bought.cost).sum() };
        let reports = is_frame && event.reported.is_some();
        // Tokens come before reported costs: a wrapper above stands for it all.
        let is_wrapper = |span: &Span| !span.superseded && span.event.kind == Kind::Agent && span.event.usage.is_some();
        let covered = trace.above(at).into_iter().any(|up| up != at && is_wrapper(&trace.spans[up]));
        let more = if reports && !covered && own > below { &own - &below } else { Q::zero() };
        inclusive.insert(at, if reports { &below + &more } else { &below + &own });
        let span = &mut trace.spans[at];
        if reports && span.counts() && span.bought.iter().all(|bought| bought.what == What::Reported) {
            let whats = [(What::Reported, span_seller(&span.event)), (What::Frame, (None, None))];
            let (what, (provider, model)) = whats[usize::from(more == Q::zero())].clone();
            span.bought = vec![Bought { provider, model, what, quantity: Q::zero(), cost: more, unobserved: false }];
        }
    }
}

fn span_seller(event: &Event) -> (Option<Id>, Option<Id>) {
    (event.provider.clone(), event.model.clone())
}

fn less(left: Usage, right: Usage) -> Usage {
    let mut rest = left;
    for (class, tokens) in right.nonzero() {
        rest.set(class, left.get(class).saturating_sub(tokens));
    }
    rest
}

fn add(left: Usage, right: Usage) -> Usage {
    let mut sum = left;
    for (class, tokens) in right.nonzero() {
        sum.set(class, left.get(class) + tokens);
    }
    sum
}

/// Priced at the wrapper's model, else at the only model that is named below it, else unpriced.
fn buy_unobserved(history: &History, trace: &mut Trace, at: usize, usage: Usage) {
    let event = &trace.spans[at].event;
    let below: BTreeSet<(Option<Id>, Option<Id>)> = trace
        .below(at)
        .into_iter()
        .filter(|other| *other != at && !trace.spans[*other].superseded)
        .map(|other| &trace.spans[other].event)
        .filter(|event| event.model.is_some())
        .map(span_seller)
        .collect();
    let (provider, model) = match event.model {
        Some(_) => span_seller(event),
        None if below.len() == 1 => below.into_iter().next().unwrap(),
        None => (None, None),
    };
    let seller = Seller {
        provider: provider.as_ref(),
        model: model.as_ref(),
        tier: event.service_tier.as_ref(),
        at_ns: event.used_at_ns,
    };
    if let Some(bought) = rate_wrapper(history, event, seller, usage) {
        trace.spans[at].bought = bought;
        return;
    }
    let mut bought = rate_tokens(history, seller, usage).unwrap_or_else(|| {
        let quantity = crate::number::whole(usage.total());
        let (provider, model) = (provider.clone(), model.clone());
        vec![Bought { provider, model, what: What::Unpriced, quantity, cost: Q::zero(), unobserved: false }]
    });
    bought.iter_mut().for_each(|part| part.unobserved = true);
    trace.spans[at].bought.extend(bought);
}

/// ATR-2: a frame starts where the agent differs from the parent's, and at each `agent` span that names one.
fn mark_frames(trace: &mut Trace) {
    let starts: Vec<bool> = trace
        .spans
        .iter()
        .map(|span| {
            let outer = span.parent.and_then(|parent| trace.spans[parent].agent.as_ref());
            let named = span.event.kind == Kind::Agent && span.event.tags.agent.is_some();
            span.agent.is_some() && (outer != span.agent.as_ref() || named)
        })
        .collect();
    for at in (0..trace.spans.len()).filter(|at| starts[*at]) {
        let agent = trace.spans[at].agent.clone();
        let same = |up: &usize| starts[*up] && trace.spans[*up].agent == agent;
        trace.spans[at].frame = Some(trace.above(at).into_iter().filter(same).count());
    }
}

/// ATR-4: each outermost frame of a shared agent is one invocation; the calls of one chain of retries are one per agent.
fn mark_invocations(trace: &mut Trace, shape: &Shape) {
    let mut seen = BTreeSet::new();
    for at in 0..trace.spans.len() {
        let span = &trace.spans[at];
        let counts = trace.below(at).into_iter().any(|below| trace.spans[below].counts());
        if span.pool.is_some() && span.frame == Some(1) && counts {
            trace.spans[at].invocation = seen.insert((trace.spans[at].agent.clone(), first_try(trace, shape, at)));
        }
    }
}

/// The call that a chain of retries began with: where it is in a loop, the loop's smallest index.
fn first_try(trace: &Trace, shape: &Shape, at: usize) -> Result<usize, Id> {
    let mut seen = vec![shape.current[at]];
    loop {
        let here = *seen.last().unwrap();
        let Some(before) = &trace.spans[here].event.retry_of else { return Ok(here) };
        let Some(before) = trace.find(before) else { return Err(before.clone()) };
        let before = shape.current[before];
        if let Some(start) = seen.iter().position(|known| *known == before) {
            return Ok(*seen[start..].iter().min().unwrap());
        }
        seen.push(before);
    }
}

/// PRC-0: a root that has arrived and has a task type.
fn find_task(trace: &Trace, root_arrived: bool) -> Option<Task> {
    let root = &trace.spans[trace.root];
    if !root_arrived || root.excluded {
        return None;
    }
    let active = busy(trace);
    let inside = |(from, to): (i64, i64)| (from.max(root.event.started_at_ns()), to.min(root.event.used_at_ns));
    let root_ns = root.event.used_at_ns - root.event.started_at_ns();
    let covered: i64 = active.iter().map(|interval| inside(*interval)).map(|(from, to)| (to - from).max(0)).sum();
    Some(Task {
        agent: root.agent.clone(),
        task_type: root.task_type.clone()?,
        ended_on: root.day,
        status: root.event.status,
        active_ns: u64::try_from(active.iter().map(|(from, to)| to - from).sum::<i64>()).unwrap(),
        idle_ns: u64::try_from(root_ns - covered).unwrap(),
    })
}

/// PRC-4: the union of the intervals of the spans other than `agent`, as disjoint intervals. Work that is billed
/// elsewhere or corrected is counted there.
fn busy(trace: &Trace) -> Vec<(i64, i64)> {
    let works = |span: &&Span| span.event.kind != Kind::Agent && span.counts();
    let mut spans: Vec<(i64, i64)> = trace
        .spans
        .iter()
        .filter(works)
        .map(|span| (span.event.started_at_ns(), span.event.used_at_ns))
        .filter(|(from, to)| from < to)
        .collect();
    spans.sort_unstable();
    let mut union: Vec<(i64, i64)> = Vec::new();
    for (from, to) in spans {
        match union.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => union.push((from, to)),
        }
    }
    union
}

/// Every trace of some events.
#[must_use]
pub fn resolve_all(history: &History, events: &[Recorded]) -> Vec<Trace> {
    let excluded = find_excluded(history, events);
    group(events).iter().map(|trace| resolve(history, trace, &excluded)).collect()
}
