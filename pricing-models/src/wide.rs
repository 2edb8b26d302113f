//! Half-to-even division of 256-bit numerators, for sums of products that `recoup-money` does not take (MON-3).

use ethnum::{I256, U256};
use num_bigint::BigUint;

/// `numerator / denominator`, half to even; `None` when the denominator is not positive or the result does not fit.
pub(crate) fn half_even(numerator: I256, denominator: I256) -> Option<i128> {
    if denominator <= I256::ZERO {
        return None;
    }
    let quotient = numerator.checked_div_euclid(denominator)?;
    let twice = numerator.checked_rem_euclid(denominator)?.checked_mul(I256::new(2))?;
    let odd = quotient.checked_rem_euclid(I256::new(2))? == I256::ONE;
    let up = twice > denominator || (twice == denominator && odd);
    let rounded = if up { quotient.checked_add(I256::ONE)? } else { quotient };
    i128::try_from(rounded).ok()
}

/// The same number without a bound, as a weight of a split.
pub(crate) fn unbounded(number: U256) -> BigUint {
    BigUint::from_bytes_le(&number.to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mon_1_half_goes_to_even_on_both_sides_of_zero() {
        let rounded: Vec<_> =
            [5, 15, 25, -5, -15, -25, 26].iter().map(|n| half_even(I256::new(*n), I256::new(10))).collect();
        assert_eq!(rounded, [0, 2, 2, 0, -2, -2, 3].map(Some));
        assert_eq!(half_even(I256::ONE, I256::ZERO), None);
        assert_eq!(half_even(I256::MAX, I256::ONE), None);
    }

    #[test]
    fn mon_3_a_weight_keeps_its_size() {
        assert_eq!(unbounded(U256::from(u128::MAX)), BigUint::from(u128::MAX));
    }
}
