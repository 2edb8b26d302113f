//! The queue of alerts: each reaches the people whom it concerns.
//!
//! An alert that somebody does not have yet is given back to the queue alone; one that somebody will never have goes to the
//! dead letters with its reason, and the others go on. What was told is not told again when it comes again. A call without
//! an alert works off what earlier ones have left.

use std::sync::Arc;
use std::time::Instant;

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use recoup_store::{StoreError, causes};
use recoup_store_aws::{DeadLetter, DeadLetters};
use recoup_workflows::notify::{Channels, Notified};
use recoup_workflows::{App, Refusal};

use crate::metrics::{Metric, emit};

/// The name of the function.
const NOTIFY: &str = "notify";

/// What the function works with.
pub struct Desk {
    /// The application.
    pub app: Arc<App>,
    /// What reaches people.
    pub channels: Channels,
    /// Where what reaches nobody is put aside.
    pub dead_letters: DeadLetters,
}

/// Tells people of the alerts of a batch.
///
/// # Errors
/// Never: what fails is in the answer.
pub async fn tell(desk: &Desk, event: SqsEvent) -> SqsBatchResponse {
    let started = Instant::now();
    let alerts: Vec<&str> = event.records.iter().map(|record| record.body.as_deref().unwrap_or_default()).collect();
    let results = desk.app.notify(&desk.channels, &alerts).await;
    let mut answer = SqsBatchResponse::default();
    let mut dead = 0_u64;
    for (record, result) in event.records.iter().zip(results) {
        match end(desk, record, result).await {
            Ended::Told => {}
            Ended::Dead => dead = dead.saturating_add(1),
            Ended::Again => {
                let mut failure = BatchItemFailure::default();
                failure.item_identifier = record.message_id.clone().unwrap_or_default();
                answer.batch_item_failures.push(failure);
            }
        }
    }
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    emit(
        NOTIFY,
        &[
            Metric::Count("Alerts", count(event.records.len())),
            Metric::Count("AlertsGivenBack", count(answer.batch_item_failures.len())),
            Metric::Count("AlertsDead", dead),
            Metric::Milliseconds("NotifyTime", u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX)),
        ],
    );
    answer
}

enum Ended {
    Told,
    Dead,
    Again,
}

async fn end(desk: &Desk, record: &SqsMessage, result: Result<Notified, Refusal>) -> Ended {
    let key = record.message_id.as_deref().unwrap_or("an alert without a name");
    let reason = match result {
        Ok(Notified::Done) => return Ended::Told,
        Ok(Notified::Again { after, reason }) => {
            tracing::warn!(key, reason, after_s = after.as_secs(), "an alert is given back to the queue");
            return Ended::Again;
        }
        Ok(Notified::Dead { reason }) => reason,
        // What nobody can read is not read better the next time.
        Err(refusal @ Refusal::Invalid { .. }) => refusal.to_string(),
        Err(refusal) => {
            tracing::error!(key, error = causes(&refusal), "an alert is given back to the queue");
            return Ended::Again;
        }
    };
    match put_aside(desk, record, &reason).await {
        Ok(()) => Ended::Dead,
        Err(error) => {
            tracing::error!(key, error = causes(&error), "a dead letter could not be put aside");
            Ended::Again
        }
    }
}

async fn put_aside(desk: &Desk, record: &SqsMessage, reason: &str) -> Result<(), StoreError> {
    let body = record.body.as_deref().unwrap_or_default();
    let id = serde_json::from_str::<serde_json::Value>(body).ok();
    let id = id.as_ref().and_then(|alert| alert.get("id")).and_then(serde_json::Value::as_str);
    let key = id.or(record.message_id.as_deref()).unwrap_or_default();
    tracing::error!(key, reason, "an alert does not reach everybody and is put aside");
    let letter = DeadLetter { key: key.to_owned(), reason: reason.to_owned(), source: NOTIFY.to_owned() };
    desk.dead_letters.send(&letter).await
}
