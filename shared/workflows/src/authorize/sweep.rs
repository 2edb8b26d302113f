//! The sweep: leases whose minute has passed end, once everything that was recorded before is counted.
//!
//! They end in batches, and how far the sweep has come is written after each of them: one that is killed is gone on with where
//! it was, and what had ended is found nowhere any more.

use recoup_store::{Expect, Key};

use crate::app::App;
use crate::error::Refusal;
use crate::records;

/// Minutes swept in one call; the next call goes on.
const MINUTES_MAX: u32 = 1_500;
/// Minutes before the last sweep that are looked at again: a lease may be granted while its minute passes.
const LATE_MINUTES: u32 = 5;
/// Leases that end before the cursor is written again.
const BATCH_LEASES: usize = 400;
/// Leases ended in one call, after which it ends with its batch; the next call goes on.
const LEASES_MAX: usize = 20_000;
/// Minutes without leases after which the cursor is written all the same.
const BATCH_MINUTES: u32 = 100;
/// How far back the first sweep begins: no lease lives longer.
const FIRST_MINUTES: u32 = 2 * 24 * 60;

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Leases that ended.
    pub leases: usize,
    /// Minutes that are done.
    pub minutes: u32,
}

fn cursor_key() -> Key {
    Key::new("state", "swept")
}

impl App {
    /// Ends leases whose minute has passed, and gives back what nobody draws. What was recorded before is counted first; if
    /// that fails nothing ends, which is a denial too early and never one too late.
    ///
    /// # Errors
    /// When the store fails: the next sweep goes on.
    pub async fn sweep_leases(&self) -> Result<Swept, Refusal> {
        self.give_back_idle(None).await?;
        let now_minute = u32::try_from(self.now_ns().div_euclid(60_000_000_000)).unwrap_or_default();
        let known = records::get::<u32>(self.books(), &cursor_key()).await?;
        let from = known.map_or_else(|| now_minute.saturating_sub(FIRST_MINUTES), |(minute, _)| minute);
        let counted_minute = self.counted_minute(now_minute).await?;
        let to = counted_minute.min(from.saturating_add(MINUTES_MAX));
        let mut swept = Swept { leases: 0, minutes: to.saturating_sub(from) };
        if swept.minutes == 0 {
            return Ok(swept);
        }
        let mut noted = from;
        for minute in from.saturating_sub(LATE_MINUTES)..to {
            loop {
                let leases = self.ports.leases.ending(minute, BATCH_LEASES).await?;
                self.ports.leases.end(&leases).await?;
                leases.iter().for_each(|lease| self.desk.end(*lease));
                swept.leases = swept.leases.saturating_add(leases.len());
                let is_done = leases.len() < BATCH_LEASES;
                // Minutes before the cursor that are looked at again do not turn it back.
                let reached = if is_done { minute.saturating_add(1) } else { minute }.max(from);
                if reached > noted && (!leases.is_empty() || reached >= noted.saturating_add(BATCH_MINUTES)) {
                    self.note_swept(reached).await?;
                    noted = reached;
                }
                if swept.leases >= LEASES_MAX {
                    return Ok(Swept { minutes: reached.saturating_sub(from), ..swept });
                }
                if is_done {
                    break;
                }
            }
        }
        self.note_swept(to).await?;
        Ok(swept)
    }

    async fn note_swept(&self, minute: u32) -> Result<(), Refusal> {
        Ok(self.books().write(vec![records::put(cursor_key(), &minute, Expect::Any)?]).await?)
    }

    /// The minute before which everything that was recorded is counted.
    async fn counted_minute(&self, now_minute: u32) -> Result<u32, Refusal> {
        if !self.sharing {
            self.roll_up_new().await?;
            return Ok(now_minute);
        }
        let counted_ns = self.ports.leases.counted_through(self.now_ns()).await?;
        let minute = counted_ns.map(|counted_ns| counted_ns.div_euclid(60_000_000_000));
        Ok(minute.and_then(|minute| u32::try_from(minute).ok()).unwrap_or_default().min(now_minute))
    }
}
