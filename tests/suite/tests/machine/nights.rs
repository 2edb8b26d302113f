//! What nights do, and what they leave alone.

use recoup_suite::{Books, Month, SMALL, large_call, lines, noon};
use serde_json::Value;

fn days(outcome: &Value) -> Vec<(String, String)> {
    let text = |day: &Value, name: &str| day[name].as_str().unwrap().to_owned();
    outcome["days"].as_array().unwrap().iter().map(|day| (text(day, "day"), text(day, "reason"))).collect()
}

/// CLO-5: a second night has nothing to do and says so; figures stay.
#[test]
fn clo_5_a_second_night_changes_nothing_and_says_so() {
    let books = Books::of(SMALL);
    let month = Month::before_today(1);
    let call = |id: &str, day: u32| large_call(id, id, &noon(month.day(day)), "support");
    books.ingest(&lines(&[call("a", 3), call("b", 3), call("c", 9)])).ended(0);
    let first = books.json(&["nightly", "--all"]);
    let new = |day: u32| (month.day(day).to_string(), "new events".to_owned());
    assert_eq!(days(&first), [new(3), new(9)]);
    let costs = |books: &Books| {
        let (from, to) = (month.first().to_string(), month.next().first().to_string());
        books.json(&["costs", "--from", &from, "--to", &to, "--by", "day,team"])
    };
    let before = costs(&books);
    let second = books.json(&["nightly", "--all"]);
    assert_eq!(days(&second), [], "nothing is left to do");
    assert_eq!(costs(&books), before);
    let said = books.run(&["nightly", "--all"]).ended(0).said();
    assert!(said.contains("nothing to do"), "{said}");
}

/// LED-4, RAT-3: a late event has exactly its days run again, with the reason.
#[test]
fn a_late_event_runs_exactly_its_days_again_and_says_why() {
    let books = Books::of(SMALL);
    let month = Month::before_today(1);
    let call = |id: &str, trace: &str, day: u32| large_call(id, trace, &noon(month.day(day)), "support");
    books.ingest(&lines(&[call("a", "long", 3), call("b", "b", 5), call("c", "c", 9)])).ended(0);
    books.json(&["nightly", "--all"]);
    books.ingest(&lines(&[call("late", "late", 5)])).ended(0);
    let outcome = books.json(&["nightly", "--all"]);
    assert_eq!(days(&outcome), [(month.day(5).to_string(), "new events".to_owned())]);
    let day = &outcome["days"][0];
    assert_eq!((day["events_before"].as_u64(), day["events"].as_u64()), (Some(1), Some(2)), "{day}");
    assert_eq!(day["changed"], true);
    // A late root changes who pays on every day that its trace touches.
    let mut root = call("root", "long", 7);
    root.insert("kind".into(), "agent".into());
    let mut child = call("child", "long", 7);
    child.insert("parent_id".into(), "root".into());
    for name in ["provider", "model", "usage"] {
        root.remove(name);
    }
    books.ingest(&lines(&[root, child])).ended(0);
    let outcome = books.json(&["nightly", "--all"]);
    let touched: Vec<String> = days(&outcome).into_iter().map(|(day, _)| day).collect();
    assert_eq!(touched, [3, 7].map(|day| month.day(day).to_string()));
    assert!(days(&outcome).iter().all(|(_, reason)| reason.contains("new events")), "{outcome}");
}

/// CLO-5, POOL-1: a pool whose basis changed runs no day again, and what the days come to is told to have moved, and why.
#[test]
fn clo_5_a_pool_that_changed_moves_the_month_and_says_why() {
    let month = Month::before_today(1);
    let organisation = |basis: &str| {
        format!(
            "{SMALL}\n[[agents]]\nid = \"search\"\nshared_pool = \"common\"\n[[pools]]\nid = \"common\"\nbasis = \"{basis}\"\n"
        )
    };
    let books = Books::of(&organisation("invocations"));
    let call = |id: &str, agent: Option<&str>, team: &str| {
        let mut call = large_call(id, id, &noon(month.day(3)), team);
        if let Some(agent) = agent {
            call.insert("tags".into(), serde_json::json!({ "team": team, "agent": agent }));
        }
        call
    };
    let calls = [
        call("a", Some("search"), "support"),
        call("b", None, "support"),
        call("c", None, "marketing"),
        call("d", None, "marketing"),
    ];
    books.ingest(&lines(&calls)).ended(0);
    books.json(&["nightly", "--all"]);
    let period = |outcome: &Value| outcome["periods"][0].clone();
    let same = period(&books.json(&["nightly", "--all"]));
    assert_eq!((&same["changed"], &same["reason"]), (&false.into(), &Value::Null), "{same}");
    books.apply(&organisation("direct_cost"), &["--effective", &month.first().to_string()]).ended(0);
    let outcome = books.json(&["nightly", "--all"]);
    assert_eq!(days(&outcome), []);
    let moved = period(&outcome);
    assert_eq!(moved["changed"], true, "{moved}");
    assert_eq!(moved["reason"], "organisation changed: pools[common].basis", "{moved}");
    books.apply(&organisation("even"), &["--effective", &month.first().to_string()]).ended(0);
    let said = books.run(&["nightly", "--all"]).ended(0).said();
    assert!(said.contains("what the days come to has") && said.contains("pools[common].basis"), "{said}");
}
