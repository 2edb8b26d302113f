//! What a budget will have spent when its period ends (ANO-4).
//!
//! Expected is what is committed, plus for each day that is left the mean of the known days of its weekday. What comes
//! before the period's first day only tells how dear a day is: nothing of it is carried into the period, and neither is
//! a limit.
//!
//! What the rule leaves open:
//! * The run-rate looks at the last [`HISTORY_DAYS_MAX`] days before today, as far as they are known: four of each weekday.
//!   A weekday of which none is known has the mean of all known days.
//! * Today counts with what is missing to its run-rate. What it has spent is what is committed less the period's days
//!   before it, an unknown one of them at its run-rate.
//! * The range is two standard errors of a prediction to either side: with days as independent as they look, 19 of 20
//!   periods end inside. s^2 is the sample variance of days about their weekday's mean, or about the mean of all while there
//!   are fewer than [`SPREAD_FREEDOM_MIN`] days more than weekdays known; the variance of the sum is
//!   s^2 * (k + k^2 / n) for k days left of a kind of which n are known. The lower end is never less than what is committed.
//! * Ratios to the end; expected is rounded half to even at 12 digits (MON-1), half the range up to a whole picounit.

use std::collections::BTreeMap;

use chrono::{Datelike, Days, NaiveDate, Weekday};
use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{Signed, ToPrimitive, Zero};
use recoup_money::Amount;

use crate::anomaly::half_even;
use crate::counter::PeriodKind;

/// Days before today that the run-rate looks at.
pub const HISTORY_DAYS_MAX: u64 = 28;
/// With fewer known days there is no run-rate.
pub const HISTORY_DAYS_MIN: u32 = 3;
/// Known days beyond the number of weekdays among them, from which on the spread is that within weekdays.
pub const SPREAD_FREEDOM_MIN: u32 = 3;

/// What a forecast is made from. Days are local days of the organisation's zone.
#[derive(Clone, Copy, Debug)]
pub struct ForecastOf<'a> {
    /// The budget's kind of period.
    pub kind: PeriodKind,
    /// The day that is not over yet; its period is forecast.
    pub today: NaiveDate,
    /// What is posted and reserved in the period.
    pub committed: Amount,
    /// The limit of the period, its extensions included; `None`: there is none.
    pub limit: Option<Amount>,
    /// What the budget's scope cost on complete days. A day without cost is there with zero; one that is not there is not
    /// known.
    pub days: &'a BTreeMap<NaiveDate, Amount>,
}

/// What is to be expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Forecast {
    /// Fewer than [`HISTORY_DAYS_MIN`] days are known.
    InsufficientHistory {
        /// How many are.
        days: u32,
    },
    /// The end of the period.
    Known(Outlook),
}

/// What the period will have cost when it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outlook {
    /// Lower end of the range.
    pub low: Amount,
    /// Expected.
    pub expected: Amount,
    /// Upper end of the range.
    pub high: Amount,
    /// The day by whose end the expected sum has reached the limit; `None`: not in this period, or there is no limit.
    pub runs_out_on: Option<NaiveDate>,
    /// Days of the period after today.
    pub days_left: u32,
    /// Days that the run-rate was made of.
    pub days_known: u32,
}

/// Forecasts the end of the period that today lies in. `None`: a sum does not fit (MON-3).
#[must_use]
pub fn forecast(of: &ForecastOf<'_>) -> Option<Forecast> {
    let rates = RunRates::of(of);
    if rates.days < HISTORY_DAYS_MIN {
        return Some(Forecast::InsufficientHistory { days: rates.days });
    }
    let (first, next) = of.kind.days_around(of.today);
    let committed = ratio(of.committed);
    let to_come = rest_of_today(of, first, &rates);
    let mut left: BTreeMap<u32, u32> = BTreeMap::new();
    if to_come.is_positive() {
        count(&mut left, of.today);
    }
    let mut sum = &committed + to_come;
    let reached = |sum: &BigRational| of.limit.is_some_and(|limit| *sum >= ratio(limit));
    let mut runs_out_on = (reached(&committed) || reached(&sum)).then_some(of.today);
    let mut days_left = 0_u32;
    for day in of.today.iter_days().skip(1).take_while(|day| *day < next) {
        sum += rates.on(day);
        count(&mut left, day);
        days_left = days_left.saturating_add(1);
        runs_out_on = runs_out_on.or_else(|| reached(&sum).then_some(day));
    }
    let expected = half_even(&sum)?;
    let half_range = rates.half_range(&left)?;
    let floor = of.committed.min(expected);
    Some(Forecast::Known(Outlook {
        low: expected.checked_sub(half_range)?.max(floor),
        expected,
        high: expected.checked_add(half_range)?,
        runs_out_on,
        days_left,
        days_known: rates.days,
    }))
}

fn ratio(amount: Amount) -> BigRational {
    BigRational::from_integer(BigInt::from(amount.pico()))
}

fn count(left: &mut BTreeMap<u32, u32>, day: NaiveDate) {
    let days = left.entry(number(day.weekday())).or_default();
    *days = days.saturating_add(1);
}

fn number(weekday: Weekday) -> u32 {
    weekday.num_days_from_monday()
}

/// What is missing today to its run-rate; never negative.
fn rest_of_today(of: &ForecastOf<'_>, first: NaiveDate, rates: &RunRates) -> BigRational {
    let before = first.iter_days().take_while(|day| *day < of.today);
    let cost_of = |day: NaiveDate| of.days.get(&day).map_or_else(|| rates.on(day), |cost| ratio(*cost));
    let spent_before = before.map(cost_of).fold(BigRational::zero(), |sum, cost| sum + cost);
    let spent_today = (ratio(of.committed) - spent_before).max(BigRational::zero());
    (rates.on(of.today) - spent_today).max(BigRational::zero())
}

/// How dear a day of each weekday is.
struct RunRates {
    by_weekday: BTreeMap<u32, Rate>,
    all: Rate,
    days: u32,
}

#[derive(Default)]
struct Rate {
    days: u32,
    sum: BigInt,
    squares: BigInt,
}

impl Rate {
    fn add(&mut self, cost: Amount) {
        let cost = BigInt::from(cost.pico());
        self.days = self.days.saturating_add(1);
        self.squares += &cost * &cost;
        self.sum += cost;
    }

    fn mean(&self) -> BigRational {
        BigRational::new(self.sum.clone(), BigInt::from(self.days.max(1)))
    }

    /// The sum of squares about the mean.
    fn spread(&self) -> BigRational {
        BigRational::from_integer(self.squares.clone()) - self.mean() * &self.sum
    }
}

impl RunRates {
    fn of(of: &ForecastOf<'_>) -> Self {
        let first = of.today.checked_sub_days(Days::new(HISTORY_DAYS_MAX)).unwrap_or(NaiveDate::MIN);
        let (mut by_weekday, mut all) = (BTreeMap::<u32, Rate>::new(), Rate::default());
        for (day, cost) in of.days.range(first..of.today) {
            by_weekday.entry(number(day.weekday())).or_default().add(*cost);
            all.add(*cost);
        }
        let days = all.days;
        Self { by_weekday, all, days }
    }

    fn on(&self, day: NaiveDate) -> BigRational {
        self.by_weekday.get(&number(day.weekday())).unwrap_or(&self.all).mean()
    }

    /// Two standard errors of the sum of some days to come, by weekday, rounded up.
    fn half_range(&self, left: &BTreeMap<u32, u32>) -> Option<Amount> {
        let weekdays = u32::try_from(self.by_weekday.len()).ok()?;
        let within = self.days.saturating_sub(weekdays);
        let of_kind = |left: u32, known: u32| {
            let left = BigInt::from(left);
            BigRational::from_integer(left.clone()) + BigRational::new(&left * &left, BigInt::from(known.max(1)))
        };
        let (spread, freedom, weight) = if within >= SPREAD_FREEDOM_MIN {
            let spread = self.by_weekday.values().map(Rate::spread).fold(BigRational::zero(), |sum, one| sum + one);
            let known = |weekday: &u32| self.by_weekday.get(weekday).map_or(self.days, |rate| rate.days);
            let weights = left.iter().map(|(weekday, days)| of_kind(*days, known(weekday)));
            (spread, within, weights.fold(BigRational::zero(), |sum, one| sum + one))
        } else {
            let days = left.values().fold(0_u32, |sum, days| sum.saturating_add(*days));
            (self.all.spread(), self.days.saturating_sub(1), of_kind(days, self.days))
        };
        let variance = spread * weight / BigInt::from(freedom.max(1));
        let squared = (variance * BigInt::from(4)).ceil().to_integer();
        let root = squared.sqrt();
        let root = if &root * &root < squared { root + 1 } else { root };
        root.to_i128().map(Amount::from_pico)
    }
}
