//! Nights and closes: start one, watch it.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use recoup_model::Period;
use recoup_workflows::Job;
use recoup_workflows::close::{CloseRequest, parse_as_of};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::arguments::{Arguments, At, parse};
use crate::problem::Problem;
use crate::wrong_json;
use crate::{Shared, body, jobs};

/// Bytes of a request to run something.
const REQUEST_BYTES_MAX: usize = 64 * 1024;

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
enum RunRequest {
    Nightly {
        #[serde(default)]
        through: Option<String>,
    },
    Close {
        period: String,
        #[serde(default)]
        plan: bool,
        #[serde(default)]
        as_of: Option<String>,
        #[serde(default)]
        run_missing_nights: bool,
    },
}

fn read_job(bytes: &[u8]) -> Result<Job, Problem> {
    const SHAPE: &str = "{\"kind\":\"nightly\"} or {\"kind\":\"close\",\"period\":\"2026-10\"}";
    let request: RunRequest = wrong_json::read(bytes, "invalid-run", SHAPE)?;
    Ok(match request {
        RunRequest::Nightly { through } => Job::Nightly(jobs::through(through.as_deref())?),
        RunRequest::Close { period, plan, as_of, run_missing_nights } => Job::Close(CloseRequest {
            period: parse::<Period>("period", &period, "a month as 2026-10")?,
            plan,
            as_of_ns: as_of.as_deref().map(parse_as_of).transpose()?,
            run_missing_nights,
        }),
    })
}

pub(crate) async fn post_run(
    State(shared): State<Shared>,
    headers: HeaderMap,
    arguments: Arguments,
    request: Body,
) -> Result<Response, Problem> {
    let principal = shared.principal(&headers).await?;
    principal.may_run()?;
    arguments.only(&["wait"])?;
    let wait = arguments.flag("wait")?;
    let job = read_job(&body::read_text_of_json(&headers, request, REQUEST_BYTES_MAX).await?)?;
    let run = shared.app.new_run()?;
    shared.app.announce_run(&run, job.kind()).await?;
    if let Err(refusal) = shared.jobs.start(&run, &job).await {
        shared.app.run_failed(&run, job.kind(), &refusal.to_string()).await?;
        return Err(refusal.into());
    }
    let location = format!("/v1/runs/{run}");
    if wait && shared.jobs.wait(&shared.app, &run).await? {
        return Ok(([(LOCATION, location)], Json(shared.app.run(&run).await?)).into_response());
    }
    Ok((StatusCode::ACCEPTED, [(LOCATION, location)], Json(json!({ "run": run }))).into_response())
}

pub(crate) async fn get_run(
    State(shared): State<Shared>,
    headers: HeaderMap,
    At(run): At<String>,
) -> Result<Json<Value>, Problem> {
    shared.principal(&headers).await?.may_see_all()?;
    Ok(Json(json!(shared.app.run(&run).await?)))
}

pub(crate) async fn get_runs(
    State(shared): State<Shared>,
    headers: HeaderMap,
    arguments: Arguments,
) -> Result<Json<Value>, Problem> {
    shared.principal(&headers).await?.may_see_all()?;
    arguments.only(&["limit", "cursor"])?;
    let cursor = arguments.text("cursor");
    if cursor.is_some_and(|cursor| !recoup_workflows::runs::is_name(cursor)) {
        return Err(Arguments::no_cursor());
    }
    let (rows, next) = shared.app.list_runs(cursor, arguments.limit()?).await?;
    let mut page = json!({ "rows": rows });
    if let (Some(next), Some(page)) = (next, page.as_object_mut()) {
        page.insert("next_cursor".into(), json!(next));
    }
    Ok(Json(page))
}
