//! Months in which the clocks change: every hour is on its local day, and boundaries are sharp.

use chrono::{DateTime, TimeDelta, Timelike as _, Utc};
use recoup_suite::{BERLIN, Books, Client, Month, SMALL, large_call, lines, pico};
use serde_json::{Map, Value};

const CALL: &str = "0.0045";

fn call(id: &str, at: DateTime<Utc>) -> Map<String, Value> {
    let used_at = at.to_rfc3339_opts(chrono::SecondsFormat::Nanos, true);
    large_call(id, id, &used_at, "support")
}

/// The instants at which local days of a month begin and the month ends.
fn bounds(month: Month) -> (DateTime<Utc>, DateTime<Utc>) {
    let midnight = |month: Month| {
        let at: DateTime<Utc> = recoup_suite::local(month.first(), 0, 0, 0).parse().unwrap();
        at
    };
    (midnight(month), midnight(month.next()))
}

fn by_day(client: &Client, month: Month) -> Vec<(String, u64)> {
    let path = format!("/v1/costs?from={}&to={}&group_by=day", month.first(), month.next().first());
    let rows = client.rows(&path);
    rows.iter().map(|row| (row["day"].as_str().unwrap().to_owned(), row["events"].as_u64().unwrap())).collect()
}

/// An event in each hour of the month, a nanosecond before its end, and at the very start; the period holds exactly these.
fn check(month: Month, hours: i64, odd_hours: u64) {
    let books = Books::of(SMALL);
    let (begin, end) = bounds(month);
    assert_eq!((end - begin).num_hours(), hours, "{month}");
    let last = |hour: i64| begin + TimeDelta::hours(hour + 1) - TimeDelta::nanoseconds(1);
    let mut events: Vec<_> = (0..hours).map(|hour| call(&format!("hour-{hour}"), last(hour))).collect();
    books.ingest(&lines(&events)).ended(0);
    let server = books.serve();
    let client = server.client(&books.key("admin", None));
    client.nightly();
    let found = by_day(&client, month);
    let changed: Vec<_> = found.iter().filter(|(_, events)| *events != 24).collect();
    assert_eq!(found.len(), month.days().len());
    assert_eq!(changed.len(), 1, "{found:?}");
    let (day, events_of_day) = changed[0];
    assert_eq!(*events_of_day, odd_hours, "{day}");
    let sunday = begin.with_timezone(&BERLIN).date_naive().iter_days().find(|day| {
        let next = recoup_suite::local(day.succ_opt().unwrap(), 0, 0, 0).parse::<DateTime<Utc>>().unwrap();
        let this = recoup_suite::local(*day, 0, 0, 0).parse::<DateTime<Utc>>().unwrap();
        (next - this).num_hours() != 24
    });
    assert_eq!(*day, sunday.unwrap().to_string());

    // The first instant of the month belongs to it, the first of the next does not, nor does the one before.
    let outside = [call("before", begin - TimeDelta::nanoseconds(1)), call("after", end)];
    let inside = call("first", begin);
    events.push(inside.clone());
    books.ingest(&lines([&outside[0], &outside[1], &inside])).ended(0);
    client.nightly();
    let closed = client.close(month);
    let count = i128::try_from(events.len()).unwrap();
    assert_eq!(pico(closed["totals"]["priced_cost"].as_str().unwrap()), count * pico(CALL), "{closed}");
    let statement = client.json(&format!("/v1/statements/{month}/support"));
    assert_eq!(pico(statement["exact_total"].as_str().unwrap()), count * pico(CALL));
    assert_eq!(statement["manifest"]["events"].as_u64(), u64::try_from(count).ok());
    assert_eq!(by_day(&client, month)[0].1, 25, "the first day has one more now");
}

/// LED-4, POOL-4: October has an hour more.
#[test]
fn the_month_in_which_an_hour_comes_twice_has_745() {
    check(Month::last_complete(10), 745, 25);
}

/// LED-4, POOL-4: March has an hour less.
#[test]
fn the_month_in_which_an_hour_is_left_out_has_743() {
    check(Month::last_complete(3), 743, 23);
}

/// A time with an offset is the instant that it says, in both halves of the hour that comes twice.
#[test]
fn both_halves_of_the_hour_that_comes_twice_are_one_day() {
    let month = Month::last_complete(10);
    let day = month.days().into_iter().find(|day| {
        let three = recoup_suite::local(*day, 3, 0, 0).parse::<DateTime<Utc>>().unwrap();
        let two = recoup_suite::local(*day, 2, 0, 0).parse::<DateTime<Utc>>().unwrap();
        (three - two).num_hours() == 2
    });
    let day = day.unwrap();
    let books = Books::of(SMALL);
    let halves =
        ["+02:00", "+01:00"].map(|offset| large_call(offset, offset, &format!("{day}T02:30:00{offset}"), "support"));
    let instants = halves.each_ref().map(|event| event["used_at"].as_str().unwrap().parse::<DateTime<Utc>>().unwrap());
    assert!(instants.iter().all(|at| at.with_timezone(&BERLIN).hour() == 2));
    books.ingest(&lines(&halves)).ended(0);
    let outcome = books.json(&["nightly", "--all"]);
    assert_eq!(outcome["days"].as_array().unwrap().len(), 1, "{outcome}");
    assert_eq!((&outcome["days"][0]["day"], &outcome["days"][0]["events"]), (&day.to_string().into(), &2.into()));
}
