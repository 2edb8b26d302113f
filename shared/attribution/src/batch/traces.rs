//! Which rows belong together: traces in order of their first row, since events that arrive together lie together.

use super::sums::Map;
use super::{number, place_of};

/// The traces of a batch.
#[derive(Clone, Debug, Default)]
pub(super) struct Traces {
    places: Map<u64, u32>,
    /// By place: how many rows.
    counts: Vec<u32>,
    /// By row: the place of its trace.
    of_row: Vec<u32>,
    /// The trace of the last row with its place.
    last: Option<(u64, u32)>,
}

/// Rows by trace.
pub(super) struct Grouped {
    rows: Vec<u32>,
    ends: Vec<u32>,
}

impl Traces {
    pub(super) fn reserve(&mut self, rows: usize) {
        self.of_row.reserve(rows);
    }

    /// Adds the next row.
    #[inline]
    pub(super) fn push(&mut self, trace: u64) {
        let place = match self.last {
            Some((last, place)) if last == trace => place,
            _ => {
                let next = number(self.counts.len());
                let place = *self.places.entry(trace).or_insert(next);
                if place == next {
                    self.counts.push(0);
                }
                place
            }
        };
        self.last = Some((trace, place));
        self.of_row.push(place);
        if let Some(count) = self.counts.get_mut(place_of(place)) {
            *count = count.saturating_add(1);
        }
    }

    /// The rows of each trace, in order.
    pub(super) fn group(&self) -> Grouped {
        let mut next = 0_u32;
        let starts = self.counts.iter().map(|count| {
            let start = next;
            next = next.saturating_add(*count);
            start
        });
        // A start moves on with each row of its trace, and is the end when all of them are there.
        let mut ends: Vec<u32> = starts.collect();
        let mut rows = vec![0; self.of_row.len()];
        for (row, place) in (0_u32..).zip(&self.of_row) {
            let Some(end) = ends.get_mut(place_of(*place)) else { continue };
            if let Some(slot) = rows.get_mut(place_of(*end)) {
                *slot = row;
            }
            *end = end.saturating_add(1);
        }
        Grouped { rows, ends }
    }
}

impl Grouped {
    /// The rows of one trace after the other.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[u32]> {
        let mut start = 0;
        self.ends.iter().filter_map(move |end| {
            let end = place_of(*end);
            self.rows.get(std::mem::replace(&mut start, end)..end)
        })
    }
}
