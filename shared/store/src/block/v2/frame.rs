//! The checksum and the sections of version 2.

use std::borrow::Cow;

use flate2::Crc;

use super::super::columns::{Columns, Wanted};
use super::super::frame::{self, Frame};
use super::super::{BlockError, malformed};
use super::sections::{Reader, Writer};

pub(in crate::block) const VERSION: u16 = 2;

/// CRC-32: a block is read much more often than damaged, and its name is a digest that says more.
pub(in crate::block) fn checksum(fields: &[u8], payload: &[u8]) -> [u8; 4] {
    let mut sum = Crc::new();
    sum.update(fields);
    sum.update(payload);
    sum.sum().to_be_bytes()
}

/// A block of some columns. Texts are compressed where that saves an eighth; the planes have hardly anything to save.
pub(in crate::block) fn seal(events: usize, columns: &Writer) -> Result<Vec<u8>, BlockError> {
    let [planes, text, calls] = [columns.planes.as_slice(), columns.text.as_bytes(), columns.calls.as_bytes()];
    frame::check_size([planes, text, calls])?;
    let sections = [(planes, Cow::Borrowed(planes)), (text, smaller(text)?), (calls, smaller(calls)?)];
    frame::seal((VERSION, events), sections, checksum)
}

/// A section as it is stored.
fn smaller(raw: &[u8]) -> Result<Cow<'_, [u8]>, BlockError> {
    if raw.is_empty() {
        return Ok(Cow::Borrowed(raw));
    }
    let compressed = frame::compress(raw)?;
    let pays = compressed.len().saturating_add(raw.len() / 8) < raw.len();
    Ok(if pays { Cow::Owned(compressed) } else { Cow::Borrowed(raw) })
}

/// The columns of a block.
pub(in crate::block) fn read(frame: &Frame<'_>, wanted: Wanted) -> Result<Columns, BlockError> {
    let [planes, text, calls] = &frame.sections;
    let (planes, text) = (planes.content()?, text.content()?);
    let calls = if wanted == Wanted::All { calls.content()? } else { Cow::default() };
    super::read(frame.events, Reader::new(&planes, letters(&text)?, letters(&calls)?), wanted)
}

fn letters(section: &[u8]) -> Result<&str, BlockError> {
    std::str::from_utf8(section).map_err(|_| malformed("text", "has a text that is not UTF-8"))
}
