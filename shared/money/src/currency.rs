//! ISO 4217 currencies and their minor units.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::amount::PICO_DIGITS;

/// An ISO 4217 currency in circulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency {
    code: &'static str,
    minor_digits: u32,
}

/// A code that is not in the table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an ISO 4217 currency code; use one such as USD or EUR")]
pub struct UnknownCurrency(pub String);

/// Currencies whose minor unit has another number of digits than two, in order.
const UNUSUAL: &[(&str, u32)] = &[
    ("BHD", 3),
    ("BIF", 0),
    ("CLP", 0),
    ("DJF", 0),
    ("GNF", 0),
    ("IQD", 3),
    ("ISK", 0),
    ("JOD", 3),
    ("JPY", 0),
    ("KMF", 0),
    ("KRW", 0),
    ("KWD", 3),
    ("LYD", 3),
    ("OMR", 3),
    ("PYG", 0),
    ("RWF", 0),
    ("TND", 3),
    ("UGX", 0),
    ("UYI", 0),
    ("VND", 0),
    ("VUV", 0),
    ("XAF", 0),
    ("XOF", 0),
    ("XPF", 0),
];

/// Currencies with two digits, in order.
const USUAL: &[&str] = &[
    "AED", "AFN", "ALL", "AMD", "AOA", "ARS", "AUD", "AWG", "AZN", "BAM", "BBD", "BDT", "BGN", "BMD", "BND", "BOB",
    "BRL", "BSD", "BTN", "BWP", "BYN", "BZD", "CAD", "CDF", "CHF", "CNY", "COP", "CRC", "CUP", "CVE", "CZK", "DKK",
    "DOP", "DZD", "EGP", "ERN", "ETB", "EUR", "FJD", "FKP", "GBP", "GEL", "GHS", "GIP", "GMD", "GTQ", "GYD", "HKD",
    "HNL", "HTG", "HUF", "IDR", "ILS", "INR", "IRR", "JMD", "KES", "KGS", "KHR", "KPW", "KYD", "KZT", "LAK", "LBP",
    "LKR", "LRD", "LSL", "MAD", "MDL", "MGA", "MKD", "MMK", "MNT", "MOP", "MRU", "MUR", "MVR", "MWK", "MXN", "MYR",
    "MZN", "NAD", "NGN", "NIO", "NOK", "NPR", "NZD", "PAB", "PEN", "PGK", "PHP", "PKR", "PLN", "QAR", "RON", "RSD",
    "RUB", "SAR", "SBD", "SCR", "SDG", "SEK", "SGD", "SHP", "SLE", "SOS", "SRD", "SSP", "STN", "SVC", "SYP", "SZL",
    "THB", "TJS", "TMT", "TOP", "TRY", "TTD", "TWD", "TZS", "UAH", "USD", "UYU", "UZS", "VED", "VES", "WST", "XCD",
    "YER", "ZAR", "ZMW", "ZWG",
];

impl Currency {
    /// The US dollar.
    pub const USD: Self = Self { code: "USD", minor_digits: 2 };

    /// The three-letter code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        self.code
    }

    /// Fraction digits of the minor unit (2 for cents).
    #[must_use]
    pub const fn minor_digits(self) -> u32 {
        self.minor_digits
    }

    /// Picounits in one minor unit.
    #[must_use]
    pub fn minor_unit_pico(self) -> i128 {
        10_i128.saturating_pow(PICO_DIGITS.saturating_sub(self.minor_digits))
    }

    /// A count of minor units as printed on a statement, always with the currency's digits: `1234` cents is `12.34`.
    #[must_use]
    pub fn format_minor(self, units: i128) -> String {
        let digits = usize::try_from(self.minor_digits).unwrap_or_default();
        let sign = usize::from(units < 0);
        let width = digits.saturating_add(1).saturating_add(sign);
        let mut text = format!("{units:0width$}");
        if digits > 0 {
            text.insert(text.len().saturating_sub(digits), '.');
        }
        text
    }
}

impl FromStr for Currency {
    type Err = UnknownCurrency;

    fn from_str(code: &str) -> Result<Self, UnknownCurrency> {
        let usual = USUAL.binary_search(&code).ok().and_then(|at| USUAL.get(at));
        if let Some(code) = usual {
            return Ok(Self { code, minor_digits: 2 });
        }
        let unusual = UNUSUAL.binary_search_by_key(&code, |(known, _)| known).ok().and_then(|at| UNUSUAL.get(at));
        let (code, minor_digits) = unusual.ok_or_else(|| UnknownCurrency(code.to_owned()))?;
        Ok(Self { code, minor_digits: *minor_digits })
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.code)
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code)
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let code = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        code.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn mon_2_prints_the_currency_s_own_digits() {
        let yen: Currency = "JPY".parse().unwrap();
        assert_eq!(Currency::USD.format_minor(-5), "-0.05");
        assert_eq!(Currency::USD.format_minor(123_456), "1234.56");
        assert_eq!(yen.format_minor(120), "120");
        assert_eq!("BHD".parse::<Currency>().unwrap().format_minor(1), "0.001");
    }

    #[test]
    fn every_code_of_the_tables_is_found() {
        for (code, digits) in USUAL.iter().map(|code| (*code, 2)).chain(UNUSUAL.iter().copied()) {
            let found: Currency = code.parse().unwrap();
            assert_eq!((found.code(), found.minor_digits()), (code, digits));
        }
    }

    #[test]
    fn an_unknown_code_is_an_error() {
        assert!("BTC".parse::<Currency>().is_err());
        assert!("usd".parse::<Currency>().is_err());
    }
}
