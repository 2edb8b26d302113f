//! The event log: immutable, content-addressed blocks of events.

use async_trait::async_trait;
use chrono::NaiveDate;
use recoup_model::{Digest, Identity, Recorded};

use crate::block::prints::Print;
use crate::error::StoreError;
use crate::live::BlockName;

/// An event on its way into the log, with what the log needs to know of it.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// The event.
    pub recorded: Recorded,
    /// Its identity.
    pub identity: Identity,
    /// Its content digest.
    pub digest: Digest,
    /// Fingerprint of (provider, `response_id`), where it has both.
    pub response: Option<u64>,
}

/// What became of an event (EVT-2), as far as the log knows at once: where many write at once, only an exact repeat of a
/// block or of an event in the same call is known as a duplicate, and the night finds the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// On disk.
    Accepted,
    /// The same identity and content was there.
    Duplicate,
    /// The same identity with other content was there, and stays.
    Conflict,
}

/// What is known of a block without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockInfo {
    /// Its place in the order in which blocks got their numbers, from 1: none gets a number below one given before.
    pub seq: u64,
    /// The UTC day of `used_at` of all its events.
    pub utc_day: NaiveDate,
    /// The lane of all its events.
    pub lane: u16,
    /// Digest of its canonical, uncompressed content.
    pub digest: Digest,
    /// How many events.
    pub events: u32,
}

impl BlockInfo {
    /// What names it wherever it is kept.
    #[must_use]
    pub const fn name(&self) -> BlockName {
        BlockName { utc_day: self.utc_day, lane: self.lane, digest: self.digest, events: self.events }
    }
}

/// A block as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBlock {
    /// What is known of it.
    pub info: BlockInfo,
    /// The encoded bytes, for [`crate::block::decode`].
    pub bytes: Vec<u8>,
}

/// An event that names a provider call which another event names too (EVT-2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ResponseUse {
    /// Fingerprint of (provider, `response_id`).
    pub response: u64,
    /// The event.
    pub identity: Identity,
}

/// The log. `append` is the only way in; nothing is ever changed.
#[async_trait]
pub trait EventLog: Send + Sync {
    /// Records events durably and says for each, in order, what became of it. When this returns, every `Accepted` is
    /// on disk; when it fails, nothing of the call was acknowledged.
    async fn append(&self, events: Vec<Incoming>) -> Result<Vec<Appended>, StoreError>;
    /// Gives every block that was recorded so far its number. A log that numbers blocks as it records them has nothing to
    /// do here; where many write at once, a block has no number, and no night sees it, before this was called.
    async fn number_blocks(&self) -> Result<(), StoreError> {
        Ok(())
    }
    /// The highest block number.
    async fn last_seq(&self) -> Result<u64, StoreError>;
    /// Blocks with a number above `seq`, in order, at most `limit`.
    async fn blocks_after(&self, seq: u64, limit: usize) -> Result<Vec<BlockInfo>, StoreError>;
    /// Blocks of a UTC day and lane, in order.
    async fn blocks_of_day(&self, utc_day: NaiveDate, lane: u16) -> Result<Vec<BlockInfo>, StoreError>;
    /// UTC days that have events, in order.
    async fn utc_days(&self) -> Result<Vec<NaiveDate>, StoreError>;
    /// Blocks by number, in the order asked for, each checked against its checksum; one that is not there or does not
    /// hold is [`StoreError::Damaged`].
    async fn read(&self, seqs: Vec<u64>) -> Result<Vec<StoredBlock>, StoreError>;
    /// Prints of the events of blocks, in the order asked for, each in the order of its events. `None`: there are none
    /// (any more) or they do not hold; compute them from the block. One that is not there at all is
    /// [`StoreError::Damaged`].
    async fn prints(&self, seqs: Vec<u64>) -> Result<Vec<Option<Vec<Print>>>, StoreError>;
    /// Drops the prints of these UTC days, whose blocks will hardly be read again: they take more room than the blocks.
    async fn drop_prints(&self, utc_days: Vec<NaiveDate>) -> Result<(), StoreError>;
    /// (trace, block) for every block that holds an event of one of these traces (trace fingerprints).
    async fn blocks_of_traces(&self, traces: Vec<u64>) -> Result<Vec<(u64, u64)>, StoreError>;
    /// Traces that have events on one of `utc_days` and on other UTC days too, with those other days.
    async fn traces_beyond(&self, utc_days: Vec<NaiveDate>, lane: u16) -> Result<Vec<(u64, NaiveDate)>, StoreError>;
    /// All uses of the provider calls that two or more events name, where at least one of these lies on `utc_days`. A log
    /// may look no further than a day around each of them: reports of one call lie at most a day apart.
    async fn shared_responses(&self, utc_days: Vec<NaiveDate>) -> Result<Vec<ResponseUse>, StoreError>;
}
