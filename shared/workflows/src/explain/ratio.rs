//! Exact fractions as the ledger writes them (`3/5`), and as people read them.

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One, ToPrimitive, Zero};
use recoup_money::{Amount, PICO_PER_UNIT};

/// Reads `a/b`; `None` where it is no fraction.
pub(crate) fn parse(text: &str) -> Option<BigRational> {
    let (part, whole) = text.split_once('/').unwrap_or((text, "1"));
    let (part, whole): (BigInt, BigInt) = (part.parse().ok()?, whole.parse().ok()?);
    (!whole.is_zero()).then(|| BigRational::new(part, whole))
}

/// Writes `a/b`, reduced.
pub(crate) fn text(ratio: &BigRational) -> String {
    format!("{}/{}", ratio.numer(), ratio.denom())
}

/// An amount as a fraction of picounits.
pub(crate) fn of_pico(amount: Amount) -> BigRational {
    BigRational::from_integer(BigInt::from(amount.pico()))
}

/// A fraction of picounits, half to even to whole ones; `None` where it does not fit.
pub(crate) fn to_amount(pico: &BigRational) -> Option<Amount> {
    half_even(pico).to_i128().map(Amount::from_pico)
}

fn half_even(value: &BigRational) -> BigInt {
    let floor = value.floor().to_integer();
    let twice = (value - BigRational::from_integer(floor.clone())) * BigRational::from_integer(BigInt::from(2_u8));
    let is_odd = (&floor % BigInt::from(2_u8)) != BigInt::zero();
    let up = twice > BigRational::one() || (twice == BigRational::one() && is_odd);
    if up { floor + BigInt::one() } else { floor }
}

/// A fraction in per cent with four digits, half to even: `33.3333 %`. It is for reading; figures use the fraction.
pub(crate) fn percent(ratio: &BigRational) -> String {
    let steps = half_even(&(ratio * BigRational::from_integer(BigInt::from(1_000_000_u32))));
    // A ten-thousandth of a per cent is 10^8 picounits.
    let shown = steps.to_i128().and_then(|steps| steps.checked_mul(PICO_PER_UNIT.checked_div(10_000)?));
    shown.map_or_else(|| text(ratio), |pico| format!("{} %", Amount::from_pico(pico)))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::{parse, percent, text, to_amount};

    #[test]
    fn pool_2_fractions_are_read_written_and_rounded_half_to_even() {
        let shown = ["1/3", "3/5", "2/4", "7"].map(|fraction| {
            let ratio = parse(fraction).unwrap();
            (text(&ratio), percent(&ratio))
        });
        assert_eq!(shown[0], ("1/3".to_owned(), "33.3333 %".to_owned()));
        assert_eq!(shown[1], ("3/5".to_owned(), "60 %".to_owned()));
        assert_eq!((shown[2].0.as_str(), shown[3].1.as_str()), ("1/2", "700 %"));
        let pico = |fraction| to_amount(&parse(fraction).unwrap()).unwrap().pico();
        assert_eq!([pico("1/2"), pico("3/2"), pico("-1/2"), pico("7/3")], [0, 2, 0, 2]);
        assert_eq!(parse("1/0"), None);
        assert_eq!(parse("a/b"), None);
    }
}
