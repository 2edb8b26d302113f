//! The key of every item that the log and the live state keep, in one place.
//!
//! | table | partition | sort | what |
//! |---|---|---|---|
//! | events | `DAY#LANE` | digest | a block |
//! | books | `@pending` | digest of its content | blocks that wait for their numbers |
//! | books | `@log` | `next` | the number of the next block |
//! | books | `@log` | first number | blocks with consecutive numbers |
//! | books | `@day#DAY#LANE` | first number | those of them that are of this day and lane |
//! | books | `@days` | `DAY` | a UTC day that has blocks |
//! | books | `@trace#FINGERPRINT` | `state` | what is kept of a trace, with its newest blocks |
//! | books | `@trace#FINGERPRINT` | `page#FIRST` | its earlier blocks |
//! | books | `@beyond#DAY#LANE` | fingerprint | the other UTC days of a trace that has several |
//! | books | `@counter#LENGTH#SCOPE#PERIOD` | shard | a part of a counter |
//!
//! A day is `2026-10-01`, a lane has three digits or more, a number twenty, a fingerprint sixteen hexadecimal ones.

use chrono::NaiveDate;
use recoup_model::Digest;
use recoup_store::{BlockName, CounterKey};

/// Names an item: its partition and its sort key.
pub(crate) type ItemKey = (String, String);

/// Partition of what waits for numbers.
pub(crate) const PENDING: &str = "@pending";
/// Partition of the numbered blocks.
pub(crate) const LOG: &str = "@log";
/// Sort key of the sequencer. It lies behind every number.
pub(crate) const NEXT: &str = "next";
/// Partition of the days.
pub(crate) const DAYS: &str = "@days";
/// Sort key of what is kept of a trace. It lies behind every page.
pub(crate) const STATE: &str = "state";
/// What the sort keys of a trace's pages begin with.
pub(crate) const PAGE: &str = "page#";
/// Bytes of a partition key that `DynamoDB` takes.
const PARTITION_BYTES_MAX: usize = 2_048;

/// A block in the table of events.
pub(crate) fn block(name: &BlockName) -> ItemKey {
    (format!("{}#{:03}", name.utc_day, name.lane), name.digest.to_string())
}

/// The name of a block from its key in the table of events and its count of events, as a stream brings them.
#[must_use]
pub fn block_name(partition: &str, sort: &str, events: u32) -> Option<BlockName> {
    let (utc_day, lane) = partition.split_once('#')?;
    Some(BlockName { utc_day: utc_day.parse().ok()?, lane: lane.parse().ok()?, digest: sort.parse().ok()?, events })
}

/// A list of blocks that wait for their numbers.
pub(crate) fn pending(content: &Digest) -> ItemKey {
    (PENDING.to_owned(), content.to_string())
}

/// The sequencer.
pub(crate) fn sequencer() -> ItemKey {
    (LOG.to_owned(), NEXT.to_owned())
}

/// The sort key of blocks whose numbers begin with this one.
pub(crate) fn first_seq(seq: u64) -> String {
    format!("{seq:020}")
}

/// The partition of the blocks of a day and lane.
pub(crate) fn day(utc_day: NaiveDate, lane: u16) -> String {
    format!("@day#{utc_day}#{lane:03}")
}

/// The partition of a trace.
pub(crate) fn trace(trace: u64) -> String {
    format!("@trace#{}", fingerprint(trace))
}

/// The sort key of a page that begins with a trace's block of that number, from 0.
pub(crate) fn page(first: usize) -> String {
    format!("{PAGE}{first:010}")
}

/// The partition of the traces that have events on this day, of this lane, and on others.
pub(crate) fn beyond(utc_day: NaiveDate, lane: u16) -> String {
    format!("@beyond#{utc_day}#{lane:03}")
}

/// A trace's fingerprint as text.
pub(crate) fn fingerprint(trace: u64) -> String {
    format!("{trace:016x}")
}

/// The fingerprint of a text that [`fingerprint`] made.
pub(crate) fn parse_fingerprint(text: &str) -> Option<u64> {
    u64::from_str_radix(text, 16).ok()
}

/// The partition of a counter, or `None` where its name is too long for one. The length tells scope and period apart,
/// whatever letters they have.
pub(crate) fn counter(key: &CounterKey) -> Option<String> {
    let partition = format!("@counter#{}#{}#{}", key.scope.len(), key.scope, key.period);
    (partition.len() <= PARTITION_BYTES_MAX).then_some(partition)
}

/// The sort key of a part of a counter.
pub(crate) fn shard(shard: u16) -> String {
    format!("{shard:03}")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn evt_2_a_block_is_found_by_its_name_and_named_by_its_key() {
        let name = BlockName { utc_day: "2026-10-01".parse().unwrap(), lane: 7, digest: Digest::of(b"x"), events: 3 };
        let (partition, sort) = block(&name);
        assert_eq!(partition, "2026-10-01#007");
        assert_eq!(block_name(&partition, &sort, 3), Some(name));
        let wide = block(&BlockName { lane: u16::MAX, ..name });
        assert_eq!(block_name(&wide.0, &wide.1, 3), Some(BlockName { lane: u16::MAX, ..name }));
        for (partition, sort) in [("2026-10-01", "00"), ("2026-10-32#000", &sort), (&partition, "@x")] {
            assert_eq!(block_name(partition, sort, 3), None);
        }
    }

    #[test]
    fn rat_3_sort_keys_order_as_numbers_and_end_before_the_fixed_ones() {
        let numbers = [0, 1, 9, 10, 99_999, u64::MAX].map(first_seq);
        assert!(numbers.is_sorted());
        assert!(numbers.iter().all(|number| number.as_str() < NEXT));
        let pages = [0, 9, 10, 99_999].map(page);
        assert!(pages.is_sorted());
        assert!(pages.iter().all(|page| page.as_str() < STATE));
        for trace in [0, 7, u64::MAX] {
            assert_eq!(parse_fingerprint(&fingerprint(trace)), Some(trace));
        }
    }

    #[test]
    fn bud_1_counters_have_keys_of_their_own() {
        let key = |scope: &str, period: &str| counter(&CounterKey { scope: scope.into(), period: period.into() });
        assert_ne!(key("a#b", "c"), key("a", "b#c"));
        assert_ne!(key("a#1", "c"), key("a", "1#c"));
        assert_eq!(key(&"x".repeat(2_048), "c"), None);
        assert!(key(&"x".repeat(2_000), "2026-10").is_some());
    }
}
