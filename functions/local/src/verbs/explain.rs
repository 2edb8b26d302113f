//! `recoup explain`: how a line of a statement came about.

use std::path::Path;

use clap::Args;
use recoup_model::Period;
use serde_json::Value;

use super::Desk;
use crate::api::Ask;
use crate::failure::{Failure, Verdict};
use crate::input;
use crate::table::{Column, Grid, field, plain};

/// Letters from which on a text of a table is shortened.
const TEXT_MAX: usize = 64;

/// Walks from a line of a statement to the prices, pools, cells, traces and blocks that it was made of, with the arithmetic
/// written out, and adds it up again.
#[derive(Debug, Args)]
#[command(after_help = "\
The statement is a file, or its number, or a team and a month; the line is its
number as `recoup statement` prints it.
Exit code 0: the arithmetic gives the line, to the last picounit. 1: it does
not.

Examples:
  recoup explain 2026-10-support 3
  recoup explain support 2026-10 3 --rows 50
  recoup explain support.json 3 --traces 0        without looking for traces")]
pub(crate) struct Explain {
    /// A statement's file, its number such as 2026-10-support, or a team and a month; then the line
    #[arg(required = true, num_args = 2..=3, value_name = "STATEMENT LINE")]
    which: Vec<String>,
    /// Rows of each table; the others are added up in one
    #[arg(long, value_name = "N", default_value_t = 10)]
    rows: usize,
    /// Traces that are named, at most 100; 0: none are looked for
    #[arg(long, value_name = "N", default_value_t = 10)]
    traces: usize,
}

/// Which line of which statement.
struct Which {
    team: String,
    period: Period,
    line: usize,
    /// The statement as its file has it.
    stated: Option<Value>,
}

impl Explain {
    /// Runs the verb.
    pub(crate) async fn run(&self, desk: &Desk) -> Result<Verdict, Failure> {
        let which = which(&self.which)?;
        let path = [
            "v1",
            "statements",
            &which.period.to_string(),
            &which.team,
            "lines",
            &which.line.to_string(),
            "explanation",
        ];
        let ask = Ask::get(&path).with("rows", self.rows).with("traces", self.traces);
        let bar = desk.screen.steps(1, "reading the month again");
        let answer = desk.api.ask(ask).await;
        bar.finish_and_clear();
        let answer = answer?;
        let found = answer.json()?;
        let differs = which.stated.as_ref().and_then(|stated| difference(stated, &found));
        if desk.screen.json() {
            desk.screen.document(&answer.bytes)?;
        } else {
            desk.screen.line(render(&found, desk.screen.width()))?;
        }
        if let Some(differs) = &differs {
            desk.screen.note(differs)?;
        }
        let ties = found.get("ties").and_then(Value::as_bool) == Some(true);
        Ok(Verdict::of(ties && differs.is_none()))
    }
}

fn which(arguments: &[String]) -> Result<Which, Failure> {
    let number = |text: &str| {
        let line = text.parse::<usize>().ok().filter(|line| *line > 0);
        line.ok_or_else(|| Failure::usage(format!("`{text}` is no number of a line; the first one is 1")))
    };
    match arguments {
        [statement, line] if Path::new(statement).is_file() => of_file(Path::new(statement), number(line)?),
        [statement, line] => {
            let (period, team) = split(statement).ok_or_else(|| {
                Failure::usage(format!(
                    "`{statement}` is neither a file nor the number of a statement; write such as 2026-10-support, or a team \
                     and a month"
                ))
            })?;
            Ok(Which { team, period, line: number(line)?, stated: None })
        }
        [team, month, line] => {
            let period =
                month.parse().map_err(|error: recoup_model::period::NotAPeriod| Failure::usage(error.to_string()))?;
            Ok(Which { team: team.clone(), period, line: number(line)?, stated: None })
        }
        _ => Err(Failure::usage("name a statement and a line")),
    }
}

/// A statement's number: the month, a hyphen, the team.
fn split(statement: &str) -> Option<(Period, String)> {
    let (month, rest) = (statement.get(..7)?, statement.get(7..)?);
    let team = rest.strip_prefix('-').filter(|team| !team.is_empty())?;
    Some((month.parse().ok()?, team.to_owned()))
}

fn of_file(path: &Path, line: usize) -> Result<Which, Failure> {
    let bytes = input::whole(path)?;
    let no_statement = || Failure::usage(format!("`{}` is not a statement of recoup as JSON", path.display()));
    let stated: Value = serde_json::from_slice(&bytes).map_err(|_| no_statement())?;
    let period = field(&stated, "period").parse().map_err(|_| no_statement())?;
    let team = field(&stated, "team");
    if team.is_empty() {
        return Err(no_statement());
    }
    Ok(Which { team, period, line, stated: Some(stated) })
}

/// What the file says otherwise than the statement that was issued.
fn difference(stated: &Value, found: &Value) -> Option<String> {
    let at = found.get("number")?.as_u64()?.checked_sub(1)?;
    let theirs = stated.get("lines")?.get(usize::try_from(at).ok()?);
    let issued = found.get("line")?;
    if theirs == Some(issued) {
        return None;
    }
    Some("the file states this line otherwise than it was issued; `recoup verify` lists the differences".to_owned())
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// An explanation as text.
fn render(found: &Value, width: Option<u16>) -> String {
    let of = |name| field(found, name);
    let line = found.get("line").unwrap_or(&Value::Null);
    let mut parts = vec![format!(
        "line {} of {}, revision {}: {} {} (exactly {})",
        of("number"),
        of("statement"),
        of("revision"),
        field(line, "amount"),
        of("currency"),
        field(line, "exact")
    )];
    for step in list(found, "steps") {
        parts.extend([String::new(), heading(step)]);
        parts.extend(list(step, "says").iter().map(|text| format!("  {}", plain(text))));
        parts.extend(list(step, "arithmetic").iter().map(|text| format!("  {}", plain(text))));
        let says = |table: &&Value| !list(table, "rows").is_empty() || table.get("rest").is_some_and(Value::is_array);
        if let Some(table) = step.get("table").filter(says) {
            parts.push(String::new());
            parts.extend(grid(table).render(width).lines().map(|line| format!("  {line}").trim_end().to_owned()));
            let (shown, all) = (list(table, "rows").len(), table.get("rows_in_all").and_then(Value::as_u64));
            let hidden = all.and_then(|all| all.checked_sub(u64::try_from(shown).ok()?)).filter(|hidden| *hidden > 0);
            if let Some(hidden) = hidden.filter(|_| table.get("rest").is_none_or(Value::is_null)) {
                parts.push(format!("  and {hidden} more"));
            }
        }
    }
    parts.extend([String::new(), "checks".to_owned()]);
    parts.extend(list(found, "checks").iter().map(check));
    parts.extend([String::new(), of("detail")]);
    parts.join("\n")
}

fn heading(step: &Value) -> String {
    let rules: Vec<String> = list(step, "rules").iter().map(plain).collect();
    format!("{}  [{}]", field(step, "step"), rules.join(", "))
}

fn check(tie: &Value) -> String {
    let of = |name| field(tie, name);
    if tie.get("holds").and_then(Value::as_bool) == Some(true) {
        format!("  = {}: {}", of("what"), of("found"))
    } else {
        format!("  ! {}: {} and not {}", of("what"), of("found"), of("expected"))
    }
}

fn grid(table: &Value) -> Grid {
    let column = |column: &Value| {
        // A title of the answer has to live as long as those that are written in here; the program ends once it is shown.
        let title: &'static str = field(column, "name").leak();
        let is_figure = column.get("figure").and_then(Value::as_bool) == Some(true);
        if is_figure { Column::Figure(title) } else { Column::Name(title) }
    };
    let mut grid = Grid::new(list(table, "columns").iter().map(column).collect::<Vec<_>>());
    let cells =
        |row: &Value| row.as_array().into_iter().flatten().map(|cell| shortened(&plain(cell))).collect::<Vec<_>>();
    for row in list(table, "rows") {
        grid.row(cells(row));
    }
    if let Some(rest) = table.get("rest").filter(|rest| !rest.is_null()) {
        grid.row(cells(rest));
    }
    if let Some(total) = table.get("total").filter(|total| !total.is_null()) {
        grid.sum(cells(total));
    }
    grid
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= TEXT_MAX {
        return text.to_owned();
    }
    let head: String = text.chars().take(TEXT_MAX).collect();
    format!("{head}..")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use serde_json::json;

    use super::{difference, render, split};

    #[test]
    fn a_statement_is_named_by_its_number() {
        let (period, team) = split("2026-10-finance-ops").unwrap();
        assert_eq!((period.to_string().as_str(), team.as_str()), ("2026-10", "finance-ops"));
        for wrong in ["2026-10", "2026-10-", "support", "2026-13-support", "sup"] {
            assert!(split(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn an_explanation_shows_rules_arithmetic_tables_and_checks() {
        let found = json!({
            "statement": "2026-10-support", "revision": 1, "number": 2, "currency": "USD", "detail": "the arithmetic gives 4.2",
            "line": { "amount": "4.20", "exact": "4.2" },
            "steps": [{
                "step": "tasks", "rules": ["PRC-0"], "says": ["twelve tasks"], "arithmetic": ["12 x 0.35 = 4.2"],
                "table": {
                    "columns": [{ "name": "day", "figure": false }, { "name": "charge", "figure": true }],
                    "rows": [["2026-10-01", "3.5"]], "rest": ["1 more", "0.7"], "total": ["total", "4.2"], "rows_in_all": 2,
                },
            }],
            "checks": [{ "what": "the line", "found": "4.2", "expected": "4.2", "holds": true },
                       { "what": "the quantity", "found": "1", "expected": "2", "holds": false }],
        });
        let text = render(&found, None);
        for expected in [
            "line 2 of 2026-10-support, revision 1: 4.20 USD (exactly 4.2)",
            "tasks  [PRC-0]\n  twelve tasks\n  12 x 0.35 = 4.2\n",
            "  2026-10-01     3.5\n  1 more         0.7\n",
            "  total          4.2\n",
            "  = the line: 4.2\n  ! the quantity: 1 and not 2\n",
            "the arithmetic gives 4.2",
        ] {
            assert!(text.contains(expected), "{expected} is not in\n{text}");
        }
        let stated = json!({ "lines": [{}, { "amount": "4.21", "exact": "4.2" }] });
        assert!(difference(&stated, &found).unwrap().contains("otherwise than it was issued"));
        let same = json!({ "lines": [{}, { "amount": "4.20", "exact": "4.2" }] });
        assert_eq!(difference(&same, &found), None);
    }
}
