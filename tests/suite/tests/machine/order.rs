//! CLO-5: two hosts, two arrival orders, two batchings, the same bytes.

use std::collections::BTreeSet;

use recoup_suite::{Books, Chance, Client, EVERYTHING, Month, NDJSON, Traffic, gzip, lines, zstd};
use serde_json::Value;

fn month() -> Month {
    Month::before_today(1)
}

fn events() -> Vec<String> {
    let days = u64::try_from(month().days().len()).unwrap();
    lines(&Traffic { seed: 5, first: month().first(), days, traces: 10 }.events())
}

/// One request, in one of the ways in which a body may come.
fn send(client: &Client, batch: &[String], way: u64) {
    let text = batch.join("\n");
    let (media_type, encoding, body) = match way {
        0 => (NDJSON, "identity", text.into_bytes()),
        1 => (NDJSON, "gzip", gzip(text.as_bytes())),
        2 => (NDJSON, "zstd", zstd(text.as_bytes())),
        _ => ("application/json", "identity", format!("[{}]", batch.join(",")).into_bytes()),
    };
    let headers = [("content-type", media_type), ("content-encoding", encoding)];
    let receipt = client.send("POST", "/v1/events", &headers, body).ok(200).json();
    assert_eq!((receipt["conflict"].as_u64(), receipt["rejected"].as_u64()), (Some(0), Some(0)), "{receipt}");
}

/// Posts everything shuffled, in batches of any size, a tenth of it twice, some of it one by one.
fn post_wildly(client: &Client, events: &[String], seed: u64) {
    let mut chance = Chance::seeded(seed);
    let mut deliveries = events.to_vec();
    deliveries.extend(events.iter().filter(|_| chance.percent(10)).cloned());
    chance.shuffle(&mut deliveries);
    let mut rest = deliveries.as_slice();
    while !rest.is_empty() {
        let most = if chance.percent(40) { 1 } else { 300 };
        let size = usize::try_from(chance.between(1, most)).unwrap().min(rest.len());
        let (batch, after) = rest.split_at(size);
        send(client, batch, chance.between(0, 3));
        rest = after;
    }
}

/// CLO-5, RAT-3, ATR-5: order, batching, repetition, compression and the number of nights change no byte.
#[test]
fn clo_5_order_batches_repetition_and_nights_change_no_byte() {
    let events = events();
    let plain = Books::of(EVERYTHING);
    plain.ingest(&events).ended(0);
    plain.close(month());

    let wild = Books::of(EVERYTHING);
    let server = wild.serve();
    let client = server.client(&wild.key("admin", None));
    let (first, second) = events.split_at(events.len() / 2);
    post_wildly(&client, second, 1);
    client.nightly();
    post_wildly(&client, first, 2);
    client.nightly();
    client.close(month());

    let (ours, theirs) = (plain.documents(month()), wild.documents(month()));
    assert!(ours.len() > 3, "{:?}", ours.keys());
    assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
    for (name, bytes) in &ours {
        let other = theirs.get(name).unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace("},{", "},\n{");
        assert!(bytes == other, "{name} differs\n{}\n---\n{}", text(bytes), text(other));
    }
}

/// CLO-5: one event after the other through the command line and all at once give the same statements.
#[test]
fn clo_5_nights_after_each_week_equal_one_night_at_the_end() {
    let events = events();
    let at_once = Books::of(EVERYTHING);
    at_once.ingest(&events).ended(0);
    // The first night marks days without asking which traces reach them; later ones ask.
    let marked = |night: &Value| -> BTreeSet<String> {
        night["days"].as_array().unwrap().iter().map(|one| one["day"].to_string()).collect()
    };
    let first = marked(&at_once.json(&["nightly", "--all"]));
    assert!(first.len() >= month().days().len(), "{first:?}");
    at_once.close(month());
    let weekly = Books::of(EVERYTHING);
    let mut later = BTreeSet::new();
    for week in events.chunks(events.len() / 4 + 1) {
        weekly.ingest(week).ended(0);
        later.append(&mut marked(&weekly.json(&["nightly", "--all"])));
    }
    weekly.close(month());
    assert_eq!(first, later);
    assert_eq!(at_once.documents(month()), weekly.documents(month()));
}
