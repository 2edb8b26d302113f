//! Exact splitting by largest remainder (SPL-1) and the rounding of a statement (MON-2).

use ethnum::U256;
use num_bigint::BigUint;
use num_traits::{ToPrimitive, Zero};

/// One receiver of a split: its weight and the id that breaks ties, compared as bytes.
#[derive(Clone, Debug)]
pub struct Share<'a, W> {
    /// Who receives.
    pub id: &'a [u8],
    /// Its weight; zero gets zero.
    pub weight: W,
}

/// Splits `amount` (signed whole units) over integer weights by largest remainder (SPL-1).
///
/// `None` when all weights are zero (the caller falls back by SPL-3) or the weights overflow 128 bits.
///
/// ```
/// use recoup_money::{Share, split};
/// let shares: Vec<_> = [6_u128, 6, 2].iter().map(|w| Share { id: b"", weight: *w }).collect();
/// assert_eq!(split(11, &shares), Some(vec![5, 5, 1]));
/// ```
#[must_use]
pub fn split(amount: i128, shares: &[Share<'_, u128>]) -> Option<Vec<i128>> {
    let total = shares.iter().try_fold(0_u128, |sum, share| sum.checked_add(share.weight))?;
    if total == 0 {
        return None;
    }
    let magnitude = U256::from(amount.unsigned_abs());
    let divisor = U256::from(total);
    let parts = shares
        .iter()
        .map(|share| {
            let product = magnitude.checked_mul(U256::from(share.weight))?;
            Some((u128::try_from(product.checked_div(divisor)?).ok()?, product.checked_rem(divisor)?))
        })
        .collect::<Option<Vec<_>>>()?;
    distribute(amount, shares, parts)
}

/// [`split`] over weights of any size, for shares that are exact rationals brought to one denominator.
#[must_use]
pub fn split_big(amount: i128, shares: &[Share<'_, BigUint>]) -> Option<Vec<i128>> {
    let total: BigUint = shares.iter().map(|share| &share.weight).sum();
    if total.is_zero() {
        return None;
    }
    let magnitude = BigUint::from(amount.unsigned_abs());
    let parts = shares
        .iter()
        .map(|share| {
            let product = &magnitude * &share.weight;
            Some(((&product / &total).to_u128()?, &product % &total))
        })
        .collect::<Option<Vec<_>>>()?;
    distribute(amount, shares, parts)
}

/// Hands the units that the floors left over to the largest remainders, ties by larger weight, then by id.
fn distribute<W: Ord, R: Ord>(amount: i128, shares: &[Share<'_, W>], parts: Vec<(u128, R)>) -> Option<Vec<i128>> {
    let given = parts.iter().try_fold(0_u128, |sum, (floor, _)| sum.checked_add(*floor))?;
    let left = usize::try_from(amount.unsigned_abs().checked_sub(given)?).ok()?;
    let mut order: Vec<(usize, &R, &Share<'_, W>)> =
        parts.iter().zip(shares).enumerate().map(|(at, ((_, remainder), share))| (at, remainder, share)).collect();
    order.sort_by(|a, b| {
        b.1.cmp(a.1).then_with(|| b.2.weight.cmp(&a.2.weight)).then_with(|| a.2.id.cmp(b.2.id)).then(a.0.cmp(&b.0))
    });
    let mut extra = vec![0_u128; parts.len()];
    for (at, _, _) in order.iter().take(left) {
        if let Some(unit) = extra.get_mut(*at) {
            *unit = 1;
        }
    }
    let negative = amount < 0;
    parts
        .iter()
        .zip(extra)
        .map(|((floor, _), unit)| {
            let size = i128::try_from(floor.checked_add(unit)?).ok()?;
            if negative { size.checked_neg() } else { Some(size) }
        })
        .collect()
}

/// Rounds a statement to the currency's minor unit (MON-2): the total half to even, then the lines by largest
/// remainder from their floors, ties by larger exact amount, then line order.
///
/// `lines_pico` are exact picounits, `unit_pico` the picounits in one minor unit. Returns (total, lines) in minor units.
#[must_use]
pub fn round_statement(lines_pico: &[i128], unit_pico: i128) -> Option<(i128, Vec<i128>)> {
    let exact = lines_pico.iter().try_fold(0_i128, |sum, line| sum.checked_add(*line))?;
    let total = crate::rounding::div_half_even(exact, unit_pico)?;
    let floors = lines_pico
        .iter()
        .map(|line| Some((line.checked_div_euclid(unit_pico)?, line.checked_rem_euclid(unit_pico)?)))
        .collect::<Option<Vec<_>>>()?;
    let floored = floors.iter().try_fold(0_i128, |sum, (floor, _)| sum.checked_add(*floor))?;
    let missing = usize::try_from(total.checked_sub(floored)?).ok()?;
    let mut order: Vec<(usize, i128, i128)> =
        floors.iter().zip(lines_pico).enumerate().map(|(at, ((_, fraction), line))| (at, *fraction, *line)).collect();
    order.sort_by(|a, b| b.1.cmp(&a.1).then(b.2.cmp(&a.2)).then(a.0.cmp(&b.0)));
    let mut lines: Vec<i128> = floors.into_iter().map(|(floor, _)| floor).collect();
    for (at, _, _) in order.into_iter().take(missing) {
        if let Some(line) = lines.get_mut(at) {
            *line = line.checked_add(1)?;
        }
    }
    Some((total, lines))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use proptest::prelude::*;

    use super::*;

    fn shares(weights: &[u128]) -> Vec<Share<'static, u128>> {
        const IDS: [&[u8]; 8] = [b"a", b"b", b"c", b"d", b"e", b"f", b"g", b"h"];
        weights.iter().zip(IDS).map(|(weight, id)| Share { id, weight: *weight }).collect()
    }

    #[test]
    fn spl_1_examples() {
        assert_eq!(split(100, &shares(&[0, 1, 1, 1])), Some(vec![0, 34, 33, 33]));
        assert_eq!(split(10, &shares(&[6, 6, 2])), Some(vec![4, 4, 2]));
        assert_eq!(split(11, &shares(&[6, 6, 2])), Some(vec![5, 5, 1]));
        assert_eq!(split(5, &shares(&[0, 0])), None);
    }

    #[test]
    fn spl_1_ties_go_to_the_smaller_id_as_bytes() {
        let weights =
            [Share { id: b"z", weight: 1_u128 }, Share { id: b"B", weight: 1 }, Share { id: b"a", weight: 1 }];
        assert_eq!(split(1, &weights), Some(vec![0, 1, 0]));
    }

    #[test]
    fn mon_2_negative_lines_tie_to_the_total() {
        // 0.333 + 0.333 + 0.334 - 0.005 in units of 0.001, minor unit 0.01.
        let (total, lines) = round_statement(&[333, 333, 334, -5], 10).unwrap();
        assert_eq!(lines.iter().sum::<i128>(), total);
        assert_eq!((total, lines), (100, vec![33, 33, 34, 0]));
    }

    proptest! {
        #[test]
        fn spl_1_parts_sum_are_near_ideal_and_a_credit_mirrors(
            amount in -1_000_000_000_000_000_000_000_i128..1_000_000_000_000_000_000_000,
            weights in prop::collection::vec(0_u128..1_000_000_000_000_000_000_000_000, 1..8),
        ) {
            let shares = shares(&weights);
            let total: u128 = weights.iter().sum();
            let Some(parts) = split(amount, &shares) else { prop_assert_eq!(total, 0); return Ok(()); };
            prop_assert_eq!(parts.iter().sum::<i128>(), amount);
            for (part, weight) in parts.iter().zip(&weights) {
                let ideal = (U256::from(amount.unsigned_abs()) * U256::from(*weight)) / U256::from(total);
                let off = U256::from(part.unsigned_abs()).abs_diff(ideal);
                prop_assert!(off <= U256::ONE);
                prop_assert!(*weight != 0 || *part == 0);
            }
            let credit = split(amount.checked_neg().unwrap(), &shares).unwrap();
            prop_assert!(credit.iter().zip(&parts).all(|(c, p)| *c == -*p));
            let big: Vec<_> = shares.iter().map(|s| Share { id: s.id, weight: BigUint::from(s.weight) }).collect();
            prop_assert_eq!(split_big(amount, &big).unwrap(), parts);
        }

        #[test]
        fn mon_2_a_statement_adds_up_as_printed(lines in prop::collection::vec(-1_000_000_000_000_000_i128..1_000_000_000_000_000, 0..40)) {
            let (total, rounded) = round_statement(&lines, 10_000_000_000).unwrap();
            prop_assert_eq!(rounded.iter().sum::<i128>(), total);
            for (exact, line) in lines.iter().zip(&rounded) {
                prop_assert!((exact - line * 10_000_000_000).abs() < 10_000_000_000);
            }
        }
    }
}
