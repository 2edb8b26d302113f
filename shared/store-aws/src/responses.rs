//! Which events name the same provider call (EVT-2): read from the blocks, not indexed.
//!
//! Only the days asked for and one day around each are looked at: two reports of one call are made when it ends, by two
//! clocks, so that they lie on the same UTC day or beside midnight. What a block names is remembered.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::NaiveDate;
use recoup_model::Identity;
use recoup_model::digest::response_fingerprint;
use recoup_store::block::BlockError;
use recoup_store::block::columns::{Columns, IdBuffer, read_checked_columns};
use recoup_store::{BlockInfo, BlockName, ResponseUse, StoreError};

use crate::open::AwsStore;

/// Blocks that are read at once; at most 16 MB.
const BLOCKS_PER_READ: usize = 64;

impl AwsStore {
    /// All uses of the provider calls that two or more events name, one of them on these days.
    pub(crate) async fn responses_shared_on(&self, utc_days: Vec<NaiveDate>) -> Result<Vec<ResponseUse>, StoreError> {
        let days: BTreeSet<NaiveDate> = utc_days.into_iter().collect();
        let around = |day: &NaiveDate| [day.pred_opt(), Some(*day), day.succ_opt()];
        let looked_at: BTreeSet<NaiveDate> = days.iter().flat_map(around).flatten().collect();
        let places = looked_at.iter().flat_map(|day| (0..self.lanes).map(|lane| (*day, lane))).collect();
        let lists = self.day_lists(places, self.last_number().await?).await?;
        let blocks: Vec<BlockInfo> = lists.values().flat_map(|list| list.infos.iter().copied()).collect();
        // First only which calls are named again, then by whom: most are named once.
        let mut named: Vec<u64> = Vec::new();
        for part in blocks.chunks(BLOCKS_PER_READ) {
            for (_, uses) in self.uses_of(part).await? {
                named.extend(uses.iter().map(|used| used.response));
            }
        }
        let again = named_again(named);
        if again.is_empty() {
            return Ok(Vec::new());
        }
        let mut found: Vec<(ResponseUse, bool)> = Vec::new();
        for part in blocks.chunks(BLOCKS_PER_READ) {
            for (info, uses) in self.uses_of(part).await? {
                let is_asked = days.contains(&info.utc_day);
                let again = uses.iter().filter(|used| again.binary_search(&used.response).is_ok());
                found.extend(again.map(|used| (*used, is_asked)));
            }
        }
        Ok(shared(found))
    }

    /// The uses of provider calls in blocks.
    async fn uses_of(&self, blocks: &[BlockInfo]) -> Result<Vec<(BlockInfo, Arc<Vec<ResponseUse>>)>, StoreError> {
        let known: Vec<Option<Arc<Vec<ResponseUse>>>> =
            blocks.iter().map(|info| self.remembered.uses(&info.digest)).collect();
        let unknown = blocks.iter().zip(&known).filter(|(_, known)| known.is_none());
        let names: Vec<BlockName> = unknown.map(|(info, _)| info.name()).collect();
        let mut read = names.iter().zip(self.block_bytes(&names).await?);
        let mut found = Vec::with_capacity(blocks.len());
        for (info, known) in blocks.iter().zip(known) {
            let uses = if let Some(known) = known {
                known
            } else {
                let Some((name, bytes)) = read.next() else { continue };
                let uses = read_uses(name, &bytes)?;
                self.remembered.note_uses(name.digest, &uses);
                uses
            };
            found.push((*info, uses));
        }
        Ok(found)
    }
}

fn read_uses(name: &BlockName, bytes: &[u8]) -> Result<Arc<Vec<ResponseUse>>, StoreError> {
    let damaged = |error: BlockError| StoreError::Damaged {
        what: format!("block {} of {}, lane {}", name.digest, name.utc_day, name.lane),
        detail: error.to_string(),
    };
    read_checked_columns(bytes).map(|columns| Arc::new(uses_in(&columns))).map_err(damaged)
}

/// The uses of provider calls, of every event that names one.
fn uses_in(columns: &Columns) -> Vec<ResponseUse> {
    if columns.response_id.is_absent() || columns.provider.is_absent() {
        return Vec::new();
    }
    let mut buffer = IdBuffer::default();
    let use_of = |at: usize| {
        let response = response_fingerprint(columns.provider.get(at)?, columns.response_id.get(at)?);
        let event_id = columns.id(*columns.event_id.get(at)?).as_str(&mut buffer);
        let trace = match columns.trace_id.get(at) {
            Some(trace_id) => Identity::trace_of(trace_id),
            None => Identity::trace_of_lone(event_id),
        };
        Some(ResponseUse { response, identity: Identity::inside(trace, event_id) })
    };
    (0..columns.len).filter_map(use_of).collect()
}

/// The calls that are named more than once, in order.
fn named_again(mut named: Vec<u64>) -> Vec<u64> {
    named.sort_unstable();
    let mut again: Vec<u64> =
        named.iter().zip(named.iter().skip(1)).filter(|(left, right)| left == right).map(|(call, _)| *call).collect();
    again.dedup();
    again
}

/// The uses of calls that two or more events name, one of them on a day that was asked for. An event that is recorded
/// twice is one event.
fn shared(mut uses: Vec<(ResponseUse, bool)>) -> Vec<ResponseUse> {
    uses.sort_unstable();
    let mut found = Vec::new();
    for group in uses.chunk_by(|(left, _), (right, _)| left.response == right.response) {
        let mut events: Vec<ResponseUse> = group.iter().map(|(used, _)| *used).collect();
        events.dedup();
        if events.len() > 1 && group.iter().any(|(_, is_asked)| *is_asked) {
            found.extend(events);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evt_2_a_call_is_shared_by_different_events_only() {
        let used = |response: u64, event: u64| ResponseUse { response, identity: Identity { trace: 1, event } };
        let uses = vec![
            (used(1, 1), true),
            (used(1, 1), true),
            (used(2, 1), false),
            (used(2, 2), false),
            (used(3, 2), false),
            (used(3, 1), true),
            (used(3, 1), false),
        ];
        assert_eq!(shared(uses), [used(3, 1), used(3, 2)]);
        assert_eq!(named_again(vec![3, 1, 3, 2, 3, 1]), [1, 3]);
    }
}
