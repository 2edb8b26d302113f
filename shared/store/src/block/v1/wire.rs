//! Numbers on the wire of version 1: little-endian base 128 varints, zigzag for signed ones, and the reader that never runs past
//! the end.

use super::super::{BlockError, malformed};

/// The three sections of a block before compression. They are compressed apart because each has letter frequencies of
/// its own, and packed ids do not compress at all.
#[derive(Debug, Default)]
pub(in crate::block) struct Sections {
    /// Every number and code, column after column.
    pub(in crate::block) numbers: Vec<u8>,
    /// Texts without their common prefixes.
    pub(in crate::block) text: Vec<u8>,
    /// Ids that are hexadecimal, as bytes.
    pub(in crate::block) packed: Vec<u8>,
}

/// Small numbers to small numbers of either sign.
pub(super) const fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

/// Reads the sections from their beginning. Knows which column it is in, for errors.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    numbers: &'a [u8],
    text: &'a [u8],
    packed: &'a [u8],
    pub(super) column: &'static str,
}

impl<'a> Reader<'a> {
    pub(super) fn new(sections: &'a Sections) -> Self {
        Self { numbers: &sections.numbers, text: &sections.text, packed: &sections.packed, column: "header" }
    }

    pub(super) const fn wrong(&self, problem: &'static str) -> BlockError {
        malformed(self.column, problem)
    }

    pub(super) fn byte(&mut self) -> Result<u8, BlockError> {
        let (first, rest) = self.numbers.split_first().ok_or_else(|| self.wrong("ends too early"))?;
        self.numbers = rest;
        Ok(*first)
    }

    pub(super) fn bytes(&mut self, count: usize) -> Result<&'a [u8], BlockError> {
        let (bytes, rest) = self.numbers.split_at_checked(count).ok_or_else(|| self.wrong("ends too early"))?;
        self.numbers = rest;
        Ok(bytes)
    }

    #[inline]
    pub(super) fn number(&mut self) -> Result<u64, BlockError> {
        let first = self.byte()?;
        if first < 0x80 {
            return Ok(u64::from(first));
        }
        let rest = self.continued(first, u64::BITS)?;
        u64::try_from(rest).map_err(|_| self.wrong("has a number that is too large"))
    }

    fn continued(&mut self, first: u8, bits: u32) -> Result<u128, BlockError> {
        let mut number = u128::from(first & 0x7f);
        let mut shift = 7;
        loop {
            let byte = self.byte()?;
            let part = u128::from(byte & 0x7f);
            let placed = part << shift;
            if placed >> shift != part {
                return Err(self.wrong("has a number that is too large"));
            }
            number |= placed;
            if byte < 0x80 {
                return Ok(number);
            }
            shift += 7;
            if shift >= bits {
                return Err(self.wrong("has a number that is too long"));
            }
        }
    }

    pub(super) fn count(&mut self) -> Result<usize, BlockError> {
        usize::try_from(self.number()?).map_err(|_| self.wrong("has a count that is too large"))
    }

    pub(super) fn signed(&mut self) -> Result<i64, BlockError> {
        self.number().map(unzigzag)
    }

    pub(super) fn wide(&mut self) -> Result<i128, BlockError> {
        let first = self.byte()?;
        let number = if first < 0x80 { u128::from(first) } else { self.continued(first, u128::BITS)? };
        Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    pub(super) fn text(&mut self, length: usize) -> Result<&'a [u8], BlockError> {
        let (text, rest) = self.text.split_at_checked(length).ok_or_else(|| self.wrong("ends inside a text"))?;
        self.text = rest;
        Ok(text)
    }

    pub(super) fn packed(&mut self, length: usize) -> Result<&'a [u8], BlockError> {
        let (packed, rest) = self.packed.split_at_checked(length).ok_or_else(|| self.wrong("ends inside an id"))?;
        self.packed = rest;
        Ok(packed)
    }

    pub(super) fn end(self) -> Result<(), BlockError> {
        if self.numbers.is_empty() && self.text.is_empty() && self.packed.is_empty() {
            return Ok(());
        }
        Err(malformed("end", "is followed by more bytes"))
    }
}
