//! What tasks used: of one, of all that ended on a day, of a baseline.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use chrono::{Days, NaiveDate};
use num_bigint::{BigInt, BigUint};
use num_rational::BigRational;
use recoup_model::Id;
use recoup_money::Amount;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{AnomalyError, BASELINE_DAYS};

/// What calls of one model used. What has no model (a tool's fee, machine time) stands under the name of its SKU, without
/// tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelUse {
    /// Calls, retries among them.
    pub calls: u64,
    /// Tokens of all classes.
    pub tokens: u64,
    /// Exact cost.
    pub cost: Amount,
}

impl ModelUse {
    fn add(&mut self, other: &Self) -> Result<(), AnomalyError> {
        self.calls = self.calls.checked_add(other.calls).ok_or(AnomalyError::Overflow("calls"))?;
        self.tokens = self.tokens.checked_add(other.tokens).ok_or(AnomalyError::Overflow("tokens"))?;
        self.cost = self.cost.checked_add(other.cost).ok_or(AnomalyError::Overflow("costs"))?;
        Ok(())
    }
}

/// What one task used. Cost comes with a call: there is no other way to add it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    models: BTreeMap<Id, ModelUse>,
    retries: u64,
}

impl Spent {
    /// Adds a call: the model (or the SKU) by name, its tokens, its cost, and whether it tries an earlier one again.
    ///
    /// # Errors
    /// [`AnomalyError::Overflow`].
    pub fn add_call(&mut self, model: &Id, tokens: u64, cost: Amount, is_retry: bool) -> Result<(), AnomalyError> {
        self.models.entry(Id::clone(model)).or_default().add(&ModelUse { calls: 1, tokens, cost })?;
        self.retries = self.retries.checked_add(u64::from(is_retry)).ok_or(AnomalyError::Overflow("retries"))?;
        Ok(())
    }

    /// Adds several calls of a model, of which `retries` try an earlier one again.
    ///
    /// # Errors
    /// [`AnomalyError::Overflow`].
    pub fn add_calls(&mut self, model: &Id, used: &ModelUse, retries: u64) -> Result<(), AnomalyError> {
        self.models.entry(Id::clone(model)).or_default().add(used)?;
        self.retries = self.retries.checked_add(retries).ok_or(AnomalyError::Overflow("retries"))?;
        Ok(())
    }

    /// What it cost.
    ///
    /// # Errors
    /// [`AnomalyError::Overflow`].
    pub fn cost(&self) -> Result<Amount, AnomalyError> {
        Amount::checked_sum(self.models.values().map(|used| used.cost)).ok_or(AnomalyError::Overflow("costs"))
    }

    /// By model.
    #[must_use]
    pub const fn models(&self) -> &BTreeMap<Id, ModelUse> {
        &self.models
    }

    /// Calls that try an earlier one again. Of calls that all do, the first try lies outside the task: one of them stands
    /// for it.
    fn retries(&self, calls: u64) -> u64 {
        self.retries.min(calls.saturating_sub(1))
    }
}

/// A sum of squares of picounits; JSON has it as decimal text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SumOfSquares(BigUint);

impl SumOfSquares {
    /// A number of 256 bits, by its higher and its lower half.
    #[must_use]
    pub fn of_halves(high: u128, low: u128) -> Self {
        Self((BigUint::from(high) << 128_u32) + BigUint::from(low))
    }

    pub(super) fn to_int(&self) -> BigInt {
        BigInt::from(self.0.clone())
    }
}

impl fmt::Display for SumOfSquares {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

impl FromStr for SumOfSquares {
    type Err = num_bigint::ParseBigIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl Serialize for SumOfSquares {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SumOfSquares {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(|error| serde::de::Error::custom(format!("sum of squares `{text}`: {error}")))
    }
}

/// What the tasks of one (agent, task type) used that ended on one day. Sums of parts of a day are added.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskSums {
    tasks: u64,
    cost: Amount,
    squares: SumOfSquares,
    retries: u64,
    models: BTreeMap<Id, ModelUse>,
}

impl TaskSums {
    /// Those of one task.
    ///
    /// # Errors
    /// [`AnomalyError::Overflow`].
    pub fn of(spent: &Spent) -> Result<Self, AnomalyError> {
        let mut sums = Self::default();
        sums.add(spent)?;
        Ok(sums)
    }

    /// Those of so many tasks that were added up elsewhere: of each its retries are at most all its calls but one, and the
    /// square of its cost is in `squares`. The cost is that of the models.
    ///
    /// # Errors
    /// [`AnomalyError::Overflow`].
    pub fn added_up(
        (tasks, retries): (u64, u64),
        squares: SumOfSquares,
        models: BTreeMap<Id, ModelUse>,
    ) -> Result<Self, AnomalyError> {
        let cost = Amount::checked_sum(models.values().map(|used| used.cost));
        let cost = cost.ok_or(AnomalyError::Overflow("costs"))?;
        Ok(Self { tasks, cost, squares, retries, models })
    }

    /// Adds a task.
    ///
    /// # Errors
    /// [`AnomalyError::Overflow`].
    pub fn add(&mut self, spent: &Spent) -> Result<(), AnomalyError> {
        let cost = spent.cost()?;
        let size = BigUint::from(cost.pico().unsigned_abs());
        let calls = calls_of(&spent.models)?;
        self.merge(&Self {
            tasks: 1,
            cost,
            squares: SumOfSquares(&size * &size),
            retries: spent.retries(calls),
            models: spent.models.clone(),
        })
    }

    /// Adds other tasks.
    ///
    /// # Errors
    /// [`AnomalyError::Overflow`].
    pub fn merge(&mut self, other: &Self) -> Result<(), AnomalyError> {
        self.tasks = self.tasks.checked_add(other.tasks).ok_or(AnomalyError::Overflow("tasks"))?;
        self.cost = self.cost.checked_add(other.cost).ok_or(AnomalyError::Overflow("costs"))?;
        self.retries = self.retries.checked_add(other.retries).ok_or(AnomalyError::Overflow("retries"))?;
        self.squares.0 += &other.squares.0;
        for (model, used) in &other.models {
            self.models.entry(Id::clone(model)).or_default().add(used)?;
        }
        Ok(())
    }

    /// Tasks.
    #[must_use]
    pub const fn tasks(&self) -> u64 {
        self.tasks
    }

    /// Their whole cost.
    #[must_use]
    pub const fn cost(&self) -> Amount {
        self.cost
    }

    /// The sum of the squares of their costs.
    #[must_use]
    pub const fn squares(&self) -> &SumOfSquares {
        &self.squares
    }

    /// By model.
    #[must_use]
    pub const fn models(&self) -> &BTreeMap<Id, ModelUse> {
        &self.models
    }

    pub(super) fn calls(&self) -> Result<u64, AnomalyError> {
        calls_of(&self.models)
    }

    pub(super) const fn retries(&self) -> u64 {
        self.retries
    }

    /// Cost per task in picounits; `None`: no task.
    pub(super) fn mean(&self) -> Option<BigRational> {
        (self.tasks > 0).then(|| BigRational::new(BigInt::from(self.cost.pico()), BigInt::from(self.tasks)))
    }
}

fn calls_of(models: &BTreeMap<Id, ModelUse>) -> Result<u64, AnomalyError> {
    let add = |sum: u64, used: &ModelUse| sum.checked_add(used.calls);
    models.values().try_fold(0, add).ok_or(AnomalyError::Overflow("calls"))
}

/// The complete local days before a day, for one (agent, task type).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Baseline {
    sums: TaskSums,
    daily: BTreeMap<NaiveDate, TaskSums>,
}

impl Baseline {
    /// The baseline of `day`: of `history`, in any order and in parts, what lies in the [`BASELINE_DAYS`] days before it.
    ///
    /// # Errors
    /// [`AnomalyError::Overflow`].
    pub fn before<'a>(
        day: NaiveDate,
        history: impl IntoIterator<Item = (NaiveDate, &'a TaskSums)>,
    ) -> Result<Self, AnomalyError> {
        let first = day.checked_sub_days(Days::new(BASELINE_DAYS)).unwrap_or(NaiveDate::MIN);
        let mut baseline = Self::default();
        for (of, sums) in history {
            if (first..day).contains(&of) && sums.tasks > 0 {
                baseline.sums.merge(sums)?;
                baseline.daily.entry(of).or_default().merge(sums)?;
            }
        }
        Ok(baseline)
    }

    /// All its days.
    #[must_use]
    pub const fn sums(&self) -> &TaskSums {
        &self.sums
    }

    /// Days with a task; at most [`BASELINE_DAYS`].
    #[must_use]
    pub fn days(&self) -> u32 {
        u32::try_from(self.daily.len()).unwrap_or(u32::MAX)
    }

    /// Cost per task of each day that has one.
    pub(super) fn daily_means(&self) -> impl Iterator<Item = BigRational> + '_ {
        self.daily.values().filter_map(TaskSums::mean)
    }
}
