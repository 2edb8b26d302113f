//! The weekly report of each team: what it has spent last week, on what, and where that leads.
//!
//! It is due on Monday in the organisation's zone, once a night has run that day, and is made at the first look after that.
//! A Monday that nobody looked at is made up for until the next one. Report and entry in the outbox are one write, so that
//! each team has each week's report once.
//! I/O: nothing while the week's reports are known to be made; else the facts of two weeks, budgets and anomalies.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use chrono::{Days, NaiveDate};
use recoup_attribution::DayFacts;
use recoup_attribution::facts::Item;
use recoup_budgets::PeriodKind;
use recoup_model::Organisation;
use recoup_money::{Amount, Currency};
use recoup_store::{Expect, Key, WriteError};
use serde::{Deserialize, Serialize};

use crate::access::Principal;
use crate::alerts::{Tell, outbox_put};
use crate::anomalies::Found;
use crate::app::{App, World};
use crate::budgets::{BudgetRow, team_of};
use crate::error::Refusal;
use crate::queries::DayRange;
use crate::records;
use crate::spend::ForecastRow;

/// The partition of reports.
const REPORTS: &str = "weekly-reports";
/// Agents that are named; the others are summed up.
pub const NAMED_AGENTS: usize = 10;

/// The week whose reports are known to be made.
#[derive(Default)]
pub(crate) struct Weekly(Mutex<Option<String>>);

impl Weekly {
    fn knows(&self, week: &str) -> bool {
        self.0.lock().is_ok_and(|known| known.as_deref() == Some(week))
    }

    fn note(&self, week: String) {
        if let Ok(mut known) = self.0.lock() {
            *known = Some(week);
        }
    }
}

/// What an agent cost a team in two weeks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentWeek {
    /// The agent; `None`: spans without one.
    pub agent: Option<String>,
    /// In the week.
    pub cost: Amount,
    /// In the week before.
    pub before: Amount,
}

/// A budget as it stood when the report was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetWeek {
    /// Its scope.
    pub scope: String,
    /// Its period.
    pub period: String,
    /// What is posted.
    pub posted: Amount,
    /// The limit.
    pub limit: Amount,
    /// Whole percent of the limit that are posted.
    pub percent: Option<u64>,
    /// What the period will have cost.
    pub forecast: Option<ForecastRow>,
}

/// The report of a team and week.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeeklyReport {
    /// The team.
    pub team: String,
    /// The ISO week, `2026-W47`.
    pub week: String,
    /// Its Monday.
    pub from: NaiveDate,
    /// The Monday after it.
    pub to: NaiveDate,
    /// The currency of the amounts.
    pub currency: Currency,
    /// What the team paid for in the week, before pools are shared out.
    pub cost: Amount,
    /// And in the week before.
    pub before: Amount,
    /// By agent, the dearest first, at most [`NAMED_AGENTS`].
    pub agents: Vec<AgentWeek>,
    /// All other agents.
    pub others: Option<AgentWeek>,
    /// The team's budgets.
    pub budgets: Vec<BudgetWeek>,
    /// Events of the week whose cost is not known.
    pub unpriced_events: u64,
    /// Tasks of the week that were anomalies.
    pub anomalous_tasks: u64,
    /// Days and task types of the week that were.
    pub anomalous_days: u64,
    /// When it was made, RFC 3339.
    pub at: String,
}

/// What one week cost a team, by agent, and its unpriced events.
#[derive(Default)]
struct Spent {
    agents: BTreeMap<Option<String>, Amount>,
    unpriced_events: u64,
}

fn last_night_key() -> Key {
    Key::new("state", "last-night")
}

fn overflow() -> Refusal {
    Refusal::computation("add up the costs of a week", "the sum overflows")
}

impl App {
    /// Notes that a night has ended.
    pub(crate) async fn note_night(&self) -> Result<(), Refusal> {
        self.books().write(vec![records::put(last_night_key(), &self.now_ns(), Expect::Any)?]).await?;
        Ok(())
    }

    /// When nights were last run to their end; `None`: never.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn last_night_ns(&self) -> Result<Option<i64>, Refusal> {
        Ok(records::get::<i64>(self.books(), &last_night_key()).await?.map(|(at_ns, _)| at_ns))
    }

    /// Makes the reports of the last week that is over, where they are due and not made.
    pub(crate) async fn report_week(&self, world: &World) -> Result<(), Refusal> {
        let calendar = world.history.calendar();
        let today = calendar.day_of(self.now_ns());
        let (monday, _) = PeriodKind::Week.days_around(today);
        let Some(from) = monday.checked_sub_days(Days::new(7)) else { return Ok(()) };
        let week = PeriodKind::Week.period_of(from);
        if self.weekly.knows(&week) {
            return Ok(());
        }
        let last_night = self.last_night_ns().await?;
        if last_night.is_none_or(|at_ns| at_ns < calendar.day_start_ns(monday)) {
            return Ok(());
        }
        let made = records::all::<String>(self.books(), REPORTS, &format!("{week}/")).await?;
        let made: BTreeSet<String> = made.into_iter().map(|(sort, _, _)| sort).collect();
        let organisation = &world.history.on(today).organisation;
        let is_due = |team: &String| !made.contains(&format!("{week}/{team}"));
        let due: Vec<String> = organisation.teams.keys().map(ToString::to_string).filter(is_due).collect();
        if !due.is_empty() {
            let range = DayRange { from, to: monday };
            for report in self.reports_of(organisation, (&due, &week), range).await? {
                self.keep_report(report).await?;
            }
            self.publish_alerts().await;
        }
        self.weekly.note(week);
        Ok(())
    }

    async fn keep_report(&self, report: WeeklyReport) -> Result<(), Refusal> {
        let key = Key::new(REPORTS, format!("{}/{}", report.week, report.team));
        let made = records::put(key, &report.at, Expect::Absent)?;
        let tell = outbox_put(&Tell::WeeklyReport { report: Box::new(report) })?;
        match self.books().write(vec![made, tell]).await {
            // Another process looked at the same time.
            Ok(()) | Err(WriteError::Conflict(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The reports of teams that have spent something in two weeks, or have a budget.
    async fn reports_of(
        &self,
        organisation: &Organisation,
        (teams, week): (&[String], &str),
        range: DayRange,
    ) -> Result<Vec<WeeklyReport>, Refusal> {
        let before = range.from.checked_sub_days(Days::new(7)).unwrap_or(range.from);
        let facts = self.facts_between(before, range.to).await?;
        let (mut now, mut then) = (BTreeMap::new(), BTreeMap::new());
        for (day, facts) in &facts {
            add_day(if *day < range.from { &mut then } else { &mut now }, facts).ok_or_else(overflow)?;
        }
        let budgets = self.budgets(&Principal::operator()).await?;
        let at = self.now_text();
        let mut reports = Vec::new();
        for team in teams {
            let own: Vec<BudgetWeek> =
                budgets.iter().filter(|row| team_of(&row.scope, organisation) == Some(team)).map(budget_week).collect();
            let (of_week, of_before) = (now.remove(team).unwrap_or_default(), then.remove(team).unwrap_or_default());
            if own.is_empty() && of_week.agents.is_empty() && of_before.agents.is_empty() {
                continue;
            }
            let found = self.found_of_team(range, Some(team)).await?;
            let count = |is: fn(&Found) -> bool| {
                u64::try_from(found.iter().filter(|(_, found)| is(found)).count()).unwrap_or(u64::MAX)
            };
            let (cost, before, mut agents) = by_agent(&of_week, &of_before).ok_or_else(overflow)?;
            let rest = agents.split_off(agents.len().min(NAMED_AGENTS));
            reports.push(WeeklyReport {
                team: team.clone(),
                week: week.to_owned(),
                from: range.from,
                to: range.to,
                currency: organisation.currency,
                cost,
                before,
                agents,
                others: others(&rest).ok_or_else(overflow)?,
                budgets: own,
                unpriced_events: of_week.unpriced_events,
                anomalous_tasks: count(|found| matches!(found, Found::Task(_))),
                anomalous_days: count(|found| matches!(found, Found::Day(_))),
                at: at.clone(),
            });
        }
        Ok(reports)
    }
}

fn add_day(teams: &mut BTreeMap<String, Spent>, facts: &DayFacts) -> Option<()> {
    for (key, value) in &facts.users {
        let Some(team) = &key.team else { continue };
        let agents = &mut teams.entry(team.to_string()).or_default().agents;
        let sum = agents.entry(key.agent.as_ref().map(ToString::to_string)).or_default();
        *sum = sum.checked_add(value.cost)?;
    }
    for (key, value) in facts.cells.iter().filter(|(key, _)| key.item == Item::Unpriced) {
        let Some(team) = &key.team else { continue };
        let spent = teams.entry(team.to_string()).or_default();
        spent.unpriced_events = spent.unpriced_events.saturating_add(value.events);
    }
    Some(())
}

fn budget_week(row: &BudgetRow) -> BudgetWeek {
    BudgetWeek {
        scope: row.scope.clone(),
        period: row.period.clone(),
        posted: row.posted,
        limit: row.limit,
        percent: row.percent,
        forecast: row.forecast,
    }
}

/// The cost of both weeks, and by agent, the dearest first.
fn by_agent(now: &Spent, then: &Spent) -> Option<(Amount, Amount, Vec<AgentWeek>)> {
    let names: BTreeSet<&Option<String>> = now.agents.keys().chain(then.agents.keys()).collect();
    let of = |spent: &Spent, name: &Option<String>| spent.agents.get(name).copied().unwrap_or_default();
    let mut agents: Vec<AgentWeek> = names
        .into_iter()
        .map(|name| AgentWeek { agent: name.clone(), cost: of(now, name), before: of(then, name) })
        .collect();
    // A stable sort: equally dear agents stay in order of their names.
    agents.sort_by_key(|one| std::cmp::Reverse((one.cost, one.before)));
    let sum = |spent: &Spent| Amount::checked_sum(spent.agents.values().copied());
    Some((sum(now)?, sum(then)?, agents))
}

fn others(rest: &[AgentWeek]) -> Option<Option<AgentWeek>> {
    if rest.is_empty() {
        return Some(None);
    }
    let cost = Amount::checked_sum(rest.iter().map(|agent| agent.cost))?;
    let before = Amount::checked_sum(rest.iter().map(|agent| agent.before))?;
    Some(Some(AgentWeek { agent: None, cost, before }))
}
