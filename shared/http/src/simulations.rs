//! What past months would have come to under other rules: start a simulation, watch it.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use recoup_model::Period;
use recoup_model::limits::ORGANISATION_BYTES_MAX;
use recoup_workflows::simulate::{MONTHS_DEFAULT, MONTHS_MAX, Months, SimulationRequest};
use recoup_workflows::{Principal, Refusal};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::arguments::{Arguments, At, parse};
use crate::jobs::Pauses;
use crate::problem::Problem;
use crate::wrong_json;
use crate::{Shared, body};

/// Bytes of a request beside its rate card, and what JSON adds to that.
const REQUEST_BYTES_MAX: usize = 2 * ORGANISATION_BYTES_MAX + 64 * 1024;
const MONTH: &str = "a month as 2026-10";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    #[serde(default)]
    rate_card: Option<String>,
    #[serde(default)]
    policy: BTreeMap<String, Box<RawValue>>,
    #[serde(default)]
    months: Option<usize>,
    #[serde(default)]
    from: Option<String>,
    #[serde(default)]
    to: Option<String>,
}

fn read_request(bytes: &[u8]) -> Result<SimulationRequest, Problem> {
    const SHAPE: &str = "{\"policy\":{\"agents.triage.billing\":\"time\"},\"months\":3}";
    let wanted: Wanted = wrong_json::read(bytes, "invalid-simulation", SHAPE)?;
    let months = match (&wanted.from, &wanted.to, wanted.months) {
        (None, None, months) => Months::Last(months.unwrap_or(MONTHS_DEFAULT)),
        (Some(from), Some(to), None) => {
            Months::Range(parse::<Period>("from", from, MONTH)?, parse::<Period>("to", to, MONTH)?)
        }
        _ => {
            let detail = "name either `months`, or both `from` and `to`; `to` is the first month that is left out";
            return Err(Problem::invalid("invalid-range", "months", detail));
        }
    };
    if let Some(months) = wanted.months.filter(|months| *months > MONTHS_MAX) {
        let detail = format!("{months} months; write at most {MONTHS_MAX}");
        return Err(Problem::invalid("invalid-range", "months", detail));
    }
    // Numbers as they were written: no decimal goes through a binary fraction.
    let text = |value: Box<RawValue>| match serde_json::from_str(value.get()) {
        Ok(Value::String(text)) => text,
        Ok(Value::Null) => String::new(),
        _ => value.get().to_owned(),
    };
    let policy = wanted.policy.into_iter().map(|(key, value)| (key, text(value))).collect();
    Ok(SimulationRequest { rate_card: wanted.rate_card, policy, months })
}

pub(crate) async fn post_simulation(
    State(shared): State<Shared>,
    headers: HeaderMap,
    arguments: Arguments,
    request: Body,
) -> Result<Response, Problem> {
    let principal = shared.principal(&headers).await?;
    let team = principal.may_simulate()?.map(str::to_owned);
    arguments.only(&["wait"])?;
    let wait = arguments.parsed("wait", "true or false")?.unwrap_or(true);
    let request = read_request(&body::read_text_of_json(&headers, request, REQUEST_BYTES_MAX).await?)?;
    let run = shared.app.new_run()?;
    if shared.jobs.elsewhere() {
        return ask_elsewhere(&shared, &principal, (&run, &request), wait).await;
    }
    let simulation = shared.app.plan_simulation(&principal, &request).await?;
    shared.app.announce_simulation(&run, team.as_deref())?;
    let (app, name) = (shared.app.clone(), run.clone());
    let working = tokio::spawn(async move { app.simulate(&name, simulation).await });
    if wait {
        let outcome = working.await.map_err(|error| Refusal::computation("finish a simulation", error))??;
        return Ok(Json(outcome).into_response());
    }
    Ok(on_its_way(&run))
}

fn on_its_way(run: &str) -> Response {
    let location = format!("/v1/simulations/{run}");
    (StatusCode::ACCEPTED, [(LOCATION, location)], Json(json!({ "run": run }))).into_response()
}

/// Another process answers; it is waited for as long as a gateway waits.
async fn ask_elsewhere(
    shared: &Shared,
    principal: &Principal,
    (run, request): (&str, &SimulationRequest),
    wait: bool,
) -> Result<Response, Problem> {
    shared.app.ask_simulation(principal, run, request).await?;
    if let Err(refusal) = shared.jobs.simulate(run).await {
        shared.app.simulation_failed(run, &refusal.to_string()).await?;
        return Err(refusal.into());
    }
    if !wait {
        return Ok(on_its_way(run));
    }
    let team = principal.may_simulate()?;
    let mut pauses = Pauses::of_a_request();
    let record = loop {
        let record = shared.app.simulation(team, run).await?;
        if !record.is_running() {
            break record;
        }
        if !pauses.next().await {
            return Ok(on_its_way(run));
        }
    };
    match (record.outcome, record.error) {
        (Some(outcome), _) => Ok(Json(outcome).into_response()),
        (None, error) => {
            let error = error.as_ref().and_then(Value::as_str).unwrap_or("it ended without an answer");
            let refused = Refusal::Conflict { kind: "simulation-failed", detail: error.to_owned() };
            Err(if record.refused { refused } else { Refusal::computation("simulate", error) }.into())
        }
    }
}

pub(crate) async fn get_simulation(
    State(shared): State<Shared>,
    headers: HeaderMap,
    At(run): At<String>,
) -> Result<Json<Value>, Problem> {
    let principal = shared.principal(&headers).await?;
    Ok(Json(json!(shared.app.simulation(principal.may_simulate()?, &run).await?)))
}
