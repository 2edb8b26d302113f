//! Budgets as they stand, and their limits.

use std::str::FromStr;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use chrono::NaiveDate;
use recoup_model::organisation::Unavailable;
use recoup_money::Amount;
use recoup_workflows::organisation::Applied;
use recoup_workflows::queries::Rows;
use recoup_workflows::set_budget::{BudgetRequest, Since};
use serde::Deserialize;
use serde_json::json;

use crate::arguments::Arguments;
use crate::problem::Problem;
use crate::{Shared, body};

/// Bytes of a request.
const BUDGET_BYTES_MAX: usize = 16 * 1024;

pub(crate) async fn get_budgets(
    State(shared): State<Shared>,
    headers: HeaderMap,
    arguments: Arguments,
) -> Result<Json<Rows>, Problem> {
    let principal = shared.principal(&headers).await?;
    arguments.only(&["limit", "cursor"])?;
    let budgets = shared.app.budgets(&principal).await?;
    Ok(Json(arguments.paging()?.cut(budgets.iter().map(|budget| json!(budget)).collect())))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    scope: String,
    #[serde(default)]
    period: Option<String>,
    limit: Amount,
    #[serde(default)]
    tiers: Option<Vec<u32>>,
    #[serde(default)]
    unavailable: Option<String>,
}

/// The argument `effective`.
struct Effective(Since);

impl FromStr for Effective {
    type Err = chrono::ParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "today" => Ok(Self(Since::Today)),
            day => day.parse::<NaiveDate>().map(|day| Self(Since::Day(day))),
        }
    }
}

pub(crate) async fn post_budget(
    State(shared): State<Shared>,
    headers: HeaderMap,
    arguments: Arguments,
    request: Body,
) -> Result<Json<Applied>, Problem> {
    let principal = shared.principal(&headers).await?;
    principal.may_run()?;
    arguments.only(&["effective", "dry_run"])?;
    let effective = arguments.parsed::<Effective>("effective", "a day as 2026-11-01, or today")?;
    let since = effective.map_or(Since::Tomorrow, |Effective(since)| since);
    let dry_run = arguments.flag("dry_run")?;
    let shape = "{\"scope\":\"team:support\",\"limit\":\"4000.00\"}";
    let Wanted { scope, period, limit, tiers, unavailable } =
        body::read_json(&headers, request, BUDGET_BYTES_MAX, shape).await?;
    let unavailable = match unavailable.as_deref() {
        None => None,
        Some("deny") => Some(Unavailable::Deny),
        Some("allow") => Some(Unavailable::Allow),
        Some(other) => {
            let detail = format!("work is told `deny` or `allow` while a budget cannot be read, not `{other}`");
            return Err(Problem::invalid("unknown-value", "unavailable", detail));
        }
    };
    let request = BudgetRequest { scope, period, limit, tiers, unavailable };
    Ok(Json(shared.app.set_budget(&principal, &request, since, dry_run).await?))
}
