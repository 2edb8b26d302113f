//! [`Amount`]: an exact sum of money in picounits.

use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::rounding::div_half_even;

/// Fraction digits of an [`Amount`] (MON-1).
pub const PICO_DIGITS: u32 = 12;
/// Picounits in one currency unit.
pub const PICO_PER_UNIT: i128 = 1_000_000_000_000;

/// An exact amount: a signed count of picounits (10^-12 of a currency unit). The currency is the holder's to know.
///
/// ```
/// use recoup_money::Amount;
/// let price: Amount = "1.25e-07".parse().unwrap();
/// assert_eq!(price.pico(), 125_000);
/// assert_eq!(price.to_string(), "0.000000125");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(i128);

/// Why a text is not an amount.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// The text is not a decimal number (NaN and infinities are not either).
    #[error("is not a decimal number")]
    NotDecimal,
    /// The number has more than 12 fraction digits.
    #[error("has more than 12 fraction digits")]
    TooPrecise,
    /// The number does not fit.
    #[error("is too large: an amount has at most 26 digits before the point and 28 in all")]
    TooLarge,
}

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// An amount of so many picounits.
    #[must_use]
    pub const fn from_pico(pico: i128) -> Self {
        Self(pico)
    }

    /// The amount in picounits.
    #[must_use]
    pub const fn pico(self) -> i128 {
        self.0
    }

    /// Whether this is exactly nothing.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The sum, or `None` on overflow (MON-3).
    #[must_use]
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// The difference, or `None` on overflow (MON-3).
    #[must_use]
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(difference) => Some(Self(difference)),
            None => None,
        }
    }

    /// The same amount with the other sign, or `None` on overflow.
    #[must_use]
    pub const fn checked_neg(self) -> Option<Self> {
        match self.0.checked_neg() {
            Some(negated) => Some(Self(negated)),
            None => None,
        }
    }

    /// The amount times a whole count, or `None` on overflow.
    #[must_use]
    pub fn checked_mul(self, count: i128) -> Option<Self> {
        self.0.checked_mul(count).map(Self)
    }

    /// The exact sum of many amounts, or `None` on overflow.
    pub fn checked_sum(amounts: impl IntoIterator<Item = Self>) -> Option<Self> {
        amounts.into_iter().try_fold(Self::ZERO, Self::checked_add)
    }

    /// Parses a decimal text of any precision, rounding half to even at 12 fraction digits (MON-1).
    ///
    /// # Errors
    /// [`AmountError::NotDecimal`] or [`AmountError::TooLarge`].
    pub fn parse_rounded(text: &str) -> Result<Self, AmountError> {
        let (mantissa, scale) = decimal_parts(text)?;
        if scale <= PICO_DIGITS {
            return scale_up(mantissa, PICO_DIGITS.saturating_sub(scale));
        }
        let divisor = 10_i128.checked_pow(scale.saturating_sub(PICO_DIGITS)).ok_or(AmountError::TooLarge)?;
        div_half_even(mantissa, divisor).map(Self).ok_or(AmountError::TooLarge)
    }
}

fn scale_up(mantissa: i128, digits: u32) -> Result<Amount, AmountError> {
    10_i128.checked_pow(digits).and_then(|factor| mantissa.checked_mul(factor)).map(Amount).ok_or(AmountError::TooLarge)
}

/// Digits of which a decimal keeps all, whatever they are.
const DIGITS_MAX: usize = 28;

/// Why a decimal number has too many digits; `None`: it has not, or it is none.
fn too_long(digits: &str) -> Option<AmountError> {
    let plain = digits.strip_prefix(['-', '+']).unwrap_or(digits);
    let (whole, fraction) = plain.split_once('.').unwrap_or((plain, ""));
    let is_number = [whole, fraction].concat().bytes().all(|byte| byte.is_ascii_digit());
    if !is_number || whole.len().saturating_add(fraction.len()) <= DIGITS_MAX {
        return None;
    }
    let is_large = whole.trim_start_matches('0').len() > DIGITS_MAX;
    Some(if is_large { AmountError::TooLarge } else { AmountError::TooPrecise })
}

fn exponent_of(text: &str) -> Result<i32, AmountError> {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    text.parse().map_err(|error: std::num::ParseIntError| match error.kind() {
        PosOverflow => AmountError::TooLarge,
        NegOverflow => AmountError::TooPrecise,
        _ => AmountError::NotDecimal,
    })
}

/// Mantissa and scale of a plain or scientific decimal text; a negative scale is folded into the mantissa.
fn decimal_parts(text: &str) -> Result<(i128, u32), AmountError> {
    let (digits, exponent) = match text.split_once(['e', 'E']) {
        Some((digits, exponent)) => (digits, exponent_of(exponent)?),
        None => (text, 0),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+')) {
        return Err(AmountError::NotDecimal);
    }
    let number = Decimal::from_str_exact(digits).map_err(|error| match error {
        rust_decimal::Error::ExceedsMaximumPossibleValue | rust_decimal::Error::LessThanMinimumPossibleValue => {
            AmountError::TooLarge
        }
        rust_decimal::Error::Underflow | rust_decimal::Error::ScaleExceedsMaximumPrecision(_) => {
            AmountError::TooPrecise
        }
        // A number with too many digits is refused in the same words as what is none.
        _ => too_long(digits).unwrap_or(AmountError::NotDecimal),
    })?;
    let scale = i64::from(number.scale()).checked_sub(i64::from(exponent)).ok_or(AmountError::TooLarge)?;
    let mantissa = number.mantissa();
    if mantissa == 0 {
        return Ok((0, 0));
    }
    match u32::try_from(scale) {
        Ok(scale) if scale > 60 => Err(AmountError::TooPrecise),
        Ok(scale) => Ok((mantissa, scale)),
        Err(_) => {
            let digits = u32::try_from(scale.unsigned_abs()).map_err(|_| AmountError::TooLarge)?;
            let factor = 10_i128.checked_pow(digits).ok_or(AmountError::TooLarge)?;
            Ok((mantissa.checked_mul(factor).ok_or(AmountError::TooLarge)?, 0))
        }
    }
}

impl FromStr for Amount {
    type Err = AmountError;

    /// Parses an exact decimal text; more than 12 fraction digits (not counting trailing zeros) is an error.
    fn from_str(text: &str) -> Result<Self, AmountError> {
        let (mut mantissa, mut scale) = decimal_parts(text)?;
        while scale > PICO_DIGITS {
            if mantissa.checked_rem(10) != Some(0) {
                return Err(AmountError::TooPrecise);
            }
            mantissa = mantissa.checked_div(10).ok_or(AmountError::TooLarge)?;
            scale = scale.saturating_sub(1);
        }
        scale_up(mantissa, PICO_DIGITS.saturating_sub(scale))
    }
}

/// Bytes of the longest text of an amount: 27 digits, a point, 12 digits and a sign.
const TEXT_BYTES_MAX: usize = 41;

/// The text of an amount, written from its end.
struct Text {
    bytes: [u8; TEXT_BYTES_MAX],
    from: usize,
}

impl Text {
    /// The shortest exact decimal: no exponent, no trailing zeros, `-` for debts.
    fn of(amount: Amount) -> Self {
        let mut text = Self { bytes: [0; TEXT_BYTES_MAX], from: TEXT_BYTES_MAX };
        let magnitude = amount.0.unsigned_abs();
        let unit = PICO_PER_UNIT.unsigned_abs();
        // Most amounts fit into 64 bits, which are divided several times faster.
        let (whole, fraction) = match (u64::try_from(magnitude), u64::try_from(unit)) {
            (Ok(magnitude), Ok(unit)) => {
                let whole = magnitude.checked_div(unit).unwrap_or_default();
                (u128::from(whole), magnitude.checked_rem(unit).unwrap_or_default())
            }
            _ => {
                let fraction = magnitude.checked_rem(unit).unwrap_or_default();
                (magnitude.checked_div(unit).unwrap_or_default(), u64::try_from(fraction).unwrap_or_default())
            }
        };
        text.push_fraction(fraction);
        text.push_whole(whole);
        if amount.0 < 0 {
            text.push(b'-');
        }
        text
    }

    fn push(&mut self, byte: u8) {
        self.from = self.from.saturating_sub(1);
        if let Some(place) = self.bytes.get_mut(self.from) {
            *place = byte;
        }
    }

    fn push_digit(&mut self, digits: u64) {
        let digit = u8::try_from(digits.checked_rem(10).unwrap_or_default()).unwrap_or_default();
        self.push(b'0'.saturating_add(digit));
    }

    fn push_fraction(&mut self, mut digits: u64) {
        if digits == 0 {
            return;
        }
        let mut width = PICO_DIGITS;
        while digits.checked_rem(10) == Some(0) {
            (digits, width) = (digits.checked_div(10).unwrap_or_default(), width.saturating_sub(1));
        }
        for _ in 0..width {
            self.push_digit(digits);
            digits = digits.checked_div(10).unwrap_or_default();
        }
        self.push(b'.');
    }

    fn push_whole(&mut self, mut wide: u128) {
        // What does not fit into 64 bits is brought there digit by digit.
        let mut digits = loop {
            match u64::try_from(wide) {
                Ok(digits) => break digits,
                Err(_) => {
                    let last = wide.checked_rem(10).unwrap_or_default();
                    self.push_digit(u64::try_from(last).unwrap_or_default());
                    wide = wide.checked_div(10).unwrap_or_default();
                }
            }
        };
        loop {
            self.push_digit(digits);
            digits = digits.checked_div(10).unwrap_or_default();
            if digits == 0 {
                return;
            }
        }
    }

    fn as_str(&self) -> &str {
        self.bytes.get(self.from..).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }
}

impl fmt::Display for Amount {
    /// The shortest exact decimal: no exponent, no trailing zeros, `-` for debts.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(Text::of(*self).as_str())
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(Text::of(*self).as_str())
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(|error| serde::de::Error::custom(format!("amount `{text}` {error}")))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn mon_1_reads_text_exactly() {
        for (text, pico) in [
            ("1.25e-07", 125_000),
            ("0", 0),
            ("-3.5", -3_500_000_000_000),
            ("1E3", 1_000_000_000_000_000),
            ("0.000000000001", 1),
            ("0.0000000000010000", 1),
            ("99999999999999999999999999", 99_999_999_999_999_999_999_999_999 * PICO_PER_UNIT),
        ] {
            assert_eq!(text.parse::<Amount>().unwrap().pico(), pico, "{text}");
        }
    }

    #[test]
    fn mon_1_refuses_what_is_not_an_amount() {
        for (text, error) in [
            ("NaN", AmountError::NotDecimal),
            ("inf", AmountError::NotDecimal),
            ("", AmountError::NotDecimal),
            ("1,5", AmountError::NotDecimal),
            ("1.2.3", AmountError::NotDecimal),
            ("1-2", AmountError::NotDecimal),
            ("1e4x", AmountError::NotDecimal),
            ("1.2.3456789012345678901234567890123456789", AmountError::NotDecimal),
            ("1e400", AmountError::TooLarge),
            ("1e99999999999", AmountError::TooLarge),
            ("1e-99999999999", AmountError::TooPrecise),
            ("123456789012345678901234567890123456789012", AmountError::TooLarge),
            ("-123456789012345678901234567890123456789012.5", AmountError::TooLarge),
            ("0.123456789012345678901234567890123456789012", AmountError::TooPrecise),
            ("0.0000000000001", AmountError::TooPrecise),
        ] {
            assert_eq!(text.parse::<Amount>().unwrap_err(), error, "{text}");
        }
    }

    #[test]
    fn mon_1_rounds_half_to_even_at_twelve_digits() {
        assert_eq!(Amount::parse_rounded("0.0000000000005").unwrap().pico(), 0);
        assert_eq!(Amount::parse_rounded("0.0000000000015").unwrap().pico(), 2);
        assert_eq!(Amount::parse_rounded("-0.0000000000025").unwrap().pico(), -2);
    }

    #[test]
    fn mon_3_overflow_is_an_error() {
        let most = Amount::from_pico(i128::MAX);
        assert_eq!(most.checked_add(Amount::from_pico(1)), None);
        assert_eq!(most.checked_mul(2), None);
        assert_eq!(Amount::from_pico(i128::MIN).checked_neg(), None);
    }

    #[test]
    fn prints_the_shortest_exact_decimal() {
        for text in ["0", "12", "-0.5", "0.000000000001", "155665.348608032"] {
            assert_eq!(text.parse::<Amount>().unwrap().to_string(), text);
        }
    }

    proptest::proptest! {
        #[test]
        fn an_amount_is_printed_as_its_digits_say(pico: i128, small: i64) {
            for pico in [pico, i128::from(small), i128::MIN, i128::MAX] {
                let digits = format!("{:013}", pico.unsigned_abs());
                let (whole, fraction) = digits.split_at(digits.len().checked_sub(12).unwrap());
                let plain = format!("{whole}.{fraction}");
                let sign = if pico < 0 { "-" } else { "" };
                let wanted = format!("{sign}{}", plain.trim_end_matches('0').trim_end_matches('.'));
                proptest::prop_assert_eq!(Amount::from_pico(pico).to_string(), wanted);
            }
        }
    }
}
