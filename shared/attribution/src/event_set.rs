//! The events that counted, as a manifest hashes them.

use std::borrow::Cow;

use recoup_model::{Digest, Identity};

use crate::facts::EventSet;

/// Identity and content digest of an event.
type Fingerprint = [u8; 48];

/// Events that counted, in any order.
#[derive(Clone, Debug, Default)]
pub(crate) struct EventPrints {
    /// In runs of one trace each, which are in order in themselves.
    prints: Vec<Fingerprint>,
    /// The trace of each run, and where it begins. Traces come one after the other, so that there are few runs of one.
    runs: Vec<(u64, usize)>,
    /// The event of the last print.
    last: u64,
}

impl EventPrints {
    /// With room for so many events.
    pub(crate) fn with_room(events: usize) -> Self {
        Self { prints: Vec::with_capacity(events), ..Self::default() }
    }

    /// Adds an event.
    pub(crate) fn add(&mut self, identity: Identity, digest: &[u8; 32]) {
        let mut fingerprint = [0; 48];
        let (first, last) = fingerprint.split_at_mut(16);
        first.copy_from_slice(&identity.to_bytes());
        last.copy_from_slice(digest);
        // Of two prints of one event the contents tell which comes first.
        let goes_on = self.runs.last().is_some_and(|(trace, _)| *trace == identity.trace)
            && (self.last < identity.event || self.prints.last().is_some_and(|before| *before <= fingerprint));
        if !goes_on {
            self.runs.push((identity.trace, self.prints.len()));
        }
        self.last = identity.event;
        self.prints.push(fingerprint);
    }

    /// How many there are and their digest; none without an event.
    pub(crate) fn finish(self) -> Option<EventSet> {
        if self.prints.is_empty() {
            return None;
        }
        let ends = self.runs.iter().skip(1).map(|(_, begin)| *begin).chain([self.prints.len()]);
        let mut runs: Vec<(u64, usize, usize)> =
            self.runs.iter().zip(ends).map(|((trace, begin), end)| (*trace, *begin, end)).collect();
        runs.sort_unstable();
        let parts = runs.chunk_by(|one, other| one.0 == other.0).map(|trace| self.in_order(trace));
        let digest = Digest::of_parts(parts);
        Some(EventSet { events: u64::try_from(self.prints.len()).unwrap_or(u64::MAX), digest })
    }

    /// The prints of one trace's runs as they are hashed.
    fn in_order(&self, runs: &[(u64, usize, usize)]) -> Cow<'_, [u8]> {
        let prints = |(_, begin, end): &(u64, usize, usize)| self.prints.get(*begin..*end).unwrap_or_default();
        match runs {
            [run] => Cow::Borrowed(prints(run).as_flattened()),
            several => {
                let mut all: Vec<Fingerprint> = several.iter().flat_map(prints).copied().collect();
                all.sort_unstable();
                Cow::Owned(all.into_flattened())
            }
        }
    }
}
