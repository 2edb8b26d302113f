//! Which events name the same provider call (EVT-2).
//!
//! An append only queues what its events name, in the transaction that stores them. From time to time the writer sorts
//! the queue and indexes it slice by slice between other jobs: the last slice also empties the queue. A slice that is
//! done twice, after a crash, changes nothing.

use recoup_store::StoreError;
use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use tokio::sync::oneshot;

use crate::failure::failed;

const DOING: &str = "index provider calls";
/// Uses that may wait before they are indexed without being asked for.
const QUEUED_MAX: usize = 131_072;
/// Uses indexed in one transaction, which other jobs wait for.
const SLICE_USES: usize = 5_000;
const FIELD_BYTES: usize = 8;
const USE_BYTES: usize = 4 * FIELD_BYTES;

/// An event that names a provider call, as the tables hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Use {
    pub(crate) response: i64,
    pub(crate) trace: i64,
    pub(crate) event: i64,
    pub(crate) day: i64,
}

impl Use {
    fn to_bytes(self) -> impl Iterator<Item = u8> {
        [self.response, self.trace, self.event, self.day].into_iter().flat_map(i64::to_be_bytes)
    }

    fn from_bytes(bytes: &[u8]) -> Self {
        let mut fields = bytes
            .chunks_exact(FIELD_BYTES)
            .map(|field| field.first_chunk().map_or(0, |field| i64::from_be_bytes(*field)));
        let mut next = || fields.next().unwrap_or_default();
        Self { response: next(), trace: next(), event: next(), day: next() }
    }
}

/// Queues the uses of one append.
pub(crate) fn enqueue(transaction: &Transaction<'_>, uses: Vec<Use>) -> rusqlite::Result<()> {
    if uses.is_empty() {
        return Ok(());
    }
    let bytes: Vec<u8> = uses.into_iter().flat_map(Use::to_bytes).collect();
    transaction.prepare_cached("INSERT INTO response_queue (uses) VALUES (?1)")?.execute(params![bytes])?;
    Ok(())
}

/// The last entry of the queue, ever.
fn last_queued(connection: &Connection) -> rusqlite::Result<i64> {
    let mut select =
        connection.prepare_cached("SELECT ifnull(max(seq), 0) FROM sqlite_sequence WHERE name = 'response_queue'")?;
    select.query_row([], |row| row.get(0))
}

/// A queue that is being indexed.
#[derive(Debug)]
struct Drain {
    /// What is left of it, the smallest last.
    uses: Vec<Use>,
    /// Its last entry.
    through: i64,
}

/// Somebody who waits for an entry of the queue to be indexed.
#[derive(Debug)]
struct Asker {
    through: i64,
    reply: oneshot::Sender<Result<(), StoreError>>,
}

/// What waits to be indexed.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    /// Uses in the queue, those of the drain included.
    queued: usize,
    drain: Option<Drain>,
    askers: Vec<Asker>,
    /// The last slice failed; the next is tried after another job, not in a circle.
    is_stalled: bool,
}

impl Backlog {
    /// Counts what is in the queue; where that fails only the time of indexing changes.
    pub(crate) fn resume(&mut self, connection: &Connection) {
        let count = "SELECT ifnull(sum(length(uses)), 0) FROM response_queue";
        let bytes = connection.query_row(count, [], |row| row.get::<_, usize>(0));
        self.queued = bytes.unwrap_or_default() / USE_BYTES;
    }

    /// Notes what was queued.
    pub(crate) fn note(&mut self, uses: usize) {
        self.queued = self.queued.saturating_add(uses);
    }

    /// Answers once all that is queued now is indexed.
    pub(crate) fn ask(&mut self, connection: &Connection, reply: oneshot::Sender<Result<(), StoreError>>) {
        let is_queued = || connection.prepare_cached("SELECT 1 FROM response_queue LIMIT 1")?.exists([]);
        // An asker that no longer waits changes nothing.
        match is_queued().and_then(|is_queued| Ok(is_queued.then_some(last_queued(connection)?))) {
            Err(error) => drop(reply.send(Err(failed(DOING)(error)))),
            Ok(None) => drop(reply.send(Ok(()))),
            Ok(Some(through)) => self.askers.push(Asker { through, reply }),
        }
    }

    /// Whether there is something to index now.
    pub(crate) fn is_pressing(&self) -> bool {
        let wants = self.drain.is_some() || !self.askers.is_empty() || self.queued >= QUEUED_MAX;
        wants && !self.is_stalled
    }

    /// Indexes a slice after a job, and more of them the longer the queue is, so that it cannot grow for ever.
    pub(crate) fn keep_up(&mut self, connection: &mut Connection) {
        self.is_stalled = false;
        for _ in 0..=self.queued / QUEUED_MAX {
            if self.is_pressing() {
                self.index_slice(connection);
            }
        }
    }

    /// Indexes one slice; where that fails, tells those who wait for it.
    pub(crate) fn index_slice(&mut self, connection: &mut Connection) {
        if let Err(error) = self.try_slice(connection) {
            self.is_stalled = true;
            self.drain = None;
            self.resume(connection);
            let message = error.to_string();
            for asker in self.askers.drain(..) {
                drop(asker.reply.send(Err(StoreError::unavailable(DOING, message.clone()))));
            }
        }
    }

    fn try_slice(&mut self, connection: &mut Connection) -> Result<(), StoreError> {
        let drain = match self.drain.take() {
            Some(drain) => drain,
            None => load(connection).map_err(failed(DOING))?,
        };
        let Drain { mut uses, through } = drain;
        let slice = uses.split_off(uses.len().saturating_sub(SLICE_USES));
        let is_last = uses.is_empty();
        index(connection, &slice, is_last.then_some(through)).map_err(failed(DOING))?;
        self.queued = self.queued.saturating_sub(slice.len());
        if is_last {
            self.answer(through);
        } else {
            self.drain = Some(Drain { uses, through });
        }
        Ok(())
    }

    fn answer(&mut self, through: i64) {
        let (done, waiting) = std::mem::take(&mut self.askers).into_iter().partition(|asker| asker.through <= through);
        self.askers = waiting;
        let done: Vec<Asker> = done;
        done.into_iter().for_each(|asker| drop(asker.reply.send(Ok(()))));
    }
}

/// The whole queue, sorted downwards.
fn load(connection: &Connection) -> rusqlite::Result<Drain> {
    let mut select = connection.prepare_cached("SELECT seq, uses FROM response_queue ORDER BY seq")?;
    let mut rows = select.query([])?;
    let mut drain = Drain { uses: Vec::new(), through: last_queued(connection)? };
    while let Some(row) = rows.next()? {
        let bytes = row.get_ref(1)?.as_blob()?;
        drain.uses.extend(bytes.chunks_exact(USE_BYTES).map(Use::from_bytes));
    }
    drain.uses.sort_unstable_by(|left, right| right.cmp(left));
    Ok(drain)
}

/// Indexes uses; a call that is named again is also noted under each of its days. The last slice empties the queue.
fn index(connection: &mut Connection, slice: &[Use], emptied_through: Option<i64>) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    insert(&transaction, slice)?;
    if let Some(through) = emptied_through {
        transaction.prepare_cached("DELETE FROM response_queue WHERE seq <= ?1")?.execute(params![through])?;
    }
    transaction.commit()
}

fn insert(transaction: &Transaction<'_>, slice: &[Use]) -> rusqlite::Result<()> {
    let mut insert = transaction.prepare_cached(
        "INSERT INTO responses (response, trace, event, utc_day) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
    )?;
    let mut is_shared = transaction.prepare_cached("SELECT 1 FROM responses WHERE response = ?1 LIMIT 1 OFFSET 1")?;
    let mut share = transaction.prepare_cached(
        "INSERT INTO shared_responses (utc_day, response) SELECT utc_day, response FROM responses WHERE response = ?1 \
         ON CONFLICT DO NOTHING",
    )?;
    for used in slice.iter().rev() {
        insert.execute(params![used.response, used.trace, used.event, used.day])?;
        if is_shared.exists(params![used.response])? {
            share.execute(params![used.response])?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn queue(connection: &mut Connection, backlog: &mut Backlog, responses: std::ops::Range<i64>, event: i64) {
        let uses: Vec<Use> = responses.map(|response| Use { response, trace: 1, event, day: 20_000 }).collect();
        backlog.note(uses.len());
        let transaction = connection.transaction().unwrap();
        enqueue(&transaction, uses).unwrap();
        transaction.commit().unwrap();
    }

    fn count(connection: &Connection, table: &str) -> usize {
        connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn evt_2_an_asker_waits_for_what_was_queued_behind_a_running_slice() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(include_str!("schema.sql")).unwrap();
        let mut backlog = Backlog::default();
        queue(&mut connection, &mut backlog, 0..12_000, 1);
        let (first, mut first_answer) = oneshot::channel();
        backlog.ask(&connection, first);
        backlog.index_slice(&mut connection);
        assert_eq!(count(&connection, "responses"), SLICE_USES);
        queue(&mut connection, &mut backlog, 0..3, 2);
        let (second, mut second_answer) = oneshot::channel();
        backlog.ask(&connection, second);
        while first_answer.try_recv().is_err() {
            assert!(backlog.is_pressing());
            backlog.index_slice(&mut connection);
        }
        assert_eq!(count(&connection, "responses"), 12_000);
        assert!(second_answer.try_recv().is_err());
        backlog.index_slice(&mut connection);
        second_answer.try_recv().unwrap().unwrap();
        assert_eq!(count(&connection, "shared_responses"), 3);
        assert_eq!(count(&connection, "response_queue"), 0);
        assert!(!backlog.is_pressing());
        assert_eq!(backlog.queued, 0);
    }

    #[test]
    fn evt_2_a_slice_that_is_done_twice_changes_nothing() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(include_str!("schema.sql")).unwrap();
        let slice = [1, 1, 2].map(|response| Use { response, trace: 1, event: 9, day: 20_000 });
        for _ in 0..2 {
            index(&mut connection, &slice, None).unwrap();
            assert_eq!(count(&connection, "responses"), 2);
            assert_eq!(count(&connection, "shared_responses"), 0);
        }
    }

    #[test]
    fn evt_2_a_queue_that_grows_is_indexed_without_being_asked_for() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(include_str!("schema.sql")).unwrap();
        let mut backlog = Backlog::default();
        let all = i64::try_from(QUEUED_MAX).unwrap();
        queue(&mut connection, &mut backlog, 0..all - 1, 1);
        assert!(!backlog.is_pressing());
        queue(&mut connection, &mut backlog, all - 1..all, 1);
        assert!(backlog.is_pressing());
        let mut resumed = Backlog::default();
        resumed.resume(&connection);
        assert_eq!(resumed.queued, QUEUED_MAX);
        while resumed.is_pressing() {
            resumed.keep_up(&mut connection);
        }
        assert_eq!(count(&connection, "responses"), QUEUED_MAX);
    }
}
