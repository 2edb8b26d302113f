//! Tasks that are anomalies, and the digest of those that do not alert on their own (ANO-1).

use std::collections::BTreeMap;

use chrono::NaiveDate;
use recoup_model::Id;
use recoup_money::Amount;
use serde::{Deserialize, Serialize};

use super::{Anomaly, AnomalyError, Baseline, Judgement, Spent, judge_task};

/// What a baseline is kept for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TaskKind {
    /// The root's agent.
    pub agent: Option<Id>,
    /// The root's task type.
    pub task_type: Id,
}

/// A task that ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinishedTask {
    /// The trace that it is.
    pub trace: Id,
    /// Who pays; `None`: unattributed.
    pub team: Option<Id>,
    /// Its agent and task type.
    pub kind: TaskKind,
    /// The local day on which it ended,
    pub day: NaiveDate,
    /// and the hour of that day, counted from midnight: 0 to 24 on the day on which clocks go back.
    pub hour: u8,
    /// What it used.
    pub spent: Spent,
}

impl FinishedTask {
    /// Sets it against its baseline; `None` unless it is an anomaly.
    ///
    /// # Errors
    /// [`AnomalyError`].
    pub fn judge(&self, baseline: &Baseline) -> Result<Option<TaskAnomaly>, AnomalyError> {
        Ok(match judge_task(&self.spent, baseline)? {
            Judgement::Anomalous(anomaly) => Some(TaskAnomaly {
                trace: Id::clone(&self.trace),
                team: self.team.clone(),
                kind: self.kind.clone(),
                day: self.day,
                hour: self.hour,
                anomaly,
            }),
            Judgement::Usual | Judgement::InsufficientHistory { .. } => None,
        })
    }
}

/// A task that is an anomaly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskAnomaly {
    /// The trace that it is.
    pub trace: Id,
    /// Who pays; `None`: unattributed.
    pub team: Option<Id>,
    /// Its agent and task type.
    pub kind: TaskKind,
    /// The local day on which it ended.
    pub day: NaiveDate,
    /// The hour of that day, from midnight.
    pub hour: u8,
    /// How much more it cost, and why.
    pub anomaly: Anomaly,
}

impl TaskAnomaly {
    /// Whether it alerts on its own; else it goes into the digest of its hour.
    #[must_use]
    pub const fn alerts_alone(&self) -> bool {
        self.anomaly.above_deviations
    }
}

/// What a digest is made for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HourKey {
    /// The local day.
    pub day: NaiveDate,
    /// The hour of that day, from midnight.
    pub hour: u8,
    /// The tasks' agent and task type.
    pub kind: TaskKind,
}

/// The anomalies of an hour that do not alert on their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HourDigest {
    /// How many tasks.
    pub tasks: u64,
    /// What they cost together.
    pub cost: Amount,
    /// By how much that is more than as many tasks of the baseline.
    pub excess: Amount,
    /// The dearest task; of equally dear ones the first by name.
    pub dearest: (Amount, Id),
}

/// One digest per agent, task type and hour, of those that do not alert on their own; the same in whatever order they come.
///
/// # Errors
/// [`AnomalyError::Overflow`].
pub fn digests<'a>(
    anomalies: impl IntoIterator<Item = &'a TaskAnomaly>,
) -> Result<BTreeMap<HourKey, HourDigest>, AnomalyError> {
    let mut hours: BTreeMap<HourKey, HourDigest> = BTreeMap::new();
    for one in anomalies.into_iter().filter(|one| !one.alerts_alone()) {
        let key = HourKey { day: one.day, hour: one.hour, kind: one.kind.clone() };
        let (cost, excess) = (one.anomaly.actual, one.anomaly.excess);
        let digest = hours.entry(key).or_insert_with(|| HourDigest {
            tasks: 0,
            cost: Amount::ZERO,
            excess: Amount::ZERO,
            dearest: (cost, Id::clone(&one.trace)),
        });
        digest.tasks = digest.tasks.checked_add(1).ok_or(AnomalyError::Overflow("tasks"))?;
        digest.cost = digest.cost.checked_add(cost).ok_or(AnomalyError::Overflow("costs"))?;
        digest.excess = digest.excess.checked_add(excess).ok_or(AnomalyError::Overflow("costs"))?;
        let (most, first) = &digest.dearest;
        if cost > *most || (cost == *most && one.trace < *first) {
            digest.dearest = (cost, Id::clone(&one.trace));
        }
    }
    Ok(hours)
}
