//! `recoup prices`: provider prices, the internal prices made from them, and the rate cards that finance approves.

mod card;

use std::collections::BTreeMap;
use std::path::PathBuf;

use chrono::NaiveDate;
use clap::{Args, Subcommand};
use serde_json::Value;

use super::Desk;
use super::range::Limit;
use crate::api::{Answer, Ask, JSON};
use crate::failure::{Failure, Verdict};
use crate::input;
use crate::screen::Screen;
use crate::table::{Column, Grid, field, moment, money_field, plain};

/// Names that are given for a reason why something was not understood.
const EXAMPLES_MAX: usize = 3;
/// What a list without rows says.
const NO_PRICE: &str = "there is no such price; nights make those of tasks, `recoup prices import` adds others";
/// Disagreements that are listed.
const DISAGREEMENTS_MAX: usize = 40;

/// Looks up the prices of providers, imports price lists, shows the internal prices of tasks and minutes, and approves the
/// rate card of a month.
#[derive(Debug, Args)]
#[command(after_help = "\
The shipped catalogue wins over an import, the organisation file over both. Days
that a new price touches run again in the next night.

Examples:
  recoup prices list sonnet
  recoup prices check model_prices_and_context_window.json
  recoup prices import model_prices_and_context_window.json --source LiteLLM
  recoup prices tasks --agent triage
  recoup prices card 2026-11       what its locked prices would be
  recoup prices approve 2026-11    from the next night on they hold")]
pub(crate) struct Prices {
    /// What to do.
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List prices whose provider, model or SKU contains a text
    List {
        /// The text [default: all]
        text: Option<String>,
        #[command(flatten)]
        limit: Limit,
    },
    /// Import LiteLLM's model_prices_and_context_window.json
    Import(Import),
    /// Compare such a file with the catalogue; nothing is written
    Check {
        /// The file, or - for standard input
        file: PathBuf,
    },
    /// List the internal prices of tasks and minutes
    Tasks {
        /// Of this agent
        #[arg(long)]
        agent: Option<String>,
        /// Of this task type
        #[arg(long)]
        task_type: Option<String>,
        #[command(flatten)]
        limit: Limit,
    },
    /// Show the rate card of a month: what was approved last, and what its prices would be
    Card(card::Card),
    /// Approve the rate card of a month, where the policy asks for it
    Approve(card::Approve),
}

#[derive(Debug, Args)]
struct Import {
    /// The file, or - for standard input
    file: PathBuf,
    /// Where it came from, in your words
    #[arg(long)]
    source: String,
    /// First day, UTC, on which its prices hold [default: today]
    #[arg(long, value_name = "DAY")]
    from: Option<NaiveDate>,
    /// Only say what would be imported
    #[arg(long)]
    dry_run: bool,
}

impl Prices {
    /// Whether it keeps prices.
    pub(crate) const fn imports(&self) -> bool {
        matches!(self.command, Command::Import(_))
    }

    /// Runs the verb.
    pub(crate) async fn run(&self, desk: &Desk) -> Result<Verdict, Failure> {
        match &self.command {
            Command::List { text, limit } => {
                let ask = Ask::get(&["v1", "prices"]).with_some("name", text.as_ref());
                desk.list(ask, *limit, NO_PRICE, price_grid).await?;
            }
            Command::Tasks { agent, task_type, limit } => {
                let ask = Ask::get(&["v1", "prices", "tasks"]);
                let ask = ask.with_some("agent", agent.as_ref()).with_some("task_type", task_type.as_ref());
                desk.list(ask, *limit, NO_PRICE, task_grid).await?;
            }
            Command::Import(import) => {
                let answer = send(desk, &import.file, Some(&import.source), import.from, import.dry_run).await?;
                show(desk, &answer, |found| show_import(desk.screen, found, import.dry_run))?;
            }
            Command::Card(card) => card.run(desk).await?,
            Command::Approve(approve) => return approve.run(desk).await,
            Command::Check { file } => {
                let answer = send(desk, file, None, None, true).await?;
                show(desk, &answer, |found| show_check(desk.screen, found))?;
            }
        }
        Ok(Verdict::Yes)
    }
}

fn price_grid(rows: &[Value]) -> Grid {
    let mut grid = Grid::new([
        Column::Name("provider"),
        Column::Name("model or sku"),
        Column::Name("from"),
        Column::Name("to"),
        Column::Name(""),
        Column::Prose("price per million tokens, or per unit"),
    ]);
    for row in rows {
        let of = |name| field(row, name);
        let (name, price) = match of("model") {
            model if model.is_empty() => (of("sku"), format!("{} per {}", of("price"), of("unit"))),
            model => (model, rates(row.get("per_million"))),
        };
        grid.row([of("provider"), name, moment(&of("from")), moment(&of("to")), of("currency"), price]);
        let mut below = |label: &str, table: &Value| {
            let blanks = std::iter::repeat_n(String::new(), 5);
            grid.row(blanks.chain([format!("{label}: {}", rates(table.get("per_million")))]).collect::<Vec<_>>());
        };
        if let Some(long) = row.get("long_context").filter(|long| !long.is_null()) {
            below(&format!("above {} tokens", field(long, "above")), long);
        }
        for (tier, table) in row.get("tiers").and_then(Value::as_object).into_iter().flatten() {
            below(tier, table);
        }
    }
    grid
}

fn rates(table: Option<&Value>) -> String {
    let rates = table.and_then(Value::as_object).into_iter().flatten();
    rates.map(|(class, rate)| format!("{class} {}", plain(rate))).collect::<Vec<_>>().join(", ")
}

fn task_grid(rows: &[Value]) -> Grid {
    const NAMES: [&str; 7] = ["period", "agent", "task_type", "model", "from", "to", "origin"];
    let columns = NAMES.map(|name| Column::Name(if name == "model" { "per" } else { name }));
    let mut grid = Grid::new(columns.into_iter().chain([Column::Figure("price")]).collect::<Vec<_>>());
    for row in rows {
        let per = |name: &&str| match (*name, field(row, name)) {
            ("model", model) if model == "time" => "minute".to_owned(),
            (_, text) => text,
        };
        grid.row(NAMES.iter().map(per).chain([money_field(row, "price", 4)]).collect::<Vec<_>>());
    }
    grid
}

async fn send(
    desk: &Desk,
    file: &std::path::Path,
    source: Option<&str>,
    from: Option<NaiveDate>,
    dry_run: bool,
) -> Result<Answer, Failure> {
    let ask = Ask::post(&["v1", "prices"], JSON, input::whole(file)?);
    desk.api.ask(ask.with_some("source", source).with_some("from", from).with("dry_run", dry_run)).await
}

fn show(desk: &Desk, answer: &Answer, show: impl Fn(&Value) -> Result<(), Failure>) -> Result<(), Failure> {
    if desk.screen.json() { desk.screen.document(&answer.bytes) } else { show(&answer.json()?) }
}

fn rows<'a>(found: &'a Value, name: &str) -> &'a [Value] {
    found.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn show_import(screen: Screen, found: &Value, dry_run: bool) -> Result<(), Failure> {
    let skipped = rows(found, "not_understood");
    screen.line(format!(
        "{} prices of models, {} fields understood, {} not understood",
        field(found, "entries"),
        field(found, "understood"),
        skipped.len()
    ))?;
    if !skipped.is_empty() {
        screen.line("")?;
        screen.table(&reasons_grid(skipped))?;
    }
    let disagreements = rows(found, "disagreements").len();
    if disagreements > 0 {
        screen.line(format!(
            "\n{disagreements} rates differ from the catalogue, which wins; see `recoup prices check`"
        ))?;
    }
    match found.get("import").filter(|import| !import.is_null()) {
        Some(import) => {
            screen.line(format!("\nkept as import {} from {}", field(import, "number"), field(import, "source")))
        }
        None if dry_run => screen.line("\nnothing was written"),
        None => Ok(()),
    }
}

/// What was not understood, by reason: how often, and for example where.
fn reasons_grid(skipped: &[Value]) -> Grid {
    let mut reasons: BTreeMap<String, (u64, Vec<String>)> = BTreeMap::new();
    for one in skipped {
        let (count, examples) = reasons.entry(field(one, "reason")).or_default();
        *count = count.saturating_add(1);
        if examples.len() < EXAMPLES_MAX {
            examples.push(format!("{} {}", field(one, "model"), field(one, "field")).trim().to_owned());
        }
    }
    let mut by_count: Vec<_> = reasons.into_iter().collect();
    by_count.sort_by(|a, b| b.1.0.cmp(&a.1.0).then_with(|| a.0.cmp(&b.0)));
    let mut grid =
        Grid::new([Column::Figure("fields"), Column::Prose("not understood because"), Column::Prose("such as")]);
    for (reason, (count, examples)) in by_count {
        grid.row([count.to_string(), reason, examples.join(", ")]);
    }
    grid
}

fn show_check(screen: Screen, found: &Value) -> Result<(), Failure> {
    let disagreements = rows(found, "disagreements");
    if disagreements.is_empty() {
        return screen.line(format!("the catalogue agrees with all {} prices that both have", field(found, "entries")));
    }
    let mut grid = Grid::new([
        Column::Name("provider"),
        Column::Name("model"),
        Column::Name("tier"),
        Column::Name("rate"),
        Column::Figure("catalogue"),
        Column::Figure("file"),
    ]);
    for one in disagreements.iter().take(DISAGREEMENTS_MAX) {
        let of = |name| field(one, name);
        let what = one.get("what").map(compared).unwrap_or_default();
        grid.row([of("provider"), of("model"), of("tier"), what, of("ours"), of("theirs")]);
    }
    screen.table(&grid)?;
    let more = disagreements.len().saturating_sub(DISAGREEMENTS_MAX);
    if more > 0 {
        screen.line(format!("and {more} more (all with --json)"))?;
    }
    screen.line(format!("\n{} rates differ; the catalogue wins", disagreements.len()))
}

/// `{"rate": "input"}` as `input`, `{"long_rate": "input"}` as `long_rate input`.
fn compared(what: &Value) -> String {
    match what {
        Value::Object(fields) => {
            let named = fields.iter().map(|(name, class)| match name.as_str() {
                "rate" => plain(class),
                name => format!("{name} {}", plain(class)),
            });
            named.collect::<Vec<_>>().join(" ")
        }
        other => plain(other),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::reasons_grid;

    #[test]
    fn what_was_not_understood_is_grouped_by_its_reason() {
        let one = |model: &str, reason: &str| json!({ "model": model, "field": "f", "reason": reason });
        let skipped =
            [one("a", "no unit"), one("b", "no rate"), one("c", "no rate"), one("d", "no rate"), one("e", "no rate")];
        let text = reasons_grid(&skipped).render(None);
        let rows: Vec<&str> = text.lines().skip(2).map(str::trim).collect();
        assert!(
            matches!(rows.as_slice(), [first, second] if first.starts_with("4  no rate") && second.starts_with("1  no unit")),
            "{text}"
        );
        assert!(text.contains("b f, c f, d f") && !text.contains("e f"), "{text}");
    }
}
