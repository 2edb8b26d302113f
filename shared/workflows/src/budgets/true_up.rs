//! Counting days again: for a scope that has a budget now and had none when its events came, and for what a night knows and
//! the rollup did not.
//!
//! A new scope counts its whole period, some seventy days of the log. So it is done in steps: each counts a bounded part of
//! what is left and notes in the books how far it came, and any process may take the next one. What is counted again changes
//! nothing, so that after a crash only what was not noted is done once more.
//! I/O: per day and lane the list of its blocks and the blocks, what the rollup does with them, and a note.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::NaiveDate;
use recoup_model::Digest;
use recoup_store::{Expect, Key, Write, WriteError};
use serde::{Deserialize, Serialize};

use super::BLOCKS_PER_STEP;
use crate::app::{App, World};
use crate::error::Refusal;
use crate::plans::counted_key;
use crate::records;

/// Days, each of one lane, that one step counts again.
pub const RECOUNTED_DAYS_MAX: usize = 8;
/// Blocks that one step counts again, where its days have more.
const RECOUNTED_BLOCKS_MAX: usize = 16_384;
/// After so long a step goes on to no further blocks.
const STEP_LASTS_MAX: Duration = Duration::from_secs(5 * 60);

/// A UTC day of one lane.
type Place = (NaiveDate, u16);

/// How far counting again came.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Mark {
    /// The scopes that it is for; of others it says nothing.
    scopes: Option<Digest>,
    /// The last day of a lane that was counted. Those before it are done.
    place: Place,
    /// The number of its last block that was counted; `None`: all were.
    seq: Option<u64>,
}

/// What there is to count again, and where it is noted how far that came.
struct Recount {
    key: Key,
    scopes: Option<Digest>,
    places: BTreeSet<Place>,
}

/// What a step may still do.
struct Allowance {
    days: usize,
    blocks: usize,
    until_ns: i64,
}

impl Allowance {
    fn of_a_step(now_ns: i64) -> Self {
        let lasts_ns = i64::try_from(STEP_LASTS_MAX.as_nanos()).unwrap_or(i64::MAX);
        Self { days: RECOUNTED_DAYS_MAX, blocks: RECOUNTED_BLOCKS_MAX, until_ns: now_ns.saturating_add(lasts_ns) }
    }

    /// Whether it may begin another day. The first it begins however late it is: each step counts something.
    const fn may_begin(&self, now_ns: i64) -> bool {
        self.days == RECOUNTED_DAYS_MAX || (self.days > 0 && !self.is_used_up(now_ns))
    }

    const fn is_used_up(&self, now_ns: i64) -> bool {
        self.blocks == 0 || now_ns >= self.until_ns
    }
}

fn watched_key() -> Key {
    Key::new("state", "watched")
}

fn recounted_key() -> Key {
    Key::new("state", "recounted")
}

impl App {
    /// Rolls the running periods up again where a scope has a budget that had none when its events came, however many steps
    /// that takes.
    ///
    /// # Errors
    /// When the store fails; then the next time goes on.
    pub async fn true_up_counters(&self) -> Result<(), Refusal> {
        let Ok(world) = self.world().await else { return Ok(()) };
        while self.count_new_scopes(&world, &mut Allowance::of_a_step(self.now_ns())).await? > 0 {}
        Ok(())
    }

    /// A step of counting again: new scopes, and the days that a night has run. How many days, each of one lane, are left.
    pub(crate) async fn true_up(&self, run: &str, local_days: &BTreeSet<NaiveDate>) -> Result<usize, Refusal> {
        let Ok(world) = self.world().await else { return Ok(0) };
        let mut allowance = Allowance::of_a_step(self.now_ns());
        let of_scopes = self.count_new_scopes(&world, &mut allowance).await?;
        let of_days = self.count_days(&world, (run, local_days), &mut allowance).await?;
        Ok(of_scopes.saturating_add(of_days))
    }

    async fn count_new_scopes(&self, world: &World, allowance: &mut Allowance) -> Result<usize, Refusal> {
        let watched = self.watched(world);
        let digest = watched.digest();
        let known = records::get::<Digest>(self.books(), &watched_key()).await?;
        if known.as_ref().is_some_and(|(known, _)| *known == digest) || (known.is_none() && watched.is_empty()) {
            return Ok(0);
        }
        let days = self.ports.log.utc_days().await?.into_iter();
        let recount = Recount { key: recounted_key(), scopes: Some(digest), places: self.places(world, days) };
        let left = self.count_again(&recount, allowance).await?;
        if left == 0 {
            let expect = known.as_ref().map_or(Expect::Absent, |(_, version)| Expect::Version(*version));
            let done = records::put(watched_key(), &digest, expect)?;
            self.books().write(vec![done, Write::Delete { key: recount.key, expect: Expect::Any }]).await?;
        }
        Ok(left)
    }

    /// Counts the days again that a night has run: prices and organisation versions that came later, and the reports of one
    /// call in several traces (EVT-2), are known now. Days that no running period can hold any more are left out.
    async fn count_days(
        &self,
        world: &World,
        (run, local_days): (&str, &BTreeSet<NaiveDate>),
        allowance: &mut Allowance,
    ) -> Result<usize, Refusal> {
        if self.watched(world).is_empty() {
            return Ok(0);
        }
        let calendar = world.history.calendar();
        let places = self.places(world, local_days.iter().flat_map(|day| calendar.utc_days(*day)));
        self.count_again(&Recount { key: counted_key(run), scopes: None, places }, allowance).await
    }

    fn places(&self, world: &World, utc_days: impl Iterator<Item = NaiveDate>) -> BTreeSet<Place> {
        let earliest = self.earliest_day(world);
        utc_days.filter(|day| *day >= earliest).flat_map(|day| (0..self.lanes).map(move |lane| (day, lane))).collect()
    }

    /// Counts again what is left, as far as a step may; how many places are left then.
    async fn count_again(&self, recount: &Recount, allowance: &mut Allowance) -> Result<usize, Refusal> {
        let known = records::get::<Mark>(self.books(), &recount.key).await?;
        let mut version = known.as_ref().map(|(_, version)| *version);
        let mark = known.map(|(mark, _)| mark).filter(|mark| mark.scopes == recount.scopes);
        let is_left = |place: &Place| match &mark {
            Some(mark) => *place > mark.place || (*place == mark.place && mark.seq.is_some()),
            None => true,
        };
        let places: Vec<Place> = recount.places.iter().copied().filter(is_left).collect();
        let begun = mark.as_ref().and_then(|mark| Some((mark.place, mark.seq?)));
        for (done, place) in places.iter().enumerate() {
            let left = places.len().saturating_sub(done);
            if !allowance.may_begin(self.now_ns()) {
                return Ok(left);
            }
            allowance.days = allowance.days.saturating_sub(1);
            let after = begun.filter(|(of, _)| of == place).map_or(0, |(_, seq)| seq);
            let seq = self.count_place(*place, after, allowance).await?;
            let mark = Mark { scopes: recount.scopes, place: *place, seq };
            let expect = version.map_or(Expect::Absent, Expect::Version);
            match self.books().write(vec![records::put(recount.key.clone(), &mark, expect)?]).await {
                Ok(()) => version = Some(version.unwrap_or_default().saturating_add(1)),
                // Somebody else takes the same step: what it noted stands, and the next step goes on from there.
                Err(WriteError::Conflict(_)) => return Ok(left),
                Err(error) => return Err(error.into()),
            }
            if seq.is_some() {
                return Ok(left);
            }
        }
        Ok(0)
    }

    /// Counts the blocks of a day and lane again that come after a number; the last one where more are left than a step may.
    async fn count_place(
        &self,
        (utc_day, lane): Place,
        after: u64,
        allowance: &mut Allowance,
    ) -> Result<Option<u64>, Refusal> {
        let mut blocks = self.ports.log.blocks_of_day(utc_day, lane).await?;
        blocks.retain(|block| block.seq > after);
        blocks.sort_unstable_by_key(|block| block.seq);
        let mut reached = None;
        for part in blocks.chunks(BLOCKS_PER_STEP) {
            if reached.is_some() && allowance.is_used_up(self.now_ns()) {
                return Ok(reached);
            }
            let arrived = self.arrived_blocks(part).await?;
            self.roll_again(arrived).await?;
            allowance.blocks = allowance.blocks.saturating_sub(part.len());
            reached = part.last().map(|block| block.seq);
        }
        Ok(None)
    }
}
