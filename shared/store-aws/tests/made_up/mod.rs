//! Blocks that nobody recorded, posted to a trace.

use chrono::NaiveDate;
use recoup_model::Digest;
use recoup_store::{BlockName, Live as _, TraceChange};
use recoup_store_aws::AwsStore;

/// A block that nobody recorded.
pub(crate) fn made_up_block(number: usize) -> BlockName {
    BlockName {
        utc_day: NaiveDate::from_ymd_opt(2026, 10, 1).expect("a day"),
        lane: 0,
        digest: Digest::of(format!("made up {number}").as_bytes()),
        events: 1,
    }
}

/// Posts blocks to one trace.
pub(crate) async fn post_blocks(store: &AwsStore, trace: u64, new_blocks: Vec<BlockName>) {
    let before = store.traces(&[trace]).await.expect("traces").remove(0);
    let change = TraceChange { trace, posted: before.posted.clone(), before, new_blocks };
    store.post(vec![change]).await.expect("post");
}
