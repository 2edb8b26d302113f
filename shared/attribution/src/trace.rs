//! A resolved trace: its spans as a tree, each with its cost and with where that came from.

use std::collections::BTreeSet;

use chrono::NaiveDate;
use recoup_model::{Digest, Event, Finding, Id, Identity, Kind, Rating, UnpricedReason, Usage};
use recoup_money::Amount;

use crate::payer::Payer;
use crate::task::Task;

/// Why a span hangs where it hangs (ATR-1, ATR-3). In the order in which a root is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// It has no parent and is the root.
    Root,
    /// Its parent is not there: it hangs on the root, or is the root until that comes.
    Orphan,
    /// Its parent pointer closed a loop and was cut: it hangs on the root, or is it.
    LoopCut,
    /// It hangs on the parent that it names, or on that one's correction.
    Parent,
    /// It has no parent but is not the root, on which it hangs.
    ExtraRoot,
}

/// Where a span's agent or task type comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagFrom {
    /// Its own tag.
    Own,
    /// The tag of the nearest ancestor that has one: the span at this index.
    Ancestor(usize),
    /// The default tags of the API key that brought it.
    Key,
}

/// What a wrapper reports beyond what was observed below it (EVT-5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unobserved {
    /// The excess by token class.
    pub usage: Usage,
    /// The provider it is priced at.
    pub provider: Option<Id>,
    /// The model it is priced at: the wrapper's, else the only one below it.
    pub model: Option<Id>,
    /// What it costs.
    pub rating: Rating,
}

/// One span of a resolved trace. References to other spans are indices into [`Trace::spans`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The event as it was reported, with its own tags.
    pub event: Event,
    /// Its identity.
    pub identity: Identity,
    /// Its content digest.
    pub digest: Digest,
    /// The local day of `used_at`.
    pub local_day: NaiveDate,
    /// The span that it hangs on; `None`: it is the root.
    pub parent: Option<usize>,
    /// Why it hangs there.
    pub place: Place,
    /// Spans at or below it: these are the next ones in [`Trace::spans`], itself first.
    pub subtree: usize,
    /// Its own agent, else the nearest ancestor's, else its key's default (ATR-1).
    pub agent: Option<Id>,
    /// Where that comes from.
    pub agent_from: Option<TagFrom>,
    /// Its own task type, else the nearest ancestor's, else its key's default (ATR-1).
    pub task_type: Option<Id>,
    /// Where that comes from.
    pub task_type_from: Option<TagFrom>,
    /// Another report of the same provider call is billed instead (EVT-2).
    pub excluded: bool,
    /// Position of the span of this trace that reports the same call and is billed instead (EVT-2).
    pub billed_at: Option<usize>,
    /// The `event_id` of the event that stands for it (EVT-3); its own where nothing supersedes it is `None`.
    pub superseded_by: Option<Id>,
    /// The rating of its own usage, quantity and reported cost; for a wrapper that of its quantity, rounded together with
    /// `unobserved` (MON-1). `Free` where the event does not count.
    pub own: Rating,
    /// What only a wrapper saw (EVT-5).
    pub unobserved: Option<Unobserved>,
    /// What it costs itself: both ratings, as far as they are priced (ATR-2).
    pub exclusive: Amount,
    /// What it and everything below it costs.
    pub inclusive: Amount,
    /// Whether an event at or below it counts.
    pub counted_below: bool,
    /// The pool that bears its cost, where its agent is shared on its local day (ATR-4).
    pub pool: Option<Id>,
    /// The nearest other pool above, where it belongs to a pool (POOL-2).
    pub via: Option<Id>,
    /// Where it starts a frame of its agent (ATR-2): the how-manieth of that agent on the way down, from 1.
    pub frame: Option<u32>,
    /// Whether that frame is an invocation of a shared agent (ATR-4).
    pub invocation: bool,
}

impl Span {
    /// Whether the event bears cost and tokens: it is neither superseded (EVT-3) nor reported twice (EVT-2).
    #[must_use]
    pub const fn counts(&self) -> bool {
        !self.excluded && self.superseded_by.is_none()
    }

    /// Whether it is an `agent` event that carries usage (EVT-5).
    #[must_use]
    pub fn is_wrapper(&self) -> bool {
        self.event.kind == Kind::Agent && self.event.usage.is_some()
    }

    /// The tokens that count here: its own, or what a wrapper alone saw.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        match &self.unobserved {
            _ if !self.counts() => 0,
            Some(unobserved) => unobserved.usage.total(),
            None if self.is_wrapper() => 0,
            None => self.event.usage.map_or(0, |usage| usage.total()),
        }
    }

    /// Why some or all of it has no price (RAT-2); none where it is priced.
    pub fn unpriced(&self) -> impl Iterator<Item = UnpricedReason> + '_ {
        let ratings = std::iter::once(&self.own).chain(self.unobserved.iter().map(|unobserved| &unobserved.rating));
        ratings.filter_map(|rating| match rating {
            Rating::Unpriced(reason) => Some(*reason),
            _ => None,
        })
    }
}

/// Where a second report of a call and the one that is billed come together, where both lie in one trace: from there on up
/// the call was observed once (EVT-2). `spans` are in preorder.
pub(crate) fn meets_at(spans: &[Span], second: usize) -> Option<usize> {
    let above = |at: usize| std::iter::successors(Some(at), |at| spans.get(*at).and_then(|span| span.parent));
    let billed: Vec<usize> = above(spans.get(second)?.billed_at?).collect();
    above(second).find(|at| billed.contains(at))
}

/// A trace put back together. The same events give the same value, in whatever order they were passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// What names it.
    pub trace: Id,
    /// Who pays for every span of it (ATR-1).
    pub payer: Payer,
    /// The index of its root.
    pub root: usize,
    /// Whether that root has no parent; else the trace waits for its root (PRC-0).
    pub root_arrived: bool,
    /// The task that it is, where it is one (PRC-0).
    pub task: Option<Task>,
    /// Its spans in preorder: the root first, a parent before its children, siblings by start and then `event_id`.
    pub spans: Vec<Span>,
    /// What it costs: the sum of the exclusive costs of its spans (ATR-5).
    pub cost: Amount,
    /// What a person should look at, sorted. A subject is `trace/event`.
    pub findings: Vec<Finding>,
    /// The span that each of the findings concerns; a finding belongs to that one's day.
    pub finding_spans: Vec<usize>,
}

impl Trace {
    /// The root.
    #[must_use]
    pub fn root_span(&self) -> Option<&Span> {
        self.spans.get(self.root)
    }

    /// The local days on which it has spans.
    #[must_use]
    pub fn days(&self) -> BTreeSet<NaiveDate> {
        self.spans.iter().map(|span| span.local_day).collect()
    }
}
