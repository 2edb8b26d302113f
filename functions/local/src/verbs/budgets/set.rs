//! `recoup budgets set`: a limit, as a new version of the organisation file.

use clap::{Args, ValueEnum};
use serde_json::json;

use super::super::Desk;
use super::super::apply::Applied;
use crate::api::Ask;
use crate::failure::Failure;

/// Sets the limit of a budget, or makes one: its entry in the organisation file is changed or added, and the file is applied
/// as a new version. Comments and order of the file stay.
#[derive(Debug, Args)]
#[command(after_help = "\
The entry in the organisation file is changed or added, and the file is applied
as a new version from --effective on, never inside a closed period: there is no
limit beside the file. What is not given stays as it is. Role: finance or admin.

Examples:
  recoup budgets set team:support --limit 4000 --period month --tiers 70,90,100
  recoup budgets set agent:triage --limit 50 --period day --effective today
  recoup budgets set organisation --limit 90000 --dry-run")]
pub(super) struct Set {
    /// organisation, or team: project: agent: user: task: and an id
    scope: String,
    /// The limit, in the organisation's currency
    #[arg(long, value_name = "AMOUNT")]
    limit: String,
    /// For each
    #[arg(long, value_name = "PERIOD", default_value = "month")]
    period: Period,
    /// Percentages at which somebody is told [default: as they are; for a new budget 70,90,100]
    #[arg(long, value_name = "PERCENT", value_delimiter = ',')]
    tiers: Option<Vec<u32>>,
    /// What work that is not critical is told while the budget cannot be read [default: as it is; for a new budget deny]
    #[arg(long, value_name = "ANSWER")]
    unavailable: Option<Answer>,
    /// First local day on which it holds, or today [default: tomorrow]
    #[arg(long, value_name = "DAY")]
    effective: Option<String>,
    /// Only show what would change
    #[arg(long)]
    dry_run: bool,
}

/// A kind of period.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Period {
    Month,
    Week,
    Day,
}

impl Period {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Month => "month",
            Self::Week => "week",
            Self::Day => "day",
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Answer {
    Deny,
    Allow,
}

impl Answer {
    const fn name(self) -> &'static str {
        match self {
            Self::Deny => "deny",
            Self::Allow => "allow",
        }
    }
}

impl Set {
    pub(super) async fn run(&self, desk: &Desk) -> Result<(), Failure> {
        let body = json!({
            "scope": self.scope, "limit": self.limit, "period": self.period.name(), "tiers": self.tiers,
            "unavailable": self.unavailable.map(Answer::name),
        });
        let ask = Ask::post_json(&["v1", "budgets"], &body).with_some("effective", self.effective.as_ref());
        let answer = desk.api.ask(ask.with("dry_run", self.dry_run)).await?;
        if desk.screen.json() {
            return desk.screen.document(&answer.bytes);
        }
        let applied: Applied = answer.read()?;
        for change in &applied.changes {
            desk.screen.line(change.line())?;
        }
        let since = applied.since();
        desk.screen.line(match (applied.changes.is_empty(), self.dry_run) {
            (true, _) => "nothing changes".to_owned(),
            (false, true) => format!("would be {since}; nothing was written"),
            (false, false) => format!("applied: {since}"),
        })?;
        applied.notices.iter().try_for_each(|notice| desk.screen.note(notice))
    }
}
