//! The tree of a regular trace: which rows hang below which, in preorder.
#![expect(clippy::indexing_slicing, reason = "measured hot loop; every index is a place that was counted here")]

use super::{Rated, SpanKey};

/// No span.
pub(super) const NONE: u32 = u32::MAX;
/// Traces of more rows take the careful way: places are counted in 32 bits and parents searched for.
const ROWS_MAX: usize = 100_000;
/// Traces of at most so many rows find a parent by looking at each.
const LINEAR_MAX: usize = 24;

/// A row in the order of start and then id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ranked {
    pub(super) started_at_ns: i64,
    key: SpanKey,
    pub(super) row: u32,
}

/// The trees of one trace after the other, without making room for each anew.
#[derive(Default)]
pub(super) struct Tree {
    /// Rows by rank.
    pub(super) ranked: Vec<Ranked>,
    /// Rank at each position of the preorder.
    pub(super) ranks: Vec<u32>,
    /// Position of the parent, by position.
    pub(super) parents: Vec<u32>,
    /// Spans at or below, by position.
    pub(super) sizes: Vec<u32>,
    positions: Vec<u32>,
    parent_ranks: Vec<u32>,
    first_child: Vec<u32>,
    next_sibling: Vec<u32>,
    by_key: Vec<(SpanKey, u32)>,
    /// Fingerprints of the events of the trace, in order, with their rows.
    pub(super) events: Vec<(u64, u32)>,
    open: Vec<u32>,
}

impl Tree {
    /// Plants the tree of a trace; false where the trace is not regular.
    pub(super) fn plant(&mut self, rows: &[Rated], members: &[u32]) -> bool {
        if members.len() > ROWS_MAX {
            return false;
        }
        self.ranked.clear();
        self.events.clear();
        for row in members {
            let rated = &rows[*row as usize];
            if !rated.regular {
                return false;
            }
            let started_at_ns = rated.row.started_at_ns();
            self.events.push((rated.row.identity.event, *row));
            self.ranked.push(Ranked { started_at_ns, key: rated.row.event, row: *row });
        }
        self.ranked.sort_unstable();
        // Which of several records of an event stands is for the careful way to say.
        self.events.sort_unstable();
        if self.events.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return false;
        }
        // Fingerprints have no order, so that they cannot decide between spans that start together.
        let tied = |pair: &[Ranked]| {
            let unordered = pair[0].key.is_fingerprint || pair[1].key.is_fingerprint;
            pair[0].started_at_ns == pair[1].started_at_ns && unordered
        };
        !self.ranked.windows(2).any(tied) && self.find_parents(rows) && self.in_preorder()
    }

    /// One row without a parent, and a parent that is there for each of the others.
    fn find_parents(&mut self, rows: &[Rated]) -> bool {
        let count = self.ranked.len();
        if count > LINEAR_MAX {
            self.by_key.clear();
            self.by_key.extend((0_u32..).zip(&self.ranked).map(|(rank, ranked)| (ranked.key, rank)));
            self.by_key.sort_unstable();
        }
        self.parent_ranks.clear();
        let mut root = NONE;
        for rank in 0..count {
            let parent = match rows[self.ranked[rank].row as usize].row.parent {
                None if root == NONE => {
                    root = super::number(rank);
                    NONE
                }
                None => return false,
                Some(key) => match self.find(key) {
                    Some(parent) => parent,
                    None => return false,
                },
            };
            self.parent_ranks.push(parent);
        }
        root != NONE
    }

    fn find(&self, key: SpanKey) -> Option<u32> {
        if self.ranked.len() <= LINEAR_MAX {
            return self.ranked.iter().position(|ranked| ranked.key == key).map(super::number);
        }
        let at = self.by_key.binary_search_by_key(&key, |(known, _)| *known).ok()?;
        Some(self.by_key[at].1)
    }

    /// Parents before children, siblings by rank; false where a loop keeps rows from being reached.
    fn in_preorder(&mut self) -> bool {
        let count = self.ranked.len();
        self.first_child.clear();
        self.first_child.resize(count, NONE);
        self.next_sibling.clear();
        self.next_sibling.resize(count, NONE);
        let mut root = NONE;
        for rank in (0..count).rev() {
            let parent = self.parent_ranks[rank];
            if parent == NONE {
                root = super::number(rank);
                continue;
            }
            self.next_sibling[rank] = std::mem::replace(&mut self.first_child[parent as usize], super::number(rank));
        }
        self.ranks.clear();
        self.parents.clear();
        self.positions.clear();
        self.positions.resize(count, NONE);
        self.open.clear();
        self.open.push(root);
        while let Some(rank) = self.open.pop() {
            let at = rank as usize;
            self.positions[at] = super::number(self.ranks.len());
            self.ranks.push(rank);
            let parent = self.parent_ranks[at];
            self.parents.push(if parent == NONE { NONE } else { self.positions[parent as usize] });
            self.open.extend([self.next_sibling[at], self.first_child[at]].into_iter().filter(|next| *next != NONE));
        }
        self.sizes.clear();
        self.sizes.resize(self.ranks.len(), 1);
        for at in (1..self.ranks.len()).rev() {
            let size = self.sizes[at];
            let sum = &mut self.sizes[self.parents[at] as usize];
            *sum = sum.saturating_add(size);
        }
        self.ranks.len() == count
    }
}
