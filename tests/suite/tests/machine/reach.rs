//! What reaches further than the day it happened on: late roots, new prices, bills, damaged blocks, interrupted closes.

use std::process::Command;

use recoup_suite::{Books, Month, SMALL, large_call, lines, noon, pico};
use serde_json::{Map, Value, json};

type Event = Map<String, Value>;

/// The parentless `agent` span of a trace.
fn root(trace: &str, used_at: &str, tags: Value) -> Event {
    let event = json!({
        "event_id": "root", "trace_id": trace, "used_at": used_at, "duration_ms": 1, "kind": "agent", "tags": tags,
    });
    event.as_object().unwrap().clone()
}

/// A model call of `writer` that names no team.
fn call(id: &str, trace: &str, used_at: &str, more: Value) -> Event {
    let mut event = large_call(id, trace, used_at, "");
    event.insert("tags".into(), json!({ "agent": "writer" }));
    event.extend(more.as_object().unwrap().clone());
    event
}

/// [`SMALL`] with `writer` billed by task.
fn by_task() -> String {
    let billed = SMALL.replace("owner = \"marketing\"", "owner = \"marketing\"\nbilling = \"task\"");
    format!("{billed}\n[[task_types]]\nid = \"write\"\nseed_price = \"0.05\"\n")
}

fn days(outcome: &Value) -> Vec<String> {
    let day = |day: &Value| day["day"].as_str().unwrap().to_owned();
    outcome["days"].as_array().unwrap().iter().map(day).collect()
}

/// Cost of a month by team; `null` is nobody's.
fn cost_of(books: &Books, month: Month, team: &Value) -> i128 {
    let costs = books.json(&["costs", "--month", &month.to_string(), "--by", "team"]);
    let rows = costs["rows"].as_array().unwrap().iter().filter(|row| row["team"] == *team);
    rows.map(|row| pico(row["cost"].as_str().unwrap())).sum()
}

#[track_caller]
fn assert_ties(closed: &Value) {
    assert_eq!(closed["closed"], true, "{closed}");
    let term = |name: &str| pico(closed["totals"][name].as_str().unwrap());
    let left = term("exact_total") + term("unattributed") + term("unallocated");
    let right = ["priced_cost", "markup", "corrections", "residual", "absorbed", "carried_out"].map(term);
    assert_eq!(left, right.iter().sum::<i128>() - term("carried_in"), "CLO-4: {closed}");
}

/// Verifies every statement of a closed month, and names their teams.
#[track_caller]
fn verified_teams(books: &Books, closed: &Value, month: Month) -> Vec<String> {
    let issued = closed["statements"].as_array().unwrap();
    let teams: Vec<String> = issued.iter().map(|one| one["team"].as_str().unwrap().to_owned()).collect();
    for team in &teams {
        let path = books.statement_path(month, team);
        assert_eq!(books.json(&["verify", path.to_str().unwrap()])["holds"], true, "{team} in {month}");
    }
    teams
}

/// Runs a program of Python with `db` open on the books, as a fault of the machine would change them.
fn tamper(books: &Books, program: &str) {
    let file = books.data().join("recoup.sqlite3");
    let whole =
        format!("import json, sqlite3, sys\ndb = sqlite3.connect(sys.argv[1])\n{program}\ndb.commit()\ndb.close()\n");
    let ran = Command::new("python3").arg("-c").arg(whole).arg(file).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
}

/// Flips the middle byte of the only block of a day.
fn damage(books: &Books, day: &str) {
    tamper(
        books,
        &format!(
            "(seq, held), = db.execute(\"select seq, bytes from blocks where utc_day = '{day}'\").fetchall()\n\
             at = len(held) // 2\n\
             held = held[:at] + bytes([held[at] ^ 1]) + held[at + 1:]\n\
             db.execute('update blocks set bytes = ? where seq = ?', (held, seq))"
        ),
    );
}

/// EVT-2, CLO-5: which of two reports is billed may turn on a root that comes days later, in whatever lanes they lie.
#[test]
fn evt_2_a_late_root_moves_the_bill_to_its_report() {
    const CALLS: usize = 6;
    let books = Books::of(&SMALL.replace("[policy]", "[policy]\nlanes = 2"));
    let month = Month::before_today(1);
    let (mut reports, mut roots) = (Vec::new(), Vec::new());
    for number in 0..CALLS {
        let response = json!({ "response_id": format!("r{number}") });
        // While neither names a team the smaller trace is billed: A.
        reports.push(call("a", &format!("A{number}"), &noon(month.day(3)), response.clone()));
        let mut child = call("b", &format!("B{number}"), &noon(month.day(3)), response);
        child.insert("parent_id".into(), "root".into());
        reports.push(child);
        let tags = json!({ "team": "support", "agent": "writer" });
        roots.push(root(&format!("B{number}"), &noon(month.day(7)), tags));
    }
    let whole = pico("0.0045") * i128::try_from(CALLS).unwrap();
    books.ingest(&lines(&reports)).ended(0);
    books.json(&["nightly", "--all"]);
    assert_eq!(cost_of(&books, month, &json!("support")), 0);
    let total = |books: &Books| {
        let costs = books.json(&["costs", "--month", &month.to_string()]);
        pico(costs["total"]["cost"].as_str().unwrap())
    };
    assert_eq!(total(&books), whole);
    books.ingest(&lines(&roots)).ended(0);
    books.json(&["nightly", "--all"]);
    assert_eq!((total(&books), cost_of(&books, month, &json!("support"))), (whole, whole), "billed once, to B's team");
    assert_eq!(days(&books.json(&["nightly", "--all"])), Vec::<String>::new(), "nothing is left to do");
    let closed = books.close(month);
    assert_ties(&closed);
    assert_eq!(pico(closed["totals"]["unattributed"].as_str().unwrap()), 0, "{closed}");
    assert_eq!(verified_teams(&books, &closed, month), ["support"]);
}

/// ATR-1, CLO-5: a version that begins on the day of the root changes who pays for the day before it.
#[test]
fn atr_1_a_version_on_the_root_s_day_moves_the_whole_trace() {
    let month = Month::before_today(1);
    let organisation = |team: &str| format!("{SMALL}\n[[people]]\nid = \"u1\"\nteam = \"{team}\"\n");
    let books = Books::of(&organisation("support"));
    let child = call("b", "t", &noon(month.day(10)), json!({ "parent_id": "root" }));
    let end = noon(month.day(11));
    let mut last = call("c", "t", &end, json!({ "parent_id": "root" }));
    last.insert("usage".into(), json!({ "input": 2_000 }));
    books.ingest(&lines([&root("t", &end, json!({ "user": "u1", "agent": "writer" })), &child, &last])).ended(0);
    books.json(&["nightly", "--all"]);
    let whole = pico("0.0045") + pico("0.006");
    assert_eq!(cost_of(&books, month, &json!("support")), whole);
    books.apply(&organisation("marketing"), &["--effective", &month.day(11).to_string()]).ended(0);
    let outcome = books.json(&["nightly", "--all"]);
    assert_eq!(days(&outcome), [10, 11].map(|day| month.day(day).to_string()), "{outcome}");
    let teams = ["marketing", "support"].map(|team| cost_of(&books, month, &json!(team)));
    assert_eq!(teams, [whole, 0], "the whole trace has one payer");
    let closed = books.close(month);
    assert_ties(&closed);
    assert_eq!(verified_teams(&books, &closed, month), ["marketing"]);
}

/// CLO-5, ATR-1: a late root on the next local day, but on the same UTC day, moves what lay before midnight too.
#[test]
fn clo_5_a_late_root_reaches_the_other_local_day_of_its_utc_day() {
    let month = Month::before_today(1);
    assert!(SMALL.contains("Europe/Berlin"));
    let at = |day: u32, time: &str| format!("{}T{time}:00Z", month.day(day));
    // Midnight in Berlin is at 22:00 or 23:00 UTC, so that both lie on the UTC day of the 10th.
    let child = call("b", "t", &at(10, "21:30"), json!({ "parent_id": "root" }));
    let other = call("x", "u", &at(10, "23:30"), json!({ "tags": { "team": "support", "agent": "writer" } }));
    let late = root("t", &at(10, "23:40"), json!({ "team": "marketing", "agent": "writer" }));
    let price = pico("0.0045");
    // In turns: the other local day has a night already, or gets its first event together with the root.
    for together in [false, true] {
        let books = Books::of(SMALL);
        let (first, then) =
            if together { (vec![&child], vec![&other, &late]) } else { (vec![&child, &other], vec![&late]) };
        books.ingest(&lines(first)).ended(0);
        books.json(&["nightly", "--all"]);
        assert_eq!(cost_of(&books, month, &json!("unattributed")), price);
        books.ingest(&lines(then)).ended(0);
        let outcome = books.json(&["nightly", "--all"]);
        assert_eq!(days(&outcome), [10, 11].map(|day| month.day(day).to_string()), "{outcome}");
        let teams = ["marketing", "support", "unattributed"].map(|team| cost_of(&books, month, &json!(team)));
        assert_eq!(teams, [price, price, 0]);
        let closed = books.close(month);
        assert_ties(&closed);
        assert_eq!(verified_teams(&books, &closed, month), ["marketing", "support"]);
    }
}

const NEW_MODEL: &str = "nobody-priced-this";

/// Thirty tasks whose call without a price is of the day before their end, and two later ones that cost nothing.
fn tasks_around_midnight(month: Month) -> Vec<String> {
    let tags = json!({ "team": "support", "agent": "writer", "task_type": "write" });
    let task = |trace: &str, day: u32| {
        let mut task = root(trace, &noon(month.day(day)), tags.clone());
        task.insert("status".into(), "ok".into());
        task
    };
    let mut events = vec![task("later-1", 10), task("later-2", 10)];
    for number in 0..30 {
        let trace = format!("t{number}");
        events.push(call("b", &trace, &noon(month.day(1)), json!({ "parent_id": "root", "model": NEW_MODEL })));
        events.push(task(&trace, 2));
    }
    lines(&events)
}

fn import_price(books: &Books, month: Month) {
    let list = json!({ NEW_MODEL: {
        "litellm_provider": "example", "mode": "chat",
        "input_cost_per_token": 1e-3, "output_cost_per_token": 1e-3,
    }});
    let file = books.write("prices.json", list.to_string());
    let from = month.first().to_string();
    books.json(&["prices", "import", file.to_str().unwrap(), "--source", "a test", "--from", &from]);
}

/// PRC-1, RAT-2: a price that is imported later rates the day of the call and the day on which its task ended.
#[test]
fn prc_1_an_imported_price_reaches_the_day_on_which_the_task_ended() {
    let month = Month::before_today(1);
    let closed = [false, true].map(|imported_first| {
        let books = Books::of(&by_task());
        books.ingest(&tasks_around_midnight(month)).ended(0);
        if imported_first {
            import_price(&books, month);
        } else {
            books.json(&["nightly", "--all"]);
            import_price(&books, month);
            let outcome = books.json(&["nightly", "--all"]);
            assert_eq!(days(&outcome), [1, 2].map(|day| month.day(day).to_string()), "{outcome}");
        }
        let closed = books.close(month);
        assert_ties(&closed);
        assert_eq!(verified_teams(&books, &closed, month), ["support"]);
        let statement: Value = serde_json::from_slice(&books.statement_bytes(month, "support")).unwrap();
        (closed["totals"].clone(), statement["lines"].clone(), statement["total"].clone())
    });
    let [after, before] = closed;
    // 1,100 tokens at a tenth of a cent, thirty times.
    assert_eq!(pico(after.0["priced_cost"].as_str().unwrap()), pico("33"), "{after:?}");
    assert_eq!(after, before, "the order of nights and imports does not matter");
}

/// PRC-1, RAT-2: so does a price in a new version of the organisation file.
#[test]
fn prc_1_a_price_of_the_organisation_reaches_the_day_on_which_the_task_ended() {
    let month = Month::before_today(1);
    let books = Books::of(&by_task());
    books.ingest(&tasks_around_midnight(month)).ended(0);
    books.json(&["nightly", "--all"]);
    let price = format!(
        "\n[[prices]]\nprovider = \"example\"\nmodel = \"{NEW_MODEL}\"\nfrom = \"2025-01-01\"\nper_million = {{ input = \"1000\", output = \"1000\" }}\n"
    );
    let first = month.first().to_string();
    books.apply(&format!("{}{price}", by_task()), &["--effective", &first]).ended(0);
    let rerun = days(&books.json(&["nightly", "--all"]));
    for day in [1, 2] {
        assert!(rerun.contains(&month.day(day).to_string()), "{rerun:?}");
    }
    let closed = books.close(month);
    assert_ties(&closed);
    assert_eq!(pico(closed["totals"]["priced_cost"].as_str().unwrap()), pico("33"), "{closed}");
    assert_eq!(verified_teams(&books, &closed, month), ["support"]);
}

/// POOL-5, PRC-1, CLO-4: a month without events between two others still has its bill, and is closed like them.
#[test]
fn pool_5_a_month_without_events_holds_its_bill() {
    let months = [3, 2, 1].map(Month::before_today);
    let bill = "\n[[recurring]]\nid = \"licence\"\nagent = \"writer\"\namount = \"310.00\"\nfrom = \"2025-01-01\"\n";
    let books = Books::of(&format!("{}{bill}", by_task()));
    let tags = json!({ "team": "support", "agent": "writer", "task_type": "write" });
    let mut events = Vec::new();
    for (name, month) in [("a", months[0]), ("c", months[2])] {
        let at = noon(month.day(5));
        let mut task = root(name, &at, tags.clone());
        task.insert("status".into(), "ok".into());
        events.extend([task, call("b", name, &at, json!({ "parent_id": "root" }))]);
    }
    books.ingest(&lines(&events)).ended(0);
    for (month, cost) in months.into_iter().zip(["310.0045", "310", "310.0045"]) {
        let closed = books.close(month);
        assert_ties(&closed);
        assert_eq!(pico(closed["totals"]["priced_cost"].as_str().unwrap()), pico(cost), "{month}: {closed}");
        assert!(verified_teams(&books, &closed, month).contains(&"marketing".to_owned()), "its owner has the bill");
    }
    assert_eq!(days(&books.json(&["nightly", "--all"])), Vec::<String>::new());
}

/// POOL-5: a month with a bill and no event is a month, also where no event came before it.
#[test]
fn pool_5_a_first_month_without_events_holds_its_bill() {
    let [before, first] = [3, 2].map(Month::before_today);
    let books = Books::of(&format!(
        "{SMALL}\n[[recurring]]\nid = \"rent\"\nagent = \"writer\"\namount = \"310\"\nperiod = \"month\"\nfrom = \"{}\"\n",
        first.first()
    ));
    let at = noon(Month::before_today(1).day(3));
    books.ingest(&lines([&call("b", "t", &at, json!({}))])).ended(0);
    books.json(&["nightly", "--all"]);
    let refused = books.run(&["--json", "close", &before.to_string(), "--as-of", &before.closable()]).ended(1).json();
    assert_eq!(refused["closed"], false, "no bill ran in it: {refused}");
    let closed = books.close(first);
    assert_ties(&closed);
    assert_eq!(pico(closed["totals"]["priced_cost"].as_str().unwrap()), pico("310"), "{closed}");
    assert_eq!(verified_teams(&books, &closed, first), ["marketing"]);
}

/// POOL-2, CLO-1: pools that serve only each other keep their own month from being settled, and no other one; what is said
/// helps.
#[test]
fn pool_2_pools_that_serve_only_each_other_stop_their_month_alone() {
    let [sound, closed_pools] = [2, 1].map(Month::before_today);
    let pools = |method: &str| {
        ["y", "z"].map(|name| {
            format!(
                "[[agents]]\nid = \"{name}\"\nshared_pool = \"{name}\"\n[[pools]]\nid = \"{name}\"\ngroup = \"g\"\n\
                 basis = \"tokens\"\nmethod = \"{method}\"\n"
            )
        })
    };
    let organisation = |method: &str| format!("{SMALL}\n{}", pools(method).concat());
    let books = Books::of(&organisation("reciprocal"));
    let at = noon(closed_pools.day(2));
    let below = |id: &str, parent: &str, agent: &str, kind: Value| {
        let mut event = call(id, "t", &at, json!({ "parent_id": parent, "tags": { "agent": agent } }));
        if kind == "agent" {
            event.retain(|name, _| !["usage", "model", "provider"].contains(&name.as_str()));
        }
        event.insert("kind".into(), kind);
        event
    };
    let mut events = vec![
        call("a", "u", &noon(sound.day(2)), json!({ "tags": { "agent": "writer", "team": "support" } })),
        root("t", &at, json!({ "team": "support", "agent": "triage" })),
    ];
    for (outer, inner) in [("y", "z"), ("z", "y")] {
        events.push(below(&format!("{outer}-frame"), "root", outer, json!("agent")));
        events.push(below(&format!("{inner}-call"), &format!("{outer}-frame"), inner, json!("llm")));
    }
    books.ingest(&lines(&events)).ended(0);
    let said = books.run(&["nightly", "--all"]).said();
    for words in
        ["y, z serve only each other", &closed_pools.to_string(), &format!("--effective {}", closed_pools.first())]
    {
        assert!(said.contains(words), "{words}: {said}");
    }
    let close = ["--json", "close", &sound.to_string(), "--as-of", &sound.closable()];
    assert_ties(&books.run(&close).ended(0).json());
    books.apply(&organisation("direct"), &["--effective", &closed_pools.first().to_string()]).ended(0);
    books.json(&["nightly", "--all"]);
    assert_ties(&books.close(closed_pools));
}

/// Plan and close are refused, for the block of that day.
#[track_caller]
fn assert_blocked(books: &Books, month: Month, day: &str) {
    for plan in [&["--plan"][..], &[]] {
        let close = ["--json", "close", &month.to_string(), "--as-of", &month.closable()];
        let refused = books.run(&[&close[..], plan].concat()).ended(1).json();
        assert_eq!(refused["closed"], false, "{refused}");
        let findings = refused["findings"].as_array().unwrap();
        let unreadable: Vec<_> = findings.iter().filter(|finding| finding["kind"] == "block_unreadable").collect();
        assert!(!unreadable.is_empty(), "of {day}: {refused}");
        let named = |finding: &Value| {
            let subject = finding["subject"].as_str().unwrap();
            finding["severity"] == "blocking" && subject.contains("block 1 ") && subject.contains(day)
        };
        assert!(unreadable.into_iter().all(named), "{refused}");
    }
    assert!(!books.data().join(format!("documents/statements/{month}")).exists(), "nothing was issued");
}

/// CLO-1: a block that is damaged before its night is named; the other days are done; the month is not closed.
#[test]
fn clo_1_a_damaged_block_stops_its_day_and_the_close() {
    let (books, month) = (Books::of(SMALL), Month::before_today(1));
    // Not the day after: it begins inside the UTC day of the damaged block.
    for (id, day) in [("a", 5), ("b", 8)] {
        books.ingest(&lines([&large_call(id, id, &noon(month.day(day)), "support")])).ended(0);
    }
    let day = month.day(5).to_string();
    damage(&books, &day);
    let outcome = books.run(&["--json", "nightly", "--all"]).json();
    assert_eq!(days(&outcome), [month.day(8).to_string()], "{outcome}");
    let unread = outcome["unread"].as_array().unwrap();
    // Once for each local day that it reaches into.
    assert!(!unread.is_empty(), "{outcome}");
    assert!(unread.iter().all(|one| one.as_str().unwrap().contains("block 1 ")), "{outcome}");
    assert_eq!(cost_of(&books, month, &json!("support")), pico("0.0045"), "the other day is there");
    assert_blocked(&books, month, &day);
    // The same byte flipped back is what a backup brings.
    damage(&books, &day);
    let outcome = books.json(&["nightly", "--all"]);
    assert!(days(&outcome).contains(&day) && outcome["unread"] == json!([]), "{outcome}");
    assert_ties(&books.close(month));
}

/// CLO-1: what a statement would be made from has to be there still: damage after the night stops the close too.
#[test]
fn clo_1_a_block_damaged_after_its_night_stops_the_close() {
    let (books, month) = (Books::of(SMALL), Month::before_today(1));
    for (id, day) in [("a", 5), ("b", 6)] {
        books.ingest(&lines([&large_call(id, id, &noon(month.day(day)), "support")])).ended(0);
    }
    books.json(&["nightly", "--all"]);
    let day = month.day(5).to_string();
    damage(&books, &day);
    assert_blocked(&books, month, &day);
}

/// Puts a closed month back to the moment after its freeze: no document is written, and it is not closed.
fn interrupt(books: &Books, month: Month) {
    tamper(
        books,
        &format!(
            "key = ('periods', '{month}')\n\
             (held,), = db.execute('select value from books where \"partition\" = ? and sort = ?', key).fetchall()\n\
             record = json.loads(held)\n\
             assert record['state'] == 'closed'\n\
             record.update(state='closing', closed_at=None)\n\
             text = json.dumps(record, separators=(',', ':'))\n\
             db.execute('update books set value = ? where \"partition\" = ? and sort = ?', (text, *key))"
        ),
    );
    std::fs::remove_dir_all(books.data().join(format!("documents/statements/{month}"))).unwrap();
}

/// CLO-3, LED-4: a close that was cut off ends with the bytes it had frozen, whatever has changed meanwhile.
#[test]
fn clo_3_an_interrupted_close_ends_with_the_same_bytes() {
    let (old, new) = (Month::before_today(2), Month::before_today(1));
    let books = Books::of(SMALL);
    let sent = |id: &str, month: Month, day: u32, team: &str| large_call(id, id, &noon(month.day(day)), team);
    books.ingest(&lines(&[sent("a", old, 3, "support"), sent("b", old, 9, "marketing")])).ended(0);
    let closed = books.close(old);
    let documents = books.documents(old);
    interrupt(&books, old);

    books.ingest(&lines(&[sent("late", old, 9, "support"), sent("c", new, 4, "support")])).ended(0);
    let moved = SMALL.replace("cost_centre = \"CC-100\"", "cost_centre = \"CC-900\"");
    let cheaper = moved.replace("input = \"3.00\"", "input = \"1.00\"").replace("2025-01-01", "2025-01-02");
    books.apply(&cheaper, &["--effective", &new.first().to_string()]).ended(0);
    // A night in between leaves the frozen month alone.
    let outcome = books.json(&["nightly", "--all"]);
    assert_eq!(days(&outcome), [new.day(4).to_string()], "{outcome}");
    let finished = books.json(&["close", &old.to_string(), "--as-of", &old.closable()]);
    assert_eq!(finished["closed"], true, "{finished}");
    for name in ["totals", "statements", "manifest", "rounding"] {
        assert_eq!(finished[name], closed[name], "{name}");
    }
    assert_eq!(books.documents(old), documents, "the same bytes");

    let next = books.close(new);
    assert_ties(&next);
    // 1,000 in and 100 out, at the price of the closed month.
    assert_eq!(pico(next["totals"]["corrections"].as_str().unwrap()), pico("0.0045"), "{next}");
    assert_eq!(books.documents(old), documents);
    assert_eq!(verified_teams(&books, &finished, old), ["marketing", "support"]);
    assert_eq!(verified_teams(&books, &next, new), ["support"]);
}

/// CLO-1, CLO-3: a plan writes nothing, not even the end of an interrupted close.
#[test]
fn clo_1_a_plan_of_an_interrupted_close_writes_nothing() {
    let (books, month) = (Books::of(SMALL), Month::before_today(1));
    books.ingest(&lines(&[large_call("a", "a", &noon(month.day(3)), "support")])).ended(0);
    let closed = books.close(month);
    interrupt(&books, month);
    let period = month.to_string();
    let plan = books.run(&["--json", "close", &period, "--plan", "--as-of", &month.closable()]).json();
    assert_eq!(plan["closed"], false, "{plan}");
    assert_eq!(plan["totals"], closed["totals"], "{plan}");
    assert!(!books.statement_path(month, "support").exists(), "a plan writes nothing");
    assert_eq!(books.json(&["close", &period, "--as-of", &month.closable()])["statements"], closed["statements"]);
}
