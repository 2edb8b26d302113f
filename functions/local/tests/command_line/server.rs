//! What verbs ask, print and exit with.

use serde_json::{Value, json};

use crate::fake::Fake;
use crate::{recoup, recoup_with_input};

fn problem(status: u16, detail: &str, problems: &[&str]) -> Fake {
    Fake::always(
        status,
        &json!({ "type": "urn:x", "title": "t", "status": status, "detail": detail, "problems": problems }),
    )
}

#[test]
fn a_refusal_is_told_with_each_of_its_problems() {
    let fake = problem(400, "the organisation file has 2 problem(s)", &["line 3: no such pool", "line 9: twice"]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("recoup.toml");
    std::fs::write(&file, "x").unwrap();
    let outcome = fake.recoup(&["apply", file.to_str().unwrap()]).exits(2);
    assert_eq!(
        outcome.stderr,
        "error: the organisation file has 2 problem(s)\n  line 3: no such pool\n  line 9: twice\n"
    );
    assert_eq!(outcome.stdout, "");
}

#[test]
fn what_the_caller_cannot_mend_is_3() {
    problem(503, "the store did not answer", &[]).recoup(&["costs", "--month", "2026-10"]).exits(3);
    problem(401, "the API key is not known", &[]).recoup(&["keys", "list"]).exits(2);
    let nobody = recoup(&["--server", "http://127.0.0.1:9", "--key", "k", "keys", "list"]).exits(3);
    assert!(nobody.stderr.contains("127.0.0.1:9/ did not answer\n  because "), "{}", nobody.stderr);
    assert!(!nobody.stderr.contains("/v1/keys"), "{}", nobody.stderr);
    recoup(&["--server", "https://127.0.0.1:9", "--key", "k", "keys", "list"]).exits(3);
    recoup(&["--server", "ftp://recoup.example", "--key", "k", "keys", "list"]).exits(2);
    recoup(&["close"]).exits(2);
    recoup(&["--help"]).exits(0);
}

#[test]
fn the_key_is_sent_and_never_printed() {
    let fake = Fake::always(200, &json!({ "rows": [] }));
    let outcome = fake.recoup(&["keys", "list"]).exits(0);
    assert!(!outcome.stdout.contains("k1") && !outcome.stderr.contains("k1"));
    assert!(fake.asked().iter().all(|asked| asked.authorization == "Bearer k1"));
    assert_eq!(fake.whats(), ["GET /v1/keys?limit=1000"]);
}

#[test]
fn a_new_key_is_the_only_line_of_the_result() {
    let fake = Fake::always(201, &json!({ "key": "recoup_a_b", "id": "a", "role": "viewer", "team": "support" }));
    let outcome = fake.recoup(&["keys", "create", "--role", "viewer", "--team", "support", "--tag", "a=b=c"]).exits(0);
    assert_eq!(outcome.stdout, "recoup_a_b\n");
    let body: Value = serde_json::from_str(&fake.asked().first().unwrap().body).unwrap();
    assert_eq!(body, json!({ "role": "viewer", "team": "support", "tags": { "a": "b=c" }, "person": null }));
    let outcome = fake.recoup(&["keys", "create", "--role", "ingest", "--json"]).exits(0);
    assert_eq!(outcome.json().get("key"), Some(&json!("recoup_a_b")));
}

#[test]
fn apply_shows_the_difference_and_only_then_applies() {
    let changes = json!([
        { "kind": "added", "path": "teams[a]", "before": null, "after": "cost_centre = 1" },
        { "kind": "removed", "path": "teams[b]", "before": "x", "after": null },
        { "kind": "changed", "path": "policy.min_days", "before": "3", "after": "4" },
    ]);
    let answer = json!({ "version": 2, "effective": "2026-12-01", "changes": changes, "applied": true, "digest": "d" });
    let fake = Fake::always(200, &answer);
    let dry = |arguments: &[&str]| {
        let arguments = [&["--server", &fake.url, "apply", "-"], arguments].concat();
        recoup_with_input(&arguments, b"[organisation]").exits(0)
    };
    let lines = "+ teams[a]: cost_centre = 1\n- teams[b]: x\n~ policy.min_days: 3 -> 4\n";
    let shown = dry(&["--dry-run", "--effective", "2026-12-01"]);
    assert_eq!(shown.stdout, format!("{lines}would be version 2, from 2026-12-01 on; nothing was written\n"));
    assert_eq!(fake.whats(), ["PUT /v1/organisation?dry_run=true&effective=2026-12-01"]);
    let applied = dry(&[]);
    assert_eq!(applied.stdout, format!("{lines}applied: version 2, from 2026-12-01 on\n"));
    assert_eq!(
        fake.whats().get(1..).unwrap(),
        ["PUT /v1/organisation?dry_run=true", "PUT /v1/organisation?dry_run=false"]
    );
    assert!(fake.asked().iter().all(|asked| asked.body == "[organisation]"));
}

#[test]
fn ingest_names_the_lines_of_what_was_not_taken() {
    let fake = Fake::new(|asked| {
        let events = asked.body.lines().count();
        let results: Vec<Value> = asked
            .body
            .lines()
            .enumerate()
            .filter(|(_, line)| line.contains("bad"))
            .map(|(index, _)| {
                let error = json!({ "type": "missing-field", "field": "kind", "detail": "`kind` is missing" });
                json!({ "index": index, "event_id": "e1", "status": "rejected", "error": error })
            })
            .collect();
        let accepted = events - results.len();
        let receipt = json!({ "accepted": accepted, "duplicate": 0, "conflict": 0, "rejected": results.len(), "results": results });
        (200, receipt.to_string())
    });
    let input = b"{\"a\":1}\n\n{\"a\":2}\n{\"bad\":3}\n{\"a\":4}\n";
    let arguments = ["--server", &fake.url, "ingest", "-", "--batch", "3"];
    let outcome = recoup_with_input(&arguments, input).exits(1);
    assert_eq!(outcome.stderr, "line 4: kind: `kind` is missing (e1)\n");
    assert!(outcome.stdout.starts_with("3 accepted, 0 duplicate, 0 conflicting, 1 rejected; "), "{}", outcome.stdout);
    let mut bodies: Vec<_> = fake.asked().into_iter().map(|asked| asked.body).collect();
    bodies.sort_by_key(String::len);
    assert_eq!(bodies, ["{\"a\":4}\n", "{\"a\":1}\n{\"a\":2}\n{\"bad\":3}\n"]);
    let arguments = ["--server", &fake.url, "--json", "ingest", "-"];
    let outcome = recoup_with_input(&arguments, b"[{\"a\":1},\n {\"bad\":\n2}]").exits(1);
    let expected = json!({ "accepted": 1, "duplicate": 0, "conflict": 0, "rejected": 1,
        "problems": [{ "item": 2, "detail": "kind: `kind` is missing (e1)" }] });
    assert_eq!(outcome.json(), expected);
    recoup_with_input(&["--server", &fake.url, "ingest", "-"], b"").exits(0);
}

#[test]
fn ingest_tries_again_where_that_may_help() {
    let failed = std::sync::atomic::AtomicBool::new(false);
    let fake = Fake::new(move |_| match failed.swap(true, std::sync::atomic::Ordering::SeqCst) {
        false => (503, json!({ "detail": "the store did not answer" }).to_string()),
        true => {
            (200, json!({ "accepted": 1, "duplicate": 0, "conflict": 0, "rejected": 0, "results": [] }).to_string())
        }
    });
    recoup_with_input(&["--server", &fake.url, "ingest", "-"], b"{}\n").exits(0);
    assert_eq!(fake.asked().len(), 2);
}

#[test]
fn a_night_is_watched_until_it_ends() {
    let days = json!([{ "day": "2026-10-01", "lane": 0, "reason": "new events", "events": 7, "events_before": 5,
        "cost": "1.25", "changed": true }]);
    let periods = json!([{ "period": "2026-10", "through": "2026-10-01", "teams": 1, "prices": 0, "findings": 2,
        "totals": { "priced_cost": "1.25", "exact_total": "1", "unattributed": "0.25" } }]);
    let outcome = json!({ "days": days, "periods": periods });
    let end = json!({ "run": "r1", "kind": "nightly", "state": "done", "done": 1, "total": 1, "doing": "", "outcome": outcome });
    let fake = Fake::running(end.clone());
    let shown = fake.recoup(&["nightly", "--day", "2026-10-01"]).exits(0);
    assert!(shown.stdout.contains("2026-10-01              5           7  1.2500  new events\n"), "{}", shown.stdout);
    assert!(
        shown.stdout.contains("2026-10      2026-10-01       1.2500         1.0000        0.2500"),
        "{}",
        shown.stdout
    );
    let command: Value = serde_json::from_str(&fake.asked().first().unwrap().body).unwrap();
    assert_eq!(command, json!({ "kind": "nightly", "through": "2026-10-01" }));
    assert_eq!(fake.whats().last().unwrap(), "GET /v1/runs/r1");
    assert_eq!(Fake::running(end).recoup(&["nightly", "--all", "--json"]).exits(0).json(), outcome);
    let failed = json!({ "run": "r1", "state": "failed", "error": "could not rate" });
    let told = Fake::running(failed).recoup(&["nightly"]).exits(3);
    assert_eq!(told.stderr, "error: run r1 failed: could not rate\n");
}

#[test]
fn clo_1_a_refused_close_is_the_answer_no() {
    let end = |closed: bool, blocking: u64| {
        let finding =
            json!({ "severity": "blocking", "kind": "night_missing", "subject": "2026-10-02", "detail": "run it" });
        let findings = if blocking > 0 { json!([finding]) } else { json!([]) };
        let statement = json!({ "team": "support", "statement": "2026-10-support", "revision": 1, "total": "12.34", "digest": "0123456789abcdef" });
        json!({ "run": "r1", "state": "done", "outcome": {
            "period": "2026-10", "state": "open", "closed": closed, "blocking": blocking, "findings": findings,
            "detail": "d", "totals": { "exact_total": "12.345", "unattributed": "0", "priced_cost": "12.345", "markup": "0" },
            "statements": [statement], "manifest": "m" } })
    };
    let refused = Fake::running(end(false, 1)).recoup(&["close", "2026-10"]).exits(1);
    assert!(refused.stdout.contains("blocking  night_missing  2026-10-02  run it\n"), "{}", refused.stdout);
    assert!(refused.stdout.contains("support  2026-10-support         1  12.34  0123456789ab.."), "{}", refused.stdout);
    assert!(!refused.stdout.contains("markup"), "{}", refused.stdout);
    Fake::running(end(false, 1)).recoup(&["close", "2026-10", "--plan"]).exits(1);
    Fake::running(end(false, 0)).recoup(&["close", "2026-10", "--plan"]).exits(0);
    let fake = Fake::running(end(true, 0));
    fake.recoup(&["close", "2026-10", "--as-of", "2026-11-05T00:00:00Z"]).exits(0);
    let command: Value = serde_json::from_str(&fake.asked().first().unwrap().body).unwrap();
    let expected = json!({
        "kind": "close", "period": "2026-10", "plan": false, "as_of": "2026-11-05T00:00:00+00:00",
        "run_missing_nights": false,
    });
    assert_eq!(command, expected);
}

#[test]
fn a_statement_that_does_not_hold_is_the_answer_no() {
    let answer = |holds: bool| {
        let differences = if holds {
            json!([])
        } else {
            json!([{ "line": 3, "field": "amount", "stated": "1.00", "recomputed": "2.00" }])
        };
        json!({ "holds": holds, "statement": "2026-10-support", "differences": differences, "digest": "d1", "detail": "words" })
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("s.json");
    std::fs::write(&file, "{\"a\": 1}").unwrap();
    let verify = |fake: &Fake| fake.recoup(&["verify", file.to_str().unwrap()]);
    let good = Fake::always(200, &answer(true));
    assert!(verify(&good).exits(0).stdout.starts_with("2026-10-support  words\n"));
    assert_eq!(good.asked().first().unwrap().body, "{\"a\": 1}");
    let bad = verify(&Fake::always(200, &answer(false))).exits(1);
    assert!(bad.stdout.contains("3     amount    1.00        2.00\n"), "{}", bad.stdout);
}

#[test]
fn a_statement_is_written_byte_for_byte() {
    let fake = Fake::new(|_| (200, "{\"b\":1,  \"a\":2}".to_owned()));
    let outcome = fake.recoup(&["statement", "a/b", "2026-10", "--format", "csv", "--revision", "2"]).exits(0);
    assert_eq!(outcome.stdout, "{\"b\":1,  \"a\":2}");
    assert_eq!(fake.whats(), ["GET /v1/statements/2026-10/a%2Fb.csv?revision=2"]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("s.json");
    fake.recoup(&["statement", "support", "2026-10", "-o", file.to_str().unwrap()]).exits(0);
    assert_eq!(std::fs::read_to_string(file).unwrap(), "{\"b\":1,  \"a\":2}");
}

#[test]
fn lists_are_read_page_by_page() {
    let fake = Fake::new(|asked| {
        let at: u64 = asked.what.split("cursor=").nth(1).map_or(0, |at| at.parse().unwrap());
        let rows: Vec<Value> =
            (at..at + 2).map(|n| json!({ "team": format!("t{n}"), "cost": "1", "events": 1, "tasks": 0 })).collect();
        let total = json!({ "cost": "6", "events": 6, "tasks": 0, "currency": "USD" });
        let next = (at < 4).then(|| (at + 2).to_string());
        (200, json!({ "rows": rows, "next_cursor": next, "total": total }).to_string())
    });
    let all = fake.recoup(&["costs", "--month", "2026-10", "--json"]).exits(0).json();
    assert_eq!(all.get("rows").and_then(Value::as_array).map(Vec::len), Some(6));
    assert_eq!(all.get("more"), None);
    assert_eq!(fake.whats().first().unwrap(), "GET /v1/costs?from=2026-10-01&to=2026-11-01&group_by=team&limit=100");
    let some = fake.recoup(&["costs", "--month", "2026-10", "--limit", "4"]).exits(0);
    assert!(some.stdout.contains("t3     1.0000") && !some.stdout.contains("t4 "), "{}", some.stdout);
    assert!(some.stdout.ends_with("only the first 4 are shown; more with --limit\n"), "{}", some.stdout);
}

#[test]
fn costs_without_days_are_those_of_the_last_month_with_figures() {
    let fake = Fake::new(|asked| match asked.what.as_str() {
        "GET /v1/periods" => (200, json!({ "rows": [{ "period": "2026-09" }, { "period": "2026-10" }] }).to_string()),
        _ => (200, json!({ "rows": [], "total": {} }).to_string()),
    });
    fake.recoup(&["costs", "--by", "task_type,day"]).exits(0);
    let expected = "GET /v1/costs?from=2026-10-01&to=2026-11-01&group_by=task_type%2Cday&limit=100";
    assert_eq!(fake.whats(), ["GET /v1/periods", expected]);
    let viewer = Fake::new(|asked| match asked.what.as_str() {
        "GET /v1/periods" => (403, json!({ "detail": "this key may not" }).to_string()),
        _ => (200, json!({ "rows": [], "total": {} }).to_string()),
    });
    viewer.recoup(&["costs"]).exits(0);
}

#[test]
fn an_import_says_what_it_did_not_understand() {
    let skipped = json!({ "model": "m", "field": "f", "reason": "has no unit" });
    let answer = json!({ "import": { "number": 1, "source": "LiteLLM" }, "entries": 3, "understood": 9,
        "not_understood": [skipped], "disagreements": [{ "provider": "p", "model": "m", "tier": null, "what": "input", "ours": "3", "theirs": "4" }] });
    let fake = Fake::always(200, &answer);
    let import = ["prices", "import", "-", "--source", "LiteLLM", "--from", "2026-11-01"];
    let arguments = [&["--server", &fake.url][..], &import].concat();
    let shown = recoup_with_input(&arguments, b"{}").exits(0);
    for expected in
        ["3 prices of models, 9 fields understood, 1 not understood", "1  has no unit", "kept as import 1 from LiteLLM"]
    {
        assert!(shown.stdout.contains(expected), "{}", shown.stdout);
    }
    assert_eq!(fake.whats(), ["POST /v1/prices?source=LiteLLM&from=2026-11-01&dry_run=false"]);
    let shown = recoup_with_input(&["--server", &fake.url, "prices", "check", "-"], b"{}").exits(0);
    assert!(shown.stdout.contains("p         m      input          3     4"), "{}", shown.stdout);
}

/// A deployment answers with the address of a document elsewhere: it is fetched from there, and the key stays here.
#[test]
fn a_document_elsewhere_is_fetched_without_the_key() {
    let elsewhere = Fake::always(200, &json!({ "statement": "2026-10-support" }));
    let there = format!("{}/bucket/r1.json?signature=s", elsewhere.url);
    let fake = Fake::new(move |_| (303, there.clone()));
    let shown = fake.recoup(&["statement", "support", "2026-10", "--format", "json"]).exits(0);
    assert_eq!(shown.json(), json!({ "statement": "2026-10-support" }));
    assert_eq!(fake.whats(), ["GET /v1/statements/2026-10/support.json"]);
    assert!(fake.asked().iter().all(|asked| asked.authorization == "Bearer k1"));
    assert_eq!(elsewhere.whats(), ["GET /bucket/r1.json?signature=s"]);
    assert!(elsewhere.asked().iter().all(|asked| asked.authorization.is_empty()), "the key went elsewhere");
}

/// A run goes on while a gateway in between has a bad moment.
#[test]
fn a_look_at_a_run_that_fails_is_repeated() {
    let looks = std::sync::Mutex::new(0);
    let fake = Fake::new(move |asked| {
        if asked.what == "POST /v1/runs" {
            return (202, json!({ "run": "r1" }).to_string());
        }
        let mut looks = looks.lock().unwrap();
        *looks += 1;
        let end = json!({ "run": "r1", "state": "done", "outcome": { "days": [], "periods": [] } });
        if *looks < 2 { (503, "upstream".to_owned()) } else { (200, end.to_string()) }
    });
    fake.recoup(&["nightly", "--json"]).exits(0);
    assert_eq!(fake.whats(), ["POST /v1/runs", "GET /v1/runs/r1", "GET /v1/runs/r1"]);
    let gone = Fake::new(|asked| match asked.what.as_str() {
        "POST /v1/runs" => (202, json!({ "run": "r1" }).to_string()),
        _ => (404, json!({ "detail": "there is no run `r1`" }).to_string()),
    });
    assert_eq!(gone.recoup(&["nightly"]).exits(2).stderr, "error: there is no run `r1`\n");
    assert_eq!(gone.whats().len(), 2, "what the server knows is not asked again");
}

/// The first key of a deployment is made where nothing else is.
#[test]
fn an_admin_key_is_made_without_any_books() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("nowhere");
    let made = crate::on_folder(&nowhere, &["keys", "make-admin", "--json"]).exits(0).json();
    assert!(!nowhere.exists());
    let text = |name: &str| made.get(name).and_then(Value::as_str).unwrap().to_owned();
    let (key, id, digest) = (text("key"), text("id"), text("digest"));
    assert_eq!(key.split('_').nth(1), Some(id.as_str()));
    assert_eq!(digest, recoup_model::Digest::of(key.split('_').nth(2).unwrap().as_bytes()).to_string());
    let shown = crate::on_folder(&nowhere, &["keys", "make-admin"]).exits(0);
    assert_eq!(shown.stdout.lines().count(), 3, "{}", shown.stdout);
    assert!(shown.stderr.contains("RECOUP_ADMIN_KEY_DIGEST"), "{}", shown.stderr);
    assert!(!shown.stdout.contains(&key), "another one each time");
}
