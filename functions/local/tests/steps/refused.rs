//! Requests that are refused over HTTP, so that nothing is lost, taken for something else, or told to whom it does not concern.

use axum::body::{Body, to_bytes};
use axum::http::Request;
use recoup_workflows::Role;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::over_http::Served;

const EXTENSIONS: &str = "POST /v1/budgets/extensions";

fn more(scope: &str, amount: &str) -> Value {
    json!({ "scope": scope, "amount": amount, "reason": "a launch" })
}

#[tokio::test]
async fn bud_1_approvals_that_no_amount_can_hold_are_refused() {
    let served = Served::new().await;
    let [ana, finn] =
        [served.key(Role::Lead, Some("support"), "ana").await, served.key(Role::Finance, None, "finn").await];
    let decide = async |amount: &str| {
        let asked = served.done(&ana, EXTENSIONS, more("team:support", amount)).await;
        format!("POST /v1/budgets/extensions/{}/decision", asked["id"].as_str().unwrap())
    };
    let most = "99999999999999999999999999";
    let first = decide(most).await;
    served.done(&finn, &first, json!({ "approve": true })).await;
    let mut refused = None;
    for _ in 0..4 {
        let next = decide(most).await;
        let (status, problem) = served.send(&finn, &next, json!({ "approve": true })).await;
        if status == 409 {
            refused = Some((next, problem));
            break;
        }
        assert_eq!(status, 200, "{problem}");
    }
    let (next, problem) = refused.expect("an amount has an end");
    assert_eq!(problem["type"], "urn:recoup:problem:limit-too-large", "{problem}");
    served.done(&finn, &next, json!({ "approve": false })).await;
    // What was approved before holds.
    let asks = json!({ "tags": { "team": "support" }, "estimate": { "amount": "5000", "currency": "USD" } });
    assert_eq!(served.done("", "POST /v1/authorize", asks).await["decision"], "deny", "the organisation has 100");
}

/// Which budgets there are is no business of those who may not act for them.
#[tokio::test]
async fn bud_2_who_may_not_ask_for_more_does_not_learn_which_budgets_there_are() {
    let served = Served::new().await;
    for (role, team) in [(Role::Ingest, None), (Role::Viewer, Some("support")), (Role::Lead, Some("marketing"))] {
        let key = served.key(role, team, "ana").await;
        let mut answers = Vec::new();
        for scope in ["team:support", "team:nobody", "user:nobody", "organisation", "agent:pager", "agent:nobody"] {
            let (status, problem) = served.send(&key, EXTENSIONS, more(scope, "1")).await;
            assert_eq!(status, 403, "{scope}: {problem}");
            answers.push(problem);
        }
        answers.dedup();
        assert_eq!(answers.len(), 1, "{answers:?}");
    }
    let own = served.key(Role::Lead, Some("support"), "ana").await;
    let mut request = more("team:support", "1");
    request["period"] = "week".into();
    assert_eq!(served.refused(&own, EXTENSIONS, request).await, (404, "not-found".to_owned()));
}

/// A longer reservation has a new id, which its holder would not know.
#[tokio::test]
async fn bud_3_nobody_extends_the_reservation_of_another_key() {
    let served = Served::new().await;
    let [holder, admin] = [served.key(Role::Ingest, None, "").await, served.key(Role::Admin, None, "root").await];
    let asks = json!({ "tags": { "team": "support" }, "estimate": { "amount": "0.1", "currency": "USD" } });
    let given = served.done(&holder, "POST /v1/authorize", asks).await;
    let path = format!("/v1/reservations/{}", given["reservation_id"].as_str().unwrap());
    let longer = format!("POST {path}/extension");
    assert_eq!(served.refused(&admin, &longer, json!({ "ttl_s": 900 })).await, (403, "forbidden".to_owned()));
    served.done(&holder, &longer, json!({ "ttl_s": 900 })).await;
}

/// Serde reads an array as the fields of a structure in order: nobody who sends one means that.
#[tokio::test]
async fn an_array_is_no_object() {
    let served = Served::new().await;
    for (what, body) in [
        ("POST /v1/keys", json!(["ingest"])),
        ("POST /v1/authorize", json!([])),
        ("POST /v1/runs", json!(["nightly", "all"])),
        (EXTENSIONS, json!(["team:support", null, "1", "a launch"])),
        ("POST /v1/budgets", json!(["team:support", "5"])),
        ("POST /v1/simulations", json!([null, {}])),
    ] {
        let (status, problem) = served.send("", what, body).await;
        assert_eq!((status, &problem["field"]), (400, &json!("body")), "{what}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains("has to be an object"), "{problem}");
    }
}

#[tokio::test]
async fn evt_1_a_tag_that_nobody_keeps_is_refused_before_work_begins() {
    let served = Served::new().await;
    let (status, problem) = served.send("", "POST /v1/authorize", json!({ "tags": { "taem": "support" } })).await;
    assert_eq!((status, &problem["field"]), (400, &json!("tags.taem")), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("policy.extra_tags"), "{problem}");
}

#[tokio::test]
async fn a_page_of_runs_that_no_answer_named_is_refused() {
    let served = Served::new().await;
    assert_eq!(served.refused("", "GET /v1/runs?cursor=garbage", Value::Null).await.0, 400);
    served.get("", "/v1/runs?cursor=0000000000000000-000000").await;
}

#[tokio::test]
async fn json_is_asked_for_by_its_name() {
    let served = Served::new().await;
    for (kind, expected) in
        [("text/plain", 415), ("application/x-ndjson", 415), ("application/json; charset=utf-8", 201)]
    {
        let request = Request::post("/v1/keys").header("content-type", kind);
        let request = request.body(Body::from(json!({ "role": "ingest" }).to_string())).unwrap();
        let response = served.at_machine().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        assert_eq!(status, expected, "{kind}: {}", String::from_utf8_lossy(&body));
    }
}

/// What a simulation would take for something else, or leave out.
#[tokio::test]
async fn prc_7_a_simulation_loses_nothing_without_a_word() {
    let served = Served::new().await;
    let twice = "[[task_types]]\nid = \"k\"\nseed_price = \"0.2\"\n[[task_types]]\nid = \"k\"\nseed_price = \"0.5\"\n";
    for (request, said) in [
        (json!({ "rate_card": twice }), "`k` is given twice"),
        (json!({ "policy": { "variance": "settle", "policy.variance": "absorb" } }), "set twice"),
        (json!({ "policy": { "policy.vriance": "" } }), "`policy.vriance` stands in no version"),
        (json!({ "policy": { "agents.pager.shared_pol": null } }), "`agents.pager.shared_pol` stands in no version"),
    ] {
        let (status, problem) = served.send("", "POST /v1/simulations", request).await;
        assert_eq!((status, &problem["type"]), (400, &json!("urn:recoup:problem:invalid-simulation")), "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(said), "{problem}");
    }
}

/// ATR-1: the budget that is asked is that of the team which will pay: the key's before that of the key's user.
#[tokio::test]
async fn atr_1_a_check_asks_the_budget_of_the_team_that_will_pay() {
    let served = Served::new().await;
    let mut asked = Vec::new();
    for (tags, own) in [
        (json!({ "team": "marketing", "user": "ana" }), json!({})),
        (json!({ "user": "ana" }), json!({})),
        (json!({ "team": "marketing" }), json!({ "user": "ana" })),
        (json!({ "team": "marketing", "user": "ana" }), json!({ "user": "finn" })),
    ] {
        let key = served.done("", "POST /v1/keys", json!({ "role": "ingest", "tags": tags })).await;
        let answer = served.done(key["key"].as_str().unwrap(), "POST /v1/authorize", json!({ "tags": own })).await;
        let scopes = answer["scopes"].as_array().unwrap().iter();
        asked.push(scopes.map(|row| row["scope"].as_str().unwrap().to_owned()).any(|scope| scope == "team:support"));
    }
    // Ana is of support, and nobody of marketing has a budget.
    assert_eq!(asked, [false, true, true, false]);
}
