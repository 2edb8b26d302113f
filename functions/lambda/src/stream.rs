//! The stream of the events table: new blocks become live state.
//!
//! A block that cannot be read is put aside by this function itself, with its key and the reason, and the others go on. When
//! the store fails, the batch is given back from its first record on, whole: what was taken in already changes nothing when
//! it comes again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use aws_lambda_events::dynamodb::{Event, EventRecord};
use aws_lambda_events::streams::{DynamoDbBatchItemFailure, DynamoDbEventResponse};
use recoup_store::{StoreError, causes};
use recoup_store_aws::{DeadLetter, DeadLetters, block_name};
use recoup_workflows::rollup::ArrivedBlock;
use recoup_workflows::{App, Refusal};
use serde_dynamo::{AttributeValue, Item};

use crate::metrics::{Metric, emit};

/// The name of the function.
const ROLLUP: &str = "rollup";

fn text<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    match item.get(name)? {
        AttributeValue::S(text) => Some(text),
        _ => None,
    }
}

/// The key of a record's item, for people.
fn key_of(record: &EventRecord) -> String {
    let part = |name| text(&record.change.keys, name).unwrap_or("?");
    format!("{}/{}", part("pk"), part("sk"))
}

fn block_of(record: &EventRecord) -> Result<ArrivedBlock, String> {
    let image = &record.change.new_image;
    let (Some(partition), Some(sort)) = (text(image, "pk"), text(image, "sk")) else {
        return Err("it has no texts `pk` and `sk`".to_owned());
    };
    let events = match image.get("n") {
        Some(AttributeValue::N(number)) => {
            number.parse().map_err(|_| format!("`n` is {number}, no count of events"))?
        }
        _ => return Err("it has no number `n` of events".to_owned()),
    };
    let name = block_name(partition, sort, events).ok_or_else(|| "its key names no block".to_owned())?;
    match image.get("b") {
        Some(AttributeValue::B(bytes)) => Ok(ArrivedBlock { name, bytes: bytes.clone() }),
        _ => Err("it has no bytes `b`".to_owned()),
    }
}

/// Takes a batch of the stream.
///
/// # Errors
/// Never: what fails is in the answer.
pub async fn take(app: &Arc<App>, dead_letters: &DeadLetters, event: Event) -> DynamoDbEventResponse {
    let started = Instant::now();
    let mut answer = DynamoDbEventResponse::default();
    // Nothing is ever changed or removed in the table but by hand.
    let inserted = || event.records.iter().filter(|record| record.event_name == "INSERT");
    if let Err(error) = roll_up(app, dead_letters, inserted().collect()).await {
        tracing::error!(error = causes(&error), records = event.records.len(), "a batch of the stream is given back");
        let first = event.records.first().and_then(|record| record.change.sequence_number.clone());
        let mut failure = DynamoDbBatchItemFailure::default();
        failure.item_identifier = first;
        answer.batch_item_failures.push(failure);
    }
    let oldest = inserted().map(|record| record.change.approximate_creation_date_time.timestamp_millis()).min();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let lag = oldest.map_or(0, |oldest| now.saturating_sub(u128::try_from(oldest).unwrap_or_default()));
    emit(
        ROLLUP,
        &[
            Metric::Milliseconds("RollupLag", u64::try_from(lag).unwrap_or(u64::MAX)),
            Metric::Milliseconds("RollupTime", u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX)),
            Metric::Count("BatchesGivenBack", u64::from(!answer.batch_item_failures.is_empty())),
        ],
    );
    answer
}

async fn roll_up(app: &App, dead_letters: &DeadLetters, records: Vec<&EventRecord>) -> Result<(), Refusal> {
    let mut blocks = Vec::with_capacity(records.len());
    let mut dead: BTreeMap<String, String> = BTreeMap::new();
    for record in records {
        match block_of(record) {
            Ok(block) => blocks.push(block),
            Err(reason) => drop(dead.insert(key_of(record), reason)),
        }
    }
    let outcome = app.rollup(blocks).await?;
    for (name, reason) in &outcome.unreadable {
        dead.insert(format!("{}#{:03}/{}", name.utc_day, name.lane, name.digest), reason.clone());
    }
    for (trace, reason) in &outcome.failed_traces {
        dead.insert(format!("trace {trace:016x}"), reason.clone());
    }
    put_aside(dead_letters, &dead).await?;
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    emit(
        ROLLUP,
        &[
            Metric::Count("BlocksRolledUp", count(outcome.blocks)),
            Metric::Count("TracesPosted", count(outcome.posted_traces)),
            Metric::Count("BlocksUnreadable", count(outcome.unreadable.len())),
            Metric::Count("TracesFailed", count(outcome.failed_traces.len())),
            Metric::Count("EventsUnpriced", count(outcome.unpriced_events)),
        ],
    );
    Ok(())
}

async fn put_aside(dead_letters: &DeadLetters, dead: &BTreeMap<String, String>) -> Result<(), StoreError> {
    for (key, reason) in dead {
        tracing::error!(key, reason, "what cannot be rolled up is put aside");
        let letter = DeadLetter { key: key.clone(), reason: reason.clone(), source: ROLLUP.to_owned() };
        dead_letters.send(&letter).await?;
    }
    Ok(())
}
