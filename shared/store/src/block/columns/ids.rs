//! Ids of events, compact: most are sixteen hexadecimal digits, which are one number.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

/// Digits that fit into a [`TextRef`].
const DIGITS_MAX: usize = 16;

/// An id in 16 bytes. A text of 1 to 16 lower-case hexadecimal digits is held in it; any other stands in the block that
/// the reference came from, and only [`super::Columns::id`] of that block can read it.
///
/// Two references that hold their digits are equal exactly where their texts are, across blocks too. Of the others the
/// same text may stand in a block twice: compare the [`IdText`]s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TextRef {
    /// Digits, the first in the highest bits; or where the text begins.
    value: u64,
    /// Digits, or bytes of the text.
    length: u32,
    form: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Form {
    None,
    Hex,
    Stored,
}

impl TextRef {
    /// No id.
    pub const NONE: Self = Self { value: 0, length: 0, form: Form::None };

    /// Whether there is no id.
    #[must_use]
    pub const fn is_none(self) -> bool {
        matches!(self.form, Form::None)
    }

    /// The number that an id of exactly sixteen digits is. Such ids sort as their numbers do.
    #[must_use]
    #[inline]
    pub const fn hex16(self) -> Option<u64> {
        if matches!(self.form, Form::Hex) && self.length == 16 { Some(self.value) } else { None }
    }

    #[inline]
    pub(in crate::block) const fn of_hex16(value: u64) -> Self {
        Self { value, length: 16, form: Form::Hex }
    }

    /// The id, where it is short hexadecimal.
    fn of_digits(text: &str) -> Option<Self> {
        let length = text.len();
        if !(1..=DIGITS_MAX).contains(&length) {
            return None;
        }
        let mut value = 0_u64;
        for letter in text.bytes() {
            let digit = match letter {
                b'0'..=b'9' => letter - b'0',
                b'a'..=b'f' => letter - b'a' + 10,
                _ => return None,
            };
            value = value << 4 | u64::from(digit);
        }
        let unused = u32::try_from(DIGITS_MAX - length).ok()?;
        Some(Self { value: value << (4 * unused), length: u32::try_from(length).ok()?, form: Form::Hex })
    }
}

/// The ids of a block that are not held in their references.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::block) struct StoredIds(String);

impl StoredIds {
    /// A reference to the text, which is kept where the reference cannot hold it.
    pub(in crate::block) fn add(&mut self, text: &str) -> TextRef {
        if let Some(held) = TextRef::of_digits(text) {
            return held;
        }
        let value = u64::try_from(self.0.len()).unwrap_or(u64::MAX);
        self.0.push_str(text);
        TextRef { value, length: u32::try_from(text.len()).unwrap_or(u32::MAX), form: Form::Stored }
    }

    /// As [`Self::add`], of a text in two parts.
    pub(in crate::block) fn add_joined(&mut self, begin: &str, end: &str) -> TextRef {
        if begin.is_empty() {
            return self.add(end);
        }
        if begin.len() + end.len() <= DIGITS_MAX {
            return self.add(&[begin, end].concat());
        }
        let value = u64::try_from(self.0.len()).unwrap_or(u64::MAX);
        self.0.push_str(begin);
        self.0.push_str(end);
        TextRef { value, length: u32::try_from(begin.len() + end.len()).unwrap_or(u32::MAX), form: Form::Stored }
    }

    /// As [`Self::add`], of the hexadecimal text of some bytes.
    pub(in crate::block) fn add_packed(&mut self, bytes: &[u8]) -> TextRef {
        if let Ok(digits) = bytes.try_into() {
            return TextRef::of_hex16(u64::from_be_bytes(digits));
        }
        let mut text = String::new();
        push_digits(&mut text, bytes);
        self.add(&text)
    }

    pub(in crate::block) fn get(&self, id: TextRef) -> IdText<'_> {
        match id.form {
            Form::None => IdText(Text::Stored("")),
            Form::Hex => IdText(Text::Hex { value: id.value, length: id.length }),
            Form::Stored => {
                let begin = usize::try_from(id.value).unwrap_or(usize::MAX);
                let end = begin.saturating_add(usize::try_from(id.length).unwrap_or(usize::MAX));
                IdText(Text::Stored(self.0.get(begin..end).unwrap_or_default()))
            }
        }
    }
}

/// The text of an id. Equal and ordered as the texts are, whatever block they came from.
#[derive(Clone, Copy, Debug)]
pub struct IdText<'a>(Text<'a>);

#[derive(Clone, Copy, Debug)]
enum Text<'a> {
    Hex { value: u64, length: u32 },
    Stored(&'a str),
}

/// A place to write digits to.
pub type IdBuffer = [u8; DIGITS_MAX];

impl<'a> IdText<'a> {
    /// The text, written into `buffer` where it is not stored as text.
    #[must_use]
    pub fn as_str<'b>(&self, buffer: &'b mut IdBuffer) -> &'b str
    where
        'a: 'b,
    {
        match self.0 {
            Text::Stored(text) => text,
            Text::Hex { value, length } => {
                let mut rest = value;
                for digit in buffer.iter_mut() {
                    *digit = hex_digit(rest.to_be_bytes()[0] >> 4);
                    rest <<= 4;
                }
                let digits = buffer.get(..usize::try_from(length).unwrap_or(DIGITS_MAX)).unwrap_or_default();
                std::str::from_utf8(digits).unwrap_or_default()
            }
        }
    }

    /// The text.
    #[must_use]
    pub fn to_text(&self) -> Cow<'a, str> {
        match self.0 {
            Text::Stored(text) => Cow::Borrowed(text),
            Text::Hex { .. } => Cow::Owned(self.as_str(&mut IdBuffer::default()).to_owned()),
        }
    }
}

/// Adds the hexadecimal text of some bytes.
pub(super) fn push_digits(text: &mut String, bytes: &[u8]) {
    const PART_BYTES: usize = 32;
    for part in bytes.chunks(PART_BYTES) {
        let mut letters = [[0; 2]; PART_BYTES];
        letters.iter_mut().zip(part).for_each(|(pair, byte)| *pair = [hex_digit(byte >> 4), hex_digit(byte & 15)]);
        let letters = letters.get(..part.len()).unwrap_or_default().as_flattened();
        text.push_str(std::str::from_utf8(letters).unwrap_or_default());
    }
}

/// The letter of a hexadecimal digit.
const fn hex_digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }
}

impl Ord for IdText<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.0, other.0) {
            // A shorter text sorts before those that begin with it, and its missing digits are zeros here.
            (Text::Hex { value, length }, Text::Hex { value: others, length: longer }) => {
                value.cmp(&others).then(length.cmp(&longer))
            }
            (Text::Stored(text), Text::Stored(others)) => text.cmp(others),
            _ => self.as_str(&mut IdBuffer::default()).cmp(other.as_str(&mut IdBuffer::default())),
        }
    }
}

impl PartialOrd for IdText<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for IdText<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for IdText<'_> {}

impl PartialEq<str> for IdText<'_> {
    fn eq(&self, other: &str) -> bool {
        self.as_str(&mut IdBuffer::default()) == other
    }
}

impl fmt::Display for IdText<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str(&mut IdBuffer::default()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn rat_3_ids_are_equal_and_ordered_as_their_texts(
            left in prop_oneof!["[0-9a-f]{0,17}", "[0-1]{1,3}", "\\PC{0,4}"],
            right in prop_oneof!["[0-9a-f]{0,17}", "[0-1]{1,3}", "\\PC{0,4}"],
        ) {
            let (mut of_left, mut of_right) = (StoredIds::default(), StoredIds::default());
            let (one, other) = (of_left.add(&left), of_right.add(&right));
            let (first, second) = (of_left.get(one), of_right.get(other));
            prop_assert_eq!(first.to_text(), left.as_str());
            prop_assert_eq!(first.to_string(), left.as_str());
            prop_assert_eq!(first.cmp(&second), left.cmp(&right));
            prop_assert!(first == *left.as_str());
            if one.hex16().is_some() && other.hex16().is_some() {
                prop_assert_eq!(one.hex16().cmp(&other.hex16()), left.cmp(&right));
            }
        }
    }

    #[test]
    fn rat_3_sixteen_digits_are_one_number_and_upper_case_is_not() {
        let mut stored = StoredIds::default();
        assert_eq!(stored.add("00f067aa0ba902b7").hex16(), Some(0x00f0_67aa_0ba9_02b7));
        assert_eq!(stored.add("f067aa0ba902b7").hex16(), None);
        assert_eq!(stored.add("00F067AA0BA902B7").hex16(), None);
        assert!(TextRef::NONE.is_none() && !stored.add("").is_none());
    }
}
