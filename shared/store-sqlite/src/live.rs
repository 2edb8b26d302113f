//! Live state in three tables: what is posted for each trace, the blocks that it was posted from, and the counters.

use std::collections::BTreeMap;

use async_trait::async_trait;
use recoup_model::Digest;
use recoup_money::Amount;
use recoup_store::live::counter_changes;
use recoup_store::{BlockName, CounterKey, Live, PostError, StoreError, TraceChange, TraceState, block};
use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};

use crate::failure::{damaged, failed};
use crate::open::SqliteStore;

const READING: &str = "read live traces";
const COUNTING: &str = "read counters";
const POSTING: &str = "post traces";
const FETCHING: &str = "read the blocks of a trace";

#[async_trait]
impl Live for SqliteStore {
    async fn traces(&self, traces: &[u64]) -> Result<Vec<TraceState>, StoreError> {
        let traces = traces.to_vec();
        let query = move |connection: &Connection| {
            traces.iter().map(|trace| state(connection, *trace)).collect::<Result<_, _>>()
        };
        self.readers.read(READING, query).await
    }

    async fn blocks(&self, names: &[BlockName]) -> Result<Vec<Vec<u8>>, StoreError> {
        let names = names.to_vec();
        let query =
            move |connection: &Connection| names.iter().map(|name| bytes(connection, name)).collect::<Result<_, _>>();
        self.readers.read(FETCHING, query).await
    }

    /// Blocks are numbered as they are recorded.
    async fn arrived(&self, _blocks: &[BlockName]) -> Result<(), StoreError> {
        Ok(())
    }

    async fn post(&self, changes: Vec<TraceChange>) -> Result<(), PostError> {
        let deltas = counter_changes(&changes)?;
        if changes.is_empty() { Ok(()) } else { self.writer.post(changes, deltas).await }
    }

    async fn counters(&self, keys: &[CounterKey]) -> Result<Vec<Amount>, StoreError> {
        let keys = keys.to_vec();
        let query =
            move |connection: &Connection| keys.iter().map(|key| counter(connection, key)).collect::<Result<_, _>>();
        self.readers.read(COUNTING, query).await
    }
}

pub(crate) fn amount(text: &str) -> Result<Amount, StoreError> {
    let pico = text.parse().map_err(|_| damaged("a counter", format!("holds `{text}`")))?;
    Ok(Amount::from_pico(pico))
}

fn version_of(connection: &Connection, trace: u64) -> Result<u64, StoreError> {
    let mut select =
        connection.prepare_cached("SELECT version FROM live_traces WHERE trace = ?1").map_err(failed(READING))?;
    let version = select.query_row(params![trace.cast_signed()], |row| row.get(0)).optional();
    Ok(version.map_err(failed(READING))?.unwrap_or_default())
}

fn state(connection: &Connection, trace: u64) -> Result<TraceState, StoreError> {
    let version = version_of(connection, trace)?;
    if version == 0 {
        return Ok(TraceState::default());
    }
    let mut select = connection
        .prepare_cached("SELECT utc_day, lane, digest, events FROM live_blocks WHERE trace = ?1 ORDER BY place")
        .map_err(failed(READING))?;
    let rows = select
        .query_map(params![trace.cast_signed()], |row| {
            Ok((row.get::<_, String>(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })
        .map_err(failed(READING))?;
    let mut blocks = Vec::new();
    for row in rows {
        let (day, lane, digest, events) = row.map_err(failed(READING))?;
        let utc_day = day.parse().map_err(|_| damaged("a live trace", format!("has the day `{day}`")))?;
        blocks.push(BlockName { utc_day, lane, digest: Digest(digest), events });
    }
    let mut select = connection
        .prepare_cached("SELECT scope, period, pico FROM live_posted WHERE trace = ?1")
        .map_err(failed(READING))?;
    let rows = select
        .query_map(params![trace.cast_signed()], |row| {
            Ok((CounterKey { scope: row.get(0)?, period: row.get(1)? }, row.get::<_, String>(2)?))
        })
        .map_err(failed(READING))?;
    let mut posted = BTreeMap::new();
    for row in rows {
        let (key, text) = row.map_err(failed(READING))?;
        posted.insert(key, amount(&text)?);
    }
    Ok(TraceState { version, blocks, posted })
}

fn bytes(connection: &Connection, name: &BlockName) -> Result<Vec<u8>, StoreError> {
    let what = || format!("block {} of {}, lane {}", name.digest, name.utc_day, name.lane);
    let mut select = connection
        .prepare_cached("SELECT bytes FROM blocks WHERE digest = ?1 AND utc_day = ?2 AND lane = ?3")
        .map_err(failed(FETCHING))?;
    let of = params![name.digest.0, name.utc_day.to_string(), name.lane];
    let bytes: Option<Vec<u8>> = select.query_row(of, |row| row.get(0)).optional().map_err(failed(FETCHING))?;
    let bytes = bytes.ok_or_else(|| damaged(what(), "it is not in the log"))?;
    block::verify(&bytes).map_err(|error| damaged(what(), error.to_string()))?;
    Ok(bytes)
}

pub(crate) fn counter(connection: &Connection, key: &CounterKey) -> Result<Amount, StoreError> {
    let mut select = connection
        .prepare_cached("SELECT pico FROM counters WHERE scope = ?1 AND period = ?2")
        .map_err(failed(COUNTING))?;
    let pico: Option<String> =
        select.query_row(params![key.scope, key.period], |row| row.get(0)).optional().map_err(failed(COUNTING))?;
    pico.map_or(Ok(Amount::ZERO), |text| amount(&text))
}

/// Posts a group of changes in a transaction of its own, or none of it.
pub(crate) fn post(
    connection: &mut Connection,
    changes: &[TraceChange],
    deltas: &BTreeMap<CounterKey, Amount>,
) -> Result<(), PostError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed(POSTING))?;
    for change in changes {
        if version_of(&transaction, change.trace)? != change.before.version {
            return Err(PostError::Contended);
        }
        put_trace(&transaction, change).map_err(failed(POSTING))?;
    }
    for (key, delta) in deltas {
        let held = counter(&transaction, key)?;
        let sum = held.checked_add(*delta).ok_or_else(|| {
            PostError::TooLarge(format!("the counter of {} in {} does not fit", key.scope, key.period))
        })?;
        put_counter(&transaction, key, sum).map_err(failed(POSTING))?;
    }
    Ok(transaction.commit().map_err(failed(POSTING))?)
}

fn put_trace(transaction: &Transaction<'_>, change: &TraceChange) -> rusqlite::Result<()> {
    let trace = change.trace.cast_signed();
    let version = change.before.version.saturating_add(1);
    transaction
        .prepare_cached(
            "INSERT INTO live_traces (trace, version) VALUES (?1, ?2) \
             ON CONFLICT (trace) DO UPDATE SET version = excluded.version",
        )?
        .execute(params![trace, version])?;
    let mut insert = transaction.prepare_cached(
        "INSERT INTO live_blocks (trace, place, utc_day, lane, digest, events) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for (name, place) in change.new_blocks.iter().zip(change.before.blocks.len()..) {
        let day = name.utc_day.to_string();
        insert.execute(params![trace, place, day, name.lane, name.digest.0, name.events])?;
    }
    if change.posted == change.before.posted {
        return Ok(());
    }
    transaction.prepare_cached("DELETE FROM live_posted WHERE trace = ?1")?.execute(params![trace])?;
    let mut insert =
        transaction.prepare_cached("INSERT INTO live_posted (trace, scope, period, pico) VALUES (?1, ?2, ?3, ?4)")?;
    for (key, amount) in &change.posted {
        insert.execute(params![trace, key.scope, key.period, amount.pico().to_string()])?;
    }
    Ok(())
}

fn put_counter(transaction: &Transaction<'_>, key: &CounterKey, sum: Amount) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO counters (scope, period, pico) VALUES (?1, ?2, ?3) \
             ON CONFLICT (scope, period) DO UPDATE SET pico = excluded.pico",
        )?
        .execute(params![key.scope, key.period, sum.pico().to_string()])?;
    Ok(())
}
