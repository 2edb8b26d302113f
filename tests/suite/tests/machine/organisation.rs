//! The organisation file: what is wrong with it is said by line; versions hold from their day.

use recoup_suite::{Books, EVERYTHING, Month, SMALL, large_call, lines, noon, pico, today};
use serde_json::{Value, json};

/// The line on which a text first stands, from 1.
fn line_of(text: &str, part: &str) -> usize {
    text.lines().position(|line| line.contains(part)).unwrap_or_else(|| panic!("no {part}")) + 1
}

#[track_caller]
fn assert_refused(text: &str, line: usize, words: &str) {
    let books = Books::empty();
    let ran = books.apply(text, &[]).ended(2);
    let said = ran.said();
    let told = said.lines().find(|told| told.contains(&format!("line {line}:")));
    assert!(told.is_some_and(|told| told.contains(words)), "line {line}: {words}\n{said}");
    // Nothing was applied.
    let correct = books.apply(SMALL, &[]).ended(0).json();
    assert_eq!(correct["version"], 1, "{correct}");
}

#[test]
fn faults_of_the_file_are_told_by_line() {
    let unknown_key = SMALL.replace("mode = \"chargeback\"", "mood = \"chargeback\"");
    assert_refused(&unknown_key, line_of(&unknown_key, "mood"), "mood");
    let dangling = EVERYTHING.replace("shared_pool = \"safety\"", "shared_pool = \"safetee\"");
    assert_refused(&dangling, line_of(&dangling, "safetee"), "did you mean `safety`");
    let percent = EVERYTHING.replace("gamma = \"33.4\"", "gamma = \"33.3\"");
    assert_refused(&percent, line_of(&percent, "gamma = \"33.3\""), "99.9");
    let zone = SMALL.replace("Europe/Berlin", "Europe/Bern");
    assert_refused(&zone, line_of(&zone, "Europe/Bern"), "Europe/Bern");
    let float = SMALL.replace("input = \"3.00\"", "input = 3.00");
    assert_refused(&float, line_of(&float, "input = 3.00"), "input");
    let twice = format!("{SMALL}\n[[teams]]\nid = \"support\"\n");
    assert_refused(&twice, line_of(&twice, "mode = \"chargeback\"").max(twice.lines().count()), "twice");
    assert_refused("[organisation\n", 1, "");
}

/// All faults at once, over HTTP too, as problem+json.
#[test]
fn all_faults_are_told_at_once() {
    let books = Books::of(SMALL);
    let server = books.serve();
    let client = server.client(&books.key("admin", None));
    let faulty =
        SMALL.replace("mode = \"chargeback\"", "mood = 1").replace("billing", "biling").replace("output", "ouput");
    let reply = client.send("PUT", "/v1/organisation", &[], faulty).ok(400);
    assert!(reply.header("content-type").starts_with("application/problem+json"));
    let problem = reply.json();
    assert_eq!(problem["type"], "urn:recoup:problem:invalid-organisation-file", "{problem}");
    let problems = problem["problems"].as_array().unwrap();
    assert!(problems.len() >= 2 && problems.iter().all(|one| one.as_str().unwrap().starts_with("line ")), "{problem}");
    assert_eq!(client.json("/v1/organisation")["versions"].as_array().unwrap().len(), 1, "nothing was applied");
    let bytes = client.send("PUT", "/v1/organisation", &[], b"[organisation]\nname = \"\xff\"".to_vec()).ok(400);
    assert_eq!(bytes.json()["type"], "urn:recoup:problem:not-utf8");
}

fn dearer(price: &str) -> String {
    SMALL
        .replace("input = \"3.00\"", &format!("input = \"{price}\""))
        .replace("from = \"2025-01-01\"", "from = \"2025-01-02\"")
}

/// ATR-4, LED-4: a dry run writes nothing; a second version holds from its day, by default from tomorrow.
#[test]
fn versions_hold_from_their_day() {
    let books = Books::empty();
    let month = Month::before_today(1);
    let path = books.write("first.toml", SMALL);
    let dry = books.json(&["apply", path.to_str().unwrap(), "--dry-run"]);
    assert_eq!((&dry["applied"], &dry["effective"]), (&json!(false), &Value::Null), "{dry}");
    assert!(!dry["changes"].as_array().unwrap().is_empty());
    let first = books.apply(SMALL, &[]).ended(0).json();
    assert_eq!((&first["version"], &first["effective"], &first["applied"]), (&json!(1), &Value::Null, &json!(true)));

    // `writer` is billed to its payers by token; from the 16th on it is a shared agent of a pool.
    let shared = SMALL.replace("owner = \"marketing\"", "owner = \"marketing\"\nshared_pool = \"writing\"")
        + "\n[[pools]]\nid = \"writing\"\nbasis = \"even\"\n";
    let from = month.day(16).to_string();
    let second = books.apply(&shared, &["--effective", &from]).ended(0).json();
    assert_eq!((&second["version"], &second["effective"]), (&json!(2), &json!(from)), "{second}");
    let call = |id: &str, day: u32| large_call(id, id, &noon(month.day(day)), "support");
    books.ingest(&lines(&[call("a", 15), call("b", 16), call("c", 17)])).ended(0);
    books.close(month);
    let statement: Value = serde_json::from_slice(&books.statement_bytes(month, "support")).unwrap();
    let sums = |kind: &str| -> i128 {
        let ours = statement["lines"].as_array().unwrap().iter().filter(|line| line["kind"] == kind);
        ours.map(|line| pico(line["exact"].as_str().unwrap())).sum()
    };
    assert_eq!((sums("charge"), sums("pool")), (pico("0.0045"), pico("0.009")), "{statement}");

    let third = books.apply(&dearer("4.00"), &[]).ended(0).json();
    assert_eq!((&third["version"], &third["effective"]), (&json!(3), &json!(today().succ_opt().unwrap().to_string())));
    let same = books.apply(&dearer("4.00"), &[]).ended(0).json();
    assert_eq!(same["applied"], false, "{same}");
    // What was applied for later days holds again from then on, and whoever applies for earlier ones is told.
    let first = today().to_string();
    let fourth = books.apply(&dearer("5.00"), &["--effective", &first]).ended(0).json();
    let again = format!("version 3, which was applied before, holds again from {} on", today().succ_opt().unwrap());
    assert!(fourth["notices"].to_string().contains(&again), "{fourth}");
}

/// LED-4: no version begins inside a closed period.
#[test]
fn led_4_no_version_begins_inside_a_closed_period() {
    let books = Books::of(SMALL);
    let month = Month::before_today(1);
    books.ingest(&lines([&large_call("a", "a", &noon(month.day(3)), "support")])).ended(0);
    books.close(month);
    let documents = books.documents(month);
    for inside in [month.day(2), month.day(28), Month::before_today(3).first()] {
        let said = books.apply(&dearer("4.00"), &["--effective", &inside.to_string()]).ended(2).said();
        assert!(said.contains("closed period") && said.contains(&month.next().first().to_string()), "{said}");
    }
    let next = month.next().first().to_string();
    assert_eq!(books.apply(&dearer("4.00"), &["--effective", &next]).ended(0).json()["applied"], true);
    let night = books.json(&["nightly", "--all"]);
    let days = night["days"].as_array().unwrap();
    assert!(days.iter().all(|day| day["changed"] == false), "the days of the closed month keep their version: {night}");
    assert_eq!(books.documents(month), documents);
    let path = books.statement_path(month, "support");
    assert_eq!(books.json(&["verify", path.to_str().unwrap()])["holds"], true);
}
