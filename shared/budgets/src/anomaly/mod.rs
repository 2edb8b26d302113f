//! Tasks and days that cost far more than those before them (ANO-1, ANO-2), and why (ANO-3).
//!
//! Owns: the sums that a baseline is made of, the comparison with it, the split of an excess by cause, the digest of an
//! hour. Does not own: where sums and anomalies are kept, who is told.
//! Invariants: ANO-1, ANO-2, ANO-3. No floats: means are ratios of integers, and a deviation is compared squared.
//!
//! What the rules leave open:
//! * A task counts with its whole cost, on the local day on which it ended, however it ended (as C of PRC-1 does).
//! * The baseline of day d is the tasks that ended on d-7 to d-1; a candidate's own day is no part of it.
//! * "Fewer than 3 days" counts days with at least one such task.
//! * Standard deviations are those of a **sample** (divisor n - 1): a baseline is a sample of what tasks cost.
//! * ANO-2 sets the day's cost per task against the same mean as ANO-1: all cost of the baseline through all its tasks,
//!   the sums and not the mean of daily ratios (as PRC-1). Its deviation is that of the daily costs per task about this
//!   mean, each day alike.
//!
//! Start reading at [`judge_task`] and [`judge_day`].

mod cause;
mod digest;
mod sums;

use std::cmp::Ordering;

use num_bigint::BigInt;
use num_integer::Integer;
use num_rational::BigRational;
use num_traits::{Signed, ToPrimitive, Zero};
use recoup_money::Amount;
use serde::{Deserialize, Serialize};

pub use cause::{Cause, Causes};
pub use digest::{FinishedTask, HourDigest, HourKey, TaskAnomaly, TaskKind, digests};
pub use sums::{Baseline, ModelUse, Spent, SumOfSquares, TaskSums};

/// Complete local days before the candidate's that make its baseline (ANO-1).
pub const BASELINE_DAYS: u64 = 7;
/// With fewer days that have a task there is no baseline (ANO-3).
pub const BASELINE_DAYS_MIN: u32 = 3;
/// With fewer tasks there is no baseline (ANO-3).
pub const BASELINE_TASKS_MIN: u64 = 20;
/// What costs more than so many times the mean is recorded (ANO-1, ANO-2).
pub const MEAN_MULTIPLE: u32 = 3;
/// How many standard deviations above the mean a task alerts on its own, and a day is an anomaly (ANO-1, ANO-2).
pub const DEVIATIONS: u32 = 3;
/// Days with a task from which on the deviation of days counts (ANO-2).
pub const DEVIATION_DAYS_MIN: u32 = 5;

/// Why something cannot be compared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnomalyError {
    /// A sum does not fit (MON-3).
    #[error("the sum of {0} does not fit; look for an absurd amount among the events")]
    Overflow(&'static str),
    /// Sums contradict each other, so that causes would not add up.
    #[error("the sums by model are not those of the whole; run the day again")]
    Inconsistent,
}

/// What a comparison with a baseline gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// There is too little to compare with: only the cap guards (ANO-3).
    InsufficientHistory {
        /// Days of the baseline that have a task.
        days: u32,
        /// Tasks of the baseline.
        tasks: u64,
    },
    /// Nothing to tell.
    Usual,
    /// An anomaly.
    Anomalous(Anomaly),
}

/// How much more something cost, and why. The amounts add up as printed: `actual - mean = excess`, and the causes sum to
/// `excess`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anomaly {
    /// What the task cost, or a task of the day on average, half to even at 12 digits (MON-1).
    pub actual: Amount,
    /// What a task of the baseline cost on average: `actual - excess`, so within a picounit of the exact mean.
    pub mean: Amount,
    /// The exact difference, half to even at 12 digits.
    pub excess: Amount,
    /// Whether it is more than [`MEAN_MULTIPLE`] times the mean.
    pub above_multiple: bool,
    /// Whether it is more than [`DEVIATIONS`] standard deviations above the mean. A task then alerts on its own (ANO-1);
    /// for a day it needs [`DEVIATION_DAYS_MIN`] days.
    pub above_deviations: bool,
    /// Tasks of the baseline.
    pub tasks: u64,
    /// Days of the baseline that have a task.
    pub days: u32,
    /// The excess by cause (ANO-3).
    pub causes: Causes,
}

/// Sets a task against the baseline of its agent and task type (ANO-1).
///
/// # Errors
/// [`AnomalyError`].
pub fn judge_task(spent: &Spent, baseline: &Baseline) -> Result<Judgement, AnomalyError> {
    if let Some(judgement) = insufficient(baseline) {
        return Ok(judgement);
    }
    let sums = baseline.sums();
    let (count, cost) = (BigInt::from(sums.tasks()), BigInt::from(spent.cost()?.pico()));
    let (scaled, total) = (&count * &cost, BigInt::from(sums.cost().pico()));
    if scaled <= &total * MEAN_MULTIPLE {
        return Ok(Judgement::Usual);
    }
    // x - S/n > k * sqrt((nQ - S^2) / (n(n-1)))  <=>  nx > S and (nx - S)^2 * (n-1) > k^2 * n * (nQ - S^2).
    let above = &scaled - &total;
    let spread = &count * sums.squares().to_int() - &total * &total;
    let left = &above * &above * (&count - 1);
    let above_deviations = above.is_positive() && left > spread * &count * DEVIATIONS * DEVIATIONS;
    let task = TaskSums::of(spent)?;
    Ok(Judgement::Anomalous(anomaly(&task, baseline, (true, above_deviations))?))
}

/// Sets the tasks that ended on a day against the baseline of their agent and task type (ANO-2).
///
/// # Errors
/// [`AnomalyError`].
pub fn judge_day(day: &TaskSums, baseline: &Baseline) -> Result<Judgement, AnomalyError> {
    if let Some(judgement) = insufficient(baseline) {
        return Ok(judgement);
    }
    let (Some(actual), Some(mean)) = (day.mean(), baseline.sums().mean()) else { return Ok(Judgement::Usual) };
    let above_multiple = actual > &mean * BigInt::from(MEAN_MULTIPLE);
    let above_deviations = baseline.days() >= DEVIATION_DAYS_MIN && {
        let above = &actual - &mean;
        let off = baseline.daily_means().map(|daily| (daily - &mean).pow(2));
        let spread: BigRational = off.fold(BigRational::zero(), |sum, square| sum + square);
        let freedom = BigInt::from(baseline.days().saturating_sub(1));
        above.is_positive() && above.pow(2) * freedom > spread * BigInt::from(DEVIATIONS.pow(2))
    };
    if !above_multiple && !above_deviations {
        return Ok(Judgement::Usual);
    }
    Ok(Judgement::Anomalous(anomaly(day, baseline, (above_multiple, above_deviations))?))
}

fn insufficient(baseline: &Baseline) -> Option<Judgement> {
    let (days, tasks) = (baseline.days(), baseline.sums().tasks());
    let too_little = days < BASELINE_DAYS_MIN || tasks < BASELINE_TASKS_MIN;
    too_little.then_some(Judgement::InsufficientHistory { days, tasks })
}

fn anomaly(
    actual: &TaskSums,
    baseline: &Baseline,
    (above_multiple, above_deviations): (bool, bool),
) -> Result<Anomaly, AnomalyError> {
    let (excess, causes) = cause::split(actual, baseline.sums())?;
    let actual = actual.mean().as_ref().and_then(half_even).ok_or(AnomalyError::Overflow("cost per task"))?;
    Ok(Anomaly {
        actual,
        mean: actual.checked_sub(excess).ok_or(AnomalyError::Overflow("cost per task"))?,
        excess,
        above_multiple,
        above_deviations,
        tasks: baseline.sums().tasks(),
        days: baseline.days(),
        causes,
    })
}

/// A ratio of picounits as an amount, half to even (MON-1); `None`: it does not fit.
pub(crate) fn half_even(ratio: &BigRational) -> Option<Amount> {
    let (floor, rest): (BigInt, BigInt) = ratio.numer().div_mod_floor(ratio.denom());
    let twice: BigInt = rest * 2;
    let up = match twice.cmp(ratio.denom()) {
        Ordering::Less => false,
        Ordering::Equal => floor.is_odd(),
        Ordering::Greater => true,
    };
    if up { floor + 1 } else { floor }.to_i128().map(Amount::from_pico)
}
