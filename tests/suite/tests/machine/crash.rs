//! A server that is killed while it takes events: what it acknowledged is there, once.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use recoup_suite::{
    Books, Chance, Client, EVERYTHING, Month, NDJSON, SMALL, Server, Traffic, large_call, lines, local,
};
use serde_json::{Value, json};

const CONNECTIONS: usize = 4;
const BATCH: usize = 40;
const ROUNDS: u64 = 4;

/// Events that nobody else sends: by round, connection and number.
fn batch(round: u64, connection: usize, number: usize) -> Vec<String> {
    let month = Month::before_today(1);
    let event = |n: usize| {
        let id = format!("{round}-{connection}-{number}-{n}");
        let day = month.day(u32::try_from(n % 28).unwrap() + 1);
        large_call(&id, &format!("trace-{id}"), &local(day, 10, 0, 0), "support")
    };
    lines((0..BATCH).map(event).collect::<Vec<_>>().iter())
}

fn id_of(line: &str) -> String {
    serde_json::from_str::<Value>(line).unwrap()["event_id"].as_str().unwrap().to_owned()
}

/// Sends until no answer comes; returns what was sent and what of it was acknowledged.
fn send_until_it_dies(client: &Client, round: u64, connection: usize) -> (Vec<String>, BTreeSet<String>) {
    let (mut sent, mut acknowledged) = (Vec::new(), BTreeSet::new());
    for number in 0.. {
        let events = batch(round, connection, number);
        sent.extend(events.iter().cloned());
        let body = events.join("\n").into_bytes();
        let Some(reply) = client.try_send("POST", "/v1/events", &[("content-type", NDJSON)], body) else { break };
        assert_eq!(reply.status, 200, "{}", reply.text());
        let receipt = reply.json();
        for result in receipt["results"].as_array().unwrap() {
            assert_eq!(result["status"], "accepted", "each is sent once: {result}");
            acknowledged.insert(result["event_id"].as_str().unwrap().to_owned());
        }
    }
    (sent, acknowledged)
}

/// A round under load, ended by a kill after a while.
fn round(server: Server, key: &str, round: u64) -> (Vec<String>, BTreeSet<String>) {
    let all = Mutex::new((Vec::new(), BTreeSet::new()));
    let wait = Duration::from_millis(Chance::seeded(round).between(150, 700));
    std::thread::scope(|scope| {
        for connection in 0..CONNECTIONS {
            let client = server.client(key);
            let all = &all;
            scope.spawn(move || {
                let (sent, acknowledged) = send_until_it_dies(&client, round, connection);
                let mut all = all.lock().unwrap();
                all.0.extend(sent);
                all.1.extend(acknowledged);
            });
        }
        std::thread::sleep(wait);
        server.kill();
    });
    all.into_inner().unwrap()
}

/// EVT-2: after each kill every acknowledged event is a duplicate, and the nights count each event once.
#[test]
fn evt_2_what_was_acknowledged_survives_a_kill_exactly_once() {
    let books = Books::of(SMALL);
    let key = books.key("admin", None);
    let (mut sent, mut acknowledged) = (Vec::new(), BTreeSet::new());
    for number in 0..ROUNDS {
        let (more, acked) = round(books.serve(), &key, number);
        println!("round {number}: {} sent, {} acknowledged before the kill", more.len(), acked.len());
        sent.extend(more);
        acknowledged.extend(acked);
        // A night between, so that later kills meet books with figures.
        if number == 1 {
            books.json(&["nightly", "--all"]);
        }
    }
    assert!(acknowledged.len() > 500, "only {} acknowledged: no load", acknowledged.len());
    let server = books.serve();
    let client = server.client(&key);
    for events in sent.chunks(2_000) {
        let receipt = client.ingest(events);
        assert_eq!((receipt["conflict"].as_u64(), receipt["rejected"].as_u64()), (Some(0), Some(0)));
        for (line, result) in events.iter().zip(receipt["results"].as_array().unwrap()) {
            let id = id_of(line);
            assert!(result["status"] == "duplicate" || !acknowledged.contains(&id), "{id} was lost: {result}");
        }
    }
    client.nightly();
    let month = Month::before_today(1);
    let counted = client.events_counted(&month.first().to_string(), &month.next().first().to_string());
    assert_eq!(counted, u64::try_from(sent.len()).unwrap());
}

/// CLO-5: nights and closes that are killed half-way are finished by the next, with the same bytes.
#[test]
fn clo_5_killed_nights_and_closes_are_finished_with_the_same_bytes() {
    let month = Month::before_today(1);
    let days = u64::try_from(month.days().len()).unwrap();
    let events = lines(&Traffic { seed: 51, first: month.first(), days, traces: 20 }.events());
    let quiet = Books::of(EVERYTHING);
    quiet.ingest(&events).ended(0);
    quiet.close(month);
    let books = Books::of(EVERYTHING);
    books.ingest(&events).ended(0);
    let key = books.key("finance", None);
    let nightly = json!({ "kind": "nightly", "through": "all" });
    let close = json!({ "kind": "close", "period": month.to_string(), "as_of": month.closable() });
    let mut chance = Chance::seeded(52);
    for (request, rounds) in [(&nightly, 6), (&close, 6)] {
        for _ in 0..rounds {
            let server = books.serve();
            server.client(&key).post("/v1/runs", request).ok(202);
            std::thread::sleep(Duration::from_millis(chance.between(0, 250)));
            server.kill();
        }
        books.json(&["nightly", "--all"]);
    }
    books.close(month);
    assert_eq!(books.documents(month), quiet.documents(month));
    for statement in books.json(&["statements", &month.to_string()])["rows"].as_array().unwrap() {
        let path = books.statement_path(month, statement["team"].as_str().unwrap());
        assert_eq!(books.json(&["verify", path.to_str().unwrap()])["holds"], true, "{statement}");
    }
}

/// A server that is asked to end does so with code 0, and leaves books that open again.
#[test]
fn a_server_that_is_asked_to_end_does() {
    let books = Books::of(SMALL);
    let server = books.serve();
    let client = server.client(&books.key("admin", None));
    client.ingest(&batch(0, 0, 0));
    assert!(server.stop());
    assert_eq!(books.ingest(&batch(0, 0, 0)).ended(0).json()["duplicate"], 40);
}

/// A torn database is refused in words, and not repaired in silence.
#[test]
fn a_torn_database_is_refused() {
    let books = Books::of(SMALL);
    for number in 0..20 {
        books.ingest(&batch(0, 0, number)).ended(0);
    }
    let file = std::fs::read_dir(books.data()).unwrap().map(|entry| entry.unwrap().path());
    let database = file.filter(|path| path.is_file()).max_by_key(|path| path.metadata().unwrap().len()).unwrap();
    let bytes = std::fs::read(&database).unwrap();
    assert!(bytes.starts_with(b"SQLite format 3\0"), "{}", database.display());
    for keep in [bytes.len() / 2, 100, 20] {
        std::fs::write(&database, bytes.get(..keep).unwrap()).unwrap();
        let ran = books.run(&["nightly", "--all"]).ended(3);
        let name = database.file_name().unwrap().to_str().unwrap();
        assert!(
            ran.stderr.contains("damaged") && ran.stderr.contains(name) && ran.stderr.contains("backup"),
            "{}",
            ran.stderr
        );
        let (code, said) = Server::refused(&books.data());
        assert!(code == 3 && said.contains("damaged"), "{code}: {said}");
    }
    std::fs::write(&database, b"this is no database at all, but it is long enough to look like one".repeat(20))
        .unwrap();
    assert!(books.run(&["runs"]).ended(3).stderr.contains("damaged"));
    std::fs::write(&database, bytes).unwrap();
    books.json(&["nightly", "--all"]);
}
