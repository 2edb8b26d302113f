//! `recoup demo`: from events to statements in one command, and every figure of it recomputed.

use std::collections::BTreeSet;
use std::time::Instant;

use chrono::Datelike as _;
use recoup_suite::{Books, Month, recompute, sum, today};
use serde_json::Value;

/// Spans that the demo makes up.
const SPANS: &str = "24000";
/// The most days of the month after that it makes events for.
const DAYS_AFTER: u32 = 4;

/// What the demo posts, and its organisation file.
fn sample(books: &Books, month: Month) -> (String, Vec<String>) {
    let (events, organisation) = (books.beside("demo.ndjson"), books.beside("demo.toml"));
    let days = month.days().len() + usize::try_from((today().day() - 1).min(DAYS_AFTER)).unwrap();
    let (from, days) = (month.first().to_string(), days.to_string());
    let outputs = ["--output", events.to_str().unwrap(), "--organisation", organisation.to_str().unwrap()];
    let options = ["sample", "--troubled", "--spans", SPANS, "--from", &from, "--days", &days];
    books.run(&[&options[..], &outputs].concat()).ended(0);
    let text = |path| std::fs::read_to_string(path).unwrap();
    (text(organisation), text(events).lines().map(str::to_owned).collect())
}

fn identities(events: &[String]) -> usize {
    let identity = |line: &String| {
        let event: Value = serde_json::from_str(line).unwrap();
        (event["trace_id"].to_string(), event["event_id"].to_string())
    };
    events.iter().map(identity).collect::<BTreeSet<_>>().len()
}

/// CLO-4, MON-2: `recoup demo` ends, and its month equals the independent recomputation to the last picodollar.
#[test]
fn clo_4_the_demo_equals_the_independent_recomputation() {
    let books = Books::empty();
    let month = Month::before_today(1);
    let started = Instant::now();
    let told = books.run(&["demo"]).ended(0).stdout;
    println!("recoup demo took {:?}\n{told}", started.elapsed());
    let closed = books.json(&["close", &month.to_string()]);
    assert_eq!(closed["state"], "closed", "the demo closes its month: {closed}");
    let total = closed["totals"]["priced_cost"].as_str().unwrap();
    let cents = total.split_once('.').map_or(total, |(whole, _)| whole);
    assert!(told.contains(cents), "the story tells the cost {total}");

    let (organisation, events) = sample(&books, month);
    let again = books.ingest(&events).ended(1).json();
    assert_eq!(
        (&again["accepted"], &again["conflict"]),
        (&0.into(), &2.into()),
        "these are the demo's own events: {again}"
    );
    assert!(told.contains(&format!("{}", identities(&events))), "the story tells how many events there are");
    recompute(&books, &organisation, &events, month).assert_equals(&books, &closed);
    // LED-1: the accounts of the closed month, rounding included, are a trial balance of zero.
    let ledger = books.json(&["ledger", &month.to_string()]);
    let balances = ledger["rows"].as_array().unwrap();
    assert_eq!(sum(balances, "amount"), 0, "{ledger}");
    let provider = balances.iter().find(|row| row["account"] == "provider").unwrap();
    assert_eq!(provider["amount"].as_str().unwrap(), format!("-{total}"), "{ledger}");
    for statement in closed["statements"].as_array().unwrap() {
        let path = books.statement_path(month, statement["team"].as_str().unwrap());
        assert_eq!(books.json(&["verify", path.to_str().unwrap()])["holds"], true, "{statement}");
    }
}
