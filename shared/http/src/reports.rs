//! Questions: costs, traces, prices, pools, findings, a team's own events.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use recoup_model::{FindingKind, Period};
use recoup_workflows::Refusal;
use recoup_workflows::queries::{Dimension, Rows};
use serde_json::{Value, json};

use crate::Shared;
use crate::arguments::{Arguments, At};
use crate::problem::Problem;

type Answer<T> = Result<Json<T>, Problem>;

fn dimensions(arguments: &Arguments) -> Result<Vec<Dimension>, Problem> {
    let names = arguments.text("group_by").unwrap_or("team");
    let mut found = Vec::new();
    for name in names.split(',').map(str::trim) {
        let dimension = Dimension::from_name(name).ok_or_else(|| {
            let known: Vec<_> = Dimension::ALL.iter().map(|dimension| dimension.name()).collect();
            let detail = format!("costs cannot be grouped by `{name}`; known: {}", known.join(", "));
            Problem::invalid("invalid-argument", "group_by", detail)
        })?;
        if !found.contains(&dimension) {
            found.push(dimension);
        }
    }
    Ok(found)
}

pub(crate) async fn get_costs(State(shared): State<Shared>, headers: HeaderMap, arguments: Arguments) -> Answer<Rows> {
    let principal = shared.principal(&headers).await?;
    arguments.only(&["from", "to", "group_by", "limit", "cursor"])?;
    let range = arguments.range(&shared.app).await?;
    Ok(Json(shared.app.costs(&principal, range, &dimensions(&arguments)?, arguments.paging()?).await?))
}

pub(crate) async fn get_trace(
    State(shared): State<Shared>,
    headers: HeaderMap,
    At(trace_id): At<String>,
) -> Answer<Value> {
    let principal = shared.principal(&headers).await?;
    Ok(Json(shared.app.trace(&principal, &trace_id).await?))
}

pub(crate) async fn get_events(State(shared): State<Shared>, headers: HeaderMap, arguments: Arguments) -> Answer<Rows> {
    let principal = shared.principal(&headers).await?;
    arguments.only(&["team", "from", "to", "limit", "cursor"])?;
    let range = arguments.range(&shared.app).await?;
    Ok(Json(shared.app.team_events(&principal, arguments.text("team"), range, arguments.paging()?).await?))
}

pub(crate) async fn get_unpriced(
    State(shared): State<Shared>,
    headers: HeaderMap,
    arguments: Arguments,
) -> Answer<Rows> {
    let principal = shared.principal(&headers).await?;
    arguments.only(&["from", "to", "limit", "cursor"])?;
    let range = arguments.range(&shared.app).await?;
    Ok(Json(shared.app.unpriced(&principal, range, arguments.paging()?).await?))
}

pub(crate) async fn get_findings(
    State(shared): State<Shared>,
    headers: HeaderMap,
    arguments: Arguments,
) -> Answer<Rows> {
    let principal = shared.principal(&headers).await?;
    arguments.only(&["from", "to", "kind", "limit", "cursor"])?;
    let range = arguments.range(&shared.app).await?;
    let kind = match arguments.text("kind") {
        None => None,
        Some(name) => Some(serde_json::from_value::<FindingKind>(json!(name)).map_err(|_| {
            Problem::invalid("invalid-argument", "kind", format!("there is no kind of finding `{name}`"))
        })?),
    };
    Ok(Json(shared.app.findings(&principal, range, kind, arguments.paging()?).await?))
}

pub(crate) async fn get_nights(State(shared): State<Shared>, headers: HeaderMap, arguments: Arguments) -> Answer<Rows> {
    let principal = shared.principal(&headers).await?;
    arguments.only(&["from", "to", "limit", "cursor"])?;
    let range = arguments.range(&shared.app).await?;
    Ok(Json(shared.app.night_manifests(&principal, range, arguments.paging()?).await?))
}

pub(crate) async fn get_task_prices(
    State(shared): State<Shared>,
    headers: HeaderMap,
    arguments: Arguments,
) -> Answer<Rows> {
    shared.principal(&headers).await?.seen_team()?;
    arguments.only(&["agent", "task_type", "limit", "cursor"])?;
    let (agent, task_type) = (arguments.text("agent"), arguments.text("task_type"));
    Ok(Json(shared.app.task_prices(agent, task_type, arguments.paging()?).await?))
}

async fn period_of(shared: &Shared, headers: &HeaderMap, arguments: &Arguments) -> Result<Period, Problem> {
    shared.principal(headers).await?.may_see_all()?;
    arguments.only(&["period", "limit", "cursor"])?;
    arguments.required("period", "a month as 2026-10")
}

pub(crate) async fn get_pools(State(shared): State<Shared>, headers: HeaderMap, arguments: Arguments) -> Answer<Rows> {
    shared.principal(&headers).await?.may_see_all()?;
    arguments.only(&["period", "pool", "limit", "cursor"])?;
    let period = arguments.required("period", "a month as 2026-10")?;
    let pools = shared.app.pool_pages(period, arguments.text("pool")).await?;
    Ok(Json(arguments.paging()?.cut(pools)))
}

pub(crate) async fn get_variances(
    State(shared): State<Shared>,
    headers: HeaderMap,
    arguments: Arguments,
) -> Answer<Rows> {
    let period = period_of(&shared, &headers, &arguments).await?;
    let variances = shared.app.variances(period).await?;
    Ok(Json(arguments.paging()?.cut(variances.iter().map(|variance| json!(variance)).collect())))
}

pub(crate) async fn get_balances(
    State(shared): State<Shared>,
    headers: HeaderMap,
    arguments: Arguments,
) -> Answer<Value> {
    let period = period_of(&shared, &headers, &arguments).await?;
    let balances = shared.app.balances(period).await?;
    let sum = balances.trial().ok_or_else(|| Refusal::computation("add up the accounts", "the sum overflows"))?;
    let rows: Vec<_> =
        balances.accounts().iter().map(|(account, amount)| json!({ "account": account, "amount": amount })).collect();
    Ok(Json(json!({ "rows": rows, "total": sum })))
}

pub(crate) async fn get_periods(State(shared): State<Shared>, headers: HeaderMap) -> Answer<Value> {
    shared.principal(&headers).await?.may_see_all()?;
    Ok(Json(json!({ "rows": shared.app.periods().await? })))
}

pub(crate) async fn get_overview(State(shared): State<Shared>, headers: HeaderMap) -> Answer<Value> {
    shared.principal(&headers).await?.may_see_all()?;
    Ok(Json(shared.app.overview().await?))
}
