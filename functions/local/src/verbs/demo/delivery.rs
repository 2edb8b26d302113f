//! Posting made-up events as a company's exporters would: several connections, requests of various sizes.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::api::Api;
use crate::failure::Failure;
use crate::sample::{Phase, Sample, SampleOptions, SampleSummary};
use crate::screen::Screen;
use crate::verbs::ingest::{Receipt, post};

/// Connections at the same time.
const CONNECTIONS: usize = 4;
/// Sizes of requests, one after the other.
const SIZES: [usize; 6] = [1, 250, 40, 1_000, 7, 500];
/// Requests that wait for their connection.
const WAITING: usize = 2;
/// Spans of the trace that is shown as an example.
const EXAMPLE_SPANS: std::ops::RangeInclusive<u32> = 8..=14;

/// What became of a delivery.
#[derive(Debug, Default)]
pub(super) struct Delivered {
    /// By outcome.
    pub(super) receipt: Receipt,
    /// Events posted.
    pub(super) posted: u64,
    /// Requests made.
    pub(super) requests: u64,
    /// How long it took.
    pub(super) elapsed: Duration,
}

/// A sample whose punctual events were delivered.
pub(super) struct Posted {
    /// What became of them.
    pub(super) delivered: Delivered,
    /// The events that come days later.
    pub(super) late: Vec<String>,
    /// What was planted.
    pub(super) summary: SampleSummary,
    /// A trace worth looking at.
    pub(super) trace: Option<String>,
}

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    trace_id: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow)]
    event_id: std::borrow::Cow<'a, str>,
}

/// The trace of an event; an event without one is a trace of its own.
fn trace_of(json: &str) -> Option<String> {
    let named: Named<'_> = serde_json::from_str(json).ok()?;
    Some(named.trace_id.unwrap_or(named.event_id).into_owned())
}

/// Puts events into requests. All of a trace goes over one connection, so that what is first stays first.
struct Dispatch {
    connections: Vec<mpsc::Sender<Bytes>>,
    open: Vec<(usize, String)>,
    sizes: usize,
    requests: u64,
    posted: u64,
}

impl Dispatch {
    fn new(connections: Vec<mpsc::Sender<Bytes>>) -> Self {
        let open = connections.iter().map(|_| (0, String::new())).collect();
        Self { connections, open, sizes: 0, requests: 0, posted: 0 }
    }

    fn add(&mut self, trace: &str, json: &str) {
        let mut hasher = DefaultHasher::new();
        trace.hash(&mut hasher);
        let connections = u64::try_from(self.open.len()).unwrap_or(1).max(1);
        let lane = usize::try_from(hasher.finish() % connections).unwrap_or(0);
        let size = SIZES.get(self.sizes % SIZES.len()).copied().unwrap_or(1);
        let Some((events, body)) = self.open.get_mut(lane) else { return };
        body.push_str(json);
        body.push('\n');
        *events = events.saturating_add(1);
        self.posted = self.posted.saturating_add(1);
        if *events >= size {
            self.sizes = self.sizes.saturating_add(1);
            self.send(lane);
        }
    }

    fn send(&mut self, lane: usize) {
        let (Some(open), Some(connection)) = (self.open.get_mut(lane), self.connections.get(lane)) else { return };
        let (events, body) = std::mem::take(open);
        if events > 0 {
            self.requests = self.requests.saturating_add(1);
            // A connection that has ended tells why when it is joined.
            drop(connection.blocking_send(Bytes::from(body)));
        }
    }

    fn finish(mut self) -> (u64, u64) {
        for lane in 0..self.open.len() {
            self.send(lane);
        }
        (self.posted, self.requests)
    }
}

/// Connections that are posting; each ends with the sum of its receipts.
type Posting = JoinSet<Result<Receipt, Failure>>;

/// Connections of their own to the endpoint, each posting one request after the other.
fn connect(server: &str, key: &str) -> Result<(Vec<mpsc::Sender<Bytes>>, Posting), Failure> {
    let mut senders = Vec::with_capacity(CONNECTIONS);
    let mut connections = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let api = Api::over_tcp(server, Some(key.to_owned()))?;
        let (sender, mut receiver) = mpsc::channel::<Bytes>(WAITING);
        senders.push(sender);
        connections.spawn(async move {
            let mut sum = Receipt::default();
            while let Some(body) = receiver.recv().await {
                sum.add(&post(&api, body).await?);
            }
            Ok(sum)
        });
    }
    Ok((senders, connections))
}

async fn join(mut connections: Posting) -> Result<Receipt, Failure> {
    let mut sum = Receipt::default();
    while let Some(joined) = connections.join_next().await {
        let receipt = joined.map_err(|error| Failure::caused("could not post events", error))??;
        sum.add(&receipt);
    }
    Ok(sum)
}

/// Makes a sample and posts its punctual events.
///
/// # Errors
/// When a request fails.
pub(super) async fn deliver_sample(
    server: &str,
    key: &str,
    options: SampleOptions,
    screen: Screen,
) -> Result<Posted, Failure> {
    let began = Instant::now();
    let mut sample = Sample::new(options).map_err(|error| Failure::usage(error.to_string()))?;
    let (senders, connections) = connect(server, key)?;
    let bar = screen.steps(options.spans, "events");
    let shown = bar.clone();
    let making = tokio::task::spawn_blocking(move || {
        let mut dispatch = Dispatch::new(senders);
        let mut late = Vec::new();
        let mut spans: BTreeMap<String, u32> = BTreeMap::new();
        for event in sample.by_ref() {
            let trace = trace_of(&event.json).unwrap_or_default();
            match event.deliver_after {
                Phase::OnTime => dispatch.add(&trace, &event.json),
                Phase::Late => late.push(event.json),
            }
            shown.set_position(dispatch.posted);
            let count = spans.entry(trace).or_default();
            *count = count.saturating_add(1);
        }
        let (posted, requests) = dispatch.finish();
        let example = spans.into_iter().find(|(_, count)| EXAMPLE_SPANS.contains(count)).map(|(trace, _)| trace);
        (posted, requests, late, sample.summary().clone(), example)
    });
    let receipt = join(connections).await?;
    let (posted, requests, late, summary, trace) =
        making.await.map_err(|error| Failure::caused("could not make events up", error))?;
    bar.finish_and_clear();
    Ok(Posted { delivered: Delivered { receipt, posted, requests, elapsed: began.elapsed() }, late, summary, trace })
}

/// Posts events.
///
/// # Errors
/// When a request fails.
pub(super) async fn deliver(server: &str, key: &str, events: Vec<String>) -> Result<Delivered, Failure> {
    let began = Instant::now();
    let (senders, connections) = connect(server, key)?;
    let posting = tokio::task::spawn_blocking(move || {
        let mut dispatch = Dispatch::new(senders);
        for json in &events {
            dispatch.add(&trace_of(json).unwrap_or_default(), json);
        }
        dispatch.finish()
    });
    let receipt = join(connections).await?;
    let (posted, requests) = posting.await.map_err(|error| Failure::caused("could not post events", error))?;
    Ok(Delivered { receipt, posted, requests, elapsed: began.elapsed() })
}
