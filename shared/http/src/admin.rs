//! The organisation file, API keys, price lists.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use chrono::{DateTime, NaiveDate};
use recoup_model::Tags;
use recoup_model::limits::ORGANISATION_BYTES_MAX;
use recoup_workflows::Role;
use recoup_workflows::access::{KeySummary, NewKey};
use recoup_workflows::catalogue::{IMPORT_BYTES_MAX, Imported};
use recoup_workflows::organisation::Applied;
use recoup_workflows::queries::Rows;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::arguments::{Arguments, At};
use crate::problem::Problem;
use crate::wrong_json;
use crate::{Shared, body};

/// Bytes of a request for a key.
const KEY_BYTES_MAX: usize = 16 * 1024;

pub(crate) async fn get_organisation(State(shared): State<Shared>, headers: HeaderMap) -> Result<Json<Value>, Problem> {
    shared.principal(&headers).await?.may_see_all()?;
    Ok(Json(json!({ "versions": shared.app.organisation_versions().await? })))
}

pub(crate) async fn put_organisation(
    State(shared): State<Shared>,
    headers: HeaderMap,
    arguments: Arguments,
    request: Body,
) -> Result<Json<Applied>, Problem> {
    let principal = shared.principal(&headers).await?;
    principal.may_administer()?;
    arguments.only(&["effective", "dry_run"])?;
    let effective = arguments.parsed::<NaiveDate>("effective", "a day as 2026-11-01")?;
    let dry_run = arguments.flag("dry_run")?;
    let bytes = body::read(&headers, request, ORGANISATION_BYTES_MAX).await?;
    let text = utf8(&bytes)?;
    Ok(Json(shared.app.apply_organisation_by(&principal, text, effective, dry_run).await?))
}

fn utf8(bytes: &[u8]) -> Result<&str, Problem> {
    std::str::from_utf8(bytes).map_err(|error| {
        let detail = format!("the body is not UTF-8 at byte {}", error.valid_up_to());
        Problem::invalid("not-utf8", "body", detail)
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyRequest {
    role: String,
    #[serde(default)]
    team: Option<String>,
    #[serde(default)]
    tags: Tags,
    #[serde(default)]
    person: Option<String>,
}

pub(crate) async fn post_key(
    State(shared): State<Shared>,
    headers: HeaderMap,
    request: Body,
) -> Result<(StatusCode, Json<NewKey>), Problem> {
    let principal = shared.principal(&headers).await?;
    principal.may_administer()?;
    let bytes = body::read_text_of_json(&headers, request, KEY_BYTES_MAX).await?;
    let wanted: KeyRequest = wrong_json::read(&bytes, "invalid-key", "{\"role\":\"ingest\",\"team\":\"support\"}")?;
    let role = Role::from_name(&wanted.role).ok_or_else(|| {
        let detail = format!("there is no role `{}`; use ingest, viewer, lead, finance or admin", wanted.role);
        Problem::invalid("unknown-value", "role", detail)
    })?;
    let KeyRequest { team, tags, person, .. } = wanted;
    let detail = json!({ "role": role, "team": team, "person": person });
    let made = shared.app.create_key(role, team, tags, person).await?;
    // Before anybody is told the secret: a key that can be used is in the record.
    shared.app.audit(&principal, "key-created", &made.id, detail).await?;
    Ok((StatusCode::CREATED, Json(made)))
}

pub(crate) async fn get_keys(
    State(shared): State<Shared>,
    headers: HeaderMap,
    arguments: Arguments,
) -> Result<Json<Rows>, Problem> {
    shared.principal(&headers).await?.may_administer()?;
    arguments.only(&["limit", "cursor"])?;
    let keys = shared.app.list_keys().await?;
    Ok(Json(arguments.paging()?.cut(keys.iter().map(|key| json!(key)).collect())))
}

pub(crate) async fn delete_key(
    State(shared): State<Shared>,
    headers: HeaderMap,
    At(id): At<String>,
) -> Result<Json<KeySummary>, Problem> {
    let principal = shared.principal(&headers).await?;
    principal.may_administer()?;
    let revoked = shared.app.revoke_key(&id).await?;
    shared.app.audit(&principal, "key-revoked", &id, json!({ "role": revoked.role, "person": revoked.person })).await?;
    Ok(Json(revoked))
}

pub(crate) async fn get_prices(
    State(shared): State<Shared>,
    headers: HeaderMap,
    arguments: Arguments,
) -> Result<Json<Rows>, Problem> {
    shared.principal(&headers).await?.seen_team()?;
    arguments.only(&["name", "limit", "cursor"])?;
    let entries = shared.app.price_entries(arguments.text("name")).await?;
    Ok(Json(arguments.paging()?.cut(entries.iter().map(|entry| json!(entry)).collect())))
}

pub(crate) async fn post_prices(
    State(shared): State<Shared>,
    headers: HeaderMap,
    arguments: Arguments,
    request: Body,
) -> Result<Json<Imported>, Problem> {
    let principal = shared.principal(&headers).await?;
    principal.may_run()?;
    arguments.only(&["source", "from", "dry_run"])?;
    let source = arguments.text("source").unwrap_or("imported price list").to_owned();
    let dry_run = arguments.flag("dry_run")?;
    let from = arguments.parsed::<NaiveDate>("from", "a day as 2026-11-01")?;
    let today = DateTime::from_timestamp_nanos(shared.app.ports.clock.now_ns()).date_naive();
    let _upload = shared.upload().await?;
    let bytes = body::read_text_of_json(&headers, request, IMPORT_BYTES_MAX).await?;
    let _let_in = shared.let_in().await?;
    let holds = (from.unwrap_or(today), dry_run);
    Ok(Json(shared.app.import_prices(&principal, utf8(&bytes)?, &source, holds).await?))
}

pub(crate) async fn get_imports(State(shared): State<Shared>, headers: HeaderMap) -> Result<Json<Value>, Problem> {
    shared.principal(&headers).await?.may_see_all()?;
    let (rows, shipped) = (shared.app.imports().await?, shared.app.shipped_versions().await?);
    Ok(Json(json!({ "rows": rows, "shipped": shipped })))
}
