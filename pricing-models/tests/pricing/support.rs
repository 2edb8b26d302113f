//! Organisations, histories and events to rate.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, NaiveDate};
use recoup_model::organisation::{ExchangeRate, History, Organisation, OwnPrice, Policy, Version};
use recoup_model::{Digest, Event, Id, Kind, Tags};
use recoup_money::{Amount, Currency};
use recoup_pricing::{Catalogue, PriceBook};

pub(crate) fn amount(text: &str) -> Amount {
    text.parse().unwrap()
}

pub(crate) fn at(text: &str) -> i64 {
    DateTime::parse_from_rfc3339(text).unwrap().timestamp_nanos_opt().unwrap()
}

pub(crate) fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

pub(crate) fn organisation(prices: Vec<OwnPrice>, rates: Vec<ExchangeRate>) -> Organisation {
    Organisation {
        name: "Example".to_owned(),
        currency: Currency::USD,
        time_zone: chrono_tz::Europe::Berlin,
        policy: Policy::default(),
        teams: BTreeMap::new(),
        agents: BTreeMap::new(),
        pools: BTreeMap::new(),
        task_types: BTreeMap::new(),
        people: BTreeMap::new(),
        recurring: Vec::new(),
        rates,
        budgets: Vec::new(),
        prices,
        alerts: Default::default(),
    }
}

/// Versions in order, each with the local day it is effective from; the first holds for all time.
pub(crate) fn history(versions: Vec<(Option<&str>, Organisation)>) -> History {
    let version = |(at, (effective, organisation)): (usize, (Option<&str>, Organisation))| Version {
        number: u32::try_from(at).unwrap() + 1,
        effective: effective.map(day),
        digest: Digest::of(b""),
        text: String::new(),
        organisation: Arc::new(organisation),
    };
    History::new(versions.into_iter().enumerate().map(version).collect()).unwrap()
}

pub(crate) fn no_prices() -> History {
    history(vec![(None, organisation(Vec::new(), Vec::new()))])
}

/// A catalogue in dollars with these `[[prices]]`.
pub(crate) fn catalogue(prices: &str) -> Catalogue {
    in_currency("USD", prices)
}

pub(crate) fn in_currency(currency: &str, prices: &str) -> Catalogue {
    let head = format!("source = \"s\"\nretrieved = \"2026-10-01\"\ncurrency = \"{currency}\"\n");
    Catalogue::parse("test.toml", &format!("{head}{prices}")).unwrap()
}

pub(crate) fn book(catalogue: Catalogue) -> PriceBook {
    PriceBook::new(&[Arc::new(catalogue)], &no_prices()).unwrap()
}

pub(crate) fn own_model(model: &str, from: &str, input: &str) -> OwnPrice {
    OwnPrice {
        provider: Some(Id::from("example")),
        model: Some(Id::from(model)),
        sku: None,
        unit: None,
        from_ns: at(from),
        to_ns: None,
        currency: Currency::USD,
        per_million: BTreeMap::from([("input".to_owned(), amount(input))]),
        long_context: None,
        tiers: BTreeMap::new(),
        price: None,
    }
}

pub(crate) fn euro_rate(from: &str, rate: &str) -> ExchangeRate {
    ExchangeRate {
        from_currency: "EUR".parse().unwrap(),
        to_currency: Currency::USD,
        from: day(from),
        rate: amount(rate),
    }
}

pub(crate) fn event() -> Event {
    Event {
        trace_id: None,
        event_id: Id::from("e"),
        parent_id: None,
        used_at_ns: at("2026-10-10T12:00:00Z"),
        duration_ms: None,
        kind: Kind::Llm,
        tags: Tags::default(),
        critical: false,
        status: None,
        provider: Some(Id::from("example")),
        model: Some(Id::from("large")),
        service_tier: None,
        usage: None,
        quantity: None,
        reported: None,
        response_id: None,
        retry_of: None,
        supersedes: None,
        reservation_id: None,
    }
}
