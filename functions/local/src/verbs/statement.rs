//! `recoup statement`: one team's statement for a month.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use recoup_model::Period;
use serde_json::Value;

use super::Desk;
use super::sample::unwritten;
use crate::api::{Answer, Ask};
use crate::failure::{Failure, Verdict};
use crate::table::{Column, Grid, field, money_field, plain};

/// Shows one team's statement: its lines, the total, and what it can be recomputed from. With a format, or where no
/// terminal reads it, the document itself, byte for byte.
#[derive(Debug, Args)]
#[command(after_help = "\
With a format, or where no terminal reads it, the document itself is written,
byte for byte as it was issued.

Examples:
  recoup statement support 2026-10                   to read
  recoup statement support 2026-10 --format csv -o support.csv
  recoup statement support 2026-10 --format json -o support.json
  recoup verify support.json
  recoup explain 2026-10-support 3            how its third line came about")]
pub(crate) struct Statement {
    /// The team
    team: String,
    /// The month
    month: Period,
    /// The document in this format [default: a table on a terminal, else json]
    #[arg(long)]
    format: Option<Format>,
    /// Which revision [default: the newest]
    #[arg(long, value_name = "N")]
    revision: Option<u32>,
    /// Write the document to this file
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Json,
    Csv,
}

impl Format {
    const fn suffix(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Csv => "csv",
        }
    }
}

impl Statement {
    /// Runs the verb.
    pub(crate) async fn run(&self, desk: &Desk) -> Result<Verdict, Failure> {
        let to_read =
            self.format.is_none() && self.output.is_none() && !desk.screen.json() && desk.screen.is_terminal();
        let answer = self.fetch(desk, self.format.unwrap_or(Format::Json)).await?;
        match &self.output {
            _ if to_read => desk.screen.line(render(&answer.json()?, desk.screen.width()))?,
            None => desk.screen.exact(&answer.bytes)?,
            Some(path) => {
                std::fs::write(path, &answer.bytes).map_err(|error| unwritten(path, error))?;
                desk.screen.note(format!("wrote {} ({} bytes)", path.display(), answer.bytes.len()))?;
            }
        }
        Ok(Verdict::Yes)
    }

    async fn fetch(&self, desk: &Desk, format: Format) -> Result<Answer, Failure> {
        let name = format!("{}.{}", self.team, format.suffix());
        let path = ["v1", "statements", &self.month.to_string(), &name];
        desk.api.ask(Ask::get(&path).with_some("revision", self.revision)).await
    }
}

/// A statement as text.
pub(crate) fn render(statement: &Value, width: Option<u16>) -> String {
    let of = |name| field(statement, name);
    let manifest = statement.get("manifest").unwrap_or(&Value::Null);
    let mut parts = vec![
        format!("{}  {}  {}", of("organisation"), of("team"), of("cost_centre")),
        format!("statement {}, revision {}, {}, {}\n", of("statement"), of("revision"), of("period"), of("mode")),
        lines_grid(statement).render(width),
        format!(
            "\nexact total {} {}, {} events without a price",
            of("exact_total"),
            of("currency"),
            of("unpriced_events")
        ),
        format!("manifest {} over {} events", field(manifest, "digest"), field(manifest, "events")),
    ];
    let notes = statement.get("notes").and_then(Value::as_array);
    parts.extend(notes.into_iter().flatten().map(|note| format!("note: {}", plain(note))));
    parts.join("\n")
}

fn lines_grid(statement: &Value) -> Grid {
    let mut grid = Grid::new([
        Column::Figure("no."),
        Column::Name("line"),
        Column::Name("agent"),
        Column::Name("task type"),
        Column::Name("what"),
        Column::Figure("quantity"),
        Column::Name("unit"),
        Column::Figure("price"),
        Column::Figure("amount"),
    ]);
    let lines = statement.get("lines").and_then(Value::as_array).into_iter().flatten();
    for (at, line) in lines.enumerate() {
        let of = |name| field(line, name);
        let quantity = of("quantity");
        let digits = if quantity.contains('.') { 3 } else { 0 };
        grid.row([
            at.saturating_add(1).to_string(),
            line_name(line),
            of("agent"),
            of("task_type"),
            what(line),
            if quantity.is_empty() { quantity } else { crate::table::money(&quantity, digits) },
            of("unit"),
            if of("price").is_empty() { String::new() } else { money_field(line, "price", 4) },
            of("amount"),
        ]);
    }
    let total = format!("total {}", field(statement, "currency"));
    let blanks = std::iter::repeat_n(String::new(), 6);
    grid.sum([String::new(), total].into_iter().chain(blanks).chain([field(statement, "total")]).collect::<Vec<_>>());
    grid
}

/// What kind of line: `charge by task`, `pool`, `correction of 2026-09`.
fn line_name(line: &Value) -> String {
    let of = |name| field(line, name);
    let (kind, billing, original) = (of("kind"), of("billing"), of("original_period"));
    match (billing.as_str(), original.as_str()) {
        (_, original) if !original.is_empty() => format!("{kind} of {original}"),
        ("", _) => kind,
        (billing, _) => format!("{kind} by {billing}"),
    }
}

/// What was used: a model's tokens, a SKU, a pool's share.
pub(crate) fn what(line: &Value) -> String {
    let of = |name| field(line, name);
    let mut parts = Vec::new();
    match (of("pool"), of("model"), of("sku"), of("bucket")) {
        (pool, ..) if !pool.is_empty() => {
            // A correction is the difference of two shares and has neither.
            let by = Some(of("basis")).filter(|basis| !basis.is_empty()).map(|basis| format!("by {basis}"));
            let shown: Vec<String> = percent(&of("ratio")).into_iter().chain(by).collect();
            let colon = if shown.is_empty() { "" } else { ": " };
            parts.push(format!("pool {pool}{colon}{}", shown.join(" ")));
        }
        (_, model, ..) if !model.is_empty() => {
            parts.push(format!("{model} {}", of("class")).trim_end().to_owned());
        }
        (_, _, sku, _) if !sku.is_empty() => parts.push(sku),
        (_, _, _, bucket) if !bucket.is_empty() => parts.push(format!("{bucket}, as reported")),
        _ => {}
    }
    if line.get("unobserved").and_then(Value::as_bool) == Some(true) {
        parts.push("(unobserved)".to_owned());
    }
    let from = of("from");
    if !from.is_empty() {
        parts.push(format!("price of {from}"));
    }
    parts.join(" ")
}

/// An exact fraction in per cent, rounded down to two digits.
pub(crate) fn percent(ratio: &str) -> Option<String> {
    let (part, whole) = ratio.split_once('/').unwrap_or((ratio, "1"));
    let (part, whole): (i128, i128) = (part.parse().ok()?, whole.parse().ok()?);
    let hundredths = recoup_money::div_half_even(part.checked_mul(10_000)?, whole)?;
    Some(format!("{}.{:02} %", hundredths.checked_div(100)?, hundredths.checked_rem(100)?.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{percent, render};

    #[test]
    fn pool_1_a_share_is_shown_in_per_cent() {
        assert_eq!(percent("3/5").as_deref(), Some("60.00 %"));
        assert_eq!(percent("1/3").as_deref(), Some("33.33 %"));
        assert_eq!(percent("2/3").as_deref(), Some("66.67 %"), "rounded, not cut off");
        assert_eq!(percent("1").as_deref(), Some("100.00 %"));
        assert_eq!(percent("1/0"), None);
        assert_eq!(percent(""), None);
    }

    #[test]
    fn a_statement_reads_from_the_lines_to_the_total() {
        let text = render(
            &json!({
                "statement": "S-1", "revision": 1, "organisation": "Example", "team": "support", "cost_centre": "CC-1",
                "period": "2026-10", "currency": "USD", "mode": "chargeback", "exact_total": "12.345", "total": "12.34",
                "unpriced_events": 2, "manifest": { "digest": "abc", "events": 7 }, "notes": ["one"],
                "lines": [
                    { "kind": "charge", "agent": "triage", "task_type": "t", "billing": "task", "quantity": "12",
                      "unit": "task", "price": "0.35", "amount": "4.20", "from": "2026-10-02" },
                    { "kind": "pool", "pool": "safety", "ratio": "3/5", "basis": "invocations", "amount": "8.14" },
                ],
            }),
            None,
        );
        for expected in [
            "1  charge by task  triage  t          price of 2026-10-02                        12  task  0.3500    4.20",
            "pool safety: 60.00 % by invocations",
            "total USD",
            "note: one",
            "manifest abc over 7 events",
        ] {
            assert!(text.contains(expected), "{expected} is not in\n{text}");
        }
    }
}
