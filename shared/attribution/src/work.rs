//! What tasks used: the sums that a baseline is made of, and the dearest tasks (ANO-1).
//!
//! What the rules leave open: a call is an event that bears usage, a quantity or a cost. It goes by its model, else by its
//! SKU, else by its cost bucket. What only a wrapper saw (EVT-5) is one call. Unlike C of PRC-1 it includes what went into
//! pools: a task that calls a guardrail a thousand times is to be seen.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use recoup_model::Id;
use recoup_money::Amount;

use crate::error::AttributionError;
use crate::sum::{add_amount, add_count};

/// Tasks of one (agent, task type) that are kept one by one: the dearest.
pub const DEAREST_MAX: usize = 64;

/// What tasks are compared by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WorkKey {
    /// The root's agent.
    pub agent: Option<Id>,
    /// The root's task type.
    pub task_type: Id,
}

/// Calls of one model (or SKU, or cost bucket).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// Calls, retries among them.
    pub calls: u64,
    /// Tokens of all classes.
    pub tokens: u64,
    /// Exact cost; of an unpriced call nothing is known.
    pub cost: Amount,
}

impl Calls {
    pub(crate) fn add(&mut self, more: &Self) -> Result<(), AttributionError> {
        add_count(&mut self.calls, more.calls, "work.calls")?;
        add_count(&mut self.tokens, more.tokens, "work.tokens")?;
        add_amount(&mut self.cost, more.cost, "work.cost")
    }
}

/// One task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskWork {
    /// What names its trace.
    pub trace: Id,
    /// Who pays; `None`: unattributed.
    pub team: Option<Id>,
    /// When its root ended, nanoseconds since 1970-01-01T00:00:00Z.
    pub ended_at_ns: i64,
    /// Calls that try an earlier one again, at most all but one.
    pub retries: u64,
    /// By model.
    pub models: BTreeMap<Id, Calls>,
}

/// A sum of squares of picounits, in 256 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Squares {
    /// The higher 128 bits.
    pub high: u128,
    /// The lower ones.
    pub low: u128,
}

impl Squares {
    /// Adds the square of a cost; `None`: the sum does not fit.
    pub(crate) fn add_square_of(&mut self, cost: Amount) -> Option<()> {
        let size = cost.pico().unsigned_abs();
        let (low, high) = size.carrying_mul(size, 0);
        self.add(Self { high, low })
    }

    fn add(&mut self, more: Self) -> Option<()> {
        let (low, carried) = self.low.overflowing_add(more.low);
        let high = self.high.checked_add(more.high)?.checked_add(u128::from(carried))?;
        *self = Self { high, low };
        Some(())
    }
}

/// The dearest tasks: of equally dear ones those with the smaller fingerprint of their trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dearest<T> {
    max: usize,
    kept: BTreeMap<(Amount, Reverse<u64>), T>,
    left_out: Option<Amount>,
}

impl<T> Dearest<T> {
    pub(crate) const fn new(max: usize) -> Self {
        Self { max, kept: BTreeMap::new(), left_out: None }
    }

    /// Takes a task in if it is among the dearest.
    pub(crate) fn offer(&mut self, cost: Amount, trace: u64, task: impl FnOnce() -> T) {
        let key = (cost, Reverse(trace));
        if self.kept.len() >= self.max {
            let cheapest = self.kept.first_key_value().map(|(key, _)| *key);
            if cheapest.is_none_or(|cheapest| key <= cheapest) {
                self.leave_out(cost);
                return;
            }
            if let Some(((cost, _), _)) = self.kept.pop_first() {
                self.leave_out(cost);
            }
        }
        self.kept.insert(key, task());
    }

    fn leave_out(&mut self, cost: Amount) {
        self.left_out = self.left_out.max(Some(cost));
    }

    /// The tasks, the dearest first.
    pub fn tasks(&self) -> impl Iterator<Item = (Amount, &T)> {
        self.kept.iter().rev().map(|((cost, _), task)| (*cost, task))
    }

    /// What the dearest task cost that is not kept; `None`: all are.
    #[must_use]
    pub const fn left_out(&self) -> Option<Amount> {
        self.left_out
    }

    fn merge(&mut self, other: Self) {
        self.max = self.max.max(other.max);
        for ((cost, Reverse(trace)), task) in other.kept {
            self.offer(cost, trace, || task);
        }
        self.left_out = self.left_out.max(other.left_out);
    }

    pub(crate) fn map<U>(self, mut change: impl FnMut(T) -> U) -> Dearest<U> {
        let kept = self.kept.into_iter().map(|(key, task)| (key, change(task))).collect();
        Dearest { max: self.max, kept, left_out: self.left_out }
    }
}

/// What the tasks of one (agent, task type) used that ended on a day, each with all of it, on whatever days its spans lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// Tasks.
    pub tasks: u64,
    /// Sum of their [`TaskWork::retries`].
    pub retries: u64,
    /// The sum of the squares of their costs.
    pub squares: Squares,
    /// By model.
    pub models: BTreeMap<Id, Calls>,
    /// The dearest of them.
    pub dearest: Dearest<TaskWork>,
}

impl Work {
    pub(crate) const fn new(dearest_max: usize) -> Self {
        Self {
            tasks: 0,
            retries: 0,
            squares: Squares { high: 0, low: 0 },
            models: BTreeMap::new(),
            dearest: Dearest::new(dearest_max),
        }
    }

    /// Adds a task.
    pub(crate) fn add(&mut self, fingerprint: u64, task: TaskWork) -> Result<(), AttributionError> {
        let cost = Amount::checked_sum(task.models.values().map(|calls| calls.cost));
        let cost = cost.ok_or(AttributionError::Overflow { field: "work.cost" })?;
        add_count(&mut self.tasks, 1, "work.tasks")?;
        add_count(&mut self.retries, task.retries, "work.retries")?;
        self.squares.add_square_of(cost).ok_or(AttributionError::Overflow { field: "work.squares" })?;
        for (model, calls) in &task.models {
            self.models.entry(Id::clone(model)).or_default().add(calls)?;
        }
        self.dearest.offer(cost, fingerprint, || task);
        Ok(())
    }

    /// Adds other tasks.
    pub(crate) fn merge(&mut self, other: Self) -> Result<(), AttributionError> {
        add_count(&mut self.tasks, other.tasks, "work.tasks")?;
        add_count(&mut self.retries, other.retries, "work.retries")?;
        self.squares.add(other.squares).ok_or(AttributionError::Overflow { field: "work.squares" })?;
        for (model, calls) in other.models {
            self.models.entry(model).or_default().add(&calls)?;
        }
        self.dearest.merge(other.dearest);
        Ok(())
    }
}

/// Retries of a task: of calls that all try an earlier one again one stands for the first try, which lies elsewhere.
pub(crate) const fn bounded_retries(retries: u64, calls: u64) -> u64 {
    let most = calls.saturating_sub(1);
    if retries < most { retries } else { most }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dearest(max: usize, tasks: &[(i128, u64)]) -> Dearest<u64> {
        let mut dearest = Dearest::new(max);
        tasks.iter().for_each(|(cost, trace)| dearest.offer(Amount::from_pico(*cost), *trace, || *trace));
        dearest
    }

    fn traces(dearest: &Dearest<u64>) -> Vec<u64> {
        dearest.tasks().map(|(_, trace)| *trace).collect()
    }

    #[test]
    fn ano_1_the_dearest_are_the_same_in_any_order_and_grouping() {
        let tasks = [(5, 1), (9, 2), (5, 3), (7, 4), (1, 5), (5, 0)];
        let forward = dearest(3, &tasks);
        let backward: Vec<_> = tasks.into_iter().rev().collect();
        assert_eq!(traces(&forward), [2, 4, 0]);
        assert_eq!(forward, dearest(3, &backward));
        assert_eq!(forward.left_out(), Some(Amount::from_pico(5)));
        let mut parts = dearest(3, &tasks[..4]);
        parts.merge(dearest(3, &tasks[4..]));
        assert_eq!(parts, forward);
        assert_eq!(dearest(9, &tasks).left_out(), None);
    }

    #[test]
    fn mon_3_squares_carry_over() {
        let mut squares = Squares { high: 0, low: u128::MAX };
        assert_eq!(squares.add_square_of(Amount::from_pico(-3)), Some(()));
        assert_eq!(squares, Squares { high: 1, low: 8 });
        let mut largest = Squares::default();
        let sums = [(); 5].map(|()| largest.add_square_of(Amount::from_pico(i128::MIN)));
        assert_eq!(sums, [Some(()), Some(()), Some(()), None, None], "(2^127)^2 = 2^254");
    }
}
