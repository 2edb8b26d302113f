//! Runs of a process that is about to end.

use std::sync::Arc;
use std::time::Duration;

use recoup_http::{InProcess, Jobs};
use recoup_workflows::nightly::Through;
use recoup_workflows::{Job, Principal};

use crate::stage::Stage;

const MOMENT: Duration = Duration::from_millis(200);

#[tokio::test]
async fn a_run_is_cut_and_recorded_whoever_waits_for_it_and_others_may_begin_until_then() {
    let stage = Stage::new().await;
    let app = stage.alone();
    let jobs = Arc::new(InProcess::new(app.clone()));
    // It has the turn, so that the others wait.
    let planned = app.new_run().unwrap();
    app.night_plan(&Principal::operator(), &planned, Through::All).await.unwrap();
    let [watched, unwatched] = [app.new_run().unwrap(), app.new_run().unwrap()];
    for run in [&watched, &unwatched] {
        app.announce_run(run, "nightly").await.unwrap();
        jobs.start(run, &Job::Nightly(Through::All)).await.unwrap();
        // Somebody already waits for all of them when the next one begins.
        let (all, app) = (jobs.clone(), app.clone());
        tokio::spawn(async move { (all.all_ended().await, app) });
        assert!(tokio::time::timeout(MOMENT, jobs.all_ended()).await.is_err(), "it waits for its turn");
    }
    let (waiting, name, of) = (jobs.clone(), watched.clone(), app.clone());
    let waiting = tokio::spawn(async move { waiting.wait(&of, &name).await });
    tokio::time::sleep(MOMENT).await;

    jobs.cut().await;
    assert!(waiting.await.unwrap().is_err(), "who waited is told");
    let mut cut = app.cut_runs().await.unwrap();
    cut.sort_unstable();
    let mut all = [planned, watched, unwatched];
    all.sort_unstable();
    assert_eq!(cut, all);
    for run in &all {
        let record = app.run(run).await.unwrap();
        assert_eq!(record.state, "failed");
        assert!(record.error.unwrap().to_string().contains("was ended; the next run goes on"));
    }
    let next = app.nightly(&Principal::operator(), &app.new_run().unwrap(), Through::All).await.unwrap();
    assert!(!next["days"].as_array().unwrap().is_empty(), "{next}");
    assert!(app.cut_runs().await.unwrap().is_empty());
}
