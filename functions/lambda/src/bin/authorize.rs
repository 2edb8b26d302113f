//! `authorize`: whether work may begin, and what becomes of its reservation. Agents wait for it: what seldom changes is read
//! at the start and not in the first request.

use std::sync::Arc;

use recoup_lambda::context::{Context, Environment};
use recoup_lambda::{logs, web};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    logs::start();
    let context = Context::open(Environment::of_process()).await?;
    if let Err(refusal) = context.app.world().await {
        tracing::warn!(error = recoup_store::causes(&refusal), "nothing can be authorized yet");
    }
    lambda_http::run(web::api("authorize", context.app, Arc::new(web::NoJobs), context.documents)).await
}
