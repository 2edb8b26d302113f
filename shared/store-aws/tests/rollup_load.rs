//! The rollup with much at once: a thousand traces of one request, many processes at one counter, a trace of fifty thousand
//! spans; sums are exact.
//!
//! What the long trace costs is printed: `cargo nextest run -p recoup-store-aws --test rollup_load --no-capture`.
#![expect(clippy::indexing_slicing, reason = "tests")]

mod arriving;
mod billed;
mod emulator;
mod stage;

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use billed::Billed;
use recoup_money::Amount;
use recoup_store::{Balance, CounterKey, Leases as _, Live as _};
use recoup_store_aws::{AwsStore, Settings};
use recoup_workflows::App;
use recoup_workflows::rollup::ArrivedBlock;
use serde_json::{Value, json};
use stage::SetClock;
use tokio::task::JoinSet;

const ORGANISATION: &str = r#"
[organisation]
name = "Load"
currency = "USD"
time_zone = "Europe/Berlin"
[[teams]]
id = "support"
[[agents]]
id = "triage"
owner = "support"
[[budgets]]
scope = "organisation"
limit = "1000000"
[[budgets]]
scope = "team:support"
limit = "1000000"
[[budgets]]
scope = "agent:triage"
limit = "1000000"
"#;
/// What an event costs.
const COST: &str = "0.001";
/// Traces of one request.
const TRACES: usize = 1_000;
/// Processes that roll up at the same time.
const PROCESSES: usize = 16;
/// Traces of each one's block: more than one transaction takes.
const TRACES_EACH: usize = 80;
/// How long a call may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// Spans of one request of the long trace.
const BATCH: usize = 500;

struct Deployment {
    client: Client,
    settings: Settings,
    clock: Arc<SetClock>,
}

impl Deployment {
    async fn new() -> Self {
        // An emulator takes its time for sixteen at once; what is tested is not how long.
        let patient = TimeoutConfig::builder().operation_attempt_timeout(PATIENCE).operation_timeout(PATIENCE).build();
        let config = emulator::config().await.into_builder().timeout_config(patient).build();
        let client = recoup_store_aws::dynamodb_client(&config);
        let settings = emulator::make_tables(&client).await;
        let deployment = Self { client, settings, clock: SetClock::new() };
        let (app, _) = deployment.process(&deployment.client).await;
        app.apply_organisation(ORGANISATION, None, false).await.expect("apply");
        deployment
    }

    async fn process(&self, client: &Client) -> (Arc<App>, Arc<AwsStore>) {
        let store = Arc::new(AwsStore::with_client(self.settings.clone(), client.clone()).await.expect("open"));
        (stage::app(&store, &self.clock, None).await, store)
    }

    /// Records a request; its block.
    async fn record(&self, app: &App, events: Vec<Value>, known: &mut Vec<ArrivedBlock>) -> ArrivedBlock {
        arriving::send(app, &self.clock, events).await;
        let blocks = arriving::blocks(&self.client, &self.settings.events_table).await;
        let fresh = blocks.into_iter().filter(|block| known.iter().all(|old| old.name != block.name));
        let [fresh] = <[ArrivedBlock; 1]>::try_from(fresh.collect::<Vec<_>>()).expect("a block for a request");
        known.push(fresh.clone());
        fresh
    }

    /// So many events are counted at each scope, and nothing is reserved.
    async fn counts(&self, store: &AwsStore, events: usize) {
        let scopes = ["organisation", "team:support", "agent:triage"];
        let keys = scopes.map(|scope| CounterKey { scope: scope.into(), period: "2026-11".into() });
        let posted = COST.parse::<Amount>().expect("an amount");
        let posted = posted.checked_mul(i128::try_from(events).expect("small")).expect("fits");
        let expected = Balance { posted, reserved: Amount::ZERO };
        assert_eq!(store.balances(&keys).await.expect("balances"), [expected; 3], "{events} events");
    }
}

fn span(trace: &str, number: usize) -> Value {
    let parent = (number > 0).then(|| format!("s{}", (number - 1) / 2));
    let team = (number == 0).then_some("support");
    json!({
        "trace_id": trace, "event_id": format!("s{number}"), "parent_id": parent, "used_at": "2026-11-10T07:30:00Z",
        "kind": "tool", "cost": { "amount": COST, "currency": "USD" }, "tags": { "team": team, "agent": "triage" },
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn bud_1_a_thousand_traces_of_one_request_are_counted_exactly() {
    let deployment = Deployment::new().await;
    let (app, store) = deployment.process(&deployment.client).await;
    let events = (0..TRACES).flat_map(|trace| [0, 1].map(|number| span(&format!("t{trace}"), number))).collect();
    let block = deployment.record(&app, events, &mut Vec::new()).await;
    let outcome = app.rollup(vec![block.clone()]).await.expect("rollup");
    assert_eq!((outcome.blocks, outcome.posted_traces), (1, TRACES));
    assert!(outcome.failed_traces.is_empty() && outcome.unreadable.is_empty());
    deployment.counts(&store, 2 * TRACES).await;
    let again = deployment.process(&deployment.client).await.0.rollup(vec![block]).await.expect("rollup again");
    assert_eq!(again.posted_traces, 0);
    deployment.counts(&store, 2 * TRACES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn bud_1_sixteen_processes_at_one_counter_count_exactly() {
    let deployment = Arc::new(Deployment::new().await);
    let (app, store) = deployment.process(&deployment.client).await;
    // One of the emulators copies all its tables with each transaction.
    let traces = if emulator::emulator() == "moto" { TRACES_EACH / 8 } else { TRACES_EACH };
    let mut blocks = Vec::new();
    for process in 0..PROCESSES {
        let events = (0..traces).map(|trace| span(&format!("p{process} t{trace}"), 0)).collect();
        deployment.record(&app, events, &mut blocks).await;
    }
    // One after the other another block, and at the same time the block of the one before: who comes second changes nothing.
    let mut running = JoinSet::new();
    for process in 0..PROCESSES {
        let (app, _) = deployment.process(&deployment.client).await;
        let own = vec![blocks[process].clone(), blocks[(process + PROCESSES - 1) % PROCESSES].clone()];
        running.spawn(async move { app.rollup(own).await.map(|outcome| outcome.posted_traces) });
    }
    let mut posted = 0;
    while let Some(done) = running.join_next().await {
        posted += done.expect("it ends").expect("rollup");
    }
    assert_eq!(posted, PROCESSES * traces, "each trace is posted once");
    deployment.counts(&store, PROCESSES * traces).await;
    app.rollup(blocks).await.expect("rollup");
    deployment.counts(&store, PROCESSES * traces).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn bud_1_a_trace_of_fifty_thousand_spans_is_counted_exactly_at_three_scopes() {
    let is_slow = emulator::emulator() == "moto";
    let spans = if is_slow { 5_000 } else { 50_000 };
    let deployment = Deployment::new().await;
    let (billed, client) = Billed::client(&emulator::config().await);
    let (app, store) = deployment.process(&client).await;
    let (sender, _) = deployment.process(&deployment.client).await;
    let started = std::time::Instant::now();
    let mut blocks = Vec::new();
    // What the last batch cost, read and written.
    let mut last = (0, 0);
    for first in (0..spans).step_by(BATCH) {
        let events = (first..first + BATCH).map(|number| span("long", number)).collect();
        let block = deployment.record(&sender, events, &mut blocks).await;
        let before = (billed.units(), store.meter().usage().written_halves);
        let outcome = app.rollup(vec![block]).await.expect("rollup");
        last = (billed.units() - before.0, (store.meter().usage().written_halves - before.1) / 2);
        assert_eq!((outcome.posted_traces, outcome.failed_traces.len()), (1, 0));
        if first / BATCH % 10 == 9 {
            deployment.counts(&store, first + BATCH).await;
        }
    }
    let usage = store.meter().usage();
    let state = store.traces(&[recoup_model::Identity::trace_of("long")]).await.expect("traces").remove(0);
    assert_eq!((state.blocks.len(), state.posted.len()), (spans / BATCH, 3));
    let written = usage.written_halves / 2;
    println!(
        "{spans} spans in batches of {BATCH}, budgets at 3 scopes: {} read units as AWS bills them ({} as the emulator counts), \
         {written} written; of the last batch {} read, {} written; {:.1} s",
        billed.units(),
        usage.read_halves / 2,
        last.0,
        last.1,
        started.elapsed().as_secs_f64()
    );
    deployment.counts(&store, spans).await;
    if !is_slow {
        // Every earlier block is read again with each batch: a hundred of them at the end.
        assert!(last.0 <= 150 && billed.units() <= 7_500, "{last:?}");
        assert!(last.1 <= 15 && written <= 1_200, "{last:?}");
    }
}
