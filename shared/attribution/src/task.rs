//! The task that a trace is (PRC-0), and how long it was active (PRC-4).
//!
//! What the rules leave open: a root that is the second report of a provider call billed elsewhere (EVT-2) makes no
//! task, since the work is counted where it is billed.

use recoup_model::organisation::Billing;
use recoup_model::{Id, Kind, Status};
use recoup_money::Amount;

use crate::error::AttributionError;
use crate::facts::TaskOf;
use crate::resolve::Context;
use crate::sum::{add_amount, add_count};
use crate::trace::Span;

/// One task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Its dimensions.
    pub of: TaskOf,
    /// How it ended; `None`: the root does not say, so it is neither completed nor failed.
    pub status: Option<Status>,
    /// Direct cost over all days: of the spans that belong to no pool (PRC-1).
    pub direct_cost: Amount,
    /// Nanoseconds in the union of the intervals of its spans other than `agent` (PRC-4).
    pub active_ns: u64,
    /// Nanoseconds of the root's interval that are not active (PRC-4).
    pub idle_ns: u64,
}

/// Half-open, begin before end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Interval {
    begin_ns: i64,
    end_ns: i64,
}

impl Interval {
    fn of(span: &Span) -> Option<Self> {
        let (begin_ns, end_ns) = (span.event.started_at_ns(), span.event.used_at_ns);
        (begin_ns < end_ns).then_some(Self { begin_ns, end_ns })
    }

    const fn length_ns(self) -> u64 {
        self.end_ns.abs_diff(self.begin_ns)
    }

    fn inside(self, other: Self) -> Option<Self> {
        let begin_ns = self.begin_ns.max(other.begin_ns);
        let end_ns = self.end_ns.min(other.end_ns);
        (begin_ns < end_ns).then_some(Self { begin_ns, end_ns })
    }
}

pub(crate) fn find_task(spans: &[Span], root_arrived: bool) -> Result<Option<Task>, AttributionError> {
    let Some(root) = spans.first().filter(|root| root_arrived && root.counts()) else { return Ok(None) };
    let Some(task_type) = root.task_type.clone() else { return Ok(None) };
    let mut direct_cost = Amount::ZERO;
    for span in spans.iter().filter(|span| span.pool.is_none()) {
        add_amount(&mut direct_cost, span.exclusive, "direct_cost")?;
    }
    let active = find_active(spans);
    let active_ns = sum_ns(active.iter().copied())?;
    let idle_ns = match Interval::of(root) {
        Some(whole) => {
            let busy_ns = sum_ns(active.iter().filter_map(|interval| interval.inside(whole)))?;
            whole.length_ns().saturating_sub(busy_ns)
        }
        None => 0,
    };
    let of = TaskOf { agent: root.agent.clone(), task_type, ended_on: root.local_day, timed: !active.is_empty() };
    Ok(Some(Task { of, status: root.event.status, direct_cost, active_ns, idle_ns }))
}

/// The union of the intervals as disjoint ones, in order.
fn find_active(spans: &[Span]) -> Vec<Interval> {
    let working = spans.iter().filter(|span| span.event.kind != Kind::Agent && span.counts());
    let mut intervals: Vec<Interval> = working.filter_map(Interval::of).collect();
    intervals.sort_unstable();
    let mut union: Vec<Interval> = Vec::with_capacity(intervals.len());
    for interval in intervals {
        match union.last_mut() {
            Some(last) if interval.begin_ns <= last.end_ns => last.end_ns = last.end_ns.max(interval.end_ns),
            _ => union.push(interval),
        }
    }
    union
}

fn sum_ns(intervals: impl Iterator<Item = Interval>) -> Result<u64, AttributionError> {
    let mut sum = 0;
    for interval in intervals {
        add_count(&mut sum, interval.length_ns(), "active_ns")?;
    }
    Ok(sum)
}

/// Whether a payer's tasks of this kind are billed by time on the day on which they ended (PRC-7).
pub(crate) fn is_billed_by_time(team: Option<&Id>, task: &TaskOf, context: &Context<'_>) -> bool {
    team.is_some_and(|team| {
        let organisation = &context.history.on(task.ended_on).organisation;
        organisation.billing(team, task.agent.as_deref()) == Billing::Time
    })
}
