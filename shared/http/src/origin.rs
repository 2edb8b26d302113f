//! Where a request came from, for the audit record.

use axum::extract::{ConnectInfo, Request};
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use recoup_model::Id;

use crate::door::{Connection, Working};

/// Carries it inside the router; what a caller writes there is taken out.
const ORIGIN: HeaderName = HeaderName::from_static("recoup-origin");

/// Where a request came from, in words: an address, or a user of the machine. Whoever serves the router knows it and puts it
/// into the extensions of the request, or serves with it as the connection's information, where it is its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(pub Id);

/// What is known of a request: from its connection, unless somebody has put it there.
fn known(extensions: &Extensions) -> Option<&Origin> {
    let of_connection = connection(extensions).map(|connection| &connection.origin);
    extensions.get::<Origin>().or(of_connection)
}

fn connection(extensions: &Extensions) -> Option<&Connection> {
    extensions.get::<ConnectInfo<Connection>>().map(|ConnectInfo(connection)| connection)
}

/// Says that a request is worked on, as long as what this returns is held, for a handler that [`note`] does not stand in front
/// of.
pub(crate) fn works(extensions: &Extensions) -> Option<Working> {
    connection(extensions).map(Connection::works)
}

/// From where a request came, for a handler that [`note`] does not stand in front of.
pub(crate) fn of_request(extensions: &Extensions) -> Option<String> {
    known(extensions).map(|origin| origin.0.to_string())
}

pub(crate) async fn note(mut request: Request, next: Next) -> Response {
    let _working = works(request.extensions());
    let origin = known(request.extensions()).and_then(|origin| HeaderValue::from_str(&origin.0).ok());
    match origin {
        Some(origin) => drop(request.headers_mut().insert(ORIGIN, origin)),
        None => drop(request.headers_mut().remove(ORIGIN)),
    }
    next.run(request).await
}

pub(crate) fn of(headers: &HeaderMap) -> Option<String> {
    Some(headers.get(ORIGIN)?.to_str().ok()?.to_owned())
}
