//! Where a source's rows go: into slots, and out of them as soon as a trace is complete.

use std::collections::BTreeSet;

use recoup_model::{Id, Identity, Recorded};

use super::day::Night;
use super::traces::Traces;
use super::{Batch, Consumption, Row, place_of};
use crate::error::AttributionError;
use crate::facts::DayFacts;
use crate::resolve::{Context, resolve};
use crate::settlement::SettlementFacts;

/// Where the events behind the rows are. A row has a number that the source gives it.
pub trait Source: Sized {
    /// The trace of each row and when it was used, in the order in which [`Source::fill`] gives them.
    fn traces(&self) -> impl Iterator<Item = (u64, i64)>;
    /// Gives every row once, in order: by [`Feed::push`], [`Feed::push_recorded`] or, where [`Feed::wants_next`] denies it,
    /// [`Feed::skip`].
    ///
    /// # Errors
    /// Those of [`Feed::push`].
    fn fill(&self, feed: &mut Feed<'_, Self>) -> Result<(), AttributionError>;
    /// The event as it is recorded; `None` for a row that is not there.
    fn recorded(&self, row: u64) -> Option<Recorded>;
    /// The content digest of a row.
    fn digest(&self, row: u64) -> Option<[u8; 32]>;
    /// What names its trace.
    fn trace_name(&self, row: u64) -> Option<Id>;
}

/// Takes rows and adds up what their traces come to.
pub struct Feed<'a, S> {
    batch: Batch<'a>,
    traces: Traces,
    night: Night<'a>,
    excluded: (&'a BTreeSet<Identity>, BTreeSet<u64>),
    context: &'a Context<'a>,
    source: &'a S,
}

impl<'a, S: Source> Feed<'a, S> {
    pub(super) fn new(
        mut night: Night<'a>,
        batch: Batch<'a>,
        excluded: &'a BTreeSet<Identity>,
        context: &'a Context<'a>,
        source: &'a S,
    ) -> Self {
        let traces = Traces::of(source.traces().map(|(trace, used_at_ns)| (trace, night.is_today(used_at_ns))));
        night.make_room(traces.rows());
        let of_traces = excluded.iter().map(|identity| identity.trace).collect();
        Self { batch, traces, night, excluded: (excluded, of_traces), context, source }
    }

    /// The tables that rows are made with.
    pub const fn batch(&mut self) -> &mut Batch<'a> {
        &mut self.batch
    }

    /// Whether the next row is of a trace that touches the day.
    #[must_use]
    pub fn wants_next(&self) -> bool {
        self.traces.wants_next()
    }

    /// Passes the next row by.
    pub const fn skip(&mut self) {
        self.traces.skip();
    }

    /// Adds the next row under its number; with the last one of a trace what the trace comes to.
    ///
    /// # Errors
    /// [`AttributionError::RowsDiffer`] for a row that is not the next one; else what is wrong with its trace.
    pub fn push(&mut self, number: u64, row: Row, used: &Consumption<'_>) -> Result<(), AttributionError> {
        let slot = self.batch.put((number, row), used);
        self.placed(slot)
    }

    /// Adds the next row, which was read in full.
    ///
    /// # Errors
    /// As [`Feed::push`].
    pub fn push_recorded(&mut self, number: u64, recorded: &Recorded) -> Result<(), AttributionError> {
        let slot = self.batch.put_recorded(number, recorded);
        self.placed(slot)
    }

    fn placed(&mut self, slot: u32) -> Result<(), AttributionError> {
        let members = self.traces.push(slot).ok_or(AttributionError::RowsDiffer)?;
        if members.is_empty() {
            return Ok(());
        }
        let (excluded, of_traces) = &self.excluded;
        let is_excluded = || {
            let first = members.first().and_then(|slot| self.batch.rows.get(place_of(*slot)));
            first.is_some_and(|rated| of_traces.contains(&rated.row.identity.trace))
        };
        let may_be_regular = of_traces.is_empty() || !is_excluded();
        if !(may_be_regular && self.night.add_regular(&mut self.batch, members, self.source)?) {
            let numbers = members.iter().filter_map(|slot| self.batch.rows.get(place_of(*slot))).map(|row| row.number);
            let events = numbers.map(|number| self.source.recorded(number).ok_or(AttributionError::RowsDiffer));
            let events: Vec<Recorded> = events.collect::<Result<_, _>>()?;
            self.night.add_resolved(&resolve(&events, excluded, self.context)?, self.context)?;
        }
        self.batch.free.extend_from_slice(members);
        Ok(())
    }

    fn ended(&self) -> Result<(), AttributionError> {
        if self.traces.is_done() { Ok(()) } else { Err(AttributionError::RowsDiffer) }
    }

    pub(super) fn finish(self) -> Result<DayFacts, AttributionError> {
        self.ended()?;
        self.night.finish(&self.batch, self.context, self.source)
    }

    pub(super) fn settle(self) -> Result<SettlementFacts, AttributionError> {
        self.ended()?;
        self.night.settle(&self.batch, self.context)
    }
}
