//! A made-up company and its events: what `recoup demo` and `recoup sample` post.
//!
//! Owns: the organisation file of the example company, the behaviour of its agents, and a seeded stream of events in
//! the contract's JSON. Does not own: prices (the shipped catalogue and the organisation file), posting, times of day
//! other than those it is given.
//! Invariants: the same options give the same bytes; events come roughly by time of use, in bounded memory; each
//! identity has one content, apart from the conflicts that the summary counts; every event is used inside the
//! requested local days.
//! Start reading at [`Sample`], then `playbooks.rs` for what the agents do and `habits.rs` for what goes wrong.

mod chance;
mod company;
mod habits;
mod line;
mod offers;
mod playbooks;
mod rhythm;
mod script;
mod stage;
mod stream;
mod summary;
#[cfg(test)]
mod tests;
mod trace;

use chrono::{Datelike, Days, NaiveDate};
use recoup_model::Period;

pub(crate) use self::stream::Sample;
pub(crate) use self::summary::SampleSummary;

/// The organisation file (`recoup.toml`) of the example company.
#[must_use]
pub(crate) fn organisation_file() -> &'static str {
    include_str!("demo.toml")
}

/// Which month to make up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// Everything happens that recoup has to cope with, each thing a few times, and is counted.
    Demo,
    /// An ordinary month of any size: traces of about ten spans, 0.5 % delivered twice.
    Plain,
}

/// What a sample depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SampleOptions {
    /// The same seed gives the same events.
    pub(crate) seed: u64,
    /// Distinct spans, about: the last trace is completed, and each night has one trace that crosses midnight.
    pub(crate) spans: u64,
    /// First local day (Europe/Berlin).
    pub(crate) first_day: NaiveDate,
    /// Local days.
    pub(crate) days: u32,
    /// Which month to make up.
    pub(crate) scenario: Scenario,
}

/// Most days of a sample: older events are not accepted (EVT-7).
pub(crate) const DAYS_MAX: u32 = 400;

/// Spans of the demo.
const DEMO_SPANS: u64 = 24_000;

/// Days of the month after the demo's: with them the soft close of three days is over.
const DEMO_DAYS_AFTER: i64 = 4;

/// Why there is no sample.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SampleError {
    /// No days, or too many.
    #[error("a sample of {0} days cannot be made; ask for 1 to {DAYS_MAX} days")]
    Days(u32),
    /// A first day that clocks cannot tell.
    #[error("a sample cannot begin on {0}; choose a first day between 1970-01-02 and 2200-12-31")]
    FirstDay(NaiveDate),
}

impl SampleOptions {
    /// The demo: the last complete month before `today` and what has passed of the month after it, up to four days.
    ///
    /// Models and fees are those of the shipped catalogue that are in force since 1 October 2026 or earlier.
    #[must_use]
    pub(crate) fn demo(seed: u64, today: NaiveDate) -> Self {
        let this_month = Period::of(today).first_day();
        let first_day = Period::of(today).previous().first_day();
        let passed = today.signed_duration_since(this_month).num_days().clamp(0, DEMO_DAYS_AFTER);
        let month = this_month.signed_duration_since(first_day).num_days();
        let days = u32::try_from(month.saturating_add(passed)).unwrap_or_default();
        Self { seed, spans: DEMO_SPANS, first_day, days, scenario: Scenario::Demo }
    }

    fn check(&self) -> Result<(), SampleError> {
        if !(1..=DAYS_MAX).contains(&self.days) {
            return Err(SampleError::Days(self.days));
        }
        let reaches = self.first_day.checked_add_days(Days::new(self.days.into()));
        let is_told = self.first_day.year() >= 1970 && reaches.is_some_and(|day| day.year() <= 2201);
        is_told.then_some(()).ok_or(SampleError::FirstDay(self.first_day))
    }
}

/// When an event is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Within minutes, at most hours, of its use.
    OnTime,
    /// Two or three days later: after the night that would have counted it.
    Late,
}

/// One delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SampleEvent {
    /// The event as one line of JSON, without the line's end.
    pub(crate) json: String,
    /// When it was used, nanoseconds since 1970-01-01T00:00:00Z.
    pub(crate) used_at_ns: i64,
    /// When it is delivered.
    pub(crate) deliver_after: Phase,
}
