//! The steps of a close: plan, check each part, issue. In one process [`App::close`] takes them one after the other; where a
//! state machine takes them, each may be taken by another process, and again after a crash.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::NaiveDate;
use recoup_model::period::format_instant;
use recoup_model::{Finding, Period};
use recoup_store::Key;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::compute::{decides_on, plan_json};
use super::issue::{Made, outcome_of};
use super::{CloseRequest, PERIODS, PeriodRecord};
use crate::access::Principal;
use crate::alerts::Tell;
use crate::app::{App, World};
use crate::error::Refusal;
use crate::jobs::CLOSE;
use crate::nightly::Cut;
use crate::plans::{DAYS_PER_PART_MAX, PARTS_MAX, Part, PartOutcome, PlanHead, PlannedDay, days_per_part};
use crate::records;
use crate::runs::Begun;

/// UTC days of which a part reads the blocks, where processes share the work.
const UTC_DAYS_PER_PART: usize = 1;
/// Parts that a month's days need at most.
const CHECKS_MAX: usize = 40;
/// Parts that one process does at the same time.
const PARTS_AT_ONCE: usize = 2;
/// Findings that an alert names.
const NAMED_MAX: usize = 20;

/// A close that is planned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClosePlanned {
    /// The run.
    pub run: String,
    /// How many parts there are to do, numbered from 0; at most [`PARTS_MAX`].
    pub parts: usize,
}

fn period_key(period: Period) -> Key {
    Key::new(PERIODS, period.to_string())
}

impl App {
    /// Plans or executes the close of a month.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`], or a figure that cannot be computed. A close that findings refuse is an outcome, not an
    /// error.
    pub async fn close(
        self: &Arc<Self>,
        principal: &Principal,
        run: &str,
        request: CloseRequest,
    ) -> Result<Value, Refusal> {
        principal.may_run()?;
        let _stopping = self.stopping(run);
        let outcome = self.close_steps(principal, run, request).await;
        if let Err(refusal) = &outcome {
            self.run_refused(run, CLOSE, refusal).await?;
        }
        outcome
    }

    async fn close_steps(
        self: &Arc<Self>,
        principal: &Principal,
        run: &str,
        request: CloseRequest,
    ) -> Result<Value, Refusal> {
        let period = request.period;
        let plan = self.close_plan(principal, run, request).await?;
        if plan.parts > 0 {
            let mut ahead = JoinSet::new();
            ahead.spawn(Arc::clone(self).read_ahead(period));
            let checked = self.close_checks(run, plan.parts).await;
            // What is not read yet, or could not be, is read by whoever needs it, several days at the same time.
            ahead.shutdown().await;
            checked?;
        }
        self.close_issue(run).await
    }

    /// Every part, some at the same time: the days that are run seldom need both processors to their end.
    async fn close_checks(self: &Arc<Self>, run: &str, parts: usize) -> Result<(), Refusal> {
        let mut numbers = 0..parts;
        let mut working = JoinSet::new();
        loop {
            while working.len() < PARTS_AT_ONCE {
                let Some(part) = numbers.next() else { break };
                let (app, run) = (Arc::clone(self), run.to_owned());
                working.spawn(async move { app.close_check(&run, part).await });
            }
            let Some(checked) = working.join_next().await else { return Ok(()) };
            checked.map_err(|error| Refusal::computation("check the month", error))??;
        }
    }

    /// Takes the turn and writes down, in parts, what has to be done before the month can be closed: its missing nights, if
    /// they are asked for, and reading every block of its days. The parts need nothing of each other. A month that is frozen
    /// or closed has none. Taken again, it gives the same plan.
    ///
    /// # Errors
    /// As [`App::night_plan`].
    pub async fn close_plan(
        self: &Arc<Self>,
        principal: &Principal,
        run: &str,
        request: CloseRequest,
    ) -> Result<ClosePlanned, Refusal> {
        principal.may_run()?;
        let planned = |parts| Ok(ClosePlanned { run: run.to_owned(), parts });
        match self.begin_run(run, CLOSE).await? {
            Begun::Done => return planned(0),
            Begun::Planned { parts } => return planned(parts),
            Begun::Fresh => self.publish_alerts().await,
        }
        let as_of_ns = request.as_of_ns.unwrap_or_else(|| self.now_ns());
        let request = CloseRequest { as_of_ns: Some(as_of_ns), ..request };
        let held = records::get::<PeriodRecord>(self.books(), &period_key(request.period)).await?;
        let (cut, parts) = match held {
            Some((record, _)) => (Cut(record.cut), Vec::new()),
            None => self.parts_of_close(run, &request).await?,
        };
        if !request.plan {
            let as_of = format_instant(as_of_ns);
            let detail = json!({ "run": run, "as_of": as_of, "run_missing_nights": request.run_missing_nights });
            self.audit(principal, "close-started", &request.period.to_string(), detail).await?;
        }
        let steps = parts.iter().map(Part::steps).sum();
        let head = PlanHead { parts: parts.len(), steps, cut: cut.0, close: Some(request), until: None };
        self.keep_plan(run, &parts, &head).await?;
        self.progress(run, "checking the month", 0, steps);
        self.note_progress(run, "checking the month", (0, steps)).await?;
        planned(parts.len())
    }

    async fn parts_of_close(self: &Arc<Self>, run: &str, request: &CloseRequest) -> Result<(Cut, Vec<Part>), Refusal> {
        let world = self.world().await?;
        let cut = self.mark_days(run, &world).await?;
        let mut nights: Vec<PlannedDay> = Vec::new();
        if request.run_missing_nights && !request.plan {
            // What only queries need the next night makes.
            nights = self.marked_days(false).await?;
            let unfinished = super::closing_period(self.books()).await?;
            nights.retain(|one| decides_on(one.day, (request.period, unfinished)));
            // What does not fit is missing, and says so.
            nights.truncate(PARTS_MAX.saturating_sub(CHECKS_MAX).saturating_mul(DAYS_PER_PART_MAX));
        }
        let size = days_per_part(nights.len(), PARTS_MAX.saturating_sub(CHECKS_MAX), self.sharing);
        let mut parts: Vec<Part> = nights.chunks(size).map(|days| Part::Days(days.to_vec())).collect();
        let calendar = world.history.calendar();
        let is_read = |utc_day: &NaiveDate| {
            // A night reads the blocks of its days, and so checks them.
            let reads = |one: &PlannedDay, lane| one.lane == lane && calendar.utc_days(one.day).contains(utc_day);
            (0..self.lanes).all(|lane| nights.iter().any(|one| reads(one, lane)))
        };
        let mut utc_days = utc_days_of(&world, request.period.days());
        utc_days.retain(|utc_day| !is_read(utc_day));
        let size = if self.sharing { UTC_DAYS_PER_PART } else { CHECKS_MAX };
        parts.extend(utc_days.chunks(size).map(|days| Part::Blocks(days.to_vec())));
        Ok((cut, parts))
    }

    /// Does one part of the plan. Taken again once it is done, it changes nothing.
    ///
    /// # Errors
    /// As [`App::night_part`].
    pub async fn close_check(self: &Arc<Self>, run: &str, part: usize) -> Result<PartOutcome, Refusal> {
        self.do_part(run, part).await
    }

    /// Computes the close and every finding; where none blocks and more than a plan was asked for, issues the statements and
    /// closes the month. Ends the run. Taken again, it goes on where it was: what is frozen is not computed again.
    ///
    /// # Errors
    /// [`Refusal::Conflict`] `parts-not-done` while a part of the plan is not done; else what stopped it.
    pub async fn close_issue(self: &Arc<Self>, run: &str) -> Result<Value, Refusal> {
        if let Some(outcome) = self.outcome_before(run).await? {
            return Ok(outcome);
        }
        self.keep_turn(run).await?;
        let head = self.need_plan(run).await?;
        let Some(request) = &head.close else {
            return Err(Refusal::Conflict { kind: "no-plan", detail: format!("the run {run} is no close") });
        };
        let outcome = self.issue_or_say_why(run, &head, request).await?;
        self.run_done(run, CLOSE, &outcome).await?;
        self.publish_alerts().await;
        Ok(outcome)
    }

    async fn issue_or_say_why(
        self: &Arc<Self>,
        run: &str,
        head: &PlanHead,
        request: &CloseRequest,
    ) -> Result<Value, Refusal> {
        let key = period_key(request.period);
        let held = records::get::<PeriodRecord>(self.books(), &key).await?;
        if let Some((record, _)) = held.as_ref().filter(|(record, _)| record.is_closed()) {
            let ours = record.run == run;
            return Ok(outcome_of(record, if ours { "closed" } else { "was closed before; nothing was done" }));
        }
        if let Some((record, _)) = held {
            if request.plan {
                return Ok(outcome_of(&record, "a plan: an interrupted close is finished by the next one"));
            }
            self.progress(run, "finishing an interrupted close", 1, 3);
            return Ok(outcome_of(&self.complete(run, &key, (record, None)).await?, "closed"));
        }
        let done = self.all_done(run, head).await?;
        let damaged: BTreeSet<(String, String)> = done.into_iter().flat_map(|part| part.damaged).collect();
        let damaged: Vec<(String, String)> = damaged.into_iter().collect();
        self.progress(run, "computing the close", 0, 3);
        let world = self.world().await?;
        let Some(plan) = self.plan_close(&world, request, (Cut(head.cut), &damaged)).await? else {
            let outcome = self.nothing_to_close(&world, request, &damaged).await?;
            if !request.plan {
                self.remember(&[refused(run, request.period, &[])]).await?;
            }
            return Ok(outcome);
        };
        if request.plan || plan.blocking() > 0 {
            if !request.plan {
                self.remember(&[refused(run, request.period, &plan.findings)]).await?;
            }
            return Ok(plan_json(request.period, &plan, request.plan));
        }
        self.progress(run, "writing the statements", 1, 3);
        self.publish(&world, &plan.settled).await?;
        let record = self.freeze(run, request, &plan).await?;
        let made = Made { manifest: plan.manifest, ready: plan.ready };
        let record = self.complete(run, &key, (record, Some(made))).await?;
        let mut outcome = outcome_of(&record, "closed");
        if let Some(outcome) = outcome.as_object_mut() {
            outcome.insert("findings".into(), json!(plan.findings));
        }
        Ok(outcome)
    }
}

/// The UTC days that some local days reach into, in order.
pub(crate) fn utc_days_of(world: &World, days: impl Iterator<Item = NaiveDate>) -> Vec<NaiveDate> {
    let calendar = world.history.calendar();
    let days: BTreeSet<NaiveDate> = days.flat_map(|day| calendar.utc_days(day)).collect();
    days.into_iter().collect()
}

/// What is told of a close that findings refuse.
fn refused(run: &str, period: Period, findings: &[Finding]) -> Tell {
    let blocking: Vec<&Finding> =
        findings.iter().filter(|finding| finding.severity == recoup_model::Severity::Blocking).collect();
    let lines = blocking.iter().take(NAMED_MAX).map(|finding| format!("- {}: {}", finding.subject, finding.detail));
    let lines: Vec<String> = lines.collect();
    let error = if blocking.is_empty() {
        format!("{period}: no night of it has run, or it has no events")
    } else {
        format!("{period}: {} findings stand against it\n{}", blocking.len(), lines.join("\n"))
    };
    Tell::CloseFailed { run: run.to_owned(), error }
}
