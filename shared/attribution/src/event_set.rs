//! The events that counted, as a manifest hashes them.

use recoup_model::{Digest, Identity};

use crate::facts::EventSet;

/// Identity and content digest of an event.
type Fingerprint = [u8; 48];

/// By how many bits of their traces' fingerprints events lie apart: what lies together is sorted in a processor's cache.
const HEAP_BITS: u32 = 8;

/// Events that counted, in any order.
#[derive(Clone, Debug, Default)]
pub(crate) struct EventPrints {
    /// By the first bits of their traces; none before the first event.
    heaps: Vec<Vec<Fingerprint>>,
    /// Room that a heap is made with.
    room: usize,
}

impl EventPrints {
    /// With room for so many events.
    pub(crate) const fn with_room(events: usize) -> Self {
        // Fingerprints are spread evenly: an eighth more is enough for nearly all.
        let even = events >> HEAP_BITS;
        Self { heaps: Vec::new(), room: even.saturating_add(even >> 3) }
    }

    /// Adds an event.
    pub(crate) fn add(&mut self, identity: Identity, digest: &[u8; 32]) {
        let mut fingerprint = [0; 48];
        let (first, last) = fingerprint.split_at_mut(16);
        first.copy_from_slice(&identity.to_bytes());
        last.copy_from_slice(digest);
        if self.heaps.is_empty() {
            let room = self.room;
            self.heaps.resize_with(1 << HEAP_BITS, || Vec::with_capacity(room));
        }
        let heap = identity.trace.checked_shr(u64::BITS.saturating_sub(HEAP_BITS)).unwrap_or_default();
        if let Some(heap) = usize::try_from(heap).ok().and_then(|heap| self.heaps.get_mut(heap)) {
            heap.push(fingerprint);
        }
    }

    /// How many there are and their digest; none without an event.
    pub(crate) fn finish(mut self) -> Option<EventSet> {
        let count: usize = self.heaps.iter().map(Vec::len).sum();
        if count == 0 {
            return None;
        }
        let sort = |heap: &mut Vec<Fingerprint>| {
            heap.sort_unstable_by(|one, other| order(one).cmp(&order(other)).then_with(|| one.cmp(other)));
        };
        self.heaps.iter_mut().for_each(sort);
        let digest = Digest::of_parts(self.heaps.iter().map(|heap| heap.as_flattened()));
        Some(EventSet { events: u64::try_from(count).unwrap_or(u64::MAX), digest })
    }
}

/// The identity as one number: no two events share it, and comparing it is comparing bytes.
fn order(fingerprint: &Fingerprint) -> u128 {
    fingerprint.first_chunk::<16>().map_or(0, |identity| u128::from_be_bytes(*identity))
}
