//! Which events share a block: those of one UTC day and one lane, in order of arrival, as many as fit.

use std::collections::BTreeMap;

use chrono::{Days, NaiveDate};
use recoup_model::Digest;
use recoup_model::limits::{BLOCK_BYTES_MAX, BLOCK_EVENTS_MAX};

use super::prints::{Print, digest_of_prints, print_of};
use super::{BlockError, encode_bytes};
use crate::event_log::Incoming;
use crate::live::BlockName;

const NANOSECONDS_PER_DAY: i64 = 24 * 3_600 * 1_000_000_000;

/// A block that is ready to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// Its name.
    pub name: BlockName,
    /// The encoded bytes, at most [`BLOCK_BYTES_MAX`] unless it holds a single event.
    pub bytes: Vec<u8>,
    /// The prints of its events, in their order.
    pub prints: Vec<Print>,
    /// Its events, in their order: positions among those that were packed.
    pub members: Vec<usize>,
}

/// The lane of a trace.
#[must_use]
pub fn lane_of(trace: u64, lanes: u16) -> u16 {
    let lane = trace.checked_rem(u64::from(lanes)).unwrap_or_default();
    u16::try_from(lane).unwrap_or_default()
}

/// The UTC day of an instant.
#[must_use]
pub fn utc_day_of(instant_ns: i64) -> NaiveDate {
    let days = instant_ns.div_euclid(NANOSECONDS_PER_DAY);
    let distance = Days::new(days.unsigned_abs());
    let epoch = NaiveDate::default();
    // Nanoseconds reach from 1677 to 2262, which are dates.
    let date = if days < 0 { epoch.checked_sub_days(distance) } else { epoch.checked_add_days(distance) };
    date.unwrap_or_default()
}

/// Packs events, by day, then by lane, then in order of arrival. The same events in the same order give the same blocks,
/// whenever they were recorded, as long as they are split by number; where they are split by bytes, a retry may be split
/// at another event.
///
/// # Errors
/// [`BlockError::TooManyTags`]; [`BlockError::TooLarge`] for a single event; the compressor's own.
pub fn pack(events: &[&Incoming], lanes: u16) -> Result<Vec<Packed>, BlockError> {
    let mut groups: BTreeMap<(NaiveDate, u16), Vec<(usize, &Incoming)>> = BTreeMap::new();
    for (at, incoming) in events.iter().enumerate() {
        let place = (utc_day_of(incoming.recorded.event.used_at_ns), lane_of(incoming.identity.trace, lanes));
        groups.entry(place).or_default().push((at, incoming));
    }
    let mut blocks = Vec::new();
    for (place, group) in groups {
        for chunk in group.chunks(BLOCK_EVENTS_MAX) {
            pack_chunk(place, chunk, &mut blocks)?;
        }
    }
    Ok(blocks)
}

/// Packs into one block, or more where its bytes are too many.
fn pack_chunk(
    place: (NaiveDate, u16),
    chunk: &[(usize, &Incoming)],
    blocks: &mut Vec<Packed>,
) -> Result<(), BlockError> {
    let recorded: Vec<_> = chunk.iter().map(|(_, incoming)| &incoming.recorded).collect();
    let is_one = chunk.len() <= 1;
    let bytes = match encode_bytes(&recorded) {
        Ok(bytes) if is_one || bytes.len() <= BLOCK_BYTES_MAX => bytes,
        Ok(_) | Err(BlockError::TooLarge { .. }) if !is_one => {
            let (left, right) = chunk.split_at(chunk.len() / 2);
            pack_chunk(place, left, blocks)?;
            return pack_chunk(place, right, blocks);
        }
        encoded => encoded?,
    };
    let prints: Vec<Print> = chunk.iter().map(|(_, incoming)| print_of(incoming.identity, &incoming.digest)).collect();
    blocks.push(Packed {
        name: name(place, digest_of_prints(&prints), chunk.len()),
        bytes,
        prints,
        members: members(chunk),
    });
    Ok(())
}

fn name((utc_day, lane): (NaiveDate, u16), digest: Digest, events: usize) -> BlockName {
    // A block holds at most 4,096 events.
    BlockName { utc_day, lane, digest, events: u32::try_from(events).unwrap_or(u32::MAX) }
}

fn members(chunk: &[(usize, &Incoming)]) -> Vec<usize> {
    chunk.iter().map(|(at, _)| *at).collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use recoup_model::digest::content_digest;
    use recoup_model::{Identity, Origin, Recorded};

    use super::super::{decode, samples};
    use super::*;

    fn incoming(events: Vec<Recorded>) -> Vec<Incoming> {
        let with_identity = |recorded: Recorded| Incoming {
            identity: Identity::of(&recorded.event),
            digest: content_digest(&recorded.event),
            response: None,
            recorded,
        };
        events.into_iter().map(with_identity).collect()
    }

    #[test]
    fn evt_2_days_before_and_after_1970_are_days() {
        for (instant_ns, text) in [(-1, "1969-12-31"), (0, "1970-01-01"), (1_790_000_000_000_000_000, "2026-09-21")] {
            assert_eq!(utc_day_of(instant_ns).to_string(), text);
        }
        assert_eq!(utc_day_of(i64::MIN).to_string(), "1677-09-21");
        assert_eq!(utc_day_of(i64::MAX).to_string(), "2262-04-11");
    }

    #[test]
    fn rat_3_each_event_is_in_one_block_of_its_day_and_lane() {
        let mut sent = incoming(samples::realistic(9_000, true));
        sent.iter_mut().step_by(3).for_each(|sent| sent.recorded.event.used_at_ns -= NANOSECONDS_PER_DAY);
        let events: Vec<&Incoming> = sent.iter().collect();
        let blocks = pack(&events, 3).unwrap();
        let mut found: Vec<usize> = Vec::new();
        for block in &blocks {
            let recorded = decode(&block.bytes).unwrap();
            assert_eq!(usize::try_from(block.name.events), Ok(recorded.len()));
            assert!(recorded.len() <= BLOCK_EVENTS_MAX && block.bytes.len() <= BLOCK_BYTES_MAX);
            assert_eq!(block.prints.len(), recorded.len());
            assert_eq!(block.name.digest, digest_of_prints(&block.prints));
            for (recorded, at) in recorded.iter().zip(&block.members) {
                assert_eq!(*recorded, events[*at].recorded);
                assert_eq!(utc_day_of(recorded.event.used_at_ns), block.name.utc_day);
                assert_eq!(lane_of(events[*at].identity.trace, 3), block.name.lane);
            }
            assert!(block.members.is_sorted());
            found.extend(&block.members);
        }
        found.sort_unstable();
        assert_eq!(found, (0..sent.len()).collect::<Vec<_>>());
        let later: Vec<Incoming> = sent
            .iter()
            .cloned()
            .map(|mut sent| {
                sent.recorded.recorded_at_ns += 5;
                sent.recorded.origin = Origin::default();
                sent
            })
            .collect();
        let again = pack(&later.iter().collect::<Vec<_>>(), 3).unwrap();
        let names = |blocks: &[Packed]| blocks.iter().map(|block| block.name).collect::<Vec<_>>();
        assert_eq!(names(&again), names(&blocks));
    }

    #[test]
    fn rat_3_no_lanes_are_one_lane_and_nothing_is_no_block() {
        assert_eq!((lane_of(7, 0), lane_of(7, 1), lane_of(7, 4), lane_of(u64::MAX, u16::MAX)), (0, 0, 3, 0));
        assert_eq!(pack(&[], 1).unwrap(), []);
    }
}
