//! Months and instants, relative to the machine's clock.

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveTime, SecondsFormat, TimeZone, Utc};
use chrono_tz::Tz;

/// The zone of every organisation in here.
pub const BERLIN: Tz = chrono_tz::Europe::Berlin;

/// Today in Berlin.
pub fn today() -> NaiveDate {
    Utc::now().with_timezone(&BERLIN).date_naive()
}

/// A calendar month.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Month(NaiveDate);

impl Month {
    /// The `n`-th complete month before today's: 1 is the last one.
    pub fn before_today(n: u32) -> Self {
        Self(today().with_day(1).unwrap() - Months::new(n))
    }

    /// The last complete month with that number (10 is October): it lies inside the 400 days of EVT-7.
    pub fn last_complete(number: u32) -> Self {
        (1..=12).map(Self::before_today).find(|month| month.0.month() == number).unwrap()
    }

    /// Its first day.
    pub fn first(self) -> NaiveDate {
        self.0
    }

    /// Its `n`-th day, from 1.
    pub fn day(self, n: u32) -> NaiveDate {
        self.0.with_day(n).unwrap_or_else(|| panic!("{self} has no day {n}"))
    }

    /// The month after it.
    pub fn next(self) -> Self {
        Self(self.0 + Months::new(1))
    }

    /// Every day.
    pub fn days(self) -> Vec<NaiveDate> {
        self.0.iter_days().take_while(|day| *day < self.next().0).collect()
    }

    /// An instant at which it may be closed, be it still to come.
    pub fn closable(self) -> String {
        noon(self.next().0 + Days::new(5))
    }
}

impl std::fmt::Display for Month {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}", self.0.format("%Y-%m"))
    }
}

/// A local time in Berlin as RFC 3339 in UTC; of a time that comes twice the first.
pub fn local(day: NaiveDate, hour: u32, minute: u32, second: u32) -> String {
    let time = NaiveTime::from_hms_opt(hour, minute, second).unwrap();
    printed(BERLIN.from_local_datetime(&day.and_time(time)).earliest().unwrap().to_utc())
}

/// Noon in Berlin.
pub fn noon(day: NaiveDate) -> String {
    local(day, 12, 0, 0)
}

/// An instant as events carry it.
pub(crate) fn printed(instant: DateTime<Utc>) -> String {
    instant.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}
