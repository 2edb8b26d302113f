//! The floor of a cold start: an axum router behind the Lambda runtime that answers one route and knows nothing.

use axum::Router;
use axum::routing::get;

#[tokio::main]
async fn main() -> Result<(), lambda_http::Error> {
    lambda_http::run(Router::new().route("/openapi.json", get(|| async { "{}" }))).await
}
