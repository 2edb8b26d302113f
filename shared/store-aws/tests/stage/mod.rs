//! Processes of one deployment: tables of their own, an organisation with budgets, a clock that is set, a topic that is heard.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use recoup_metering::Shape;
use recoup_store::{Alerts, Clock};
use recoup_store_aws::{AwsStore, DocumentSettings, S3Documents, block_name};
use recoup_workflows::ingest::Listing;
use recoup_workflows::rollup::ArrivedBlock;
use recoup_workflows::{App, Ports, Principal};
use serde_json::Value;

use crate::emulator;

pub(crate) type Item = HashMap<String, AttributeValue>;

/// 2026-11-10T08:00:00Z.
pub(crate) const NOW_NS: i64 = 1_794_297_600_000_000_000;

#[derive(Debug)]
pub(crate) struct SetClock(pub(crate) AtomicI64);

impl SetClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(NOW_NS)))
    }
}

impl Clock for SetClock {
    fn now_ns(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// A process over a store.
pub(crate) async fn app(store: &Arc<AwsStore>, clock: &Arc<SetClock>, alerts: Arc<dyn Alerts>) -> Arc<App> {
    let config = emulator::config().await;
    let documents = Arc::new(S3Documents::new(DocumentSettings { bucket: "none".into(), lock: None }, &config));
    let ports = Ports {
        log: store.clone(),
        live: store.clone(),
        leases: store.clone(),
        books: store.clone(),
        documents,
        alerts,
        clock: clock.clone(),
    };
    Arc::new(App::new(ports, [7; 32], store.lanes()).sharing(true))
}

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
