//! `recoup costs`: the ground truth by any dimensions.

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::Desk;
use super::range::{Days, Limit};
use crate::api::{Ask, Rows};
use crate::failure::{Failure, Verdict};
use crate::screen::Screen;
use crate::table::{Column, Grid, field, money_field};

/// What usage cost, by any dimensions, before shared costs are distributed and before internal prices. Bills that come by the
/// month (`[[recurring]]`) are no usage; statements hold them.
#[derive(Debug, Args)]
#[command(after_help = "\
What usage cost, before shared costs are distributed and before internal prices.
Bills that come by the month ([[recurring]]) are no usage; statements hold them.
Without days: the last month that has figures.

Examples:
  recoup costs
  recoup costs --month 2026-10 --by team,agent
  recoup costs --from 2026-10-01 --to 2026-10-08 --by day,model --json")]
pub(crate) struct Costs {
    #[command(flatten)]
    days: Days,
    /// Dimensions, separated by commas
    #[arg(long, value_name = "DIMENSIONS", value_delimiter = ',', default_value = "team")]
    by: Vec<Dimension>,
    #[command(flatten)]
    limit: Limit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Dimension {
    Team,
    Agent,
    TaskType,
    Project,
    User,
    Model,
    Kind,
    Day,
}

impl Dimension {
    const fn name(self) -> &'static str {
        match self {
            Self::Team => "team",
            Self::Agent => "agent",
            Self::TaskType => "task_type",
            Self::Project => "project",
            Self::User => "user",
            Self::Model => "model",
            Self::Kind => "kind",
            Self::Day => "day",
        }
    }
}

/// What is said of a cost without a price.
const NOT_KNOWN: &str = "not known and in no figure here; see `recoup unpriced`";

impl Costs {
    /// Runs the verb.
    pub(crate) async fn run(&self, desk: &Desk) -> Result<Verdict, Failure> {
        let days = if self.days.is_stated() {
            self.days.clone()
        } else {
            last_month(desk).await?.unwrap_or(self.days.clone())
        };
        let by: Vec<&str> = self.by.iter().map(|dimension| dimension.name()).collect();
        let ask = days.of(Ask::get(&["v1", "costs"])).with("group_by", by.join(","));
        let found = desk.api.rows(ask, self.limit.limit).await?;
        if desk.screen.json() {
            desk.screen.document(found.to_json().to_string().as_bytes())?;
            return Ok(Verdict::Yes);
        }
        if let (Some(from), Some(to)) = days.bounds() {
            desk.screen.line(format!("{from} to {to} (excluded), {}\n", field(&found.total, "currency")))?;
        }
        self.show(desk.screen, &found)?;
        Ok(Verdict::Yes)
    }

    fn show(&self, screen: Screen, found: &Rows) -> Result<(), Failure> {
        if found.rows.is_empty() {
            return screen.line("no costs in these days; run `recoup nightly` after events came, or name other days");
        }
        screen.table(&self.grid(found))?;
        match unpriced(&found.total) {
            0 => {}
            1 => screen.line(format!("\n1 of these events has no price: its cost is {NOT_KNOWN}"))?,
            events => screen.line(format!("\n{events} of these events have no price: their cost is {NOT_KNOWN}"))?,
        }
        if found.more { screen.line(self.limit.hint()) } else { Ok(()) }
    }

    fn grid(&self, found: &Rows) -> Grid {
        let names = self.by.iter().map(|dimension| Column::Name(dimension.name()));
        // A column that says 0 in every row says nothing.
        let any = unpriced(&found.total) > 0;
        let figures = ["cost", "events"].into_iter().chain(any.then_some("unpriced")).chain(["tasks"]);
        let mut grid = Grid::new(names.chain(figures.map(Column::Figure)).collect::<Vec<_>>());
        let figures = |row: &Value| {
            let unknown = unpriced(row) > 0 && field(row, "cost") == "0";
            let cost = if unknown { "-".to_owned() } else { money_field(row, "cost", 4) };
            let figures = [cost, field(row, "events")].into_iter();
            figures.chain(any.then(|| field(row, "unpriced"))).chain([field(row, "tasks")])
        };
        for row in &found.rows {
            let names = self.by.iter().map(|dimension| or_dash(field(row, dimension.name())));
            grid.row(names.chain(figures(row)).collect::<Vec<_>>());
        }
        let label = self.by.iter().enumerate().map(|(at, _)| if at == 0 { "total".to_owned() } else { String::new() });
        grid.sum(label.chain(figures(&found.total)).collect::<Vec<_>>());
        grid
    }
}

/// Events of a row without a price.
fn unpriced(row: &Value) -> u64 {
    row.get("unpriced").and_then(Value::as_u64).unwrap_or(0)
}

fn or_dash(text: String) -> String {
    if text.is_empty() { "-".to_owned() } else { text }
}

/// The last month that has figures; `None` where the key may not see the list of months.
async fn last_month(desk: &Desk) -> Result<Option<Days>, Failure> {
    let periods = match desk.api.ask(Ask::get(&["v1", "periods"])).await {
        Ok(answer) => answer.json()?,
        Err(Failure::Refused(problem)) if problem.http_status == 403 => return Ok(None),
        Err(failure) => return Err(failure),
    };
    let rows = periods.get("rows").and_then(Value::as_array);
    let last = rows.and_then(|rows| rows.last()).map(|row| field(row, "period"));
    Ok(last.and_then(|text| text.parse().ok()).map(Days::of_month))
}
