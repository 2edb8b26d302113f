//! UTC days and fingerprints as the integers that the tables hold.

use chrono::{Days, NaiveDate};

const NANOSECONDS_PER_DAY: i64 = 24 * 3_600 * 1_000_000_000;

/// Days since 1970-01-01 of an instant.
pub(crate) const fn day_of_instant(instant_ns: i64) -> i64 {
    instant_ns.div_euclid(NANOSECONDS_PER_DAY)
}

/// Days since 1970-01-01 of a date.
pub(crate) fn day_of_date(date: NaiveDate) -> i64 {
    date.signed_duration_since(NaiveDate::default()).num_days()
}

/// The date of a day since 1970-01-01.
pub(crate) fn date_of_day(day: i64) -> Option<NaiveDate> {
    let distance = Days::new(day.unsigned_abs());
    let epoch = NaiveDate::default();
    if day < 0 { epoch.checked_sub_days(distance) } else { epoch.checked_add_days(distance) }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn evt_2_days_before_and_after_1970_come_back() {
        for (instant_ns, text) in [(-1, "1969-12-31"), (0, "1970-01-01"), (1_790_000_000_000_000_000, "2026-09-21")] {
            let date = date_of_day(day_of_instant(instant_ns)).unwrap();
            assert_eq!(date.to_string(), text);
            assert_eq!(day_of_date(date), day_of_instant(instant_ns));
        }
        for instant_ns in [i64::MIN, i64::MAX] {
            assert!(date_of_day(day_of_instant(instant_ns)).is_some());
        }
    }
}
