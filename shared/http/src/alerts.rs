//! Alerts of budgets, extensions, tasks on the review list, the audit record.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use chrono::{DateTime, Utc};
use recoup_money::Amount;
use recoup_workflows::audit::AuditFrom;
use recoup_workflows::extensions::{Extension, ExtensionRequest};
use recoup_workflows::lists::Listed;
use recoup_workflows::notify::DeliveryState;
use recoup_workflows::queries::Rows;
use recoup_workflows::reviews::{Review, ReviewState};
use recoup_workflows::watch::{AlertRecord, AlertState};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::arguments::{Arguments, At};
use crate::problem::Problem;
use crate::{Shared, body};

/// Bytes of a request.
const REQUEST_BYTES_MAX: usize = 16 * 1024;

async fn read<T: DeserializeOwned>(headers: &HeaderMap, request: Body, shape: &str) -> Result<T, Problem> {
    body::read_json(headers, request, REQUEST_BYTES_MAX, shape).await
}

fn page<T: Serialize>(listed: &Listed<T>) -> Json<Rows> {
    let rows = listed.rows.iter().map(|row| json!(row)).collect();
    Json(Rows { rows, next_cursor: listed.next_cursor.clone(), total: None })
}

pub(crate) async fn get_alerts(
    State(shared): State<Shared>,
    headers: HeaderMap,
    arguments: Arguments,
) -> Result<Json<Rows>, Problem> {
    let principal = shared.principal(&headers).await?;
    arguments.only(&["state", "limit", "cursor"])?;
    let state = match arguments.text("state") {
        None => None,
        Some("fired") => Some(AlertState::Fired),
        Some("acknowledged") => Some(AlertState::Acknowledged),
        Some("resolved") => Some(AlertState::Resolved),
        Some(other) => {
            let detail = format!("there is no state `{other}`; use fired, acknowledged or resolved");
            return Err(Problem::invalid("unknown-value", "state", detail));
        }
    };
    Ok(page(&shared.app.budget_alerts(&principal, state, arguments.window()?).await?))
}

pub(crate) async fn get_deliveries(
    State(shared): State<Shared>,
    headers: HeaderMap,
    arguments: Arguments,
) -> Result<Json<Rows>, Problem> {
    let principal = shared.principal(&headers).await?;
    arguments.only(&["state", "limit", "cursor"])?;
    let state = arguments.text("state").map(|name| {
        let detail = format!("there is no state `{name}`; use waiting, sent, dead or undeliverable");
        DeliveryState::from_name(name).ok_or_else(|| Problem::invalid("unknown-value", "state", detail))
    });
    Ok(page(&shared.app.deliveries(&principal, state.transpose()?, arguments.window()?).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Again {
    alert: String,
}

pub(crate) async fn post_delivery(
    State(shared): State<Shared>,
    headers: HeaderMap,
    request: Body,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let principal = shared.principal(&headers).await?;
    let Again { alert } = read(&headers, request, "{\"alert\":\"alr_..\"}").await?;
    let deliveries = shared.app.deliver_again(&principal, &alert).await?;
    Ok((StatusCode::ACCEPTED, Json(json!({ "deliveries": deliveries }))))
}

pub(crate) async fn get_alert(
    State(shared): State<Shared>,
    headers: HeaderMap,
    At(id): At<String>,
) -> Result<Json<AlertRecord>, Problem> {
    let principal = shared.principal(&headers).await?;
    Ok(Json(shared.app.budget_alert(&principal, &id).await?))
}

pub(crate) async fn post_acknowledgement(
    State(shared): State<Shared>,
    headers: HeaderMap,
    At(id): At<String>,
) -> Result<Json<AlertRecord>, Problem> {
    let principal = shared.principal(&headers).await?;
    Ok(Json(shared.app.acknowledge(&principal, &id).await?))
}

pub(crate) async fn get_extensions(
    State(shared): State<Shared>,
    headers: HeaderMap,
    arguments: Arguments,
) -> Result<Json<Rows>, Problem> {
    let principal = shared.principal(&headers).await?;
    arguments.only(&["limit", "cursor"])?;
    Ok(page(&shared.app.extensions(&principal, arguments.window()?).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    scope: String,
    #[serde(default)]
    period: Option<String>,
    amount: Amount,
    reason: String,
    #[serde(default)]
    alert: Option<String>,
}

pub(crate) async fn post_extension(
    State(shared): State<Shared>,
    headers: HeaderMap,
    request: Body,
) -> Result<(StatusCode, Json<Extension>), Problem> {
    let principal = shared.principal(&headers).await?;
    let shape = "{\"scope\":\"team:support\",\"amount\":\"500.00\",\"reason\":\"..\"}";
    let Wanted { scope, period: kind, amount, reason, alert } = read(&headers, request, shape).await?;
    let request = ExtensionRequest { scope, kind, amount, reason, alert };
    Ok((StatusCode::CREATED, Json(shared.app.request_extension(&principal, request).await?)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Decided {
    approve: bool,
}

pub(crate) async fn post_decision(
    State(shared): State<Shared>,
    headers: HeaderMap,
    At(id): At<String>,
    request: Body,
) -> Result<Json<Extension>, Problem> {
    let principal = shared.principal(&headers).await?;
    let Decided { approve } = read(&headers, request, "{\"approve\":true}").await?;
    Ok(Json(shared.app.decide_extension(&principal, &id, approve).await?))
}

pub(crate) async fn get_reviews(
    State(shared): State<Shared>,
    headers: HeaderMap,
    arguments: Arguments,
) -> Result<Json<Rows>, Problem> {
    let principal = shared.principal(&headers).await?;
    arguments.only(&["limit", "cursor"])?;
    Ok(page(&shared.app.reviews(&principal, arguments.window()?).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reviewed {
    state: String,
    note: String,
}

pub(crate) async fn post_review(
    State(shared): State<Shared>,
    headers: HeaderMap,
    At(task): At<String>,
    request: Body,
) -> Result<Json<Review>, Problem> {
    let principal = shared.principal(&headers).await?;
    let Reviewed { state, note } = read(&headers, request, "{\"state\":\"resumed\",\"note\":\"..\"}").await?;
    let state = match state.as_str() {
        "resumed" => ReviewState::Resumed,
        "stopped" => ReviewState::Stopped,
        other => {
            let detail = format!("a task is `resumed` or stays `stopped`, not `{other}`");
            return Err(Problem::invalid("unknown-value", "state", detail));
        }
    };
    Ok(Json(shared.app.decide_review(&principal, &task, state, &note).await?))
}

pub(crate) async fn get_audit(
    State(shared): State<Shared>,
    headers: HeaderMap,
    arguments: Arguments,
) -> Result<Json<Rows>, Problem> {
    let principal = shared.principal(&headers).await?;
    arguments.only(&["from", "newest", "limit", "cursor"])?;
    let from = arguments.parsed::<DateTime<Utc>>("from", "an instant as 2026-11-01T00:00:00Z")?;
    let from = AuditFrom::instant(from.and_then(|from| from.timestamp_nanos_opt()).unwrap_or_default());
    let (cursor, limit) = (arguments.audit_cursor()?, arguments.limit()?);
    Ok(page(&match arguments.flag("newest")? {
        true => shared.app.audit_newest(&principal, (&from, cursor.as_ref()), limit).await?,
        false => shared.app.audit_page(&principal, &cursor.unwrap_or(from), limit).await?,
    }))
}
