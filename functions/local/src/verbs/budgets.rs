//! `recoup budgets`: what is posted to each budget in the period that it is now.

use clap::Args;
use serde_json::Value;

use super::Desk;
use super::range::Limit;
use crate::api::Ask;
use crate::failure::{Failure, Verdict};
use crate::table::{Column, Grid, field};

/// Letters of the bar that shows how far a budget is used.
const BAR: usize = 20;

/// Lists every budget with what was posted to it in the month, week or day that it is now.
#[derive(Debug, Args)]
#[command(after_help = "\
What is posted is the cost of the events that have arrived, also of traces that
are still going on; the team is the one that pays for the trace once its root is
known. A reached tier is marked with *.

Examples:
  recoup budgets
  recoup --json budgets | jq '.rows[] | select(.percent >= 90) | .scope'")]
pub(crate) struct Budgets {
    #[command(flatten)]
    limit: Limit,
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

impl Budgets {
    /// Runs the verb.
    pub(crate) async fn run(&self, desk: &Desk) -> Result<Verdict, Failure> {
        let found = desk.api.rows(Ask::get(&["v1", "budgets"]), self.limit.limit).await?;
        if desk.screen.json() {
            desk.screen.document(found.to_json().to_string().as_bytes())?;
            return Ok(Verdict::Yes);
        }
        if found.rows.is_empty() {
            desk.screen.line("the organisation file has no [[budgets]]")?;
            return Ok(Verdict::Yes);
        }
        let columns = [
            Column::Name("scope"),
            Column::Name("period"),
            Column::Figure("limit"),
            Column::Figure("posted"),
            Column::Figure("left"),
            Column::Figure("%"),
            Column::Name("used"),
            Column::Name("tiers"),
        ];
        let mut grid = Grid::new(columns.to_vec());
        for row in &found.rows {
            let percent = row.get("percent").and_then(Value::as_u64);
            grid.row([
                field(row, "scope"),
                field(row, "period"),
                field(row, "limit"),
                field(row, "posted"),
                field(row, "remaining"),
                percent.map_or_else(String::new, |percent| percent.to_string()),
                bar(percent.unwrap_or(u64::MAX)),
                tiers(row),
            ]);
        }
        desk.screen.table(&grid)?;
        if found.more {
            desk.screen.line(self.limit.hint())?;
        }
        Ok(Verdict::Yes)
    }
}

#[cfg(test)]
mod tests {
    use super::bar;

    #[test]
    fn bud_2_the_bar_is_full_at_the_limit_and_beyond() {
        assert_eq!(bar(0), "....................");
        assert_eq!(bar(72), "##############......");
        assert_eq!(bar(100), "####################");
        assert_eq!(bar(u64::MAX), "####################");
    }
}
