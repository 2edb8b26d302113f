//! Columns of optional texts: a dictionary that grows as it is read, with references back into it.

use super::super::BlockError;
use super::super::columns::{Codes, StoredIds, TextColumn, TextRef, Texts};
use super::wire::Reader;

/// No event has a value.
pub(super) const MODE_NONE: u8 = 0;
/// All events have the same value, which follows.
pub(super) const MODE_SAME: u8 = 1;
/// A code for each event.
pub(super) const MODE_CODES: u8 = 2;

pub(super) const CODE_NONE: u64 = 0;
/// An entry that was not there before follows.
pub(super) const CODE_NEW: u64 = 1;
/// The value of the event before that has one.
pub(super) const CODE_AGAIN: u64 = 2;
/// And more: the entry of that number.
pub(super) const CODE_ENTRY: u64 = 3;

/// Longest text that may be packed.
pub(super) const PACKED_CHARS_MAX: usize = 256;

/// A new entry of a dictionary.
pub(super) enum Entry<'a> {
    /// Bytes of a hexadecimal text.
    Packed(&'a [u8]),
    Text(&'a str),
}

/// Reads new entries of one dictionary.
#[derive(Debug, Default)]
pub(super) struct EntryReader {
    last: Vec<u8>,
}

impl EntryReader {
    pub(super) fn read<'e, 'a: 'e>(&'e mut self, reader: &mut Reader<'a>) -> Result<Entry<'e>, BlockError> {
        let head = reader.count()?;
        if head & 1 == 1 {
            let packed = reader.packed(head >> 1)?;
            let fits = packed.len() <= PACKED_CHARS_MAX / 2;
            return if fits {
                Ok(Entry::Packed(packed))
            } else {
                Err(reader.wrong("has a packed id that is too long"))
            };
        }
        let shared = reader.count()?;
        if shared > self.last.len() {
            return Err(reader.wrong("shares more letters than there are"));
        }
        self.last.truncate(shared);
        self.last.extend_from_slice(reader.text(head >> 1)?);
        let text = std::str::from_utf8(&self.last).map_err(|_| reader.wrong("has a text that is not UTF-8"))?;
        Ok(Entry::Text(text))
    }
}

/// A dictionary of ids.
#[derive(Debug, Default)]
pub(super) struct IdReader {
    entries: EntryReader,
}

impl IdReader {
    pub(super) fn read(&mut self, reader: &mut Reader<'_>, ids: &mut StoredIds) -> Result<TextRef, BlockError> {
        match self.entries.read(reader)? {
            Entry::Text(text) => Ok(ids.add(text)),
            Entry::Packed(packed) => Ok(ids.add_packed(packed)),
        }
    }
}

/// Reads the codes of a column, 0 for none, and calls `add` for each new entry. Says how many items have a value.
fn read_codes<'a>(
    reader: &mut Reader<'a>,
    count: usize,
    mut add: impl FnMut(&mut Reader<'a>) -> Result<(), BlockError>,
) -> Result<(Codes, usize), BlockError> {
    match reader.byte()? {
        MODE_NONE => return Ok((Codes::Same(0), 0)),
        MODE_SAME => {
            add(reader)?;
            return Ok((Codes::Same(1), count));
        }
        MODE_CODES => {}
        _ => return Err(reader.wrong("has an unknown mode")),
    }
    let mut codes = Vec::with_capacity(count);
    let mut entries = 0_u32;
    let mut previous = 0;
    let mut absent = 0_usize;
    for _ in 0..count {
        let code = match reader.number()? {
            CODE_NONE => {
                absent += 1;
                codes.push(0);
                continue;
            }
            CODE_NEW => {
                add(reader)?;
                entries += 1;
                entries
            }
            CODE_AGAIN => previous,
            // The first entry has the code 1.
            code => u32::try_from(code - CODE_ENTRY + 1).unwrap_or(u32::MAX),
        };
        if code == 0 || code > entries {
            return Err(reader.wrong("refers to nothing"));
        }
        previous = code;
        codes.push(code);
    }
    Ok((Codes::Each(codes), count - absent))
}

/// Reads a column and says how many items have a value.
pub(super) fn read(
    reader: &mut Reader<'_>,
    name: &'static str,
    count: usize,
) -> Result<(TextColumn, usize), BlockError> {
    reader.column = name;
    let mut texts = Texts::default();
    let mut entries = EntryReader::default();
    let (codes, present) = read_codes(reader, count, |reader| {
        match entries.read(reader)? {
            Entry::Text(text) => texts.push(text),
            Entry::Packed(packed) => texts.push_packed(packed),
        }
        Ok(())
    })?;
    Ok((TextColumn { codes, texts }, present))
}

/// Reads a column of ids that every item has: its dictionary and the codes.
pub(super) fn read_ids(
    reader: &mut Reader<'_>,
    name: &'static str,
    (count, ids): (usize, &mut StoredIds),
) -> Result<(Codes, Vec<TextRef>), BlockError> {
    reader.column = name;
    let mut entries = Vec::with_capacity(count);
    let mut new = IdReader::default();
    let (codes, present) = read_codes(reader, count, |reader| {
        entries.push(new.read(reader, ids)?);
        Ok(())
    })?;
    if present == count { Ok((codes, entries)) } else { Err(reader.wrong("leaves a required value out")) }
}
