//! What the tasks of a day used, beside its facts: sums for each agent and task type, and the tasks that may turn out to be
//! anomalies once there is something to compare them with.
//!
//! A night keeps what it can know without other days: they may be run at the same time or later. So it keeps the dearest
//! tasks, and says what the dearest one cost that it left out. Only a day that left out too dear a task is read again.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use recoup_attribution::DayFacts;
use recoup_attribution::work::{Calls, TaskWork, Work, WorkKey};
use recoup_budgets::anomaly::{AnomalyError, FinishedTask, ModelUse, Spent, SumOfSquares, TaskKind, TaskSums};
use recoup_model::{Calendar, Id};
use recoup_money::Amount;
use recoup_store::Write;
use serde::{Deserialize, Serialize};

use super::NAMED_TASKS;
use crate::app::App;
use crate::error::Refusal;
use crate::facts::{Night, facts_partition};
use crate::records;

/// A task is kept by itself that cost more than so many times the mean of its own day. Most days are about as dear as those
/// before them, of which three times the mean is asked for (ANO-1).
const OWN_MEAN_MULTIPLE: i128 = 2;
const HOUR_NS: i64 = 3_600_000_000_000;

/// What the tasks of one agent and task type used that ended on a day, of one lane.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct WorkRow {
    pub(crate) kind: TaskKind,
    pub(crate) sums: TaskSums,
    /// What the dearest task cost that is not among the kept ones; `None`: all are.
    pub(crate) left_out: Option<Amount>,
    pub(crate) kept: Vec<FinishedTask>,
}

/// The puts that store what the tasks of a day used.
pub(crate) fn work_puts(facts: &DayFacts, calendar: Calendar, (lane, run): (u16, &str)) -> Result<Vec<Write>, Refusal> {
    let rows = rows_of(facts, calendar)?;
    Ok(records::list_puts(&facts_partition(facts.day, lane), &format!("{run}/work/"), rows)?)
}

fn rows_of(facts: &DayFacts, calendar: Calendar) -> Result<Vec<WorkRow>, Refusal> {
    let row = |(key, work): (&WorkKey, &Work)| row_of(key, work, (facts.day, calendar));
    let rows = facts.work.iter().map(row).collect::<Result<_, AnomalyError>>();
    rows.map_err(|error| Refusal::computation("add up the tasks of a day", error))
}

fn row_of(key: &WorkKey, work: &Work, day: (NaiveDate, Calendar)) -> Result<WorkRow, AnomalyError> {
    let models = work.models.iter().map(|(model, calls)| (Id::clone(model), used(calls))).collect();
    let squares = SumOfSquares::of_halves(work.squares.high, work.squares.low);
    let sums = TaskSums::added_up((work.tasks, work.retries), squares, models)?;
    let kind = kind_of(key);
    let (mut left_out, mut kept) = (work.dearest.left_out(), Vec::new());
    for (cost, task) in work.dearest.tasks() {
        if kept.len() < NAMED_TASKS || is_far_above(cost, &sums) {
            kept.push(finished(&kind, task, day)?);
        } else {
            left_out = left_out.max(Some(cost));
        }
    }
    Ok(WorkRow { kind, sums, left_out, kept })
}

fn kind_of(key: &WorkKey) -> TaskKind {
    TaskKind { agent: key.agent.clone(), task_type: Id::clone(&key.task_type) }
}

const fn used(calls: &Calls) -> ModelUse {
    ModelUse { calls: calls.calls, tokens: calls.tokens, cost: calls.cost }
}

fn is_far_above(cost: Amount, sums: &TaskSums) -> bool {
    let scaled = cost.pico().checked_mul(i128::from(sums.tasks()));
    let bound = sums.cost().pico().checked_mul(OWN_MEAN_MULTIPLE);
    scaled.zip(bound).is_none_or(|(scaled, bound)| scaled > bound)
}

fn finished(
    kind: &TaskKind,
    task: &TaskWork,
    (day, calendar): (NaiveDate, Calendar),
) -> Result<FinishedTask, AnomalyError> {
    let mut spent = Spent::default();
    let mut retries = task.retries;
    for (model, calls) in &task.models {
        spent.add_calls(model, &used(calls), std::mem::take(&mut retries))?;
    }
    let since_midnight_ns = task.ended_at_ns.saturating_sub(calendar.day_start_ns(day));
    let hour = since_midnight_ns.checked_div(HOUR_NS).and_then(|hour| u8::try_from(hour).ok()).unwrap_or_default();
    Ok(FinishedTask { trace: Id::clone(&task.trace), team: task.team.clone(), kind: kind.clone(), day, hour, spent })
}

/// Every task of a day that facts keep, by kind.
pub(crate) fn tasks_of(facts: &DayFacts, calendar: Calendar) -> Result<BTreeMap<TaskKind, Vec<FinishedTask>>, Refusal> {
    let mut all: BTreeMap<TaskKind, Vec<FinishedTask>> = BTreeMap::new();
    for (key, work) in &facts.work {
        let kind = kind_of(key);
        let tasks = work.dearest.tasks().map(|(_, task)| finished(&kind, task, (facts.day, calendar)));
        let tasks = tasks.collect::<Result<Vec<_>, _>>();
        let tasks = tasks.map_err(|error| Refusal::computation("look at the tasks of a day", error))?;
        all.insert(kind, tasks);
    }
    Ok(all)
}

impl App {
    /// What the tasks used that a night has found, by kind.
    pub(crate) async fn work_of(&self, night: &Night) -> Result<Vec<WorkRow>, Refusal> {
        let partition = facts_partition(night.day, night.lane);
        Ok(records::list(self.books(), &partition, &format!("{}/work/", night.rows())).await?)
    }
}
