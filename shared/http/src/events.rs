//! `POST /v1/events`.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use recoup_metering::Shape;
use recoup_model::limits::BODY_BYTES_MAX;
use recoup_workflows::Principal;
use recoup_workflows::ingest::{Listing, Receipt};

use crate::arguments::Arguments;
use crate::problem::Problem;
use crate::{Shared, body};

pub(crate) async fn post_events(
    State(shared): State<Shared>,
    headers: HeaderMap,
    arguments: Arguments,
    request: Body,
) -> Result<Json<Receipt>, Problem> {
    let (principal, shape, listing) = match admit(&shared, &headers, &arguments).await {
        Ok(admitted) => admitted,
        Err(problem) => {
            body::drain(request).await;
            return Err(problem);
        }
    };
    let bytes = body::read(&headers, request, BODY_BYTES_MAX).await?;
    Ok(Json(shared.app.ingest(&principal, &bytes, shape, listing).await?))
}

/// Everything that can be refused before the body is read.
async fn admit(
    shared: &Shared,
    headers: &HeaderMap,
    arguments: &Arguments,
) -> Result<(Principal, Shape, Listing), Problem> {
    let principal = shared.principal(headers).await?;
    principal.may_ingest()?;
    arguments.only(&["results"])?;
    let listing = match arguments.text("results") {
        None | Some("all") => Listing::All,
        Some("errors") => Listing::Errors,
        Some(other) => {
            let detail = format!("`results` is `{other}`; write all or errors");
            return Err(Problem::invalid("invalid-argument", "results", detail));
        }
    };
    Ok((principal, body::shape(headers)?, listing))
}
