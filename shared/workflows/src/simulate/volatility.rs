//! How much a team's monthly totals swing: their standard deviation, exact to the picounit.

use num_bigint::{BigInt, BigUint};
use num_traits::ToPrimitive;
use recoup_money::{Amount, mul_div_half_even};

/// What `volatility` means, in words.
pub(crate) const FORMULA: &str = "standard deviation of the monthly totals x over the n months: the square root of \
                                  (n * sum of x^2 - (sum of x)^2) / n^2, half to even at 12 digits";

/// The standard deviation of some totals; `None` for fewer than two, or where it does not fit.
pub(crate) fn volatility(totals: &[Amount]) -> Option<Amount> {
    if totals.len() < 2 {
        return None;
    }
    let totals = || totals.iter().map(|total| BigInt::from(total.pico()));
    let (count, sum): (BigInt, BigInt) = (BigInt::from(totals().count()), totals().sum());
    let squares: BigInt = totals().map(|total| &total * &total).sum();
    let variance = (&count * squares - &sum * &sum).to_biguint()?;
    half_even_root(&variance, &count.to_biguint()?).to_i128().map(Amount::from_pico)
}

/// The square root of `radicand`, divided by `divisor`, half to even.
fn half_even_root(radicand: &BigUint, divisor: &BigUint) -> BigUint {
    let square = divisor * divisor;
    let floor = (radicand / &square).sqrt();
    // Compared with (floor + 1/2)^2, everything times 4 * divisor^2.
    let middle = &floor * 2_u8 + 1_u8;
    let (ours, half) = (radicand * 4_u8, square * &middle * &middle);
    let is_odd = floor.bit(0);
    if ours > half || (ours == half && is_odd) { floor + 1_u8 } else { floor }
}

/// A difference in per cent of what was, half to even at two digits; `None` where nothing was.
pub(crate) fn percent(difference: Amount, of: Amount) -> Option<Amount> {
    let size = of.pico().checked_abs().filter(|size| *size > 0)?;
    let hundredths = mul_div_half_even(difference.pico(), 10_000, size)?;
    Some(Amount::from_pico(hundredths.checked_mul(10_000_000_000)?))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn of(totals: &[&str]) -> Option<String> {
        let totals: Vec<Amount> = totals.iter().map(|total| total.parse().unwrap()).collect();
        volatility(&totals).map(|amount| amount.to_string())
    }

    #[test]
    fn mon_1_volatility_is_an_exact_standard_deviation() {
        assert_eq!(of(&["2", "4", "4", "4", "5", "5", "7", "9"]).as_deref(), Some("2"));
        assert_eq!(of(&["1", "2"]).as_deref(), Some("0.5"));
        assert_eq!(of(&["1", "1", "2"]).as_deref(), Some("0.471404520791"));
        assert_eq!(of(&["-3", "3"]).as_deref(), Some("3"));
        assert_eq!(of(&["7", "7"]).as_deref(), Some("0"));
        assert_eq!(of(&["7"]), None);
        // A swing of half a picounit: half to even.
        assert_eq!(of(&["0", "0.000000000001"]).as_deref(), Some("0"));
        assert_eq!(of(&["0", "0.000000000003"]).as_deref(), Some("0.000000000002"));
    }

    #[test]
    fn a_difference_is_shown_in_per_cent_of_what_was() {
        let shown = |difference: &str, of: &str| {
            percent(difference.parse().unwrap(), of.parse().unwrap()).map(|percent| percent.to_string())
        };
        assert_eq!(shown("-25", "200").as_deref(), Some("-12.5"));
        assert_eq!(shown("1", "3").as_deref(), Some("33.33"));
        assert_eq!(shown("1", "-3").as_deref(), Some("33.33"));
        assert_eq!(shown("1", "0"), None);
    }

    #[test]
    fn the_root_is_the_nearest_picounit() {
        for number in 0_u64..4_000 {
            let (radicand, divisor) = (BigUint::from(number * number * 7 + number), BigUint::from(number % 9 + 1));
            let root = half_even_root(&radicand, &divisor);
            let four = &radicand * 4_u8;
            let square = |twice: BigUint| &divisor * &divisor * &twice * &twice;
            assert!(root == BigUint::from(0_u8) || square(&root * 2_u8 - 1_u8) <= four, "{number}");
            assert!(four <= square(&root * 2_u8 + 1_u8), "{number}");
        }
    }
}
