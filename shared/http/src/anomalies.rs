//! Anomalies of tasks and days.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use recoup_workflows::queries::Rows;

use crate::Shared;
use crate::arguments::Arguments;
use crate::problem::Problem;

pub(crate) async fn get_anomalies(
    State(shared): State<Shared>,
    headers: HeaderMap,
    arguments: Arguments,
) -> Result<Json<Rows>, Problem> {
    let principal = shared.principal(&headers).await?;
    arguments.only(&["from", "to", "agent", "kind", "limit", "cursor"])?;
    let range = arguments.range(&shared.app).await?;
    let of = (arguments.text("agent"), arguments.text("kind"));
    Ok(Json(shared.app.anomalies(&principal, range, of, arguments.paging()?).await?))
}
