//! Processes that share the books see what the others changed, without being told.

use recoup_model::Tags;
use recoup_workflows::authorize::{AuthorizeRequest, Decision, Estimate};
use recoup_workflows::{App, Principal, Refusal, Role};
use serde_json::json;

use crate::stage::{ORGANISATION, Stage};

async fn limit(app: &App) -> String {
    let estimate = Estimate::Money { amount: "0.01".parse().unwrap(), currency: "USD".parse().unwrap() };
    let tags = serde_json::from_value(json!({ "team": "support" })).unwrap();
    let request = AuthorizeRequest { tags, estimate: Some(estimate), ask_only: true, ..AuthorizeRequest::default() };
    let answer = app.authorize(&Principal::operator(), request).await.unwrap();
    assert_eq!(answer.decision, Decision::Allow);
    answer.scopes[0].limit.to_string()
}

#[tokio::test]
async fn bud_1_a_limit_that_another_process_lowered_is_seen() {
    let stage = Stage::bare();
    let file = |limit: &str| format!("{ORGANISATION}[[budgets]]\nscope = \"team:support\"\nlimit = \"{limit}\"\n");
    let (one, other) = (stage.process(), stage.process());
    one.apply_organisation(&file("3"), None, false).await.unwrap();
    assert_eq!((limit(&one).await, limit(&other).await), ("3".to_owned(), "3".to_owned()));
    // It holds from the next local midnight.
    other.apply_organisation(&file("2"), None, false).await.unwrap();
    stage.clock.pass_minutes(24 * 60);
    assert_eq!((limit(&one).await, limit(&other).await), ("2".to_owned(), "2".to_owned()));
}

#[tokio::test]
async fn atr_1_a_key_that_another_process_revoked_is_refused() {
    let stage = Stage::new().await;
    let (one, other) = (stage.process(), stage.process());
    let made = one.create_key(Role::Ingest, None, Tags::default(), None).await.unwrap();
    one.authenticate(&made.key).await.unwrap();
    other.revoke_key(&made.id).await.unwrap();
    stage.clock.pass_minutes(1);
    assert!(matches!(one.authenticate(&made.key).await, Err(Refusal::Unauthenticated(_))));
}

#[tokio::test]
async fn who_applies_a_file_of_another_time_zone_than_the_schedules_have_is_told() {
    let stage = Stage::bare();
    let process = |zone: &str| App::new(stage.ports(), [7; 32], 1).sharing(true).scheduled_in(Some(zone));
    let elsewhere = process("Asia/Tokyo").apply_organisation(ORGANISATION, None, true).await.unwrap();
    assert_eq!(
        elsewhere.notices,
        ["the schedules of this deployment go by Asia/Tokyo, the days of the organisation by Europe/Berlin; \
          deploy it with TimeZone=Europe/Berlin"]
    );
    let applied = process("Europe/Berlin").apply_organisation(ORGANISATION, None, false).await.unwrap();
    assert_eq!(applied.notices, Vec::<String>::new());
}
