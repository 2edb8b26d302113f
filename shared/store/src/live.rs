//! Live state: what every trace has cost so far, and the counters of budgets that follow from it.
//!
//! A trace's state names the blocks that hold its events and what was posted to which counter for it. The state and the
//! counters change together or not at all, and only if nobody else changed the state meanwhile: posting the same blocks
//! again, in whatever grouping, changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use chrono::NaiveDate;
use recoup_model::Digest;
use recoup_money::Amount;

use crate::error::StoreError;
use crate::leases::Settlement;

/// Traces changed in one atomic group (`DynamoDB` takes 100 actions, some of which are counters).
pub const TRACES_PER_POST_MAX: usize = 64;
/// Counters changed in one atomic group.
pub const COUNTERS_PER_POST_MAX: usize = 32;

/// Names a block wherever it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BlockName {
    /// The UTC day of `used_at` of all its events.
    pub utc_day: NaiveDate,
    /// The lane of all its events.
    pub lane: u16,
    /// Digest of its canonical, uncompressed content.
    pub digest: Digest,
    /// How many events.
    pub events: u32,
}

/// A counter: what was posted to a budget's scope in a period.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CounterKey {
    /// `organisation`, or `team:`, `project:`, `agent:`, `user:`, `task:` and an id.
    pub scope: String,
    /// A local month `2026-11`, ISO week `2026-W47` or day `2026-11-24`.
    pub period: String,
}

/// What is kept of a trace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceState {
    /// Grows with each change; 0: nothing is kept yet.
    pub version: u64,
    /// The blocks that hold its events, in order.
    pub blocks: Vec<BlockName>,
    /// What is posted for it, by counter; no zeros.
    pub posted: BTreeMap<CounterKey, Amount>,
}

/// A change of one trace. The counters change by what it posts now less what it had posted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceChange {
    /// The trace's fingerprint.
    pub trace: u64,
    /// The state that it was computed from.
    pub before: TraceState,
    /// Blocks that it has now and had not before.
    pub new_blocks: Vec<BlockName>,
    /// What is posted for it now, by counter; no zeros.
    pub posted: BTreeMap<CounterKey, Amount>,
}

/// What the counters change by, without zeros, and what every store refuses before it changes anything.
///
/// # Errors
/// [`PostError::TooLarge`] above a limit or where a sum does not fit, [`PostError::Store`] for a trace named twice.
pub fn counter_changes(changes: &[TraceChange]) -> Result<BTreeMap<CounterKey, Amount>, PostError> {
    if changes.len() > TRACES_PER_POST_MAX {
        let message =
            format!("{} traces are more than the {TRACES_PER_POST_MAX} of an atomic group; split them", changes.len());
        return Err(PostError::TooLarge(message));
    }
    let mut traces = BTreeSet::new();
    let mut deltas: BTreeMap<&CounterKey, Amount> = BTreeMap::new();
    for change in changes {
        if !traces.insert(change.trace) {
            let cause = format!("the group names the trace {:016x} twice", change.trace);
            return Err(StoreError::unavailable("post traces", cause).into());
        }
        let taken = change.before.posted.iter().map(|(key, amount)| (key, amount.checked_neg()));
        let given = change.posted.iter().map(|(key, amount)| (key, Some(*amount)));
        for (key, amount) in taken.chain(given) {
            let delta = deltas.entry(key).or_default();
            *delta = amount.and_then(|amount| delta.checked_add(amount)).ok_or_else(|| overflowing(key))?;
        }
    }
    deltas.retain(|_, delta| !delta.is_zero());
    if deltas.len() > COUNTERS_PER_POST_MAX {
        let message = format!(
            "{} counters are more than the {COUNTERS_PER_POST_MAX} of an atomic group; split the traces",
            deltas.len()
        );
        return Err(PostError::TooLarge(message));
    }
    Ok(deltas.into_iter().map(|(key, delta)| (key.clone(), delta)).collect())
}

fn overflowing(key: &CounterKey) -> PostError {
    PostError::TooLarge(format!("what is posted to {} in {} does not fit", key.scope, key.period))
}

/// Why a group of changes was not posted. Nothing of it was.
#[derive(Debug, thiserror::Error)]
pub enum PostError {
    /// Somebody else changed one of the traces or is changing one of the counters: load the traces again and repeat.
    #[error("a trace or a counter was changed by somebody else meanwhile")]
    Contended,
    /// More than [`TRACES_PER_POST_MAX`] traces or [`COUNTERS_PER_POST_MAX`] counters, or a state too large to keep.
    #[error("{0}")]
    TooLarge(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Traces in progress and counters.
#[async_trait]
pub trait Live: Send + Sync {
    /// The states of traces, in the order asked for; an unknown one is [`TraceState::default`].
    async fn traces(&self, traces: &[u64]) -> Result<Vec<TraceState>, StoreError>;
    /// The encoded bytes of blocks, in the order asked for, each checked against its checksum.
    async fn blocks(&self, names: &[BlockName]) -> Result<Vec<Vec<u8>>, StoreError>;
    /// Makes blocks known that were recorded, durably, so that they get their numbers. Knowing them already is fine.
    async fn arrived(&self, blocks: &[BlockName]) -> Result<(), StoreError>;
    /// All of the changes with the counters that follow from them, or none. A trace's version grows with each change. A
    /// change that was computed from another version than the one that stands is [`PostError::Contended`]; where that
    /// very change is the last one that was posted, a store may also say that it is done, which it is.
    async fn post(&self, changes: Vec<TraceChange>) -> Result<(), PostError>;
    /// The same, together with the end of the reservations that the posted events name, so that nobody finds what an event has
    /// cost beside what was reserved for it, as far as the store can in one step. Gives those that are left to be settled.
    /// Reservations that are settled already, or whose lease has ended, keep nothing from being posted.
    async fn post_settling(
        &self,
        changes: Vec<TraceChange>,
        settlements: &BTreeSet<Settlement>,
    ) -> Result<BTreeSet<Settlement>, PostError> {
        self.post(changes).await?;
        Ok(settlements.clone())
    }
    /// The values of counters, in the order asked for; an unknown one is zero.
    async fn counters(&self, keys: &[CounterKey]) -> Result<Vec<Amount>, StoreError>;
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn key(scope: &str) -> CounterKey {
        CounterKey { scope: scope.into(), period: "2026-10".into() }
    }

    fn posted(entries: &[(&str, i128)]) -> BTreeMap<CounterKey, Amount> {
        entries.iter().map(|(scope, pico)| (key(scope), Amount::from_pico(*pico))).collect()
    }

    fn change(trace: u64, before: &[(&str, i128)], after: &[(&str, i128)]) -> TraceChange {
        let before = TraceState { posted: posted(before), ..TraceState::default() };
        TraceChange { trace, before, new_blocks: Vec::new(), posted: posted(after) }
    }

    #[test]
    fn bud_1_counters_change_by_what_is_posted_now_less_what_was() {
        let moved = change(1, &[("team:a", 5), ("organisation", 5)], &[("team:b", 7), ("organisation", 7)]);
        let taken_back = change(2, &[("team:b", 3)], &[]);
        let deltas = counter_changes(&[moved, taken_back]).unwrap();
        assert_eq!(deltas, posted(&[("organisation", 2), ("team:a", -5), ("team:b", 4)]));
        let swapped = [change(1, &[("team:a", 5)], &[]), change(2, &[], &[("team:a", 5)])];
        assert_eq!(counter_changes(&swapped).unwrap(), BTreeMap::new());
    }

    #[test]
    fn mon_3_what_does_not_fit_is_refused() {
        for (before, after) in [(i128::MIN, 0), (-1, i128::MAX), (1, i128::MIN)] {
            let refused = counter_changes(&[change(1, &[("team:a", before)], &[("team:a", after)])]);
            assert!(matches!(refused, Err(PostError::TooLarge(_))), "{before} -> {after}");
        }
    }
}
