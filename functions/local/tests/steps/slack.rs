//! Buttons of Slack, through the router: who may press what, and that pressing again changes nothing.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use recoup_http::{Access, Answering, InProcess, SlackDoor, router, router_with_slack};
use recoup_suite::{SIGNING_SECRET, signed};
use recoup_workflows::alerts::Tell;
use recoup_workflows::extensions::ExtensionState;
use recoup_workflows::watch::{AlertRecord, AlertState};
use recoup_workflows::{App, Principal, Refusal, Role};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::notify::{Outside, bot, organisation, spend};
use crate::stage::{all, more};

struct Door {
    outside: Outside,
    app: Arc<App>,
    service: Router,
}

impl Door {
    async fn new() -> Self {
        let outside = Outside::new().await;
        let app = outside.stage.alone();
        Self::of(outside, app).await
    }

    async fn of(outside: Outside, app: Arc<App>) -> Self {
        let door = SlackDoor::new(SIGNING_SECRET, bot(&outside.slack), Answering::AtOnce);
        let jobs = Arc::new(InProcess::new(app.clone()));
        let service = router_with_slack(app.clone(), Access::Keys, jobs, Some(door));
        // Whoever shares the books leaves counting to others.
        let counts = outside.stage.alone();
        spend(&counts, "e1", "support", "0.95").await;
        outside.bring_all(&counts).await;
        Self { outside, app, service }
    }

    fn now_s(&self) -> i64 {
        self.app.ports.clock.now_ns() / 1_000_000_000
    }

    async fn send(&self, body: &str, headers: &[(&str, String)]) -> (StatusCode, Vec<u8>) {
        let mut request = Request::post("/v1/slack/actions");
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let response = self.service.clone().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
        (response.status(), to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec())
    }

    /// Sends what Slack would, and returns the body of the answer.
    async fn come(&self, body: &str) -> String {
        let (status, answer) = self.send(body, &signed(body, self.now_s())).await;
        assert_eq!(status, StatusCode::OK, "{}", String::from_utf8_lossy(&answer));
        String::from_utf8(answer).unwrap()
    }

    /// Presses a button, and returns what only the presser is told.
    async fn press(&self, user: &str, action: &str, value: &str, press: &str) -> Vec<String> {
        let body = self.outside.slack.click(user, action, value, press);
        assert_eq!(self.come(&body).await, "", "the answer is empty");
        let answers = self.outside.slack.answers(press);
        assert!(answers.iter().all(|answer| answer["response_type"] == "ephemeral"), "{answers:?}");
        answers.iter().map(|answer| answer["text"].as_str().unwrap().to_owned()).collect()
    }

    async fn ninety(&self) -> AlertRecord {
        let alerts = self.app.budget_alerts(&Principal::operator(), None, all()).await.unwrap().rows;
        alerts.into_iter().find(|alert| alert.tier == 90).unwrap()
    }

    async fn audit(&self) -> Vec<(String, String, String)> {
        let entries = self.app.audit_entries(&Principal::operator(), 0).await.unwrap();
        entries.into_iter().map(|entry| (entry.action, entry.who, entry.via)).collect()
    }
}

fn entry(action: &str, who: &str) -> (String, String, String) {
    (action.to_owned(), who.to_owned(), "slack".to_owned())
}

#[tokio::test]
async fn who_is_not_slack_is_not_believed() {
    let door = Door::new().await;
    let id = door.ninety().await.id;
    let body = door.outside.slack.click("U0ANA", "acknowledge", &id, "p1");
    let now_s = door.now_s();
    let good = signed(&body, now_s);
    let mut wrong = good.clone();
    wrong[2].1 = wrong[2].1.replace("v0=", "v0=0").chars().take(67).collect();
    let other = signed("payload=x", now_s);
    let cases = [
        ("a wrong signature", &wrong[..]),
        ("the signature of something else", &other[..]),
        ("an old one", &signed(&body, now_s - 301)[..]),
        ("one of the future", &signed(&body, now_s + 301)[..]),
        ("none", &[][..]),
    ];
    for (what, headers) in cases {
        let (status, answer) = door.send(&body, headers).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{what}");
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(answer["type"], "urn:recoup:problem:unauthenticated");
    }
    assert_eq!(door.ninety().await.state, AlertState::Fired);
    assert_eq!(door.send("payload=x", &other).await.0, StatusCode::BAD_REQUEST);

    let jobs = Arc::new(InProcess::new(door.app.clone()));
    let closed = router(door.app.clone(), Access::Keys, jobs);
    let request = Request::post("/v1/slack/actions").body(Body::from(body)).unwrap();
    assert_eq!(closed.oneshot(request).await.unwrap().status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn bud_2_the_lead_acknowledges_and_pressing_again_changes_nothing() {
    let door = Door::new().await;
    let id = door.ninety().await.id;
    assert_eq!(door.press("U0ANA", "acknowledge", &id, "p1").await, [""; 0]);
    let seen = door.ninety().await;
    assert_eq!((seen.state, seen.acknowledged_by.as_deref()), (AlertState::Acknowledged, Some("ana")));
    assert_eq!(door.press("U0ANA", "acknowledge", &id, "p2").await, [""; 0]);
    assert_eq!(door.press("U0FINN", "acknowledge", &id, "p3").await, [""; 0]);
    assert_eq!(door.ninety().await, seen);
    assert_eq!(door.audit().await, [entry("alert-acknowledged", "ana")]);
    door.outside.bring_all(&door.app).await;
    let changed = door.outside.slack.messages_in("#support-ai").into_iter().filter(|message| message.updates > 0);
    assert_eq!(changed.map(|message| message.text().contains("Acknowledged by ana")).collect::<Vec<_>>(), [true]);
}

#[tokio::test]
async fn who_may_not_is_told_why_and_nothing_changes() {
    let door = Door::new().await;
    let id = door.ninety().await.id;
    let told = door.press("U0NOBODY", "acknowledge", &id, "p1").await;
    assert!(told[0].contains("slack = \"U0NOBODY\""), "{told:?}");
    let told = door.press("U0VIC", "acknowledge", &id, "p2").await;
    assert!(told[0].contains("role = \"lead\""), "{told:?}");
    let told = door.press("U0VIC", "request_extension", &id, "p3").await;
    assert!(told[0].contains("role = \"lead\""), "{told:?}");
    let told = door.press("U0FINN", "acknowledge", "alr_none", "p4").await;
    assert!(told[0].contains("not there any more"), "{told:?}");
    assert_eq!(door.ninety().await.state, AlertState::Fired);
    assert_eq!(door.audit().await, []);
    assert_eq!(door.outside.slack.views(), [] as [Value; 0]);
}

#[tokio::test]
async fn bud_6_more_is_asked_for_in_a_form_and_decided_by_somebody_else() {
    let door = Door::new().await;
    let id = door.ninety().await.id;
    assert_eq!(door.press("U0ANA", "request_extension", &id, "p1").await, [""; 0]);
    assert_eq!(door.outside.slack.views()[0]["private_metadata"], json!(id));

    let wrong = door.come(&door.outside.slack.submission("U0ANA", &id, "much", "a launch")).await;
    assert!(wrong.contains("response_action") && wrong.contains("\"amount\""), "{wrong}");
    let wrong = door.come(&door.outside.slack.submission("U0ANA", &id, "-5", "a launch")).await;
    assert!(wrong.contains("\"amount\""), "{wrong}");
    let wrong = door.come(&door.outside.slack.submission("U0ANA", &id, "5", " ")).await;
    assert!(wrong.contains("\"reason\""), "{wrong}");
    let wrong = door.come(&door.outside.slack.submission("U0VIC", &id, "5", "a launch")).await;
    assert!(wrong.contains("role"), "{wrong}");
    let form = door.outside.slack.submission("U0ANA", &id, "0.50", "a launch");
    for _ in 0..3 {
        assert_eq!(door.come(&form).await, "", "the same form once more is not another request");
    }
    let extensions = door.app.extensions(&Principal::operator(), all()).await.unwrap().rows;
    assert_eq!(extensions.len(), 1);
    let (asked, amount) = (&extensions[0].id, extensions[0].amount.to_string());
    assert_eq!((extensions[0].requested_by.as_str(), amount.as_str()), ("ana", "0.5"));

    let own = door.outside.slack.submission("U0FINN", &id, "7", "mine");
    door.come(&own).await;
    let asked_for = door.app.extensions(&Principal::operator(), all()).await.unwrap().rows;
    let own = &asked_for.iter().find(|extension| extension.requested_by == "finn").unwrap().id;
    let told = door.press("U0FINN", "approve", own, "p2").await;
    assert!(told[0].contains("cannot decide"), "four eyes: {told:?}");
    let told = door.press("U0ANA", "approve", asked, "p3").await;
    assert!(told[0].starts_with("You may not"), "a lead does not decide: {told:?}");
    assert_eq!(door.press("U0FINN", "approve", asked, "p4").await, [""; 0]);
    let told = door.press("U0FINN", "decline", asked, "p5").await;
    assert!(told[0].contains("approved already"), "{told:?}");
    let decided = door.app.extensions(&Principal::operator(), all()).await.unwrap().rows;
    let states: Vec<_> = decided.iter().map(|one| (one.requested_by.as_str(), one.state)).collect();
    assert!(states.contains(&("ana", ExtensionState::Approved)) && states.contains(&("finn", ExtensionState::Pending)));
    let expected = [
        entry("extension-requested", "ana"),
        entry("extension-requested", "finn"),
        entry("extension-approved", "finn"),
    ];
    assert_eq!(door.audit().await, expected);
    door.outside.bring_all(&door.app).await;
    let finops = door.outside.slack.messages_in("#finops");
    assert!(finops.iter().any(|message| message.text().contains("Approved by finn")), "{finops:#?}");
}

#[tokio::test]
async fn bud_6_a_name_that_the_file_does_not_have_is_no_second_person() {
    let door = Door::new().await;
    let id = door.ninety().await.id;
    door.come(&door.outside.slack.submission("U0FINN", &id, "7", "mine")).await;
    let by_finn = door.app.extensions(&Principal::operator(), all()).await.unwrap().rows.remove(0);
    let key_of = |person: &str| Principal {
        key_id: Some(format!("key of {person}")),
        role: Role::Finance,
        person: Some(person.to_owned()),
        via: "api".to_owned(),
        ..Principal::operator()
    };
    for approve in [true, false] {
        let decided = door.app.decide_extension(&key_of("Finn Lee"), &by_finn.id, approve).await;
        let Err(Refusal::Forbidden(why)) = decided else { panic!("{decided:?}") };
        assert!(why.contains("`Finn Lee`") && why.contains("[[people]]") && why.contains("--person ID"), "{why}");
    }
    let asked = door.app.request_extension(&key_of("Finn Lee"), more("1", "x")).await;
    assert!(matches!(asked, Err(Refusal::Forbidden(_))), "{asked:?}");
    let own = door.app.decide_extension(&key_of("finn"), &by_finn.id, true).await;
    assert!(matches!(own, Err(Refusal::Forbidden(_))), "one person by two doors: {own:?}");
    let approved = door.app.decide_extension(&key_of("ana"), &by_finn.id, true).await.unwrap();
    assert_eq!((approved.state, approved.decided_by.as_deref()), (ExtensionState::Approved, Some("ana")));
}

#[tokio::test]
async fn bud_6_what_was_asked_for_under_a_name_that_the_file_does_not_have_is_declined() {
    let outside = Outside::new().await;
    let app = outside.stage.alone();
    let (file, today) = (organisation(), Some("2026-11-10".parse().unwrap()));
    let (without_people, _) = file.split_once("[[people]]").unwrap();
    app.apply_organisation(without_people, today, false).await.unwrap();
    let lee = Principal { person: Some("Finn Lee".into()), ..Principal::operator() };
    let asked = app.request_extension(&lee, more("1", "x")).await.unwrap();
    app.apply_organisation(&file, today, false).await.unwrap();
    let door = Door::of(outside, app).await;
    let told = door.press("U0FINN", "approve", &asked.id, "p1").await;
    assert!(told[0].contains("`Finn Lee`") && told[0].contains("decline it"), "{told:?}");
    assert_eq!(door.press("U0FINN", "decline", &asked.id, "p2").await, [""; 0]);
    let declined = door.app.extensions(&Principal::operator(), all()).await.unwrap().rows.remove(0);
    assert_eq!((declined.state, declined.decided_by.as_deref()), (ExtensionState::Declined, Some("finn")));
}

/// Slack waits three seconds. Whatever waits to be told, and however long that takes, the decision is recorded and answered.
#[tokio::test]
async fn a_press_is_answered_in_time_whatever_else_there_is_to_tell() {
    for shares in [false, true] {
        let outside = Outside::new().await;
        let app = if shares { outside.stage.process() } else { outside.stage.alone() };
        let door = Door::of(outside, app).await;
        let id = door.ninety().await.id;
        let topic = door.outside.stage.topic.clone();
        topic.is_down.store(true, Ordering::SeqCst);
        for number in 0..60 {
            let tell = Tell::NightFailed { run: format!("r{number:03}"), error: "no disk".into() };
            door.app.tell(&[tell]).await.unwrap();
        }
        topic.is_down.store(false, Ordering::SeqCst);
        topic.takes_ms.store(20_000, Ordering::SeqCst);
        let in_time = async |act: &dyn Fn() -> String| {
            let body = act();
            let answer = tokio::time::timeout(Duration::from_millis(1_500), door.come(&body)).await;
            assert_eq!(answer.as_deref(), Ok(""), "sharing: {shares}");
        };
        let slack = &door.outside.slack;
        in_time(&|| slack.click("U0ANA", "acknowledge", &id, "p1")).await;
        in_time(&|| slack.submission("U0ANA", &id, "0.50", "a launch")).await;
        let asked = door.app.extensions(&Principal::operator(), all()).await.unwrap().rows.remove(0);
        in_time(&|| slack.click("U0FINN", "approve", &asked.id, "p2")).await;
        assert_eq!(door.ninety().await.state, AlertState::Acknowledged);
        let decided = door.app.extensions(&Principal::operator(), all()).await.unwrap().rows.remove(0);
        assert_eq!(decided.state, ExtensionState::Approved);

        topic.takes_ms.store(0, Ordering::SeqCst);
        // A new limit resolves what the old one had fired, and tells of that as well.
        for _ in 0..2 {
            door.app.after_decisions().await;
        }
        let told = topic.ids();
        for suffix in ["-acknowledged", "-decided"] {
            assert_eq!(told.iter().filter(|id| id.ends_with(suffix)).count(), 1, "{shares}: {told:?}");
        }
        assert_eq!(told.iter().filter(|id| id.starts_with("night-failed-")).count(), 60);
        door.app.after_decisions().await;
        assert_eq!(topic.ids(), told, "nothing is told again");
        assert_eq!(door.ninety().await.state, AlertState::Resolved);
    }
}
