//! From the events of one trace to its tree, payer, costs, frames and task.

use std::collections::BTreeSet;

use chrono::NaiveDate;
use recoup_model::digest::content_digest;
use recoup_model::organisation::History;
use recoup_model::{Calendar, Event, Id, Identity, Organisation, Rater, Rating, Recorded, Tags};
use recoup_money::Amount;

use crate::corrections::Corrections;
use crate::error::AttributionError;
use crate::frames::{mark_frames, mark_invocations, mark_via};
use crate::notes::Notes;
use crate::order::Ordered;
use crate::payer::find_payer;
use crate::reported::keep_excess;
use crate::response::second_ranks;
use crate::sum::add_amount;
use crate::task::find_task;
use crate::trace::{Place, Span, TagFrom, Trace};
use crate::tree::Tree;
use crate::wrapper::find_unobserved;

/// What a trace is resolved against.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The versions of the organisation file, with `people` under the pseudonyms that events carry.
    pub history: &'a History,
    /// The prices.
    pub rater: &'a dyn Rater,
}

/// Local days and the organisation in force on them; remembers the last one, since most traces lie in one day.
pub(crate) struct Days<'a> {
    history: &'a History,
    calendar: Calendar,
    last: Option<(NaiveDate, &'a Organisation)>,
}

impl<'a> Days<'a> {
    fn new(history: &'a History) -> Self {
        Self { history, calendar: history.calendar(), last: None }
    }

    pub(crate) fn organisation_on(&mut self, day: NaiveDate) -> &'a Organisation {
        match self.last {
            Some((known, organisation)) if known == day => organisation,
            _ => {
                let organisation = &*self.history.on(day).organisation;
                self.last = Some((day, organisation));
                organisation
            }
        }
    }
}

/// Puts one trace back together. `events` are its accepted events in any order.
///
/// `excluded` are events that do not count because another report of the same provider call does (EVT-2): they stay
/// in the tree without cost or tokens. What this trace reports twice itself is found here. Of an event that was recorded
/// several times the first record stands; another content is a finding.
///
/// # Errors
/// [`AttributionError`]: a sum that does not fit, events that are not those of one trace, or a rater that contradicts
/// itself.
pub fn resolve(
    events: &[Recorded],
    excluded: &BTreeSet<Identity>,
    context: &Context<'_>,
) -> Result<Trace, AttributionError> {
    let ordered = Ordered::new(events)?;
    let corrections = Corrections::new(&ordered);
    let tree = Tree::new(&ordered, &corrections);
    let root = ordered.get(tree.root()).ok_or(AttributionError::NoEvents)?;
    let mut days = Days::new(context.history);

    let mut spans = make_spans(&ordered, &corrections, &tree, &mut days);
    exclude(&mut spans, excluded, &ordered, &corrections, &tree);
    for span in &mut spans {
        span.own = rate(span, context.rater)?;
    }
    find_unobserved(&mut spans, context.rater)?;
    keep_excess(&mut spans, context.rater)?;
    sum_costs(&mut spans)?;
    mark_frames(&mut spans);
    mark_via(&mut spans);
    let find = |event_id: &str| tree.positions.get(corrections.current(ordered.find(event_id)?)).copied();
    mark_invocations(&mut spans, find);

    let first_named = ordered
        .iter()
        .find(|(rank, recorded)| recorded.event.tags.team.is_some() && !corrections.is_superseded(*rank))
        .and_then(|(rank, _)| tree.positions.get(rank).copied());
    let root_day = days.calendar.day_of(root.event.used_at_ns);
    let payer = find_payer(root, &spans, first_named, days.organisation_on(root_day));
    let task = find_task(&spans, tree.parentless > 0)?;

    let trace = root.event.trace_name().clone();
    let mut notes = Notes::new(&trace, &spans);
    notes.add_disputed(&tree, &ordered);
    notes.add_shape(&tree, &ordered, &corrections);
    notes.add_payer(&payer, spans.first().is_some_and(|root| root.counted_below));
    notes.add_task(&payer, task.as_ref(), context);
    notes.add_spans(&mut days);
    let (findings, finding_spans) = notes.finish();
    let cost = spans.first().map_or(Amount::ZERO, |root| root.inclusive);
    let root_arrived = tree.parentless > 0;
    Ok(Trace { trace, payer, root: 0, root_arrived, task, spans, cost, findings, finding_spans })
}

fn make_spans(events: &Ordered<'_>, corrections: &Corrections, tree: &Tree, days: &mut Days<'_>) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::with_capacity(events.len());
    for (at, rank) in tree.ranks.iter().enumerate() {
        let Some(recorded) = events.get(*rank) else { continue };
        let event = &recorded.event;
        let parent = tree.parents.get(at).copied().flatten();
        let local_day = days.calendar.day_of(event.used_at_ns);
        let above = parent.and_then(|parent| Some((parent, spans.get(parent)?)));
        let key = &recorded.origin.key_tags;
        let (agent, agent_from) = inherit(
            |tags| tags.agent.as_ref(),
            (&event.tags, key),
            above.map(|(at, span)| (at, span.agent.as_ref(), span.agent_from)),
        );
        let (task_type, task_type_from) = inherit(
            |tags| tags.task_type.as_ref(),
            (&event.tags, key),
            above.map(|(at, span)| (at, span.task_type.as_ref(), span.task_type_from)),
        );
        let pool = agent.as_ref().and_then(|agent| days.organisation_on(local_day).shared_pool(agent)).cloned();
        let current = Some(corrections.current(*rank)).filter(|current| current != rank);
        spans.push(Span {
            identity: Identity::of(event),
            digest: content_digest(event),
            local_day,
            parent,
            place: tree.places.get(at).copied().unwrap_or(Place::Root),
            subtree: tree.sizes.get(at).copied().unwrap_or(1),
            agent,
            agent_from,
            task_type,
            task_type_from,
            excluded: false,
            billed_at: None,
            superseded_by: current.and_then(|current| events.get(current)).map(|by| by.event.event_id.clone()),
            own: Rating::Free,
            unobserved: None,
            exclusive: Amount::ZERO,
            inclusive: Amount::ZERO,
            counted_below: false,
            pool,
            via: None,
            frame: None,
            invocation: false,
            event: event.clone(),
        });
    }
    spans
}

/// A tag of the span itself, else that of the nearest ancestor that has one, else its key's default (ATR-1). What an
/// ancestor only has from its own key is not handed down.
fn inherit(
    get: impl Fn(&Tags) -> Option<&Id>,
    (own, key): (&Tags, &Tags),
    above: Option<(usize, Option<&Id>, Option<TagFrom>)>,
) -> (Option<Id>, Option<TagFrom>) {
    if let Some(tag) = get(own) {
        return (Some(tag.clone()), Some(TagFrom::Own));
    }
    match above {
        Some((parent, Some(tag), Some(TagFrom::Own))) => (Some(tag.clone()), Some(TagFrom::Ancestor(parent))),
        Some((_, Some(tag), Some(TagFrom::Ancestor(at)))) => (Some(tag.clone()), Some(TagFrom::Ancestor(at))),
        _ => get(key).map_or((None, None), |tag| (Some(tag.clone()), Some(TagFrom::Key))),
    }
}

/// Marks the events that are billed elsewhere, in another trace or in this one.
fn exclude(
    spans: &mut [Span],
    excluded: &BTreeSet<Identity>,
    events: &Ordered<'_>,
    corrections: &Corrections,
    tree: &Tree,
) {
    if !excluded.is_empty() {
        for span in spans.iter_mut() {
            span.excluded = excluded.contains(&span.identity);
        }
    }
    let position = |rank: usize| tree.positions.get(rank).copied().unwrap_or_default();
    for (second, first) in second_ranks(events, corrections) {
        if let Some(span) = spans.get_mut(position(second)) {
            span.excluded = true;
            span.billed_at = Some(position(first));
        }
    }
}

/// The rating of what the event reports itself. Of a wrapper only the quantity counts: its usage is compared with what
/// is below it, and its reported cost would bill that twice (EVT-5).
fn rate(span: &Span, rater: &dyn Rater) -> Result<Rating, AttributionError> {
    let rating = match &span.event {
        _ if !span.counts() => Rating::Free,
        event if !span.is_wrapper() => rater.rate(event),
        event if event.quantity.is_some() => rater.rate(&Event { usage: None, reported: None, ..event.clone() }),
        _ => Rating::Free,
    };
    check_parts(&rating, &span.event)?;
    Ok(rating)
}

fn check_parts(rating: &Rating, event: &Event) -> Result<(), AttributionError> {
    match rating {
        Rating::Priced { cost, parts, .. }
            if Amount::checked_sum(parts.iter().map(recoup_model::CostPart::cost)) != Some(*cost) =>
        {
            Err(AttributionError::PartsDiffer(event.event_id.to_string()))
        }
        _ => Ok(()),
    }
}

/// Exclusive and inclusive costs, bottom-up: in preorder every child stands after its parent.
fn sum_costs(spans: &mut [Span]) -> Result<(), AttributionError> {
    for at in (0..spans.len()).rev() {
        let Some(span) = spans.get_mut(at) else { continue };
        let mut exclusive = span.own.cost().unwrap_or_default();
        if let Some(unobserved) = &span.unobserved {
            check_parts(&span.own, &span.event)?;
            check_parts(&unobserved.rating, &span.event)?;
            add_amount(&mut exclusive, unobserved.rating.cost().unwrap_or_default(), "exclusive")?;
        }
        span.exclusive = exclusive;
        add_amount(&mut span.inclusive, exclusive, "inclusive")?;
        span.counted_below |= span.counts();
        let (inclusive, counted, parent) = (span.inclusive, span.counted_below, span.parent);
        if let Some(above) = parent.and_then(|parent| spans.get_mut(parent)) {
            add_amount(&mut above.inclusive, inclusive, "inclusive")?;
            above.counted_below |= counted;
        }
    }
    Ok(())
}
