//! A client that counts the read units that AWS bills. An emulator counts a read of any size alike, or a batch not at all.
//!
//! A strongly consistent read is a unit per started 4 KB: of each item of `GetItem` and `BatchGetItem`, also where there is
//! none, and of all items of a page of `Query` together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::interceptors::{
    AfterDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextRef,
};
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use aws_types::SdkConfig;
use serde_json::Value;

const UNIT_BYTES: usize = 4_096;

#[derive(Clone, Debug, Default)]
pub(crate) struct Billed(Arc<AtomicU64>);

impl Billed {
    pub(crate) fn client(config: &SdkConfig) -> (Self, Client) {
        let billed = Self::default();
        let own = aws_sdk_dynamodb::config::Builder::from(config).interceptor(billed.clone());
        (billed, Client::from_conf(own.build()))
    }

    /// Read units so far.
    pub(crate) fn units(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    fn add(&self, units: usize) -> Result<(), BoxError> {
        self.0.fetch_add(u64::try_from(units)?, Ordering::SeqCst);
        Ok(())
    }
}

impl Intercept for Billed {
    fn name(&self) -> &'static str {
        "billed"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let target = context.request().headers().get("x-amz-target").unwrap_or_default();
        let operation = target.rsplit('.').next().unwrap_or_default();
        self.add(units_asked(operation, &json(context.request().body().bytes())))
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.add(units_more(&json(context.response().body().bytes())))
    }
}

fn json(bytes: Option<&[u8]>) -> Value {
    serde_json::from_slice(bytes.unwrap_or_default()).unwrap_or(Value::Null)
}

/// What a read costs at least: a unit for each key or page.
fn units_asked(operation: &str, asked: &Value) -> usize {
    match operation {
        "GetItem" | "Query" => 1,
        "BatchGetItem" => values(&asked["RequestItems"]).map(|table| items(&table["Keys"]).count()).sum(),
        _ => 0,
    }
}

/// What it costs more, because of the sizes of what was found.
fn units_more(answer: &Value) -> usize {
    assert_eq!(values(&answer["UnprocessedKeys"]).count(), 0, "an emulator leaves no key out");
    let units = |bytes: usize| bytes.div_ceil(UNIT_BYTES).max(1) - 1;
    let batch = values(&answer["Responses"]).flat_map(items).map(|item| units(size_of(item))).sum::<usize>();
    batch + units(size_of(&answer["Item"])) + units(items(&answer["Items"]).map(size_of).sum())
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn values(object: &Value) -> impl Iterator<Item = &Value> {
    object.as_object().into_iter().flat_map(|object| object.values())
}

/// Bytes of an item as DynamoDB counts them.
fn size_of(item: &Value) -> usize {
    let attributes = item.as_object().into_iter().flatten();
    attributes.map(|(name, value)| name.len() + values(value).map(|of| value_bytes(value, of)).sum::<usize>()).sum()
}

fn value_bytes(typed: &Value, value: &Value) -> usize {
    let number = |text: &str| text.len().div_ceil(2) + 1;
    let text = value.as_str().unwrap_or_default();
    if typed.get("B").is_some() {
        text.trim_end_matches('=').len() * 3 / 4
    } else if typed.get("N").is_some() {
        number(text)
    } else if typed.get("NS").is_some() {
        items(value).map(|of| number(of.as_str().unwrap_or_default())).sum()
    } else {
        text.len()
    }
}

/// The sizes of items and what they are billed.
#[test]
fn rat_3_reads_are_billed_by_their_sizes() {
    use serde_json::json;
    let item =
        |bytes: usize| json!({ "pk": { "S": "12" }, "b": { "B": "AAAA".repeat(bytes / 3) }, "n": { "N": "123" } });
    assert_eq!(size_of(&item(3_000)), 2 + 2 + 1 + 3_000 + 1 + 3);
    let get = |bytes| units_asked("GetItem", &Value::Null) + units_more(&json!({ "Item": item(bytes) }));
    assert_eq!((get(3), get(4_083), get(4_095), get(9_000)), (1, 1, 2, 3));
    assert_eq!(units_asked("Query", &Value::Null) + units_more(&json!({ "Items": [item(3_000), item(3_000)] })), 2);
    let asked = json!({ "RequestItems": { "t": { "Keys": [{}, {}, {}] } } });
    let answer = json!({ "Responses": { "t": [item(30), item(6_000)] }, "UnprocessedKeys": {} });
    assert_eq!(units_asked("BatchGetItem", &asked) + units_more(&answer), 1 + 2 + 1, "nothing is a unit");
    assert_eq!(units_asked("PutItem", &Value::Null) + units_more(&json!({})), 0);
}
