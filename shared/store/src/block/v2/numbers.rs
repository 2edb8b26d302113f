//! Columns of numbers: chunks of one width each, bit behind bit.
//!
//! Numbers are 64 bits; a distance between two of them wraps, so that every pair has one.

use super::super::BlockError;
use super::sections::{Reader, Writer};

/// Values of a chunk, where a column has several.
const CHUNK_VALUES: usize = 128;
/// In a column's head: it has chunks of [`CHUNK_VALUES`]; otherwise one of all values.
const IS_CHUNKED: u8 = 1;
/// In a column's head: the numbers are differences to the number before.
const IS_DIFFERENCES: u8 = 2;
/// Wider values take a whole word.
const PACKED_BITS_MAX: u32 = 56;
/// Values that end at the end of a byte, whatever their width.
const GROUP_VALUES: usize = 8;
/// Holds a group of any width and the word that its last value is read from.
const WINDOW_BYTES: usize = 64;

/// How the values of a chunk are packed.
#[derive(Clone, Copy, Debug)]
struct Packing {
    base: i64,
    width: u32,
}

impl Packing {
    fn of(values: &[i64]) -> Self {
        let base = values.iter().copied().min().unwrap_or_default();
        let range = values.iter().copied().max().unwrap_or_default().wrapping_sub(base).cast_unsigned();
        let bits = u64::BITS - range.leading_zeros();
        Self { base, width: if bits > PACKED_BITS_MAX { u64::BITS } else { bits } }
    }

    /// Bytes of a chunk and its head, about.
    fn bytes(self, values: usize) -> usize {
        let base_bits = i64::BITS - (self.base ^ (self.base >> 63)).leading_zeros() + 1;
        2 + usize::try_from(base_bits / 7).unwrap_or_default() + packed_bytes(values, self.width)
    }
}

/// Bytes of so many values of a width.
fn packed_bytes(values: usize, width: u32) -> usize {
    values.saturating_mul(usize::try_from(width).unwrap_or_default()).div_ceil(8)
}

fn size(values: &[i64], chunk: usize) -> usize {
    values.chunks(chunk).map(|values| Packing::of(values).bytes(values.len())).sum()
}

/// Writes a column; nothing where it has no values.
pub(super) fn write(out: &mut Writer, values: &[i64]) {
    write_as(out, values, 0);
}

/// Writes a column that may be smaller as differences.
pub(super) fn write_series(out: &mut Writer, values: &[i64]) {
    let mut before = 0;
    let differences: Vec<i64> =
        values.iter().map(|value| value.wrapping_sub(std::mem::replace(&mut before, *value))).collect();
    let best = |values: &[i64]| size(values, values.len().max(1)).min(size(values, CHUNK_VALUES));
    if best(&differences) < best(values) {
        write_as(out, &differences, IS_DIFFERENCES);
    } else {
        write_as(out, values, 0);
    }
}

fn write_as(out: &mut Writer, values: &[i64], head: u8) {
    if values.is_empty() {
        return;
    }
    let is_chunked = size(values, CHUNK_VALUES) < size(values, values.len());
    out.byte(head | if is_chunked { IS_CHUNKED } else { 0 });
    for chunk in values.chunks(if is_chunked { CHUNK_VALUES } else { values.len() }) {
        let Packing { base, width } = Packing::of(chunk);
        out.byte(u8::try_from(width).unwrap_or(u8::MAX));
        out.signed(base);
        pack(&mut out.planes, chunk.iter().map(|value| value.wrapping_sub(base).cast_unsigned()), width);
    }
}

/// Appends values bit behind bit, the first in the lowest bits.
fn pack(out: &mut Vec<u8>, values: impl Iterator<Item = u64>, width: u32) {
    let mut word = 0_u64;
    let mut bits = 0;
    for value in values {
        word |= value << bits;
        bits += width;
        if bits >= u64::BITS {
            out.extend(word.to_le_bytes());
            bits -= u64::BITS;
            word = value.checked_shr(width - bits).unwrap_or_default();
        }
    }
    let bytes = usize::try_from(bits.div_ceil(8)).unwrap_or_default();
    out.extend(word.to_le_bytes().iter().take(bytes));
}

/// Reads a column of `count` numbers in place of what `numbers` holds.
pub(super) fn read(reader: &mut Reader<'_>, count: usize, numbers: &mut Vec<i64>) -> Result<(), BlockError> {
    numbers.clear();
    if count == 0 {
        return Ok(());
    }
    numbers.reserve(count);
    let head = reader.byte()?;
    if head > IS_CHUNKED | IS_DIFFERENCES {
        return Err(reader.wrong("is packed in an unknown way"));
    }
    let chunk = if head & IS_CHUNKED != 0 { CHUNK_VALUES } else { count };
    while numbers.len() < count {
        read_chunk(reader, chunk.min(count - numbers.len()), numbers)?;
    }
    if head & IS_DIFFERENCES != 0 {
        let mut sum = 0_i64;
        for number in numbers {
            sum = sum.wrapping_add(*number);
            *number = sum;
        }
    }
    Ok(())
}

fn read_chunk(reader: &mut Reader<'_>, count: usize, numbers: &mut Vec<i64>) -> Result<(), BlockError> {
    let width = u32::from(reader.byte()?);
    let base = reader.signed()?;
    if width == 0 {
        numbers.resize(numbers.len() + count, base);
        return Ok(());
    }
    let packed = reader.bytes(packed_bytes(count, width))?;
    if width == u64::BITS {
        let words = packed.chunks_exact(8).map(|word| word.first_chunk().map_or(0, |word| i64::from_le_bytes(*word)));
        numbers.extend(words.map(|word| word.wrapping_add(base)));
        return Ok(());
    }
    let unpack = unpacker(width).ok_or_else(|| reader.wrong("has numbers of an unknown width"))?;
    unpack(packed, count, base, numbers);
    Ok(())
}

type Unpack = fn(&[u8], usize, i64, &mut Vec<i64>);

/// One function for each width: its shifts are constants, and a group of values needs one check of its bounds.
fn unpacker(width: u32) -> Option<Unpack> {
    macro_rules! of_widths {
        ($($width:literal)+) => {
            match width {
                $($width => Some(unpack::<$width> as Unpack),)+
                _ => None,
            }
        };
    }
    of_widths!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37
        38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56)
}

fn unpack<const WIDTH: usize>(packed: &[u8], count: usize, base: i64, numbers: &mut Vec<i64>) {
    let mut rest = packed;
    let mut left = count;
    while left >= GROUP_VALUES {
        let group = match rest.first_chunk::<WINDOW_BYTES>() {
            Some(window) => group::<WIDTH>(window),
            None => group::<WIDTH>(&padded(rest)),
        };
        numbers.extend_from_slice(&group.map(|value| base.wrapping_add(value.cast_signed())));
        rest = rest.get(WIDTH..).unwrap_or_default();
        left -= GROUP_VALUES;
    }
    let group = group::<WIDTH>(&padded(rest));
    numbers.extend(group.iter().take(left).map(|value| base.wrapping_add(value.cast_signed())));
}

#[inline]
fn group<const WIDTH: usize>(window: &[u8; WINDOW_BYTES]) -> [u64; GROUP_VALUES] {
    std::array::from_fn(|at| {
        let bit = at * WIDTH;
        let word = window.get(bit / 8..).and_then(|bytes| bytes.first_chunk()).copied().unwrap_or_default();
        u64::from_le_bytes(word) >> (bit % 8) & ((1 << WIDTH) - 1)
    })
}

/// The last bytes of a chunk, where fewer are left than a window has.
fn padded(rest: &[u8]) -> [u8; WINDOW_BYTES] {
    let mut window = [0; WINDOW_BYTES];
    window.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    window
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use proptest::prelude::*;

    use super::*;

    fn written(values: &[i64], write: fn(&mut Writer, &[i64])) -> Vec<u8> {
        let mut out = Writer::default();
        write(&mut out, values);
        out.planes
    }

    fn read_back(planes: &[u8], count: usize) -> Vec<i64> {
        let mut reader = Reader::new(planes, "", "");
        let mut numbers = Vec::new();
        read(&mut reader, count, &mut numbers).unwrap();
        reader.end().unwrap();
        numbers
    }

    proptest! {
        #[test]
        fn rat_3_numbers_of_every_width_come_back(
            width in 0..64_u32, base in any::<i64>(), bits in prop::collection::vec(any::<u64>(), 0..300)
        ) {
            let mask = (1_u64 << width) - 1;
            let values: Vec<i64> = bits.iter().map(|bits| base.wrapping_add((bits & mask).cast_signed())).collect();
            prop_assert_eq!(&read_back(&written(&values, write), values.len()), &values);
            prop_assert_eq!(&read_back(&written(&values, write_series), values.len()), &values);
        }
    }

    #[test]
    fn rat_3_numbers_take_the_bits_that_they_need() {
        let same = vec![7; 4_096];
        assert_eq!(written(&same, write).len(), 3);
        let mut outlier: Vec<i64> = (0..4_096).map(|at| at % 16).collect();
        outlier.extend([1 << 40]);
        let bytes = written(&outlier, write).len();
        assert!(bytes < 4_096 / 2 + 33 * 3 + 9, "{bytes}");
        let rising: Vec<i64> = (0..4_096).map(|at| at * 1_000_000_007).collect();
        let bytes = written(&rising, write_series).len();
        assert!(bytes < 4_096, "{bytes}");
    }

    #[test]
    fn clo_1_numbers_of_an_unknown_width_are_refused() {
        for planes in [&[0, 57, 0, 1, 1, 1, 1, 1, 1, 1, 1][..], &[4, 0, 0], &[0, 8, 0], &[0]] {
            let mut reader = Reader::new(planes, "", "");
            assert!(read(&mut reader, 1, &mut Vec::new()).is_err(), "{planes:?}");
        }
    }
}
