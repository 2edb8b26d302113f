//! A process that ends before or after any of its calls: whoever does the same again comes to the same state.
#![expect(clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod emulator;
mod faulty;
mod lost;
mod made_up;
mod rollup;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use aws_sdk_dynamodb::Client;
use faulty::{Faults, NEVER};
use lost::LoseOne;
use recoup_money::Amount;
use recoup_store::conformance::event_log::{event, incoming};
use recoup_store::{
    Appended, BlockName, CounterKey, EventLog as _, Incoming, Live as _, PostError, StoreError, TraceChange, TraceState,
};
use recoup_store_aws::{AwsStore, Settings};

const DAY_NS: i64 = 24 * 3_600 * 1_000_000_000;
/// Blocks that the long trace has before: enough that the next post moves some of them to a page.
const BLOCKS_BEFORE: usize = 20;

/// Tables, and what is in them before anything fails.
struct World {
    client: Client,
    settings: Settings,
    faults: Arc<Faults>,
    faulty: Client,
}

impl World {
    async fn new() -> Self {
        let config = emulator::config().await;
        let client = recoup_store_aws::dynamodb_client(&config);
        let settings = emulator::make_tables(&client).await;
        let (faults, faulty) = Faults::client(&config);
        let world = Self { client, settings, faults, faulty };
        let store = AwsStore::with_client(world.settings.clone(), world.client.clone()).await.expect("open");
        made_up::post_blocks(&store, trace(), (0..BLOCKS_BEFORE).map(made_up::made_up_block).collect()).await;
        store.arrived(&[made_up::made_up_block(0)]).await.expect("arrived");
        world
    }

    /// Everything in both tables, except the names of single puts and when something expires.
    async fn contents(&self) -> BTreeMap<String, String> {
        let mut contents = BTreeMap::new();
        for table in [&self.settings.events_table, &self.settings.books_table] {
            let mut from = None;
            loop {
                let page = self.client.scan().table_name(table).consistent_read(true).set_exclusive_start_key(from);
                let page = page.send().await.expect("scan");
                for mut item in page.items.unwrap_or_default() {
                    item.remove("w");
                    item.remove("x");
                    let key = format!("{:?} {:?}", item["pk"], item["sk"]);
                    let sorted: BTreeMap<_, _> = item.into_iter().map(|(name, value)| (name, shown(value))).collect();
                    contents.insert(key, format!("{sorted:?}"));
                }
                from = page.last_evaluated_key.filter(|key| !key.is_empty());
                if from.is_none() {
                    break;
                }
            }
        }
        contents
    }
}

fn shown(value: aws_sdk_dynamodb::types::AttributeValue) -> String {
    match value {
        aws_sdk_dynamodb::types::AttributeValue::Ns(mut numbers) => {
            numbers.sort_unstable();
            format!("{numbers:?}")
        }
        other => format!("{other:?}"),
    }
}

fn trace() -> u64 {
    recoup_model::Identity::trace_of("long")
}

/// A request of three traces, two of them with events on two days.
fn request() -> Vec<Incoming> {
    let on_day = |trace: &str, id: &str, days: i64| {
        let mut event = event(trace, id, 1);
        event.used_at_ns += days * DAY_NS;
        incoming(event)
    };
    vec![on_day("long", "x", 0), on_day("long", "y", 1), on_day("u", "a", 0), on_day("u", "b", 2), on_day("v", "a", 1)]
}

/// Records, posts, announces and numbers as a process does that knows nothing of those before it.
async fn process(settings: Settings, client: Client) -> Result<(), StoreError> {
    let store =
        AwsStore::with_client(settings, client).await.map_err(|error| StoreError::unavailable("open", error))?;
    for outcome in store.append(request()).await? {
        assert!(matches!(outcome, Appended::Accepted | Appended::Duplicate));
    }
    let blocks = rollup::blocks_of(&request(), store.lanes());
    let mut of_traces: BTreeMap<u64, Vec<BlockName>> = BTreeMap::new();
    for (name, traces) in &blocks {
        traces.iter().for_each(|trace| of_traces.entry(*trace).or_default().push(*name));
    }
    let traces: Vec<u64> = of_traces.keys().copied().collect();
    let states = store.traces(&traces).await?;
    let changes = of_traces.into_iter().zip(states).map(|((trace, names), before)| {
        let new_blocks: Vec<BlockName> = names.into_iter().filter(|name| !before.blocks.contains(name)).collect();
        let amount = Amount::from_pico(i128::from(trace % 1_000) + 1);
        let posted = ["organisation", "team:a"].map(|scope| (counter(scope), amount)).into();
        TraceChange { trace, before, new_blocks, posted }
    });
    let changes: Vec<TraceChange> = changes.filter(|change| !change.new_blocks.is_empty()).collect();
    store.post(changes).await.map_err(|error| match error {
        PostError::Store(error) => error,
        // Only this process runs: nobody can be in the way.
        other => panic!("post: {other}"),
    })?;
    store.arrived(&blocks.iter().map(|(name, _)| *name).collect::<Vec<_>>()).await?;
    store.number_blocks().await
}

fn counter(scope: &str) -> CounterKey {
    CounterKey { scope: scope.into(), period: "2026-10".into() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn bud_1_a_process_that_ends_anywhere_leaves_nothing_to_repair() {
    let undisturbed = World::new().await;
    undisturbed.faults.set(NEVER, NEVER);
    process(undisturbed.settings.clone(), undisturbed.faulty.clone()).await.expect("nothing fails");
    let calls = undisturbed.faults.sent.load(Ordering::SeqCst);
    let expected = undisturbed.contents().await;
    assert!(calls >= 15, "{calls} calls are fewer than the steps");
    assert!(expected.keys().any(|key| key.contains("page#")), "a page was written: {:?}", expected.keys());
    assert!(expected.keys().any(|key| key.contains("@beyond#")));
    assert!(!expected.keys().any(|key| key.contains("@pending")), "nothing waits");

    for at in 0..calls {
        for (before, after) in [(at, NEVER), (NEVER, at)] {
            let world = World::new().await;
            world.faults.set(before, after);
            let ended = process(world.settings.clone(), world.faulty.clone()).await;
            assert!(ended.is_err(), "the process ended at call {at}");
            world.faults.set(NEVER, NEVER);
            process(world.settings.clone(), world.faulty.clone()).await.expect("nothing fails");
            let found = world.contents().await;
            for (key, item) in &expected {
                assert_eq!(found.get(key), Some(item), "call {at}, before {before}: {key}");
            }
            assert_eq!(found.len(), expected.len(), "call {at}, before {before}: {:?}", found.keys());
        }
    }
}

/// A call whose answer was lost is repeated by the SDK: what it did is done once and said to be done.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn evt_2_an_append_whose_answer_was_lost_and_was_repeated_is_accepted() {
    let world = World::new().await;
    let config = emulator::config().await;
    let (lose, client) = LoseOne::client(&config);
    let store = AwsStore::with_client(world.settings.clone(), client).await.expect("open");
    lose.0.store(true, Ordering::SeqCst);
    let outcomes = store.append(vec![incoming(event("once", "a", 1))]).await.expect("append");
    assert!(!lose.0.load(Ordering::SeqCst), "an answer was lost");
    assert_eq!(outcomes, [Appended::Accepted]);
    let again = store.append(vec![incoming(event("once", "a", 1))]).await.expect("append");
    assert_eq!(again, [Appended::Duplicate]);
}

/// The same of a post: it counts once, whatever is said of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn bud_1_a_post_whose_answer_was_lost_and_was_repeated_counts_once() {
    let world = World::new().await;
    let config = emulator::config().await;
    let (lose, client) = LoseOne::client(&config);
    let store = AwsStore::with_client(world.settings.clone(), client).await.expect("open");
    let amount = Amount::from_pico(5);
    let posted = BTreeMap::from([(counter("organisation"), amount)]);
    let new_blocks = vec![made_up::made_up_block(1)];
    let change = TraceChange { trace: 9, before: TraceState::default(), new_blocks, posted };
    lose.0.store(true, Ordering::SeqCst);
    let outcome = store.post(vec![change]).await;
    assert!(!lose.0.load(Ordering::SeqCst), "an answer was lost");
    assert!(matches!(outcome, Ok(()) | Err(PostError::Contended)), "{outcome:?}");
    assert_eq!(store.counters(&[counter("organisation")]).await.expect("counters"), [amount]);
    assert_eq!(store.traces(&[9]).await.expect("traces")[0].version, 1);
}
