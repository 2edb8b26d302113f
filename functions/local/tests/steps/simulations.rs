//! Simulations where another process answers them: the same answer as on one machine, and nothing else is written.

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use recoup_http::{Access, InProcess, router};
use recoup_workflows::access::Role;
use recoup_workflows::nightly::Through;
use recoup_workflows::simulate::{MONTHS_DEFAULT, Months, SimulationRequest};
use recoup_workflows::{Principal, Refusal};
use serde_json::{Value, json};

use crate::api::{Elsewhere, ask, get};
use crate::stage::{Stage, closing, conflict};

/// A month with figures that is closed.
async fn closed() -> Stage {
    let stage = Stage::new().await;
    let here = stage.alone();
    here.close(&Principal::operator(), "close", closing(true)).await.unwrap();
    stage
}

fn wanted() -> Value {
    json!({ "policy": { "half_life_days": 3, "variance": "absorb" }, "months": 1 })
}

fn request() -> SimulationRequest {
    let policy = vec![("variance".to_owned(), "absorb".to_owned())];
    SimulationRequest { rate_card: None, policy, months: Months::Last(MONTHS_DEFAULT) }
}

fn service(stage: &Stage, jobs: Elsewhere) -> (Router, Arc<Elsewhere>) {
    let jobs = Arc::new(jobs);
    (router(stage.process(), Access::Operator, jobs.clone()), jobs)
}

/// Every record of the books but for simulations.
fn records(stage: &Stage) -> Vec<(String, String, String)> {
    let database = rusqlite::Connection::open(stage.folder().join("recoup.sqlite3")).unwrap();
    let query = "SELECT partition, sort, value FROM books ORDER BY 1, 2";
    let mut statement = database.prepare(query).unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    let rows: Vec<(String, String, String)> = rows.map(Result::unwrap).collect();
    rows.into_iter().filter(|(partition, ..)| !partition.starts_with("simulations")).collect()
}

#[tokio::test]
async fn clo_5_another_process_answers_what_this_one_would() {
    let stage = closed().await;
    let here = stage.alone();
    let alone = router(here.clone(), Access::Operator, Arc::new(InProcess::new(here)));
    let answer = ask(&alone, "POST", "/v1/simulations", ("", &wanted())).await;
    assert_eq!(answer.status, StatusCode::OK);
    let before = records(&stage);
    assert!(before.len() > 50, "{}", before.len());

    let (shared, _) = service(&stage, Elsewhere { answers: Some(stage.process()), ..Elsewhere::default() });
    let there = ask(&shared, "POST", "/v1/simulations", ("", &wanted())).await;
    assert_eq!(there.status, StatusCode::OK);
    assert_eq!(there.body, answer.body);
    assert_eq!(records(&stage), before, "CLO-3: a simulation writes no figure and no run");

    let started = ask(&shared, "POST", "/v1/simulations?wait=false", ("", &wanted())).await;
    assert_eq!(started.status, StatusCode::ACCEPTED);
    let record = get(&shared, &started.location.unwrap()).await.json();
    assert_eq!((&record["state"], &record["kind"]), (&json!("done"), &json!("simulation")), "{record}");
    assert_eq!(record["outcome"], answer.json());
}

#[tokio::test]
async fn what_is_wrong_is_said_before_anything_is_kept() {
    let stage = closed().await;
    let (service, jobs) = service(&stage, Elsewhere::default());
    let wrong = json!({ "policy": { "agents.nobody.billing": "time" } });
    assert_eq!(ask(&service, "POST", "/v1/simulations", ("", &wrong)).await.status, StatusCode::BAD_REQUEST);
    assert!(jobs.started.lock().unwrap().is_empty());
    assert_eq!(get(&service, "/v1/simulations/nothing").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_simulation_that_cannot_be_started_or_answered_says_so() {
    let stage = closed().await;
    let (refusing, _) = service(&stage, Elsewhere { refuses: true, ..Elsewhere::default() });
    let refused = ask(&refusing, "POST", "/v1/simulations", ("", &wanted())).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);

    let (service, jobs) = service(&stage, Elsewhere::default());
    let started = ask(&service, "POST", "/v1/simulations?wait=false", ("", &wanted())).await;
    let run = jobs.started.lock().unwrap()[0]["run"].as_str().unwrap().to_owned();
    let path = started.location.unwrap();
    assert_eq!(get(&service, &path).await.json()["state"], "running");
    stage.process().simulation_failed(&run, "States.Timeout").await.unwrap();
    let record = get(&service, &path).await.json();
    assert_eq!((&record["state"], &record["error"]), (&json!("failed"), &json!("States.Timeout")), "{record}");
    let late = stage.process().answer_simulation(&run).await.unwrap();
    assert_eq!(late["state"], "failed", "what has ended is not answered again");
}

#[tokio::test]
async fn a_simulation_that_was_stopped_has_failed() {
    let stage = closed().await;
    let (service, _) = service(&stage, Elsewhere::default());
    let path = ask(&service, "POST", "/v1/simulations?wait=false", ("", &wanted())).await.location.unwrap();
    stage.clock.pass_minutes(5 * 60 - 1);
    assert_eq!(get(&service, &path).await.json()["state"], "running");
    stage.clock.pass_minutes(2);
    let record = get(&service, &path).await.json();
    assert_eq!((&record["state"], &record["error"]), (&json!("failed"), &json!("it was stopped; ask again")));
    assert!(record["finished_at"].as_str().unwrap().starts_with("2026-11-10T13:00:00"), "{record}");
    assert_eq!(get(&service, &path).await.json(), record, "whenever it is asked");
}

#[tokio::test]
async fn so_many_are_on_their_way_and_so_many_are_remembered() {
    let stage = closed().await;
    let app = stage.process();
    let ask =
        async |number: usize| app.ask_simulation(&Principal::operator(), &format!("{number:06}"), &request()).await;
    for number in 0..4 {
        ask(number).await.unwrap();
    }
    assert_eq!(conflict(ask(4).await).0, "too-many-simulations");
    for number in 0..4 {
        app.simulation_failed(&format!("{number:06}"), "x").await.unwrap();
    }
    for number in 5..30 {
        ask(number).await.unwrap();
        app.answer_simulation(&format!("{number:06}")).await.unwrap();
    }
    let known = async |number: usize| app.simulation(None, &format!("{number:06}")).await.is_ok();
    assert!(!known(9).await && known(10).await && known(29).await);
    let database = rusqlite::Connection::open(stage.folder().join("recoup.sqlite3")).unwrap();
    let query = "SELECT count(DISTINCT partition) FROM books WHERE partition LIKE 'simulations/%'";
    let texts: usize = database.query_row(query, [], |row| row.get(0)).unwrap();
    assert_eq!(texts, 20, "questions and answers go with their records");
}

#[tokio::test]
async fn a_simulation_waits_for_a_night_and_begins_again_after_one() {
    let stage = closed().await;
    let (operator, app) = (Principal::operator(), stage.process());
    app.ask_simulation(&operator, "s1", &request()).await.unwrap();
    let night = stage.process();
    let plan = night.night_plan(&operator, "n1", Through::All).await.unwrap();
    assert_eq!(conflict(app.answer_simulation("s1").await).0, "busy");
    for part in 0..plan.parts {
        night.night_part("n1", part).await.unwrap();
    }
    night.night_settle("n1").await.unwrap();
    assert_eq!(app.answer_simulation("s1").await.unwrap()["state"], "done");
}

#[tokio::test]
async fn a_lead_sees_the_own_team_alone() {
    let stage = closed().await;
    let app = stage.process();
    let lead = Principal { role: Role::Lead, team: Some("support".to_owned()), ..Principal::operator() };
    app.ask_simulation(&lead, "s1", &request()).await.unwrap();
    app.answer_simulation("s1").await.unwrap();
    let own = app.simulation(Some("support"), "s1").await.unwrap().outcome.unwrap();
    assert_eq!(own["teams"].as_array().unwrap().len(), 1, "{own}");
    assert!(matches!(app.simulation(Some("marketing"), "s1").await, Err(Refusal::NotFound(_))));
    assert!(app.simulation(None, "s1").await.is_ok());
}
