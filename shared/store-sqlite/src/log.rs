//! Reading the event log.

use std::collections::BTreeSet;

use async_trait::async_trait;
use chrono::NaiveDate;
use recoup_model::{Digest, Identity};
use recoup_store::block::prints::Print;
use recoup_store::{Appended, BlockInfo, EventLog, Incoming, ResponseUse, StoreError, StoredBlock, block};
use rusqlite::{Connection, OptionalExtension as _, Params, Row, params};

use crate::days::{date_of_day, day_of_date};
use crate::failure::{damaged, failed};
use crate::open::SqliteStore;
use crate::prints;

const INFO_COLUMNS: &str = "SELECT seq, utc_day, lane, digest, events FROM blocks";

#[async_trait]
impl EventLog for SqliteStore {
    async fn append(&self, events: Vec<Incoming>) -> Result<Vec<Appended>, StoreError> {
        self.writer.append(events).await
    }

    async fn last_seq(&self) -> Result<u64, StoreError> {
        const DOING: &str = "read the last block's number";
        let query = |connection: &Connection| {
            let mut select = connection.prepare_cached("SELECT ifnull(max(seq), 0) FROM blocks")?;
            select.query_row([], |row| row.get::<_, u64>(0))
        };
        self.readers.read(DOING, move |connection| query(connection).map_err(failed(DOING))).await
    }

    async fn blocks_after(&self, seq: u64, limit: usize) -> Result<Vec<BlockInfo>, StoreError> {
        let select = format!("{INFO_COLUMNS} WHERE seq > ?1 ORDER BY seq LIMIT ?2");
        let seq = i64::try_from(seq).unwrap_or(i64::MAX);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.readers.read(LISTING, move |connection| infos(connection, &select, params![seq, limit])).await
    }

    async fn blocks_of_day(&self, utc_day: NaiveDate, lane: u16) -> Result<Vec<BlockInfo>, StoreError> {
        let select = format!("{INFO_COLUMNS} WHERE utc_day = ?1 AND lane = ?2 ORDER BY seq");
        self.readers
            .read(LISTING, move |connection| infos(connection, &select, params![utc_day.to_string(), lane]))
            .await
    }

    async fn utc_days(&self) -> Result<Vec<NaiveDate>, StoreError> {
        self.readers.read("list the days of the log", utc_days).await
    }

    async fn read(&self, seqs: Vec<u64>) -> Result<Vec<StoredBlock>, StoreError> {
        let read = move |connection: &Connection| seqs.into_iter().map(|seq| stored_block(connection, seq)).collect();
        self.readers.read("read blocks", read).await
    }

    async fn prints(&self, seqs: Vec<u64>) -> Result<Vec<Option<Vec<Print>>>, StoreError> {
        self.readers.read("read the prints of blocks", move |connection| prints::read(connection, &seqs)).await
    }

    async fn drop_prints(&self, utc_days: Vec<NaiveDate>) -> Result<(), StoreError> {
        for utc_day in utc_days {
            self.writer.drop_prints(utc_day).await?;
        }
        Ok(())
    }

    async fn blocks_of_traces(&self, traces: Vec<u64>) -> Result<Vec<(u64, u64)>, StoreError> {
        const DOING: &str = "look up the blocks of traces";
        let query = move |connection: &Connection| blocks_of_traces(connection, traces).map_err(failed(DOING));
        self.readers.read(DOING, query).await
    }

    async fn traces_beyond(&self, utc_days: Vec<NaiveDate>, lane: u16) -> Result<Vec<(u64, NaiveDate)>, StoreError> {
        self.readers
            .read("look up traces of several days", move |connection| traces_beyond(connection, &utc_days, lane))
            .await
    }

    async fn shared_responses(&self, utc_days: Vec<NaiveDate>) -> Result<Vec<ResponseUse>, StoreError> {
        const DOING: &str = "look up shared provider calls";
        self.writer.index_responses().await?;
        let query = move |connection: &Connection| shared_responses(connection, &utc_days).map_err(failed(DOING));
        self.readers.read(DOING, query).await
    }
}

const LISTING: &str = "list blocks";

fn date(text: &str) -> Result<NaiveDate, StoreError> {
    text.parse().map_err(|_| damaged("a block", format!("has the day `{text}`")))
}

/// A row of the columns [`INFO_COLUMNS`], its day still a text.
fn info_parts(row: &Row<'_>) -> rusqlite::Result<(u64, String, u16, [u8; 32], u32)> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
}

fn info(parts: (u64, String, u16, [u8; 32], u32)) -> Result<BlockInfo, StoreError> {
    let (seq, utc_day, lane, digest, events) = parts;
    Ok(BlockInfo { seq, utc_day: date(&utc_day)?, lane, digest: Digest(digest), events })
}

fn infos(connection: &Connection, select: &str, of: impl Params) -> Result<Vec<BlockInfo>, StoreError> {
    let mut select = connection.prepare_cached(select).map_err(failed(LISTING))?;
    let rows = select.query_map(of, info_parts).map_err(failed(LISTING))?;
    rows.map(|row| info(row.map_err(failed(LISTING))?)).collect()
}

/// Steps from day to day through the index, however many blocks a day has.
fn utc_days(connection: &Connection) -> Result<Vec<NaiveDate>, StoreError> {
    const DOING: &str = "list the days of the log";
    let mut select =
        connection.prepare_cached("SELECT min(utc_day) FROM blocks WHERE utc_day > ?1").map_err(failed(DOING))?;
    let mut days = Vec::new();
    let mut last = String::new();
    loop {
        let next: Option<String> = select.query_row(params![last], |row| row.get(0)).map_err(failed(DOING))?;
        let Some(next) = next else { return Ok(days) };
        days.push(date(&next)?);
        last = next;
    }
}

fn stored_block(connection: &Connection, seq: u64) -> Result<StoredBlock, StoreError> {
    const DOING: &str = "read a block";
    let name = || format!("block {seq}");
    let mut select = connection
        .prepare_cached("SELECT seq, utc_day, lane, digest, events, bytes FROM blocks WHERE seq = ?1")
        .map_err(failed(DOING))?;
    let row = select
        .query_row(params![seq.cast_signed()], |row| Ok((info_parts(row)?, row.get::<_, Vec<u8>>(5)?)))
        .optional()
        .map_err(failed(DOING))?;
    let (parts, bytes) = row.ok_or_else(|| damaged(name(), "it is not in the log"))?;
    let info = info(parts)?;
    let name = || format!("block {seq} of {}, lane {}", info.utc_day, info.lane);
    let events = block::verify(&bytes).map_err(|error| damaged(name(), error.to_string()))?;
    if u32::try_from(events) != Ok(info.events) {
        return Err(damaged(name(), format!("it holds {events} events instead of {}", info.events)));
    }
    Ok(StoredBlock { info, bytes })
}

fn blocks_of_traces(connection: &Connection, traces: Vec<u64>) -> rusqlite::Result<Vec<(u64, u64)>> {
    let mut select = connection.prepare_cached("SELECT DISTINCT block FROM event_index WHERE trace = ?1")?;
    let mut found = BTreeSet::new();
    for trace in traces {
        let mut rows = select.query(params![trace.cast_signed()])?;
        while let Some(row) = rows.next()? {
            found.insert((trace, row.get(0)?));
        }
    }
    Ok(found.into_iter().collect())
}

fn traces_beyond(
    connection: &Connection,
    utc_days: &[NaiveDate],
    lane: u16,
) -> Result<Vec<(u64, NaiveDate)>, StoreError> {
    let days: BTreeSet<i64> = utc_days.iter().map(|date| day_of_date(*date)).collect();
    let found = split_traces(connection, &days, lane).map_err(failed("look up traces of several days"))?;
    let beyond = found.into_iter().filter(|(_, day)| !days.contains(day));
    let dated = |(trace, day)| Some((trace, date_of_day(day)?));
    beyond.map(|found| dated(found).ok_or_else(|| damaged("a trace", "has a day out of range"))).collect()
}

/// All days of the traces that have several days and one of `days`.
fn split_traces(connection: &Connection, days: &BTreeSet<i64>, lane: u16) -> rusqlite::Result<BTreeSet<(u64, i64)>> {
    let mut of_day = connection.prepare_cached(
        "SELECT split.trace, other.utc_day FROM split_traces AS split \
         JOIN trace_days AS other ON other.trace = split.trace WHERE split.utc_day = ?1 AND split.lane = ?2",
    )?;
    let mut found = BTreeSet::new();
    for day in days {
        let mut rows = of_day.query(params![day, lane])?;
        while let Some(row) = rows.next()? {
            found.insert((row.get::<_, i64>(0)?.cast_unsigned(), row.get(1)?));
        }
    }
    Ok(found)
}

fn shared_responses(connection: &Connection, utc_days: &[NaiveDate]) -> rusqlite::Result<Vec<ResponseUse>> {
    let mut of_day = connection.prepare_cached(
        "SELECT used.response, used.trace, used.event FROM shared_responses AS shared \
         JOIN responses AS used ON used.response = shared.response WHERE shared.utc_day = ?1",
    )?;
    let mut found = BTreeSet::new();
    for date in utc_days {
        let mut rows = of_day.query(params![day_of_date(*date)])?;
        while let Some(row) = rows.next()? {
            let [response, trace, event] = [0, 1, 2].map(|column| row.get::<_, i64>(column).map(i64::cast_unsigned));
            found.insert(ResponseUse { response: response?, identity: Identity { trace: trace?, event: event? } });
        }
    }
    Ok(found.into_iter().collect())
}
