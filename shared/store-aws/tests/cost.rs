//! What recording and rolling up costs: write units as the emulator counts them (W1), read units as AWS bills them.
//!
//! The figures are printed: `cargo nextest run -p recoup-store-aws --test cost --no-capture`.
#![expect(clippy::indexing_slicing, reason = "tests")]

mod billed;
mod emulator;
mod rollup;
mod stage;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use billed::Billed;
use recoup_model::digest::content_digest;
use recoup_model::{Digest, Event, Id, Identity, Kind, Origin, Recorded, Status, Tags, TokenClass, Usage};
use recoup_money::Amount;
use recoup_store::block::pack::pack;
use recoup_store::live::TRACES_PER_POST_MAX;
use recoup_store::{BlockName, CounterKey, EventLog as _, Incoming, Live as _, TraceChange, TraceState};
use recoup_store_aws::AwsStore;
use recoup_workflows::App;
use recoup_workflows::rollup::ArrivedBlock;

/// 2026-10-01T00:00:00Z.
const OCTOBER_NS: i64 = 1_790_812_800_000_000_000;
const DAY_NS: i64 = 24 * 3_600 * 1_000_000_000;
/// Spans of a trace.
const SPANS: usize = 10;
const TEAMS: [&str; 4] = ["support", "marketing", "platform", "sales"];
const AGENTS: [&str; 4] = ["triage", "resolver", "guardrail", "writer"];

/// Write units, in thousandths, of one event.
type Milli = u64;

/// What one size of request costs for one event.
#[derive(Clone, Copy, Debug)]
struct Cost {
    request: usize,
    log: Milli,
    traces: Milli,
    counters: Milli,
    numbering: Milli,
}

fn hex(text: &str, digits: usize) -> Id {
    Id::from(&Digest::of(text.as_bytes()).to_string()[..digits])
}

fn number(text: &str, below: u64) -> u64 {
    let bytes = Digest::of(text.as_bytes()).0;
    u64::from_be_bytes(*bytes.first_chunk().expect("32 bytes")) % below
}

/// A span as a collector sends it, of a trace of ten; another name makes it another.
fn incoming(name: &str, at: usize) -> Incoming {
    let (trace, span) = (at / SPANS, at % SPANS);
    let own = format!("{name} {trace} {span}");
    let is_root = span == 0;
    let usage = Usage::NONE
        .with(TokenClass::Input, 50 + number(&format!("input {own}"), 4_000))
        .with(TokenClass::Output, 10 + number(&format!("output {own}"), 900));
    let elapsed_ns = i64::try_from(number(&format!("at {own}"), 80_000_000_000_000)).expect("below a day");
    let event = Event {
        trace_id: Some(hex(&format!("trace {name} {trace}"), 32)),
        event_id: hex(&own, 16),
        parent_id: (!is_root).then(|| hex(&format!("{name} {trace} {}", (span - 1) / 2), 16)),
        used_at_ns: OCTOBER_NS + elapsed_ns,
        duration_ms: Some(200 + number(&format!("duration {own}"), 9_000)),
        kind: if is_root { Kind::Agent } else { Kind::Llm },
        tags: Tags {
            agent: Some(Id::from(AGENTS[span % 4])),
            team: is_root.then(|| Id::from(TEAMS[trace % 4])),
            task_type: is_root.then(|| Id::from("resolve_ticket")),
            ..Tags::default()
        },
        critical: false,
        status: is_root.then_some(Status::Ok),
        provider: (!is_root).then(|| Id::from("anthropic")),
        model: (!is_root).then(|| Id::from(["claude-sonnet-4-5", "claude-haiku-4-5"][span % 2])),
        service_tier: None,
        usage: (!is_root).then_some(usage),
        quantity: None,
        reported: None,
        response_id: (!is_root).then(|| hex(&format!("response {own}"), 24)),
        retry_of: None,
        supersedes: None,
        reservation_id: None,
    };
    Incoming {
        identity: Identity::of(&event),
        digest: content_digest(&event),
        response: None,
        recorded: Recorded { event, origin: Origin::default(), recorded_at_ns: OCTOBER_NS },
    }
}

/// Budgets of the organisation, four teams and two agents: the four of them that a trace is posted to.
fn posted(trace: u64, blocks: usize) -> BTreeMap<CounterKey, Amount> {
    let team = format!("team:{}", TEAMS[usize::try_from(trace % 4).expect("small")]);
    let amount = |scope: &str| {
        let own = 12_345_678_901 + i128::from(number(&format!("{scope} {trace}"), 1_000_000));
        Amount::from_pico(own * i128::try_from(blocks).expect("small"))
    };
    ["organisation", &team, "agent:resolver", "agent:writer"]
        .map(|scope| (CounterKey { scope: scope.into(), period: "2026-10".into() }, amount(scope)))
        .into()
}

async fn written_halves(store: &AwsStore, call: impl Future) -> u64 {
    let before = store.meter().usage().written_halves;
    call.await;
    store.meter().usage().written_halves - before
}

/// Posts blocks to traces in groups.
async fn post(
    store: &AwsStore,
    blocks: &[(BlockName, Vec<u64>)],
    posted: impl Fn(u64, usize) -> BTreeMap<CounterKey, Amount>,
) {
    let mut of_traces: BTreeMap<u64, Vec<BlockName>> = BTreeMap::new();
    for (name, traces) in blocks {
        traces.iter().for_each(|trace| of_traces.entry(*trace).or_default().push(*name));
    }
    let traces: Vec<u64> = of_traces.keys().copied().collect();
    let states = store.traces(&traces).await.expect("traces");
    let change = |((trace, new_blocks), before): ((u64, Vec<BlockName>), TraceState)| {
        let posted = posted(trace, before.blocks.len() + new_blocks.len());
        TraceChange { trace, before, new_blocks, posted }
    };
    let changes: Vec<TraceChange> = of_traces.into_iter().zip(states).map(change).collect();
    for group in changes.chunks(TRACES_PER_POST_MAX) {
        store.post(group.to_vec()).await.expect("post");
    }
}

/// Requests, each rolled up by itself or many drained at once.
async fn measure(store: &AwsStore, (request, drained, events): (usize, usize, usize)) -> Cost {
    let name = format!("{request} {drained}");
    let all: Vec<Incoming> = (0..events).map(|at| incoming(&name, at)).collect();
    let [mut log, mut traces, mut counters, mut numbering] = [0_u64; 4];
    let parts: Vec<&[Incoming]> = all.chunks(request).collect();
    for parts in parts.chunks(drained) {
        let mut blocks: Vec<(BlockName, Vec<u64>)> = Vec::new();
        for part in parts {
            let packed = rollup::blocks_of(part, store.lanes()).into_iter();
            blocks.extend(packed.map(|(name, traces)| (name, traces.into_iter().collect())));
            log += written_halves(store, store.append(part.to_vec())).await;
        }
        // The same for other traces, and with nothing posted but the bytes of it: what is more is what the counters cost.
        let others: Vec<(BlockName, Vec<u64>)> =
            blocks.iter().map(|(name, traces)| (*name, traces.iter().map(|trace| !trace).collect())).collect();
        let whole = written_halves(store, post(store, &blocks, posted)).await;
        let bare = written_halves(store, post(store, &others, |_, _| BTreeMap::new())).await;
        traces += bare;
        counters += whole - bare;
        let names: Vec<BlockName> = blocks.iter().map(|(name, _)| *name).collect();
        numbering += written_halves(store, store.arrived(&names)).await;
    }
    numbering += written_halves(store, store.number_blocks()).await;
    let of = u64::try_from(events).expect("small");
    let [log, traces, counters, numbering] = [log, traces, counters, numbering].map(|halves| halves * 500 / of);
    Cost { request, log, traces, counters, numbering }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rat_3_an_event_in_a_request_of_a_hundred_costs_a_third_of_a_write_unit() {
    let store: Arc<AwsStore> = emulator::open_store().await;
    if emulator::emulator() == "moto" {
        // It counts one unit for a put of any size: its figures say nothing, and this test says so once they do.
        let request = (0..500).map(|at| incoming("moto", at)).collect();
        assert_eq!(written_halves(&store, store.append(request)).await, 2);
        return;
    }
    println!(
        "write units per event, in thousandths; traces of {SPANS} spans, budgets of 7 scopes, 4 of them a trace's"
    );
    let mut costs = Vec::new();
    let alone = [(1, 1, 200), (25, 1, 1_000), (100, 1, 2_000), (500, 1, 5_000)];
    let many = [(1, 100, 500), (25, 26, 1_300), (100, 6, 2_400), (500, 5, 5_000)];
    for (request, drained, events) in alone.into_iter().chain(many) {
        let cost = measure(&store, (request, drained, events)).await;
        println!("{drained:3} blocks rolled up at once: {cost:?}");
        costs.push((drained, cost));
    }
    let of = |drained: usize| {
        let found = costs.iter().find(|(by, cost)| *by == drained && cost.request == 100);
        found.expect("measured").1
    };
    let (alone, drained) = (of(1), of(6));
    assert!(alone.log > 0 && alone.traces > 0 && alone.counters > 0 && alone.numbering > 0, "{alone:?}");
    assert!(alone.log <= 50, "log: {alone:?}");
    assert!(alone.traces <= 250, "trace state: {alone:?}");
    assert!(drained.counters <= 50, "counters: {drained:?}");
    assert!(drained.log + drained.traces + drained.counters + drained.numbering <= 350, "together: {drained:?}");
}

const ORGANISATION: &str = r#"
[organisation]
name = "Costs"
currency = "USD"
time_zone = "Europe/Berlin"
[[teams]]
id = "support"
[[teams]]
id = "marketing"
[[teams]]
id = "platform"
[[teams]]
id = "sales"
[[agents]]
id = "resolver"
[[agents]]
id = "writer"
"#;

/// Budgets of the organisation, four teams and two agents, of which nothing is used up.
fn organisation() -> String {
    let teams = TEAMS.map(|team| format!("team:{team}"));
    let scopes = ["organisation", "agent:resolver", "agent:writer"].into_iter().chain(teams.iter().map(String::as_str));
    let budgets = scopes.map(|scope| format!("[[budgets]]\nscope = \"{scope}\"\nlimit = \"1000000000\"\n"));
    format!("{ORGANISATION}{}", budgets.collect::<String>())
}

/// What rolling up an event costs, thousandths of units.
#[derive(Clone, Copy, Debug)]
struct Rolled {
    read: Milli,
    written: Milli,
    /// What giving the blocks their numbers reads.
    numbering: Milli,
}

/// A process that rolls up, with what it is billed.
struct Process {
    app: Arc<App>,
    store: Arc<AwsStore>,
    billed: Billed,
}

impl Process {
    async fn new() -> Self {
        let config = emulator::config().await;
        let (billed, client) = Billed::client(&config);
        let settings = emulator::make_tables(&client).await;
        let store = Arc::new(AwsStore::with_client(settings, client).await.expect("open"));
        let clock = stage::SetClock::new();
        // The month of the events is the running one: its budgets are looked at.
        clock.0.store(OCTOBER_NS + DAY_NS, Ordering::SeqCst);
        let app = stage::app(&store, &clock, None).await;
        app.apply_organisation(&organisation(), None, false).await.expect("apply");
        Self { app, store, billed }
    }

    async fn roll_up(&self, (request, drained, events): (usize, usize, usize)) -> Rolled {
        let name = format!("rolled {request} {drained}");
        let all: Vec<Incoming> = (0..events).map(|at| incoming(&name, at)).collect();
        let (mut read, mut written) = (0, 0);
        let parts: Vec<&[Incoming]> = all.chunks(request).collect();
        for parts in parts.chunks(drained) {
            let mut blocks = Vec::new();
            for part in parts {
                let packed = pack(&part.iter().collect::<Vec<_>>(), self.store.lanes()).expect("pack");
                blocks.extend(packed.into_iter().map(|block| ArrivedBlock { name: block.name, bytes: block.bytes }));
                self.store.append(part.to_vec()).await.expect("append");
            }
            let before = self.billed.units();
            written += written_halves(&self.store, async {
                let outcome = self.app.rollup(blocks).await.expect("rollup");
                assert!(outcome.failed_traces.is_empty() && outcome.unpriced_events == 0, "{outcome:?}");
            })
            .await;
            read += self.billed.units() - before;
        }
        let before = self.billed.units();
        self.store.number_blocks().await.expect("number");
        let numbering = self.billed.units() - before;
        let of = u64::try_from(events).expect("small");
        let [read, numbering] = [read, numbering].map(|units| units * 1_000 / of);
        Rolled { read, written: written * 500 / of, numbering }
    }
}

/// The rollup itself: the trace's state, the counter of each budget that a batch posts to, and of a trace whose spans come in
/// several requests the blocks before.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rat_3_what_the_rollup_reads_of_an_event_is_bounded() {
    let process = Process::new().await;
    // Events in a request, blocks rolled up at once, events in all; and what one of them may read.
    let alone = [(1, 1, 200, 8_500), (25, 1, 1_000, 450), (100, 1, 2_000, 200), (500, 1, 5_000, 130)];
    let many = [(1, 100, 500, 200), (25, 26, 1_300, 130), (100, 6, 2_400, 130), (500, 5, 5_000, 120)];
    let mut all: Vec<(usize, usize, usize, Milli)> = alone.into_iter().chain(many).collect();
    if emulator::emulator() == "moto" {
        // It takes minutes for as many.
        all = vec![(25, 1, 250, 450)];
    }
    println!("units per event, in thousandths, of the rollup itself; traces and budgets as above");
    for (request, drained, events, read_max) in all {
        let rolled = process.roll_up((request, drained, events)).await;
        println!("{request:3} events in a request, {drained:3} blocks rolled up at once: {rolled:?}");
        assert!(rolled.read > 0 && rolled.read <= read_max, "{rolled:?}");
        assert!(rolled.numbering <= 50 * read_max / 1_000 + 20, "{rolled:?}");
        assert!(rolled.written <= 8_000, "{rolled:?}");
    }
}
