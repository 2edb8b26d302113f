//! BUD-3 while time passes: reservations expire, are made to live longer and end under racing callers, and what they held is
//! used again, by nobody twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use recoup_metering::Shape;
use recoup_money::Amount;
use recoup_store::{Balance, CounterKey};
use recoup_workflows::authorize::{AuthorizeRequest, Decision, Estimate};
use recoup_workflows::ingest::Listing;
use recoup_workflows::{App, Principal};
use serde_json::json;
use tokio::task::JoinSet;

use crate::stage::{ORGANISATION, Stage};

const BUDGETS: &str = r#"
[[budgets]]
scope = "organisation"
limit = "1000"
[[budgets]]
scope = "team:support"
limit = "1.5"
[[budgets]]
scope = "agent:triage"
limit = "40"
"#;

/// What a token costs, in picounits.
const TOKEN_PICO: i64 = 3_000_000;
/// Reservations of those who report live this long; the race is over before.
const REPORTED_TTL_S: u32 = 3_600;
/// Minutes that pass while it goes on.
const RACE_MINUTES: i64 = 40;

/// What callers know.
#[derive(Default)]
struct Known {
    allowed: AtomicUsize,
    denied: AtomicUsize,
    billed: AtomicI64,
}

/// Numbers that are as good as random and always the same.
fn mixed(seed: u64) -> u64 {
    let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

async fn balance(stage: &Stage, scope: &str) -> Balance {
    let key = CounterKey { scope: scope.into(), period: "2026-11".into() };
    stage.ports().leases.balances(&[key]).await.unwrap().pop().unwrap()
}

async fn report(app: &App, number: u64, (tokens, reservation): (i64, &str)) {
    let event = json!({
        "event_id": format!("e{number}"), "used_at": "2026-11-10T07:59:00Z", "kind": "llm", "provider": "example",
        "model": "known", "usage": { "input": tokens }, "tags": { "team": "support", "agent": "triage" },
        "reservation_id": reservation,
    });
    let body = event.to_string().into_bytes();
    let receipt = app.ingest(&Principal::operator(), &body, Shape::Json, Listing::All).await.unwrap();
    assert_eq!(receipt.accepted, 1, "{:?}", receipt.results);
}

/// Asks once, and then reports, gives back, lives longer and reports, or says nothing more.
async fn call(app: &App, number: u64, known: &Known) {
    let chance = mixed(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let most = i64::try_from(chance % 10_000).unwrap() + 1;
    let used = i64::try_from((chance >> 16) % 10_000).unwrap().min(most);
    let fate = (chance >> 32) % 100;
    let is_silent = fate >= 80;
    let operator = Principal::operator();
    let estimate = Amount::from_pico(i128::from(most) * i128::from(TOKEN_PICO));
    let request = AuthorizeRequest {
        tags: serde_json::from_value(json!({ "team": "support", "agent": "triage" })).unwrap(),
        estimate: Some(Estimate::Money { amount: estimate, currency: "USD".parse().unwrap() }),
        ttl_s: Some(if is_silent { 1 } else { REPORTED_TTL_S }),
        ..AuthorizeRequest::default()
    };
    let answer = app.authorize(&operator, request).await.unwrap();
    if answer.decision == Decision::Deny {
        known.denied.fetch_add(1, Ordering::SeqCst);
        return;
    }
    known.allowed.fetch_add(1, Ordering::SeqCst);
    let reservation = answer.reservation_id.unwrap();
    tokio::task::yield_now().await;
    let kept = match fate {
        0..50 => reservation,
        50..65 => app.extend_reservation(&operator, &reservation, 2 * REPORTED_TTL_S).await.unwrap().0,
        65..80 => return app.release(&operator, &reservation).await.unwrap(),
        // Its minute may have passed before it is made to live longer.
        80..90 => return drop(app.extend_reservation(&operator, &reservation, 60).await),
        _ => return,
    };
    report(app, number, (used, &kept)).await;
    known.billed.fetch_add(used * TOKEN_PICO, Ordering::SeqCst);
}

async fn race(callers: u64, rounds: u64) {
    let stage = Stage::bare();
    let app = stage.alone();
    app.apply_organisation(&format!("{ORGANISATION}{BUDGETS}"), None, false).await.unwrap();
    let known = Arc::new(Known::default());
    let mut calling = JoinSet::new();
    for caller in 0..callers {
        let (app, known) = (Arc::clone(&app), Arc::clone(&known));
        calling.spawn(async move {
            for round in 0..rounds {
                call(&app, round * callers + caller, &known).await;
            }
        });
    }
    let racing = tokio::spawn(calling.join_all());
    let limit: Amount = "1.5".parse().unwrap();
    let mut passed = 0;
    while !racing.is_finished() {
        if passed < RACE_MINUTES {
            passed += 1;
            stage.clock.pass_minutes(1);
        }
        app.sweep_leases().await.unwrap();
        let Balance { posted, .. } = balance(&stage, "team:support").await;
        assert!(posted <= limit, "overspent: {posted}");
    }
    racing.await.unwrap();
    let [allowed, denied] = [&known.allowed, &known.denied].map(|count| count.load(Ordering::SeqCst));
    assert!(allowed > 50 && denied > 0, "no race: {allowed} allowed, {denied} denied");
    stage.clock.pass_minutes(3 * 60);
    app.sweep_leases().await.unwrap();
    let billed = Amount::from_pico(i128::from(known.billed.load(Ordering::SeqCst)));
    for scope in ["organisation", "team:support", "agent:triage"] {
        let expected = Balance { posted: billed, reserved: Amount::ZERO };
        assert_eq!(balance(&stage, scope).await, expected, "{scope}: committed is what was billed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn bud_3_64_racing_callers_never_overspend_while_reservations_expire() {
    race(64, 8).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn bud_3_1000_racing_callers_never_overspend_while_reservations_expire() {
    race(1_000, 1).await;
}
