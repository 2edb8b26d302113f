//! `POST /v1/events`.

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::{Extension, Json};
use recoup_metering::Shape;
use recoup_model::limits::BODY_BYTES_MAX;
use recoup_workflows::Principal;
use recoup_workflows::ingest::{Listing, Receipt};

use crate::arguments::Arguments;
use crate::problem::Problem;
use crate::{Shared, body};

/// How many events of a request met which end: an extension of the answer, for a host that measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Events on disk now.
    pub accepted: u64,
    /// Events that were there.
    pub duplicate: u64,
    /// Events whose identity was there with other content.
    pub conflict: u64,
    /// Events that cannot be kept.
    pub rejected: u64,
}

impl Counted {
    const fn of(receipt: &Receipt) -> Self {
        let Receipt { accepted, duplicate, conflict, rejected, .. } = *receipt;
        Self { accepted, duplicate, conflict, rejected }
    }
}

pub(crate) async fn post_events(
    State(shared): State<Shared>,
    headers: HeaderMap,
    arguments: Arguments,
    request: Body,
) -> Result<(Extension<Counted>, Json<Receipt>), Problem> {
    let (principal, shape, listing) = match admit(&shared, &headers, &arguments).await {
        Ok(admitted) => admitted,
        Err(problem) => {
            body::drain(request).await;
            return Err(problem);
        }
    };
    let _upload = shared.upload().await?;
    let bytes = body::read(&headers, request, BODY_BYTES_MAX).await?;
    let _let_in = shared.let_in().await?;
    let receipt = shared.app.ingest(&principal, &bytes, shape, listing).await?;
    Ok((Extension(Counted::of(&receipt)), Json(receipt)))
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
