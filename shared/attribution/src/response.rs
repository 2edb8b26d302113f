//! Several reports of one provider call (EVT-2), some of them corrected (EVT-3).
//!
//! What the rules leave open: an event that is corrected reports nothing any more; what stands for it reports in its
//! place. An event that stands reports the call that its own `response_id` names; where it names none, the call of the
//! nearest event that it corrects, directly or through others. So a correction that names another call leaves the first
//! one to whoever else reports that, and each call with a report has exactly one that is billed. Reports of one trace
//! rank by the smallest id among the event and those it corrects, then by their own. An `agent` event reports no call.
//!
//! A root names a team where its own tag or its resource attributes do, and only a team that the organisation file has;
//! what is merely derived from a person or an API key is not named by the report.

use std::collections::{BTreeMap, BTreeSet};

use recoup_model::{Event, Id, Identity, Kind, Recorded};

use crate::corrections::Corrections;
use crate::order::Ordered;
use crate::resolve::Context;
use crate::tree::Tree;

/// A provider call: provider and `response_id`.
pub type Call = (Id, Id);

/// A report of a provider call by an event that nothing corrects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The call.
    pub call: Call,
    /// The event that reports it.
    pub identity: Identity,
    /// Which one is billed: the smallest of (its root names no team, trace, smallest id of its versions, own id).
    rank: (bool, Id, Id, Id),
}

/// The calls that the events of one trace report. `events` are those for [`resolve`](crate::resolve()); where they
/// cannot be resolved they report none.
#[must_use]
pub fn reports_of(events: &[Recorded], context: &Context<'_>) -> Vec<Report> {
    if events.iter().all(|recorded| call_of(&recorded.event).is_none()) {
        return Vec::new();
    }
    let Ok(ordered) = Ordered::new(events) else { return Vec::new() };
    let corrections = Corrections::new(&ordered);
    let unnamed = !names_team(&ordered, &corrections, context);
    let report = |standing: Standing| {
        let event = &ordered.get(standing.rank)?.event;
        let rank = (unnamed, event.trace_name().clone(), standing.first, event.event_id.clone());
        Some(Report { call: standing.call, identity: Identity::of(event), rank })
    };
    standing_reports(&ordered, &corrections).into_iter().filter_map(report).collect()
}

/// The events that do not count because another report of the same call does. `reports` are all those of each call.
#[must_use]
pub fn second_reports(reports: Vec<Report>) -> BTreeSet<Identity> {
    let mut calls: BTreeMap<Call, Vec<(_, Identity)>> = BTreeMap::new();
    for report in reports {
        calls.entry(report.call).or_default().push((report.rank, report.identity));
    }
    let seconds = calls.into_values().flat_map(|mut reports| {
        reports.sort_unstable();
        reports.into_iter().skip(1)
    });
    seconds.map(|(_, identity)| identity).collect()
}

/// Whether the root of a trace names a team (EVT-2). `events` are those of one trace, as for
/// [`resolve`](crate::resolve()); where they cannot be resolved it names none.
#[must_use]
pub fn root_names_team(events: &[Recorded], context: &Context<'_>) -> bool {
    let Ok(ordered) = Ordered::new(events) else { return false };
    names_team(&ordered, &Corrections::new(&ordered), context)
}

fn names_team(ordered: &Ordered<'_>, corrections: &Corrections, context: &Context<'_>) -> bool {
    let tree = Tree::new(ordered, corrections);
    let Some(root) = ordered.get(tree.root()) else { return false };
    let named = root.event.tags.team.as_ref().or(root.origin.resource_team.as_ref());
    named.is_some_and(|team| {
        let day = context.history.calendar().day_of(root.event.used_at_ns);
        context.history.on(day).organisation.teams.contains_key(team)
    })
}

/// An event that nothing corrects, and the call that it reports.
struct Standing {
    rank: usize,
    call: Call,
    /// The smallest id among it and the events that it corrects.
    first: Id,
}

fn standing_reports(events: &Ordered<'_>, corrections: &Corrections) -> Vec<Standing> {
    let standing = events
        .iter()
        .filter(|(rank, recorded)| recorded.event.kind != Kind::Agent && !corrections.is_superseded(*rank));
    let report = |(rank, recorded): (usize, &Recorded)| {
        let (mut call, mut first) = (call_of(&recorded.event), recorded.event.event_id.clone());
        let mut here = corrections.corrected_by_this(rank);
        // Corrections have no loops.
        while let Some(corrected) = here.and_then(|here| events.get(here)) {
            call = call.or_else(|| call_of(&corrected.event));
            first = first.min(corrected.event.event_id.clone());
            here = here.and_then(|here| corrections.corrected_by_this(here));
        }
        Some(Standing { rank, call: call?, first })
    };
    standing.filter_map(report).collect()
}

/// The ranks of the events of one trace that report a call which another event of the trace reports before them, each with
/// the rank of that one.
pub(crate) fn second_ranks(events: &Ordered<'_>, corrections: &Corrections) -> Vec<(usize, usize)> {
    if events.iter().all(|(_, recorded)| recorded.event.response_id.is_none()) {
        return Vec::new();
    }
    let mut calls: BTreeMap<Call, Vec<(Id, Id, usize)>> = BTreeMap::new();
    for Standing { rank, call, first } in standing_reports(events, corrections) {
        let Some(recorded) = events.get(rank) else { continue };
        calls.entry(call).or_default().push((first, recorded.event.event_id.clone(), rank));
    }
    let seconds = calls.into_values().flat_map(|mut reports| {
        reports.sort_unstable();
        let mut ranks = reports.into_iter().map(|(_, _, rank)| rank);
        let first = ranks.next().unwrap_or_default();
        ranks.map(move |rank| (rank, first))
    });
    seconds.collect()
}

fn call_of(event: &Event) -> Option<Call> {
    let call = (event.provider.clone()?, event.response_id.clone()?);
    (event.kind != Kind::Agent).then_some(call)
}
