//! Rollup: new blocks become live state, trace by trace. Blocks that come again change nothing, in whatever grouping.
//!
//! Each trace that a block touches is put back together from all of its blocks and resolved whole; what it posts now
//! replaces what it posted before, in one transaction with the counters. A block is announced last: whoever sees it numbered
//! finds its traces.
//! I/O: the states of the traces, earlier blocks of those that were known, one transaction per group of traces, one
//! announcement.

mod group;
mod worth;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::NaiveDate;
use recoup_attribution::first_recorded;
use recoup_budgets::Counter;
use recoup_budgets::admission::TASK_PERIOD;
use recoup_model::{Identity, Recorded};
use recoup_store::block::decode;
use recoup_store::{
    BlockName, CounterKey, LeaseName, PostError, Settlement, StoreError, TraceChange, TraceState, causes,
};

use self::group::{Group, steps};
use self::worth::{Claim, Sight, Worth, posted_by, settlement};
use crate::app::App;
use crate::error::Refusal;
use crate::exemptions::Unasked;
use crate::nightly::Cut;
use crate::reviews::Capped;

/// Traces computed together.
const READ_AT_ONCE_MAX: usize = 100;
/// Earlier blocks read in one call.
const BLOCKS_AT_ONCE_MAX: usize = 50;
/// Reservations settled in one call.
const SETTLEMENTS_AT_ONCE_MAX: usize = 500;
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
    /// Traces that cannot be posted, by fingerprint, and why. The others went on; these are tried again with their next block.
    pub failed_traces: Vec<(u64, String)>,
    /// Events of the changed traces that have no price.
    pub unpriced_events: usize,
    /// Counters that were changed.
    pub counters: BTreeSet<CounterKey>,
    /// Tasks that have a cap.
    pub(crate) capped: BTreeMap<String, Capped>,
    /// Critical work, as far as no reservation admitted it.
    unasked: Vec<Unasked>,
    /// Reservations that ended with a post.
    settled: BTreeSet<Settlement>,
}

impl RollupOutcome {
    /// Tasks whose cap is looked at, also where what is posted is as it was: who posted it may not have come to look.
    fn note_caps(&mut self, worth: &Worth) {
        let Some(capped) = &worth.capped else { return };
        let tasks = worth.posted.keys().filter(|key| key.period == TASK_PERIOD);
        let tasks = tasks.filter_map(|key| key.scope.strip_prefix("task:"));
        self.capped.extend(tasks.map(|task| (task.to_owned(), capped.clone())));
    }
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

struct Computed {
    /// `None`: it posts what it has posted.
    change: Option<TraceChange>,
    worth: Worth,
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
        let mut sight = self.sight().await?;
        let mut open: Vec<u64> = events.keys().copied().collect();
        if let (Again::Yes, Some(sight)) = (again, &mut sight) {
            let days = self.days_of_traces(names.iter().map(|name| name.utc_day).collect(), &open).await?;
            sight.excluded = self.excluded_reports(&sight.world, &days, &open, Cut::NONE).await?.0;
        }
        if let (Again::No, Some(sight)) = (again, &mut sight) {
            sight.claims = claims_in(&events);
        }
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
        // What is computed again was announced when it was new.
        if again == Again::No {
            if let Some(sight) = &sight {
                self.log_unasked(&sight.world, &outcome.unasked, &unsettled(sight, &outcome)).await?;
            }
            self.settle(&events, &outcome.settled).await?;
            self.ports.live.arrived(&names).await?;
        }
        self.look_after(&outcome).await?;
        Ok(outcome)
    }

    /// Some UTC days, and the others on which traces of them, in order, have events: a trace is computed as a whole.
    async fn days_of_traces(
        &self,
        mut utc_days: BTreeSet<NaiveDate>,
        traces: &[u64],
    ) -> Result<Vec<NaiveDate>, Refusal> {
        let beyond = self.traces_beyond(&utc_days).await?.into_iter();
        utc_days.extend(beyond.filter(|(trace, _)| traces.binary_search(trace).is_ok()).map(|(_, day)| day));
        Ok(utc_days.into_iter().collect())
    }

    /// Looks at the budgets and the capped tasks that something was posted to. A budget that cannot be looked at now is found by
    /// the next look; a task is not, so that the same blocks have to come again for it.
    async fn look_after(&self, outcome: &RollupOutcome) -> Result<(), Refusal> {
        if !outcome.counters.is_empty()
            && let Err(error) = self.watch_budgets(Some(&outcome.counters)).await
        {
            tracing::error!(error = causes(&error), "the budgets could not be looked at");
        }
        for (task, capped) in &outcome.capped {
            self.flag_over_cap(task, capped).await?;
        }
        Ok(())
    }

    /// Organisation versions, prices, and what has a budget. Before an organisation file was applied nothing has.
    async fn sight(&self) -> Result<Option<Sight<'_>>, Refusal> {
        let world = match self.world().await {
            Ok(world) => world,
            Err(Refusal::Conflict { kind: "no-organisation", .. }) => return Ok(None),
            Err(refusal) => return Err(refusal),
        };
        let watched = self.watched(&world);
        Ok(Some(Sight {
            pseudonyms: &self.pseudonyms,
            world,
            watched,
            excluded: BTreeSet::new(),
            claims: BTreeMap::new(),
        }))
    }

    /// Posts some traces in groups; gives back those that others were changing.
    async fn post_traces(
        &self,
        traces: &[u64],
        events: &Events,
        sight: &Option<Sight<'_>>,
        (again, outcome): (Again, &mut RollupOutcome),
    ) -> Result<Vec<u64>, Refusal> {
        let has_caps = sight.as_ref().is_some_and(|sight| sight.watched.has_caps());
        let mut contended = Vec::new();
        for part in traces.chunks(READ_AT_ONCE_MAX) {
            let states = self.ports.live.traces(part).await?;
            let mut wanted = Vec::new();
            for (trace, before) in part.iter().zip(states) {
                let Some(fresh) = events.get(trace) else { continue };
                wanted.extend(Wanted::of(*trace, before, fresh, (again, has_caps)));
            }
            let earlier = self.earlier_events(&wanted).await?;
            let mut group = Group::default();
            for one in wanted {
                let trace = one.trace;
                let gone: Vec<String> =
                    one.earlier.iter().filter_map(|name| earlier.unreadable.get(name)).cloned().collect();
                let computed = if gone.is_empty() {
                    one.compute(earlier.events.get(&trace).map_or(&[], Vec::as_slice), sight)
                } else {
                    Err(gone.join("; "))
                };
                let computed = match computed {
                    Ok(computed) => computed,
                    Err(reason) => {
                        outcome.failed_traces.push((trace, reason));
                        continue;
                    }
                };
                let Computed { change, mut worth } = computed;
                outcome.unasked.append(&mut worth.unasked);
                if change.is_some() || again == Again::No {
                    outcome.note_caps(&worth);
                }
                let Some(change) = change else { continue };
                outcome.unpriced_events = outcome.unpriced_events.saturating_add(worth.unpriced_events);
                // What is computed again settled its reservations when it was new.
                let named = if again == Again::No { self.named_by(events.get(&trace)) } else { BTreeSet::new() };
                let steps = steps(change);
                let last = steps.len().saturating_sub(1);
                for (number, step) in steps.into_iter().enumerate() {
                    let settles = if number == last { named.clone() } else { BTreeSet::new() };
                    if !group.takes(&step, &settles) {
                        self.post_group(std::mem::take(&mut group), outcome, &mut contended).await?;
                    }
                    group.add(step, settles);
                }
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
        let Group { changes, counters, mut settles } = group;
        let traces: Vec<u64> = changes.iter().map(|change| change.trace).collect();
        if traces.is_empty() {
            return Ok(());
        }
        match self.ports.live.post_settling(changes, &settles).await {
            Ok(left) => {
                settles.retain(|settlement| !left.contains(settlement));
                outcome.settled.append(&mut settles);
                outcome.posted_traces = outcome.posted_traces.saturating_add(traces.len());
                self.forget_posted(&counters);
                outcome.counters.extend(counters);
            }
            Err(PostError::Contended) => contended.extend(traces),
            Err(PostError::TooLarge(detail)) => return Err(Refusal::TooLarge(detail)),
            Err(PostError::Store(error)) => return Err(error.into()),
        }
        Ok(())
    }

    /// What this process remembers of counters is read again, where they were changed.
    fn forget_posted(&self, counters: &BTreeSet<CounterKey>) {
        let counter = |key: &CounterKey| Counter { scope: key.scope.clone(), period: key.period.clone() };
        let posted: Vec<Counter> = counters.iter().map(counter).collect();
        self.desk.forget(posted.iter());
    }

    /// The reservations that events name.
    fn named_by<'a>(&self, events: impl IntoIterator<Item = &'a Vec<(BlockName, Recorded)>>) -> BTreeSet<Settlement> {
        let recorded = events.into_iter().flatten();
        recorded.filter_map(|(_, recorded)| settlement(recorded, &self.pseudonyms)).collect()
    }

    /// Settles the reservations that events name, once what they cost is posted, but for those that ended with that. Events
    /// that come again settle nothing anew.
    async fn settle(&self, events: &Events, settled: &BTreeSet<Settlement>) -> Result<(), Refusal> {
        let settlements = self.named_by(events.values());
        let open: Vec<Settlement> = settlements.difference(settled).copied().collect();
        for part in open.chunks(SETTLEMENTS_AT_ONCE_MAX) {
            self.ports.leases.settle(part).await?;
        }
        self.ports.leases.note_counted(&naming(events)).await?;
        let leases: BTreeSet<LeaseName> = settlements.iter().map(|settlement| settlement.lease).collect();
        if !self.sharing {
            for lease in leases {
                self.forget_lease(lease).await?;
            }
        }
        Ok(())
    }

    /// The events of some traces in blocks that were taken in before. Each block is read once, whatever number of traces it
    /// holds.
    async fn earlier_events(&self, wanted: &[Wanted<'_>]) -> Result<Earlier, Refusal> {
        let traces: BTreeSet<u64> = wanted.iter().map(|one| one.trace).collect();
        let names: BTreeSet<BlockName> = wanted.iter().flat_map(|one| one.earlier.iter().copied()).collect();
        let names: Vec<BlockName> = names.into_iter().collect();
        let mut earlier = Earlier::default();
        for part in names.chunks(BLOCKS_AT_ONCE_MAX) {
            let (blocks, unreadable) = self.blocks_by_name(part).await?;
            earlier.unreadable.extend(unreadable);
            let traces = traces.clone();
            let decoded = tokio::task::spawn_blocking(move || events_of(blocks, &traces));
            let (events, unreadable) = decoded.await.map_err(|error| Refusal::computation("decode blocks", error))?;
            earlier.unreadable.extend(unreadable);
            for (trace, events) in events {
                earlier.events.entry(trace).or_default().extend(events);
            }
        }
        Ok(earlier)
    }

    /// Blocks by name, and those that are damaged.
    async fn blocks_by_name(&self, names: &[BlockName]) -> Result<(Vec<ArrivedBlock>, Unreadable), Refusal> {
        let arrived = |(name, bytes): (&BlockName, Vec<u8>)| ArrivedBlock { name: *name, bytes };
        match self.ports.live.blocks(names).await {
            Ok(read) => return Ok((names.iter().zip(read).map(arrived).collect(), Unreadable::new())),
            Err(StoreError::Damaged { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let (mut blocks, mut unreadable) = (Vec::new(), Unreadable::new());
        for name in names {
            match self.ports.live.blocks(std::slice::from_ref(name)).await {
                Ok(read) => blocks.extend(read.into_iter().map(|bytes| ArrivedBlock { name: *name, bytes })),
                Err(error @ StoreError::Damaged { .. }) => drop(unreadable.insert(*name, error.to_string())),
                Err(error) => return Err(error.into()),
            }
        }
        Ok((blocks, unreadable))
    }
}

type Unreadable = BTreeMap<BlockName, String>;

/// What earlier blocks hold of some traces.
#[derive(Default)]
struct Earlier {
    events: BTreeMap<u64, Vec<Recorded>>,
    unreadable: Unreadable,
}

fn events_of(blocks: Vec<ArrivedBlock>, traces: &BTreeSet<u64>) -> (BTreeMap<u64, Vec<Recorded>>, Unreadable) {
    let (all, outcome) = decode_all(blocks);
    let ours = all.into_iter().filter(|(trace, _)| traces.contains(trace));
    let events = ours.map(|(trace, events)| (trace, events.into_iter().map(|(_, recorded)| recorded).collect()));
    (events.collect(), outcome.unreadable.into_iter().collect())
}

/// A trace that has to be computed.
struct Wanted<'a> {
    trace: u64,
    before: TraceState,
    fresh: &'a [(BlockName, Recorded)],
    new_blocks: Vec<BlockName>,
    /// Blocks of it that are not at hand.
    earlier: Vec<BlockName>,
    /// Whether it may post something else now; else it is only looked at.
    posts: bool,
}

impl<'a> Wanted<'a> {
    /// `None`: nothing of it can have changed.
    fn of(
        trace: u64,
        before: TraceState,
        fresh: &'a [(BlockName, Recorded)],
        (again, has_caps): (Again, bool),
    ) -> Option<Self> {
        let known: BTreeSet<BlockName> = before.blocks.iter().copied().collect();
        let named: BTreeSet<BlockName> = fresh.iter().map(|(name, _)| *name).collect();
        let new_blocks: Vec<BlockName> = named.difference(&known).copied().collect();
        // Whether critical work asked, and the caps of tasks, are looked at after it is posted, which may have to be made up for.
        let is_critical = fresh.iter().any(|(_, recorded)| recorded.event.critical);
        let posts = !new_blocks.is_empty() || again == Again::Yes || is_critical;
        if !posts && !has_caps {
            return None;
        }
        let earlier = known.difference(&named).copied().collect();
        Some(Self { trace, before, fresh, new_blocks, earlier, posts })
    }

    /// What changes of it.
    fn compute(self, earlier: &[Recorded], sight: &Option<Sight<'_>>) -> Result<Computed, String> {
        let events = self.fresh.iter().map(|(_, recorded)| recorded).chain(earlier).cloned().collect();
        let worth = match sight {
            Some(sight) => posted_by(&first_recorded(events), sight).map_err(|refusal| refusal.to_string())?,
            None => Worth::default(),
        };
        let posted = worth.posted.clone();
        if !self.posts || (self.new_blocks.is_empty() && posted == self.before.posted) {
            return Ok(Computed { change: None, worth });
        }
        let Self { trace, before, new_blocks, .. } = self;
        Ok(Computed { change: Some(TraceChange { trace, before, new_blocks, posted }), worth })
    }
}

/// The blocks of which an event names a reservation, whoever's, and when the first of their events was recorded.
fn naming(events: &Events) -> Vec<(BlockName, i64)> {
    let mut blocks: BTreeMap<BlockName, (i64, bool)> = BTreeMap::new();
    for (name, recorded) in events.values().flatten() {
        let (first_ns, names) = blocks.entry(*name).or_insert((recorded.recorded_at_ns, false));
        *first_ns = (*first_ns).min(recorded.recorded_at_ns);
        *names |= recorded.event.reservation_id.is_some();
    }
    blocks.into_iter().filter(|(_, (_, names))| *names).map(|(name, (first_ns, _))| (name, first_ns)).collect()
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

/// Events that claim to be critical.
fn claims_in(events: &Events) -> BTreeMap<Identity, Claim> {
    let mut claims: BTreeMap<Identity, Claim> = BTreeMap::new();
    for (block, recorded) in events.values().flatten() {
        if !recorded.event.critical {
            continue;
        }
        let claim = Claim { recorded_at_ns: recorded.recorded_at_ns, block: *block };
        let first = claims.entry(Identity::of(&recorded.event)).or_insert(claim);
        if (claim.recorded_at_ns, claim.block) < (first.recorded_at_ns, first.block) {
            *first = claim;
        }
    }
    claims
}

/// The blocks with claims to be critical in traces that could not be posted: not all of them was looked at.
fn unsettled(sight: &Sight, outcome: &RollupOutcome) -> BTreeSet<BlockName> {
    let failed: BTreeSet<u64> = outcome.failed_traces.iter().map(|(trace, _)| *trace).collect();
    let claims = sight.claims.iter().filter(|(identity, _)| failed.contains(&identity.trace));
    claims.map(|(_, claim)| claim.block).collect()
}

/// A pause of random length, so that those who collided do not collide again.
fn pause(attempt: u32) -> Result<Duration, Refusal> {
    let mut byte = [0_u8; 1];
    getrandom::fill(&mut byte).map_err(|error| Refusal::computation("pause", error))?;
    let longest = PAUSE.saturating_mul(2_u32.saturating_pow(attempt)).min(PAUSE_MAX);
    let [share] = byte;
    Ok(longest.saturating_mul(u32::from(share).saturating_add(1)) / 256)
}
