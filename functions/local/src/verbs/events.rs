//! `recoup events`: a team's own raw events.

use clap::Args;
use serde_json::Value;

use super::Desk;
use super::range::{Days, Limit};
use crate::api::Ask;
use crate::failure::{Failure, Verdict};
use crate::table::{Column, Grid, field, money_field};

/// Lists the raw events that a team pays for, in order of time, with what each one cost.
#[derive(Debug, Args)]
#[command(after_help = "\
In order of time, each with what it cost. Without days: the last 31.

Examples:
  recoup events --team support --from 2026-10-01 --to 2026-10-02
  recoup events --team support --month 2026-10 --limit 1000000 --json")]
pub(crate) struct Events {
    /// The team that pays [default: every team]
    #[arg(long)]
    team: Option<String>,
    #[command(flatten)]
    days: Days,
    #[command(flatten)]
    limit: Limit,
}

impl Events {
    /// Runs the verb.
    pub(crate) async fn run(&self, desk: &Desk) -> Result<Verdict, Failure> {
        let ask = self.days.of(Ask::get(&["v1", "events"])).with_some("team", self.team.as_ref());
        desk.list(ask, self.limit, "no events in these days", grid).await?;
        Ok(Verdict::Yes)
    }
}

fn grid(rows: &[Value]) -> Grid {
    let mut grid = Grid::new([
        Column::Name("used at"),
        Column::Name("trace"),
        Column::Name("event"),
        Column::Name("kind"),
        Column::Name("agent"),
        Column::Name("model or sku"),
        Column::Figure("cost"),
        Column::Name(""),
    ]);
    for row in rows {
        let of = |pointer: &str| row.pointer(pointer).map(crate::table::plain).unwrap_or_default();
        let model = field(row, "model");
        let counts = row.pointer("/recoup/counts").and_then(Value::as_bool) != Some(false);
        let unpriced = of("/recoup/unpriced");
        let cost = money_field(row.get("recoup").unwrap_or(&Value::Null), "exclusive", 6);
        grid.row([
            field(row, "used_at"),
            field(row, "trace_id"),
            field(row, "event_id"),
            field(row, "kind"),
            of("/tags/agent"),
            if model.is_empty() { field(row, "sku") } else { model },
            if cost.is_empty() { "-".to_owned() } else { cost },
            match (counts, unpriced.as_str()) {
                (false, _) => "does not count".to_owned(),
                (true, "") => String::new(),
                (true, reason) => format!("no price ({})", reason.replace('_', " ")),
            },
        ]);
    }
    grid
}
