//! The organisation's own prices (RAT-1), in the shape of the catalogue's.

use std::collections::BTreeMap;

use recoup_money::Amount;

use crate::event::Id;
use crate::limits::TOKENS_MAX;
use crate::organisation::parse::entries::{Declared, Unique};
use crate::organisation::parse::problem::{Place, Report, quoted};
use crate::organisation::parse::reader::{Table, Value};
use crate::organisation::{LongContext, OwnPrice, TierRates};
use crate::period::format_instant;
use crate::usage::TokenClass;

/// Service tiers besides `standard`, whose rates are the entry's own.
const TIERS: [&str; 3] = ["batch", "flex", "priority"];
const RATES_EXAMPLE: &str = "{ input = \"3.00\", output = \"15.00\" }";

/// `[[prices]]`.
pub(super) fn read_prices(entries: Vec<Table<'_>>, declared: &Declared<'_>) -> Vec<OwnPrice> {
    let Some(report) = entries.first().map(Table::report) else { return Vec::new() };
    let mut unique = Unique::default();
    let mut series = Series::new();
    let read = |mut table: Table<'_>| {
        let of_units = check_subject(&mut table);
        let provider = table.get("provider").and_then(|value| value.shared());
        let model = table.get("model").and_then(|value| value.shared());
        let sku = table.get("sku").and_then(|value| value.shared());
        let (line, mut begins) = (report.line(table.place().offset), table.place().clone());
        let from_ns = table.required("from", "\"2026-01-01\"").and_then(|value| {
            begins = value.place.clone();
            let from_ns = value.instant()?;
            let subject = (provider.clone(), model.clone(), sku.clone(), from_ns);
            unique.claim(subject, &value, "a price of the same subject from the same time");
            Some(from_ns)
        });
        let to_ns = table.end(from_ns.as_ref(), Value::instant);
        let currency = table.or("currency", declared.currency, |value| value.currency());
        if of_units == Some(true) && !table.has("price") {
            table.missing("price", "\"0.001\"");
        }
        let rates = if of_units == Some(false) { read_rates(&mut table) } else { read_any_rates(&mut table) };
        let price = OwnPrice {
            provider,
            model,
            sku,
            unit: table.get("unit").and_then(|value| value.shared()),
            from_ns: from_ns.unwrap_or_default(),
            to_ns,
            currency,
            per_million: rates.per_million,
            long_context: rates.long_context,
            tiers: table.get("tiers").and_then(|value| read_tiers(&value)).unwrap_or_default(),
            price: table.get("price").and_then(|value| value.not_negative()),
        };
        table.finish();
        if from_ns.is_some() {
            let subject = (price.provider.clone(), price.model.clone(), price.sku.clone(), price.unit.clone());
            let held = Held { from_ns: price.from_ns, to_ns: price.to_ns, line, begins };
            series.entry(subject).or_default().push(held);
        }
        price
    };
    let prices = entries.into_iter().map(read).collect();
    series.into_values().for_each(|held| refuse_holes(report, held));
    prices
}

/// Provider, model, SKU and unit of a price.
type Subject = (Option<Id>, Option<Id>, Option<Id>, Option<Id>);
type Series = BTreeMap<Subject, Vec<Held>>;

/// When a price holds, and where the file says so.
struct Held {
    from_ns: i64,
    to_ns: Option<i64>,
    /// The line of its entry.
    line: usize,
    /// Where its `from` stands.
    begins: Place,
}

/// Between two prices of one subject there has to be one: what is used then would fall back to the catalogue or have no
/// price, and nobody would have said so.
fn refuse_holes(report: &Report, mut held: Vec<Held>) {
    held.sort_by_key(|price| price.from_ns);
    for (earlier, later) in held.iter().zip(held.iter().skip(1)) {
        if let Some(ended_ns) = earlier.to_ns.filter(|ended_ns| *ended_ns < later.from_ns) {
            let (from, to) = (format_instant(ended_ns), format_instant(later.from_ns));
            let problem = format!("no price holds from {from}, where the one on line {} ends, to {to}", earlier.line);
            let remedy =
                format!("begin this one at {from}, let that one end at {to}, or add a price for the time between");
            report.problem(&later.begins, problem, remedy);
        }
    }
}

/// Whether the price is one of units and not of tokens; `None` where that cannot be told. Reports keys of the other kind.
fn check_subject(table: &mut Table<'_>) -> Option<bool> {
    let of_tokens = table.has("provider") || table.has("model");
    match (of_tokens, table.has("sku")) {
        (true, false) => {
            for (key, example) in [("provider", "\"openai\""), ("model", "\"gpt-5\"")] {
                if !table.has(key) {
                    table.missing(key, example);
                }
            }
            for key in ["unit", "price"] {
                table.refuse(key, "belongs to a price by sku", "remove it: a model is priced by `per_million`");
            }
            Some(false)
        }
        (false, true) => {
            for key in ["per_million", "long_context", "tiers"] {
                table.refuse(key, "belongs to a price by model", "remove it: a sku is priced by `price`");
            }
            Some(true)
        }
        (true, true) => {
            table.problem("both a model and a sku", "keep `provider` and `model`, or `sku`");
            None
        }
        (false, false) => {
            table.problem("neither a model nor a sku", "add `provider` and `model`, or `sku`");
            None
        }
    }
}

/// Rates that have to be there.
fn read_rates(table: &mut Table<'_>) -> TierRates {
    if !table.has("per_million") {
        table.missing("per_million", RATES_EXAMPLE);
    }
    read_any_rates(table)
}

/// Rates that may be there.
fn read_any_rates(table: &mut Table<'_>) -> TierRates {
    let per_million = table.get("per_million").and_then(|value| read_classes(&value)).unwrap_or_default();
    let long_context = table.get("long_context").and_then(|value| value.table()).and_then(read_long_context);
    TierRates { per_million, long_context }
}

fn read_long_context(mut table: Table<'_>) -> Option<LongContext> {
    let above = table.required("above", "200000").and_then(|value| value.integer(1..=TOKENS_MAX));
    let per_million = table.required("per_million", RATES_EXAMPLE).and_then(|value| read_classes(&value));
    table.finish();
    Some(LongContext { above: above?, per_million: per_million? })
}

fn read_classes(value: &Value<'_>) -> Option<BTreeMap<String, Amount>> {
    let pairs = value.table()?.pairs();
    if pairs.is_empty() {
        return value.refuse("empty", format!("write at least one rate, such as {RATES_EXAMPLE}"));
    }
    let names = || TokenClass::ALL.into_iter().map(TokenClass::name);
    let read = |(name, value): (&str, Value<'_>)| {
        if TokenClass::from_name(name).is_none() {
            let otherwise = format!("known here: {}", names().collect::<Vec<_>>().join(", "));
            let remedy = value.did_you_mean(name, names(), otherwise);
            return value.refuse(format!("{} is not a token class", quoted(name)), remedy);
        }
        Some((name.to_owned(), value.not_negative()?))
    };
    Some(pairs.into_iter().filter_map(read).collect())
}

fn read_tiers(value: &Value<'_>) -> Option<BTreeMap<String, TierRates>> {
    let read = |(name, value): (&str, Value<'_>)| {
        if !TIERS.contains(&name) {
            let remedy = "write batch, flex or priority; the entry's own rates are the standard ones";
            return value.refuse(format!("{} is not a service tier", quoted(name)), remedy);
        }
        let mut table = value.table()?;
        let rates = read_rates(&mut table);
        table.finish();
        Some((name.to_owned(), rates))
    };
    Some(value.table()?.pairs().into_iter().filter_map(read).collect())
}
