//! Why a task cost more than those before it (ANO-3).
//!
//! The cost of a task is a product: first calls per task x attempts per first call x the sum over models of (share of the
//! calls x tokens per call x price per token). From the baseline's factors to the task's they are replaced one after the
//! other, and each replacement's effect is its cause's part. The order is that of a price-volume-mix analysis: **calls per
//! task, retries, model mix, tokens per call, price**. So the effect of two factors together goes to the later one.
//!
//! What the rules leave open:
//! * Where a side has no value for a factor (a model that it never called, a task without calls) it takes the other
//!   side's, so that the difference goes to the factor that does differ: a new model is a matter of the mix.
//! * A model (or SKU) that on either side has a cost without any token is priced by the call.
//! * The price of a token is that of a model's tokens on average: fewer cache hits make a token dearer.
//! * The parts are exact ratios until the end. Their sum is rounded half to even (MON-1); then each part is floored and
//!   the picounits missing go one each to the largest fractions, ties by larger part, then order of [`Cause::ALL`] (MON-2).

use std::collections::BTreeSet;

use num_bigint::BigInt;
use num_integer::Integer;
use num_rational::BigRational;
use num_traits::{One, ToPrimitive, Zero};
use recoup_model::Id;
use recoup_money::Amount;
use serde::{Deserialize, Serialize};

use super::half_even;
use super::sums::{ModelUse, TaskSums};
use crate::anomaly::AnomalyError;

/// What makes a task dearer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The price of a token of the same model.
    Price,
    /// Tokens per call of the same model.
    TokensPerCall,
    /// Calls per task, retries apart.
    CallsPerTask,
    /// Attempts per call.
    Retries,
    /// The models' shares of the calls.
    ModelMix,
}

impl Cause {
    /// Every cause, in the order in which they are shown.
    pub const ALL: [Self; 5] = [Self::Price, Self::TokensPerCall, Self::CallsPerTask, Self::Retries, Self::ModelMix];
}

/// An excess by cause; the parts sum to it. A part may be negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Causes {
    /// [`Cause::Price`].
    pub price: Amount,
    /// [`Cause::TokensPerCall`].
    pub tokens_per_call: Amount,
    /// [`Cause::CallsPerTask`].
    pub calls_per_task: Amount,
    /// [`Cause::Retries`].
    pub retries: Amount,
    /// [`Cause::ModelMix`].
    pub model_mix: Amount,
}

impl Causes {
    /// The parts, in the order of [`Cause::ALL`].
    #[must_use]
    pub const fn parts(&self) -> [(Cause, Amount); 5] {
        [
            (Cause::Price, self.price),
            (Cause::TokensPerCall, self.tokens_per_call),
            (Cause::CallsPerTask, self.calls_per_task),
            (Cause::Retries, self.retries),
            (Cause::ModelMix, self.model_mix),
        ]
    }

    /// The cause with the largest part; of equal ones the first.
    #[must_use]
    pub fn largest(&self) -> Cause {
        let start = (Cause::Price, self.price);
        let larger = |most: (Cause, Amount), next: (Cause, Amount)| if next.1 > most.1 { next } else { most };
        self.parts().into_iter().fold(start, larger).0
    }
}

/// The factors of a model; `None`: this side has no value.
struct ModelFactors {
    share: Option<BigRational>,
    tokens_per_call: Option<BigRational>,
    price: Option<BigRational>,
}

/// A factor on both sides: the baseline's, then the actual one.
type Both = (BigRational, BigRational);

/// The factors of one model on both sides.
struct Pair {
    share: Both,
    tokens_per_call: Both,
    price: Both,
}

/// Splits what a task of `actual` cost more than one of `baseline`, both on average: the excess, and by cause.
pub(super) fn split(actual: &TaskSums, baseline: &TaskSums) -> Result<(Amount, Causes), AnomalyError> {
    let (before, after) = (Outline::of(baseline)?, Outline::of(actual)?);
    let firsts = filled(before.firsts, after.firsts, BigRational::zero);
    let attempts = filled(before.attempts, after.attempts, BigRational::one);
    let names: BTreeSet<&Id> = baseline.models().keys().chain(actual.models().keys()).collect();
    let models: Vec<Pair> =
        names.into_iter().map(|name| pair_of(name, (baseline, before.calls), (actual, after.calls))).collect();
    // How many factors, in order of replacement, are the actual ones.
    let value = |replaced: u8| {
        let of_model = |model: &Pair| {
            product([
                side(replaced, 3, &model.share),
                side(replaced, 4, &model.tokens_per_call),
                side(replaced, 5, &model.price),
            ])
        };
        let per_call = models.iter().map(of_model).fold(BigRational::zero(), |sum, part| total(&sum, &part));
        product([side(replaced, 1, &firsts), side(replaced, 2, &attempts), &per_call])
    };
    let values = [value(0), value(1), value(2), value(3), value(4), value(5)];
    let [from, calls, retries, mix, tokens, to] = &values;
    let is = |value: &BigRational, mean: Option<BigRational>| mean.is_some_and(|mean| less(value, &mean).is_zero());
    if !is(from, baseline.mean()) || !is(to, actual.mean()) {
        return Err(AnomalyError::Inconsistent);
    }
    let parts = [less(to, tokens), less(tokens, mix), less(calls, from), less(retries, calls), less(mix, retries)];
    round(&parts, &less(to, from)).ok_or(AnomalyError::Overflow("causes"))
}

/// A factor as it is when so many of them are replaced, of which it is the `place`th.
const fn side(replaced: u8, place: u8, (before, after): &Both) -> &BigRational {
    if replaced >= place { after } else { before }
}

// Ratios here are not reduced: most of the time went into greatest common divisors, and none lives long.

fn product(factors: [&BigRational; 3]) -> BigRational {
    let [one, another, last] = factors;
    BigRational::new_raw(one.numer() * another.numer() * last.numer(), one.denom() * another.denom() * last.denom())
}

fn total(one: &BigRational, other: &BigRational) -> BigRational {
    let numerator = one.numer() * other.denom() + other.numer() * one.denom();
    BigRational::new_raw(numerator, one.denom() * other.denom())
}

fn less(one: &BigRational, other: &BigRational) -> BigRational {
    let numerator = one.numer() * other.denom() - other.numer() * one.denom();
    BigRational::new_raw(numerator, one.denom() * other.denom())
}

/// The factors of a side that all its models share.
struct Outline {
    calls: u64,
    firsts: Option<BigRational>,
    attempts: Option<BigRational>,
}

impl Outline {
    fn of(sums: &TaskSums) -> Result<Self, AnomalyError> {
        let calls = sums.calls()?;
        let firsts = calls.saturating_sub(sums.retries());
        Ok(Self { calls, firsts: ratio(firsts, sums.tasks()), attempts: ratio(calls, firsts) })
    }
}

fn pair_of(name: &Id, (baseline, calls_before): (&TaskSums, u64), (actual, calls_after): (&TaskSums, u64)) -> Pair {
    let used = |sums: &TaskSums| sums.models().get(name).copied().unwrap_or_default();
    let (before, after) = (used(baseline), used(actual));
    let is_by_call = |used: &ModelUse| used.tokens == 0 && !used.cost.is_zero();
    let by_call = is_by_call(&before) || is_by_call(&after);
    let (before, after) = (factors(&before, calls_before, by_call), factors(&after, calls_after, by_call));
    Pair {
        share: filled(before.share, after.share, BigRational::zero),
        tokens_per_call: filled(before.tokens_per_call, after.tokens_per_call, BigRational::zero),
        price: filled(before.price, after.price, BigRational::zero),
    }
}

fn factors(used: &ModelUse, calls: u64, by_call: bool) -> ModelFactors {
    let units = if by_call { used.calls } else { used.tokens };
    let price = (units > 0).then(|| BigRational::new_raw(BigInt::from(used.cost.pico()), BigInt::from(units)));
    ModelFactors { share: ratio(used.calls, calls), tokens_per_call: ratio(units, used.calls), price }
}

fn ratio(of: u64, by: u64) -> Option<BigRational> {
    (by > 0).then(|| BigRational::new_raw(BigInt::from(of), BigInt::from(by)))
}

fn filled(before: Option<BigRational>, after: Option<BigRational>, neither: impl Fn() -> BigRational) -> Both {
    match (before, after) {
        (Some(before), Some(after)) => (before, after),
        (Some(one), None) | (None, Some(one)) => (one.clone(), one),
        (None, None) => (neither(), neither()),
    }
}

/// Exact parts, in the order of [`Cause::ALL`], as picounits that sum to the rounded whole.
fn round(parts: &[BigRational; 5], whole: &BigRational) -> Option<(Amount, Causes)> {
    let excess = half_even(whole)?;
    let mut floors = [0_i128; 5];
    let mut order = Vec::with_capacity(parts.len());
    for ((at, part), floor) in parts.iter().enumerate().zip(&mut floors) {
        let (whole, rest) = part.numer().div_mod_floor(part.denom());
        *floor = whole.to_i128()?;
        order.push((at, BigRational::new_raw(rest, part.denom().clone()), part));
    }
    order.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| other.2.cmp(one.2)).then(one.0.cmp(&other.0)));
    let floored = floors.iter().try_fold(0_i128, |sum, floor| sum.checked_add(*floor))?;
    let missing = usize::try_from(excess.pico().checked_sub(floored)?).ok()?;
    for (at, _, _) in order.iter().take(missing) {
        let floor = floors.get_mut(*at)?;
        *floor = floor.checked_add(1)?;
    }
    let [price, tokens_per_call, calls_per_task, retries, model_mix] = floors.map(Amount::from_pico);
    Some((excess, Causes { price, tokens_per_call, calls_per_task, retries, model_mix }))
}
