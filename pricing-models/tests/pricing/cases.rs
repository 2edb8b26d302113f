//! Runs every file of `cases/`, whole and split in two periods after every day: both halves together are charged the same.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use chrono::{Days, NaiveDate};
use recoup_model::organisation::{Markup, PriceLock};
use recoup_model::{Id, Period, Rater, Rating, TokenClass, UnpricedReason, Usage};
use recoup_money::Amount;
use recoup_pricing::internal::{Observation, PricePolicy, PriceState, advance, markup, task, time, token};
use recoup_pricing::{Catalogue, PriceBook};
use serde::Deserialize;

use crate::support::{at, book, event};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProviderCase {
    catalogue: String,
    events: Vec<EventCase>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventCase {
    model: String,
    tier: Option<String>,
    used_at: Option<String>,
    usage: BTreeMap<TokenClass, u64>,
    cost: Option<Amount>,
    unpriced: Option<UnpricedReason>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InternalCase {
    model: String,
    first_day: NaiveDate,
    policy: Option<PolicyCase>,
    seed_price: Option<Amount>,
    markup: Option<Markup>,
    #[serde(default)]
    idle_rate: Amount,
    /// What all days together are charged.
    total: Bill,
    days: Vec<DayCase>,
}

/// What a stretch of days is charged: one team that pays for everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bill {
    charges: Amount,
    #[serde(default)]
    markup: Amount,
    #[serde(default)]
    idle: Amount,
}

impl Bill {
    fn and(self, other: Self) -> Self {
        Self {
            charges: self.charges.checked_add(other.charges).unwrap(),
            markup: self.markup.checked_add(other.markup).unwrap(),
            idle: self.idle.checked_add(other.idle).unwrap(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyCase {
    half_life_days: u32,
    price_grid: Amount,
    min_tasks: u32,
    min_days: u32,
    price_lock: Option<String>,
    band_percent: Option<Amount>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DayCase {
    cost: Amount,
    #[serde(default)]
    tasks: u64,
    #[serde(default)]
    completed: u64,
    /// Of each task with a duration.
    #[serde(default)]
    active_ns: Vec<u64>,
    #[serde(default)]
    idle_ns: Vec<u64>,
    expect: Option<Expected>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    cost: Amount,
    quantity: Amount,
    candidate: Option<Amount>,
    price: Option<Amount>,
}

fn files(prefix: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.retain(|file| file.file_name().unwrap().to_str().unwrap().starts_with(prefix));
    files.sort();
    assert!(!files.is_empty());
    files
}

fn read<T: for<'de> Deserialize<'de>>(file: &Path) -> T {
    let text = std::fs::read_to_string(file).unwrap();
    toml::from_str(&text).unwrap_or_else(|error| unreachable!("{}: {error}", file.display()))
}

impl EventCase {
    fn rating(&self, book: &PriceBook) -> Rating {
        let mut event = event();
        event.model = Some(Id::from(self.model.as_str()));
        event.service_tier = self.tier.as_deref().map(Id::from);
        event.used_at_ns = self.used_at.as_deref().map_or(event.used_at_ns, at);
        let usage = self.usage.iter().fold(Usage::NONE, |usage, (class, tokens)| usage.with(*class, *tokens));
        event.usage = Some(usage);
        book.rate(&event)
    }
}

#[test]
fn rat_1_provider_cases_hold_whole_and_split() {
    for file in files("provider") {
        let case: ProviderCase = read(&file);
        let whole = book(Catalogue::parse("case", &case.catalogue).unwrap());
        let ratings: Vec<Rating> = case.events.iter().map(|event| event.rating(&whole)).collect();
        for (at, (event, rating)) in case.events.iter().zip(&ratings).enumerate() {
            match (rating, event.unpriced) {
                (Rating::Unpriced(reason), Some(expected)) => assert_eq!(*reason, expected, "event {at}"),
                (rating, _) => assert_eq!(rating.cost(), event.cost, "event {at}: {rating:?}"),
            }
        }
        for half in 0..case.events.len() {
            let again = book(Catalogue::parse("case", &case.catalogue).unwrap());
            let (early, late) = case.events.split_at(half);
            let late: Vec<Rating> = late.iter().map(|event| event.rating(&again)).collect();
            let early: Vec<Rating> = early.iter().map(|event| event.rating(&again)).collect();
            assert_eq!([early, late].concat(), ratings);
        }
    }
}

impl InternalCase {
    fn day(&self, at: usize) -> NaiveDate {
        self.first_day.checked_add_days(Days::new(u64::try_from(at).unwrap())).unwrap()
    }

    fn policy(&self, policy: &PolicyCase, day: NaiveDate) -> PricePolicy {
        PricePolicy {
            half_life_days: policy.half_life_days,
            price_grid: policy.price_grid,
            min_tasks: policy.min_tasks,
            min_days: policy.min_days,
            lock: match policy.price_lock.as_deref() {
                None => PriceLock::Floating,
                Some("locked") => PriceLock::Locked,
                Some("banded") => PriceLock::Banded,
                Some(other) => unreachable!("{other}"),
            },
            band_percent: policy.band_percent,
            period_starts_tomorrow: !Period::of(day).contains(day.succ_opt().unwrap()),
        }
    }

    fn observation(&self, seen: &DayCase) -> Observation {
        if self.model == "task" {
            return task::observe(seen.cost, seen.tasks, seen.completed).unwrap();
        }
        let minutes = Amount::checked_sum(seen.active_ns.iter().map(|ns| time::task_minutes_pico(*ns))).unwrap();
        time::observe(seen.cost, minutes, seen.tasks, seen.completed)
    }

    /// What a day is charged at the price that the night before left in force.
    fn charge(&self, seen: &DayCase, state: Option<&PriceState>) -> Bill {
        let sum = |each: &dyn Fn(&u64) -> Option<Amount>, of: &[u64]| {
            Amount::checked_sum(of.iter().map(|ns| each(ns).unwrap())).unwrap()
        };
        let price = state.and_then(|state| state.price).or(self.seed_price.filter(|_| self.model == "task"));
        match (self.model.as_str(), price) {
            ("token", _) => Bill {
                charges: token::token_charge(seen.cost),
                markup: self.markup.map(|own| markup::token_markup(own, seen.cost).unwrap()).unwrap_or_default(),
                idle: Amount::ZERO,
            },
            (_, None) => Bill { charges: seen.cost, ..Bill::default() },
            ("task", Some(price)) => Bill {
                charges: task::task_charge(price, seen.completed).unwrap(),
                markup: self
                    .markup
                    .map(|own| markup::task_markup(own, price, seen.completed).unwrap())
                    .unwrap_or_default(),
                idle: Amount::ZERO,
            },
            (_, Some(price)) => Bill {
                charges: sum(&|ns| time::time_charge(price, *ns), &seen.active_ns),
                markup: self
                    .markup
                    .map(|own| sum(&|ns| markup::time_markup(own, price, *ns), &seen.active_ns))
                    .unwrap_or_default(),
                idle: sum(&|ns| time::time_charge(self.idle_rate, *ns), &seen.idle_ns),
            },
        }
    }

    /// Some days as one period, from the state that the one before left, with each day's observation as `lanes` makes it:
    /// the state after each night, and what the period is charged.
    fn run(
        &self,
        mut state: Option<PriceState>,
        days: std::ops::Range<usize>,
        lanes: impl Fn(Observation) -> Observation,
    ) -> (Vec<Option<PriceState>>, Bill) {
        let (mut nights, mut bill) = (Vec::new(), Bill::default());
        for (at, seen) in self.days.iter().enumerate().skip(days.start).take(days.len()) {
            let day = self.day(at);
            bill = bill.and(self.charge(seen, state.as_ref()));
            if let Some(policy) = &self.policy {
                state = advance(state, day, &lanes(self.observation(seen)), &self.policy(policy, day)).unwrap();
            }
            nights.push(state.clone());
        }
        (nights, bill)
    }
}

fn figures(state: Option<&PriceState>) -> Option<Expected> {
    state.map(|state| Expected {
        cost: state.cost,
        quantity: state.quantity,
        candidate: state.candidate,
        price: state.price,
    })
}

/// The sum of two lanes of a day, the first with a third of everything.
fn two_lanes(whole: Observation) -> Observation {
    let third = |amount: Amount| Amount::from_pico(amount.pico() / 3);
    let first = Observation {
        cost: third(whole.cost),
        quantity: third(whole.quantity),
        tasks: whole.tasks / 3,
        completed: whole.completed / 3,
    };
    let second = Observation {
        cost: whole.cost.checked_sub(first.cost).unwrap(),
        quantity: whole.quantity.checked_sub(first.quantity).unwrap(),
        tasks: whole.tasks - first.tasks,
        completed: whole.completed - first.completed,
    };
    first.checked_add(&second).unwrap()
}

fn run_whole_and_split(prefix: &str) {
    for file in files(prefix) {
        let case: InternalCase = read(&file);
        let count = case.days.len();
        let (whole, bill) = case.run(None, 0..count, |seen| seen);
        for (at, (state, seen)) in whole.iter().zip(&case.days).enumerate() {
            assert_eq!(figures(state.as_ref()), seen.expect, "{}, day {}", file.display(), at + 1);
        }
        assert_eq!(bill, case.total, "{}: what is charged", file.display());
        assert_eq!(case.run(None, 0..count, two_lanes), (whole.clone(), bill), "{}: lanes", file.display());
        for half in 1..count {
            let (_, first) = case.run(None, 0..half, |seen| seen);
            let stored = serde_json::to_string(&whole.get(half - 1).unwrap()).unwrap();
            let restored: Option<PriceState> = serde_json::from_str(&stored).unwrap();
            let (rest, second) = case.run(restored, half..count, |seen| seen);
            assert_eq!(rest.as_slice(), whole.get(half..).unwrap(), "{}: after {half} nights", file.display());
            assert_eq!(first.and(second), bill, "{}: two periods after {half} days", file.display());
        }
    }
}

#[test]
fn prc_6_token_cases_hold_whole_and_split() {
    run_whole_and_split("token");
}

#[test]
fn prc_1_task_cases_hold_whole_and_split() {
    run_whole_and_split("task");
}

#[test]
fn prc_4_time_cases_hold_whole_and_split() {
    run_whole_and_split("time");
}

#[test]
fn every_case_is_run() {
    let run = ["provider", "token", "task", "time"];
    let name = |file: &PathBuf| file.file_name().unwrap().to_str().unwrap().to_owned();
    let mut names = files("").iter().map(name).collect::<Vec<_>>();
    names.retain(|name| !run.iter().any(|prefix| name.starts_with(prefix)));
    assert_eq!(names, Vec::<String>::new());
}
