//! `recoup alerts deliveries`: every alert on its way to each of its targets.

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::api::Ask;
use crate::failure::Failure;
use crate::table::{Column, Grid, field, moment};
use crate::verbs::Desk;
use crate::verbs::range::Limit;

/// Lists every alert on its way to each of its targets, the newest first.
#[derive(Debug, Args)]
#[command(after_help = "\
waiting: it is being tried. sent: the service took it. dead: it will not arrive,
the service refused it for ever or did not take it in so many attempts.
undeliverable: no channel is configured for it. Kept for 100 days.
Role: viewer, lead, finance or admin.

Examples:
  recoup alerts deliveries
  recoup alerts deliveries --state dead")]
pub(super) struct Deliveries {
    /// Only those
    #[arg(long, value_name = "STATE")]
    state: Option<State>,
    #[command(flatten)]
    limit: Limit,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum State {
    Waiting,
    Sent,
    Dead,
    Undeliverable,
}

impl State {
    const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Sent => "sent",
            Self::Dead => "dead",
            Self::Undeliverable => "undeliverable",
        }
    }
}

impl Deliveries {
    pub(super) async fn run(&self, desk: &Desk) -> Result<(), Failure> {
        let ask = Ask::get(&["v1", "alerts", "deliveries"]).with_some("state", self.state.map(State::name));
        desk.list(ask, self.limit, "no such delivery", grid).await
    }
}

fn grid(rows: &[Value]) -> Grid {
    let mut grid = Grid::new([
        Column::Name("planned"),
        Column::Name("alert"),
        Column::Prose("title"),
        Column::Name("channel"),
        Column::Name("to"),
        Column::Name("state"),
        Column::Figure("attempts"),
        Column::Prose("reason"),
    ]);
    for row in rows {
        let [alert, title, channel, to, state, attempts, reason] =
            ["alert", "title", "channel", "to", "state", "attempts", "reason"].map(|name| field(row, name));
        grid.row([moment(&field(row, "planned_at")), alert, title, channel, to, state, attempts, reason]);
    }
    grid
}

/// Tells an alert again to those whom it could not be told.
pub(super) async fn again(desk: &Desk, alert: &str) -> Result<(), Failure> {
    let ask = Ask::post_json(&["v1", "alerts", "deliveries"], &json!({ "alert": alert }));
    let answer = desk.api.ask(ask).await?;
    if desk.screen.json() {
        return desk.screen.document(&answer.bytes);
    }
    let deliveries = field(&answer.json()?, "deliveries");
    desk.screen.line(format!("tried again: {deliveries} of its deliveries"))
}
