//! Live state: traces in progress and counters, each group of changes in one transaction.
//!
//! A trace's item: `v` its version, `b` its newest blocks, `p` what is posted for it, `k` how many earlier blocks lie in
//! pages of their own (absent: none). Counters are those of `counters`.
//!
//! What a post writes before its transaction changes nothing by itself and is the same whoever writes it: pages hold
//! blocks that the standing state has already, and the days of a trace are those of blocks that are recorded. So a crash
//! between any two calls leaves nothing to be repaired, and a repeated post finds it done or does it.
//!
//! | method | costs |
//! |---|---|
//! | `traces` | a read unit per 4 KB of each state |
//! | `post` | two write units per KB of each state, two per counter; a write unit per day of a trace that gets another day; per [`PAGE_BLOCKS`] blocks of a trace one write unit for a page |
//! | `post_settling` | as a post; a read unit per lease and page of its numbers, two write units each; the counters once |
//! | `counters` | a read unit each |
//!
//! States and the days of traces never expire: an event is accepted for 400 days after its use, its trace's root may be
//! older, and a statement is explained from the blocks that they lead to.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use aws_sdk_dynamodb::types::AttributeValue;
use chrono::NaiveDate;
use recoup_money::Amount;
use recoup_store::{
    BlockName, CounterKey, Live, PostError, Settlement, StoreError, TraceChange, TraceState, counter_changes,
};

use crate::change::{Change, Item, SORT, binary, damaged, item_key, number, read_binary, read_number, read_text};
use crate::counters;
use crate::gather::gather;
use crate::keys;
use crate::lease_items;
use crate::leases::Settling;
use crate::numbers::unpacked;
use crate::open::AwsStore;
use crate::packed::{day_of, pack_names, pack_posted, unpack_names, unpack_posted};
use crate::table::{Query, Table, TransactError};

/// Blocks that move out of a trace's item together: with fewer, the item keeps below a write unit.
const PAGE_BLOCKS: usize = 16;
/// Blocks of one page, where many came at once; about 300 KB.
const PAGE_BLOCKS_MAX: usize = 8_000;
/// Blocks that one change may bring to a trace; about 300 KB.
const NEW_BLOCKS_MAX: usize = 8_000;
/// Blocks of one trace.
const TRACE_BLOCKS_MAX: usize = 200_000;
/// Attempts of a post that also ends reservations, before it goes without them.
const SETTLING_ATTEMPTS: u32 = 4;
/// Bytes of a trace's item, below the 400 KB of `DynamoDB`.
const STATE_BYTES_MAX: usize = 380_000;

const READING: &str = "read traces";
const POSTING: &str = "post traces";
const COUNTING: &str = "read counters";

#[async_trait]
impl Live for AwsStore {
    async fn traces(&self, traces: &[u64]) -> Result<Vec<TraceState>, StoreError> {
        let wanted: Vec<u64> = traces.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
        let items = self.books.get_all(READING, &state_keys(&wanted)).await?;
        let read = |(trace, item): (u64, Option<Item>)| {
            let table = self.books.clone();
            async move {
                let Some(item) = item else { return Ok((trace, TraceState::default())) };
                read_state(&table, trace, &item).await.map(|state| (trace, state))
            }
        };
        let states = gather(READING, wanted.iter().copied().zip(items), read).await?;
        let states: BTreeMap<u64, TraceState> = states.into_iter().collect();
        Ok(traces.iter().map(|trace| states.get(trace).cloned().unwrap_or_default()).collect())
    }

    async fn blocks(&self, names: &[BlockName]) -> Result<Vec<Vec<u8>>, StoreError> {
        self.block_bytes(names).await
    }

    async fn arrived(&self, blocks: &[BlockName]) -> Result<(), StoreError> {
        self.announce(blocks).await
    }

    async fn post(&self, changes: Vec<TraceChange>) -> Result<(), PostError> {
        let deltas = counter_changes(&changes)?;
        if changes.is_empty() {
            return Ok(());
        }
        let transaction = self.prepared(&changes).await?;
        self.post_alone(transaction, &deltas).await
    }

    async fn post_settling(
        &self,
        changes: Vec<TraceChange>,
        settlements: &BTreeSet<Settlement>,
    ) -> Result<BTreeSet<Settlement>, PostError> {
        let deltas = counter_changes(&changes)?;
        if changes.is_empty() {
            return Ok(settlements.clone());
        }
        let transaction = self.prepared(&changes).await?;
        let counters: BTreeSet<&CounterKey> = deltas.keys().collect();
        let settling = self.settling(settlements, (transaction.len(), &counters)).await?;
        if settling.endings.is_empty() {
            self.post_alone(transaction, &deltas).await?;
            return Ok(settling.left);
        }
        let together = together(transaction.clone(), &deltas, &settling).map_err(PostError::TooLarge)?;
        match self.books.transact_within(POSTING, &together, SETTLING_ATTEMPTS).await {
            Ok(()) => Ok(settling.left),
            Err(TransactError::Refused(at)) if at.iter().any(|at| *at < transaction.len()) => Err(PostError::Contended),
            // Somebody else settled one of them, draws from the lease all the time, or it is too much at once: first the
            // post, and what is left is settled after.
            Err(TransactError::Refused(_) | TransactError::Contended | TransactError::TooLarge(_)) => {
                self.post_alone(transaction, &deltas).await?;
                Ok(settlements.clone())
            }
            Err(TransactError::Store(error)) => Err(error.into()),
        }
    }

    async fn counters(&self, keys: &[CounterKey]) -> Result<Vec<Amount>, StoreError> {
        let balances = self.balances_of(COUNTING, keys).await?;
        Ok(balances.into_iter().map(|balance| balance.posted).collect())
    }
}

/// The changes of a post that also ends reservations, each counter once. Those of the post's traces stand first.
fn together(
    mut transaction: Vec<Change>,
    deltas: &BTreeMap<CounterKey, Amount>,
    settling: &Settling,
) -> Result<Vec<Change>, String> {
    let (of_leases, released) = lease_items::settle_leases(&settling.endings, &settling.held)?;
    transaction.extend(of_leases);
    for key in deltas.keys().chain(released.keys()).collect::<BTreeSet<_>>() {
        let of = |amounts: &BTreeMap<CounterKey, Amount>| amounts.get(key).copied().unwrap_or_default();
        transaction.push(counters::post_and_release(key, of(deltas), of(&released))?);
    }
    Ok(transaction)
}

impl AwsStore {
    /// Writes what has to stand before the changes of traces do, and gives the changes of their states.
    async fn prepared(&self, changes: &[TraceChange]) -> Result<Vec<Change>, PostError> {
        let paged = self.paged(changes).await?;
        let mut before = Vec::new();
        let mut transaction = Vec::with_capacity(changes.len());
        for (change, paged) in changes.iter().zip(paged) {
            let plan = Paging::new(change, paged);
            transaction.push(state_change(change, plan)?);
            before.extend(page_puts(change, plan));
            before.extend(beyond_updates(change));
        }
        let write = |change: Change| {
            let table = self.books.clone();
            async move { table.apply(POSTING, &change).await.map(drop) }
        };
        gather(POSTING, before, write).await?;
        Ok(transaction)
    }

    async fn post_alone(
        &self,
        mut transaction: Vec<Change>,
        deltas: &BTreeMap<CounterKey, Amount>,
    ) -> Result<(), PostError> {
        let posts = deltas.iter().map(|(key, delta)| counters::post(key, *delta));
        transaction.extend(posts.collect::<Result<Vec<_>, _>>().map_err(PostError::TooLarge)?);
        match self.books.transact(POSTING, &transaction).await {
            Ok(()) => Ok(()),
            Err(TransactError::Refused(_) | TransactError::Contended) => Err(PostError::Contended),
            Err(TransactError::TooLarge(words)) => Err(PostError::TooLarge(words)),
            Err(TransactError::Store(error)) => Err(error.into()),
        }
    }

    /// How many blocks of each trace lie in pages. A trace that others changed meanwhile is found here already, before
    /// anything is written for it.
    async fn paged(&self, changes: &[TraceChange]) -> Result<Vec<usize>, PostError> {
        let long: Vec<&TraceChange> =
            changes.iter().filter(|change| change.before.blocks.len() >= PAGE_BLOCKS).collect();
        let traces: Vec<u64> = long.iter().map(|change| change.trace).collect();
        let items = self.books.get_all(READING, &state_keys(&traces)).await?;
        let mut paged: BTreeMap<u64, usize> = BTreeMap::new();
        for (change, item) in long.into_iter().zip(items) {
            let item = item.unwrap_or_default();
            if read_number(&item, "v") != Some(change.before.version) {
                return Err(PostError::Contended);
            }
            paged.insert(change.trace, read_number(&item, "k").unwrap_or_default());
        }
        Ok(changes.iter().map(|change| paged.get(&change.trace).copied().unwrap_or_default()).collect())
    }
}

/// How many blocks of a trace lie in pages, and how many will.
#[derive(Clone, Copy)]
struct Paging {
    is: usize,
    will: usize,
}

impl Paging {
    /// Only blocks of the standing state move, so that a page is the same whoever writes it.
    fn new(change: &TraceChange, is: usize) -> Self {
        let standing = change.before.blocks.len();
        let whole = standing.saturating_sub(standing.checked_rem(PAGE_BLOCKS).unwrap_or_default());
        Self { is, will: whole.max(is) }
    }
}

fn state_keys(traces: &[u64]) -> Vec<keys::ItemKey> {
    traces.iter().map(|trace| (keys::trace(*trace), keys::STATE.to_owned())).collect()
}

async fn read_state(table: &Table, trace: u64, item: &Item) -> Result<TraceState, StoreError> {
    let version = read_number(item, "v").ok_or_else(|| damaged(item, "it has no version"))?;
    let posted = match read_binary(item, "p") {
        Some(packed) => unpack_posted(packed).map_err(|error| damaged(item, error.to_string()))?,
        None => BTreeMap::new(),
    };
    let paged: usize = read_number(item, "k").unwrap_or_default();
    let mut blocks = if paged == 0 { Vec::new() } else { read_pages(table, trace, paged).await? };
    if blocks.len() != paged {
        return Err(damaged(item, format!("its pages hold {} blocks instead of {paged}", blocks.len())));
    }
    blocks.extend(unpacked(item, unpack_names)?);
    Ok(TraceState { version, blocks, posted })
}

/// The first blocks of a trace, `paged` of them. A page behind them belongs to a post under way.
async fn read_pages(table: &Table, trace: u64, paged: usize) -> Result<Vec<BlockName>, StoreError> {
    let between = Some((keys::page(0), keys::page(paged.saturating_sub(1))));
    let query = Query { partition: keys::trace(trace), between, ..Query::default() };
    let mut blocks: Vec<BlockName> = Vec::with_capacity(paged.min(TRACE_BLOCKS_MAX));
    for item in table.query_all(READING, query).await? {
        if read_text(&item, SORT) != Some(&keys::page(blocks.len())) {
            return Err(damaged(&item, format!("a page before it is missing, behind {} blocks", blocks.len())));
        }
        blocks.extend(unpacked(&item, unpack_names)?);
    }
    Ok(blocks)
}

/// Puts the state that follows from a change, on the condition that the one before stands.
fn state_change(change: &TraceChange, paging: Paging) -> Result<Change, PostError> {
    let TraceChange { trace, before, new_blocks, posted } = change;
    let too_large = |words: String| PostError::TooLarge(format!("the trace {trace:016x} {words}"));
    if new_blocks.len() > NEW_BLOCKS_MAX {
        return Err(too_large(format!("gets {} blocks, at most {NEW_BLOCKS_MAX} at once", new_blocks.len())));
    }
    if before.blocks.len().saturating_add(new_blocks.len()) > TRACE_BLOCKS_MAX {
        return Err(too_large(format!("has more than {TRACE_BLOCKS_MAX} blocks")));
    }
    let tail = before.blocks.get(paging.will..).unwrap_or_default();
    let names = [tail, new_blocks].concat();
    let version = before.version.checked_add(1).ok_or_else(|| too_large("was changed too often".to_owned()))?;
    let mut item = item_key(&keys::trace(*trace), keys::STATE);
    item.insert("v".to_owned(), number(version));
    item.insert("b".to_owned(), binary(pack_names(&names)));
    if !posted.is_empty() {
        item.insert("p".to_owned(), binary(pack_posted(posted)));
    }
    if paging.will > 0 {
        item.insert("k".to_owned(), number(paging.will));
    }
    let put = Change::put(item);
    let bytes = put.bytes();
    if bytes > STATE_BYTES_MAX {
        return Err(too_large(format!("needs {bytes} bytes, at most {STATE_BYTES_MAX} are kept")));
    }
    Ok(match before.version {
        0 => put.when("attribute_not_exists(pk)"),
        standing => put.when("v = :v").value(":v", number(standing)),
    })
}

/// Puts the blocks that move out of a trace's item into pages.
fn page_puts(change: &TraceChange, paging: Paging) -> impl Iterator<Item = Change> {
    let moving = change.before.blocks.get(paging.is..paging.will).unwrap_or_default();
    moving.chunks(PAGE_BLOCKS_MAX).scan(paging.is, |first, blocks| {
        let mut item = item_key(&keys::trace(change.trace), &keys::page(*first));
        item.insert("b".to_owned(), binary(pack_names(blocks)));
        *first = first.saturating_add(blocks.len());
        Some(Change::put(item))
    })
}

/// Notes under each day of a trace the others, where it gets a day that it had not.
fn beyond_updates(change: &TraceChange) -> Vec<Change> {
    let days = |blocks: &[BlockName]| blocks.iter().map(|block| block.utc_day).collect::<BTreeSet<NaiveDate>>();
    let before = days(&change.before.blocks);
    let fresh: BTreeSet<NaiveDate> = days(&change.new_blocks).difference(&before).copied().collect();
    let Some(lane) = change.new_blocks.first().map(|block| block.lane) else { return Vec::new() };
    let all: BTreeSet<NaiveDate> = before.union(&fresh).copied().collect();
    let update = |day: NaiveDate| {
        let others: Vec<String> = if fresh.contains(&day) { all.iter() } else { fresh.iter() }
            .filter(|other| **other != day)
            .map(|other| day_of(*other).to_string())
            .collect();
        let key = item_key(&keys::beyond(day, lane), &keys::fingerprint(change.trace));
        // Adding to a set is the same whoever does it first, and twice is once.
        let update = || Change::update(key, "ADD d :d").value(":d", AttributeValue::Ns(others.clone()));
        (!others.is_empty()).then(update)
    };
    all.iter().filter_map(|day| update(*day)).collect()
}
