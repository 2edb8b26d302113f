//! Facts of several lanes of one day, added.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use recoup_model::{Digest, Finding, FindingKind};

use crate::error::AttributionError;
use crate::facts::{AgentCost, CellValue, DayFacts, EventSet, FINDINGS_PER_KIND_MAX, PoolUse, TaskValue, UserValue};
use crate::sum::{add_amount, add_count};
use crate::work::Work;

impl DayFacts {
    /// A day on which nothing happened.
    #[must_use]
    pub fn empty(day: NaiveDate) -> Self {
        Self {
            day,
            cells: BTreeMap::new(),
            users: BTreeMap::new(),
            tasks: BTreeMap::new(),
            pools: BTreeMap::new(),
            agents: BTreeMap::new(),
            counted: BTreeMap::new(),
            context: None,
            price_names: BTreeSet::new(),
            finding_counts: BTreeMap::new(),
            findings: Vec::new(),
            work: BTreeMap::new(),
        }
    }

    /// Adds the facts of another lane of the same day, in any order of lanes.
    ///
    /// Where both have events of a UTC day, the digests are added as 256-bit numbers modulo 2^256: a digest over all
    /// events cannot be had from those of the lanes, and a sum does not depend on their order.
    ///
    /// # Errors
    /// [`AttributionError::OtherDay`], [`AttributionError::Overflow`] (the facts are of no use afterwards).
    pub fn merge(&mut self, other: Self) -> Result<(), AttributionError> {
        if self.day != other.day {
            return Err(AttributionError::OtherDay(self.day, other.day));
        }
        merge_maps(&mut self.cells, other.cells, add_cell)?;
        merge_maps(&mut self.users, other.users, add_user)?;
        merge_maps(&mut self.tasks, other.tasks, add_tasks)?;
        merge_maps(&mut self.pools, other.pools, add_pool_use)?;
        merge_maps(&mut self.agents, other.agents, add_agent)?;
        merge_events((&mut self.counted, &mut self.context), (other.counted, other.context))?;
        self.price_names.extend(other.price_names);
        merge_maps(&mut self.finding_counts, other.finding_counts, |sum, more| add_count(sum, more, "finding_counts"))?;
        self.findings.extend(other.findings);
        self.findings.sort_unstable();
        cap_findings(&mut self.findings);
        merge_maps(&mut self.work, other.work, Work::merge)
    }
}

/// Adds the events that counted on a day, and those on other days of its traces.
pub(crate) fn merge_events(
    (counted, context): (&mut BTreeMap<NaiveDate, EventSet>, &mut Option<EventSet>),
    (more, more_context): (BTreeMap<NaiveDate, EventSet>, Option<EventSet>),
) -> Result<(), AttributionError> {
    merge_maps(counted, more, add_events)?;
    match (context, more_context) {
        (Some(events), Some(more)) => add_events(events, more),
        (Some(_), None) => Ok(()),
        (events @ None, more) => {
            *events = more;
            Ok(())
        }
    }
}

fn merge_maps<K: Ord, V>(
    sums: &mut BTreeMap<K, V>,
    mut more: BTreeMap<K, V>,
    add: impl Fn(&mut V, V) -> Result<(), AttributionError>,
) -> Result<(), AttributionError> {
    // Sums do not depend on the order: the smaller map goes into the larger.
    if more.len() > sums.len() {
        std::mem::swap(sums, &mut more);
    }
    more.into_iter().try_for_each(|(key, value)| match sums.entry(key) {
        std::collections::btree_map::Entry::Vacant(vacant) => {
            vacant.insert(value);
            Ok(())
        }
        std::collections::btree_map::Entry::Occupied(mut occupied) => add(occupied.get_mut(), value),
    })
}

pub(crate) fn add_cell(sum: &mut CellValue, more: CellValue) -> Result<(), AttributionError> {
    add_amount(&mut sum.cost, more.cost, "cells.cost")?;
    add_amount(&mut sum.quantity, more.quantity, "cells.quantity")?;
    add_count(&mut sum.events, more.events, "cells.events")
}

fn add_user(sum: &mut UserValue, more: UserValue) -> Result<(), AttributionError> {
    add_amount(&mut sum.cost, more.cost, "users.cost")?;
    add_count(&mut sum.events, more.events, "users.events")?;
    add_count(&mut sum.unpriced, more.unpriced, "users.unpriced")?;
    add_count(&mut sum.tasks, more.tasks, "users.tasks")
}

pub(crate) fn add_tasks(sum: &mut TaskValue, more: TaskValue) -> Result<(), AttributionError> {
    add_count(&mut sum.tasks, more.tasks, "tasks")?;
    add_count(&mut sum.completed, more.completed, "tasks.completed")?;
    add_count(&mut sum.failed, more.failed, "tasks.failed")?;
    add_count(&mut sum.killed, more.killed, "tasks.killed")?;
    add_amount(&mut sum.direct_cost, more.direct_cost, "tasks.direct_cost")?;
    add_amount(&mut sum.timed_cost, more.timed_cost, "tasks.timed_cost")?;
    add_count(&mut sum.timed_tasks, more.timed_tasks, "tasks.timed_tasks")?;
    add_count(&mut sum.timed_completed, more.timed_completed, "tasks.timed_completed")?;
    add_count(&mut sum.active_ns, more.active_ns, "tasks.active_ns")?;
    add_count(&mut sum.idle_ns, more.idle_ns, "tasks.idle_ns")?;
    merge_maps(&mut sum.durations_ns, more.durations_ns, |sum, more| add_count(sum, more, "tasks.durations_ns"))?;
    merge_maps(&mut sum.idles_ns, more.idles_ns, |sum, more| add_count(sum, more, "tasks.idles_ns"))
}

pub(crate) fn add_pool_use(sum: &mut PoolUse, more: PoolUse) -> Result<(), AttributionError> {
    add_count(&mut sum.invocations, more.invocations, "pools.invocations")?;
    add_count(&mut sum.tokens, more.tokens, "pools.tokens")?;
    add_count(&mut sum.duration_ms, more.duration_ms, "pools.duration_ms")?;
    add_amount(&mut sum.cost, more.cost, "pools.cost")
}

fn add_agent(sum: &mut AgentCost, more: AgentCost) -> Result<(), AttributionError> {
    add_amount(&mut sum.exclusive, more.exclusive, "agents.exclusive")?;
    add_amount(&mut sum.inclusive, more.inclusive, "agents.inclusive")?;
    add_amount(&mut sum.reentrant, more.reentrant, "agents.reentrant")?;
    add_count(&mut sum.frames, more.frames, "agents.frames")
}

fn add_events(sum: &mut EventSet, more: EventSet) -> Result<(), AttributionError> {
    add_count(&mut sum.events, more.events, "counted.events")?;
    sum.digest = add_digests(sum.digest, more.digest);
    Ok(())
}

fn add_digests(one: Digest, other: Digest) -> Digest {
    let mut sum = one.0;
    let mut carry = false;
    for (byte, more) in sum.iter_mut().zip(other.0).rev() {
        (*byte, carry) = byte.carrying_add(more, carry);
    }
    Digest(sum)
}

/// Keeps the first findings of each kind; `findings` are sorted.
fn cap_findings(findings: &mut Vec<Finding>) {
    let mut kept: BTreeMap<FindingKind, usize> = BTreeMap::new();
    findings.retain(|finding| {
        let count = kept.entry(finding.kind).or_default();
        *count = count.saturating_add(1);
        *count <= FINDINGS_PER_KIND_MAX
    });
}
