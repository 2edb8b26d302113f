//! Which rows belong together: a trace is ready with its last row, and its rows then make room for others.

use super::sums::Map;
use super::{number, place_of};

/// No row.
const NONE: u32 = u32::MAX;

/// The traces whose rows are to come.
#[derive(Clone, Debug, Default)]
pub(super) struct Traces {
    /// By row in the order in which they come: the place of its trace.
    of_row: Vec<u32>,
    /// By place.
    open: Vec<Open>,
    /// How many rows came.
    came: usize,
    /// By slot: the slot of the next row of its trace.
    links: Vec<u32>,
    /// Slots of the trace that became ready last, in the order in which its rows came.
    ready: Vec<u32>,
}

/// A trace whose rows are not all there.
#[derive(Clone, Copy, Debug)]
struct Open {
    /// Rows that are still to come; of a trace that is not wanted none are waited for.
    missing: u32,
    is_wanted: bool,
    first: u32,
    last: u32,
}

impl Traces {
    /// Plans for rows that come in this order: the trace of each, and whether it makes its trace a wanted one.
    pub(super) fn of(rows: impl Iterator<Item = (u64, bool)>) -> Self {
        let mut traces = Self { of_row: Vec::with_capacity(rows.size_hint().0), ..Self::default() };
        let mut places: Map<u64, u32> = Map::default();
        // Events that arrive together lie together.
        let mut last: Option<(u64, u32)> = None;
        for (trace, wanted) in rows {
            let place = match last {
                Some((last, place)) if last == trace => place,
                _ => {
                    let next = number(traces.open.len());
                    let place = *places.entry(trace).or_insert(next);
                    if place == next {
                        traces.open.push(Open { missing: 0, is_wanted: false, first: NONE, last: NONE });
                    }
                    place
                }
            };
            last = Some((trace, place));
            traces.of_row.push(place);
            if let Some(open) = traces.open.get_mut(place_of(place)) {
                open.missing = open.missing.saturating_add(1);
                open.is_wanted |= wanted;
            }
        }
        for open in traces.open.iter_mut().filter(|open| !open.is_wanted) {
            open.missing = 0;
        }
        traces
    }

    /// Rows that were planned for.
    pub(super) const fn rows(&self) -> usize {
        self.of_row.len()
    }

    /// Whether the next row is of a wanted trace.
    pub(super) fn wants_next(&self) -> bool {
        let place = self.of_row.get(self.came).copied().unwrap_or(NONE);
        self.open.get(place_of(place)).is_some_and(|open| open.is_wanted)
    }

    /// Passes the next row by.
    pub(super) const fn skip(&mut self) {
        self.came = self.came.saturating_add(1);
    }

    /// The next row came and lies in a slot. Gives the slots of its trace if it was the last one; `None` where no row was to
    /// come.
    pub(super) fn push(&mut self, slot: u32) -> Option<&[u32]> {
        let place = *self.of_row.get(self.came)?;
        let open = self.open.get_mut(place_of(place))?;
        self.came = self.came.saturating_add(1);
        open.missing = open.missing.checked_sub(1)?;
        if self.links.len() <= place_of(slot) {
            self.links.resize(place_of(slot).saturating_add(1), NONE);
        }
        *self.links.get_mut(place_of(slot))? = NONE;
        match open.first {
            NONE => open.first = slot,
            _ => *self.links.get_mut(place_of(open.last))? = slot,
        }
        open.last = slot;
        self.ready.clear();
        if open.missing == 0 {
            let mut next = open.first;
            while next != NONE {
                self.ready.push(next);
                next = self.links.get(place_of(next)).copied().unwrap_or(NONE);
            }
        }
        Some(&self.ready)
    }

    /// Whether every row came.
    pub(super) fn is_done(&self) -> bool {
        self.came == self.of_row.len() && self.open.iter().all(|open| open.missing == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_ready_with_its_last_row() {
        let mut traces = Traces::of([(7, false), (8, false), (7, true), (9, true)].into_iter());
        assert!(traces.wants_next());
        assert_eq!(traces.push(0), Some(&[][..]));
        assert!(!traces.wants_next(), "no row of it is wanted");
        traces.skip();
        assert_eq!(traces.push(1), Some(&[0, 1][..]));
        assert!(!traces.is_done());
        assert_eq!(traces.push(0), Some(&[0][..]), "the slot was free again");
        assert!(traces.is_done());
        assert_eq!(traces.push(0), None, "one row too many");
    }

    #[test]
    fn a_row_of_a_trace_that_is_not_wanted_is_one_too_many() {
        let mut traces = Traces::of([(7, false)].into_iter());
        assert_eq!(traces.push(0), None);
    }
}
