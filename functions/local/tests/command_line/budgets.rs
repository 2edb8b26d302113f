//! Budgets from the command line: on a data folder, and with a key on a server.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::folder::{end, serve};
use crate::{Outcome, on_folder, recoup};

const ORGANISATION: &str = r#"[organisation]
name = "Example"
currency = "USD"
time_zone = "UTC"
[[teams]]
id = "support"
[[agents]]
id = "triage"
owner = "support"
[[task_types]]
id = "research"
cap = "0.50"
[[budgets]]
scope = "team:support"
limit = "100"
"#;

struct Folder {
    folder: tempfile::TempDir,
    data: PathBuf,
}

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("recoup.toml");
        std::fs::write(&file, ORGANISATION).unwrap();
        let data = folder.path().join("data");
        on_folder(&data, &["apply", file.to_str().unwrap()]).exits(0);
        Self { folder, data }
    }

    fn data(&self) -> &Path {
        &self.data
    }

    fn run(&self, arguments: &[&str]) -> Outcome {
        on_folder(&self.data, arguments)
    }

    fn json(&self, arguments: &[&str]) -> Value {
        self.run(&[&["--json"], arguments].concat()).exits(0).json()
    }

    fn key(&self, role: &str, more: &[&str]) -> String {
        let made = self.json(&[&["keys", "create", "--role", role], more].concat());
        made["key"].as_str().unwrap().to_owned()
    }

    /// Reports a cost of the team from a moment ago.
    fn spend(&self, id: &str, amount: &str, more: &str) {
        let at = chrono::Utc::now().to_rfc3339();
        let event = format!(
            "{{\"event_id\":\"{id}\",\"used_at\":\"{at}\",\"kind\":\"tool\",\"tags\":{{\"team\":\"support\"{more}}},\
             \"cost\":{{\"amount\":\"{amount}\",\"currency\":\"USD\"}}}}\n"
        );
        let file = self.folder.path().join(format!("{id}.ndjson"));
        std::fs::write(&file, event).unwrap();
        self.run(&["ingest", file.to_str().unwrap()]).exits(0);
    }
}

/// Each line that holds all of these words.
fn has_line(text: &str, words: &[&str]) -> bool {
    text.lines().any(|line| words.iter().all(|word| line.contains(word)))
}

#[test]
fn bud_3_work_is_let_in_refused_and_given_back() {
    let books = Folder::new();
    let ask = |more: &[&str]| books.run(&[&["authorize", "--team", "support"], more].concat());
    let allowed = ask(&["--agent", "triage", "--amount", "60", "--ttl", "300"]).exits(0).stdout;
    assert!(allowed.starts_with("allow: 60 USD is reserved until "), "{allowed}");
    assert!(has_line(&allowed, &["team:support", "100", "60", "40"]), "{allowed}");
    let reservation = allowed.lines().find_map(|line| line.strip_prefix("reservation ")).unwrap().to_owned();
    let listed = books.run(&["budgets"]).exits(0).stdout;
    assert!(listed.starts_with("scope") && has_line(&listed, &["team:support", "100", "60", "40"]), "{listed}");
    let denied = ask(&["--amount", "50"]).exits(1).stdout;
    assert!(denied.starts_with("deny: budget-exceeded by team:support"), "{denied}");
    let asked = ask(&["--amount", "40", "--ask", "--json"]).exits(0).json();
    assert_eq!((&asked["decision"], &asked["reservation_id"]), (&"allow".into(), &Value::Null));
    assert_eq!(books.run(&["release", &reservation]).exits(0).stdout, "released\n");
    let released = books.run(&["release", &reservation, "--json"]).exits(0).json();
    assert_eq!(released["released"], reservation.as_str());
    ask(&["--amount", "50"]).exits(0);
    let cheap = ask(&["--amount", "0.01", "--json"]).exits(0).json();
    assert_eq!(cheap["scopes"][0]["committed"], "50.01");
    assert_eq!(books.json(&["budgets"])["rows"][0]["reserved"], "50.01", "what a command set aside ends with it");
    let model = |model: &str| {
        let tokens =
            ["--provider", "anthropic", "--model", model, "--input-tokens", "1000000", "--max-output-tokens", "0"];
        ask(&[&tokens[..], &["--ask", "--json"]].concat())
    };
    assert_eq!(model("claude-sonnet-4-6").exits(0).json()["estimate"], "6", "all of it may be a write to a cache");
    let unknown = model("unheard-of").exits(2).stderr;
    assert!(unknown.contains("unheard-of has no price"), "{unknown}");
    assert!(ask(&["--amount", "1", "--ttl", "0"]).exits(2).stderr.contains("1 to 86400"));
    assert!(books.run(&["release", "rsv_none"]).exits(2).stderr.contains("no such reservation"));
    ask(&["--amount", "1", "--model", "x"]).exits(2);
}

#[test]
fn bud_3_a_reservation_is_extended_and_what_did_not_ask_is_named_in_an_overrun() {
    let books = Folder::new();
    let allowed = books.json(&["authorize", "--team", "support", "--amount", "60"]);
    let first = allowed["reservation_id"].as_str().unwrap().to_owned();
    let extended = books.run(&["extend", &first, "--ttl", "3600"]).exits(0).stdout;
    assert!(extended.starts_with("reserved until 2"), "{extended}");
    let second = extended.lines().find_map(|line| line.strip_prefix("reservation ")).unwrap().to_owned();
    assert_ne!(second, first);
    assert!(
        books.run(&["extend", &first]).exits(2).stderr.contains("settled or has ended"),
        "the new id takes its place"
    );
    let again = books.json(&["extend", &second]);
    books.run(&["release", again["reservation_id"].as_str().unwrap()]).exits(0);
    assert!(!books.run(&["budgets"]).exits(0).stdout.contains("is over"));
    books.spend("e1", "104.50", "");
    let shown = books.run(&["budgets"]).exits(0).stdout;
    assert!(has_line(&shown, &["team:support is over in", "by 4.5 USD: 4.5 not-asked"]), "{shown}");
    let alerts = books.json(&["alerts"])["rows"].as_array().unwrap().clone();
    let used_up = alerts.iter().find(|alert| alert["tier"] == 100).unwrap()["id"].as_str().unwrap();
    let alert = books.run(&["alerts", "show", used_up]).exits(0).stdout;
    assert!(has_line(&alert, &["over because", "4.5 not-asked"]), "{alert}");
    let row = books.json(&["budgets"])["rows"][0]["overrun"].clone();
    assert_eq!(row, serde_json::json!({ "amount": "4.5", "causes": [{ "cause": "not-asked", "amount": "4.5" }] }));
}

#[test]
fn ano_1_there_is_a_list_of_anomalies() {
    let books = Folder::new();
    books.spend("e1", "1", "");
    assert_eq!(books.run(&["anomalies"]).exits(0).stdout, "no task and no day cost far more than before\n");
    let listed = books.json(&["anomalies", "--agent", "triage", "--kind", "insufficient_history"]);
    assert_eq!(listed["rows"], serde_json::json!([]));
    assert!(books.run(&["anomalies", "--kind", "hour"]).exits(2).stderr.contains("insufficient_history"));
}

#[test]
fn bud_2_a_limit_is_set_and_its_alerts_are_seen_and_acknowledged() {
    let books = Folder::new();
    books.spend("e1", "60", "");
    assert_eq!(books.run(&["alerts"]).exits(0).stdout, "there is no such alert: nothing to look at\n");
    let tried = books.run(&["budgets", "set", "team:support", "--limit", "64", "--effective", "today", "--dry-run"]);
    let tried = tried.exits(0).stdout;
    assert!(tried.contains("limit: 100 -> 64") && tried.contains("nothing was written"), "{tried}");
    let set = books.run(&["budgets", "set", "team:support", "--limit", "64", "--effective", "today"]).exits(0).stdout;
    assert!(set.contains("applied: version 2, from "), "{set}");
    let new = books.json(&["budgets", "set", "agent:triage", "--limit", "5", "--period", "day", "--tiers", "50,100"]);
    assert_eq!(new["changes"][0]["path"], "budgets[agent:triage per day]");
    let same = books.run(&["budgets", "set", "team:support", "--limit", "64", "--effective", "today"]).exits(0).stdout;
    assert_eq!(same, "nothing changes\n");
    let refused = books.run(&["budgets", "set", "team:nobody", "--limit", "5"]).exits(2).stderr;
    assert!(refused.contains("nobody"), "{refused}");

    let fired = books.run(&["alerts", "--state", "fired"]).exits(0).stdout;
    assert!(has_line(&fired, &["team:support", "90%", "60", "64", "fired, to be acknowledged"]), "{fired}");
    let alert = books.json(&["alerts"])["rows"][0]["id"].as_str().unwrap().to_owned();
    let shown = books.run(&["alerts", "show", &alert]).exits(0).stdout;
    assert!(has_line(&shown, &["limit then", "64 USD, version 2"]), "{shown}");
    let seen = books.run(&["alerts", "ack", &alert]).exits(0).stdout;
    assert!(has_line(&seen, &["acknowledged", "operator"]), "{seen}");
    assert!(books.run(&["alerts", "ack", "alr_none"]).exits(2).stderr.contains("alr_none"));
    assert_eq!(books.run(&["alerts", "deliveries", "--state", "dead"]).exits(0).stdout, "no such delivery\n");
    assert_eq!(books.json(&["alerts", "deliveries"])["rows"], serde_json::json!([]), "no channel is served");
    books.run(&["alerts", "again", "alr_none"]).exits(2);
}

#[test]
fn bud_4_a_stopped_task_is_reviewed() {
    let books = Folder::new();
    assert_eq!(books.run(&["reviews"]).exits(0).stdout, "no task has gone to its cap\n");
    let ask = |amount: &str| {
        books.run(&[
            "authorize",
            "--team",
            "support",
            "--task-type",
            "research",
            "--task-id",
            "T-1",
            "--amount",
            amount,
        ])
    };
    assert!(ask("0.6").exits(1).stdout.starts_with("deny: task-cap by task:T-1"));
    assert!(ask("0.1").exits(1).stdout.starts_with("deny: task-killed by task:T-1"));
    let listed = books.run(&["reviews"]).exits(0).stdout;
    assert!(has_line(&listed, &["T-1", "research", "killed_over_cap", "0.5", "0.6", "open"]), "{listed}");
    let resumed = books.run(&["reviews", "resume", "T-1", "--note", "no loop"]).exits(0).stdout;
    assert!(has_line(&resumed, &["T-1", "resumed", "operator", "no loop"]), "{resumed}");
    ask("0.1").exits(0);
    assert_eq!(books.json(&["reviews", "stop", "T-1", "--note", "a loop"])["state"], "stopped");
    ask("0.1").exits(1);
    assert!(books.run(&["reviews", "stop", "T-2", "--note", "x"]).exits(2).stderr.contains("T-2"));
}

#[test]
fn bud_6_what_one_person_asks_for_another_approves() {
    let books = Folder::new();
    let extend = ["budgets", "extend", "team:support", "--amount", "50", "--reason", "the launch"];
    let [ana, also_ana] = ["ana", "ANA"].map(|ana| books.key("finance", &["--person", ana]));
    let finn = books.key("finance", &["--person", "finn"]);
    let nobody = books.key("admin", &[]);
    let (child, url) = serve(books.data());
    let asked = recoup(&[&["--server", &url, "--key", &ana, "--json"][..], &extend].concat()).exits(0).json();
    let id = asked["id"].as_str().unwrap();
    assert_eq!((&asked["requested_by"], &asked["state"]), (&"ana".into(), &"pending".into()));
    let own = recoup(&["--server", &url, "--key", &also_ana, "budgets", "approve", id]).exits(2).stderr;
    assert!(own.contains("whoever asked"), "{own}");
    for unknown in [books.run(&extend), books.run(&["budgets", "approve", id])] {
        let why = unknown.exits(2).stderr;
        assert!(
            why.contains("the operator at the machine") && why.contains("keys create --role ROLE --person"),
            "{why}"
        );
    }
    let why = recoup(&["--server", &url, "--key", &nobody, "budgets", "approve", id]).exits(2).stderr;
    assert!(why.contains("names nobody") && why.contains("keys create --role ROLE --person"), "{why}");
    let why = books.run(&["keys", "create", "--role", "finance", "--person", "Key:7"]).exits(2).stderr;
    assert!(why.contains("is no person"), "{why}");
    let with_key = |arguments: &[&str]| recoup(&[&["--server", &url, "--key", &finn], arguments].concat());
    let approved = with_key(&["budgets", "approve", id]).exits(0).stdout;
    assert!(has_line(&approved, &[id, "approved", "ana", "finn", "the launch"]), "{approved}");
    assert!(with_key(&["budgets", "decline", id]).exits(2).stderr.contains("approved already, by finn"));
    let listed = with_key(&["budgets", "extensions", "--state", "approved"]).exits(0).stdout;
    assert!(has_line(&listed, &[id, "50"]), "{listed}");
    assert!(with_key(&["budgets", "extensions", "--state", "pending"]).exits(0).stdout.contains("nobody has asked"));
    let budgets = with_key(&["budgets", "--json"]).exits(0).json();
    assert_eq!((&budgets["rows"][0]["limit"], &budgets["rows"][0]["base_limit"]), (&"150".into(), &"100".into()));
    assert!(with_key(&["authorize", "--team", "support", "--amount", "1"]).exits(2).stderr.contains("`ingest`"));

    // Over the socket by its user, over TCP by its address and key.
    let audit = with_key(&["audit"]).exits(0).stdout;
    let key = finn.split('_').nth(1).unwrap();
    assert!(has_line(&audit, &["ana", "api", "127.0.0.1", "extension-requested", id]), "{audit}");
    assert!(has_line(&audit, &["finn", "api", "127.0.0.1", key, "extension-approved", id]), "{audit}");
    assert!(has_line(&audit, &["operator", "machine", "uid ", "key-created"]), "{audit}");
    assert!(has_line(&audit, &["operator", "machine", "organisation-applied"]), "{audit}");
    let last = books.json(&["audit", "--from", "2026-01-01", "--limit", "1"]);
    assert_eq!(last["rows"][0]["action"], "extension-approved");
    let keys = books.run(&["keys", "list"]).exits(0).stdout;
    assert!(has_line(&keys, &[key, "finance", "finn"]), "{keys}");
    end(child).exits(0);
}
