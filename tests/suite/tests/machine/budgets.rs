//! BUD-1: live counters, seen as budgets. They are right when the answer to the events is there.

use std::collections::BTreeMap;

use recoup_suite::{Books, Client, SMALL, large_call, lines, pico, today};
use serde_json::{Map, Value, json};

const BUDGETS: &str = r#"
[[budgets]]
scope = "organisation"
limit = "100"
[[budgets]]
scope = "team:support"
limit = "0.01"
[[budgets]]
scope = "team:marketing"
limit = "10"
[[budgets]]
scope = "agent:writer"
limit = "10"
period = "week"
[[budgets]]
scope = "user:ada@example.com"
limit = "10"
period = "day"
[[budgets]]
scope = "task:T-1"
limit = "10"
"#;

fn books() -> Books {
    Books::of(&format!("{SMALL}{BUDGETS}"))
}

/// A call that costs 0.0045, just after local midnight of today.
fn call(event_id: &str, trace_id: &str, team: &str) -> Map<String, Value> {
    let midnight = today().and_hms_opt(0, 0, 0).unwrap().and_local_timezone(recoup_suite::BERLIN).earliest().unwrap();
    large_call(event_id, trace_id, &(midnight + chrono::Duration::seconds(5)).to_rfc3339(), team)
}

fn below(parent: &str, mut event: Map<String, Value>) -> Map<String, Value> {
    event.insert("parent_id".into(), parent.into());
    event
}

/// What is posted to each scope, in units of one call.
fn posted(client: &Client) -> BTreeMap<String, i128> {
    let rows = client.rows("/v1/budgets");
    let calls = |row: &Value| pico(row["posted"].as_str().unwrap()) * 1_000 / pico("0.0045");
    rows.iter().map(|row| (row["scope"].as_str().unwrap().to_owned(), calls(row) / 1_000)).collect()
}

fn of(entries: &[(&str, i128)]) -> BTreeMap<String, i128> {
    let mut all: BTreeMap<String, i128> = BTreeMap::new();
    for scope in ["organisation", "team:support", "team:marketing", "agent:writer", "user:ada@example.com", "task:T-1"]
    {
        all.insert(scope.to_owned(), 0);
    }
    all.extend(entries.iter().map(|(scope, calls)| ((*scope).to_owned(), *calls)));
    all
}

/// Until the root is there each span counts for its own team; then all of them for the root's.
#[test]
fn bud_1_counters_move_to_the_payer_when_the_root_arrives() {
    let books = books();
    let server = books.serve();
    let client = server.client(&books.key("admin", None));
    assert_eq!(posted(&client), of(&[]));
    let early = lines(&[below("root", call("a", "t", "marketing")), below("a", call("b", "t", "support"))]);
    client.ingest(&early);
    let before = of(&[("organisation", 2), ("team:marketing", 1), ("team:support", 1), ("agent:writer", 2)]);
    assert_eq!(posted(&client), before);

    client.ingest(&early);
    let mut again = call("b", "t", "support");
    again.insert("model".into(), "another".into());
    client.ingest(&lines(&[again]));
    assert_eq!(posted(&client), before, "duplicates and conflicts change nothing");

    let mut root = call("root", "t", "support");
    root["tags"]["user"] = json!("ada@example.com");
    root["tags"]["task_id"] = json!("T-1");
    root["tags"]["task_type"] = json!("letter");
    client.ingest(&lines(&[root]));
    let after = of(&[
        ("organisation", 3),
        ("team:support", 3),
        ("agent:writer", 3),
        ("user:ada@example.com", 3),
        ("task:T-1", 3),
    ]);
    assert_eq!(posted(&client), after);
    let rows = client.rows("/v1/budgets");
    let support = rows.iter().find(|row| row["scope"] == "team:support").unwrap();
    assert_eq!((&support["percent"], &support["remaining"]), (&json!(135), &json!("-0.0035")));
    assert_eq!(support["tiers"][2], json!({ "percent": 100, "reached": true }));

    drop(client);
    assert!(server.stop());
    let server = books.serve();
    let client = server.client(&books.key("admin", None));
    client.ingest(&lines(&[call("alone", "u", "marketing")]));
    let mut more = after;
    for scope in ["organisation", "team:marketing", "agent:writer"] {
        *more.get_mut(scope).unwrap() += 1;
    }
    assert_eq!(posted(&client), more, "nothing is counted anew after a restart");
}

/// The counters of a month are the night's figures of that month.
#[test]
fn bud_1_counters_are_what_the_night_finds() {
    let books = books();
    let server = books.serve();
    let client = server.client(&books.key("admin", None));
    for batch in 0..5 {
        let events: Vec<_> = (0..40)
            .map(|at| {
                let number = batch * 40 + at;
                let team = if number % 3 == 0 { "support" } else { "marketing" };
                let event = call(&format!("e{number}"), &format!("t{}", number % 7), team);
                if number < 7 { event } else { below(&format!("e{}", number - 7), event) }
            })
            .rev()
            .collect();
        client.ingest(&lines(&events));
    }
    let night = client.run(&json!({ "kind": "nightly", "through": "all" }));
    assert!(!night["days"].as_array().unwrap().is_empty(), "{night}");
    let tomorrow = today() + chrono::Days::new(1);
    let costs = client.json(&format!("/v1/costs?from={}&to={tomorrow}&group_by=team", today()));
    let counters = posted(&client);
    for row in costs["rows"].as_array().unwrap() {
        let calls = pico(row["cost"].as_str().unwrap()) / pico("0.0045");
        assert_eq!(counters[&format!("team:{}", row["team"].as_str().unwrap())], calls, "{row}");
    }
    assert_eq!(counters["organisation"], 200);
}

/// A budget that is made later counts its whole period once a night has run.
#[test]
fn bud_1_a_new_budget_counts_what_came_before_it() {
    let books = Books::of(SMALL);
    let server = books.serve();
    let client = server.client(&books.key("admin", None));
    client.ingest(&lines(&[call("a", "t", "support"), call("b", "u", "marketing")]));
    assert_eq!(client.rows("/v1/budgets"), Vec::<Value>::new());
    books.apply(&format!("{SMALL}{BUDGETS}"), &["--effective", &today().to_string()]).ended(0);
    client.run(&json!({ "kind": "nightly", "through": "all" }));
    let both = of(&[("organisation", 2), ("team:support", 1), ("team:marketing", 1), ("agent:writer", 2)]);
    assert_eq!(posted(&client), both);
    client.ingest(&lines(&[call("c", "v", "support")]));
    assert_eq!(posted(&client)["team:support"], 2);
}

/// A team's key sees its own budgets and those of its agents, nothing else.
#[test]
fn bud_1_a_team_sees_its_own_budgets() {
    let books = books();
    let server = books.serve();
    let scopes = |role: &str, team: Option<&str>| -> Vec<String> {
        let rows = server.client(&books.key(role, team)).rows("/v1/budgets");
        rows.iter().map(|row| row["scope"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(scopes("viewer", Some("support")), ["team:support"]);
    assert_eq!(scopes("lead", Some("marketing")), ["team:marketing", "agent:writer"]);
    assert_eq!(scopes("finance", None).len(), 6);
    server.client(&books.key("ingest", None)).get("/v1/budgets").ok(403);
    let shown = books.run(&["budgets"]).ended(0).said();
    assert!(shown.contains("team:support") && shown.contains("...................."), "{shown}");
}
