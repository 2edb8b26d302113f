//! One change of one item: what is written, on which condition; alone or in a transaction.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use recoup_store::StoreError;

/// An item, or its key alone.
pub(crate) type Item = HashMap<String, AttributeValue>;

/// The attribute of partition keys.
pub(crate) const PARTITION: &str = "pk";
/// The attribute of sort keys.
pub(crate) const SORT: &str = "sk";

/// The key of an item.
pub(crate) fn item_key(partition: &str, sort: &str) -> Item {
    Item::from([(PARTITION.to_owned(), text(partition)), (SORT.to_owned(), text(sort))])
}

/// A text attribute.
pub(crate) fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

/// A number attribute; at most 28 digits, so that every `DynamoDB` keeps all of them.
pub(crate) fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// A binary attribute.
pub(crate) fn binary(value: impl Into<Vec<u8>>) -> AttributeValue {
    AttributeValue::B(aws_sdk_dynamodb::primitives::Blob::new(value.into()))
}

/// A text attribute of an item.
pub(crate) fn read_text<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name).and_then(|value| value.as_s().ok()).map(String::as_str)
}

/// A number attribute of an item.
pub(crate) fn read_number<T: std::str::FromStr>(item: &Item, name: &str) -> Option<T> {
    item.get(name).and_then(|value| value.as_n().ok()).and_then(|value| value.parse().ok())
}

/// A binary attribute of an item.
pub(crate) fn read_binary<'a>(item: &'a Item, name: &str) -> Option<&'a [u8]> {
    item.get(name).and_then(|value| value.as_b().ok()).map(AsRef::as_ref)
}

/// An item of a table that lacks what every such item has.
pub(crate) fn damaged(item: &Item, detail: impl Into<String>) -> StoreError {
    let [partition, sort] = [PARTITION, SORT].map(|name| read_text(item, name).unwrap_or("?"));
    StoreError::Damaged { what: format!("the item {partition} {sort}"), detail: detail.into() }
}

/// What happens to the item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Put,
    Update,
    Delete,
    Check,
}

/// A change of one item.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) kind: Kind,
    /// The item of a put, the key of all others.
    pub(crate) item: Item,
    /// The update expression of an update.
    pub(crate) update: Option<String>,
    pub(crate) condition: Option<String>,
    pub(crate) values: Item,
}

impl Change {
    fn new(kind: Kind, item: Item) -> Self {
        Self { kind, item, update: None, condition: None, values: Item::new() }
    }

    /// Puts an item in the place of whatever stands there.
    pub(crate) fn put(item: Item) -> Self {
        Self::new(Kind::Put, item)
    }

    /// Updates attributes of an item, which is made where there is none.
    pub(crate) fn update(key: Item, expression: impl Into<String>) -> Self {
        Self { update: Some(expression.into()), ..Self::new(Kind::Update, key) }
    }

    /// Removes an item; that there is none is fine.
    pub(crate) fn delete(key: Item) -> Self {
        Self::new(Kind::Delete, key)
    }

    /// Changes nothing, and needs a condition. Alone it is a delete: its condition says that nothing stands there.
    pub(crate) fn check(key: Item) -> Self {
        Self::new(Kind::Check, key)
    }

    /// Only if this holds.
    pub(crate) fn when(mut self, condition: impl Into<String>) -> Self {
        self.condition = Some(condition.into());
        self
    }

    /// What a `:name` in the expressions stands for.
    pub(crate) fn value(mut self, name: &str, value: AttributeValue) -> Self {
        self.values.insert(name.to_owned(), value);
        self
    }

    /// About how many bytes it sends, as `DynamoDB` counts an item: names and values.
    pub(crate) fn bytes(&self) -> usize {
        let bytes = |(name, value): (&String, &AttributeValue)| name.len().saturating_add(value_bytes(value));
        self.item.iter().chain(&self.values).map(bytes).fold(0, usize::saturating_add)
    }
}

fn value_bytes(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::S(text) | AttributeValue::N(text) => text.len(),
        AttributeValue::B(bytes) => bytes.as_ref().len(),
        _ => 1,
    }
}
