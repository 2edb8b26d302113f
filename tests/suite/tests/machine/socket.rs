//! One writer: while a server holds the data folder, commands travel to it.

use recoup_suite::{Books, EVERYTHING, Month, SMALL, Server, Traffic, lines};
use serde_json::Value;

fn events() -> Vec<String> {
    let month = Month::before_today(1);
    lines(&Traffic { seed: 41, first: month.first(), days: 6, traces: 8 }.events())
}

/// Everything that the commands answer about some books, without times and names of runs.
fn answers(books: &Books) -> Vec<(String, Value)> {
    let month = Month::before_today(1);
    let period = month.to_string();
    let questions: [&[&str]; 6] = [
        &["costs", "--month", &period, "--by", "day,team,agent,model"],
        &["findings", "--month", &period],
        &["unpriced", "--month", &period],
        &["events", "--month", &period, "--limit", "100"],
        &["prices", "tasks"],
        &["statement", "alpha", &period, "--format", "json"],
    ];
    let ask = |question: &&[&str]| {
        let mut answer = books.json(question);
        if let Some(rows) = answer.get_mut("rows").and_then(Value::as_array_mut) {
            // Pseudonyms hang on a key of the folder.
            rows.iter_mut().filter_map(Value::as_object_mut).for_each(|row| row.retain(|name, _| name != "tags"));
        }
        (question.join(" "), answer)
    };
    questions.iter().map(ask).collect()
}

fn work(books: &Books) -> Value {
    books.apply(EVERYTHING, &[]).ended(0);
    let receipt = books.ingest(&events()).ended(0).json();
    books.close(Month::before_today(1));
    receipt
}

/// CLO-5: the same commands give the same answers with a server in the folder and without.
#[test]
fn clo_5_commands_give_the_same_answers_through_a_server() {
    let alone = Books::empty();
    let receipt = work(&alone);
    let served = Books::empty();
    std::fs::create_dir_all(served.data()).unwrap();
    let server = served.serve();
    assert_eq!(work(&served), receipt);
    for ((question, ours), (_, theirs)) in answers(&alone).iter().zip(answers(&served)) {
        assert_eq!(*ours, theirs, "{question}");
    }
    assert_eq!(alone.documents(Month::before_today(1)), served.documents(Month::before_today(1)));
    // The server itself has done it: it knows the runs.
    let client = server.client(&served.key("finance", None));
    let runs = client.rows("/v1/runs");
    let kinds: Vec<_> = runs.iter().map(|run| run["kind"].as_str().unwrap()).collect();
    assert!(kinds.contains(&"nightly") && kinds.contains(&"close"), "{runs:?}");
}

/// The command line reaches a server by its address as well.
#[test]
fn commands_reach_a_server_by_its_address() {
    let books = Books::of(SMALL);
    let server = books.serve();
    let key = books.key("admin", None);
    let elsewhere = Books::empty();
    let over = |arguments: &[&str]| {
        let place = ["--server", server.url(), "--key", &key, "--json"];
        std::process::Command::new(recoup_suite::recoup_binary()).args(place).args(arguments).output().unwrap()
    };
    let file = elsewhere.write("one.ndjson", events().join("\n"));
    let sent = over(&["ingest", file.to_str().unwrap()]);
    assert!(sent.status.success(), "{sent:?}");
    let costs = over(&["costs", "--month", &Month::before_today(1).to_string()]);
    let here = books.json(&["costs", "--month", &Month::before_today(1).to_string()]);
    assert_eq!(serde_json::from_slice::<Value>(&costs.stdout).unwrap(), here);
    let wrong = std::process::Command::new(recoup_suite::recoup_binary())
        .args(["--server", server.url(), "--key", "recoup_no_key", "costs"])
        .output()
        .unwrap();
    assert_eq!(wrong.status.code(), Some(2), "{wrong:?}");
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("key"), "{wrong:?}");
}

/// A second server on the same folder is refused in words; the first goes on.
#[test]
fn a_second_server_on_a_folder_is_refused() {
    let books = Books::of(SMALL);
    let server = books.serve();
    let (code, said) = Server::refused(&books.data());
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("held") || said.contains("in use"), "{said}");
    assert_eq!(server.client("").get("/healthz").status, 200);
    drop(server);
    assert_eq!(books.serve().client("").get("/healthz").status, 200, "the folder is free again");
}
