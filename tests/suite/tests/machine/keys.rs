//! Who may do and see what.

use recoup_suite::{Books, Client, Month, Reply, SMALL, Server, large_call, lines, noon};

#[track_caller]
fn refused(reply: &Reply, status: u16) {
    assert_eq!(reply.status, status, "{}", reply.text());
    assert!(reply.header("content-type").starts_with("application/problem+json"), "{:?}", reply.headers);
    let problem = reply.json();
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.len() > 20), "{problem}");
    assert_eq!(problem["status"], status);
}

/// A closed month with a trace of each team, `support`'s costing 0.0045 and `marketing`'s twice that.
fn served() -> (Books, Server) {
    let books = Books::of(SMALL);
    let month = Month::before_today(1);
    let call = |id: &str, team: &str| large_call(id, &format!("trace-{id}"), &noon(month.day(12)), team);
    let events = [call("of-support", "support"), call("m1", "marketing"), call("m2", "marketing")];
    books.ingest(&lines(&events)).ended(0);
    books.close(month);
    let server = books.serve();
    (books, server)
}

fn questions() -> Vec<String> {
    let month = Month::before_today(1);
    let range = format!("from={}&to={}", month.first(), month.next().first());
    vec![
        format!("/v1/costs?{range}&group_by=team,agent,model"),
        format!("/v1/events?{range}"),
        format!("/v1/unpriced?{range}"),
        format!("/v1/statements?period={month}"),
        format!("/v1/statements/{month}/support"),
        "/v1/traces/trace-of-support".to_owned(),
        "/v1/prices/tasks".to_owned(),
        "/v1/prices".to_owned(),
    ]
}

fn questions_of_finance() -> Vec<String> {
    let month = Month::before_today(1);
    let range = format!("from={}&to={}", month.first(), month.next().first());
    let mut paths: Vec<String> = ["runs", "organisation", "periods", "overview", "prices/imports"]
        .iter()
        .map(|name| format!("/v1/{name}"))
        .collect();
    paths.push(format!("/v1/findings?{range}"));
    paths.extend(["pools", "variances", "balances"].iter().map(|name| format!("/v1/{name}?period={month}")));
    paths
}

#[test]
fn without_a_good_key_nothing_is_answered() {
    let (books, server) = served();
    let good = books.key("admin", None);
    let revoked = books.key("admin", None);
    let (id, secret) = revoked.strip_prefix("recoup_").unwrap().split_once('_').unwrap();
    books.run(&["keys", "revoke", id]).ended(0);
    let other_secret = format!("recoup_{id}_{}", "0".repeat(secret.len()));
    let unknown = "recoup_000000000000_00000000";
    for key in ["", "nonsense", unknown, &revoked, &other_secret, &good[..good.len() - 1], &format!("{good}0")] {
        let client = server.client(key);
        for path in questions().iter().chain(&questions_of_finance()) {
            let reply = client.get(path);
            refused(&reply, 401);
            assert_eq!(reply.header("www-authenticate"), "Bearer");
        }
        refused(&client.send("POST", "/v1/events", &[], "{}"), 401);
        refused(&client.send("PUT", "/v1/organisation", &[], SMALL), 401);
        refused(&client.send("POST", "/v1/runs", &[], "{\"kind\":\"nightly\"}"), 401);
        refused(&client.send("POST", "/v1/keys", &[], "{\"role\":\"admin\"}"), 401);
    }
    let basic = server.client("").send("GET", "/v1/costs", &[("authorization", "Basic YTpi")], "");
    refused(&basic, 401);
    assert_eq!(server.client("").get("/healthz").status, 200);
    assert_eq!(server.client("").get("/openapi.json").status, 200);
    assert_eq!(server.client(&good).get("/v1/costs").status, 200);
}

/// A revoked key is out at once, also one that has just been used.
#[test]
fn a_revoked_key_is_out_at_once() {
    let books = Books::of(SMALL);
    let server = books.serve();
    let admin = server.client(&books.key("admin", None));
    let key = admin.post("/v1/keys", &serde_json::json!({ "role": "ingest" })).ok(201).json();
    let client = server.client(key["key"].as_str().unwrap());
    let call = large_call("a", "a", &noon(Month::before_today(1).day(3)), "support");
    client.ingest(&lines([&call]));
    let listed = admin.get("/v1/keys").ok(200).text();
    let secret = key["key"].as_str().unwrap().rsplit('_').next().unwrap();
    assert!(listed.contains(key["id"].as_str().unwrap()) && !listed.contains(secret), "{listed}");
    admin.send("DELETE", &format!("/v1/keys/{}", key["id"].as_str().unwrap()), &[], "").ok(200);
    refused(&client.send("POST", "/v1/events", &[], serde_json::to_string(&call).unwrap()), 401);
}

/// ATR-1: a team's key never sees a figure of another team.
#[test]
fn a_team_sees_its_own_figures_only() {
    let (books, server) = served();
    let month = Month::before_today(1);
    for role in ["viewer", "lead"] {
        let own = server.client(&books.key(role, Some("support")));
        for path in questions() {
            let reply = own.get(&path).ok(200);
            // Who runs the agent of a span is told to whoever pays for it.
            let text = reply.text().replace("\"owner\":\"marketing\"", "");
            assert!(
                !text.contains("marketing") && !text.contains("\"m1\"") && !text.contains("0.009"),
                "{path}: {text}"
            );
        }
        let other = server.client(&books.key(role, Some("marketing")));
        for path in questions() {
            let text = other.get(&path).text();
            assert!(!text.contains("of-support\"") || path.contains("/traces/"), "{path}: {text}");
        }
        refused(&other.get("/v1/traces/trace-of-support"), 404);
        assert_eq!(
            other.get("/v1/traces/trace-of-support").text().replace("trace-of-support", "?"),
            other.get("/v1/traces/no-such-trace").text().replace("no-such-trace", "?"),
            "which traces exist is no secret"
        );
        for path in [format!("/v1/statements/{month}/support"), format!("/v1/statements/{month}/support.csv")] {
            refused(&other.get(&path), 403);
        }
        refused(
            &other.get(&format!("/v1/events?team=support&from={}&to={}", month.first(), month.next().first())),
            403,
        );
        let statement = books.statement_bytes(month, "support");
        refused(&other.send("POST", "/v1/statements/verify", &[], statement), 403);
        may_not(&other);
    }
}

/// What only finance and administrators may.
#[track_caller]
fn may_not(client: &Client) {
    for path in questions_of_finance() {
        refused(&client.get(&path), 403);
    }
    refused(&client.send("POST", "/v1/runs", &[], "{\"kind\":\"nightly\"}"), 403);
    refused(&client.send("PUT", "/v1/organisation", &[], SMALL), 403);
    refused(&client.send("POST", "/v1/keys", &[], "{\"role\":\"admin\"}"), 403);
    refused(&client.send("POST", "/v1/prices", &[], "{}"), 403);
    refused(&client.send("POST", "/v1/events", &[], "{}"), 403);
}

/// An ingest key sends and does not read; finance reads and does not send or administer.
#[test]
fn each_role_does_its_own() {
    let (books, server) = served();
    let sender = server.client(&books.key("ingest", None));
    for path in questions().iter().chain(&questions_of_finance()) {
        refused(&sender.get(path), 403);
    }
    let finance = server.client(&books.key("finance", None));
    for path in questions().iter().chain(&questions_of_finance()) {
        finance.get(path).ok(200);
    }
    refused(&finance.send("POST", "/v1/events", &[], "{}"), 403);
    refused(&finance.send("PUT", "/v1/organisation", &[], SMALL), 403);
    refused(&finance.send("POST", "/v1/keys", &[], "{\"role\":\"admin\"}"), 403);
}

/// ATR-1: the default team of a key pays where nothing else names one.
#[test]
fn atr_1_the_default_team_of_a_key_pays_when_nothing_else_names_one() {
    let books = Books::of(SMALL);
    let server = books.serve();
    let month = Month::before_today(1);
    let sender = server.client(&books.key("ingest", Some("marketing")));
    let call = |id: &str, team: Option<&str>| {
        let mut event = large_call(id, id, &noon(month.day(12)), team.unwrap_or("?"));
        if team.is_none() {
            event.insert("tags".into(), serde_json::json!({}));
        }
        event
    };
    sender.ingest(&lines(&[call("a", None), call("b", Some("support")), call("c", Some("unknown-team"))]));
    let finance = server.client(&books.key("finance", None));
    finance.nightly();
    let costs = finance.rows(&format!("/v1/costs?from={}&to={}&group_by=team", month.first(), month.next().first()));
    let mut teams: Vec<_> =
        costs.iter().map(|row| (row["team"].as_str().unwrap(), row["events"].as_u64().unwrap())).collect();
    teams.sort_unstable();
    assert_eq!(teams, [("marketing", 1), ("support", 1), ("unattributed", 1)]);
}

/// ATR-1: a person that a key names is one person with that of an event: the entry in `[[people]]` gives the team, one
/// pseudonym stands in the log, and the name is shown.
#[test]
fn atr_1_the_default_user_of_a_key_is_a_person_like_any_other() {
    let books = Books::of(&format!("{SMALL}\n[[people]]\nid = \"ada\"\nteam = \"marketing\"\n"));
    let server = books.serve();
    let month = Month::before_today(1);
    let key = books.json(&["keys", "create", "--role", "ingest", "--tag", "user=ada"]);
    let sender = server.client(key["key"].as_str().unwrap());
    let call = |id: &str, tags: serde_json::Value| {
        let mut event = large_call(id, id, &noon(month.day(12)), "?");
        event.insert("tags".into(), tags);
        event
    };
    sender.ingest(&lines(&[call("a", serde_json::json!({})), call("b", serde_json::json!({ "user": "ada" }))]));
    let finance = server.client(&books.key("finance", None));
    finance.nightly();
    let range = format!("from={}&to={}", month.first(), month.next().first());
    let costs = finance.rows(&format!("/v1/costs?{range}&group_by=user,team"));
    assert_eq!(costs.len(), 1, "{costs:?}");
    assert_eq!(
        (&costs[0]["user"], &costs[0]["team"], &costs[0]["events"]),
        (&"ada".into(), &"marketing".into(), &2.into())
    );
    let reader = server.client(&books.key("lead", Some("marketing")));
    for trace in ["a", "b"] {
        let trace = reader.json(&format!("/v1/traces/{trace}"));
        assert_eq!(trace["spans"][0]["why"]["team"], serde_json::json!({ "from": "person", "name": "ada" }), "{trace}");
    }
    let log = std::fs::read(books.data().join("recoup.sqlite3")).unwrap();
    assert!(!log.windows(11).any(|bytes| bytes == b"\"user\":\"ada"), "a name stands in the log");
}
