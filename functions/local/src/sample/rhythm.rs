//! When work happens: five-minute slots of local time with weights, busy in business hours, with a batch window at night.

use chrono::{DateTime, Datelike, Days, NaiveDate, TimeZone, Timelike, Weekday};
use chrono_tz::Tz;
use recoup_model::Calendar;

use super::chance::Chance;

/// The zone whose hours shape the sample; `demo.toml` names the same.
pub(super) const ZONE: Tz = chrono_tz::Europe::Berlin;

/// Nanoseconds of a second.
pub(super) const SECOND_NS: i64 = 1_000_000_000;

/// Nanoseconds of a slot.
pub(super) const SLOT_NS: i64 = 300 * SECOND_NS;

/// Weight of each local hour on a working day; the batch window runs at two at night.
const HOURS: [u64; 24] = [8, 10, 40, 18, 8, 6, 10, 30, 70, 100, 105, 95, 60, 85, 100, 95, 75, 45, 22, 14, 11, 10, 9, 9];

/// Hours from which on and until which people work.
const BUSINESS: (u32, u32) = (7, 20);

/// A stretch of five minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) begin_ns: i64,
    /// End of the local day that the slot lies in.
    pub(super) day_end_ns: i64,
    pub(super) weight: u64,
    /// Whether people are at work.
    pub(super) is_business: bool,
    /// Whether its wall-clock time comes twice (the end of summer time).
    pub(super) is_repeated: bool,
    /// Whether it is the last of its local day.
    pub(super) is_last: bool,
}

/// The slots of some local days, in order.
#[derive(Debug)]
pub(super) struct Rhythm {
    days: Vec<(i64, i64, u64)>,
    day: usize,
    next_ns: Option<i64>,
}

impl Rhythm {
    /// The slots of `days` local days; days differ in how busy they are.
    pub(super) fn new(first_day: NaiveDate, days: u32, chance: &mut Chance) -> Self {
        let calendar = Calendar::new(ZONE);
        let last = first_day.checked_add_days(Days::new(days.into())).unwrap_or(first_day);
        let bounds = |day: NaiveDate| {
            let (begin, end) = calendar.day_bounds_ns(day);
            (begin, end, chance.between((85, 115)))
        };
        Self { days: first_day.iter_days().take_while(|day| *day < last).map(bounds).collect(), day: 0, next_ns: None }
    }

    /// The sum of all weights.
    pub(super) fn total_weight(&self) -> u64 {
        let all = Self { days: self.days.clone(), day: 0, next_ns: None };
        all.map(|slot| slot.weight).sum()
    }

    /// The end of the last day.
    pub(super) fn end_ns(&self) -> i64 {
        self.days.last().map_or(0, |(_, end, _)| *end)
    }
}

impl Iterator for Rhythm {
    type Item = Slot;

    fn next(&mut self) -> Option<Slot> {
        let (day_begin, day_end_ns, busyness) = *self.days.get(self.day)?;
        let begin_ns = self.next_ns.unwrap_or(day_begin);
        let after = begin_ns.saturating_add(SLOT_NS);
        let is_last = after >= day_end_ns;
        (self.day, self.next_ns) = if is_last { (self.day.saturating_add(1), None) } else { (self.day, Some(after)) };
        let local = DateTime::from_timestamp_nanos(begin_ns).with_timezone(&ZONE);
        let is_repeated =
            matches!(ZONE.from_local_datetime(&local.naive_local()), chrono::LocalResult::Ambiguous(_, _));
        let is_weekend = matches!(local.weekday(), Weekday::Sat | Weekday::Sun);
        let is_business = !is_weekend && (BUSINESS.0..BUSINESS.1).contains(&local.hour());
        let weight = hour_weight(local.hour(), local.weekday()).saturating_mul(busyness);
        Some(Slot { begin_ns, day_end_ns, weight, is_business, is_repeated, is_last })
    }
}

/// The weight of an hour in percent of a working day's. Machines keep their hours at weekends, people do not.
fn hour_weight(hour: u32, weekday: Weekday) -> u64 {
    let working = usize::try_from(hour).ok().and_then(|hour| HOURS.get(hour)).copied().unwrap_or_default();
    let percent = match weekday {
        _ if hour < BUSINESS.0 => 100,
        Weekday::Sun => 14,
        Weekday::Sat => 22,
        Weekday::Fri => 85,
        _ => 100,
    };
    working.saturating_mul(percent)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn slots(day: (i32, u32, u32), days: u32) -> Vec<Slot> {
        let first = NaiveDate::from_ymd_opt(day.0, day.1, day.2).unwrap();
        Rhythm::new(first, days, &mut Chance::seeded(1)).collect()
    }

    #[test]
    fn a_month_with_a_clock_change_has_745_hours_of_slots() {
        let october = slots((2026, 10, 1), 31);
        assert_eq!(october.len(), 745 * 12);
        assert_eq!(october.iter().filter(|slot| slot.is_repeated).count(), 24);
        assert_eq!(october.iter().filter(|slot| slot.is_last).count(), 31);
        assert!(october.is_sorted_by(|a, b| a.begin_ns + SLOT_NS == b.begin_ns));
        assert_eq!(slots((2026, 3, 1), 31).len(), 743 * 12);
    }

    #[test]
    fn people_work_on_weekdays() {
        let monday: u64 = slots((2026, 10, 5), 1).iter().map(|slot| slot.weight).sum();
        let sunday: u64 = slots((2026, 10, 4), 1).iter().map(|slot| slot.weight).sum();
        assert!(monday > 3 * sunday, "{monday} {sunday}");
        assert!(slots((2026, 10, 4), 1).iter().all(|slot| !slot.is_business && slot.weight > 0));
    }
}
