//! Findings: what a person should look at. A finding never changes a figure and never hides one.

use serde::{Deserialize, Serialize};

/// How grave a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Somebody should act.
    Warning,
    /// A close refuses while it stands (CLO-1).
    Blocking,
}

/// What was found. The name is stable: other programs filter by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// The same identity came with other content; the first recorded stays (EVT-2).
    Conflict,
    /// Two reports of one provider call; one is billed (EVT-2).
    SharedResponse,
    /// An event corrects another (EVT-3).
    Superseded,
    /// An event names an event to correct that is not there (EVT-3).
    SupersedesUnknown,
    /// A wrapper reports more than was observed below it (EVT-5).
    UnobservedUsage,
    /// Reported and catalogue cost differ beyond 0.2x to 5x (EVT-6).
    ReportedDisagrees,
    /// The cost is the source's own figure (EVT-6).
    ReportedUsed,
    /// No price (RAT-2).
    Unpriced,
    /// No payer (ATR-1).
    Unattributed,
    /// The payer's team is not in the organisation file (ATR-1).
    UnknownTeam,
    /// Parents form a loop; it was cut (ATR-3).
    ParentLoop,
    /// A parent is not there; the span hangs on the root (ATR-3).
    Orphan,
    /// A trace has several parentless spans (ATR-1).
    SeveralRoots,
    /// No root has arrived: no task (PRC-0).
    RootMissing,
    /// `critical` claimed where the organisation file does not declare it (BUD-2).
    CriticalIgnored,
    /// A task billed by time has no duration (PRC-4).
    NoDuration,
    /// A pool had no weights; the split fell back (SPL-3).
    PoolFallback,
    /// Nobody could bear a cost (SPL-3).
    Unallocated,
    /// No price yet; tasks pass through at actual cost (PRC-2).
    PassThrough,
    /// The rate card of a new period waits for approval; the last approved prices hold (PRC-3).
    RateCardWaits,
    /// The period or its soft-close days are not over (CLO-1).
    PeriodOpen,
    /// A day of the period has no current night (CLO-1).
    NightMissing,
    /// A block cannot be read (CLO-1).
    BlockUnreadable,
    /// The trial balance is not zero (CLO-1).
    TrialBalance,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Finding {
    /// How grave.
    pub severity: Severity,
    /// What.
    pub kind: FindingKind,
    /// Where: a trace, an event, a day, a pool.
    pub subject: String,
    /// In words, with the remedy.
    pub detail: String,
}
