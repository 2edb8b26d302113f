//! Notify: alerts reach people, each of them once.
//!
//! Every alert becomes one delivery for each target, in the books before anything is sent. The deliveries of a target leave
//! through its outlet: one process at a time works it off, in order, so that the messages of a thread stand below the first
//! one, and a channel gets so many in a minute and no more. What was sent is noted after the service took it: a crash between
//! the two repeats a message, and none loses one.
//!
//! | step | reads | writes |
//! |---|---|---|
//! | plan an alert | the organisation, its deliveries | its deliveries, one group |
//! | look for work | the first delivery of each outlet | nothing |
//! | send one | the outlet, its deliveries, the thread | the outlet, the delivery, the thread, one group |
//!
//! Start reading at [`App::notify`] for many processes, [`App::plan_alerts`] and [`App::work_outlet`] for one.

mod answers;
mod backoff;
mod delivery;
mod outlet;
mod plan;
mod press;
mod queue;
mod sending;
mod targets;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use recoup_store::{Mail, Slack, SlackReach, causes};
use tokio::task::JoinSet;

use crate::app::App;
use crate::error::Refusal;

pub use answers::Answer;
pub use delivery::{Channel, Delivery, DeliveryState, How};
pub use outlet::Worked;
pub use press::{Answered, Pressed};
pub(crate) use press::{FORMS, PRESSES};
pub use queue::AlertQueue;
pub(crate) use sending::THREADS;
pub use targets::Target;

/// What reaches people. What is not configured is not there.
#[derive(Clone, Default)]
pub struct Channels {
    /// Slack.
    pub slack: Option<Arc<dyn Slack>>,
    /// E-mail.
    pub mail: Option<Arc<dyn Mail>>,
}

/// Which channels there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reach {
    pub(crate) slack: Option<SlackReach>,
    pub(crate) mail: bool,
}

impl Channels {
    pub(crate) fn reach(&self) -> Reach {
        Reach { slack: self.slack.as_ref().map(|slack| slack.reach()), mail: self.mail.is_some() }
    }
}

/// What became of an alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notified {
    /// Everybody has it, or nobody has to; noted in the books.
    Done,
    /// Somebody does not have it yet: bring it again.
    Again {
        /// Not sooner than after so long.
        after: Duration,
        /// Why.
        reason: String,
    },
    /// Somebody will never have it: noted in the books as a dead letter. Bringing it again changes nothing.
    Dead {
        /// Why.
        reason: String,
    },
}

impl App {
    /// Tells people of alerts, each given by its JSON, and says of each what became of it. To be called again with what was
    /// not done; what is brought again is not told again. What earlier calls have left is worked off as well.
    ///
    /// Each alert has a result of its own: one that cannot be read fails alone.
    pub async fn notify(self: &Arc<Self>, channels: &Channels, alerts: &[&str]) -> Vec<Result<Notified, Refusal>> {
        if let Err(error) = self.plan_alerts(channels).await {
            tracing::error!(error = causes(&error), "alerts that are to be told again wait for the next call");
        }
        let mut planned = Vec::new();
        for json in alerts {
            planned.push(self.plan_alert(channels.reach(), json).await);
        }
        let worked = self.work_outlets(channels).await;
        let mut results = Vec::new();
        for plan in planned {
            results.push(match (plan, &worked) {
                (Ok(Some(alert)), Ok(())) => self.notified(&alert).await,
                (Ok(None), Ok(())) => Ok(Notified::Done),
                (Err(error), _) => Err(error),
                (Ok(_), Err(reason)) => Err(Refusal::computation("tell people of an alert", reason)),
            });
        }
        results
    }

    /// Works off every outlet that has something to send now, all at once.
    async fn work_outlets(self: &Arc<Self>, channels: &Channels) -> Result<(), Refusal> {
        let outlets: BTreeSet<String> = self.outlets_with_work().await?;
        let mut working = JoinSet::new();
        for outlet in outlets {
            let (app, channels) = (Arc::clone(self), channels.clone());
            working.spawn(async move {
                if let Err(error) = app.work_outlet(&channels, &outlet).await {
                    tracing::error!(outlet, error = causes(&error), "a channel waits for the next call");
                }
            });
        }
        working.join_all().await;
        Ok(())
    }
}
