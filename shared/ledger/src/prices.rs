//! Internal prices of a period: one night after the other, and which price is in force on which day (PRC-2, PRC-3).

use std::collections::HashMap; // tidy: allow(hash-order) only asked, or put in order before anybody sees it
use std::collections::{BTreeMap, BTreeSet};

use chrono::{Days, NaiveDate};
use recoup_attribution::DayFacts;
use recoup_model::organisation::{Billing, History};
use recoup_model::{Digest, Id, Organisation};
use recoup_money::{Amount, PICO_PER_UNIT};
use recoup_pricing::internal::time::task_minutes_pico;
use recoup_pricing::internal::{Observation, PricePolicy, PriceState, advance};
use serde::{Deserialize, Serialize};

use crate::error::{LedgerError, fits};
use crate::line::{PriceModel, PricedKey};
use crate::nights::PriceNight;
use crate::pools::{ByTask, Recovery};
use crate::rate_card;
use crate::settle::PeriodInput;

/// Where a price came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PriceOrigin {
    /// The task type's `seed_price` (PRC-2).
    Seed,
    /// A night.
    Night,
}

/// A price and the local days on which it is in force: a maximal run of days of one period with the same price (PRC-3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PriceVersion {
    /// What it prices.
    #[serde(flatten)]
    pub key: PricedKey,
    /// First local day, never before the period's first.
    pub from: NaiveDate,
    /// First local day on which it is not in force any more; `None`: it is the last.
    pub to: Option<NaiveDate>,
    /// The price per task or minute.
    pub price: Amount,
    /// Where it came from.
    pub origin: PriceOrigin,
    /// Digest of the state that gave it, as JSON.
    pub inputs: Digest,
}

/// The price of one day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    pub(crate) price: Amount,
    /// First local day of its version.
    pub(crate) from: NaiveDate,
}

/// All prices of a period.
#[derive(Debug)]
pub(crate) struct InternalPrices {
    first: NaiveDate,
    versions: BTreeMap<PricedKey, Vec<PriceVersion>>,
    /// From the first day to the one after the last night: every cell and task asks for one of these.
    by_day: HashMap<PricedKey, Vec<Option<Rate>>>, // tidy: allow(hash-order) only asked, never walked
}

impl InternalPrices {
    fn new((first, last): (NaiveDate, NaiveDate), versions: BTreeMap<PricedKey, Vec<PriceVersion>>) -> Self {
        let rate_on = |versions: &[PriceVersion], day: NaiveDate| {
            let holds = |version: &&PriceVersion| version.from <= day && version.to.is_none_or(|to| day < to);
            let version = versions.iter().find(holds)?;
            Some(Rate { price: version.price, from: version.from })
        };
        let days = || first.iter_days().take_while(|day| *day <= last);
        let by_day =
            versions.iter().map(|(key, versions)| (key.clone(), days().map(|day| rate_on(versions, day)).collect()));
        Self { first, by_day: by_day.collect(), versions }
    }

    /// The price in force on a day. For a task that ended before the period it is that of the period's first day, for
    /// one that ended after the last night that which this night gave: a close must not wait for later nights.
    pub(crate) fn in_force(&self, key: &PricedKey, day: NaiveDate) -> Option<Rate> {
        let rates = self.by_day.get(key)?;
        let at = usize::try_from(day.signed_duration_since(self.first).num_days()).unwrap_or_default();
        rates.get(at).or(rates.last()).copied().flatten()
    }

    /// The rate at the start of the period; where there was none, the first one (LED-2).
    pub(crate) fn at_start(&self, key: &PricedKey) -> Option<Amount> {
        Some(self.versions.get(key)?.first()?.price)
    }

    /// Every version, by what it prices and day.
    pub(crate) fn into_versions(self) -> Vec<PriceVersion> {
        self.versions.into_values().flatten().collect()
    }
}

/// What the nights of a period leave behind.
#[derive(Debug)]
pub(crate) struct Nights {
    pub(crate) prices: InternalPrices,
    pub(crate) states: BTreeMap<PricedKey, PriceState>,
}

/// Prices every day up to the last night, or, for a closed period, reads its own prices.
pub(crate) fn price_period(input: &PeriodInput<'_>) -> Result<Nights, LedgerError> {
    let first = input.period.first_day();
    let last = next_day(input.through);
    let mut keys = known_keys(input);
    let mut versions = BTreeMap::new();
    if let Some(own) = input.own_prices {
        for version in own {
            keys.remove(&version.key);
            versions.entry(version.key.clone()).or_insert_with(Vec::new).push(version.clone());
        }
        // What nobody knew when the period was closed has its seed price, as it would have had then.
        let mut quotes = Quotes::default();
        for key in &keys {
            quotes.seed(input, key)?;
        }
        versions.extend(quotes.into_versions());
        return Ok(Nights { prices: InternalPrices::new((first, last), versions), states: BTreeMap::new() });
    }
    let (quotes, states) = run_nights(input, &keys, |_| {})?;
    Ok(Nights { prices: InternalPrices::new((first, last), quotes.into_versions()), states })
}

fn next_day(day: NaiveDate) -> NaiveDate {
    day.checked_add_days(Days::new(1)).unwrap_or(day)
}

/// Everything that may have a price in the period: what had one before it, and every task that ended in it or has direct
/// cost in it. What went into a pool is no task's cost: facts do not say whose it was.
fn known_keys(input: &PeriodInput<'_>) -> BTreeSet<PricedKey> {
    let mut pairs: BTreeSet<(&Id, &Id)> = BTreeSet::new();
    for facts in input.facts() {
        pairs.extend(facts.tasks.keys().filter_map(|key| Some((key.agent.as_ref()?, &key.task_type))));
        let of_cells = facts.cells.keys().filter(|cell| cell.pool.is_none()).filter_map(|cell| cell.task.as_ref());
        pairs.extend(of_cells.filter_map(|task| Some((task.agent.as_ref()?, &task.task_type))));
    }
    let both = [PriceModel::Task, PriceModel::Time];
    let key =
        |(agent, task_type): (&Id, &Id), model| PricedKey { agent: agent.clone(), task_type: task_type.clone(), model };
    let from_tasks = pairs.into_iter().flat_map(|pair| both.map(|model| key(pair, model)));
    from_tasks.chain(input.opening.prices.keys().cloned()).collect()
}

/// `note` is told of every night of every price.
pub(crate) fn run_nights(
    input: &PeriodInput<'_>,
    keys: &BTreeSet<PricedKey>,
    mut note: impl FnMut(PriceNight),
) -> Result<(Quotes, BTreeMap<PricedKey, PriceState>), LedgerError> {
    let mut quotes = Quotes::default();
    let mut states = rate_card::opening_states(input)?;
    let mut besides = Besides::of(input);
    for day in input.local_days() {
        for key in keys {
            quotes.quote(day, day, key, (states.get(key), input))?;
        }
        let organisation = &input.history.on(day).organisation;
        let seen = input.days.get(&day).map(observations).transpose()?.unwrap_or_default();
        let policy = price_policy(organisation, input.period.next().first_day() == next_day(day));
        besides.night(day)?;
        for key in keys {
            let state = states.remove(key);
            let seen = seen.get(key).copied().unwrap_or_default();
            if state.is_none() && !begins(organisation, key, &seen) {
                continue;
            }
            let beside = besides.take(key)?;
            let cost = fits(seen.cost.checked_add(beside), "the cost of a day's tasks")?;
            let before = state.clone();
            let advanced = advance(state, day, &Observation { cost, ..seen }, &policy).map_err(|source| {
                let (agent, task_type) = (key.agent.clone(), key.task_type.clone());
                LedgerError::Price { model: key.model.billing().name(), agent, task_type, day, source }
            })?;
            if let Some(after) = advanced {
                note(PriceNight { day, seen, beside, policy, before, after: after.clone() });
                states.insert(key.clone(), after);
            }
        }
    }
    for key in keys {
        quotes.quote(next_day(input.through), input.through, key, (states.get(key), input))?;
    }
    Ok((quotes, states))
}

/// What enters the sums of a price beside the cost of tasks.
struct Besides<'a> {
    /// LED-3 `carry`: what was over-recovered makes the next price cheaper, once.
    carried: BTreeMap<PricedKey, Amount>,
    recovery: Option<Recovery<'a>>,
    /// What prices recover of the pools up to this night.
    to_date: ByTask,
    /// How much of that is in each price already: a night adds the difference (CRX-1).
    entered: BTreeMap<PricedKey, Amount>,
}

impl<'a> Besides<'a> {
    fn of(input: &PeriodInput<'a>) -> Self {
        Self {
            carried: input.opening.carried.clone(),
            recovery: Recovery::of(input),
            to_date: ByTask::new(),
            entered: BTreeMap::new(),
        }
    }

    fn night(&mut self, day: NaiveDate) -> Result<(), LedgerError> {
        if let Some(recovery) = &mut self.recovery {
            self.to_date.clone_from(recovery.night(day)?);
        }
        Ok(())
    }

    /// What enters this night, at the latest on the first one on which the price has a state.
    fn take(&mut self, key: &PricedKey) -> Result<Amount, LedgerError> {
        let carried = self.carried.remove(key).unwrap_or_default();
        if self.recovery.is_none() {
            return fits(carried.checked_neg(), "a carried variance");
        }
        let due = self.to_date.get(&(key.agent.clone(), key.task_type.clone())).copied().unwrap_or_default();
        let entered = self.entered.insert(key.clone(), due).unwrap_or_default();
        let difference = due.checked_sub(entered).and_then(|difference| difference.checked_sub(carried));
        fits(difference, "a pool's share in a price")
    }
}

/// Task prices begin with the first task; time prices with the first task on a day on which a team is billed by time.
fn begins(organisation: &Organisation, key: &PricedKey, seen: &Observation) -> bool {
    seen.tasks > 0
        && match key.model {
            PriceModel::Task => true,
            PriceModel::Time => organisation.is_billed_by(&key.agent, Billing::Time),
        }
}

/// A locked price that somebody has to approve does not move by itself: the next period's card does it.
fn price_policy(organisation: &Organisation, period_starts_tomorrow: bool) -> PricePolicy {
    let policy = &organisation.policy;
    let period_starts_tomorrow = period_starts_tomorrow && policy.price_approval.is_none();
    PricePolicy {
        half_life_days: policy.half_life_days,
        price_grid: policy.price_grid,
        min_tasks: policy.min_tasks,
        min_days: policy.min_days,
        lock: policy.price_lock,
        band_percent: policy.price_band_percent,
        period_starts_tomorrow,
    }
}

/// What the tasks of one agent and task type came to on a day.
#[derive(Default)]
struct Seen {
    by_task: Observation,
    by_time: Observation,
    active_ns: u64,
}

/// The tasks of a day by what prices them, whoever pays: also tasks of teams with another billing model, and of nobody.
fn observations(facts: &DayFacts) -> Result<BTreeMap<PricedKey, Observation>, LedgerError> {
    let mut pairs: BTreeMap<(&Id, &Id), Seen> = BTreeMap::new();
    for (task, value) in &facts.tasks {
        let Some(agent) = &task.agent else { continue };
        let seen = pairs.entry((agent, &task.task_type)).or_default();
        observe(&mut seen.by_task, (value.direct_cost, value.tasks, value.completed))?;
        // Tasks without any duration are no evidence for a time price (PRC-4).
        observe(&mut seen.by_time, (value.timed_cost, value.timed_tasks, value.timed_completed))?;
        seen.active_ns = fits(seen.active_ns.checked_add(value.active_ns), "the active time of a day's tasks")?;
    }
    let mut all = BTreeMap::new();
    for ((agent, task_type), seen) in pairs {
        let key = |model| PricedKey { agent: agent.clone(), task_type: task_type.clone(), model };
        let quantity = whole(seen.by_task.completed)?;
        all.insert(key(PriceModel::Task), Observation { quantity, ..seen.by_task });
        let quantity = task_minutes_pico(seen.active_ns);
        all.insert(key(PriceModel::Time), Observation { quantity, ..seen.by_time });
    }
    Ok(all)
}

fn observe(seen: &mut Observation, (cost, tasks, completed): (Amount, u64, u64)) -> Result<(), LedgerError> {
    seen.cost = fits(seen.cost.checked_add(cost), "the cost of a day's tasks")?;
    seen.tasks = fits(seen.tasks.checked_add(tasks), "the number of tasks")?;
    seen.completed = fits(seen.completed.checked_add(completed), "the number of tasks")?;
    Ok(())
}

/// A count as a decimal quantity.
pub(crate) fn whole(count: u64) -> Result<Amount, LedgerError> {
    fits(Amount::from_pico(PICO_PER_UNIT).checked_mul(i128::from(count)), "a quantity")
}

/// Prices day by day, joined to versions.
#[derive(Debug, Default)]
pub(crate) struct Quotes(BTreeMap<PricedKey, Vec<PriceVersion>>);

impl Quotes {
    /// Notes what is in force on `day`: the state's price, else for tasks the seed price of `seed_day`'s organisation.
    fn quote(
        &mut self,
        day: NaiveDate,
        seed_day: NaiveDate,
        key: &PricedKey,
        (state, input): (Option<&PriceState>, &PeriodInput<'_>),
    ) -> Result<(), LedgerError> {
        let night = state.and_then(|state| Some((state.price?, PriceOrigin::Night)));
        let Some((price, origin)) =
            night.or_else(|| Some((seed_price(input.history, seed_day, key)?, PriceOrigin::Seed)))
        else {
            self.end(key, day);
            return Ok(());
        };
        if self.open(key).is_some_and(|version| version.price == price) {
            return Ok(());
        }
        self.end(key, day);
        let inputs = Digest::of(&serde_json::to_vec(&state)?);
        let version = PriceVersion { key: key.clone(), from: day, to: None, price, origin, inputs };
        self.0.entry(key.clone()).or_default().push(version);
        Ok(())
    }

    /// Seed prices for every day of the period.
    fn seed(&mut self, input: &PeriodInput<'_>, key: &PricedKey) -> Result<(), LedgerError> {
        for day in input.local_days() {
            self.quote(day, day, key, (None, input))?;
        }
        Ok(())
    }

    fn open(&mut self, key: &PricedKey) -> Option<&mut PriceVersion> {
        self.0.get_mut(key)?.last_mut().filter(|version| version.to.is_none())
    }

    fn end(&mut self, key: &PricedKey, day: NaiveDate) {
        if let Some(version) = self.open(key) {
            version.to = Some(day);
        }
    }

    fn into_versions(self) -> BTreeMap<PricedKey, Vec<PriceVersion>> {
        self.0
    }
}

/// The price before there is evidence (PRC-2). A seed is a price per task; minutes have none.
fn seed_price(history: &History, day: NaiveDate, key: &PricedKey) -> Option<Amount> {
    match key.model {
        PriceModel::Task => history.on(day).organisation.task_types.get(&key.task_type)?.seed_price,
        PriceModel::Time => None,
    }
}
