//! What the frames of all versions share: how a block begins, and how its sections are decompressed.

use std::cell::RefCell;

use zstd::bulk::Decompressor;

use super::columns::Columns;
use super::{BlockError, v1};

pub(super) const MAGIC: [u8; 4] = *b"rcpb";

/// What is checked before a block is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    /// Lengths and the checksum.
    Checksum,
    /// Lengths only: somebody checked the checksum.
    Lengths,
}

/// The columns of a block.
pub(super) fn read(bytes: &[u8], check: Check) -> Result<Columns, BlockError> {
    match version_of(bytes)? {
        1 => {
            let header = v1::frame::verify(bytes, check)?;
            v1::read(header.events, &v1::frame::open(&header, bytes)?)
        }
        version => Err(BlockError::UnknownVersion { version }),
    }
}

/// Checks everything that can be checked without decompressing, and says how many events there are.
pub(super) fn verify(bytes: &[u8]) -> Result<usize, BlockError> {
    match version_of(bytes)? {
        1 => v1::frame::verify(bytes, Check::Checksum).map(|header| header.events),
        version => Err(BlockError::UnknownVersion { version }),
    }
}

fn version_of(bytes: &[u8]) -> Result<u16, BlockError> {
    let behind = bytes.strip_prefix(&MAGIC).ok_or(BlockError::NotABlock)?;
    let version = behind.first_chunk().ok_or(BlockError::Torn { expected: MAGIC.len() + 2, found: bytes.len() })?;
    Ok(u16::from_be_bytes(*version))
}

pub(super) fn length_field(length: usize) -> Result<[u8; 4], BlockError> {
    let length = u32::try_from(length).map_err(|_| BlockError::TooLarge { bytes: length })?;
    Ok(length.to_be_bytes())
}

thread_local! {
    /// Its tables are larger than most sections: one for each thread, not one for each section.
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// The content of a zstd frame of at most `capacity` bytes.
pub(super) fn decompress(stored: &[u8], capacity: usize) -> Result<Vec<u8>, BlockError> {
    let decompress = |kept: &RefCell<Option<Decompressor<'static>>>| {
        let mut kept = kept.borrow_mut();
        let decompressor = match kept.as_mut() {
            Some(decompressor) => decompressor,
            None => kept.insert(Decompressor::new()?),
        };
        decompressor.decompress(stored, capacity)
    };
    DECOMPRESSOR.with(decompress).map_err(|source| BlockError::Compression { doing: "decompress", source })
}
