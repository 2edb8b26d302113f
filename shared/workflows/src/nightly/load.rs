//! Loading: the whole traces that have an event on a local day, and which reports of a shared call do not count.

use std::collections::HashSet; // tidy: allow(hash-order) put in order before anybody sees it
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::NaiveDate;
use recoup_attribution::{Context, Report, reports_of, second_reports};
use recoup_model::digest::response_fingerprint;
use recoup_model::period::utc_day;
use recoup_model::{Calendar, Identity, Recorded};
use recoup_store::block::BlockError;
use recoup_store::block::columns::{Wanted, read_wanted_columns};
use recoup_store::{StoreError, StoredBlock};
use rustc_hash::FxBuildHasher;

use super::rows::{DayBlock, Print};
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

/// Where the fingerprints of events come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prints {
    /// From beside the block, where the store kept them.
    Stored,
    /// From the events themselves: a month that is verified trusts nothing that follows from them.
    Computed,
}

/// The traces of a day: every accepted event of each, on whatever day.
pub(crate) struct DayTraces {
    /// The blocks of the day's UTC days. They hold other traces too.
    pub(super) blocks: Vec<Arc<DayBlock>>,
    /// Events of the day's traces in other blocks.
    pub(super) beyond: Vec<Recorded>,
    /// Events that do not count because another report of the same call does (EVT-2).
    pub(crate) excluded: BTreeSet<Identity>,
    /// Local days whose organisation decides on something here: those of every event of the traces, and of the traces
    /// that report the same calls.
    pub(crate) days: BTreeSet<NaiveDate>,
    /// The traces that have an event on the day, in order.
    touched: Vec<u64>,
}

impl DayTraces {
    /// Whether no trace has an event on the day.
    pub(crate) fn is_empty(&self) -> bool {
        self.touched.is_empty()
    }

    /// Every event of the traces, by trace.
    pub(crate) fn in_full(&self) -> Vec<Vec<Recorded>> {
        let touched = |trace: u64| self.touched.binary_search(&trace).is_ok();
        let blocks = self.blocks.iter().flat_map(|block| block.events_of(touched));
        let beyond = self.beyond.iter().map(|recorded| (Identity::of(&recorded.event), recorded.clone()));
        group(blocks.chain(beyond).collect())
    }
}

fn day_block(stored: &StoredBlock, prints: Option<Vec<Print>>, wanted: Wanted) -> Result<DayBlock, StoreError> {
    let damaged = |error: BlockError| StoreError::Damaged {
        what: format!("block {} of {}", stored.info.seq, stored.info.utc_day),
        detail: error.to_string(),
    };
    // Fingerprints that the store did not keep are made of all columns.
    let wanted = if prints.is_some() { wanted } else { Wanted::All };
    let columns = read_wanted_columns(&stored.bytes, wanted).map_err(damaged)?;
    if wanted != Wanted::All && prints.as_ref().is_none_or(|prints| prints.len() != columns.len) {
        return day_block(stored, None, Wanted::All);
    }
    Ok(DayBlock::new(columns, prints, stored.bytes.len()))
}

/// The traces that have an event in a stretch of time, in order.
fn traces_within(blocks: &[Arc<DayBlock>], (begin_ns, end_ns): (i64, i64)) -> Vec<u64> {
    let mut found: HashSet<u64, FxBuildHasher> = HashSet::default(); // tidy: allow(hash-order) put in order below
    for block in blocks {
        let mut last = None;
        for (trace, used_at_ns) in block.traces().zip(&block.columns.used_at_ns) {
            if last != Some(trace) && (begin_ns..end_ns).contains(used_at_ns) {
                found.insert(trace);
                last = Some(trace);
            }
        }
    }
    let mut traces: Vec<u64> = found.into_iter().collect();
    traces.sort_unstable();
    traces
}

/// Traces to be asked for, once for every event of a block.
fn asked(traces: &BTreeSet<u64>) -> HashSet<u64, FxBuildHasher> {
    // tidy: allow(hash-order) only asked
    traces.iter().copied().collect()
}

/// The local days of the events of some traces: the day itself, and those of events beyond it.
fn days_of(
    blocks: &[Arc<DayBlock>],
    (calendar, day): (Calendar, NaiveDate),
    is_touched: impl Fn(u64) -> bool,
) -> BTreeSet<NaiveDate> {
    let (begin_ns, end_ns) = calendar.day_bounds_ns(day);
    let mut days = BTreeSet::from([day]);
    for block in blocks {
        let events = block.traces().zip(&block.columns.used_at_ns);
        let elsewhere = events.filter(|(_, used_at_ns)| !(begin_ns..end_ns).contains(*used_at_ns));
        days.extend(elsewhere.filter(|(trace, _)| is_touched(*trace)).map(|(_, at_ns)| calendar.day_of(*at_ns)));
    }
    days
}

impl App {
    /// Every event of some traces, in order of recording.
    pub(crate) async fn events_of_traces(
        &self,
        traces: &BTreeSet<u64>,
        cut: Cut,
    ) -> Result<Vec<(Identity, Recorded)>, Refusal> {
        let blocks = self.blocks_of_traces(traces, cut).await?;
        let traces = asked(traces);
        let mut events = Vec::new();
        for part in blocks.into_iter().collect::<Vec<_>>().chunks(BLOCKS_PER_READ) {
            let loaded = self.read_columns(part.to_vec(), Prints::Stored).await?;
            events.extend(loaded.iter().flat_map(|block| block.events_of(|trace| traces.contains(&trace))));
        }
        Ok(events)
    }

    /// Reads blocks as columns, off the async threads.
    pub(crate) async fn read_columns(&self, seqs: Vec<u64>, prints: Prints) -> Result<Vec<Arc<DayBlock>>, Refusal> {
        self.read_blocks(seqs, prints, Wanted::All).await
    }

    /// Reads of blocks when their events were used, and what tells these apart.
    pub(crate) async fn read_times(&self, seqs: Vec<u64>) -> Result<Vec<Arc<DayBlock>>, Refusal> {
        self.read_blocks(seqs, Prints::Stored, Wanted::Times).await
    }

    async fn read_blocks(&self, seqs: Vec<u64>, prints: Prints, wanted: Wanted) -> Result<Vec<Arc<DayBlock>>, Refusal> {
        let may_be_kept = (prints, wanted) == (Prints::Stored, Wanted::All);
        let mut all = if may_be_kept { self.decoded.find(&seqs) } else { vec![None; seqs.len()] };
        let missing = seqs.iter().zip(&all).filter(|(_, known)| known.is_none());
        let missing: Vec<u64> = missing.map(|(seq, _)| *seq).collect();
        let mut places = all.iter_mut().filter(|known| known.is_none());
        for part in missing.chunks(BLOCKS_PER_READ) {
            let stored = self.ports.log.read(part.to_vec()).await?;
            let kept = match prints {
                Prints::Stored => self.ports.log.prints(part.to_vec()).await?,
                Prints::Computed => vec![None; part.len()],
            };
            let decoded = tokio::task::spawn_blocking(move || {
                let blocks =
                    stored.iter().zip(kept).map(|(block, prints)| day_block(block, prints, wanted).map(Arc::new));
                blocks.collect::<Result<Vec<_>, _>>()
            });
            let decoded = decoded.await.map_err(|error| Refusal::computation("decode blocks", error))??;
            if may_be_kept {
                self.decoded.add(part, &decoded);
            }
            decoded.into_iter().zip(places.by_ref()).for_each(|(block, place)| *place = Some(block));
        }
        Ok(all.into_iter().flatten().collect())
    }

    /// The whole traces that have an event on a local day.
    pub(crate) async fn load_day(
        &self,
        world: &World,
        (day, lane): (NaiveDate, u16),
        (cut, prints): (Cut, Prints),
    ) -> Result<DayTraces, Refusal> {
        let calendar = world.history.calendar();
        let utc_days = calendar.utc_days(day);
        let mut seqs = Vec::new();
        for utc_day in &utc_days {
            let blocks = self.ports.log.blocks_of_day(*utc_day, lane).await?;
            seqs.extend(blocks.into_iter().map(|block| block.seq).filter(|seq| *seq <= cut.0));
        }
        seqs.sort_unstable();
        let blocks = self.read_columns(seqs.clone(), prints).await?;
        let touched = traces_within(&blocks, calendar.day_bounds_ns(day));
        let is_touched = |trace: u64| touched.binary_search(&trace).is_ok();
        let reaching = self.ports.log.traces_beyond(utc_days.clone(), lane).await?;
        let reaching: BTreeSet<u64> =
            reaching.into_iter().map(|(trace, _)| trace).filter(|trace| is_touched(*trace)).collect();
        let beyond = self.events_in_other_blocks(&reaching, &seqs, cut).await?;
        let mut days = days_of(&blocks, (calendar, day), is_touched);
        days.extend(beyond.iter().map(|recorded| calendar.day_of(recorded.event.used_at_ns)));
        let mut all_utc_days: BTreeSet<NaiveDate> = utc_days.into_iter().collect();
        all_utc_days.extend(beyond.iter().map(|recorded| utc_day(recorded.event.used_at_ns)));
        let all_utc_days: Vec<NaiveDate> = all_utc_days.into_iter().collect();
        let (excluded, partner_days) = self.excluded_reports(world, &all_utc_days, &touched, cut).await?;
        days.extend(partner_days);
        Ok(DayTraces { blocks, beyond, excluded, days, touched })
    }

    /// The events of some traces in blocks that are not at hand.
    async fn events_in_other_blocks(
        &self,
        traces: &BTreeSet<u64>,
        at_hand: &[u64],
        cut: Cut,
    ) -> Result<Vec<Recorded>, Refusal> {
        let mut blocks = self.blocks_of_traces(traces, cut).await?;
        blocks.retain(|block| at_hand.binary_search(block).is_err());
        let traces = asked(traces);
        let mut events = Vec::new();
        for part in blocks.into_iter().collect::<Vec<_>>().chunks(BLOCKS_PER_READ) {
            for block in self.read_columns(part.to_vec(), Prints::Stored).await? {
                let found = block.events_of(|trace| traces.contains(&trace));
                events.extend(found.into_iter().map(|(_, recorded)| recorded));
            }
        }
        Ok(events)
    }

    /// Traces that have events on some UTC days and on others too, with those other days, of all lanes.
    pub(crate) async fn traces_beyond(&self, utc_days: &BTreeSet<NaiveDate>) -> Result<Vec<(u64, NaiveDate)>, Refusal> {
        let mut beyond = Vec::new();
        for lane in 0..self.lanes {
            beyond.extend(self.ports.log.traces_beyond(utc_days.iter().copied().collect(), lane).await?);
        }
        Ok(beyond)
    }

    /// The blocks that hold an event of one of some traces.
    async fn blocks_of_traces(&self, traces: &BTreeSet<u64>, cut: Cut) -> Result<BTreeSet<u64>, Refusal> {
        let wanted: Vec<u64> = traces.iter().copied().collect();
        let mut blocks = BTreeSet::new();
        for part in wanted.chunks(TRACES_PER_READ) {
            let found = self.ports.log.blocks_of_traces(part.to_vec()).await?;
            blocks.extend(found.into_iter().map(|(_, block)| block).filter(|block| *block <= cut.0));
        }
        Ok(blocks)
    }

    /// Of the provider calls that several events report: the events that do not count (EVT-2), and the local days on
    /// which the traces that report them have events. `utc_days` are those of every event of the `touched` traces, which
    /// are in order.
    pub(crate) async fn excluded_reports(
        &self,
        world: &World,
        utc_days: &[NaiveDate],
        touched: &[u64],
        cut: Cut,
    ) -> Result<(BTreeSet<Identity>, BTreeSet<NaiveDate>), Refusal> {
        let uses = self.ports.log.shared_responses(utc_days.to_vec()).await?;
        let mut calls: BTreeMap<u64, Vec<Identity>> = BTreeMap::new();
        for used in uses {
            calls.entry(used.response).or_default().push(used.identity);
        }
        calls.retain(|_, reports| reports.iter().any(|identity| touched.binary_search(&identity.trace).is_ok()));
        let traces: BTreeSet<u64> = calls.values().flatten().map(|identity| identity.trace).collect();
        if traces.is_empty() {
            return Ok((BTreeSet::new(), BTreeSet::new()));
        }
        let grouped = group(self.events_of_traces(&traces, cut).await?);
        let context = Context { history: &world.history, rater: world.prices.as_ref() };
        let calendar = world.history.calendar();
        let mut days = BTreeSet::new();
        let mut reports = Vec::new();
        for trace in &grouped {
            days.extend(trace.iter().map(|recorded| calendar.day_of(recorded.event.used_at_ns)));
            // Of other calls not every report is at hand.
            let is_asked = |report: &Report| calls.contains_key(&response_fingerprint(&report.call.0, &report.call.1));
            reports.extend(reports_of(trace, &context).into_iter().filter(is_asked));
        }
        Ok((second_reports(reports), days))
    }
}

/// Events by trace, each in order of recording. Events are large, so their places are sorted and each is moved once.
pub(crate) fn group(events: Vec<(Identity, Recorded)>) -> Vec<Vec<Recorded>> {
    let mut places: Vec<(u64, usize)> =
        events.iter().enumerate().map(|(at, (identity, _))| (identity.trace, at)).collect();
    places.sort_unstable();
    let mut events: Vec<Option<Recorded>> = events.into_iter().map(|(_, recorded)| Some(recorded)).collect();
    let mut take = |at: &(u64, usize)| events.get_mut(at.1).and_then(Option::take);
    let traces = places.chunk_by(|a, b| a.0 == b.0);
    traces.map(|trace| trace.iter().filter_map(&mut take).collect()).collect()
}

/// The block that cannot be read and why, where that is what went wrong (CLO-1).
pub(crate) fn unreadable(error: &Refusal) -> Option<(String, String)> {
    match error {
        Refusal::Store(StoreError::Damaged { what, detail }) => Some((what.clone(), detail.clone())),
        _ => None,
    }
}
