//! Explanations: every kind of line is added up again, to the last picounit, by whoever may see it.

use std::collections::{BTreeMap, BTreeSet};

use recoup_suite::{Books, Chance, Client, EVERYTHING, Month, Traffic, large_call, lines, local, noon, pico, sum};
use serde_json::{Value, json};

const TEAMS: [&str; 4] = ["alpha", "beta", "gamma", "operations"];

/// Markup on tasks, minutes and tokens, and idle minutes that cost something.
fn marked_up() -> String {
    EVERYTHING.replace("half_life_days = 7", "half_life_days = 7\nmarkup = { percent = \"2.5\" }").replace(
        "id = \"caller\"\nowner = \"beta\"",
        "id = \"caller\"\nmarkup = { fixed = \"0.03\" }\nidle_rate = \"0.0007\"\nowner = \"beta\"",
    )
}

/// Two closed months; a tenth of the first one's events came after its close.
fn two_months(organisation: &str, seed: u64) -> Books {
    let (old, new) = (Month::before_today(2), Month::before_today(1));
    let traffic = |month: Month, seed: u64| {
        let days = u64::try_from(month.days().len()).unwrap();
        lines(&Traffic { seed, first: month.first(), days, traces: 4 }.events())
    };
    let books = Books::of(organisation);
    let mut chance = Chance::seeded(seed);
    let (late, punctual): (Vec<_>, Vec<_>) = traffic(old, seed).into_iter().partition(|_| chance.percent(10));
    books.ingest(&punctual).ended(0);
    books.close(old);
    books.ingest(&late).ended(0);
    books.ingest(&traffic(new, seed + 1)).ended(0);
    books.close(new);
    books
}

fn statement(client: &Client, month: Month, team: &str) -> Value {
    client.json(&format!("/v1/statements/{month}/{team}"))
}

fn explain(client: &Client, month: Month, team: &str, line: usize) -> Value {
    client.json(&format!("/v1/statements/{month}/{team}/lines/{line}/explanation?rows=1000&traces=3"))
}

/// What tells kinds of lines apart.
fn kind(line: &Value) -> String {
    let text = |name: &str| line[name].as_str().unwrap_or("-").to_owned();
    let unit = match text("unit").as_str() {
        unit @ ("task" | "minute" | "idle minute" | "token" | "event" | "month") => unit.to_owned(),
        _ => "units".to_owned(),
    };
    let price = if line["price"].is_null() { "no price" } else { "price" };
    [text("kind"), text("original_kind"), text("billing"), unit, price.to_owned(), text("pool")].join("/")
}

/// One line of every kind of every team and month: (month, team, number, line).
fn one_of_each(client: &Client) -> Vec<(Month, &'static str, usize, Value)> {
    let mut seen = BTreeSet::new();
    let mut picked = Vec::new();
    for month in [2, 1].map(Month::before_today) {
        for team in TEAMS {
            if client.get(&format!("/v1/statements/{month}/{team}")).status != 200 {
                continue;
            }
            let statement = statement(client, month, team);
            for (at, line) in statement["lines"].as_array().unwrap().iter().enumerate() {
                let kinds = kind(line);
                // Of the commonest kinds one in all, of the others one a team.
                let owner = if line["kind"] == "charge" && !kinds.contains("idle") { "" } else { team };
                if seen.insert((kinds, owner)) {
                    picked.push((month, team, at + 1, line.clone()));
                }
            }
        }
    }
    picked
}

#[track_caller]
fn assert_explained(found: &Value, line: &Value) {
    assert_eq!(found["ties"], true, "{}: {}\n{found}", kind(line), found["detail"]);
    assert_eq!((&found["readded"], &found["line"]["exact"]), (&line["exact"], &line["exact"]), "{found}");
    let checks = found["checks"].as_array().unwrap();
    assert!(checks.iter().all(|check| check["found"] == check["expected"] && check["holds"] == true), "{found}");
    assert!(found["steps"].as_array().unwrap().len() > 1, "{found}");
    for step in found["steps"].as_array().unwrap() {
        assert_table_adds_up(step);
    }
}

/// The shown rows and the rest of a table come to its total, column by column.
#[track_caller]
fn assert_table_adds_up(step: &Value) {
    let table = &step["table"];
    let Some(total) = table["total"].as_array() else { return };
    for (at, column) in table["columns"].as_array().unwrap().iter().enumerate() {
        let of = |row: &Value| row[at].as_str().unwrap_or_default().to_owned();
        if column["figure"] != true || total[at].as_str().unwrap_or_default().is_empty() {
            continue;
        }
        let rows = table["rows"].as_array().unwrap().iter().chain(table.get("rest"));
        let added: i128 = rows.map(of).filter(|text| !text.is_empty()).map(|text| pico(&text)).sum();
        assert_eq!(added, pico(total[at].as_str().unwrap()), "{} of {step}", column["name"]);
    }
}

fn step<'a>(found: &'a Value, name: &str) -> &'a Value {
    let steps = found["steps"].as_array().unwrap();
    steps.iter().find(|step| step["step"] == name).unwrap_or_else(|| panic!("no step {name} in {found}"))
}

/// LED-2, LED-3, LED-4, PRC-5, PRC-4, POOL-3: each kind of line re-adds to its exact amount, corrections included.
#[test]
fn clo_2_every_kind_of_line_is_explained_to_the_last_picounit() {
    let books = two_months(&marked_up(), 130);
    let server = books.serve();
    let client = server.client(&books.key("finance", None));
    let picked = one_of_each(&client);
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for (month, team, number, line) in &picked {
        let found = explain(&client, *month, team, *number);
        assert_explained(&found, line);
        *kinds.entry(kind(line).rsplit_once('/').unwrap().0.to_owned()).or_default() += 1;
        assert_by_kind(&found, line);
    }
    for wanted in [
        "charge/-/token/token/no price",
        "charge/-/token/units/no price",
        "charge/-/token/event/no price",
        "charge/-/token/month/no price",
        "charge/-/task/task/price",
        "charge/-/task/task/no price",
        "charge/-/time/minute/price",
        "charge/-/time/idle minute/price",
        "charge/-/time/task/no price",
        "markup/-/token",
        "markup/-/task/",
        "markup/-/time/",
        "pool/-/-",
        "variance/-/task",
        "variance/-/time",
        "correction/charge",
        "correction/pool",
        "correction/variance",
        "correction/markup",
    ] {
        assert!(kinds.keys().any(|kind| kind.starts_with(wanted)), "no {wanted} line among {kinds:#?}");
    }
}

/// Each product is that of its factors, and all of them are the line.
#[track_caller]
fn assert_multiplied(cells: &Value, line: &Value) {
    let said: Vec<&str> = cells["arithmetic"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    let (sum, parts) = said.split_last().unwrap();
    assert_eq!(*sum, format!("sum of the cells = {}", line["exact"].as_str().unwrap()));
    assert!(!parts.is_empty(), "{said:?}");
    let mut together = 0;
    for part in parts {
        let Some((factors, product)) = part.split_once(" = ") else {
            let (_, cost) = part.split_once(" for ").unwrap();
            together += pico(cost.split(':').next().unwrap());
            continue;
        };
        let product = pico(product.split(' ').next().unwrap());
        let (factors, per) = factors.split_once(" / ").unwrap_or((factors, "1"));
        let (quantity, price) = factors.split(", each").next().unwrap().split_once(" x ").unwrap();
        let per: i128 = per.split(',').next().unwrap().parse().unwrap();
        let exact = pico(quantity) * pico(price) / 1_000_000_000_000 / per;
        // Each event is rounded by itself.
        let events: i128 = if part.contains("rounded") { 100_000 } else { 0 };
        assert!((exact - product).abs() <= events, "{part}: {exact}");
        together += product;
    }
    assert_eq!(together, pico(line["exact"].as_str().unwrap()), "{said:?}");
    let has_price = !line["class"].is_null() || !line["sku"].is_null();
    assert!(!has_price || parts.iter().any(|part| part.contains(" x ")), "a price is applied: {said:?}");
}

/// The steps of a kind of line say what they have to.
#[track_caller]
fn assert_by_kind(found: &Value, line: &Value) {
    let text = |name: &str| line[name].as_str().unwrap_or_default();
    match (text("kind"), text("billing")) {
        ("charge", "token") if text("unit") == "month" => {
            let bill = step(found, "bill")["arithmetic"][0].as_str().unwrap().to_owned();
            assert!(bill.ends_with(&format!("= {}", text("exact"))), "{bill}");
        }
        ("charge", "token") => {
            let cells = step(found, "cells")["table"]["total"].as_array().unwrap();
            assert_eq!(cells.last().unwrap(), &line["exact"], "{found}");
            assert!(step(found, "blocks")["table"]["rows_in_all"].as_u64() > Some(0), "{found}");
            assert_multiplied(step(found, "cells"), line);
        }
        ("charge", _) if !line["price"].is_null() && text("unit") != "idle minute" => {
            let price = step(found, "price");
            assert!(price["says"][0].as_str().unwrap().starts_with(text("price")), "{price}");
            let from = format!("from {}", text("from"));
            assert!(price["says"][0].as_str().unwrap().contains(&from), "{price}");
        }
        ("pool", _) => {
            step(found, "cost in");
            let ratio = step(found, "ratio")["arithmetic"][0].as_str().unwrap();
            assert!(ratio.contains(&format!("= {} =", text("ratio"))), "{ratio} {line}");
            assert!(step(found, "split")["arithmetic"][0].as_str().unwrap().contains("rounded down"), "{found}");
        }
        ("variance", _) => {
            let said = step(found, "variance")["arithmetic"].to_string();
            for expected in ["V = charges", "price part =", "usage part =", "to settle ="] {
                assert!(said.contains(expected), "{said}");
            }
        }
        ("correction", _) => {
            let said = step(found, "two closes")["arithmetic"].as_array().unwrap().clone();
            assert_eq!(said.last().unwrap(), &json!(format!("= {}", text("exact"))), "{found}");
            let late = &step(found, "late events")["table"];
            assert!(late["rows_in_all"].as_u64() > Some(0), "{found}");
        }
        _ => {}
    }
}

/// PRC-1, LED-3: with pools recovered in prices, variance carried and rate cards locked the lines still re-add.
#[test]
fn prc_1_lines_re_add_where_prices_recover_pools_and_carry() {
    let organisation = EVERYTHING
        .replace("variance = \"settle\"", "variance = \"carry\"\npool_recovery = \"price\"")
        .replace("price_lock = \"floating\"", "price_lock = \"banded\"\nprice_band_percent = \"10\"");
    let books = two_months(&organisation, 140);
    let server = books.serve();
    let client = server.client(&books.key("finance", None));
    let mut in_prices = 0;
    for (month, team, number, line) in one_of_each(&client) {
        let found = explain(&client, month, team, number);
        assert_explained(&found, &line);
        let names: Vec<&str> =
            found["steps"].as_array().unwrap().iter().map(|step| step["step"].as_str().unwrap()).collect();
        in_prices += usize::from(names.contains(&"in prices"));
        if let Some(at) = names.iter().position(|name| *name == "price") {
            let nights = &found["steps"][at]["table"]["rows"];
            // Parts of pools enter the smoothed cost.
            in_prices += nights.as_array().into_iter().flatten().filter(|night| night[3] != "0").count();
        }
    }
    assert!(in_prices > 3, "{in_prices}");
}

/// PRC-1: the example of the rule, from the line to the smoothed sums.
#[test]
fn prc_1_a_price_is_told_with_the_sums_that_made_it() {
    let month = Month::before_today(1);
    let cents = "[[prices]]\nsku = \"example.cent\"\nunit = \"cent\"\nfrom = \"2025-01-01\"\nprice = \"0.01\"\n";
    let books = Books::of(&format!("{}{cents}", EVERYTHING.replace("seed_price = \"0.05\"", "")));
    let mut events = Vec::new();
    // C = 35.00, 52.50, 20.00 with N = 100, 150, 50.
    for (day, tasks, cents) in [(1, 100, "35"), (2, 150, "35"), (3, 50, "40"), (4, 2, "10")] {
        for number in 0..tasks {
            let id = format!("{day}-{number}");
            let mut task = large_call(&id, &id, &local(month.day(day), 12, 0, 0), "alpha");
            for name in ["provider", "model", "usage"] {
                task.remove(name);
            }
            task.insert("tags".into(), json!({ "team": "alpha", "agent": "resolver", "task_type": "resolve" }));
            for (name, value) in
                [("kind", "tool"), ("status", "ok"), ("sku", "example.cent"), ("unit", "cent"), ("quantity", cents)]
            {
                task.insert(name.into(), value.into());
            }
            events.push(task);
        }
    }
    books.ingest(&lines(&events)).ended(0);
    books.close(month);
    let server = books.serve();
    let client = server.client(&books.key("finance", None));
    let statement = statement(&client, month, "alpha");
    let lines = statement["lines"].as_array().unwrap();
    let at = lines.iter().position(|line| line["from"] == month.day(4).to_string()).unwrap();
    let found = explain(&client, month, "alpha", at + 1);
    assert_explained(&found, &lines[at]);
    let expected = [
        "a = 1 - 2^(-1/7) = 0.094276335736 (half-life 7 days), 1 - a = 0.905723664264",
        "S_C = 0.094276335736 x 20 + 0.905723664264 x 36.64983587538 = 35.080150358443",
        "S_N = 0.094276335736 x 50 + 0.905723664264 x 104.7138167868 = 99.55559862601",
        "candidate = S_C / S_N = 35.080150358443 / 99.55559862601 = 0.3524 on the grid of 0.0001, half to even",
        "floating: the price is the candidate, 0.3524",
        "evidence: 300 completed tasks on 3 days with tasks; 30 or 3 days are enough",
    ];
    assert_eq!(step(&found, "price")["arithmetic"], json!(expected), "{found}");
    assert_eq!(step(&found, "tasks")["arithmetic"], json!(["2 completed tasks x 0.3524 = 0.7048"]));
    let nights = step(&found, "price")["table"]["rows"].as_array().unwrap();
    assert_eq!(nights.len(), 3, "{nights:?}");
    assert_eq!(nights[0][4], "35", "{nights:?}");
}

/// A team's key explains its own statements; what others weigh is one sum, and their traces are not named.
#[test]
fn a_team_explains_its_own_lines_and_sees_no_other_team() {
    let books = two_months(EVERYTHING, 150);
    let server = books.serve();
    let finance = server.client(&books.key("finance", None));
    let client = server.client(&books.key("viewer", Some("beta")));
    let month = Month::before_today(1);
    let path = |team: &str, line: &str| format!("/v1/statements/{month}/{team}/lines/{line}/explanation");
    client.get(&path("alpha", "1")).ok(403);
    server.client(&books.key("ingest", Some("beta"))).get(&path("beta", "1")).ok(403);
    server.client("").get(&path("beta", "1")).ok(401);
    for wrong in ["0", "100000"] {
        assert!(client.get(&path("beta", wrong)).ok(404).text().contains("has lines 1 to"));
    }
    client.get(&path("beta", "x")).ok(400);
    client.get(&format!("{}?rows=1001", path("beta", "1"))).ok(400);
    client.get(&format!("{}?traces=101", path("beta", "1"))).ok(400);
    let lines = statement(&client, month, "beta")["lines"].as_array().unwrap().clone();
    let mut others = 0;
    for wanted in ["pool", "variance", "correction", "charge"] {
        let Some(at) = lines.iter().position(|line| line["kind"] == wanted) else { panic!("no {wanted}: {lines:?}") };
        let found = client.json(&format!("{}?traces=5", path("beta", &(at + 1).to_string())));
        assert_explained(&found, &lines[at]);
        let text = found.to_string();
        for other in ["alpha", "gamma"] {
            assert!(!text.contains(&format!("team {other}")) && !text.contains(&format!("\"{other}\"")), "{text}");
        }
        others += text.matches("other teams").count();
        let whole = finance.json(&format!("{}?traces=5", path("beta", &(at + 1).to_string())));
        assert_eq!(whole["readded"], found["readded"]);
    }
    assert!(others > 2, "{others}");
}

/// The command line takes a file, a number, or a team and a month; an altered file and a line that is not there are told.
#[test]
fn the_command_line_names_a_statement_in_three_ways() {
    let books = two_months(EVERYTHING, 160);
    let month = Month::before_today(1);
    let number = format!("{month}-alpha");
    let by_number = books.json(&["explain", &number, "2", "--traces", "1"]);
    assert_eq!((&by_number["statement"], &by_number["number"]), (&json!(number), &json!(2)), "{by_number}");
    let by_team = books.json(&["explain", "alpha", &month.to_string(), "2", "--traces", "1"]);
    let path = books.statement_path(month, "alpha");
    let by_file = books.json(&["explain", path.to_str().unwrap(), "2", "--traces", "1"]);
    assert_eq!((&by_team, &by_file), (&by_number, &by_number));
    let text = books.run(&["explain", &number, "2", "--rows", "2"]).ended(0).stdout;
    for expected in [&format!("line 2 of {number}, revision 1: "), "checks\n", "to the last picounit", "more"] {
        assert!(text.contains(expected), "{expected} is not in\n{text}");
    }
    let bytes = String::from_utf8(books.statement_bytes(month, "alpha")).unwrap();
    let mut altered: Value = serde_json::from_str(&bytes).unwrap();
    altered["lines"][1]["amount"] = "123.45".into();
    let altered = books.write("altered.json", altered.to_string());
    let said = books.run(&["explain", altered.to_str().unwrap(), "2"]).ended(1).said();
    assert!(said.contains("otherwise than it was issued"), "{said}");
    for (arguments, expected) in [
        (&["explain", "alpha", "2"][..], "neither a file nor the number of a statement"),
        (&["explain", &number, "0"], "`0` is no number of a line"),
        (&["explain", &number, "9999"], "has lines 1 to"),
        (&["explain", "2020-01-alpha", "1"], "no statement was issued"),
        (&["explain", "alpha", "October", "1"], "`October` is not a month"),
        (&["explain", &number], "STATEMENT LINE"),
    ] {
        let said = books.run(arguments).ended(2).said();
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
}

/// RAT-2, LED-4: a price that came after the close is a correction; it is told by the cells that had none before.
#[test]
fn rat_2_a_correction_by_a_later_price_is_explained() {
    let (old, new) = (Month::before_today(2), Month::before_today(1));
    let books = Books::of(EVERYTHING);
    let mut unknown = large_call("u", "u", &noon(old.day(12)), "alpha");
    unknown.insert("model".into(), "unheard-of".into());
    let known = large_call("k", "k", &noon(old.day(12)), "alpha");
    books.ingest(&lines(&[unknown, known])).ended(0);
    books.close(old);
    let list = json!({ "unheard-of": {
        "litellm_provider": "example", "mode": "chat", "input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6,
    } });
    let list = books.write("prices.json", list.to_string());
    let from = old.first().to_string();
    books.json(&["prices", "import", list.to_str().unwrap(), "--source", "a test", "--from", &from]);
    books.ingest(&lines(&[large_call("n", "n", &noon(new.day(5)), "alpha")])).ended(0);
    books.close(new);
    let server = books.serve();
    let client = server.client(&books.key("finance", None));
    let corrected: Vec<(usize, Value)> = statement(&client, new, "alpha")["lines"]
        .as_array()
        .unwrap()
        .iter()
        .enumerate()
        .filter(|(_, line)| line["kind"] == "correction" && line["model"] == "unheard-of")
        .map(|(at, line)| (at + 1, line.clone()))
        .collect();
    assert_eq!(corrected.len(), 2, "tokens in and out: {corrected:?}");
    for (number, line) in &corrected {
        let found = explain(&client, new, "alpha", *number);
        assert_explained(&found, line);
        let cells = step(&found, "cells")["table"]["rows"].as_array().unwrap();
        assert_eq!(cells.len(), 1, "{found}");
        let figures: Vec<&str> =
            cells[0].as_array().unwrap().iter().rev().take(3).map(|c| c.as_str().unwrap()).collect();
        assert_eq!(figures, [line["exact"].as_str().unwrap(), line["exact"].as_str().unwrap(), "0"], "{cells:?}");
    }
    // The month that was closed without the price keeps its statement.
    let path = books.statement_path(old, "alpha");
    books.run(&["verify", path.to_str().unwrap()]).ended(0);
    for number in 1..=statement(&client, old, "alpha")["lines"].as_array().unwrap().len() {
        assert_eq!(explain(&client, old, "alpha", number)["ties"], true);
    }
}

/// ATR-1, ATR-2, ATR-3: for each span what gave it each tag; who runs the agent stands apart from who pays.
#[test]
fn atr_1_a_trace_says_what_gave_each_span_its_tags() {
    let month = Month::before_today(1);
    let books = Books::of(EVERYTHING);
    let key = books.json(&["keys", "create", "--role", "ingest", "--team", "gamma"]);
    let key_id = key["id"].as_str().unwrap().to_owned();
    let at = noon(month.day(7));
    let span = |id: &str, parent: Value, tags: Value, agent: bool| {
        let mut event = large_call(id, "story", &at, "");
        event.insert("parent_id".into(), parent);
        event.insert("tags".into(), tags);
        if agent {
            event.insert("kind".into(), "agent".into());
            for name in ["provider", "model", "usage"] {
                event.remove(name);
            }
        }
        event
    };
    let events = [
        span(
            "root",
            Value::Null,
            json!({ "agent": "resolver", "task_type": "resolve", "user": "u1", "project": "p" }),
            true,
        ),
        span("guard", json!("root"), json!({ "agent": "guardrail", "team": "beta" }), true),
        span("check", json!("guard"), json!({}), false),
        span("again", json!("check"), json!({ "agent": "resolver" }), true),
        span("work", json!("again"), json!({ "task_type": "escalate" }), false),
        span("lost", json!("never"), json!({}), false),
        span("turn", json!("turn"), json!({}), false),
    ];
    let server = books.serve();
    let sent = server.client(key["key"].as_str().unwrap()).ingest(&lines(&events));
    assert_eq!(sent["accepted"], 7, "{sent}");
    let client = server.client(&books.key("finance", None));
    let trace = client.json("/v1/traces/story");
    let span =
        |id: &str| trace["spans"].as_array().unwrap().iter().find(|span| span["event_id"] == id).unwrap().clone();
    let why = |id: &str, tag: &str| {
        let why = &span(id)["why"][tag];
        (why["from"].as_str().unwrap_or("-").to_owned(), why["name"].as_str().unwrap_or("-").to_owned())
    };
    let pair = |from: &str, name: &str| (from.to_owned(), name.to_owned());
    assert_eq!(why("root", "agent"), pair("own", "root"));
    assert_eq!(why("check", "agent"), pair("ancestor", "guard"));
    assert_eq!(why("check", "task_type"), pair("ancestor", "root"));
    assert_eq!(why("work", "agent"), pair("ancestor", "again"));
    assert_eq!(why("work", "task_type"), pair("own", "work"));
    // The root names a user, whose entry in [[people]] names the team; the key's own team comes after it.
    assert_eq!(why("check", "team").0, "person");
    assert_eq!(why("check", "user"), pair("root", "root"));
    assert_eq!(why("check", "project"), pair("root", "root"));
    assert_eq!(trace["payer"]["team"], "alpha");
    assert_eq!((&trace["initiator"]["event_id"], &trace["initiator"]["agent"]), (&json!("root"), &json!("resolver")));
    assert_eq!((&span("check")["owner"], &span("check")["own_team"]), (&json!("operations"), &Value::Null));
    assert_eq!((&span("guard")["owner"], &span("guard")["own_team"]), (&json!("operations"), &json!("beta")));
    let resolver = &trace["agents"]["resolver"];
    assert_eq!((&resolver["owner"], &resolver["frames"]), (&json!("alpha"), &json!(2)), "{resolver}");
    assert!(pico(resolver["reentrant"].as_str().unwrap()) > 0, "{resolver}");
    assert_eq!((&trace["agents"]["guardrail"]["pool"], &trace["late_root"]), (&json!("safety"), &Value::Null));
    let findings: BTreeSet<&str> =
        trace["findings"].as_array().unwrap().iter().map(|finding| finding["kind"].as_str().unwrap()).collect();
    assert!(findings.contains("orphan") && findings.contains("parent_loop"), "{findings:?}");
    assert_eq!(sum(trace["spans"].as_array().unwrap(), "exclusive"), pico(trace["cost"].as_str().unwrap()), "ATR-5");
    assert_key_names_the_payer(&server.client(key["key"].as_str().unwrap()), &client, &key_id);
    assert_shown_with_why(&books);
}

/// The command line tells it too.
#[track_caller]
fn assert_shown_with_why(books: &Books) {
    let text = books.run(&["trace", "story", "--why"]).ended(0).stdout;
    for expected in ["ancestor guard", "frame 2 of resolver: re-entrant", "its parent never came", "operations"] {
        assert!(text.contains(expected), "{expected} is not in\n{text}");
    }
}

/// Without user and team the key's default is what names the payer.
#[track_caller]
fn assert_key_names_the_payer(sender: &Client, reader: &Client, key_id: &str) {
    let mut lone = large_call("lone", "alone", &noon(Month::before_today(1).day(7)), "");
    lone.insert("tags".into(), json!({ "agent": "writer" }));
    sender.ingest(&lines(&[lone]));
    let alone = reader.json("/v1/traces/alone");
    assert_eq!(alone["spans"][0]["why"]["team"], json!({ "from": "key", "name": key_id }));
}
