//! A close that runs its missing nights itself: the same statements, and nothing is missing after the next night.

use std::process::Command;

use recoup_suite::{Books, EVERYTHING, Month, Traffic, lines};
use serde_json::Value;

fn month() -> Month {
    Month::before_today(1)
}

fn events() -> Vec<String> {
    let days = u64::try_from(month().days().len()).unwrap();
    lines(&Traffic { seed: 8, first: month().first(), days, traces: 10 }.events())
}

fn costs(books: &Books) -> Value {
    books.json(&["costs", "--month", &month().to_string(), "--by", "team,project,model,day"])
}

/// Blocks of a month's inner days, and how many of them have fingerprints beside them.
fn blocks_and_prints(books: &Books) -> (u64, u64) {
    let (first, last) = (month().first(), month().days().last().copied().unwrap());
    let query = format!(
        "select count(*), count(p.block) from blocks b left join block_prints p on p.block = b.seq \
         where utc_day > '{first}' and utc_day < '{last}'"
    );
    let program =
        "import json, sqlite3, sys\nprint(json.dumps(sqlite3.connect(sys.argv[1]).execute(sys.argv[2]).fetchone()))";
    let file = books.data().join("recoup.sqlite3");
    let ran = Command::new("python3").args(["-c", program]).arg(file).arg(query).output().unwrap();
    serde_json::from_slice(&ran.stdout).unwrap()
}

/// I5: fingerprints go when their month is closed and its nights are whole; statements verify without them.
#[test]
fn evt_2_fingerprints_go_with_the_month_and_statements_still_verify() {
    let books = Books::of(EVERYTHING);
    books.ingest(&events()).ended(0);
    let (blocks, prints) = blocks_and_prints(&books);
    assert!(blocks > 0 && prints == blocks, "{prints} of {blocks}");
    let closed = books.close(month());
    assert_eq!(blocks_and_prints(&books), (blocks, blocks));
    books.json(&["nightly", "--all"]);
    assert_eq!(blocks_and_prints(&books), (blocks, 0));
    let team = closed["statements"][0]["team"].as_str().unwrap();
    let path = books.statement_path(month(), team);
    assert_eq!(books.json(&["verify", path.to_str().unwrap()])["holds"], true);
}

/// CLO-1, CLO-5: refused without its nights unless it is told to run them, and then the same to the byte.
#[test]
fn clo_5_a_close_that_runs_its_nights_issues_the_same_statements() {
    let events = events();
    let nightly = Books::of(EVERYTHING);
    nightly.ingest(&events).ended(0);
    nightly.close(month());

    let direct = Books::of(EVERYTHING);
    direct.ingest(&events).ended(0);
    let name = month().to_string();
    let command = ["--json", "close", name.as_str(), "--as-of", &month().closable()].map(str::to_owned);
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    let refused = direct.run(&command).ended(1).json();
    assert_eq!(refused["closed"], false, "{refused}");
    let plan = direct.run(&[&command[..], &["--plan", "--run-missing-nights"]].concat()).ended(1).json();
    assert_eq!(plan["closed"], false, "a plan runs no night: {plan}");
    let closed = direct.run(&[&command[..], &["--run-missing-nights"]].concat()).ended(0).json();
    assert_eq!(closed["closed"], true, "{closed}");
    assert_eq!(direct.documents(month()), nightly.documents(month()));

    // Queries have an answer before the next night, and the same one after it.
    assert_eq!(costs(&direct), costs(&nightly));
    let night = direct.json(&["nightly", "--all"]);
    let of_month = |day: &&Value| day["day"].as_str().unwrap().starts_with(&name);
    let days: Vec<&Value> = night["days"].as_array().unwrap().iter().filter(of_month).collect();
    assert_eq!(days.len(), month().days().len(), "{night}");
    assert!(days.iter().all(|day| day["changed"] == false), "{night}");
    assert_eq!(costs(&direct), costs(&nightly));
    // Nothing of the closed month is booked again.
    let ledger = |books: &Books| books.json(&["ledger", &name])["rows"].as_array().unwrap().clone();
    assert_eq!(ledger(&direct), ledger(&nightly));
    assert_eq!(direct.json(&["nightly", "--all"])["days"].as_array().unwrap().len(), 0);
}

/// What a month opens with comes from the days before it, so that their nights are missing too.
#[test]
fn clo_1_a_late_event_of_the_month_before_is_a_missing_night() {
    let (before, month) = (Month::before_today(2), month());
    let (last, first) = (before.days().last().copied().unwrap(), month.first());
    let task = |id: &str, day: chrono::NaiveDate, cost: &str| {
        serde_json::json!({
            "event_id": id, "trace_id": id, "used_at": format!("{day}T10:00:00Z"), "kind": "tool", "status": "ok",
            "cost": { "amount": cost, "currency": "USD" }, "tags": { "team": "a", "agent": "k", "task_type": "x" },
        })
        .to_string()
    };
    let (known, late) = ([task("s1", last, "2"), task("o1", first, "2")], [task("s2", last, "10")]);
    let total = |books: &Books| {
        let closed = books.json(&["close", &month.to_string(), "--as-of", &month.closable(), "--run-missing-nights"]);
        closed["statements"][0]["total"].clone()
    };

    let direct = Books::of(PRICED);
    direct.ingest(&[&known[..], &late].concat()).ended(0);
    assert_eq!(total(&direct), "6.00", "a task of the month before cost 12 / 2");

    let books = Books::of(PRICED);
    books.ingest(&known).ended(0);
    books.json(&["nightly"]);
    books.ingest(&late).ended(0);
    let refused = ["--json", "close", &month.to_string(), "--as-of", &month.closable()];
    let refused = books.run(&refused).ended(1).json();
    let missing: Vec<&Value> = refused["findings"].as_array().unwrap().iter().map(|found| &found["subject"]).collect();
    assert_eq!(missing, [&Value::from(last.to_string())], "{refused}");
    assert_eq!(total(&books), "6.00");
    assert_eq!(books.documents(month), direct.documents(month));
}

const PRICED: &str = r#"
[organisation]
name = "Example"
currency = "USD"
time_zone = "UTC"
[policy]
min_days = 1
variance = "absorb"
[[teams]]
id = "a"
[[agents]]
id = "k"
billing = "task"
"#;
