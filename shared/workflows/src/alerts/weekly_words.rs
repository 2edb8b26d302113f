//! What the weekly report of a team says.

use recoup_messages::{Audience, Notice, Severity, Table};
use recoup_money::{Amount, div_half_even};
use recoup_store::Alert;

use super::anomaly_words::facts_of_forecast;
use super::budget_words::{fact, shown};
use super::words::alert_of;
use crate::app::App;
use crate::error::Refusal;
use crate::weekly::{AgentWeek, WeeklyReport};

impl App {
    /// The alert that carries a report.
    pub(super) async fn weekly_words(&self, id: &str, report: &WeeklyReport) -> Result<Vec<Alert>, Refusal> {
        let dashboard = self.organisation_today().await?.alerts.dashboard_url.clone();
        let mut notice = notice_of(id, report);
        let open = |url: String| recoup_messages::Action::Open {
            label: "Open dashboard".into(),
            url: format!("{url}/?from={}&to={}", report.from, report.to),
        };
        notice.actions.extend(dashboard.map(open));
        let own = vec![("team", report.team.clone()), ("period", report.week.clone())];
        Ok(vec![alert_of(id, &notice, own)])
    }
}

fn notice_of(id: &str, report: &WeeklyReport) -> Notice {
    let WeeklyReport { team, week, from, to, currency, cost, before, .. } = report;
    let mut facts = vec![
        fact("Cost", shown(*cost, *currency)),
        fact("Week before", shown(*before, *currency)),
        fact("Change", change(*cost, *before)),
    ];
    for budget in &report.budgets {
        let percent = budget.percent.map_or_else(|| "more than can be counted".to_owned(), |used| format!("{used}%"));
        let (posted, limit) = (shown(budget.posted, *currency), shown(budget.limit, *currency));
        facts.push(fact(
            &format!("Budget {}", budget.scope),
            format!("{posted} of {limit}, {percent}, {}", budget.period),
        ));
        let forecast = budget.forecast.iter().flat_map(|forecast| facts_of_forecast(forecast, *currency));
        facts.extend(forecast.map(|of| fact(&format!("{} {}", of.label, budget.scope), of.value)));
    }
    facts.push(fact("Unpriced events", report.unpriced_events.to_string()));
    facts.push(fact("Anomalies", format!("{} tasks, {} days", report.anomalous_tasks, report.anomalous_days)));
    let mut next_steps =
        vec![format!("See what it was spent on: recoup costs --from {from} --to {to} --by agent,model")];
    if report.unpriced_events > 0 {
        next_steps.push(format!("See what has no price: recoup unpriced --from {from} --to {to}"));
    }
    Notice {
        id: id.to_owned(),
        kind: "weekly-report".into(),
        severity: Severity::Info,
        title: format!("{team}, week {week}: {} ({})", shown(*cost, *currency), change(*cost, *before)),
        summary: format!(
            "{team} has spent {} from {from} to {to} (excluded), {} in the week before. It informs; nothing is booked.",
            shown(*cost, *currency),
            shown(*before, *currency),
        ),
        facts,
        table: Some(agents(report)),
        next_steps,
        actions: Vec::new(),
        team: Some(team.clone()),
        audience: vec![Audience::Lead],
        thread: None,
        outcome: None,
        at: report.at.clone(),
    }
}

fn agents(report: &WeeklyReport) -> Table {
    let row = |name: String, agent: &AgentWeek| {
        let [cost, before] = [agent.cost, agent.before].map(|amount| shown(amount, report.currency));
        vec![name, cost, before, change(agent.cost, agent.before)]
    };
    let named = |agent: &AgentWeek| row(agent.agent.clone().unwrap_or_else(|| "no agent".to_owned()), agent);
    let others = report.others.as_ref().map(|others| row("all others".to_owned(), others));
    Table {
        title: "Cost by agent".into(),
        columns: ["Agent", "Cost", "Week before", "Change"].map(str::to_owned).into(),
        rows: report.agents.iter().map(named).chain(others).collect(),
    }
}

/// The change from one amount to another, in whole percent.
fn change(now: Amount, before: Amount) -> String {
    let more = now.checked_sub(before).and_then(|more| more.pico().checked_mul(100));
    match more.filter(|_| before.pico() > 0).and_then(|more| div_half_even(more, before.pico())) {
        Some(percent) => format!("{percent:+}%"),
        None if now == before => "+0%".to_owned(),
        None => "new".to_owned(),
    }
}
