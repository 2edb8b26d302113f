//! Recurring bills, exchange rates and budgets.

use crate::limits::TAG_BYTES_MAX;
use crate::organisation::parse::entries::{Declared, Unique};
use crate::organisation::parse::problem::quoted;
use crate::organisation::parse::reader::{Table, Value};
use crate::organisation::{Budget, ExchangeRate, Recurring, Unavailable};

/// Tiers of a budget that names none (BUD-2).
const TIERS_DEFAULT: [u32; 3] = [70, 90, 100];
const BILL_PERIODS: [(&str, &str); 1] = [("month", "month")];
const BUDGET_PERIODS: [(&str, &str); 3] = [("month", "month"), ("week", "week"), ("day", "day")];
const SCOPES: [&str; 6] = ["organisation", "team:", "project:", "agent:", "user:", "task:"];

/// `[[recurring]]` (POOL-5).
pub(super) fn read_recurring(entries: Vec<Table<'_>>, declared: &Declared<'_>) -> Vec<Recurring> {
    let mut unique = Unique::default();
    let read = |mut table: Table<'_>| {
        let id = table.required("id", "\"vector-store\"");
        let id = id.and_then(|value| value.id().filter(|id| unique.claim(id.clone(), &value, &quoted(id))));
        match (table.has("pool"), table.has("agent")) {
            (false, false) => table.problem("neither `pool` nor `agent`", "add the one that bears the cost"),
            (true, true) => table.problem("both `pool` and `agent`", "keep the one that bears the cost"),
            _ => {}
        }
        let pool = table.get("pool").and_then(|value| declared.pools.reference(&value));
        let agent = table.get("agent").and_then(|value| declared.agents.reference(&value));
        let amount = table.required("amount", "\"310.00\"").and_then(|value| value.positive());
        let currency = table.or("currency", declared.currency, |value| value.currency());
        let period = table.or("period", "month", |value| value.choice(&BILL_PERIODS));
        let from = table.required("from", "\"2026-10-01\"").and_then(|value| value.date());
        let to = table.end(from.as_ref(), Value::date);
        table.finish();
        Some(Recurring { id: id?, pool, agent, amount: amount?, currency, period: period.to_owned(), from: from?, to })
    };
    entries.into_iter().filter_map(read).collect()
}

/// `[[rates]]` (MON-4).
pub(super) fn read_rates(entries: Vec<Table<'_>>) -> Vec<ExchangeRate> {
    let mut unique = Unique::default();
    let read = |mut table: Table<'_>| {
        let from_currency = table.required("from_currency", "\"EUR\"").and_then(|value| value.currency());
        let to_currency = table.required("to_currency", "\"USD\"").and_then(|value| {
            let currency = value.currency()?;
            if from_currency == Some(currency) {
                return value.refuse(format!("{currency} is both currencies"), "name two currencies");
            }
            Some(currency)
        });
        let from = table.required("from", "\"2026-10-01\"").and_then(|value| {
            let date = value.date()?;
            if let (Some(source), Some(target)) = (from_currency, to_currency) {
                let shown = format!("the rate of {source} in {target} from {date}");
                unique.claim((source, target, date), &value, &shown);
            }
            Some(date)
        });
        let rate = table.required("rate", "\"1.0850\"").and_then(|value| value.positive());
        table.finish();
        Some(ExchangeRate { from_currency: from_currency?, to_currency: to_currency?, from: from?, rate: rate? })
    };
    entries.into_iter().filter_map(read).collect()
}

/// `[[budgets]]` (BUD-1).
pub(super) fn read_budgets(entries: Vec<Table<'_>>, declared: &Declared<'_>) -> Vec<Budget> {
    let mut unique = Unique::default();
    let read = |mut table: Table<'_>| {
        let period = table.or("period", "month", |value| value.choice(&BUDGET_PERIODS));
        let scope = table.required("scope", "\"organisation\"").and_then(|value| {
            let scope = read_scope(&value, declared)?;
            unique.claim((scope.to_owned(), period), &value, &format!("the budget of {} per {period}", quoted(scope)));
            Some(scope)
        });
        let limit = table.required("limit", "\"4000.00\"").and_then(|value| value.positive());
        let tiers = table.or("tiers", TIERS_DEFAULT.to_vec(), |value| read_tiers(&value));
        let unavailable = table.or("unavailable", Unavailable::Deny, |value| value.choice(&UNAVAILABLE));
        table.finish();
        Some(Budget { scope: scope?.to_owned(), period: period.to_owned(), limit: limit?, tiers, unavailable })
    };
    entries.into_iter().filter_map(read).collect()
}

const UNAVAILABLE: [(&str, Unavailable); 2] = [("deny", Unavailable::Deny), ("allow", Unavailable::Allow)];

fn read_scope<'a>(value: &Value<'a>, declared: &Declared<'_>) -> Option<&'a str> {
    let scope = value.string()?;
    if scope == "organisation" {
        return Some(scope);
    }
    let Some((kind, id)) = scope.split_once(':') else { return no_scope(value, scope) };
    let known = match kind {
        "team" => value.is_name(id, TAG_BYTES_MAX) && declared.teams.holds(id, value),
        "agent" => value.is_name(id, TAG_BYTES_MAX) && declared.agents.holds(id, value),
        "project" | "user" | "task" => value.is_name(id, TAG_BYTES_MAX),
        _ => return no_scope(value, scope),
    };
    known.then_some(scope)
}

fn no_scope<T>(value: &Value<'_>, scope: &str) -> Option<T> {
    let kinds = SCOPES.join(", ");
    value.refuse(format!("{} is not a scope", quoted(scope)), format!("write one of {kinds} (the latter with an id)"))
}

fn read_tiers(value: &Value<'_>) -> Option<Vec<u32>> {
    let items = value.list()?;
    let count = items.len();
    let tiers: Vec<u32> = items.into_iter().filter_map(|item| item.small(1..=100)).collect();
    if tiers.len() < count {
        return None;
    }
    if tiers.is_empty() {
        return value.refuse("empty", "write at least one percentage, or leave the key out for 70, 90, 100");
    }
    if !tiers.is_sorted_by(|lower, higher| lower < higher) {
        return value.refuse("the tiers do not rise", "write each percentage once, smallest first");
    }
    Some(tiers)
}
