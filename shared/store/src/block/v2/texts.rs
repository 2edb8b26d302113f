//! Texts: lists of them, and columns that point into a list.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::super::BlockError;
use super::super::columns::{Codes, StoredIds, TextColumn, TextRef, Texts};
use super::numbers;
use super::sections::{Reader, TextSection, Writer};

/// Shorter texts gain nothing from being packed.
const PACKED_CHARS_MIN: usize = 16;
const PACKED_CHARS_MAX: usize = 256;
/// Bytes of a packed id that fits into a reference.
const HELD_BYTES: usize = 8;

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
    rest.iter().fold(*first, |prefix, text| {
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
    let others: Vec<&str> =
        texts.iter().enumerate().filter(|(at, _)| !is_packed(at)).map(|(_, text)| *text).collect();
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
    lengths: Vec<i64>,
}

fn read_list_head<'a>(
    reader: &mut Reader<'a>,
    count: usize,
    section: TextSection,
) -> Result<List<'a>, BlockError> {
    let packed_bytes = reader.count(PACKED_CHARS_MAX / 2)?;
    let mut packed_count = 0;
    let mut bits: &[u8] = &[];
    let mut packed: &[u8] = &[];
    if packed_bytes > 0 {
        packed_count = reader.count(count)?;
        if packed_count < count {
            bits = reader.bytes(count.div_ceil(8))?;
            let set: u32 = bits.iter().map(|byte| byte.count_ones()).sum();
            if usize::try_from(set) != Ok(packed_count) {
                return Err(reader.wrong("packs another number of ids than it says"));
            }
        }
        packed = reader.bytes(packed_count.saturating_mul(packed_bytes))?;
    }
    let mut lengths = Vec::new();
    let mut prefix = "";
    if packed_count < count {
        let prefix_bytes = reader.count(usize::MAX)?;
        numbers::read(reader, count - packed_count, &mut lengths)?;
        prefix = reader.text(section, prefix_bytes)?;
    }
    Ok(List { packed_bytes, bits, packed: packed.chunks_exact(packed_bytes.max(1)), prefix, lengths })
}

/// Reads a list text by text: `packed` gets the bytes of a packed one, `plain` prefix and rest of another.
fn read_list<'a, T>(
    reader: &mut Reader<'a>,
    (count, section): (usize, TextSection),
    into: &mut T,
    packed: fn(&mut T, &'a [u8]),
    plain: fn(&mut T, &'a str, &'a str),
) -> Result<(), BlockError> {
    let mut list = read_list_head(reader, count, section)?;
    if list.lengths.is_empty() {
        list.packed.for_each(|bytes| packed(into, bytes));
        return Ok(());
    }
    let mut lengths = list.lengths.iter();
    for at in 0..count {
        let is_packed = list.bits.get(at / 8).is_some_and(|byte| byte >> (at % 8) & 1 == 1);
        if is_packed && list.packed_bytes > 0 {
            let bytes = list.packed.next().ok_or_else(|| reader.wrong("ends too early"))?;
            packed(into, bytes);
        } else {
            let length = lengths.next().and_then(|length| usize::try_from(*length).ok());
            let length = length.ok_or_else(|| reader.wrong("has a text of an impossible length"))?;
            plain(into, list.prefix, reader.text(section, length)?);
        }
    }
    Ok(())
}

/// Reads a list of texts.
pub(super) fn read_texts(
    reader: &mut Reader<'_>,
    count: usize,
    section: TextSection,
) -> Result<Texts, BlockError> {
    let mut texts = Texts::default();
    read_list(
        reader,
        (count, section),
        &mut texts,
        |texts, bytes| texts.push_packed(bytes),
        |texts, prefix, rest| texts.push(prefix, rest),
    )?;
    Ok(texts)
}

/// Reads a list of ids.
pub(super) fn read_ids(
    reader: &mut Reader<'_>,
    count: usize,
    stored: &mut StoredIds,
) -> Result<Vec<TextRef>, BlockError> {
    let mut ids = (Vec::with_capacity(count), stored);
    read_list(
        reader,
        (count, TextSection::Text),
        &mut ids,
        |(ids, stored), bytes| {
            ids.push(match bytes.first_chunk::<HELD_BYTES>().filter(|_| bytes.len() == HELD_BYTES) {
                Some(digits) => TextRef::of_hex16(u64::from_be_bytes(*digits)),
                None => stored.add_packed(bytes),
            });
        },
        |(ids, stored), prefix, rest| ids.push(stored.add(prefix, rest)),
    )?;
    Ok(ids.0)
}

/// Reads the list and the places of `count` values, which are empty where value and place are the same.
pub(super) fn read_places<T>(
    reader: &mut Reader<'_>,
    count: usize,
    places: &mut Vec<i64>,
    list: impl FnOnce(&mut Reader<'_>, usize) -> Result<T, BlockError>,
) -> Result<(T, Places), BlockError> {
    let entries = reader.count(count)?;
    if entries == 0 {
        return Err(reader.wrong("has no entries"));
    }
    let list = list(reader, entries)?;
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
pub(super) fn spread(places: Places, listed: &[i64], has: &Presence<'_>) -> Codes {
    let code = |place: i64| u32::try_from(place).unwrap_or(u32::MAX).saturating_add(1);
    match (places, has) {
        (Places::First, Presence::All(_)) => Codes::Same(1),
        (Places::First, Presence::Some(has)) => Codes::Each(has.iter().map(|has| u32::from(*has)).collect()),
        (Places::Own, Presence::All(count)) => Codes::Each((1..).take(*count).collect()),
        (Places::Own, Presence::Some(has)) => {
            let mut next = 0;
            let number = |has: &bool| {
                next += u32::from(*has);
                if *has { next } else { 0 }
            };
            Codes::Each(has.iter().map(number).collect())
        }
        (Places::Listed, Presence::All(_)) => Codes::Each(listed.iter().map(|place| code(*place)).collect()),
        (Places::Listed, Presence::Some(has)) => {
            let mut listed = listed.iter();
            let take = |has: &bool| if *has { listed.next().map_or(0, |place| code(*place)) } else { 0 };
            Codes::Each(has.iter().map(take).collect())
        }
    }
}

/// Which items have a value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Presence<'a> {
    /// All of so many.
    All(usize),
    /// Those that are true.
    Some(&'a [bool]),
}

impl Presence<'_> {
    pub(super) fn count(&self) -> usize {
        match self {
            Self::All(count) => *count,
            Self::Some(has) => has.iter().filter(|has| **has).count(),
        }
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
    let (texts, kind) =
        read_places(reader, count, places, |reader, entries| read_texts(reader, entries, section))?;
    Ok(TextColumn { codes: spread(kind, places, &has), texts })
}
