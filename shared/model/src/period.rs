//! Billing periods and local days in an organisation's IANA time zone: half-open, from local midnight to local midnight.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The version of the IANA time zone data that is compiled in; part of every manifest.
pub const TIME_ZONE_DATA: &str = chrono_tz::IANA_TZDB_VERSION;

/// A calendar month, written `2026-10`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period(NaiveDate);

/// A text that is no month.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a month; write it as 2026-10")]
pub struct NotAPeriod(pub String);

impl Period {
    /// The month that a local day lies in.
    #[must_use]
    pub fn of(day: NaiveDate) -> Self {
        Self(day.with_day(1).unwrap_or(day))
    }

    /// Its first local day.
    #[must_use]
    pub const fn first_day(self) -> NaiveDate {
        self.0
    }

    /// The month after it.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.checked_add_months(Months::new(1)).unwrap_or(self.0))
    }

    /// The month before it.
    #[must_use]
    pub fn previous(self) -> Self {
        Self(self.0.checked_sub_months(Months::new(1)).unwrap_or(self.0))
    }

    /// Whether a local day lies in it.
    #[must_use]
    pub fn contains(self, day: NaiveDate) -> bool {
        Self::of(day) == self
    }

    /// Its local days in order.
    pub fn days(self) -> impl Iterator<Item = NaiveDate> {
        let end = self.next().0;
        self.0.iter_days().take_while(move |day| *day < end)
    }
}

impl FromStr for Period {
    type Err = NotAPeriod;

    fn from_str(text: &str) -> Result<Self, NotAPeriod> {
        let bad = || NotAPeriod(text.to_owned());
        if text.len() != 7 {
            return Err(bad());
        }
        NaiveDate::parse_from_str(&format!("{text}-01"), "%Y-%m-%d").map(Self).map_err(|_| bad())
    }
}

impl fmt::Display for Period {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:04}-{:02}", self.0.year(), self.0.month())
    }
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Turns instants into local days and back, in one time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calendar {
    zone: Tz,
}

impl Calendar {
    /// The calendar of a time zone.
    #[must_use]
    pub const fn new(zone: Tz) -> Self {
        Self { zone }
    }

    /// The zone.
    #[must_use]
    pub const fn zone(self) -> Tz {
        self.zone
    }

    /// The local day of an instant (nanoseconds since 1970-01-01T00:00:00Z).
    #[must_use]
    pub fn day_of(self, instant_ns: i64) -> NaiveDate {
        DateTime::from_timestamp_nanos(instant_ns).with_timezone(&self.zone).date_naive()
    }

    /// The instant at which a local day begins. Where clocks skip midnight it is the first instant after the gap;
    /// where midnight comes twice, the first of the two.
    #[must_use]
    pub fn day_start_ns(self, day: NaiveDate) -> i64 {
        let mut local = day.and_time(NaiveTime::MIN);
        // No gap of the time zone data is longer than a day; a quarter of an hour divides every one of them.
        for _ in 0..=96 {
            if let Some(instant) = self.zone.from_local_datetime(&local).earliest() {
                return instant.with_timezone(&Utc).timestamp_nanos_opt().unwrap_or_default();
            }
            local = local.checked_add_signed(TimeDelta::minutes(15)).unwrap_or(local);
        }
        day.and_time(NaiveTime::MIN).and_utc().timestamp_nanos_opt().unwrap_or_default()
    }

    /// Begin (inclusive) and end (exclusive) of a local day.
    #[must_use]
    pub fn day_bounds_ns(self, day: NaiveDate) -> (i64, i64) {
        let next = day.checked_add_days(Days::new(1)).unwrap_or(day);
        (self.day_start_ns(day), self.day_start_ns(next))
    }

    /// Begin (inclusive) and end (exclusive) of a month.
    #[must_use]
    pub fn period_bounds_ns(self, period: Period) -> (i64, i64) {
        (self.day_start_ns(period.first_day()), self.day_start_ns(period.next().first_day()))
    }

    /// The UTC days that a local day overlaps, in order.
    #[must_use]
    pub fn utc_days(self, day: NaiveDate) -> Vec<NaiveDate> {
        let (begin, end) = self.day_bounds_ns(day);
        let first = utc_day(begin);
        let last = utc_day(end.saturating_sub(1));
        first.iter_days().take_while(|utc| *utc <= last).collect()
    }
}

/// The UTC day of an instant (nanoseconds since 1970-01-01T00:00:00Z).
#[must_use]
pub fn utc_day(instant_ns: i64) -> NaiveDate {
    DateTime::from_timestamp_nanos(instant_ns).date_naive()
}

/// An instant as RFC 3339 in UTC, with as many fraction digits as it needs.
#[must_use]
pub fn format_instant(instant_ns: i64) -> String {
    let seconds = instant_ns.div_euclid(1_000_000_000);
    let nanos = instant_ns.rem_euclid(1_000_000_000);
    let day = DateTime::from_timestamp_nanos(instant_ns).date_naive();
    let second_of_day = seconds.rem_euclid(86_400);
    let mut text = String::with_capacity("2026-11-24T10:00:00.000000000Z".len());
    push_digits(&mut text, i64::from(day.year()), 4);
    for (mark, part) in [('-', day.month()), ('-', day.day())] {
        text.push(mark);
        push_digits(&mut text, i64::from(part), 2);
    }
    let [minutes, hours] = [60, 3_600].map(|unit| second_of_day.div_euclid(unit));
    for (mark, part) in [('T', hours), (':', minutes.rem_euclid(60)), (':', second_of_day.rem_euclid(60))] {
        text.push(mark);
        push_digits(&mut text, part, 2);
    }
    if nanos != 0 {
        text.push('.');
        let units = [(1_000_000, 3), (1_000, 6)].into_iter().find(|(unit, _)| nanos.rem_euclid(*unit) == 0);
        let (unit, width) = units.unwrap_or((1, 9));
        push_digits(&mut text, nanos.div_euclid(unit), width);
    }
    text.push('Z');
    text
}

/// Appends a number that has at most so many digits, with zeros in front.
fn push_digits(text: &mut String, number: i64, width: u32) {
    for place in (0..width).rev() {
        let digit = number.div_euclid(10_i64.saturating_pow(place)).rem_euclid(10);
        text.push(u32::try_from(digit).ok().and_then(|digit| char::from_digit(digit, 10)).unwrap_or('0'));
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    proptest::proptest! {
        #[test]
        fn an_instant_reads_as_chrono_writes_it(instant_ns: i64, digits in 0_u32..4) {
            let unit = 1_000_i64.saturating_pow(digits);
            for instant_ns in [instant_ns, instant_ns.div_euclid(unit).saturating_mul(unit)] {
                let theirs = DateTime::from_timestamp_nanos(instant_ns).to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true);
                proptest::prop_assert_eq!(format_instant(instant_ns), theirs);
            }
        }
    }

    const HOUR_NS: i64 = 3_600_000_000_000;

    fn hours(zone: Tz, period: &str) -> i64 {
        let (begin, end) = Calendar::new(zone).period_bounds_ns(period.parse().unwrap());
        end.checked_sub(begin).unwrap().checked_div(HOUR_NS).unwrap()
    }

    #[test]
    fn a_month_with_a_clock_change_has_743_or_745_hours() {
        assert_eq!(hours(chrono_tz::Europe::Berlin, "2026-03"), 743);
        assert_eq!(hours(chrono_tz::Europe::Berlin, "2026-10"), 745);
        assert_eq!(hours(chrono_tz::UTC, "2026-10"), 744);
    }

    #[test]
    fn a_day_without_midnight_begins_after_the_gap() {
        let calendar = Calendar::new(chrono_tz::America::Sao_Paulo);
        let day = NaiveDate::from_ymd_opt(2018, 11, 4).unwrap();
        assert_eq!(format_instant(calendar.day_start_ns(day)), "2018-11-04T03:00:00Z");
        let (begin, end) = calendar.day_bounds_ns(day);
        assert_eq!(end.checked_sub(begin).unwrap(), 23 * HOUR_NS);
        assert_eq!(calendar.day_of(begin), day);
        assert_eq!(calendar.day_of(begin.checked_sub(1).unwrap()), day.pred_opt().unwrap());
    }

    #[test]
    fn a_local_day_overlaps_its_utc_days() {
        let calendar = Calendar::new(chrono_tz::Europe::Berlin);
        let day = NaiveDate::from_ymd_opt(2026, 10, 1).unwrap();
        assert_eq!(calendar.utc_days(day), [day.pred_opt().unwrap(), day]);
        assert_eq!(Calendar::new(chrono_tz::UTC).utc_days(day), [day]);
    }

    #[test]
    fn a_month_is_written_as_year_and_month() {
        assert!("2026-13".parse::<Period>().is_err());
        assert!("2026-1".parse::<Period>().is_err());
        let december: Period = "2026-12".parse().unwrap();
        assert_eq!(december.next().to_string(), "2027-01");
        assert_eq!(december.days().count(), 31);
    }
}
