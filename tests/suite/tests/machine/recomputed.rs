//! Statements against the recomputation in `tests/reference`, which shares no code with the product.

use std::collections::BTreeSet;

use recoup_suite::{Books, EVERYTHING, Month, Recomputed, Traffic, lines, recompute};
use serde_json::Value;

/// Two months of traffic: the earlier one gives prices a history.
fn traffic(seed: u64) -> Vec<String> {
    let months = [Month::before_today(2), Month::before_today(1)];
    let days = months.iter().map(|month| month.days().len()).sum::<usize>();
    let traffic = Traffic { seed, first: months[0].first(), days: u64::try_from(days).unwrap(), traces: 12 };
    lines(&traffic.events())
}

/// Closes both months under a variant of the organisation and compares both.
fn compare(organisation: &str, seed: u64) {
    let books = Books::of(organisation);
    let events = traffic(seed);
    books.ingest(&events).ended(0);
    for month in [Month::before_today(2), Month::before_today(1)] {
        let closed = books.close(month);
        assert_eq!(closed["closed"], true, "{closed}");
        books.run(&["ledger", &month.to_string()]).ended(0);
        if organisation.contains("variance = \"carry\"") && month == Month::before_today(1) {
            // The recomputation knows nothing of what an earlier month carried over.
            continue;
        }
        let recomputed = recompute(&books, organisation, &events, month);
        for kind in ["charge", "pool"] {
            assert!(!recomputed.lines(kind).is_empty(), "no line of the kind {kind}: the test shows nothing");
        }
        if organisation.contains("pool_recovery = \"price\"") && month == Month::before_today(1) {
            assert_price_models_are_met(&recomputed);
        }
        recomputed.assert_equals(&books, &closed);
    }
}

fn variant(replacements: &[(&str, &str)]) -> String {
    replacements.iter().fold(EVERYTHING.to_owned(), |text, (old, new)| {
        assert!(text.contains(old), "the organisation has no {old}");
        text.replace(old, new)
    })
}

/// POOL-1, POOL-2, POOL-3, PRC-0, PRC-1, PRC-4, PRC-6, PRC-7, LED-2, LED-3: floating prices, variance settled.
#[test]
fn clo_4_every_billing_model_and_pool_equals_the_recomputation() {
    compare(EVERYTHING, 1);
}

/// PRC-3, LED-3.
#[test]
fn prc_3_locked_prices_and_absorbed_variance_equal_the_recomputation() {
    let locked = ("price_lock = \"floating\"", "price_lock = \"locked\"");
    compare(&variant(&[locked, ("variance = \"settle\"", "variance = \"absorb\"")]), 2);
}

/// PRC-3, LED-3, ATR-6.
#[test]
fn prc_3_banded_prices_and_an_unattributed_pool_equal_the_recomputation() {
    let banded = ("price_lock = \"floating\"", "price_lock = \"banded\"\nprice_band_percent = \"5\"");
    let pool = ("soft_close_days = 3", "soft_close_days = 3\nunattributed_pool = \"entrance\"");
    compare(&variant(&[banded, pool, ("variance = \"settle\"", "variance = \"carry\"")]), 3);
}

/// PRC-1, PRC-4, PRC-5, POOL-4: pools inside the prices, markup of every kind, idle minutes at a rate of their own.
fn with_price_models(more: &[(&str, &str)]) -> String {
    let policy =
        ("soft_close_days = 3", "soft_close_days = 3\npool_recovery = \"price\"\nmarkup = { percent = \"2.5\" }");
    let resolver = (
        "billing_by_team = { gamma = \"token\", beta = \"time\" }",
        "billing_by_team = { gamma = \"token\", beta = \"time\" }\nidle_rate = \"0.001\"\n\
         markup = { percent = \"7.3333333333\" }\nmarkup_by_team = { alpha = { fixed = \"0.0125\" } }",
    );
    let caller = (
        "owner = \"beta\"\nbilling = \"time\"",
        "owner = \"beta\"\nbilling = \"time\"\nidle_rate = \"0.0037\"\nmarkup = { fixed = \"0.0021\" }",
    );
    variant(&[&[policy, resolver, caller], more].concat())
}

/// PRC-4, PRC-5: each kind of them is met.
fn assert_price_models_are_met(recomputed: &Recomputed) {
    let text = |line: &Value, name: &str| line[name].as_str().unwrap_or("-").to_owned();
    let of = |line: &Value| format!("{} {}", text(line, "billing"), text(line, "unit"));
    let met: BTreeSet<String> = recomputed.lines("markup").iter().map(of).collect();
    for expected in ["task task", "time USD", "time minute", "token USD"] {
        assert!(met.contains(expected), "no markup by {expected}: {met:?}");
    }
    let idle: BTreeSet<String> = recomputed
        .lines("charge")
        .iter()
        .filter(|line| line["unit"] == "idle minute")
        .map(|line| text(line, "price"))
        .collect();
    assert!(idle.contains("0.001") && idle.contains("0.0037"), "{idle:?}");
}

/// PRC-1, PRC-4, PRC-5, POOL-4, SPL-2, LED-3.
#[test]
fn prc_5_markup_idle_minutes_and_pools_in_prices_equal_the_recomputation() {
    compare(&with_price_models(&[]), 4);
}

/// The same under a lock, with the variance absorbed.
#[test]
fn prc_1_pools_in_locked_prices_equal_the_recomputation() {
    let locked = ("price_lock = \"floating\"", "price_lock = \"locked\"");
    compare(&with_price_models(&[locked, ("variance = \"settle\"", "variance = \"absorb\"")]), 5);
}

/// The same for made-up months of `recoup sample`.
fn compare_sample(seed: &str) {
    let month = Month::before_today(1);
    let books = Books::empty();
    let (file, organisation) = (books.beside("sample.ndjson"), books.beside("sample.toml"));
    let days = month.days().len().to_string();
    let first = month.first().to_string();
    let target = file.to_str().unwrap();
    let options = ["--spans", "3000", "--seed", seed, "--from", &first, "--days", &days];
    let outputs = ["--output", target, "--organisation", organisation.to_str().unwrap()];
    books.run(&[&["sample"][..], &options, &outputs].concat()).ended(0);
    let organisation = std::fs::read_to_string(organisation).unwrap();
    books.apply(&organisation, &[]).ended(0);
    books.run(&["ingest", target]).ended(0);
    let closed = books.close(month);
    let events: Vec<String> = std::fs::read_to_string(file).unwrap().lines().map(str::to_owned).collect();
    recompute(&books, &organisation, &events, month).assert_equals(&books, &closed);
}

/// CLO-4 for an ordinary month.
#[test]
fn clo_4_a_sample_equals_the_recomputation() {
    compare_sample("11");
}

/// CLO-4 for another one.
#[test]
fn clo_4_another_sample_equals_the_recomputation() {
    compare_sample("4711");
}
