//! Exact numbers: rationals, the one rounding rule, the one split.

use std::cell::RefCell;
use std::collections::BTreeMap;

use num_bigint::{BigInt, BigUint, Sign};
use num_rational::BigRational;
use num_traits::{One, Signed, ToPrimitive, Zero};
use recoup_money::Amount;

/// An exact number. Amounts are in whole currency units.
pub type Q = BigRational;

/// A whole number.
#[must_use]
pub fn whole(number: impl Into<BigInt>) -> Q {
    Q::from_integer(number.into())
}

/// `numerator / denominator`.
#[must_use]
pub fn ratio(numerator: impl Into<BigInt>, denominator: impl Into<BigInt>) -> Q {
    Q::new(numerator.into(), denominator.into())
}

/// An amount of the product as a number of units.
#[must_use]
pub fn of(amount: Amount) -> Q {
    ratio(amount.pico(), pico_per_unit())
}

/// A number with at most 12 fraction digits as an amount of the product.
#[must_use]
pub fn amount(number: &Q) -> Amount {
    let pico = number * whole(pico_per_unit());
    assert!(pico.is_integer(), "{number} has more than 12 fraction digits");
    Amount::from_pico(pico.to_integer().to_i128().unwrap())
}

fn pico_per_unit() -> BigInt {
    BigInt::from(1_000_000_000_000_i64)
}

/// To a multiple of `step`, half to even (MON-1, PRC-1).
#[must_use]
pub fn to_step(number: &Q, step: &Q) -> Q {
    let steps = number / step;
    let floor = steps.floor();
    let above = (&steps - &floor) * whole(2);
    let odd = (floor.to_integer() % BigInt::from(2)) != BigInt::zero();
    let up = above > Q::one() || (above == Q::one() && odd);
    (if up { floor + Q::one() } else { floor }) * step
}

/// To 12 fraction digits, half to even (MON-1).
#[must_use]
pub fn to_pico(number: &Q) -> Q {
    to_step(number, &ratio(1, pico_per_unit()))
}

/// SPL-1 in steps of a picounit: `total` over weights by id; `None` where no weight is above zero.
///
/// Weights may be any rationals of at least 0: only their proportions and their order matter.
#[must_use]
pub fn split(total: &Q, weights: &BTreeMap<String, Q>) -> Option<BTreeMap<String, Q>> {
    let units = total * whole(pico_per_unit());
    assert!(units.is_integer(), "{total} is no whole number of picounits");
    let units = units.to_integer();
    let parts = split_units(&units, weights)?;
    Some(parts.into_iter().map(|(id, part)| (id, ratio(part, pico_per_unit()))).collect())
}

/// SPL-1 in whole units.
#[must_use]
pub fn split_units(total: &BigInt, weights: &BTreeMap<String, Q>) -> Option<BTreeMap<String, BigInt>> {
    assert!(weights.values().all(|weight| !weight.is_negative()), "a weight is below zero");
    let sum: Q = weights.values().sum();
    if sum.is_zero() {
        return None;
    }
    let size = whole(total.abs());
    let ideal = |weight: &Q| &size * weight / &sum;
    let mut parts: BTreeMap<String, BigInt> =
        weights.iter().map(|(id, weight)| (id.clone(), ideal(weight).floor().to_integer())).collect();
    let given: BigInt = parts.values().sum();
    let missing = (total.abs() - given).to_usize().unwrap();
    let mut order: Vec<(Q, &Q, &String)> =
        weights.iter().map(|(id, weight)| (ideal(weight).fract(), weight, id)).collect();
    order.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| b.1.cmp(a.1)).then_with(|| a.2.as_bytes().cmp(b.2.as_bytes())));
    for (_, _, id) in order.into_iter().take(missing) {
        *parts.get_mut(id).unwrap() += 1;
    }
    if total.sign() == Sign::Minus {
        parts.values_mut().for_each(|part| *part = -part.clone());
    }
    Some(parts)
}

/// PRC-1: a = 1 - 2^(-1/half_life), to 12 digits, half to even.
///
/// 2^(-1/h) is the h-th root of 1/2: irrational but for h = 1, so that 40 digits of its floor decide every rounding.
#[must_use]
pub fn smoothing_factor(half_life_days: u32) -> Q {
    thread_local! {
        static KNOWN: RefCell<BTreeMap<u32, Q>> = const { RefCell::new(BTreeMap::new()) };
    }
    KNOWN.with_borrow_mut(|known| known.entry(half_life_days).or_insert_with(|| find_factor(half_life_days)).clone())
}

fn find_factor(half_life_days: u32) -> Q {
    let digits = 40;
    let scale = BigUint::from(10_u32).pow(digits);
    let root = (scale.pow(half_life_days) / BigUint::from(2_u32)).nth_root(half_life_days);
    to_pico(&(Q::one() - ratio(BigInt::from(root), BigInt::from(scale))))
}

/// A number as text: an exact decimal where it has one, else a fraction.
#[must_use]
pub fn text(number: &Q) -> String {
    let pico = number * whole(pico_per_unit());
    match pico.to_integer().to_i128() {
        Some(value) if pico.is_integer() => Amount::from_pico(value).to_string(),
        _ => number.to_string(),
    }
}
