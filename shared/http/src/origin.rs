//! Where a request came from, for the audit record.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;

/// Carries it inside the router; what a caller writes there is taken out.
const ORIGIN: HeaderName = HeaderName::from_static("recoup-origin");

/// Where a request came from, in words: an address, or a user of the machine. Whoever serves the router knows it and puts it
/// into the extensions of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(pub String);

pub(crate) async fn note(mut request: Request, next: Next) -> Response {
    let origin = request.extensions().get::<Origin>().and_then(|origin| HeaderValue::from_str(&origin.0).ok());
    match origin {
        Some(origin) => drop(request.headers_mut().insert(ORIGIN, origin)),
        None => drop(request.headers_mut().remove(ORIGIN)),
    }
    next.run(request).await
}

pub(crate) fn of(headers: &HeaderMap) -> Option<String> {
    Some(headers.get(ORIGIN)?.to_str().ok()?.to_owned())
}
