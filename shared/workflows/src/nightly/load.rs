//! Loading: the whole traces that have an event on a local day, and which reports of a shared call do not count.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use recoup_attribution::{Context, billed_report, root_names_team};
use recoup_model::period::utc_day;
use recoup_model::{Identity, Recorded};
use recoup_store::{BlockInfo, StoreError, block};

use crate::app::{App, World};
use crate::error::Refusal;

/// Blocks read in one call.
const BLOCKS_PER_READ: usize = 64;
/// Traces asked for in one call.
const TRACES_PER_READ: usize = 500;

/// The last block that is looked at: a closed month is recomputed from the blocks that it was closed with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut(pub(crate) u64);

impl Cut {
    /// Every block.
    pub(crate) const NONE: Self = Self(u64::MAX);
}

/// A decoded block.
pub(crate) struct Loaded {
    pub(crate) info: BlockInfo,
    pub(crate) events: Vec<(Identity, Recorded)>,
}

/// The traces of a day.
pub(crate) struct DayTraces {
    /// Each with every accepted event of it, on whatever day.
    pub(crate) traces: Vec<Vec<Recorded>>,
    /// Events that do not count because another report of the same call does (EVT-2).
    pub(crate) excluded: BTreeSet<Identity>,
    /// Local days whose organisation decides on something here: those of every event of the traces, and of the traces
    /// that report the same calls.
    pub(crate) days: BTreeSet<NaiveDate>,
}

fn decode(stored: &recoup_store::StoredBlock) -> Result<Vec<(Identity, Recorded)>, StoreError> {
    let events = block::decode(&stored.bytes).map_err(|error| StoreError::Damaged {
        what: format!("block {} of {}", stored.info.seq, stored.info.utc_day),
        detail: error.to_string(),
    })?;
    Ok(events.into_iter().map(|recorded| (Identity::of(&recorded.event), recorded)).collect())
}

impl App {
    /// Reads and decodes blocks, off the async threads.
    pub(crate) async fn read_blocks(&self, seqs: Vec<u64>) -> Result<Vec<Loaded>, Refusal> {
        let mut all = Vec::with_capacity(seqs.len());
        for part in seqs.chunks(BLOCKS_PER_READ) {
            let stored = self.ports.log.read(part.to_vec()).await?;
            let decoded = tokio::task::spawn_blocking(move || {
                stored
                    .iter()
                    .map(|block| Ok(Loaded { info: block.info, events: decode(block)? }))
                    .collect::<Result<Vec<_>, StoreError>>()
            });
            all.extend(decoded.await.map_err(|error| Refusal::computation("decode blocks", error))??);
        }
        Ok(all)
    }

    /// Every event of some traces, in order of recording.
    pub(crate) async fn events_of_traces(
        &self,
        traces: &BTreeSet<u64>,
        cut: Cut,
    ) -> Result<Vec<(Identity, Recorded)>, Refusal> {
        let wanted: Vec<u64> = traces.iter().copied().collect();
        let mut blocks = BTreeSet::new();
        for part in wanted.chunks(TRACES_PER_READ) {
            let found = self.ports.log.blocks_of_traces(part.to_vec()).await?;
            blocks.extend(found.into_iter().map(|(_, block)| block).filter(|block| *block <= cut.0));
        }
        let loaded = self.read_blocks(blocks.into_iter().collect()).await?;
        let events = loaded.into_iter().flat_map(|block| block.events);
        Ok(events.filter(|(identity, _)| traces.contains(&identity.trace)).collect())
    }

    /// The whole traces that have an event on a local day.
    pub(crate) async fn load_day(
        &self,
        world: &World,
        (day, lane): (NaiveDate, u16),
        cut: Cut,
    ) -> Result<DayTraces, Refusal> {
        let calendar = world.history.calendar();
        let (begin, end) = calendar.day_bounds_ns(day);
        let utc_days = calendar.utc_days(day);
        let mut seqs = Vec::new();
        for utc_day in &utc_days {
            let blocks = self.ports.log.blocks_of_day(*utc_day, lane).await?;
            seqs.extend(blocks.into_iter().map(|block| block.seq).filter(|seq| *seq <= cut.0));
        }
        seqs.sort_unstable();
        let mut events: Vec<(Identity, Recorded)> =
            self.read_blocks(seqs.clone()).await?.into_iter().flat_map(|block| block.events).collect();
        let touched: BTreeSet<u64> = events
            .iter()
            .filter(|(_, recorded)| (begin..end).contains(&recorded.event.used_at_ns))
            .map(|(identity, _)| identity.trace)
            .collect();
        let beyond = self.ports.log.traces_beyond(utc_days.clone(), lane).await?;
        let beyond: BTreeSet<u64> =
            beyond.into_iter().map(|(trace, _)| trace).filter(|trace| touched.contains(trace)).collect();
        events.retain(|(identity, _)| touched.contains(&identity.trace) && !beyond.contains(&identity.trace));
        events.extend(self.events_of_traces(&beyond, cut).await?);
        let mut days: BTreeSet<NaiveDate> = BTreeSet::from([day]);
        days.extend(events.iter().map(|(_, recorded)| calendar.day_of(recorded.event.used_at_ns)));
        let all_utc_days: BTreeSet<NaiveDate> =
            events.iter().map(|(_, recorded)| utc_day(recorded.event.used_at_ns)).collect();
        let all_utc_days: Vec<NaiveDate> = all_utc_days.into_iter().collect();
        let (excluded, partner_days) = self.excluded_reports(world, &all_utc_days, &touched, cut).await?;
        days.extend(partner_days);
        Ok(DayTraces { traces: group(events), excluded, days })
    }

    /// Of the provider calls that several events report: the events that do not count (EVT-2), and the local days on
    /// which the traces that report them have events. `utc_days` are those of every event of the `touched` traces.
    pub(crate) async fn excluded_reports(
        &self,
        world: &World,
        utc_days: &[NaiveDate],
        touched: &BTreeSet<u64>,
        cut: Cut,
    ) -> Result<(BTreeSet<Identity>, BTreeSet<NaiveDate>), Refusal> {
        let uses = self.ports.log.shared_responses(utc_days.to_vec()).await?;
        let mut calls: BTreeMap<u64, Vec<Identity>> = BTreeMap::new();
        for used in uses {
            calls.entry(used.response).or_default().push(used.identity);
        }
        calls.retain(|_, reports| reports.iter().any(|identity| touched.contains(&identity.trace)));
        let traces: BTreeSet<u64> = calls.values().flatten().map(|identity| identity.trace).collect();
        if traces.is_empty() {
            return Ok((BTreeSet::new(), BTreeSet::new()));
        }
        let grouped = group(self.events_of_traces(&traces, cut).await?);
        let context = Context { history: &world.history, rater: world.prices.as_ref() };
        let calendar = world.history.calendar();
        let mut days = BTreeSet::new();
        let mut reports: BTreeMap<Identity, (bool, String, String)> = BTreeMap::new();
        for trace in &grouped {
            let named = root_names_team(trace, &context);
            for recorded in trace {
                let event = &recorded.event;
                days.insert(calendar.day_of(event.used_at_ns));
                let names = (named, event.trace_name().to_string(), event.event_id.to_string());
                reports.insert(Identity::of(event), names);
            }
        }
        Ok((calls.values().flat_map(|identities| losers(identities, &reports)).collect(), days))
    }
}

fn losers(identities: &[Identity], reports: &BTreeMap<Identity, (bool, String, String)>) -> Vec<Identity> {
    let known: Vec<(Identity, (bool, &str, &str))> = identities
        .iter()
        .filter_map(|identity| {
            let (named, trace, event) = reports.get(identity)?;
            Some((*identity, (*named, trace.as_str(), event.as_str())))
        })
        .collect();
    let candidates: Vec<_> = known.iter().map(|(_, report)| *report).collect();
    let billed = billed_report(&candidates);
    known.iter().enumerate().filter(|(at, _)| Some(*at) != billed).map(|(_, (identity, _))| *identity).collect()
}

/// Events by trace, each in order of recording. Events are large, so their places are sorted and each is moved once.
pub(crate) fn group(events: Vec<(Identity, Recorded)>) -> Vec<Vec<Recorded>> {
    let mut places: Vec<(u64, usize)> =
        events.iter().enumerate().map(|(at, (identity, _))| (identity.trace, at)).collect();
    places.sort_unstable();
    let mut events: Vec<Option<Recorded>> = events.into_iter().map(|(_, recorded)| Some(recorded)).collect();
    let mut take = |at: &(u64, usize)| events.get_mut(at.1).and_then(Option::take);
    places.chunk_by(|a, b| a.0 == b.0).map(|trace| trace.iter().filter_map(&mut take).collect()).collect()
}

/// The block that cannot be read and why, where that is what went wrong (CLO-1).
pub(crate) fn unreadable(error: &Refusal) -> Option<(String, String)> {
    match error {
        Refusal::Store(StoreError::Damaged { what, detail }) => Some((what.clone(), detail.clone())),
        _ => None,
    }
}
