//! `recoup budgets`: what is left of each budget, its limit, and requests for more.

mod extensions;
mod set;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::Desk;
use super::range::Limit;
use crate::api::Ask;
use crate::failure::{Failure, Verdict};
use crate::table::{Column, Grid, field};

/// Letters of the bar that shows how far a budget is used.
const BAR: usize = 20;

/// Lists every budget with what was posted to it and reserved in the month, week or day that it is now; sets limits, asks for
/// more, and decides about that.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
What is posted is the cost of the events that have arrived, also of traces that
are still going on; the team is the one that pays for the trace once its root is
known. Reserved is what `recoup authorize` let in and nobody has reported yet.
A reached tier is marked with *. Where more was posted than the limit, a line
below says why: not-asked, above-estimate, reported-late, critical, or admitted
(before a limit was lowered, say). More for one period is asked for by one
person and approved by another, each with a key made with --person.

Examples:
  recoup budgets
  recoup --json budgets | jq '.rows[] | select(.percent >= 90) | .scope'
  recoup budgets set team:support --limit 4000 --tiers 70,90,100
  recoup budgets set team:support --limit 3000 --effective today
  recoup budgets extensions --state pending
  recoup --server URL --key ANAS_KEY budgets extend team:support \\
      --amount 500 --reason \"the launch\"
  recoup --server URL --key FINNS_KEY budgets approve ext_0a1b2c3d4e5f6071"
)]
pub(crate) struct Budgets {
    #[command(flatten)]
    limit: Limit,
    /// What to do.
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Set the limit of a budget, or make one, in a new version of the organisation file
    Set(set::Set),
    /// Ask for more in the period that it is now
    Extend(extensions::Extend),
    /// List who asked for more, and what became of it
    Extensions(extensions::Extensions),
    /// Approve a request for more, not one's own
    Approve(extensions::Decide),
    /// Decline a request for more, not one's own
    Decline(extensions::Decide),
}

fn bar(percent: u64) -> String {
    let filled = usize::try_from(percent).unwrap_or(usize::MAX).saturating_mul(BAR).div_euclid(100).min(BAR);
    format!("{}{}", "#".repeat(filled), ".".repeat(BAR.saturating_sub(filled)))
}

fn tiers(row: &Value) -> String {
    let tiers = row.get("tiers").and_then(Value::as_array).into_iter().flatten();
    let named = tiers.map(|tier| {
        let mark = if tier.get("reached").and_then(Value::as_bool) == Some(true) { "*" } else { "" };
        format!("{}{mark}", field(tier, "percent"))
    });
    named.collect::<Vec<_>>().join(" ")
}

/// What is to be expected at the end of the period, where that is known.
fn forecast(row: &Value) -> String {
    match row.get("forecast") {
        Some(Value::Object(fields)) => fields.get("expected").map(crate::table::plain).unwrap_or_default(),
        Some(other) => crate::table::plain(other),
        None => String::new(),
    }
}

/// Why a budget is overrun; `None`: it is not.
fn overrun(row: &Value) -> Option<String> {
    let overrun = row.get("overrun").filter(|overrun| overrun.is_object())?;
    let causes = overrun.get("causes").and_then(Value::as_array).into_iter().flatten();
    let causes: Vec<String> = causes.map(|one| format!("{} {}", field(one, "amount"), field(one, "cause"))).collect();
    let [scope, period, currency] = ["scope", "period", "currency"].map(|name| field(row, name));
    Some(format!("{scope} is over in {period} by {} {currency}: {}", field(overrun, "amount"), causes.join(", ")))
}

impl Budgets {
    /// Runs the verb.
    pub(crate) async fn run(&self, desk: &Desk) -> Result<Verdict, Failure> {
        match &self.command {
            None => self.list(desk).await?,
            Some(Command::Set(set)) => set.run(desk).await?,
            Some(Command::Extend(extend)) => extend.run(desk).await?,
            Some(Command::Extensions(extensions)) => extensions.run(desk).await?,
            Some(Command::Approve(decide)) => decide.run(desk, true).await?,
            Some(Command::Decline(decide)) => decide.run(desk, false).await?,
        }
        Ok(Verdict::Yes)
    }

    async fn list(&self, desk: &Desk) -> Result<(), Failure> {
        let found = desk.api.rows(Ask::get(&["v1", "budgets"]), self.limit.limit).await?;
        if desk.screen.json() {
            return desk.screen.document(found.to_json().to_string().as_bytes());
        }
        if found.rows.is_empty() {
            return desk
                .screen
                .line("there is no budget; make one with `recoup budgets set organisation --limit 4000`");
        }
        desk.screen.table(&grid(&found.rows))?;
        for line in found.rows.iter().filter_map(overrun) {
            desk.screen.line(&line)?;
        }
        if found.more { desk.screen.line(self.limit.hint()) } else { Ok(()) }
    }
}

fn grid(rows: &[Value]) -> Grid {
    let mut grid = Grid::new([
        Column::Name("scope"),
        Column::Name("period"),
        Column::Figure("limit"),
        Column::Figure("posted"),
        Column::Figure("reserved"),
        Column::Figure("left"),
        Column::Figure("%"),
        Column::Name("used"),
        Column::Name("tiers"),
        Column::Figure("forecast"),
    ]);
    for row in rows {
        let percent = row.get("percent").and_then(Value::as_u64);
        grid.row([
            field(row, "scope"),
            field(row, "period"),
            field(row, "limit"),
            field(row, "posted"),
            field(row, "reserved"),
            field(row, "remaining"),
            percent.map_or_else(String::new, |percent| percent.to_string()),
            bar(percent.unwrap_or(u64::MAX)),
            tiers(row),
            forecast(row),
        ]);
    }
    grid
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{bar, forecast, grid, overrun};

    #[test]
    fn bud_2_the_bar_is_full_at_the_limit_and_beyond() {
        assert_eq!(bar(0), "....................");
        assert_eq!(bar(72), "##############......");
        assert_eq!(bar(100), "####################");
        assert_eq!(bar(u64::MAX), "####################");
    }

    #[test]
    fn bud_3_an_overrun_is_told_with_its_causes() {
        assert_eq!(overrun(&json!({ "overrun": null })), None);
        let causes = json!([{ "cause": "not-asked", "amount": "0.19" }, { "cause": "critical", "amount": "0.01" }]);
        let row = json!({ "scope": "team:a", "period": "2026-11", "currency": "USD",
            "overrun": { "amount": "0.2", "causes": causes } });
        let told = overrun(&row);
        assert_eq!(told.as_deref(), Some("team:a is over in 2026-11 by 0.2 USD: 0.19 not-asked, 0.01 critical"));
    }

    #[test]
    fn ano_4_a_forecast_is_shown_where_there_is_one() {
        assert_eq!(forecast(&json!({})), "");
        assert_eq!(forecast(&json!({ "forecast": null })), "");
        assert_eq!(forecast(&json!({ "forecast": { "expected": "3100", "low": "2900" } })), "3100");
        let row = json!({ "scope": "organisation", "limit": "10", "posted": "1", "reserved": "2", "remaining": "7" });
        let text = grid(&[row]).render(None);
        assert!(text.contains("reserved") && !text.contains("forecast"), "{text}");
    }
}
