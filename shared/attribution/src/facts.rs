//! What one local day (of one lane) amounts to: the value that a night stores and a close combines.
//!
//! Facts of lanes and of days are added, never averaged. All maps are ordered, so the same events give the same bytes.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use recoup_model::{Digest, Finding, FindingKind, Id, Kind, TokenClass};
use recoup_money::Amount;
use serde::{Deserialize, Serialize};

use crate::work::{Work, WorkKey};

/// Findings of one kind that are kept in full for one day and lane; all of them are counted.
pub const FINDINGS_PER_KIND_MAX: usize = 1_000;

/// The task that a span belongs to (PRC-0): that of its trace's root.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TaskOf {
    /// The root's agent.
    pub agent: Option<Id>,
    /// The root's task type.
    pub task_type: Id,
    /// The local day on which the root ended: the price in force on it applies.
    pub ended_on: NaiveDate,
    /// Whether any span of the task other than `agent` has a duration (PRC-4).
    pub timed: bool,
}

/// What was bought.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Item {
    /// Tokens of a class.
    Tokens(TokenClass),
    /// Units of a SKU.
    Units {
        /// Which SKU.
        sku: Id,
        /// Of what.
        unit: Option<Id>,
    },
    /// A reported cost without usage (EVT-6).
    Reported,
    /// An event without a price: its cost is unknown, not zero (RAT-2). The quantity is its tokens or units.
    Unpriced,
    /// An event without cost: an `agent` frame.
    Frame,
}

/// The dimensions of a cost cell. Day and lane stand in [`DayFacts`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CellKey {
    /// The payer's team; `None`: unattributed (ATR-1).
    pub team: Option<Id>,
    /// The payer's project.
    pub project: Option<Id>,
    /// The span's own agent, else the nearest ancestor's.
    pub agent: Option<Id>,
    /// The span's own task type, else the nearest ancestor's.
    pub task_type: Option<Id>,
    /// The cost bucket.
    pub kind: Kind,
    /// Who sold it.
    pub provider: Option<Id>,
    /// Which model.
    pub model: Option<Id>,
    /// What was bought.
    pub item: Item,
    /// The task that the cost belongs to, where there is one.
    pub task: Option<TaskOf>,
    /// The pool that the cost goes to, where the span's agent is shared (ATR-4).
    pub pool: Option<Id>,
    /// Whether it is an excess that a wrapper reported and nobody below did (EVT-5).
    pub unobserved: bool,
}

/// What a cell holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CellValue {
    /// Exact cost.
    pub cost: Amount,
    /// Tokens or units, an exact decimal.
    pub quantity: Amount,
    /// Events; an event with several items counts in its first.
    pub events: u64,
}

/// Grain of users, for queries only: users never enter a price or a statement.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct UserKey {
    /// The payer's team.
    pub team: Option<Id>,
    /// The payer's project.
    pub project: Option<Id>,
    /// The payer's user, a pseudonym.
    pub user: Option<Id>,
    /// The span's agent (for tasks: the root's).
    pub agent: Option<Id>,
    /// The span's task type (for tasks: the root's).
    pub task_type: Option<Id>,
    /// The model.
    pub model: Option<Id>,
    /// The cost bucket.
    pub kind: Kind,
}

/// What a user cell holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserValue {
    /// Exact cost.
    pub cost: Amount,
    /// Events.
    pub events: u64,
    /// Of them those without a price: their cost is unknown, not zero (RAT-2).
    pub unpriced: u64,
    /// Tasks (any status) whose root has these dimensions and ended on this day; under `kind` agent or the root's own.
    pub tasks: u64,
}

/// Tasks that ended on this day, by payer, agent and task type of the root (PRC-1).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TaskKey {
    /// The payer's team.
    pub team: Option<Id>,
    /// The root's agent.
    pub agent: Option<Id>,
    /// The root's task type.
    pub task_type: Id,
}

/// What the tasks of a [`TaskKey`] amount to, each with its whole cost, on whatever days its spans lie.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskValue {
    /// All tasks.
    pub tasks: u64,
    /// Of them with status `ok`.
    pub completed: u64,
    /// Of them with status `error`.
    pub failed: u64,
    /// Of them with status `killed`.
    pub killed: u64,
    /// Direct cost: not what went into pools (PRC-1's C).
    pub direct_cost: Amount,
    /// Of it the cost of tasks that have a duration (PRC-4's C).
    pub timed_cost: Amount,
    /// Tasks that have a duration: only they are evidence of a time price (PRC-2, PRC-4).
    pub timed_tasks: u64,
    /// Of them with status `ok`.
    pub timed_completed: u64,
    /// Sum of the tasks' active nanoseconds: the union of their spans' intervals (PRC-4's M).
    pub active_ns: u64,
    /// Sum of the tasks' idle nanoseconds: the root's interval less the active time.
    pub idle_ns: u64,
    /// Active nanoseconds of each task -> tasks, only where (team, agent) is billed by time: each task is rounded once.
    pub durations_ns: BTreeMap<u64, u64>,
    /// Idle nanoseconds of those of these tasks that have any -> tasks: idle time has a rate of its own (PRC-4), rounded
    /// once per task.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub idles_ns: BTreeMap<u64, u64>,
}

/// Who used a pool (POOL-1, POOL-2).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PoolUseKey {
    /// The pool.
    pub pool: Id,
    /// The payer's team; `None`: unattributed, which keeps its weight.
    pub team: Option<Id>,
    /// The pool whose frame stands nearest above, where the use lies below another pool's frame (POOL-2).
    pub via: Option<Id>,
    /// The root's agent.
    pub agent: Option<Id>,
}

/// How much of a pool was used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolUse {
    /// Outermost frames of the pool's agents, retries collapsed (ATR-4).
    pub invocations: u64,
    /// Tokens of the pool's spans.
    pub tokens: u64,
    /// Milliseconds of the pool's spans.
    pub duration_ms: u64,
    /// Cost of the pool's spans.
    pub cost: Amount,
}

/// Cost of an agent over the spans of this day (ATR-2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentCost {
    /// Of its own spans.
    pub exclusive: Amount,
    /// Of the set of spans that have it at or above them.
    pub inclusive: Amount,
    /// Under its second and later frames.
    pub reentrant: Amount,
    /// Frames.
    pub frames: u64,
}

/// Count and digest of the events that counted: SHA-256 over the sorted (identity, content digest).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventSet {
    /// How many.
    pub events: u64,
    /// Digest over 48 bytes each, in order of identity.
    pub digest: Digest,
}

/// What one local day of one lane amounts to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DayFacts {
    /// The local day.
    pub day: NaiveDate,
    /// Cost cells of the spans used on this day.
    #[serde(with = "crate::pairs")]
    pub cells: BTreeMap<CellKey, CellValue>,
    /// The same in the grain of users.
    #[serde(with = "crate::pairs")]
    pub users: BTreeMap<UserKey, UserValue>,
    /// Tasks that ended on this day.
    #[serde(with = "crate::pairs")]
    pub tasks: BTreeMap<TaskKey, TaskValue>,
    /// Use of pools by spans of this day.
    #[serde(with = "crate::pairs")]
    pub pools: BTreeMap<PoolUseKey, PoolUse>,
    /// Cost by agent.
    pub agents: BTreeMap<Id, AgentCost>,
    /// The events of this day that counted, by UTC day.
    pub counted: BTreeMap<NaiveDate, EventSet>,
    /// Events of the day's traces that lie on other days: they decide who pays and when a task ended.
    pub context: Option<EventSet>,
    /// Names that were looked up in the catalogue: `model:PROVIDER/MODEL` or `sku:SKU`.
    pub price_names: BTreeSet<String>,
    /// Findings by kind: all counted,
    pub finding_counts: BTreeMap<FindingKind, u64>,
    /// the first [`FINDINGS_PER_KIND_MAX`] of each kept, in order.
    pub findings: Vec<Finding>,
    /// What the tasks used that ended on this day. It enters no price and no statement and is stored beside the facts.
    #[serde(skip)]
    pub work: BTreeMap<WorkKey, Work>,
}
