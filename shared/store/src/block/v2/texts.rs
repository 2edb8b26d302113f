//! Texts: lists of them, and columns that point into a list.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::super::BlockError;
use super::super::columns::{Codes, StoredIds, TextColumn, TextRef, Texts};
use super::numbers;
use super::sections::{Reader, TextSection, Writer};
use super::shapes::Presence;

/// Shorter texts gain nothing from being packed.
const PACKED_CHARS_MIN: usize = 16;
const PACKED_CHARS_MAX: usize = 256;
/// Bytes that the texts of a list may share: it bounds what a list grows to.
const PREFIX_BYTES_MAX: usize = 255;

/// Whether a text is lower-case hexadecimal of even length: what unpacking gives back.
fn is_packable(text: &str) -> bool {
    text.len().is_multiple_of(2)
        && (PACKED_CHARS_MIN..=PACKED_CHARS_MAX).contains(&text.len())
        && text.bytes().all(|letter| matches!(letter, b'0'..=b'9' | b'a'..=b'f'))
}

fn pack(pair: &[u8]) -> u8 {
    pair.iter().fold(0, |packed, letter| {
        let digit = if letter.is_ascii_digit() { letter - b'0' } else { letter - b'a' + 10 };
        packed << 4 | digit
    })
}

/// The length of most of the texts that can be packed; the shortest of several, 0 where there is none.
fn packed_chars(packable: &[Option<usize>]) -> usize {
    let mut counts = [0_usize; PACKED_CHARS_MAX / 2 + 1];
    for chars in packable.iter().flatten() {
        if let Some(count) = counts.get_mut(chars / 2) {
            *count += 1;
        }
    }
    let most = counts.iter().copied().max().filter(|most| *most > 0);
    most.and_then(|most| counts.iter().position(|count| *count == most)).map_or(0, |pairs| pairs * 2)
}

/// Letters that all texts begin with.
fn common_prefix<'a>(texts: &[&'a str]) -> &'a str {
    let Some((first, rest)) = texts.split_first() else { return "" };
    let begin = first.get(..first.floor_char_boundary(PREFIX_BYTES_MAX)).unwrap_or_default();
    rest.iter().fold(begin, |prefix, text| {
        let letters = prefix.char_indices().zip(text.chars()).find(|((_, left), right)| left != right);
        let end = letters.map_or(prefix.len().min(text.len()), |((at, _), _)| at);
        prefix.get(..end).unwrap_or_default()
    })
}

/// Writes a list: which of them are packed and their bytes, then the others without the letters they begin with.
pub(super) fn write_list(out: &mut Writer, texts: &[&str], section: TextSection) {
    let packable: Vec<Option<usize>> = texts.iter().map(|text| is_packable(text).then_some(text.len())).collect();
    let chars = packed_chars(&packable);
    out.count(chars / 2);
    let is_packed = |at: &usize| chars > 0 && packable.get(*at) == Some(&Some(chars));
    if chars > 0 {
        let packed = (0..texts.len()).filter(is_packed).count();
        out.count(packed);
        if packed < texts.len() {
            let bits: Vec<u8> = (0..texts.len()).map(|at| u8::from(is_packed(&at))).collect();
            out.planes.extend(bits.chunks(8).map(|bits| bits.iter().rev().fold(0, |byte, bit| byte << 1 | bit)));
        }
        let packed = texts.iter().enumerate().filter(|(at, _)| is_packed(at));
        packed.for_each(|(_, text)| out.planes.extend(text.as_bytes().chunks_exact(2).map(pack)));
    }
    let others: Vec<&str> = texts.iter().enumerate().filter(|(at, _)| !is_packed(at)).map(|(_, text)| *text).collect();
    if others.is_empty() {
        return;
    }
    let prefix = common_prefix(&others);
    out.count(prefix.len());
    let lengths: Vec<i64> =
        others.iter().map(|text| i64::try_from(text.len() - prefix.len()).unwrap_or(i64::MAX)).collect();
    numbers::write(out, &lengths);
    let target = out.texts(section);
    target.push_str(prefix);
    others.iter().for_each(|text| target.push_str(text.get(prefix.len()..).unwrap_or_default()));
}

/// A column's list and, for each value, its place there.
#[derive(Debug, Default)]
pub(super) struct Dictionary<'a> {
    pub(super) entries: Vec<&'a str>,
    pub(super) places: Vec<i64>,
}

impl<'a> Dictionary<'a> {
    pub(super) fn of(values: impl Iterator<Item = &'a str>) -> Self {
        let mut dictionary = Self::default();
        let mut known: HashMap<&'a str, i64> = HashMap::new();
        let mut previous: Option<(&'a str, i64)> = None;
        let mut next = 0;
        for text in values {
            let place = match previous {
                Some((same, place)) if same == text => place,
                _ => match known.entry(text) {
                    Entry::Occupied(known) => *known.get(),
                    Entry::Vacant(new) => {
                        dictionary.entries.push(text);
                        next += 1;
                        *new.insert(next - 1)
                    }
                },
            };
            previous = Some((text, place));
            dictionary.places.push(place);
        }
        dictionary
    }

    /// Writes the column; nothing where it has no values. Where all values differ their places say nothing.
    pub(super) fn write(&self, out: &mut Writer, section: TextSection) {
        if self.entries.is_empty() {
            return;
        }
        out.count(self.entries.len());
        write_list(out, &self.entries, section);
        if (2..self.places.len()).contains(&self.entries.len()) {
            numbers::write(out, &self.places);
        }
    }
}

/// How a list is stored.
struct List<'a> {
    packed_bytes: usize,
    /// A bit for each text, the first in the lowest; empty where all are packed or none is.
    bits: &'a [u8],
    packed: std::slice::ChunksExact<'a, u8>,
    prefix: &'a str,
}

/// Reads all of a list but the letters behind the prefix, whose `lengths` stay behind.
fn read_head<'a>(
    reader: &mut Reader<'a>,
    (count, section): (usize, TextSection),
    lengths: &mut Vec<i64>,
) -> Result<List<'a>, BlockError> {
    let packed_bytes = reader.count(PACKED_CHARS_MAX / 2)?;
    let mut packed_count = 0;
    let mut bits: &[u8] = &[];
    let mut packed: &[u8] = &[];
    if packed_bytes > 0 {
        packed_count = reader.count(count)?;
        if packed_count < count {
            bits = reader.bytes(count.div_ceil(8))?;
        }
        packed = reader.bytes(packed_count.saturating_mul(packed_bytes))?;
    }
    lengths.clear();
    let mut prefix = "";
    if packed_count < count {
        let prefix_bytes = reader.count(PREFIX_BYTES_MAX)?;
        numbers::read(reader, count - packed_count, lengths)?;
        prefix = reader.text(section, prefix_bytes)?;
    }
    Ok(List { packed_bytes, bits, packed: packed.chunks_exact(packed_bytes.max(1)), prefix })
}

/// What a list is read to.
trait Texting {
    fn reserve(&mut self, letters: usize);
    fn push_packed(&mut self, bytes: &[u8]);
    fn push_joined(&mut self, begin: &str, end: &str);
}

/// Reads a list text by text.
fn read_list(
    reader: &mut Reader<'_>,
    (count, section): (usize, TextSection),
    lengths: &mut Vec<i64>,
    into: &mut impl Texting,
) -> Result<(), BlockError> {
    let List { packed_bytes, bits, mut packed, prefix } = read_head(reader, (count, section), lengths)?;
    if lengths.is_empty() {
        into.reserve(packed.len().saturating_mul(packed_bytes).saturating_mul(2));
        packed.for_each(|bytes| into.push_packed(bytes));
        return Ok(());
    }
    let mut lengths = lengths.iter();
    for at in 0..count {
        let is_packed = bits.get(at / 8).is_some_and(|byte| byte >> (at % 8) & 1 == 1);
        if is_packed {
            into.push_packed(packed.next().ok_or_else(|| reader.wrong("packs another number of ids than it says"))?);
        } else {
            let length = lengths.next().and_then(|length| usize::try_from(*length).ok());
            let length = length.ok_or_else(|| reader.wrong("has a text of an impossible length"))?;
            into.push_joined(prefix, reader.text(section, length)?);
        }
    }
    if packed.len() == 0 { Ok(()) } else { Err(reader.wrong("packs another number of ids than it says")) }
}

impl Texting for Texts {
    fn reserve(&mut self, letters: usize) {
        self.reserve_letters(letters);
    }

    fn push_packed(&mut self, bytes: &[u8]) {
        self.push_packed(bytes);
    }

    fn push_joined(&mut self, begin: &str, end: &str) {
        self.push_joined(begin, end);
    }
}

impl Texting for (Vec<TextRef>, &mut StoredIds) {
    fn reserve(&mut self, _: usize) {}

    fn push_packed(&mut self, bytes: &[u8]) {
        let (ids, stored) = self;
        ids.push(stored.add_packed(bytes));
    }

    fn push_joined(&mut self, begin: &str, end: &str) {
        let (ids, stored) = self;
        ids.push(stored.add_joined(begin, end));
    }
}

/// Reads a list of texts; `lengths` is room for numbers.
fn read_texts(
    reader: &mut Reader<'_>,
    (count, section): (usize, TextSection),
    lengths: &mut Vec<i64>,
) -> Result<Texts, BlockError> {
    let mut texts = Texts::with_room(count);
    read_list(reader, (count, section), lengths, &mut texts)?;
    Ok(texts)
}

/// Reads a list of ids; `lengths` is room for numbers.
pub(super) fn read_ids(
    reader: &mut Reader<'_>,
    count: usize,
    (stored, lengths): (&mut StoredIds, &mut Vec<i64>),
) -> Result<Vec<TextRef>, BlockError> {
    let mut ids = (Vec::with_capacity(count), stored);
    read_list(reader, (count, TextSection::Text), lengths, &mut ids)?;
    Ok(ids.0)
}

/// Reads the list of a column, for which `places` is room, and then the places of its `count` values.
pub(super) fn read_places<T>(
    reader: &mut Reader<'_>,
    count: usize,
    places: &mut Vec<i64>,
    list: impl FnOnce(&mut Reader<'_>, usize, &mut Vec<i64>) -> Result<T, BlockError>,
) -> Result<(T, Places), BlockError> {
    let entries = reader.count(count)?;
    if entries == 0 {
        return Err(reader.wrong("has no entries"));
    }
    let list = list(reader, entries, places)?;
    if entries == 1 {
        return Ok((list, Places::First));
    }
    if entries == count {
        return Ok((list, Places::Own));
    }
    numbers::read(reader, count, places)?;
    let limit = i64::try_from(entries).unwrap_or(i64::MAX);
    if places.iter().any(|place| !(0..limit).contains(place)) {
        return Err(reader.wrong("refers to nothing"));
    }
    Ok((list, Places::Listed))
}

/// Which entry of a list each value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Places {
    /// All are the first.
    First,
    /// All differ: they stand in the order of the list.
    Own,
    /// As the numbers say.
    Listed,
}

/// Spreads the codes of the values over the items that have one.
pub(super) fn spread(places: Places, listed: &[i64], has: Presence<'_>) -> Codes {
    let code = |place: &i64| u32::try_from(*place).unwrap_or(u32::MAX).saturating_add(1);
    match (places, has) {
        (_, Presence::None) => Codes::Same(0),
        (Places::First, Presence::All(_)) => Codes::Same(1),
        (Places::First, _) => Codes::Each(has.spread(0, std::iter::repeat(1))),
        (Places::Own, _) => Codes::Each(has.spread(0, 1..)),
        (Places::Listed, _) => Codes::Each(has.spread(0, listed.iter().map(code))),
    }
}

/// Reads a column of texts.
pub(super) fn read_column(
    reader: &mut Reader<'_>,
    (has, section): (Presence<'_>, TextSection),
    places: &mut Vec<i64>,
) -> Result<TextColumn, BlockError> {
    let count = has.count();
    if count == 0 {
        return Ok(TextColumn::default());
    }
    let list =
        |reader: &mut Reader<'_>, entries, lengths: &mut Vec<i64>| read_texts(reader, (entries, section), lengths);
    let (texts, kind) = read_places(reader, count, places, list)?;
    Ok(TextColumn { codes: spread(kind, places, has), texts })
}
