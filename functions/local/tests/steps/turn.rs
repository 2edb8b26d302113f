//! Whose turn it is.

use recoup_workflows::Principal;
use recoup_workflows::nightly::Through;

use crate::stage::{Stage, closing, conflict};

#[tokio::test]
async fn of_two_processes_that_want_the_turn_one_gets_it() {
    let stage = Stage::new().await;
    for _ in 0..5 {
        let (one, two) = (stage.process(), stage.process());
        let (run_one, run_two) = (one.new_run().unwrap(), two.new_run().unwrap());
        let operator = Principal::operator();
        let (first, second) = tokio::join!(
            one.night_plan(&operator, &run_one, Through::All),
            two.night_plan(&operator, &run_two, Through::All),
        );
        let (winner, refused) = match (first, second) {
            (Ok(plan), refused) | (refused, Ok(plan)) => (plan, refused),
            (first, second) => panic!("nobody got it: {first:?} {second:?}"),
        };
        let loser = if winner.run == run_one { &run_two } else { &run_one };
        let (kind, detail) = conflict(refused);
        assert_eq!(kind, "busy");
        assert!(detail.contains(&winner.run) && detail.contains("since 2026-11-10T08"), "{detail}");
        // The refused one goes on by trying again once the other has ended.
        assert!(stage.process().run(loser).await.unwrap().is_running());
        assert_eq!(conflict(stage.process().close_plan(&operator, loser, closing(false)).await).0, "busy");
        for part in 0..winner.parts {
            stage.process().night_part(&winner.run, part).await.unwrap();
        }
        stage.process().night_settle(&winner.run).await.unwrap();
        let plan = stage.process().night_plan(&operator, loser, Through::All).await.unwrap();
        assert_eq!(plan.parts, 0, "the other has done it all");
        stage.process().night_settle(loser).await.unwrap();
    }
}

#[tokio::test]
async fn an_expired_turn_is_taken_over() {
    let stage = Stage::new().await;
    let operator = Principal::operator();
    let (dead, next) = (stage.process().new_run().unwrap(), stage.process().new_run().unwrap());
    stage.process().night_plan(&operator, &dead, Through::All).await.unwrap();
    stage.clock.pass_minutes(15);
    // Every step renews it.
    stage.process().night_part(&dead, 0).await.unwrap();
    stage.clock.pass_minutes(15);
    assert_eq!(conflict(stage.process().night_plan(&operator, &next, Through::All).await).0, "busy");
    stage.clock.pass_minutes(6);
    let plan = stage.process().night_plan(&operator, &next, Through::All).await.unwrap();
    let (kind, detail) = conflict(stage.process().night_part(&dead, 1).await);
    assert_eq!(kind, "turn-lost");
    assert!(detail.contains(&next), "{detail}");
    assert_eq!(conflict(stage.process().night_settle(&dead).await).0, "turn-lost");
    let record = stage.process().run(&dead).await.unwrap();
    assert_eq!(record.state, "failed");
    assert_eq!(plan.parts, 12, "what the dead one had done stays done");
    for part in 0..plan.parts {
        stage.process().night_part(&next, part).await.unwrap();
    }
    stage.process().night_settle(&next).await.unwrap();
    assert!(stage.topic.ids().contains(&format!("night-failed-{dead}")), "{:?}", stage.topic.ids());
}

#[tokio::test]
async fn a_run_that_failed_gives_its_turn_back_and_may_begin_again() {
    let stage = Stage::new().await;
    let operator = Principal::operator();
    let (failed, next) = (stage.process().new_run().unwrap(), stage.process().new_run().unwrap());
    stage.process().close_plan(&operator, &failed, closing(true)).await.unwrap();
    stage.process().run_failed(&failed, "nightly", "States.Timeout").await.unwrap();
    stage.process().run_failed(&failed, "nightly", "told twice").await.unwrap();
    let record = stage.process().run(&failed).await.unwrap();
    assert_eq!((record.state.as_str(), record.error.unwrap().as_str().unwrap()), ("failed", "States.Timeout"));
    assert_eq!(stage.topic.ids(), [format!("close-failed-{failed}")]);
    stage.process().night_plan(&operator, &next, Through::All).await.unwrap();
    stage.process().run_failed(&next, "nightly", "out of memory").await.unwrap();
    let plan = stage.process().close_plan(&operator, &failed, closing(true)).await.unwrap();
    for part in 0..plan.parts {
        stage.process().close_check(&failed, part).await.unwrap();
    }
    assert_eq!(stage.process().close_issue(&failed).await.unwrap()["closed"], true);
}

/// One process of its own books waits, and a turn that it finds there was left by a process that died.
#[tokio::test]
async fn on_one_machine_runs_wait_for_each_other() {
    let stage = Stage::new().await;
    let operator = Principal::operator();
    let died = stage.alone();
    let dead = died.new_run().unwrap();
    died.night_plan(&operator, &dead, Through::All).await.unwrap();
    let app = stage.alone();
    let (night, close) = (app.new_run().unwrap(), app.new_run().unwrap());
    let (first, second) =
        tokio::join!(app.nightly(&operator, &night, Through::All), app.close(&operator, &close, closing(true)));
    first.unwrap();
    assert_eq!(second.unwrap()["closed"], true);
    assert_eq!(app.run(&dead).await.unwrap().state, "failed");
    let (runs, _) = app.list_runs(None, 10).await.unwrap();
    assert_eq!(runs.iter().map(|run| run.state.as_str()).collect::<Vec<_>>(), ["failed", "done", "done"]);
}

#[tokio::test]
async fn how_far_a_run_is_stands_in_the_books() {
    let stage = Stage::new().await;
    let (watcher, run) = (stage.process(), stage.process().new_run().unwrap());
    watcher.announce_run(&run, "nightly").await.unwrap();
    assert_eq!(watcher.run(&run).await.unwrap().doing, "waiting for its turn");
    stage.process().night_plan(&Principal::operator(), &run, Through::All).await.unwrap();
    stage.process().night_part(&run, 0).await.unwrap();
    stage.process().night_part(&run, 0).await.unwrap();
    let record = watcher.run(&run).await.unwrap();
    assert_eq!((record.state.as_str(), record.done, record.total), ("running", 1, 13));
    assert!(record.doing.starts_with("day 2026-10-"), "{}", record.doing);
}
