//! `recoup budgets extend`, `extensions`, `approve`, `decline`: more for one period, asked for by one and decided by another.

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::super::Desk;
use super::set::Period;
use crate::api::{Answer, Ask};
use crate::failure::Failure;
use crate::table::{Column, Grid, field, moment};

/// Requests listed at most.
const EXTENSIONS_MAX: usize = 10_000;

/// Asks for more in the month, week or day that it is now, as the person of an API key. Somebody else has to approve it.
#[derive(Debug, Args)]
#[command(after_help = "\
It counts for that period only, once somebody else has approved it. It needs a
key made with --person: one without, and the operator at the machine, may be
anybody and are refused, as is a name that is no id of [[people]] where the
organisation file has them. Role: the lead of the team, finance or admin.

Example:
  recoup keys create --role lead --team support --person ana
  recoup --server http://127.0.0.1:8080 --key KEY budgets extend team:support \\
      --amount 500 --reason \"the launch\"")]
pub(super) struct Extend {
    /// The budget's scope as the organisation file names it
    scope: String,
    /// How much more
    #[arg(long, value_name = "AMOUNT")]
    amount: String,
    /// Why
    #[arg(long, value_name = "WORDS")]
    reason: String,
    /// Which of several budgets of the scope
    #[arg(long, value_name = "PERIOD")]
    period: Option<Period>,
    /// The alert that it is asked for from
    #[arg(long, value_name = "ID")]
    alert: Option<String>,
}

/// Lists requests for more, newest first.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  recoup budgets extensions --state pending")]
pub(super) struct Extensions {
    /// Only those
    #[arg(long, value_name = "STATE")]
    state: Option<State>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum State {
    Pending,
    Approved,
    Declined,
}

impl State {
    const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Declined => "declined",
        }
    }
}

/// Decides about a request for more, as the person of an API key. Whoever asked cannot.
#[derive(Debug, Args)]
#[command(after_help = "\
Whoever asked cannot decide. It needs a key made with --person: one without, and
the operator at the machine, may be anybody and are refused, as is a name that is
no id of [[people]] where the organisation file has them. A request that names no
such person can be declined and not approved. Role: finance or admin.

Example:
  recoup keys create --role finance --person finn
  recoup --server http://127.0.0.1:8080 --key KEY budgets approve \\
      ext_0a1b2c3d4e5f6071")]
pub(super) struct Decide {
    /// The request
    id: String,
}

impl Extend {
    pub(super) async fn run(&self, desk: &Desk) -> Result<(), Failure> {
        let body = json!({
            "scope": self.scope, "amount": self.amount, "reason": self.reason,
            "period": self.period.map(Period::name), "alert": self.alert,
        });
        let answer = desk.api.ask(Ask::post_json(&["v1", "budgets", "extensions"], &body)).await?;
        show(desk, &answer)?;
        if desk.screen.json() { Ok(()) } else { desk.screen.note("It counts once somebody else has approved it.") }
    }
}

impl Extensions {
    pub(super) async fn run(&self, desk: &Desk) -> Result<(), Failure> {
        let mut found = desk.api.rows(Ask::get(&["v1", "budgets", "extensions"]), EXTENSIONS_MAX).await?;
        if let Some(state) = self.state {
            found.rows.retain(|row| field(row, "state") == state.name());
        }
        if desk.screen.json() {
            return desk.screen.document(found.to_json().to_string().as_bytes());
        }
        if found.rows.is_empty() {
            return desk.screen.line("nobody has asked for more");
        }
        desk.screen.table(&grid(&found.rows))
    }
}

impl Decide {
    pub(super) async fn run(&self, desk: &Desk, approve: bool) -> Result<(), Failure> {
        let path = ["v1", "budgets", "extensions", &self.id, "decision"];
        show(desk, &desk.api.ask(Ask::post_json(&path, &json!({ "approve": approve }))).await?)
    }
}

fn show(desk: &Desk, answer: &Answer) -> Result<(), Failure> {
    if desk.screen.json() {
        return desk.screen.document(&answer.bytes);
    }
    desk.screen.table(&grid(&[answer.json()?]))
}

fn grid(rows: &[Value]) -> Grid {
    let mut grid = Grid::new([
        Column::Name("id"),
        Column::Name("scope"),
        Column::Name("period"),
        Column::Figure("amount"),
        Column::Name("state"),
        Column::Name("asked by"),
        Column::Name("at"),
        Column::Name("decided by"),
        Column::Prose("reason"),
    ]);
    for row in rows {
        let text = |name| field(row, name);
        grid.row([
            text("id"),
            text("scope"),
            text("period"),
            text("amount"),
            text("state"),
            text("requested_by"),
            moment(&text("requested_at")),
            text("decided_by"),
            text("reason"),
        ]);
    }
    grid
}
