//! A day set against the seven days before it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{Days, NaiveDate};
use recoup_budgets::anomaly::{
    AnomalyError, BASELINE_DAYS, Baseline, Causes, FinishedTask, HourKey, Judgement, MEAN_MULTIPLE, TaskAnomaly,
    TaskKind, TaskSums, digests, judge_day,
};
use recoup_model::{Digest, Id, Period};
use recoup_money::Amount;

use super::work::{WorkRow, tasks_of};
use super::{DayAnomaly, Found, HourAnomalies, NAMED_TASKS};
use crate::alerts::Tell;
use crate::app::{App, World};
use crate::error::Refusal;
use crate::facts::Night;
use crate::nightly::{Cut, Prints, facts_keeping};

/// Grows when the same tasks are judged in another way.
const JUDGED_BY: u32 = 1;
/// Tasks of one agent and task type that are looked at when a day is read again.
const TASKS_MAX: usize = 100_000;

/// The days that are over and have tasks that can be judged, each with the digest of what it is judged from. While a night of
/// the day or of those before it has not said what its tasks used, a close having made it, an earlier judgement stands.
pub(super) fn due_days(nights: &[Night], today: NaiveDate) -> BTreeMap<NaiveDate, Digest> {
    let mut by_day: BTreeMap<NaiveDate, Vec<String>> = BTreeMap::new();
    let mut lacking = BTreeSet::new();
    for night in nights {
        let Some(work) = night.work else {
            lacking.insert(night.day);
            continue;
        };
        by_day.entry(night.day).or_default().push(format!("{} {} {work}", night.day, night.lane));
    }
    let inputs = |day: NaiveDate| {
        let first = first_of(day);
        let of: Vec<&str> = by_day.range(first..=day).flat_map(|(_, nights)| nights).map(String::as_str).collect();
        Digest::of(format!("{JUDGED_BY}\n{}", of.join("\n")).as_bytes())
    };
    let is_known = |day: NaiveDate| lacking.range(first_of(day)..=day).next().is_none();
    let days = by_day.keys().copied().filter(|day| *day < today && is_known(*day));
    days.map(|day| (day, inputs(day))).collect()
}

/// The first day of those that a day is judged with.
pub(super) fn first_of(day: NaiveDate) -> NaiveDate {
    day.checked_sub_days(Days::new(BASELINE_DAYS)).unwrap_or(day)
}

/// What the tasks of one kind used that ended on a day, all lanes.
#[derive(Default)]
struct Whole {
    sums: TaskSums,
    left_out: Option<Amount>,
    kept: Vec<FinishedTask>,
}

type DayWork = BTreeMap<TaskKind, Whole>;

/// The work of days, read when it is asked for and forgotten when no later day can ask for it.
pub(super) struct Works {
    nights: Vec<Night>,
    days: BTreeMap<NaiveDate, DayWork>,
}

impl Works {
    pub(super) fn new(nights: Vec<Night>) -> Self {
        Self { nights, days: BTreeMap::new() }
    }
}

fn add_row(work: &mut DayWork, row: WorkRow) -> Result<(), AnomalyError> {
    let whole = work.entry(row.kind).or_default();
    whole.sums.merge(&row.sums)?;
    whole.left_out = whole.left_out.max(row.left_out);
    whole.kept.extend(row.kept);
    Ok(())
}

/// Whether a task would be recorded (ANO-1); where the product does not fit it is looked at to be sure.
fn may_be_recorded(cost: Amount, baseline: &Baseline) -> bool {
    let sums = baseline.sums();
    let scaled = cost.pico().checked_mul(i128::from(sums.tasks()));
    let bound = sums.cost().pico().checked_mul(i128::from(MEAN_MULTIPLE));
    scaled.zip(bound).is_none_or(|(scaled, bound)| scaled > bound)
}

impl App {
    async fn load_work(&self, works: &mut Works, day: NaiveDate) -> Result<(), Refusal> {
        let first = day.checked_sub_days(Days::new(BASELINE_DAYS)).unwrap_or(day);
        works.days.retain(|known, _| *known >= first);
        let known: BTreeSet<NaiveDate> = works.days.keys().copied().collect();
        let is_asked = |night: &&Night| (first..=day).contains(&night.day) && !known.contains(&night.day);
        for night in works.nights.iter().filter(is_asked).filter(|night| night.work.is_some()) {
            let work = works.days.entry(night.day).or_default();
            for row in self.work_of(night).await? {
                add_row(work, row).map_err(|error| Refusal::computation("add up the tasks of a day", error))?;
            }
        }
        Ok(())
    }

    /// What there is to be found about a day.
    pub(super) async fn judge_day(
        &self,
        world: &World,
        day: NaiveDate,
        works: &mut Works,
    ) -> Result<Vec<Found>, Refusal> {
        self.load_work(works, day).await?;
        let failed = |error: AnomalyError| Refusal::computation("set a day against those before", error);
        let mut work = works.days.remove(&day).unwrap_or_default();
        let (mut found, mut again) = (Vec::new(), BTreeSet::new());
        let mut baselines = BTreeMap::new();
        for (kind, whole) in &work {
            let history = works.days.iter().filter_map(|(of, work)| Some((*of, &work.get(kind)?.sums)));
            let baseline = Baseline::before(day, history).map_err(failed)?;
            match judge_day(&whole.sums, &baseline).map_err(failed)? {
                Judgement::InsufficientHistory { days, tasks } => {
                    let ended = whole.sums.tasks();
                    found.push(Found::InsufficientHistory { kind: kind.clone(), ended, days, tasks });
                    continue;
                }
                Judgement::Usual => {}
                Judgement::Anomalous(anomaly) => {
                    let (tasks, cost) = (whole.sums.tasks(), whole.sums.cost());
                    let dearest = dearest(&whole.kept).map_err(failed)?;
                    let of_day = DayAnomaly { day, kind: kind.clone(), tasks, cost, anomaly, dearest };
                    found.push(Found::Day(Box::new(of_day)));
                }
            }
            if whole.left_out.is_some_and(|cost| may_be_recorded(cost, &baseline)) {
                again.insert(kind.clone());
            }
            baselines.insert(kind.clone(), baseline);
        }
        if !again.is_empty() {
            for (kind, tasks) in self.read_tasks_again(world, day).await? {
                if let Some(whole) = work.get_mut(&kind).filter(|_| again.contains(&kind)) {
                    whole.kept = tasks;
                }
            }
        }
        for (kind, baseline) in &baselines {
            let kept = work.get(kind).map(|whole| whole.kept.as_slice()).unwrap_or_default();
            found.extend(judge_tasks(kept, baseline).map_err(failed)?);
        }
        works.days.insert(day, work);
        Ok(found)
    }

    /// Every task that ended on a day, from the events.
    async fn read_tasks_again(
        &self,
        world: &World,
        day: NaiveDate,
    ) -> Result<BTreeMap<TaskKind, Vec<FinishedTask>>, Refusal> {
        let closed = self.closed_worlds(world).await?;
        let world = match closed.get(&Period::of(day)) {
            Some(own) => Arc::clone(own),
            None => self.world().await?,
        };
        let calendar = world.history.calendar();
        let mut all: BTreeMap<TaskKind, Vec<FinishedTask>> = BTreeMap::new();
        for lane in 0..self.lanes {
            let loaded = self.load_day(&world, (day, lane), (Cut::NONE, Prints::Stored)).await?;
            let shared = Arc::clone(&world);
            let facts = tokio::task::spawn_blocking(move || facts_keeping(&shared, day, (&loaded, TASKS_MAX)));
            let facts = facts.await.map_err(|error| Refusal::computation("look at the tasks of a day", error))??;
            for (kind, tasks) in tasks_of(&facts, calendar)? {
                all.entry(kind).or_default().extend(tasks);
            }
        }
        Ok(all)
    }
}

fn judge_tasks(tasks: &[FinishedTask], baseline: &Baseline) -> Result<Vec<Found>, AnomalyError> {
    let mut found = Vec::new();
    for task in tasks {
        found.extend(task.judge(baseline)?);
    }
    found.sort_by(|one, other| (one.hour, &one.trace).cmp(&(other.hour, &other.trace)));
    Ok(found.into_iter().map(|anomaly| Found::Task(Box::new(anomaly))).collect())
}

fn dearest(tasks: &[FinishedTask]) -> Result<Vec<(Id, Amount)>, AnomalyError> {
    let costs = tasks.iter().map(|task| Ok((Id::clone(&task.trace), task.spent.cost()?)));
    Ok(most(costs.collect::<Result<_, _>>()?))
}

fn most(mut tasks: Vec<(Id, Amount)>) -> Vec<(Id, Amount)> {
    tasks.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
    tasks.truncate(NAMED_TASKS);
    tasks
}

/// What somebody has to be told of what was found about a day.
pub(super) fn tells(
    found: &[Found],
    owner_of: impl Fn(&TaskKind) -> Option<String>,
) -> Result<Vec<Tell>, AnomalyError> {
    let mut tells = Vec::new();
    let mut tasks: Vec<&TaskAnomaly> = Vec::new();
    for one in found {
        match one {
            Found::InsufficientHistory { .. } => {}
            Found::Day(day) => tells.push(Tell::DayAnomaly { owner: owner_of(&day.kind), found: day.clone() }),
            Found::Task(task) if task.alerts_alone() => {
                tells.push(Tell::TaskAnomaly { owner: owner_of(&task.kind), found: task.clone() });
            }
            Found::Task(task) => tasks.push(task),
        }
    }
    for (hour, digest) in digests(tasks.iter().copied())? {
        let of_hour = tasks.iter().filter(|task| is_of(task, &hour));
        let mut causes = Causes::default();
        let mut costs = Vec::new();
        for task in of_hour {
            causes = sum(&causes, &task.anomaly.causes).ok_or(AnomalyError::Overflow("causes"))?;
            costs.push((Id::clone(&task.trace), task.anomaly.actual));
        }
        let HourKey { day, hour, kind } = hour;
        let owner = owner_of(&kind);
        let found = HourAnomalies {
            day,
            hour,
            kind,
            tasks: digest.tasks,
            cost: digest.cost,
            excess: digest.excess,
            causes,
            dearest: most(costs),
        };
        tells.push(Tell::HourAnomalies { owner, found: Box::new(found) });
    }
    Ok(tells)
}

fn is_of(task: &TaskAnomaly, hour: &HourKey) -> bool {
    (task.day, task.hour, &task.kind) == (hour.day, hour.hour, &hour.kind)
}

fn sum(one: &Causes, other: &Causes) -> Option<Causes> {
    Some(Causes {
        price: one.price.checked_add(other.price)?,
        tokens_per_call: one.tokens_per_call.checked_add(other.tokens_per_call)?,
        calls_per_task: one.calls_per_task.checked_add(other.calls_per_task)?,
        retries: one.retries.checked_add(other.retries)?,
        model_mix: one.model_mix.checked_add(other.model_mix)?,
    })
}
