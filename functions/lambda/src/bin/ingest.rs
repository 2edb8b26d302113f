//! `ingest`: `POST /v1/events` into the event log. What it answers as accepted is durable.

use std::sync::Arc;

use recoup_lambda::context::{Context, Environment};
use recoup_lambda::{logs, web};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    logs::start();
    let context = Context::open(Environment::of_process()).await?;
    lambda_http::run(web::api("ingest", context.app, Arc::new(web::NoJobs), context.documents)).await
}
