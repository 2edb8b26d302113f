//! The pre-flight check, and the reservations that it gives out.

use axum::Json;
use axum::body::Body;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use recoup_model::{Id, Tags, limits};
use recoup_money::{Amount, Currency};
use recoup_workflows::Refusal;
use recoup_workflows::authorize::{Authorization, AuthorizeRequest, Decision, Estimate};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::arguments::{Arguments, At};
use crate::problem::Problem;
use crate::{Shared, body, origin};

/// Bytes of a request.
const AUTHORIZE_BYTES_MAX: usize = 16 * 1024;
/// Bytes of an answer with a few scopes, so that it is written without moving.
const ANSWER_BYTES_USUAL: usize = 1024;
/// Most tokens of an estimate, each way.
const TOKENS_MAX: u64 = 1_000_000_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    #[serde(default)]
    tags: Tags,
    #[serde(default)]
    trace_id: Option<Id>,
    #[serde(default)]
    priority: Option<String>,
    #[serde(default)]
    estimate: Option<WantedEstimate>,
    #[serde(default)]
    ttl_s: Option<u32>,
    #[serde(default)]
    reserve: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WantedEstimate {
    amount: Option<Amount>,
    currency: Option<Currency>,
    provider: Option<Id>,
    model: Option<Id>,
    service_tier: Option<Id>,
    input_tokens: Option<u64>,
    max_output_tokens: Option<u64>,
}

/// Marks the answer that work may not begin, for whoever counts.
#[derive(Clone, Copy, Debug)]
pub struct Denied;

const SHAPE: &str = "{\"tags\":{\"team\":\"support\"},\"estimate\":{\"amount\":\"0.05\",\"currency\":\"USD\"}}";

pub(crate) async fn post_authorize(State(shared): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (mut parts, request) = request.into_parts();
    let _working = origin::works(&parts.extensions);
    let principal = shared.principal_from(&parts.headers, origin::of_request(&parts.extensions)).await?;
    if parts.uri.query().is_some() {
        Box::pin(Arguments::from_request_parts(&mut parts, &shared)).await?.only(&[])?;
    }
    let mut wanted: Wanted = body::read_json(&parts.headers, request, AUTHORIZE_BYTES_MAX, SHAPE).await?;
    let _let_in = shared.let_in().await?;
    if !wanted.tags.extra.is_empty() {
        let organisation = Box::pin(shared.app.organisation_today()).await?;
        check_extra(&wanted.tags, &organisation.policy.extra_tags)?;
    }
    let of_money = wanted.estimate.as_mut().filter(|estimate| estimate.amount.is_some());
    if let Some(estimate) = of_money.filter(|estimate| estimate.currency.is_none()) {
        estimate.currency = Some(Box::pin(shared.app.organisation_today()).await?.currency);
    }
    answer(&shared.app.authorize(&principal, read(wanted)?).await?)
}

fn answer(authorization: &Authorization) -> Result<Response, Problem> {
    let mut text = Vec::with_capacity(ANSWER_BYTES_USUAL);
    serde_json::to_writer(&mut text, authorization)
        .map_err(|error| Refusal::computation("write an answer as JSON", error))?;
    let mut response = Response::new(Body::from(text));
    if authorization.decision == Decision::Deny {
        response.extensions_mut().insert(Denied);
    }
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

fn read(wanted: Wanted) -> Result<AuthorizeRequest, Problem> {
    let Wanted { tags, trace_id, priority, estimate, ttl_s, reserve } = wanted;
    let critical = match priority.as_deref() {
        None => false,
        Some("critical") => true,
        Some(other) => {
            let detail = format!("there is no priority `{other}`; write `critical`, or leave it out");
            return Err(Problem::invalid("unknown-value", "priority", detail));
        }
    };
    check_tags(&tags)?;
    if let Some(trace) = &trace_id {
        check_name("trace_id", trace)?;
    }
    let estimate = estimate.map(read_estimate).transpose()?;
    Ok(AuthorizeRequest { tags, trace_id, critical, estimate, ttl_s, ask_only: reserve == Some(false) })
}

/// A tag that nobody knows may be a known one mistyped, whose budget would not be asked.
fn check_extra(tags: &Tags, allowed: &[Id]) -> Result<(), Problem> {
    let Some(unknown) = tags.extra.keys().find(|tag| !allowed.contains(tag)) else { return Ok(()) };
    let detail = format!(
        "the organisation does not keep `{unknown}`; known: agent, task_type, task_id, user, team, project; add it to \
         policy.extra_tags in the organisation file, or leave it out"
    );
    Err(Problem::invalid("unknown-tag", &format!("tags.{unknown}"), detail))
}

fn check_tags(tags: &Tags) -> Result<(), Problem> {
    let named = [
        ("tags.agent", &tags.agent),
        ("tags.task_type", &tags.task_type),
        ("tags.task_id", &tags.task_id),
        ("tags.user", &tags.user),
        ("tags.team", &tags.team),
        ("tags.project", &tags.project),
    ];
    named
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.as_ref()?)))
        .try_for_each(|(name, value)| check_name(name, value))
}

fn check_name(field: &str, value: &str) -> Result<(), Problem> {
    let most = limits::TAG_BYTES_MAX;
    if value.trim().is_empty() || value.len() > most || value.chars().any(char::is_control) {
        let detail = format!("{field} has 1 to {most} bytes and no control characters; or leave it out");
        return Err(Problem::invalid("invalid-tag", field, detail));
    }
    Ok(())
}

fn read_estimate(wanted: WantedEstimate) -> Result<Estimate, Problem> {
    let missing = |field: &str| {
        Problem::invalid(
            "missing-field",
            &format!("estimate.{field}"),
            format!("estimate.{field} is missing; write {SHAPE}"),
        )
    };
    let WantedEstimate { amount, currency, provider, model, service_tier, input_tokens, max_output_tokens } = wanted;
    if amount.is_some() || currency.is_some() {
        let names = provider.is_some() || model.is_some() || service_tier.is_some();
        if names || input_tokens.is_some() || max_output_tokens.is_some() {
            let detail =
                "an estimate is either an amount with its currency or a model with its tokens; send one of them";
            return Err(Problem::invalid("ambiguous-estimate", "estimate", detail));
        }
        let amount = amount.ok_or_else(|| missing("amount"))?;
        if amount < Amount::ZERO {
            return Err(Problem::invalid("out-of-range", "estimate.amount", "an estimate is 0 or more"));
        }
        return Ok(Estimate::Money { amount, currency: currency.ok_or_else(|| missing("currency"))? });
    }
    let (provider, model) = (provider.ok_or_else(|| missing("provider"))?, model.ok_or_else(|| missing("model"))?);
    check_name("estimate.provider", &provider)?;
    check_name("estimate.model", &model)?;
    service_tier.iter().try_for_each(|tier| check_name("estimate.service_tier", tier))?;
    // As events name them.
    let provider = Id::from(recoup_metering::provider_id(&provider));
    let service_tier = service_tier.map(|tier| Id::from(recoup_metering::service_tier_id(&tier)));
    let tokens = |field: &str, tokens: Option<u64>| match tokens {
        None => Err(missing(field)),
        Some(tokens) if tokens > TOKENS_MAX => {
            let detail = format!("{tokens} tokens are more than the {TOKENS_MAX} of an estimate");
            Err(Problem::invalid("out-of-range", &format!("estimate.{field}"), detail))
        }
        Some(tokens) => Ok(tokens),
    };
    let input_tokens = tokens("input_tokens", input_tokens)?;
    let max_output_tokens = tokens("max_output_tokens", max_output_tokens)?;
    Ok(Estimate::Tokens { provider, model, service_tier, input_tokens, max_output_tokens })
}

pub(crate) async fn delete_reservation(
    State(shared): State<Shared>,
    headers: HeaderMap,
    At(id): At<String>,
) -> Result<StatusCode, Problem> {
    let principal = shared.principal(&headers).await?;
    shared.app.release(&principal, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Longer {
    ttl_s: u32,
}

pub(crate) async fn post_extension(
    State(shared): State<Shared>,
    headers: HeaderMap,
    At(id): At<String>,
    request: Body,
) -> Result<Json<Value>, Problem> {
    let principal = shared.principal(&headers).await?;
    let Longer { ttl_s } = body::read_json(&headers, request, AUTHORIZE_BYTES_MAX, "{\"ttl_s\":900}").await?;
    let (reservation_id, expires_at) = shared.app.extend_reservation(&principal, &id, ttl_s).await?;
    Ok(Json(json!({ "reservation_id": reservation_id, "expires_at": expires_at })))
}
