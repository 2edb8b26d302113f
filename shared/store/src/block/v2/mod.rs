//! Codec version 2: numbers packed at a fixed width, ids as their bytes, so that a reader of columns has little to do.

mod fields;
pub(super) mod frame;
mod numbers;
mod read;
mod sections;
mod shapes;
mod texts;
mod write;

pub(super) use read::read;
pub(super) use write::write;

/// In the fields of a set of tags: it has extra ones.
const TAGS_EXTRA: u64 = 1 << 6;
/// In place of the decimal zeros of amounts: they are 16 bytes each.
const WIDE_AMOUNTS: u8 = 255;

/// Letters of a currency's code.
const CURRENCY_BYTES: usize = 3;
