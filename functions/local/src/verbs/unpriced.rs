//! `recoup unpriced`: usage without a price.

use clap::Args;

use super::Desk;
use super::range::{Days, Limit};
use crate::api::Ask;
use crate::failure::{Failure, Verdict};
use crate::table::{Column, Grid, field};

/// Lists usage that has no price yet. It is kept and counted, never taken as free; once a price is there, the nights it
/// touches run again.
#[derive(Debug, Args)]
#[command(after_help = "\
Such usage is kept and counted, never taken as free; once a price is there, the
nights that it touches run again. Without days: the last 31.

Examples:
  recoup unpriced --month 2026-10
  recoup prices import prices.json --source LiteLLM && recoup nightly")]
pub(crate) struct Unpriced {
    #[command(flatten)]
    days: Days,
    #[command(flatten)]
    limit: Limit,
}

impl Unpriced {
    /// Runs the verb.
    pub(crate) async fn run(&self, desk: &Desk) -> Result<Verdict, Failure> {
        let found = desk.api.rows(self.days.of(Ask::get(&["v1", "unpriced"])), self.limit.limit).await?;
        if desk.screen.json() {
            desk.screen.document(found.to_json().to_string().as_bytes())?;
            return Ok(Verdict::Yes);
        }
        if found.rows.is_empty() {
            desk.screen.line(if self.days.is_stated() {
                "everything in these days has a price"
            } else {
                "everything of the last 31 days has a price; ask for others with --month or --from"
            })?;
            return Ok(Verdict::Yes);
        }
        const NAMES: [&str; 7] = ["day", "team", "agent", "task_type", "kind", "provider", "model"];
        let columns = NAMES.map(Column::Name).into_iter().chain(["events", "quantity"].map(Column::Figure));
        let mut grid = Grid::new(columns.collect::<Vec<_>>());
        for row in &found.rows {
            grid.row(NAMES.iter().chain(&["events", "quantity"]).map(|name| field(row, name)).collect::<Vec<_>>());
        }
        desk.screen.table(&grid)?;
        if found.more {
            desk.screen.line(self.limit.hint())?;
        }
        desk.screen.line(format!("\n{} events have no price", field(&found.total, "events")))?;
        Ok(Verdict::Yes)
    }
}
