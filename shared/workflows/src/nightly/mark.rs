//! Marking: which local days do new events, a new organisation version or new prices touch?

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use recoup_documents::RULES_VERSION;
use recoup_model::period::TIME_ZONE_DATA;
use recoup_model::{Digest, Period};
use recoup_store::{Expect, Key, Write};
use serde::{Deserialize, Serialize};

use super::{Cut, DIRTY, Dirty};
use crate::app::{App, World};
use crate::close;
use crate::error::Refusal;
use crate::facts::{Night, night_sort};
use crate::records;
use crate::runs::Running;

/// Blocks looked at in one step.
const BLOCKS_PER_STEP: usize = 32;

#[derive(Default, Serialize, Deserialize)]
struct Cursor {
    /// Every block up to this number has marked its days.
    seq: u64,
}

type Marks = BTreeMap<(NaiveDate, u16), String>;

fn cursor_key() -> Key {
    Key::new("state", "marked")
}

impl App {
    /// Marks every day that has something to do. A mark is written before the cursor moves, so a crash repeats it.
    pub(crate) async fn mark_days(&self, running: &Running, world: &World) -> Result<Cut, Refusal> {
        let (mut cursor, mut version) =
            records::get::<Cursor>(self.books(), &cursor_key()).await?.unwrap_or((Cursor::default(), 0));
        let last = self.ports.log.last_seq().await?;
        while cursor.seq < last {
            let blocks = self.ports.log.blocks_after(cursor.seq, BLOCKS_PER_STEP).await?;
            let Some(end) = blocks.last().map(|block| block.seq) else { break };
            let marks = self.marks_of_blocks(world, &blocks).await?;
            self.write_marks(marks).await?;
            let expect = if version == 0 { Expect::Absent } else { Expect::Version(version) };
            cursor.seq = end;
            self.books().write(vec![records::put(cursor_key(), &cursor, expect)?]).await?;
            version = version.saturating_add(1);
            let done = usize::try_from(end).unwrap_or(usize::MAX);
            self.progress(running, "looking at new events", done, usize::try_from(last).unwrap_or(usize::MAX));
        }
        let marks = self.marks_of_changed_inputs(world).await?;
        self.write_marks(marks).await?;
        Ok(Cut(cursor.seq))
    }

    async fn marks_of_blocks(&self, world: &World, blocks: &[recoup_store::BlockInfo]) -> Result<Marks, Refusal> {
        let calendar = world.history.calendar();
        let mut marks = Marks::new();
        let mut lanes: BTreeMap<u16, (BTreeSet<NaiveDate>, BTreeSet<u64>)> = BTreeMap::new();
        for loaded in self.read_blocks(blocks.iter().map(|block| block.seq).collect()).await? {
            let (days, traces) = lanes.entry(loaded.info.lane).or_default();
            days.insert(loaded.info.utc_day);
            for (identity, recorded) in &loaded.events {
                traces.insert(identity.trace);
                let day = calendar.day_of(recorded.event.used_at_ns);
                marks.entry((day, loaded.info.lane)).or_insert_with(|| "new events".into());
            }
        }
        for (lane, (days, fresh)) in lanes {
            let utc_days: Vec<NaiveDate> = days.into_iter().collect();
            let beyond = self.ports.log.traces_beyond(utc_days.clone(), lane).await?;
            let mut related: BTreeSet<u64> =
                beyond.into_iter().map(|(trace, _)| trace).filter(|trace| fresh.contains(trace)).collect();
            related.extend(self.partners(&utc_days, &fresh).await?);
            for (identity, recorded) in self.events_of_traces(&related, Cut::NONE).await? {
                let day = calendar.day_of(recorded.event.used_at_ns);
                let lane = u16::try_from(identity.trace.checked_rem(u64::from(self.lanes)).unwrap_or_default());
                marks
                    .entry((day, lane.unwrap_or_default()))
                    .or_insert_with(|| "new events of a trace that reaches this day".into());
            }
        }
        Ok(marks)
    }

    /// Traces that report a provider call which one of `traces` reports too (EVT-2).
    async fn partners(&self, utc_days: &[NaiveDate], traces: &BTreeSet<u64>) -> Result<BTreeSet<u64>, Refusal> {
        let uses = self.ports.log.shared_responses(utc_days.to_vec()).await?;
        let ours: BTreeSet<u64> =
            uses.iter().filter(|used| traces.contains(&used.identity.trace)).map(|used| used.response).collect();
        let partners = uses.iter().filter(|used| ours.contains(&used.response)).map(|used| used.identity.trace);
        Ok(partners.collect())
    }

    /// Days whose inputs changed since their night. A closed month keeps its rules and its organisation (LED-4); a
    /// price that arrives late touches it like a late event.
    async fn marks_of_changed_inputs(&self, world: &World) -> Result<Marks, Refusal> {
        let closed = close::closed_periods(self.books()).await?;
        let mut marks = Marks::new();
        for (night, _) in self.nights().await? {
            let open = !closed.contains(&Period::of(night.day));
            if let Some(reason) = changed_input(world, &night, open) {
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

fn changed_input(world: &World, night: &Night, open: bool) -> Option<String> {
    if open && (night.rules != RULES_VERSION || night.time_zone_data != TIME_ZONE_DATA) {
        return Some("rules or time zone data changed".to_owned());
    }
    if open && night.organisation != world.history.on(night.day).digest {
        return Some("organisation changed".to_owned());
    }
    if night.exchange != world.prices.exchange_digest() {
        return Some("exchange rates changed".to_owned());
    }
    let changed = |(name, digest): &(&String, &Digest)| world.prices.name_digest(name) != **digest;
    night.names.iter().find(changed).map(|(name, _)| format!("price changed: {name}"))
}
