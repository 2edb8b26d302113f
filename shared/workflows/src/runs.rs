//! Long jobs: one at a time, with progress that can be watched and a record that stays.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use recoup_store::{Expect, Key};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::OwnedMutexGuard;

use crate::app::App;
use crate::error::Refusal;
use crate::records;

/// The partition of run records.
const RUNS: &str = "runs";
/// Runs whose progress is remembered.
const WATCHED_MAX: usize = 1_000;

/// How far a run is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunRecord {
    /// Names the run; later runs sort later.
    pub run: String,
    /// `nightly` or `close`.
    pub kind: String,
    /// `running`, `done` or `failed`.
    pub state: String,
    /// When it started, RFC 3339.
    pub started_at: String,
    /// When it ended, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<String>,
    /// Steps done and steps in all.
    pub done: u64,
    /// Steps in all, as far as known.
    pub total: u64,
    /// What it is doing.
    pub doing: String,
    /// What it found and changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Value>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Value>,
}

/// Runs in progress, and the lock that lets one run at a time.
#[derive(Default)]
pub(crate) struct Runs {
    watched: Mutex<BTreeMap<String, RunRecord>>,
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// A run that has its turn.
pub(crate) struct Running {
    /// Its name.
    pub(crate) run: String,
    _turn: OwnedMutexGuard<()>,
}

impl App {
    /// Lets a run be watched before it has its turn.
    pub fn announce_run(&self, run: &str, kind: &str) {
        self.watch(RunRecord {
            run: run.to_owned(),
            kind: kind.to_owned(),
            state: "running".into(),
            started_at: self.now_text(),
            finished_at: None,
            done: 0,
            total: 0,
            doing: "waiting for its turn".into(),
            outcome: None,
            error: None,
        });
    }

    /// Waits for its turn and begins a run.
    pub(crate) async fn begin_run(&self, run: &str, kind: &str) -> Result<Running, Refusal> {
        self.announce_run(run, kind);
        let turn = Arc::clone(&self.runs.turn).lock_owned().await;
        Ok(Running { run: run.to_owned(), _turn: turn })
    }

    /// A name for a new run.
    ///
    /// # Errors
    /// When the machine has no randomness.
    pub fn new_run(&self) -> Result<String, Refusal> {
        let mut tail = [0_u8; 3];
        getrandom::fill(&mut tail).map_err(|error| Refusal::computation("name a run", error))?;
        Ok(format!("{:016x}-{}", self.now_ns(), hex::encode(tail)))
    }

    fn watch(&self, record: RunRecord) {
        if let Ok(mut watched) = self.runs.watched.lock() {
            while watched.len() >= WATCHED_MAX {
                watched.pop_first();
            }
            watched.insert(record.run.clone(), record);
        }
    }

    pub(crate) fn progress(&self, running: &Running, doing: impl Into<String>, done: usize, total: usize) {
        if let Ok(mut watched) = self.runs.watched.lock()
            && let Some(record) = watched.get_mut(&running.run)
        {
            record.doing = doing.into();
            record.done = u64::try_from(done).unwrap_or(u64::MAX);
            record.total = u64::try_from(total).unwrap_or(u64::MAX);
        }
    }

    /// Ends a run and keeps its record.
    pub(crate) async fn end_run(&self, run: &str, outcome: &Result<Value, Refusal>) -> Result<(), Refusal> {
        let Some(mut record) = self.runs.watched.lock().ok().and_then(|watched| watched.get(run).cloned()) else {
            return Ok(());
        };
        record.finished_at = Some(self.now_text());
        match outcome {
            Ok(outcome) => {
                record.state = "done".into();
                record.done = record.total;
                record.outcome = Some(outcome.clone());
            }
            Err(refusal) => {
                record.state = "failed".into();
                record.error = Some(Value::String(refusal.to_string()));
            }
        }
        let key = Key::new(RUNS, run);
        let kept = self.ports.books.write(vec![records::put(key, &record, Expect::Any)?]).await;
        self.watch(record);
        Ok(kept?)
    }

    /// One run, in progress or ended.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] without such a run.
    pub async fn run(&self, run: &str) -> Result<RunRecord, Refusal> {
        let watched = self.runs.watched.lock().ok().and_then(|watched| watched.get(run).cloned());
        if let Some(record) = watched {
            return Ok(record);
        }
        let kept = records::get::<RunRecord>(self.books(), &Key::new(RUNS, run)).await?;
        kept.map(|(record, _)| record).ok_or_else(|| Refusal::NotFound(format!("there is no run `{run}`")))
    }

    /// Ended runs, oldest first, at most `limit` after `after`, and where the next page begins.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list_runs(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<RunRecord>, Option<String>), Refusal> {
        let page = self.ports.books.scan(RUNS, "", after, limit).await?;
        let rows = page.records.iter().map(|record| serde_json::from_str(&record.value));
        let rows = rows.collect::<Result<Vec<_>, _>>().map_err(|error| Refusal::computation("read a run", error))?;
        Ok((rows, page.next))
    }
}
