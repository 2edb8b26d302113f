//! Questions about what the nights found: costs by any dimensions, unpriced events, findings, prices, a team's events.
//!
//! I/O: the nights' records and the facts of the days asked for, which are remembered; `events` reads blocks.

use std::collections::BTreeMap;

use chrono::{Datelike, NaiveDate};
use recoup_attribution::facts::{DayFacts, Item, UserValue};
use recoup_attribution::{Context, resolve};
use recoup_ledger::PriceVersion;
use recoup_model::period::format_instant;
use recoup_model::{Finding, FindingKind, Id, Period};
use recoup_money::Amount;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::access::Principal;
use crate::app::App;
use crate::error::Refusal;
use crate::facts::Night;
use crate::nightly::{Cut, Prints};
use crate::people::Pseudonyms;
use crate::records;
use crate::traces::event_json;

/// Days that one question may span.
pub const QUERY_DAYS_MAX: i64 = 400;
/// Users whose names are looked up for one answer; beyond it pseudonyms are shown.
const NAMES_MAX: usize = 1_000;

/// A dimension that costs can be grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dimension {
    /// The payer's team.
    Team,
    /// The span's agent.
    Agent,
    /// The span's task type.
    TaskType,
    /// The payer's project.
    Project,
    /// The payer's user.
    User,
    /// The model.
    Model,
    /// The cost bucket.
    Kind,
    /// The local day.
    Day,
}

impl Dimension {
    /// Every dimension, in contract order.
    pub const ALL: [Self; 8] =
        [Self::Team, Self::Agent, Self::TaskType, Self::Project, Self::User, Self::Model, Self::Kind, Self::Day];

    /// The name in the contract.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Team => "team",
            Self::Agent => "agent",
            Self::TaskType => "task_type",
            Self::Project => "project",
            Self::User => "user",
            Self::Model => "model",
            Self::Kind => "kind",
            Self::Day => "day",
        }
    }

    /// The dimension of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dimension| dimension.name() == name)
    }
}

/// Half-open local days.
#[derive(Clone, Copy, Debug)]
pub struct DayRange {
    /// First day.
    pub from: NaiveDate,
    /// First day after it.
    pub to: NaiveDate,
}

impl DayRange {
    /// A range.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] when it is empty or spans more than [`QUERY_DAYS_MAX`] days.
    pub fn new(from: NaiveDate, to: NaiveDate) -> Result<Self, Refusal> {
        let years = 1970..=9999;
        for (name, day) in [("from", from), ("to", to)] {
            if !years.contains(&day.year()) {
                return Err(Refusal::invalid(
                    "invalid-range",
                    name,
                    format!("{day} lies outside the years 1970 to 9999"),
                ));
            }
        }
        let days = to.signed_duration_since(from).num_days();
        if !(1..=QUERY_DAYS_MAX).contains(&days) {
            let detail = format!("`to` has to lie 1 to {QUERY_DAYS_MAX} days after `from` (it is excluded)");
            return Err(Refusal::invalid("invalid-range", "to", detail));
        }
        Ok(Self { from, to })
    }
}

/// A page of rows.
#[derive(Clone, Debug, Serialize)]
pub struct Rows {
    /// Rows in order.
    pub rows: Vec<Value>,
    /// Pass as `cursor` for the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
    /// Sum over all rows, on every page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<Value>,
}

/// Which rows of a list to answer.
#[derive(Clone, Copy, Debug)]
pub struct Paging {
    /// Rows to leave out.
    pub skip: usize,
    /// Rows to answer.
    pub limit: usize,
}

impl Paging {
    /// The page of a list.
    #[must_use]
    pub fn cut(self, rows: Vec<Value>) -> Rows {
        let end = self.skip.saturating_add(self.limit);
        let next_cursor = (rows.len() > end).then(|| end.to_string());
        Rows { rows: rows.into_iter().skip(self.skip).take(self.limit).collect(), next_cursor, total: None }
    }
}

#[derive(Clone, Copy, Default)]
struct CostSum {
    cost: Amount,
    events: u64,
    unpriced: u64,
    tasks: u64,
}

type Groups = BTreeMap<Vec<Option<String>>, CostSum>;

fn text(id: Option<&Id>) -> Option<String> {
    id.map(ToString::to_string)
}

struct Grain<'a> {
    team: Option<&'a Id>,
    agent: Option<&'a Id>,
    task_type: Option<&'a Id>,
    project: Option<&'a Id>,
    user: Option<&'a Id>,
    model: Option<&'a Id>,
    kind: &'static str,
    day: NaiveDate,
}

impl Grain<'_> {
    fn key(&self, dimensions: &[Dimension]) -> Vec<Option<String>> {
        let part = |dimension: &Dimension| match dimension {
            Dimension::Team => Some(self.team.map_or_else(|| "unattributed".to_owned(), ToString::to_string)),
            Dimension::Agent => text(self.agent),
            Dimension::TaskType => text(self.task_type),
            Dimension::Project => text(self.project),
            Dimension::User => text(self.user),
            Dimension::Model => text(self.model),
            Dimension::Kind => Some(self.kind.to_owned()),
            Dimension::Day => Some(self.day.to_string()),
        };
        dimensions.iter().map(part).collect()
    }
}

fn overflow() -> Refusal {
    Refusal::computation("add up costs", "the sum overflows")
}

fn add(sum: &mut CostSum, more: &UserValue) -> Result<(), Refusal> {
    sum.cost = sum.cost.checked_add(more.cost).ok_or_else(overflow)?;
    sum.events = sum.events.saturating_add(more.events);
    sum.unpriced = sum.unpriced.saturating_add(more.unpriced);
    sum.tasks = sum.tasks.saturating_add(more.tasks);
    Ok(())
}

/// Adds a day's costs to the groups. Users have a grain of their own, which also counts tasks.
fn add_day(groups: &mut Groups, facts: &DayFacts, by: &[Dimension], team: Option<&str>) -> Result<(), Refusal> {
    let day = facts.day;
    let seen = |payer: Option<&Id>| team.is_none_or(|team| payer.is_some_and(|payer| payer.as_ref() == team));
    for (key, value) in facts.users.iter().filter(|(key, _)| seen(key.team.as_ref())) {
        let grain = Grain {
            team: key.team.as_ref(),
            agent: key.agent.as_ref(),
            task_type: key.task_type.as_ref(),
            project: key.project.as_ref(),
            user: key.user.as_ref(),
            model: key.model.as_ref(),
            kind: key.kind.name(),
            day,
        };
        add(groups.entry(grain.key(by)).or_default(), value)?;
    }
    Ok(())
}

impl App {
    /// Cost, events and tasks by any dimensions: the ground truth, before pools are shared out. Events without a price are
    /// counted apart: their cost is not in it.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`] for a key that may not read.
    pub async fn costs(
        &self,
        principal: &Principal,
        range: DayRange,
        by: &[Dimension],
        paging: Paging,
    ) -> Result<Rows, Refusal> {
        let team = principal.seen_team()?;
        let mut groups = Groups::new();
        for facts in self.facts_between(range.from, range.to).await?.values() {
            add_day(&mut groups, facts, by, team)?;
        }
        let total = Amount::checked_sum(groups.values().map(|sum| sum.cost)).ok_or_else(overflow)?;
        let count = |of: fn(&CostSum) -> u64| groups.values().fold(0_u64, |count, sum| count.saturating_add(of(sum)));
        let (events, unpriced, tasks) = (count(|sum| sum.events), count(|sum| sum.unpriced), count(|sum| sum.tasks));
        let mut sorted: Vec<_> = groups.into_iter().collect();
        if !by.contains(&Dimension::Day) {
            sorted.sort_by(|a, b| b.1.cost.cmp(&a.1.cost).then_with(|| a.0.cmp(&b.0)));
        }
        let rows = sorted.into_iter().map(|(key, sum)| {
            let names = by.iter().map(|dimension| dimension.name().to_owned());
            let mut row: Map<String, Value> = names.zip(key.into_iter().map(|part| json!(part))).collect();
            row.insert("cost".into(), json!(sum.cost));
            row.insert("events".into(), json!(sum.events));
            row.insert("unpriced".into(), json!(sum.unpriced));
            row.insert("tasks".into(), json!(sum.tasks));
            Value::Object(row)
        });
        let mut page = paging.cut(rows.collect());
        if by.contains(&Dimension::User) {
            self.name_users(&mut page.rows).await?;
        }
        let currency = self.organisation_today().await?.currency;
        page.total = Some(json!({
            "cost": total, "events": events, "unpriced": unpriced, "tasks": tasks, "currency": currency,
        }));
        Ok(page)
    }

    async fn name_users(&self, rows: &mut [Value]) -> Result<(), Refusal> {
        for row in rows.iter_mut().take(NAMES_MAX) {
            let Some(pseudonym) = row.get("user").and_then(Value::as_str).map(str::to_owned) else { continue };
            if let (Some(name), Some(row)) = (Pseudonyms::name(self.books(), &pseudonym).await?, row.as_object_mut()) {
                row.insert("user".into(), Value::String(name));
                row.insert("user_pseudonym".into(), Value::String(pseudonym));
            }
        }
        Ok(())
    }

    /// Events without a price, by day, team and name (RAT-2).
    ///
    /// # Errors
    /// [`Refusal::Forbidden`] for a key that may not read.
    pub async fn unpriced(&self, principal: &Principal, range: DayRange, paging: Paging) -> Result<Rows, Refusal> {
        let team = principal.seen_team()?;
        let mut rows = Vec::new();
        let mut events = 0_u64;
        for facts in self.facts_between(range.from, range.to).await?.values() {
            for (key, value) in facts.cells.iter().filter(|(key, _)| key.item == Item::Unpriced) {
                if team.is_some_and(|team| key.team.as_deref() != Some(team)) {
                    continue;
                }
                events = events.saturating_add(value.events);
                rows.push(json!({
                    "day": facts.day, "team": key.team, "agent": key.agent, "task_type": key.task_type,
                    "kind": key.kind, "provider": key.provider, "model": key.model,
                    "events": value.events, "quantity": value.quantity,
                }));
            }
        }
        let mut page = paging.cut(rows);
        page.total = Some(json!({ "events": events }));
        Ok(page)
    }

    /// Findings of the nights and of settling, and conflicts met at the door; newest day last.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`] for a key that may not see the whole organisation.
    pub async fn findings(
        &self,
        principal: &Principal,
        range: DayRange,
        kind: Option<FindingKind>,
        paging: Paging,
    ) -> Result<Rows, Refusal> {
        principal.may_see_all()?;
        let mut rows = Vec::new();
        let mut counts: BTreeMap<FindingKind, u64> = BTreeMap::new();
        let wanted = |finding: &&Finding| kind.is_none_or(|kind| finding.kind == kind);
        for facts in self.facts_between(range.from, range.to).await?.values() {
            for (found, count) in &facts.finding_counts {
                let sum = counts.entry(*found).or_default();
                *sum = sum.saturating_add(*count);
            }
            rows.extend(facts.findings.iter().filter(wanted).map(|finding| finding_json(Some(facts.day), finding)));
        }
        let mut period = Period::of(range.from);
        while period.first_day() < range.to {
            for finding in self.settled_findings(period).await? {
                let sum = counts.entry(finding.kind).or_default();
                *sum = sum.saturating_add(1);
                if wanted(&&finding) {
                    rows.push(finding_json(None, &finding));
                }
            }
            period = period.next();
        }
        if kind.is_none_or(|kind| kind == FindingKind::Conflict) {
            let calendar = self.world().await?.history.calendar();
            for (sort, conflict, _) in records::all::<Value>(self.books(), "findings/conflict", "").await? {
                // The key begins with the instant at which the conflict was met.
                let met_ns: i64 = sort.split('-').next().and_then(|digits| digits.parse().ok()).unwrap_or_default();
                let day = calendar.day_of(met_ns);
                if day < range.from || day >= range.to {
                    continue;
                }
                let sum = counts.entry(FindingKind::Conflict).or_default();
                *sum = sum.saturating_add(1);
                let detail = conflict.pointer("/error/detail").cloned().unwrap_or_default();
                let subject = conflict.get("event_id").cloned().unwrap_or_default();
                rows.push(json!({
                    "day": day, "severity": "warning", "kind": "conflict", "subject": subject, "detail": detail,
                }));
            }
        }
        counts.retain(|found, _| kind.is_none_or(|kind| *found == kind));
        let mut page = paging.cut(rows);
        page.total = Some(json!(counts));
        Ok(page)
    }

    /// Internal prices of tasks and minutes, by agent, task type and time.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn task_prices(
        &self,
        agent: Option<&str>,
        task_type: Option<&str>,
        paging: Paging,
    ) -> Result<Rows, Refusal> {
        let mut versions: Vec<(Period, PriceVersion)> = Vec::new();
        for (_, record, _) in
            records::all::<crate::nightly::SettledRecord>(self.books(), crate::nightly::SETTLED, "").await?
        {
            let prices = self.current_prices(&record).await?;
            versions.extend(prices.into_iter().map(|price| (record.period, price)));
        }
        let rows = versions
            .into_iter()
            .filter(|(_, price)| agent.is_none_or(|agent| price.key.agent.as_ref() == agent))
            .filter(|(_, price)| task_type.is_none_or(|task_type| price.key.task_type.as_ref() == task_type))
            .map(|(period, price)| {
                let mut row = serde_json::to_value(&price).unwrap_or_default();
                if let Some(row) = row.as_object_mut() {
                    row.insert("period".into(), json!(period));
                }
                row
            });
        Ok(paging.cut(rows.collect()))
    }

    /// The raw events that a team pays for (`unattributed`: nobody), in order of `used_at`, for its own check.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`] for another team's key.
    pub async fn team_events(
        &self,
        principal: &Principal,
        team: Option<&str>,
        range: DayRange,
        paging: Paging,
    ) -> Result<Rows, Refusal> {
        let team = match (principal.seen_team()?, team) {
            (Some(own), Some(team)) if own != team => {
                return Err(Refusal::Forbidden(format!("this key sees the team `{own}` only")));
            }
            (Some(own), _) => Some(own.to_owned()),
            (None, team) => team.map(str::to_owned),
        };
        let world = self.world().await?;
        let context = Context { history: &world.history, rater: world.prices.as_ref() };
        let mut found = Vec::new();
        for day in range.from.iter_days().take_while(|day| *day < range.to) {
            for lane in 0..self.lanes {
                let loaded = self.load_day(&world, (day, lane), (Cut::NONE, Prints::Stored)).await?;
                for events in loaded.in_full() {
                    let trace = resolve(&events, &loaded.excluded, &context)
                        .map_err(|error| Refusal::computation("attribute a trace", error))?;
                    let payer = trace.payer.team.as_deref().unwrap_or("unattributed");
                    if team.as_deref().is_some_and(|team| team != payer) {
                        continue;
                    }
                    let ours = trace.spans.iter().filter(|span| span.local_day == day);
                    found.extend(ours.map(|span| {
                        let at = (span.event.used_at_ns, trace.trace.clone(), span.event.event_id.clone());
                        (at, event_json(&trace, span))
                    }));
                }
            }
        }
        found.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(paging.cut(found.into_iter().map(|(_, row)| row).collect()))
    }

    /// The manifests of nights: which events, prices, organisation and rules the facts of each day were made from.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`] for a key that may not see the whole organisation.
    pub async fn night_manifests(
        &self,
        principal: &Principal,
        range: DayRange,
        paging: Paging,
    ) -> Result<Rows, Refusal> {
        principal.may_see_all()?;
        let nights = self.nights().await?;
        let ours = nights.iter().filter(|(night, _)| night.day >= range.from && night.day < range.to);
        // Where its rows lie, and how, is nobody else's business.
        let shown =
            |night: &Night| json!(Night { rows: String::new(), queries_form: None, work: None, ..night.clone() });
        Ok(paging.cut(ours.map(|(night, _)| shown(night)).collect()))
    }

    /// What the operator of this deployment should see first: counts, last night, last close.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn overview(&self) -> Result<Value, Refusal> {
        let nights = self.nights().await?;
        let last = nights.iter().map(|(night, _)| night.day).max();
        Ok(json!({
            "blocks": self.ports.log.last_seq().await?,
            "days": self.ports.log.utc_days().await?,
            "last_night": last,
            "time": format_instant(self.now_ns()),
        }))
    }
}

fn finding_json(day: Option<NaiveDate>, finding: &Finding) -> Value {
    json!({
        "day": day, "severity": finding.severity, "kind": finding.kind,
        "subject": finding.subject, "detail": finding.detail,
    })
}
