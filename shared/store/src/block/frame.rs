//! What the frames of all versions share: the header, and compression of the sections behind it.

use std::borrow::Cow;
use std::cell::RefCell;
use std::io;

use recoup_model::limits::BLOCK_EVENTS_MAX;
use zstd::bulk::{Compressor, Decompressor};

use super::columns::{Columns, Wanted};
use super::{BlockError, RAW_BYTES_MAX, malformed, v1, v2};

const MAGIC: [u8; 4] = *b"rcpb";
const SECTIONS: usize = 3;
/// Magic, version, count, and the two lengths of each section. A checksum follows.
const FIELDS_BYTES: usize = 4 + 2 + 4 + SECTIONS * 8;
/// Above this level size hardly changes and time doubles.
const ZSTD_LEVEL: i32 = 3;

/// What is checked before a block is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    /// Lengths and the checksum.
    Checksum,
    /// Lengths only: somebody checked the checksum.
    Lengths,
}

/// The columns of a block.
pub(super) fn read(bytes: &[u8], check: Check, wanted: Wanted) -> Result<Columns, BlockError> {
    match version_of(bytes)? {
        v1::frame::VERSION => v1::frame::read(&open(bytes, check, v1::frame::checksum)?),
        v2::frame::VERSION => v2::frame::read(&open(bytes, check, v2::frame::checksum)?, wanted),
        version => Err(BlockError::UnknownVersion { version }),
    }
}

/// Checks everything that can be checked without decompressing, and says how many events there are.
pub(super) fn verify(bytes: &[u8]) -> Result<usize, BlockError> {
    let frame = match version_of(bytes)? {
        v1::frame::VERSION => open(bytes, Check::Checksum, v1::frame::checksum)?,
        v2::frame::VERSION => open(bytes, Check::Checksum, v2::frame::checksum)?,
        version => return Err(BlockError::UnknownVersion { version }),
    };
    Ok(frame.events)
}

fn version_of(bytes: &[u8]) -> Result<u16, BlockError> {
    let behind = bytes.strip_prefix(&MAGIC).ok_or(BlockError::NotABlock)?;
    let version = behind.first_chunk().ok_or(BlockError::Torn { expected: FIELDS_BYTES, found: bytes.len() })?;
    Ok(u16::from_be_bytes(*version))
}

/// A section as it is stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Section<'a> {
    /// Bytes before compression.
    pub(super) raw: usize,
    pub(super) stored: &'a [u8],
}

impl<'a> Section<'a> {
    /// The content of a section that is always compressed.
    pub(super) fn decompress(&self) -> Result<Vec<u8>, BlockError> {
        let raw = decompress(self.stored, self.raw)?;
        if raw.len() == self.raw { Ok(raw) } else { Err(malformed("header", "names a wrong length")) }
    }

    /// The content of a section that is compressed where that made it smaller.
    pub(super) fn content(&self) -> Result<Cow<'a, [u8]>, BlockError> {
        if self.raw == self.stored.len() { Ok(Cow::Borrowed(self.stored)) } else { self.decompress().map(Cow::Owned) }
    }
}

/// A block that keeps its limits, and whose bytes are as many as it says.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    pub(super) events: usize,
    pub(super) sections: [Section<'a>; SECTIONS],
}

/// Reads the header. The checksum is over the fields before it and all sections.
fn open<'a, const SUM: usize>(
    bytes: &'a [u8],
    check: Check,
    checksum: fn(&[u8], &[u8]) -> [u8; SUM],
) -> Result<Frame<'a>, BlockError> {
    let torn = |expected| BlockError::Torn { expected, found: bytes.len() };
    let header_bytes = FIELDS_BYTES + SUM;
    let (fields, rest) = bytes.split_at_checked(FIELDS_BYTES).ok_or_else(|| torn(header_bytes))?;
    let (sum, payload) = rest.split_first_chunk::<SUM>().ok_or_else(|| torn(header_bytes))?;
    let mut lengths = fields.get(6..).unwrap_or_default().chunks_exact(4).map(length);
    let mut next = || lengths.next().unwrap_or_default();
    let events = next();
    let extents: [(usize, usize); SECTIONS] = std::array::from_fn(|_| (next(), next()));
    let total = |lengths: [usize; SECTIONS]| lengths.into_iter().fold(0, usize::saturating_add);
    let stored = total(extents.map(|(_, stored)| stored));
    if payload.len() != stored {
        return Err(torn(header_bytes.saturating_add(stored)));
    }
    if check == Check::Checksum && *sum != checksum(fields, payload) {
        return Err(BlockError::Checksum);
    }
    if events > BLOCK_EVENTS_MAX {
        return Err(BlockError::TooManyEvents { events });
    }
    let raw = total(extents.map(|(raw, _)| raw));
    if raw > RAW_BYTES_MAX {
        return Err(BlockError::TooLarge { bytes: raw });
    }
    let mut rest = payload;
    let sections = extents.map(|(raw, length)| {
        let (stored, behind) = rest.split_at_checked(length).unwrap_or_default();
        rest = behind;
        Section { raw, stored }
    });
    Ok(Frame { events, sections })
}

fn length(field: &[u8]) -> usize {
    let length = field.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
    usize::try_from(length).unwrap_or(usize::MAX)
}

/// Puts the header before sections, of which each comes as it is and as it is stored.
pub(super) fn seal<const SUM: usize>(
    (version, events): (u16, usize),
    sections: [(&[u8], Cow<'_, [u8]>); SECTIONS],
    checksum: fn(&[u8], &[u8]) -> [u8; SUM],
) -> Result<Vec<u8>, BlockError> {
    let mut fields = Vec::with_capacity(FIELDS_BYTES);
    fields.extend(MAGIC);
    fields.extend(version.to_be_bytes());
    fields.extend(length_field(events)?);
    for (raw, stored) in &sections {
        fields.extend(length_field(raw.len())?);
        fields.extend(length_field(stored.len())?);
    }
    let payload = sections.map(|(_, stored)| stored).concat();
    let sum = checksum(&fields, &payload);
    Ok([fields.as_slice(), &sum, &payload].concat())
}

/// Refuses sections that a reader would refuse.
pub(super) fn check_size(sections: [&[u8]; SECTIONS]) -> Result<(), BlockError> {
    let bytes = sections.iter().fold(0_usize, |sum, section| sum.saturating_add(section.len()));
    if bytes > RAW_BYTES_MAX { Err(BlockError::TooLarge { bytes }) } else { Ok(()) }
}

fn length_field(length: usize) -> Result<[u8; 4], BlockError> {
    let length = u32::try_from(length).map_err(|_| BlockError::TooLarge { bytes: length })?;
    Ok(length.to_be_bytes())
}

thread_local! {
    // Their tables are larger than most sections: one for each thread, not one for each section.
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// What a thread keeps; made when it first needs it.
fn kept<T>(kept: &mut Option<T>, make: impl FnOnce() -> io::Result<T>) -> io::Result<&mut T> {
    match kept {
        Some(kept) => Ok(kept),
        None => make().map(|made| kept.insert(made)),
    }
}

/// A zstd frame of these bytes.
pub(super) fn compress(raw: &[u8]) -> Result<Vec<u8>, BlockError> {
    let compressed =
        COMPRESSOR.with_borrow_mut(|compressor| kept(compressor, || Compressor::new(ZSTD_LEVEL))?.compress(raw));
    compressed.map_err(|source| BlockError::Compression { doing: "compress", source })
}

/// The content of a zstd frame of at most `capacity` bytes.
fn decompress(stored: &[u8], capacity: usize) -> Result<Vec<u8>, BlockError> {
    let raw = DECOMPRESSOR
        .with_borrow_mut(|decompressor| kept(decompressor, Decompressor::new)?.decompress(stored, capacity));
    raw.map_err(|source| BlockError::Compression { doing: "decompress", source })
}
