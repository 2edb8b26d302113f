//! Simulations where processes share the books: the one that is asked keeps the question, another one answers it, and every
//! one may be asked how far it is.
//!
//! Written are `simulations`, a record for each with how far it is and for whom, and `simulations/RUN`, the texts of the
//! question and of the answer: nothing else, neither a figure nor the turn. So a simulation holds no night up. It begins again
//! where a night or a close changed what it reads.
//! I/O: to ask, a scan of the records, the question and a record; to answer, what [`super::chain`] reads, the versions of
//! nights, settlements and periods before and after it, the answer and the record.

use std::sync::Arc;

use recoup_model::Digest;
use recoup_model::period::format_instant;
use recoup_store::{Expect, Key, StoreError, Write};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::SimulationRequest;
use crate::access::{Principal, Role};
use crate::app::App;
use crate::error::Refusal;
use crate::runs::{Failed, RunRecord, SIMULATIONS_MAX, SIMULATIONS_WAITING_MAX, too_many_simulations};
use crate::{close, facts, nightly, records};

/// The partition of the records.
const SIMULATIONS: &str = "simulations";
const QUESTION: &str = "question/";
const ANSWER: &str = "answer/";
/// Bytes of an answer.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// What goes on for longer was stopped, and what should have noted that was not heard: its state machine gives up after four
/// hours.
const LASTS_NS: i64 = 5 * 3_600 * 1_000_000_000;
const STOPPED: &str = "it was stopped; ask again";

/// A record.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    record: RunRecord,
    /// The only team that it is for.
    team: Option<String>,
    started_ns: i64,
}

impl Kept {
    fn goes_on(&self, now_ns: i64) -> bool {
        self.record.is_running() && now_ns.saturating_sub(self.started_ns) < LASTS_NS
    }
}

fn key(run: &str) -> Key {
    Key::new(SIMULATIONS, run)
}

fn texts_of(run: &str) -> String {
    format!("{SIMULATIONS}/{run}")
}

/// Whether the same step may go well later.
fn is_passing(refusal: &Refusal) -> bool {
    matches!(
        refusal,
        Refusal::Store(StoreError::Unavailable { .. }) | Refusal::Conflict { kind: "busy" | "changed-meanwhile", .. }
    )
}

impl App {
    /// Checks a question and keeps it for a process that answers it, which is to be told by [`App::answer_simulation`].
    ///
    /// # Errors
    /// As [`App::plan_simulation`]; [`Refusal::Conflict`] while too many are on their way.
    pub async fn ask_simulation(
        &self,
        principal: &Principal,
        run: &str,
        request: &SimulationRequest,
    ) -> Result<(), Refusal> {
        drop(self.plan_simulation(principal, request).await?);
        let (now_ns, team) = (self.now_ns(), principal.may_simulate()?.map(str::to_owned));
        let kept = records::all::<Kept>(self.books(), SIMULATIONS, "").await?;
        if kept.iter().filter(|(_, one, _)| one.goes_on(now_ns)).count() >= SIMULATIONS_WAITING_MAX {
            return Err(too_many_simulations());
        }
        let ended = kept.iter().rev().filter(|(_, one, _)| !one.goes_on(now_ns));
        for (old, _, _) in ended.skip(SIMULATIONS_MAX.saturating_sub(1)) {
            records::remove_all(self.books(), &texts_of(old), "").await?;
            self.books().write(vec![Write::Delete { key: key(old), expect: Expect::Any }]).await?;
        }
        let puts = records::text_puts(&texts_of(run), QUESTION, &records::to_json(request)?)?;
        records::write_in_groups(self.books(), puts).await?;
        let kept = Kept { record: self.new_simulation(run), team, started_ns: now_ns };
        Ok(self.books().write(vec![records::put(key(run), &kept, Expect::Absent)?]).await?)
    }

    /// Answers a question that was kept. One that was answered stays as it is.
    ///
    /// # Errors
    /// Where trying again may help: [`Refusal::Conflict`] `busy` while a night or a close goes on and `changed-meanwhile` where
    /// one has, [`Refusal::Store`]. Why there is no answer otherwise stands in the record.
    pub async fn answer_simulation(self: &Arc<Self>, run: &str) -> Result<Value, Refusal> {
        let (kept, version) = self.kept_simulation(run).await?;
        if !kept.record.is_running() {
            return Ok(json!({ "run": run, "state": kept.record.state }));
        }
        let outcome = match self.answer_kept(run, &kept).await {
            Err(refusal) if is_passing(&refusal) => return Err(refusal),
            outcome => outcome.map_err(|refusal| Failed::from(&refusal)),
        };
        self.end_kept(kept, version, outcome).await
    }

    /// Ends a simulation that nobody could answer, unless it has ended.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn simulation_failed(&self, run: &str, error: &str) -> Result<(), Refusal> {
        let (kept, version) = self.kept_simulation(run).await?;
        if kept.record.is_running() {
            self.end_kept(kept, version, Err(Failed::broken(error))).await?;
        }
        Ok(())
    }

    /// A simulation by its record, with its answer where it has one; `None`: there is none for this team. One that was
    /// stopped, where that was not noted, has failed as soon as it can no longer go on.
    pub(crate) async fn simulation_in_the_books(
        &self,
        team: Option<&str>,
        run: &str,
    ) -> Result<Option<RunRecord>, Refusal> {
        let found = records::get::<Kept>(self.books(), &key(run)).await?.map(|(kept, _)| kept);
        let Some(kept) = found.filter(|kept| team.is_none() || kept.team.as_deref() == team) else { return Ok(None) };
        let is_stopped = kept.record.is_running() && !kept.goes_on(self.now_ns());
        let mut record = kept.record;
        if is_stopped {
            record.end(format_instant(kept.started_ns.saturating_add(LASTS_NS)), Err(Failed::broken(STOPPED)));
        }
        if record.is_done() {
            let text = records::text(self.books(), &texts_of(run), ANSWER).await?;
            let answer = serde_json::from_str(&text);
            record.outcome = Some(answer.map_err(|error| Refusal::computation("read a simulation", error))?);
        }
        Ok(Some(record))
    }

    async fn kept_simulation(&self, run: &str) -> Result<(Kept, u64), Refusal> {
        let kept = records::get::<Kept>(self.books(), &key(run)).await?;
        kept.ok_or_else(|| Refusal::NotFound(format!("there is no simulation `{run}`")))
    }

    async fn answer_kept(self: &Arc<Self>, run: &str, kept: &Kept) -> Result<(), Refusal> {
        let question = records::text(self.books(), &texts_of(run), QUESTION).await?;
        let request: SimulationRequest =
            serde_json::from_str(&question).map_err(|error| Refusal::computation("read a simulation", error))?;
        // Whoever asked was allowed to, for this team.
        let asker = match &kept.team {
            Some(team) => Principal { role: Role::Lead, team: Some(team.clone()), ..Principal::operator() },
            None => Principal::operator(),
        };
        let before = self.ground().await?;
        let simulation = self.plan_simulation(&asker, &request).await?;
        let answer = self.simulate_steps(run, &simulation).await?;
        if self.ground().await? != before {
            let detail = "a night or a close has changed what the simulation reads; it begins again".to_owned();
            return Err(Refusal::Conflict { kind: "changed-meanwhile", detail });
        }
        let text = records::to_json(&answer)?;
        if text.len() > ANSWER_BYTES_MAX {
            let detail = format!("the answer has more than {ANSWER_BYTES_MAX} bytes; simulate fewer months");
            return Err(Refusal::TooLarge(detail));
        }
        let puts = records::text_puts(&texts_of(run), ANSWER, &text)?;
        Ok(records::write_in_groups(self.books(), puts).await?)
    }

    async fn end_kept(&self, mut kept: Kept, version: u64, outcome: Result<(), Failed>) -> Result<Value, Refusal> {
        kept.record.end(self.now_text(), outcome);
        let ended = records::put(key(&kept.record.run), &kept, Expect::Version(version))?;
        self.books().write(vec![ended]).await?;
        Ok(json!({ "run": kept.record.run, "state": kept.record.state }))
    }

    /// What a simulation reads, as a digest of its versions, while nobody changes it.
    async fn ground(&self) -> Result<Digest, Refusal> {
        self.nobody_has_the_turn().await?;
        let mut versions = String::new();
        for partition in [facts::NIGHTS, nightly::SETTLED, close::PERIODS] {
            for (sort, record, version) in records::all::<Value>(self.books(), partition, "").await? {
                versions.push_str(&format!("{partition}/{sort} {version} {record}\n"));
            }
        }
        Ok(Digest::of(versions.as_bytes()))
    }
}
