//! How a line of a statement came about.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use recoup_model::Period;
use recoup_workflows::explain::step::ROWS_MAX;
use recoup_workflows::explain::traces::TRACES_MAX;
use recoup_workflows::explain::{ExplainRequest, ROWS_DEFAULT};
use serde_json::Value;

use crate::Shared;
use crate::arguments::{Arguments, At, parse};
use crate::problem::Problem;

pub(crate) async fn get_explanation(
    State(shared): State<Shared>,
    headers: HeaderMap,
    At((period, team, line)): At<(String, String, String)>,
    arguments: Arguments,
) -> Result<Json<Value>, Problem> {
    let principal = shared.principal(&headers).await?;
    arguments.only(&["rows", "traces"])?;
    let period: Period = parse("period", &period, "a month as 2026-10")?;
    let line: usize = parse("line", &line, "the number of a line, from 1")?;
    let rows = at_most(&arguments, "rows", ROWS_MAX)?;
    let traces = at_most(&arguments, "traces", TRACES_MAX)?;
    let request = ExplainRequest { period, team, line, rows, traces };
    Ok(Json(shared.app.explain(&principal, &request).await?))
}

fn at_most(arguments: &Arguments, name: &str, most: usize) -> Result<usize, Problem> {
    let count = arguments.parsed(name, "10")?.unwrap_or(ROWS_DEFAULT);
    if count <= most {
        return Ok(count);
    }
    Err(Problem::invalid("invalid-argument", name, format!("`{name}` has to lie between 0 and {most}")))
}
