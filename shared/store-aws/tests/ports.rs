//! The behaviours of books, leases, documents and alerts, shown by this adapter on an emulator of AWS.
#![expect(clippy::indexing_slicing, reason = "tests")]

mod emulator;

use std::collections::BTreeMap;
use std::sync::Arc;

use recoup_store::conformance::alerts::{Arrived, Watched};
use recoup_store::conformance::leases::Both;
use recoup_store::{Books, Documents};
use recoup_store_aws::{DeadLetter, DeadLetters, DocumentSettings, S3Documents, SnsAlerts, sns_client, sqs_client};
use serde_json::Value;

/// Seconds that one look into a queue waits.
const LOOK_SECONDS: i32 = 1;
/// Looks until an alert counts as lost.
const LOOKS_MAX: usize = 20;

mod books {
    use super::*;

    fn open_books() -> ((), Arc<dyn Books>) {
        ((), emulator::block(emulator::open_store()))
    }

    recoup_store::books_conformance!(open_books);
}

mod leases {
    use super::*;

    fn open_leases() -> ((), Both) {
        let store = emulator::block(emulator::open_store());
        ((), (store.clone(), store))
    }

    recoup_store::leases_conformance!(open_leases);
}

mod documents {
    use super::*;

    fn open_documents() -> ((), Arc<dyn Documents>) {
        let open = async {
            let config = emulator::config().await;
            let bucket = emulator::make_bucket(&config, false).await;
            S3Documents::new(DocumentSettings { bucket, lock: None }, &config)
        };
        ((), Arc::new(emulator::block(open)))
    }

    recoup_store::documents_conformance!(open_documents);
}

mod alerts {
    use super::*;

    fn open_alerts() -> ((), Watched) {
        ((), emulator::block(watched()))
    }

    recoup_store::alerts_conformance!(open_alerts);
}

/// A topic with a queue that is subscribed to it.
async fn watched() -> Watched {
    let config = emulator::config().await;
    let (sns, sqs) = (sns_client(&config), sqs_client(&config));
    let topic = sns.create_topic().name(emulator::fresh("alerts")).send().await.expect("create a topic");
    let topic = topic.topic_arn.expect("a topic has an ARN");
    let queue = sqs.create_queue().queue_name(emulator::fresh("queue")).send().await.expect("create a queue");
    let queue = queue.queue_url.expect("a queue has an address");
    let name = aws_sdk_sqs::types::QueueAttributeName::QueueArn;
    let attributes = sqs.get_queue_attributes().queue_url(&queue).attribute_names(name.clone()).send().await;
    let arn = attributes.expect("read a queue").attributes.and_then(|mut found| found.remove(&name)).expect("an ARN");
    sns.subscribe().topic_arn(&topic).protocol("sqs").endpoint(arn).send().await.expect("subscribe");
    let probe = move |wanted: usize| -> std::pin::Pin<Box<dyn Future<Output = Vec<Arrived>> + Send>> {
        Box::pin(receive(sqs.clone(), queue.clone(), wanted))
    };
    Watched { alerts: Arc::new(SnsAlerts::new(topic, &config).with_chats()), arrived: Arc::new(probe) }
}

async fn receive(sqs: aws_sdk_sqs::Client, queue: String, wanted: usize) -> Vec<Arrived> {
    let mut arrived = Vec::new();
    let mut is_last = false;
    for _ in 0..LOOKS_MAX {
        let look = sqs.receive_message().queue_url(&queue).max_number_of_messages(10).wait_time_seconds(LOOK_SECONDS);
        for message in look.send().await.expect("look into a queue").messages.unwrap_or_default() {
            arrived.push(read(&message.body.expect("a message has a body")));
            let receipt = message.receipt_handle.expect("a message has a receipt");
            sqs.delete_message().queue_url(&queue).receipt_handle(receipt).send().await.expect("take a message out");
        }
        // One more look: nothing may come twice.
        if is_last {
            break;
        }
        is_last = arrived.len() >= wanted;
    }
    arrived
}

/// What SNS wraps an alert in for a queue.
fn read(body: &str) -> Arrived {
    let envelope: Value = serde_json::from_str(body).expect("JSON");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let attributes = envelope["MessageAttributes"].as_object().expect("attributes");
    let mut attributes: BTreeMap<String, String> =
        attributes.iter().map(|(name, attribute)| (name.clone(), text(&attribute["Value"]))).collect();
    assert!(attributes.remove("id").is_some(), "an alert names itself: {body}");
    assert!(envelope["Subject"].is_string(), "{body}");
    Arrived { json: text(&envelope["Message"]), attributes }
}

#[tokio::test(flavor = "multi_thread")]
async fn rat_2_a_dead_letter_is_in_the_queue_and_bounded() {
    let config = emulator::config().await;
    let sqs = sqs_client(&config);
    let queue = sqs.create_queue().queue_name(emulator::fresh("dead")).send().await.expect("create a queue");
    let queue = queue.queue_url.expect("a queue has an address");
    let letter = DeadLetter {
        key: "2026-10-01#000/abc".to_owned(),
        reason: format!("its checksum does not match\u{0} {}", "\u{e9}".repeat(300_000)),
        source: "rollup".to_owned(),
    };
    DeadLetters::new(&queue, &config).send(&letter).await.expect("send");
    let look = sqs.receive_message().queue_url(&queue).wait_time_seconds(LOOK_SECONDS).send().await.expect("look");
    let messages = look.messages.unwrap_or_default();
    assert_eq!(messages.len(), 1);
    let read: DeadLetter = serde_json::from_str(messages[0].body().expect("a body")).expect("JSON");
    assert_eq!((read.key, read.source), (letter.key, letter.source));
    assert!(read.reason.starts_with("its checksum does not match  \u{e9}"), "{}", &read.reason[..50]);
    assert!((4_090..=4_096).contains(&read.reason.len()), "{}", read.reason.len());
}
