//! What the demo shows once the month is closed: statements, planted and found, the tie, a proof, what to do next.

use recoup_money::Amount;
use serde_json::Value;

use super::Stage;
use crate::api::{Ask, JSON};
use crate::failure::Failure;
use crate::sample::SampleSummary;
use crate::table::{Column, Grid, field, money, money_field, plain};
use crate::verbs::ingest::Receipt;
use crate::verbs::statement::what;

/// Lines of a statement that are shown, the largest ones.
const LINES_SHOWN: usize = 3;
/// Letters of a line of prose.
const PROSE_WIDTH: usize = 100;

/// A statement as it was issued.
struct Issued {
    team: String,
    bytes: bytes::Bytes,
    document: Value,
}

/// Tells the end of the story.
pub(super) async fn tell(
    stage: &Stage,
    planted: &SampleSummary,
    receipt: &Receipt,
    closed: &Value,
    trace: Option<&str>,
) -> Result<(), Failure> {
    let statements = fetch(stage, closed).await?;
    heading(stage, "Statements: total, and the three largest lines")?;
    stage.screen.table(&statements_grid(&statements))?;
    heading(stage, "What was planted, and what was found")?;
    stage.screen.line(wrapped(&holds(planted)))?;
    stage.screen.line("")?;
    stage.screen.table(&found_grid(stage, planted, receipt).await?)?;
    heading(stage, "It ties (CLO-4): nothing was lost on the way, to the last picodollar")?;
    tie(stage, closed, &statements)?;
    heading(stage, "Proof: a statement is recomputed from the events that it names")?;
    prove(stage, &statements).await?;
    heading(stage, "What to look at next")?;
    next(stage, &statements, trace)
}

fn heading(stage: &Stage, title: &str) -> Result<(), Failure> {
    stage.screen.line(format!("\n{title}\n"))
}

/// All that the month holds, in one sentence.
fn holds(planted: &SampleSummary) -> String {
    let told = planted.story();
    let parts: Vec<String> = told.into_iter().map(|(count, what)| format!("{count} {what}")).collect();
    format!("The month holds {}.", parts.join(", "))
}

/// A sentence in lines of at most [`PROSE_WIDTH`] letters.
fn wrapped(sentence: &str) -> String {
    let mut text = String::new();
    let mut width = 0_usize;
    for word in sentence.split(' ') {
        let is_first = text.is_empty();
        width = width.saturating_add(word.len()).saturating_add(1);
        if width > PROSE_WIDTH {
            text.push('\n');
            width = word.len();
        } else if !is_first {
            text.push(' ');
        }
        text.push_str(word);
    }
    text
}

async fn fetch(stage: &Stage, closed: &Value) -> Result<Vec<Issued>, Failure> {
    let mut statements = Vec::new();
    for issued in closed.get("statements").and_then(Value::as_array).into_iter().flatten() {
        let team = field(issued, "team");
        let path = ["v1", "statements", &stage.month.to_string(), &format!("{team}.json")];
        let answer = stage.operator.ask(Ask::get(&path)).await?;
        statements.push(Issued { team, document: answer.json()?, bytes: answer.bytes });
    }
    Ok(statements)
}

fn lines(statement: &Value) -> Vec<&Value> {
    statement.get("lines").and_then(Value::as_array).into_iter().flatten().collect()
}

fn amount(value: &Value, name: &str) -> Amount {
    field(value, name).parse().unwrap_or(Amount::ZERO)
}

fn statements_grid(statements: &[Issued]) -> Grid {
    let mut grid = Grid::new([
        Column::Name("team"),
        Column::Name("mode"),
        Column::Figure("total"),
        Column::Figure("amount"),
        Column::Name("agent"),
        Column::Name("for"),
    ]);
    for Issued { team, document, .. } in statements {
        let mut largest = lines(document);
        largest.sort_by_key(|line| std::cmp::Reverse(amount(line, "amount").pico().unsigned_abs()));
        for (at, line) in largest.into_iter().take(LINES_SHOWN).enumerate() {
            let once = |text: String| if at == 0 { text } else { String::new() };
            grid.row([
                once(team.clone()),
                once(field(document, "mode")),
                once(field(document, "total")),
                field(line, "amount"),
                field(line, "agent"),
                what_for(line),
            ]);
        }
    }
    grid
}

fn what_for(line: &Value) -> String {
    let of = |name| field(line, name);
    let quantity = || money(&of("quantity"), 0);
    match (of("kind").as_str(), of("billing").as_str()) {
        ("variance", _) => format!("settled variance of {}", of("task_type")),
        ("charge", "task" | "time") if !of("price").is_empty() => {
            format!("{} {} {}s at {}", quantity(), of("task_type"), of("unit"), money_field(line, "price", 4))
        }
        _ => what(line),
    }
}

/// Counts that the sample planted beside those that the books show.
async fn found_grid(stage: &Stage, planted: &SampleSummary, receipt: &Receipt) -> Result<Grid, Failure> {
    let (from, to) = stage.days;
    let ask = |path: &'static [&'static str]| Ask::get(path).with("from", from).with("to", to);
    let counts = stage.operator.rows(ask(&["v1", "findings"]), 1).await?.total;
    let unpriced = stage.operator.rows(ask(&["v1", "unpriced"]), 1).await?.total;
    let costs = stage.operator.rows(ask(&["v1", "costs"]), 1).await?.total;
    let finding = |kind: &str| counts.get(kind).map_or_else(|| "0".to_owned(), plain);
    let mut grid =
        Grid::new([Column::Name("what"), Column::Figure("planted"), Column::Figure("found"), Column::Name("where")]);
    let nameless = planted.unattributed.saturating_sub(planted.unknown_team);
    let rows = [
        ("distinct events", planted.spans, receipt.accepted.to_string(), "accepted"),
        ("events delivered twice", planted.duplicates, receipt.duplicate.to_string(), "acknowledged, not counted"),
        (
            "events that came again with other content",
            planted.conflicts,
            receipt.conflict.to_string(),
            "refused, the first stays",
        ),
        ("tasks", planted.tasks, field(&costs, "tasks"), "recoup costs"),
        ("events of a model without a price", planted.unpriced, field(&unpriced, "events"), "recoup unpriced"),
        ("traces that name no payer", nameless, finding("unattributed"), "recoup findings"),
        ("traces with a team that does not exist", planted.unknown_team, finding("unknown_team"), "recoup findings"),
        (
            "calls that gateway and agent both report",
            planted.shared_responses,
            finding("shared_response"),
            "one is billed",
        ),
        (
            "frames that report more than anybody observed",
            planted.unobserved,
            finding("unobserved_usage"),
            "billed as unobserved",
        ),
        ("spans whose parent never came", planted.orphans, finding("orphan"), "hung on the root"),
        ("events that only their source can price", planted.reported_only, finding("reported_used"), "marked"),
    ];
    for (what, planted, found, place) in rows {
        grid.row([what.to_owned(), planted.to_string(), found, place.to_owned()]);
    }
    Ok(grid)
}

fn overflow() -> Failure {
    Failure::failed("the sums of the close overflow")
}

/// Adds both sides of CLO-4 up, the first from the statements themselves.
fn tie(stage: &Stage, closed: &Value, statements: &[Issued]) -> Result<(), Failure> {
    let totals = closed.get("totals").unwrap_or(&Value::Null);
    let of = |name: &str| amount(totals, name);
    let sum = |amounts: &[Amount]| Amount::checked_sum(amounts.iter().copied()).ok_or_else(overflow);
    let exact: Vec<Amount> = statements.iter().map(|issued| amount(&issued.document, "exact_total")).collect();
    let printed: Vec<Amount> = statements.iter().map(|issued| amount(&issued.document, "total")).collect();
    let (exact, printed) = (sum(&exact)?, sum(&printed)?);
    let carried_in = of("carried_in").checked_neg().ok_or_else(overflow)?;
    let borne =
        [("sum of the statements", exact), ("unattributed", of("unattributed")), ("unallocated", of("unallocated"))];
    let incurred = [
        ("priced cost of the month", of("priced_cost")),
        ("markup", of("markup")),
        ("corrections", of("corrections")),
        ("difference to invoices", of("residual")),
        ("variance absorbed", of("absorbed")),
        ("variance carried out", of("carried_out")),
        ("variance carried in", carried_in),
    ];
    let mut grid = Grid::new([Column::Name("who bears it"), Column::Figure("exact amount")]);
    let left = add_side(&mut grid, &borne)?;
    grid.row(["= what it cost".to_owned(), String::new()]);
    let right = add_side(&mut grid, &incurred)?;
    stage.screen.table(&grid)?;
    let verdict = if left == right { "equal" } else { "NOT EQUAL" };
    stage.screen.line(format!("\n{} = {}: {verdict}", fixed(left), fixed(right)))?;
    let rounding = printed.checked_sub(exact).ok_or_else(overflow)?;
    let booked = amount(closed, "rounding");
    stage.screen.line(format!(
        "The statements print {printed}; the account `rounding` holds the difference, {rounding}{}.",
        if rounding == booked { "" } else { " (NOT what was booked)" }
    ))?;
    if left == right && rounding == booked { Ok(()) } else { Err(Failure::failed("the close does not tie")) }
}

/// Adds the rows of one side, those that are not zero, and gives their sum.
fn add_side(grid: &mut Grid, side: &[(&str, Amount)]) -> Result<Amount, Failure> {
    for (at, (name, amount)) in side.iter().enumerate() {
        if at == 0 || !amount.is_zero() {
            grid.row([format!("  {name}"), fixed(*amount)]);
        }
    }
    Amount::checked_sum(side.iter().map(|(_, amount)| *amount)).ok_or_else(overflow)
}

/// All 12 digits, so that points stand below each other.
fn fixed(amount: Amount) -> String {
    money(&amount.to_string(), 12)
}

/// Verifies a statement, and one in which somebody changed a figure.
async fn prove(stage: &Stage, statements: &[Issued]) -> Result<(), Failure> {
    let Some(issued) = statements.first() else { return Ok(()) };
    let verify = |bytes: bytes::Bytes| Ask::post(&["v1", "statements", "verify"], JSON, bytes);
    let found = stage.operator.ask(verify(issued.bytes.clone())).await?.json()?;
    stage.screen.line(format!("{} as issued: {}", issued.team, field(&found, "detail")))?;
    if found.get("holds").and_then(Value::as_bool) != Some(true) {
        return Err(Failure::failed("a statement just issued does not hold"));
    }
    let forged = stage.operator.ask(verify(forge(&issued.document).into())).await?.json()?;
    let differences = forged.get("differences").and_then(Value::as_array);
    let first = differences.and_then(|differences| differences.first()).unwrap_or(&Value::Null);
    stage.screen.line(format!(
        "{} with one figure changed: line {}, {}: states {}, the events give {}",
        issued.team,
        field(first, "line"),
        field(first, "field"),
        field(first, "stated"),
        field(first, "recomputed")
    ))
}

/// The same statement with another exact amount in its first line.
fn forge(document: &Value) -> String {
    let mut forged = document.clone();
    if let Some(exact) = forged.pointer_mut("/lines/0/exact") {
        *exact = Value::from("0.01");
    }
    forged.to_string()
}

fn next(stage: &Stage, statements: &[Issued], trace: Option<&str>) -> Result<(), Failure> {
    let data = match stage.folder.to_string_lossy() {
        folder if folder == crate::cli::DATA_DEFAULT => String::new(),
        folder => format!("--data {folder} "),
    };
    let team = statements.first().map_or("support", |issued| issued.team.as_str());
    let month = stage.month;
    let commands = [
        (format!("statement {team} {month} --format csv"), "a team's statement, line by line"),
        (format!("costs --month {month} --by team,agent"), "who used what"),
        (
            trace.map_or_else(|| "runs".to_owned(), |trace| format!("trace {trace}")),
            "one task: who called whom, what it cost, who pays",
        ),
        (format!("findings --month {month} --counts"), "what somebody should look at"),
        (format!("unpriced --month {month}"), "what has no price yet"),
        ("prices tasks --agent triage".to_owned(), "how a task's price came about, night by night"),
        ("serve".to_owned(), "the same over HTTP; then  keys create --role admin"),
    ];
    let mut grid = Grid::new([Column::Name(""), Column::Name("")]);
    for (command, shows) in commands {
        grid.row([format!("recoup {data}{command}"), shows.to_owned()]);
    }
    for line in grid.render(None).lines().skip(2) {
        stage.screen.line(line)?;
    }
    Ok(())
}
