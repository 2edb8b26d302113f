//! The cost event: one cost-bearing span (EVT-1), as accepted and stored.

use std::collections::BTreeMap;
use std::sync::Arc;

use recoup_money::{Amount, Currency};
use serde::{Deserialize, Serialize};

use crate::usage::Usage;

/// A name or id, shared: blocks decode a dictionary once and hand out references. Case-sensitive.
pub type Id = Arc<str>;

/// What a span costs for (the cost bucket of FinOps reports), or that it is a frame without cost of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Tokens of a model.
    Llm,
    /// A tool's or an API's fee.
    Tool,
    /// Machine time.
    Compute,
    /// Bytes kept.
    Storage,
    /// Overhead of orchestration.
    Orchestration,
    /// A frame: a span of an agent without cost of its own. With usage it is a wrapper (EVT-5).
    Agent,
}

impl Kind {
    /// Every kind, in contract order.
    pub const ALL: [Self; 6] = [Self::Llm, Self::Tool, Self::Compute, Self::Storage, Self::Orchestration, Self::Agent];

    /// The name in the contract.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Llm => "llm",
            Self::Tool => "tool",
            Self::Compute => "compute",
            Self::Storage => "storage",
            Self::Orchestration => "orchestration",
            Self::Agent => "agent",
        }
    }

    /// The kind of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// How a root's task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Completed.
    Ok,
    /// Failed.
    Error,
    /// Stopped from outside (a cap, a kill switch, a person).
    Killed,
}

impl Status {
    /// Every status, in contract order.
    pub const ALL: [Self; 3] = [Self::Ok, Self::Error, Self::Killed];

    /// The name in the contract.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Error => "error",
            Self::Killed => "killed",
        }
    }

    /// The status of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }
}

/// The named dimensions of an event, and the extra ones that the organisation file allows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tags {
    /// Which agent ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<Id>,
    /// What kind of task it ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_type: Option<Id>,
    /// Which task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<Id>,
    /// For whom: as stored, the pseudonym of the user (an HMAC), never the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Id>,
    /// Whose budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<Id>,
    /// Project or campaign.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<Id>,
    /// Further tags that the organisation file's `extra_tags` names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", flatten)]
    pub extra: BTreeMap<Id, Id>,
}

/// Metered units that are not tokens: searches, GPU-seconds, GB-hours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quantity {
    /// The stock-keeping unit that the catalogue prices.
    pub sku: Id,
    /// How many, exact to 12 fraction digits (an [`Amount`] used as a plain decimal).
    pub quantity: Amount,
    /// Of what: `call`, `second`, `GB-hour`.
    pub unit: Option<Id>,
}

/// A cost as its source reported it (EVT-6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reported {
    /// The amount, not negative.
    pub amount: Amount,
    /// In this currency.
    pub currency: Currency,
}

/// One cost-bearing span, as accepted. Times are nanoseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The trace; `None`: the event is a trace of its own.
    pub trace_id: Option<Id>,
    /// Identity inside the trace (EVT-2).
    pub event_id: Id,
    /// The span that caused this one.
    pub parent_id: Option<Id>,
    /// When the cost was caused: the end of the span.
    pub used_at_ns: i64,
    /// How long the span took.
    pub duration_ms: Option<u64>,
    /// The cost bucket.
    pub kind: Kind,
    /// The dimensions.
    pub tags: Tags,
    /// Whether the span claims `priority: critical`.
    pub critical: bool,
    /// On a root: how the task ended.
    pub status: Option<Status>,
    /// Who sold it (OpenTelemetry `gen_ai.provider.name`).
    pub provider: Option<Id>,
    /// Which model.
    pub model: Option<Id>,
    /// `standard` (or none), `batch`, `flex`, `priority`.
    pub service_tier: Option<Id>,
    /// Tokens by disjoint class; `None`: no usage was reported.
    pub usage: Option<Usage>,
    /// Units that are not tokens.
    pub quantity: Option<Quantity>,
    /// Cost as reported by the source.
    pub reported: Option<Reported>,
    /// The provider's id of the call: what two reports of one call share.
    pub response_id: Option<Id>,
    /// The event of the same trace that this one tries again.
    pub retry_of: Option<Id>,
    /// The event of the same trace that this one corrects (EVT-3).
    pub supersedes: Option<Id>,
    /// The reservation that this event settles.
    pub reservation_id: Option<Id>,
}

impl Event {
    /// Start of the span in nanoseconds: the end less the duration.
    #[must_use]
    pub fn started_at_ns(&self) -> i64 {
        let duration_ns =
            i64::try_from(self.duration_ms.unwrap_or_default()).unwrap_or(i64::MAX).saturating_mul(1_000_000);
        self.used_at_ns.saturating_sub(duration_ns)
    }

    /// What names the trace in lists and links: the trace's id, or the event's own where it is a trace of its own.
    #[must_use]
    pub fn trace_name(&self) -> &Id {
        self.trace_id.as_ref().unwrap_or(&self.event_id)
    }
}

/// How an event reached us: what ATR-1 falls back on and what a digest leaves out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The id (not the secret) of the API key that brought it.
    pub key_id: Option<Id>,
    /// The default tags of that key at that time.
    pub key_tags: Arc<Tags>,
    /// Team named by the resource (OTLP), where one was.
    pub resource_team: Option<Id>,
}

/// An event on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The event.
    pub event: Event,
    /// How it came.
    pub origin: Origin,
    /// When we stored it, nanoseconds since 1970-01-01T00:00:00Z.
    pub recorded_at_ns: i64,
}
