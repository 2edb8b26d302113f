//! What alerts of budgets, extensions and killed tasks say.

use recoup_budgets::PeriodKind;
use recoup_budgets::overrun::Cause;
use recoup_messages::{Action, Audience, Fact, Notice, Outcome, Severity, Table, grouped, one_line, when};
use recoup_model::Calendar;
use recoup_money::{Amount, Currency, div_half_even};
use recoup_store::Alert;
use serde_json::json;

use super::Tell;
use super::words::{alert_of, shell_word};
use crate::app::{App, World};
use crate::error::Refusal;
use crate::extensions::{Extension, ExtensionState};
use crate::overruns::CauseRow;
use crate::reviews::Review;
use crate::watch::{AlertRecord, AlertState};

/// Agents that a budget's alert names.
const TOP_AGENTS: usize = 3;

impl App {
    /// The alerts that tell of a budget, an extension or a task.
    pub(super) async fn budget_words(&self, tell: &Tell) -> Result<Vec<Alert>, Refusal> {
        let world = self.world().await?;
        let context = Context::of(&world, self.now_ns());
        let mut notice = match tell {
            Tell::BudgetTier { alert } => {
                let top = self.top_agents(alert).await;
                context.tier(alert, top)
            }
            Tell::BudgetEscalation { alert } => context.escalation(alert),
            Tell::AlertChanged { alert } => {
                let top = self.top_agents(alert).await;
                context.changed(alert, top)
            }
            Tell::ExtensionRequested { extension, team } => context.asked(extension, team.clone()),
            Tell::ExtensionDecided { extension, team } => context.decided(extension, team.clone()),
            Tell::TaskKilled { review } => context.killed(review),
            _ => return Ok(Vec::new()),
        };
        if let Tell::BudgetTier { alert } | Tell::BudgetEscalation { alert } | Tell::AlertChanged { alert } = tell {
            notice.facts.extend(self.forecast_facts(alert).await);
        }
        let own = context.attributes(tell);
        let mut alerts = vec![alert_of(&tell.id(), &notice, own.clone())];
        if let Some(kill) = context.kill(tell) {
            alerts.push(kill);
        }
        Ok(alerts)
    }

    /// What the agents of a budget have cost in its period, the dearest first. An alert goes out without them rather than not.
    async fn top_agents(&self, alert: &AlertRecord) -> Option<Table> {
        let rows = self.agents_of(alert).await.ok()?;
        let rows: Vec<Vec<String>> =
            rows.into_iter().take(TOP_AGENTS).map(|(agent, cost)| vec![agent, shown(cost, alert.currency)]).collect();
        let columns = vec!["Agent".to_owned(), "Cost".to_owned()];
        (!rows.is_empty()).then(|| Table { title: "Top agents".into(), columns, rows })
    }
}

struct Context {
    dashboard: Option<String>,
    calendar: Calendar,
    today: chrono::NaiveDate,
    currency: Currency,
}

impl Context {
    fn of(world: &World, now_ns: i64) -> Self {
        let calendar = world.history.calendar();
        let today = calendar.day_of(now_ns);
        let organisation = &world.history.on(today).organisation;
        let dashboard = organisation.alerts.dashboard_url.clone();
        Self { dashboard, calendar, today, currency: organisation.currency }
    }

    /// Whether an alert fired by what was reported after its period's end.
    fn is_late(&self, alert: &AlertRecord) -> bool {
        alert.is_late(self.calendar)
    }

    fn open(&self, label: &str, path: &str) -> Option<Action> {
        let url = format!("{}{path}", self.dashboard.as_deref()?);
        Some(Action::Open { label: label.to_owned(), url })
    }

    /// Days of the period after today.
    fn days_left(&self, alert: &AlertRecord) -> Option<i64> {
        let kind = PeriodKind::from_name(&alert.kind)?;
        let (_, end) = kind.days_around(self.today);
        (kind.period_of(self.today) == alert.period).then(|| end.signed_duration_since(self.today).num_days())
    }

    fn tier(&self, alert: &AlertRecord, top: Option<Table>) -> Notice {
        let AlertRecord { scope, period, tier, limit, posted, currency, .. } = alert;
        let severity = match tier {
            0..90 => Severity::Info,
            90..100 => Severity::Warning,
            100.. => Severity::Critical,
        };
        let percent = percent_of(*posted, *limit);
        let named = named(scope);
        let is_late = self.is_late(alert);
        let consequence = match tier {
            _ if is_late => " That period is over: this was reported after its end, and stops nothing.",
            100.. => " Work that is not declared critical is denied from now on.",
            0..100 => "",
        };
        let mut actions = Vec::new();
        if alert.needs_acknowledgement {
            actions.push(Action::Acknowledge);
        }
        if !is_late {
            actions.push(Action::RequestExtension);
        }
        actions.extend(self.open("Open dashboard", &format!("/?period={period}")));
        let mut audience = vec![Audience::Lead];
        if *tier >= 90 || alert.team.is_none() {
            audience.push(Audience::FinOps);
        }
        Notice {
            id: alert.id.clone(),
            kind: "budget-tier".into(),
            severity,
            title: format!("Budget at {tier}%: {named}, {period}{}", if is_late { " (ended)" } else { "" }),
            summary: format!(
                "The {named} has spent {} of {} in {period} ({percent}).{consequence}",
                shown(*posted, *currency),
                shown(*limit, *currency),
            ),
            facts: self.figures(alert, percent),
            table: top,
            next_steps: if is_late { late_steps(alert) } else { steps(alert) },
            actions,
            team: alert.team.clone(),
            audience,
            thread: Some(format!("budget-{scope}-{period}")),
            outcome: None,
            at: alert.fired_at.clone(),
        }
    }

    fn figures(&self, alert: &AlertRecord, percent: String) -> Vec<Fact> {
        let AlertRecord { limit, posted, currency, .. } = alert;
        let distance = |of: Amount, less: Amount| shown(of.checked_sub(less).unwrap_or_default(), *currency);
        let mut facts = vec![
            fact("Spent", shown(*posted, *currency)),
            fact("Budget", shown(*limit, *currency)),
            fact("Used", percent),
            if posted > limit {
                fact("Over by", distance(*posted, *limit))
            } else {
                fact("Left", distance(*limit, *posted))
            },
        ];
        facts.extend(alert.overrun.as_ref().map(|overrun| {
            let cause = |row: &CauseRow| format!("{} {}", shown(row.amount, *currency), cause_words(row.cause));
            fact("Over because", overrun.causes.iter().map(cause).collect::<Vec<_>>().join(", "))
        }));
        facts.extend(self.days_left(alert).map(|days| fact("Days left", days.to_string())));
        facts
    }

    fn escalation(&self, alert: &AlertRecord) -> Notice {
        let base = self.tier(alert, None);
        Notice {
            id: format!("{}-escalated", alert.id),
            kind: "budget-escalation".into(),
            severity: Severity::Critical,
            title: format!("Not acknowledged: {}", base.title),
            summary: format!("Nobody has acknowledged this since {}. {}", when(&alert.fired_at), base.summary),
            // The button is that of the alert itself.
            actions: base.actions.iter().filter(|action| matches!(action, Action::Open { .. })).cloned().collect(),
            next_steps: vec![format!("Acknowledge it, or ask the team's lead to: `recoup alerts ack {}`", alert.id)],
            audience: vec![Audience::Lead, Audience::FinOps],
            ..base
        }
    }

    /// The alert itself, with what was done about it.
    fn changed(&self, alert: &AlertRecord, top: Option<Table>) -> Notice {
        let base = self.tier(alert, top);
        let outcome = match alert.state {
            AlertState::Resolved => Outcome {
                what: format!("Resolved: {}", alert.resolution.as_deref().unwrap_or("it is over")),
                at: alert.resolved_at.clone().unwrap_or_default(),
            },
            AlertState::Fired | AlertState::Acknowledged => Outcome {
                what: format!("Acknowledged by {}", alert.acknowledged_by.as_deref().unwrap_or("somebody")),
                at: alert.acknowledged_at.clone().unwrap_or_default(),
            },
        };
        let mut actions = base.actions.clone();
        // Where that is over, more is asked for at the alert that stands.
        actions.retain(|action| alert.state != AlertState::Resolved || matches!(action, Action::Open { .. }));
        Notice { kind: "budget-tier-changed".into(), outcome: Some(outcome), actions, ..base }
    }

    fn asked(&self, extension: &Extension, team: Option<String>) -> Notice {
        let Extension { id, scope, period, amount, reason, requested_by, requested_at, .. } = extension;
        let amount = shown(*amount, self.currency);
        let (named, reason) = (named(scope), one_line(reason));
        Notice {
            id: id.clone(),
            kind: "extension-requested".into(),
            severity: Severity::Warning,
            title: format!("{amount} more asked for: {named}, {period}"),
            summary: format!("{requested_by} asks for {amount} more for the {named} in {period}: {reason}"),
            facts: vec![
                fact("Budget", format!("{named}, {period}")),
                fact("More", amount),
                fact("Asked for by", requested_by.clone()),
                fact("Reason", reason),
            ],
            table: None,
            next_steps: vec![format!(
                "Somebody other than the one who asks decides: `recoup budgets approve {id}` or `recoup budgets decline {id}`"
            )],
            actions: vec![Action::Approve, Action::Decline],
            team,
            audience: vec![Audience::FinOps],
            thread: Some(format!("budget-{scope}-{period}")),
            outcome: None,
            at: requested_at.clone(),
        }
    }

    fn decided(&self, extension: &Extension, team: Option<String>) -> Notice {
        let by = extension.decided_by.as_deref().unwrap_or("somebody");
        let what = match extension.state {
            ExtensionState::Approved => format!("Approved by {by}"),
            ExtensionState::Declined => format!("Declined by {by}"),
            ExtensionState::Pending => "Pending".to_owned(),
        };
        let base = self.asked(extension, team);
        Notice {
            kind: "extension-decided".into(),
            severity: Severity::Info,
            summary: format!("{what}. {}", base.summary),
            next_steps: Vec::new(),
            actions: Vec::new(),
            audience: vec![Audience::Lead, Audience::FinOps],
            outcome: Some(Outcome { what, at: extension.decided_at.clone().unwrap_or_default() }),
            ..base
        }
    }

    fn killed(&self, review: &Review) -> Notice {
        let Review { task, task_type, agent, team, cap, committed, estimate, at, .. } = review;
        let estimate = estimate.unwrap_or_default();
        let mut facts = vec![
            fact("Task", task.clone()),
            fact("Cap", shown(*cap, self.currency)),
            fact("Cost so far", shown(*committed, self.currency)),
            fact("Asked for", shown(estimate, self.currency)),
        ];
        facts.extend(agent.as_ref().map(|agent| fact("Agent", agent.clone())));
        facts.extend(task_type.as_ref().map(|task_type| fact("Task type", task_type.clone())));
        Notice {
            id: Tell::TaskKilled { review: review.clone() }.id(),
            kind: "task-killed".into(),
            severity: Severity::Warning,
            title: format!("Task stopped at its cap: {task}"),
            summary: format!(
                "The task {task} has cost {} and asked for {} more; its cap is {}.",
                shown(*committed, self.currency),
                shown(estimate, self.currency),
                shown(*cap, self.currency),
            ),
            facts,
            table: None,
            next_steps: vec![
                format!("Let it go on: `recoup reviews resume {} --note WORDS`", shell_word(task)),
                format!("Leave it stopped: `recoup reviews stop {} --note WORDS`", shell_word(task)),
            ],
            actions: self.open("Open review list", "/reviews").into_iter().collect(),
            team: team.clone(),
            audience: if team.is_some() { vec![Audience::Lead] } else { vec![Audience::FinOps] },
            thread: None,
            outcome: None,
            at: at.clone(),
        }
    }

    /// What subscriptions filter by, besides kind and severity.
    fn attributes(&self, tell: &Tell) -> Vec<(&'static str, String)> {
        let mut own = Vec::new();
        match tell {
            Tell::BudgetTier { alert } | Tell::BudgetEscalation { alert } | Tell::AlertChanged { alert } => {
                own.push(("scope", alert.scope.clone()));
                own.push(("period", alert.period.clone()));
                own.push(("threshold", alert.tier.to_string()));
                own.extend(alert.team.clone().map(|team| ("team", team)));
            }
            Tell::ExtensionRequested { extension, team } | Tell::ExtensionDecided { extension, team } => {
                own.push(("scope", extension.scope.clone()));
                own.push(("period", extension.period.clone()));
                own.extend(team.clone().map(|team| ("team", team)));
            }
            Tell::TaskKilled { review } => own.extend(review.team.clone().map(|team| ("team", team))),
            _ => {}
        }
        own
    }

    /// What runtimes obey: a budget is used up, or a task has to stop.
    fn kill(&self, tell: &Tell) -> Option<Alert> {
        let (target, reason, at) = match tell {
            // What is late for a period that is over has nothing to stop.
            Tell::BudgetTier { alert } if alert.tier >= 100 && !self.is_late(alert) => {
                (alert.scope.clone(), "kill-switch", &alert.fired_at)
            }
            Tell::TaskKilled { review } => (format!("task:{}", review.task), "task-cap", &review.at),
            _ => return None,
        };
        let id = format!("kill-{}", tell.id());
        let own: Vec<(&str, String)> = self.attributes(tell);
        let text = format!("Stop work that counts for {target} and is not critical: {reason}, {at}.");
        let known =
            json!({ "version": 1, "target": target, "reason": reason, "critical_may_continue": true, "at": at });
        Some(super::words::machine_alert("kill", (&id, Severity::Critical), (&text, known), own))
    }
}

/// What a cause of an overrun is called.
const fn cause_words(cause: Cause) -> &'static str {
    match cause {
        Cause::NotAsked => "that did not ask",
        Cause::AboveEstimate => "above its estimate",
        Cause::ReportedLate => "reported after its reservation had ended",
        Cause::Admitted => "that was admitted (a lower limit, another price, or a reservation used again)",
        Cause::Critical => "of critical work",
    }
}

pub(super) fn fact(label: &str, value: String) -> Fact {
    Fact { label: label.to_owned(), value }
}

/// What to do at a tier.
fn steps(alert: &AlertRecord) -> Vec<String> {
    let acknowledge = format!("`recoup alerts ack {}`", alert.id);
    let extend = format!("`recoup budgets extend {} --amount AMOUNT --reason WORDS`", shell_word(&alert.scope));
    match alert.tier {
        100.. => vec![
            format!("Ask for an extension, or wait for the next {}: {extend}", alert.kind),
            format!("Acknowledge this alert: {acknowledge}"),
        ],
        90..100 => vec![
            format!("Acknowledge this alert, or it is escalated: {acknowledge}"),
            format!("If more is needed this {}, ask for it in time: {extend}", alert.kind),
        ],
        0..90 => vec!["Nothing has to be done yet. At 100% work that is not declared critical is denied.".to_owned()],
    }
}

/// What to do where the period is over.
fn late_steps(alert: &AlertRecord) -> Vec<String> {
    let mut steps = vec![format!(
        "See what came late: `recoup costs --by team,agent`, and whether the limit of the running {} is enough",
        alert.kind
    )];
    if alert.needs_acknowledgement {
        steps.push(format!("Acknowledge this alert, or it is escalated: `recoup alerts ack {}`", alert.id));
    }
    steps
}

/// `team support` for `team:support`.
fn named(scope: &str) -> String {
    scope.split_once(':').map_or_else(|| scope.to_owned(), |(kind, name)| format!("{kind} {name}"))
}

/// An amount in the minor unit of its currency.
pub(super) fn shown(amount: Amount, currency: Currency) -> String {
    let units = div_half_even(amount.pico(), currency.minor_unit_pico());
    units.map_or_else(
        || format!("{amount} {currency}"),
        |units| format!("{} {currency}", grouped(&currency.format_minor(units))),
    )
}

fn percent_of(posted: Amount, limit: Amount) -> String {
    let percent = posted.pico().checked_mul(100).and_then(|hundred| hundred.checked_div(limit.pico()));
    percent.map_or_else(|| "more than can be counted".to_owned(), |percent| format!("{percent}%"))
}
