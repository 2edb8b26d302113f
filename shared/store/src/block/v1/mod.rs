//! Codec version 1: numbers of base 128, one behind the other. It stays readable; nothing writes it any more.

pub(super) mod frame;
mod read;
mod texts;
mod wire;
#[cfg(test)]
mod write;

pub(super) use read::read;
#[cfg(test)]
pub(super) use wire::Sections;
#[cfg(test)]
pub(super) use write::{seal, write};

const HAS_DURATION: u8 = 1;
const HAS_USAGE: u8 = 2;
const HAS_QUANTITY: u8 = 4;
const HAS_REPORTED: u8 = 8;
const IS_CRITICAL: u8 = 16;

const PARENT_NONE: u64 = 0;
/// The parent is no event of the block: its id follows.
const PARENT_TEXT: u64 = 1;
/// And more: the zigzag distance to the parent's entry, back from the number of entries that the column of event ids
/// has up to this event.
const PARENT_ENTRY: u64 = 2;
