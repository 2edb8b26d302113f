//! The sections of version 2, and the reader that never runs past their end.

use super::super::{BlockError, malformed};

/// What becomes the sections of a block.
#[derive(Debug, Default)]
pub(in crate::block) struct Writer {
    /// Numbers, codes and packed ids, column after column.
    pub(in crate::block) planes: Vec<u8>,
    /// Texts.
    pub(super) text: String,
    /// Texts of columns that only a reader of whole events takes.
    pub(super) calls: String,
}

impl Writer {
    pub(super) fn byte(&mut self, byte: u8) {
        self.planes.push(byte);
    }

    pub(super) fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            let [low, ..] = number.to_le_bytes();
            self.planes.push(low | 0x80);
            number >>= 7;
        }
        let [low, ..] = number.to_le_bytes();
        self.planes.push(low);
    }

    pub(super) fn count(&mut self, count: usize) {
        self.number(u64::try_from(count).unwrap_or(u64::MAX));
    }

    pub(super) fn signed(&mut self, number: i64) {
        self.number(((number << 1) ^ (number >> 63)).cast_unsigned());
    }

    /// The text section of a column.
    pub(super) const fn texts(&mut self, section: TextSection) -> &mut String {
        match section {
            TextSection::Text => &mut self.text,
            TextSection::Calls => &mut self.calls,
        }
    }
}

/// Where the texts of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TextSection {
    Text,
    Calls,
}

/// Reads the sections from their beginning. Knows which column it is in, for errors.
#[derive(Debug)]
pub(in crate::block) struct Reader<'a> {
    planes: &'a [u8],
    text: &'a str,
    calls: &'a str,
    pub(super) column: &'static str,
}

impl<'a> Reader<'a> {
    pub(in crate::block) const fn new(planes: &'a [u8], text: &'a str, calls: &'a str) -> Self {
        Self { planes, text, calls, column: "header" }
    }

    pub(super) const fn wrong(&self, problem: &'static str) -> BlockError {
        malformed(self.column, problem)
    }

    pub(super) fn byte(&mut self) -> Result<u8, BlockError> {
        let (first, rest) = self.planes.split_first().ok_or_else(|| self.wrong("ends too early"))?;
        self.planes = rest;
        Ok(*first)
    }

    pub(super) fn bytes(&mut self, count: usize) -> Result<&'a [u8], BlockError> {
        let (bytes, rest) = self.planes.split_at_checked(count).ok_or_else(|| self.wrong("ends too early"))?;
        self.planes = rest;
        Ok(bytes)
    }

    pub(super) fn number(&mut self) -> Result<u64, BlockError> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7f);
            if part << shift >> shift != part {
                break;
            }
            number |= part << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(self.wrong("has a number that is too large"))
    }

    /// A number of things, of which there can be at most `max`.
    pub(super) fn count(&mut self, max: usize) -> Result<usize, BlockError> {
        let count = usize::try_from(self.number()?).ok().filter(|count| *count <= max);
        count.ok_or_else(|| self.wrong("has a count that is too large"))
    }

    pub(super) fn signed(&mut self) -> Result<i64, BlockError> {
        let number = self.number()?;
        Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    pub(super) fn text(&mut self, section: TextSection, length: usize) -> Result<&'a str, BlockError> {
        let from = match section {
            TextSection::Text => &mut self.text,
            TextSection::Calls => &mut self.calls,
        };
        let (text, rest) = from.split_at_checked(length).ok_or(malformed(self.column, "ends inside a text"))?;
        *from = rest;
        Ok(text)
    }

    /// Nothing may follow.
    pub(in crate::block) fn end(self) -> Result<(), BlockError> {
        if self.planes.is_empty() && self.text.is_empty() && self.calls.is_empty() {
            return Ok(());
        }
        Err(malformed("end", "is followed by more bytes"))
    }
}
