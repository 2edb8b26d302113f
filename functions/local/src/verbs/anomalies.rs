//! `recoup anomalies`: tasks and days that cost far more than before.

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::Desk;
use super::range::{Days, Limit};
use crate::api::Ask;
use crate::failure::{Failure, Verdict};
use crate::table::{Column, Grid, field, money_field};

/// Lists tasks that cost more than three times the mean of their agent and task type over the seven days before, and days
/// whose tasks did, each with its cause.
#[derive(Debug, Args)]
#[command(after_help = "\
The cause is the one with the largest part of what was more: price,
tokens_per_call, calls_per_task, retries or model_mix; all parts with --json.
Without days: the last 31. A day is judged by the night after it.
`--kind insufficient_history` lists what there is too little to compare with.
Role: viewer, lead, finance or admin.

Examples:
  recoup anomalies
  recoup anomalies --month 2026-11 --agent triage
  recoup --json anomalies --kind day | jq '.rows[] | .causes'")]
pub(crate) struct Anomalies {
    #[command(flatten)]
    days: Days,
    /// Only this agent
    #[arg(long, value_name = "ID")]
    agent: Option<String>,
    /// Only this kind [default: task and day]
    #[arg(long, value_name = "KIND")]
    kind: Option<Kind>,
    #[command(flatten)]
    limit: Limit,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    Task,
    Day,
    #[value(name = "insufficient_history")]
    InsufficientHistory,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::Day => "day",
            Self::InsufficientHistory => "insufficient_history",
        }
    }
}

impl Anomalies {
    /// Runs the verb.
    pub(crate) async fn run(&self, desk: &Desk) -> Result<Verdict, Failure> {
        let ask = self.days.of(Ask::get(&["v1", "anomalies"]));
        let ask = ask.with_some("agent", self.agent.as_deref()).with_some("kind", self.kind.map(Kind::name));
        let found = desk.api.rows(ask, self.limit.limit).await?;
        desk.show(&found, self.limit, ("no task and no day cost far more than before", grid))?;
        let not_judged = found.total.get("days_not_judged").and_then(Value::as_u64).unwrap_or_default();
        if not_judged > 0 {
            let days = if not_judged == 1 { "day of these is" } else { "days of these are" };
            desk.screen
                .note(format!("{not_judged} {days} not judged yet: the next night does it; run `recoup nightly`"))?;
        }
        Ok(Verdict::Yes)
    }
}

fn grid(rows: &[Value]) -> Grid {
    let mut grid = Grid::new([
        Column::Name("day"),
        Column::Name("kind"),
        Column::Name("agent"),
        Column::Name("task type"),
        Column::Name("owner"),
        Column::Figure("cost"),
        Column::Figure("usual"),
        Column::Figure("more"),
        Column::Name("cause"),
        Column::Name("what"),
    ]);
    for row in rows {
        let [day, kind, agent, task_type, owner, cause] =
            ["day", "kind", "agent", "task_type", "owner", "cause"].map(|name| field(row, name));
        let [actual, mean, excess] = ["actual", "mean", "excess"].map(|name| money_field(row, name, 4));
        grid.row([day, kind, agent, task_type, owner, actual, mean, excess, cause, what(row)]);
    }
    grid
}

/// The trace of a task; of a day how many tasks ended on it.
fn what(row: &Value) -> String {
    match field(row, "kind").as_str() {
        "task" => format!("trace {}", field(row, "trace_id")),
        "day" => format!("{} tasks", field(row, "tasks")),
        _ => {
            let of = |name| row.get("baseline").map(|baseline| field(baseline, name)).unwrap_or_default();
            format!("{} tasks on {} days before", of("tasks"), of("days"))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::grid;

    #[test]
    fn ano_1_a_row_says_what_it_is_and_why() {
        let task = json!({ "kind": "task", "day": "2026-11-09", "agent": "triage", "task_type": "ticket",
            "actual": "12", "mean": "0.6", "excess": "11.4", "cause": "calls_per_task", "trace_id": "t1" });
        let day = json!({ "kind": "day", "day": "2026-11-09", "agent": "triage", "task_type": "ticket", "tasks": 25 });
        let little = json!({ "kind": "insufficient_history", "day": "2026-11-09", "agent": "new", "task_type": "x",
            "baseline": { "days": 2, "tasks": 9 } });
        let text = grid(&[task, day, little]).render(None);
        for words in ["trace t1", "calls_per_task", "25 tasks", "9 tasks on 2 days before"] {
            assert!(text.contains(words), "{words}: {text}");
        }
    }
}
