//! `recoup runs`: nights and closes that ran.

use clap::Args;
use serde_json::Value;

use super::Desk;
use super::range::at_least_one;
use crate::api::Ask;
use crate::failure::{Failure, Verdict};
use crate::table::{Column, Grid, field, moment, plain};

/// Runs that are read at most; the newest of them are shown.
const RUNS_MAX: usize = 100_000;

/// Lists nights and closes, the newest last, or shows what one of them did.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  recoup runs               the newest 20, the last one at the end
  recoup runs RUN --json    all that one of them found and changed")]
pub(crate) struct Runs {
    /// One run, by its name
    run: Option<String>,
    /// Runs shown at most, the newest ones
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = at_least_one())]
    limit: usize,
}

impl Runs {
    /// Runs the verb.
    pub(crate) async fn run(&self, desk: &Desk) -> Result<Verdict, Failure> {
        let mut found = match &self.run {
            Some(run) => {
                let answer = desk.api.ask(Ask::get(&["v1", "runs", run])).await?;
                if desk.screen.json() {
                    desk.screen.document(&answer.bytes)?;
                    return Ok(Verdict::Yes);
                }
                crate::api::Rows { rows: vec![answer.json()?], ..crate::api::Rows::default() }
            }
            None => desk.api.rows(Ask::get(&["v1", "runs"]), RUNS_MAX).await?,
        };
        let older = found.rows.len().saturating_sub(self.limit);
        found.rows.drain(..older);
        if desk.screen.json() {
            desk.screen.document(found.to_json().to_string().as_bytes())?;
        } else if found.rows.is_empty() {
            desk.screen.line("nothing has run yet; `recoup nightly` runs the nights")?;
        } else {
            desk.screen.table(&grid(&found.rows))?;
        }
        Ok(Verdict::Yes)
    }
}

fn grid(runs: &[Value]) -> Grid {
    let mut grid = Grid::new([
        Column::Name("run"),
        Column::Name("kind"),
        Column::Name("state"),
        Column::Name("started"),
        Column::Name("finished"),
        Column::Prose("outcome"),
    ]);
    for run in runs {
        let text = |name| field(run, name);
        let (started, finished) = (moment(&text("started_at")), moment(&text("finished_at")));
        grid.row([text("run"), text("kind"), text("state"), started, finished, outcome(run)]);
    }
    grid
}

fn outcome(run: &Value) -> String {
    if let Some(error) = run.get("error").filter(|error| !error.is_null()) {
        return plain(error);
    }
    let Some(outcome) = run.get("outcome").filter(|outcome| !outcome.is_null()) else { return field(run, "doing") };
    match outcome.get("days").and_then(Value::as_array) {
        Some(days) => format!("{} days", days.len()),
        None => format!("{}: {}", field(outcome, "period"), field(outcome, "detail")),
    }
}
