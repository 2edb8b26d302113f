//! `recoup alerts`: tiers that budgets reached, who has seen it, and who was told of it.

mod deliveries;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;

use super::Desk;
use super::range::Limit;
use crate::api::{Answer, Ask};
use crate::failure::{Failure, Verdict};
use crate::table::{Column, Grid, field, moment};

/// Lists alerts of budgets, the newest first, shows one, or says that somebody has seen it; lists who was told of them, and
/// tells one again.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
A tier fires once for a period and a limit. From 90 % on somebody has to
acknowledge it, or it is escalated. It is resolved when the period ends, the
limit is another one or the budget is deleted. What is reported after the end of
a period fires for some days more, and is resolved after those. To acknowledge:
the team's lead, finance or admin.

Examples:
  recoup alerts --state fired
  recoup alerts show alr_0a1b2c3d4e5f60718293
  recoup alerts ack alr_0a1b2c3d4e5f60718293
  recoup alerts deliveries --state dead
  recoup alerts again alr_0a1b2c3d4e5f60718293"
)]
pub(crate) struct Alerts {
    /// Only those
    #[arg(long, value_name = "STATE")]
    state: Option<State>,
    #[command(flatten)]
    limit: Limit,
    /// What to do.
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show all that is known of one
    Show {
        /// The alert
        id: String,
    },
    /// Say that you have seen it
    Ack {
        /// The alert
        id: String,
    },
    /// List who was told of which alert of any kind, and who was not
    Deliveries(deliveries::Deliveries),
    /// Tell an alert again to those whom it could not be told, once the cause is mended
    Again {
        /// The alert, as `alerts deliveries` names it
        id: String,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum State {
    Fired,
    Acknowledged,
    Resolved,
}

impl State {
    const fn name(self) -> &'static str {
        match self {
            Self::Fired => "fired",
            Self::Acknowledged => "acknowledged",
            Self::Resolved => "resolved",
        }
    }
}

impl Alerts {
    /// Runs the verb.
    pub(crate) async fn run(&self, desk: &Desk) -> Result<Verdict, Failure> {
        match &self.command {
            None => self.list(desk).await?,
            Some(Command::Show { id }) => show(desk, &desk.api.ask(Ask::get(&["v1", "alerts", id])).await?)?,
            Some(Command::Ack { id }) => {
                let path = ["v1", "alerts", id, "acknowledgement"];
                show(desk, &desk.api.ask(Ask::post_json(&path, &Value::Null)).await?)?;
            }
            Some(Command::Deliveries(deliveries)) => deliveries.run(desk).await?,
            Some(Command::Again { id }) => deliveries::again(desk, id).await?,
        }
        Ok(Verdict::Yes)
    }

    async fn list(&self, desk: &Desk) -> Result<(), Failure> {
        let ask = Ask::get(&["v1", "alerts"]).with_some("state", self.state.map(State::name));
        desk.list(ask, self.limit, "there is no such alert: nothing to look at", grid).await
    }
}

fn grid(rows: &[Value]) -> Grid {
    let mut grid = Grid::new([
        Column::Name("id"),
        Column::Name("fired"),
        Column::Name("scope"),
        Column::Name("period"),
        Column::Figure("tier"),
        Column::Figure("posted"),
        Column::Figure("limit"),
        Column::Name("state"),
        Column::Name("seen by"),
    ]);
    for row in rows {
        let text = |name| field(row, name);
        let (fired, tier) = (moment(&text("fired_at")), format!("{}%", text("tier")));
        let [id, scope, period, posted, limit] = ["id", "scope", "period", "posted", "limit"].map(text);
        grid.row([id, fired, scope, period, tier, posted, limit, state_of(row), text("acknowledged_by")]);
    }
    grid
}

/// The state, and what is still to be done.
fn state_of(row: &Value) -> String {
    let state = field(row, "state");
    let waits = state == "fired" && field(row, "needs_acknowledgement") == "yes";
    match (waits, field(row, "escalated_at").is_empty()) {
        (true, true) => format!("{state}, to be acknowledged"),
        (true, false) => format!("{state}, escalated"),
        (false, _) => state,
    }
}

/// The causes of an overrun with their amounts; empty: it was none.
fn over_because(alert: &Value) -> String {
    let causes = alert.get("overrun").and_then(|overrun| overrun.get("causes")).and_then(Value::as_array);
    let causes = causes.into_iter().flatten().map(|one| format!("{} {}", field(one, "amount"), field(one, "cause")));
    causes.collect::<Vec<_>>().join(", ")
}

fn show(desk: &Desk, answer: &Answer) -> Result<(), Failure> {
    if desk.screen.json() {
        return desk.screen.document(&answer.bytes);
    }
    let alert = answer.json()?;
    let amount = |name| format!("{} {}", field(&alert, name), field(&alert, "currency"));
    let who_and_when = |who: &str, when: &str| {
        let (who, when) = (field(&alert, who), moment(&field(&alert, when)));
        if who.is_empty() { when } else { format!("{who}, {when}") }
    };
    let mut grid = Grid::new([Column::Name("alert"), Column::Prose("")]);
    let mut line = |name: &str, text: String| {
        if !text.is_empty() {
            grid.row([name.to_owned(), text]);
        }
    };
    line("id", field(&alert, "id"));
    line("budget", format!("{}, {}", field(&alert, "scope"), field(&alert, "period")));
    line("team", field(&alert, "team"));
    line("tier", format!("{}%", field(&alert, "tier")));
    line("posted then", amount("posted"));
    line("limit then", format!("{}, version {}", amount("limit"), field(&alert, "limit_version")));
    line("over because", over_because(&alert));
    line("state", state_of(&alert));
    line("fired", moment(&field(&alert, "fired_at")));
    line("escalated", moment(&field(&alert, "escalated_at")));
    line("acknowledged", who_and_when("acknowledged_by", "acknowledged_at"));
    line("resolved", who_and_when("resolution", "resolved_at"));
    desk.screen.table(&grid)
}
