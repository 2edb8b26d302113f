//! HTTP through API Gateway: the product's router, within what Lambda takes and gives.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn_with_state, map_request};
use axum::response::{IntoResponse, Response};
use lambda_http::request::RequestContext;
use recoup_http::{Access, Counted, Denied, Jobs, Origin, SlackDoor, router, router_with_slack};
use recoup_store_aws::S3Documents;
use recoup_workflows::App;
use serde_json::json;

pub use crate::jobs::NoJobs;
use crate::metrics::{Metric, emit};

/// Bytes of a request's body as it is sent. Lambda takes 6 MB, and what is compressed reaches it a third longer, in base64.
pub const REQUEST_BYTES_MAX: u64 = 4_500_000;
/// Bytes of an answer that is given directly. Lambda gives 6 MB, with every quotation mark escaped or all of it in base64.
pub const ANSWER_BYTES_MAX: usize = 4_000_000;
/// Bytes of an answer at all: what the largest statement does not reach.
const ANSWER_BYTES_AT_ALL_MAX: usize = 256 * 1024 * 1024;

#[derive(Clone)]
struct Door {
    function: &'static str,
    documents: Option<S3Documents>,
}

/// The whole API for callers who bring a key. `documents` keep answers that are too large.
pub fn api(function: &'static str, app: Arc<App>, jobs: Arc<dyn Jobs>, documents: Option<S3Documents>) -> Router {
    behind(router(app, Access::Keys, jobs), function, documents)
}

/// The same with a door for Slack's buttons.
pub fn api_with_slack(
    function: &'static str,
    app: Arc<App>,
    jobs: Arc<dyn Jobs>,
    (documents, slack): (Option<S3Documents>, Option<SlackDoor>),
) -> Router {
    behind(router_with_slack(app, Access::Keys, jobs, slack), function, documents)
}

fn behind(router: Router, function: &'static str, documents: Option<S3Documents>) -> Router {
    router.layer(map_request(with_address)).layer(from_fn_with_state(Door { function, documents }, pass))
}

/// The address that called, as API Gateway saw it, for the audit record.
async fn with_address(mut request: Request) -> Request {
    let address = match request.extensions().get::<RequestContext>() {
        Some(RequestContext::ApiGatewayV2(context)) => context.http.source_ip.clone(),
        _ => None,
    };
    if let Some(address) = address {
        request.extensions_mut().insert(Origin(address.into()));
    }
    request
}

async fn pass(State(door): State<Door>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let length = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > REQUEST_BYTES_MAX) {
        return problem(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body-too-large",
            &format!("the body has more than {REQUEST_BYTES_MAX} bytes; send it in several requests, or compressed"),
        );
    }
    let response = next.run(request).await;
    count(door.function, &response, started);
    within_limits(&door, response).await
}

fn count(function: &str, response: &Response, started: Instant) {
    let mut metrics = Vec::new();
    if let Some(counted) = response.extensions().get::<Counted>() {
        metrics.push(Metric::Count("EventsAccepted", counted.accepted));
        metrics.push(Metric::Count("EventsDuplicate", counted.duplicate));
        metrics.push(Metric::Count("EventsConflict", counted.conflict));
        metrics.push(Metric::Count("EventsRejected", counted.rejected));
    }
    metrics.push(Metric::Count("Denied", u64::from(response.extensions().get::<Denied>().is_some())));
    metrics.push(Metric::Count("Refused", u64::from(matches!(response.status().as_u16(), 401 | 403))));
    let taken = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    metrics.push(Metric::Milliseconds("RequestTime", taken));
    emit(function, &metrics);
}

/// An answer that Lambda gives, or the way to it.
async fn within_limits(door: &Door, response: Response) -> Response {
    let (parts, body) = response.into_parts();
    let too_large = || {
        problem(
            StatusCode::INTERNAL_SERVER_ERROR,
            "answer-too-large",
            &format!("the answer has more than {ANSWER_BYTES_MAX} bytes; ask for less with `limit`"),
        )
    };
    let Ok(bytes) = to_bytes(body, ANSWER_BYTES_AT_ALL_MAX).await else { return too_large() };
    if bytes.len() <= ANSWER_BYTES_MAX {
        return Response::from_parts(parts, Body::from(bytes));
    }
    let Some(documents) = &door.documents else { return too_large() };
    let media_type = parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    match documents.share(bytes.to_vec(), media_type.unwrap_or("application/octet-stream")).await {
        Ok(link) => match HeaderValue::from_str(&link) {
            Ok(link) => (StatusCode::SEE_OTHER, [(LOCATION, link)]).into_response(),
            Err(_) => too_large(),
        },
        Err(error) => {
            tracing::error!(%error, "an answer could not be kept for its reader");
            problem(StatusCode::SERVICE_UNAVAILABLE, "store-unavailable", "the answer could not be kept; try again")
        }
    }
}

fn problem(status: StatusCode, kind: &str, detail: &str) -> Response {
    let title = status.canonical_reason().unwrap_or_default();
    let body = json!({
        "type": format!("urn:recoup:problem:{kind}"), "title": title, "status": status.as_u16(), "detail": detail,
    });
    (status, [(CONTENT_TYPE, "application/problem+json")], body.to_string()).into_response()
}
