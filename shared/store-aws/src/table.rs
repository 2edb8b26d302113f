//! A table: each call with its retries, its consistency and its price.
//!
//! | method | calls |
//! |---|---|
//! | `get` | one `GetItem` |
//! | `get_all` | one `BatchGetItem` per [`BATCH_KEYS_MAX`] keys, more while keys are left unprocessed |
//! | `query` | one `Query`, a page of at most 1 MB |
//! | `apply`, `update` | one `PutItem`, `UpdateItem` or `DeleteItem`, again while a transaction holds the item |
//! | `transact` | one `TransactWriteItems`, again while another transaction holds an item |
//!
//! A repeated transaction is known by its token for ten minutes, which is longer than any call is tried.
//!
//! Reads are strongly consistent.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::error::TransactionCanceledException;
use aws_sdk_dynamodb::types::{
    AttributeValue, CancellationReason, ConditionCheck, ConsumedCapacity, Delete, KeysAndAttributes, Put,
    ReturnConsumedCapacity, ReturnValue, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update,
};
use recoup_store::StoreError;
use tokio::task::JoinSet;

use crate::change::{Change, Item, Kind, PARTITION, SORT, item_key, read_text, text};
use crate::failure::{AwsError, Service, failed, refused};
use crate::meter::Meter;

/// Changes in one transaction (`DynamoDB`'s own limit).
pub(crate) const TRANSACTION_CHANGES_MAX: usize = 100;
/// Bytes of one transaction (`DynamoDB`'s own limit is 4 MiB, of items as they are stored).
pub(crate) const TRANSACTION_BYTES_MAX: usize = 4 * 1024 * 1024 - 64 * 1024;
/// Keys of one `BatchGetItem` (`DynamoDB`'s own limit).
pub(crate) const BATCH_KEYS_MAX: usize = 100;
/// `BatchGetItem` calls under way at once for one caller.
const BATCHES_AT_ONCE: usize = 4;
/// Rounds of one batch; each brings some of its keys, or waits.
const BATCH_ROUNDS_MAX: usize = 40;
/// Rounds of one batch in a row that bring nothing.
const IDLE_ROUNDS_MAX: u32 = 8;
/// Attempts of a change that others' transactions get in the way of, or that is throttled inside one; the waits between add up to a few seconds.
const CONTENDED_ATTEMPTS_MAX: u32 = 12;
/// The first wait of our own retries, at most; each further one is up to twice as long.
const PAUSE_FIRST: Duration = Duration::from_millis(10);
/// No wait of ours is longer.
const PAUSE_MAX: Duration = Duration::from_millis(800);
/// Pages that one caller gathers: ten gigabytes.
const PAGES_MAX: usize = 10_000;
/// Items of one page of a query.
const PAGE_ITEMS_MAX: usize = 10_000;

/// Where a change of one item led to.
#[derive(Debug)]
pub(crate) enum Applied {
    Done,
    /// Its condition did not hold, with what stands there.
    Refused(Option<Item>),
}

/// Why a transaction was not done. Nothing of it was.
#[derive(Debug)]
pub(crate) enum TransactError {
    /// The conditions of these changes did not hold.
    Refused(Vec<usize>),
    /// Other transactions kept holding its items.
    Contended,
    /// More than [`TRANSACTION_CHANGES_MAX`] or [`TRANSACTION_BYTES_MAX`].
    TooLarge(String),
    /// `DynamoDB` failed.
    Store(StoreError),
}

/// Items of a partition by their sort keys.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query {
    pub(crate) partition: String,
    /// Lowest and highest sort key, both included. `None`: all.
    pub(crate) between: Option<(String, String)>,
    /// The highest first.
    pub(crate) descending: bool,
    /// Only the keys of the items.
    pub(crate) keys_only: bool,
    /// Items of a page.
    pub(crate) limit: Option<usize>,
    /// Where the page before ended.
    pub(crate) from: Option<Item>,
}

/// A page of a query.
#[derive(Debug)]
pub(crate) struct ItemPage {
    pub(crate) items: Vec<Item>,
    /// The `from` of the next page. `None`: that was all. A page may be empty and not the last.
    pub(crate) next: Option<Item>,
}

/// A table with the client that reaches it.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    client: Client,
    name: String,
    meter: Arc<Meter>,
}

impl Table {
    pub(crate) fn new(client: Client, name: String, meter: Arc<Meter>) -> Self {
        Self { client, name, meter }
    }

    /// An item.
    pub(crate) async fn get(&self, doing: &'static str, key: &Item) -> Result<Option<Item>, StoreError> {
        let call = self.client.get_item().table_name(&self.name).set_key(Some(key.clone())).consistent_read(true);
        let answer = call.return_consumed_capacity(ReturnConsumedCapacity::Total).send().await;
        let answer = answer.map_err(failed(Service::DynamoDb, doing))?;
        self.meter.read(answer.consumed_capacity.as_slice());
        Ok(answer.item)
    }

    /// Items by (partition, sort), in the order asked for; the keys must differ from each other.
    pub(crate) async fn get_all(
        &self,
        doing: &'static str,
        keys: &[(String, String)],
    ) -> Result<Vec<Option<Item>>, StoreError> {
        let mut found: HashMap<(String, String), Item> = HashMap::with_capacity(keys.len());
        let mut batches = keys.chunks(BATCH_KEYS_MAX);
        let mut running: JoinSet<Result<Vec<Item>, StoreError>> = JoinSet::new();
        loop {
            while running.len() < BATCHES_AT_ONCE
                && let Some(batch) = batches.next()
            {
                let (table, batch) = (self.clone(), batch.to_vec());
                running.spawn(async move { table.get_batch(doing, batch).await });
            }
            let Some(done) = running.join_next().await else { break };
            for item in done.map_err(|stopped| StoreError::unavailable(doing, stopped))?? {
                let [partition, sort] = [PARTITION, SORT].map(|name| read_text(&item, name).unwrap_or_default());
                found.insert((partition.to_owned(), sort.to_owned()), item);
            }
        }
        Ok(keys.iter().map(|key| found.remove(key)).collect())
    }

    async fn get_batch(&self, doing: &'static str, keys: Vec<(String, String)>) -> Result<Vec<Item>, StoreError> {
        let mut left: Vec<Item> = keys.iter().map(|(partition, sort)| item_key(partition, sort)).collect();
        let mut found = Vec::with_capacity(left.len());
        let mut idle = 0_u32;
        for _ in 0..BATCH_ROUNDS_MAX {
            let wanted = KeysAndAttributes::builder().set_keys(Some(left)).consistent_read(true).build();
            let wanted = wanted.map_err(|error| StoreError::unavailable(doing, error))?;
            let call = self.client.batch_get_item().request_items(&self.name, wanted);
            let answer = call.return_consumed_capacity(ReturnConsumedCapacity::Total).send().await;
            let answer = answer.map_err(failed(Service::DynamoDb, doing))?;
            self.meter.read(answer.consumed_capacity());
            let items = answer.responses.and_then(|mut tables| tables.remove(&self.name)).unwrap_or_default();
            idle = if items.is_empty() { idle.saturating_add(1) } else { 0 };
            found.extend(items);
            let unprocessed = answer.unprocessed_keys.and_then(|mut tables| tables.remove(&self.name));
            left = unprocessed.map(|keys| keys.keys).unwrap_or_default();
            if left.is_empty() {
                return Ok(found);
            }
            if idle >= IDLE_ROUNDS_MAX {
                break;
            }
            if idle > 0 {
                pause(idle).await;
            }
        }
        let throttled =
            refused(Service::DynamoDb, "ThrottlingException", Some("it keeps leaving keys of a batch unread"));
        Err(StoreError::unavailable(doing, throttled))
    }

    /// A page of a query.
    pub(crate) async fn query(&self, doing: &'static str, query: &Query) -> Result<ItemPage, StoreError> {
        let mut call = self.client.query().table_name(&self.name).consistent_read(true);
        call = call.expression_attribute_values(":p", text(&query.partition));
        call = match &query.between {
            None => call.key_condition_expression("pk = :p"),
            Some((low, high)) => call
                .key_condition_expression("pk = :p AND sk BETWEEN :l AND :h")
                .expression_attribute_values(":l", text(low))
                .expression_attribute_values(":h", text(high)),
        };
        if let Some(limit) = query.limit {
            call = call.limit(i32::try_from(limit.clamp(1, PAGE_ITEMS_MAX)).unwrap_or(i32::MAX));
        }
        if query.keys_only {
            call = call.projection_expression("pk, sk");
        }
        call = call.scan_index_forward(!query.descending).set_exclusive_start_key(query.from.clone());
        let answer = call.return_consumed_capacity(ReturnConsumedCapacity::Total).send().await;
        let answer = answer.map_err(failed(Service::DynamoDb, doing))?;
        self.meter.read(answer.consumed_capacity.as_slice());
        let next = answer.last_evaluated_key.filter(|key| !key.is_empty());
        Ok(ItemPage { items: answer.items.unwrap_or_default(), next })
    }

    /// All items of a query, page by page; the caller knows that they are bounded.
    pub(crate) async fn query_all(&self, doing: &'static str, mut query: Query) -> Result<Vec<Item>, StoreError> {
        let mut items = Vec::new();
        for _ in 0..PAGES_MAX {
            let page = self.query(doing, &query).await?;
            items.extend(page.items);
            match page.next {
                Some(next) => query.from = Some(next),
                None => return Ok(items),
            }
        }
        Err(StoreError::unavailable(doing, format!("the partition {} has too many pages", query.partition)))
    }

    /// A change of one item. A put whose answer was lost may be refused by itself: compare what stands there.
    pub(crate) async fn apply(&self, doing: &'static str, change: &Change) -> Result<Applied, StoreError> {
        Ok(match self.applied(doing, change, ReturnValue::None).await? {
            Ok(_) => Applied::Done,
            Err(standing) => Applied::Refused(standing),
        })
    }

    /// An update with the attributes that it changed, or what stands there where its condition did not hold.
    pub(crate) async fn update(
        &self,
        doing: &'static str,
        change: &Change,
    ) -> Result<Result<Item, Option<Item>>, StoreError> {
        self.applied(doing, change, ReturnValue::UpdatedNew).await
    }

    async fn applied(
        &self,
        doing: &'static str,
        change: &Change,
        wanted: ReturnValue,
    ) -> Result<Result<Item, Option<Item>>, StoreError> {
        for attempt in 1..=CONTENDED_ATTEMPTS_MAX {
            let done = match change.kind {
                Kind::Put => self.put(doing, change).await,
                Kind::Update => self.update_once(doing, change, wanted.clone()).await,
                Kind::Delete | Kind::Check => self.delete(doing, change).await,
            }?;
            match done {
                Single::Done(item) => return Ok(Ok(item)),
                Single::Refused(item) => return Ok(Err(item)),
                Single::Contended => pause(attempt).await,
            }
        }
        Err(StoreError::unavailable(doing, CONTENDED))
    }

    fn done(&self, consumed: Option<ConsumedCapacity>, item: Option<Item>) -> Single {
        self.meter.written(consumed.as_slice());
        Single::Done(item.unwrap_or_default())
    }

    async fn put(&self, doing: &'static str, change: &Change) -> Result<Single, StoreError> {
        let call = self.client.put_item().table_name(&self.name).set_item(Some(change.item.clone()));
        let call = call
            .set_condition_expression(change.condition.clone())
            .set_expression_attribute_values(some_values(change))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        match call.send().await {
            Ok(answer) => Ok(self.done(answer.consumed_capacity, None)),
            Err(error) => {
                let item = error.as_service_error().map(|error| match error {
                    aws_sdk_dynamodb::operation::put_item::PutItemError::ConditionalCheckFailedException(failed) => {
                        failed.item.clone()
                    }
                    _ => None,
                });
                single(doing, item.flatten(), error)
            }
        }
    }

    async fn update_once(
        &self,
        doing: &'static str,
        change: &Change,
        wanted: ReturnValue,
    ) -> Result<Single, StoreError> {
        let call = self.client.update_item().table_name(&self.name).set_key(Some(change.item.clone()));
        let call = call
            .set_update_expression(change.update.clone())
            .set_condition_expression(change.condition.clone())
            .set_expression_attribute_values(some_values(change))
            .return_values(wanted)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        match call.send().await {
            Ok(answer) => Ok(self.done(answer.consumed_capacity, answer.attributes)),
            Err(error) => {
                let item = error.as_service_error().map(|error| match error {
                    aws_sdk_dynamodb::operation::update_item::UpdateItemError::ConditionalCheckFailedException(
                        failed,
                    ) => failed.item.clone(),
                    _ => None,
                });
                single(doing, item.flatten(), error)
            }
        }
    }

    async fn delete(&self, doing: &'static str, change: &Change) -> Result<Single, StoreError> {
        let call = self.client.delete_item().table_name(&self.name).set_key(Some(change.item.clone()));
        let call = call
            .set_condition_expression(change.condition.clone())
            .set_expression_attribute_values(some_values(change))
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        match call.send().await {
            Ok(answer) => Ok(self.done(answer.consumed_capacity, None)),
            Err(error) => single(doing, None, error),
        }
    }

    /// All of the changes or none; each of another item.
    pub(crate) async fn transact(&self, doing: &'static str, changes: &[Change]) -> Result<(), TransactError> {
        self.transact_within(doing, changes, CONTENDED_ATTEMPTS_MAX).await
    }

    /// The same in so many attempts, for callers who look again before they go on.
    pub(crate) async fn transact_within(
        &self,
        doing: &'static str,
        changes: &[Change],
        attempts_max: u32,
    ) -> Result<(), TransactError> {
        check_size(changes)?;
        if changes.is_empty() {
            return Ok(());
        }
        let items: Result<Vec<_>, _> = changes.iter().map(|change| self.transaction_item(change)).collect();
        let items = items.map_err(|error| TransactError::Store(StoreError::unavailable(doing, error)))?;
        // The same token with each attempt: one whose answer was lost is not done twice.
        let token = random_name().map_err(|error| TransactError::Store(StoreError::unavailable(doing, error)))?;
        let mut standing = TransactError::Contended;
        for attempt in 1..=attempts_max {
            let call = self.client.transact_write_items().set_transact_items(Some(items.clone()));
            let call = call.client_request_token(&token).return_consumed_capacity(ReturnConsumedCapacity::Total);
            match call.send().await {
                Ok(answer) => {
                    self.meter.written(answer.consumed_capacity());
                    return Ok(());
                }
                Err(error) => standing = cancelled(doing, error)?,
            }
            pause(attempt).await;
        }
        Err(standing)
    }

    fn transaction_item(&self, change: &Change) -> Result<TransactWriteItem, aws_sdk_dynamodb::error::BuildError> {
        let item = TransactWriteItem::builder();
        let values = some_values(change);
        let (key, condition) = (Some(change.item.clone()), change.condition.clone());
        let item = match change.kind {
            Kind::Put => {
                let put = Put::builder().table_name(&self.name).set_item(key).set_condition_expression(condition);
                item.put(put.set_expression_attribute_values(values).build()?)
            }
            Kind::Update => {
                let update = Update::builder().table_name(&self.name).set_key(key).set_condition_expression(condition);
                let update = update.set_update_expression(change.update.clone());
                item.update(update.set_expression_attribute_values(values).build()?)
            }
            Kind::Delete => {
                let delete = Delete::builder().table_name(&self.name).set_key(key).set_condition_expression(condition);
                item.delete(delete.set_expression_attribute_values(values).build()?)
            }
            Kind::Check => {
                let check = ConditionCheck::builder().table_name(&self.name).set_key(key);
                let check = check.set_condition_expression(condition);
                item.condition_check(check.set_expression_attribute_values(values).build()?)
            }
        };
        Ok(item.build())
    }
}

pub(crate) const CONTENDED: &str = "DynamoDB: other transactions kept changing the same records";

/// Where one attempt of a change of one item led to.
enum Single {
    Done(Item),
    Refused(Option<Item>),
    Contended,
}

fn single<E, R>(doing: &'static str, item: Option<Item>, error: SdkError<E, R>) -> Result<Single, StoreError>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug + 'static,
{
    match error.as_service_error().and_then(ProvideErrorMetadata::code) {
        Some("ConditionalCheckFailedException") => Ok(Single::Refused(item)),
        Some("TransactionConflictException") => Ok(Single::Contended),
        _ => Err(failed(Service::DynamoDb, doing)(error)),
    }
}

/// `Ok`: try again, and say this where it stays so.
fn cancelled<R: std::fmt::Debug + 'static>(
    doing: &'static str,
    error: SdkError<TransactWriteItemsError, R>,
) -> Result<TransactError, TransactError> {
    match error.as_service_error() {
        Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => judge(doing, cancelled),
        Some(TransactWriteItemsError::TransactionInProgressException(_)) => Ok(TransactError::Contended),
        _ => Err(TransactError::Store(failed(Service::DynamoDb, doing)(error))),
    }
}

fn judge(doing: &'static str, cancelled: &TransactionCanceledException) -> Result<TransactError, TransactError> {
    let reasons = cancelled.cancellation_reasons();
    let is = |wanted: &'static str| move |reason: &CancellationReason| reason.code() == Some(wanted);
    let refused_at: Vec<usize> = reasons
        .iter()
        .enumerate()
        .filter(|(_, reason)| is("ConditionalCheckFailed")(reason))
        .map(|(at, _)| at)
        .collect();
    if !refused_at.is_empty() {
        return Err(TransactError::Refused(refused_at));
    }
    let other = reasons.iter().find(|reason| !matches!(reason.code(), None | Some("None" | "TransactionConflict")));
    if other.is_none() && reasons.iter().any(is("TransactionConflict")) {
        return Ok(TransactError::Contended);
    }
    let code = other.and_then(CancellationReason::code).unwrap_or("TransactionCanceledException");
    let message = other.and_then(CancellationReason::message).or(cancelled.message());
    let refused = refused(Service::DynamoDb, code, message);
    // The SDK tries a throttled call again, but not a transaction that was cancelled because one of its items was.
    let is_throttled = matches!(refused, AwsError::Throttled { .. });
    let refused = TransactError::Store(StoreError::unavailable(doing, refused));
    if is_throttled { Ok(refused) } else { Err(refused) }
}

fn check_size(changes: &[Change]) -> Result<(), TransactError> {
    if changes.len() > TRANSACTION_CHANGES_MAX {
        let words = format!("{} changes are more than the {TRANSACTION_CHANGES_MAX} of a transaction", changes.len());
        return Err(TransactError::TooLarge(words));
    }
    let bytes = changes.iter().map(Change::bytes).fold(0, usize::saturating_add);
    if bytes > TRANSACTION_BYTES_MAX {
        let words = format!("the group has {bytes} bytes, at most {TRANSACTION_BYTES_MAX} fit a transaction; split it");
        return Err(TransactError::TooLarge(words));
    }
    Ok(())
}

/// An expression without values must not be sent an empty list of them.
fn some_values(change: &Change) -> Option<HashMap<String, AttributeValue>> {
    (!change.values.is_empty()).then(|| change.values.clone())
}

/// A name that nothing else has, 32 hexadecimal digits.
pub(crate) fn random_name() -> Result<String, String> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(|error| error.to_string())?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

/// Waits a random while that grows with the attempt (from 1), so that those who got in each other's way part.
pub(crate) async fn pause(attempt: u32) {
    let longest = PAUSE_FIRST.saturating_mul(1 << attempt.min(16)).min(PAUSE_MAX);
    let micros = u64::try_from(longest.as_micros()).unwrap_or(u64::MAX).max(1);
    let random = getrandom::u64().unwrap_or(micros / 2);
    tokio::time::sleep(Duration::from_micros(random % micros)).await;
}
