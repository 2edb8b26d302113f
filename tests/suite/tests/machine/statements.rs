//! CLO-2, CLO-3: statements over HTTP, and whether they hold.

use recoup_suite::{Books, Client, EVERYTHING, Month, Ran, Server, Traffic, lines, sum};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

fn month() -> Month {
    Month::before_today(1)
}

fn closed() -> (Books, Server, Client) {
    let books = Books::of(EVERYTHING);
    let events = Traffic { seed: 31, first: month().first(), days: 20, traces: 10 }.events();
    books.ingest(&lines(&events)).ended(0);
    books.close(month());
    let server = books.serve();
    let client = server.client(&books.key("finance", None));
    (books, server, client)
}

fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// CLO-2, MON-2: listed, fetched in both formats, digests that fit, amounts that add up.
#[test]
fn mon_2_statements_are_listed_fetched_and_add_up() {
    let (books, _server, client) = closed();
    let listed = client.rows(&format!("/v1/statements?period={}", month()));
    assert!(listed.len() >= 3, "{listed:?}");
    assert_eq!(client.rows("/v1/statements").len(), listed.len());
    for row in &listed {
        let path = format!("/v1/statements/{}/{}", month(), row["team"].as_str().unwrap());
        let reply = client.get(&path).ok(200);
        assert!(reply.header("content-type").starts_with("application/json"));
        assert_eq!(row["digest"], digest(&reply.body), "{path}");
        assert!(reply.header("etag").contains(row["digest"].as_str().unwrap()), "{:?}", reply.headers);
        assert_eq!(reply.body, books.statement_bytes(month(), row["team"].as_str().unwrap()));
        let statement = reply.json();
        let printed = statement["lines"].as_array().unwrap();
        assert_eq!(sum(printed, "amount"), sum([&statement], "total"), "MON-2: {path}");
        assert_eq!(sum(printed, "exact"), sum([&statement], "exact_total"), "{path}");
        assert_eq!((&statement["total"], &statement["revision"]), (&row["total"], &row["revision"]));
        assert_eq!(client.get(&format!("{path}.json")).ok(200).body, reply.body);
        assert_csv(&client, &path, &statement);
    }
}

/// CSV by suffix and by Accept is the same document with a row for each line.
#[track_caller]
fn assert_csv(client: &Client, path: &str, statement: &Value) {
    let by_suffix = client.get(&format!("{path}.csv")).ok(200);
    let by_accept = client.send("GET", path, &[("accept", "text/csv")], "").ok(200);
    assert!(by_suffix.header("content-type").starts_with("text/csv"));
    assert_eq!(by_suffix.body, by_accept.body);
    let text = by_suffix.text();
    for line in statement["lines"].as_array().unwrap() {
        assert!(text.contains(line["exact"].as_str().unwrap()), "{line} is not in {text}");
    }
    assert_ne!(by_suffix.header("etag"), client.get(path).header("etag"));
}

/// CLO-3: revisions, and answers for those who have the statement already.
#[test]
fn clo_3_revisions_and_conditional_requests() {
    let (_books, _server, client) = closed();
    let path = format!("/v1/statements/{}/alpha", month());
    let first = client.get(&path).ok(200);
    let etag = first.header("etag").to_owned();
    let again = client.send("GET", &path, &[("if-none-match", &etag)], "");
    assert_eq!((again.status, again.body.len()), (304, 0));
    assert_eq!(client.send("GET", &path, &[("if-none-match", "\"other\"")], "").status, 200);
    assert_eq!(client.get(&format!("{path}?revision=1")).ok(200).body, first.body);
    let missing = client.get(&format!("{path}?revision=9")).ok(404);
    assert!(missing.header("content-type").starts_with("application/problem+json"));
    for absent in ["nobody", "alpha/more"] {
        client.get(&format!("/v1/statements/{}/{absent}", month())).ok(404);
    }
    client.get(&format!("/v1/statements/{}/alpha", Month::before_today(5))).ok(404);
    client.get("/v1/statements/2026-13/alpha").ok(400);
}

fn verify(books: &Books, bytes: &[u8]) -> Ran {
    let path = books.write("to-verify.json", bytes);
    books.run(&["--json", "verify", path.to_str().unwrap()])
}

/// Writes canonical JSON the way the contract says: sorted keys, no blanks.
fn canonical(statement: &Value) -> Vec<u8> {
    serde_json::to_vec(statement).unwrap()
}

fn fields(found: &Value) -> Vec<(u64, String)> {
    let differences = found["differences"].as_array().unwrap().iter();
    differences.map(|one| (one["line"].as_u64().unwrap_or(0), one["field"].as_str().unwrap().to_owned())).collect()
}

/// CLO-3, CLO-5: what was issued holds; whatever was changed in it does not, and is named.
#[test]
fn clo_3_an_altered_statement_does_not_hold_and_the_line_is_named() {
    let (books, _server, client) = closed();
    let path = format!("/v1/statements/{}/alpha", month());
    let bytes = client.get(&path).ok(200).body;
    let found = verify(&books, &bytes).ended(0).json();
    assert_eq!((&found["holds"], fields(&found)), (&Value::Bool(true), Vec::new()), "{found}");
    let statement: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(canonical(&statement), bytes, "the document is canonical JSON");
    assert_eq!(client.send("POST", "/v1/statements/verify", &[], bytes.clone()).ok(200).json()["holds"], true);

    let third = |field: &str, value: &str| {
        let mut altered = statement.clone();
        altered["lines"][2][field] = value.into();
        altered
    };
    for (field, value) in [("amount", "123.45"), ("quantity", "77"), ("exact", "1.5")] {
        let found = verify(&books, &canonical(&third(field, value))).ended(1).json();
        assert_eq!((&found["holds"], fields(&found)), (&Value::Bool(false), vec![(3, field.to_owned())]), "{found}");
        assert_eq!(found["differences"][0]["stated"], value, "{found}");
    }
    let mut removed = statement.clone();
    removed["lines"].as_array_mut().unwrap().remove(2);
    let found = verify(&books, &canonical(&removed)).ended(1).json();
    assert_eq!(fields(&found), [(3, "line".to_owned())], "{found}");
    assert_eq!(found["differences"][0]["recomputed"]["exact"], statement["lines"][2]["exact"], "{found}");
    let mut total = statement.clone();
    total["total"] = "0.01".into();
    assert_eq!(fields(&verify(&books, &canonical(&total)).ended(1).json()), [(0, "total".to_owned())]);
}

/// CLO-2: the same figures in other bytes are not the document that was issued.
#[test]
fn clo_2_other_bytes_are_not_the_canonical_ones() {
    let (books, _server, client) = closed();
    let bytes = client.get(&format!("/v1/statements/{}/alpha", month())).ok(200).body;
    let statement: Value = serde_json::from_slice(&bytes).unwrap();
    let pretty = serde_json::to_vec_pretty(&statement).unwrap();
    let found = verify(&books, &pretty).ended(1).json();
    assert_eq!((&found["holds"], fields(&found)), (&Value::Bool(false), Vec::new()), "{found}");
    assert!(found["detail"].as_str().unwrap().contains("canonical"), "{found}");
    let mut extended = statement;
    extended["added"] = "by hand".into();
    assert_eq!(verify(&books, &canonical(&extended)).ended(1).json()["holds"], false);
    let said = verify(&books, b"{\"no\":\"statement\"}").ended(2).said();
    assert!(said.contains("not a statement"), "{said}");
}
