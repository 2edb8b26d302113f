//! The one rounding rule: half to even, over 256-bit products.

use ethnum::I256;

/// `numerator / denominator`, half to even; `None` when the denominator is not positive.
#[must_use]
pub fn div_half_even(numerator: i128, denominator: i128) -> Option<i128> {
    mul_div_half_even(numerator, 1, denominator)
}

/// `a * b / denominator`, the product exact in 256 bits, the quotient half to even (MON-1, MON-3).
/// `None` when the denominator is not positive or the result does not fit.
#[must_use]
pub fn mul_div_half_even(a: i128, b: i128, denominator: i128) -> Option<i128> {
    if denominator <= 0 {
        return None;
    }
    let product = I256::from(a).checked_mul(I256::from(b))?;
    let divisor = I256::from(denominator);
    let quotient = product.checked_div_euclid(divisor)?;
    let twice = product.checked_rem_euclid(divisor)?.checked_mul(I256::new(2))?;
    let odd = quotient.checked_rem_euclid(I256::new(2))? == I256::ONE;
    let up = twice > divisor || (twice == divisor && odd);
    let rounded = if up { quotient.checked_add(I256::ONE)? } else { quotient };
    i128::try_from(rounded).ok()
}

/// `numerator / denominator` rounded half to even to a multiple of `step`; `None` when a divisor is not positive or
/// the result does not fit. All three in the same unit squared away: the result is in the unit of `step`.
#[must_use]
pub fn round_to_step(numerator: i128, denominator: i128, step: i128, scale: i128) -> Option<i128> {
    if step <= 0 || denominator <= 0 {
        return None;
    }
    let divisor = I256::from(denominator).checked_mul(I256::from(step))?;
    let product = I256::from(numerator).checked_mul(I256::from(scale))?;
    let quotient = product.checked_div_euclid(divisor)?;
    let twice = product.checked_rem_euclid(divisor)?.checked_mul(I256::new(2))?;
    let odd = quotient.checked_rem_euclid(I256::new(2))? == I256::ONE;
    let up = twice > divisor || (twice == divisor && odd);
    let steps = if up { quotient.checked_add(I256::ONE)? } else { quotient };
    i128::try_from(steps.checked_mul(I256::from(step))?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mon_1_half_goes_to_even_on_both_sides_of_zero() {
        let rounded: Vec<_> = [5, 15, 25, -5, -15, -25, 26].iter().map(|n| div_half_even(*n, 10)).collect();
        assert_eq!(rounded, [0, 2, 2, 0, -2, -2, 3].map(Some));
    }

    #[test]
    fn mon_3_products_are_taken_in_256_bits() {
        assert_eq!(mul_div_half_even(i128::MAX, i128::MAX, i128::MAX), Some(i128::MAX));
        assert_eq!(mul_div_half_even(i128::MAX, 2, 1), None);
        assert_eq!(div_half_even(1, 0), None);
    }

    #[test]
    fn prc_1_price_lands_on_the_grid() {
        // S_C / S_N of the example of PRC-1, both in pico, on a grid of 0.0001.
        assert_eq!(
            round_to_step(35_080_150_358_443, 99_555_598_626_010, 100_000_000, 1_000_000_000_000),
            Some(352_400_000_000)
        );
    }
}
