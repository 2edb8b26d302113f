//! The events of one trace in the one order that everything is decided by: earliest start, then smallest `event_id`.

use recoup_model::Recorded;

use crate::error::AttributionError;

/// The events of one trace in order. An index into it is a rank: the smaller one wins every tie (ATR-1, ATR-3).
pub(crate) struct Ordered<'e> {
    events: Vec<&'e Recorded>,
    by_id: Vec<(&'e str, usize)>,
}

impl<'e> Ordered<'e> {
    pub(crate) fn new(events: &'e [Recorded]) -> Result<Self, AttributionError> {
        let first = events.first().ok_or(AttributionError::NoEvents)?;
        for other in events.iter().skip(1) {
            if other.event.trace_id != first.event.trace_id || other.event.trace_id.is_none() {
                let names = (first.event.trace_name().to_string(), other.event.trace_name().to_string());
                return Err(AttributionError::SeveralTraces(names.0, names.1));
            }
        }
        let mut ordered: Vec<&Recorded> = events.iter().collect();
        ordered.sort_unstable_by(|a, b| {
            let starts = a.event.started_at_ns().cmp(&b.event.started_at_ns());
            starts.then_with(|| a.event.event_id.cmp(&b.event.event_id))
        });
        let mut by_id: Vec<(&str, usize)> =
            ordered.iter().enumerate().map(|(rank, recorded)| (&*recorded.event.event_id, rank)).collect();
        by_id.sort_unstable();
        for (one, other) in by_id.iter().zip(by_id.iter().skip(1)) {
            if one.0 == other.0 {
                return Err(AttributionError::DuplicateEvent(one.0.to_owned()));
            }
        }
        Ok(Self { events: ordered, by_id })
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

    /// The rank of the event with that id.
    pub(crate) fn find(&self, event_id: &str) -> Option<usize> {
        let at = self.by_id.binary_search_by(|(id, _)| (*id).cmp(event_id)).ok()?;
        self.by_id.get(at).map(|(_, rank)| *rank)
    }
}
