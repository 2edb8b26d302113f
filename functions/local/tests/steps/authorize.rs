//! BUD-3, BUD-4, BUD-5: racing callers never overspend, reservations end once, and what was reserved is given back.

use std::sync::Arc;

use recoup_metering::Shape;
use recoup_model::Tags;
use recoup_money::Amount;
use recoup_store::{Balance, CounterKey, Grant, Granted, Key, LeaseName, Room};
use recoup_workflows::authorize::{Authorization, AuthorizeRequest, Decision, Estimate};
use recoup_workflows::budgets::BudgetRow;
use recoup_workflows::ingest::Listing;
use recoup_workflows::reviews::ReviewState;
use recoup_workflows::rollup::ArrivedBlock;
use recoup_workflows::{App, Principal, Refusal};
use serde_json::{Value, json};

use crate::stage::{ORGANISATION, Stage, all};

const BUDGETS: &str = r#"
[[agents]]
id = "pager"
critical = true
[[task_types]]
id = "research"
cap = "0.05"
[[budgets]]
scope = "organisation"
limit = "1000"
[[budgets]]
scope = "team:support"
limit = "3"
[[budgets]]
scope = "team:support"
period = "day"
limit = "2.50"
"#;

/// 10,000 input tokens: 3 cents.
const EVENT_COST: &str = "0.03";

async fn stage() -> Stage {
    let stage = Stage::bare();
    let app = stage.alone();
    app.apply_organisation(&format!("{ORGANISATION}{BUDGETS}"), None, false).await.unwrap();
    stage
}

fn amount(text: &str) -> Amount {
    text.parse().unwrap()
}

fn tags(value: Value) -> Tags {
    serde_json::from_value(value).unwrap()
}

fn money(estimate: &str, of: Value) -> AuthorizeRequest {
    let estimate = Some(Estimate::Money { amount: amount(estimate), currency: "USD".parse().unwrap() });
    AuthorizeRequest { tags: tags(of), estimate, ..AuthorizeRequest::default() }
}

fn support() -> Value {
    json!({ "team": "support", "agent": "triage" })
}

async fn ask(app: &App, request: AuthorizeRequest) -> Authorization {
    app.authorize(&Principal::operator(), request).await.unwrap()
}

async fn balance(stage: &Stage, scope: &str, period: &str) -> Balance {
    let key = CounterKey { scope: scope.into(), period: period.into() };
    stage.ports().leases.balances(&[key]).await.unwrap().pop().unwrap()
}

async fn month(stage: &Stage) -> (String, String) {
    let Balance { posted, reserved } = balance(stage, "team:support", "2026-11").await;
    (posted.to_string(), reserved.to_string())
}

fn event(id: &str, reservation: Option<&str>) -> Value {
    json!({
        "event_id": id, "used_at": "2026-11-10T07:59:00Z", "kind": "llm", "provider": "example", "model": "known",
        "usage": { "input": 10_000 }, "tags": support(), "reservation_id": reservation,
    })
}

async fn send(app: &App, principal: &Principal, event: Value) {
    let body = event.to_string().into_bytes();
    let receipt = app.ingest(principal, &body, Shape::Json, Listing::All).await.unwrap();
    assert_eq!(receipt.accepted, 1, "{:?}", receipt.results);
}

/// What the stream does where processes share the books.
async fn roll_up(stage: &Stage, app: &App) {
    let log = stage.ports().log;
    let infos = log.blocks_after(0, 10_000).await.unwrap();
    let stored = log.read(infos.iter().map(|info| info.seq).collect()).await.unwrap();
    let named = stored.into_iter().map(|block| ArrivedBlock { name: block.info.name(), bytes: block.bytes });
    app.rollup(named.collect()).await.unwrap();
}

/// As many callers as there are, each with an estimate of 5 cents; those who are let in spend 3.
async fn race(stage: &Stage, app: &Arc<App>, callers: usize) -> usize {
    let mut running = Vec::new();
    for caller in 0..callers {
        let app = Arc::clone(app);
        running.push(tokio::spawn(async move {
            let answer = ask(&app, money("0.05", support())).await;
            if answer.decision == Decision::Deny {
                assert!(answer.reservation_id.is_none());
                return false;
            }
            let committed = &answer.scopes[1].committed;
            assert!(*committed <= amount("3"), "{committed}");
            send(&app, &Principal::operator(), event(&format!("e{caller}"), answer.reservation_id.as_deref())).await;
            true
        }));
    }
    let mut admitted = 0;
    for caller in running {
        admitted += usize::from(caller.await.unwrap());
    }
    let Balance { posted, .. } = balance(stage, "team:support", "2026-11").await;
    assert!(posted <= amount("2.50"), "the day's limit holds: {posted}");
    admitted
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn bud_3_racing_callers_on_one_machine_never_overspend() {
    for callers in [64, 1_000] {
        let stage = stage().await;
        let app = stage.alone();
        let admitted = race(&stage, &app, callers).await;
        assert!(admitted >= callers.min(50), "{admitted} of {callers}: there was room for 50 at once");
        let posted = amount(EVENT_COST).checked_mul(i128::try_from(admitted).unwrap()).unwrap();
        let balance = balance(&stage, "team:support", "2026-11").await;
        assert_eq!(balance.posted, posted, "what was billed");
        stage.clock.pass_minutes(20);
        app.sweep_leases().await.unwrap();
        assert_eq!(month(&stage).await, (posted.to_string(), "0".to_owned()), "committed is what was billed");
        let later = ask(&app, money("0.05", support())).await;
        assert_eq!(later.decision == Decision::Allow, posted <= amount("2.45"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn bud_3_racing_callers_of_several_processes_never_overspend() {
    let stage = stage().await;
    let apps = [stage.process(), stage.process(), stage.process()];
    let mut running = Vec::new();
    for caller in 0..1_000_usize {
        let app = Arc::clone(&apps[caller % apps.len()]);
        running.push(tokio::spawn(async move { ask(&app, money("0.05", support())).await }));
    }
    let mut held = Vec::new();
    for caller in running {
        held.extend(caller.await.unwrap().reservation_id);
    }
    assert_eq!(held.len(), 50, "2.50 a day at 5 cents each");
    assert_eq!(balance(&stage, "team:support", "2026-11-10").await.reserved, amount("2.5"));
    for (number, reservation) in held.iter().enumerate() {
        send(&apps[0], &Principal::operator(), event(&format!("e{number}"), Some(reservation))).await;
    }
    for app in &apps {
        roll_up(&stage, app).await;
    }
    assert_eq!(
        month(&stage).await,
        ("1.5".to_owned(), "0".to_owned()),
        "each settled once, however often it is rolled up"
    );
}

#[tokio::test]
async fn bud_3_a_process_that_ends_leaves_its_leases_until_they_end() {
    let stage = stage().await;
    let held = ask(&stage.alone(), money("1.00", support())).await.reservation_id;
    let app = stage.alone();
    let left = ask(&app, money("1.60", support())).await;
    assert_eq!(left.decision, Decision::Deny, "what the first process reserved still counts");
    send(&app, &Principal::operator(), event("e1", held.as_deref())).await;
    let (posted, _) = month(&stage).await;
    assert_eq!(posted, EVENT_COST);
    stage.clock.pass_minutes(17);
    app.sweep_leases().await.unwrap();
    assert_eq!(month(&stage).await, (EVENT_COST.to_owned(), "0".to_owned()));
    assert_eq!(ask(&app, money("1.60", support())).await.decision, Decision::Allow);
}

#[tokio::test]
async fn bud_3_an_answer_says_what_is_left_everywhere() {
    let stage = stage().await;
    let app = stage.alone();
    let answer = ask(&app, money("1", support())).await;
    let rows: Vec<(String, String, String, String, String)> = answer
        .scopes
        .iter()
        .map(|row| {
            let [limit, committed, left] = [row.limit, row.committed, row.remaining].map(|amount| amount.to_string());
            (row.scope.clone(), row.period.clone(), limit, committed, left)
        })
        .collect();
    let row = |scope: &str, period: &str, limit: &str, committed: &str, left: &str| {
        (scope.into(), period.into(), limit.into(), committed.into(), left.into())
    };
    let expected = [
        row("organisation", "2026-11", "1000", "1", "999"),
        row("team:support", "2026-11", "3", "1", "2"),
        row("team:support", "2026-11-10", "2.5", "1", "1.5"),
    ];
    assert_eq!(rows, expected);
    assert_eq!(answer.expires_at.as_deref(), Some("2026-11-10T08:16:00Z"), "15 minutes, to the next whole one");
    let denied = ask(&app, money("1.6", support())).await;
    let by = denied.decided_by.unwrap();
    assert_eq!((by.scope.as_str(), by.tier, by.reason), ("team:support", None, "budget-exceeded"));
    assert_eq!(denied.scopes[2].remaining, amount("1.5"), "a denial takes nothing");
    let only = ask(&app, AuthorizeRequest { ask_only: true, ..money("1.5", support()) }).await;
    assert_eq!((only.decision, only.reservation_id), (Decision::Allow, None));
    assert_eq!(ask(&app, money("1.5", support())).await.decision, Decision::Allow, "asking took nothing");
    let free = ask(&app, money("5000", json!({ "team": "marketing" }))).await;
    assert_eq!((free.decision, free.scopes.len()), (Decision::Deny, 1), "the organisation's budget binds everybody");
}

#[tokio::test]
async fn bud_3_an_estimate_in_tokens_is_priced() {
    let stage = stage().await;
    let app = stage.alone();
    let tokens = |model: &str| Estimate::Tokens {
        provider: "example".into(),
        model: model.into(),
        service_tier: None,
        input_tokens: 100_000,
        max_output_tokens: 0,
    };
    let request = |model: &str| AuthorizeRequest { estimate: Some(tokens(model)), ..money("0", support()) };
    assert_eq!(ask(&app, request("known")).await.estimate, amount("0.3"));
    let refused = app.authorize(&Principal::operator(), request("unheard-of")).await;
    assert!(matches!(refused, Err(Refusal::Invalid { kind: "no-price", .. })), "{refused:?}");
    let yen = Estimate::Money { amount: amount("1"), currency: "JPY".parse().unwrap() };
    let refused =
        app.authorize(&Principal::operator(), AuthorizeRequest { estimate: Some(yen), ..request("known") }).await;
    assert!(matches!(refused, Err(Refusal::Invalid { kind: "no-price", .. })), "{refused:?}");
}

#[tokio::test]
async fn bud_3_a_reservation_ends_once() {
    let stage = stage().await;
    let app = stage.alone();
    let first = ask(&app, money("1", support())).await.reservation_id.unwrap();
    let second = ask(&app, money("1", support())).await.reservation_id.unwrap();
    send(&app, &Principal::operator(), event("e1", Some(&first))).await;
    send(&app, &Principal::operator(), event("e2", Some(&first))).await;
    let answer = ask(&app, AuthorizeRequest { ask_only: true, ..money("0", support()) }).await;
    assert_eq!(answer.scopes[1].committed, amount("1.06"), "two events, and the other reservation");
    app.release(&Principal::operator(), &second).await.unwrap();
    app.release(&Principal::operator(), &second).await.unwrap();
    let answer = ask(&app, AuthorizeRequest { ask_only: true, ..money("0", support()) }).await;
    assert_eq!(answer.scopes[1].committed, amount("0.06"));
    let late = ask(&app, money("1", support())).await.reservation_id.unwrap();
    stage.clock.pass_minutes(30);
    app.sweep_leases().await.unwrap();
    send(&app, &Principal::operator(), event("e3", Some(&late))).await;
    assert_eq!(
        month(&stage).await,
        ("0.09".to_owned(), "0".to_owned()),
        "after its end it settles nothing, and is posted"
    );
}

#[tokio::test]
async fn bud_3_a_stranger_s_reservation_settles_nothing() {
    let stage = stage().await;
    let app = stage.alone();
    let held = ask(&app, money("1", support())).await.reservation_id.unwrap();
    let stranger = Principal { key_id: Some("k9".into()), ..Principal::operator() };
    send(&app, &stranger, event("e1", Some(&held))).await;
    send(&app, &Principal::operator(), event("e2", Some("rsv_made_up"))).await;
    let answer = ask(&app, AuthorizeRequest { ask_only: true, ..money("0", support()) }).await;
    assert_eq!(answer.scopes[1].committed, amount("1.06"), "posted, and the reservation stands");
    let other = Principal { role: recoup_workflows::Role::Ingest, ..stranger };
    assert!(matches!(app.release(&other, &held).await, Err(Refusal::Forbidden(_))));
    assert!(matches!(app.release(&other, "rsv_made_up").await, Err(Refusal::NotFound(_))));
}

#[tokio::test]
async fn bud_3_a_reservation_can_live_longer_inside_its_period() {
    let stage = stage().await;
    let app = stage.alone();
    let operator = Principal::operator();
    let held = ask(&app, money("1", support())).await.reservation_id.unwrap();
    let (longer, until) = app.extend_reservation(&operator, &held, 7_200).await.unwrap();
    assert_eq!(until, "2026-11-10T10:01:00Z");
    assert!(
        matches!(app.extend_reservation(&operator, &held, 900).await, Err(Refusal::Conflict { .. })),
        "it is another now"
    );
    assert!(
        matches!(app.extend_reservation(&operator, &longer, 24 * 3_600).await, Err(Refusal::Conflict { .. })),
        "past midnight"
    );
    stage.clock.pass_minutes(60);
    app.sweep_leases().await.unwrap();
    assert_eq!(month(&stage).await, ("0".to_owned(), "1".to_owned()));
    send(&app, &operator, event("e1", Some(&longer))).await;
    assert_eq!(month(&stage).await, (EVENT_COST.to_owned(), "0".to_owned()));
}

#[tokio::test]
async fn bud_3_what_outlives_the_day_is_reserved_in_both() {
    let stage = stage().await;
    let app = stage.alone();
    let request = AuthorizeRequest { ttl_s: Some(16 * 3_600), ..money("1", support()) };
    let answer = ask(&app, request).await;
    let periods: Vec<&str> = answer.scopes.iter().map(|row| row.period.as_str()).collect();
    assert_eq!(periods, ["2026-11", "2026-11", "2026-11-10", "2026-11-11"]);
    assert!(balance(&stage, "team:support", "2026-11-11").await.reserved >= amount("1"));
    for ttl_s in [0, 24 * 3_600 + 1] {
        let refused = app
            .authorize(&Principal::operator(), AuthorizeRequest { ttl_s: Some(ttl_s), ..money("1", support()) })
            .await;
        assert!(matches!(refused, Err(Refusal::Invalid { kind: "out-of-range", .. })));
    }
}

#[tokio::test]
async fn bud_2_critical_work_goes_on_and_is_logged() {
    let stage = stage().await;
    let app = stage.alone();
    let critical =
        |agent: &str| AuthorizeRequest { critical: true, ..money("9", json!({ "team": "support", "agent": agent })) };
    let denied = ask(&app, critical("triage")).await;
    assert_eq!((denied.decision, denied.critical), (Decision::Deny, false), "only what the organisation file declares");
    let allowed = ask(&app, critical("pager")).await;
    assert_eq!((allowed.decision, allowed.critical), (Decision::Allow, true));
    assert_eq!(allowed.decided_by.unwrap().reason, "critical");
    assert!(allowed.reservation_id.is_some());
    let log = app.audit_entries(&Principal::operator(), 0).await.unwrap();
    assert_eq!((log[0].action.as_str(), &log[0].detail["amount"]), ("critical-exemption", &json!("9")));
    assert_eq!(ask(&app, money("0.01", support())).await.decision, Decision::Deny, "and it counts");
}

#[tokio::test]
async fn bud_4_a_task_is_stopped_at_its_cap_until_somebody_lets_it_go_on() {
    let stage = stage().await;
    let app = stage.alone();
    let task = || json!({ "team": "support", "agent": "triage", "task_type": "research", "task_id": "T1" });
    let first = ask(&app, money("0.03", task())).await;
    assert_eq!(first.decision, Decision::Allow);
    let mut spent = event("e1", first.reservation_id.as_deref());
    spent["tags"] = task();
    send(&app, &Principal::operator(), spent).await;
    let only = ask(&app, AuthorizeRequest { ask_only: true, ..money("0.021", task()) }).await;
    assert_eq!((only.decision, only.decided_by.unwrap().reason), (Decision::Deny, "task-cap"));
    assert!(
        app.reviews(&Principal::operator(), all()).await.unwrap().rows.is_empty(),
        "whoever only asks stops nothing"
    );
    let over = ask(&app, money("0.021", task())).await;
    let by = over.decided_by.unwrap();
    assert_eq!((over.decision, by.scope.as_str(), by.reason), (Decision::Deny, "task:T1", "task-cap"));
    let less = ask(&app, money("0.001", task())).await;
    assert_eq!(less.decided_by.unwrap().reason, "task-killed", "it is stopped");
    let reviews = app.reviews(&Principal::operator(), all()).await.unwrap().rows;
    assert_eq!((reviews.len(), reviews[0].task.as_str(), json!(reviews[0].mark)), (1, "T1", json!("killed_over_cap")));
    let told: Vec<String> = stage.topic.told().into_iter().map(|alert| alert.attributes["kind"].clone()).collect();
    assert_eq!(told, ["task-killed", "kill"], "once");
    app.decide_review(&Principal::operator(), "T1", ReviewState::Resumed, "needed").await.unwrap();
    assert_eq!(ask(&app, money("0.02", task())).await.decision, Decision::Allow, "within its cap");
    let mut beyond = event("e2", None);
    beyond["tags"] = json!({ "team": "support", "task_type": "research", "task_id": "T2" });
    beyond["usage"] = json!({ "input": 100_000 });
    send(&app, &Principal::operator(), beyond).await;
    let reviews = app.reviews(&Principal::operator(), all()).await.unwrap().rows;
    let over: Vec<Value> =
        reviews.iter().filter(|review| review.task == "T2").map(|review| json!(review.mark)).collect();
    assert_eq!(over, [json!("over_cap")], "what did not ask is flagged");
}

/// Leases of three minutes that are over, the last of which has more than a batch.
#[tokio::test]
async fn bud_3_a_sweep_that_is_killed_goes_on_where_it_was() {
    let stage = stage().await;
    while stage.alone().sweep_leases().await.unwrap().minutes > 0 {}
    let ports = stage.ports();
    let swept = async || -> u32 {
        let record = ports.books.get(&Key::new("state", "swept")).await.unwrap().unwrap();
        record.value.parse().unwrap()
    };
    let begun = swept().await;
    let counter = CounterKey { scope: "team:support".into(), period: "2026-11".into() };
    let grants = [(1, 3), (2, 3), (4, 450)].iter().flat_map(|(minute, count)| (0..*count).map(move |id| (*minute, id)));
    for (minute, id) in grants {
        let lease = LeaseName { ends_minute: begun + minute, id };
        let rooms = vec![Room { counter: counter.clone(), limit: None }];
        let grant = Grant { lease, rooms, amount: amount("0.01"), drawn: amount("0.01") };
        assert_eq!(ports.leases.grant(grant).await.unwrap(), Granted::Done(1));
    }
    stage.clock.pass_minutes(20);
    assert!(stage.dying_process(1).sweep_leases().await.is_err());
    assert_eq!(swept().await, begun + 2, "one minute is noted, the next one ended and is not");
    assert!(stage.dying_process(0).sweep_leases().await.is_err());
    let left = balance(&stage, "team:support", "2026-11").await.reserved;
    assert_eq!(left, amount("0.50"), "400 of 450 have ended");
    let last = stage.alone().sweep_leases().await.unwrap();
    assert_eq!((last.leases, swept().await), (50, begun + 20));
    assert_eq!(balance(&stage, "team:support", "2026-11").await.reserved, Amount::ZERO);
}

/// An event of a trace whose root has not arrived, with these tags.
fn below(id: &str, parent: &str, reservation: Option<&str>, of: Value) -> Value {
    let mut event = event(id, reservation);
    for (name, value) in [("trace_id", json!("tr-1")), ("parent_id", json!(parent)), ("tags", of)] {
        event[name] = value;
    }
    event
}

#[tokio::test]
async fn bud_1_until_the_root_arrives_a_span_counts_for_its_reservation() {
    let stage = stage().await;
    let app = stage.alone();
    let operator = Principal::operator();
    let held = ask(&app, money("0.05", support())).await.reservation_id.unwrap();
    send(&app, &operator, below("call", "root", Some(&held), json!({}))).await;
    assert_eq!(month(&stage).await.0, "0.03", "for the tags that the reservation was given for");
    send(&app, &operator, below("tool", "call", None, json!({}))).await;
    assert_eq!(month(&stage).await.0, "0.06", "which are handed down");
    let other = ask(&app, money("0.05", support())).await.reservation_id.unwrap();
    send(&app, &operator, below("own", "root", Some(&other), json!({ "team": "marketing" }))).await;
    assert_eq!(month(&stage).await.0, "0.06", "its own tags come first");
    let third = ask(&app, money("0.05", support())).await.reservation_id.unwrap();
    let stranger = Principal { key_id: Some("k9".into()), ..Principal::operator() };
    let mut strange = below("strange", "root", Some(&third), json!({}));
    strange["trace_id"] = json!("tr-2");
    send(&app, &stranger, strange).await;
    assert_eq!(month(&stage).await.0, "0.06", "a stranger's reservation says nothing");
    assert_eq!(balance(&stage, "organisation", "2026-11").await.posted, amount("0.12"));
    let mut root = below("root", "", None, json!({ "team": "marketing" }));
    root.as_object_mut().unwrap().remove("parent_id");
    send(&app, &operator, root).await;
    assert_eq!(month(&stage).await.0, "0", "the payer is known");
    assert_eq!(balance(&stage, "organisation", "2026-11").await.posted, amount("0.15"));
}

#[tokio::test]
async fn bud_1_a_reservation_s_tags_come_before_those_of_an_ancestor_and_of_the_key() {
    let stage = stage().await;
    let app = stage.alone();
    let of_key = Principal { tags: tags(json!({ "team": "marketing" })), ..Principal::operator() };
    send(&app, &of_key, below("call", "root", None, json!({ "team": "marketing" }))).await;
    let held = app.authorize(&of_key, money("0.05", support())).await.unwrap().reservation_id.unwrap();
    send(&app, &of_key, below("tool", "call", Some(&held), json!({}))).await;
    assert_eq!(month(&stage).await.0, "0.03");
}

fn causes(row: &BudgetRow) -> Vec<(&'static str, String)> {
    let overrun = row.overrun.as_ref().unwrap();
    let sum = Amount::checked_sum(overrun.causes.iter().map(|cause| cause.amount)).unwrap();
    assert_eq!(sum, overrun.amount, "the causes sum to what is over");
    assert_eq!(overrun.amount, row.posted.checked_sub(row.limit).unwrap());
    overrun.causes.iter().map(|cause| (cause.cause.name(), cause.amount.to_string())).collect()
}

async fn month_row(app: &App) -> BudgetRow {
    let rows = app.budgets(&Principal::operator()).await.unwrap();
    rows.into_iter().find(|row| (row.scope.as_str(), row.kind.as_str()) == ("team:support", "month")).unwrap()
}

#[tokio::test]
async fn bud_3_an_overrun_is_shown_by_cause() {
    let stage = stage().await;
    let app = stage.alone();
    let operator = Principal::operator();
    let reserve = async |estimate: &str| ask(&app, money(estimate, support())).await.reservation_id.unwrap();
    send(&app, &operator, event("within", Some(&reserve("0.05").await))).await;
    send(&app, &operator, event("above", Some(&reserve("0.01").await))).await;
    let late = reserve("1").await;
    stage.clock.pass_minutes(30);
    app.sweep_leases().await.unwrap();
    send(&app, &operator, event("late", Some(&late))).await;
    let mut critical = event("critical", Some(&reserve("0.05").await));
    critical["tags"] = json!({ "team": "support", "agent": "pager" });
    critical["priority"] = json!("critical");
    send(&app, &operator, critical).await;
    assert_eq!(month_row(&app).await.overrun, None, "it is not overrun");
    let mut unasked = event("unasked", None);
    unasked["usage"] = json!({ "input": 1_200_000 });
    send(&app, &operator, unasked).await;
    let row = month_row(&app).await;
    assert_eq!(row.posted, amount("3.72"));
    let expected = [
        ("not-asked", "0.704347826087"),
        ("above-estimate", "0.003913043478"),
        ("reported-late", "0.005869565217"),
        ("critical", "0.005869565218"),
    ];
    let found = causes(&row);
    assert_eq!(found.iter().map(|(cause, amount)| (*cause, amount.as_str())).collect::<Vec<_>>(), expected);
    // Again, in whatever grouping: the parts are of the same transaction as the counters.
    roll_up(&stage, &app).await;
    assert_eq!(causes(&month_row(&app).await), found);
}

#[tokio::test]
async fn bud_3_what_was_admitted_before_a_limit_was_lowered_is_not_what_overran_it() {
    let stage = stage().await;
    let app = stage.alone();
    for number in 0..20 {
        let held = ask(&app, money("0.03", support())).await.reservation_id.unwrap();
        send(&app, &Principal::operator(), event(&format!("e{number}"), Some(&held))).await;
    }
    let lowered = format!("{ORGANISATION}{BUDGETS}").replace("limit = \"3\"", "limit = \"0.40\"");
    app.apply_organisation(&lowered, Some("2026-11-10".parse().unwrap()), false).await.unwrap();
    assert_eq!(causes(&month_row(&app).await), [("admitted", "0.2".to_owned())]);
    send(&app, &Principal::operator(), event("unasked", None)).await;
    let row = month_row(&app).await;
    let found = causes(&row);
    assert_eq!(found, [("not-asked", EVENT_COST.to_owned()), ("admitted", "0.2".to_owned())]);
}

#[tokio::test]
async fn bud_3_a_task_s_reservation_covers_the_calls_below_the_event_that_names_it() {
    let stage = stage().await;
    let app = stage.alone();
    let held = ask(&app, money("0.07", support())).await.reservation_id.unwrap();
    let lowered = format!("{ORGANISATION}{BUDGETS}").replace("limit = \"3\"", "limit = \"0.01\"");
    app.apply_organisation(&lowered, Some("2026-11-10".parse().unwrap()), false).await.unwrap();
    for id in ["a", "b", "c"] {
        send(&app, &Principal::operator(), below(id, "root", None, support())).await;
    }
    let other = ask(&app, money("0.005", support())).await;
    assert_eq!(other.decision, Decision::Deny, "it is used up");
    assert_eq!(causes(&month_row(&app).await), [("not-asked", "0.08".to_owned())], "as far as anybody knows");
    let mut root = below("root", "", Some(&held), support());
    root.as_object_mut().unwrap().remove("parent_id");
    root["kind"] = json!("agent");
    for name in ["usage", "provider", "model"] {
        root.as_object_mut().unwrap().remove(name);
    }
    send(&app, &Principal::operator(), root).await;
    let row = month_row(&app).await;
    let found = causes(&row);
    assert_eq!(found, [("above-estimate", "0.02".to_owned()), ("admitted", "0.06".to_owned())]);
}

/// An event that is its own root, without the tags that leave was asked with.
fn without_tags(id: &str, reservation: &str, input: u64) -> Value {
    let mut event = event(id, Some(reservation));
    event["tags"] = json!({});
    event["usage"] = json!({ "input": input });
    event
}

#[tokio::test]
async fn bud_3_who_names_no_team_in_the_event_spends_the_room_that_it_asked_for() {
    let stage = stage().await;
    let app = stage.alone();
    for number in 0..2 {
        let held = ask(&app, money("1.20", support())).await.reservation_id.unwrap();
        send(&app, &Principal::operator(), without_tags(&format!("e{number}"), &held, 400_000)).await;
    }
    assert_eq!(month(&stage).await, ("2.4".to_owned(), "0".to_owned()));
    assert_eq!(ask(&app, money("1.20", support())).await.decision, Decision::Deny);
    // Who pays is another matter: where the event says so, its budget counts.
    let held = ask(&app, money("0.05", support())).await.reservation_id.unwrap();
    let mut elsewhere = without_tags("e2", &held, 10_000);
    elsewhere["tags"] = json!({ "team": "marketing" });
    send(&app, &Principal::operator(), elsewhere).await;
    assert_eq!(month(&stage).await.0, "2.4");
}

#[tokio::test]
async fn bud_4_a_task_that_only_the_reservation_names_has_its_cap() {
    let stage = stage().await;
    let app = stage.alone();
    let of =
        |task: Option<&str>| json!({ "team": "support", "agent": "triage", "task_type": "research", "task_id": task });
    let held = ask(&app, money("0.04", of(Some("T-1")))).await.reservation_id.unwrap();
    send(&app, &Principal::operator(), without_tags("e1", &held, 10_000)).await;
    assert_eq!(balance(&stage, "task:T-1", "task").await.posted, amount("0.03"));
    let denied = ask(&app, money("0.04", of(Some("T-1")))).await;
    assert_eq!(denied.decided_by.unwrap().reason, "task-cap");
    let nameless = ask(&app, money("0.06", of(None))).await;
    let by = nameless.decided_by.unwrap();
    assert_eq!((nameless.decision, by.scope.as_str(), by.reason), (Decision::Deny, "task", "task-cap"));
    assert_eq!(ask(&app, money("0.05", of(None))).await.decision, Decision::Allow);
}

/// Amounts of the record of exemptions that were not asked for.
async fn exempted(app: &App) -> Vec<(Value, Value)> {
    let entries = app.audit_entries(&Principal::operator(), 0).await.unwrap();
    let rows = entries.into_iter().map(|row| json!(row)).filter(|row| row["action"] == "critical-exemption");
    let rows = rows.filter(|row| row["detail"]["asked"] == false);
    rows.map(|row| (row["detail"]["amount"].clone(), row["detail"]["reserved"].clone())).collect()
}

#[tokio::test]
async fn bud_2_critical_work_that_costs_more_than_it_asked_for_is_logged_with_the_rest() {
    let stage = stage().await;
    let app = stage.alone();
    let pager = json!({ "team": "support", "agent": "pager" });
    let ask_critical = async |estimate: &str| {
        let request = AuthorizeRequest { critical: true, ..money(estimate, pager.clone()) };
        ask(&app, request).await.reservation_id.unwrap()
    };
    let critical = |id: &str, held: &str, input: u64| {
        let mut event = without_tags(id, held, input);
        event["tags"] = pager.clone();
        event["priority"] = json!("critical");
        event
    };
    let held = ask_critical("0.5").await;
    send(&app, &Principal::operator(), critical("within", &held, 100_000)).await;
    assert_eq!(exempted(&app).await, []);
    let held = ask_critical("0.5").await;
    send(&app, &Principal::operator(), critical("far beyond", &held, 1_000_000)).await;
    assert_eq!(exempted(&app).await, [(json!("2.5"), json!(true))]);
    let held = ask_critical("0.01").await;
    send(&app, &Principal::operator(), critical("again", &held, 100_000)).await;
    roll_up(&stage, &app).await;
    assert_eq!(exempted(&app).await.len(), 2, "once each");
    assert!(exempted(&app).await.contains(&(json!("0.29"), json!(true))));
}

#[tokio::test]
async fn bud_3_a_reservation_admits_nothing_where_it_has_no_room_nor_after_it_was_settled() {
    let stage = stage().await;
    let app = stage.alone();
    let operator = Principal::operator();
    let lowered = format!("{ORGANISATION}{BUDGETS}").replace("limit = \"3\"", "limit = \"0.01\"");
    let held = ask(&app, money("1", json!({ "team": "marketing" }))).await.reservation_id.unwrap();
    let early = ask(&app, money("0.50", support())).await.reservation_id.unwrap();
    app.apply_organisation(&lowered, Some("2026-11-10".parse().unwrap()), false).await.unwrap();
    send(&app, &operator, event("of marketing's", Some(&held))).await;
    assert_eq!(causes(&month_row(&app).await), [("not-asked", "0.02".to_owned())]);
    let mut root = below("root", "", Some(&early), support());
    root.as_object_mut().unwrap().remove("parent_id");
    send(&app, &operator, root).await;
    stage.clock.pass_minutes(1);
    send(&app, &operator, below("after it", "root", None, support())).await;
    let row = month_row(&app).await;
    assert_eq!(row.posted, amount("0.09"));
    // 0.02 admitted beyond the limit of 0.01; the rest in equal parts.
    let found = causes(&row);
    assert_eq!(
        found,
        [("not-asked", "0.03".into()), ("reported-late", "0.03".into()), ("admitted", "0.02".to_owned())]
    );
}

#[tokio::test]
async fn bud_3_a_correction_has_the_reservation_of_what_it_corrects() {
    let stage = stage().await;
    let app = stage.alone();
    let held = ask(&app, money("0.02", support())).await.reservation_id.unwrap();
    let lowered = format!("{ORGANISATION}{BUDGETS}").replace("limit = \"3\"", "limit = \"0.02\"");
    let in_trace = |id: &str, reservation: Option<&str>| {
        let mut event = event(id, reservation);
        event["trace_id"] = json!("tr-1");
        event
    };
    send(&app, &Principal::operator(), in_trace("first", Some(&held))).await;
    app.apply_organisation(&lowered, Some("2026-11-10".parse().unwrap()), false).await.unwrap();
    assert_eq!(causes(&month_row(&app).await), [("above-estimate", "0.01".to_owned())]);
    stage.clock.pass_minutes(60);
    let mut correction = in_trace("corrected", None);
    correction["supersedes"] = json!("first");
    correction["usage"] = json!({ "input": 20_000 });
    send(&app, &Principal::operator(), correction).await;
    assert_eq!(causes(&month_row(&app).await), [("above-estimate", "0.04".to_owned())]);
}
