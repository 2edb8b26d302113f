//! The steps of a night: plan, each part, settle, which may take several. In one process [`App::nightly`] takes them one
//! after the other; where a state machine takes them, each may be taken by another process, and again after a crash.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::NaiveDate;
use recoup_store::{Expect, Key, causes};
use serde::Serialize;
use serde_json::{Value, json};

use super::{Cut, DIRTY, Dirty, SettledPeriod, Through};
use crate::access::Principal;
use crate::alerts::{Tell, UnpricedModel};
use crate::app::{App, World};
use crate::close;
use crate::error::Refusal;
use crate::facts::Night;
use crate::jobs::NIGHTLY;
use crate::plans::{
    DAYS_PER_PART_MAX, PARTS_MAX, Part, PartDone, PartOutcome, PlanHead, PlannedDay, days_per_part, settled_key,
};
use crate::records;
use crate::runs::Begun;

/// The partition of closed months whose fingerprints were dropped.
const PRINTS_DROPPED: &str = "prints-dropped";

/// After so long no day is begun any more of what follows from the facts: the run is done and its figures stand.
const LOOK_BACK_MAX: Duration = Duration::from_secs(5 * 60);

/// A night that is planned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NightPlan {
    /// The run.
    pub run: String,
    /// How many parts there are to do, numbered from 0; at most [`PARTS_MAX`].
    pub parts: usize,
}

/// Where a step of settling a night led to.
#[derive(Clone, Debug, PartialEq)]
pub enum SettleStep {
    /// So many days, each of one lane, are to be counted again: take the next step.
    Left(usize),
    /// The run has ended, with this outcome.
    Done(Value),
}

impl App {
    /// Runs the nights that have something to do and settles the open periods.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`], or what stopped it; days already done stay done.
    pub async fn nightly(
        self: &Arc<Self>,
        principal: &Principal,
        run: &str,
        through: Through,
    ) -> Result<Value, Refusal> {
        principal.may_run()?;
        let _stopping = self.stopping(run);
        let outcome = self.nightly_steps(principal, run, through).await;
        if let Err(refusal) = &outcome {
            self.run_refused(run, NIGHTLY, refusal).await?;
        }
        outcome
    }

    async fn nightly_steps(
        self: &Arc<Self>,
        principal: &Principal,
        run: &str,
        through: Through,
    ) -> Result<Value, Refusal> {
        let plan = self.night_plan(principal, run, through).await?;
        for part in 0..plan.parts {
            self.night_part(run, part).await?;
        }
        self.night_settle(run).await
    }

    /// Takes the turn, marks the days that have something to do, and writes down which of them the run does, in parts. Taken
    /// again, it gives the same plan.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`]; [`Refusal::Conflict`] `busy` while another run has the turn, where processes share the books:
    /// then take it again later, or give up by [`App::run_failed`].
    pub async fn night_plan(
        self: &Arc<Self>,
        principal: &Principal,
        run: &str,
        through: Through,
    ) -> Result<NightPlan, Refusal> {
        principal.may_run()?;
        let planned = |parts| Ok(NightPlan { run: run.to_owned(), parts });
        match self.begin_run(run, NIGHTLY).await? {
            Begun::Done => return planned(0),
            Begun::Planned { parts } => return planned(parts),
            Begun::Fresh => self.publish_alerts().await,
        }
        let world = self.world().await?;
        let today = world.history.calendar().day_of(self.now_ns());
        if let Some(wrong) = self.scheduled_elsewhere(&world.history.on(today).organisation) {
            tracing::warn!(wrong, "this night was not started by the organisation's clocks");
        }
        self.keep_shipped().await?;
        let cut = self.mark_days(run, &world).await?;
        let yesterday = today.pred_opt().unwrap_or_default();
        let last = match through {
            Through::Yesterday => yesterday,
            Through::Day(day) => day,
            Through::All => NaiveDate::MAX,
        };
        let closing = close::closing_period(self.books()).await?;
        let mut days = self.marked_days(true).await?;
        days.extend(self.without_queries(&days).await?);
        days.retain(|one| one.day <= last && closing.is_none_or(|period| !period.contains(one.day)));
        // What does not fit stays marked for the next night.
        days.truncate(PARTS_MAX.saturating_mul(DAYS_PER_PART_MAX));
        let size = days_per_part(days.len(), PARTS_MAX, self.sharing);
        let parts: Vec<Part> = days.chunks(size).map(|days| Part::Days(days.to_vec())).collect();
        let until = Some(last.min(today));
        let head = PlanHead { parts: parts.len(), steps: days.len(), cut: cut.0, close: None, until };
        self.keep_plan(run, &parts, &head).await?;
        self.progress(run, "running the days", 0, head.steps);
        self.note_progress(run, "running the days", (0, head.steps)).await?;
        planned(parts.len())
    }

    /// The days that are marked, in order.
    pub(crate) async fn marked_days(&self, queries: bool) -> Result<Vec<PlannedDay>, Refusal> {
        let marked = records::all::<Dirty>(self.books(), DIRTY, "").await?;
        let planned =
            |(_, Dirty { day, lane, reason }, version)| PlannedDay { day, lane, reason, mark: Some(version), queries };
        Ok(marked.into_iter().map(planned).collect())
    }

    /// Runs the days of one part. Taken again once it is done, it changes nothing.
    ///
    /// # Errors
    /// [`Refusal::Conflict`] for a run that has lost its turn or has no plan; else what stopped it.
    pub async fn night_part(self: &Arc<Self>, run: &str, part: usize) -> Result<PartOutcome, Refusal> {
        self.do_part(run, part).await
    }

    /// Does one part of a plan, a night's or a close's.
    pub(crate) async fn do_part(self: &Arc<Self>, run: &str, part: usize) -> Result<PartOutcome, Refusal> {
        self.keep_turn(run).await?;
        let head = self.need_plan(run).await?;
        let planned = self.plan_part(run, &head, part).await?;
        if let Some(done) = self.part_done(run, part).await? {
            return Ok(done.outcome(part));
        }
        let (doing, steps, done) = match planned {
            Part::Days(days) => {
                let (doing, steps) = (days.last().map(|one| format!("day {}", one.day)), days.len());
                let world = self.world().await?;
                let (mut done, unread) = self.run_days(run, &world, (days, Cut(head.cut))).await?;
                if head.close.is_some() && !unread.is_empty() {
                    // A day stops at the first block that cannot be read; a close names all of them (CLO-1).
                    let utc_days = close::utc_days_of(&world, unread.into_iter());
                    done.damaged = self.damaged_blocks(run, &utc_days).await?;
                }
                (doing, steps, done)
            }
            Part::Blocks(days) => {
                let (doing, steps) = (days.last().map(|day| format!("blocks of {day}")), days.len());
                let damaged = self.damaged_blocks(run, &days).await?;
                (doing, steps, PartDone { damaged, ..PartDone::default() })
            }
        };
        let outcome = done.outcome(part);
        if self.mark_done(run, part, done).await? {
            self.note_progress(run, &doing.unwrap_or_default(), (steps, head.steps)).await?;
        }
        Ok(outcome)
    }

    /// Settles the open periods and ends the run, however many steps that takes. Taken again, it gives the same outcome.
    ///
    /// # Errors
    /// As [`App::night_settle_step`].
    pub async fn night_settle(self: &Arc<Self>, run: &str) -> Result<Value, Refusal> {
        loop {
            // Each step counts something of what is left.
            if let SettleStep::Done(outcome) = self.night_settle_step(run).await? {
                return Ok(outcome);
            }
        }
    }

    /// Settles the open periods, then counts days again, at most [`RECOUNTED_DAYS_MAX`] in one step; once none is left it ends the
    /// run. What a step has done is in the books, so that any process may take the next one, or the same again.
    ///
    /// # Errors
    /// [`Refusal::Conflict`] `parts-not-done` while a part of the plan is not done; else what stopped it.
    ///
    /// [`RECOUNTED_DAYS_MAX`]: crate::budgets::RECOUNTED_DAYS_MAX
    pub async fn night_settle_step(self: &Arc<Self>, run: &str) -> Result<SettleStep, Refusal> {
        if let Some(outcome) = self.outcome_before(run).await? {
            return Ok(SettleStep::Done(outcome));
        }
        self.keep_turn(run).await?;
        let head = self.need_plan(run).await?;
        let done = self.all_done(run, &head).await?;
        let periods = self.settle_once(run, &head).await?;
        let mut days: Vec<_> = done.iter().flat_map(|part| &part.days).collect();
        let left = self.true_up(run, &days.iter().map(|outcome| outcome.day).collect()).await?;
        if left > 0 {
            let doing = format!("counting days again for budgets, {left} are left");
            self.progress(run, &doing, head.steps, head.steps);
            self.note_progress(run, &doing, (0, head.steps)).await?;
            return Ok(SettleStep::Left(left));
        }
        days.sort_by_key(|outcome| (outcome.day, outcome.lane));
        let unread: BTreeSet<&String> = done.iter().flat_map(|part| &part.unread).collect();
        let mut outcome = json!({ "days": days, "unread": unread, "periods": periods });
        if let (Some(waiting), Some(outcome)) = (self.days_held_back().await?, outcome.as_object_mut()) {
            outcome.insert("waiting".into(), waiting);
        }
        self.remember(&first_met(&done)).await?;
        self.run_done(run, NIGHTLY, &outcome).await?;
        // Whatever becomes of it, the figures stand.
        self.look_back(self.world().await?.as_ref()).await;
        self.publish_alerts().await;
        Ok(SettleStep::Done(outcome))
    }

    /// Days that no night runs while the close of their month is frozen and not finished.
    async fn days_held_back(&self) -> Result<Option<Value>, Refusal> {
        let Some(period) = close::closing_period(self.books()).await? else { return Ok(None) };
        let marked = self.marked_days(false).await?.into_iter().map(|one| one.day);
        let days: BTreeSet<NaiveDate> = marked.filter(|day| period.contains(*day)).collect();
        Ok(Some(json!({ "period": period, "days": days })))
    }

    /// What the open periods come to, settled by the first step that comes to it.
    async fn settle_once(self: &Arc<Self>, run: &str, head: &PlanHead) -> Result<Value, Refusal> {
        if let Some((summary, _)) = records::get::<Value>(self.books(), &settled_key(run)).await? {
            return Ok(summary);
        }
        self.progress(run, "settling the open periods", head.steps, head.steps);
        let world = self.world().await?;
        let periods = self.settle_open_periods(&world, head.until).await?;
        let summary: Value = periods.iter().map(SettledPeriod::summary).collect();
        self.drop_prints_of_closed_months().await?;
        self.books().write(vec![records::put(settled_key(run), &summary, Expect::Any)?]).await?;
        Ok(summary)
    }

    /// What follows from the facts of days and enters no figure. It never fails a night: what is missed, or has no time left in
    /// [`LOOK_BACK_MAX`], is found by the next.
    async fn look_back(&self, world: &World) {
        let until_ns = self.now_ns().saturating_add(i64::try_from(LOOK_BACK_MAX.as_nanos()).unwrap_or(i64::MAX));
        let nights = match self.nights().await {
            Ok(nights) => nights.into_iter().map(|(night, _)| night).collect::<Vec<_>>(),
            Err(error) => {
                tracing::error!(
                    error = causes(&error),
                    "anomalies, forecasts and weekly reports wait for the next night"
                );
                return;
            }
        };
        if let Err(error) = self.keep_spend(world, &nights, until_ns).await {
            tracing::error!(error = causes(&error), "forecasts wait for the next night");
        }
        if let Err(error) = self.judge_days(world, nights, until_ns).await {
            tracing::error!(error = causes(&error), "anomalies wait for the next night");
        }
        if let Err(error) = self.note_night().await {
            tracing::error!(error = causes(&error), "weekly reports wait for the next night");
        }
    }

    /// Fingerprints save computing them again while a month is open; of closed ones they are room for nothing. A UTC day
    /// that reaches into another month keeps them.
    async fn drop_prints_of_closed_months(&self) -> Result<(), Refusal> {
        let nights = self.nights().await?;
        for record in close::period_records(self.books()).await?.iter().filter(|record| record.is_closed()) {
            let key = Key::new(PRINTS_DROPPED, record.period.to_string());
            let lacks = |(night, _): &(Night, u64)| record.period.contains(night.day) && !night.keeps_queries();
            if nights.iter().any(lacks) || records::get::<String>(self.books(), &key).await?.is_some() {
                continue;
            }
            let (first, last) = (record.period.first_day(), record.period.days().last().unwrap_or_default());
            let inside = record.period.days().filter(|day| *day != first && *day != last).collect();
            self.ports.log.drop_prints(inside).await?;
            self.books().write(vec![records::put(key, &self.now_text(), Expect::Any)?]).await?;
        }
        Ok(())
    }

    /// Nights without what queries need, of a close or of an earlier release: no mark tells of them.
    async fn without_queries(&self, marked: &[PlannedDay]) -> Result<Vec<PlannedDay>, Refusal> {
        let is_marked = |night: &Night| marked.iter().any(|one| (one.day, one.lane) == (night.day, night.lane));
        let nights = self.nights().await?.into_iter().map(|(night, _)| night);
        let lacking = nights.filter(|night| !night.keeps_queries() && !is_marked(night));
        let reason = || "the facts of queries are still to be made".to_owned();
        let planned =
            |night: Night| PlannedDay { day: night.day, lane: night.lane, reason: reason(), mark: None, queries: true };
        Ok(lacking.map(planned).collect())
    }
}

/// The models without a price, each with the first day of it.
fn first_met(done: &[PartDone]) -> Vec<Tell> {
    let mut models: Vec<&UnpricedModel> = done.iter().flat_map(|part| &part.unpriced).collect();
    models.sort_by_key(|one| (&one.provider, &one.model, one.day));
    models.dedup_by_key(|one| (&one.provider, &one.model));
    models.into_iter().cloned().map(Tell::UnpricedModel).collect()
}
