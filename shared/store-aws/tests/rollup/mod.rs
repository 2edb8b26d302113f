//! What a rollup takes: the blocks that an append stores.

use std::collections::BTreeSet;

use recoup_store::block::pack::{Packed, pack};
use recoup_store::{BlockName, Incoming};

/// The blocks that an append stores, and the traces in each.
pub(crate) fn blocks_of(events: &[Incoming], lanes: u16) -> Vec<(BlockName, BTreeSet<u64>)> {
    let mut seen = BTreeSet::new();
    let first: Vec<&Incoming> = events.iter().filter(|incoming| seen.insert(incoming.identity)).collect();
    let traces = |packed: &Packed| packed.members.iter().map(|at| first[*at].identity.trace).collect();
    pack(&first, lanes).expect("pack").iter().map(|packed| (packed.name, traces(packed))).collect()
}
