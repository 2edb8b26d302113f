//! The HTTP face: routes, authentication, problem+json, the OpenAPI document.
//!
//! Owns: how a request is read and an answer written, status codes, media types, limits of bodies and pages.
//! Does not own: rules. A handler reads its arguments, calls one workflow and writes what it answers.
//! Start reading at [`router`].

mod admin;
mod alerts;
mod anomalies;
mod arguments;
mod authorize;
mod body;
mod budgets;
mod door;
mod events;
mod explanations;
mod jobs;
mod origin;
mod problem;
mod rate_cards;
mod reports;
mod runs;
mod simulations;
mod slack;
mod statements;
mod wrong_json;

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, Method};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::{delete, get, post};
use recoup_workflows::{App, Principal, Refusal};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;
use tower::limit::GlobalConcurrencyLimitLayer;

pub use crate::authorize::Denied;
pub use crate::door::{Connection, SILENCE_MAX, TcpDoor};
pub use crate::events::Counted;
pub use crate::jobs::{InProcess, Jobs};
pub use crate::origin::Origin;
pub use crate::slack::{Answering, SlackDoor};

use crate::problem::Problem;

/// Requests worked on at the same time; more wait.
pub const REQUESTS_AT_ONCE_MAX: usize = 1_024;
/// Bodies that are held at the same time, of those who have a key; more wait, and keep no question waiting.
pub const UPLOADS_AT_ONCE_MAX: usize = 1_024;
/// How long a body waits for its place.
const UPLOAD_WAIT_MAX: Duration = Duration::from_secs(30);

/// Who may reach the router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Whoever brings an API key.
    Keys,
    /// Whoever reaches it at all: a socket that only the operator can open.
    Operator,
}

/// What every handler is given.
#[derive(Clone)]
struct Shared(Arc<Parts>);

struct Parts {
    app: Arc<App>,
    access: Access,
    jobs: Arc<dyn Jobs>,
    slack: Option<SlackDoor>,
    /// Lets in [`REQUESTS_AT_ONCE_MAX`].
    gate: Arc<Semaphore>,
    /// Lets in [`UPLOADS_AT_ONCE_MAX`].
    uploads: Semaphore,
}

impl Deref for Shared {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl Shared {
    /// A place among the requests that are worked on, for a handler that no layer lets in: one that reads a body before, as
    /// a client that sends it slowly, or never ends, must not keep others from being answered.
    async fn let_in(&self) -> Result<SemaphorePermit<'_>, Problem> {
        self.gate.acquire().await.map_err(|error| Refusal::computation("let a request in", error).into())
    }

    /// A place among the bodies that are held. Where every place is taken by somebody slow, others are told so in time.
    async fn upload(&self) -> Result<SemaphorePermit<'_>, Problem> {
        match timeout(UPLOAD_WAIT_MAX, self.uploads.acquire()).await {
            Ok(place) => place.map_err(|error| Refusal::computation("hold a body", error).into()),
            Err(_) => Err(Problem::busy(format!(
                "{UPLOADS_AT_ONCE_MAX} bodies are on their way, and none of them ended within {} s; nothing was stored, try again",
                UPLOAD_WAIT_MAX.as_secs()
            ))),
        }
    }

    /// Who asks.
    async fn principal(&self, headers: &HeaderMap) -> Result<Principal, Problem> {
        self.principal_from(headers, origin::of(headers)).await
    }

    /// The same where it is known from where the request came.
    async fn principal_from(&self, headers: &HeaderMap, from: Option<String>) -> Result<Principal, Problem> {
        if self.access == Access::Operator {
            return Ok(Principal { from, ..Principal::operator() });
        }
        let header = headers.get(AUTHORIZATION).ok_or(Refusal::Unauthenticated(
            "no API key: send `Authorization: Bearer KEY`; make a key with `recoup keys create`",
        ))?;
        let bearer = header.to_str().ok().and_then(|text| text.split_once(' '));
        let bearer = bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, key)| key);
        let bearer = bearer.ok_or(Refusal::Unauthenticated("the header has to read `Authorization: Bearer KEY`"))?;
        Ok(Principal { from, ..self.app.authenticate(bearer.trim()).await? })
    }
}

/// The whole API over one application; nights and closes are run by `jobs`.
pub fn router(app: Arc<App>, access: Access, jobs: Arc<dyn Jobs>) -> Router {
    router_with_slack(app, access, jobs, None)
}

/// The same with a door for Slack, where there is one.
pub fn router_with_slack(app: Arc<App>, access: Access, jobs: Arc<dyn Jobs>, slack: Option<SlackDoor>) -> Router {
    let gate = Arc::new(Semaphore::new(REQUESTS_AT_ONCE_MAX));
    let uploads = Semaphore::new(UPLOADS_AT_ONCE_MAX);
    let shared = Shared(Arc::new(Parts { app, access, jobs, slack, gate: Arc::clone(&gate), uploads }));
    let gate = GlobalConcurrencyLimitLayer::with_semaphore(gate);
    Router::new()
        .route("/healthz", get(health))
        .route("/openapi.json", get(openapi))
        .route("/v1/costs", get(reports::get_costs))
        .route("/v1/traces/{trace_id}", get(reports::get_trace))
        .route("/v1/prices/imports", get(admin::get_imports))
        .route("/v1/prices/tasks", get(reports::get_task_prices))
        .route("/v1/rate-cards/{period}", get(rate_cards::get_rate_card))
        .route("/v1/rate-cards/{period}/approval", post(rate_cards::post_approval))
        .route("/v1/pools", get(reports::get_pools))
        .route("/v1/variances", get(reports::get_variances))
        .route("/v1/balances", get(reports::get_balances))
        .route("/v1/periods", get(reports::get_periods))
        .route("/v1/periods/{period}/manifest", get(statements::get_manifest))
        .route("/v1/statements", get(statements::get_statements))
        .route("/v1/statements/{period}/{team}", get(statements::get_statement))
        .route("/v1/statements/{period}/{team}/lines/{line}/explanation", get(explanations::get_explanation))
        .route("/v1/reservations/{id}", delete(authorize::delete_reservation))
        .route("/v1/reservations/{id}/extension", post(authorize::post_extension))
        .route("/v1/budgets", get(budgets::get_budgets).post(budgets::post_budget))
        .route("/v1/budgets/extensions", get(alerts::get_extensions).post(alerts::post_extension))
        .route("/v1/budgets/extensions/{id}/decision", post(alerts::post_decision))
        .route("/v1/alerts", get(alerts::get_alerts))
        .route("/v1/alerts/deliveries", get(alerts::get_deliveries).post(alerts::post_delivery))
        .route("/v1/alerts/{id}", get(alerts::get_alert))
        .route("/v1/alerts/{id}/acknowledgement", post(alerts::post_acknowledgement))
        .route("/v1/reviews", get(alerts::get_reviews))
        .route("/v1/reviews/{task}/decision", post(alerts::post_review))
        .route("/v1/audit", get(alerts::get_audit))
        .route("/v1/anomalies", get(anomalies::get_anomalies))
        .route("/v1/unpriced", get(reports::get_unpriced))
        .route("/v1/findings", get(reports::get_findings))
        .route("/v1/nights", get(reports::get_nights))
        .route("/v1/overview", get(reports::get_overview))
        .route("/v1/runs", get(runs::get_runs).post(runs::post_run))
        .route("/v1/runs/{run}", get(runs::get_run))
        .route("/v1/simulations", post(simulations::post_simulation))
        .route("/v1/simulations/{run}", get(simulations::get_simulation))
        .route("/v1/organisation", get(admin::get_organisation).put(admin::put_organisation))
        .route("/v1/keys", get(admin::get_keys).post(admin::post_key))
        .route("/v1/keys/{id}", delete(admin::delete_key))
        .layer(gate.clone())
        .layer(from_fn_with_state(shared.clone(), hold_body))
        // Those who may send large bodies, or anybody a body, go through the gate by themselves.
        .route("/v1/events", get(reports::get_events).layer(gate.clone()).post(events::post_events))
        .route("/v1/prices", get(admin::get_prices).layer(gate).post(admin::post_prices))
        .route("/v1/slack/actions", post(slack::post_actions))
        .route("/v1/statements/verify", post(statements::post_verify))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn(origin::note))
        // Agents wait for it: it looks up from where a request came by itself, without layers.
        .route("/v1/authorize", post(authorize::post_authorize).fallback(wrong_method))
        .with_state(shared)
}

/// Reads the body of a request before it takes a place among those that are worked on: whoever sends slowly keeps nobody else
/// waiting. Who has no key sends it to a handler that refuses without reading it.
async fn hold_body(State(shared): State<Shared>, request: Request, next: Next) -> Result<Response, Problem> {
    let has_body = matches!(*request.method(), Method::POST | Method::PUT);
    if !has_body || shared.principal(request.headers()).await.is_err() {
        return Ok(next.run(request).await);
    }
    let _upload = shared.upload().await?;
    let (parts, body) = request.into_parts();
    let body = body::hold(body).await?;
    Ok(next.run(Request::from_parts(parts, Body::from(body))).await)
}

async fn health(State(shared): State<Shared>) -> Result<Json<Value>, Problem> {
    shared.app.ports.log.last_seq().await.map_err(Refusal::from)?;
    Ok(Json(json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") })))
}

async fn openapi() -> ([(&'static str, &'static str); 1], &'static str) {
    ([("content-type", "application/json")], include_str!("openapi.json"))
}

async fn unknown() -> Problem {
    Problem::from(Refusal::NotFound("there is nothing at this path; see /openapi.json".into()))
}

async fn wrong_method() -> Problem {
    Problem::method_not_allowed()
}
