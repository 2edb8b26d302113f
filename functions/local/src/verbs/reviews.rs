//! `recoup reviews`: tasks that were stopped at their cap, or went over it without asking.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Desk;
use super::range::Limit;
use crate::api::Ask;
use crate::failure::{Failure, Verdict};
use crate::table::{Column, Grid, field, moment};

/// Lists tasks that were stopped at their cap, or went over it without asking, the newest first, and decides about one.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
A task that asked for more than its cap is denied until somebody lets it go on,
then within its cap: for more, raise the cap in the organisation file. Deciding
again takes the place of what was decided.
Role: the team's lead, finance or admin.

Examples:
  recoup reviews
  recoup reviews resume T-1 --note \"a long thread, not a loop\"
  recoup reviews stop T-2 --note \"it asked itself the same question\""
)]
pub(crate) struct Reviews {
    #[command(flatten)]
    limit: Limit,
    /// What to do.
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Let a task go on, within its cap
    Resume(Decide),
    /// Keep a task stopped
    Stop(Decide),
}

#[derive(Debug, Args)]
struct Decide {
    /// The task: its `task_id`, else its trace
    task: String,
    /// Why
    #[arg(long, value_name = "WORDS")]
    note: String,
}

impl Reviews {
    /// Runs the verb.
    pub(crate) async fn run(&self, desk: &Desk) -> Result<Verdict, Failure> {
        match &self.command {
            None => self.list(desk).await?,
            Some(Command::Resume(decide)) => decide.run(desk, "resumed").await?,
            Some(Command::Stop(decide)) => decide.run(desk, "stopped").await?,
        }
        Ok(Verdict::Yes)
    }

    async fn list(&self, desk: &Desk) -> Result<(), Failure> {
        desk.list(Ask::get(&["v1", "reviews"]), self.limit, "no task has gone to its cap", grid).await
    }
}

impl Decide {
    async fn run(&self, desk: &Desk, state: &str) -> Result<(), Failure> {
        let path = ["v1", "reviews", &self.task, "decision"];
        let answer = desk.api.ask(Ask::post_json(&path, &json!({ "state": state, "note": self.note }))).await?;
        if desk.screen.json() {
            return desk.screen.document(&answer.bytes);
        }
        desk.screen.table(&grid(&[answer.json()?]))
    }
}

fn grid(rows: &[Value]) -> Grid {
    let mut grid = Grid::new([
        Column::Name("task"),
        Column::Name("type"),
        Column::Name("agent"),
        Column::Name("team"),
        Column::Name("flagged for"),
        Column::Figure("cap"),
        Column::Figure("committed"),
        Column::Figure("asked for"),
        Column::Name("at"),
        Column::Name("state"),
        Column::Name("by"),
        Column::Prose("note"),
    ]);
    for row in rows {
        let text = |name| field(row, name);
        let [task, kind, agent, team, mark] = ["task", "task_type", "agent", "team", "mark"].map(text);
        let [cap, committed, estimate] = ["cap", "committed", "estimate"].map(text);
        let at = moment(&text("at"));
        let [state, by, note] = ["state", "decided_by", "note"].map(text);
        grid.row([task, kind, agent, team, mark, cap, committed, estimate, at, state, by, note]);
    }
    grid
}
