//! BUD-2, BUD-6: tiers fire once through crashes and repeats; alerts are acknowledged, escalated, resolved; more is asked
//! for by one and approved by another.

use recoup_metering::Shape;
use recoup_money::Amount;
use recoup_workflows::extensions::{ExtensionRequest, ExtensionState};
use recoup_workflows::ingest::Listing;
use recoup_workflows::watch::{AlertRecord, AlertState};
use recoup_workflows::{App, Principal, Refusal, Role};
use serde_json::{Value, json};

use crate::stage::{ORGANISATION, Stage, all, conflict, more};

const BUDGETS: &str = r#"
[[budgets]]
scope = "team:support"
limit = "1"
[[budgets]]
scope = "organisation"
limit = "100"
"#;

async fn stage() -> Stage {
    let stage = Stage::bare();
    stage.alone().apply_organisation(&format!("{ORGANISATION}{BUDGETS}"), None, false).await.unwrap();
    stage
}

/// An event of the team, with the cost that its source reports.
async fn spend(app: &App, id: &str, cents: u64) {
    spend_at(app, id, cents, "2026-11-10T07:59:00Z").await;
}

async fn spend_at(app: &App, id: &str, cents: u64, used_at: &str) {
    let event = json!({
        "event_id": id, "used_at": used_at, "kind": "tool", "tags": { "team": "support", "agent": "triage" },
        "cost": { "amount": format!("{}.{:02}", cents / 100, cents % 100), "currency": "USD" },
    });
    let body = event.to_string().into_bytes();
    let receipt = app.ingest(&Principal::operator(), &body, Shape::Json, Listing::All).await.unwrap();
    assert_eq!(receipt.accepted, 1, "{:?}", receipt.results);
}

fn holder(role: Role, team: Option<&str>, person: &str) -> Principal {
    Principal {
        key_id: Some(format!("key of {person}")),
        role,
        team: team.map(str::to_owned),
        person: Some(person.to_owned()),
        ..Principal::operator()
    }
}

fn lead() -> Principal {
    holder(Role::Lead, Some("support"), "ana")
}

fn finance() -> Principal {
    holder(Role::Finance, None, "finn")
}

async fn alerts(app: &App) -> Vec<AlertRecord> {
    let mut alerts = app.budget_alerts(&Principal::operator(), None, all()).await.unwrap().rows;
    alerts.sort_by_key(|alert| (alert.limit_version, alert.tier));
    alerts
}

async fn tiers(app: &App) -> Vec<(u32, u32, AlertState)> {
    alerts(app).await.iter().map(|alert| (alert.limit_version, alert.tier, alert.state)).collect()
}

fn kinds(stage: &Stage) -> Vec<String> {
    stage.topic.told().into_iter().map(|alert| alert.attributes["kind"].clone()).collect()
}

#[tokio::test]
async fn bud_2_each_tier_fires_once_and_is_told_once() {
    let stage = stage().await;
    let app = stage.alone();
    spend(&app, "e1", 69).await;
    assert_eq!(tiers(&app).await, []);
    spend(&app, "e2", 1).await;
    spend(&app, "e3", 1).await;
    assert_eq!(tiers(&app).await, [(1, 70, AlertState::Fired)]);
    spend(&app, "e4", 30).await;
    let all = [(1, 70, AlertState::Fired), (1, 90, AlertState::Fired), (1, 100, AlertState::Fired)];
    assert_eq!(tiers(&app).await, all);
    for app in [stage.alone(), stage.process()] {
        app.watch_time().await.unwrap();
        app.watch_budgets(None).await.unwrap();
    }
    assert_eq!(tiers(&app).await, all);
    assert_eq!(kinds(&stage), ["budget-tier", "budget-tier", "budget-tier", "kill"]);
    let told = stage.topic.told();
    let ninety: Value = told
        .iter()
        .map(|alert| serde_json::from_str::<Value>(&alert.json).unwrap())
        .find(|json| json["threshold"] == "90")
        .unwrap();
    assert_eq!(ninety["team"], "support");
    assert_eq!(ninety["notice"]["facts"][0], json!({ "label": "Spent", "value": "1.01 USD" }));
    assert!(ninety["notice"]["summary"].as_str().unwrap().contains("1.01 USD of 1.00 USD in 2026-11 (101%)"));
}

#[tokio::test]
async fn bud_2_a_crash_between_any_two_writes_loses_and_repeats_no_alert() {
    for writes in 0..12 {
        let stage = stage().await;
        let dying = stage.dying_process(writes);
        let event = json!({
            "event_id": "e1", "used_at": "2026-11-10T07:59:00Z", "kind": "tool", "tags": { "team": "support" },
            "cost": { "amount": "0.95", "currency": "USD" },
        });
        drop(dying.ingest(&Principal::operator(), event.to_string().as_bytes(), Shape::Json, Listing::All).await);
        drop(dying);
        let app = stage.alone();
        let receipt =
            app.ingest(&Principal::operator(), event.to_string().as_bytes(), Shape::Json, Listing::All).await.unwrap();
        assert_eq!(receipt.accepted + receipt.duplicate, 1);
        app.watch_time().await.unwrap();
        app.publish_alerts().await;
        assert_eq!(
            tiers(&app).await,
            [(1, 70, AlertState::Fired), (1, 90, AlertState::Fired)],
            "after {writes} writes"
        );
        let mut told = stage.topic.ids();
        told.sort_unstable();
        told.dedup();
        assert_eq!(told.len(), 2, "after {writes} writes");
    }
}

#[tokio::test]
async fn bud_2_an_alert_is_acknowledged_by_whoever_may_and_else_escalated() {
    let stage = stage().await;
    let app = stage.alone();
    spend(&app, "e1", 95).await;
    let ninety = alerts(&app).await.pop().unwrap();
    assert!(ninety.needs_acknowledgement);
    stage.clock.pass_minutes(239);
    app.watch_time().await.unwrap();
    assert!(!kinds(&stage).contains(&"budget-escalation".to_owned()));
    stage.clock.pass_minutes(2);
    app.watch_time().await.unwrap();
    app.watch_time().await.unwrap();
    let escalations = kinds(&stage).iter().filter(|kind| *kind == "budget-escalation").count();
    assert_eq!(escalations, 1, "90 needs it, 70 does not");
    let stranger = holder(Role::Lead, Some("marketing"), "mia");
    assert!(
        matches!(app.acknowledge(&stranger, &ninety.id).await, Err(Refusal::NotFound(_))),
        "another team does not see it"
    );
    let viewer = holder(Role::Viewer, Some("support"), "vic");
    assert!(matches!(app.acknowledge(&viewer, &ninety.id).await, Err(Refusal::Forbidden(_))));
    let seen = app.acknowledge(&lead(), &ninety.id).await.unwrap();
    assert_eq!((seen.state, seen.acknowledged_by.as_deref()), (AlertState::Acknowledged, Some("ana")));
    assert_eq!(
        app.acknowledge(&finance(), &ninety.id).await.unwrap().acknowledged_by.as_deref(),
        Some("ana"),
        "again changes nothing"
    );
    let audit = app.audit_entries(&finance(), 0).await.unwrap();
    let acknowledged: Vec<_> = audit.iter().filter(|entry| entry.action == "alert-acknowledged").collect();
    assert_eq!(
        (acknowledged.len(), acknowledged[0].who.as_str(), acknowledged[0].target.as_str()),
        (1, "ana", ninety.id.as_str())
    );
}

#[tokio::test]
async fn bud_2_alerts_of_a_period_that_ended_are_resolved() {
    let stage = stage().await;
    let app = stage.alone();
    spend(&app, "e1", 95).await;
    let [seventy, ninety] = alerts(&app).await.try_into().unwrap();
    app.acknowledge(&lead(), &seventy.id).await.unwrap();
    stage.clock.pass_minutes(21 * 24 * 60);
    app.watch_time().await.unwrap();
    let seventy = app.budget_alert(&Principal::operator(), &seventy.id).await.unwrap();
    let ninety = app.budget_alert(&Principal::operator(), &ninety.id).await.unwrap();
    assert_eq!(seventy.resolution.as_deref(), Some("the period has ended"));
    assert_eq!(ninety.resolution.as_deref(), Some("the period has ended; nobody had acknowledged it"));
    let (kind, _) = conflict(app.acknowledge(&lead(), &ninety.id).await);
    assert_eq!(kind, "alert-resolved");
}

/// The last hour of November in Berlin.
const LAST_HOUR: &str = "2026-11-30T22:30:00Z";

#[tokio::test]
async fn bud_2_a_tier_that_late_events_of_an_ended_period_reach_fires_once() {
    let stage = stage().await;
    let app = stage.alone();
    spend(&app, "e1", 75).await;
    stage.clock.pass_minutes(21 * 24 * 60);
    app.watch_time().await.unwrap();
    assert_eq!(tiers(&app).await, [(1, 70, AlertState::Resolved)], "it is December");
    spend_at(&app, "e2", 30, LAST_HOUR).await;
    let all = [(1, 70, AlertState::Resolved), (1, 90, AlertState::Fired), (1, 100, AlertState::Fired)];
    for app in [stage.alone(), stage.process()] {
        app.watch_time().await.unwrap();
        app.watch_budgets(None).await.unwrap();
        assert_eq!(tiers(&app).await, all);
    }
    assert!(alerts(&app).await.iter().all(|alert| alert.period == "2026-11"));
    assert_eq!(
        kinds(&stage),
        ["budget-tier", "budget-tier-changed", "budget-tier", "budget-tier"],
        "nothing is stopped"
    );
    let hundred: Value = serde_json::from_str(&stage.topic.told().pop().unwrap().json).unwrap();
    let notice = &hundred["notice"];
    assert_eq!(notice["title"], "Budget at 100%: team support, 2026-11 (ended)");
    let summary = notice["summary"].as_str().unwrap();
    assert!(summary.contains("in 2026-11 (105%). That period is over") && !summary.contains("denied"), "{summary}");
    let facts: Vec<&str> =
        notice["facts"].as_array().unwrap().iter().map(|fact| fact["label"].as_str().unwrap()).collect();
    assert_eq!(facts, ["Spent", "Budget", "Used", "Over by", "Over because"], "no days are left");
    let because = notice["facts"][4]["value"].as_str().unwrap();
    assert!(because.ends_with("that did not ask"), "{because}");
    let kept = alerts(&app).await.into_iter().find(|alert| alert.tier == 100).unwrap().overrun.unwrap();
    assert_eq!(kept.causes.len(), 1, "as it was then, whatever is posted later");
    let words = notice.to_string();
    assert!(words.contains("alerts ack") && !words.contains("budgets extend") && !words.contains("request"), "{words}");
    let december = app.budgets(&lead()).await.unwrap().remove(0);
    assert_eq!((december.period.as_str(), december.posted), ("2026-12", Amount::ZERO));
    let asked = ExtensionRequest { alert: Some(alerts(&app).await.pop().unwrap().id), ..more("1", "late") };
    assert_eq!(conflict(app.request_extension(&lead(), asked).await).0, "period-over");

    stage.clock.pass_minutes(2 * 24 * 60);
    app.watch_time().await.unwrap();
    assert!(kinds(&stage).contains(&"budget-escalation".to_owned()), "nobody has acknowledged it");
    assert_eq!(tiers(&app).await, all, "the third day");
    stage.clock.pass_minutes(24 * 60);
    app.watch_time().await.unwrap();
    let resolved: Vec<_> =
        alerts(&app).await.into_iter().map(|alert| (alert.state, alert.resolution.unwrap())).collect();
    assert_eq!(resolved[2], (AlertState::Resolved, "the period has ended; nobody had acknowledged it".to_owned()));
}

#[tokio::test]
async fn bud_2_an_ended_period_has_the_limit_of_its_last_day_and_is_left_alone_after_some_days() {
    let stage = stage().await;
    let app = stage.alone();
    spend(&app, "e1", 60).await;
    let request = more("1", "a launch");
    let asked = app.request_extension(&lead(), request).await.unwrap();
    app.decide_extension(&finance(), &asked.id, true).await.unwrap();
    let raised = format!("{ORGANISATION}{BUDGETS}").replace("limit = \"1\"", "limit = \"0.1\"");
    app.apply_organisation(&raised, Some("2026-12-01".parse().unwrap()), false).await.unwrap();
    stage.clock.pass_minutes(21 * 24 * 60);
    spend_at(&app, "e2", 70, LAST_HOUR).await;
    app.watch_time().await.unwrap();
    assert_eq!(tiers(&app).await, [], "1.30 of 2");
    spend_at(&app, "e3", 10, LAST_HOUR).await;
    app.watch_time().await.unwrap();
    assert_eq!(tiers(&app).await, [(2, 70, AlertState::Fired)], "1.40 of 2");
    stage.clock.pass_minutes(3 * 24 * 60);
    spend_at(&app, "e4", 90, LAST_HOUR).await;
    app.watch_time().await.unwrap();
    assert_eq!(tiers(&app).await, [(2, 70, AlertState::Resolved)], "the fourth day");
}

#[tokio::test]
async fn bud_2_the_alerts_of_a_budget_that_is_deleted_are_resolved() {
    let stage = stage().await;
    let app = stage.alone();
    spend(&app, "e1", 95).await;
    let [seventy, _] = alerts(&app).await.try_into().unwrap();
    app.acknowledge(&lead(), &seventy.id).await.unwrap();
    let without = format!("{ORGANISATION}{BUDGETS}").replacen("team:support", "team:marketing", 1);
    app.apply_organisation(&without, Some("2026-11-11".parse().unwrap()), false).await.unwrap();
    app.watch_time().await.unwrap();
    assert_eq!(tiers(&app).await, [(1, 70, AlertState::Acknowledged), (1, 90, AlertState::Fired)], "from tomorrow");
    stage.clock.pass_minutes(24 * 60);
    app.watch_time().await.unwrap();
    app.watch_time().await.unwrap();
    let resolutions: Vec<String> = alerts(&app).await.into_iter().filter_map(|alert| alert.resolution).collect();
    assert_eq!(resolutions, ["the budget was deleted", "the budget was deleted; nobody had acknowledged it"]);
    let told: Vec<Value> = stage.topic.told().iter().map(|alert| serde_json::from_str(&alert.json).unwrap()).collect();
    let outcomes: Vec<&Value> =
        told.iter().filter(|json| json["kind"] == "budget-tier-changed").map(|json| &json["notice"]).collect();
    assert_eq!(outcomes.len(), 3, "one acknowledgement, two resolutions");
    assert!(outcomes.iter().all(|notice| notice["thread"] == "budget-team:support-2026-11"), "{outcomes:?}");
    let mut said: Vec<&str> = outcomes.iter().map(|notice| notice["outcome"]["what"].as_str().unwrap()).collect();
    said.sort_unstable();
    let expected = [
        "Acknowledged by ana",
        "Resolved: the budget was deleted",
        "Resolved: the budget was deleted; nobody had acknowledged it",
    ];
    assert_eq!(said, expected);
}

#[tokio::test]
async fn bud_6_more_needs_somebody_else_and_makes_a_new_limit() {
    let stage = stage().await;
    let app = stage.alone();
    spend(&app, "e1", 100).await;
    assert!(matches!(app.request_extension(&lead(), more("0", "x")).await, Err(Refusal::Invalid { .. })));
    assert!(matches!(app.request_extension(&lead(), more("1", " ")).await, Err(Refusal::Invalid { .. })));
    let nobody = Principal { person: None, ..finance() };
    for unknown in [
        &nobody,
        &Principal::operator(),
        &holder(Role::Finance, None, " Operator"),
        &holder(Role::Admin, None, "key:7"),
    ] {
        let Err(Refusal::Forbidden(why)) = app.request_extension(unknown, more("1", "x")).await else { panic!() };
        assert!(why.contains("--person"), "{why}");
    }
    let stranger = holder(Role::Lead, Some("marketing"), "mia");
    assert!(matches!(app.request_extension(&stranger, more("1", "x")).await, Err(Refusal::Forbidden(_))));
    let asked = app.request_extension(&lead(), more("0.25", "a launch")).await.unwrap();
    assert!(
        matches!(app.decide_extension(&lead(), &asked.id, true).await, Err(Refusal::Forbidden(_))),
        "a lead does not decide"
    );
    let own = app.request_extension(&finance(), more("5", "x")).await.unwrap();
    assert!(matches!(app.decide_extension(&finance(), &own.id, true).await, Err(Refusal::Forbidden(_))), "four eyes");
    for unknown in [&nobody, &Principal::operator()] {
        let Err(Refusal::Forbidden(why)) = app.decide_extension(unknown, &asked.id, true).await else { panic!() };
        assert!(why.contains("--person"), "{why}");
    }
    let in_slack = Principal { key_id: None, via: "slack".into(), ..holder(Role::Finance, None, " FINN ") };
    let refused = app.decide_extension(&in_slack, &own.id, true).await;
    assert!(matches!(refused, Err(Refusal::Forbidden(_))), "one person by two doors: {refused:?}");
    let approved = app.decide_extension(&finance(), &asked.id, true).await.unwrap();
    assert_eq!((approved.state, approved.decided_by.as_deref()), (ExtensionState::Approved, Some("finn")));
    let (kind, _) = conflict(app.decide_extension(&finance(), &asked.id, true).await);
    assert_eq!(kind, "already-decided");
    let row = app.budgets(&lead()).await.unwrap().remove(0);
    assert_eq!((row.limit.to_string(), row.base_limit.to_string()), ("1.25".to_owned(), "1".to_owned()), "once");
    app.after_decisions().await;
    let states: Vec<AlertState> = alerts(&app).await.iter().map(|alert| alert.state).collect();
    assert_eq!(states, [AlertState::Resolved; 3], "the new limit settles what the old one fired");
    spend(&app, "e2", 13).await;
    let open: Vec<(u32, u32)> = alerts(&app)
        .await
        .iter()
        .filter(|alert| alert.state == AlertState::Fired)
        .map(|alert| (alert.limit_version, alert.tier))
        .collect();
    assert_eq!(open, [(2, 90)], "1.13 of 1.25");
}

#[tokio::test]
async fn bud_2_a_limit_that_is_lowered_below_what_is_spent_fires_the_highest_tier() {
    let stage = stage().await;
    let app = stage.alone();
    spend(&app, "e1", 75).await;
    let lowered = format!("{ORGANISATION}{BUDGETS}").replace("limit = \"1\"", "limit = \"0.5\"");
    app.apply_organisation(&lowered, Some("2026-11-11".parse().unwrap()), false).await.unwrap();
    app.watch_time().await.unwrap();
    assert_eq!(tiers(&app).await, [(1, 70, AlertState::Fired)], "from tomorrow");
    stage.clock.pass_minutes(24 * 60);
    app.watch_time().await.unwrap();
    assert_eq!(tiers(&app).await, [(1, 70, AlertState::Resolved), (2, 100, AlertState::Fired)]);
    let total: Amount = "0.75".parse().unwrap();
    assert_eq!(alerts(&app).await[1].posted, total);
}
