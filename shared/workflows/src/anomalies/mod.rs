//! Tasks and days that cost far more than those before them: what the nights found, and who is told (ANO-1 to ANO-3).
//!
//! A day is judged when a night has ended, once it is over itself, and again exactly when what its tasks or those of the
//! seven days before used is another than it was. What it was judged from is kept with the judgement, so that a crash
//! leaves nothing out.
//!
//! What the rules leave open:
//! * Somebody is told of days of the last [`TOLD_DAYS`]: who loads a year of history is not told of each of its days.
//! * What was told once is not told again when a late event changes the figures; the list shows them as they are now.
//! * The owner of an agent hears of it, as it stood on the day; of an agent that nobody owns those who pay and FinOps do.
//! * A team sees the days and tasks of the agents that it owns, and the tasks that it pays for.
//!
//! I/O: the nights, one record for each judged day, the work of the days concerned; seldom the events of a day.

mod judge;
mod work;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{Days, NaiveDate};
use recoup_budgets::anomaly::{Anomaly, Causes, TaskAnomaly, TaskKind};
use recoup_model::organisation::History;
use recoup_model::{Digest, Id};
use recoup_money::Amount;
use recoup_store::{Expect, Key};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub(crate) use work::work_puts;

use crate::access::Principal;
use crate::app::{App, World};
use crate::error::Refusal;
use crate::facts::Night;
use crate::queries::{DayRange, Paging, Rows};
use crate::records;

/// Days before today of which somebody is told.
pub const TOLD_DAYS: u64 = 7;
/// Tasks that are named in an alert.
pub const NAMED_TASKS: usize = 3;
/// What can be found about a day.
const KINDS: [&str; 3] = ["task", "day", "insufficient_history"];
/// The partition of days that were judged.
const JUDGED: &str = "judged";
/// Hexadecimal digits of the digest in the name under which a judgement is stored.
const NAME_DIGITS: usize = 16;

/// The tasks that ended on a day, where they are an anomaly together (ANO-2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DayAnomaly {
    /// The local day.
    pub day: NaiveDate,
    /// Their agent and task type.
    pub kind: TaskKind,
    /// How many.
    pub tasks: u64,
    /// What they cost together.
    pub cost: Amount,
    /// How much more a task cost on average, and why.
    pub anomaly: Anomaly,
    /// The dearest of them.
    pub dearest: Vec<(Id, Amount)>,
}

/// Tasks of an hour that are anomalies and do not alert on their own (ANO-1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HourAnomalies {
    /// The local day.
    pub day: NaiveDate,
    /// The hour of that day, from midnight.
    pub hour: u8,
    /// Their agent and task type.
    pub kind: TaskKind,
    /// How many.
    pub tasks: u64,
    /// What they cost together.
    pub cost: Amount,
    /// By how much that is more than as many tasks of the baseline.
    pub excess: Amount,
    /// The excess by cause.
    pub causes: Causes,
    /// The dearest of them.
    pub dearest: Vec<(Id, Amount)>,
}

/// What was found about a day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    /// Too little to compare with: only the cap guards (ANO-3).
    InsufficientHistory {
        /// The agent and task type.
        kind: TaskKind,
        /// Tasks that ended on the day.
        ended: u64,
        /// Days of the baseline that have a task.
        days: u32,
        /// Tasks of the baseline.
        tasks: u64,
    },
    /// The day is an anomaly.
    Day(Box<DayAnomaly>),
    /// A task is one.
    Task(Box<TaskAnomaly>),
}

impl Found {
    const fn kind(&self) -> &TaskKind {
        match self {
            Self::InsufficientHistory { kind, .. } => kind,
            Self::Day(day) => &day.kind,
            Self::Task(task) => &task.kind,
        }
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::InsufficientHistory { .. } => "insufficient_history",
            Self::Day(_) => "day",
            Self::Task(_) => "task",
        }
    }

    /// Whether a team may see it: it owns the agent, or pays for the task.
    fn concerns(&self, team: &str, owner: Option<&str>) -> bool {
        let pays = matches!(self, Self::Task(task) if task.team.as_deref() == Some(team));
        pays || owner == Some(team)
    }
}

/// A day that was judged.
#[derive(Serialize, Deserialize)]
struct Judged {
    /// What it was judged from.
    inputs: Digest,
    /// What the findings are stored under.
    rows: String,
}

fn judged_key(day: NaiveDate) -> Key {
    Key::new(JUDGED, day.to_string())
}

fn rows_partition(day: NaiveDate) -> String {
    format!("anomalies/{day}")
}

/// The team that runs an agent on a day.
pub(crate) fn owner_of(history: &History, day: NaiveDate, kind: &TaskKind) -> Option<String> {
    let agent = history.on(day).organisation.agents.get(kind.agent.as_ref()?)?;
    agent.owner.as_ref().map(ToString::to_string)
}

impl App {
    /// Judges every day that is over and whose tasks, or those of the days before, are others than when it was judged.
    /// Those that are not begun before `until_ns` are judged after the next night.
    pub(crate) async fn judge_days(&self, world: &World, nights: Vec<Night>, until_ns: i64) -> Result<(), Refusal> {
        let today = world.history.calendar().day_of(self.now_ns());
        let due = self.not_judged(&nights, today).await?;
        let mut works = judge::Works::new(nights);
        for (day, inputs) in due {
            if self.now_ns() >= until_ns {
                tracing::warn!(%day, "the time is over: anomalies from this day on wait for the next night");
                break;
            }
            let found = self.judge_day(world, day, &mut works).await?;
            self.keep_judgement(world, (day, today), (inputs, &found)).await?;
        }
        Ok(())
    }

    /// Days that are over and whose tasks, or those of the days before, are others than when they were judged.
    async fn not_judged(&self, nights: &[Night], today: NaiveDate) -> Result<BTreeMap<NaiveDate, Digest>, Refusal> {
        let known = records::all::<Judged>(self.books(), JUDGED, "").await?;
        let is_known = |day: &NaiveDate, inputs: &Digest| {
            let sort = day.to_string();
            let at = known.binary_search_by(|(known, _, _)| known.cmp(&sort)).ok();
            at.and_then(|at| known.get(at)).is_some_and(|(_, judged, _)| judged.inputs == *inputs)
        };
        let mut due = judge::due_days(nights, today);
        due.retain(|day, inputs| !is_known(day, inputs));
        Ok(due)
    }

    /// Days of a range that have a night and are over, and that nobody has judged as they are now.
    async fn days_to_judge(&self, world: &World, range: DayRange) -> Result<usize, Refusal> {
        let today = world.history.calendar().day_of(self.now_ns());
        let nights: Vec<Night> = self.nights().await?.into_iter().map(|(night, _)| night).collect();
        // A day is judged with those before it, so that it waits for each of them.
        let lacking: BTreeSet<NaiveDate> =
            nights.iter().filter(|night| night.work.is_none()).map(|night| night.day).collect();
        let waits = |day: NaiveDate| lacking.range(judge::first_of(day)..=day).next().is_some();
        let over = nights.iter().map(|night| night.day).filter(|day| *day < today);
        let mut days: BTreeSet<NaiveDate> = over.filter(|day| waits(*day)).collect();
        days.extend(self.not_judged(&nights, today).await?.into_keys());
        Ok(days.range(range.from..range.to).count())
    }

    /// Notes what there is to tell, then makes the findings those of the day.
    async fn keep_judgement(
        &self,
        world: &World,
        (day, today): (NaiveDate, NaiveDate),
        (inputs, found): (Digest, &[Found]),
    ) -> Result<(), Refusal> {
        let first_told = today.checked_sub_days(Days::new(TOLD_DAYS)).unwrap_or(today);
        if day >= first_told {
            let tells = judge::tells(found, |kind| owner_of(&world.history, day, kind));
            self.remember(&tells.map_err(|error| Refusal::computation("sum up anomalies", error))?).await?;
        }
        let partition = rows_partition(day);
        let digits = inputs.to_string();
        let rows = digits.get(..NAME_DIGITS).unwrap_or(&digits).to_owned();
        let before = records::get::<Judged>(self.books(), &judged_key(day)).await?;
        let puts = records::list_puts(&partition, &format!("{rows}/"), found)?;
        records::write_in_groups(self.books(), puts).await?;
        let judged = Judged { inputs, rows };
        self.books().write(vec![records::put(judged_key(day), &judged, Expect::Any)?]).await?;
        if let Some((old, _)) = before.filter(|(old, _)| old.rows != judged.rows) {
            records::remove_all(self.books(), &partition, &format!("{}/", old.rows)).await?;
        }
        Ok(())
    }

    /// What was found about the days of a range, in order of day.
    pub(crate) async fn found_between(&self, range: DayRange) -> Result<Vec<(NaiveDate, Found)>, Refusal> {
        let mut all = Vec::new();
        for (sort, judged, _) in records::all::<Judged>(self.books(), JUDGED, "").await? {
            let Ok(day) = sort.parse::<NaiveDate>() else { continue };
            if day < range.from || day >= range.to {
                continue;
            }
            let rows = records::list::<Found>(self.books(), &rows_partition(day), &format!("{}/", judged.rows)).await?;
            all.extend(rows.into_iter().map(|found| (day, found)));
        }
        Ok(all)
    }

    /// Of what was found about the days of a range what a team may see.
    pub(crate) async fn found_of_team(
        &self,
        range: DayRange,
        team: Option<&str>,
    ) -> Result<Vec<(NaiveDate, Found)>, Refusal> {
        let world = self.world().await?;
        let mut all = self.found_between(range).await?;
        let is_seen = |day: NaiveDate, found: &Found| {
            team.is_none_or(|team| found.concerns(team, owner_of(&world.history, day, found.kind()).as_deref()))
        };
        all.retain(|(day, found)| is_seen(*day, found));
        Ok(all)
    }

    /// Anomalies of tasks and days that the caller may see, in order of day; agents and task types without enough history
    /// only where `kind` asks for them.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`] for a key that may not read, [`Refusal::Invalid`] for a kind that there is not.
    pub async fn anomalies(
        &self,
        principal: &Principal,
        range: DayRange,
        (agent, kind): (Option<&str>, Option<&str>),
        paging: Paging,
    ) -> Result<Rows, Refusal> {
        let team = principal.seen_team()?;
        if let Some(unknown) = kind.filter(|kind| !KINDS.contains(kind)) {
            let detail = format!("there is no kind `{unknown}`; use {}", KINDS.join(", "));
            return Err(Refusal::invalid("unknown-value", "kind", detail));
        }
        let mut found = self.found_of_team(range, team).await?;
        found.retain(|(_, found)| agent.is_none_or(|agent| found.kind().agent.as_deref() == Some(agent)));
        let count = |name: &str| found.iter().filter(|(_, found)| found.name() == name).count();
        let counts = KINDS.map(count);
        let world = self.world().await?;
        let is_asked = |found: &Found| match kind {
            Some(kind) => found.name() == kind,
            None => !matches!(found, Found::InsufficientHistory { .. }),
        };
        let asked = found.iter().filter(|(_, found)| is_asked(found));
        let rows = asked.map(|(day, found)| row(*day, found, owner_of(&world.history, *day, found.kind())));
        let mut page = paging.cut(rows.collect());
        let not_judged = self.days_to_judge(&world, range).await?;
        let [tasks, days, insufficient] = counts;
        let currency = self.organisation_today().await?.currency;
        page.total = Some(json!({
            "tasks": tasks, "days": days, "insufficient_history": insufficient, "currency": currency,
            "days_not_judged": not_judged,
        }));
        Ok(page)
    }
}

/// What the API says of it.
fn row(day: NaiveDate, found: &Found, owner: Option<String>) -> Value {
    let TaskKind { agent, task_type } = found.kind();
    let mut row = json!({ "kind": found.name(), "day": day, "agent": agent, "task_type": task_type, "owner": owner });
    let more = match found {
        Found::InsufficientHistory { ended, days, tasks, .. } => {
            json!({ "tasks": ended, "baseline": { "days": days, "tasks": tasks } })
        }
        Found::Day(of) => {
            let dearest = |(trace, cost): &(Id, Amount)| json!({ "trace_id": trace, "cost": cost });
            let dearest: Vec<Value> = of.dearest.iter().map(dearest).collect();
            with_anomaly(json!({ "tasks": of.tasks, "cost": of.cost, "dearest": dearest }), &of.anomaly)
        }
        Found::Task(of) => {
            let alert = if of.alerts_alone() { "alone" } else { "hour" };
            let own = json!({ "hour": of.hour, "trace_id": of.trace, "team": of.team, "alert": alert });
            with_anomaly(own, &of.anomaly)
        }
    };
    merge(&mut row, more);
    row
}

fn with_anomaly(mut row: Value, anomaly: &Anomaly) -> Value {
    merge(
        &mut row,
        json!({
            "actual": anomaly.actual, "mean": anomaly.mean, "excess": anomaly.excess,
            "above_multiple": anomaly.above_multiple, "above_deviations": anomaly.above_deviations,
            "cause": anomaly.causes.largest(), "causes": anomaly.causes,
            "baseline": { "days": anomaly.days, "tasks": anomaly.tasks },
        }),
    );
    row
}

fn merge(row: &mut Value, more: Value) {
    if let (Some(row), Value::Object(more)) = (row.as_object_mut(), more) {
        row.extend(more);
    }
}
