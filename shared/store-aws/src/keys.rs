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
//! | books | `@counter#LENGTH#SCOPE#PERIOD` | `sum` | a counter |
//! | books | `@lease#MINUTE#ID` | `lease` | a lease |
//! | books | `@lease#MINUTE#ID` | `settled#PAGE` | which of its reservations are settled |
//! | books | `@ending#MINUTE` | ID | a lease that ends at this minute |
//! | books | `@uncounted#DIGIT` | `TIME#DAY#LANE#DIGEST` | a block that names reservations and is not counted yet |
//!
//! A day is `2026-10-01`, a lane has three digits or more, a number twenty, a fingerprint sixteen hexadecimal ones, a minute
//! and a page ten, a time in nanoseconds twenty.

use chrono::NaiveDate;
use recoup_model::Digest;
use recoup_store::{BlockName, CounterKey, LeaseName};

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
/// Sort key of a counter.
pub(crate) const SUM: &str = "sum";
/// Sort key of a lease. It lies before its pages.
pub(crate) const LEASE: &str = "lease";
/// Digits of a time in nanoseconds.
const TIME_DIGITS: usize = 20;
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

/// The partition of a lease.
pub(crate) fn lease(name: LeaseName) -> String {
    format!("@lease#{:010}#{}", name.ends_minute, fingerprint(name.id))
}

/// The sort key of a page of settled reservations.
pub(crate) fn settled(page: u32) -> String {
    format!("settled#{page:010}")
}

/// The partition of the leases that end at a minute; they sort by their ids.
pub(crate) fn ending(minute: u32) -> String {
    format!("@ending#{minute:010}")
}

/// A block that names reservations and is not counted yet: by when the first of its events was recorded.
pub(crate) fn uncounted(name: &BlockName, recorded_at_ns: i64) -> ItemKey {
    let (place, digest) = block(name);
    let first: String = digest.chars().take(1).collect();
    let time = recorded_at_ns.max(0);
    (format!("@uncounted#{first}"), format!("{time:0width$}#{place}#{digest}", width = TIME_DIGITS))
}

/// The partitions of such blocks, by the first digit of their digests.
pub(crate) fn uncounted_partitions() -> impl Iterator<Item = String> {
    (0..16_u32).map(|digit| format!("@uncounted#{digit:x}"))
}

/// When the first event of such a block was recorded, and the block's key in the table of events.
pub(crate) fn parse_uncounted(sort: &str) -> Option<(i64, ItemKey)> {
    let (time, block) = sort.split_at_checked(TIME_DIGITS)?;
    let (place, digest) = block.strip_prefix('#')?.rsplit_once('#')?;
    Some((time.parse().ok()?, (place.to_owned(), digest.to_owned())))
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
    fn bud_3_a_block_that_is_not_counted_is_found_by_its_time() {
        let name = BlockName { utc_day: "2026-10-01".parse().unwrap(), lane: 7, digest: Digest::of(b"x"), events: 3 };
        let (partition, sort) = uncounted(&name, 1_790_812_800_000_000_001);
        assert_eq!(parse_uncounted(&sort), Some((1_790_812_800_000_000_001, block(&name))));
        assert!(uncounted_partitions().any(|one| one == partition));
        assert!(uncounted(&name, 9).1 < uncounted(&name, 10).1);
        for wrong in ["", "5#2026-10-01#000#ab", &sort[1..]] {
            assert_eq!(parse_uncounted(wrong), None, "{wrong}");
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
