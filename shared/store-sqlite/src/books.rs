//! The books in one table. Values lie outside the tree that names are found in: what is compared on the way to a name is
//! short, however large the values are.

use async_trait::async_trait;
use recoup_store::books::{Names, WRITES_MAX, check_writes};
use recoup_store::{Books, Expect, Key, Page, Record, StoreError, Write, WriteError};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use tokio::sync::oneshot;

use crate::failure::failed;
use crate::open::SqliteStore;
use crate::together;

const SCANNING: &str = "scan records";
const WRITING: &str = "write records";

#[async_trait]
impl Books for SqliteStore {
    async fn get(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        const DOING: &str = "read a record";
        let key = key.clone();
        self.readers.read(DOING, move |connection| get(connection, key).map_err(failed(DOING))).await
    }

    async fn scan(&self, partition: &str, prefix: &str, after: Option<&str>, limit: usize) -> Result<Page, StoreError> {
        let [partition, prefix] = [partition, prefix].map(str::to_owned);
        let after = after.map(str::to_owned);
        let query = move |connection: &Connection| {
            scan(connection, &partition, &Range { prefix: &prefix, after: after.as_deref(), limit })
        };
        self.readers.read(SCANNING, move |connection| query(connection).map_err(failed(SCANNING))).await
    }

    async fn names(
        &self,
        partition: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Names, StoreError> {
        let [partition, prefix] = [partition, prefix].map(str::to_owned);
        let after = after.map(str::to_owned);
        let query = move |connection: &Connection| {
            names(connection, &partition, &Range { prefix: &prefix, after: after.as_deref(), limit })
        };
        self.readers.read(SCANNING, move |connection| query(connection).map_err(failed(SCANNING))).await
    }

    async fn scan_back(
        &self,
        partition: &str,
        from: &str,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let [partition, from] = [partition, from].map(str::to_owned);
        let before = before.map(str::to_owned);
        let query = move |connection: &Connection| {
            scan_back(connection, &partition, (&from, before.as_deref()), limit.max(1)).map_err(failed(SCANNING))
        };
        self.readers.read(SCANNING, query).await
    }

    async fn write(&self, writes: Vec<Write>) -> Result<(), WriteError> {
        check_writes(&writes)?;
        if writes.is_empty() { Ok(()) } else { self.writer.write(writes).await }
    }

    async fn get_all(&self, keys: &[Key]) -> Result<Vec<Option<Record>>, StoreError> {
        const DOING: &str = "read records";
        let keys = keys.to_vec();
        let query = move |connection: &Connection| {
            let records = keys.into_iter().map(|key| get(connection, key));
            records.collect::<rusqlite::Result<_>>().map_err(failed(DOING))
        };
        self.readers.read(DOING, query).await
    }

    async fn remove_expired(&self, now_s: i64, limit: usize) -> Result<usize, StoreError> {
        const DOING: &str = "remove records whose time is over";
        let query = move |connection: &Connection| expired(connection, now_s, limit).map_err(failed(DOING));
        let over = self.readers.read(DOING, query).await?;
        let mut removed = 0_usize;
        for group in over.chunks(WRITES_MAX) {
            match self.write(group.to_vec()).await {
                Ok(()) => removed = removed.saturating_add(group.len()),
                // One of them was written once more meanwhile: the next call looks again.
                Err(WriteError::Conflict(_)) => {}
                Err(WriteError::Store(error)) => return Err(error),
                Err(error @ WriteError::TooLarge(_)) => return Err(StoreError::unavailable(DOING, error)),
            }
        }
        Ok(removed)
    }
}

fn get(connection: &Connection, key: Key) -> rusqlite::Result<Option<Record>> {
    let mut select =
        connection.prepare_cached(r#"SELECT version, value FROM books WHERE "partition" = ?1 AND sort = ?2"#)?;
    let found = select.query_row(params![key.partition, key.sort], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    Ok(found.map(|(version, value)| Record { key, version, value }))
}

/// The writes that remove records whose time is over, the oldest first.
fn expired(connection: &Connection, now_s: i64, limit: usize) -> rusqlite::Result<Vec<Write>> {
    let mut select = connection.prepare_cached(
        r#"SELECT "partition", sort, version FROM books WHERE until_s IS NOT NULL AND until_s < ?1 ORDER BY until_s LIMIT ?2"#,
    )?;
    let rows = select.query_map(params![now_s, i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
        let key = Key { partition: row.get(0)?, sort: row.get(1)? };
        Ok(Write::Delete { key, expect: Expect::Version(row.get(2)?) })
    })?;
    rows.collect()
}

/// Names that begin with `prefix` and lie after `after`.
struct Range<'a> {
    prefix: &'a str,
    after: Option<&'a str>,
    limit: usize,
}

impl Range<'_> {
    /// The first name that may be in the range, unless it is `after` itself.
    fn lowest(&self) -> &str {
        self.after.map_or(self.prefix, |after| after.max(self.prefix))
    }

    /// Where the next page begins. A page of nothing leads to where it began.
    fn next(&self, last: Option<&str>) -> String {
        last.or(self.after).unwrap_or_default().to_owned()
    }
}

fn scan(connection: &Connection, partition: &str, range: &Range<'_>) -> rusqlite::Result<Page> {
    const SELECT: &str =
        r#"SELECT sort, version, value FROM books WHERE "partition" = ?1 AND sort >= ?2 ORDER BY sort"#;
    let record = |sort: String, row: &Row<'_>| {
        Ok(Record { key: Key::new(partition, sort), version: row.get(1)?, value: row.get(2)? })
    };
    let (records, is_all) = rows(connection, SELECT, (partition, range), record)?;
    let next = (!is_all).then(|| range.next(records.last().map(|record| record.key.sort.as_str())));
    Ok(Page { records, next })
}

fn names(connection: &Connection, partition: &str, range: &Range<'_>) -> rusqlite::Result<Names> {
    const SELECT: &str = r#"SELECT sort FROM books WHERE "partition" = ?1 AND sort >= ?2 ORDER BY sort"#;
    let (sorts, is_all) = rows(connection, SELECT, (partition, range), |sort, _| Ok(sort))?;
    let next = (!is_all).then(|| range.next(sorts.last().map(String::as_str)));
    Ok(Names { sorts, next })
}

/// The rows of a range, and whether these are all of them.
fn rows<T>(
    connection: &Connection,
    select: &str,
    (partition, range): (&str, &Range<'_>),
    make: impl Fn(String, &Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<(Vec<T>, bool)> {
    let mut select = connection.prepare_cached(select)?;
    let mut rows = select.query(params![partition, range.lowest()])?;
    let mut made = Vec::new();
    while let Some(row) = rows.next()? {
        let sort: String = row.get(0)?;
        if range.after == Some(&*sort) {
            continue;
        }
        if !sort.starts_with(range.prefix) {
            break;
        }
        if made.len() >= range.limit {
            return Ok((made, false));
        }
        made.push(make(sort, row)?);
    }
    Ok((made, true))
}

fn scan_back(
    connection: &Connection,
    partition: &str,
    (from, before): (&str, Option<&str>),
    limit: usize,
) -> rusqlite::Result<Page> {
    const ALL: &str =
        r#"SELECT sort, version, value FROM books WHERE "partition" = ?1 AND sort >= ?2 ORDER BY sort DESC LIMIT ?3"#;
    const BEFORE: &str = r#"SELECT sort, version, value FROM books
        WHERE "partition" = ?1 AND sort >= ?2 AND sort < ?4 ORDER BY sort DESC LIMIT ?3"#;
    // One more than asked for tells whether there are more.
    let most = i64::try_from(limit.saturating_add(1)).unwrap_or(i64::MAX);
    let mut select = connection.prepare_cached(if before.is_some() { BEFORE } else { ALL })?;
    let rows = match before {
        Some(before) => select.query(params![partition, from, most, before])?,
        None => select.query(params![partition, from, most])?,
    };
    let record = |row: &Row<'_>| {
        let sort: String = row.get(0)?;
        Ok(Record { key: Key::new(partition, sort), version: row.get(1)?, value: row.get(2)? })
    };
    let mut records = rows.mapped(record).collect::<rusqlite::Result<Vec<Record>>>()?;
    let has_more = records.len() > limit;
    records.truncate(limit);
    let next = records.last().filter(|_| has_more).map(|record| record.key.sort.clone());
    Ok(Page { records, next })
}

/// A group of writes, and where its answer goes.
pub(crate) type Group = (Vec<Write>, oneshot::Sender<Result<(), WriteError>>);

/// The bytes of a group's values.
pub(crate) fn size((writes, _): &Group) -> usize {
    writes.iter().map(Write::value_bytes).sum()
}

/// Commits groups together; all of a group is written, or nothing.
pub(crate) fn commit(connection: &mut Connection, groups: Vec<Group>) {
    together::commit(connection, WRITING, groups, |connection, writes| apply(connection, writes));
}

fn apply(connection: &Connection, writes: &[Write]) -> Result<(), WriteError> {
    for write in writes {
        if !apply_one(connection, write).map_err(failed(WRITING))? {
            return Err(WriteError::Conflict(write.key().clone()));
        }
    }
    Ok(())
}

/// Applies a write and says whether its condition held.
fn apply_one(connection: &Connection, write: &Write) -> rusqlite::Result<bool> {
    const INSERT: &str = r#"INSERT INTO books ("partition", sort, version, value, until_s) VALUES (?1, ?2, 1, ?3, ?4)"#;
    let Key { partition, sort } = write.key();
    match write {
        Write::Put { value, expect: Expect::Any, until_s, .. } => {
            const UPDATE: &str = "version = version + 1, value = excluded.value, until_s = excluded.until_s";
            let upsert = format!("{INSERT} ON CONFLICT DO UPDATE SET {UPDATE}");
            connection.prepare_cached(&upsert)?.execute(params![partition, sort, value, until_s])?;
            Ok(true)
        }
        Write::Put { value, expect: Expect::Absent, until_s, .. } => {
            let insert = format!("{INSERT} ON CONFLICT DO NOTHING");
            Ok(connection.prepare_cached(&insert)?.execute(params![partition, sort, value, until_s])? > 0)
        }
        Write::Put { value, expect: Expect::Version(version), until_s, .. } => {
            let mut update = connection.prepare_cached(
                r#"UPDATE books SET version = version + 1, value = ?3, until_s = ?5
                   WHERE "partition" = ?1 AND sort = ?2 AND version = ?4"#,
            )?;
            Ok(update.execute(params![partition, sort, value, stored_version(*version), until_s])? > 0)
        }
        Write::Delete { expect: Expect::Any, .. } => {
            let mut delete = connection.prepare_cached(r#"DELETE FROM books WHERE "partition" = ?1 AND sort = ?2"#)?;
            delete.execute(params![partition, sort])?;
            Ok(true)
        }
        Write::Delete { expect: Expect::Absent, .. } => {
            let mut select =
                connection.prepare_cached(r#"SELECT 1 FROM books WHERE "partition" = ?1 AND sort = ?2"#)?;
            Ok(!select.exists(params![partition, sort])?)
        }
        Write::Delete { expect: Expect::Version(version), .. } => {
            let mut delete = connection
                .prepare_cached(r#"DELETE FROM books WHERE "partition" = ?1 AND sort = ?2 AND version = ?3"#)?;
            Ok(delete.execute(params![partition, sort, stored_version(*version)])? > 0)
        }
    }
}

/// A version that no record has reached matches none.
fn stored_version(version: u64) -> i64 {
    i64::try_from(version).unwrap_or(-1)
}
