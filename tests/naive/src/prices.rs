//! Internal prices of a period, one night after the other (PRC-1 to PRC-4).

use std::collections::{BTreeMap, BTreeSet};

use chrono::{Days, NaiveDate};
use num_traits::Zero;
use recoup_model::organisation::{Billing, History, Organisation, PriceLock};
use recoup_model::{Id, Period, Status};

use crate::number::{Q, of, ratio, smoothing_factor, to_pico, to_step, whole};
use crate::trace::{Task, Trace};

/// What has a price: (agent, task type, billing model).
pub type Key = (Id, Id, Billing);

/// Smoothed sums and what they gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    cost: Q,
    base: Q,
    completed: u64,
    days: u64,
    candidate: Option<Q>,
    price: Option<Q>,
}

/// A price and the days on which it is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// What it prices.
    pub key: Key,
    /// First day, not before the period's.
    pub from: NaiveDate,
    /// First day after it.
    pub to: Option<NaiveDate>,
    /// The price.
    pub price: Q,
    /// Whether it is a task type's seed price.
    pub seed: bool,
}

/// A task of a trace, with what prices need of it.
pub struct Done<'a> {
    /// The task.
    pub task: &'a Task,
    /// Who pays.
    pub payer: Option<&'a Id>,
    /// Its whole direct cost.
    pub cost: Q,
    /// The days on which it ended or has spans that count and whose cost went into no pool.
    pub days: BTreeSet<NaiveDate>,
}

/// Every task of some traces.
#[must_use]
pub fn tasks_of(traces: &[Trace]) -> Vec<Done<'_>> {
    traces.iter().filter_map(done).collect()
}

fn done(trace: &Trace) -> Option<Done<'_>> {
    let task = trace.task.as_ref()?;
    let own = trace.spans.iter().filter(|span| span.counts() && span.pool.is_none());
    let counted = own.map(|span| span.day);
    let days = counted.chain([task.ended_on]).collect();
    Some(Done { task, payer: trace.payer.as_ref(), cost: trace.direct_cost(), days })
}

/// The days of a period up to a last night, over which prices are found.
#[derive(Clone, Copy)]
pub struct Nights<'a> {
    /// The versions of the organisation.
    pub history: &'a History,
    /// The month.
    pub period: Period,
    /// The last night.
    pub through: NaiveDate,
}

impl<'a> Nights<'a> {
    /// The local days.
    #[must_use]
    pub fn days(&self) -> Vec<NaiveDate> {
        self.period.days().take_while(|day| *day <= self.through).collect()
    }

    /// The organisation on a day.
    #[must_use]
    pub fn on(&self, day: NaiveDate) -> &'a Organisation {
        &self.history.on(day).organisation
    }

    /// Whether a day is one of them.
    #[must_use]
    pub fn contain(&self, day: NaiveDate) -> bool {
        self.period.contains(day) && day <= self.through
    }
}

/// By night, agent and task type: what of the pools, from the first day to that night, prices take in (PRC-1).
pub type RecoveredByNight = BTreeMap<NaiveDate, BTreeMap<(Id, Id), Q>>;

/// What prices are made of besides the tasks.
pub struct Besides<'a> {
    /// States at the start of the period.
    pub opening: &'a BTreeMap<Key, State>,
    /// Variance carried in (LED-3).
    pub carried: &'a BTreeMap<Key, Q>,
    /// Whether finance approved the period's rate card (PRC-3).
    pub approved: bool,
    /// What they take in of the pools.
    pub pools: &'a RecoveredByNight,
}

/// All price versions of a period, and the states after its last night.
#[must_use]
pub fn find_prices(
    nights: Nights<'_>,
    tasks: &[Done<'_>],
    besides: &Besides<'_>,
) -> (Vec<Version>, BTreeMap<Key, State>) {
    let mut keys: BTreeSet<Key> = besides.opening.keys().cloned().collect();
    for done in tasks.iter().filter(|done| done.days.iter().any(|day| nights.contain(*day))) {
        if let Some(agent) = &done.task.agent {
            keys.extend(
                [Billing::Task, Billing::Time].map(|billing| (agent.clone(), done.task.task_type.clone(), billing)),
            );
        }
    }
    let (mut versions, mut states) = (Vec::new(), BTreeMap::new());
    for key in keys {
        let ours: Vec<&Done<'_>> = tasks.iter().filter(|done| is_of(done.task, &key)).collect();
        let mut state = besides.opening.get(&key).cloned();
        approve(nights, &key, besides.approved, state.as_mut());
        // What waits for the first night with a state.
        let mut beside = -besides.carried.get(&key).cloned().unwrap_or_else(Q::zero);
        let mut recovered = Q::zero();
        let mut in_force = BTreeMap::new();
        for day in nights.days() {
            in_force.insert(day, quote(nights, &key, day, state.as_ref()));
            let today: Vec<&Done<'_>> = ours.iter().copied().filter(|done| done.task.ended_on == day).collect();
            let to_date = besides.pools.get(&day).and_then(|parts| parts.get(&(key.0.clone(), key.1.clone())));
            let to_date = to_date.cloned().unwrap_or_else(Q::zero);
            beside += &to_date - &recovered;
            recovered = to_date;
            if state.is_none() && !begins(nights.on(day), &key, &today) {
                continue;
            }
            state = Some(night(nights.on(day), (&key, day), (state, &today), &beside));
            beside = Q::zero();
        }
        let tomorrow = nights.through + Days::new(1);
        in_force.insert(tomorrow, quote(nights, &key, tomorrow, state.as_ref()));
        versions.extend(runs(&key, &in_force));
        states.extend(state.map(|state| (key, state)));
    }
    (versions, states)
}

/// The prices of a closed period: its own, and for what it had none the seed prices of its own organisation (PRC-2).
#[must_use]
pub fn closed_prices(nights: Nights<'_>, tasks: &[Done<'_>], own: &[Version]) -> Vec<Version> {
    let mut versions = own.to_vec();
    let mut keys = BTreeSet::new();
    for done in tasks.iter().filter(|done| done.days.iter().any(|day| nights.contain(*day))) {
        keys.extend(done.task.agent.clone().map(|agent| (agent, done.task.task_type.clone(), Billing::Task)));
    }
    for key in keys.into_iter().filter(|key| own.iter().all(|version| version.key != *key)) {
        let days = nights.days().into_iter().chain([nights.through + Days::new(1)]);
        versions.extend(runs(&key, &days.map(|day| (day, quote(nights, &key, day, None))).collect()));
    }
    versions
}

/// PRC-3: where the last night's policy asks for approval, an approved card brings the candidates into force of what
/// somebody is billed by on the period's first day.
fn approve(nights: Nights<'_>, key: &Key, approved: bool, state: Option<&mut State>) {
    let first = nights.period.first_day();
    let last_night = nights.on(first.pred_opt().unwrap());
    if let Some(state) = state.filter(|_| approved && asks_for_approval(last_night) && bills_by(nights.on(first), key))
    {
        state.price = state.candidate.clone().or(state.price.take());
    }
}

fn asks_for_approval(organisation: &Organisation) -> bool {
    organisation.policy.price_approval.is_some()
}

/// Whether anybody may be billed under a key.
#[must_use]
pub fn bills_by(organisation: &Organisation, key: &Key) -> bool {
    let agent = organisation.agents.get(&key.0);
    agent.is_some_and(|agent| agent.billing == key.2 || agent.billing_by_team.values().any(|billing| *billing == key.2))
}

fn is_of(task: &Task, key: &Key) -> bool {
    task.agent.as_ref() == Some(&key.0) && task.task_type == key.1
}

/// A time price begins on the first day with tasks that took time and on which some team is billed by time, whoever pays.
fn begins(organisation: &Organisation, key: &Key, today: &[&Done<'_>]) -> bool {
    let by_time = || bills_by(organisation, key);
    today.iter().any(|done| key.2 == Billing::Task || (done.task.active_ns > 0 && by_time()))
}

/// One night: smooth, judge the evidence, find a candidate, publish it as the lock allows.
fn night(
    organisation: &Organisation,
    (key, day): (&Key, NaiveDate),
    (before, today): (Option<State>, &[&Done<'_>]),
    beside: &Q,
) -> State {
    let policy = &organisation.policy;
    let timed = |done: &&&Done<'_>| key.2 == Billing::Task || done.task.active_ns > 0;
    // A task that took no time is no evidence of a price per minute.
    let completed = today.iter().filter(timed).filter(|done| done.task.status == Some(Status::Ok)).count() as u64;
    let cost: Q = today.iter().filter(timed).map(|done| &done.cost).sum::<Q>() + beside;
    let base = if key.2 == Billing::Task { whole(completed) } else { minutes_of(today) };
    let factor = smoothing_factor(policy.half_life_days);
    let smooth = |now: &Q, before: Option<&Q>| {
        before.map_or_else(|| now.clone(), |before| to_pico(&(&factor * now + (whole(1) - &factor) * before)))
    };
    let mut state = State {
        cost: smooth(&cost, before.as_ref().map(|state| &state.cost)),
        base: smooth(&base, before.as_ref().map(|state| &state.base)),
        completed: before.as_ref().map_or(0, |state| state.completed) + completed,
        days: before.as_ref().map_or(0, |state| state.days) + u64::from(today.iter().any(|done| timed(&done))),
        candidate: before.as_ref().and_then(|state| state.candidate.clone()),
        price: before.and_then(|state| state.price),
    };
    let enough = state.completed >= u64::from(policy.min_tasks) || state.days >= u64::from(policy.min_days);
    let candidate = (enough && !state.base.is_zero()).then(|| {
        let grid = of(policy.price_grid);
        to_step(&(&state.cost / &state.base), &grid).max(grid)
    });
    let starts_period = Period::of(day + Days::new(1)) != Period::of(day);
    state.candidate = candidate.clone().or(state.candidate);
    match policy.price_lock {
        PriceLock::Locked if starts_period && !asks_for_approval(organisation) => {
            state.price = state.candidate.clone().or(state.price)
        }
        PriceLock::Locked => {}
        _ => {
            let found = candidate.map(|found| limit(organisation, found, state.price.as_ref()));
            state.price = found.or(state.price);
        }
    }
    state
}

/// PRC-3: a banded price moves at most x % of the one before it, at least one grid step.
fn limit(organisation: &Organisation, found: Q, price: Option<&Q>) -> Q {
    let policy = &organisation.policy;
    let (PriceLock::Banded, Some(price)) = (policy.price_lock, price) else { return found };
    let grid = of(policy.price_grid);
    let band = price * of(policy.price_band_percent.unwrap()) / whole(100);
    let step = ((band / &grid).floor() * &grid).max(grid.clone());
    found.min(price + &step).max(price - &step).max(grid)
}

/// PRC-4: the minutes of some tasks.
fn minutes_of(tasks: &[&Done<'_>]) -> Q {
    tasks.iter().map(|done| minutes(done.task.active_ns)).sum()
}

/// Nanoseconds as minutes.
#[must_use]
pub fn minutes(ns: u64) -> Q {
    to_pico(&ratio(ns, 60_000_000_000_u64))
}

/// The price in force on a day: that of the state, else the seed (PRC-2).
fn quote(nights: Nights<'_>, key: &Key, day: NaiveDate, state: Option<&State>) -> Option<(Q, bool)> {
    // Of the day after the last night nothing is known but what that night knew.
    let seed = || seed_of(nights.on(day.min(nights.through)), key).map(|price| (price, true));
    state.and_then(|state| state.price.clone()).map(|price| (price, false)).or_else(seed)
}

/// PRC-2: a task type's price before there is evidence; minutes have none.
fn seed_of(organisation: &Organisation, key: &Key) -> Option<Q> {
    let seed = organisation.task_types.get(&key.1)?.seed_price?;
    (key.2 == Billing::Task).then(|| of(seed))
}

/// Maximal runs of days with one price.
fn runs(key: &Key, in_force: &BTreeMap<NaiveDate, Option<(Q, bool)>>) -> Vec<Version> {
    let mut versions: Vec<Version> = Vec::new();
    for (day, quote) in in_force {
        let open = versions.last_mut().filter(|version| version.to.is_none());
        match (open, quote) {
            (Some(version), Some((price, _))) if version.price == *price => {}
            (open, quote) => {
                if let Some(version) = open {
                    version.to = Some(*day);
                }
                if let Some((price, seed)) = quote.clone() {
                    versions.push(Version { key: key.clone(), from: *day, to: None, price, seed });
                }
            }
        }
    }
    versions
}
