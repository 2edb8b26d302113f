//! The books: JSON records under (partition, sort) keys, with versions for optimistic concurrency.
//!
//! Everything that is neither an event nor a document lives here: organisation versions, prices, keys, runs, facts of
//! days, ledger entries, period states. The shape fits one SQLite table and one DynamoDB table alike.

use std::collections::BTreeSet;

use async_trait::async_trait;

use crate::error::StoreError;

/// Writes in one atomic group (`DynamoDB`'s own limit).
pub const WRITES_MAX: usize = 100;
/// Bytes of one value (below `DynamoDB`'s 400 KB item).
pub const VALUE_BYTES_MAX: usize = 350 * 1024;

/// Records read at once (`DynamoDB`'s own limit of a batch).
pub const GET_ALL_MAX: usize = 100;

/// Names a record. Sort keys order by their bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// What kind of record, and of what: `organisation`, `facts/2026-10-01/0`.
    pub partition: String,
    /// Which one.
    pub sort: String,
}

impl Key {
    /// The key of a record.
    pub fn new(partition: impl Into<String>, sort: impl Into<String>) -> Self {
        Self { partition: partition.into(), sort: sort.into() }
    }
}

/// A stored record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its name.
    pub key: Key,
    /// Starts at 1 and grows by one with each put.
    pub version: u64,
    /// JSON text.
    pub value: String,
}

/// What must hold for a write to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Nothing.
    Any,
    /// No record stands there.
    Absent,
    /// The record has this version.
    Version(u64),
}

/// One write of an atomic group.
#[derive(Clone, Debug)]
pub enum Write {
    /// Puts a JSON value.
    Put {
        /// Where.
        key: Key,
        /// What, JSON text of at most [`VALUE_BYTES_MAX`].
        value: String,
        /// If.
        expect: Expect,
        /// After this it may be removed, seconds since 1970-01-01T00:00:00Z, and is some time later; `None`: it stays. The last
        /// put says.
        until_s: Option<i64>,
    },
    /// Removes a record.
    Delete {
        /// Which.
        key: Key,
        /// If.
        expect: Expect,
    },
}

impl Write {
    /// Bytes of its value.
    #[must_use]
    pub const fn value_bytes(&self) -> usize {
        match self {
            Self::Put { value, .. } => value.len(),
            Self::Delete { .. } => 0,
        }
    }

    /// The record that is written.
    #[must_use]
    pub const fn key(&self) -> &Key {
        match self {
            Self::Put { key, .. } | Self::Delete { key, .. } => key,
        }
    }
}

/// Why a group of writes did not happen. Nothing of it did.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// A condition did not hold.
    #[error("the record {}/{} was changed by somebody else", .0.partition, .0.sort)]
    Conflict(Key),
    /// More than [`WRITES_MAX`] writes or a value above [`VALUE_BYTES_MAX`].
    #[error("{0}")]
    TooLarge(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What every store refuses before it writes anything.
///
/// # Errors
/// [`WriteError::TooLarge`] above a limit, [`WriteError::Store`] for a record named twice.
pub fn check_writes(writes: &[Write]) -> Result<(), WriteError> {
    if writes.len() > WRITES_MAX {
        let message = format!("{} writes are more than the {WRITES_MAX} of an atomic group; split them", writes.len());
        return Err(WriteError::TooLarge(message));
    }
    let mut keys = BTreeSet::new();
    for write in writes {
        let key = write.key();
        if let Write::Put { value, .. } = write
            && value.len() > VALUE_BYTES_MAX
        {
            let name = format!("{}/{}", key.partition, key.sort);
            let message =
                format!("the record {name} has {} bytes, at most {VALUE_BYTES_MAX} fit; split it", value.len());
            return Err(WriteError::TooLarge(message));
        }
        if !keys.insert(key) {
            let cause = format!("the group names the record {}/{} twice", key.partition, key.sort);
            return Err(StoreError::unavailable("write records", cause).into());
        }
    }
    Ok(())
}

/// A page of a scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Records in order of their sort key, or in the opposite order where that was asked for.
    pub records: Vec<Record>,
    /// Where the next page begins (exclusive); `None`: that was all.
    pub next: Option<String>,
}

/// A page of names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// Sort keys in order.
    pub sorts: Vec<String>,
    /// Pass as `after` for the next page; `None`: that was all.
    pub next: Option<String>,
}

/// A table of records.
#[async_trait]
pub trait Books: Send + Sync {
    /// One record.
    async fn get(&self, key: &Key) -> Result<Option<Record>, StoreError>;
    /// Records of a partition whose sort key begins with `prefix` and lies after `after` (exclusive), at most `limit`.
    async fn scan(&self, partition: &str, prefix: &str, after: Option<&str>, limit: usize) -> Result<Page, StoreError>;
    /// The names of the records that [`Books::scan`] gives, for whoever does not need their values.
    async fn names(
        &self,
        partition: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Names, StoreError> {
        let Page { records, next } = self.scan(partition, prefix, after, limit).await?;
        Ok(Names { sorts: records.into_iter().map(|record| record.key.sort).collect(), next })
    }
    /// Records of a partition whose sort key is `from` or lies after it, and before `before` (exclusive), the last first: at most
    /// `limit`, and at least one of them. `next` is the `before` of the next page.
    async fn scan_back(
        &self,
        partition: &str,
        from: &str,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Page, StoreError>;
    /// Records of [`GET_ALL_MAX`] different names at most, in the order asked for.
    async fn get_all(&self, keys: &[Key]) -> Result<Vec<Option<Record>>, StoreError> {
        let mut found = Vec::with_capacity(keys.len());
        for key in keys {
            found.push(self.get(key).await?);
        }
        Ok(found)
    }
    /// All of the writes or none, durably.
    async fn write(&self, writes: Vec<Write>) -> Result<(), WriteError>;
    /// Removes records whose time is over, at most `limit`, and says how many. A store that removes them by itself does
    /// nothing.
    async fn remove_expired(&self, now_s: i64, limit: usize) -> Result<usize, StoreError> {
        let _ = (now_s, limit);
        Ok(0)
    }
}
