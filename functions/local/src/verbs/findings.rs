//! `recoup findings`: what a person should look at.

use clap::Args;
use serde_json::Value;

use super::Desk;
use super::close::{add_finding, findings_grid};
use super::range::{Days, Limit};
use crate::api::Ask;
use crate::failure::{Failure, Verdict};
use crate::table::{Column, Grid, plain};

/// Lists findings: conflicts, unknown teams, orphans, unpriced usage and whatever else a person should look at. A finding
/// never changes a figure.
#[derive(Debug, Args)]
#[command(after_help = "\
A finding never changes a figure. Without days: the last 31.

Examples:
  recoup findings --month 2026-10 --counts
  recoup findings --month 2026-10 --kind unattributed")]
pub(crate) struct Findings {
    #[command(flatten)]
    days: Days,
    /// Only this kind, such as conflict, unpriced, unattributed, unknown_team, orphan
    #[arg(long)]
    kind: Option<String>,
    /// Only count them
    #[arg(long)]
    counts: bool,
    #[command(flatten)]
    limit: Limit,
}

impl Findings {
    /// Runs the verb.
    pub(crate) async fn run(&self, desk: &Desk) -> Result<Verdict, Failure> {
        let ask = self.days.of(Ask::get(&["v1", "findings"])).with_some("kind", self.kind.as_ref());
        let found = desk.api.rows(ask, self.limit.limit).await?;
        if desk.screen.json() {
            desk.screen.document(found.to_json().to_string().as_bytes())?;
            return Ok(Verdict::Yes);
        }
        if !self.counts && !found.rows.is_empty() {
            let mut grid = findings_grid();
            found.rows.iter().for_each(|row| add_finding(&mut grid, row));
            desk.screen.table(&grid)?;
            if found.more {
                desk.screen.line(self.limit.hint())?;
            }
            desk.screen.line("")?;
        }
        match counts_grid(&found.total) {
            grid if grid.is_empty() => desk.screen.line("no findings in these days")?,
            grid => desk.screen.table(&grid)?,
        }
        Ok(Verdict::Yes)
    }
}

/// How many findings of each kind.
pub(crate) fn counts_grid(counts: &Value) -> Grid {
    let mut grid = Grid::new([Column::Name("kind"), Column::Figure("findings")]);
    for (kind, count) in counts.as_object().into_iter().flatten() {
        grid.row([kind.clone(), plain(count)]);
    }
    grid
}
