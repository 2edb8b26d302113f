//! Columns of optional texts: a dictionary that grows as it is read, with references back into it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use recoup_model::Id;

use super::BlockError;
use super::wire::{Reader, Sections};

/// No event has a value.
const MODE_NONE: u8 = 0;
/// All events have the same value, which follows.
const MODE_SAME: u8 = 1;
/// A code for each event.
const MODE_CODES: u8 = 2;

const CODE_NONE: u64 = 0;
/// An entry that was not there before follows.
const CODE_NEW: u64 = 1;
/// The value of the event before that has one.
const CODE_AGAIN: u64 = 2;
/// And more: the entry of that number.
const CODE_ENTRY: u64 = 3;

/// Shorter texts gain nothing from being packed.
const PACKED_CHARS_MIN: usize = 16;
const PACKED_CHARS_MAX: usize = 256;

/// A field of a `T` that holds an optional text.
pub(super) struct Field<T> {
    /// The column's name in errors and in the format's description.
    pub(super) name: &'static str,
    /// The text.
    pub(super) get: fn(&T) -> Option<&str>,
    /// Sets the text; says whether there is a place for it.
    pub(super) set: fn(&mut T, Id) -> bool,
}

/// Writes new entries of one dictionary.
#[derive(Debug, Default)]
pub(super) struct EntryWriter<'a> {
    last: &'a str,
}

impl<'a> EntryWriter<'a> {
    pub(super) fn write(&mut self, out: &mut Sections, text: &'a str) {
        if is_packable(text) {
            out.count(text.len() | 1);
            out.packed.extend(text.as_bytes().chunks_exact(2).map(pack));
            return;
        }
        let shared = text.bytes().zip(self.last.bytes()).take_while(|(left, right)| left == right).count();
        let rest = text.as_bytes().get(shared..).unwrap_or_default();
        out.count(rest.len() << 1);
        out.count(shared);
        out.text.extend_from_slice(rest);
        self.last = text;
    }
}

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

const fn hex_digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }
}

/// Reads new entries of one dictionary.
#[derive(Debug, Default)]
pub(super) struct EntryReader {
    last: Vec<u8>,
}

impl EntryReader {
    pub(super) fn read(&mut self, reader: &mut Reader<'_>) -> Result<Id, BlockError> {
        let head = reader.count()?;
        if head & 1 == 1 {
            return unpack(reader, head >> 1);
        }
        let shared = reader.count()?;
        if shared > self.last.len() {
            return Err(reader.wrong("shares more letters than there are"));
        }
        self.last.truncate(shared);
        self.last.extend_from_slice(reader.text(head >> 1)?);
        let text = std::str::from_utf8(&self.last).map_err(|_| reader.wrong("has a text that is not UTF-8"))?;
        Ok(Id::from(text))
    }
}

fn unpack(reader: &mut Reader<'_>, bytes: usize) -> Result<Id, BlockError> {
    let packed = reader.packed(bytes)?;
    let mut letters = [0; PACKED_CHARS_MAX];
    let chars = bytes.saturating_mul(2);
    let target = letters.get_mut(..chars).ok_or_else(|| reader.wrong("has a packed id that is too long"))?;
    for (pair, byte) in target.chunks_exact_mut(2).zip(packed) {
        pair.copy_from_slice(&[hex_digit(byte >> 4), hex_digit(byte & 15)]);
    }
    let text = std::str::from_utf8(target).map_err(|_| reader.wrong("has an id that is not UTF-8"))?;
    Ok(Id::from(text))
}

/// The dictionary of a written column: text to entry number.
pub(super) type Written<'a> = HashMap<&'a str, usize>;

/// Writes a column and gives its dictionary.
pub(super) fn write<'a, T>(out: &mut Sections, items: &[&'a T], field: &Field<T>) -> Written<'a> {
    let first = items.first().and_then(|item| (field.get)(item));
    let mut entries = EntryWriter::default();
    if items.iter().all(|item| (field.get)(item) == first) {
        out.byte(if first.is_some() { MODE_SAME } else { MODE_NONE });
        let written: Written<'a> = first.into_iter().map(|text| (text, 0)).collect();
        first.into_iter().for_each(|text| entries.write(out, text));
        return written;
    }
    out.byte(MODE_CODES);
    let mut written = Written::new();
    let mut previous: Option<&'a str> = None;
    for item in items {
        let Some(text) = (field.get)(item) else {
            out.number(CODE_NONE);
            continue;
        };
        if previous == Some(text) {
            out.number(CODE_AGAIN);
            continue;
        }
        previous = Some(text);
        let number = written.len();
        match written.entry(text) {
            Entry::Occupied(known) => {
                out.number(CODE_ENTRY + u64::try_from(*known.get()).unwrap_or(u64::MAX - CODE_ENTRY))
            }
            Entry::Vacant(new) => {
                new.insert(number);
                out.number(CODE_NEW);
                entries.write(out, text);
            }
        }
    }
    written
}

/// What a column was read to.
#[derive(Debug, Default)]
pub(super) struct Read {
    /// The dictionary by entry number.
    pub(super) entries: Vec<Id>,
    /// Items that got a value.
    pub(super) present: usize,
}

/// Reads a column into its field.
pub(super) fn read<'a, T: 'a>(
    reader: &mut Reader<'_>,
    items: impl Iterator<Item = &'a mut T>,
    field: &Field<T>,
) -> Result<Read, BlockError> {
    reader.column = field.name;
    match reader.byte()? {
        MODE_NONE => Ok(Read::default()),
        MODE_SAME => read_same(reader, items, field),
        MODE_CODES => read_codes(reader, items, field),
        _ => Err(reader.wrong("has an unknown mode")),
    }
}

fn put<T>(reader: &Reader<'_>, item: &mut T, field: &Field<T>, text: &Id) -> Result<(), BlockError> {
    if (field.set)(item, Id::clone(text)) { Ok(()) } else { Err(reader.wrong("has a value where none belongs")) }
}

fn read_same<'a, T: 'a>(
    reader: &mut Reader<'_>,
    items: impl Iterator<Item = &'a mut T>,
    field: &Field<T>,
) -> Result<Read, BlockError> {
    let text = EntryReader::default().read(reader)?;
    let mut present = 0;
    for item in items {
        put(reader, item, field, &text)?;
        present += 1;
    }
    Ok(Read { entries: vec![text], present })
}

fn read_codes<'a, T: 'a>(
    reader: &mut Reader<'_>,
    items: impl Iterator<Item = &'a mut T>,
    field: &Field<T>,
) -> Result<Read, BlockError> {
    let mut new = EntryReader::default();
    let mut read = Read::default();
    let mut previous = 0;
    for item in items {
        let entry = match reader.number()? {
            CODE_NONE => continue,
            CODE_NEW => {
                read.entries.push(new.read(reader)?);
                read.entries.len() - 1
            }
            CODE_AGAIN => previous,
            code => usize::try_from(code - CODE_ENTRY).map_err(|_| reader.wrong("refers to nothing"))?,
        };
        let text = read.entries.get(entry).ok_or_else(|| reader.wrong("refers to nothing"))?;
        put(reader, item, field, text)?;
        previous = entry;
        read.present += 1;
    }
    Ok(read)
}
