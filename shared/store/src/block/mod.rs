//! The block codec: events in, compact bytes out, and back. `BLOCKS.md` describes the format byte by byte.
//!
//! Owns: the bytes of a block, the digest that names it, and which events share one ([`pack`]).
//! Promises: [`decode`] of [`encode`] is the same events in the same order; any other bytes are refused with a reason,
//! without a panic and within bounded memory; a version that was ever written stays readable.
//! Start reading at [`encode`], then [`columns`].

pub mod columns;
mod frame;
pub mod pack;
pub mod prints;
mod v1;
mod v2;

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;

use recoup_model::digest::content_digest;
use recoup_model::limits::BLOCK_EVENTS_MAX;
use recoup_model::{Digest, Identity, Recorded};

/// The codec version that [`encode`] writes.
pub const CODEC_VERSION: u16 = v2::frame::VERSION;
/// Bytes of a block's columns before compression; bounds what a decoder allocates.
pub const RAW_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A block, ready to be stored under its digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedBlock {
    /// Digest of the canonical content, see [`digest_of_contents`].
    pub digest: Digest,
    /// The encoded bytes.
    pub bytes: Vec<u8>,
}

/// Why events do not become a block, or bytes are none.
#[derive(Debug, thiserror::Error)]
pub enum BlockError {
    /// More events than a block holds.
    #[error("{events} events are more than the {BLOCK_EVENTS_MAX} of a block; split them")]
    TooManyEvents {
        /// How many.
        events: usize,
    },
    /// An event has more extra tags than events may have.
    #[error("{tags} extra tags on one event are more than may be stored; refuse the event at the door")]
    TooManyTags {
        /// How many.
        tags: usize,
    },
    /// The columns are larger than a decoder would take.
    #[error("columns of {bytes} bytes are more than the {RAW_BYTES_MAX} of a block; split the events")]
    TooLarge {
        /// How large they are.
        bytes: usize,
    },
    /// The bytes do not begin like a block.
    #[error("the bytes are no block: they do not begin with `rcpb`; check what was read")]
    NotABlock,
    /// A newer release wrote it.
    #[error("the block has codec version {version}, this release knows 1 to {CODEC_VERSION}; use a newer release")]
    UnknownVersion {
        /// What it says.
        version: u16,
    },
    /// Bytes are missing at the end, or there are too many.
    #[error("the block has {found} bytes and says {expected}; it is torn, restore it from a copy")]
    Torn {
        /// Bytes that the header promises.
        expected: usize,
        /// Bytes that are there.
        found: usize,
    },
    /// Some byte is not what was written.
    #[error("the block's checksum does not match its bytes; restore it from a copy")]
    Checksum,
    /// The checksum holds but the content makes no sense: a defect of the writer.
    #[error("the column `{column}` {problem}; the block was not written by this codec")]
    Malformed {
        /// Which column.
        column: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The compressor refused.
    #[error("could not {doing} a block")]
    Compression {
        /// `compress` or `decompress`.
        doing: &'static str,
        /// Why.
        source: std::io::Error,
    },
}

const fn malformed(column: &'static str, problem: &'static str) -> BlockError {
    BlockError::Malformed { column, problem }
}

/// Encodes events, in their order, and names the block.
///
/// # Errors
/// [`BlockError::TooManyEvents`], [`BlockError::TooManyTags`], [`BlockError::TooLarge`]; the compressor's own.
pub fn encode(events: &[Recorded]) -> Result<EncodedBlock, BlockError> {
    let borrowed: Vec<&Recorded> = events.iter().collect();
    Ok(EncodedBlock { digest: digest_of(events), bytes: encode_bytes(&borrowed)? })
}

/// Encodes events whose digest the caller knows already, as [`encode`] does.
///
/// # Errors
/// As [`encode`].
pub fn encode_bytes(events: &[&Recorded]) -> Result<Vec<u8>, BlockError> {
    if events.len() > BLOCK_EVENTS_MAX {
        return Err(BlockError::TooManyEvents { events: events.len() });
    }
    v2::frame::seal(events.len(), &v2::write(events)?)
}

/// The events of a block, in the order in which they were encoded. Equal texts share one allocation.
///
/// # Errors
/// Every [`BlockError`] that is about bytes.
pub fn decode(bytes: &[u8]) -> Result<Vec<Recorded>, BlockError> {
    Ok(columns::read_columns(bytes)?.events())
}

/// Checks length, version and checksum without decoding, and says how many events the block holds.
///
/// # Errors
/// [`BlockError::NotABlock`], [`BlockError::UnknownVersion`], [`BlockError::Torn`], [`BlockError::Checksum`],
/// [`BlockError::TooManyEvents`], [`BlockError::TooLarge`].
pub fn verify(bytes: &[u8]) -> Result<usize, BlockError> {
    frame::verify(bytes)
}

/// The digest that names a block of these events, computed from the events.
#[must_use]
pub fn digest_of(events: &[Recorded]) -> Digest {
    digest_of_contents(
        events.iter().map(|recorded| (Identity::of(&recorded.event), content_digest(&recorded.event))).collect(),
    )
}

/// The digest that names a block, see [`prints::digest_of_prints`].
#[must_use]
pub fn digest_of_contents(contents: Vec<(Identity, Digest)>) -> Digest {
    let prints: Vec<_> = contents.iter().map(|(identity, digest)| prints::print_of(*identity, digest)).collect();
    prints::digest_of_prints(&prints)
}
