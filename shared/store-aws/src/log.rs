//! The event log: blocks in the table of events, their numbers and their traces in the books.
//!
//! An item of the table of events: `b` the encoded block, `n` its events, `t` when it was recorded (nanoseconds since
//! 1970-01-01T00:00:00Z), `w` a name of the put that made it. It is put once, on the condition that it is not there, and
//! never changed: a put that is refused found the same events recorded already. Where a call fails half-way, some of its
//! blocks may stand; nothing was acknowledged, and a retry is told `Duplicate` for these and `Accepted` for the others.
//!
//! | method | costs |
//! |---|---|
//! | `append` | a write unit per KB of each block; a refused put costs as much |
//! | `read`, `blocks` | a read unit per 4 KB |
//! | `blocks_of_traces` | the states of the traces, and what is new of the lists of their days |
//! | `traces_beyond` | a query per day |
//! | `shared_responses` | the blocks of the days and their neighbours, once |

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use chrono::NaiveDate;
use recoup_model::Identity;
use recoup_store::block::pack::{Packed, pack};
use recoup_store::block::{self, prints::Print};
use recoup_store::{
    Appended, BlockInfo, BlockName, EventLog, Incoming, Live as _, ResponseUse, StoreError, StoredBlock,
};

use crate::change::{Change, Item, SORT, binary, damaged, item_key, number, read_binary, read_number, read_text, text};
use crate::gather::gather;
use crate::keys;
use crate::numbers::place_of;
use crate::open::AwsStore;
use crate::packed::date_of;
use crate::table::{Applied, Query, Table, random_name};
use crate::uncounted;

const APPENDING: &str = "append events";
const READING: &str = "read blocks";

#[async_trait]
impl EventLog for AwsStore {
    async fn append(&self, events: Vec<Incoming>) -> Result<Vec<Appended>, StoreError> {
        let mut outcomes = repeats(&events);
        let fresh: Vec<usize> = (0..events.len()).filter(|at| outcomes.get(*at) == Some(&Appended::Accepted)).collect();
        let incoming: Vec<&Incoming> = fresh.iter().filter_map(|at| events.get(*at)).collect();
        let packed = pack(&incoming, self.lanes).map_err(|error| StoreError::unavailable(APPENDING, error))?;
        let mut members = Vec::with_capacity(packed.len());
        let mut puts = Vec::with_capacity(packed.len());
        for mut block in packed {
            let own: Vec<usize> = block.members.iter().filter_map(|member| fresh.get(*member).copied()).collect();
            let of_block = own.iter().filter_map(|at| events.get(*at));
            let recorded = of_block.clone().map(|event| event.recorded.recorded_at_ns).min().unwrap_or_default();
            let note = uncounted::note_of(&block.name, of_block, recorded);
            puts.push((block_put(&mut block, recorded)?, note));
            members.push(own);
        }
        let put = |(put, note): ((Change, String), Option<keys::ItemKey>)| {
            let (events, books) = (self.events.clone(), self.books.clone());
            async move {
                let Some(note) = note else { return put_block(&events, &put).await };
                uncounted::note(&books, &note).await?;
                put_noted(&events, &books, (&put, &note)).await
            }
        };
        let put = gather(APPENDING, puts, put).await?;
        for (outcome, own) in put.into_iter().zip(members) {
            own.into_iter().for_each(|at| {
                if let Some(slot) = outcomes.get_mut(at) {
                    *slot = outcome;
                }
            });
        }
        Ok(outcomes)
    }

    async fn number_blocks(&self) -> Result<(), StoreError> {
        self.number_pending().await
    }

    async fn last_seq(&self) -> Result<u64, StoreError> {
        self.last_number().await
    }

    async fn blocks_after(&self, seq: u64, limit: usize) -> Result<Vec<BlockInfo>, StoreError> {
        self.infos_after(seq, limit).await
    }

    async fn blocks_of_day(&self, utc_day: NaiveDate, lane: u16) -> Result<Vec<BlockInfo>, StoreError> {
        let list = self.day_list((utc_day, lane)).await?;
        self.remembered.note_blocks(&list.infos);
        Ok(list.infos.clone())
    }

    async fn utc_days(&self) -> Result<Vec<NaiveDate>, StoreError> {
        self.days().await
    }

    async fn read(&self, seqs: Vec<u64>) -> Result<Vec<StoredBlock>, StoreError> {
        let infos = self.infos_of(&seqs).await?;
        let names: Vec<BlockName> = infos.iter().map(BlockInfo::name).collect();
        let bytes = self.block_bytes(&names).await?;
        Ok(infos.into_iter().zip(bytes).map(|(info, bytes)| StoredBlock { info, bytes }).collect())
    }

    async fn prints(&self, seqs: Vec<u64>) -> Result<Vec<Option<Vec<Print>>>, StoreError> {
        // None are kept: they take as much room as the blocks and are computed in less time than they are read.
        let infos = self.infos_of(&seqs).await?;
        Ok(infos.iter().map(|_| None).collect())
    }

    async fn drop_prints(&self, _utc_days: Vec<NaiveDate>) -> Result<(), StoreError> {
        Ok(())
    }

    async fn blocks_of_traces(&self, traces: Vec<u64>) -> Result<Vec<(u64, u64)>, StoreError> {
        let wanted: Vec<u64> = traces.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
        let states = self.traces(&wanted).await?;
        let blocks: Vec<(u64, BlockName)> = wanted
            .iter()
            .zip(&states)
            .flat_map(|(trace, state)| state.blocks.iter().map(|block| (*trace, *block)))
            .collect();
        let (mut found, missing) = self.numbers_of(&blocks).await?;
        if missing {
            // A block that waits gets its number. One that nobody has announced yet is not in the log yet.
            self.number_pending().await?;
            found = self.numbers_of(&blocks).await?.0;
        }
        Ok(found.into_iter().collect())
    }

    async fn traces_beyond(&self, utc_days: Vec<NaiveDate>, lane: u16) -> Result<Vec<(u64, NaiveDate)>, StoreError> {
        const DOING: &str = "look up traces of several days";
        let days: BTreeSet<NaiveDate> = utc_days.into_iter().collect();
        let of_day = |utc_day: NaiveDate| {
            let table = self.books.clone();
            let query = Query { partition: keys::beyond(utc_day, lane), ..Query::default() };
            async move { table.query_all(DOING, query).await }
        };
        let mut found = BTreeSet::new();
        for item in gather(DOING, days.iter().copied(), of_day).await?.concat() {
            let (trace, others) = beyond_of(&item)?;
            found.extend(others.into_iter().filter(|day| !days.contains(day)).map(|day| (trace, day)));
        }
        Ok(found.into_iter().collect())
    }

    async fn shared_responses(&self, utc_days: Vec<NaiveDate>) -> Result<Vec<ResponseUse>, StoreError> {
        self.responses_shared_on(utc_days).await
    }
}

impl AwsStore {
    /// The encoded bytes of blocks, in the order asked for, each checked against its checksum.
    pub(crate) async fn block_bytes(&self, names: &[BlockName]) -> Result<Vec<Vec<u8>>, StoreError> {
        let wanted: Vec<keys::ItemKey> = names.iter().map(keys::block).collect::<BTreeSet<_>>().into_iter().collect();
        let items = self.events.get_all(READING, &wanted).await?;
        let found: BTreeMap<&keys::ItemKey, Option<Item>> = wanted.iter().zip(items).collect();
        let bytes = |name: &BlockName| {
            let item = found.get(&keys::block(name)).and_then(Option::as_ref);
            let bytes = item.and_then(|item| read_binary(item, "b"));
            let bytes = bytes.ok_or_else(|| no_block(name, "it is not in the log"))?;
            let events = block::verify(bytes).map_err(|error| no_block(name, error.to_string()))?;
            if u32::try_from(events) != Ok(name.events) {
                return Err(no_block(name, format!("it holds {events} events instead of {}", name.events)));
            }
            Ok(bytes.to_vec())
        };
        names.iter().map(bytes).collect()
    }

    /// (trace, number) of the blocks that have one, and whether one is missing.
    async fn numbers_of(&self, blocks: &[(u64, BlockName)]) -> Result<(BTreeSet<(u64, u64)>, bool), StoreError> {
        let places = blocks.iter().map(|(_, name)| place_of(name)).collect();
        let lists = self.day_lists(places, self.last_number().await?).await?;
        let number = |name: &BlockName| lists.get(&place_of(name))?.numbers.get(&name.digest).copied();
        let found: BTreeSet<(u64, u64)> =
            blocks.iter().filter_map(|(trace, name)| Some((*trace, number(name)?))).collect();
        let missing = blocks.iter().any(|(_, name)| number(name).is_none());
        Ok((found, missing))
    }
}

/// What is known of the events of one call without looking at the log: the first of an identity stays.
fn repeats(events: &[Incoming]) -> Vec<Appended> {
    let mut first: BTreeMap<Identity, &Incoming> = BTreeMap::new();
    let mut outcomes = Vec::with_capacity(events.len());
    for incoming in events {
        outcomes.push(match first.get(&incoming.identity) {
            Some(standing) if standing.digest == incoming.digest => Appended::Duplicate,
            Some(_) => Appended::Conflict,
            None => {
                first.insert(incoming.identity, incoming);
                Appended::Accepted
            }
        });
    }
    outcomes
}

/// The put of a block, and what it is called.
fn block_put(block: &mut Packed, recorded_at_ns: i64) -> Result<(Change, String), StoreError> {
    let name = random_name().map_err(|error| StoreError::unavailable(APPENDING, error))?;
    let (partition, sort) = keys::block(&block.name);
    let mut item = item_key(&partition, &sort);
    item.insert("b".to_owned(), binary(std::mem::take(&mut block.bytes)));
    item.insert("n".to_owned(), number(block.name.events));
    item.insert("t".to_owned(), number(recorded_at_ns));
    item.insert("w".to_owned(), text(&name));
    Ok((Change::put(item).when("attribute_not_exists(pk)"), name))
}

async fn put_block(table: &Table, put: &(Change, String)) -> Result<Appended, StoreError> {
    Ok(if standing_for(table, put).await?.is_none() { Appended::Accepted } else { Appended::Duplicate })
}

/// The same for a block that was noted: where another one stands for it, the note of that one says whether it is counted.
async fn put_noted(
    events: &Table,
    books: &Table,
    (put, note): (&(Change, String), &keys::ItemKey),
) -> Result<Appended, StoreError> {
    let Some(standing) = standing_for(events, put).await? else { return Ok(Appended::Accepted) };
    if read_number::<i64>(&standing, "t") != read_number(&put.0.item, "t") {
        uncounted::forget(books, note).await?;
    }
    Ok(Appended::Duplicate)
}

/// Puts a block, or gives back the one that stands in its place.
async fn standing_for(table: &Table, (put, name): &(Change, String)) -> Result<Option<Item>, StoreError> {
    Ok(match table.apply(APPENDING, put).await? {
        Applied::Done => None,
        // Our own put whose answer was lost, and which the SDK repeated.
        Applied::Refused(Some(standing)) if read_text(&standing, "w") == Some(name) => None,
        Applied::Refused(standing) => Some(standing.unwrap_or_default()),
    })
}

fn no_block(name: &BlockName, detail: impl Into<String>) -> StoreError {
    let what = format!("block {} of {}, lane {}", name.digest, name.utc_day, name.lane);
    StoreError::Damaged { what, detail: detail.into() }
}

/// A trace and the other days that it has.
fn beyond_of(item: &Item) -> Result<(u64, Vec<NaiveDate>), StoreError> {
    let trace = read_text(item, SORT).and_then(keys::parse_fingerprint);
    let days = item.get("d").and_then(|days| days.as_ns().ok());
    let (trace, days) = trace.zip(days).ok_or_else(|| damaged(item, "it names no trace or no days"))?;
    let date = |day: &String| day.parse().ok().and_then(date_of);
    let days: Option<Vec<NaiveDate>> = days.iter().map(date).collect();
    days.map(|days| (trace, days)).ok_or_else(|| damaged(item, "a day is out of range"))
}
