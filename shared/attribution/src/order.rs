//! The events of one trace in the one order that everything is decided by: earliest start, then smallest `event_id`.

use recoup_model::Recorded;

use crate::error::AttributionError;
use crate::first::{Records, repeated};

/// The events of one trace in order. An index into it is a rank: the smaller one wins every tie (ATR-1, ATR-3).
/// Of an event that was recorded several times it has the record that stands (EVT-2).
pub(crate) struct Ordered<'e> {
    events: Vec<&'e Recorded>,
    by_id: Vec<(&'e str, usize)>,
    disputed: Vec<&'e str>,
}

impl<'e> Ordered<'e> {
    pub(crate) fn new(events: &'e [Recorded]) -> Result<Self, AttributionError> {
        let mut ordered = Self::of(events.iter().collect(), Vec::new());
        // Most traces have each event once, and need no more than this look.
        if ordered.by_id.windows(2).any(|pair| matches!(pair, [one, other] if one.0 == other.0))
            && let Some(Records { standing, disputed }) = repeated(events)
        {
            let at = |places: Vec<usize>| places.into_iter().filter_map(|at| events.get(at)).collect::<Vec<_>>();
            let disputed = at(disputed).into_iter().map(|recorded| &*recorded.event.event_id).collect();
            ordered = Self::of(at(standing), disputed);
        }
        let first = ordered.get(0).ok_or(AttributionError::NoEvents)?;
        for (_, other) in ordered.iter().skip(1) {
            if other.event.trace_id != first.event.trace_id || other.event.trace_id.is_none() {
                let names = (first.event.trace_name().to_string(), other.event.trace_name().to_string());
                return Err(AttributionError::SeveralTraces(names.0, names.1));
            }
        }
        Ok(ordered)
    }

    fn of(mut events: Vec<&'e Recorded>, disputed: Vec<&'e str>) -> Self {
        events.sort_unstable_by(|a, b| {
            let starts = a.event.started_at_ns().cmp(&b.event.started_at_ns());
            starts.then_with(|| a.event.event_id.cmp(&b.event.event_id))
        });
        let ids = events.iter().map(|recorded| &*recorded.event.event_id);
        let mut by_id: Vec<(&str, usize)> = ids.zip(0_usize..).collect();
        by_id.sort_unstable();
        Self { events, by_id, disputed }
    }

    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }

    pub(crate) fn get(&self, rank: usize) -> Option<&'e Recorded> {
        self.events.get(rank).copied()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &'e Recorded)> + '_ {
        self.events.iter().copied().enumerate()
    }

    /// The ranks of the events that were recorded with other content too.
    pub(crate) fn disputed(&self) -> impl Iterator<Item = usize> + '_ {
        self.disputed.iter().filter_map(|event_id| self.find(event_id))
    }

    /// The rank of the event with that id.
    pub(crate) fn find(&self, event_id: &str) -> Option<usize> {
        let at = self.by_id.binary_search_by(|(id, _)| (*id).cmp(event_id)).ok()?;
        self.by_id.get(at).map(|(_, rank)| *rank)
    }
}
