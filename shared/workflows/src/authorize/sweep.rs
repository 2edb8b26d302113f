//! The sweep: leases whose minute has passed end, once everything that was recorded before is counted.

use recoup_store::{Expect, Key};

use crate::app::App;
use crate::error::Refusal;
use crate::records;

/// Minutes swept in one call; the next call goes on.
const MINUTES_MAX: u32 = 1_500;
/// Minutes before the last sweep that are looked at again: a lease may be granted while its minute passes.
const LATE_MINUTES: u32 = 5;
/// Leases of one minute ended in one page.
const LEASES_MAX: usize = 500;
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
        for minute in from.saturating_sub(LATE_MINUTES)..to {
            swept.leases = swept.leases.saturating_add(self.end_minute(minute).await?);
        }
        self.books().write(vec![records::put(cursor_key(), &to, Expect::Any)?]).await?;
        Ok(swept)
    }

    async fn end_minute(&self, minute: u32) -> Result<usize, Refusal> {
        let mut ended = 0_usize;
        loop {
            let leases = self.ports.leases.ending(minute, LEASES_MAX).await?;
            for lease in &leases {
                self.ports.leases.end(*lease).await?;
                self.desk.end(*lease);
            }
            ended = ended.saturating_add(leases.len());
            if leases.len() < LEASES_MAX {
                return Ok(ended);
            }
        }
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
