//! `watch`: what time alone brings, once a minute: leases end, alerts escalate, periods end, and what is still to be told is
//! told.

use lambda_runtime::{LambdaEvent, service_fn};
use recoup_lambda::context::{Context, Environment};
use recoup_lambda::steps::StepError;
use recoup_lambda::{logs, watch};
use serde::de::IgnoredAny;
use tracing::Instrument as _;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    logs::start();
    let context = Context::open(Environment::of_process()).await?;
    let app = &context.app;
    let handle = |event: LambdaEvent<IgnoredAny>| async move {
        let span = logs::invocation(&event.context);
        Ok::<_, StepError>(watch::look(app).instrument(span).await?)
    };
    lambda_runtime::run(service_fn(handle)).await
}
