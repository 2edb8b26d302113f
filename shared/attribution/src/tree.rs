//! Root and tree of a trace (ATR-1, ATR-3).
//!
//! What the rules leave open: a correction takes the place of what it corrects, so spans whose parent is superseded
//! hang on the correction, a correction without a `parent_id` hangs where the corrected event would, and a superseded
//! event is never the root (EVT-3).

use crate::corrections::Corrections;
use crate::graph::{cut_loops, find_ends, follow};
use crate::order::Ordered;
use crate::trace::Place;

/// A trace as a tree, in preorder: a parent stands before its children, siblings in order of rank.
pub(crate) struct Tree {
    /// Rank of the span at each position.
    pub(crate) ranks: Vec<usize>,
    /// Position of each rank.
    pub(crate) positions: Vec<usize>,
    /// Parent by position.
    pub(crate) parents: Vec<Option<usize>>,
    /// Spans at or below, by position.
    pub(crate) sizes: Vec<usize>,
    /// Why each span hangs where it hangs, by position.
    pub(crate) places: Vec<Place>,
    /// Spans without a parent that count.
    pub(crate) parentless: usize,
}

impl Tree {
    pub(crate) fn new(events: &Ordered<'_>, corrections: &Corrections) -> Self {
        let (mut parents, mut places) = find_parents(events, corrections);
        for cut in cut_loops(&mut parents) {
            if let Some(place) = places.get_mut(cut) {
                *place = Place::LoopCut;
            }
        }
        let root = find_root(&parents, &places, corrections);
        let counts = |rank: &usize| !corrections.is_superseded(*rank);
        let is_parentless = |(rank, place): (usize, &Place)| (*place == Place::Root).then_some(rank);
        let parentless = places.iter().enumerate().filter_map(is_parentless).filter(counts).count();
        for (rank, parent) in parents.iter_mut().enumerate() {
            if parent.is_none() && rank != root {
                *parent = Some(root);
                if let Some(place) = places.get_mut(rank).filter(|place| **place == Place::Root) {
                    *place = Place::ExtraRoot;
                }
            }
        }
        in_preorder(root, &parents, &places, parentless)
    }

    /// Rank of the root.
    pub(crate) fn root(&self) -> usize {
        self.ranks.first().copied().unwrap_or_default()
    }
}

/// The parent of each span, and what its pointer says.
fn find_parents(events: &Ordered<'_>, corrections: &Corrections) -> (Vec<Option<usize>>, Vec<Place>) {
    let named = |rank: usize| events.get(rank).and_then(|recorded| recorded.event.parent_id.as_ref());
    let standing = |rank: usize| named(rank).and_then(|id| events.find(id)).map(|parent| corrections.current(parent));
    // A correction that names no parent, or a version of itself, hangs where the corrected event would.
    let instead: Vec<Option<usize>> = (0..events.len())
        .map(|rank| {
            let itself = standing(rank) == Some(corrections.current(rank));
            corrections.corrected_by_this(rank).filter(|_| named(rank).is_none() || itself)
        })
        .collect();
    find_ends(&instead)
        .into_iter()
        .map(|giver| match (named(giver), standing(giver)) {
            (None, _) => (None, Place::Root),
            (Some(_), Some(parent)) => (Some(parent), Place::Parent),
            (Some(_), None) => (None, Place::Orphan),
        })
        .unzip()
}

/// The parentless span, else the topmost orphan, else the cut of a loop; of several the one of smallest rank.
fn find_root(parents: &[Option<usize>], places: &[Place], corrections: &Corrections) -> usize {
    let tops = parents.iter().zip(places).enumerate().filter(|(_, (parent, _))| parent.is_none());
    let standing = tops.filter(|(rank, _)| !corrections.is_superseded(*rank));
    let first = standing.min_by_key(|(rank, (_, place))| (**place, *rank));
    first.map(|(rank, _)| rank).unwrap_or_default()
}

fn in_preorder(root: usize, parents: &[Option<usize>], places: &[Place], parentless: usize) -> Tree {
    let mut first_child: Vec<Option<usize>> = vec![None; parents.len()];
    let mut next_sibling: Vec<Option<usize>> = vec![None; parents.len()];
    for (rank, parent) in parents.iter().enumerate().rev() {
        if let Some(slot) = parent.and_then(|parent| first_child.get_mut(parent)) {
            let later = slot.replace(rank);
            if let Some(sibling) = next_sibling.get_mut(rank) {
                *sibling = later;
            }
        }
    }
    let mut ranks = Vec::with_capacity(parents.len());
    let mut positions = vec![0; parents.len()];
    let mut open = vec![root];
    while let Some(rank) = open.pop() {
        if let Some(position) = positions.get_mut(rank) {
            *position = ranks.len();
        }
        ranks.push(rank);
        open.extend(follow(&next_sibling, rank));
        open.extend(follow(&first_child, rank));
    }
    let at = |rank: usize| positions.get(rank).copied().unwrap_or_default();
    let parents: Vec<Option<usize>> = ranks.iter().map(|rank| follow(parents, *rank).map(at)).collect();
    let places = ranks.iter().map(|rank| places.get(*rank).copied().unwrap_or(Place::Root)).collect();
    let sizes = subtree_sizes(&parents);
    Tree { ranks, positions, parents, sizes, places, parentless }
}

fn subtree_sizes(parents: &[Option<usize>]) -> Vec<usize> {
    let mut sizes = vec![1_usize; parents.len()];
    for (at, parent) in parents.iter().enumerate().rev() {
        let size = sizes.get(at).copied().unwrap_or_default();
        if let Some(sum) = parent.and_then(|parent| sizes.get_mut(parent)) {
            *sum = sum.saturating_add(size);
        }
    }
    sizes
}
