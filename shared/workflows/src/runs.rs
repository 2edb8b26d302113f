//! Long jobs: one at a time, with progress that can be watched and a record that stays.

use std::collections::BTreeMap;
use std::sync::Mutex;

use recoup_store::{Expect, Key, WriteError, causes};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::alerts::Tell;
use crate::app::App;
use crate::error::Refusal;
use crate::jobs::NIGHTLY;
use crate::records;
use crate::turn::{Turn, TurnLock};

/// The partition of run records.
const RUNS: &str = "runs";
/// States of a run.
const RUNNING: &str = "running";
const DONE: &str = "done";
/// Attempts at noting how far a run is.
const NOTES_MAX: usize = 3;
/// Runs whose progress is remembered.
const WATCHED_MAX: usize = 1_000;
/// Rows of each list of an outcome that are kept with the run.
const ROWS_KEPT_MAX: usize = 300;

/// The kind of a simulation, which leaves no record among the runs.
const SIMULATION: &str = "simulation";
/// Simulations whose outcome is remembered.
pub(crate) const SIMULATIONS_MAX: usize = 20;
/// Simulations that may be on their way.
pub(crate) const SIMULATIONS_WAITING_MAX: usize = 4;

pub(crate) fn too_many_simulations() -> Refusal {
    Refusal::Conflict {
        kind: "too-many-simulations",
        detail: format!("{SIMULATIONS_WAITING_MAX} simulations are on their way; try again when one has ended"),
    }
}

fn run_key(run: &str) -> Key {
    Key::new(RUNS, run)
}

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
    /// Of one that failed: what was asked, or what stands, is why, and nothing broke.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub refused: bool,
    /// Of a simulation: the only team that it is for.
    #[serde(skip)]
    pub(crate) team: Option<String>,
}

impl RunRecord {
    /// Whether it goes on.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.state == RUNNING
    }

    /// Whether it has ended well.
    pub(crate) fn is_done(&self) -> bool {
        self.state == DONE
    }

    fn finish(&mut self, finished_at: String, outcome: Result<Value, Failed>) {
        let ended = outcome.map(|outcome| self.outcome = Some(outcome));
        self.end(finished_at, ended);
    }

    /// The same where the outcome is kept elsewhere.
    pub(crate) fn end(&mut self, finished_at: String, ended: Result<(), Failed>) {
        self.finished_at = Some(finished_at);
        self.doing.clear();
        match ended {
            Ok(()) => {
                self.state = DONE.into();
                self.done = self.total;
            }
            Err(Failed { why, refused }) => {
                self.state = "failed".into();
                self.error = Some(Value::String(why));
                self.refused = refused;
            }
        }
    }
}

/// Why a run ended badly.
#[derive(Clone, Debug)]
pub(crate) struct Failed {
    why: String,
    refused: bool,
}

impl Failed {
    /// Something broke.
    pub(crate) fn broken(why: &str) -> Self {
        Self { why: why.to_owned(), refused: false }
    }
}

impl From<&Refusal> for Failed {
    fn from(refusal: &Refusal) -> Self {
        Self { why: causes(refusal), refused: refusal.refuses() }
    }
}

/// The name of a run that somebody else has named before, such as an execution of a state machine: it has the form of
/// [`App::new_run`], sorts by the time of its start, and is the same each time.
#[must_use]
pub fn name_of(started_at_ns: i64, seed: &str) -> String {
    let digest = recoup_model::Digest::of(seed.as_bytes()).to_string();
    format!("{started_at_ns:016x}-{}", digest.get(..6).unwrap_or_default())
}

/// Whether a text is a name that [`name_of`] gives.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let is_hex = |part: &str, digits: usize| part.len() == digits && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    text.split_once('-').is_some_and(|(started_at, seed)| is_hex(started_at, 16) && is_hex(seed, 6))
}

/// An outcome with a count in place of each list: what a step hands to a state machine, whose payloads are small.
#[must_use]
pub fn counted(outcome: &Value) -> Value {
    let Value::Object(fields) = outcome else { return outcome.clone() };
    let count = |value: &Value| match value {
        Value::Array(rows) => Value::from(rows.len()),
        other => other.clone(),
    };
    Value::Object(fields.iter().map(|(name, value)| (name.clone(), count(value))).collect())
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

/// Runs in progress in this process, and its lock.
#[derive(Default)]
pub(crate) struct Runs {
    watched: Mutex<BTreeMap<String, RunRecord>>,
    pub(crate) turn: TurnLock,
}

/// What a run finds when its first step is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begun {
    /// Nothing: it is to be planned.
    Fresh,
    /// Its plan, made by a step that was taken before.
    Planned {
        /// How many parts the plan has.
        parts: usize,
    },
    /// It has ended well.
    Done,
}

impl App {
    /// Lets a run be watched before it has its turn, by any process that shares the books.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn announce_run(&self, run: &str, kind: &str) -> Result<(), Refusal> {
        let record = self.new_record(run, kind);
        if self.sharing {
            return match self.books().write(vec![records::put(run_key(run), &record, Expect::Absent)?]).await {
                Ok(()) | Err(WriteError::Conflict(_)) => Ok(()),
                Err(error) => Err(error.into()),
            };
        }
        self.watch(record);
        Ok(())
    }

    fn new_record(&self, run: &str, kind: &str) -> RunRecord {
        RunRecord {
            run: run.to_owned(),
            kind: kind.to_owned(),
            state: RUNNING.into(),
            started_at: self.now_text(),
            finished_at: None,
            done: 0,
            total: 0,
            doing: "waiting for its turn".into(),
            outcome: None,
            error: None,
            refused: false,
            team: None,
        }
    }

    /// Lets a simulation be watched before it has its turn.
    ///
    /// # Errors
    /// [`Refusal::Conflict`] while too many wait.
    pub fn announce_simulation(&self, run: &str, team: Option<&str>) -> Result<(), Refusal> {
        if self.simulations(|record| record.is_running() && record.run != run) >= SIMULATIONS_WAITING_MAX {
            return Err(too_many_simulations());
        }
        self.watch(self.new_simulation(run));
        if let Ok(mut watched) = self.runs.watched.lock()
            && let Some(record) = watched.get_mut(run)
        {
            record.team = team.map(str::to_owned);
        }
        Ok(())
    }

    /// The record of a simulation that has not begun.
    pub(crate) fn new_simulation(&self, run: &str) -> RunRecord {
        self.new_record(run, SIMULATION)
    }

    fn simulations(&self, wanted: impl Fn(&RunRecord) -> bool) -> usize {
        let watched = self.runs.watched.lock();
        let count = |watched: &BTreeMap<String, RunRecord>| {
            watched.values().filter(|record| record.kind == SIMULATION && wanted(record)).count()
        };
        watched.map_or(0, |watched| count(&watched))
    }

    /// Waits for its turn: a simulation reads what nights and closes write.
    pub(crate) async fn begin_simulation(&self, run: &str, team: Option<&str>) -> Result<(), Refusal> {
        self.announce_simulation(run, team)?;
        self.runs.turn.wait(run).await;
        Ok(())
    }

    /// Ends a simulation. Its outcome is remembered for whoever watches it, and never written.
    pub(crate) fn end_simulation(&self, run: &str, outcome: &Result<Value, Refusal>) {
        let finished_at = self.now_text();
        let Ok(mut watched) = self.runs.watched.lock() else { return };
        if let Some(record) = watched.get_mut(run) {
            record.finish(finished_at, outcome.as_ref().map_err(Failed::from).cloned());
        }
        let ended = watched.values().filter(|record| record.kind == SIMULATION && !record.is_running());
        let ended: Vec<String> = ended.map(|record| record.run.clone()).collect();
        for old in ended.iter().rev().skip(SIMULATIONS_MAX) {
            watched.remove(old);
        }
    }

    /// A simulation in progress, or one that ended lately.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], also for one of another team.
    pub async fn simulation(&self, team: Option<&str>, run: &str) -> Result<RunRecord, Refusal> {
        let gone = || Refusal::NotFound(format!("there is no simulation `{run}`; it may have been too long ago"));
        if self.sharing {
            return self.simulation_in_the_books(team, run).await?.ok_or_else(gone);
        }
        let watched = self.runs.watched.lock().ok().and_then(|watched| watched.get(run).cloned());
        let ours =
            watched.filter(|record| record.kind == SIMULATION && (team.is_none() || record.team.as_deref() == team));
        ours.ok_or_else(gone)
    }

    /// Takes the turn for a run and notes in the books that it goes on. A run that has begun before goes on from there; one
    /// that has failed begins again.
    ///
    /// # Errors
    /// [`Refusal::Conflict`] `busy` while another run has the turn, where processes share the books.
    pub(crate) async fn begin_run(&self, run: &str, kind: &str) -> Result<Begun, Refusal> {
        let known = records::get::<RunRecord>(self.books(), &run_key(run)).await?;
        if known.as_ref().is_some_and(|(record, _)| record.state == DONE) {
            return Ok(Begun::Done);
        }
        let watched = self.runs.watched.lock().is_ok_and(|watched| watched.contains_key(run));
        if known.is_none() && !watched {
            self.announce_run(run, kind).await?;
        }
        let died = self.take_turn(run, kind).await?;
        let started_at = known.map_or_else(|| self.now_text(), |(record, _)| record.started_at);
        let record = RunRecord { started_at, doing: "beginning".into(), ..self.new_record(run, kind) };
        self.books().write(vec![records::put(run_key(run), &record, Expect::Any)?]).await?;
        self.watch(record);
        if let Some(turn) = died {
            self.bury(&turn).await?;
        }
        let planned = self.plan_head(run).await?;
        Ok(planned.map_or(Begun::Fresh, |head| Begun::Planned { parts: head.parts }))
    }

    /// Ends a run whose process died, as somebody else takes its turn over.
    async fn bury(&self, turn: &Turn) -> Result<(), Refusal> {
        tracing::warn!(run = turn.run, "a run stopped without an end");
        let failed = Failed::broken("it stopped without an end, and another run took its turn over");
        self.remember_failure(&turn.run, &turn.kind, &failed.why).await?;
        self.end_run(&turn.run, &turn.kind, Err(failed)).await?;
        self.remove_plan(&turn.run).await
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

    /// What a run is doing, for whoever watches it in this process.
    pub(crate) fn progress(&self, run: &str, doing: impl Into<String>, done: usize, total: usize) {
        if let Ok(mut watched) = self.runs.watched.lock()
            && let Some(record) = watched.get_mut(run)
        {
            record.doing = doing.into();
            record.done = u64::try_from(done).unwrap_or(u64::MAX);
            record.total = u64::try_from(total).unwrap_or(u64::MAX);
        }
    }

    /// One more step is done.
    pub(crate) fn advance(&self, run: &str, doing: impl Into<String>) {
        if let Ok(mut watched) = self.runs.watched.lock()
            && let Some(record) = watched.get_mut(run)
        {
            record.doing = doing.into();
            record.done = record.done.saturating_add(1).min(record.total);
        }
    }

    /// Notes in the books how far a run is, where other processes watch it there. It is no loss if many do so at once and one
    /// of them gives up.
    pub(crate) async fn note_progress(
        &self,
        run: &str,
        doing: &str,
        (more, total): (usize, usize),
    ) -> Result<(), Refusal> {
        for _ in 0..NOTES_MAX {
            if !self.sharing {
                return Ok(());
            }
            let Some((mut record, version)) = records::get::<RunRecord>(self.books(), &run_key(run)).await? else {
                return Ok(());
            };
            if record.state != RUNNING {
                return Ok(());
            }
            doing.clone_into(&mut record.doing);
            record.total = u64::try_from(total).unwrap_or(u64::MAX);
            record.done = record.done.saturating_add(u64::try_from(more).unwrap_or(u64::MAX)).min(record.total);
            match self.books().write(vec![records::put(run_key(run), &record, Expect::Version(version))?]).await {
                Ok(()) => return Ok(()),
                Err(WriteError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Ends a run and keeps its record.
    pub(crate) async fn end_run(&self, run: &str, kind: &str, outcome: Result<Value, Failed>) -> Result<(), Refusal> {
        let watched = self.runs.watched.lock().ok().and_then(|watched| watched.get(run).cloned());
        let kept = records::get::<RunRecord>(self.books(), &run_key(run)).await?.map(|(record, _)| record);
        let mut record = watched.or(kept).unwrap_or_else(|| self.new_record(run, kind));
        record.finish(self.now_text(), outcome);
        let kept = RunRecord { outcome: record.outcome.as_ref().map(shortened), ..record.clone() };
        let kept = self.books().write(vec![records::put(run_key(run), &kept, Expect::Any)?]).await;
        self.watch(record);
        Ok(kept?)
    }

    /// Ends a run well: its outcome is kept, its plan removed, its turn given back. Ending it again changes nothing.
    pub(crate) async fn run_done(&self, run: &str, kind: &str, outcome: &Value) -> Result<(), Refusal> {
        self.end_run(run, kind, Ok(outcome.clone())).await?;
        self.tidy_up(run).await
    }

    /// Removes what a run that has ended no longer needs.
    pub(crate) async fn tidy_up(&self, run: &str) -> Result<(), Refusal> {
        self.remove_plan(run).await?;
        self.give_turn_back(run).await
    }

    /// The outcome of a run that has ended well, after what is left of it was tidied up; `None`: it goes on.
    pub(crate) async fn outcome_before(&self, run: &str) -> Result<Option<Value>, Refusal> {
        let known = records::get::<RunRecord>(self.books(), &run_key(run)).await?.map(|(record, _)| record);
        let Some(record) = known.filter(|record| record.state == DONE) else { return Ok(None) };
        self.tidy_up(run).await?;
        self.publish_alerts().await;
        Ok(Some(record.outcome.unwrap_or_default()))
    }

    /// Ends a run badly: the reason is kept, its plan removed, its turn given back, and somebody told. What its parts have
    /// done stays done. A run that has ended is left as it is; one that nobody knows is recorded as of this `kind`, `nightly` or
    /// `close`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn run_failed(&self, run: &str, kind: &str, error: &str) -> Result<(), Refusal> {
        self.end_badly(run, kind, Failed::broken(error)).await
    }

    async fn end_badly(&self, run: &str, kind: &str, failed: Failed) -> Result<(), Refusal> {
        let recorded = self.record_failure(run, kind, failed.clone()).await;
        if recorded.is_err() {
            self.see_fail(run, failed);
        }
        recorded
    }

    /// Lets whoever watches a run here see that it has failed, where that cannot be recorded: on a full disk nothing can.
    fn see_fail(&self, run: &str, failed: Failed) {
        let now = self.now_text();
        if let Ok(mut watched) = self.runs.watched.lock()
            && let Some(record) = watched.get_mut(run).filter(|record| record.is_running())
        {
            record.finish(now, Err(failed));
        }
    }

    async fn record_failure(&self, run: &str, kind: &str, failed: Failed) -> Result<(), Refusal> {
        let known = records::get::<RunRecord>(self.books(), &run_key(run)).await?.map(|(record, _)| record);
        let watched = self.runs.watched.lock().ok().and_then(|watched| watched.get(run).cloned());
        let known = known.or(watched);
        if let Some(record) = known.as_ref().filter(|record| record.state != RUNNING) {
            tracing::info!(run, state = record.state, "a run that has ended cannot fail");
            return self.tidy_up(run).await;
        }
        let kind = known.map_or_else(|| kind.to_owned(), |record| record.kind);
        // Told first: what has ended is not looked at again.
        self.remember_failure(run, &kind, &failed.why).await?;
        self.end_run(run, &kind, Err(failed)).await?;
        self.tidy_up(run).await?;
        self.publish_alerts().await;
        Ok(())
    }

    /// Ends badly what still runs here, before the process is ended, and gives the names of these runs.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn cut_runs(&self) -> Result<Vec<String>, Refusal> {
        let running = |watched: &BTreeMap<String, RunRecord>| {
            let running = watched.values().filter(|record| record.is_running() && record.kind != SIMULATION);
            running.map(|record| (record.run.clone(), record.kind.clone())).collect::<Vec<_>>()
        };
        let running = self.runs.watched.lock().map_or_else(|_| Vec::new(), |watched| running(&watched));
        let error = "the process that ran it was ended; the next run goes on where it was";
        for (run, kind) in &running {
            self.run_failed(run, kind, error).await?;
        }
        Ok(running.into_iter().map(|(run, _)| run).collect())
    }

    /// Ends a run that did not get its turn; that is nobody's fault.
    pub(crate) async fn run_refused(&self, run: &str, kind: &str, error: &Refusal) -> Result<(), Refusal> {
        self.fresh_facts.clear();
        if matches!(error, Refusal::Conflict { kind: "busy" | "turn-lost", .. }) {
            return self.end_run(run, kind, Err(error.into())).await;
        }
        self.end_badly(run, kind, error.into()).await
    }

    async fn remember_failure(&self, run: &str, kind: &str, error: &str) -> Result<(), Refusal> {
        let (run, error) = (run.to_owned(), error.to_owned());
        let tell = if kind == NIGHTLY { Tell::NightFailed { run, error } } else { Tell::CloseFailed { run, error } };
        self.remember(&[tell]).await
    }

    /// One run, in progress or ended.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] without such a run.
    pub async fn run(&self, run: &str) -> Result<RunRecord, Refusal> {
        let watched = self.runs.watched.lock().ok().and_then(|watched| watched.get(run).cloned());
        if let Some(record) = watched.filter(|record| record.kind != SIMULATION && !self.sharing) {
            return Ok(record);
        }
        let kept = records::get::<RunRecord>(self.books(), &run_key(run)).await?;
        kept.map(|(record, _)| record).ok_or_else(|| Refusal::NotFound(format!("there is no run `{run}`")))
    }

    /// Runs, oldest first, at most `limit` after `after`, and where the next page begins.
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
