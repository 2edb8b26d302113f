//! `rollup`: the stream of the events table into live state.

use aws_lambda_events::dynamodb::Event;
use lambda_runtime::{LambdaEvent, service_fn};
use recoup_lambda::context::{Context, Environment};
use recoup_lambda::{logs, stream};
use tracing::Instrument as _;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    logs::start();
    let context = Context::open(Environment::of_process()).await?;
    let dead_letters = context.dead_letters()?;
    let (app, dead_letters) = (&context.app, &dead_letters);
    let handle = |event: LambdaEvent<Event>| async move {
        let span = logs::invocation(&event.context);
        Ok::<_, lambda_runtime::Error>(stream::take(app, dead_letters, event.payload).instrument(span).await)
    };
    lambda_runtime::run(service_fn(handle)).await
}
