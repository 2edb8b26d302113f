//! Exact decimals, written without the product's own.

use serde_json::Value;

/// Digits of a picounit.
const DIGITS: usize = 12;

/// Picounits.
pub type Pico = i128;

/// A decimal text, or a JSON string of one, as picounits.
pub fn pico(text: &str) -> Pico {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    assert!(part.len() <= DIGITS, "{text} has more than {DIGITS} fraction digits");
    let units: Pico = format!("{whole}{part:0<DIGITS$}").parse().unwrap_or_else(|_| panic!("{text} is no decimal"));
    if negative { -units } else { units }
}

/// The sum of a field of decimal strings.
pub fn sum<'a>(rows: impl IntoIterator<Item = &'a Value>, field: &str) -> Pico {
    let amount =
        |row: &Value| pico(row.get(field).and_then(Value::as_str).unwrap_or_else(|| panic!("no {field} in {row}")));
    rows.into_iter().map(amount).sum()
}

#[cfg(test)]
mod tests {
    use super::pico;

    #[test]
    fn decimals_are_read_exactly() {
        assert_eq!(pico("1"), 1_000_000_000_000);
        assert_eq!(pico("-0.000000000001"), -1);
        assert_eq!(pico("12.5"), 12_500_000_000_000);
    }
}
