//! A few read-only connections, used on blocking threads.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use recoup_store::StoreError;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::Semaphore;

use crate::failure::failed;

/// Reads at a time; more wait.
const CONNECTIONS_MAX: usize = 4;
/// Bytes of the file that a reader maps instead of copying, which halves the time of reading blocks. It is the most that
/// `SQLite` maps; address space is all that it costs.
const MAPPED_BYTES: i64 = 0x7fff_0000;
/// Prepared statements kept for each connection.
pub(crate) const STATEMENTS_MAX: usize = 48;

/// The pool.
#[derive(Debug)]
pub(crate) struct Readers {
    file: PathBuf,
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    pub(crate) fn new(file: PathBuf) -> Self {
        Self { file, idle: Mutex::default(), permits: Arc::new(Semaphore::new(CONNECTIONS_MAX)) }
    }

    /// Runs a read on a connection of its own.
    pub(crate) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        doing: &'static str,
        query: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let permit = permit.map_err(|closed| StoreError::unavailable(doing, closed))?;
        let readers = Arc::clone(self);
        let reading = tokio::task::spawn_blocking(move || {
            let connection = readers.take().map_err(failed("open a read connection"))?;
            let result = query(&connection);
            readers.lock().push(connection);
            drop(permit);
            result
        });
        reading.await.map_err(|stopped| StoreError::unavailable(doing, stopped))?
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> rusqlite::Result<Connection> {
        if let Some(idle) = self.lock().pop() {
            return Ok(idle);
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.file, flags)?;
        connection.busy_timeout(crate::open::BUSY_TIMEOUT)?;
        connection.pragma_update(None, "query_only", true)?;
        connection.pragma_update(None, "mmap_size", MAPPED_BYTES)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
        Ok(connection)
    }
}
