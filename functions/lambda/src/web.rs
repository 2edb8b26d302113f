//! HTTP through API Gateway: the product's router, within what Lambda takes and gives.

use std::sync::Arc;
use std::time::{Duration, Instant};

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
    emit(door.function, &metrics_of(&response, started.elapsed()));
    within_limits(&door, response).await
}

/// What is counted of an answer.
fn metrics_of(response: &Response, taken: Duration) -> Vec<Metric> {
    let mut metrics = Vec::new();
    if let Some(counted) = response.extensions().get::<Counted>() {
        metrics.push(Metric::Count("EventsAccepted", counted.accepted));
        metrics.push(Metric::Count("EventsDuplicate", counted.duplicate));
        metrics.push(Metric::Count("EventsConflict", counted.conflict));
        metrics.push(Metric::Count("EventsRejected", counted.rejected));
    }
    metrics.push(Metric::Count("Denied", u64::from(response.extensions().get::<Denied>().is_some())));
    metrics.push(Metric::Count("Refused", u64::from(matches!(response.status().as_u16(), 401 | 403))));
    metrics.push(Metric::Milliseconds("RequestTime", u64::try_from(taken.as_millis()).unwrap_or(u64::MAX)));
    metrics
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
            tracing::error!(error = recoup_store::causes(&error), "an answer could not be kept for its reader");
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

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use axum::http::header::AUTHORIZATION;
    use recoup_store::{Alert, Alerts, Clock as _, StoreError, SystemClock};
    use recoup_store_sqlite::{Options, SqliteStore};
    use recoup_workflows::{Ports, Role};
    use serde_json::Value;
    use tempfile::TempDir;
    use tower::ServiceExt as _;

    use super::*;

    const ORGANISATION: &str = "[organisation]\nname = \"Web\"\ncurrency = \"USD\"\ntime_zone = \"UTC\"\n\
        [[teams]]\nid = \"support\"\n[[budgets]]\nscope = \"team:support\"\nlimit = \"1\"\n";

    struct Nowhere;

    #[async_trait::async_trait]
    impl Alerts for Nowhere {
        async fn publish(&self, _alert: &Alert) -> Result<(), StoreError> {
            Ok(())
        }
    }

    /// The API of a store of its own, and a key.
    async fn served() -> (Router, String, TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(SqliteStore::open(folder.path(), Options::default()).unwrap());
        let ports = Ports {
            log: store.clone(),
            live: store.clone(),
            leases: store.clone(),
            documents: Arc::new(store.documents().clone()),
            books: store,
            alerts: Arc::new(Nowhere),
            clock: Arc::new(SystemClock),
        };
        let app = Arc::new(App::new(ports, [7; 32], 1));
        app.apply_organisation(ORGANISATION, None, false).await.unwrap();
        let key = app.create_key(Role::Ingest, None, recoup_model::Tags::default(), None).await.unwrap().key;
        (router(Arc::clone(&app), Access::Keys, Arc::new(NoJobs)), key, folder)
    }

    async fn counted(router: &Router, key: &str, path: &str, body: &Value) -> Vec<Metric> {
        let request = Request::post(path).header(AUTHORIZATION, format!("Bearer {key}"));
        let request = request.body(Body::from(body.to_string())).unwrap();
        metrics_of(&router.clone().oneshot(request).await.unwrap(), Duration::from_millis(7))
    }

    #[tokio::test]
    async fn what_is_answered_is_counted() {
        let (router, key, _folder) = served().await;
        let estimate = |amount: &str| json!({ "tags": { "team": "support" }, "estimate": { "amount": amount } });
        let answers = [
            ("/v1/authorize", &key, estimate("0.5"), [0, 0]),
            ("/v1/authorize", &key, estimate("0.6"), [1, 0]),
            ("/v1/authorize", &"no key".to_owned(), estimate("0.1"), [0, 1]),
        ];
        for (path, key, body, [denied, refused]) in answers {
            let wanted = [Metric::Count("Denied", denied), Metric::Count("Refused", refused)];
            let counted = counted(&router, key, path, &body).await;
            assert_eq!(counted, [&wanted[..], &[Metric::Milliseconds("RequestTime", 7)]].concat(), "{body}");
        }
        let event = json!({ "event_id": "e", "used_at": recoup_model::period::format_instant(SystemClock.now_ns()),
            "kind": "tool", "cost": { "amount": "0.1", "currency": "USD" } });
        let events = json!([event, event, { "event_id": "x" }]);
        let counted = counted(&router, &key, "/v1/events", &events).await;
        let of = |name: &str| counted.iter().find(|one| matches!(one, Metric::Count(of, _) if *of == name)).copied();
        for (name, events) in
            [("EventsAccepted", 1), ("EventsDuplicate", 1), ("EventsConflict", 0), ("EventsRejected", 1)]
        {
            assert_eq!(of(name), Some(Metric::Count(name, events)));
        }
    }

    /// A function without documents has nowhere to keep an answer that Lambda does not give.
    #[tokio::test]
    async fn an_answer_that_is_too_large_says_so() {
        let door = Door { function: "api", documents: None };
        for (bytes, status) in [(ANSWER_BYTES_MAX, 200), (ANSWER_BYTES_MAX + 1, 500)] {
            let answer = within_limits(&door, Response::new(Body::from(vec![b'x'; bytes]))).await;
            assert_eq!(answer.status().as_u16(), status, "{bytes}");
        }
    }

    #[tokio::test]
    async fn a_body_that_lambda_would_not_bring_is_refused_before_it_is_read() {
        let (router, key, _folder) = served().await;
        let router = behind(router, "ingest", None);
        for (length, status) in [(REQUEST_BYTES_MAX, 200), (REQUEST_BYTES_MAX + 1, 413)] {
            let request = Request::post("/v1/events").header(CONTENT_LENGTH, length.to_string());
            let request = request.header(AUTHORIZATION, format!("Bearer {key}")).body(Body::from("[]")).unwrap();
            let answer = router.clone().oneshot(request).await.unwrap();
            assert_eq!(answer.status().as_u16(), status, "{length}");
        }
    }
}
