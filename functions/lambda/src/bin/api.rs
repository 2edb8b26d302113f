//! `api`: everything over HTTP but the events. Nights and closes are started in their state machines.

use std::sync::Arc;

use recoup_lambda::context::{Context, Environment};
use recoup_lambda::{logs, web};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    logs::start();
    let context = Context::open(Environment::of_process()).await?;
    let jobs = Arc::new(context.state_machines()?);
    // Everything else works without the buttons.
    let slack = context.slack_door().unwrap_or_else(|error| {
        tracing::error!(error = recoup_store::causes(&error), "Slack's buttons are not answered");
        None
    });
    lambda_http::run(web::api_with_slack("api", context.app, jobs, (context.documents, slack))).await
}
