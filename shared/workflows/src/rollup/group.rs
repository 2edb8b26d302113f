//! What is posted in one transaction: changes of traces, and the reservations that end with them.

use std::collections::BTreeSet;

use recoup_store::live::{COUNTERS_PER_POST_MAX, TRACES_PER_POST_MAX};
use recoup_store::{CounterKey, LeaseName, Settlement, TraceChange, TraceState};

/// Traces, counters and items of leases of one group that also ends reservations, so that it fits into a transaction.
const ITEMS_PER_POST_MAX: usize = 96;
/// Items that ending reservations changes of one lease, as a rule: itself and a page of its numbers.
const LEASE_ITEMS: usize = 2;

/// Changes that fit into one transaction.
#[derive(Default)]
pub(super) struct Group {
    pub(super) changes: Vec<TraceChange>,
    pub(super) counters: BTreeSet<CounterKey>,
    /// Reservations that its events name.
    pub(super) settles: BTreeSet<Settlement>,
}

impl Group {
    pub(super) fn takes(&self, change: &TraceChange, settles: &BTreeSet<Settlement>) -> bool {
        let counters = self.counters.iter().chain(moved(change)).collect::<BTreeSet<_>>().len();
        let leases: BTreeSet<LeaseName> = self.settles.iter().chain(settles).map(|named| named.lease).collect();
        let items =
            leases.len().saturating_mul(LEASE_ITEMS).saturating_add(counters).saturating_add(self.changes.len());
        self.changes.len() < TRACES_PER_POST_MAX
            && counters <= COUNTERS_PER_POST_MAX
            && (leases.is_empty() || items < ITEMS_PER_POST_MAX)
            && self.changes.iter().all(|held| held.trace != change.trace)
    }

    pub(super) fn add(&mut self, change: TraceChange, mut settles: BTreeSet<Settlement>) {
        self.settles.append(&mut settles);
        self.counters.extend(moved(&change).cloned());
        self.changes.push(change);
    }
}

/// The counters that a change moves.
fn moved(change: &TraceChange) -> impl Iterator<Item = &CounterKey> {
    let all = change.before.posted.keys().chain(change.posted.keys());
    all.filter(|key| change.before.posted.get(*key) != change.posted.get(*key))
}

/// A change in steps that each fit into a transaction. The blocks come with the last one, so that what was cut off between
/// two steps is done again.
pub(super) fn steps(change: TraceChange) -> Vec<TraceChange> {
    let keys: BTreeSet<CounterKey> = moved(&change).cloned().collect();
    if keys.len() <= COUNTERS_PER_POST_MAX {
        return vec![change];
    }
    let keys: Vec<CounterKey> = keys.into_iter().collect();
    let parts = keys.chunks(COUNTERS_PER_POST_MAX);
    let last = parts.len().saturating_sub(1);
    let mut before = change.before;
    let mut steps = Vec::with_capacity(last.saturating_add(1));
    for (number, part) in parts.enumerate() {
        let mut posted = before.posted.clone();
        for key in part {
            match change.posted.get(key) {
                Some(amount) => posted.insert(key.clone(), *amount),
                None => posted.remove(key),
            };
        }
        let new_blocks = if number == last { change.new_blocks.clone() } else { Vec::new() };
        let after = TraceState {
            version: before.version.saturating_add(1),
            blocks: before.blocks.clone(),
            posted: posted.clone(),
        };
        steps.push(TraceChange { trace: change.trace, before, new_blocks, posted });
        before = after;
    }
    steps
}
