//! Alerts on their way to people, while a folder is served: handed-over alerts are planned, each channel is worked off by a
//! task of its own, so that a dead one holds nobody else up.

use recoup_store::causes;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use recoup_workflows::notify::{AlertQueue, Channels};
use recoup_workflows::{App, Refusal};
use tokio::task::JoinSet;

/// How long the queue may rest: what waits for its time is found by the next look.
const LOOK: Duration = Duration::from_secs(1);

/// Delivers for ever. What is cut off is found in the books by the next process.
pub(crate) async fn run(app: Arc<App>, channels: Channels, queue: AlertQueue) {
    let mut working = JoinSet::new();
    let mut busy = BTreeSet::new();
    loop {
        match look(&app, &channels).await {
            Ok(outlets) => {
                for outlet in outlets {
                    if busy.insert(outlet.clone()) {
                        working.spawn(work(Arc::clone(&app), channels.clone(), outlet));
                    }
                }
            }
            Err(error) => tracing::error!(error = causes(&error), "alerts wait for the next look"),
        }
        tokio::select! {
            () = queue.has_news() => {}
            () = tokio::time::sleep(LOOK) => {}
            Some(Ok(outlet)) = working.join_next() => drop(busy.remove(&outlet)),
        }
    }
}

/// The outlets that have something to do. The answers to buttons are an outlet without a name.
async fn look(app: &App, channels: &Channels) -> Result<BTreeSet<String>, Refusal> {
    app.plan_alerts(channels).await?;
    let mut outlets = app.outlets_with_work().await?;
    if channels.slack.is_some() && app.has_answers().await? {
        outlets.insert(String::new());
    }
    Ok(outlets)
}

async fn work(app: Arc<App>, channels: Channels, outlet: String) -> String {
    let worked = match &channels.slack {
        Some(slack) if outlet.is_empty() => app.give_answers(slack.as_ref()).await,
        _ => app.work_outlet(&channels, &outlet).await.map(drop),
    };
    if let Err(error) = worked {
        tracing::error!(outlet, error = causes(&error), "a channel waits for the next look");
    }
    outlet
}
