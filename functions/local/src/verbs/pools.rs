//! `recoup pools`: what went into shared pools and who bears it.

use clap::Args;
use recoup_model::Period;
use serde_json::Value;

use super::Desk;
use super::statement::percent;
use crate::api::{Api, Ask};
use crate::failure::{Failure, Verdict};
use crate::table::{Column, Grid, field, money_field};

/// Pools shown at most; a period has at most as many as an organisation file declares.
const POOLS_MAX: usize = 10_000;

/// Shows the shared pools of a month: what went in, by what it was divided, who bears which part.
#[derive(Debug, Args)]
#[command(after_help = "\
Without a pool all of them, a line each; with one its page. A pool that serves
other pools passes part of its full cost on to them.
Exit code 1: the parts of a pool do not tie.

Examples:
  recoup pools                    of the newest month
  recoup pools 2026-10
  recoup pools 2026-10 safety     with weights, ratios and parts")]
pub(crate) struct Pools {
    /// The month [default: the newest that has figures]
    month: Option<Period>,
    /// Only this pool, with every part
    pool: Option<String>,
}

impl Pools {
    /// Runs the verb.
    pub(crate) async fn run(&self, desk: &Desk) -> Result<Verdict, Failure> {
        let month = match self.month {
            Some(month) => month.to_string(),
            None => newest(&desk.api).await?,
        };
        let ask = Ask::get(&["v1", "pools"]).with("period", &month).with_some("pool", self.pool.as_ref());
        let found = desk.api.rows(ask, POOLS_MAX).await?;
        if desk.screen.json() {
            desk.screen.document(found.to_json().to_string().as_bytes())?;
        } else if found.rows.is_empty() {
            desk.screen.line(format!("no pool had any cost in {month}"))?;
        } else if self.pool.is_none() {
            desk.screen.line(format!("pools of {month}\n"))?;
            desk.screen.table(&overview(&found.rows))?;
        } else {
            for pool in &found.rows {
                desk.screen.line(page(pool, &month, desk.screen.width()))?;
            }
        }
        Ok(Verdict::of(found.rows.iter().all(ties)))
    }
}

/// The newest month that has figures.
async fn newest(api: &Api) -> Result<String, Failure> {
    let periods = api.ask(Ask::get(&["v1", "periods"])).await?.json()?;
    let rows = list(&periods, "rows");
    let last = rows.last().map(|row| field(row, "period"));
    last.ok_or_else(|| Failure::usage("no month has figures yet; `recoup nightly` runs the nights"))
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn ties(pool: &Value) -> bool {
    pool.get("ties").and_then(Value::as_bool) == Some(true)
}

fn overview(pools: &[Value]) -> Grid {
    let mut grid = Grid::new([
        Column::Name("pool"),
        Column::Name("group"),
        Column::Name("method"),
        Column::Name("basis"),
        Column::Figure("own cost"),
        Column::Figure("full cost"),
        Column::Figure("consumers"),
        Column::Name(""),
    ]);
    for pool in pools {
        let of = |name| field(pool, name);
        grid.row([
            of("pool"),
            of("group"),
            of("method"),
            of("basis"),
            money_field(pool, "own_cost", 4),
            money_field(pool, "full_cost", 4),
            list(pool, "consumers").len().to_string(),
            if ties(pool) { String::new() } else { "does not tie".to_owned() },
        ]);
    }
    grid
}

/// A pool's page.
fn page(pool: &Value, month: &str, width: Option<u16>) -> String {
    let of = |name| field(pool, name);
    let group = match of("group") {
        group if group == of("pool") => "a group of its own".to_owned(),
        group => format!("group {group}, method {}", of("method")),
    };
    let tie = match (ties(pool), of("group_cost"), of("group_borne")) {
        (true, cost, _) => format!("the parts of the group sum to its own cost {cost}: it ties"),
        (false, cost, borne) => format!("the group cost {cost} and its parts sum to {borne}: it does not tie"),
    };
    let mut parts = vec![format!("pool {} of {month}: {group}, divided by {}\n", of("pool"), of("basis"))];
    parts.extend([cost_in(pool).render(width), String::new(), parts_out(pool).render(width), format!("\n{tie}")]);
    parts.join("\n")
}

fn cost_in(pool: &Value) -> Grid {
    let mut grid =
        Grid::new([Column::Name("cost in"), Column::Name("of"), Column::Prose("how"), Column::Figure("cost")]);
    let sources = pool.get("cost_in").unwrap_or(&Value::Null);
    for agent in list(sources, "agents") {
        let owner = match field(agent, "owner") {
            owner if owner.is_empty() => String::new(),
            owner => format!(", run by {owner}"),
        };
        let how = format!("{} events{owner}", field(agent, "events"));
        grid.row(["agent".into(), field(agent, "agent"), how, money_field(agent, "cost", 6)]);
    }
    for bill in list(sources, "bills") {
        grid.row(["bill".into(), field(bill, "id"), field(bill, "arithmetic"), money_field(bill, "cost", 6)]);
    }
    if !matches!(field(sources, "unattributed").as_str(), "0" | "") {
        let cost = money_field(sources, "unattributed", 6);
        grid.row(["unattributed".into(), String::new(), "cost without a payer".into(), cost]);
    }
    for other in list(sources, "pools") {
        let share = percent(&field(other, "ratio")).unwrap_or_else(|| field(other, "ratio"));
        let how = format!("{share} of its full cost");
        grid.row(["pool".into(), field(other, "pool"), how, money_field(other, "cost", 6)]);
    }
    grid.sum(["full cost".into(), String::new(), String::new(), money_field(pool, "full_cost", 6)]);
    grid
}

fn parts_out(pool: &Value) -> Grid {
    let mut grid = Grid::new([
        Column::Name("part of"),
        Column::Name("who"),
        Column::Figure("weight"),
        Column::Figure("share"),
        Column::Figure("amount"),
        Column::Figure("of it in prices"),
    ]);
    for share in list(pool, "consumers") {
        let (what, who) = consumer(share.get("consumer").unwrap_or(&Value::Null));
        let amount = match field(share, "amount") {
            amount if amount.is_empty() => "in its full cost".to_owned(),
            _ => money_field(share, "amount", 6),
        };
        let in_price = match field(share, "in_price") {
            text if text.is_empty() => text,
            _ => money_field(share, "in_price", 6),
        };
        let ratio = field(share, "ratio");
        grid.row([what, who, weight(pool, share), percent(&ratio).unwrap_or(ratio), amount, in_price]);
    }
    let blank = String::new;
    grid.sum(["borne".into(), blank(), blank(), blank(), money_field(pool, "borne", 6), blank()]);
    grid
}

/// Costs and percentages are weighed in picounits; they are shown as they were stated.
fn weight(pool: &Value, share: &Value) -> String {
    let weight = field(share, "weight");
    match (field(pool, "basis").as_str(), weight.parse()) {
        ("direct_cost" | "fixed", Ok(pico)) => recoup_money::Amount::from_pico(pico).to_string(),
        _ => weight,
    }
}

/// A consumer's kind and name.
pub(crate) fn consumer(consumer: &Value) -> (String, String) {
    if let Some(pool) = consumer.get("pool") {
        return ("pool".to_owned(), crate::table::plain(pool));
    }
    match consumer.get("bearer") {
        Some(Value::Object(bearer)) => {
            ("team".to_owned(), bearer.get("team").map(crate::table::plain).unwrap_or_default())
        }
        Some(account) => ("account".to_owned(), crate::table::plain(account)),
        None => (String::new(), String::new()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::page;

    #[test]
    fn pool_3_a_page_shows_what_went_in_and_who_bears_it() {
        let text = page(
            &json!({
                "pool": "safety", "group": "checks", "method": "reciprocal", "basis": "invocations", "own_cost": "90",
                "full_cost": "104", "borne": "93.6", "group_cost": "100", "group_borne": "100", "ties": true,
                "cost_in": {
                    "agents": [{ "agent": "guardrail", "owner": "platform", "events": 40, "cost": "80" }],
                    "bills": [{ "id": "gpu", "arithmetic": "310 USD x 1 of 31 days = 10", "cost": "10" }],
                    "unattributed": "0",
                    "pools": [{ "pool": "formatting", "ratio": "1/3", "cost": "14" }],
                },
                "consumers": [
                    { "consumer": { "bearer": { "team": "support" } }, "weight": "600", "ratio": "3/5",
                      "amount": "62.4", "in_price": "2" },
                    { "consumer": { "bearer": "unattributed" }, "weight": "300", "ratio": "3/10", "amount": "31.2" },
                    { "consumer": { "pool": "formatting" }, "weight": "100", "ratio": "1/10", "amount": null },
                ],
            }),
            "2026-10",
            None,
        );
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for expected in [
            "pool safety of 2026-10: group checks, method reciprocal, divided by invocations",
            "agent guardrail 40 events, run by platform 80.000000",
            "bill gpu 310 USD x 1 of 31 days = 10 10.000000",
            "pool formatting 33.33 % of its full cost 14.000000",
            "full cost 104.000000",
            "team support 600 60.00 % 62.400000 2.000000",
            "account unattributed 300 30.00 % 31.200000",
            "pool formatting 100 10.00 % in its full cost",
            "borne 93.600000",
            "the parts of the group sum to its own cost 100: it ties",
        ] {
            assert!(words.contains(expected), "{expected} is not in\n{text}");
        }
    }
}
