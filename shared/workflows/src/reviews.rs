//! Tasks that were stopped at their cap, or went over it without asking, and what somebody decided about them (BUD-4).

use recoup_budgets::admission::{Standing, TASK_PERIOD};
use recoup_model::Id;
use recoup_money::Amount;
use recoup_store::{CounterKey, Expect, Key, WriteError};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::access::Principal;
use crate::alerts::{Tell, outbox_put};
use crate::app::App;
use crate::authorize::{Case, DecidedBy};
use crate::error::Refusal;
use crate::lists::{List, Listed, Place, Window};
use crate::records;

/// The partition of reviews.
const REVIEWS: &str = List::Reviews.records();
/// Characters of a note.
const NOTE_CHARS_MAX: usize = 1_000;

/// What a task was flagged for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// It asked for more than its cap and was denied; it is denied until somebody decides otherwise.
    KilledOverCap,
    /// More than its cap was posted without asking.
    OverCap,
}

/// What somebody decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReviewState {
    /// Nobody looked at it.
    Open,
    /// It may go on, within its cap.
    Resumed,
    /// It stays stopped.
    Stopped,
}

/// A task on the review list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Review {
    /// `task_id`, else the trace.
    pub task: String,
    /// Its kind.
    pub task_type: Option<String>,
    /// Its agent.
    pub agent: Option<String>,
    /// Who pays.
    pub team: Option<String>,
    /// What it was flagged for.
    pub mark: Mark,
    /// Its cap.
    pub cap: Amount,
    /// What it had cost and reserved.
    pub committed: Amount,
    /// What it asked for; `None`: it did not ask.
    pub estimate: Option<Amount>,
    /// When, RFC 3339.
    pub at: String,
    /// Open, resumed or stopped.
    pub state: ReviewState,
    /// Who decided.
    pub decided_by: Option<String>,
    /// When, RFC 3339.
    pub decided_at: Option<String>,
    /// Why.
    pub note: Option<String>,
}

/// A task that has a cap, as the events of its trace tell.
#[derive(Clone, Debug)]
pub(crate) struct Capped {
    pub(crate) task_type: Id,
    /// The agent of its root.
    pub(crate) agent: Option<Id>,
    /// Who pays, or until its root has arrived who seems to.
    pub(crate) team: Option<Id>,
    pub(crate) root_arrived: bool,
}

/// Whether who pays for a task is known better than when it was listed. Who asked for it is known from the start.
fn is_paid_by_another(review: &Review, of: &Capped, team: Option<&str>) -> bool {
    let is_known = review.mark == Mark::OverCap && of.root_arrived;
    team.is_some() && review.team.as_deref() != team && (review.team.is_none() || is_known)
}

impl Review {
    pub(crate) fn place(&self) -> Place<'_> {
        Place { list: List::Reviews, at: &self.at, rank: 0, sort: &self.task }
    }
}

fn review_key(task: &str) -> Key {
    Key::new(REVIEWS, task)
}

impl App {
    /// Why a task may not go on, where it was killed.
    pub(crate) async fn killed(&self, case: &Case) -> Result<Option<DecidedBy>, Refusal> {
        let (Some(task), true) = (&case.asker.task, case.chain.links.iter().any(|link| link.is_cap())) else {
            return Ok(None);
        };
        let Some((review, _)) = records::get::<Review>(self.books(), &review_key(task)).await? else {
            return Ok(None);
        };
        let is_killed = match review.state {
            ReviewState::Stopped => true,
            ReviewState::Open => review.mark == Mark::KilledOverCap,
            ReviewState::Resumed => false,
        };
        let by = DecidedBy { scope: format!("task:{task}"), tier: None, reason: "task-killed" };
        Ok(is_killed.then_some(by))
    }

    /// Marks a task that asked for more than its cap, once, and tells whoever can stop it.
    pub(crate) async fn kill_task(
        &self,
        principal: &Principal,
        case: &Case,
        standings: &[Standing],
    ) -> Result<(), Refusal> {
        let Some(task) = &case.asker.task else { return Ok(()) };
        let Some((link, standing)) = case.chain.links.iter().zip(standings).find(|(link, _)| link.is_cap()) else {
            return Ok(());
        };
        let text = |id: &Option<Id>| id.as_ref().map(ToString::to_string);
        let review = Review {
            task: task.to_string(),
            task_type: text(&case.asker.task_type),
            agent: text(&case.asker.agent),
            team: text(&case.asker.team),
            mark: Mark::KilledOverCap,
            cap: link.limit,
            committed: standing.committed().unwrap_or(standing.posted),
            estimate: Some(case.estimate),
            at: self.now_text(),
            state: ReviewState::Open,
            decided_by: None,
            decided_at: None,
            note: None,
        };
        let known = records::get::<Review>(self.books(), &review_key(task)).await?;
        let expect = known.as_ref().map_or(Expect::Absent, |(_, version)| Expect::Version(*version));
        let tell = Tell::TaskKilled { review: review.clone() };
        let place = review.place();
        let before = known.as_ref().and_then(|(known, _)| known.place().delete_unless(Some(&place)));
        let mut writes = vec![
            records::put(review_key(task), &review, expect)?,
            place.put(None)?,
            outbox_put(&tell)?,
            self.audit_put(principal, "task-killed", &format!("task:{task}"), json!({ "cap": link.limit }))?,
        ];
        writes.extend(before);
        match self.books().write(writes).await {
            // Alone, however much else there is to tell: whoever asked for leave waits.
            Ok(()) => self.publish_one(&tell).await,
            // Somebody else marked it at the same time.
            Err(WriteError::Conflict(_)) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Puts a task on the list that went over its cap without asking, once. It gets the team that pays for
    /// it, with the root of its trace at the latest.
    pub(crate) async fn flag_over_cap(&self, task: &str, of: &Capped) -> Result<(), Refusal> {
        let organisation = self.organisation_today().await?;
        let Some(cap) = organisation.task_types.get(&of.task_type).and_then(|task_type| task_type.cap) else {
            return Ok(());
        };
        let counter = CounterKey { scope: format!("task:{task}"), period: TASK_PERIOD.to_owned() };
        let posted = self.ports.live.counters(&[counter]).await?.pop().unwrap_or_default();
        if posted <= cap {
            return Ok(());
        }
        // A team that the organisation file does not have is nobody's: finance sees what nobody pays for.
        let team = of.team.as_ref().filter(|team| organisation.teams.contains_key(*team)).map(ToString::to_string);
        let puts = match records::get::<Review>(self.books(), &review_key(task)).await? {
            Some((review, version)) if is_paid_by_another(&review, of, team.as_deref()) => {
                vec![records::put(review_key(task), &Review { team, ..review }, Expect::Version(version))?]
            }
            Some(_) => return Ok(()),
            None => {
                let review = self.over_cap(task, of, team, (cap, posted));
                vec![records::put(review_key(task), &review, Expect::Absent)?, review.place().put(None)?]
            }
        };
        match self.books().write(puts).await {
            Ok(()) | Err(WriteError::Conflict(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn over_cap(&self, task: &str, of: &Capped, team: Option<String>, (cap, posted): (Amount, Amount)) -> Review {
        Review {
            task: task.to_owned(),
            task_type: Some(of.task_type.to_string()),
            agent: of.agent.as_ref().map(ToString::to_string),
            team,
            mark: Mark::OverCap,
            cap,
            committed: posted,
            estimate: None,
            at: self.now_text(),
            state: ReviewState::Open,
            decided_by: None,
            decided_at: None,
            note: None,
        }
    }

    /// Tasks on the review list, newest first.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`] for a key that may not read.
    pub async fn reviews(&self, principal: &Principal, window: Window) -> Result<Listed<Review>, Refusal> {
        let team = principal.seen_team()?;
        let is_seen = |review: &Review| team.is_none_or(|team| review.team.as_deref() == Some(team));
        self.listed(List::Reviews, window, is_seen).await
    }

    /// Decides about a task: it may go on within its cap, or stays stopped.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`] unless the key acts for the team or finance; [`Refusal::NotFound`] for a task that is not listed.
    pub async fn decide_review(
        &self,
        principal: &Principal,
        task: &str,
        state: ReviewState,
        note: &str,
    ) -> Result<Review, Refusal> {
        if note.trim().is_empty() || note.chars().count() > NOTE_CHARS_MAX {
            let detail = format!("a decision needs a note of 1 to {NOTE_CHARS_MAX} characters");
            return Err(Refusal::invalid("invalid-note", "note", detail));
        }
        let unknown = || Refusal::NotFound(format!("the task `{task}` is not on the review list"));
        let team = principal.seen_team()?;
        let found = records::get::<Review>(self.books(), &review_key(task)).await?;
        let seen = found.filter(|(review, _)| team.is_none_or(|team| review.team.as_deref() == Some(team)));
        let (review, version) = seen.ok_or_else(unknown)?;
        principal.may_act_for(review.team.as_deref())?;
        let decided = Review {
            state,
            decided_by: Some(principal.who()),
            decided_at: Some(self.now_text()),
            note: Some(note.trim().to_owned()),
            ..review
        };
        let detail = json!({ "state": state, "note": decided.note });
        let writes = vec![
            records::put(review_key(task), &decided, Expect::Version(version))?,
            self.audit_put(principal, "review-decided", &format!("task:{task}"), detail)?,
        ];
        self.books().write(writes).await?;
        Ok(decided)
    }
}
