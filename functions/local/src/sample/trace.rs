//! A trace in memory: its root's tags and its spans, parents before children.

use recoup_model::{Kind, Status, Usage};

use super::offers::{Model, Service, Sku};

/// What a span costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cost {
    /// Nothing: a frame.
    Nothing,
    /// Tokens of a model in a service tier (`None`: the standard one).
    Tokens { model: Model, tier: Option<&'static str>, usage: Usage },
    /// Thousandths of a SKU's unit.
    Units { sku: Sku, thousandths: u64 },
    /// The service's own figure, in thousandths of its currency.
    Reported { service: Service, thousandths: u64 },
}

/// A span.
#[derive(Clone, Debug)]
pub(super) struct Span {
    pub(super) id: u64,
    pub(super) parent: Option<u64>,
    pub(super) end_ns: i64,
    pub(super) duration_ms: u64,
    pub(super) kind: Kind,
    pub(super) agent: Option<&'static str>,
    pub(super) status: Option<Status>,
    pub(super) cost: Cost,
    pub(super) response: Option<u64>,
    pub(super) retry_of: Option<u64>,
    /// Whether it is a frame that reports more usage than there is below it.
    pub(super) is_excessive: bool,
}

impl Span {
    /// Model and usage, where it has any.
    pub(super) const fn tokens(&self) -> Option<(Model, Usage)> {
        match self.cost {
            Cost::Tokens { model, usage, .. } => Some((model, usage)),
            _ => None,
        }
    }

    /// Whether it is a frame that reports usage (EVT-5).
    pub(super) fn is_wrapper(&self) -> bool {
        self.kind == Kind::Agent && self.tokens().is_some()
    }
}

/// A task's type, what its number is counted in, and the number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Task {
    pub(super) task_type: &'static str,
    pub(super) ticket: &'static str,
    pub(super) number: u64,
}

/// What stands on the root alone.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Root {
    pub(super) team: Option<&'static str>,
    pub(super) user: Option<&'static str>,
    pub(super) project: Option<&'static str>,
    pub(super) campaign: Option<&'static str>,
    pub(super) task: Option<Task>,
    pub(super) is_critical: bool,
    pub(super) status: Option<Status>,
}

/// A trace; the first span is the root.
#[derive(Clone, Debug)]
pub(super) struct Trace {
    /// `None`: an event without a trace.
    pub(super) id: Option<(u64, u64)>,
    pub(super) root: Root,
    pub(super) spans: Vec<Span>,
}

impl Trace {
    /// When the first of its spans starts and the last one ends.
    pub(super) fn bounds_ns(&self) -> (i64, i64) {
        let start = |span: &Span| {
            span.end_ns.saturating_sub(i64::try_from(span.duration_ms).unwrap_or(i64::MAX).saturating_mul(1_000_000))
        };
        let begin = self.spans.iter().map(start).min().unwrap_or_default();
        (begin, self.spans.iter().map(|span| span.end_ns).max().unwrap_or_default())
    }
}
