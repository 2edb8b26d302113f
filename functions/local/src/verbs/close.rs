//! `recoup close`: plan or execute the close of a month.

use std::collections::BTreeMap;

use chrono::{DateTime, FixedOffset};
use clap::Args;
use recoup_model::Period;
use serde_json::Value;

use super::Desk;
use crate::failure::{Failure, Verdict};
use crate::screen::Screen;
use crate::table::{Column, Grid, field, moment, money_field, short};
use crate::watch;

/// Findings that do not block and are listed one by one; beyond them they are counted.
const LISTED_MAX: usize = 12;

/// What each sum of a close is called, in the order of CLO-4.
const TOTALS: [(&str, &str); 10] = [
    ("exact_total", "on statements"),
    ("unattributed", "unattributed"),
    ("unallocated", "unallocated"),
    ("priced_cost", "priced cost of the period"),
    ("markup", "markup"),
    ("corrections", "corrections of earlier periods"),
    ("residual", "difference to invoices"),
    ("absorbed", "variance absorbed"),
    ("carried_out", "variance carried out"),
    ("carried_in", "variance carried in"),
];

/// Closes a month: every finding is listed; where none blocks, the statements are issued and the month never changes again.
#[derive(Debug, Args)]
#[command(after_help = "\
Every finding is listed; where none blocks, the statements are issued and the
month never changes again. Closing it again changes nothing.
Exit code 1: findings refuse the close, or would.

Examples:
  recoup close 2026-10 --plan     what stands against it, what would be issued
  recoup close 2026-10
  recoup close 2026-10 --as-of 2026-11-05T00:00:00Z     as if it were that time
  recoup close 2026-06 --run-missing-nights     a month loaded in one go")]
pub(crate) struct Close {
    /// The month
    month: Period,
    /// Only say what would happen
    #[arg(long)]
    plan: bool,
    /// The time for which it is asked [default: now]
    #[arg(long, value_name = "TIME")]
    as_of: Option<DateTime<FixedOffset>>,
    /// First run the missing nights up to the month's end, without what only queries need: the next `recoup nightly` does that
    #[arg(long)]
    run_missing_nights: bool,
}

impl Close {
    /// Runs the verb.
    pub(crate) async fn run(&self, desk: &Desk) -> Result<Verdict, Failure> {
        let as_of = self.as_of.map(|time| time.to_rfc3339());
        let command = watch::close(&self.month.to_string(), as_of.as_deref(), (self.plan, self.run_missing_nights));
        let outcome = watch::run_to_end(&desk.api, desk.screen, &command).await?;
        if desk.screen.json() {
            desk.screen.document(outcome.to_string().as_bytes())?;
        } else {
            show(desk.screen, &outcome)?;
        }
        let blocking = outcome.get("blocking").and_then(Value::as_u64).unwrap_or(0);
        let closed = outcome.get("closed").and_then(Value::as_bool).unwrap_or(false);
        Ok(Verdict::of(closed || (self.plan && blocking == 0)))
    }
}

fn list<'a>(outcome: &'a Value, name: &str) -> &'a [Value] {
    outcome.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn show(screen: Screen, outcome: &Value) -> Result<(), Failure> {
    show_findings(screen, list(outcome, "findings"))?;
    screen.table(&totals_grid(outcome.get("totals").unwrap_or(&Value::Null)))?;
    screen.line("")?;
    screen.table(&statements_grid(list(outcome, "statements")))?;
    screen.line("")?;
    screen.line(format!("manifest {}", field(outcome, "manifest")))?;
    let blocking = outcome.get("blocking").and_then(Value::as_u64).unwrap_or(0);
    let detail = field(outcome, "detail");
    match blocking {
        0 => screen.line(format!("{}: {detail}", field(outcome, "period"))),
        blocking => screen.line(format!("{}: {detail} ({blocking} blocking)", field(outcome, "period"))),
    }
}

fn show_findings(screen: Screen, findings: &[Value]) -> Result<(), Failure> {
    let is_blocking = |finding: &&Value| field(finding, "severity") == "blocking";
    let (blocking, others): (Vec<&Value>, Vec<&Value>) = findings.iter().partition(is_blocking);
    if findings.is_empty() {
        return Ok(());
    }
    let mut grid = findings_grid();
    for finding in blocking.iter().chain(others.iter().take(LISTED_MAX)) {
        add_finding(&mut grid, finding);
    }
    screen.table(&grid)?;
    let mut more: BTreeMap<String, u64> = BTreeMap::new();
    for finding in others.iter().skip(LISTED_MAX) {
        let count = more.entry(field(finding, "kind")).or_default();
        *count = count.saturating_add(1);
    }
    if !more.is_empty() {
        let counts: Vec<String> = more.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        screen.line(format!("and {} (all with --json)", counts.join(", ")))?;
    }
    screen.line("")
}

/// An empty table of findings.
pub(crate) fn findings_grid() -> Grid {
    Grid::new([
        Column::Name("severity"),
        Column::Name("day"),
        Column::Name("kind"),
        Column::Name("subject"),
        Column::Prose("what it means and what to do"),
    ])
}

/// Adds a finding to a table of findings.
pub(crate) fn add_finding(grid: &mut Grid, finding: &Value) {
    let text = |name| field(finding, name);
    grid.row([text("severity"), text("day"), text("kind"), text("subject"), text("detail")]);
}

/// The sums of a close, those that are not zero.
pub(crate) fn totals_grid(totals: &Value) -> Grid {
    let mut grid = Grid::new([Column::Name("sum"), Column::Figure("amount")]);
    for (name, label) in TOTALS {
        let always = matches!(name, "exact_total" | "unattributed" | "priced_cost");
        if always || field(totals, name) != "0" {
            grid.row([label.to_owned(), money_field(totals, name, 6)]);
        }
    }
    grid
}

/// Statements: team, number, total, digest.
pub(crate) fn statements_grid(statements: &[Value]) -> Grid {
    let mut grid = Grid::new([
        Column::Name("month"),
        Column::Name("team"),
        Column::Name("statement"),
        Column::Figure("revision"),
        Column::Name("mode"),
        Column::Figure("total"),
        Column::Name("digest"),
        Column::Name("issued"),
    ]);
    for statement in statements {
        let text = |name| field(statement, name);
        grid.row([
            text("period"),
            text("team"),
            text("statement"),
            text("revision"),
            text("mode"),
            text("total"),
            short(&text("digest")),
            moment(&text("issued_at")),
        ]);
    }
    grid
}
