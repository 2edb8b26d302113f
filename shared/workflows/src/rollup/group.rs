//! What is posted in one transaction: changes of traces, and the reservations that end with them.

use std::collections::BTreeSet;

use recoup_budgets::overrun::Part;
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
/// two steps is done again. The counters themselves come first, with a payer together (BUD-1), their parts by cause after them.
pub(super) fn steps(change: TraceChange) -> Vec<TraceChange> {
    let keys: BTreeSet<CounterKey> = moved(&change).cloned().collect();
    if keys.len() <= COUNTERS_PER_POST_MAX {
        return vec![change];
    }
    let (parts, mut keys): (Vec<CounterKey>, Vec<CounterKey>) =
        keys.into_iter().partition(|key| Part::is_in(&key.period));
    keys.extend(parts);
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

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use std::collections::BTreeMap;

    use recoup_money::Amount;

    use super::*;

    #[test]
    fn bud_1_a_payer_moves_in_one_transaction_however_many_parts_are_counted_beside() {
        let posted = |payer: &str| -> BTreeMap<CounterKey, Amount> {
            let periods = ["2026-11", "2026-W48", "2026-11-24"];
            let scopes = ["team", "project", "user"].map(|kind| format!("{kind}:{payer}"));
            let counters = scopes.iter().flat_map(|scope| periods.map(|period| (scope.clone(), period.to_owned())));
            let with_parts = counters.flat_map(|(scope, period)| {
                let part = (scope.clone(), format!("{period}/admitted"));
                [(scope, period), part]
            });
            with_parts.map(|(scope, period)| (CounterKey { scope, period }, Amount::from_pico(5))).collect()
        };
        let before = TraceState { posted: posted("a"), ..TraceState::default() };
        let change = TraceChange { trace: 1, before, new_blocks: Vec::new(), posted: posted("b") };
        let of_payers = |change: &TraceChange| moved(change).filter(|key| !Part::is_in(&key.period)).count();
        assert_eq!(of_payers(&change), 18);
        let steps = steps(change);
        assert_eq!(steps.len(), 2);
        assert_eq!(steps.iter().map(of_payers).collect::<Vec<_>>(), [18, 0]);
        assert!(steps.iter().all(|step| moved(step).count() <= COUNTERS_PER_POST_MAX));
        assert_eq!(steps.last().unwrap().posted, posted("b"));
    }
}
