//! What a process remembers of what never changes, so that it is not read again: bounded, and never needed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::NaiveDate;
use recoup_model::Digest;
use recoup_store::{BlockInfo, ResponseUse};

/// Blocks whose numbers are remembered.
const NUMBERED_MAX: usize = 500_000;
/// Blocks of the remembered days.
const LISTED_MAX: usize = 500_000;
/// Uses of provider calls in the remembered blocks.
const USES_MAX: usize = 2_000_000;

/// The numbered blocks of a UTC day and lane.
#[derive(Clone, Debug, Default)]
pub(crate) struct DayList {
    /// In order.
    pub(crate) infos: Vec<BlockInfo>,
    /// The numbers by digest.
    pub(crate) numbers: HashMap<Digest, u64>,
    /// Where an entry begins that is not in it.
    pub(crate) begins_at: u64,
    /// No block up to this number is missing.
    pub(crate) complete_through: u64,
}

/// The memory of a store.
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    numbered: Mutex<BTreeMap<u64, BlockInfo>>,
    lists: Mutex<BTreeMap<(NaiveDate, u16), Arc<DayList>>>,
    days: Mutex<BTreeSet<NaiveDate>>,
    uses: Mutex<Uses>,
}

#[derive(Debug, Default)]
struct Uses {
    of_blocks: HashMap<Digest, Arc<Vec<ResponseUse>>>,
    count: usize,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What a thread that panicked left behind is still true.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Remembered {
    /// The block of a number.
    pub(crate) fn block(&self, seq: u64) -> Option<BlockInfo> {
        locked(&self.numbered).get(&seq).copied()
    }

    /// Remembers numbered blocks.
    pub(crate) fn note_blocks(&self, infos: &[BlockInfo]) {
        let mut numbered = locked(&self.numbered);
        numbered.extend(infos.iter().map(|info| (info.seq, *info)));
        while numbered.len() > NUMBERED_MAX {
            numbered.pop_first();
        }
    }

    /// The list of a day and lane, as far as it is known.
    pub(crate) fn list(&self, place: (NaiveDate, u16)) -> Arc<DayList> {
        locked(&self.lists).get(&place).cloned().unwrap_or_default()
    }

    /// Remembers a list that has grown.
    pub(crate) fn note_list(&self, place: (NaiveDate, u16), list: &Arc<DayList>) {
        let mut lists = locked(&self.lists);
        let known = lists.get(&place).map_or((0, 0), |known| (known.begins_at, known.complete_through));
        if known < (list.begins_at, list.complete_through) {
            lists.insert(place, Arc::clone(list));
        }
        // An empty list takes room too.
        let listed: usize = lists.values().map(|list| list.infos.len().max(1)).sum();
        if listed > LISTED_MAX {
            lists.retain(|kept, _| *kept == place);
        }
    }

    /// Whether it is known that the day has blocks.
    pub(crate) fn has_day(&self, utc_day: NaiveDate) -> bool {
        locked(&self.days).contains(&utc_day)
    }

    /// Remembers days that have blocks.
    pub(crate) fn note_days(&self, utc_days: impl IntoIterator<Item = NaiveDate>) {
        locked(&self.days).extend(utc_days);
    }

    /// The uses of provider calls in a block.
    pub(crate) fn uses(&self, block: &Digest) -> Option<Arc<Vec<ResponseUse>>> {
        locked(&self.uses).of_blocks.get(block).cloned()
    }

    /// Remembers the uses of provider calls in a block.
    pub(crate) fn note_uses(&self, block: Digest, uses: &Arc<Vec<ResponseUse>>) {
        let mut known = locked(&self.uses);
        if known.count.saturating_add(uses.len()) > USES_MAX {
            *known = Uses::default();
        }
        if known.of_blocks.insert(block, Arc::clone(uses)).is_none() {
            // A block without uses takes room too.
            known.count = known.count.saturating_add(uses.len().max(1));
        }
    }
}
