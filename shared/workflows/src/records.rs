//! Typed access to the books: JSON values, whole partitions, lists and values too large for one record.

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use recoup_store::books::{VALUE_BYTES_MAX, WRITES_MAX};
use recoup_store::{Books, Expect, Key, StoreError, Write, WriteError};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Records read in one page.
const SCAN_PAGE: usize = 500;
/// Names read in one page.
const NAMES_PAGE: usize = 1_000;
/// Rows of a list in one record.
const LIST_ROWS_MAX: usize = 1_000;
/// Bytes of one record of a list; below [`VALUE_BYTES_MAX`].
const LIST_BYTES_MAX: usize = 200 * 1024;
/// Bytes written in one atomic group; keeps one commit short.
const GROUP_BYTES_MAX: usize = 1024 * 1024;
/// Groups that are written at the same time.
const GROUPS_AT_ONCE: usize = 4;

fn damaged(key: &Key, error: &serde_json::Error) -> StoreError {
    StoreError::Damaged { what: format!("the record {}/{}", key.partition, key.sort), detail: error.to_string() }
}

/// A value as JSON text; values that are written here always serialize.
pub(crate) fn to_json(value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::unavailable("write a record as JSON", error))
}

/// One record and its version.
pub(crate) async fn get<T: DeserializeOwned>(books: &dyn Books, key: &Key) -> Result<Option<(T, u64)>, StoreError> {
    let Some(record) = books.get(key).await? else { return Ok(None) };
    let value = serde_json::from_str(&record.value).map_err(|error| damaged(key, &error))?;
    Ok(Some((value, record.version)))
}

/// A put of a value.
pub(crate) fn put(key: Key, value: &impl Serialize, expect: Expect) -> Result<Write, StoreError> {
    Ok(Write::Put { key, value: to_json(value)?, expect, until_s: None })
}

/// A put of a value that nobody needs after an instant.
pub(crate) fn put_until(key: Key, value: &impl Serialize, expect: Expect, until_ns: i64) -> Result<Write, StoreError> {
    let until_s = Some(until_ns.div_euclid(1_000_000_000));
    Ok(Write::Put { key, value: to_json(value)?, expect, until_s })
}

/// Every record of a partition whose sort key begins with `prefix`, in order: (sort, value, version).
pub(crate) async fn all<T: DeserializeOwned>(
    books: &dyn Books,
    partition: &str,
    prefix: &str,
) -> Result<Vec<(String, T, u64)>, StoreError> {
    let mut rows = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = books.scan(partition, prefix, after.as_deref(), SCAN_PAGE).await?;
        for record in page.records {
            let value = serde_json::from_str(&record.value).map_err(|error| damaged(&record.key, &error))?;
            rows.push((record.key.sort, value, record.version));
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(rows),
        }
    }
}

/// Writes in groups of at most [`WRITES_MAX`], in no order; each group is atomic, the whole is not.
pub(crate) async fn write_in_groups(books: &dyn Books, writes: Vec<Write>) -> Result<(), WriteError> {
    let groups = stream::iter(groups_of(writes)).map(Ok);
    groups.try_for_each_concurrent(GROUPS_AT_ONCE, |group| books.write(group)).await
}

fn groups_of(writes: Vec<Write>) -> Vec<Vec<Write>> {
    let mut groups: Vec<Vec<Write>> = Vec::new();
    let mut bytes = 0_usize;
    for write in writes {
        let size = write.value_bytes();
        match groups.last_mut() {
            Some(group) if group.len() < WRITES_MAX && bytes.saturating_add(size) <= GROUP_BYTES_MAX => {
                bytes = bytes.saturating_add(size);
                group.push(write);
            }
            _ => {
                bytes = size;
                groups.push(vec![write]);
            }
        }
    }
    groups
}

/// The puts that store a list under `partition`, in records named `{prefix}{number}` of bounded size.
pub(crate) fn list_puts<T: Serialize>(
    partition: &str,
    prefix: &str,
    rows: impl IntoIterator<Item = T>,
) -> Result<Vec<Write>, StoreError> {
    let rows = rows.into_iter().map(|row| to_json(&row)).collect::<Result<Vec<_>, _>>()?;
    Ok(list_puts_of(partition, prefix, &rows))
}

/// As [`list_puts`], of rows that are JSON already.
pub(crate) fn list_puts_of(partition: &str, prefix: &str, rows: &[String]) -> Vec<Write> {
    let mut writes = Vec::new();
    let mut chunk = String::new();
    let mut held = 0_usize;
    let flush = |chunk: &mut String, writes: &mut Vec<Write>| {
        let key = Key::new(partition, format!("{prefix}{:06}", writes.len()));
        chunk.push(']');
        writes.push(Write::Put { key, value: std::mem::take(chunk), expect: Expect::Any, until_s: None });
    };
    for text in rows {
        if held >= LIST_ROWS_MAX || (held > 0 && chunk.len().saturating_add(text.len()) > LIST_BYTES_MAX) {
            flush(&mut chunk, &mut writes);
            held = 0;
        }
        chunk.push(if held == 0 { '[' } else { ',' });
        chunk.push_str(text);
        held = held.saturating_add(1);
    }
    if held > 0 {
        flush(&mut chunk, &mut writes);
    }
    writes
}

/// The list stored by [`list_puts`].
pub(crate) async fn list<T: DeserializeOwned>(
    books: &dyn Books,
    partition: &str,
    prefix: &str,
) -> Result<Vec<T>, StoreError> {
    Ok(all::<Vec<T>>(books, partition, prefix).await?.into_iter().flat_map(|(_, rows, _)| rows).collect())
}

/// The puts that store a text of any size in pieces of bounded size.
pub(crate) fn text_puts(partition: &str, prefix: &str, text: &str) -> Result<Vec<Write>, StoreError> {
    // A character may take six bytes once it is escaped inside JSON.
    let piece_bytes = VALUE_BYTES_MAX.checked_div(7).unwrap_or(1);
    let mut rest = text;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let mut at = piece_bytes.min(rest.len());
        while !rest.is_char_boundary(at) {
            at = at.saturating_sub(1);
        }
        let (piece, tail) = rest.split_at(at);
        pieces.push(piece);
        rest = tail;
    }
    pieces
        .iter()
        .enumerate()
        .map(|(number, piece)| put(Key::new(partition, format!("{prefix}{number:06}")), piece, Expect::Any))
        .collect()
}

/// The text stored by [`text_puts`].
pub(crate) async fn text(books: &dyn Books, partition: &str, prefix: &str) -> Result<String, StoreError> {
    Ok(all::<String>(books, partition, prefix).await?.into_iter().map(|(_, piece, _)| piece).collect())
}

/// Removes every record of a partition whose sort key begins with `prefix`.
pub(crate) async fn remove_all(books: &dyn Books, partition: &str, prefix: &str) -> Result<(), WriteError> {
    let mut after: Option<String> = None;
    loop {
        let page = books.names(partition, prefix, after.as_deref(), NAMES_PAGE).await?;
        let delete = |sort| Write::Delete { key: Key::new(partition, sort), expect: Expect::Any };
        write_in_groups(books, page.sorts.into_iter().map(delete).collect()).await?;
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(()),
        }
    }
}
