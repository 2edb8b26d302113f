//! EVT-2: what is the same event, and what is the same provider call.

use recoup_suite::{Books, Month, SMALL, large_call, lines, noon, pico};
use serde_json::{Value, json};

fn counts(receipt: &Value) -> [u64; 4] {
    ["accepted", "duplicate", "conflict", "rejected"].map(|name| receipt[name].as_u64().unwrap())
}

/// EVT-2: inside a request, across requests, and when a whole request is tried again.
#[test]
fn evt_2_each_identity_is_accepted_once() {
    let books = Books::of(SMALL);
    let server = books.serve();
    let client = server.client(&books.key("admin", None));
    let at = noon(Month::before_today(1).day(10));
    let call = |id: &str| large_call(id, "t1", &at, "support");
    let request = lines(&[call("a"), call("b"), call("a"), call("a")]);
    let receipt = client.ingest(&request);
    assert_eq!(counts(&receipt), [2, 2, 0, 0], "{receipt}");
    let statuses: Vec<_> = receipt["results"].as_array().unwrap().iter().map(|one| one["status"].clone()).collect();
    assert_eq!(statuses, ["accepted", "accepted", "duplicate", "duplicate"]);
    assert_eq!(counts(&client.ingest(&lines(&[call("b"), call("c")]))), [1, 1, 0, 0]);
    assert_eq!(counts(&client.ingest(&request)), [0, 4, 0, 0], "a retry of the whole request");
    // The same id in another trace, and without a trace, is another event.
    let mut alone = call("a");
    alone.remove("trace_id");
    let others = lines(&[large_call("a", "t2", &at, "support"), alone.clone(), alone]);
    assert_eq!(counts(&client.ingest(&others)), [2, 1, 0, 0]);
    client.nightly();
    let month = Month::before_today(1);
    assert_eq!(client.events_counted(&month.first().to_string(), &month.next().first().to_string()), 5);
}

/// EVT-2: the same content in other words is a duplicate; other content is a conflict, and the first stays.
#[test]
fn evt_2_the_first_of_two_contents_stays() {
    let books = Books::of(SMALL);
    let server = books.serve();
    let client = server.client(&books.key("admin", None));
    let day = Month::before_today(1).day(10);
    let first = large_call("a", "t1", &noon(day), "support");
    client.ingest(&lines([&first]));
    // The same instant in another zone, and fields that say nothing.
    let mut reworded = first.clone();
    reworded.insert("used_at".into(), noon(day).replace('Z', "+00:00").into());
    reworded.insert("parent_id".into(), Value::Null);
    assert_eq!(counts(&client.ingest(&lines([&reworded]))), [0, 1, 0, 0]);
    let mut dearer = first.clone();
    dearer.insert("usage".into(), json!({ "input": 2_000_000, "output": 100 }));
    // An earlier time does not make it the first.
    dearer.insert("used_at".into(), noon(Month::before_today(1).day(3)).into());
    let receipt = client.ingest(&lines([&dearer]));
    assert_eq!(counts(&receipt), [0, 0, 1, 0]);
    let problem = &receipt["results"][0]["error"];
    assert_eq!((&problem["type"], &problem["field"]), (&json!("conflict"), &json!("event_id")));
    assert!(problem["detail"].as_str().unwrap().contains("supersedes"), "{problem}");
    assert_eq!(counts(&client.ingest(&lines([&dearer]))), [0, 0, 1, 0], "a conflict stays one");
    client.nightly();
    let month = Month::before_today(1);
    let costs = client.json(&format!("/v1/costs?from={}&to={}", month.first(), month.next().first()));
    assert_eq!(pico(costs["total"]["cost"].as_str().unwrap()), pico("0.0045"), "{costs}");
    // It is found under the day on which it came: today.
    let findings = client.rows("/v1/findings?kind=conflict");
    assert!(findings.iter().any(|finding| finding["kind"] == "conflict"), "{findings:?}");
}

/// EVT-2: gateway and agent report one provider call in two traces: one is billed, the one whose root names a team.
#[test]
fn evt_2_a_call_that_two_traces_report_is_billed_once() {
    let books = Books::of(SMALL);
    let server = books.serve();
    let client = server.client(&books.key("admin", None));
    let month = Month::before_today(1);
    // Around midnight UTC, so that the two lie in different blocks of the log.
    let night = |second: u32| format!("{}T{:02}:59:{second:02}Z", month.day(10), 23);
    let mut agent = large_call("z", "z-trace", &night(58), "support");
    agent.insert("response_id".into(), "resp-1".into());
    let mut gateway = large_call("a", "a-trace", &format!("{}T00:00:03Z", month.day(11)), "support");
    gateway.insert("response_id".into(), "resp-1".into());
    gateway.insert("tags".into(), json!({ "agent": "writer" }));
    client.ingest(&lines([&gateway]));
    client.nightly();
    client.ingest(&lines([&agent]));
    let night = client.nightly();
    assert!(!night["days"].as_array().unwrap().is_empty(), "{night}");
    let path = format!("/v1/costs?from={}&to={}&group_by=team", month.first(), month.next().first());
    let costs = client.json(&path);
    assert_eq!(pico(costs["total"]["cost"].as_str().unwrap()), pico("0.0045"), "{costs}");
    let support = costs["rows"].as_array().unwrap().iter().find(|row| row["team"] == "support").unwrap();
    assert_eq!(pico(support["cost"].as_str().unwrap()), pico("0.0045"), "the one whose root names a team: {costs}");
}

/// EVT-2, EVT-3: the correction of a call that was reported twice replaces it; the other report is still not billed.
#[test]
fn evt_3_a_corrected_call_that_two_traces_report_is_billed_once() {
    let books = Books::of(SMALL);
    let month = Month::before_today(1);
    let at = noon(month.day(10));
    let mut agent = large_call("a", "trace", &at, "support");
    agent.insert("response_id".into(), "resp-1".into());
    let mut correction = large_call("b", "trace", &at, "support");
    correction.insert("supersedes".into(), "a".into());
    correction.insert("usage".into(), json!({ "input": 2_000 }));
    let mut gateway = agent.clone();
    gateway.insert("trace_id".into(), "gateway".into());
    gateway.insert("tags".into(), json!({}));
    books.ingest(&lines(&[agent, correction, gateway])).ended(0);
    books.json(&["nightly", "--all"]);
    let costs = books.json(&["costs", "--month", &month.to_string()]);
    assert_eq!(pico(costs["total"]["cost"].as_str().unwrap()), pico("0.006"), "{costs}");
}

/// EVT-2, EVT-5: a frame that carries its call's response id is no second report of the call.
#[test]
fn evt_5_a_wrapper_with_the_response_id_of_its_call_takes_nothing_from_it() {
    let books = Books::of(SMALL);
    let month = Month::before_today(1);
    let mut wrapper = large_call("a-wrapper", "trace", &noon(month.day(10)), "support");
    wrapper.insert("kind".into(), "agent".into());
    wrapper.insert("tags".into(), json!({ "team": "support", "agent": "triage" }));
    wrapper.insert("response_id".into(), "resp-1".into());
    let mut call = large_call("call", "trace", &noon(month.day(10)), "support");
    call.insert("parent_id".into(), "a-wrapper".into());
    call.insert("response_id".into(), "resp-1".into());
    books.ingest(&lines(&[wrapper, call])).ended(0);
    books.json(&["nightly", "--all"]);
    let costs = books.json(&["costs", "--month", &month.to_string(), "--by", "agent,kind"]);
    let paid: Vec<_> = costs["rows"].as_array().unwrap().iter().filter(|row| row["cost"] != "0").collect();
    assert_eq!(paid.len(), 1, "{costs}");
    assert_eq!(
        (&paid[0]["agent"], &paid[0]["kind"], &paid[0]["cost"]),
        (&json!("writer"), &json!("llm"), &json!("0.0045"))
    );
}
