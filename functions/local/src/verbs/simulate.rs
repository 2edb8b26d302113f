//! `recoup simulate`: what past months would have come to under other rules.

use std::path::PathBuf;

use clap::{ArgGroup, Args};
use recoup_model::Period;
use serde_json::{Map, Value, json};

use super::Desk;
use crate::api::Ask;
use crate::failure::{Failure, Verdict};
use crate::input;
use crate::table::{Column, Grid, field, money_field, plain};
use crate::watch::follow;

/// Replays past months under another rate card or other policies and shows what each team would have paid. Nothing is
/// written.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("change").args(["rate_card", "policy"]).required(true).multiple(true)))]
#[command(after_help = "\
A rate card is TOML with the tables of an organisation file: [policy],
[[teams]], [[agents]], [[pools]], [[task_types]], [[people]], [[recurring]],
[[prices]], [[rates]]. Its entries are laid over those with the same id in every
version of the file; an empty text takes a key away. With --policy a single key
is set: of [policy], or as agents.ID.KEY, pools.ID.KEY, task_types.ID.KEY ...

Volatility is the standard deviation of a team's monthly totals.

Examples:
  recoup simulate --policy agents.triage.billing=time --months 3
  recoup simulate --policy pools.safety.basis=tokens --policy variance=absorb
  recoup simulate --rate-card next-year.toml --from 2026-07 --to 2026-10")]
pub(crate) struct Simulate {
    /// A rate card, or - for standard input
    #[arg(long, value_name = "FILE")]
    rate_card: Option<PathBuf>,
    /// Set one key, such as variance=absorb (repeatable; an empty value takes it away)
    #[arg(long, value_name = "KEY=VALUE", value_parser = setting)]
    policy: Vec<(String, String)>,
    /// The last so many months that are over [default: 3]
    #[arg(long, value_name = "N", conflicts_with_all = ["from", "to"])]
    months: Option<usize>,
    /// First month
    #[arg(long, value_name = "MONTH", requires = "to")]
    from: Option<Period>,
    /// First month that is left out
    #[arg(long, value_name = "MONTH", requires = "from")]
    to: Option<Period>,
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| "write KEY=VALUE, such as variance=absorb".to_owned())?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

impl Simulate {
    /// Runs the verb.
    pub(crate) async fn run(&self, desk: &Desk) -> Result<Verdict, Failure> {
        let ask = Ask::post_json(&["v1", "simulations"], &self.request()?).with("wait", false);
        let found = follow(&desk.api, desk.screen, (ask, "simulations")).await?;
        if desk.screen.json() {
            desk.screen.document(found.to_string().as_bytes())?;
        } else {
            desk.screen.line(render(&found, desk.screen.width()))?;
        }
        Ok(Verdict::of(found.get("ties").and_then(Value::as_bool) == Some(true)))
    }

    fn request(&self) -> Result<Value, Failure> {
        let mut request = Map::new();
        if let Some(path) = &self.rate_card {
            let bytes = input::whole(path)?;
            let text = String::from_utf8(bytes)
                .map_err(|_| Failure::usage(format!("the rate card `{}` is not UTF-8", path.display())))?;
            request.insert("rate_card".into(), Value::String(text));
        }
        let mut policy = Map::new();
        for (key, value) in &self.policy {
            if policy.insert(key.clone(), json!(value)).is_some() {
                return Err(Failure::usage(format!("--policy {key} is given twice; give it once")));
            }
        }
        request.insert("policy".into(), Value::Object(policy));
        if let Some(months) = self.months {
            request.insert("months".into(), json!(months));
        }
        for (name, month) in [("from", self.from), ("to", self.to)] {
            if let Some(month) = month {
                request.insert(name.into(), json!(month.to_string()));
            }
        }
        Ok(Value::Object(request))
    }
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn render(found: &Value, width: Option<u16>) -> String {
    let periods: Vec<String> = list(found, "periods").iter().map(plain).collect();
    let months = match periods.as_slice() {
        [only] => only.clone(),
        [first, .., last] => format!("{first} to {last}"),
        [] => String::new(),
    };
    let again = if found.get("attributed_again").and_then(Value::as_bool) == Some(true) {
        ", attributed again from the events"
    } else {
        ""
    };
    let mut parts = vec![format!("simulation of {months}{again}; nothing was written\n")];
    parts.extend(list(found, "changes").iter().map(change));
    if list(found, "changes").is_empty() {
        parts.push("nothing differs from what holds".to_owned());
    }
    let one_month = periods.len() < 2;
    parts.extend([String::new(), teams(found, one_month).render(width), String::new(), causes(found).render(width)]);
    if !one_month {
        parts.extend([String::new(), by_month(found).render(width)]);
    }
    if found.get("accounts").is_some() {
        parts.extend([String::new(), accounts(found).render(width)]);
    }
    let ties = found.get("ties").and_then(Value::as_bool) == Some(true);
    parts.push(if ties {
        "\nit ties: the differences of the teams are those of their causes, and together with the accounts what it cost"
            .to_owned()
    } else {
        "\nit does not tie; do not use these figures, and report this".to_owned()
    });
    parts.extend(list(found, "notes").iter().map(|note| format!("note: {}", plain(note))));
    parts.join("\n")
}

fn change(change: &Value) -> String {
    let of = |name| field(change, name);
    match of("kind").as_str() {
        "added" => format!("+ {}: {}", of("path"), of("after")),
        "removed" => format!("- {}: {}", of("path"), of("before")),
        // A key of one team is not told what the file says.
        _ if change["before"].is_null() => format!("~ {}: {}", of("path"), of("after")),
        _ => format!("~ {}: {} -> {}", of("path"), of("before"), of("after")),
    }
}

const OLD: Column = Column::Figure("old");
const NEW: Column = Column::Figure("new");
const DIFFERENCE: Column = Column::Figure("difference");

/// Old, new, difference and per cent of a row.
fn figures(row: &Value) -> [String; 4] {
    let percent = match field(row, "percent") {
        text if text.is_empty() => text,
        text => format!("{} %", crate::table::money(&text, 2)),
    };
    [money_field(row, "old", 4), money_field(row, "new", 4), money_field(row, "difference", 4), percent]
}

/// Teams, those that pay less first.
fn teams(found: &Value, one_month: bool) -> Grid {
    let mut columns = vec![Column::Name("team"), OLD, NEW, DIFFERENCE, Column::Figure("%"), Column::Name("")];
    if !one_month {
        columns.extend([Column::Figure("volatility old"), Column::Figure("volatility new")]);
    }
    let mut grid = Grid::new(columns);
    for team in list(found, "teams") {
        let volatility = team.get("volatility").unwrap_or(&Value::Null);
        let swings = if one_month { vec![] } else { vec!["old", "new"] };
        let swings = swings.into_iter().map(|side| money_field(volatility, side, 4));
        let figures = figures(team);
        grid.row([field(team, "team")].into_iter().chain(figures).chain([field(team, "outcome")]).chain(swings));
    }
    let totals = found.get("totals").unwrap_or(&Value::Null);
    grid.sum([format!("all, {}", field(found, "currency"))].into_iter().chain(figures(totals)));
    grid
}

fn named_rows(rows: Option<&Value>, title: &'static str) -> Grid {
    let mut grid = Grid::new([Column::Name(title), OLD, NEW, DIFFERENCE, Column::Figure("%")]);
    for (name, row) in rows.and_then(Value::as_object).into_iter().flatten() {
        if ["old", "new"].iter().any(|side| field(row, side) != "0") {
            grid.row([name.replace('_', " ")].into_iter().chain(figures(row)));
        }
    }
    grid
}

fn causes(found: &Value) -> Grid {
    let totals = found.get("totals").unwrap_or(&Value::Null);
    let mut grid = named_rows(totals.get("causes"), "by kind of line");
    grid.sum(["all".to_owned()].into_iter().chain(figures(totals)));
    grid
}

fn accounts(found: &Value) -> Grid {
    named_rows(found.get("accounts"), "beside the teams")
}

fn by_month(found: &Value) -> Grid {
    let mut grid = Grid::new([Column::Name("by month"), OLD, NEW, DIFFERENCE, Column::Figure("%")]);
    for month in found.get("totals").map(|totals| list(totals, "months")).unwrap_or_default() {
        grid.row([field(month, "period")].into_iter().chain(figures(month)));
    }
    grid
}

#[cfg(test)]
mod tests {
    #![expect(clippy::indexing_slicing, reason = "tests")]

    use serde_json::json;

    use super::{render, setting};

    #[test]
    fn a_simulation_reads_from_the_changes_to_who_pays_less() {
        let row = |old: &str, new: &str, difference: &str, percent: &str| json!({ "old": old, "new": new, "difference": difference, "percent": percent });
        let mut team = row("10", "8", "-2", "-20");
        team["team"] = json!("support");
        team["outcome"] = json!("pays less");
        team["volatility"] = json!({ "old": "0.5", "new": "0.25" });
        let mut totals = row("10", "8", "-2", "-20");
        totals["causes"] = json!({ "charge": row("10", "8", "-2", "-20"), "pool": row("0", "0", "0", "") });
        totals["months"] = json!([]);
        let text = render(
            &json!({
                "periods": ["2026-09", "2026-10"], "currency": "USD", "attributed_again": true, "ties": true,
                "changes": [{ "kind": "changed", "path": "policy.variance", "before": "settle", "after": "absorb" }],
                "teams": [team], "totals": totals, "notes": ["one"],
                "accounts": { "absorbed": row("0", "2", "2", "") },
            }),
            None,
        );
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for expected in [
            "simulation of 2026-09 to 2026-10, attributed again from the events; nothing was written",
            "~ policy.variance: settle -> absorb",
            "support 10.0000 8.0000 -2.0000 -20.00 % pays less 0.5000 0.2500",
            "all, USD 10.0000 8.0000 -2.0000 -20.00 %",
            "charge 10.0000 8.0000",
            "absorbed 0.0000 2.0000 2.0000",
            "it ties",
            "note: one",
        ] {
            assert!(words.contains(expected), "{expected} is not in\n{text}");
        }
        assert!(!words.contains("pool 0.0000"), "{text}");
    }

    #[test]
    fn a_setting_is_a_key_and_a_value() {
        assert_eq!(setting("a.b = c=d"), Ok(("a.b".to_owned(), "c=d".to_owned())));
        assert_eq!(setting("price_approval="), Ok(("price_approval".to_owned(), String::new())));
        assert!(setting("variance").is_err());
    }
}
