//! What is no event, and bodies that cannot be read: each answered by name, nothing else harmed.

use std::time::{Duration, Instant};

use recoup_suite::{Books, Client, Month, NDJSON, Reply, SMALL, Server, gzip, large_call, lines, noon, zstd};
use serde_json::{Map, Value, json};

fn served() -> (Books, Server, Client) {
    let books = Books::of(SMALL);
    let server = books.serve();
    let client = server.client(&books.key("admin", None));
    (books, server, client)
}

fn day() -> String {
    noon(Month::before_today(1).day(12))
}

fn calls(count: usize) -> Vec<String> {
    let at = day();
    lines((0..count).map(|n| large_call(&format!("e{n}"), "t", &at, "support")).collect::<Vec<_>>().iter())
}

/// A problem by RFC 9457: media type, stable type, status, what is wrong, and where it is about one field, which.
#[track_caller]
fn assert_problem(reply: &Reply, status: u16, kind: &str, field: Option<&str>) {
    assert_eq!(reply.status, status, "{}", reply.text());
    assert!(reply.header("content-type").starts_with("application/problem+json"), "{:?}", reply.headers);
    let problem = reply.json();
    assert_eq!(problem["type"], format!("urn:recoup:problem:{kind}"), "{problem}");
    assert_eq!(problem["status"], status, "{problem}");
    assert_eq!(problem["field"].as_str(), field, "{problem}");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.len() > 20 && problem["title"].is_string(), "{problem}");
}

/// How many events the log holds, as the nights count them.
#[track_caller]
fn stored(client: &Client) -> u64 {
    client.nightly();
    let month = Month::before_today(1);
    client.events_counted(&month.first().to_string(), &month.next().first().to_string())
}

fn post(client: &Client, media_type: &str, body: impl Into<Vec<u8>>) -> Reply {
    client.send("POST", "/v1/events", &[("content-type", media_type)], body)
}

/// In NDJSON a broken line is one event less; in an array it is no array.
#[test]
fn a_broken_line_costs_itself_and_a_broken_array_everything() {
    let (_books, _server, client) = served();
    let mut events = calls(1_000);
    *events.get_mut(2).unwrap() = "{\"event_id\":\"broken\", oh dear}".to_owned();
    let array = post(&client, "application/json", format!("[{}]", events.join(",")));
    assert_problem(&array, 400, "not-json", Some("body"));
    assert!(array.json()["detail"].as_str().unwrap().contains("line 1, column"), "{}", array.text());
    let receipt = client.ingest(&events);
    assert_eq!((receipt["accepted"].as_u64(), receipt["rejected"].as_u64()), (Some(999), Some(1)));
    let rejected: Vec<&Value> =
        receipt["results"].as_array().unwrap().iter().filter(|one| one["status"] == "rejected").collect();
    assert_eq!(rejected.len(), 1);
    assert_eq!((&rejected[0]["index"], &rejected[0]["error"]["type"]), (&json!(2), &json!("not-json")));
    assert_eq!(rejected[0]["error"]["line"], 3, "{rejected:?}");
    assert_eq!(stored(&client), 999, "the array stored nothing");
    let errors = client.send("POST", "/v1/events?results=errors", &[("content-type", NDJSON)], events.join("\n"));
    let results = errors.ok(200).json()["results"].as_array().unwrap().len();
    assert_eq!(results, 1_000, "duplicates are not accepted either");
}

/// One event with one field changed, and the words with which it is refused.
#[track_caller]
fn assert_rejected(client: &Client, text: &str, kind: &str, field: &str) {
    let good = calls(1).remove(0).replace("\"e0\"", "\"good\"");
    let receipt = client.ingest(&[text.to_owned(), good]);
    assert_eq!(receipt["rejected"], 1, "{text}: {receipt}");
    assert_eq!(receipt["accepted"].as_u64().unwrap() + receipt["duplicate"].as_u64().unwrap(), 1, "{text}: {receipt}");
    let error = &receipt["results"][0]["error"];
    assert_eq!((&error["type"], &error["field"]), (&json!(kind), &json!(field)), "{text}: {error}");
    assert!(error["detail"].as_str().unwrap().len() > 15, "{error}");
}

/// EVT-6, EVT-7, MON-1: numbers, times and currencies that cannot be.
#[test]
fn evt_7_impossible_values_are_rejected_by_name() {
    let (_books, _server, client) = served();
    let plain = calls(1).remove(0);
    let with_usage = |usage: &str| plain.replace("{\"input\":1000,\"output\":100}", usage);
    assert_ne!(with_usage("{}"), plain);
    assert_rejected(&client, &with_usage("{\"input\":NaN}"), "not-a-number", "");
    assert_rejected(&client, &with_usage("{\"input\":-1}"), "negative", "usage.input");
    assert_rejected(&client, &with_usage("{\"input\":1e400}"), "not-an-integer", "usage.input");
    assert_rejected(&client, &with_usage("{\"input\":1.5}"), "not-an-integer", "usage.input");
    assert_rejected(&client, &with_usage("{\"input\":99999999999999999999}"), "too-large", "usage.input");
    assert_rejected(&client, &with_usage("{\"inputs\":1}"), "unknown-field", "usage.inputs");
    let with = |name: &str, value: Value| {
        let mut event: Map<String, Value> = serde_json::from_str(&plain).unwrap();
        event.insert(name.to_owned(), value);
        serde_json::to_string(&event).unwrap()
    };
    assert_rejected(&client, &with("used_at", json!("1970-01-01T00:00:00Z")), "too-old", "used_at");
    assert_rejected(&client, &with("used_at", json!("2100-01-01T00:00:00Z")), "in-the-future", "used_at");
    assert_rejected(&client, &with("used_at", json!("yesterday")), "not-a-time", "used_at");
    assert_rejected(
        &client,
        &with("cost", json!({ "amount": "1", "currency": "ZZZ" })),
        "unknown-currency",
        "cost.currency",
    );
    assert_rejected(&client, &with("cost", json!({ "amount": "-1", "currency": "USD" })), "negative", "cost.amount");
    let huge = plain.replace("\"usage\"", "\"cost\":{\"amount\":1e400,\"currency\":\"USD\"},\"usage\"");
    assert_rejected(&client, &huge, "too-large", "cost.amount");
    let precise = json!({ "amount": "0.0000000000001", "currency": "USD" });
    assert_rejected(&client, &with("cost", precise), "too-precise", "cost.amount");
    assert_rejected(&client, &with("kind", json!("llms")), "unknown-value", "kind");
    assert_rejected(&client, &with("event_id", json!("x".repeat(200))), "too-long", "event_id");
    assert_rejected(&client, &with("tags", json!({ "teams": "support" })), "unknown-tag", "tags.teams");
    assert_rejected(&client, &with("surprise", json!(1)), "unknown-field", "surprise");
    let twice = plain.replace("\"kind\":", "\"kind\":\"tool\",\"kind\":");
    assert_rejected(&client, &twice, "duplicate-field", "kind");
    assert_rejected(&client, "[]", "not-an-object", "");
    assert_eq!(stored(&client), 1, "only the good one");
}

#[test]
fn text_that_is_no_utf_8_is_refused_where_it_stands() {
    let (_books, _server, client) = served();
    let mut body = calls(3).join("\n").into_bytes();
    let at = calls(1).remove(0).len() + 20;
    *body.get_mut(at).unwrap() = 0xff;
    let receipt = post(&client, NDJSON, body.clone()).ok(200).json();
    assert_eq!((receipt["accepted"].as_u64(), receipt["rejected"].as_u64()), (Some(2), Some(1)), "{receipt}");
    assert_eq!(
        (&receipt["results"][1]["status"], &receipt["results"][1]["error"]["type"]),
        (&json!("rejected"), &json!("not-utf8"))
    );
    let mut array = b"[".to_vec();
    array.extend(body.into_iter().map(|byte| if byte == b'\n' { b',' } else { byte }));
    array.push(b']');
    assert_problem(&post(&client, "application/json", array), 400, "not-utf8", Some("body"));
}

#[test]
fn bodies_that_are_too_large_are_refused_and_nothing_is_stored() {
    let (_books, _server, client) = served();
    // Ten megabytes: more than the server reads.
    let fat = calls(50_000).join("\n");
    assert!(fat.len() > 10_000_000);
    assert_problem(&post(&client, NDJSON, fat), 413, "too-large", None);
    // A hundred thousand events that fit into the bytes.
    let at = format!("{}Z", &day()[..16]);
    let small =
        |n: usize| format!("{{\"event_id\":\"{n}\",\"used_at\":\"{at}\",\"kind\":\"llm\"}}").replace("Z\"", ":00Z\"");
    let many: Vec<String> = (0..100_000).map(small).collect();
    assert!(many.join("\n").len() < 8 * 1024 * 1024);
    let reply = post(&client, NDJSON, many.join("\n"));
    assert_problem(&reply, 413, "too-large", None);
    assert!(reply.json()["detail"].as_str().unwrap().contains("100000 events"), "{}", reply.text());
    assert_problem(&post(&client, "application/json", format!("[{}]", many.join(","))), 413, "too-large", None);
    assert_eq!(stored(&client), 0);
    let receipt = client.ingest(many.get(..10_000).unwrap());
    assert_eq!(receipt["accepted"], 10_000, "as many as one request may have");
}

/// A few kilobytes that become hundreds of megabytes are refused at once.
#[test]
fn a_bomb_is_refused_before_it_goes_off() {
    let (_books, _server, client) = served();
    let blanks = vec![b' '; 200_000_000];
    for (encoding, body) in [("gzip", gzip(&blanks)), ("zstd", zstd(&blanks))] {
        assert!(body.len() < 1_500_000, "{encoding}: {}", body.len());
        let started = Instant::now();
        let headers = [("content-type", NDJSON), ("content-encoding", encoding)];
        assert_problem(&client.send("POST", "/v1/events", &headers, body), 413, "too-large", None);
        assert!(started.elapsed() < Duration::from_secs(10), "{encoding} took {:?}", started.elapsed());
    }
    assert_eq!(client.get("/healthz").status, 200);
}

#[test]
fn bodies_that_cannot_be_read_are_problems() {
    let (_books, _server, client) = served();
    for empty in ["", "  \n \n"] {
        assert_problem(&post(&client, NDJSON, empty), 400, "empty-body", Some("body"));
        assert_problem(&post(&client, "application/json", empty), 400, "empty-body", Some("body"));
    }
    assert_problem(&post(&client, "application/json", "\"text\""), 400, "not-an-event", Some("body"));
    assert_problem(&post(&client, "application/json", "{\"event_id\":"), 400, "not-json", Some("body"));
    assert_problem(&post(&client, "application/xml", "<a/>"), 415, "unsupported-media-type", None);
    let compressed = |encoding: &str, body: &[u8]| {
        client.send("POST", "/v1/events", &[("content-type", NDJSON), ("content-encoding", encoding)], body)
    };
    assert_problem(&compressed("br", b"x"), 415, "unsupported-media-type", None);
    assert_problem(&compressed("gzip", b"no gzip"), 400, "broken-body", Some("body"));
    assert_problem(&compressed("zstd", b"no zstd"), 400, "broken-body", Some("body"));
    let whole = gzip(calls(10).join("\n").as_bytes());
    assert_problem(&compressed("gzip", whole.get(..whole.len() - 9).unwrap()), 400, "broken-body", Some("body"));
    assert_eq!(stored(&client), 0);
}

/// An array of nothing is an array: nothing is accepted and nothing refused.
#[test]
fn an_empty_array_is_no_error() {
    let (_books, _server, client) = served();
    let receipt = post(&client, "application/json", "[]").ok(200).json();
    assert_eq!((&receipt["accepted"], &receipt["results"]), (&json!(0), &json!([])), "{receipt}");
}

#[test]
fn questions_that_are_wrong_are_problems() {
    let (_books, _server, client) = served();
    let get = |path: &str| client.get(path);
    assert_problem(&get("/v1/costs?group_by=colour"), 400, "invalid-argument", Some("group_by"));
    assert_problem(&get("/v1/costs?form=2026-10-01"), 400, "unknown-argument", Some("form"));
    assert_problem(&get("/v1/costs?from=2026-13-01&to=2026-10-01"), 400, "invalid-argument", Some("from"));
    assert_problem(&get("/v1/costs?from=2026-10-02&to=2026-10-01"), 400, "invalid-range", Some("to"));
    assert_problem(&get("/v1/costs?from=2026-10-01&from=2026-10-02"), 400, "invalid-argument", Some("from"));
    assert_problem(&get("/v1/costs?limit=0"), 400, "invalid-argument", Some("limit"));
    assert_problem(&get("/v1/costs?limit=1000000"), 400, "invalid-argument", Some("limit"));
    assert_problem(&get("/v1/costs?cursor=later"), 400, "invalid-argument", Some("cursor"));
    assert_problem(&get("/v1/findings?kind=strange"), 400, "invalid-argument", Some("kind"));
    assert_problem(&get("/v1/pools"), 400, "missing-argument", Some("period"));
    assert_problem(&get("/v1/nothing"), 404, "not-found", None);
    assert_problem(&get("/v1/traces/unknown"), 404, "not-found", None);
    assert_problem(&get("/v1/runs/unknown"), 404, "not-found", None);
    assert_problem(&client.send("DELETE", "/v1/costs", &[], ""), 405, "method-not-allowed", None);
    let run = |body: Value| client.post("/v1/runs", &body);
    assert_problem(&run(json!({ "kind": "yearly" })), 400, "invalid-run", Some("kind"));
    assert_problem(&run(json!({ "kind": "close", "period": "October" })), 400, "invalid-argument", Some("period"));
    let close = json!({ "kind": "close", "period": "2026-10", "as_of": "soon" });
    assert_problem(&run(close), 400, "invalid-time", Some("as_of"));
    let key = |body: Value| client.post("/v1/keys", &body);
    assert_problem(&key(json!({ "role": "king" })), 400, "unknown-value", Some("role"));
    assert_problem(&key(json!({ "role": "viewer" })), 400, "missing-field", Some("team"));
    assert_problem(&key(json!({ "role": "viewer", "team": "nobody" })), 400, "unknown-team", Some("team"));
    assert_problem(&client.send("POST", "/v1/prices", &[], "{"), 400, "invalid-price-list", Some("body"));
}

/// RAT-2: a day that lies before the books and one after it are answered with nothing, not with an error.
#[test]
fn days_without_events_are_empty() {
    let (_books, _server, client) = served();
    let costs = client.json("/v1/costs?from=2001-01-01&to=2001-02-01");
    assert_eq!((&costs["rows"], &costs["total"]["events"]), (&json!([]), &json!(0)), "{costs}");
}
