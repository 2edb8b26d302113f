//! Smoothed sums, evidence, and the price they give (PRC-1, PRC-2).
//!
//! What the semantics leave open, and what is done:
//! * A quantity that smooths to 0 (no completed task yet) gives no new candidate; the last price holds, and so it does on a
//!   night with less evidence than its policy asks for. Only a `locked` price waits for the candidate of an earlier night.
//! * Cost below zero (a carried credit, LED-3) prices at one grid step: a price never pays somebody for a task.

use chrono::{Days, NaiveDate};
use ethnum::I256;
use num_bigint::BigUint;
use num_traits::ToPrimitive;
use recoup_model::organisation::PriceLock;
use recoup_money::{Amount, PICO_PER_UNIT, round_to_step};
use serde::{Deserialize, Serialize};

use super::lock;
use crate::wide;

/// Longest half-life, ten years: the exact root grows with it.
pub const HALF_LIFE_DAYS_MAX: u32 = 3_650;

/// The weight of a new day, `1 - 2^(-1/half_life)`, in picounits, half to even (PRC-1).
///
/// `None` for a half-life of 0 or above [`HALF_LIFE_DAYS_MAX`].
///
/// ```
/// assert_eq!(recoup_pricing::internal::alpha_pico(7), Some(94_276_335_736));
/// ```
#[must_use]
pub fn alpha_pico(half_life_days: u32) -> Option<i128> {
    if half_life_days == 0 || half_life_days > HALF_LIFE_DAYS_MAX {
        return None;
    }
    // Twice 2^(-1/h) in whole picounits. From a half-life of 2 on the root is irrational, so the digit beyond decides
    // and no tie can occur; at 1 it is a whole number.
    let twice_unit = BigUint::from(PICO_PER_UNIT.unsigned_abs()) << 1_u32;
    let twice_kept = (twice_unit.pow(half_life_days) >> 1_u32).nth_root(half_life_days).to_i128()?;
    let kept = twice_kept.checked_add(1)?.checked_div(2)?;
    PICO_PER_UNIT.checked_sub(kept)
}

/// Smoothed sums and evidence of one (agent, task type) under one billing model, kept from night to night.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriceState {
    /// Smoothed cost: `S_C`.
    pub cost: Amount,
    /// Smoothed quantity, completed tasks or minutes, as an exact decimal: `S_N` or `S_M`.
    pub quantity: Amount,
    /// Completed tasks since the first day.
    pub completed: u64,
    /// All tasks since the first day.
    pub tasks: u64,
    /// Days with tasks since the first day.
    pub days_with_tasks: u32,
    /// What the sums say; in force at once, or not, as the lock has it.
    pub candidate: Option<Amount>,
    /// In force from the midnight that ends the last day.
    pub price: Option<Amount>,
    /// The first local day with a task.
    pub first_day: NaiveDate,
    /// The last local day that is in here.
    pub last_day: NaiveDate,
}

/// What one local day showed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// Cost of all tasks that ended on it.
    pub cost: Amount,
    /// Completed tasks, or minutes of all tasks, as an exact decimal.
    pub quantity: Amount,
    /// All tasks that ended on it.
    pub tasks: u64,
    /// Of them the completed ones.
    pub completed: u64,
}

/// The policy of the night.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PricePolicy {
    /// Half-life of the smoothing in days.
    pub half_life_days: u32,
    /// Prices are multiples of this.
    pub price_grid: Amount,
    /// Enough evidence: so many completed tasks,
    pub min_tasks: u32,
    /// or so many days with tasks.
    pub min_days: u32,
    /// How the price may move.
    pub lock: PriceLock,
    /// Most that a banded price moves in a night, percent.
    pub band_percent: Option<Amount>,
    /// Whether the day after this one is the first of a billing period on which a locked price may move.
    pub period_starts_tomorrow: bool,
}

/// Why a night gives no state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PriceError {
    /// A half-life that cannot be used.
    #[error("`half_life_days` is {0}; write 1 to 3650")]
    HalfLife(u32),
    /// A grid that cannot be used.
    #[error("`price_grid` is {0}; write a step above 0, such as \"0.0001\"")]
    Grid(Amount),
    /// A banded price without its band.
    #[error("`price_lock` is banded and there is no `price_band_percent` of 0 or more; write one, such as \"5\"")]
    Band,
    /// A night was left out or repeated.
    #[error("`day` is {day}, but the last night was {last}; smooth every local day once, in order")]
    Gap {
        /// The day that was asked for.
        day: NaiveDate,
        /// The last day in the state.
        last: NaiveDate,
    },
    /// A sum does not fit (MON-3).
    #[error("the smoothed sums of {0} overflow; look for a cost that is no cost")]
    Overflow(NaiveDate),
}

impl Observation {
    /// Two parts of one day, such as two lanes, together; `None` on overflow.
    #[must_use]
    pub fn checked_add(&self, other: &Self) -> Option<Self> {
        Some(Self {
            cost: self.cost.checked_add(other.cost)?,
            quantity: self.quantity.checked_add(other.quantity)?,
            tasks: self.tasks.checked_add(other.tasks)?,
            completed: self.completed.checked_add(other.completed)?,
        })
    }
}

/// One night: smooths the day into the sums and moves the price. Called for every local day since the first with a task,
/// days without tasks included; `None` until there was one.
///
/// # Errors
/// [`PriceError`]: the policy cannot be used, a day was left out, or a sum overflows.
pub fn advance(
    state: Option<PriceState>,
    day: NaiveDate,
    seen: &Observation,
    policy: &PricePolicy,
) -> Result<Option<PriceState>, PriceError> {
    let alpha = alpha_pico(policy.half_life_days).ok_or(PriceError::HalfLife(policy.half_life_days))?;
    if policy.price_grid <= Amount::ZERO {
        return Err(PriceError::Grid(policy.price_grid));
    }
    let smoothed = match state {
        None if seen.tasks == 0 => return Ok(None),
        None => first(day, seen),
        Some(state) => {
            if state.last_day.checked_add_days(Days::new(1)) != Some(day) {
                return Err(PriceError::Gap { day, last: state.last_day });
            }
            next(state, day, seen, alpha).ok_or(PriceError::Overflow(day))?
        }
    };
    priced(smoothed, policy).map(Some)
}

fn first(day: NaiveDate, seen: &Observation) -> PriceState {
    PriceState {
        cost: seen.cost,
        quantity: seen.quantity,
        completed: seen.completed,
        tasks: seen.tasks,
        days_with_tasks: 1,
        candidate: None,
        price: None,
        first_day: day,
        last_day: day,
    }
}

fn next(state: PriceState, day: NaiveDate, seen: &Observation, alpha: i128) -> Option<PriceState> {
    Some(PriceState {
        cost: smooth(alpha, seen.cost, state.cost)?,
        quantity: smooth(alpha, seen.quantity, state.quantity)?,
        completed: state.completed.checked_add(seen.completed)?,
        tasks: state.tasks.checked_add(seen.tasks)?,
        days_with_tasks: state.days_with_tasks.checked_add(u32::from(seen.tasks > 0))?,
        last_day: day,
        ..state
    })
}

/// `a*x + (1-a)*before`, rounded half to even once.
fn smooth(alpha: i128, seen: Amount, before: Amount) -> Option<Amount> {
    let product = |weight: i128, amount: Amount| I256::from(weight).checked_mul(I256::from(amount.pico()));
    let kept = PICO_PER_UNIT.checked_sub(alpha)?;
    let sum = product(alpha, seen)?.checked_add(product(kept, before)?)?;
    wide::half_even(sum, I256::from(PICO_PER_UNIT)).map(Amount::from_pico)
}

fn priced(mut state: PriceState, policy: &PricePolicy) -> Result<PriceState, PriceError> {
    let overflow = PriceError::Overflow(state.last_day);
    let enough = state.completed >= u64::from(policy.min_tasks) || state.days_with_tasks >= policy.min_days;
    let found = (enough && state.quantity > Amount::ZERO).then(|| ratio(&state, policy.price_grid).ok_or(overflow));
    let found = found.transpose()?;
    state.candidate = found.or(state.candidate);
    // Only a locked price waits for its candidate; the others follow what this night found.
    let candidate = if policy.lock == PriceLock::Locked { state.candidate } else { found };
    let Some(candidate) = candidate else { return Ok(state) };
    state.price = lock::hold(state.price, candidate, policy, overflow)?;
    Ok(state)
}

/// Cost per unit on the grid, at least one step.
fn ratio(state: &PriceState, grid: Amount) -> Option<Amount> {
    let pico = round_to_step(state.cost.pico(), state.quantity.pico(), grid.pico(), PICO_PER_UNIT)?;
    Some(Amount::from_pico(pico).max(grid))
}
