//! A log that does what the rollup does with recorded blocks, without budgets: it posts the blocks of each trace, then
//! announces them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use chrono::NaiveDate;
use recoup_store::block::prints::Print;
use recoup_store::live::TRACES_PER_POST_MAX;
use recoup_store::{
    Appended, BlockInfo, BlockName, EventLog, Incoming, Live as _, PostError, ResponseUse, StoreError, StoredBlock,
    TraceChange,
};
use recoup_store_aws::AwsStore;

use crate::rollup::blocks_of;

/// Tries of a post that others get in the way of.
const TRIES_MAX: usize = 200;

/// A log of which each append is rolled up at once.
pub(crate) struct Announced(pub(crate) Arc<AwsStore>);

/// Posts blocks to their traces, and announces them.
pub(crate) async fn roll_up(store: &AwsStore, blocks: Vec<(BlockName, BTreeSet<u64>)>) -> Result<(), StoreError> {
    let mut of_traces: BTreeMap<u64, Vec<BlockName>> = BTreeMap::new();
    for (name, traces) in &blocks {
        traces.iter().for_each(|trace| of_traces.entry(*trace).or_default().push(*name));
    }
    let of_traces: Vec<(u64, Vec<BlockName>)> = of_traces.into_iter().collect();
    for group in of_traces.chunks(TRACES_PER_POST_MAX) {
        post_group(store, group).await?;
    }
    store.arrived(&blocks.iter().map(|(name, _)| *name).collect::<Vec<_>>()).await
}

async fn post_group(store: &AwsStore, group: &[(u64, Vec<BlockName>)]) -> Result<(), StoreError> {
    for _ in 0..TRIES_MAX {
        let traces: Vec<u64> = group.iter().map(|(trace, _)| *trace).collect();
        let states = store.traces(&traces).await?;
        let changes = group.iter().zip(states).map(|((trace, blocks), before)| TraceChange {
            trace: *trace,
            new_blocks: blocks.iter().filter(|block| !before.blocks.contains(block)).copied().collect(),
            posted: before.posted.clone(),
            before,
        });
        let changes: Vec<TraceChange> = changes.filter(|change| !change.new_blocks.is_empty()).collect();
        match store.post(changes).await {
            Err(PostError::Contended) => tokio::task::yield_now().await,
            Err(PostError::Store(error)) => return Err(error),
            Err(PostError::TooLarge(words)) => panic!("{words}"),
            Ok(()) => return Ok(()),
        }
    }
    panic!("{TRIES_MAX} tries were not enough")
}

#[async_trait]
impl EventLog for Announced {
    async fn append(&self, events: Vec<Incoming>) -> Result<Vec<Appended>, StoreError> {
        let blocks = blocks_of(&events, self.0.lanes());
        let outcomes = self.0.append(events).await?;
        roll_up(&self.0, blocks).await?;
        Ok(outcomes)
    }

    async fn number_blocks(&self) -> Result<(), StoreError> {
        self.0.number_blocks().await
    }

    async fn last_seq(&self) -> Result<u64, StoreError> {
        self.0.last_seq().await
    }

    async fn blocks_after(&self, seq: u64, limit: usize) -> Result<Vec<BlockInfo>, StoreError> {
        self.0.blocks_after(seq, limit).await
    }

    async fn blocks_of_day(&self, utc_day: NaiveDate, lane: u16) -> Result<Vec<BlockInfo>, StoreError> {
        self.0.blocks_of_day(utc_day, lane).await
    }

    async fn utc_days(&self) -> Result<Vec<NaiveDate>, StoreError> {
        self.0.utc_days().await
    }

    async fn read(&self, seqs: Vec<u64>) -> Result<Vec<StoredBlock>, StoreError> {
        self.0.read(seqs).await
    }

    async fn prints(&self, seqs: Vec<u64>) -> Result<Vec<Option<Vec<Print>>>, StoreError> {
        self.0.prints(seqs).await
    }

    async fn drop_prints(&self, utc_days: Vec<NaiveDate>) -> Result<(), StoreError> {
        self.0.drop_prints(utc_days).await
    }

    async fn blocks_of_traces(&self, traces: Vec<u64>) -> Result<Vec<(u64, u64)>, StoreError> {
        self.0.blocks_of_traces(traces).await
    }

    async fn traces_beyond(&self, utc_days: Vec<NaiveDate>, lane: u16) -> Result<Vec<(u64, NaiveDate)>, StoreError> {
        self.0.traces_beyond(utc_days, lane).await
    }

    async fn shared_responses(&self, utc_days: Vec<NaiveDate>) -> Result<Vec<ResponseUse>, StoreError> {
        self.0.shared_responses(utc_days).await
    }
}
