//! Corrections inside a trace (EVT-3): which event stands for which.
//!
//! What the rule leaves open: two events that correct the same one both count, because nothing corrects either of them
//! (the finding says so), unless they report one provider call (EVT-2); an event whose `supersedes` names nothing in its trace, or closes a loop, counts as if it
//! named nothing.

use crate::graph::{find_ends, find_loops, follow};
use crate::order::Ordered;

/// Who corrects whom, by rank.
pub(crate) struct Corrections {
    corrects: Vec<Option<usize>>,
    current: Vec<usize>,
    by: Vec<usize>,
    /// Events whose `supersedes` names nothing, or closes a loop.
    pub(crate) unknown: Vec<usize>,
}

impl Corrections {
    pub(crate) fn new(events: &Ordered<'_>) -> Self {
        let named: Vec<Option<usize>> = events
            .iter()
            .map(|(_, recorded)| recorded.event.supersedes.as_ref().and_then(|target| events.find(target)))
            .collect();
        let mut corrects = named.clone();
        for member in find_loops(&named).into_iter().flatten() {
            if let Some(target) = corrects.get_mut(member) {
                *target = None;
            }
        }
        let unknown = events
            .iter()
            .filter(|(rank, recorded)| recorded.event.supersedes.is_some() && follow(&corrects, *rank).is_none())
            .map(|(rank, _)| rank)
            .collect();
        let mut successor: Vec<Option<usize>> = vec![None; events.len()];
        let mut by = vec![0_usize; events.len()];
        for (rank, target) in corrects.iter().enumerate() {
            let Some(target) = *target else { continue };
            if let Some(slot) = successor.get_mut(target) {
                slot.get_or_insert(rank);
            }
            if let Some(count) = by.get_mut(target) {
                *count = count.saturating_add(1);
            }
        }
        let current = find_ends(&successor);
        Self { corrects, current, by, unknown }
    }

    /// The event that this one corrects.
    pub(crate) fn corrected_by_this(&self, rank: usize) -> Option<usize> {
        follow(&self.corrects, rank)
    }

    /// The event that stands for this one: itself unless it is superseded.
    pub(crate) fn current(&self, rank: usize) -> usize {
        self.current.get(rank).copied().unwrap_or(rank)
    }

    pub(crate) fn is_superseded(&self, rank: usize) -> bool {
        self.current(rank) != rank
    }

    /// How many events correct this one.
    pub(crate) fn corrections_of(&self, rank: usize) -> usize {
        self.by.get(rank).copied().unwrap_or_default()
    }
}
