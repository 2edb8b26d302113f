//! Plans: what a run will do, in parts that any process may take, in any order and at the same time.
//!
//! A plan stands in the books under its run, its head written last, and is removed at the end. A part that is done is
//! marked as done with what came of it; doing it again changes nothing.

use chrono::NaiveDate;
use recoup_store::{Expect, Key, WriteError};
use serde::{Deserialize, Serialize};

use crate::alerts::UnpricedModel;
use crate::app::App;
use crate::close::CloseRequest;
use crate::error::Refusal;
use crate::nightly::DayOutcome;
use crate::records;

/// The partition of plans.
const PLANS: &str = "plans";
/// Parts of one plan: their names in a state machine's list of some 60 bytes each stay far below 256 KiB.
pub const PARTS_MAX: usize = 500;
/// Days, each of one lane, that a part runs or whose blocks it checks: what one step does within its time.
pub const DAYS_PER_PART_MAX: usize = 31;
/// Rows of each list that a part keeps of what it met; a close that a hundred damaged blocks stop needs not name them all.
const ROWS_MAX: usize = 200;
/// Parts that are named when they are not done.
const NAMED_MAX: usize = 10;

/// What a part does.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Part {
    /// Runs these days.
    Days(Vec<PlannedDay>),
    /// Checks that the blocks of these UTC days can be read.
    Blocks(Vec<NaiveDate>),
}

impl Part {
    /// How many days it is about.
    pub(crate) const fn steps(&self) -> usize {
        match self {
            Self::Days(days) => days.len(),
            Self::Blocks(days) => days.len(),
        }
    }
}

/// A day to be run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PlannedDay {
    pub(crate) day: NaiveDate,
    pub(crate) lane: u16,
    pub(crate) reason: String,
    /// The version of the mark that tells of it; `None`: no mark does.
    pub(crate) mark: Option<u64>,
    /// Whether what only queries need is made as well.
    pub(crate) queries: bool,
}

/// What all parts of a plan share.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PlanHead {
    /// How many parts.
    pub(crate) parts: usize,
    /// Days and UTC days in all parts.
    pub(crate) steps: usize,
    /// The last block that is looked at.
    pub(crate) cut: u64,
    /// What is closed, and as of when.
    pub(crate) close: Option<CloseRequest>,
    /// The last local day that a night is asked for, with events or without.
    #[serde(default)]
    pub(crate) until: Option<NaiveDate>,
}

/// What came of a part.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct PartDone {
    #[serde(default)]
    pub(crate) days: Vec<DayOutcome>,
    /// Blocks that a day could not be run for.
    #[serde(default)]
    pub(crate) unread: Vec<String>,
    /// Blocks that do not hold: which, and what is wrong.
    #[serde(default)]
    pub(crate) damaged: Vec<(String, String)>,
    /// Models that had no price, with the first day of each.
    #[serde(default)]
    pub(crate) unpriced: Vec<UnpricedModel>,
}

/// What a step says about the part that it did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartOutcome {
    /// Which part.
    pub part: usize,
    /// Days that were run.
    pub days: usize,
    /// Blocks that could not be read.
    pub unreadable: usize,
}

impl PartDone {
    pub(crate) fn outcome(&self, part: usize) -> PartOutcome {
        PartOutcome { part, days: self.days.len(), unreadable: self.unread.len().saturating_add(self.damaged.len()) }
    }
}

fn head_key(run: &str) -> Key {
    Key::new(PLANS, format!("{run}/head"))
}

fn part_prefix(run: &str, part: usize) -> String {
    format!("{run}/parts/{part:06}/")
}

fn done_key(run: &str, part: usize) -> Key {
    Key::new(PLANS, format!("{run}/done/{part:06}"))
}

/// What the open periods came to, once a run has settled them.
pub(crate) fn settled_key(run: &str) -> Key {
    Key::new(PLANS, format!("{run}/settled"))
}

/// How far the days of a run are counted again.
pub(crate) fn counted_key(run: &str) -> Key {
    Key::new(PLANS, format!("{run}/counted"))
}

/// How many of `days` go into a part, so that the plan has at most `parts_max` parts and, where processes share the work, as
/// many as that.
pub(crate) fn days_per_part(days: usize, parts_max: usize, sharing: bool) -> usize {
    let fewest = days.div_ceil(parts_max.max(1));
    if sharing { fewest.clamp(1, DAYS_PER_PART_MAX) } else { DAYS_PER_PART_MAX }
}

impl App {
    /// The head of a run's plan.
    pub(crate) async fn plan_head(&self, run: &str) -> Result<Option<PlanHead>, Refusal> {
        Ok(records::get::<PlanHead>(self.books(), &head_key(run)).await?.map(|(head, _)| head))
    }

    /// The head of a run's plan; refused without one.
    pub(crate) async fn need_plan(&self, run: &str) -> Result<PlanHead, Refusal> {
        self.plan_head(run).await?.ok_or_else(|| Refusal::Conflict {
            kind: "no-plan",
            detail: format!("the run {run} has no plan: it has ended, or was never planned; start a new one"),
        })
    }

    /// Writes a plan, its head last: without a head there is no plan.
    pub(crate) async fn keep_plan(&self, run: &str, parts: &[Part], head: &PlanHead) -> Result<(), Refusal> {
        self.remove_plan(run).await?;
        let mut puts = Vec::new();
        for (number, part) in parts.iter().enumerate() {
            puts.extend(records::text_puts(PLANS, &part_prefix(run, number), &records::to_json(part)?)?);
        }
        records::write_in_groups(self.books(), puts).await?;
        self.books().write(vec![records::put(head_key(run), head, Expect::Absent)?]).await?;
        Ok(())
    }

    /// One part of a plan.
    pub(crate) async fn plan_part(&self, run: &str, head: &PlanHead, part: usize) -> Result<Part, Refusal> {
        if part >= head.parts {
            let detail =
                format!("the plan of the run {run} has {} parts, numbered from 0; there is no {part}", head.parts);
            return Err(Refusal::invalid("unknown-part", "part", detail));
        }
        let text = records::text(self.books(), PLANS, &part_prefix(run, part)).await?;
        serde_json::from_str(&text).map_err(|error| Refusal::computation("read a part of a plan", error))
    }

    /// What came of a part, if it is done.
    pub(crate) async fn part_done(&self, run: &str, part: usize) -> Result<Option<PartDone>, Refusal> {
        Ok(records::get::<PartDone>(self.books(), &done_key(run, part)).await?.map(|(done, _)| done))
    }

    /// Marks a part as done; `false` if somebody else did so meanwhile, whose word stands.
    pub(crate) async fn mark_done(&self, run: &str, part: usize, mut done: PartDone) -> Result<bool, Refusal> {
        done.unread.truncate(ROWS_MAX);
        done.damaged.truncate(ROWS_MAX);
        done.unpriced.truncate(ROWS_MAX);
        match self.books().write(vec![records::put(done_key(run, part), &done, Expect::Absent)?]).await {
            Ok(()) => Ok(true),
            Err(WriteError::Conflict(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// What came of every part; refused while one is not done.
    pub(crate) async fn all_done(&self, run: &str, head: &PlanHead) -> Result<Vec<PartDone>, Refusal> {
        let done = records::all::<PartDone>(self.books(), PLANS, &format!("{run}/done/")).await?;
        if done.len() >= head.parts {
            return Ok(done.into_iter().map(|(_, done, _)| done).collect());
        }
        let is_done = |part: &usize| done.iter().any(|(sort, _, _)| *sort == done_key(run, *part).sort);
        let missing: Vec<String> =
            (0..head.parts).filter(|part| !is_done(part)).take(NAMED_MAX).map(|part| part.to_string()).collect();
        Err(Refusal::Conflict {
            kind: "parts-not-done",
            detail: format!(
                "{} of the {} parts of the run {run} are not done (such as {}); do them first",
                head.parts.saturating_sub(done.len()),
                head.parts,
                missing.join(", ")
            ),
        })
    }

    /// Removes a plan, its head first.
    pub(crate) async fn remove_plan(&self, run: &str) -> Result<(), Refusal> {
        let head = recoup_store::Write::Delete { key: head_key(run), expect: Expect::Any };
        self.books().write(vec![head]).await?;
        Ok(records::remove_all(self.books(), PLANS, &format!("{run}/")).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_as_wide_as_its_parts_allow() {
        assert_eq!(days_per_part(10, PARTS_MAX, true), 1);
        assert_eq!(days_per_part(PARTS_MAX + 1, PARTS_MAX, true), 2);
        assert_eq!(days_per_part(1_000_000, PARTS_MAX, true), DAYS_PER_PART_MAX);
        assert_eq!(days_per_part(10, PARTS_MAX, false), DAYS_PER_PART_MAX);
    }
}
