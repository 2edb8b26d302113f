//! What recording and rolling up costs in write units, as the emulator counts them (W1).
//!
//! The figures are printed: `cargo nextest run -p recoup-store-aws --test cost --no-capture`.
#![expect(clippy::indexing_slicing, reason = "tests")]

mod emulator;
mod rollup;

use std::collections::BTreeMap;
use std::sync::Arc;

use recoup_model::digest::content_digest;
use recoup_model::{Digest, Event, Id, Identity, Kind, Origin, Recorded, Status, Tags, TokenClass, Usage};
use recoup_money::Amount;
use recoup_store::live::TRACES_PER_POST_MAX;
use recoup_store::{BlockName, CounterKey, EventLog as _, Incoming, Live as _, TraceChange, TraceState};
use recoup_store_aws::AwsStore;

/// 2026-10-01T00:00:00Z.
const OCTOBER_NS: i64 = 1_790_812_800_000_000_000;
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
