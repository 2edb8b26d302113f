//! The command line against a server whose jobs are run by other processes, step by step.

use std::process::{Command, Output};
use std::sync::Arc;

use async_trait::async_trait;
use recoup_http::{Access, Jobs, router};
use recoup_workflows::access::make_admin_key;
use recoup_workflows::{App, Job, Principal, Refusal};
use serde_json::Value;

use crate::stage::{ORGANISATION, Stage, events};

/// Takes the steps of each job like a state machine: every one by another process.
struct StateMachine(Arc<Stage>);

async fn steps(stage: &Stage, run: &str, job: Job) -> Result<(), Refusal> {
    let operator = Principal::operator();
    match job {
        Job::Nightly(through) => {
            for part in 0..stage.process().night_plan(&operator, run, through).await?.parts {
                stage.process().night_part(run, part).await?;
            }
            stage.process().night_settle(run).await?;
        }
        Job::Close(request) => {
            for part in 0..stage.process().close_plan(&operator, run, request).await?.parts {
                stage.process().close_check(run, part).await?;
            }
            stage.process().close_issue(run).await?;
        }
    }
    Ok(())
}

#[async_trait]
impl Jobs for StateMachine {
    async fn start(&self, run: &str, job: &Job) -> Result<(), Refusal> {
        let (stage, run, job) = (Arc::clone(&self.0), run.to_owned(), job.clone());
        tokio::spawn(async move {
            if let Err(error) = steps(&stage, &run, job).await {
                stage.process().run_failed(&run, "close", &error.to_string()).await.unwrap();
            }
        });
        Ok(())
    }

    async fn simulate(&self, run: &str) -> Result<(), Refusal> {
        let (stage, run) = (Arc::clone(&self.0), run.to_owned());
        tokio::spawn(async move { stage.process().answer_simulation(&run).await.map(drop).unwrap() });
        Ok(())
    }
}

/// A deployment: its address and the admin key that it was given.
async fn deployment(stage: &Arc<Stage>) -> (String, String) {
    let made = make_admin_key().unwrap();
    let app = App::new(stage.ports(), [7; 32], 1).sharing(true);
    let app = Arc::new(app.with_admin_key(&made.id, &made.digest).unwrap());
    let service = router(app, Access::Keys, Arc::new(StateMachine(Arc::clone(stage))));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, service).into_future());
    (url, made.key)
}

async fn recoup(place: &(String, String), arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_recoup"));
    command.args(["--server", &place.0, "--key", &place.1]).args(arguments).env_remove("RUST_LOG");
    for name in ["RECOUP_DATA", "RECOUP_SERVER", "RECOUP_KEY"] {
        command.env_remove(name);
    }
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

/// What a verb prints, where it has to end well.
async fn said(place: &(String, String), arguments: &[&str]) -> String {
    let output = recoup(place, arguments).await;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "recoup {arguments:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_verb_works_where_jobs_are_run_elsewhere() {
    let stage = Arc::new(Stage::bare());
    let place = deployment(&stage).await;
    let file = |name: &str, text: &str| {
        let path = stage.folder().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let organisation = file("recoup.toml", ORGANISATION);
    assert!(said(&place, &["apply", &organisation, "--yes"]).await.contains("applied: version 1, for all time"));
    let key = said(&place, &["keys", "create", "--role", "ingest"]).await;
    let ingest = (place.0.clone(), key.trim().to_owned());
    let lines: String = events().iter().map(|event| format!("{event}\n")).collect();
    said(&ingest, &["ingest", &file("events.ndjson", &lines)]).await;
    assert!(said(&place, &["nightly", "--all"]).await.contains("2026-10-09"));
    assert!(said(&place, &["costs", "--month", "2026-10", "--json"]).await.contains("marketing"));
    assert!(said(&place, &["trace", "t3"]).await.contains("guardrail"));
    assert!(said(&place, &["prices", "list", "sonnet"]).await.contains("sonnet"));
    assert!(said(&place, &["close", "2026-10", "--plan"]).await.contains("a plan: nothing was written"));
    assert!(said(&place, &["close", "2026-10"]).await.contains("2026-10-support"));
    let statement = said(&place, &["statement", "support", "2026-10", "--format", "json"]).await;
    let stated: Value = serde_json::from_str(&statement).unwrap();
    assert_eq!(stated["statement"], "2026-10-support");
    assert!(said(&place, &["verify", &file("support.json", &statement)]).await.contains("holds"));
    let runs = said(&place, &["runs"]).await;
    assert_eq!(runs.matches(" done ").count(), 3, "{runs}");
    assert!(said(&place, &["simulate", "--policy", "variance=absorb"]).await.contains("support"));

    // Somebody else has the turn: the run fails and says whose it is.
    let other = stage.process();
    let run = other.new_run().unwrap();
    other.night_plan(&Principal::operator(), &run, recoup_workflows::nightly::Through::All).await.unwrap();
    let refused = recoup(&place, &["nightly"]).await;
    let stderr = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(3), "{stderr}");
    assert!(stderr.contains(&run) && stderr.contains("has the turn since"), "{stderr}");
}
