//! The API where jobs are run by other processes, and documents have addresses.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use recoup_http::{Access, Counted, InProcess, Jobs, router};
use recoup_store::{Documents, PutOutcome, StoreError};
use recoup_workflows::access::make_admin_key;
use recoup_workflows::{App, Job, Ports, Refusal};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::stage::Stage;

/// Remembers what it is told to start; somebody else would do it.
#[derive(Default)]
pub(crate) struct Elsewhere {
    pub(crate) started: Mutex<Vec<Value>>,
    pub(crate) refuses: bool,
    /// Answers simulations at once, as another process.
    pub(crate) answers: Option<Arc<App>>,
}

#[async_trait]
impl Jobs for Elsewhere {
    async fn start(&self, run: &str, job: &Job) -> Result<(), Refusal> {
        if self.refuses {
            return Err(StoreError::unavailable("start an execution", "throttled").into());
        }
        self.started.lock().unwrap().push(job.first_step(run));
        Ok(())
    }

    async fn simulate(&self, run: &str) -> Result<(), Refusal> {
        if self.refuses {
            return Err(StoreError::unavailable("start an execution", "throttled").into());
        }
        self.started.lock().unwrap().push(json!({ "run": run }));
        match &self.answers {
            Some(other) => other.answer_simulation(run).await.map(drop),
            None => Ok(()),
        }
    }

    async fn wait(&self, app: &App, run: &str) -> Result<bool, Refusal> {
        Ok(!app.run(run).await?.is_running())
    }
}

/// Documents with addresses.
struct Linked(Arc<dyn Documents>);

#[async_trait]
impl Documents for Linked {
    async fn put_once(&self, path: &str, bytes: Vec<u8>) -> Result<PutOutcome, StoreError> {
        self.0.put_once(path, bytes).await
    }

    async fn get(&self, path: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.get(path).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<String>, StoreError> {
        self.0.list(prefix, after, limit).await
    }

    async fn link(&self, path: &str, seconds: u64) -> Result<Option<String>, StoreError> {
        Ok(Some(format!("https://documents.example/{path}?for={seconds}")))
    }
}

pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    pub(crate) location: Option<String>,
    counted: Option<Counted>,
    pub(crate) body: Vec<u8>,
}

impl Answered {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

pub(crate) async fn ask(service: &Router, method: &str, path: &str, (key, body): (&str, &Value)) -> Answered {
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    let request = Request::builder().method(method).uri(path).header("authorization", format!("Bearer {key}"));
    let response = service.clone().oneshot(request.body(body).unwrap()).await.unwrap();
    let location = response.headers().get("location").map(|value| value.to_str().unwrap().to_owned());
    let counted = response.extensions().get::<Counted>().copied();
    let status = response.status();
    Answered { status, location, counted, body: to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec() }
}

pub(crate) async fn get(service: &Router, path: &str) -> Answered {
    ask(service, "GET", path, ("", &Value::Null)).await
}

#[tokio::test]
async fn a_run_elsewhere_is_started_and_watched_in_the_books() {
    let stage = Stage::new().await;
    let jobs = Arc::new(Elsewhere::default());
    let service = router(stage.process(), Access::Operator, jobs.clone());
    let asked = json!({ "kind": "close", "period": "2026-10", "run_missing_nights": true });
    let started = ask(&service, "POST", "/v1/runs?wait=true", ("", &asked)).await;
    assert_eq!(started.status, StatusCode::ACCEPTED, "it still goes on after a bounded time");
    let run = started.json()["run"].as_str().unwrap().to_owned();
    assert_eq!(started.location, Some(format!("/v1/runs/{run}")));
    let step = jobs.started.lock().unwrap().remove(0);
    let wanted = json!({ "step": "plan", "run": run, "period": "2026-10", "plan": false, "run_missing_nights": true });
    assert_eq!(step, wanted);
    assert_eq!(get(&service, &format!("/v1/runs/{run}")).await.json()["state"], "running");

    // Other processes take the steps.
    let operator = recoup_workflows::Principal::operator();
    let plan = stage.process().close_plan(&operator, &run, crate::stage::closing(true)).await.unwrap();
    for part in 0..plan.parts {
        stage.process().close_check(&run, part).await.unwrap();
    }
    let outcome = stage.process().close_issue(&run).await.unwrap();
    let record = get(&service, &format!("/v1/runs/{run}")).await.json();
    assert_eq!((&record["state"], &record["outcome"]), (&json!("done"), &outcome));
    assert_eq!(get(&service, "/v1/runs").await.json()["rows"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_run_that_cannot_be_started_has_failed() {
    let stage = Stage::new().await;
    let jobs = Arc::new(Elsewhere { refuses: true, ..Elsewhere::default() });
    let service = router(stage.process(), Access::Operator, jobs);
    let refused = ask(&service, "POST", "/v1/runs", ("", &json!({ "kind": "nightly" }))).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    let rows = get(&service, "/v1/runs").await.json();
    assert_eq!(rows["rows"][0]["state"], "failed", "{rows}");
    assert_eq!(stage.topic.ids().len(), 1);
}

#[tokio::test]
async fn a_document_with_an_address_is_answered_by_it() {
    let stage = Stage::new().await;
    let here = stage.alone();
    let service = router(here.clone(), Access::Operator, Arc::new(InProcess::new(here)));
    assert_eq!(get(&service, "/v1/periods/2026-10/manifest").await.status, StatusCode::NOT_FOUND);
    let asked = json!({ "kind": "close", "period": "2026-10", "run_missing_nights": true });
    let closed = ask(&service, "POST", "/v1/runs?wait=true", ("", &asked)).await;
    assert_eq!(closed.status, StatusCode::OK);
    let closed = closed.json();
    let manifest = get(&service, "/v1/periods/2026-10/manifest?link=true").await;
    assert_eq!(manifest.status, StatusCode::OK, "a folder has no addresses");
    assert_eq!(closed["outcome"]["manifest"], json!(recoup_model::Digest::of(&manifest.body)));
    let statement = get(&service, "/v1/statements/2026-10/support?link=true").await;
    assert_eq!(statement.status, StatusCode::OK);
    assert_eq!(statement.json()["manifest"]["digest"], closed["outcome"]["manifest"]);

    let ports = stage.ports();
    let ports = Ports { documents: Arc::new(Linked(ports.documents.clone())), ..ports };
    let app = Arc::new(App::new(ports, [7; 32], 1));
    let service = router(app.clone(), Access::Operator, Arc::new(InProcess::new(app)));
    let there = get(&service, "/v1/statements/2026-10/support.json?link=true").await;
    assert_eq!(there.status, StatusCode::SEE_OTHER);
    let address = "https://documents.example/statements/2026-10/support/r1.json?for=300";
    assert_eq!(there.location.as_deref(), Some(address));
    let there = get(&service, "/v1/periods/2026-10/manifest?link=true").await;
    assert_eq!(there.location.unwrap(), "https://documents.example/statements/2026-10/manifest-r1.json?for=300");
    assert_eq!(get(&service, "/v1/statements/2026-10/support.csv?link=true").await.status, StatusCode::OK);
    assert_eq!(get(&service, "/v1/statements/2026-10/nobody?link=true").await.status, StatusCode::NOT_FOUND);
    assert_eq!(get(&service, "/v1/statements/2026-10/support").await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_first_admin_key_stands_in_no_books() {
    let stage = Stage::new().await;
    let made = make_admin_key().unwrap();
    let app = App::new(stage.ports(), [7; 32], 1).sharing(true);
    assert!(stage.process().authenticate(&made.key).await.is_err());
    let app = Arc::new(app.with_admin_key(&made.id, &made.digest).unwrap());
    let service = router(app, Access::Keys, Arc::new(Elsewhere::default()));
    let role = json!({ "role": "ingest", "team": "support" });
    let key = ask(&service, "POST", "/v1/keys", (&made.key, &role)).await;
    assert_eq!(key.status, StatusCode::CREATED);
    let ingest = key.json()["key"].as_str().unwrap().to_owned();
    let listed = ask(&service, "GET", "/v1/keys", (&made.key, &Value::Null)).await.json();
    assert_eq!(listed["rows"].as_array().unwrap().len(), 1, "only the one that was made: {listed}");

    let mut wrong = made.key.clone();
    wrong.pop();
    for key in [wrong.as_str(), &format!("{}0", made.key), &format!("recoup_{}_", made.id), "recoup_0_0"] {
        let answer = ask(&service, "GET", "/v1/keys", (key, &Value::Null)).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{key}");
    }

    let event = |id: &str, kind: &str| json!({ "event_id": id, "used_at": "2026-10-20T00:00:00Z", "kind": kind });
    let events = json!([event("n1", "tool"), event("n1", "tool"), event("n1", "llm"), event("n2", "?")]);
    let sent = ask(&service, "POST", "/v1/events", (&ingest, &events)).await;
    assert_eq!(sent.counted, Some(Counted { accepted: 1, duplicate: 1, conflict: 1, rejected: 1 }), "{}", sent.json());
}

#[tokio::test]
async fn an_admin_key_that_no_key_can_have_is_refused_at_the_start() {
    let stage = Stage::new().await;
    let made = make_admin_key().unwrap();
    for (id, digest) in [("", made.digest.as_str()), ("ABCDEF012345", &made.digest), (&made.id, "abc"), (&made.id, "")]
    {
        assert!(App::new(stage.ports(), [7; 32], 1).with_admin_key(id, digest).is_err(), "{id} {digest}");
    }
}
