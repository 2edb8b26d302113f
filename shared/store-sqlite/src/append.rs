//! One group of events into the log, inside a transaction: who is new (EVT-2), then blocks, then the indexes.

use std::collections::BTreeSet;

use recoup_model::{Digest, Identity};
use recoup_store::block;
use recoup_store::block::pack::{Packed, lane_of, pack};
use recoup_store::{Appended, BlockName, Incoming, StoreError};
use rusqlite::{OptionalExtension as _, Transaction, params};

use crate::days::day_of_instant;
use crate::failure::failed;
use crate::prints;
use crate::responses::{self, Use};

const DOING: &str = "append events";
/// Bytes of the content digest that the index keeps.
const KNOWN_DIGEST_BYTES: usize = 16;

type KnownDigest = [u8; KNOWN_DIGEST_BYTES];

/// An accepted event and where it goes.
struct Placed<'a> {
    incoming: &'a Incoming,
    day: i64,
    lane: u16,
    block: i64,
}

/// Appends the events, which are in order of arrival, and says what became of each.
pub(crate) fn append(
    transaction: &Transaction<'_>,
    events: &[&Incoming],
    lanes: u16,
) -> Result<Vec<Appended>, StoreError> {
    let outcomes = judge(transaction, events).map_err(failed(DOING))?;
    let accepted = events.iter().zip(&outcomes).filter(|(_, outcome)| **outcome == Appended::Accepted);
    let mut placed: Vec<Placed<'_>> = accepted.map(|(incoming, _)| place(incoming, lanes)).collect();
    if placed.is_empty() {
        return Ok(outcomes);
    }
    write_blocks(transaction, &mut placed, lanes)?;
    // Neighbours in the index are written one after the other.
    placed.sort_unstable_by_key(|placed| placed.incoming.identity);
    index_events(transaction, &placed).map_err(failed(DOING))?;
    index_traces(transaction, &placed).map_err(failed(DOING))?;
    let uses = placed.iter().filter_map(use_of).collect();
    responses::enqueue(transaction, uses).map_err(failed(DOING))?;
    Ok(outcomes)
}

fn place(incoming: &Incoming, lanes: u16) -> Placed<'_> {
    let day = day_of_instant(incoming.recorded.event.used_at_ns);
    Placed { incoming, day, lane: lane_of(incoming.identity.trace, lanes), block: 0 }
}

fn use_of(placed: &Placed<'_>) -> Option<Use> {
    let Identity { trace, event } = placed.incoming.identity;
    Some(Use {
        response: placed.incoming.response?.cast_signed(),
        trace: trace.cast_signed(),
        event: event.cast_signed(),
        day: placed.day,
    })
}

fn known_digest(digest: &Digest) -> KnownDigest {
    digest.0.first_chunk().copied().unwrap_or_default()
}

/// What becomes of each event: the first of an identity stays, be it in the log or earlier in this group.
fn judge(transaction: &Transaction<'_>, events: &[&Incoming]) -> rusqlite::Result<Vec<Appended>> {
    let mut select = transaction.prepare_cached("SELECT digest FROM event_index WHERE trace = ?1 AND event = ?2")?;
    let mut order: Vec<(Identity, usize)> = events.iter().map(|incoming| incoming.identity).zip(0..).collect();
    order.sort_unstable();
    let mut outcomes = vec![Appended::Accepted; events.len()];
    let mut standing: Option<(Identity, KnownDigest)> = None;
    for (identity, at) in order {
        let (Some(incoming), Some(outcome)) = (events.get(at), outcomes.get_mut(at)) else { continue };
        let own = known_digest(&incoming.digest);
        let first = match standing {
            Some((same, digest)) if same == identity => Some(digest),
            _ => {
                let key = params![identity.trace.cast_signed(), identity.event.cast_signed()];
                select.query_row(key, |row| row.get::<_, KnownDigest>(0)).optional()?
            }
        };
        *outcome = match first {
            None => Appended::Accepted,
            Some(digest) if digest == own => Appended::Duplicate,
            Some(_) => Appended::Conflict,
        };
        standing = Some((identity, first.unwrap_or(own)));
    }
    Ok(outcomes)
}

/// Stores the blocks of the events, and notes each event's block.
fn write_blocks(transaction: &Transaction<'_>, placed: &mut [Placed<'_>], lanes: u16) -> Result<(), StoreError> {
    let incoming: Vec<&Incoming> = placed.iter().map(|placed| placed.incoming).collect();
    for packed in pack(&incoming, lanes).map_err(|error| StoreError::unavailable("encode a block", error))? {
        let block = insert_block(transaction, &packed).map_err(failed(DOING))?;
        for member in packed.members {
            if let Some(placed) = placed.get_mut(member) {
                placed.block = block;
            }
        }
    }
    Ok(())
}

fn insert_block(transaction: &Transaction<'_>, packed: &Packed) -> rusqlite::Result<i64> {
    const INSERT: &str =
        "INSERT INTO blocks (utc_day, lane, digest, codec, events, bytes) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let BlockName { utc_day, lane, digest, events } = packed.name;
    let row = params![utc_day.to_string(), lane, digest.0, block::CODEC_VERSION, events, packed.bytes];
    let block = transaction.prepare_cached(INSERT)?.insert(row)?;
    prints::keep(transaction, (block, &digest), &packed.prints)?;
    Ok(block)
}

fn index_events(transaction: &Transaction<'_>, placed: &[Placed<'_>]) -> rusqlite::Result<()> {
    let mut insert =
        transaction.prepare_cached("INSERT INTO event_index (trace, event, block, digest) VALUES (?1, ?2, ?3, ?4)")?;
    for event in placed {
        let Identity { trace, event: id } = event.incoming.identity;
        let digest = known_digest(&event.incoming.digest);
        insert.execute(params![trace.cast_signed(), id.cast_signed(), event.block, digest])?;
    }
    Ok(())
}

/// Notes the days of each trace; a trace that gets its second day is also noted under each of its days.
fn index_traces(transaction: &Transaction<'_>, placed: &[Placed<'_>]) -> rusqlite::Result<()> {
    let mut insert = transaction
        .prepare_cached("INSERT INTO trace_days (trace, utc_day, lane) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")?;
    let mut has_others =
        transaction.prepare_cached("SELECT 1 FROM trace_days WHERE trace = ?1 AND utc_day <> ?2 LIMIT 1")?;
    let mut split = transaction.prepare_cached(
        "INSERT INTO split_traces (utc_day, lane, trace) SELECT utc_day, lane, trace FROM trace_days WHERE trace = ?1 \
         ON CONFLICT DO NOTHING",
    )?;
    let days: BTreeSet<(i64, i64, u16)> =
        placed.iter().map(|event| (event.incoming.identity.trace.cast_signed(), event.day, event.lane)).collect();
    for (trace, day, lane) in days {
        if insert.execute(params![trace, day, lane])? > 0 && has_others.exists(params![trace, day])? {
            split.execute(params![trace])?;
        }
    }
    Ok(())
}
