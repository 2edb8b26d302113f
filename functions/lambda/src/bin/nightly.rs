//! `nightly`: the steps of a night: plan, parts, settle.

use lambda_runtime::{LambdaEvent, service_fn};
use recoup_lambda::context::{Context, Environment};
use recoup_lambda::logs;
use recoup_lambda::steps::{Duty, Step, take};
use tracing::Instrument as _;

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    logs::start();
    let context = Context::open(Environment::of_process()).await?;
    let app = &context.app;
    let handle = |event: LambdaEvent<Step>| async move {
        let span = logs::invocation(&event.context);
        take(app, Duty::Nightly, event.payload).instrument(span).await
    };
    lambda_runtime::run(service_fn(handle)).await
}
