//! Live state: what every trace has cost so far, and the counters of budgets that follow from it.
//!
//! A trace's state names the blocks that hold its events and what was posted to which counter for it. The state and the
//! counters change together or not at all, and only if nobody else changed the state meanwhile: posting the same blocks
//! again, in whatever grouping, changes nothing.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::NaiveDate;
use recoup_model::Digest;
use recoup_money::Amount;

use crate::error::StoreError;

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
    /// All of the changes with the counters that follow from them, or none.
    async fn post(&self, changes: Vec<TraceChange>) -> Result<(), PostError>;
    /// The values of counters, in the order asked for; an unknown one is zero.
    async fn counters(&self, keys: &[CounterKey]) -> Result<Vec<Amount>, StoreError>;
}
