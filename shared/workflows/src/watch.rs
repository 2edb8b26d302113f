//! The watch over budgets: tiers fire when what is posted reaches them, alerts are acknowledged, escalated and resolved
//! (BUD-2).
//!
//! What fires follows from what is posted and from how far the budget had come, never from a single event: whatever is
//! missed by a crash is found by the next look. Progress, alert and what there is to tell are one write.
//!
//! A period is looked at for some days after its end ([`late_days`]): what was spent in it may be reported later. Its limit is
//! that of its last day; what fires then says which period it is, stops nothing, and is resolved when these days are over.
//! I/O: the balances of the budgets that something was posted to; a write with the first amount of a period, with each tier
//! that is reached and with each change of the limit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use chrono::{Days, NaiveDate};
use recoup_budgets::admission::limit_of;
use recoup_budgets::tiers::{Progress, Step, advance, next_amount};
use recoup_budgets::{PeriodKind, counter_of};
use recoup_model::organisation::Budget;
use recoup_model::{Calendar, Organisation};
use recoup_money::{Amount, Currency};
use recoup_store::{CounterKey, Expect, Key, Write, WriteError, causes};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::access::Principal;
use crate::alerts::{Tell, outbox_put};
use crate::app::{App, World};
use crate::budgets::team_of;
use crate::error::Refusal;
use crate::lists::{List, Listed, Place, Window};
use crate::lives::EXPIRED_MAX;
use crate::overruns::{OverrunRow, Used};
use crate::queries::{DayRange, Dimension, Paging};
use crate::records;

/// Tiers from which on somebody has to acknowledge, percent.
pub const ACKNOWLEDGE_FROM_PERCENT: u32 = 90;
/// Attempts at a budget that others watch at the same time.
const ATTEMPTS_MAX: usize = 4;
/// The partition of alerts.
const ALERTS: &str = List::Alerts.records();
/// The partition of alerts that are not resolved.
const OPEN: &str = "open-alerts";
/// The partition of how far budgets have come.
const PROGRESS: &str = "budget-progress";
/// Budgets of which the next tier is remembered; beyond it the memory is emptied.
const REMEMBERED_MAX: usize = 10_000;
/// The most days for which a period is looked at after its end.
pub const LATE_DAYS_MAX: u64 = 7;
/// Rows of costs that are looked at for the top agents.
const ROWS_MAX: usize = 1_000;
/// What resolves an alert.
const ENDED: &str = "the period has ended";
const DELETED: &str = "the budget was deleted";
const HOUR_NS: i64 = 3_600_000_000_000;

/// Where an alert is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertState {
    /// The tier was reached.
    Fired,
    /// Somebody has seen it.
    Acknowledged,
    /// The period has ended, the limit is another one, or the budget was deleted.
    Resolved,
}

/// An alert of a budget's tier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertRecord {
    /// `alr_` and digits: the same tier of the same budget, period and limit version has the same id.
    pub id: String,
    /// The budget's scope as the organisation file names it.
    pub scope: String,
    /// `month`, `week` or `day`.
    pub kind: String,
    /// The period.
    pub period: String,
    /// The team that it concerns; `None`: the whole organisation, a project, a user or a task.
    pub team: Option<String>,
    /// The tier, percent.
    pub tier: u32,
    /// The limit then.
    pub limit: Amount,
    /// Its version, from 1.
    pub limit_version: u32,
    /// What was posted then.
    pub posted: Amount,
    /// The currency of the amounts.
    pub currency: Currency,
    /// Whether somebody has to acknowledge it.
    pub needs_acknowledgement: bool,
    /// Fired, acknowledged or resolved.
    pub state: AlertState,
    /// When, RFC 3339.
    pub fired_at: String,
    /// Who has seen it.
    pub acknowledged_by: Option<String>,
    /// When, RFC 3339.
    pub acknowledged_at: Option<String>,
    /// When it was escalated, RFC 3339.
    pub escalated_at: Option<String>,
    /// When it was resolved, RFC 3339.
    pub resolved_at: Option<String>,
    /// By what.
    pub resolution: Option<String>,
    /// Why more was posted then than the limit (BUD-3); `None`: it was not more.
    #[serde(default)]
    pub overrun: Option<OverrunRow>,
}

impl AlertRecord {
    pub(crate) fn place(&self) -> Place<'_> {
        Place { list: List::Alerts, at: &self.fired_at, rank: self.tier, sort: &self.id }
    }
}

/// How far a budget has come in a period, with the alerts of its limit version.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Kept {
    progress: Progress,
    alerts: Vec<String>,
}

/// How a budget was looked at last, and the posted amount from which its next tier fires, if one is left.
struct Silence {
    limit: Amount,
    tiers: Vec<u32>,
    next: Option<Amount>,
}

/// The amounts below which nothing fires, by scope and period.
#[derive(Default)]
pub(crate) struct Quiet(Mutex<BTreeMap<(String, String), Silence>>);

impl Quiet {
    fn is_quiet(&self, watched: &Watched<'_>) -> bool {
        let Ok(quiet) = self.0.lock() else { return false };
        let same = |known: &Silence| known.limit == watched.limit && known.tiers == watched.budget.tiers;
        let is_below = |known: &Silence| known.next.is_none_or(|next| watched.posted < next);
        quiet.get(&watched.name()).is_some_and(|known| same(known) && is_below(known))
    }

    fn note(&self, watched: &Watched<'_>, next: Option<Amount>) {
        let Ok(mut quiet) = self.0.lock() else { return };
        if quiet.len() >= REMEMBERED_MAX {
            quiet.clear();
        }
        quiet.insert(watched.name(), Silence { limit: watched.limit, tiers: watched.budget.tiers.clone(), next });
    }
}

/// A budget in a period that is looked at.
struct Watched<'a> {
    budget: &'a Budget,
    /// The version in force in that period.
    organisation: &'a Organisation,
    period: String,
    limit: Amount,
    posted: Amount,
}

/// How many days after its end a period is looked at: as many as late events have before a month is closed
/// (`policy.soft_close_days`), at least one and at most [`LATE_DAYS_MAX`].
fn late_days(organisation: &Organisation) -> u64 {
    u64::from(organisation.policy.soft_close_days).clamp(1, LATE_DAYS_MAX)
}

/// The last days of periods of a kind for which late events can still arrive, the latest first.
fn ended_on(kind: PeriodKind, today: NaiveDate, late_days: u64) -> impl Iterator<Item = NaiveDate> {
    let is_last = move |day: &NaiveDate| day.succ_opt().is_some_and(|next| kind.days_around(next).0 == next);
    (1..=late_days).filter_map(move |days| today.checked_sub_days(Days::new(days))).filter(is_last)
}

impl Watched<'_> {
    fn name(&self) -> (String, String) {
        (self.budget.scope.clone(), self.period.clone())
    }
}

/// Whether a period has ended.
pub(crate) fn is_over(period: &str, day: NaiveDate) -> bool {
    PeriodKind::days_of(period).is_some_and(|(_, end)| end <= day)
}

/// Why an alert is over; `None`: it stands.
fn over(alert: &AlertRecord, world: &World, today: NaiveDate) -> Option<&'static str> {
    let (_, end) = PeriodKind::days_of(&alert.period)?;
    let late_until = end.checked_add_days(Days::new(late_days(&world.history.on(today).organisation))).unwrap_or(end);
    let until = if alert.is_late(world.history.calendar()) { late_until } else { end };
    if today >= until {
        return Some(ENDED);
    }
    // The version of the period's last day, once that has come.
    let day = if today >= end { end.pred_opt().unwrap_or(today) } else { today };
    let is_it = |budget: &Budget| budget.scope == alert.scope && budget.period == alert.kind;
    (!world.history.on(day).organisation.budgets.iter().any(is_it)).then_some(DELETED)
}

impl AlertRecord {
    /// Whether it fired after its period's end: by what was reported late.
    pub(crate) fn is_late(&self, calendar: Calendar) -> bool {
        let fired = chrono::DateTime::parse_from_rfc3339(&self.fired_at).ok();
        let fired_ns = fired.and_then(|fired| fired.timestamp_nanos_opt());
        fired_ns.is_some_and(|fired_ns| is_over(&self.period, calendar.day_of(fired_ns)))
    }
}

impl App {
    /// Looks at budgets: those that count in these counters, or all. What fires is told.
    ///
    /// # Errors
    /// When the store fails; the next look finds what was missed.
    pub async fn watch_budgets(&self, counters: Option<&BTreeSet<CounterKey>>) -> Result<usize, Refusal> {
        let world = self.world().await?;
        let now_ns = self.now_ns();
        let today = world.history.calendar().day_of(now_ns);
        let mut looked = self.looked_at(&world, today);
        looked.retain(|(_, _, key)| counters.is_none_or(|counters| counters.contains(key)));
        let extended = self.extended(&world, now_ns).await?;
        let ended = looked.iter().map(|(_, _, key)| key.period.clone()).filter(|period| is_over(period, today));
        let late = self.approved_for(&ended.collect()).await?;
        let keys: Vec<CounterKey> = looked.iter().map(|(_, _, key)| key.clone()).collect();
        let posted = self.ports.live.counters(&keys).await?;
        let mut fired = 0_usize;
        for ((organisation, budget, key), posted) in looked.into_iter().zip(posted) {
            let limit = limit_of(budget, &key.period, if is_over(&key.period, today) { &late } else { &extended });
            let watched = Watched { budget, organisation, period: key.period, limit, posted };
            fired = fired.saturating_add(self.look_at(&watched).await?);
        }
        if fired > 0 {
            self.publish_alerts().await;
        }
        Ok(fired)
    }

    /// The budgets of the running periods, and of those that late events can still arrive for, each as it is in force there.
    fn looked_at<'a>(&self, world: &'a World, today: NaiveDate) -> Vec<(&'a Organisation, &'a Budget, CounterKey)> {
        let pseudonym_of = |user: &str| self.pseudonyms.of(user).to_string();
        let late_days = late_days(&world.history.on(today).organisation);
        let kinds = [PeriodKind::Month, PeriodKind::Week, PeriodKind::Day];
        let ended = kinds.into_iter().flat_map(|kind| ended_on(kind, today, late_days).map(move |day| (kind, day)));
        let mut looked = Vec::new();
        for (kind, day) in kinds.map(|kind| (kind, today)).into_iter().chain(ended) {
            let organisation: &Organisation = &world.history.on(day).organisation;
            for budget in
                organisation.budgets.iter().filter(|budget| PeriodKind::from_name(&budget.period) == Some(kind))
            {
                let Some(counter) = counter_of(budget, day, &pseudonym_of) else { continue };
                looked.push((organisation, budget, CounterKey { scope: counter.scope, period: counter.period }));
            }
        }
        looked
    }

    async fn look_at(&self, watched: &Watched<'_>) -> Result<usize, Refusal> {
        let Watched { budget, period, limit, posted, .. } = watched;
        for _ in 0..ATTEMPTS_MAX {
            if self.quiet.is_quiet(watched) {
                return Ok(0);
            }
            let key = Key::new(PROGRESS, format!("{period}|{}", budget.scope));
            let known = records::get::<Kept>(self.books(), &key).await?;
            let before = known.as_ref().map(|(kept, _)| &kept.progress);
            let step = advance(before, *limit, &budget.tiers, *posted);
            let next = next_amount(&step.progress, &budget.tiers);
            // From the first amount on the limit is known: whether it is another one later decides what fires then.
            let is_news = before.map_or(*posted > Amount::ZERO, |before| *before != step.progress);
            if !is_news {
                self.quiet.note(watched, next);
                return Ok(0);
            }
            let mut kept = known.as_ref().map_or_else(Vec::new, |(kept, _)| kept.alerts.clone());
            let mut alerts = self.fire(watched, &step);
            if !alerts.is_empty() {
                let overrun = self.overrun_at(watched).await?;
                alerts.iter_mut().for_each(|alert| alert.overrun.clone_from(&overrun));
            }
            let mut writes = Vec::new();
            if step.new_version {
                for id in kept.drain(..) {
                    writes.extend(self.resolution(&id, "the limit was changed").await?);
                }
            }
            for alert in &alerts {
                kept.push(alert.id.clone());
                writes.push(records::put(Key::new(ALERTS, &alert.id), alert, Expect::Absent)?);
                writes.push(alert.place().put(None)?);
                writes.push(records::put(Key::new(OPEN, &alert.id), &alert.fired_at, Expect::Any)?);
                writes.push(outbox_put(&Tell::BudgetTier { alert: Box::new(alert.clone()) })?);
            }
            let expect = known.as_ref().map_or(Expect::Absent, |(_, version)| Expect::Version(*version));
            writes.push(records::put(key, &Kept { progress: step.progress.clone(), alerts: kept }, expect)?);
            match self.books().write(writes).await {
                Ok(()) => {
                    self.quiet.note(watched, next);
                    return Ok(alerts.len());
                }
                // Somebody else watches the same budget: what it found stands.
                Err(WriteError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(0)
    }

    /// Why a budget is overrun as it is looked at.
    async fn overrun_at(&self, watched: &Watched<'_>) -> Result<Option<OverrunRow>, Refusal> {
        let Watched { budget, period, limit, posted, .. } = watched;
        let pseudonym_of = |user: &str| self.pseudonyms.of(user).to_string();
        let day = PeriodKind::days_of(period).map(|(first, _)| first).unwrap_or_default();
        let Some(counter) = counter_of(budget, day, &pseudonym_of) else { return Ok(None) };
        let used = Used { counter, limit: *limit, posted: *posted };
        Ok(self.overruns(&[used]).await?.pop().flatten())
    }

    fn fire(&self, watched: &Watched<'_>, step: &Step) -> Vec<AlertRecord> {
        let Watched { budget, organisation, period, limit, posted } = watched;
        let version = step.progress.version;
        let alert = |tier: &u32| {
            let name = format!("{}\n{}\n{period}\n{tier}\n{version}", budget.scope, budget.period);
            let digest = recoup_model::Digest::of(name.as_bytes()).to_string();
            AlertRecord {
                id: format!("alr_{}", digest.get(..20).unwrap_or(&digest)),
                scope: budget.scope.clone(),
                kind: budget.period.clone(),
                period: period.clone(),
                team: team_of(&budget.scope, organisation).map(str::to_owned),
                tier: *tier,
                limit: *limit,
                limit_version: version,
                posted: *posted,
                currency: organisation.currency,
                needs_acknowledgement: *tier >= ACKNOWLEDGE_FROM_PERCENT,
                state: AlertState::Fired,
                fired_at: self.now_text(),
                acknowledged_by: None,
                acknowledged_at: None,
                escalated_at: None,
                resolved_at: None,
                resolution: None,
                overrun: None,
            }
        };
        step.fires.iter().map(alert).collect()
    }

    /// What the agents of an alert's budget have cost in its period, as of the last night, the dearest first.
    pub(crate) async fn agents_of(&self, alert: &AlertRecord) -> Result<Vec<(String, Amount)>, Refusal> {
        let Some((from, to)) = PeriodKind::days_of(&alert.period) else { return Ok(Vec::new()) };
        let owner = match alert.scope.split_once(':') {
            None => None,
            Some(("team", id)) => Some((Dimension::Team, id)),
            Some(("project", id)) => Some((Dimension::Project, id)),
            Some(("agent", id)) => Some((Dimension::Agent, id)),
            Some(_) => return Ok(Vec::new()),
        };
        let by: Vec<Dimension> =
            [Some(Dimension::Agent), owner.map(|(dimension, _)| dimension)].into_iter().flatten().collect();
        let range = DayRange { from, to };
        let rows = self.costs(&Principal::operator(), range, &by, Paging { skip: 0, limit: ROWS_MAX }).await?;
        let text =
            |row: &serde_json::Value, name: &str| row.get(name).and_then(serde_json::Value::as_str).map(str::to_owned);
        let is_of = |row: &&serde_json::Value| {
            owner.is_none_or(|(dimension, id)| text(row, dimension.name()).as_deref() == Some(id))
        };
        let read = |row: &serde_json::Value| Some((text(row, "agent")?, text(row, "cost")?.parse().ok()?));
        Ok(rows.rows.iter().filter(is_of).filter_map(read).collect())
    }

    /// The writes that resolve an alert, where it is not.
    async fn resolution(&self, id: &str, by: &str) -> Result<Vec<Write>, Refusal> {
        let key = Key::new(ALERTS, id);
        let open = Write::Delete { key: Key::new(OPEN, id), expect: Expect::Any };
        let Some((alert, version)) = records::get::<AlertRecord>(self.books(), &key).await? else {
            return Ok(Vec::new());
        };
        if alert.state == AlertState::Resolved {
            return Ok(vec![open]);
        }
        let unseen = alert.needs_acknowledgement && alert.acknowledged_by.is_none();
        let by = if unseen { format!("{by}; nobody had acknowledged it") } else { by.to_owned() };
        let resolved = AlertRecord {
            state: AlertState::Resolved,
            resolved_at: Some(self.now_text()),
            resolution: Some(by),
            ..alert
        };
        let tell = Tell::AlertChanged { alert: Box::new(resolved.clone()) };
        Ok(vec![records::put(key, &resolved, Expect::Version(version))?, open, outbox_put(&tell)?])
    }

    /// What time alone brings: escalations, ends of periods, tiers that were missed, budgets that are gone. What only served
    /// delivery goes, and what an earlier release left is adopted: both last, and where they fail only the log says so.
    ///
    /// # Errors
    /// When the store fails; the next look finds what was missed.
    pub async fn watch_time(&self) -> Result<(), Refusal> {
        let Ok(world) = self.world().await else { return Ok(()) };
        let watched = self.watch_alerts(&world).await;
        self.tend_records().await;
        watched
    }

    async fn tend_records(&self) {
        if let Err(error) = self.adopt_records().await {
            tracing::error!(
                error = causes(&error),
                "records of an earlier release are not adopted; the next look tries again"
            );
        }
        if let Err(error) = self.books().remove_expired(self.now_ns().div_euclid(1_000_000_000), EXPIRED_MAX).await {
            tracing::error!(
                error = causes(&error),
                "records whose time is over are not removed; the next look tries again"
            );
        }
    }

    async fn watch_alerts(&self, world: &World) -> Result<(), Refusal> {
        self.watch_budgets(None).await?;
        let mut changed = false;
        for (id, _, _) in records::all::<String>(self.books(), OPEN, "").await? {
            changed |= self.watch_alert(&id, world).await?;
        }
        if changed {
            self.publish_alerts().await;
        }
        self.report_week(world).await
    }

    async fn watch_alert(&self, id: &str, world: &World) -> Result<bool, Refusal> {
        let key = Key::new(ALERTS, id);
        let Some((alert, version)) = records::get::<AlertRecord>(self.books(), &key).await? else { return Ok(false) };
        let now_ns = self.now_ns();
        let calendar = world.history.calendar();
        let today = calendar.day_of(now_ns);
        let over = over(&alert, world, today);
        let writes = if let Some(by) = over.or((alert.state == AlertState::Resolved).then_some(ENDED)) {
            self.resolution(id, by).await?
        } else {
            let hours = i64::from(world.history.on(today).organisation.alerts.escalate_after_hours);
            let fired = chrono::DateTime::parse_from_rfc3339(&alert.fired_at)
                .map_err(|error| Refusal::computation("read when an alert fired", error))?;
            let fired_ns = fired.timestamp_nanos_opt().unwrap_or(now_ns);
            let waits = alert.needs_acknowledgement && alert.state == AlertState::Fired && alert.escalated_at.is_none();
            if !waits || now_ns.saturating_sub(fired_ns) < hours.saturating_mul(HOUR_NS) {
                return Ok(false);
            }
            let escalated = AlertRecord { escalated_at: Some(self.now_text()), ..alert };
            let tell = Tell::BudgetEscalation { alert: Box::new(escalated.clone()) };
            vec![records::put(key, &escalated, Expect::Version(version))?, outbox_put(&tell)?]
        };
        match self.books().write(writes).await {
            Ok(()) => Ok(true),
            Err(WriteError::Conflict(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Alerts of budgets that the caller may see, in a state or in any, newest first.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`] for a key that may not read.
    pub async fn budget_alerts(
        &self,
        principal: &Principal,
        state: Option<AlertState>,
        window: Window,
    ) -> Result<Listed<AlertRecord>, Refusal> {
        let team = principal.seen_team()?;
        let is_asked = |alert: &AlertRecord| {
            state.is_none_or(|state| alert.state == state)
                && team.is_none_or(|team| alert.team.as_deref() == Some(team))
        };
        self.listed(List::Alerts, window, is_asked).await
    }

    /// An alert that the caller may see.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for one that there is not, or that the caller may not see.
    pub async fn budget_alert(&self, principal: &Principal, id: &str) -> Result<AlertRecord, Refusal> {
        let (alert, _) = self.seen_alert(principal, id).await?;
        Ok(alert)
    }

    async fn seen_alert(&self, principal: &Principal, id: &str) -> Result<(AlertRecord, u64), Refusal> {
        let team = principal.seen_team()?;
        let found = records::get::<AlertRecord>(self.books(), &Key::new(ALERTS, id)).await?;
        let seen = found.filter(|(alert, _)| team.is_none_or(|team| alert.team.as_deref() == Some(team)));
        seen.ok_or_else(|| Refusal::NotFound(format!("there is no alert `{id}`")))
    }

    /// Says that somebody has seen an alert. Again changes nothing. Others are told afterwards.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`] unless the key acts for the team or finance; [`Refusal::Conflict`] for one that is resolved.
    pub async fn acknowledge(&self, principal: &Principal, id: &str) -> Result<AlertRecord, Refusal> {
        let (alert, version) = self.seen_alert(principal, id).await?;
        principal.may_act_for(alert.team.as_deref())?;
        match alert.state {
            AlertState::Acknowledged => return Ok(alert),
            AlertState::Resolved => {
                let by = alert.resolution.as_deref().unwrap_or("it is over");
                let detail = format!("the alert is resolved: {by}");
                return Err(Refusal::Conflict { kind: "alert-resolved", detail });
            }
            AlertState::Fired => {}
        }
        let seen = AlertRecord {
            state: AlertState::Acknowledged,
            acknowledged_by: Some(principal.who()),
            acknowledged_at: Some(self.now_text()),
            ..alert
        };
        let tell = Tell::AlertChanged { alert: Box::new(seen.clone()) };
        let writes = vec![
            records::put(Key::new(ALERTS, id), &seen, Expect::Version(version))?,
            outbox_put(&tell)?,
            self.audit_put(principal, "alert-acknowledged", id, json!({ "scope": seen.scope, "tier": seen.tier }))?,
        ];
        self.books().write(writes).await?;
        self.has_decided(&tell).await;
        Ok(seen)
    }
}
