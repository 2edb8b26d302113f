//! The header and the compressed sections of version 1.

use recoup_model::limits::BLOCK_EVENTS_MAX;
use sha2::{Digest as _, Sha256};

use super::super::frame::{Check, MAGIC, decompress, length_field};
use super::super::{BlockError, RAW_BYTES_MAX};
use super::wire::{Sections, malformed};

const VERSION: u16 = 1;
/// Magic, version, count, and the two lengths of each of the three sections.
const FIELDS_BYTES: usize = 4 + 2 + 4 + 3 * 8;
const CHECKSUM_BYTES: usize = 8;
const HEADER_BYTES: usize = FIELDS_BYTES + CHECKSUM_BYTES;
/// Above this level size hardly changes and time doubles.
const ZSTD_LEVEL: i32 = 3;

/// Lengths of a section.
#[derive(Clone, Copy, Debug)]
struct Extent {
    raw: usize,
    stored: usize,
}

/// A header that has been checked against its bytes.
#[derive(Clone, Copy, Debug)]
pub(in crate::block) struct Header {
    pub(in crate::block) events: usize,
    extents: [Extent; 3],
}

/// Compresses the sections and puts the header before them.
pub(in crate::block) fn seal(events: usize, sections: &Sections) -> Result<Vec<u8>, BlockError> {
    let raw = [&sections.numbers, &sections.text, &sections.packed];
    let total: usize = raw.iter().map(|section| section.len()).sum();
    if total > RAW_BYTES_MAX {
        return Err(BlockError::TooLarge { bytes: total });
    }
    let mut fields = Vec::with_capacity(HEADER_BYTES);
    fields.extend(MAGIC);
    fields.extend(VERSION.to_be_bytes());
    fields.extend(length_field(events)?);
    let mut payload = Vec::with_capacity(total / 2);
    for section in raw {
        let stored = zstd::bulk::compress(section, ZSTD_LEVEL)
            .map_err(|source| BlockError::Compression { doing: "compress", source })?;
        fields.extend(length_field(section.len())?);
        fields.extend(length_field(stored.len())?);
        payload.extend(stored);
    }
    let sum = checksum(&fields, &payload);
    fields.extend(sum);
    fields.extend(payload);
    Ok(fields)
}

fn checksum(fields: &[u8], payload: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let hash: [u8; 32] = Sha256::new().chain_update(fields).chain_update(payload).finalize().into();
    hash.first_chunk().copied().unwrap_or_default()
}

/// Reads the header and checks everything that can be checked without decompressing.
pub(in crate::block) fn verify(bytes: &[u8], check: Check) -> Result<Header, BlockError> {
    let torn = |expected| BlockError::Torn { expected, found: bytes.len() };
    let (fields, rest) = bytes.split_at_checked(FIELDS_BYTES).ok_or_else(|| torn(HEADER_BYTES))?;
    let (sum, payload) = rest.split_at_checked(CHECKSUM_BYTES).ok_or_else(|| torn(HEADER_BYTES))?;
    let header = read_lengths(fields);
    let stored: usize = header.extents.iter().map(|extent| extent.stored).sum();
    if payload.len() != stored {
        return Err(torn(HEADER_BYTES.saturating_add(stored)));
    }
    if check == Check::Checksum && sum != checksum(fields, payload) {
        return Err(BlockError::Checksum);
    }
    within_limits(header)
}

fn read_lengths(fields: &[u8]) -> Header {
    let mut lengths = fields
        .get(6..)
        .unwrap_or_default()
        .chunks_exact(4)
        .map(|field| field.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes)))
        .map(|length| usize::try_from(length).unwrap_or(usize::MAX));
    let mut next = || lengths.next().unwrap_or_default();
    let events = next();
    Header { events, extents: std::array::from_fn(|_| Extent { raw: next(), stored: next() }) }
}

fn within_limits(header: Header) -> Result<Header, BlockError> {
    if header.events > BLOCK_EVENTS_MAX {
        return Err(BlockError::TooManyEvents { events: header.events });
    }
    let raw = header.extents.iter().fold(0_usize, |sum, extent| sum.saturating_add(extent.raw));
    if raw > RAW_BYTES_MAX {
        return Err(BlockError::TooLarge { bytes: raw });
    }
    Ok(header)
}

/// Decompresses the sections of a verified block.
pub(in crate::block) fn open(header: &Header, bytes: &[u8]) -> Result<Sections, BlockError> {
    let mut rest = bytes.get(HEADER_BYTES..).unwrap_or_default();
    let mut next = |extent: Extent| -> Result<Vec<u8>, BlockError> {
        let torn = BlockError::Torn { expected: extent.stored, found: rest.len() };
        let (stored, behind) = rest.split_at_checked(extent.stored).ok_or(torn)?;
        rest = behind;
        let raw = decompress(stored, extent.raw)?;
        if raw.len() == extent.raw { Ok(raw) } else { Err(malformed("header", "names a wrong length")) }
    };
    let [numbers, text, packed] = header.extents;
    Ok(Sections { numbers: next(numbers)?, text: next(text)?, packed: next(packed)? })
}
