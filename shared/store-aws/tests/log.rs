//! The behaviours of the event log and the live state, shown by this adapter on an emulator of AWS.
#![expect(clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod announced;
mod emulator;
mod made_up;
mod rollup;

use std::sync::Arc;

use announced::Announced;
use recoup_store::conformance::event_log::{event, incoming};
use recoup_store::{EventLog, Live};
use recoup_store_aws::AwsStore;

fn open_log() -> ((), Arc<dyn EventLog>) {
    ((), Arc::new(Announced(emulator::block(emulator::open_store()))))
}

mod event_log {
    use super::*;

    recoup_store::event_log_conformance!(open_log);
    recoup_store::event_log_repeats_conformance!(open_log);
}

mod live {
    use super::*;

    fn open_live() -> ((), Arc<dyn Live>) {
        ((), emulator::block(emulator::open_store()))
    }

    recoup_store::live_conformance!(open_live);
}

/// Stores of their own on the same tables, as in several processes: none remembers what the others did.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rat_3_processes_number_blocks_together() {
    const PROCESSES: usize = 16;
    const APPENDS: usize = 4;
    let config = emulator::config().await;
    let settings = emulator::make_tables(&recoup_store_aws::dynamodb_client(&config)).await;
    let open = async || AwsStore::open(settings.clone(), &config).await.expect("open a store");
    let mut running = Vec::new();
    for process in 0..PROCESSES {
        let log = Announced(Arc::new(open().await));
        running.push(tokio::spawn(async move {
            let mut seen = Vec::new();
            for at in 0..APPENDS {
                log.append(vec![incoming(event(&format!("t{process}"), &format!("e{at}"), 1))]).await.expect("append");
                log.number_blocks().await.expect("number_blocks");
                let after = seen.last().map_or(0, |info: &recoup_store::BlockInfo| info.seq);
                seen.extend(log.blocks_after(after, usize::MAX).await.expect("blocks_after"));
            }
            seen
        }));
    }
    let mut seen = Vec::new();
    for task in running {
        seen.push(task.await.expect("a process ends"));
    }
    let log = open().await;
    let all = log.blocks_after(0, usize::MAX).await.expect("blocks_after");
    assert_eq!(all.len(), PROCESSES * APPENDS);
    assert_eq!(all.iter().map(|info| info.seq).collect::<Vec<_>>(), (1..=64).collect::<Vec<_>>());
    for seen in seen {
        assert!(all.starts_with(&seen), "what a process saw step by step is the beginning of all");
    }
    let utc_day = all.first().expect("a block").utc_day;
    assert_eq!(log.blocks_of_day(utc_day, 0).await.expect("blocks_of_day"), all);
    let states = log.traces(&[recoup_model::Identity::trace_of("t3")]).await.expect("traces");
    assert_eq!(states.first().expect("a state").blocks.len(), APPENDS);
}

/// A trace of 50,000 spans in requests of 500, and one whose spans come in 20,000 blocks.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn bud_1_very_long_traces_keep_below_the_size_of_an_item() {
    const REQUESTS: usize = 100;
    const SPANS: usize = 500;
    let store = emulator::open_store().await;
    let log = Announced(Arc::clone(&store));
    for request in 0..REQUESTS {
        let events = (0..SPANS).map(|span| incoming(event("long", &format!("{request} {span}"), 1))).collect();
        log.append(events).await.expect("append");
    }
    log.number_blocks().await.expect("number_blocks");
    let trace = recoup_model::Identity::trace_of("long");
    let blocks = log.blocks_of_traces(vec![trace]).await.expect("blocks_of_traces");
    assert_eq!(blocks.iter().map(|(_, seq)| *seq).collect::<Vec<_>>(), (1..=100).collect::<Vec<_>>());
    let state = store.traces(&[trace]).await.expect("traces").remove(0);
    assert_eq!(state.blocks.iter().map(|block| block.events).sum::<u32>(), 50_000);

    let mut sent = Vec::new();
    while sent.len() < 20_000 {
        let fresh: Vec<_> = (sent.len()..sent.len() + 5_000).map(made_up::made_up_block).collect();
        sent.extend(&fresh);
        made_up::post_blocks(&store, 7, fresh).await;
    }
    for at in 20_000..20_040 {
        sent.push(made_up::made_up_block(at));
        made_up::post_blocks(&store, 7, vec![made_up::made_up_block(at)]).await;
    }
    let state = store.traces(&[7]).await.expect("traces").remove(0);
    assert!(state.blocks == sent, "the blocks come back in order");
}

/// More than an item holds, and a counter whose name is longer than a key: refused in words, and nothing changes.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn bud_1_what_is_too_large_is_refused() {
    let store = emulator::open_store().await;
    let change = |new_blocks, posted| recoup_store::TraceChange {
        trace: 7,
        before: recoup_store::TraceState::default(),
        new_blocks,
        posted,
    };
    let key = |scope: String| recoup_store::CounterKey { scope, period: "2026-10".into() };
    let posted = |scope, pico| [(key(scope), recoup_money::Amount::from_pico(pico))].into();
    for refused in [
        change((0..8_001).map(made_up::made_up_block).collect(), [].into()),
        change(Vec::new(), posted("x".repeat(3_000), 1)),
        change(Vec::new(), posted("team:a".into(), 10_i128.pow(26))),
    ] {
        let outcome = store.post(vec![refused]).await;
        assert!(matches!(outcome, Err(recoup_store::PostError::TooLarge(_))), "{outcome:?}");
    }
    assert_eq!(store.traces(&[7]).await.expect("traces"), [recoup_store::TraceState::default()]);
    let counters = store.counters(&[key("x".repeat(3_000)), key("team:a".into())]).await.expect("counters");
    assert_eq!(counters, [recoup_money::Amount::ZERO; 2]);
}
