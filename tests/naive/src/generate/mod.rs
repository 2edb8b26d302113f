//! Small nasty worlds from a seed.
//!
//! Each world has a *temper*: how much of which trouble there is in it. Worlds of one kind of trouble are easier to read
//! when they differ; worlds of every kind find what the others cannot.

mod events;
mod organisation;
mod traces;

use chrono::{Days, NaiveDate};
use recoup_model::Period;

use crate::random::Chance;
use crate::world::World;

/// Months with a clock change, a leap day or a turn of the year, and quiet ones.
const FIRST_MONTHS: [&str; 8] =
    ["2026-10", "2026-03", "2026-02", "2025-12", "2026-04", "2026-06", "2024-02", "2026-09"];
/// Zones that change clocks at midnight, by half an hour, southwards, or not at all.
const ZONES: [&str; 8] = [
    "Europe/Berlin",
    "UTC",
    "America/New_York",
    "Africa/Cairo",
    "Australia/Lord_Howe",
    "Asia/Kolkata",
    "Pacific/Auckland",
    "America/Havana",
];

/// How much of which trouble a world has, in percent.
#[derive(Clone, Copy, Debug)]
pub struct Temper {
    /// Broken trees: orphans, loops, several roots.
    pub tangles: u64,
    /// Corrections, retries, second reports.
    pub repeats: u64,
    /// Wrappers.
    pub wrappers: u64,
    /// Events without a price, or with a reported cost.
    pub prices: u64,
    /// Events that come after their month was closed.
    pub late: u64,
    /// Traces whose payer has to be looked for.
    pub strangers: u64,
    /// The agent that most roots are: prices need some tasks of one kind.
    pub favourite: &'static str,
}

/// The world of a seed.
#[must_use]
pub fn world(seed: u64) -> World {
    let mut chance = Chance::new(seed);
    let temper = temper(&mut chance);
    let first: Period = chance.pick(&FIRST_MONTHS).parse().unwrap();
    let months = usize::try_from(*chance.pick(&[1, 1, 2, 2, 3])).unwrap();
    let periods: Vec<Period> = std::iter::successors(Some(first), |month| Some(month.next())).take(months).collect();
    let files = organisation::files(&mut chance, &periods);
    let through = periods.iter().map(|period| night_of(&mut chance, *period)).collect();
    let approved = periods.iter().map(|_| chance.percent(60)).collect();
    let mut world = World { files, first, months, through, approved, events: Vec::new() };
    world.events = traces::events(&mut chance, &world, temper);
    world
}

fn temper(chance: &mut Chance) -> Temper {
    let favourite = *chance.pick(&organisation::AGENTS);
    let mut some = |most: u64| if chance.percent(40) { 0 } else { chance.between(1, most) };
    Temper {
        tangles: some(25),
        repeats: some(15),
        wrappers: some(40),
        prices: some(20),
        late: some(25),
        strangers: some(40),
        favourite,
    }
}

fn night_of(chance: &mut Chance, period: Period) -> NaiveDate {
    let days = period.days().count() as u64;
    period.first_day() + Days::new(chance.below(days))
}
