//! The checksum and the sections of version 1.

use sha2::{Digest as _, Sha256};

use super::super::BlockError;
use super::super::columns::Columns;
use super::super::frame::Frame;
use super::wire::Sections;

pub(in crate::block) const VERSION: u16 = 1;

/// The first bytes of the SHA-256.
pub(in crate::block) fn checksum(fields: &[u8], payload: &[u8]) -> [u8; 8] {
    let hash: [u8; 32] = Sha256::new().chain_update(fields).chain_update(payload).finalize().into();
    hash.first_chunk().copied().unwrap_or_default()
}

/// The columns of a block.
pub(in crate::block) fn read(frame: &Frame<'_>) -> Result<Columns, BlockError> {
    let [numbers, text, packed] = &frame.sections;
    let sections = Sections { numbers: numbers.decompress()?, text: text.decompress()?, packed: packed.decompress()? };
    super::read(frame.events, &sections)
}
