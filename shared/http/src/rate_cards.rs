//! Rate cards: see what a month's locked prices would be, approve them.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use recoup_model::{Digest, Period};
use serde::Deserialize;
use serde_json::Value;

use crate::arguments::{Arguments, At, parse};
use crate::problem::Problem;
use crate::wrong_json;
use crate::{Shared, body};

/// Bytes of an approval.
const APPROVAL_BYTES_MAX: usize = 4 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ApprovalRequest {
    digest: Digest,
}

fn period_of(text: &str) -> Result<Period, Problem> {
    parse("period", text, "a month as 2026-10")
}

pub(crate) async fn get_rate_card(
    State(shared): State<Shared>,
    headers: HeaderMap,
    At(period): At<String>,
    arguments: Arguments,
) -> Result<Json<Value>, Problem> {
    let principal = shared.principal(&headers).await?;
    arguments.only(&[])?;
    Ok(Json(shared.app.rate_card(&principal, period_of(&period)?).await?))
}

pub(crate) async fn post_approval(
    State(shared): State<Shared>,
    headers: HeaderMap,
    At(period): At<String>,
    request: Body,
) -> Result<Json<Value>, Problem> {
    let principal = shared.principal(&headers).await?;
    principal.may_run()?;
    let bytes = body::read_text_of_json(&headers, request, APPROVAL_BYTES_MAX).await?;
    let shape = "{\"digest\":\"..\"} with the digest of the card that you looked at";
    let wanted: ApprovalRequest = wrong_json::read(&bytes, "invalid-approval", shape)?;
    Ok(Json(shared.app.approve_rate_card(&principal, period_of(&period)?, wanted.digest).await?))
}
