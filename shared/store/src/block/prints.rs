//! Fingerprints of a block's events: what tells them apart and what a manifest hashes, 48 bytes each.
//!
//! They follow from the events, so that a store may keep them beside a block to save computing them again, and may drop
//! them. Where they matter to the byte (a month that is verified) they are checked by the block's name, which is made of
//! them: [`digest_of_prints`]. Elsewhere [`checksum`] says whether they are what was stored for this block.

use flate2::Crc;
use recoup_model::{Digest, Identity};
use sha2::{Digest as _, Sha256};

/// Bytes of a [`Print`].
pub const PRINT_BYTES: usize = 48;

/// Identity (16 bytes, see [`Identity::to_bytes`]) and content digest (32 bytes) of an event.
pub type Print = [u8; PRINT_BYTES];

/// The print of an event.
#[must_use]
pub fn print_of(identity: Identity, digest: &Digest) -> Print {
    let mut print = [0; PRINT_BYTES];
    let (first, rest) = print.split_at_mut(PRINT_BYTES - digest.0.len());
    first.copy_from_slice(&identity.to_bytes());
    rest.copy_from_slice(&digest.0);
    print
}

/// The digest that names a block of these events: SHA-256 over their prints in order of their bytes. Packaging (order,
/// `recorded_at`, key, codec) does not enter it.
#[must_use]
pub fn digest_of_prints(prints: &[Print]) -> Digest {
    let mut sorted = prints.to_vec();
    sorted.sort_unstable();
    Digest(Sha256::digest(sorted.as_flattened()).into())
}

/// CRC-32 over the name of a block and the prints of its events, in their order.
#[must_use]
pub fn checksum(block: &Digest, prints: &[Print]) -> u32 {
    let mut sum = Crc::new();
    sum.update(&block.0);
    sum.update(prints.as_flattened());
    sum.sum()
}
