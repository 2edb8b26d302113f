//! The books in one table.
//!
//! An item: `pk` partition, `sk` a slash and the sort key (`DynamoDB` takes no empty key), `v` version, the value as text
//! `s` or, where that is smaller, as zstd `z`, `x` when it expires, and `w`, a name of the write that made it what it is. Partitions that begin
//! with `@` are the adapter's own.
//!
//! | method | costs |
//! |---|---|
//! | `get` | a read unit per 4 KB |
//! | `get_all` | as a `get` each, in one call |
//! | `scan`, `scan_back`, `names` | a read unit per 4 KB of all that is looked at, values included |
//! | `write` of one record | a write unit per KB |
//! | `write` of several | two write units per KB of each |

use async_trait::async_trait;
use recoup_store::books::{Names, VALUE_BYTES_MAX, check_writes};
use recoup_store::{Books, Expect, Key, Page, Record, StoreError, Write, WriteError};

use crate::change::{Change, Item, SORT, binary, damaged, item_key, number, read_binary, read_number, read_text, text};
use crate::open::AwsStore;
use crate::table::{Applied, Query, TransactError, random_name};

const READING: &str = "read a record";
const SCANNING: &str = "scan records";
const WRITING: &str = "write records";

/// Values below are not worth compressing: they cost one write unit anyway.
const PLAIN_BYTES_MAX: usize = 1024;
/// A good ratio at a speed that a small function does not feel.
const ZSTD_LEVEL: i32 = 3;
/// Begins the partitions of the adapter.
const OWN: char = '@';
/// Begins every sort key, and the letter behind it in the order of bytes.
const SLASH: char = '/';
const BEHIND_SLASH: &str = "0";
/// Bytes of a partition key (`DynamoDB`'s own limit).
const PARTITION_BYTES_MAX: usize = 2048;
/// Bytes of a sort key (`DynamoDB`'s own limit less the slash).
const SORT_BYTES_MAX: usize = 1023;

#[async_trait]
impl Books for AwsStore {
    async fn get(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        let item = self.books.get(READING, &stored_key(key, READING)?).await?;
        item.map(|item| record(&key.partition, &item)).transpose()
    }

    async fn scan(&self, partition: &str, prefix: &str, after: Option<&str>, limit: usize) -> Result<Page, StoreError> {
        let (found, is_all) = self.within(partition, Range { prefix, after }, (limit, false)).await?;
        let records = records(partition, &found)?;
        let next = (!is_all).then(|| next(records.last().map(|record| &record.key.sort), after));
        Ok(Page { records, next })
    }

    async fn names(
        &self,
        partition: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Names, StoreError> {
        let (found, is_all) = self.within(partition, Range { prefix, after }, (limit, true)).await?;
        let sorts: Vec<String> = found.into_iter().map(|(sort, _)| sort).collect();
        let next = (!is_all).then(|| next(sorts.last(), after));
        Ok(Names { sorts, next })
    }

    async fn scan_back(
        &self,
        partition: &str,
        from: &str,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        check_partition(partition, SCANNING)?;
        let limit = limit.max(1);
        let low = format!("{SLASH}{from}");
        let high = before.map_or_else(|| BEHIND_SLASH.to_owned(), |before| format!("{SLASH}{before}"));
        if low > high {
            return Ok(Page { records: Vec::new(), next: None });
        }
        let between = Some((low, high));
        let query = Query { partition: partition.to_owned(), between, descending: true, ..Query::default() };
        let holds = |sort: &str| before.is_none_or(|before| sort < before);
        let (found, is_all) = self.gather(query, limit, holds).await?;
        let records = records(partition, &found)?;
        let next = records.last().filter(|_| !is_all).map(|record| record.key.sort.clone());
        Ok(Page { records, next })
    }

    async fn get_all(&self, keys: &[Key]) -> Result<Vec<Option<Record>>, StoreError> {
        let mut stored = Vec::with_capacity(keys.len());
        for key in keys {
            stored_key(key, READING)?;
            stored.push((key.partition.clone(), format!("{SLASH}{}", key.sort)));
        }
        let items = self.books.get_all(READING, &stored).await?;
        let read = |(key, item): (&Key, Option<Item>)| item.map(|item| record(&key.partition, &item)).transpose();
        keys.iter().zip(items).map(read).collect()
    }

    async fn write(&self, writes: Vec<Write>) -> Result<(), WriteError> {
        check_writes(&writes)?;
        let name = random_name().map_err(|error| StoreError::unavailable(WRITING, error))?;
        let changes: Result<Vec<_>, _> = writes.iter().map(|write| change(write, &name)).collect();
        let changes = changes?;
        if let [write] = &*writes
            && let [change] = &*changes
            && !is_repeatable_only_once(write)
        {
            return match self.books.apply(WRITING, change).await? {
                Applied::Refused(standing) if !is_ours(standing.as_ref(), &name) => {
                    Err(WriteError::Conflict(write.key().clone()))
                }
                _ => Ok(()),
            };
        }
        match self.books.transact(WRITING, &changes).await {
            Ok(()) => Ok(()),
            Err(TransactError::Refused(at)) => {
                let refused = at.first().and_then(|at| writes.get(*at)).or(writes.first());
                let nothing = || StoreError::unavailable(WRITING, "nothing was refused").into();
                Err(refused.map_or_else(nothing, |write| WriteError::Conflict(write.key().clone())))
            }
            Err(TransactError::TooLarge(words)) => Err(WriteError::TooLarge(words)),
            Err(TransactError::Contended) => {
                let cause = "DynamoDB: other transactions kept changing the same records";
                Err(StoreError::unavailable(WRITING, cause).into())
            }
            Err(TransactError::Store(error)) => Err(error.into()),
        }
    }
}

impl AwsStore {
    /// The items of a range by their sort keys, at most `limit`, and whether these are all.
    async fn within(
        &self,
        partition: &str,
        range: Range<'_>,
        (limit, keys_only): (usize, bool),
    ) -> Result<(Vec<(String, Item)>, bool), StoreError> {
        check_partition(partition, SCANNING)?;
        let Some(between) = range.between() else { return Ok((Vec::new(), true)) };
        let query = Query { partition: partition.to_owned(), between: Some(between), keys_only, ..Query::default() };
        self.gather(query, limit, |sort| range.holds(sort)).await
    }

    /// The items of a query whose sort keys are meant, at most `limit`, and whether these are all.
    async fn gather(
        &self,
        mut query: Query,
        limit: usize,
        is_meant: impl Fn(&str) -> bool + Send,
    ) -> Result<(Vec<(String, Item)>, bool), StoreError> {
        let mut found: Vec<(String, Item)> = Vec::new();
        loop {
            // One more than asked for tells whether there are more; two more are looked at and left out at the ends.
            query.limit = Some(limit.saturating_sub(found.len()).saturating_add(3));
            let page = self.books.query(SCANNING, &query).await?;
            for item in page.items {
                let sort = sort_of(&item)?.to_owned();
                if !is_meant(&sort) {
                    continue;
                }
                if found.len() >= limit {
                    return Ok((found, false));
                }
                found.push((sort, item));
            }
            match page.next {
                Some(next) => query.from = Some(next),
                None => return Ok((found, true)),
            }
        }
    }
}

/// Sort keys that begin with `prefix` and lie after `after`.
struct Range<'a> {
    prefix: &'a str,
    after: Option<&'a str>,
}

impl Range<'_> {
    fn holds(&self, sort: &str) -> bool {
        sort.starts_with(self.prefix) && self.after.is_none_or(|after| sort > after)
    }

    /// The lowest and the highest stored sort key that are looked at, both included. `None`: nothing can be there.
    fn between(&self) -> Option<(String, String)> {
        let low = self.after.map_or(self.prefix, |after| after.max(self.prefix));
        let low = format!("{SLASH}{low}");
        let high = behind(&format!("{SLASH}{}", self.prefix));
        (low <= high).then_some((low, high))
    }
}

/// The smallest text behind all that begin with `prefix`, which begins with a slash.
fn behind(prefix: &str) -> String {
    let mut letters: Vec<char> = prefix.chars().collect();
    while let Some(last) = letters.pop() {
        let next = (u32::from(last).saturating_add(1)..=u32::from(char::MAX)).find_map(char::from_u32);
        if let Some(next) = next {
            letters.push(next);
            return letters.into_iter().collect();
        }
    }
    BEHIND_SLASH.to_owned()
}

fn check_partition(partition: &str, doing: &'static str) -> Result<(), StoreError> {
    let wrong = if partition.is_empty() {
        "is empty"
    } else if partition.starts_with(OWN) {
        "belongs to the adapter"
    } else if partition.len() > PARTITION_BYTES_MAX {
        "is longer than 2,048 bytes"
    } else {
        return Ok(());
    };
    let shown: String = partition.chars().take(100).collect();
    Err(StoreError::unavailable(doing, format!("the partition `{shown}` {wrong}")))
}

fn stored_key(key: &Key, doing: &'static str) -> Result<Item, StoreError> {
    check_partition(&key.partition, doing)?;
    if key.sort.len() > SORT_BYTES_MAX {
        let shown: String = key.sort.chars().take(100).collect();
        let cause = format!("the sort key `{shown}...` is longer than {SORT_BYTES_MAX} bytes");
        return Err(StoreError::unavailable(doing, cause));
    }
    Ok(item_key(&key.partition, &format!("{SLASH}{}", key.sort)))
}

/// Where the next page begins. A page of nothing leads to where it began.
fn next(last: Option<&String>, after: Option<&str>) -> String {
    last.map(String::as_str).or(after).unwrap_or_default().to_owned()
}

fn sort_of(item: &Item) -> Result<&str, StoreError> {
    let sort = read_text(item, SORT).and_then(|sort| sort.strip_prefix(SLASH));
    sort.ok_or_else(|| damaged(item, "its sort key does not begin with a slash"))
}

fn record(partition: &str, item: &Item) -> Result<Record, StoreError> {
    let sort = sort_of(item)?;
    let version = read_number(item, "v").ok_or_else(|| damaged(item, "it has no version"))?;
    Ok(Record { key: Key::new(partition, sort), version, value: value(item)? })
}

fn records(partition: &str, found: &[(String, Item)]) -> Result<Vec<Record>, StoreError> {
    found.iter().map(|(_, item)| record(partition, item)).collect()
}

fn value(item: &Item) -> Result<String, StoreError> {
    if let Some(plain) = read_text(item, "s") {
        return Ok(plain.to_owned());
    }
    let packed = read_binary(item, "z").ok_or_else(|| damaged(item, "it has no value"))?;
    let bytes = zstd::bulk::decompress(packed, VALUE_BYTES_MAX).map_err(|error| damaged(item, error.to_string()))?;
    String::from_utf8(bytes).map_err(|error| damaged(item, error.to_string()))
}

/// Whether a write that was done and whose answer was lost could not be told from one that was refused: what it left
/// behind does not name it. As a transaction it can, by its token.
const fn is_repeatable_only_once(write: &Write) -> bool {
    matches!(write, Write::Delete { expect: Expect::Version(_), .. })
}

/// Whether a refused write is what stands there: it was done, its answer was lost, and the SDK repeated it.
fn is_ours(standing: Option<&Item>, name: &str) -> bool {
    standing.and_then(|item| read_text(item, "w")) == Some(name)
}

fn change(write: &Write, name: &str) -> Result<Change, StoreError> {
    let key = stored_key(write.key(), WRITING)?;
    let (change, expect) = match write {
        Write::Delete { expect: Expect::Absent, .. } => (Change::check(key), &Expect::Absent),
        Write::Delete { expect, .. } => (Change::delete(key), expect),
        Write::Put { value, expect, until_s, .. } => {
            let (attribute, other, value) = match packed(value)? {
                Some(packed) => ("z", "s", binary(packed)),
                None => ("s", "z", text(value)),
            };
            let (set, remove) = if until_s.is_some() { (", x = :x", "") } else { ("", ", x") };
            let update = format!("SET {attribute} = :d, w = :w{set} REMOVE {other}{remove} ADD v :one");
            let update = Change::update(key, update).value(":d", value).value(":w", text(name));
            let update = match until_s {
                Some(until_s) => update.value(":x", number(until_s)),
                None => update,
            };
            (update.value(":one", number(1)), expect)
        }
    };
    Ok(match expect {
        Expect::Any => change,
        Expect::Absent => change.when("attribute_not_exists(pk)"),
        Expect::Version(version) => change.when("v = :v").value(":v", number(version)),
    })
}

/// The compressed value, where it is worth it.
fn packed(value: &str) -> Result<Option<Vec<u8>>, StoreError> {
    if value.len() <= PLAIN_BYTES_MAX {
        return Ok(None);
    }
    let packed = zstd::bulk::compress(value.as_bytes(), ZSTD_LEVEL);
    let packed = packed.map_err(|error| StoreError::unavailable(WRITING, error))?;
    Ok((packed.len() < value.len()).then_some(packed))
}
