//! Documents: statements and manifests, written once and never replaced (CLO-3).

use async_trait::async_trait;

use crate::error::StoreError;

/// What became of a put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutOutcome {
    /// Written now.
    Written,
    /// The same bytes stood there already.
    Same,
    /// Other bytes stand there; nothing was changed.
    Different,
}

/// A folder, or a bucket.
#[async_trait]
pub trait Documents: Send + Sync {
    /// Writes a document at a path such as `statements/2026-10/support/r1.json`, durably, if nothing stands there.
    /// Path segments are the caller's to keep safe: `[A-Za-z0-9._-]` only, no `.` or `..`.
    async fn put_once(&self, path: &str, bytes: Vec<u8>) -> Result<PutOutcome, StoreError>;
    /// The bytes at a path.
    async fn get(&self, path: &str) -> Result<Option<Vec<u8>>, StoreError>;
    /// Paths that begin with a prefix, in byte order, at most `limit`, after `after`.
    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<String>, StoreError>;
    /// An address at which anybody who has it can read the document for so many seconds, where the store has such; it is
    /// not said that a document stands there. `None`: read it here.
    async fn link(&self, path: &str, seconds: u64) -> Result<Option<String>, StoreError> {
        let _ = (path, seconds);
        Ok(None)
    }
}
