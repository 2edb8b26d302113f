//! `recoup nightly`: run the nights.

use chrono::NaiveDate;
use clap::Args;
use serde_json::Value;

use super::Desk;
use crate::failure::{Failure, Verdict};
use crate::screen::Screen;
use crate::table::{Column, Grid, field, money_field, plain};
use crate::watch;

/// Turns the events of each day that has something to do into costs, prices and ledger entries, and says what changed.
/// A day has something to do when events came, or a price or the organisation file that it was computed with changed.
#[derive(Debug, Args)]
#[command(after_help = "\
Turns the events of each day that has something to do into costs, prices and
ledger entries, and says what changed. A day has something to do when events
came, or when a price or the organisation file behind its figures changed.
`recoup serve` does this by itself at 04:30. Running it again changes nothing.

Examples:
  recoup nightly                     up to yesterday
  recoup nightly --day 2026-10-31    up to a day
  recoup nightly --all               today's unfinished day too")]
pub(crate) struct Nightly {
    /// Up to this local day [default: yesterday]
    #[arg(long, value_name = "DAY", conflicts_with = "all")]
    day: Option<NaiveDate>,
    /// Every day, an unfinished one too
    #[arg(long)]
    all: bool,
}

impl Nightly {
    fn through(&self) -> String {
        match self.day {
            Some(day) => day.to_string(),
            None if self.all => "all".to_owned(),
            None => "yesterday".to_owned(),
        }
    }

    /// Runs the verb.
    pub(crate) async fn run(&self, desk: &Desk) -> Result<Verdict, Failure> {
        let outcome = watch::run_to_end(&desk.api, desk.screen, &watch::nightly(&self.through())).await?;
        if desk.screen.json() {
            desk.screen.document(outcome.to_string().as_bytes())?;
        } else {
            show(desk.screen, &outcome)?;
        }
        if let Some(waiting) = outcome.get("waiting") {
            let (month, days) = (field(waiting, "period"), list(waiting, "days").len());
            desk.screen.note(format!(
                "the close of {month} was interrupted, and {days} of its days wait for it: run `recoup close {month}`"
            ))?;
        }
        for block in list(&outcome, "unread") {
            desk.screen.note(format!("cannot be read, its days are left out: {}", plain(block)))?;
        }
        Ok(if list(&outcome, "unread").is_empty() { Verdict::Yes } else { Verdict::No })
    }
}

fn list<'a>(outcome: &'a Value, name: &str) -> &'a [Value] {
    outcome.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn show(screen: Screen, outcome: &Value) -> Result<(), Failure> {
    let days = list(outcome, "days");
    if days.is_empty() && !list(outcome, "unread").is_empty() {
        screen.line("no day could be run")?;
    } else if days.is_empty() && outcome.get("waiting").is_some() {
        screen.line("nothing to do but what waits")?;
    } else if days.is_empty() {
        screen.line(match list(outcome, "periods").iter().any(has_moved) {
            true => "no day has changed since the last night; what the days come to has",
            false => "nothing to do: no day has changed since the last night",
        })?;
    } else {
        screen.table(&days_grid(days))?;
    }
    let periods = list(outcome, "periods");
    if !periods.is_empty() {
        screen.line("")?;
        screen.table(&periods_grid(periods))?;
    }
    Ok(())
}

/// Days: why, how many events before and now, what they cost.
pub(crate) fn days_grid(days: &[Value]) -> Grid {
    let mut grid = Grid::new([
        Column::Name("day"),
        Column::Figure("lane"),
        Column::Figure("events before"),
        Column::Figure("events now"),
        Column::Figure("cost"),
        Column::Name(""),
        Column::Prose("why"),
    ]);
    let lanes = days.iter().any(|day| field(day, "lane") != "0");
    for day in days {
        let same = if day.get("changed").and_then(Value::as_bool) == Some(false) { "unchanged" } else { "" };
        grid.row([
            field(day, "day"),
            if lanes { field(day, "lane") } else { String::new() },
            field(day, "events_before"),
            field(day, "events"),
            money_field(day, "cost", 4),
            same.to_owned(),
            field(day, "reason"),
        ]);
    }
    grid
}

fn has_moved(period: &Value) -> bool {
    period.get("changed").and_then(Value::as_bool) == Some(true)
}

/// Open periods: what they amount to so far.
pub(crate) fn periods_grid(periods: &[Value]) -> Grid {
    let mut grid = Grid::new([
        Column::Name("open period"),
        Column::Name("through"),
        Column::Figure("priced cost"),
        Column::Figure("on statements"),
        Column::Figure("unattributed"),
        Column::Figure("teams"),
        Column::Figure("internal prices"),
        Column::Figure("findings"),
        Column::Prose("why"),
    ]);
    for period in periods {
        let totals = period.get("totals").unwrap_or(&Value::Null);
        grid.row([
            field(period, "period"),
            field(period, "through"),
            money_field(totals, "priced_cost", 4),
            money_field(totals, "exact_total", 4),
            money_field(totals, "unattributed", 4),
            field(period, "teams"),
            field(period, "prices"),
            field(period, "findings"),
            if period.get("changed").and_then(Value::as_bool) == Some(false) {
                "unchanged".to_owned()
            } else {
                field(period, "reason")
            },
        ]);
    }
    grid
}
