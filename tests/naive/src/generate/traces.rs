//! Traces over the months of a world: where they lie, when they become known, and how their spans hang together.

use chrono::Days;
use recoup_model::{Id, Period, Recorded};

use super::Temper;
use super::events::{Place, event};
use crate::random::Chance;
use crate::world::{Placed, World};

const MINUTE_NS: i64 = 60_000_000_000;
const DAY_NS: i64 = 24 * 60 * MINUTE_NS;

/// The events of a world.
pub(super) fn events(chance: &mut Chance, world: &World, temper: Temper) -> Vec<Placed> {
    let history = world.history().unwrap_or_else(|| panic!("the generator wrote a file that is refused:\n{world}"));
    let calendar = history.calendar();
    let mut events = Vec::new();
    let periods = world.periods();
    let mut number = 0;
    for (month, period) in periods.iter().enumerate() {
        let hot = hot_days(chance, *period);
        for _ in 0..chance.between(2, 14) {
            number += 1;
            let day = *chance.pick(&hot);
            let (begin_ns, end_ns) = calendar.day_bounds_ns(day);
            // Often close to a midnight.
            let at_ns = match chance.below(4) {
                0 => end_ns - i64::try_from(chance.below(40)).unwrap() * MINUTE_NS,
                1 => begin_ns + i64::try_from(chance.below(40)).unwrap() * MINUTE_NS,
                _ => begin_ns + i64::try_from(chance.below(1_300)).unwrap() * MINUTE_NS,
            };
            let late = chance.percent(temper.late);
            for recorded in trace(chance, temper, (number, at_ns)) {
                let lies = month_of(&periods, Period::of(calendar.day_of(recorded.event.used_at_ns)));
                let slow = late || chance.percent(temper.late / 4);
                let known = if slow { lies.max(month) + usize::try_from(chance.between(1, 2)).unwrap() } else { lies };
                let early = calendar.day_of(recorded.event.used_at_ns) <= period.next().first_day() + Days::new(2);
                let known = if early && !slow && chance.percent(70) { month } else { known };
                events.push(Placed { known, recorded });
            }
        }
    }
    events
}

/// A few days take most of a month's traces, the first and the last among them.
fn hot_days(chance: &mut Chance, period: Period) -> Vec<chrono::NaiveDate> {
    let all: Vec<_> = period.days().collect();
    let mut days = vec![all[0], all[all.len() - 1]];
    days.extend((0..6).map(|_| *chance.pick(&all)));
    days
}

fn month_of(periods: &[Period], period: Period) -> usize {
    periods.iter().position(|known| *known >= period).unwrap_or(periods.len())
}

/// One trace, or an event without one.
fn trace(chance: &mut Chance, temper: Temper, (number, at_ns): (usize, i64)) -> Vec<Recorded> {
    let spans = usize::try_from(*chance.pick(&[1, 1, 2, 3, 4, 5, 6, 8])).unwrap();
    let long = chance.percent(15);
    let mut events = Vec::new();
    for at in 0..spans {
        let back_ns = i64::try_from(chance.below(30)).unwrap() * MINUTE_NS;
        let days = if long { i64::try_from(chance.below(3)).unwrap() * DAY_NS } else { 0 };
        let place = Place { at, spans, used_at_ns: at_ns - back_ns - days, is_root: at == 0 };
        events.push(event(chance, temper, place));
    }
    // Without a trace each is one of its own.
    let lone = chance.percent(8);
    for (at, recorded) in events.iter_mut().enumerate() {
        let event = &mut recorded.event;
        event.trace_id = (!lone).then(|| Id::from(format!("t{number}")));
        if lone {
            event.event_id = Id::from(format!("lone{number}-{at}"));
        }
    }
    events
}
