//! Commands on data folders of this machine: one holder, many guests.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{command, finish, on_folder, recoup};

const ORGANISATION: &str =
    "[organisation]\nname = \"Example\"\ncurrency = \"USD\"\ntime_zone = \"UTC\"\n[[teams]]\nid = \"support\"\n";

fn event(id: u32) -> String {
    let at = (chrono::Utc::now().date_naive() - chrono::TimeDelta::days(1))
        .and_time(chrono::NaiveTime::MIN)
        .and_utc()
        .to_rfc3339();
    format!(
        "{{\"event_id\":\"e{id}\",\"trace_id\":\"t{id}\",\"used_at\":\"{at}\",\"kind\":\"llm\",\"tags\":{{\"team\":\"support\"}},\
         \"provider\":\"anthropic\",\"model\":\"claude-sonnet-4-6\",\"usage\":{{\"input\":1000000}}}}\n"
    )
}

fn events(folder: &Path, name: &str, ids: std::ops::Range<u32>) -> String {
    let path = folder.join(name);
    std::fs::write(&path, ids.map(event).collect::<String>()).unwrap();
    path.to_str().unwrap().to_owned()
}

fn prepared(folder: &Path) -> std::path::PathBuf {
    let file = folder.join("recoup.toml");
    std::fs::write(&file, ORGANISATION).unwrap();
    let data = folder.join("data");
    on_folder(&data, &["apply", file.to_str().unwrap()]).exits(0);
    data
}

/// `recoup serve`, and the address that it prints.
pub(crate) fn serve(data: &Path) -> (Child, String) {
    let mut child = command(&["--data", data.to_str().unwrap(), "serve", "--listen", "127.0.0.1:0"]).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    let url = line.split_whitespace().last().unwrap().to_owned();
    std::thread::spawn(move || stdout.lines().for_each(drop));
    (child, url)
}

pub(crate) fn end(child: Child) -> crate::Outcome {
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    finish(child)
}

#[test]
fn one_command_after_the_other_works_on_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let data = prepared(folder.path());
    let file = events(folder.path(), "a.ndjson", 0..3);
    let first = on_folder(&data, &["ingest", &file, "--json"]).exits(0).json();
    assert_eq!(first.get("accepted"), Some(&3.into()));
    let again = on_folder(&data, &["ingest", &file, "--json"]).exits(0).json();
    assert_eq!(again.get("duplicate"), Some(&3.into()));
    on_folder(&data, &["nightly", "--all"]).exits(0);
    let costs = on_folder(&data, &["costs", "--json"]).exits(0).json();
    assert_eq!(costs.pointer("/total/cost"), Some(&"9".into()), "{costs}");
    for file in ["user.key", "recoup.sqlite3"] {
        assert!(data.join(file).exists(), "{file}");
    }
    assert!(!data.join("recoup.sock").exists());
    assert_eq!(std::fs::metadata(data.join("user.key")).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn ano_1_a_command_ends_when_every_day_of_its_nights_is_judged() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (organisation, events, data) = (file("recoup.toml"), file("a.ndjson"), folder.path().join("data"));
    let from = (chrono::Utc::now().date_naive() - chrono::TimeDelta::days(60)).to_string();
    let made = ["--days", "40", "--spans", "8000", "--from", &from, "-o", &events, "--organisation", &organisation];
    recoup(&[&["sample"], &made[..]].concat()).exits(0);
    for arguments in [&["apply", &organisation][..], &["ingest", &events]] {
        on_folder(&data, arguments).exits(0);
    }
    let night = on_folder(&data, &["nightly"]).exits(0);
    assert!(!night.stderr.contains("ERROR"), "{}", night.stderr);
    let store = rusqlite::Connection::open(data.join("recoup.sqlite3")).unwrap();
    let count = |partition: &str| {
        let ours = r#"SELECT count(DISTINCT substr(sort, 1, 10)) FROM books WHERE "partition" = ?1"#;
        store.query_row(ours, [partition], |row| row.get::<_, i64>(0)).unwrap()
    };
    assert!(count("nights") >= 40);
    assert_eq!(count("judged"), count("nights"));
}

#[test]
fn commands_at_the_same_time_share_one_holder() {
    let folder = tempfile::tempdir().unwrap();
    let data = prepared(folder.path());
    let start = |name: &str, ids: std::ops::Range<u32>| {
        let file = events(folder.path(), name, ids);
        command(&["--data", data.to_str().unwrap(), "ingest", &file, "--batch", "20", "--json"]).spawn().unwrap()
    };
    let children = [start("a", 0..600), start("b", 600..1_200), start("c", 1_200..1_800), start("d", 0..600)];
    let outcomes = children.map(|child| finish(child).exits(0).json());
    let sum = |name: &str| {
        outcomes.iter().map(|outcome| outcome.get(name).and_then(serde_json::Value::as_u64).unwrap()).sum::<u64>()
    };
    assert_eq!((sum("accepted"), sum("duplicate")), (1_800, 600));
}

#[test]
fn a_holder_stays_until_its_guests_have_gone() {
    let folder = tempfile::tempdir().unwrap();
    let data = prepared(folder.path());
    let start = || {
        let mut command = command(&["--data", data.to_str().unwrap(), "ingest", "-"]);
        command.stdin(Stdio::piped()).spawn().unwrap()
    };
    let mut holder = start();
    while !data.join("recoup.sock").exists() {
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut guest = start();
    std::thread::sleep(Duration::from_millis(500));
    drop(holder.stdin.take());
    std::thread::sleep(Duration::from_millis(500));
    assert!(holder.try_wait().unwrap().is_none(), "the holder left its guest alone");
    guest.stdin.take().unwrap().write_all(event(1).as_bytes()).unwrap();
    assert!(finish(guest).exits(0).stdout.starts_with("1 accepted"));
    finish(holder).exits(0);
}

#[test]
fn a_folder_that_is_not_there_is_not_made_by_a_question() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("nowhere");
    let outcome = on_folder(&data, &["costs"]).exits(2);
    assert!(
        outcome.stderr.contains("there is no data folder") && outcome.stderr.contains("--data"),
        "{}",
        outcome.stderr
    );
    assert!(!data.exists());
}

#[test]
fn commands_go_through_a_server_that_holds_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let data = prepared(folder.path());
    let (server, url) = serve(&data);
    let socket = data.join("recoup.sock");
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    let made = on_folder(&data, &["keys", "create", "--role", "admin", "--json"]).exits(0).json();
    let key = made.get("key").and_then(serde_json::Value::as_str).unwrap();
    let file = events(folder.path(), "a.ndjson", 0..5);
    recoup(&["--server", &url, "--key", key, "ingest", &file]).exits(0);
    recoup(&["--server", &url, "--key", "recoup_no_key", "ingest", &file]).exits(2);
    recoup(&["--server", &url, "ingest", &file]).exits(2);
    on_folder(&data, &["nightly", "--all"]).exits(0);
    let through_key = recoup(&["--server", &url, "--key", key, "costs", "--json"]).exits(0).json();
    assert_eq!(through_key.pointer("/total/events"), Some(&5.into()));
    let second = on_folder(&data, &["serve", "--listen", "127.0.0.1:0"]).exits(3);
    assert!(second.stderr.contains(&format!("process {}", server.id())), "{}", second.stderr);
    let ended = end(server).exits(0);
    assert!(!ended.stderr.contains(key), "a secret is in the log");
    assert!(!socket.exists());
    on_folder(&data, &["costs"]).exits(0);
}

#[test]
fn a_server_without_keys_says_how_to_make_one() {
    let folder = tempfile::tempdir().unwrap();
    let child =
        command(&["--data", folder.path().to_str().unwrap(), "serve", "--listen", "127.0.0.1:0", "--log", "json"]);
    let child = { child }.spawn().unwrap();
    std::thread::sleep(Duration::from_millis(1_500));
    let outcome = end(child).exits(0);
    assert!(
        outcome.stdout.contains("keys create --role ingest") && outcome.stdout.contains("apply recoup.toml"),
        "{}",
        outcome.stdout
    );
    for line in outcome.stderr.lines() {
        let entry: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(entry.get("level").is_some() && entry.get("message").is_some(), "{line}");
    }
    assert!(outcome.stderr.contains("\"signal\":\"SIGTERM\""), "{}", outcome.stderr);
}

#[test]
fn what_a_killed_holder_leaves_behind_does_not_stop_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let data = prepared(folder.path());
    let (mut server, _) = serve(&data);
    server.kill().unwrap();
    server.wait().unwrap();
    assert!(data.join("recoup.sock").exists());
    let (server, _) = serve(&data);
    on_folder(&data, &["keys", "list"]).exits(0);
    end(server).exits(0);
}

#[test]
fn the_demo_plays_ties_and_leaves_books_that_verify() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("demo");
    let told = on_folder(&data, &["demo"]).exits(0).stdout;
    for expected in ["0 rejected", "closed as of", "byte for byte", ": equal\n", "What to look at next"] {
        assert!(told.contains(expected), "{expected} is not in\n{told}");
    }
    let commands: Vec<&str> = told.lines().filter_map(|line| line.strip_prefix("recoup --data ")).collect();
    assert!(commands.len() > 5, "{told}");
    for line in commands.iter().filter(|line| !line.contains(" serve ")) {
        let line = line.split("  ").next().unwrap();
        let arguments: Vec<&str> = line.split_whitespace().skip(1).collect();
        on_folder(&data, &arguments).exits(0);
    }
    let refused = on_folder(&data, &["demo"]).exits(2);
    assert!(refused.stderr.contains("holds books already"), "{}", refused.stderr);
    let list = on_folder(&data, &["statements", "--json"]).exits(0).json();
    let month = list.pointer("/rows/0/period").and_then(serde_json::Value::as_str).unwrap();
    let file = folder.path().join("s.json");
    let path = file.to_str().unwrap();
    on_folder(&data, &["statement", "support", month, "--format", "json", "-o", path]).exits(0);
    on_folder(&data, &["verify", path]).exits(0);
    let forged = std::fs::read_to_string(&file).unwrap().replacen("\"amount\":\"", "\"amount\":\"1", 1);
    std::fs::write(&file, forged).unwrap();
    on_folder(&data, &["verify", path]).exits(1);
}

#[test]
fn a_sample_is_what_its_organisation_file_expects() {
    let folder = tempfile::tempdir().unwrap();
    let (file, organisation) = (folder.path().join("e.ndjson"), folder.path().join("recoup.toml"));
    let (file, organisation) = (file.to_str().unwrap(), organisation.to_str().unwrap());
    recoup(&["sample", "--spans", "300", "--seed", "5", "-o", file, "--organisation", organisation]).exits(0);
    let data = folder.path().join("data");
    on_folder(&data, &["apply", organisation]).exits(0);
    on_folder(&data, &["ingest", file]).exits(0);
    let to_stdout = recoup(&["sample", "--spans", "300", "--seed", "5"]).exits(0);
    assert_eq!(to_stdout.stdout, std::fs::read_to_string(file).unwrap());
    recoup(&["sample", "--days", "0"]).exits(2);
}

#[test]
fn serve_does_not_start_with_a_channel_that_cannot_be() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut serve = command(&["--data", data.to_str().unwrap(), "serve", "--listen", "127.0.0.1:0"]);
    serve.env("RECOUP_SLACK_SIGNING_SECRET", "hush-hush");
    let outcome = finish(serve.spawn().unwrap()).exits(2);
    assert!(outcome.stderr.contains("the variable RECOUP_SLACK_SIGNING_SECRET cannot be used"), "{}", outcome.stderr);
    assert!(!outcome.stderr.contains("hush"), "{}", outcome.stderr);
    assert!(!data.exists(), "nothing was made");
}

#[test]
fn a_file_that_cannot_be_applied_makes_no_folder() {
    let folder = tempfile::tempdir().unwrap();
    let (file, data) = (folder.path().join("recoup.toml"), folder.path().join("data"));
    let problem = "organisation.currency: missing";
    std::fs::write(&file, "[organisation]\nname = \"A\"\ntime_zone = \"UTC\"\n").unwrap();
    let apply = ["apply", file.to_str().unwrap(), "--yes"];
    let new = on_folder(&data, &apply).exits(2);
    assert!(new.stderr.contains(problem), "{}", new.stderr);
    assert!(!data.exists());
    let there = folder.path().join("there");
    std::fs::create_dir(&there).unwrap();
    let there = on_folder(&prepared(&there), &apply);
    assert_eq!((there.code, there.stderr), (new.code, new.stderr), "the service says the same");
}

/// An event of a day before yesterday that costs so much.
fn costing(id: u32, day: chrono::NaiveDate, cost: &str) -> String {
    format!(
        "{{\"event_id\":\"e{id}\",\"trace_id\":\"t{id}\",\"used_at\":\"{day}T10:00:00Z\",\"kind\":\"tool\",\"status\":\"ok\",\
         \"cost\":{{\"amount\":\"{cost}\",\"currency\":\"USD\"}},\"tags\":{{\"team\":\"support\",\"agent\":\"a\"}}}}\n"
    )
}

/// Ingests these events into a folder.
fn ingest(folder: &Path, data: &Path, lines: impl Iterator<Item = String>) {
    on_folder(data, &["ingest", &file_of(folder, "events.ndjson", lines)]).exits(0);
}

fn days_ago(days: i64) -> chrono::NaiveDate {
    chrono::Utc::now().date_naive() - chrono::TimeDelta::days(days)
}

fn file_of(folder: &Path, name: &str, lines: impl Iterator<Item = String>) -> String {
    let path = folder.join(name);
    std::fs::write(&path, lines.collect::<String>()).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn evt_2_of_two_events_of_one_identity_the_first_in_the_file_stands() {
    let folder = tempfile::tempdir().unwrap();
    let twice = ["1", "2"].into_iter().flat_map(|cost| (0..60).map(move |id| costing(id, days_ago(2), cost)));
    let file = file_of(folder.path(), "twice.ndjson", twice);
    for run in 0..4 {
        let place = folder.path().join(run.to_string());
        std::fs::create_dir(&place).unwrap();
        let data = prepared(&place);
        let receipt = on_folder(&data, &["--json", "ingest", &file, "--batch", "30"]).exits(1).json();
        assert_eq!((&receipt["accepted"], &receipt["conflict"]), (&60.into(), &60.into()), "{receipt}");
        let blamed = receipt["problems"].as_array().unwrap().iter().map(|problem| problem["line"].as_u64().unwrap());
        assert!(blamed.into_iter().all(|line| line > 60), "{receipt}");
        on_folder(&data, &["nightly"]).exits(0);
        assert_eq!(on_folder(&data, &["costs", "--json"]).exits(0).json()["total"]["cost"], "60");
    }
}

#[test]
fn a_command_may_read_what_another_one_on_its_folder_writes() {
    let folder = tempfile::tempdir().unwrap();
    let data = prepared(folder.path());
    let data = data.to_str().unwrap();
    for _ in 0..6 {
        let mut holds = command(&["--data", data, "--json", "costs"]).spawn().unwrap();
        let answer = holds.stdout.take().unwrap();
        // It works through the command whose answer it reads.
        let reads = command(&["--data", data, "verify", "-"]).stdin(answer).spawn().unwrap();
        assert_eq!(finish(reads).code, 2, "an answer is no statement");
        assert_eq!(finish(holds).code, 0);
    }
}

#[test]
fn ano_1_a_command_stays_for_the_nights_of_its_guests() {
    let folder = tempfile::tempdir().unwrap();
    let data = prepared(folder.path());
    ingest(folder.path(), &data, (0..3_000).map(|id| costing(id, days_ago(2 + i64::from(id) % 50), "1")));
    // It reads until its input ends, and another command works through it meanwhile.
    let mut holds = command(&["--data", data.to_str().unwrap(), "verify", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    while !data.join("recoup.sock").exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    on_folder(&data, &["nightly"]).exits(0);
    drop(holds.stdin.take());
    let held = finish(holds);
    assert_eq!(held.code, 2, "nothing is no statement: {}", held.stderr);
    let anomalies = on_folder(&data, &["--json", "anomalies", "--from", &days_ago(60).to_string()]).exits(0).json();
    assert_eq!(anomalies["total"]["days_not_judged"], 0, "{anomalies}");
}

#[test]
fn ano_1_days_that_nobody_judged_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let data = prepared(folder.path());
    ingest(folder.path(), &data, (0..5).map(|id| costing(id, days_ago(70), "1")));
    let month = days_ago(70).format("%Y-%m").to_string();
    on_folder(&data, &["close", &month, "--run-missing-nights"]).exits(0);
    let before = on_folder(&data, &["anomalies", "--month", &month]).exits(0);
    assert!(before.stderr.contains("1 day of these is not judged yet"), "{}", before.stderr);
    on_folder(&data, &["nightly"]).exits(0);
    let after = on_folder(&data, &["anomalies", "--month", &month]).exits(0);
    assert_eq!(after.stderr, "");
}

#[test]
fn rat_1_who_applies_a_file_is_told_what_it_does_not_reach() {
    let folder = tempfile::tempdir().unwrap();
    let data = prepared(folder.path());
    ingest(folder.path(), &data, (0..1).map(|id| costing(id, days_ago(5), "1")));
    let priced = folder.path().join("priced.toml");
    let price = format!(
        "[[prices]]\nprovider = \"x\"\nmodel = \"m\"\nfrom = \"{}\"\nper_million = {{ input = \"1\" }}\n",
        days_ago(40)
    );
    std::fs::write(&priced, format!("{ORGANISATION}{price}")).unwrap();
    for more in [&["--dry-run"][..], &[]] {
        let applied = on_folder(&data, &[&["apply", priced.to_str().unwrap()], more].concat()).exits(0);
        assert!(applied.stderr.contains("--effective"), "{}", applied.stderr);
    }
}

#[test]
fn pool_4_days_without_events_count_up_to_the_day_that_nights_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let data = prepared(folder.path());
    let first = days_ago(40);
    ingest(folder.path(), &data, std::iter::once(costing(1, first, "1")));
    let through = |arguments: &[&str]| {
        let night = on_folder(&data, &[&["--json", "nightly"], arguments].concat()).exits(0).json();
        night["periods"][0]["through"].as_str().unwrap().to_owned()
    };
    let next = first + chrono::TimeDelta::days(1);
    let in_month = |day: chrono::NaiveDate| day.min(end_of_month(first)).to_string();
    assert_eq!(through(&["--day", &next.to_string()]), in_month(next));
    let yesterday = in_month(days_ago(1));
    assert_eq!(through(&[]), yesterday);
    assert_eq!(through(&["--day", &next.to_string()]), yesterday, "what was settled stays so");
}

fn end_of_month(day: chrono::NaiveDate) -> chrono::NaiveDate {
    let month: recoup_model::Period = day.format("%Y-%m").to_string().parse().unwrap();
    month.days().last().unwrap()
}

#[test]
fn clo_1_days_that_wait_for_an_interrupted_close_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let data = prepared(folder.path());
    let day = days_ago(70);
    let month = day.format("%Y-%m").to_string();
    let file = |name: &str, id| file_of(folder.path(), name, std::iter::once(costing(id, day, "1")));
    on_folder(&data, &["ingest", &file("a.ndjson", 1)]).exits(0);
    on_folder(&data, &["close", &month, "--run-missing-nights"]).exits(0);
    let store = rusqlite::Connection::open(data.join("recoup.sqlite3")).unwrap();
    let interrupted = r#"UPDATE books SET value = json_set(value, '$.state', 'closing') WHERE "partition" = 'periods'"#;
    assert_eq!(store.execute(interrupted, []).unwrap(), 1);
    drop(store);
    on_folder(&data, &["ingest", &file("b.ndjson", 2)]).exits(0);
    let night = on_folder(&data, &["nightly"]).exits(0);
    assert!(!night.stdout.contains("no day has changed"), "{}", night.stdout);
    assert!(
        night.stderr.contains(&format!("1 of its days wait for it: run `recoup close {month}`")),
        "{}",
        night.stderr
    );
    // A later month waits for it too, as it books what is late.
    let later = recoup_model::Period::of(day).next().to_string();
    on_folder(
        &data,
        &[
            "ingest",
            &file_of(
                folder.path(),
                "c.ndjson",
                std::iter::once(costing(3, end_of_month(day) + chrono::TimeDelta::days(2), "1")),
            ),
        ],
    )
    .exits(0);
    let refused = on_folder(&data, &["--json", "close", &later, "--run-missing-nights"]).exits(1).json();
    let blocking = refused["findings"].as_array().unwrap().iter().map(|found| found["detail"].as_str().unwrap());
    let finish = format!("finish it with `recoup close {month}`");
    assert_eq!(blocking.filter(|detail| detail.contains(&finish)).count(), 1, "{refused}");
    assert_eq!(refused["blocking"], 1, "{refused}");
    on_folder(&data, &["close", &month]).exits(0);
    assert!(on_folder(&data, &["nightly"]).exits(0).stdout.contains("new events"));
    let closed = on_folder(&data, &["--json", "close", &later]).exits(0).json();
    assert_eq!(closed["totals"]["corrections"], "1", "{closed}");
}

#[test]
fn a_run_that_a_server_does_not_finish_is_not_left_running() {
    let folder = tempfile::tempdir().unwrap();
    let data = prepared(folder.path());
    ingest(folder.path(), &data, (0..4_000).map(|id| costing(id, days_ago(2 + i64::from(id) % 50), "1")));
    let (server, _) = serve(&data);
    let night = command(&["--data", data.to_str().unwrap(), "nightly"]).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(40));
    end(server);
    finish(night);
    let runs = on_folder(&data, &["--json", "runs"]).exits(0).json();
    let states: Vec<&serde_json::Value> = runs["rows"].as_array().unwrap().iter().map(|run| &run["state"]).collect();
    assert!(states.iter().all(|state| **state != "running"), "{runs}");
}

/// What the nights that run say why they do.
fn reasons(data: &Path) -> Vec<String> {
    let night = on_folder(data, &["--json", "nightly"]).exits(0).json();
    let days = night["days"].as_array().unwrap().iter();
    days.map(|day| format!("{} {}", day["day"].as_str().unwrap(), day["reason"].as_str().unwrap())).collect()
}

#[test]
fn clo_5_days_are_run_again_that_are_concerned_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let data = prepared(folder.path());
    let [early, late] = [20, 3].map(days_ago);
    let llm = |id: &str, day: chrono::NaiveDate, model: &str| {
        format!(
            "{{\"event_id\":\"{id}\",\"trace_id\":\"{id}\",\"used_at\":\"{day}T10:00:00Z\",\"kind\":\"llm\",\"tags\":{{\"team\":\
             \"support\",\"agent\":\"a\"}},\"provider\":\"x\",\"model\":\"{model}\",\"usage\":{{\"input\":1000000}}}}\n"
        )
    };
    let [middle, euro] = [15, 14].map(days_ago);
    let in_euro = costing(5, euro, "2.00").replace("USD", "EUR");
    let events =
        [llm("e1", early, "m"), llm("e2", late, "m"), llm("e3", late, "other"), costing(4, middle, "1"), in_euro];
    ingest(folder.path(), &data, events.into_iter());
    assert_eq!(reasons(&data).len(), 4);
    let file = folder.path().join("changed.toml");
    let mut text = ORGANISATION.to_owned();
    let mut apply = |more: &str| {
        text.push_str(more);
        std::fs::write(&file, &text).unwrap();
        on_folder(&data, &["apply", file.to_str().unwrap(), "--effective", &days_ago(100).to_string()]).exits(0);
    };
    apply(
        "slack_channel = \"C1\"\n[[budgets]]\nscope = \"team:support\"\nlimit = \"9\"\n[[pools]]\nid = \"p\"\nbasis = \"even\"\n",
    );
    assert_eq!(reasons(&data), Vec::<String>::new(), "no fact of a day hangs on it");
    let price = |from: chrono::NaiveDate, model: &str| {
        format!(
            "[[prices]]\nprovider = \"x\"\nmodel = \"{model}\"\nfrom = \"{from}\"\nper_million = {{ input = \"1\" }}\n"
        )
    };
    apply(&price(days_ago(10), "m"));
    assert_eq!(reasons(&data), [format!("{late} price changed: model:x/m")], "what was used before it began");
    apply(&price(days_ago(50), "other"));
    assert_eq!(reasons(&data), [format!("{late} price changed: model:x/other")]);
    let rate = |currency: &str| {
        format!(
            "[[rates]]\nfrom_currency = \"{currency}\"\nto_currency = \"USD\"\nfrom = {}\nrate = \"1.1\"\n",
            days_ago(90)
        )
    };
    apply(&rate("GBP"));
    assert_eq!(reasons(&data), Vec::<String>::new(), "nothing was reported in it");
    apply(&rate("EUR"));
    assert_eq!(reasons(&data), [format!("{euro} exchange rate changed: EUR")]);
    apply("[[agents]]\nid = \"a\"\nbilling = \"task\"\n");
    let changed = "organisation changed: agents[a]";
    assert_eq!(reasons(&data), [early, middle, euro, late].map(|day| format!("{day} {changed}")));
    assert_eq!(reasons(&data), Vec::<String>::new());
}

#[test]
fn rat_2_a_simulation_says_what_its_rules_leave_without_a_price() {
    let folder = tempfile::tempdir().unwrap();
    let data = prepared(folder.path());
    let day = days_ago(40);
    let price = |from: chrono::NaiveDate| {
        format!("[[prices]]\nprovider = \"x\"\nmodel = \"m\"\nfrom = \"{from}\"\nper_million = {{ input = \"3\" }}\n")
    };
    let (file, card) = (folder.path().join("priced.toml"), folder.path().join("card.toml"));
    std::fs::write(&file, format!("{ORGANISATION}{}", price(days_ago(100)))).unwrap();
    on_folder(&data, &["apply", file.to_str().unwrap(), "--effective", &days_ago(100).to_string()]).exits(0);
    let event = event(1).replace("anthropic", "x").replace("claude-sonnet-4-6", "m");
    let event = event.replace(&days_ago(1).to_string(), &day.to_string());
    ingest(folder.path(), &data, std::iter::once(event));
    on_folder(&data, &["nightly"]).exits(0);
    // The same price, but from a day on which nothing is used any more.
    std::fs::write(&card, price(days_ago(30))).unwrap();
    let simulated = on_folder(&data, &["--json", "simulate", "--rate-card", card.to_str().unwrap()]).exits(0).json();
    let unpriced = serde_json::json!({ "old": 0, "new": 1 });
    assert_eq!((&simulated["totals"]["unpriced"], &simulated["teams"][0]["unpriced"]), (&unpriced, &unpriced));
    let notes = simulated["notes"].to_string();
    assert!(notes.contains("1 event or bill has no price under the new rules, 0 under the old"), "{notes}");
}

#[test]
fn exit_codes_tell_what_was_asked_from_what_broke() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    on_folder(&empty, &["keys", "create", "--role", "ingest"]).exits(0);
    let without = on_folder(&empty, &["nightly"]).exits(2);
    assert_eq!(without.stderr.matches("recoup apply").count(), 1, "{}", without.stderr);
    let data = prepared(folder.path());
    ingest(folder.path(), &data, std::iter::once(costing(1, days_ago(40), "1.50")));
    on_folder(&data, &["nightly"]).exits(0);
    let card = |name: &str, pool: &str| {
        let text =
            format!("[[agents]]\nid = \"a\"\nshared_pool = \"{pool}\"\n[[pools]]\nid = \"safety\"\nbasis = \"even\"\n");
        file_of(folder.path(), name, std::iter::once(text))
    };
    let (shared, nowhere) = (card("shared.toml", "safety"), card("nowhere.toml", "nowhere"));
    let shared = ["simulate", "--rate-card", &shared];
    on_folder(&data, &shared).exits(0);
    let unknown = on_folder(&data, &["simulate", "--rate-card", &nowhere]).exits(2);
    assert!(unknown.stderr.contains("nowhere"), "{}", unknown.stderr);
    let database = rusqlite::Connection::open(data.join("recoup.sqlite3")).unwrap();
    database.execute("UPDATE blocks SET bytes = zeroblob(length(bytes))", []).unwrap();
    drop(database);
    let damaged = on_folder(&data, &shared).exits(3);
    assert!(damaged.stderr.contains("block 1 of"), "{}", damaged.stderr);
}

#[test]
fn clo_3_a_month_that_was_closed_under_the_rules_before_still_verifies() {
    let folder = tempfile::tempdir().unwrap();
    let data = prepared(folder.path());
    let day = days_ago(40);
    ingest(folder.path(), &data, std::iter::once(costing(1, day, "1.50")));
    let month = day.to_string()[..7].to_owned();
    on_folder(&data, &["close", &month, "--run-missing-nights"]).exits(0);
    let documents = data.join("documents/statements").join(&month);
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    let (manifest, statement) = (documents.join("manifest-r1.json"), documents.join("support/r1.json"));
    let under = |rules: u32, text: &str| text.replace("\"rules\":6", &format!("\"rules\":{rules}"));
    let digest = |text: &str| recoup_model::Digest::of(text.as_bytes()).to_string();
    let issued = read(&manifest);
    let stated =
        |rules: u32| under(rules, &read(&statement)).replace(&digest(&issued), &digest(&under(rules, &issued)));
    let database = rusqlite::Connection::open(data.join("recoup.sqlite3")).unwrap();
    let verify = |rules: u32| {
        let change = "UPDATE books SET value = replace(value, '\"rules\":6', ?1) WHERE partition = 'periods'";
        database.execute(change, [format!("\"rules\":{rules}")]).unwrap();
        let file = folder.path().join("stated.json");
        std::fs::write(&file, stated(rules)).unwrap();
        on_folder(&data, &["verify", file.to_str().unwrap()])
    };
    assert!(verify(6).exits(0).stdout.contains("holds"));
    assert!(verify(5).exits(0).stdout.contains("holds"), "as it was issued");
    let gone = verify(4).exits(2);
    assert!(gone.stderr.contains("rules version 4, this release has 5 to 6"), "{}", gone.stderr);
}
