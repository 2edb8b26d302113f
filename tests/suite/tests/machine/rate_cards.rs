//! PRC-3: rate cards that finance approves; LED-3: months closed out of order; what is refused in words that one can act on.

use recoup_suite::{Books, EVERYTHING, Month, Traffic, large_call, lines, noon, pico, recompute_approved};
use serde_json::{Value, json};

fn asking() -> String {
    let policy = "price_lock = \"locked\"\nprice_approval = \"finance\"";
    EVERYTHING.replace("price_lock = \"floating\"", policy)
}

fn months() -> (Month, Month) {
    (Month::before_today(2), Month::before_today(1))
}

fn traffic(month: Month, seed: u64) -> Vec<String> {
    let days = u64::try_from(month.days().len()).unwrap();
    lines(&Traffic { seed, first: month.first(), days, traces: 10 }.events())
}

fn card(books: &Books, month: Month) -> Value {
    books.json(&["prices", "card", &month.to_string()])
}

fn states(card: &Value) -> (&str, usize) {
    (card["state"].as_str().unwrap(), card["rows"].as_array().unwrap().len())
}

/// Prices that the charges of a month were made at: of tasks and of minutes.
fn prices(books: &Books, month: Month) -> Vec<Value> {
    let rows = books.json(&["prices", "tasks", "--limit", "1000"])["rows"].as_array().unwrap().clone();
    rows.into_iter().filter(|row| row["period"] == json!(month.to_string()) && row["origin"] == "night").collect()
}

/// PRC-3, CLO-4: the card of a month holds from its first day once it is approved, and the close says which one it was.
#[test]
fn prc_3_an_approved_card_holds_from_the_first_day_of_its_month() {
    let (old, new) = months();
    let books = Books::of(&asking());
    let events = [traffic(old, 41), traffic(new, 42)].concat();
    books.ingest(&events).ended(0);
    books.json(&["nightly", "--all"]);
    let waiting = card(&books, new);
    let (state, rows) = states(&waiting);
    assert!(state == "waiting" && rows > 0, "{waiting}");
    assert_eq!(prices(&books, new), Vec::<Value>::new(), "without an approval nothing moves");
    let findings =
        books.json(&["findings", "--from", &new.first().to_string(), "--to", &new.next().first().to_string()]);
    assert!(findings.to_string().contains("rate_card_waits"), "{findings}");

    let month = new.to_string();
    let wrong = books.run(&["prices", "approve", &month, "--digest", &"0".repeat(64)]).ended(2);
    assert!(wrong.said().contains(waiting["digest"].as_str().unwrap()), "{}", wrong.said());
    let approved = books.json(&["prices", "approve", &month]);
    assert_eq!((&approved["state"], &approved["digest"]), (&json!("approved"), &waiting["digest"]));
    assert_eq!(books.json(&["prices", "approve", &month]), approved, "approving it again changes nothing");
    books.json(&["nightly", "--all"]);
    let held = prices(&books, new);
    assert!(!held.is_empty() && held.iter().all(|row| row["from"] == json!(new.first().to_string())), "{held:?}");

    for month in [old, new] {
        let closed = books.close(month);
        assert_eq!(closed["closed"], true, "{closed}");
        recompute_approved(&books, &asking(), &events, (month, &[new])).assert_equals(&books, &closed);
    }
    let path = format!("statements/{new}/manifest-r1.json");
    let manifest: Value = serde_json::from_slice(&books.documents(new)[&path]).unwrap();
    assert_eq!(manifest["rate_card"], approved["digest"]);
    let statement = books.statement_path(new, "alpha");
    assert_eq!(books.json(&["verify", statement.to_str().unwrap()])["holds"], true);
    assert_eq!(card(&books, new), approved, "a closed month keeps its card");
}

/// PRC-3: a card that late events have changed has to be approved again; a month closed without it keeps what was before.
#[test]
fn prc_3_a_card_that_changes_after_its_approval_waits_again() {
    let (old, new) = months();
    let books = Books::of(&asking());
    books.ingest(&traffic(old, 43)).ended(0);
    books.ingest(&traffic(new, 44)).ended(0);
    books.json(&["nightly", "--all"]);
    let first = books.json(&["prices", "approve", &new.to_string()]);
    let mut late = large_call("late", "late", &noon(old.day(20)), "alpha");
    late.insert("tags".into(), json!({ "team": "alpha", "agent": "resolver", "task_type": "resolve" }));
    late.insert("status".into(), "ok".into());
    late.insert("usage".into(), json!({ "input": 4_000_000, "output": 0 }));
    books.ingest(&lines([&late])).ended(0);
    books.json(&["nightly", "--all"]);
    let changed = card(&books, new);
    assert_eq!(changed["state"], "waiting");
    assert_ne!(changed["digest"], first["digest"]);
    assert_eq!(prices(&books, new), Vec::<Value>::new());
    let stale = books.run(&["prices", "approve", &new.to_string(), "--digest", first["digest"].as_str().unwrap()]);
    assert!(stale.ended(2).said().contains("look at it again"));
    for month in [old, new] {
        assert_eq!(books.close(month)["closed"], true);
    }
    assert_eq!(card(&books, new)["state"], "lapsed");
    let lapsed = books.run(&["prices", "approve", &new.to_string()]).ended(2);
    assert!(lapsed.said().contains("is closed"), "{}", lapsed.said());
    let manifest = books.documents(new)[&format!("statements/{new}/manifest-r1.json")].clone();
    assert!(!String::from_utf8(manifest).unwrap().contains("rate_card"));
}

/// PRC-3: who may approve, and that a card of days to come is no card yet.
#[test]
fn prc_3_only_finance_approves_and_only_a_final_card() {
    let (_, new) = months();
    let books = Books::of(&asking());
    let begun = Traffic { seed: 45, first: new.first(), days: 10, traces: 10 };
    books.ingest(&lines(&begun.events())).ended(0);
    books.json(&["nightly", "--day", &new.days()[9].to_string()]);
    assert_eq!(card(&books, new.next())["state"], "provisional");
    let early = books.run(&["prices", "approve", &new.next().to_string()]).ended(2);
    let last = new.days().last().unwrap().to_string();
    assert!(early.said().contains(&format!("final once the night of {last} has run")), "{}", early.said());
    books.ingest(&traffic(new, 46)).ended(0);
    books.json(&["nightly", "--all"]);

    let keys = ["finance", "admin"].map(|role| books.key(role, None));
    let (viewer, ingest) = (books.key("viewer", Some("alpha")), books.key("ingest", None));
    let server = books.serve();
    let path = format!("/v1/rate-cards/{}", new.next());
    let digest = server.client(&keys[0]).get(&path).ok(200).json()["digest"].clone();
    let approve =
        |key: &str, digest: &Value| server.client(key).post(&format!("{path}/approval"), &json!({ "digest": digest }));
    for key in [&viewer, &ingest] {
        assert_eq!((server.client(key).get(&path).status, approve(key, &digest).status), (403, 403));
    }
    assert_eq!(approve(&keys[0], &json!("x")).ok(400).json()["field"], "digest");
    assert_eq!(server.client(&keys[0]).get("/v1/rate-cards/2020-01").status, 404);
    assert_eq!(approve(&keys[0], &digest).ok(200).json()["approval"]["role"], "finance");
    let again = approve(&keys[1], &digest).ok(200).json();
    assert_eq!(again["approval"]["role"], "finance", "who was first stays: {again}");
}

/// LED-3, LED-1: a month that is closed before the one before it strands nothing on `carried`: what the earlier one carries
/// out beyond what was taken in goes into the next open month.
#[test]
fn led_3_months_closed_out_of_order_carry_everything_on() {
    let order = [Month::before_today(2), Month::before_today(3), Month::before_today(1)];
    let books = Books::of(&EVERYTHING.replace("variance = \"settle\"", "variance = \"carry\""));
    for (month, seed) in order.iter().zip(51..) {
        books.ingest(&traffic(*month, seed)).ended(0);
    }
    let mut closed = Vec::new();
    for month in order {
        closed.push(books.close(month));
        // After the middle month is closed, the earlier one gets another task.
        let mut late = large_call("late", "late", &noon(order[1].day(20)), "alpha");
        late.insert("tags".into(), json!({ "team": "alpha", "agent": "resolver", "task_type": "resolve" }));
        late.insert("status".into(), "ok".into());
        books.ingest(&lines([&late])).ended(0);
    }
    let term = |at: usize, name: &str| pico(closed[at]["totals"][name].as_str().unwrap());
    assert!(closed.iter().all(|one| one["closed"] == json!(true)));
    let stranded = term(1, "carried_out") - term(0, "carried_in");
    assert_ne!(stranded, 0, "the late task makes a difference, else the test shows nothing");
    assert_eq!(term(2, "carried_in"), term(0, "carried_out") + stranded);
    let balance = |month: &Month| {
        let ledger = books.json(&["ledger", &month.to_string()]);
        let rows = ledger["rows"].as_array().unwrap().clone();
        rows.iter()
            .filter(|row| row["account"] == "carried")
            .map(|row| pico(row["amount"].as_str().unwrap()))
            .sum::<i128>()
    };
    assert_eq!(order.iter().map(balance).sum::<i128>(), -term(2, "carried_out"), "nothing is stranded");
}

/// POOL-2, PRC-1, RAT-1: each mistake in an organisation file with its line and its remedy, before anything is applied.
#[test]
fn prc_1_mistakes_about_prices_are_refused_when_they_are_applied() {
    let books = Books::of(EVERYTHING);
    let price = "[[prices]]\nsku = \"s\"\nunit = \"call\"\nprice = \"1\"\nfrom = 2026-01-01\nto = 2026-02-01\n\
                 [[prices]]\nsku = \"s\"\nunit = \"call\"\nprice = \"1\"\nfrom = 2026-03-01\n";
    for (old, new, words) in [
        (
            "half_life_days = 7",
            "half_life_days = 0",
            "half_life_days: `0` is out of range; write a whole number from 1 to 3650",
        ),
        ("step = 2", "step = 1", "of group `knowledge` is step 1 too; give each pool of the group its own step"),
        ("step = 2\n", "", "step: missing; add `step = 1` for the first, 2 for the next"),
        ("[[rates]]", &format!("{price}[[rates]]"), "no price holds from 2026-02-01T00:00:00Z"),
        ("soft_close_days = 3", "price_approval = \"finance\"", "set `price_lock = \"locked\"`"),
        ("billing = \"token\"", "markup = { fixed = 1 }", "write { percent = \"5\" }, or bill by task or time"),
    ] {
        assert!(EVERYTHING.contains(old), "{old}");
        let said = books.apply(&EVERYTHING.replacen(old, new, 1), &["--dry-run"]).ended(2).said();
        assert!(said.contains(words), "{new}: {said}");
    }
}

/// POOL-2: pools that only serve each other are named when a night meets them; a basis that reaches a team mends it.
#[test]
fn pool_2_pools_that_reach_nobody_are_named_by_the_night() {
    let month = Month::before_today(1);
    let tokens =
        EVERYTHING.replace("basis = \"invocations\"\ngroup = \"checks\"", "basis = \"tokens\"\ngroup = \"checks\"");
    let books = Books::of(&tokens);
    let mut events = Vec::new();
    for (trace, above, below) in [("one", "guardrail", "formatter"), ("two", "formatter", "guardrail")] {
        let mut root = large_call("root", trace, &noon(month.day(9)), "alpha");
        root.retain(|name, _| name != "usage" && name != "model");
        root.insert("kind".into(), "agent".into());
        root.insert("tags".into(), json!({ "team": "alpha", "agent": above }));
        let mut inside = large_call("inside", trace, &noon(month.day(9)), "alpha");
        inside.insert("parent_id".into(), "root".into());
        inside.insert("tags".into(), json!({ "agent": below }));
        events.extend([root, inside]);
    }
    books.ingest(&lines(&events)).ended(0);
    let said = books.run(&["nightly", "--all"]).said();
    assert!(
        said.contains("the pools formatting, safety serve only each other; give one of them a basis that"),
        "{said}"
    );
    let effective = ["--effective", &month.first().to_string()];
    books.apply(EVERYTHING, &effective).ended(0);
    books.json(&["nightly", "--all"]);
}
