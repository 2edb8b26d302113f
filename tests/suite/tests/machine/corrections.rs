//! LED-4: what arrives after the close.

use recoup_suite::{Books, Chance, EVERYTHING, Month, Traffic, large_call, lines, noon, pico, recompute, sum};
use serde_json::{Value, json};

fn traffic(month: Month, seed: u64) -> Vec<String> {
    let days = u64::try_from(month.days().len()).unwrap();
    lines(&Traffic { seed, first: month.first(), days, traces: 6 }.events())
}

fn verified(books: &Books, month: Month, team: &str) -> Value {
    let path = books.statement_path(month, team);
    books.run(&["--json", "verify", path.to_str().unwrap()]).ended(0).json()
}

fn ties(closed: &Value) -> bool {
    let term = |name: &str| pico(closed["totals"][name].as_str().unwrap());
    let left = term("exact_total") + term("unattributed") + term("unallocated");
    let right = ["priced_cost", "markup", "corrections", "residual", "absorbed", "carried_out"].map(term);
    left == right.iter().sum::<i128>() - term("carried_in")
}

/// LED-4, CLO-3, CLO-4, CRX-1: the closed month stays byte for byte and verifiable; the next one carries the correction.
#[test]
fn led_4_a_late_event_becomes_a_correction_of_the_next_month() {
    let (old, new) = (Month::before_today(2), Month::before_today(1));
    let books = Books::of(EVERYTHING);
    books.ingest(&traffic(old, 21)).ended(0);
    let closed = books.close(old);
    let before = books.documents(old);
    let teams: Vec<String> =
        closed["statements"].as_array().unwrap().iter().map(|one| one["team"].as_str().unwrap().to_owned()).collect();
    assert!(teams.len() >= 3, "{teams:?}");

    let mut late = Vec::new();
    for (number, team) in ["alpha", "beta", "alpha"].iter().enumerate() {
        let id = format!("late-{number}");
        late.push(large_call(&id, &id, &noon(old.day(12)), team));
    }
    // Outside any task: passed through at actual cost, 0.0045 each.
    books.ingest(&lines(&late)).ended(0);
    books.ingest(&traffic(new, 22)).ended(0);
    let next = books.close(new);

    assert_eq!(books.documents(old), before, "a closed month never changes");
    for team in &teams {
        assert_eq!(verified(&books, old, team)["holds"], true, "{team}");
    }
    assert!(ties(&next), "CLO-4: {next}");
    let mut corrections = Vec::new();
    for team in &teams {
        let statement: Value = serde_json::from_slice(&books.statement_bytes(new, team)).unwrap();
        let lines = statement["lines"].as_array().unwrap().clone();
        assert_eq!(sum(&lines, "amount"), pico(statement["total"].as_str().unwrap()), "MON-2 for {team}");
        corrections.extend(lines.into_iter().filter(|line| line["kind"] == "correction"));
        assert_eq!(verified(&books, new, team)["holds"], true, "{team} in {new}");
    }
    assert!(corrections.iter().all(|line| line["original_period"] == json!(old.to_string())), "{corrections:?}");
    assert!(!corrections.is_empty());
    // Whatever pools and variance do with it: what came late is what is corrected.
    assert_eq!(pico(next["totals"]["corrections"].as_str().unwrap()), 3 * pico("0.0045"), "{next}");
    let again = books.json(&["nightly", "--all"]);
    assert_eq!(again["days"], json!([]), "{again}");
}

/// LED-4, LED-3, POOL-4: whatever comes late, roots, parents and parts of pools too, the corrections are its cost.
#[test]
fn led_4_corrections_are_the_cost_of_what_came_late() {
    let (old, new) = (Month::before_today(2), Month::before_today(1));
    let books = Books::of(EVERYTHING);
    let mut chance = Chance::seeded(25);
    let (late, punctual): (Vec<_>, Vec<_>) = traffic(old, 25).into_iter().partition(|_| chance.percent(8));
    books.ingest(&punctual).ended(0);
    let closed = books.close(old);
    let documents = books.documents(old);
    books.ingest(&late).ended(0);
    books.ingest(&traffic(new, 26)).ended(0);
    let next = books.close(new);
    assert!(ties(&next), "CLO-4: {next}");
    assert_eq!(books.documents(old), documents);
    let whole = recompute(&books, EVERYTHING, &[punctual, late].concat(), old);
    let cost = |totals: &Value| pico(totals["priced_cost"].as_str().unwrap());
    let corrections = pico(next["totals"]["corrections"].as_str().unwrap());
    assert!(corrections > 0);
    assert_eq!(corrections, cost(&whole.found) - cost(&closed["totals"]), "{next}");
    for month in [old, new] {
        for statement in books.json(&["statements", &month.to_string()])["rows"].as_array().unwrap() {
            assert_eq!(verified(&books, month, statement["team"].as_str().unwrap())["holds"], true, "{statement}");
        }
    }
}

/// LED-4: what comes later still is corrected by what is missing, not again by the whole.
#[test]
fn led_4_later_corrections_add_to_earlier_ones() {
    let months = [3, 2, 1].map(Month::before_today);
    let books = Books::of(EVERYTHING);
    let mut chance = Chance::seeded(27);
    let mut waiting = Vec::new();
    let mut sent: Vec<Vec<String>> = Vec::new();
    let mut known = [0, 0, 0];
    for (at, month) in months.iter().enumerate() {
        // Each month's events come in thirds: on time, a month late, two months late.
        waiting.push(traffic(*month, 30 + u64::try_from(at).unwrap()));
        sent.push(Vec::new());
        for (events, sent) in waiting.iter_mut().zip(&mut sent) {
            let (now, later): (Vec<_>, Vec<_>) = std::mem::take(events).into_iter().partition(|_| chance.percent(60));
            books.ingest(&now).ended(0);
            sent.extend(now);
            *events = later;
        }
        let closed = books.close(*month);
        assert!(ties(&closed), "CLO-4: {closed}");
        let cost = |of: usize| {
            let found = recompute(&books, EVERYTHING, sent.get(of).unwrap(), months[of]).found;
            pico(found["priced_cost"].as_str().unwrap())
        };
        let corrections: i128 = (0..at).map(|of| cost(of) - known[of]).sum();
        assert_eq!(pico(closed["totals"]["corrections"].as_str().unwrap()), corrections, "{month}: {closed}");
        for (of, known) in known.iter_mut().enumerate().take(at + 1) {
            *known = cost(of);
        }
    }
}

/// CLO-1: a month is closed once; closing it again changes nothing, and a plan writes nothing.
#[test]
fn clo_1_a_plan_writes_nothing_and_a_close_happens_once() {
    let month = Month::before_today(1);
    let books = Books::of(EVERYTHING);
    books.ingest(&traffic(month, 23)).ended(0);
    books.json(&["nightly", "--all"]);
    books.ingest(&lines([&large_call("late", "late", &noon(month.day(9)), "alpha")])).ended(0);
    let unfinished =
        books.run(&["--json", "close", &month.to_string(), "--plan", "--as-of", &month.closable()]).ended(1);
    let kinds: Vec<_> = unfinished.json()["findings"].as_array().unwrap().iter().map(|f| f["kind"].clone()).collect();
    assert!(kinds.contains(&json!("night_missing")), "{kinds:?}");
    books.json(&["nightly", "--all"]);
    let early = books.run(&["--json", "close", &month.to_string(), "--as-of", &noon(month.day(20))]).ended(1);
    assert_eq!((&early.json()["closed"], &early.json()["blocking"]), (&json!(false), &json!(1)), "{}", early.stdout);
    let plan = books.json(&["close", &month.to_string(), "--plan", "--as-of", &month.closable()]);
    assert_eq!(plan["closed"], false);
    assert!(!books.data().join(format!("documents/statements/{month}")).exists(), "a plan writes nothing");
    let closed = books.json(&["close", &month.to_string(), "--as-of", &month.closable()]);
    assert_eq!((&closed["closed"], &closed["totals"]), (&json!(true), &plan["totals"]));
    let digests = |outcome: &Value| {
        outcome["statements"].as_array().unwrap().iter().map(|one| one["digest"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(digests(&closed), digests(&plan), "the plan names what is issued");
    let documents = books.documents(month);
    let again = books.json(&["close", &month.to_string()]);
    assert_eq!((&again["closed"], digests(&again)), (&json!(true), digests(&closed)));
    assert_eq!(books.documents(month), documents);
}

/// CLO-1: a month of which no night has run is refused in words, as something that the operator can mend.
#[test]
fn clo_1_a_month_without_nights_is_refused_in_words() {
    let month = Month::before_today(1);
    let books = Books::of(EVERYTHING);
    books.ingest(&traffic(month, 24)).ended(0);
    for plan in [&["--plan"][..], &[]] {
        let period = month.to_string();
        let ran = books.run(&[&["close", &period, "--as-of", &month.closable()], plan].concat());
        assert!(ran.said().contains("nightly"), "{}", ran.said());
        assert!([1, 2].contains(&ran.code), "exit code {}: {}", ran.code, ran.said());
    }
}
