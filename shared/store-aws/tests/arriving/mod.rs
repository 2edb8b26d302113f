//! Events that are sent, and the blocks of them as a stream brings them.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use recoup_metering::Shape;
use recoup_store_aws::block_name;
use recoup_workflows::ingest::Listing;
use recoup_workflows::rollup::ArrivedBlock;
use recoup_workflows::{App, Principal};
use serde_json::Value;

use crate::stage::SetClock;

pub(crate) type Item = HashMap<String, AttributeValue>;

/// Sends a request of events, all of which are accepted; the next one comes a second later.
pub(crate) async fn send(app: &App, clock: &SetClock, events: Vec<Value>) {
    let sent = u64::try_from(events.len()).expect("small");
    let body = Value::from(events).to_string().into_bytes();
    let receipt = app.ingest(&Principal::operator(), &body, Shape::Json, Listing::All).await.expect("ingest");
    assert_eq!(receipt.accepted, sent, "{receipt:?}");
    clock.0.fetch_add(1_000_000_000, Ordering::SeqCst);
}

/// Everything in a table.
pub(crate) async fn items(client: &Client, table: &str) -> Vec<Item> {
    let (mut items, mut from) = (Vec::new(), None);
    loop {
        let page = client.scan().table_name(table).consistent_read(true).set_exclusive_start_key(from);
        let page = page.send().await.expect("scan");
        items.extend(page.items.unwrap_or_default());
        from = page.last_evaluated_key.filter(|key| !key.is_empty());
        if from.is_none() {
            return items;
        }
    }
}

pub(crate) fn text<'a>(item: &'a Item, name: &str) -> &'a str {
    item[name].as_s().expect("a text")
}

/// The blocks of a table of events as a stream brings them, in the order in which they were recorded.
pub(crate) async fn blocks(client: &Client, events_table: &str) -> Vec<ArrivedBlock> {
    let mut items = items(client, events_table).await;
    items.sort_by_key(|item| (item["t"].as_n().expect("a number").clone(), text(item, "pk").to_owned()));
    let arrived = |item: &Item| {
        let events = item["n"].as_n().expect("a number").parse().expect("a count");
        let name = block_name(text(item, "pk"), text(item, "sk"), events).expect("a block");
        ArrivedBlock { name, bytes: item["b"].as_b().expect("bytes").as_ref().to_vec() }
    };
    items.iter().map(arrived).collect()
}
