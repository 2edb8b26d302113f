//! The one thread that writes. Callers wait for it, never for each other: everything that waits when a commit begins
//! goes into that commit.
//!
//! | job | transactions |
//! |---|---|
//! | appends that wait together | one, of at most [`EVENTS_PER_COMMIT_MAX`] events (or one larger append) |
//! | groups of book writes that wait together | one, of at most [`GROUPS_PER_COMMIT_MAX`]; a refused one changes nothing |
//! | a group of live traces | one |
//! | changes of leases that wait together | one, of at most [`LEASES_PER_COMMIT_MAX`]; a refused one changes nothing |
//! | dropping the prints of a day | one |
//! | indexing the provider calls that wait | one for each slice, between other jobs; see `responses` |

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;

use chrono::NaiveDate;
use recoup_money::Amount;
use recoup_store::{Appended, CounterKey, Granted, Incoming, PostError, StoreError, TraceChange, Write, WriteError};
use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::append::append;
use crate::books::{self, Group};
use crate::failure::failed;
use crate::leases::{self, LeaseChange, LeaseReply};
use crate::responses::Backlog;
use crate::{live, prints};

/// Jobs that wait; callers beyond them are held back.
const JOBS_WAITING_MAX: usize = 1_024;
/// Events that wait, over all jobs; callers beyond them are held back.
const EVENTS_WAITING_MAX: u32 = 65_536;
/// Events of one group commit.
pub(crate) const EVENTS_PER_COMMIT_MAX: usize = 16_384;

/// Groups of book writes of one commit, and their bytes, which one group may exceed: what waits behind it waits for it.
pub(crate) const GROUPS_PER_COMMIT_MAX: usize = 16;
const GROUP_BYTES_PER_COMMIT_MAX: usize = 4 * 1024 * 1024;
/// Changes of leases of one group commit.
pub(crate) const LEASES_PER_COMMIT_MAX: usize = 256;

type AppendReply = oneshot::Sender<Result<Vec<Appended>, StoreError>>;

struct AppendJob {
    events: Vec<Incoming>,
    reply: AppendReply,
    _room: OwnedSemaphorePermit,
}

enum Job {
    Append(AppendJob),
    Write(Group),
    IndexResponses {
        reply: oneshot::Sender<Result<(), StoreError>>,
    },
    Post {
        changes: Vec<TraceChange>,
        deltas: BTreeMap<CounterKey, Amount>,
        reply: oneshot::Sender<Result<(), PostError>>,
    },
    Lease((LeaseChange, LeaseReply)),
    DropPrints {
        utc_day: NaiveDate,
        reply: oneshot::Sender<Result<(), StoreError>>,
    },
}

/// The way to the writing thread.
#[derive(Debug)]
pub(crate) struct Writer {
    jobs: Option<mpsc::Sender<Job>>,
    room: Arc<Semaphore>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread, which owns the connection from here on.
    pub(crate) fn start(connection: Connection, lanes: u16) -> std::io::Result<Self> {
        let (jobs, waiting) = mpsc::channel(JOBS_WAITING_MAX);
        let thread = std::thread::Builder::new()
            .name("recoup-writer".to_owned())
            .spawn(move || Thread { connection, lanes, waiting, held: None, backlog: Backlog::default() }.run())?;
        let room = usize::try_from(EVENTS_WAITING_MAX).unwrap_or(usize::MAX);
        Ok(Self { jobs: Some(jobs), room: Arc::new(Semaphore::new(room)), thread: Some(thread) })
    }

    /// Appends durably.
    pub(crate) async fn append(&self, events: Vec<Incoming>) -> Result<Vec<Appended>, StoreError> {
        const DOING: &str = "append events";
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let wanted = u32::try_from(events.len()).unwrap_or(u32::MAX).min(EVENTS_WAITING_MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(wanted).await;
        let room = room.map_err(|closed| StoreError::unavailable(DOING, closed))?;
        let (reply, answer) = oneshot::channel();
        self.send(DOING, Job::Append(AppendJob { events, reply, _room: room })).await?;
        answer.await.map_err(|stopped| StoreError::unavailable(DOING, stopped))?
    }

    /// Writes a group of records durably, or none of it.
    pub(crate) async fn write(&self, writes: Vec<Write>) -> Result<(), WriteError> {
        const DOING: &str = "write records";
        let (reply, answer) = oneshot::channel();
        self.send(DOING, Job::Write((writes, reply))).await?;
        answer.await.map_err(|stopped| StoreError::unavailable(DOING, stopped))?
    }

    /// Posts a group of live traces durably, or none of it.
    pub(crate) async fn post(
        &self,
        changes: Vec<TraceChange>,
        deltas: BTreeMap<CounterKey, Amount>,
    ) -> Result<(), PostError> {
        const DOING: &str = "post traces";
        let (reply, answer) = oneshot::channel();
        self.send(DOING, Job::Post { changes, deltas, reply }).await?;
        answer.await.map_err(|stopped| StoreError::unavailable(DOING, stopped))?
    }

    /// Changes leases durably, or not at all.
    pub(crate) async fn change_lease(&self, change: LeaseChange) -> Result<Option<Granted>, StoreError> {
        const DOING: &str = "change a lease";
        let (reply, answer) = oneshot::channel();
        self.send(DOING, Job::Lease((change, reply))).await?;
        answer.await.map_err(|stopped| StoreError::unavailable(DOING, stopped))?
    }

    /// Forgets the prints of a UTC day.
    pub(crate) async fn drop_prints(&self, utc_day: NaiveDate) -> Result<(), StoreError> {
        const DOING: &str = "drop the prints of a day";
        let (reply, answer) = oneshot::channel();
        self.send(DOING, Job::DropPrints { utc_day, reply }).await?;
        answer.await.map_err(|stopped| StoreError::unavailable(DOING, stopped))?
    }

    /// Waits until every provider call acknowledged so far is indexed.
    pub(crate) async fn index_responses(&self) -> Result<(), StoreError> {
        const DOING: &str = "index provider calls";
        let (reply, answer) = oneshot::channel();
        self.send(DOING, Job::IndexResponses { reply }).await?;
        answer.await.map_err(|stopped| StoreError::unavailable(DOING, stopped))?
    }

    async fn send(&self, doing: &'static str, job: Job) -> Result<(), StoreError> {
        let jobs = self.jobs.as_ref().ok_or_else(|| StoreError::unavailable(doing, "the writing thread has ended"))?;
        jobs.send(job).await.map_err(|_| StoreError::unavailable(doing, "the writing thread has ended"))
    }
}

impl Drop for Writer {
    /// Lets the thread finish what it was given, so that the folder can be opened again at once.
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has told its callers by dropping their replies.
            drop(thread.join());
        }
    }
}

struct Thread {
    connection: Connection,
    lanes: u16,
    waiting: mpsc::Receiver<Job>,
    held: Option<Job>,
    backlog: Backlog,
}

impl Thread {
    fn run(mut self) {
        self.backlog.resume(&self.connection);
        while let Some(job) = self.next() {
            self.handle(job);
            self.backlog.keep_up(&mut self.connection);
        }
        // Where this fails the next opening reads the log file instead.
        drop(self.connection.pragma_update_and_check(None, "wal_checkpoint", "TRUNCATE", |_| Ok(())));
    }

    /// The next job; what waits to be indexed gets its turn while there is none.
    fn next(&mut self) -> Option<Job> {
        if let Some(held) = self.held.take() {
            return Some(held);
        }
        while self.backlog.is_pressing() {
            match self.waiting.try_recv() {
                Ok(job) => return Some(job),
                Err(mpsc::error::TryRecvError::Disconnected) => return None,
                Err(mpsc::error::TryRecvError::Empty) => self.backlog.index_slice(&mut self.connection),
            }
        }
        self.waiting.blocking_recv()
    }

    fn handle(&mut self, job: Job) {
        match job {
            // A caller that no longer waits for its answer changes nothing.
            Job::IndexResponses { reply } => self.backlog.ask(&self.connection, reply),
            Job::Post { changes, deltas, reply } => {
                drop(reply.send(live::post(&mut self.connection, &changes, &deltas)));
            }
            Job::Write(first) => {
                let mut bytes = books::size(&first);
                let groups = self.more(first, GROUPS_PER_COMMIT_MAX, |job| match job {
                    Job::Write(next) if bytes.saturating_add(books::size(&next)) <= GROUP_BYTES_PER_COMMIT_MAX => {
                        bytes = bytes.saturating_add(books::size(&next));
                        Ok(next)
                    }
                    other => Err(other),
                });
                books::commit(&mut self.connection, groups);
            }
            Job::Lease(first) => {
                let changes = self.more(first, LEASES_PER_COMMIT_MAX, |job| match job {
                    Job::Lease(next) => Ok(next),
                    other => Err(other),
                });
                leases::commit(&mut self.connection, changes);
            }
            Job::DropPrints { utc_day, reply } => drop(reply.send(prints::forget(&self.connection, utc_day))),
            Job::Append(first) => {
                let group = self.gather(first);
                self.commit(group);
            }
        }
    }

    /// What waits already and is `of` the kind of the first, at most `most` with it.
    fn more<T>(&mut self, first: T, most: usize, mut of: impl FnMut(Job) -> Result<T, Job>) -> Vec<T> {
        let mut taken = vec![first];
        while taken.len() < most
            && let Ok(job) = self.waiting.try_recv()
        {
            match of(job) {
                Ok(next) => taken.push(next),
                Err(other) => {
                    self.held = Some(other);
                    break;
                }
            }
        }
        taken
    }

    /// Takes the appends that wait already, up to the next book write and the limit of a commit.
    fn gather(&mut self, first: AppendJob) -> Vec<AppendJob> {
        let mut events = first.events.len();
        let mut group = vec![first];
        while let Ok(job) = self.waiting.try_recv() {
            match job {
                Job::Append(next) if events + next.events.len() <= EVENTS_PER_COMMIT_MAX => {
                    events += next.events.len();
                    group.push(next);
                }
                other => {
                    self.held = Some(other);
                    break;
                }
            }
        }
        group
    }

    /// Commits a group and answers. Where the group fails each append gets a transaction of its own, so that one that
    /// cannot be stored does not take the others with it.
    fn commit(&mut self, group: Vec<AppendJob>) {
        let parts: Vec<&[Incoming]> = group.iter().map(|job| job.events.as_slice()).collect();
        let result = self.append_durably(&parts);
        match result {
            Ok(outcomes) => {
                let mut outcomes = outcomes.into_iter();
                for job in group {
                    let own = outcomes.by_ref().take(job.events.len()).collect();
                    drop(job.reply.send(Ok(own)));
                }
            }
            Err(_) if group.len() > 1 => group.into_iter().for_each(|job| self.commit(vec![job])),
            Err(error) => {
                if let Some(job) = group.into_iter().next() {
                    drop(job.reply.send(Err(error)));
                }
            }
        }
    }

    fn append_durably(&mut self, parts: &[&[Incoming]]) -> Result<Vec<Appended>, StoreError> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(failed("begin appending events"))?;
        let events: Vec<&Incoming> = parts.iter().flat_map(|part| part.iter()).collect();
        let outcomes = append(&transaction, &events, self.lanes)?;
        transaction.commit().map_err(failed("commit events"))?;
        let is_use =
            |(event, outcome): &(&&Incoming, &Appended)| **outcome == Appended::Accepted && event.response.is_some();
        self.backlog.note(events.iter().zip(&outcomes).filter(is_use).count());
        Ok(outcomes)
    }
}
