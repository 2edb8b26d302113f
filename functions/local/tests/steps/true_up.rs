//! A budget that is new counts the days before it in steps that are bounded, whoever takes them and wherever one ends.

use std::sync::atomic::Ordering;

use recoup_money::Amount;
use recoup_workflows::Principal;
use recoup_workflows::budgets::RECOUNTED_DAYS_MAX;
use recoup_workflows::nightly::{SettleStep, Through};
use serde_json::{Value, json};

use crate::rollup::{BUDGETS, counters};
use crate::stage::{ORGANISATION, Stage};

/// UTC days that have blocks, and those that the local days of a night reach into.
const DAYS: usize = 13 + 14;

/// Blocks of the long day.
const BLOCKS: usize = 100;

/// A month that a night has run, and budgets that came after it.
async fn with_new_budgets() -> Stage {
    with_new_budgets_over(Stage::new().await).await
}

async fn with_new_budgets_over(stage: Stage) -> Stage {
    let app = stage.process();
    app.nightly(&Principal::operator(), &app.new_run().unwrap(), Through::All).await.unwrap();
    // A team that there was not makes the nights run again: who names it pays from now on.
    let file = format!("{ORGANISATION}{BUDGETS}[[teams]]\nid = \"new\"\n");
    app.apply_organisation(&file, Some("2026-10-01".parse().unwrap()), false).await.unwrap();
    assert!(counters(&stage).await.iter().all(|counter| counter.is_zero()), "nothing was counted");
    stage
}

/// Plans a night and does its parts.
async fn up_to_settling(stage: &Stage) -> String {
    let app = stage.process();
    let run = app.new_run().unwrap();
    let plan = app.night_plan(&Principal::operator(), &run, Through::All).await.unwrap();
    for part in 0..plan.parts {
        app.night_part(&run, part).await.unwrap();
    }
    run
}

/// What a process of its own books counts in one go, and what it says of the night.
async fn in_one_go() -> (Vec<Amount>, Value) {
    let stage = with_new_budgets().await;
    let app = stage.alone();
    let outcome = app.nightly(&Principal::operator(), &app.new_run().unwrap(), Through::All).await.unwrap();
    assert_eq!(outcome["days"].as_array().unwrap().len(), 13, "{outcome}");
    let counters = counters(&stage).await;
    assert!(!counters[0].is_zero());
    assert_eq!(Amount::checked_sum(counters[3..17].iter().copied()), Some(counters[0]), "the days are the month");
    (counters, outcome)
}

/// Each step by another process: how many days each has left, and the outcome.
async fn in_steps(stage: &Stage, run: &str) -> (Vec<usize>, Value) {
    let mut left = Vec::new();
    loop {
        match stage.process().night_settle_step(run).await.unwrap() {
            SettleStep::Left(days) => left.push(days),
            SettleStep::Done(outcome) => return (left, outcome),
        }
    }
}

#[tokio::test]
async fn bud_1_a_new_budget_counts_the_days_before_it_in_bounded_steps() {
    let (expected, outcome) = in_one_go().await;
    let stage = with_new_budgets().await;
    let run = up_to_settling(&stage).await;
    let (left, found) = in_steps(&stage, &run).await;
    let bounded: Vec<usize> = (1..).map(|step| step * RECOUNTED_DAYS_MAX).take_while(|done| *done < DAYS).collect();
    assert_eq!(left, bounded.iter().map(|done| DAYS - done).collect::<Vec<_>>(), "each step does so many days");
    assert!(left.len() >= 3, "{left:?}");
    assert_eq!((counters(&stage).await, found), (expected.clone(), outcome.clone()));
    assert_eq!(in_steps(&stage, &run).await, (Vec::new(), outcome), "taken again, it gives the same");
    let (left, _) = in_steps(&stage, &up_to_settling(&stage).await).await;
    assert!(left.is_empty(), "the next night has nothing to count: {left:?}");
    assert_eq!(counters(&stage).await, expected);
}

#[tokio::test]
async fn bud_1_a_step_that_ends_anywhere_loses_no_day_that_was_noted() {
    let (expected, outcome) = in_one_go().await;
    let mut before = usize::MAX;
    let mut crashes = 0;
    for writes in (0..).step_by(3) {
        let stage = with_new_budgets().await;
        let run = up_to_settling(&stage).await;
        let has_lived = stage.dying_process(writes).night_settle(&run).await.is_ok();
        let (left, found) = in_steps(&stage, &run).await;
        assert_eq!(counters(&stage).await, expected, "after {writes} writes");
        assert_eq!(found, outcome, "after {writes} writes");
        let first = left.first().map_or(0, |left| left + RECOUNTED_DAYS_MAX);
        assert!(first <= before, "after {writes} writes {first} days were left, and {before} before");
        before = first;
        if has_lived {
            break;
        }
        crashes += 1;
    }
    assert!(crashes > DAYS / 3, "{crashes} crashes are fewer than the days");
    assert_eq!(before, 0);
}

/// The scopes of a run that failed are counted on by the next.
#[tokio::test]
async fn bud_1_a_night_goes_on_counting_where_one_that_failed_was() {
    let (expected, _) = in_one_go().await;
    let stage = with_new_budgets().await;
    let run = up_to_settling(&stage).await;
    let app = stage.process();
    assert_eq!(app.night_settle_step(&run).await.unwrap(), SettleStep::Left(DAYS - RECOUNTED_DAYS_MAX));
    app.run_failed(&run, "nightly", "it took too long").await.unwrap();
    let next = up_to_settling(&stage).await;
    let (left, _) = in_steps(&stage, &next).await;
    assert!(left.is_empty(), "what is left of thirteen days is less than a step does: {left:?}");
    assert_eq!(counters(&stage).await, expected);
}

/// A month with a day of so many blocks that a step that takes long does not come through them.
async fn with_a_long_day() -> Stage {
    let stage = Stage::new().await;
    let app = stage.alone();
    for number in 0..BLOCKS {
        let event = json!({
            "event_id": format!("long-{number}"), "used_at": "2026-10-20T12:00:00Z", "kind": "llm", "provider": "example",
            "model": "known", "usage": { "input": 1_000 }, "tags": { "team": "support" },
        });
        stage.ingest(&app, &[event]).await;
    }
    with_new_budgets_over(stage).await
}

#[tokio::test]
async fn bud_1_a_step_that_takes_long_stops_within_a_day_and_the_next_goes_on_there() {
    let whole = with_a_long_day().await;
    let app = whole.alone();
    app.nightly(&Principal::operator(), &app.new_run().unwrap(), Through::All).await.unwrap();
    let stage = with_a_long_day().await;
    let run = up_to_settling(&stage).await;
    // Every look at the clock finds it six minutes on: a step has no time for more than it begins with.
    stage.clock.step_ns.store(6 * 60 * 1_000_000_000, Ordering::SeqCst);
    let (left, _) = in_steps(&stage, &run).await;
    stage.clock.step_ns.store(1_000, Ordering::SeqCst);
    assert!((20..50).contains(&left.len()), "no step does more than a day: {left:?}");
    assert!(left.windows(2).any(|two| two[0] == two[1]), "a day that takes several steps: {left:?}");
    assert!(left.is_sorted_by(|one, next| one >= next), "{left:?}");
    assert_eq!(counters(&stage).await, counters(&whole).await);
}

/// EVT-2, BUD-1: a call that a gateway and an SDK report counts once, also where the SDK's trace goes on the next day.
#[tokio::test]
async fn evt_2_a_recount_counts_a_call_reported_twice_once_however_long_its_trace_is() {
    let call = |event: &str, trace: &str, parent: Option<&str>, at: &str| {
        json!({
            "event_id": event, "trace_id": trace, "parent_id": parent, "used_at": at, "kind": "llm", "provider": "example",
            "model": "known", "response_id": "r1", "usage": { "input": 1_000, "output": 0 },
            "tags": { "agent": "triage", "team": "support" },
        })
    };
    let root = |at: &str| {
        json!({
            "event_id": "root", "trace_id": "sdk", "used_at": at, "kind": "agent",
            "tags": { "agent": "triage", "team": "support" },
        })
    };
    let counted = async |events: &[Value]| {
        let stage = Stage::bare();
        let app = stage.alone();
        app.apply_organisation(&format!("{ORGANISATION}{BUDGETS}"), None, false).await.unwrap();
        stage.ingest(&app, events).await;
        for _ in 0..2 {
            app.nightly(&Principal::operator(), &app.new_run().unwrap(), Through::All).await.unwrap();
        }
        counters(&stage).await[0]
    };
    let [noon, next] = ["2026-10-06T12:00:00Z", "2026-10-07T12:00:00Z"];
    let gateway = call("g", "gateway", None, noon);
    let once = counted(std::slice::from_ref(&gateway)).await;
    assert!(!once.is_zero());
    for end in [noon, next] {
        let events = [gateway.clone(), call("c", "sdk", Some("root"), noon), root(end)];
        assert_eq!(counted(&events).await, once, "the root ends at {end}");
    }
}
