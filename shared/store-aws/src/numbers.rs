//! The numbers of blocks: who waits for one, who has one, and how they are given.
//!
//! Blocks are announced by [`recoup_store::Live::arrived`] in lists that wait. Numbering takes some of these lists, leaves
//! out what has a number, and writes in ONE transaction: the sequencer, on the condition that it is where it was when
//! the lists of the days were read; the blocks in order of their numbers; and the same blocks under their days. Whoever
//! comes second finds the sequencer moved and looks again. So a block has one number, the numbers have no gaps, and none
//! is given below one that was given before. Then the lists end; one that stays, after a crash, holds nothing new.
//!
//! | method | costs |
//! |---|---|
//! | `announce` | a write unit per KB, about 25 blocks |
//! | `number_pending` | a query; per slice a read and a query per day and lane, two write units per KB of both lists, one per list that ends |
//! | `day_lists` | a query for each of which something may be new |
//! | `infos_after`, `infos_of` | a query per entry that is not remembered |

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::NaiveDate;
use recoup_model::Digest;
use recoup_store::{BlockInfo, BlockName, StoreError};

use crate::change::{Change, Item, SORT, binary, damaged, item_key, number, read_binary, read_number, read_text};
use crate::gather::gather;
use crate::keys;
use crate::open::AwsStore;
use crate::packed::{pack_infos, pack_names, unpack_infos, unpack_names};
use crate::remembered::DayList;
use crate::table::{Query, Table, TransactError, pause};

/// Blocks of one list that waits.
const WAITING_BLOCKS_MAX: usize = 1_000;
/// Days and lanes of one list that waits, and of one slice: two items of the transaction each.
const PLACES_MAX: usize = 40;
/// Lists that one slice takes.
const LISTS_PER_SLICE: usize = 250;
/// Blocks that get their numbers in one slice; about 150 KB.
const SLICE_BLOCKS_MAX: usize = 2_000;
/// Slices of one call, which others may keep feeding.
const SLICES_MAX: usize = 10_000;
/// Slices in a row that somebody else was quicker with.
const LOST_MAX: u32 = 100;
/// Entries of one page.
const ENTRIES_PER_PAGE: usize = 200;

const NUMBERING: &str = "number blocks";
const LISTING: &str = "list blocks";

type Place = (NaiveDate, u16);

/// What became of a slice.
enum Slice {
    /// There was nothing to number.
    Empty,
    Done,
    /// Somebody else was quicker.
    Lost,
}

/// A list that waits.
struct Waiting {
    key: Item,
    names: Vec<BlockName>,
}

impl AwsStore {
    /// Makes blocks wait for their numbers, in their order.
    pub(crate) async fn announce(&self, names: &[BlockName]) -> Result<(), StoreError> {
        const DOING: &str = "announce blocks";
        let changes = lists_of(names).into_iter().map(|names| {
            let packed = pack_names(&names);
            let (partition, sort) = keys::pending(&Digest::of(&packed));
            let mut item = item_key(&partition, &sort);
            item.insert("b".to_owned(), binary(packed));
            Change::put(item)
        });
        let table = &self.books;
        let put = |change: Change| {
            let table = table.clone();
            async move { table.apply(DOING, &change).await.map(drop) }
        };
        gather(DOING, changes, put).await.map(drop)
    }

    /// Gives every block that waits its number.
    pub(crate) async fn number_pending(&self) -> Result<(), StoreError> {
        let mut lost = 0;
        for _ in 0..SLICES_MAX {
            match self.number_slice().await? {
                Slice::Empty => return Ok(()),
                Slice::Done => lost = 0,
                Slice::Lost if lost >= LOST_MAX => {
                    return Err(StoreError::unavailable(NUMBERING, "others kept numbering blocks at the same time"));
                }
                Slice::Lost => {
                    lost += 1;
                    pause(lost.min(4)).await;
                }
            }
        }
        Err(StoreError::unavailable(NUMBERING, "blocks arrive faster than they are numbered"))
    }

    async fn number_slice(&self) -> Result<Slice, StoreError> {
        // The sequencer is read before the lists of the days: they hold all that was numbered until then.
        let next = self.sequencer().await?;
        let waiting = self.waiting().await?;
        if waiting.is_empty() {
            return Ok(Slice::Empty);
        }
        let places = waiting.iter().flat_map(|list| &list.names).map(place_of).collect();
        let known = self.day_lists(places, next.unwrap_or(1).saturating_sub(1)).await?;
        let mut seen = BTreeSet::new();
        let mut fresh: Vec<BlockInfo> = Vec::new();
        let first = next.unwrap_or(1);
        let mut seq = first;
        for name in waiting.iter().flat_map(|list| &list.names) {
            let BlockName { utc_day, lane, digest, events } = *name;
            let is_known = known.get(&place_of(name)).is_some_and(|list| list.numbers.contains_key(&digest));
            if !is_known && seen.insert((place_of(name), digest)) {
                fresh.push(BlockInfo { seq, utc_day, lane, digest, events });
                seq = seq.checked_add(1).ok_or_else(|| StoreError::unavailable(NUMBERING, "numbers are used up"))?;
            }
        }
        let ended: Vec<Change> = waiting.into_iter().map(|list| Change::delete(list.key)).collect();
        if fresh.is_empty() {
            return self.end_lists(ended).await.map(|()| Slice::Done);
        }
        match self.books.transact(NUMBERING, &self.slice_changes(next, &fresh)).await {
            Ok(()) => {
                self.remembered.note_days(fresh.iter().map(|info| info.utc_day));
                self.end_lists(ended).await.map(|()| Slice::Done)
            }
            Err(TransactError::Refused(_) | TransactError::Contended) => Ok(Slice::Lost),
            Err(TransactError::TooLarge(words)) => Err(StoreError::unavailable(NUMBERING, words)),
            Err(TransactError::Store(error)) => Err(error),
        }
    }

    /// Ends lists of which every block has its number, whoever gave it.
    async fn end_lists(&self, ended: Vec<Change>) -> Result<(), StoreError> {
        let delete = |change: Change| {
            let table = self.books.clone();
            async move { table.apply(NUMBERING, &change).await.map(drop) }
        };
        gather(NUMBERING, ended, delete).await.map(drop)
    }

    /// The number of the next block; `None`: there was none yet.
    async fn sequencer(&self) -> Result<Option<u64>, StoreError> {
        let (partition, sort) = keys::sequencer();
        let item = self.books.get(NUMBERING, &item_key(&partition, &sort)).await?;
        let next = |item: Item| read_number(&item, "n").ok_or_else(|| damaged(&item, "it has no number"));
        item.map(next).transpose()
    }

    /// Some of the lists that wait, as many as fit a slice and at least one.
    async fn waiting(&self) -> Result<Vec<Waiting>, StoreError> {
        let query = Query { partition: keys::PENDING.to_owned(), limit: Some(LISTS_PER_SLICE), ..Query::default() };
        let mut lists: Vec<Waiting> = Vec::new();
        let mut places = BTreeSet::new();
        let mut blocks = 0_usize;
        for item in self.books.query(NUMBERING, &query).await?.items {
            let names = unpacked(&item, unpack_names)?;
            places.extend(names.iter().map(place_of));
            blocks = blocks.saturating_add(names.len());
            if !lists.is_empty() && (places.len() > PLACES_MAX || blocks > SLICE_BLOCKS_MAX) {
                break;
            }
            let sort = read_text(&item, SORT).unwrap_or_default();
            lists.push(Waiting { key: item_key(keys::PENDING, sort), names });
        }
        Ok(lists)
    }

    /// What numbers these blocks: the sequencer, the entry of the log, those of the days, and days that are new.
    fn slice_changes(&self, next: Option<u64>, fresh: &[BlockInfo]) -> Vec<Change> {
        let first = next.unwrap_or(1);
        let behind = fresh.last().map_or(first, |info| info.seq.saturating_add(1));
        let (partition, sort) = keys::sequencer();
        let mut sequencer = item_key(&partition, &sort);
        sequencer.insert("n".to_owned(), number(behind));
        let sequencer = match next {
            None => Change::put(sequencer).when("attribute_not_exists(pk)"),
            Some(next) => Change::put(sequencer).when("n = :n").value(":n", number(next)),
        };
        let names: Vec<BlockName> = fresh.iter().map(BlockInfo::name).collect();
        let mut changes = vec![sequencer, entry(keys::LOG, first, pack_names(&names))];
        let mut places: BTreeMap<Place, Vec<BlockInfo>> = BTreeMap::new();
        for info in fresh {
            places.entry((info.utc_day, info.lane)).or_default().push(*info);
        }
        let mut days = BTreeSet::new();
        for ((utc_day, lane), infos) in places {
            changes.push(entry(&keys::day(utc_day, lane), first, pack_infos(first, &infos)));
            if !self.remembered.has_day(utc_day) && days.insert(utc_day) {
                changes.push(Change::put(item_key(keys::DAYS, &utc_day.to_string())));
            }
        }
        changes
    }

    /// The highest number that was given.
    pub(crate) async fn last_number(&self) -> Result<u64, StoreError> {
        Ok(self.sequencer().await?.map_or(0, |next| next.saturating_sub(1)))
    }

    /// The numbered blocks of a day and lane.
    pub(crate) async fn day_list(&self, place: Place) -> Result<Arc<DayList>, StoreError> {
        let last = self.last_number().await?;
        Ok(self.day_lists(BTreeSet::from([place]), last).await?.remove(&place).unwrap_or_default())
    }

    /// The numbered blocks of days and lanes, at least those up to the number `last`. What is remembered up to there is
    /// not read again.
    pub(crate) async fn day_lists(
        &self,
        places: BTreeSet<Place>,
        last: u64,
    ) -> Result<BTreeMap<Place, Arc<DayList>>, StoreError> {
        let known: Vec<(Place, Arc<DayList>)> =
            places.into_iter().map(|place| (place, self.remembered.list(place))).collect();
        let read = |(place, list): (Place, Arc<DayList>)| {
            let table = self.books.clone();
            async move {
                let list = if list.complete_through < last { grown(&table, place, list, last).await? } else { list };
                Ok((place, list))
            }
        };
        let lists = gather(LISTING, known, read).await?;
        lists.iter().for_each(|(place, list)| self.remembered.note_list(*place, list));
        Ok(lists.into_iter().collect())
    }

    /// Blocks behind a number, in order.
    pub(crate) async fn infos_after(&self, seq: u64, limit: usize) -> Result<Vec<BlockInfo>, StoreError> {
        let mut found = Vec::new();
        if limit == 0 || seq == u64::MAX {
            return Ok(found);
        }
        // The entry that may hold the next number begins at it or before it.
        let begun = self.entry_of(seq.saturating_add(1)).await?;
        let mut from = 0;
        if let Some((first, infos)) = begun {
            from = first.saturating_add(1);
            found.extend(infos.into_iter().filter(|info| info.seq > seq));
        }
        let between = Some((keys::first_seq(from), keys::first_seq(u64::MAX)));
        let mut query = Query { partition: keys::LOG.to_owned(), between, ..Query::default() };
        while found.len() < limit {
            query.limit = Some(limit.saturating_sub(found.len()).min(ENTRIES_PER_PAGE));
            let page = self.books.query(LISTING, &query).await?;
            for item in &page.items {
                found.extend(self.entry_infos(item)?.1);
            }
            match page.next {
                Some(next) => query.from = Some(next),
                None => break,
            }
        }
        found.truncate(limit);
        Ok(found)
    }

    /// Blocks by number, in the order asked for; [`StoreError::Damaged`] where there is none.
    pub(crate) async fn infos_of(&self, seqs: &[u64]) -> Result<Vec<BlockInfo>, StoreError> {
        let mut read: BTreeMap<u64, BlockInfo> = BTreeMap::new();
        let wanted: BTreeSet<u64> = seqs.iter().copied().collect();
        for seq in wanted {
            if read.contains_key(&seq) {
                continue;
            }
            if let Some(info) = self.remembered.block(seq) {
                read.insert(seq, info);
            } else if let Some((_, infos)) = self.entry_of(seq).await? {
                read.extend(infos.into_iter().map(|info| (info.seq, info)));
            }
        }
        let missing =
            |seq: u64| StoreError::Damaged { what: format!("block {seq}"), detail: "it is not in the log".to_owned() };
        seqs.iter().map(|seq| read.get(seq).copied().ok_or_else(|| missing(*seq))).collect()
    }

    /// The last entry that begins at a number or before it.
    async fn entry_of(&self, seq: u64) -> Result<Option<(u64, Vec<BlockInfo>)>, StoreError> {
        let between = Some((keys::first_seq(0), keys::first_seq(seq)));
        let partition = keys::LOG.to_owned();
        let mut query = Query { partition, between, descending: true, limit: Some(1), ..Query::default() };
        loop {
            let page = self.books.query(LISTING, &query).await?;
            if let Some(item) = page.items.first() {
                return self.entry_infos(item).map(Some);
            }
            match page.next {
                Some(next) => query.from = Some(next),
                None => return Ok(None),
            }
        }
    }

    /// The first number and the blocks of an entry of the log.
    fn entry_infos(&self, item: &Item) -> Result<(u64, Vec<BlockInfo>), StoreError> {
        let first = first_of(item)?;
        let names = unpacked(item, unpack_names)?;
        let numbered = names.into_iter().zip(first..).map(|(name, seq)| {
            let BlockName { utc_day, lane, digest, events } = name;
            BlockInfo { seq, utc_day, lane, digest, events }
        });
        let infos: Vec<BlockInfo> = numbered.collect();
        self.remembered.note_blocks(&infos);
        Ok((first, infos))
    }

    /// Days that have blocks, in order.
    pub(crate) async fn days(&self) -> Result<Vec<NaiveDate>, StoreError> {
        let query = Query { partition: keys::DAYS.to_owned(), ..Query::default() };
        let items = self.books.query_all("list the days of the log", query).await?;
        let day = |item: &Item| {
            let day = read_text(item, SORT).and_then(|day| day.parse().ok());
            day.ok_or_else(|| damaged(item, "it is no day"))
        };
        let days: Vec<NaiveDate> = items.iter().map(day).collect::<Result<_, _>>()?;
        self.remembered.note_days(days.iter().copied());
        Ok(days)
    }
}

/// What an item's packed list holds.
pub(crate) fn unpacked<T>(
    item: &Item,
    unpack: impl FnOnce(&[u8]) -> Result<T, crate::packed::PackedError>,
) -> Result<T, StoreError> {
    let bytes = read_binary(item, "b").ok_or_else(|| damaged(item, "it has no list"))?;
    unpack(bytes).map_err(|error| damaged(item, error.to_string()))
}

pub(crate) const fn place_of(name: &BlockName) -> Place {
    (name.utc_day, name.lane)
}

/// A list with what is new of it, which is all that has a number up to `last`, and maybe more.
async fn grown(
    table: &Table,
    (utc_day, lane): Place,
    mut list: Arc<DayList>,
    last: u64,
) -> Result<Arc<DayList>, StoreError> {
    let between = Some((keys::first_seq(list.begins_at), keys::first_seq(u64::MAX)));
    let query = Query { partition: keys::day(utc_day, lane), between, ..Query::default() };
    let items = table.query_all(LISTING, query).await?;
    let grown = Arc::make_mut(&mut list);
    for item in items {
        let first = first_of(&item)?;
        let infos = unpacked(&item, |bytes| unpack_infos((utc_day, lane), first, bytes))?;
        grown.numbers.extend(infos.iter().map(|info| (info.digest, info.seq)));
        grown.infos.extend(infos);
        grown.begins_at = first.saturating_add(1);
    }
    grown.complete_through = last;
    Ok(list)
}

fn first_of(item: &Item) -> Result<u64, StoreError> {
    let first = read_text(item, SORT).and_then(|sort| sort.parse().ok());
    first.ok_or_else(|| damaged(item, "its sort key is no number"))
}

fn entry(partition: &str, first: u64, packed: Vec<u8>) -> Change {
    let mut item = item_key(partition, &keys::first_seq(first));
    item.insert("b".to_owned(), binary(packed));
    Change::put(item)
}

/// Lists of blocks that each fit a slice, in their order.
fn lists_of(names: &[BlockName]) -> Vec<Vec<BlockName>> {
    let mut lists: Vec<Vec<BlockName>> = Vec::new();
    let mut places = BTreeSet::new();
    for name in names {
        let is_new = !places.contains(&place_of(name));
        let has_room =
            |list: &&mut Vec<BlockName>| list.len() < WAITING_BLOCKS_MAX && (!is_new || places.len() < PLACES_MAX);
        match lists.last_mut().filter(has_room) {
            Some(list) => list.push(*name),
            None => {
                places.clear();
                lists.push(vec![*name]);
            }
        }
        places.insert(place_of(name));
    }
    lists
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::packed::date_of;

    fn name(day: i64, number: usize) -> BlockName {
        let digest = Digest::of(format!("{number}").as_bytes());
        BlockName { utc_day: date_of(20_000 + day).unwrap(), lane: 0, digest, events: 1 }
    }

    #[test]
    fn rat_3_waiting_lists_fit_a_slice_and_keep_the_order() {
        for days in [1, 7, 39, 40, 41, 400] {
            let names: Vec<BlockName> =
                (0..2_500_usize).map(|number| name(i64::try_from(number).unwrap() % days, number)).collect();
            let lists = lists_of(&names);
            assert_eq!(lists.concat(), names);
            for list in &lists {
                assert!(list.len() <= WAITING_BLOCKS_MAX);
                assert!(list.iter().map(place_of).collect::<BTreeSet<_>>().len() <= PLACES_MAX);
            }
            assert!(days > 40 || lists.len() == 3, "{days} days");
        }
        assert!(lists_of(&[]).is_empty());
    }

    #[test]
    fn rat_3_a_slice_fits_a_transaction() {
        const ITEMS: usize = 2 + 2 * PLACES_MAX;
        const { assert!(ITEMS <= crate::table::TRANSACTION_CHANGES_MAX) };
        const { assert!(WAITING_BLOCKS_MAX <= SLICE_BLOCKS_MAX) };
    }
}
