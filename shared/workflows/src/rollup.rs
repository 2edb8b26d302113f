//! Rollup: new blocks become live state, trace by trace. Blocks that come again change nothing, in whatever grouping.
//!
//! Each trace that a block touches is put back together from all of its blocks and resolved whole; what it posts now
//! replaces what it posted before, in one transaction with the counters. A block is announced last: whoever sees it numbered
//! finds its traces.
//! I/O: the states of the traces, earlier blocks of those that were known, one transaction per group of traces, one
//! announcement.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use recoup_attribution::{Context, resolve};
use recoup_budgets::{Counter, Watched, postings};
use recoup_model::digest::content_digest;
use recoup_model::{Identity, Recorded};
use recoup_money::Amount;
use recoup_store::block::decode;
use recoup_store::live::{COUNTERS_PER_POST_MAX, TRACES_PER_POST_MAX};
use recoup_store::{BlockName, CounterKey, PostError, TraceChange, TraceState};

use crate::app::{App, World};
use crate::error::Refusal;

/// States asked for in one call, and earlier blocks read in one.
const READ_AT_ONCE_MAX: usize = 100;
/// Attempts at posting a trace that others change at the same time.
const ATTEMPTS_MAX: u32 = 12;
/// The longest first pause between two of them, which doubles up to [`PAUSE_MAX`].
const PAUSE: Duration = Duration::from_millis(10);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_millis(640);

/// A block that was recorded.
#[derive(Clone, Debug)]
pub struct ArrivedBlock {
    /// Its name.
    pub name: BlockName,
    /// Its encoded bytes.
    pub bytes: Vec<u8>,
}

/// What a rollup did.
#[derive(Clone, Debug, Default)]
pub struct RollupOutcome {
    /// Blocks that could be read.
    pub blocks: usize,
    /// Traces that were changed.
    pub posted_traces: usize,
    /// Blocks that cannot be read, and why. The others went on.
    pub unreadable: Vec<(BlockName, String)>,
    /// Events of the changed traces that have no price.
    pub unpriced_events: usize,
}

/// Posting or not: whether a trace without a new block is computed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Again {
    /// Nothing can have changed.
    No,
    /// Budgets or prices may have changed.
    Yes,
}

type Events = BTreeMap<u64, Vec<(BlockName, Recorded)>>;

/// What is needed to say what a trace posts.
struct Sight {
    world: Arc<World>,
    watched: Watched,
}

struct Computed {
    change: TraceChange,
    unpriced_events: usize,
}

impl App {
    /// Takes new blocks into the live state.
    ///
    /// # Errors
    /// When the store fails or others change the same traces for too long: the same blocks can be given again.
    pub async fn rollup(&self, blocks: Vec<ArrivedBlock>) -> Result<RollupOutcome, Refusal> {
        self.roll(blocks, Again::No).await
    }

    /// The same for blocks that were taken in before: their traces are computed again with today's budgets and prices.
    pub(crate) async fn roll_again(&self, blocks: Vec<ArrivedBlock>) -> Result<RollupOutcome, Refusal> {
        self.roll(blocks, Again::Yes).await
    }

    async fn roll(&self, blocks: Vec<ArrivedBlock>, again: Again) -> Result<RollupOutcome, Refusal> {
        let names: Vec<BlockName> = blocks.iter().map(|block| block.name).collect();
        let decoded = tokio::task::spawn_blocking(move || decode_all(blocks));
        let (events, mut outcome) = decoded.await.map_err(|error| Refusal::computation("decode blocks", error))?;
        outcome.blocks = names.len().saturating_sub(outcome.unreadable.len());
        let sight = self.sight().await?;
        let mut open: Vec<u64> = events.keys().copied().collect();
        for attempt in 0..=ATTEMPTS_MAX {
            open = self.post_traces(&open, &events, &sight, (again, &mut outcome)).await?;
            if open.is_empty() {
                break;
            }
            if attempt == ATTEMPTS_MAX {
                return Err(Refusal::Conflict {
                    kind: "contended",
                    detail: format!("{} traces were changed by others in each of {ATTEMPTS_MAX} attempts", open.len()),
                });
            }
            tokio::time::sleep(pause(attempt)?).await;
        }
        self.ports.live.arrived(&names).await?;
        Ok(outcome)
    }

    /// Organisation versions, prices, and what has a budget. Before an organisation file was applied nothing has.
    async fn sight(&self) -> Result<Option<Sight>, Refusal> {
        let world = match self.world().await {
            Ok(world) => world,
            Err(Refusal::Conflict { kind: "no-organisation", .. }) => return Ok(None),
            Err(refusal) => return Err(refusal),
        };
        let watched = self.watched(&world);
        Ok(Some(Sight { world, watched }))
    }

    /// Posts some traces in groups; gives back those that others were changing.
    async fn post_traces(
        &self,
        traces: &[u64],
        events: &Events,
        sight: &Option<Sight>,
        (again, outcome): (Again, &mut RollupOutcome),
    ) -> Result<Vec<u64>, Refusal> {
        let mut contended = Vec::new();
        for part in traces.chunks(READ_AT_ONCE_MAX) {
            let states = self.ports.live.traces(part).await?;
            let mut group = Group::default();
            for (trace, state) in part.iter().zip(states) {
                let Some(fresh) = events.get(trace) else { continue };
                let Some(computed) = self.compute(*trace, state, fresh, (sight, again)).await? else { continue };
                for step in steps(computed.change) {
                    if !group.takes(&step) {
                        self.post_group(std::mem::take(&mut group), outcome, &mut contended).await?;
                    }
                    group.add(step);
                }
                outcome.unpriced_events = outcome.unpriced_events.saturating_add(computed.unpriced_events);
            }
            self.post_group(group, outcome, &mut contended).await?;
        }
        contended.sort_unstable();
        contended.dedup();
        Ok(contended)
    }

    async fn post_group(
        &self,
        group: Group,
        outcome: &mut RollupOutcome,
        contended: &mut Vec<u64>,
    ) -> Result<(), Refusal> {
        let traces: Vec<u64> = group.changes.iter().map(|change| change.trace).collect();
        if traces.is_empty() {
            return Ok(());
        }
        match self.ports.live.post(group.changes).await {
            Ok(()) => outcome.posted_traces = outcome.posted_traces.saturating_add(traces.len()),
            Err(PostError::Contended) => contended.extend(traces),
            Err(PostError::TooLarge(detail)) => return Err(Refusal::TooLarge(detail)),
            Err(PostError::Store(error)) => return Err(error.into()),
        }
        Ok(())
    }

    /// What changes of a trace; `None`: nothing.
    async fn compute(
        &self,
        trace: u64,
        before: TraceState,
        fresh: &[(BlockName, Recorded)],
        (sight, again): (&Option<Sight>, Again),
    ) -> Result<Option<Computed>, Refusal> {
        let known: BTreeSet<BlockName> = before.blocks.iter().copied().collect();
        let named: BTreeSet<BlockName> = fresh.iter().map(|(name, _)| *name).collect();
        let new_blocks: Vec<BlockName> = named.difference(&known).copied().collect();
        if new_blocks.is_empty() && again == Again::No {
            return Ok(None);
        }
        let mut events: Vec<Recorded> = fresh.iter().map(|(_, recorded)| recorded.clone()).collect();
        let at_hand: Vec<BlockName> = known.difference(&named).copied().collect();
        events.extend(self.events_in_blocks(trace, &at_hand).await?);
        let (posted, unpriced_events) = match sight {
            Some(sight) => posted_by(first_of_each(events), sight)?,
            None => (BTreeMap::new(), 0),
        };
        if new_blocks.is_empty() && posted == before.posted {
            return Ok(None);
        }
        Ok(Some(Computed { change: TraceChange { trace, before, new_blocks, posted }, unpriced_events }))
    }

    /// The events of a trace in blocks that were taken in before.
    async fn events_in_blocks(&self, trace: u64, names: &[BlockName]) -> Result<Vec<Recorded>, Refusal> {
        let mut events = Vec::new();
        for part in names.chunks(READ_AT_ONCE_MAX) {
            let read = self.ports.live.blocks(part).await?;
            for (name, bytes) in part.iter().zip(read) {
                let decoded = decode(&bytes).map_err(|error| recoup_store::StoreError::Damaged {
                    what: format!("block {} of {}, lane {}", name.digest, name.utc_day, name.lane),
                    detail: error.to_string(),
                })?;
                events.extend(decoded.into_iter().filter(|recorded| Identity::of(&recorded.event).trace == trace));
            }
        }
        Ok(events)
    }
}

/// Changes that fit into one transaction.
#[derive(Default)]
struct Group {
    changes: Vec<TraceChange>,
    counters: BTreeSet<CounterKey>,
}

impl Group {
    fn takes(&self, change: &TraceChange) -> bool {
        let counters = self.counters.iter().chain(moved(change)).collect::<BTreeSet<_>>().len();
        self.changes.len() < TRACES_PER_POST_MAX
            && counters <= COUNTERS_PER_POST_MAX
            && self.changes.iter().all(|held| held.trace != change.trace)
    }

    fn add(&mut self, change: TraceChange) {
        self.counters.extend(moved(&change).cloned());
        self.changes.push(change);
    }
}

/// The counters that a change moves.
fn moved(change: &TraceChange) -> impl Iterator<Item = &CounterKey> {
    let all = change.before.posted.keys().chain(change.posted.keys());
    all.filter(|key| change.before.posted.get(*key) != change.posted.get(*key))
}

/// A change in steps that each fit into a transaction. The blocks come with the last one, so that what was cut off between
/// two steps is done again.
fn steps(change: TraceChange) -> Vec<TraceChange> {
    let keys: BTreeSet<CounterKey> = moved(&change).cloned().collect();
    if keys.len() <= COUNTERS_PER_POST_MAX {
        return vec![change];
    }
    let keys: Vec<CounterKey> = keys.into_iter().collect();
    let parts = keys.chunks(COUNTERS_PER_POST_MAX);
    let last = parts.len().saturating_sub(1);
    let mut before = change.before;
    let mut steps = Vec::with_capacity(last.saturating_add(1));
    for (number, part) in parts.enumerate() {
        let mut posted = before.posted.clone();
        for key in part {
            match change.posted.get(key) {
                Some(amount) => posted.insert(key.clone(), *amount),
                None => posted.remove(key),
            };
        }
        let new_blocks = if number == last { change.new_blocks.clone() } else { Vec::new() };
        let after = TraceState {
            version: before.version.saturating_add(1),
            blocks: before.blocks.clone(),
            posted: posted.clone(),
        };
        steps.push(TraceChange { trace: change.trace, before, new_blocks, posted });
        before = after;
    }
    steps
}

fn decode_all(blocks: Vec<ArrivedBlock>) -> (Events, RollupOutcome) {
    let mut events = Events::new();
    let mut outcome = RollupOutcome::default();
    let mut seen = BTreeSet::new();
    for block in blocks {
        if !seen.insert(block.name) {
            continue;
        }
        match decode(&block.bytes) {
            Ok(decoded) => {
                for recorded in decoded {
                    let trace = Identity::of(&recorded.event).trace;
                    events.entry(trace).or_default().push((block.name, recorded));
                }
            }
            Err(error) => outcome.unreadable.push((block.name, error.to_string())),
        }
    }
    (events, outcome)
}

/// Of each identity the event that was recorded first (EVT-2).
fn first_of_each(events: Vec<Recorded>) -> Vec<Recorded> {
    let mut first: BTreeMap<Identity, Recorded> = BTreeMap::new();
    for recorded in events {
        let identity = Identity::of(&recorded.event);
        let earlier = |held: &Recorded| {
            let rank = |one: &Recorded| (one.recorded_at_ns, content_digest(&one.event));
            held.recorded_at_ns < recorded.recorded_at_ns || rank(held) <= rank(&recorded)
        };
        if !first.get(&identity).is_some_and(earlier) {
            first.insert(identity, recorded);
        }
    }
    first.into_values().collect()
}

/// What the events of a trace post by counter, and how many of them have no price.
fn posted_by(events: Vec<Recorded>, sight: &Sight) -> Result<(BTreeMap<CounterKey, Amount>, usize), Refusal> {
    let context = Context { history: &sight.world.history, rater: sight.world.prices.as_ref() };
    // Reports of the same provider call in other traces are the night's business: until then both count (EVT-2).
    let trace = resolve(&events, &BTreeSet::new(), &context)
        .map_err(|error| Refusal::computation("attribute a trace", error))?;
    let posted = postings(&trace, &events, &sight.world.history, &sight.watched)
        .map_err(|error| Refusal::computation("post a trace", error))?;
    let key = |counter: Counter| CounterKey { scope: counter.scope, period: counter.period };
    let unpriced = trace.spans.iter().filter(|span| span.unpriced().next().is_some()).count();
    Ok((posted.into_iter().map(|(counter, amount)| (key(counter), amount)).collect(), unpriced))
}

/// A pause of random length, so that those who collided do not collide again.
fn pause(attempt: u32) -> Result<Duration, Refusal> {
    let mut byte = [0_u8; 1];
    getrandom::fill(&mut byte).map_err(|error| Refusal::computation("pause", error))?;
    let longest = PAUSE.saturating_mul(2_u32.saturating_pow(attempt)).min(PAUSE_MAX);
    let [share] = byte;
    Ok(longest.saturating_mul(u32::from(share).saturating_add(1)) / 256)
}
