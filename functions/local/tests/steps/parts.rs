//! Parts in any order, repeated, and crashes between any two writes.

use std::sync::Arc;

use recoup_store::{Expect, Key, Write};
use recoup_workflows::explain::ExplainRequest;
use recoup_workflows::nightly::Through;
use recoup_workflows::queries::{DayRange, Dimension, Paging};
use recoup_workflows::{App, Principal, Refusal};
use serde_json::{Value, json};

use crate::stage::{Stage, closing, conflict, month};

async fn figures(app: &App) -> Value {
    let range = DayRange::new("2026-10-01".parse().unwrap(), "2026-11-01".parse().unwrap()).unwrap();
    let all = Paging { skip: 0, limit: 1_000 };
    let by =
        [Dimension::from_name("team"), Dimension::from_name("day"), Dimension::from_name("model")].map(Option::unwrap);
    let operator = Principal::operator();
    let costs = app.costs(&operator, range, &by, all).await.unwrap();
    let findings = app.findings(&operator, range, None, all).await.unwrap();
    let unpriced = app.unpriced(&operator, range, all).await.unwrap();
    json!({ "costs": costs, "findings": findings, "unpriced": unpriced, "periods": app.periods().await.unwrap() })
}

/// The digests of the facts of every night.
async fn facts(app: &App) -> Vec<Value> {
    let range = DayRange::new("2026-10-01".parse().unwrap(), "2026-11-01".parse().unwrap()).unwrap();
    let rows = app.night_manifests(&Principal::operator(), range, Paging { skip: 0, limit: 1_000 }).await.unwrap().rows;
    assert!(rows.iter().all(|row| row.get("rows").is_none()), "{rows:?}");
    rows.into_iter().map(|row| json!([row["day"], row["facts"], row["queries"], row["events"]])).collect()
}

/// A night whose parts are taken in a shuffled order, some of them twice, each by another process.
async fn night_in_parts(stage: &Stage, step: usize) -> Value {
    let run = stage.process().new_run().unwrap();
    let plan = stage.process().night_plan(&Principal::operator(), &run, Through::All).await.unwrap();
    assert!(plan.parts > 10, "{plan:?}");
    assert_eq!(stage.process().night_plan(&Principal::operator(), &run, Through::All).await.unwrap(), plan);
    for number in 0..plan.parts {
        let part = number * step % plan.parts;
        let done = stage.process().night_part(&run, part).await.unwrap();
        if number % 3 == 0 {
            assert_eq!(stage.process().night_part(&run, part).await.unwrap(), done, "done again");
        }
    }
    let settled = stage.process().night_settle(&run).await.unwrap();
    assert_eq!(stage.process().night_settle(&run).await.unwrap(), settled, "settled again");
    settled
}

#[tokio::test]
async fn a_night_in_shuffled_parts_is_the_night_in_one_go() {
    let (whole, parted) = (Stage::new().await, Stage::new().await);
    let app = whole.alone();
    let in_one = app.nightly(&Principal::operator(), &app.new_run().unwrap(), Through::All).await.unwrap();
    let in_parts = night_in_parts(&parted, 7).await;
    assert_eq!(in_parts, in_one);
    assert_eq!(in_one["days"].as_array().unwrap().len(), 13);
    assert_eq!(facts(&parted.process()).await, facts(&app).await);
    assert_eq!(figures(&parted.process()).await, figures(&app).await);

    let run = app.new_run().unwrap();
    assert_eq!(app.close(&Principal::operator(), &run, closing(false)).await.unwrap()["closed"], true);
    close_in_parts(&parted, false).await.unwrap();
    assert_eq!(parted.issued().await, whole.issued().await);
}

async fn close_in_parts(stage: &Stage, missing: bool) -> Result<Value, Refusal> {
    let run = stage.process().new_run()?;
    let plan = stage.process().close_plan(&Principal::operator(), &run, closing(missing)).await?;
    for part in (0..plan.parts).rev() {
        stage.process().close_check(&run, part).await?;
    }
    stage.process().close_issue(&run).await
}

#[tokio::test]
async fn parts_of_one_night_may_be_done_at_the_same_time() {
    let (whole, parted) = (Stage::new().await, Stage::new().await);
    let app = whole.alone();
    app.nightly(&Principal::operator(), &app.new_run().unwrap(), Through::All).await.unwrap();
    let run = app.new_run().unwrap();
    let plan = parted.process().night_plan(&Principal::operator(), &run, Through::All).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    // Every part twice at once: whoever comes second may be refused, and does it again.
    for part in (0..plan.parts).chain(0..plan.parts) {
        let (process, run) = (parted.process(), run.clone());
        tasks.spawn(async move {
            let first = process.night_part(&run, part).await;
            if first.is_err() { process.night_part(&run, part).await } else { first }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap().unwrap();
    }
    parted.process().night_settle(&run).await.unwrap();
    assert_eq!(facts(&parted.process()).await, facts(&app).await);
    assert_eq!(figures(&parted.process()).await, figures(&app).await);
    let record = parted.process().run(&run).await.unwrap();
    assert_eq!((record.done, record.total, record.state.as_str()), (13, 13, "done"));
}

/// Whoever comes second to the ledger books nothing twice.
#[tokio::test]
async fn led_1_a_night_that_two_settle_at_once_is_booked_once() {
    let (whole, twice) = (Stage::new().await, Stage::new().await);
    let app = whole.alone();
    app.nightly(&Principal::operator(), &app.new_run().unwrap(), Through::All).await.unwrap();
    let run = app.new_run().unwrap();
    let plan = twice.process().night_plan(&Principal::operator(), &run, Through::All).await.unwrap();
    for part in 0..plan.parts {
        twice.process().night_part(&run, part).await.unwrap();
    }
    let [one, other] = twice.meeting_processes();
    let (first, second) = tokio::join!(one.night_settle(&run), other.night_settle(&run));
    assert!(first.is_ok() || second.is_ok(), "{first:?} {second:?}");
    let balances = |app: Arc<App>| async move { app.balances(month()).await.unwrap() };
    assert_eq!(balances(twice.process()).await.accounts(), balances(app).await.accounts());
    let outcome = twice.process().night_settle(&run).await.unwrap();
    assert_eq!(twice.process().run(&run).await.unwrap().state, "done", "{outcome}");
}

#[tokio::test]
async fn a_night_settles_only_when_every_part_is_done() {
    let stage = Stage::new().await;
    let (app, run) = (stage.process(), stage.process().new_run().unwrap());
    let plan = app.night_plan(&Principal::operator(), &run, Through::All).await.unwrap();
    for part in 1..plan.parts {
        app.night_part(&run, part).await.unwrap();
    }
    let (kind, detail) = conflict(app.night_settle(&run).await);
    assert_eq!(kind, "parts-not-done");
    assert!(detail.contains("1 of the 13 parts") && detail.contains("such as 0"), "{detail}");
    assert!(app.periods().await.unwrap().is_empty(), "nothing is settled");
    assert!(app.night_part(&run, plan.parts).await.is_err(), "there is no such part");
    app.night_part(&run, 0).await.unwrap();
    app.night_settle(&run).await.unwrap();
    assert_eq!(conflict(app.night_part(&run, 0).await).0, "turn-lost");
}

/// CLO-1: what the check of a close finds stands against it, whoever found it.
#[tokio::test]
async fn clo_1_a_close_is_issued_only_when_every_part_is_checked() {
    let stage = Stage::new().await;
    night_in_parts(&stage, 3).await;
    let (app, run) = (stage.process(), stage.process().new_run().unwrap());
    let plan = app.close_plan(&Principal::operator(), &run, closing(false)).await.unwrap();
    assert_eq!(plan.parts, 32, "a part for each UTC day of the local month");
    assert_eq!(conflict(app.close_issue(&run).await).0, "parts-not-done");
    stage.damage_a_block();
    for part in 0..plan.parts {
        stage.process().close_check(&run, part).await.unwrap();
    }
    let outcome = stage.process().close_issue(&run).await.unwrap();
    assert_eq!(outcome["closed"], false, "{outcome}");
    let kinds: Vec<&str> =
        outcome["findings"].as_array().unwrap().iter().filter_map(|finding| finding["kind"].as_str()).collect();
    assert!(kinds.contains(&"block_unreadable"), "{kinds:?}");
}

/// A process that dies before any of its writes, and others that take the same steps again: the same statements.
#[tokio::test]
async fn clo_4_a_crash_before_any_write_changes_no_figure() {
    let whole = Stage::new().await;
    let app = whole.alone();
    app.nightly(&Principal::operator(), &app.new_run().unwrap(), Through::All).await.unwrap();
    app.close(&Principal::operator(), &app.new_run().unwrap(), closing(false)).await.unwrap();
    let expected = whole.issued().await;
    let mut survived = 0;
    for writes in (0..).step_by(2) {
        let stage = Stage::new().await;
        let (night, close) = (stage.process().new_run().unwrap(), stage.process().new_run().unwrap());
        let dying = stage.dying_process(writes);
        let lived = go(&dying, &night, &close).await.is_ok();
        // The same steps again, by a process that lives.
        let again = go(&stage.process(), &night, &close).await.unwrap();
        assert_eq!(again["closed"], true, "after {writes} writes: {again}");
        assert_eq!(stage.issued().await, expected, "after {writes} writes");
        let mut ids = stage.topic.ids();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 3, "two statements and a model, told at least once: {ids:?}");
        survived += 1;
        if lived {
            break;
        }
    }
    assert!(survived > 12, "{survived}");
}

async fn go(app: &Arc<App>, night: &str, close: &str) -> Result<Value, Refusal> {
    let plan = app.night_plan(&Principal::operator(), night, Through::All).await?;
    for part in 0..plan.parts {
        app.night_part(night, part).await?;
    }
    app.night_settle(night).await?;
    let plan = app.close_plan(&Principal::operator(), close, closing(false)).await?;
    for part in 0..plan.parts {
        app.close_check(close, part).await?;
    }
    app.close_issue(close).await
}

/// Missing nights are parts of the close, in whatever order; what only queries need the next night makes.
#[tokio::test]
async fn a_close_runs_its_missing_nights_in_parts() {
    let (whole, parted) = (Stage::new().await, Stage::new().await);
    let app = whole.alone();
    let outcome = app.close(&Principal::operator(), &app.new_run().unwrap(), closing(true)).await.unwrap();
    assert_eq!(outcome["closed"], true, "{outcome}");
    assert_eq!(close_in_parts(&parted, true).await.unwrap()["closed"], true);
    assert_eq!(parted.issued().await, whole.issued().await);
    let night = night_in_parts(&parted, 5).await;
    assert_eq!(night["days"].as_array().unwrap().len(), 13, "{night}");
    assert_eq!(parted.issued().await.1, whole.issued().await.1, "statement {}", month());
}

/// Events that come while a close is on its way are late for it, and its statements hold.
#[tokio::test]
async fn led_4_events_that_come_between_the_steps_of_a_close_are_late() {
    let stage = Stage::new().await;
    let run = stage.process().new_run().unwrap();
    let plan = stage.process().close_plan(&Principal::operator(), &run, closing(true)).await.unwrap();
    let late = json!({
        "event_id": "late", "used_at": "2026-10-09T12:00:00Z", "kind": "llm", "provider": "example", "model": "known",
        "usage": { "input": 1_000_000 }, "tags": { "team": "marketing" },
    });
    stage.ingest(&stage.process(), &[late]).await;
    for part in 0..plan.parts {
        stage.process().close_check(&run, part).await.unwrap();
    }
    let outcome = stage.process().close_issue(&run).await.unwrap();
    assert_eq!(outcome["closed"], true, "{outcome}");
    let expected = Stage::new().await;
    let app = expected.alone();
    app.close(&Principal::operator(), &app.new_run().unwrap(), closing(true)).await.unwrap();
    assert_eq!(stage.issued().await, expected.issued().await);
    for statement in stage.issued().await.1 {
        let found = stage.process().verify(&Principal::operator(), &statement).await.unwrap();
        assert_eq!(found["holds"], true, "{found}");
    }
    let night = night_in_parts(&stage, 1).await;
    let day = night["days"].as_array().unwrap().iter().find(|row| row["day"] == "2026-10-09").unwrap();
    assert_eq!(day["changed"], true, "{day}");
}

/// Takes away what queries read of every night, as an upgrade to another form does.
async fn forget_queries(stage: &Stage) {
    let books = stage.ports().books;
    for night in books.scan("nights", "", None, 100).await.unwrap().records {
        let mut record: Value = serde_json::from_str(&night.value).unwrap();
        assert!(record.as_object_mut().unwrap().remove("queries_form").is_some(), "{record}");
        let put = Write::Put { key: night.key, value: record.to_string(), expect: Expect::Any, until_s: None };
        books.write(vec![put]).await.unwrap();
        let partition = format!("facts/{}/000", record["day"].as_str().unwrap());
        let sorts = books.names(&partition, "", None, 1_000).await.unwrap().sorts;
        let (fine, kept): (Vec<_>, Vec<_>) =
            sorts.into_iter().partition(|sort| sort.contains("/cells/") || sort.contains("/users/"));
        assert!(!fine.is_empty() && !kept.is_empty(), "{fine:?} {kept:?}");
        let gone = |sort| Write::Delete { key: Key::new(partition.clone(), sort), expect: Expect::Any };
        books.write(fine.into_iter().map(gone).collect()).await.unwrap();
    }
}

/// Until the next night has made them again queries make their own, from what nights have seen.
#[tokio::test]
async fn what_queries_read_in_the_form_of_an_earlier_release_is_made_again() {
    let stage = Stage::new().await;
    let run = async |app: &Arc<App>| {
        app.nightly(&Principal::operator(), &app.new_run().unwrap(), Through::All).await.unwrap()
    };
    run(&stage.process()).await;
    let outcome = stage.process();
    let closed = outcome.close(&Principal::operator(), &outcome.new_run().unwrap(), closing(false)).await.unwrap();
    assert_eq!(closed["closed"], true, "{closed}");
    let (shown, kept, issued) = (figures(&outcome).await, facts(&outcome).await, stage.issued().await);
    forget_queries(&stage).await;
    assert_eq!(figures(&stage.process()).await, shown, "made from the blocks");
    let late = json!({
        "event_id": "late", "used_at": "2026-10-09T12:00:00Z", "kind": "llm", "provider": "example", "model": "known",
        "usage": { "input": 1_000_000 }, "tags": { "team": "marketing" },
    });
    stage.ingest(&stage.process(), &[late]).await;
    assert_eq!(figures(&stage.process()).await, shown, "no night has seen it");
    let statement: Value = serde_json::from_slice(&issued.1[0]).unwrap();
    let team = statement["team"].as_str().unwrap().to_owned();
    let line = ExplainRequest { period: month(), team, line: 1, rows: 10, traces: 10 };
    let explained = stage.process().explain(&Principal::operator(), &line).await;
    assert!(explained.is_ok(), "{explained:?}");
    let night = run(&stage.process()).await;
    assert_eq!(night["days"].as_array().unwrap().len(), 13, "every night has made them again: {night}");
    assert_eq!(stage.issued().await, issued);
    let again = facts(&stage.process()).await;
    let others = |facts: &[Value]| facts.iter().filter(|row| row[0] != "2026-10-09").cloned().collect::<Vec<_>>();
    assert_eq!(others(&again), others(&kept));
    assert_ne!(again, kept, "the late event");
}
