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
/// Rows of each list of an outcome that are kept with the run.
const ROWS_KEPT_MAX: usize = 300;

/// The kind of a simulation, which leaves no record.
const SIMULATION: &str = "simulation";
/// Simulations whose outcome is remembered.
const SIMULATIONS_MAX: usize = 20;
/// Simulations that may wait for their turn.
const SIMULATIONS_WAITING_MAX: usize = 4;

/// How far a run is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunRecord {
    /// Names the run; later runs sort later.
    pub run: String,
    /// `nightly` or `close`; `simulation` while it is watched.
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
    /// Of a simulation: the only team that it is for.
    #[serde(skip)]
    pub(crate) team: Option<String>,
}

impl RunRecord {
    fn finish(&mut self, finished_at: String, outcome: &Result<Value, Refusal>) {
        self.finished_at = Some(finished_at);
        match outcome {
            Ok(outcome) => {
                self.state = "done".into();
                self.done = self.total;
                self.outcome = Some(outcome.clone());
            }
            Err(refusal) => {
                self.state = "failed".into();
                self.error = Some(Value::String(refusal.to_string()));
            }
        }
    }
}

/// An outcome whose lists are short enough to be kept; `left_out` counts what is missing in each. The findings of a month
/// stand in its facts and in its settlement as well.
fn shortened(outcome: &Value) -> Value {
    let mut outcome = outcome.clone();
    let Some(fields) = outcome.as_object_mut() else { return outcome };
    let mut left_out = serde_json::Map::new();
    for (name, value) in fields.iter_mut() {
        if let Value::Array(rows) = value
            && rows.len() > ROWS_KEPT_MAX
        {
            left_out.insert(name.clone(), Value::from(rows.len().saturating_sub(ROWS_KEPT_MAX)));
            rows.truncate(ROWS_KEPT_MAX);
        }
    }
    if !left_out.is_empty() {
        fields.insert("left_out".to_owned(), Value::Object(left_out));
    }
    outcome
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
            team: None,
        });
    }

    /// Lets a simulation be watched before it has its turn.
    ///
    /// # Errors
    /// [`Refusal::Conflict`] while too many wait.
    pub fn announce_simulation(&self, run: &str, team: Option<&str>) -> Result<(), Refusal> {
        if self.simulations(|record| record.state == "running" && record.run != run) >= SIMULATIONS_WAITING_MAX {
            return Err(Refusal::Conflict {
                kind: "too-many-simulations",
                detail: format!("{SIMULATIONS_WAITING_MAX} simulations are on their way; try again when one has ended"),
            });
        }
        self.announce_run(run, SIMULATION);
        if let Ok(mut watched) = self.runs.watched.lock()
            && let Some(record) = watched.get_mut(run)
        {
            record.team = team.map(str::to_owned);
        }
        Ok(())
    }

    fn simulations(&self, wanted: impl Fn(&RunRecord) -> bool) -> usize {
        let watched = self.runs.watched.lock();
        let count = |watched: &BTreeMap<String, RunRecord>| {
            watched.values().filter(|record| record.kind == SIMULATION && wanted(record)).count()
        };
        watched.map_or(0, |watched| count(&watched))
    }

    /// Waits for its turn: a simulation reads what nights and closes write.
    pub(crate) async fn begin_simulation(&self, run: &str, team: Option<&str>) -> Result<Running, Refusal> {
        self.announce_simulation(run, team)?;
        let turn = Arc::clone(&self.runs.turn).lock_owned().await;
        Ok(Running { run: run.to_owned(), _turn: turn })
    }

    /// Ends a simulation. Its outcome is remembered for whoever watches it, and never written.
    pub(crate) fn end_simulation(&self, run: &str, outcome: &Result<Value, Refusal>) {
        let finished_at = self.now_text();
        let Ok(mut watched) = self.runs.watched.lock() else { return };
        if let Some(record) = watched.get_mut(run) {
            record.finish(finished_at, outcome);
        }
        let ended = watched.values().filter(|record| record.kind == SIMULATION && record.state != "running");
        let ended: Vec<String> = ended.map(|record| record.run.clone()).collect();
        for old in ended.iter().rev().skip(SIMULATIONS_MAX) {
            watched.remove(old);
        }
    }

    /// A simulation in progress, or one that ended lately.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], also for one of another team.
    pub fn simulation(&self, team: Option<&str>, run: &str) -> Result<RunRecord, Refusal> {
        let watched = self.runs.watched.lock().ok().and_then(|watched| watched.get(run).cloned());
        let ours =
            watched.filter(|record| record.kind == SIMULATION && (team.is_none() || record.team.as_deref() == team));
        ours.ok_or_else(|| Refusal::NotFound(format!("there is no simulation `{run}`; it may have been too long ago")))
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
        record.finish(self.now_text(), outcome);
        let key = Key::new(RUNS, run);
        let kept = RunRecord { outcome: record.outcome.as_ref().map(shortened), ..record.clone() };
        let kept = self.ports.books.write(vec![records::put(key, &kept, Expect::Any)?]).await;
        self.watch(record);
        Ok(kept?)
    }

    /// One run, in progress or ended.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] without such a run.
    pub async fn run(&self, run: &str) -> Result<RunRecord, Refusal> {
        let watched = self.runs.watched.lock().ok().and_then(|watched| watched.get(run).cloned());
        if let Some(record) = watched.filter(|record| record.kind != SIMULATION) {
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_long_list_is_shortened_and_says_so() {
        let rows = |count: usize| vec![json!({ "detail": "x" }); count];
        let short = json!({ "days": rows(ROWS_KEPT_MAX), "closed": true });
        assert_eq!(shortened(&short), short);
        let long = shortened(&json!({ "findings": rows(ROWS_KEPT_MAX + 7), "closed": true }));
        assert_eq!(long, json!({ "findings": rows(ROWS_KEPT_MAX), "closed": true, "left_out": { "findings": 7 } }));
    }
}
