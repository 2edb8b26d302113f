//! `notify`: the queue behind the topic of alerts, to Slack and by e-mail; once a minute also what earlier calls have left.

use aws_lambda_events::sqs::SqsEvent;
use lambda_runtime::{LambdaEvent, service_fn};
use recoup_lambda::context::{Context, Environment};
use recoup_lambda::{logs, notify};
use tracing::Instrument as _;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    logs::start();
    let context = Context::open(Environment::of_process()).await?;
    let desk = notify::Desk { channels: context.channels()?, dead_letters: context.dead_letters()?, app: context.app };
    let desk = &desk;
    let handle = |event: LambdaEvent<SqsEvent>| async move {
        let span = logs::invocation(&event.context);
        Ok::<_, lambda_runtime::Error>(notify::tell(desk, event.payload).instrument(span).await)
    };
    lambda_runtime::run(service_fn(handle)).await
}
