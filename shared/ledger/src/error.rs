//! What can go wrong while a period is settled.

use chrono::NaiveDate;
use recoup_model::{Id, Period};
use recoup_money::Amount;
use recoup_pricing::internal::PriceError;

/// Why a period cannot be settled.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// A sum or product does not fit (MON-3).
    #[error("{what} overflows; look for an event or a recurring bill with an absurd quantity or amount")]
    Overflow {
        /// Which figure.
        what: &'static str,
    },
    /// The last night lies outside the period.
    #[error("`through` is {through}, which is no day of {period}; name the last day of the period that has a night")]
    ThroughOutside {
        /// The day.
        through: NaiveDate,
        /// The period.
        period: Period,
    },
    /// Pools serve each other only, so that nobody can bear their cost (POOL-2).
    #[error(
        "the pools {} serve only each other; give one of them a basis that reaches a team, or another method",
        .pools.join(", ")
    )]
    ClosedPools {
        /// Their ids, in order.
        pools: Vec<String>,
    },
    /// Cost went to a pool that no organisation version of the period declares.
    #[error("pool `{pool}` has cost but no organisation version of the period declares it; add it to `[[pools]]`")]
    UnknownPool {
        /// The pool.
        pool: Id,
    },
    /// A pool's cost is below zero.
    #[error("pool `{pool}` has the negative cost {cost}; a credit belongs into an invoice, not into `[[recurring]]`")]
    NegativePool {
        /// The pool.
        pool: Id,
        /// Its cost.
        cost: Amount,
    },
    /// The price engine refused a day.
    #[error("could not compute the {model} price of `{agent}` for `{task_type}` on {day}")]
    Price {
        /// `task` or `time`.
        model: &'static str,
        /// The agent.
        agent: Id,
        /// The task type.
        task_type: Id,
        /// The local day.
        day: NaiveDate,
        /// Why.
        source: PriceError,
    },
    /// Whoever takes the parts of a settlement left one out.
    #[error("a part of the settlement was not taken; a thread of it must have failed, so run it again")]
    PartNotDone,
    /// A price state cannot be written as JSON.
    #[error("could not write the inputs of a price")]
    Inputs(#[from] serde_json::Error),
}

/// A figure with its name, or the overflow of that figure.
pub(crate) fn fits<T>(value: Option<T>, what: &'static str) -> Result<T, LedgerError> {
    value.ok_or(LedgerError::Overflow { what })
}
