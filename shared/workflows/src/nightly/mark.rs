//! Marking: which local days do new events, a new organisation version or new prices touch?

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::NaiveDate;
use recoup_documents::RULES_VERSION;
use recoup_model::period::{TIME_ZONE_DATA, utc_day};
use recoup_model::{Calendar, Digest, Identity, Period, Recorded};
use recoup_store::{BlockInfo, Expect, Key, ResponseUse, Write};
use serde::{Deserialize, Serialize};

use super::rows::{DayBlock, identity_of};
use super::seen::{Seen, priced_before_ns};
use super::{Cut, DIRTY, Dirty, unreadable};
use crate::app::{App, World};
use crate::error::Refusal;
use crate::facts::{FACTS_FORM, Night, night_sort};
use crate::records;

/// Nanoseconds of a UTC day, less one.
const DAY_NS: i64 = 86_400_000_000_000 - 1;
/// Blocks looked at in one step.
const BLOCKS_PER_STEP: usize = 32;
/// Blocks looked at in one step where none was looked at before.
const FRESH_BLOCKS_PER_STEP: usize = 256;
/// Why a day is marked that has no new event itself.
const REACHED: &str = "new events of a trace that reaches this day";
/// Steps taken at the same time.
const STEPS_AT_ONCE: usize = 2;

#[derive(Default, Serialize, Deserialize)]
struct Cursor {
    /// Every block up to this number has marked its days.
    seq: u64,
}

/// Why each day and lane is marked.
pub(crate) type Marks = BTreeMap<(NaiveDate, u16), String>;
/// Days and lanes that are marked already, of a log that no night has looked at.
type Fresh = BTreeSet<(NaiveDate, u16)>;

fn cursor_key() -> Key {
    Key::new("state", "marked")
}

impl App {
    /// Marks every day that has something to do. A mark is written before the cursor moves, so a crash repeats it.
    pub(crate) async fn mark_days(self: &Arc<Self>, run: &str, world: &Arc<World>) -> Result<Cut, Refusal> {
        let (mut cursor, mut version) =
            records::get::<Cursor>(self.books(), &cursor_key()).await?.unwrap_or((Cursor::default(), 0));
        self.ports.log.number_blocks().await?;
        let last = self.ports.log.last_seq().await?;
        let mut fresh = (cursor.seq == 0).then(Fresh::new);
        while cursor.seq < last {
            let marked = match &mut fresh {
                Some(known) => self.fresh_marks_after(cursor.seq, world, known).await?,
                None => self.marks_after(cursor.seq, world).await?,
            };
            let Some((end, marks)) = marked else { break };
            self.write_marks(marks).await?;
            let expect = if version == 0 { Expect::Absent } else { Expect::Version(version) };
            cursor.seq = end;
            self.books().write(vec![records::put(cursor_key(), &cursor, expect)?]).await?;
            version = version.saturating_add(1);
            let done = usize::try_from(end).unwrap_or(usize::MAX);
            self.progress(run, "looking at new events", done, usize::try_from(last).unwrap_or(usize::MAX));
        }
        let marks = self.marks_of_changed_inputs(world).await?;
        self.write_marks(marks).await?;
        Ok(Cut(cursor.seq))
    }

    /// The marks of some blocks behind one in a log that no night had looked at when this one began, and the last of these
    /// blocks. Every day that a trace reaches is marked by a block of its own, so that nobody has to ask which traces reach it.
    async fn fresh_marks_after(
        &self,
        seq: u64,
        world: &World,
        known: &mut Fresh,
    ) -> Result<Option<(u64, Marks)>, Refusal> {
        let calendar = world.history.calendar();
        let mut blocks = self.ports.log.blocks_after(seq, FRESH_BLOCKS_PER_STEP).await?;
        let Some(end) = blocks.last().map(|block| block.seq) else { return Ok(None) };
        let mut marks = Marks::new();
        let mark = |known: &mut Fresh, marks: &mut Marks, day: NaiveDate, lane: u16| {
            if known.insert((day, lane)) {
                marks.entry((day, lane)).or_insert_with(|| "new events".into());
            }
        };
        for info in &blocks {
            if let Some(day) = whole_day(calendar, info.utc_day) {
                mark(known, &mut marks, day, info.lane);
            }
        }
        // Which of its two local days a block reaches only its events tell; the last blocks reach the later day first.
        blocks.reverse();
        for some in blocks.chunks(BLOCKS_PER_STEP) {
            let is_known =
                |info: &BlockInfo| ends_of(calendar, info.utc_day).iter().all(|day| known.contains(&(*day, info.lane)));
            let unknown: Vec<BlockInfo> = some.iter().filter(|info| !is_known(info)).copied().collect();
            for (info, block) in self.read_marked(world, &unknown, &mut marks).await? {
                for day in local_days(calendar, block.columns.used_at_ns.iter().copied()) {
                    mark(known, &mut marks, day, info.lane);
                }
            }
        }
        Ok(Some((end, marks)))
    }

    /// The marks of the blocks behind one, some steps at the same time, and the last of these blocks; none: there are no more.
    async fn marks_after(self: &Arc<Self>, seq: u64, world: &Arc<World>) -> Result<Option<(u64, Marks)>, Refusal> {
        let mut end = None;
        let mut steps = Vec::new();
        for _ in 0..STEPS_AT_ONCE {
            let blocks = self.ports.log.blocks_after(end.unwrap_or(seq), BLOCKS_PER_STEP).await?;
            let Some(block) = blocks.last() else { break };
            end = Some(block.seq);
            let (app, world) = (Arc::clone(self), Arc::clone(world));
            steps.push(tokio::spawn(async move { app.marks_of_blocks(&world, &blocks).await }));
        }
        let mut marks = Marks::new();
        for step in steps {
            marks.extend(step.await.map_err(|error| Refusal::computation("look at new events", error))??);
        }
        Ok(end.map(|end| (end, marks)))
    }

    /// The last block whose days are marked: what later ones hold no night has seen.
    pub(crate) async fn marked_through(&self) -> Result<Cut, Refusal> {
        Ok(Cut(records::get::<Cursor>(self.books(), &cursor_key()).await?.map_or(0, |(cursor, _)| cursor.seq)))
    }

    async fn marks_of_blocks(&self, world: &World, blocks: &[BlockInfo]) -> Result<Marks, Refusal> {
        let calendar = world.history.calendar();
        let mut marks = Marks::new();
        let mut lanes: BTreeMap<u16, (BTreeSet<NaiveDate>, Vec<u64>)> = BTreeMap::new();
        let mut mark = |info: &BlockInfo, touched: BTreeSet<NaiveDate>, of: &mut dyn Iterator<Item = u64>| {
            let (days, traces) = lanes.entry(info.lane).or_default();
            days.insert(info.utc_day);
            traces.extend(of);
            for day in touched {
                marks.entry((day, info.lane)).or_insert_with(|| "new events".into());
            }
        };
        // Where a UTC day is a local day, a block's own day says it all.
        let seqs = || blocks.iter().map(|block| block.seq).collect();
        let all_day = |info: &BlockInfo| whole_day(calendar, info.utc_day);
        let prints = if blocks.iter().all(|info| all_day(info).is_some()) {
            self.ports.log.prints(seqs()).await?
        } else {
            vec![None; blocks.len()]
        };
        let mut unknown = Vec::new();
        for (info, prints) in blocks.iter().zip(prints) {
            match (all_day(info), prints) {
                (Some(day), Some(prints)) if u32::try_from(prints.len()) == Ok(info.events) => {
                    mark(info, BTreeSet::from([day]), &mut prints.iter().map(|print| identity_of(print).trace));
                }
                _ => unknown.push(*info),
            }
        }
        let mut unreadable_days = Marks::new();
        for (info, block) in self.read_marked(world, &unknown, &mut unreadable_days).await? {
            mark(&info, local_days(calendar, block.columns.used_at_ns.iter().copied()), &mut block.traces());
        }
        marks.append(&mut unreadable_days);
        for (lane, (mut days, mut fresh)) in lanes {
            fresh.sort_unstable();
            fresh.dedup();
            for utc_day in &days {
                self.mark_within(world, (*utc_day, lane), (&fresh, &mut marks)).await?;
            }
            let beyond = self.ports.log.traces_beyond(days.iter().copied().collect(), lane).await?;
            let beyond: BTreeSet<u64> =
                beyond.into_iter().map(|(trace, _)| trace).filter(|trace| fresh.binary_search(trace).is_ok()).collect();
            let related = self.readable_events(&beyond).await?;
            days.extend(related.iter().map(|(_, recorded)| utc_day(recorded.event.used_at_ns)));
            // A new event may decide which report of a call is billed, on whatever day the other report lies.
            let uses = self.ports.log.shared_responses(days.into_iter().collect()).await?;
            let partners = partners(&uses, &fresh);
            let partners = self.readable_events(&partners).await?;
            for (identity, recorded) in related.iter().chain(&partners) {
                let day = calendar.day_of(recorded.event.used_at_ns);
                let lane = u16::try_from(identity.trace.checked_rem(u64::from(self.lanes)).unwrap_or_default());
                marks.entry((day, lane.unwrap_or_default())).or_insert_with(|| REACHED.into());
            }
        }
        Ok(marks)
    }

    /// Marks the local days that traces with new events reach inside one UTC day: what reaches other UTC days is known by the
    /// log, what reaches the other local day of the same one only the events tell.
    async fn mark_within(
        &self,
        world: &World,
        (utc_day, lane): (NaiveDate, u16),
        (fresh, marks): (&[u64], &mut Marks),
    ) -> Result<(), Refusal> {
        let calendar = world.history.calendar();
        let is_marked = |marks: &Marks| ends_of(calendar, utc_day).iter().all(|day| marks.contains_key(&(*day, lane)));
        if is_marked(marks) {
            return Ok(());
        }
        for some in self.ports.log.blocks_of_day(utc_day, lane).await?.chunks(BLOCKS_PER_STEP) {
            for (_, block) in self.read_marked(world, some, marks).await? {
                let of_fresh = block.traces().zip(&block.columns.used_at_ns);
                let of_fresh =
                    of_fresh.filter(|(trace, _)| fresh.binary_search(trace).is_ok()).map(|(_, at_ns)| *at_ns);
                for day in local_days(calendar, of_fresh) {
                    marks.entry((day, lane)).or_insert_with(|| REACHED.into());
                }
            }
            if is_marked(marks) {
                break;
            }
        }
        Ok(())
    }

    /// Reads new blocks. The days of one that cannot be read are marked, and stay so until it can (CLO-1); the others
    /// go on.
    async fn read_marked(
        &self,
        world: &World,
        blocks: &[BlockInfo],
        marks: &mut Marks,
    ) -> Result<Vec<(BlockInfo, Arc<DayBlock>)>, Refusal> {
        let seqs = || blocks.iter().map(|block| block.seq).collect();
        match self.read_times(seqs()).await {
            Err(error) if unreadable(&error).is_some() => {}
            read => return Ok(blocks.iter().copied().zip(read?).collect()),
        }
        let calendar = world.history.calendar();
        let mut all = Vec::new();
        for block in blocks {
            match self.read_times(vec![block.seq]).await {
                Ok(read) => all.extend(read.into_iter().map(|read| (*block, read))),
                Err(error) => {
                    let (what, _) = unreadable(&error).ok_or(error)?;
                    for day in ends_of(calendar, block.utc_day) {
                        marks.insert((day, block.lane), format!("{what} cannot be read"));
                    }
                }
            }
        }
        Ok(all)
    }

    /// Every event of some traces; none where a block cannot be read, which marks its days by itself.
    async fn readable_events(&self, traces: &BTreeSet<u64>) -> Result<Vec<(Identity, Recorded)>, Refusal> {
        match self.events_of_traces(traces, Cut::NONE).await {
            Err(error) if unreadable(&error).is_some() => Ok(Vec::new()),
            read => read,
        }
    }

    /// Days whose inputs changed since their night. A closed month keeps its rules and its organisation (LED-4); a
    /// price that arrives late touches it like a late event.
    pub(crate) async fn marks_of_changed_inputs(&self, world: &World) -> Result<Marks, Refusal> {
        let closed = self.closed_worlds(world).await?;
        let mut marks = Marks::new();
        let mut seen = Seen::default();
        for (night, _) in self.nights().await? {
            let own = closed.get(&Period::of(night.day));
            let changed = match own {
                Some(own) => changed_input(own, &night, None),
                None => changed_input(world, &night, Some(&mut seen)),
            }?;
            if let Some(reason) = changed {
                marks.insert((night.day, night.lane), reason);
            }
        }
        Ok(marks)
    }

    async fn write_marks(&self, marks: Marks) -> Result<(), Refusal> {
        let puts = marks.into_iter().map(|((day, lane), reason)| {
            records::put(Key::new(DIRTY, night_sort(day, lane)), &Dirty { day, lane, reason }, Expect::Any)
        });
        let puts: Vec<Write> = puts.collect::<Result<_, _>>()?;
        Ok(records::write_in_groups(self.books(), puts).await?)
    }
}

/// The local day that a UTC day is, where it is one.
fn whole_day(calendar: Calendar, utc_day: NaiveDate) -> Option<NaiveDate> {
    let [first, last] = ends_of(calendar, utc_day);
    (first == last).then_some(first)
}

/// The local days that a UTC day begins on and ends on.
fn ends_of(calendar: Calendar, utc_day: NaiveDate) -> [NaiveDate; 2] {
    let midnight = utc_day.and_time(chrono::NaiveTime::MIN).and_utc();
    let begin_ns = midnight.timestamp_nanos_opt().unwrap_or_default();
    [begin_ns, begin_ns.saturating_add(DAY_NS)].map(|at_ns| calendar.day_of(at_ns))
}

/// The local days of some instants, most of which follow each other closely.
fn local_days(calendar: Calendar, instants_ns: impl IntoIterator<Item = i64>) -> BTreeSet<NaiveDate> {
    let mut days = BTreeSet::new();
    let mut last = 0..0;
    for instant_ns in instants_ns {
        if !last.contains(&instant_ns) {
            let day = calendar.day_of(instant_ns);
            let (begin_ns, end_ns) = calendar.day_bounds_ns(day);
            last = begin_ns..end_ns;
            days.insert(day);
        }
    }
    days
}

/// Why the facts of a night may be others now; `seen`: the night may also be run again under other rules and another
/// organisation, as its month is open. Nights of earlier releases hold digests of whole files and of prices of all times.
fn changed_input(world: &World, night: &Night, seen: Option<&mut Seen>) -> Result<Option<String>, Refusal> {
    let open = seen.is_some();
    if open && (night.rules != RULES_VERSION || night.time_zone_data != TIME_ZONE_DATA) {
        return Ok(Some("rules or time zone data changed".to_owned()));
    }
    if night.form != FACTS_FORM {
        return Ok(Some("facts are stored in another form now".to_owned()));
    }
    if let Some(seen) = seen {
        for (day, held) in &night.organisations {
            let version = world.history.on(*day);
            if *held != version.digest && *held != seen.digest(version)? {
                return Ok(Some(seen.difference(&world.history, *held, version)?));
            }
        }
    }
    let before_ns = priced_before_ns(world.history.calendar(), night.organisations.keys().next_back().copied());
    let prices = &world.prices;
    let rates_stand =
        |held: Digest| held == prices.exchange_digest_before(before_ns) || held == prices.exchange_digest();
    if night.exchange.is_some_and(|held| !rates_stand(held)) {
        return Ok(Some("exchange rates changed".to_owned()));
    }
    let stands = |name: &str, held: &Digest| {
        prices.name_digest_before(name, before_ns) == *held || prices.name_digest(name) == *held
    };
    let changed = night.names.iter().find(|(name, held)| !stands(name, held));
    Ok(changed.map(|(name, _)| match name.strip_prefix("rate:") {
        Some(currency) => format!("exchange rate changed: {currency}"),
        None => format!("price changed: {name}"),
    }))
}

/// Traces that report a provider call which one of `traces`, in order, reports too (EVT-2).
pub(crate) fn partners(uses: &[ResponseUse], traces: &[u64]) -> BTreeSet<u64> {
    let is_ours = |used: &&ResponseUse| traces.binary_search(&used.identity.trace).is_ok();
    let ours: BTreeSet<u64> = uses.iter().filter(is_ours).map(|used| used.response).collect();
    uses.iter().filter(|used| ours.contains(&used.response)).map(|used| used.identity.trace).collect()
}
