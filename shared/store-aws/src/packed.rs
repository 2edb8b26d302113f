//! Lists of blocks and of postings as few bytes: what the items of the log and of traces hold.
//!
//! Every value begins with its format's version. Numbers are seven bits a byte, the lowest first; signed ones alternate
//! (0, -1, 1, -2, ..). Whatever bytes are read, nothing is allocated that they do not fill.

use std::collections::BTreeMap;

use chrono::{Days, NaiveDate};
use recoup_model::Digest;
use recoup_money::Amount;
use recoup_store::{BlockInfo, BlockName, CounterKey};

/// The version that is written.
const VERSION: u8 = 1;
const DIGEST_BYTES: usize = 32;
const LOW_BITS: u8 = 0x7f;
const MORE: u8 = 0x80;

/// Why bytes are not what was packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PackedError {
    /// Something of another format.
    #[error("it has the format {0}, this release knows {VERSION}; use a newer release")]
    UnknownVersion(u8),
    /// The bytes end early or go on behind the end.
    #[error("it is torn")]
    Torn,
    /// A number is out of range.
    #[error("its {0} makes no sense")]
    Malformed(&'static str),
}

/// Packs blocks in their order.
pub(crate) fn pack_names(names: &[BlockName]) -> Vec<u8> {
    let mut out = begin(names.len(), DIGEST_BYTES + 4);
    let mut last_day = 0;
    for name in names {
        let day = day_of(name.utc_day);
        put_signed(&mut out, i128::from(day.saturating_sub(last_day)));
        last_day = day;
        put(&mut out, name.lane.into());
        put(&mut out, name.events.into());
        out.extend(name.digest.0);
    }
    out
}

/// Blocks from [`pack_names`].
pub(crate) fn unpack_names(bytes: &[u8]) -> Result<Vec<BlockName>, PackedError> {
    let mut read = Reader(bytes);
    let mut names = read.begin(DIGEST_BYTES)?;
    let mut last_day = 0_i64;
    for _ in 0..names.1 {
        let step = i64::try_from(read.signed()?).map_err(|_| PackedError::Malformed("day"))?;
        last_day = last_day.checked_add(step).ok_or(PackedError::Malformed("day"))?;
        let name = BlockName {
            utc_day: date_of(last_day).ok_or(PackedError::Malformed("day"))?,
            lane: read.number("lane")?,
            events: read.number("count of events")?,
            digest: read.digest()?,
        };
        names.0.push(name);
    }
    read.end(names.0)
}

/// Packs blocks of one day and lane in order of their numbers, of which `first` is not above any.
pub(crate) fn pack_infos(first: u64, infos: &[BlockInfo]) -> Vec<u8> {
    let mut out = begin(infos.len(), DIGEST_BYTES + 3);
    let mut last = first;
    for info in infos {
        put(&mut out, info.seq.saturating_sub(last).into());
        last = info.seq;
        put(&mut out, info.events.into());
        out.extend(info.digest.0);
    }
    out
}

/// Blocks from [`pack_infos`].
pub(crate) fn unpack_infos(
    (utc_day, lane): (NaiveDate, u16),
    first: u64,
    bytes: &[u8],
) -> Result<Vec<BlockInfo>, PackedError> {
    let mut read = Reader(bytes);
    let (mut infos, count) = read.begin(DIGEST_BYTES)?;
    let mut seq = first;
    for _ in 0..count {
        seq = seq.checked_add(read.number("number")?).ok_or(PackedError::Malformed("number"))?;
        infos.push(BlockInfo { seq, utc_day, lane, events: read.number("count of events")?, digest: read.digest()? });
    }
    read.end(infos)
}

/// Packs what is posted for a trace.
pub(crate) fn pack_posted(posted: &BTreeMap<CounterKey, Amount>) -> Vec<u8> {
    let mut out = begin(posted.len(), 32);
    for (key, amount) in posted {
        for text in [&key.scope, &key.period] {
            put(&mut out, u128::try_from(text.len()).unwrap_or_default());
            out.extend(text.as_bytes());
        }
        put_signed(&mut out, amount.pico());
    }
    out
}

/// What [`pack_posted`] packed.
pub(crate) fn unpack_posted(bytes: &[u8]) -> Result<BTreeMap<CounterKey, Amount>, PackedError> {
    let mut read = Reader(bytes);
    let (_, count): (Vec<()>, usize) = read.begin(3)?;
    let mut posted = BTreeMap::new();
    for _ in 0..count {
        let key = CounterKey { scope: read.text()?, period: read.text()? };
        posted.insert(key, Amount::from_pico(read.signed()?));
    }
    read.end(posted)
}

/// Days since 1970-01-01.
pub(crate) fn day_of(date: NaiveDate) -> i64 {
    date.signed_duration_since(NaiveDate::default()).num_days()
}

/// The date of a day since 1970-01-01.
pub(crate) fn date_of(day: i64) -> Option<NaiveDate> {
    let distance = Days::new(day.unsigned_abs());
    let epoch = NaiveDate::default();
    if day < 0 { epoch.checked_sub_days(distance) } else { epoch.checked_add_days(distance) }
}

fn begin(count: usize, bytes_each: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(count.saturating_mul(bytes_each).saturating_add(8));
    out.push(VERSION);
    put(&mut out, u128::try_from(count).unwrap_or_default());
    out
}

fn put(out: &mut Vec<u8>, mut number: u128) {
    loop {
        // The lowest seven bits.
        let low = u8::try_from(number & u128::from(LOW_BITS)).unwrap_or_default();
        number >>= 7;
        if number == 0 {
            return out.push(low);
        }
        out.push(low | MORE);
    }
}

fn put_signed(out: &mut Vec<u8>, number: i128) {
    put(out, (number << 1 ^ number >> 127).cast_unsigned());
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    /// Room for as many entries as the bytes can hold, and how many they say that there are.
    fn begin<T>(&mut self, bytes_each_min: usize) -> Result<(Vec<T>, usize), PackedError> {
        match self.byte()? {
            VERSION => {}
            version => return Err(PackedError::UnknownVersion(version)),
        }
        let count: usize = self.number("count")?;
        let room = self.0.len().checked_div(bytes_each_min).unwrap_or_default();
        if count > room { Err(PackedError::Torn) } else { Ok((Vec::with_capacity(count), count)) }
    }

    fn byte(&mut self) -> Result<u8, PackedError> {
        let (first, rest) = self.0.split_first().ok_or(PackedError::Torn)?;
        self.0 = rest;
        Ok(*first)
    }

    fn unsigned(&mut self) -> Result<u128, PackedError> {
        let mut number = 0_u128;
        for shift in (0..128_u32).step_by(7) {
            let byte = self.byte()?;
            let bits = u128::from(byte & LOW_BITS);
            if bits.leading_zeros() < shift {
                return Err(PackedError::Malformed("number"));
            }
            number |= bits << shift;
            if byte & MORE == 0 {
                return Ok(number);
            }
        }
        Err(PackedError::Malformed("number"))
    }

    fn signed(&mut self) -> Result<i128, PackedError> {
        let number = self.unsigned()?;
        Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    fn number<T: TryFrom<u128>>(&mut self, what: &'static str) -> Result<T, PackedError> {
        T::try_from(self.unsigned()?).map_err(|_| PackedError::Malformed(what))
    }

    fn digest(&mut self) -> Result<Digest, PackedError> {
        let (digest, rest) = self.0.split_first_chunk::<DIGEST_BYTES>().ok_or(PackedError::Torn)?;
        self.0 = rest;
        Ok(Digest(*digest))
    }

    fn text(&mut self) -> Result<String, PackedError> {
        let length: usize = self.number("length")?;
        let (text, rest) = self.0.split_at_checked(length).ok_or(PackedError::Torn)?;
        self.0 = rest;
        std::str::from_utf8(text).map(str::to_owned).map_err(|_| PackedError::Malformed("text"))
    }

    fn end<T>(self, read: T) -> Result<T, PackedError> {
        if self.0.is_empty() { Ok(read) } else { Err(PackedError::Torn) }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use proptest::prelude::*;

    use super::*;

    fn digest() -> impl Strategy<Value = Digest> {
        any::<[u8; DIGEST_BYTES]>().prop_map(Digest)
    }

    fn date() -> impl Strategy<Value = NaiveDate> {
        prop_oneof![20_700..20_800_i64, -106_751..106_751_i64].prop_map(|day| date_of(day).unwrap())
    }

    fn names() -> impl Strategy<Value = Vec<BlockName>> {
        let name = (date(), any::<u16>(), digest(), any::<u32>())
            .prop_map(|(utc_day, lane, digest, events)| BlockName { utc_day, lane, digest, events });
        prop::collection::vec(name, 0..20)
    }

    fn infos() -> impl Strategy<Value = (u64, Vec<BlockInfo>)> {
        let steps = prop::collection::vec((0..1_000_u64, digest(), any::<u32>()), 0..20);
        (0..u64::MAX / 2, date(), any::<u16>(), steps).prop_map(|(first, utc_day, lane, steps)| {
            let mut seq = first;
            let info = |(step, digest, events)| {
                seq += step;
                BlockInfo { seq, utc_day, lane, digest, events }
            };
            (first, steps.into_iter().map(info).collect())
        })
    }

    fn posted() -> impl Strategy<Value = BTreeMap<CounterKey, Amount>> {
        let key = ("\\PC{0,20}", "[0-9-]{0,10}").prop_map(|(scope, period)| CounterKey { scope, period });
        let amount = prop_oneof![any::<i128>(), -900..900_i128].prop_map(Amount::from_pico);
        prop::collection::btree_map(key, amount, 0..10)
    }

    proptest! {
        #[test]
        fn bud_1_blocks_come_back_in_order(names in names()) {
            prop_assert_eq!(unpack_names(&pack_names(&names)).unwrap(), names);
        }

        #[test]
        fn rat_3_numbered_blocks_come_back_in_order((first, infos) in infos()) {
            let place = infos.first().map_or((NaiveDate::default(), 0), |info| (info.utc_day, info.lane));
            prop_assert_eq!(unpack_infos(place, first, &pack_infos(first, &infos)).unwrap(), infos);
        }

        #[test]
        fn bud_1_postings_come_back(posted in posted()) {
            prop_assert_eq!(unpack_posted(&pack_posted(&posted)).unwrap(), posted);
        }

        #[test]
        fn bud_1_torn_bytes_are_refused(names in names(), posted in posted()) {
            for packed in [pack_names(&names), pack_posted(&posted)] {
                for end in 0..packed.len() {
                    prop_assert!(unpack_names(&packed[..end]).is_err() || unpack_posted(&packed[..end]).is_err());
                }
                let longer = [packed.as_slice(), &[0]].concat();
                prop_assert!(unpack_names(&longer).is_err() || unpack_posted(&longer).is_err());
            }
        }

        #[test]
        fn bud_1_any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let version_one = [&[VERSION], bytes.as_slice()].concat();
            for bytes in [bytes, version_one] {
                let _ = unpack_names(&bytes);
                let _ = unpack_posted(&bytes);
                let _ = unpack_infos((NaiveDate::default(), 0), 1, &bytes);
            }
        }
    }

    /// What this version wrote is read for ever.
    #[test]
    fn bud_1_the_format_is_the_one_that_was_written() {
        let name = BlockName { utc_day: "2026-10-01".parse().unwrap(), lane: 300, digest: Digest([7; 32]), events: 5 };
        let digest = "07".repeat(32);
        assert_eq!(hex(&pack_names(&[name])), format!("0101eec302ac0205{digest}"));
        let info = BlockInfo { seq: 9, utc_day: name.utc_day, lane: 300, digest: name.digest, events: 5 };
        assert_eq!(hex(&pack_infos(7, &[info])), format!("01010205{digest}"));
        let key = CounterKey { scope: "team:a".into(), period: "2026-10".into() };
        let posted = BTreeMap::from([(key, Amount::from_pico(-65))]);
        assert_eq!(hex(&pack_posted(&posted)), "0101067465616d3a6107323032362d31308101");
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn bud_1_a_newer_format_is_named() {
        assert_eq!(unpack_names(&[2, 0]), Err(PackedError::UnknownVersion(2)));
        assert_eq!(unpack_names(&[]), Err(PackedError::Torn));
        assert_eq!(unpack_names(&[VERSION, 1]), Err(PackedError::Torn));
    }
}
