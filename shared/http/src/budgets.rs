//! Budgets as they stand.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use recoup_workflows::queries::Rows;
use serde_json::json;

use crate::Shared;
use crate::arguments::Arguments;
use crate::problem::Problem;

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
