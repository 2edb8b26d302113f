//! Budgets over HTTP: who may do what, what is refused and how, and what the record says of it.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use recoup_http::{Access, InProcess, Origin, router};
use recoup_model::Tags;
use recoup_store::{Expect, Key, Write};
use recoup_workflows::{App, Role};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::stage::{ORGANISATION, Stage};

const BUDGETS: &str = r#"
[[agents]]
id = "pager"
critical = true
[[task_types]]
id = "research"
cap = "0.05"
[[people]]
id = "ana"
team = "support"
[[people]]
id = "finn"
[[people]]
id = "mia"
[[people]]
id = "root"
[[people]]
id = "robot"
[[budgets]]
# agreed in spring
scope = "team:support"
limit = "1.00"
[[budgets]]
scope = "organisation"
limit = "100"
"#;

/// A served organisation, and a key for each role.
pub(crate) struct Served {
    stage: Stage,
    app: Arc<App>,
    by_key: Router,
    at_machine: Router,
}

/// An answer: its status and body.
pub(crate) type Answer = (u16, Value);

impl Served {
    pub(crate) async fn new() -> Self {
        let stage = Stage::bare();
        let app = stage.alone();
        app.apply_organisation(&format!("{ORGANISATION}{BUDGETS}"), None, false).await.unwrap();
        let [by_key, at_machine] = [Access::Keys, Access::Operator]
            .map(|access| router(Arc::clone(&app), access, Arc::new(InProcess::new(Arc::clone(&app)))));
        Self { stage, app, by_key, at_machine }
    }

    /// Whoever is at the machine itself.
    pub(crate) fn at_machine(&self) -> Router {
        self.at_machine.clone()
    }

    pub(crate) async fn key(&self, role: Role, team: Option<&str>, person: &str) -> String {
        let person = (!person.is_empty()).then(|| person.to_owned());
        self.app.create_key(role, team.map(str::to_owned), Tags::default(), person).await.unwrap().key
    }

    /// Asks with a key; with an empty one at the machine itself.
    pub(crate) async fn send(&self, key: &str, what: &str, body: Value) -> Answer {
        let (method, path) = what.split_once(' ').unwrap();
        let service = if key.is_empty() { &self.at_machine } else { &self.by_key };
        let request = Request::builder().method(method).uri(path).header("authorization", format!("Bearer {key}"));
        // What a caller says of where it comes from is not believed.
        let request = request.header("recoup-origin", "somewhere else").extension(Origin("192.0.2.7".into()));
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        let response = service.clone().oneshot(request.body(body).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    pub(crate) async fn get(&self, key: &str, path: &str) -> Value {
        let (status, body) = self.send(key, &format!("GET {path}"), Value::Null).await;
        assert_eq!(status, 200, "{body}");
        body
    }

    pub(crate) async fn done(&self, key: &str, what: &str, body: Value) -> Value {
        let (status, body) = self.send(key, what, body).await;
        assert!((200..300).contains(&status), "{what}: {status} {body}");
        body
    }

    /// The status and the kind of a refusal.
    pub(crate) async fn refused(&self, key: &str, what: &str, body: Value) -> (u16, String) {
        let (status, problem) = self.send(key, what, body).await;
        let kind = problem["type"].as_str().unwrap_or_else(|| panic!("{what}: {status} {problem}"));
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.len() > 15), "{problem}");
        (status, kind.trim_start_matches("urn:recoup:problem:").to_owned())
    }

    /// An event of a team with the cost that its source reports.
    async fn spend(&self, id: &str, team: &str, amount: &str) {
        self.event(
            json!({ "event_id": id, "tags": { "team": team }, "cost": { "amount": amount, "currency": "USD" } }),
        )
        .await;
    }

    async fn event(&self, mut event: Value) {
        if event["used_at"].is_null() {
            event["used_at"] = json!("2026-11-10T07:59:00Z");
        }
        event["kind"] = json!("tool");
        let receipt = self.done("", "POST /v1/events", event).await;
        assert_eq!(receipt["accepted"], 1, "{receipt}");
    }

    async fn budget(&self, scope: &str) -> Value {
        let rows = self.get("", "/v1/budgets").await;
        rows["rows"].as_array().unwrap().iter().find(|row| row["scope"] == scope).unwrap().clone()
    }

    /// (limit version, tier, state) of each alert.
    async fn alerts(&self) -> Vec<(u64, u64, String)> {
        let found = self.get("", "/v1/alerts").await;
        let of = |alert: &Value| {
            let number = |name: &str| alert[name].as_u64().unwrap();
            (number("limit_version"), number("tier"), alert["state"].as_str().unwrap().to_owned())
        };
        let mut alerts: Vec<_> = found["rows"].as_array().unwrap().iter().map(of).collect();
        alerts.sort();
        alerts
    }

    async fn alert(&self, tier: u64) -> String {
        let found = self.get("", "/v1/alerts").await;
        let alert = found["rows"].as_array().unwrap().iter().find(|alert| alert["tier"] == tier).unwrap().clone();
        alert["id"].as_str().unwrap().to_owned()
    }

    async fn audit(&self, action: &str) -> Vec<Value> {
        let found = self.get("", "/v1/audit?limit=1000").await;
        found["rows"].as_array().unwrap().iter().filter(|entry| entry["action"] == action).cloned().collect()
    }
}

fn limit(scope: &str, limit: &str) -> Value {
    json!({ "scope": scope, "limit": limit })
}

fn estimate(amount: &str) -> Value {
    json!({ "tags": { "team": "support" }, "estimate": { "amount": amount, "currency": "USD" } })
}

fn state(version: u64, tier: u64, state: &str) -> (u64, u64, String) {
    (version, tier, state.to_owned())
}

const SET_NOW: &str = "POST /v1/budgets?effective=today";

#[tokio::test]
async fn bud_2_a_limit_set_below_what_is_spent_fires_the_highest_tier_and_denies_at_once() {
    let served = Served::new().await;
    served.spend("e1", "support", "0.60").await;
    assert_eq!(served.alerts().await, []);
    let tried = served.done("", "POST /v1/budgets?effective=today&dry_run=true", limit("team:support", "0.65")).await;
    assert_eq!((&tried["applied"], &tried["version"]), (&json!(false), &json!(2)));
    assert_eq!(served.budget("team:support").await["limit"], "1");

    served.done("", SET_NOW, limit("team:support", "0.65")).await;
    assert_eq!(served.alerts().await, [state(2, 90, "fired")], "92 %, and 70 was never told");
    let denied = served.done("", "POST /v1/authorize", estimate("0.06")).await;
    assert_eq!(denied["decided_by"], json!({ "scope": "team:support", "tier": 90, "reason": "budget-exceeded" }));

    let applied = served.done("", SET_NOW, limit("team:support", "0.5")).await;
    let change =
        json!({ "kind": "changed", "path": "budgets[team:support per month].limit", "before": "0.65", "after": "0.5" });
    assert_eq!((&applied["changes"], &applied["effective"]), (&json!([change]), &json!("2026-11-10")));
    assert_eq!(served.alerts().await, [state(2, 90, "resolved"), state(3, 100, "fired")]);
    let denied = served.done("", "POST /v1/authorize", estimate("0")).await;
    assert_eq!(denied["decided_by"]["reason"], "kill-switch");

    served.done("", SET_NOW, limit("team:support", "0.4")).await;
    assert_eq!(
        served.alerts().await,
        [state(2, 90, "resolved"), state(3, 100, "resolved")],
        "100 is no higher tier than before"
    );
    let versions = served.get("", "/v1/organisation").await;
    let text = versions["versions"].as_array().unwrap().last().unwrap()["text"].as_str().unwrap().to_owned();
    let expected = format!("{ORGANISATION}{BUDGETS}").replace("limit = \"1.00\"", "limit = \"0.4\"");
    assert_eq!(text, expected, "the file says the limit, and what stood in it stays");
}

#[tokio::test]
async fn bud_2_tiers_that_are_set_are_looked_at_at_once() {
    let served = Served::new().await;
    served.spend("e1", "support", "0.60").await;
    let wanted = json!({ "scope": "team:support", "limit": "1", "tiers": [50, 100] });
    served.done("", SET_NOW, wanted.clone()).await;
    assert_eq!(served.alerts().await, [state(1, 50, "fired")], "the limit is the same");
    let again = served.done("", SET_NOW, wanted).await;
    assert_eq!((&again["applied"], &again["changes"]), (&json!(false), &json!([])), "nothing changes");
}

#[tokio::test]
async fn bud_1_a_budget_that_is_set_counts_what_came_before_it() {
    let served = Served::new().await;
    served.spend("e1", "marketing", "0.75").await;
    let applied = served.done("", SET_NOW, limit("team:marketing", "1")).await;
    assert_eq!(applied["changes"][0]["kind"], "added");
    let row = served.budget("team:marketing").await;
    assert_eq!((&row["posted"], &row["remaining"]), (&json!("0.75"), &json!("0.25")));
    assert_eq!(served.alerts().await, [state(1, 70, "fired")]);
    let day = json!({ "scope": "team:marketing", "limit": "0.9", "period": "day", "unavailable": "allow" });
    served.done("", SET_NOW, day).await;
    let denied = json!({ "tags": { "team": "marketing" }, "estimate": { "amount": "0.2" } });
    let denied = served.done("", "POST /v1/authorize", denied).await;
    let periods: Vec<&str> =
        denied["scopes"].as_array().unwrap().iter().map(|row| row["period"].as_str().unwrap()).collect();
    assert_eq!(periods, ["2026-11", "2026-11", "2026-11-10"]);
    assert_eq!(denied["decision"], "deny");
}

#[tokio::test]
async fn bud_1_a_limit_holds_from_tomorrow_on_and_a_later_version_is_told() {
    let served = Served::new().await;
    served.done("", "POST /v1/budgets?effective=2026-12-01", limit("team:support", "3")).await;
    let applied = served.done("", "POST /v1/budgets", limit("team:support", "2")).await;
    assert_eq!(applied["effective"], "2026-11-11");
    let notices = applied["notices"].as_array().unwrap();
    assert!(notices[0].as_str().unwrap().contains("2026-12-01"), "{notices:?}");
    assert_eq!(served.budget("team:support").await["limit"], "1");
    served.stage.clock.pass_minutes(24 * 60);
    assert_eq!(served.budget("team:support").await["limit"], "2");
}

#[tokio::test]
async fn bud_1_a_budget_that_cannot_be_is_refused_by_its_field() {
    let served = Served::new().await;
    let cases = [
        (limit("team:nobody", "1"), "scope", "nobody"),
        (limit("agent:nobody", "1"), "scope", "nobody"),
        (limit("company", "1"), "scope", "is not a scope"),
        (limit("team:support", "0"), "limit", "not positive"),
        (json!({ "scope": "organisation", "limit": "1", "tiers": [90, 70] }), "tiers", "do not rise"),
        (json!({ "scope": "organisation", "limit": "1", "tiers": [101] }), "tiers", "out of range"),
        (json!({ "scope": "organisation", "limit": "1", "period": "year" }), "period", "month, week or day"),
        (
            json!({ "scope": "organisation", "limit": "1", "unavailable": "perhaps" }),
            "unavailable",
            "`deny` or `allow`",
        ),
        (json!({ "scope": "organisation", "limit": 1 }), "body", "limit"),
        (json!({ "scope": "organisation", "limits": "1" }), "body", "limits"),
    ];
    for (wanted, field, words) in cases {
        let (status, problem) = served.send("", SET_NOW, wanted.clone()).await;
        assert_eq!(status, 400, "{wanted} {problem}");
        if field != "body" {
            assert_eq!(problem["field"], field, "{problem}");
        }
        assert!(problem["detail"].as_str().unwrap().contains(words), "{problem}");
    }
    let (status, kind) = served.refused("", "POST /v1/budgets?effective=soon", limit("organisation", "1")).await;
    assert_eq!((status, kind.as_str()), (400, "invalid-argument"));
    for (role, team) in [(Role::Ingest, None), (Role::Viewer, Some("support")), (Role::Lead, Some("support"))] {
        let key = served.key(role, team, "").await;
        assert_eq!(served.refused(&key, SET_NOW, limit("team:support", "9")).await.0, 403, "{role:?}");
    }
    assert_eq!(served.audit("budget-set").await.len(), 0);
    assert_eq!(served.budget("team:support").await["limit"], "1");
}

#[tokio::test]
async fn bud_6_every_action_leaves_who_what_when_and_from_where() {
    let served = Served::new().await;
    let finn = served.key(Role::Finance, None, "finn").await;
    let ana = served.key(Role::Lead, Some("support"), "ana").await;
    served.done(&finn, SET_NOW, limit("team:support", "0.5")).await;
    let [entry] = served.audit("budget-set").await.try_into().unwrap();
    let id = finn.split('_').nth(1).unwrap();
    assert_eq!((&entry["who"], &entry["via"], &entry["key"]), (&json!("finn"), &json!("api"), &json!(id)));
    assert_eq!((&entry["from"], &entry["target"]), (&json!("192.0.2.7"), &json!("team:support")));
    let detail = &entry["detail"];
    assert_eq!((&detail["before"], &detail["limit"], &detail["version"]), (&json!("1"), &json!("0.5"), &json!(2)));
    assert!(entry["at"].as_str().unwrap().starts_with("2026-11-10T08:00:00"), "{entry}");

    served.spend("e1", "support", "0.6").await;
    let alert = served.alert(100).await;
    served.done(&ana, &format!("POST /v1/alerts/{alert}/acknowledgement"), Value::Null).await;
    let asked = json!({ "scope": "team:support", "amount": "1", "reason": "a launch", "alert": alert });
    let asked = served.done(&ana, "POST /v1/budgets/extensions", asked).await;
    let decision = format!("POST /v1/budgets/extensions/{}/decision", asked["id"].as_str().unwrap());
    served.done(&finn, &decision, json!({ "approve": true })).await;
    let file = format!("{ORGANISATION}{BUDGETS}");
    served.app.apply_organisation(&file, None, true).await.unwrap();
    served.done("", "POST /v1/keys", json!({ "role": "finance", "person": "mia" })).await;
    for (action, who, from) in [
        ("alert-acknowledged", "ana", "192.0.2.7"),
        ("extension-requested", "ana", "192.0.2.7"),
        ("extension-approved", "finn", "192.0.2.7"),
        ("key-created", "operator", "192.0.2.7"),
    ] {
        let [entry] = served.audit(action).await.try_into().unwrap_or_else(|found| panic!("{action}: {found:?}"));
        assert_eq!((&entry["who"], &entry["from"]), (&json!(who), &json!(from)), "{entry}");
    }
    assert_eq!(served.audit("key-created").await[0]["via"], "machine");
    let all = served.get(&finn, "/v1/audit").await["rows"].as_array().unwrap().len();
    let first = served.get(&finn, "/v1/audit?limit=2").await;
    let rest = served.get(&finn, &format!("/v1/audit?cursor={}", first["next_cursor"].as_str().unwrap())).await;
    assert_eq!(first["rows"].as_array().unwrap().len() + rest["rows"].as_array().unwrap().len(), all);
    assert!(rest["next_cursor"].is_null());
    assert_eq!(served.refused(&ana, "GET /v1/audit", Value::Null).await.0, 403);
}

#[tokio::test]
async fn bud_2_an_alert_is_acknowledged_by_those_who_may_and_not_after_its_month() {
    let served = Served::new().await;
    served.spend("e1", "support", "0.95").await;
    let acknowledge = format!("POST /v1/alerts/{}/acknowledgement", served.alert(90).await);
    for (role, team, status) in [
        (Role::Ingest, Some("support"), 403),
        (Role::Viewer, Some("support"), 403),
        (Role::Viewer, Some("marketing"), 404),
        (Role::Lead, Some("marketing"), 404),
    ] {
        let key = served.key(role, team, "").await;
        assert_eq!(served.refused(&key, &acknowledge, Value::Null).await.0, status, "{role:?} {team:?}");
    }
    assert_eq!(served.refused("", "POST /v1/alerts/alr_none/acknowledgement", Value::Null).await.0, 404);
    let ana = served.key(Role::Lead, Some("support"), "ana").await;
    let seen = served.done(&ana, &acknowledge, Value::Null).await;
    assert_eq!((&seen["state"], &seen["acknowledged_by"]), (&json!("acknowledged"), &json!("ana")));
    assert_eq!(served.done("", &acknowledge, Value::Null).await["acknowledged_by"], "ana", "again changes nothing");
    assert_eq!(served.get(&ana, "/v1/alerts?state=acknowledged").await["rows"].as_array().unwrap().len(), 1);
    served.stage.clock.pass_minutes(21 * 24 * 60);
    served.app.watch_time().await.unwrap();
    let (status, kind) = served.refused(&ana, &acknowledge, Value::Null).await;
    assert_eq!((status, kind.as_str()), (409, "alert-resolved"));
}

#[tokio::test]
async fn bud_6_more_is_decided_once_by_somebody_else_and_in_its_period() {
    let served = Served::new().await;
    let finn = served.key(Role::Finance, None, "finn").await;
    let also_finn = served.key(Role::Admin, None, "finn").await;
    let ana = served.key(Role::Lead, Some("support"), "ana").await;
    let mia = served.key(Role::Finance, None, "mia").await;
    let nameless = served.key(Role::Finance, None, "").await;
    let ask = "POST /v1/budgets/extensions";
    let wanted = json!({ "scope": "team:support", "amount": "1", "reason": "a launch" });
    let decide = |asked: &Value| format!("POST /v1/budgets/extensions/{}/decision", asked["id"].as_str().unwrap());
    let yes = || json!({ "approve": true });

    for unknown in ["", nameless.as_str()] {
        assert_eq!(served.refused(unknown, ask, wanted.clone()).await, (403, "forbidden".to_owned()));
    }
    let by_ana = served.done(&ana, ask, wanted.clone()).await;
    assert_eq!(by_ana["requested_by"], "ana");
    for unknown in ["", nameless.as_str()] {
        for answer in [true, false] {
            let decision = json!({ "approve": answer });
            assert_eq!(served.refused(unknown, &decide(&by_ana), decision).await, (403, "forbidden".to_owned()));
        }
    }
    assert_eq!(served.done(&finn, &decide(&by_ana), yes()).await["state"], "approved");
    for key in [also_finn.as_str(), finn.as_str()] {
        for answer in [true, false] {
            let again = served.refused(key, &decide(&by_ana), json!({ "approve": answer })).await;
            assert_eq!(again, (409, "already-decided".to_owned()));
        }
    }
    assert_eq!(served.budget("team:support").await["limit"], "2", "once");

    let by_finn = served.done(&finn, ask, wanted.clone()).await;
    for key in [&finn, &also_finn] {
        assert_eq!(served.refused(key, &decide(&by_finn), yes()).await.0, 403, "one person with two keys");
    }
    let unknown = json!({ "scope": "team:support", "amount": "1", "reason": "x", "alert": "alr_none" });
    assert_eq!(served.refused(&finn, ask, unknown).await.0, 404);
    served.stage.clock.pass_minutes(21 * 24 * 60);
    assert_eq!(served.refused(&mia, &decide(&by_finn), yes()).await, (409, "period-over".to_owned()));
    assert_eq!(served.budget("team:support").await["limit"], "1", "December has its own");
}

#[tokio::test]
async fn bud_6_a_key_is_made_for_one_of_the_people_of_the_file_or_for_nobody() {
    let served = Served::new().await;
    for unknown in ["Ana Lee", "ANA", "ana "] {
        let wanted = json!({ "role": "finance", "person": unknown });
        let (status, problem) = served.send("", "POST /v1/keys", wanted).await;
        let kind = problem["type"].as_str().unwrap();
        assert_eq!((status, kind), (400, "urn:recoup:problem:unknown-person"), "{unknown}");
        let why = problem["detail"].as_str().unwrap();
        assert!(why.contains(&format!("`{unknown}`")) && why.contains("[[people]]"), "{why}");
    }
    served.key(Role::Finance, None, "ana").await;
    served.key(Role::Ingest, Some("support"), "").await;
    let bare = Stage::bare();
    let without = bare.alone();
    let before_the_file = without.create_key(Role::Admin, None, Tags::default(), Some("Ana Lee".into())).await;
    assert!(before_the_file.is_ok(), "{before_the_file:?}");
    without.apply_organisation(ORGANISATION, None, false).await.unwrap();
    without.create_key(Role::Admin, None, Tags::default(), Some("Ana Lee".into())).await.unwrap();
}

#[tokio::test]
async fn bud_6_what_nobody_known_asked_for_is_declined_and_never_approved() {
    let served = Served::new().await;
    let finn = served.key(Role::Finance, None, "finn").await;
    for (number, asker) in ["key:0a1b2c3d4e5f", "operator", "Ana Lee"].into_iter().enumerate() {
        let id = format!("ext_{number}");
        let pending = json!({
            "id": id, "scope": "team:support", "period": "2026-11", "amount": "1", "reason": "a launch",
            "state": "pending", "requested_by": asker, "requested_at": "2026-11-10T07:00:00Z",
            "decided_by": null, "decided_at": null, "alert": null,
        });
        let put = Write::Put {
            key: Key::new("extensions", format!("2026-11|{id}")),
            value: pending.to_string(),
            expect: Expect::Absent,
            until_s: None,
        };
        served.stage.ports().books.write(vec![put]).await.unwrap();
        let decide = format!("POST /v1/budgets/extensions/{id}/decision");
        let refused = served.refused(&finn, &decide, json!({ "approve": true })).await;
        assert_eq!(refused, (409, "unknown-requester".to_owned()));
        assert_eq!(served.budget("team:support").await["limit"], "1");
        let declined = served.done(&finn, &decide, json!({ "approve": false })).await;
        assert_eq!((&declined["state"], &declined["decided_by"]), (&json!("declined"), &json!("finn")));
    }
    assert_eq!(served.budget("team:support").await["limit"], "1");
}

#[tokio::test]
async fn bud_3_what_cannot_be_reserved_is_refused_and_never_free() {
    let served = Served::new().await;
    let with = |name: &str, value: Value| {
        let mut wanted = estimate("0.1");
        wanted[name] = value;
        wanted
    };
    let model = |model: &str, output: u64| json!({ "provider": "example", "model": model, "input_tokens": 10_000, "max_output_tokens": output });
    let on_tier = |tier: &str| {
        json!({ "provider": "openai", "model": "gpt-4o-2024-11-20", "service_tier": tier, "input_tokens": 1_000_000,
                "max_output_tokens": 0 })
    };
    let cases = [
        (with("ttl_s", json!(0)), "out-of-range"),
        (with("ttl_s", json!(86_401)), "out-of-range"),
        (with("estimate", model("unheard-of", 0)), "no-price"),
        (with("estimate", model("known", 1)), "no-price"),
        (with("estimate", on_tier("flexible")), "no-price"),
        (with("estimate", json!({ "amount": "1", "service_tier": "priority" })), "ambiguous-estimate"),
        (with("estimate", json!({ "amount": "1", "currency": "JPY" })), "no-price"),
        (with("estimate", json!({ "amount": "-1" })), "out-of-range"),
        (with("estimate", json!({ "provider": "example", "model": "known" })), "missing-field"),
        (with("priority", json!("urgent")), "unknown-value"),
    ];
    for (wanted, expected) in cases {
        let (status, kind) = served.refused("", "POST /v1/authorize", wanted.clone()).await;
        assert_eq!((status, kind.as_str()), (400, expected), "{wanted}");
    }
    for (tier, price) in [("default", "2.5"), ("standard", "2.5"), ("batch", "1.25"), ("priority", "4.25")] {
        let priced = served.done("", "POST /v1/authorize", with("estimate", on_tier(tier))).await;
        assert_eq!(priced["estimate"], price, "{tier}");
    }
    let priced = served.done("", "POST /v1/authorize", with("estimate", model("known", 0))).await;
    assert_eq!((&priced["estimate"], &priced["decision"]), (&json!("0.03"), &json!("allow")));
    let day = served.done("", "POST /v1/authorize", with("ttl_s", json!(86_400))).await;
    assert_eq!(day["decision"], "allow", "a day is the longest");
}

#[tokio::test]
async fn bud_3_asking_only_reserves_nothing() {
    let served = Served::new().await;
    let mut wanted = estimate("0.7");
    wanted["reserve"] = json!(false);
    for _ in 0..3 {
        let answer = served.done("", "POST /v1/authorize", wanted.clone()).await;
        assert_eq!((&answer["decision"], &answer["reservation_id"]), (&json!("allow"), &Value::Null));
        assert_eq!(answer["scopes"][0]["committed"], "0", "what is asked for is not in it");
    }
    assert_eq!(served.budget("team:support").await["reserved"], "0");
    assert_eq!(served.done("", "POST /v1/authorize", estimate("0.7")).await["decision"], "allow");
    let denied = served.done("", "POST /v1/authorize", wanted).await;
    assert_eq!(denied["decided_by"]["reason"], "budget-exceeded");
    let own = json!({ "tags": { "team": "support" }, "estimate": { "amount": "0.3" } });
    assert_eq!(served.done("", "POST /v1/authorize", own).await["decision"], "allow", "the organisation's currency");
}

#[tokio::test]
async fn bud_3_a_reservation_belongs_to_the_key_that_asked() {
    let served = Served::new().await;
    let [agent, stranger] = [served.key(Role::Ingest, None, "").await, served.key(Role::Ingest, None, "").await];
    let admin = served.key(Role::Admin, None, "root").await;
    let held = served.done(&agent, "POST /v1/authorize", estimate("0.5")).await;
    let id = held["reservation_id"].as_str().unwrap().to_owned();
    let release = format!("DELETE /v1/reservations/{id}");
    let longer = format!("POST /v1/reservations/{id}/extension");
    assert_eq!(served.refused(&stranger, &release, Value::Null).await.0, 403);
    assert_eq!(served.refused(&stranger, &longer, json!({ "ttl_s": 60 })).await.0, 403);
    assert_eq!(served.refused(&agent, "DELETE /v1/reservations/rsv_none", Value::Null).await.0, 404);
    let viewer = served.key(Role::Viewer, Some("support"), "").await;
    assert_eq!(served.refused(&viewer, &release, Value::Null).await.0, 403);
    assert_eq!(served.budget("team:support").await["reserved"], "0.5");
    assert_eq!(served.send(&agent, &release, Value::Null).await.0, 204);
    assert_eq!(served.send(&agent, &release, Value::Null).await.0, 204, "again changes nothing");
    assert_eq!(served.refused(&agent, &longer, json!({ "ttl_s": 60 })).await, (409, "reservation-ended".to_owned()));
    assert_eq!(served.audit("reservation-released").await.len(), 0, "an agent's own is no news");
    let held = served.done(&agent, "POST /v1/authorize", estimate("0.5")).await;
    let release = format!("DELETE /v1/reservations/{}", held["reservation_id"].as_str().unwrap());
    assert_eq!(served.send(&admin, &release, Value::Null).await.0, 204);
    let [entry] = served.audit("reservation-released").await.try_into().unwrap();
    assert_eq!((&entry["who"], &entry["detail"]["amount"]), (&json!("root"), &json!("0.5")));
    assert_eq!(served.budget("team:support").await["reserved"], "0");
}

#[tokio::test]
async fn bud_3_a_reservation_over_the_end_of_the_month_counts_in_both() {
    let served = Served::new().await;
    // 23:50 on the last of November, local.
    served.stage.clock.pass_minutes((20 * 24 + 14) * 60 + 50);
    let answer = served.done("", "POST /v1/authorize", estimate("0.6")).await;
    let scopes: Vec<(&str, &str, &str)> = answer["scopes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            (row["scope"].as_str().unwrap(), row["period"].as_str().unwrap(), row["committed"].as_str().unwrap())
        })
        .collect();
    let expected = [
        ("team:support", "2026-11", "0.6"),
        ("organisation", "2026-11", "0.6"),
        ("team:support", "2026-12", "0.6"),
        ("organisation", "2026-12", "0.6"),
    ];
    assert_eq!(scopes, expected);
    served.stage.clock.pass_minutes(11);
    assert_eq!(served.budget("team:support").await["reserved"], "0.6", "December");
    let denied = served.done("", "POST /v1/authorize", estimate("0.5")).await;
    assert_eq!(denied["decision"], "deny");
    served
        .event(json!({
            "event_id": "e1", "used_at": "2026-11-30T23:00:30Z", "reservation_id": answer["reservation_id"],
            "tags": { "team": "support" }, "cost": { "amount": "0.25", "currency": "USD" },
        }))
        .await;
    let december = served.budget("team:support").await;
    assert_eq!((&december["period"], &december["posted"]), (&json!("2026-12"), &json!("0.25")));
    assert_eq!(december["reserved"], "0", "settled in both");
}

#[tokio::test]
async fn bud_3_the_team_of_a_user_binds_where_none_is_named() {
    let served = Served::new().await;
    let wanted = json!({ "tags": { "user": "ana" }, "estimate": { "amount": "1.5" } });
    let denied = served.done("", "POST /v1/authorize", wanted).await;
    assert_eq!(denied["decided_by"]["scope"], "team:support", "as its events will be posted");
    let other = json!({ "tags": { "user": "ana", "team": "marketing" }, "estimate": { "amount": "1.5" } });
    assert_eq!(served.done("", "POST /v1/authorize", other).await["decision"], "allow");
}

#[tokio::test]
async fn bud_2_only_what_is_reserved_is_logged_as_let_through() {
    let served = Served::new().await;
    let mut wanted = estimate("5");
    wanted["tags"]["agent"] = json!("pager");
    wanted["priority"] = json!("critical");
    wanted["reserve"] = json!(false);
    served.done("", "POST /v1/authorize", wanted.clone()).await;
    wanted["reserve"] = json!(true);
    served.done("", "POST /v1/authorize", wanted).await;
    let logged = served.audit("critical-exemption").await;
    let reserved: Vec<&Value> = logged.iter().map(|entry| &entry["detail"]["reserved"]).collect();
    assert_eq!(reserved, [&json!(false), &json!(true)], "who adds up what went beyond leaves out what was only asked");
}

/// An event of critical work that did not ask.
fn unasked(id: &str, agent: &str, amount: &str) -> Value {
    json!({
        "event_id": id, "priority": "critical", "tags": { "team": "support", "agent": agent },
        "cost": { "amount": amount, "currency": "USD" },
    })
}

#[tokio::test]
async fn bud_2_critical_work_that_never_asked_is_logged_once_it_goes_beyond() {
    let served = Served::new().await;
    served.event(unasked("e1", "pager", "0.9")).await;
    assert_eq!(served.audit("critical-exemption").await, [] as [Value; 0], "0.90 of 1");
    served.event(unasked("e2", "pager", "0.3")).await;
    served.event(unasked("e3", "triage", "0.1")).await;
    let mut plain = unasked("e4", "pager", "0.1");
    plain["priority"] = Value::Null;
    served.event(plain).await;
    let mut wanted = estimate("0.2");
    wanted["tags"]["agent"] = json!("pager");
    wanted["priority"] = json!("critical");
    let allowed = served.done("", "POST /v1/authorize", wanted).await;
    let mut asked = unasked("e5", "pager", "0.15");
    asked["reservation_id"] = allowed["reservation_id"].clone();
    served.event(asked).await;
    let key = served.app.create_key(Role::Ingest, None, Tags::default(), Some("robot".into())).await.unwrap();
    let mut foreign = unasked("e6", "pager", "0.05");
    (foreign["used_at"], foreign["kind"]) = (json!("2026-11-10T07:59:00Z"), json!("tool"));
    foreign["reservation_id"] = allowed["reservation_id"].clone();
    served.done(&key.key, "POST /v1/events", foreign).await;
    let logged = served.audit("critical-exemption").await;
    let of = |name: &str| logged.iter().map(|entry| entry["detail"][name].clone()).collect::<Vec<_>>();
    assert_eq!(of("event_id"), [json!("e2"), Value::Null, json!("e6")], "declared, without a reservation of its key");
    assert_eq!(of("asked"), [json!(false), json!(true), json!(false)]);
    assert_eq!(of("amount"), [json!("0.3"), json!("0.2"), json!("0.05")]);
    let first = &logged[0];
    assert_eq!((&first["who"], &first["target"]), (&json!("operator"), &json!("team:support")));
    let expected = json!({
        "scope": "team:support", "period": "2026-11", "limit": "1", "posted": "1.2", "amount": "0.3", "agent": "pager",
        "task_type": null, "task": "e2", "team": "support", "reserved": false, "asked": false, "event_id": "e2",
        "trace_id": null,
    });
    assert_eq!(first["detail"], expected);
    assert_eq!((&logged[2]["who"], &logged[2]["key"]), (&json!("robot"), &json!(key.id)));
}

#[tokio::test]
async fn bud_4_a_task_over_its_cap_is_the_business_of_the_team_that_pays() {
    let served = Served::new().await;
    let [ana, mia] =
        [("support", "ana"), ("marketing", "mia")].map(|(team, name)| served.key(Role::Lead, Some(team), name));
    let (ana, mia) = (ana.await, mia.await);
    let tags = |team: &str| json!({ "team": team, "agent": "triage", "task_type": "research", "task_id": "T-7" });
    let cost = json!({ "amount": "0.06", "currency": "USD" });
    let child =
        json!({ "event_id": "e2", "trace_id": "t7", "parent_id": "e1", "tags": tags("marketing"), "cost": cost });
    served.event(child).await;
    assert_eq!(served.get(&mia, "/v1/reviews").await["rows"][0]["task"], "T-7", "until its root arrives");
    served.event(json!({ "event_id": "e1", "trace_id": "t7", "tags": tags("support"), "cost": cost })).await;
    let seen = served.get(&ana, "/v1/reviews").await["rows"].clone();
    assert_eq!(
        (&seen[0]["task"], &seen[0]["team"], &seen[0]["agent"]),
        (&json!("T-7"), &json!("support"), &json!("triage"))
    );
    assert_eq!(served.get(&mia, "/v1/reviews").await["rows"], json!([]), "another team's");
    let strange = json!({ "team": "nobody's", "task_type": "research", "task_id": "T-8" });
    served.event(json!({ "event_id": "e3", "tags": strange, "cost": cost })).await;
    assert_eq!(served.get("", "/v1/reviews").await["rows"][0]["team"], Value::Null, "nobody pays: finance sees it");
}

#[tokio::test]
async fn bud_4_a_task_that_is_stopped_stays_so_whatever_it_was_flagged_for() {
    let served = Served::new().await;
    let tags = || json!({ "team": "support", "task_type": "research", "task_id": "T/1" });
    served.event(json!({ "event_id": "e1", "tags": tags(), "cost": { "amount": "0.06", "currency": "USD" } })).await;
    let reviews = served.get("", "/v1/reviews").await;
    assert_eq!((&reviews["rows"][0]["task"], &reviews["rows"][0]["mark"]), (&json!("T/1"), &json!("over_cap")));
    let decide = "POST /v1/reviews/T%2F1/decision";
    let stop = json!({ "state": "stopped", "note": "a loop" });
    assert_eq!(served.refused("", decide, json!({ "state": "stopped", "note": " " })).await.0, 400);
    assert_eq!(served.refused("", decide, json!({ "state": "open", "note": "x" })).await.0, 400);
    assert_eq!(served.refused("", "POST /v1/reviews/T-9/decision", stop.clone()).await.0, 404);
    let other = served.key(Role::Lead, Some("marketing"), "mia").await;
    assert_eq!(served.refused(&other, decide, stop.clone()).await.0, 404, "not seen");
    assert_eq!(served.get(&other, "/v1/reviews").await["rows"], json!([]));
    let lead = served.key(Role::Lead, Some("support"), "ana").await;
    let seen = served.get(&lead, "/v1/reviews").await["rows"].clone();
    assert_eq!((&seen[0]["task"], &seen[0]["team"]), (&json!("T/1"), &json!("support")), "its team pays for it");
    let ingest = served.key(Role::Ingest, Some("support"), "").await;
    assert_eq!(served.refused(&ingest, decide, stop.clone()).await.0, 403);
    served.done("", decide, stop).await;
    let wanted = json!({ "tags": tags(), "estimate": { "amount": "0" } });
    let denied = served.done("", "POST /v1/authorize", wanted).await;
    assert_eq!(denied["decided_by"], json!({ "scope": "task:T/1", "tier": null, "reason": "task-killed" }));
    let review = served.get("", "/v1/reviews").await["rows"][0].clone();
    assert_eq!((&review["state"], &review["note"]), (&json!("stopped"), &json!("a loop")), "the decision stands");
    assert_eq!(served.audit("review-decided").await.len(), 1);
}
