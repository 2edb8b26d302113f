//! Why a trace or a day cannot be put together.

use chrono::NaiveDate;

/// Why a trace or a day cannot be put together. None of these comes from what a client sent through the door: they
/// are sums beyond 128 bits and broken promises of the caller or the rater.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttributionError {
    /// A sum does not fit (MON-3).
    #[error("the sum of `{field}` does not fit; look for an absurd amount or count among the events")]
    Overflow {
        /// Which sum.
        field: &'static str,
    },
    /// No event was passed.
    #[error("`events` is empty; a trace has at least one event")]
    NoEvents,
    /// A source gave other rows than it had said.
    #[error("the source of the batch gave other rows than it had said; give every row once, in order")]
    RowsDiffer,
    /// Events of several traces were passed as one.
    #[error("`events` holds events of the traces `{0}` and `{1}`; pass one trace at a time")]
    SeveralTraces(String, String),
    /// The rater's parts differ from its cost.
    #[error("the parts of the rating of event `{0}` do not sum to its cost; correct the rater")]
    PartsDiffer(String),
    /// Facts of two days were to be merged.
    #[error("`day` is {0} on one side and {1} on the other; merge facts of one day only")]
    OtherDay(NaiveDate, NaiveDate),
}
