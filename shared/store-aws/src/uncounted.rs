//! Up to when everything that was recorded is counted: the blocks that name reservations and wait for the rollup.
//!
//! A stream's records come in an order of their own for each shard and each batch that works on it, so that nothing that goes
//! through it tells that something else has gone through. Instead a block of which an event names a reservation is noted
//! here BEFORE it is recorded, and the note ends once the rollup has posted and settled it. What a lease must wait for
//! is then noted, counted, or not acknowledged; events that name no reservation let nothing wait, and cost nothing here.
//!
//! An append under way may not have made its note yet: nothing is said of the last [`UNDER_WAY_NS`], twice what a
//! function of the template lives. A note whose process ended before it recorded anything is told by the table of events:
//! after [`ORPHAN_NS`] there is no such block, or one that another append recorded. A block that the rollup cannot read lets
//! nobody wait, and after [`GIVEN_UP_NS`] the stream has forgotten it; the dead letters name both.
//!
//! | method | costs |
//! |---|---|
//! | note of an append | a write unit per block that names reservations, before the block |
//! | `note_counted` | a write unit each |
//! | `counted_through` | a query for each of 16 partitions; a read of the oldest block where it waits for long |

use recoup_store::{BlockName, Incoming, StoreError, block};

use crate::change::{Change, Item, SORT, damaged, item_key, read_binary, read_number, read_text};
use crate::gather::gather;
use crate::keys;
use crate::open::AwsStore;
use crate::table::{Query, Table};

const COUNTING: &str = "find what is not counted yet";
const MINUTE_NS: i64 = 60_000_000_000;
/// How long an append may be under way.
const UNDER_WAY_NS: i64 = MINUTE_NS;
/// After this the append of a note has ended, with a block or without.
const ORPHAN_NS: i64 = 10 * MINUTE_NS;
/// After this the stream does not bring a block any more: it keeps records for 24 hours.
const GIVEN_UP_NS: i64 = 25 * 60 * MINUTE_NS;
/// Notes of one partition that one look ends.
const ENDED_MAX: usize = 500;

impl AwsStore {
    pub(crate) async fn forget_uncounted(&self, blocks: &[(BlockName, i64)]) -> Result<(), StoreError> {
        let forget = |(name, recorded_at_ns): (BlockName, i64)| {
            let table = self.books.clone();
            async move { forget(&table, &keys::uncounted(&name, recorded_at_ns)).await }
        };
        gather(COUNTING, blocks.iter().copied(), forget).await.map(drop)
    }

    pub(crate) async fn counted_before(&self, now_ns: i64) -> Result<i64, StoreError> {
        let oldest = |partition: String| {
            let (books, events) = (self.books.clone(), self.events.clone());
            async move { oldest(&books, &events, (partition, now_ns)).await }
        };
        let oldest = gather(COUNTING, keys::uncounted_partitions(), oldest).await?;
        let settled_ns = now_ns.saturating_sub(UNDER_WAY_NS);
        Ok(oldest.into_iter().flatten().fold(settled_ns, i64::min))
    }
}

/// The note that a block with these events needs; `None`: no event of it names a reservation.
pub(crate) fn note_of<'a>(
    name: &BlockName,
    events: impl Iterator<Item = &'a Incoming> + Clone,
    recorded_at_ns: i64,
) -> Option<keys::ItemKey> {
    let names = |incoming: &Incoming| incoming.recorded.event.reservation_id.is_some();
    events.clone().any(names).then(|| keys::uncounted(name, recorded_at_ns))
}

/// Notes a block that is about to be recorded.
pub(crate) async fn note(table: &Table, (partition, sort): &keys::ItemKey) -> Result<(), StoreError> {
    table.apply("note a block", &Change::put(item_key(partition, sort))).await.map(drop)
}

/// Ends a note.
pub(crate) async fn forget(table: &Table, (partition, sort): &keys::ItemKey) -> Result<(), StoreError> {
    table.apply(COUNTING, &Change::delete(item_key(partition, sort))).await.map(drop)
}

/// When the oldest block of a partition was recorded that is not counted.
async fn oldest(books: &Table, events: &Table, (partition, now_ns): (String, i64)) -> Result<Option<i64>, StoreError> {
    let query = Query { partition: partition.clone(), limit: Some(1), ..Query::default() };
    let mut last = None;
    for _ in 0..ENDED_MAX {
        let page = books.query(COUNTING, &query).await?;
        let Some(item) = page.items.first() else { return Ok(None) };
        let sort = read_text(item, SORT).unwrap_or_default();
        let (noted_ns, block) = keys::parse_uncounted(sort).ok_or_else(|| damaged(item, "it names no block"))?;
        let age_ns = now_ns.saturating_sub(noted_ns);
        if age_ns < ORPHAN_NS || waits(events, &block, (noted_ns, age_ns)).await? {
            return Ok(Some(noted_ns));
        }
        forget(books, &(partition.clone(), sort.to_owned())).await?;
        last = Some(noted_ns);
    }
    Ok(last)
}

/// Whether the stream will bring a block.
async fn waits(
    events: &Table,
    (place, digest): &keys::ItemKey,
    (noted_ns, age_ns): (i64, i64),
) -> Result<bool, StoreError> {
    let standing: Option<Item> = events.get(COUNTING, &item_key(place, digest)).await?;
    // Who recorded it at another time has a note of its own.
    let Some(item) = standing.filter(|item| read_number(item, "t") == Some(noted_ns)) else { return Ok(false) };
    let is_readable = read_binary(&item, "b").is_some_and(|bytes| block::verify(bytes).is_ok());
    if !is_readable || age_ns >= GIVEN_UP_NS {
        tracing::error!(
            block = format!("{place}/{digest}"),
            "a block was not counted, and leases do not wait for it any more"
        );
        return Ok(false);
    }
    Ok(true)
}
