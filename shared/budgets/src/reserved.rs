//! The reservation behind each span, and how much of its cost that has admitted (BUD-3).
//!
//! A span has the reservation that it names, else the nearest one above in its trace: that of a task is named by its root. A
//! correction has that of the event which it stands for, and was reported when that was. The first event that names a
//! reservation settles it: until then, and until it expires, it admits cost up to its amount, in the order of recording.

use std::collections::BTreeMap;

use recoup_attribution::{Place, Span, Trace};
use recoup_model::{Id, Identity, Recorded};
use recoup_money::Amount;

use crate::admission::Asker;

/// A reservation that an event names and that was given to whoever sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reserved {
    /// Its id.
    pub id: Id,
    /// Whom it was admitted for.
    pub asker: Asker,
    /// What it admits.
    pub amount: Amount,
    /// When it ends, nanoseconds since 1970-01-01T00:00:00Z.
    pub expires_ns: i64,
}

/// The reservations that the events of a trace name.
pub type Reservations = BTreeMap<Identity, Reserved>;

/// What the reservation of a span has done for its cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cover<'a> {
    pub(crate) reserved: &'a Reserved,
    /// Whether the span was recorded before the reservation was settled or had expired.
    pub(crate) is_in_time: bool,
    /// How much of the cost it has admitted.
    pub(crate) admitted: Amount,
}

/// An event as far as reservations go.
#[derive(Clone, Copy)]
struct Report<'a> {
    recorded_at_ns: i64,
    reserved: Option<&'a Reserved>,
}

/// What covers each span of a trace, in the order of the spans.
pub(crate) fn covers<'a>(trace: &Trace, events: &[Recorded], reservations: &'a Reservations) -> Vec<Option<Cover<'a>>> {
    if reservations.is_empty() {
        return vec![None; trace.spans.len()];
    }
    let of_event = |recorded: &Recorded| {
        let identity = Identity::of(&recorded.event);
        (identity, Report { recorded_at_ns: recorded.recorded_at_ns, reserved: reservations.get(&identity) })
    };
    let told: BTreeMap<Identity, Report<'a>> = events.iter().map(of_event).collect();
    let mut settled_at: BTreeMap<&Id, i64> = BTreeMap::new();
    for Report { recorded_at_ns, reserved } in told.values() {
        if let Some(reserved) = reserved {
            let first = settled_at.entry(&reserved.id).or_insert(*recorded_at_ns);
            *first = (*first).min(*recorded_at_ns);
        }
    }
    let mut covers: Vec<Option<Cover<'a>>> = Vec::with_capacity(trace.spans.len());
    let mut order = Vec::new();
    // In preorder a parent stands before its children.
    for (at, (span, report)) in trace.spans.iter().zip(reports_of(trace, &told)).enumerate() {
        // What only hangs on the root for want of its own parent was not asked for with a root that stands in for another.
        let is_below = trace.root_arrived || span.place == Place::Parent;
        let above = || covers.get(span.parent.filter(|_| is_below)?)?.map(|cover| cover.reserved);
        let Some(reserved) = report.reserved.or_else(above) else {
            covers.push(None);
            continue;
        };
        let until_ns = settled_at.get(&reserved.id).copied().unwrap_or(i64::MAX).min(reserved.expires_ns);
        let is_in_time = report.recorded_at_ns <= until_ns;
        if is_in_time && !span.exclusive.is_zero() {
            order.push((report.recorded_at_ns, span.identity, (at, span.exclusive)));
        }
        covers.push(Some(Cover { reserved, is_in_time, admitted: Amount::ZERO }));
    }
    order.sort_unstable();
    let mut left: BTreeMap<&Id, Amount> = BTreeMap::new();
    for (_, _, (at, cost)) in order {
        let Some(Some(cover)) = covers.get_mut(at) else { continue };
        let room = left.entry(&cover.reserved.id).or_insert(cover.reserved.amount);
        cover.admitted = cost.min(*room);
        *room = room.checked_sub(cover.admitted.max(Amount::ZERO)).unwrap_or_default();
    }
    covers
}

/// The report behind each span: its own event, with what a correction has from those that it stands for.
fn reports_of<'a>(trace: &Trace, told: &BTreeMap<Identity, Report<'a>>) -> Vec<Report<'a>> {
    let by_id: BTreeMap<&Id, &Span> = trace.spans.iter().map(|span| (&span.event.event_id, span)).collect();
    let unknown = Report { recorded_at_ns: i64::MAX, reserved: None };
    let report_of = |span: &Span| told.get(&span.identity).copied().unwrap_or(unknown);
    let report = |span: &Span| {
        let mut report = report_of(span);
        let mut before = span;
        // A loop of corrections ends after as many steps as there are spans.
        for _ in &trace.spans {
            let Some(corrected) = before.event.supersedes.as_ref().and_then(|id| by_id.get(id)) else { break };
            let first = report_of(corrected);
            report.reserved = report.reserved.or(first.reserved);
            report.recorded_at_ns = report.recorded_at_ns.min(first.recorded_at_ns);
            before = corrected;
        }
        report
    };
    trace.spans.iter().map(report).collect()
}
