//! What an explanation shows beside the arithmetic: causes, whole costs and every trace, where they are easily lost.

use recoup_suite::{Books, Month, local, noon};
use serde_json::{Value, json};

const ORGANISATION: &str = r#"
[organisation]
name = "Explained"
currency = "USD"
time_zone = "Europe/Berlin"
[policy]
unattributed_pool = "common"
[[teams]]
id = "alpha"
[[teams]]
id = "beta"
[[people]]
id = "ada"
team = "beta"
[[agents]]
id = "worker"
billing = "task"
[[agents]]
id = "guard"
shared_pool = "common"
[[pools]]
id = "common"
basis = "direct_cost"
[[task_types]]
id = "fix"
seed_price = "0.05"
[[prices]]
provider = "ex"
model = "m"
from = "2025-01-01"
per_million = { input = "1" }
[[prices]]
provider = "ex"
model = "odd"
from = "2025-01-01"
per_million = { input = "0.1234567", output = "0.7654321" }
"#;

fn lines(events: &[Value]) -> Vec<String> {
    events.iter().map(Value::to_string).collect()
}

fn of_last_month(events: &[Value]) -> (Books, Month) {
    let (books, month) = (Books::of(ORGANISATION), Month::before_today(1));
    books.ingest(&lines(events)).ended(0);
    books.close(month);
    (books, month)
}

fn call(id: &str, used_at: &str, tokens: u64, tags: Value) -> Value {
    json!({ "event_id": id, "trace_id": format!("trace-{id}"), "used_at": used_at, "kind": "llm", "provider": "ex",
            "model": "m", "usage": { "input": tokens }, "tags": tags })
}

/// The explanations of the lines of a statement that are of a kind.
fn explained(books: &Books, (month, team, kind): (Month, &str, &str)) -> Vec<Value> {
    let statement: Value = serde_json::from_slice(&books.statement_bytes(month, team)).unwrap();
    let numbered = statement["lines"].as_array().unwrap().iter().zip(1..);
    let wanted = numbered.filter(|(line, _)| line["kind"] == kind);
    let explain =
        |number: usize| books.json(&["explain", &format!("{month}-{team}"), &number.to_string(), "--rows", "1000"]);
    wanted.map(|(_, number)| explain(number)).inspect(|found| assert_eq!(found["ties"], true, "{found}")).collect()
}

fn step<'a>(found: &'a Value, name: &str) -> &'a Value {
    let steps = found["steps"].as_array().unwrap();
    steps.iter().find(|step| step["step"] == name).unwrap_or_else(|| panic!("no step {name} in {found}"))
}

/// The rows of a step's table as texts.
fn rows(step: &Value) -> Vec<Vec<&str>> {
    let rows = step["table"]["rows"].as_array().unwrap().iter();
    rows.map(|row| row.as_array().unwrap().iter().map(|cell| cell.as_str().unwrap()).collect()).collect()
}

#[test]
fn prc_1_a_task_over_midnight_is_told_with_its_whole_cost() {
    let month = Month::before_today(1);
    let part = |id: &str, used_at: &str, tokens: u64| {
        let mut part = call(id, used_at, tokens, json!({}));
        part["trace_id"] = "T".into();
        part["parent_id"] = "root".into();
        part
    };
    let root = json!({ "event_id": "root", "trace_id": "T", "used_at": local(month.day(6), 9, 0, 0), "kind": "agent",
                       "duration_ms": 72_000_000, "status": "ok",
                       "tags": { "agent": "worker", "task_type": "fix", "team": "alpha" } });
    let (books, month) = of_last_month(&[
        root,
        part("a", &noon(month.day(5)), 90_000),
        part("b", &local(month.day(6), 8, 0, 0), 10_000),
    ]);
    let found = explained(&books, (month, "alpha", "charge"));
    assert_eq!(found.len(), 1);
    assert_eq!(rows(step(&found[0], "traces")), [["T", "alpha", "ok", "0.05", "0.1"]]);
    let checks = found[0]["checks"].as_array().unwrap();
    let actual = checks.iter().find(|check| check["what"] == "the traces' actual cost");
    assert_eq!(actual.map(|check| &check["expected"]), Some(&json!("0.1")), "{checks:?}");
}

#[test]
fn atr_6_a_share_of_a_pool_names_the_traces_that_nobody_pays() {
    let at = noon(Month::before_today(1).day(5));
    let (books, month) = of_last_month(&[
        call("n", &at, 90_000, json!({ "agent": "guard" })),
        call("o", &at, 80_000, json!({ "agent": "other" })),
        call("g", &at, 10_000, json!({ "agent": "guard", "team": "alpha" })),
        call("d", &at, 5_000, json!({ "agent": "other", "team": "alpha" })),
    ]);
    let found = explained(&books, (month, "alpha", "pool"));
    assert_eq!(found.len(), 1);
    let traces = rows(step(&found[0], "traces"));
    let wanted = [["trace-n", "unattributed", "", "0.09"], ["trace-o", "unattributed", "", "0.08"]];
    assert_eq!(traces[..2], wanted);
    assert_eq!(traces[2..], [["trace-g", "alpha", "", "0.01"]]);
}

#[test]
fn mon_1_a_product_that_was_rounded_says_so() {
    let at = noon(Month::before_today(1).day(5));
    let mut odd = call("odd", &at, 38, json!({ "team": "beta" }));
    odd["model"] = "odd".into();
    odd["usage"] = json!({ "input": 38, "output": 38 });
    let mut even = odd.clone();
    (even["event_id"], even["trace_id"]) = ("even".into(), "even".into());
    even["usage"] = json!({ "input": 10_000_000 });
    let (books, month) = of_last_month(&[odd, even]);
    let found = explained(&books, (month, "beta", "charge"));
    let told: Vec<String> =
        found.iter().flat_map(|one| one["steps"].as_array().unwrap().clone()).map(|s| s.to_string()).collect();
    let told = told.join("\n");
    // 38 x 0.7654321 / 1,000,000 is 0.0000290864198.
    assert!(told.contains("38 x 0.7654321 / 1000000, each event rounded to a picounit, = 0.0000290864"), "{told}");
    assert!(!told.contains("38 x 0.7654321 / 1000000 ="), "{told}");
}

#[test]
fn evt_2_a_call_that_another_trace_took_over_is_the_cause_of_a_correction() {
    let (old, new) = (Month::before_today(2), Month::before_today(1));
    let report = |id: &str, used_at: &str, tags: Value| {
        let mut report = call(id, used_at, 90_000, tags);
        report["response_id"] = "resp-1".into();
        report
    };
    let books = Books::of(ORGANISATION);
    let last_day = *old.days().last().unwrap();
    // Nothing but its user names a team: a report whose own tag does counts before it.
    books.ingest(&lines(&[report("first", &local(last_day, 23, 50, 0), json!({ "user": "ada" }))])).ended(0);
    books.close(old);
    let second = report("second", &noon(new.first()), json!({ "team": "alpha", "agent": "other" }));
    books.ingest(&lines(&[second])).ended(0);
    books.close(new);
    let found = explained(&books, (new, "beta", "correction"));
    assert_eq!(found.len(), 1, "{found:?}");
    let late = step(&found[0], "late events");
    assert_eq!(rows(late), [["trace-first", "beta", "0.09", "0"]], "{late}");
    assert!(!late.to_string().contains("prices that came later"), "{late}");
}

/// ATR-1: what a night saw of all teams' tasks less one's own is what another team spent.
#[test]
fn prc_1_what_single_nights_saw_is_for_finance_and_the_team_that_runs_the_agent() {
    let month = Month::before_today(1);
    let organisation = |owner: &str| {
        ORGANISATION
            .replace("[policy]", "[policy]\nmin_tasks = 1\nmin_days = 1")
            .replace("billing = \"task\"", &format!("billing = \"task\"{owner}"))
    };
    let work = |id: &str, day: u32, team: &str| {
        let tags = json!({ "agent": "worker", "task_type": "fix", "team": team });
        let mut done = call(id, &noon(month.day(day)), 10_000, tags);
        done["status"] = "ok".into();
        done
    };
    // The price that the first day's night gave.
    let nights = |books: &Books, (key, line): (&str, usize)| {
        let server = books.serve();
        let found =
            server.client(key).json(&format!("/v1/statements/{month}/alpha/lines/{line}/explanation?rows=1000"));
        assert_eq!(found["ties"], true, "{found}");
        let price = step(&found, "price").clone();
        let sees = !price["table"].is_null();
        // The sums of two nights tell what one saw, and so does the evidence.
        let sums = ["S_C", "S_N", "evidence:"].map(|sum| found.to_string().contains(sum));
        assert_eq!(sums, [sees; 3], "{found}");
        sees
    };
    for (owner, sees) in [("", false), ("\nowner = \"beta\"", false), ("\nowner = \"alpha\"", true)] {
        let books = Books::of(&organisation(owner));
        let events = [work("a", 3, "alpha"), work("b", 3, "beta"), work("c", 6, "beta"), work("d", 9, "alpha")];
        books.ingest(&lines(&events)).ended(0);
        books.close(month);
        let statement: Value = serde_json::from_slice(&books.statement_bytes(month, "alpha")).unwrap();
        let is_later = |line: &Value| line["unit"] == "task" && line["price"] != "0.05";
        let at =
            statement["lines"].as_array().unwrap().iter().position(is_later).unwrap_or_else(|| panic!("{statement}"));
        assert!(nights(&books, (&books.key("finance", None), at + 1)), "{owner}");
        assert_eq!(nights(&books, (&books.key("viewer", Some("alpha")), at + 1)), sees, "{owner}");
    }
}
