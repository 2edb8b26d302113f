//! Statements: list, fetch, verify.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LOCATION};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use recoup_model::Period;
use recoup_workflows::statements::{Format, Issued};
use recoup_workflows::verify::STATEMENT_BYTES_MAX;
use serde_json::{Value, json};

use crate::arguments::{Arguments, At, parse};
use crate::problem::Problem;
use crate::{Shared, body};

/// Bytes of a document above which an address is answered where there is one: a function's answer holds 6 MB, coded.
const ANSWERED_BYTES_MAX: usize = 4 * 1024 * 1024;
const MONTH: &str = "a month as 2026-10";

pub(crate) async fn get_statements(
    State(shared): State<Shared>,
    headers: HeaderMap,
    arguments: Arguments,
) -> Result<Json<Value>, Problem> {
    let principal = shared.principal(&headers).await?;
    arguments.only(&["period", "limit", "cursor"])?;
    let period = arguments.parsed::<Period>("period", MONTH)?;
    let issued = shared.app.list_statements(&principal, period).await?;
    let page = arguments.paging()?.cut(issued.iter().map(|one| json!(one)).collect());
    Ok(Json(json!(page)))
}

pub(crate) async fn get_statement(
    State(shared): State<Shared>,
    headers: HeaderMap,
    At((period, name)): At<(String, String)>,
    arguments: Arguments,
) -> Result<Response, Problem> {
    let principal = shared.principal(&headers).await?;
    arguments.only(&["revision", "link"])?;
    let period: Period = parse("period", &period, MONTH)?;
    let revision = arguments.parsed::<u32>("revision", "1")?;
    let (team, format) = team_and_format(&name, &headers)?;
    let asked = arguments.flag("link")?;
    let (issued, bytes) = shared.app.statement(&principal, (period, team, revision), format).await?;
    // Other formats are made of the one that is stored.
    if format == Format::Json && (asked || bytes.len() > ANSWERED_BYTES_MAX) {
        let link = shared.app.statement_link(&principal, (period, team, revision)).await?;
        if let Some(link) = link {
            return Ok(see_other(link));
        }
    }
    let etag = etag(&issued, format);
    if is_known(&headers, &etag) {
        return Ok((StatusCode::NOT_MODIFIED, [(ETAG, etag)]).into_response());
    }
    let suffix = if format == Format::Csv { "csv" } else { "json" };
    let file = format!("attachment; filename=\"{}-r{}.{suffix}\"", file_name(&issued.statement), issued.revision);
    let head = [(CONTENT_TYPE, format.media_type().to_owned()), (ETAG, etag), (CONTENT_DISPOSITION, file)];
    Ok((head, bytes).into_response())
}

/// The manifest of a closed month, byte for byte as it was issued.
pub(crate) async fn get_manifest(
    State(shared): State<Shared>,
    headers: HeaderMap,
    At(period): At<String>,
    arguments: Arguments,
) -> Result<Response, Problem> {
    let principal = shared.principal(&headers).await?;
    arguments.only(&["link"])?;
    let period: Period = parse("period", &period, MONTH)?;
    let asked = arguments.flag("link")?;
    let (digest, bytes) = shared.app.manifest(&principal, period).await?;
    if asked || bytes.len() > ANSWERED_BYTES_MAX {
        let link = shared.app.manifest_link(&principal, period).await?;
        if let Some(link) = link {
            return Ok(see_other(link));
        }
    }
    let etag = format!("\"{digest}\"");
    if is_known(&headers, &etag) {
        return Ok((StatusCode::NOT_MODIFIED, [(ETAG, etag)]).into_response());
    }
    let file = format!("attachment; filename=\"{period}-manifest-r1.json\"");
    let head = [(CONTENT_TYPE, Format::Json.media_type().to_owned()), (ETAG, etag), (CONTENT_DISPOSITION, file)];
    Ok((head, bytes).into_response())
}

/// The document is elsewhere, for whoever has this address.
fn see_other(link: String) -> Response {
    (StatusCode::SEE_OTHER, [(LOCATION, link), (CACHE_CONTROL, "no-store".to_owned())]).into_response()
}

fn is_known(headers: &HeaderMap, etag: &str) -> bool {
    headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok()).is_some_and(|known| matches_etag(known, etag))
}

/// The format by the name's ending, else by `Accept`, else JSON.
fn team_and_format<'a>(name: &'a str, headers: &HeaderMap) -> Result<(&'a str, Format), Problem> {
    if let Some((team, ending)) = name.rsplit_once('.') {
        if let Some(format) = Format::from_name(ending) {
            return Ok((team, format));
        }
        if matches!(ending, "xlsx" | "pdf") {
            let detail = format!("statements come as .json and .csv in this release, not as .{ending}");
            return Err(Problem::not_acceptable(detail));
        }
    }
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kinds = || accept.split(',').map(|kind| kind.split(';').next().unwrap_or_default().trim());
    let takes = |names: &[&str]| kinds().any(|kind| names.contains(&kind));
    if takes(&["text/csv"]) {
        Ok((name, Format::Csv))
    } else if takes(&["", "*/*", "application/*", "application/json"]) {
        Ok((name, Format::Json))
    } else {
        Err(Problem::not_acceptable(format!("statements come as application/json and text/csv, not as `{accept}`")))
    }
}

fn etag(issued: &Issued, format: Format) -> String {
    let suffix = if format == Format::Csv { "-csv" } else { "" };
    format!("\"{}{suffix}\"", issued.digest)
}

fn matches_etag(known: &str, etag: &str) -> bool {
    known.split(',').map(str::trim).any(|one| one == "*" || one.trim_start_matches("W/") == etag)
}

fn file_name(statement: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' };
    statement.chars().map(safe).collect()
}

pub(crate) async fn post_verify(
    State(shared): State<Shared>,
    headers: HeaderMap,
    arguments: Arguments,
    request: Body,
) -> Result<Json<Value>, Problem> {
    let principal = shared.principal(&headers).await?;
    arguments.only(&[])?;
    principal.seen_team()?;
    let _upload = shared.upload().await?;
    let bytes = body::read(&headers, request, STATEMENT_BYTES_MAX).await?;
    let _let_in = shared.let_in().await?;
    Ok(Json(shared.app.verify(&principal, &bytes).await?))
}
