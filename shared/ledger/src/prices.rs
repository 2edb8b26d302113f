//! Internal prices of a period: one night after the other, and which price is in force on which day (PRC-2, PRC-3).

use std::collections::HashMap; // tidy: allow(hash-order) only asked, or put in order before anybody sees it
use std::collections::{BTreeMap, BTreeSet};

use chrono::{Days, NaiveDate};
use recoup_attribution::SettlementFacts;
use recoup_attribution::settlement::{Code, TasksOf};
use recoup_model::organisation::{Billing, History};
use recoup_model::{Digest, Id, Organisation};
use recoup_money::{Amount, PICO_PER_UNIT};
use recoup_pricing::internal::time::task_minutes_pico;
use recoup_pricing::internal::{Observation, PricePolicy, PriceState, advance};
use rustc_hash::FxBuildHasher;
use serde::{Deserialize, Serialize};

use crate::error::{LedgerError, fits};
use crate::line::{PriceModel, PricedKey};
use crate::nights::PriceNight;
use crate::parts::{Workers, try_each};
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
    versions: Versions,
    /// From the first day to the one after the last night: every cell and task asks for one of these.
    by_day: HashMap<PricedKey, Vec<Option<Rate>>, FxBuildHasher>, // tidy: allow(hash-order) only asked, never walked
}

impl InternalPrices {
    fn new((first, last): (NaiveDate, NaiveDate), versions: Versions) -> Self {
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
        self.on(self.rates(key)?, day)
    }

    fn rates(&self, key: &PricedKey) -> Option<&[Option<Rate>]> {
        Some(self.by_day.get(key)?)
    }

    fn on(&self, rates: &[Option<Rate>], day: NaiveDate) -> Option<Rate> {
        let at = usize::try_from(day.signed_duration_since(self.first).num_days()).unwrap_or_default();
        rates.get(at).or(rates.last()).copied().flatten()
    }

    /// The rate at the start of the period; where there was none, the first one (LED-2).
    fn at_start(&self, key: &PricedKey) -> Option<Amount> {
        Some(self.versions.get(key)?.first()?.price)
    }

    /// Every version, by what it prices and day.
    pub(crate) fn into_versions(self) -> Vec<PriceVersion> {
        self.versions.into_values().flatten().collect()
    }
}

/// What has a price, with what is asked of it again and again.
pub(crate) struct Priced<'p, T> {
    pub(crate) key: PricedKey,
    prices: &'p InternalPrices,
    /// From the period's first day on.
    rates: Option<&'p [Option<Rate>]>,
    /// The rate of the period's start.
    pub(crate) start: Option<Amount>,
    /// What is summed for it.
    pub(crate) sum: T,
}

impl<T> Priced<'_, T> {
    /// As [`InternalPrices::in_force`].
    pub(crate) fn in_force(&self, day: NaiveDate) -> Option<Rate> {
        self.prices.on(self.rates?, day)
    }
}

/// A sum for everything that has a price, by agent and task type, by task and by time.
pub(crate) struct ByPrice<'p, 'a, T> {
    prices: &'p InternalPrices,
    places: Pairs<'a, usize>,
    pairs: Vec<OfPair<'p, 'a, T>>,
    /// The day that places are asked of, and those that are known by numbers of its names.
    day: Option<NaiveDate>,
    of_day: Places,
}

/// Places by numbers of an agent and a task type.
type Places = HashMap<u64, usize, FxBuildHasher>; // tidy: allow(hash-order) only asked, never walked

struct OfPair<'p, 'a, T> {
    agent: &'a Id,
    task_type: &'a Id,
    by_task: Option<Priced<'p, T>>,
    by_time: Option<Priced<'p, T>>,
}

impl<'p, 'a, T: Default> ByPrice<'p, 'a, T> {
    pub(crate) fn new(prices: &'p InternalPrices) -> Self {
        Self { prices, places: Pairs::default(), pairs: Vec::new(), day: None, of_day: Places::default() }
    }

    /// Of an agent and a task type, by their numbers; `None`: there is none.
    pub(crate) fn of(
        &mut self,
        facts: &'a SettlementFacts,
        (agent, task_type): (Code, Code),
        model: PriceModel,
    ) -> Option<&mut Priced<'p, T>> {
        if self.day.replace(facts.day) != Some(facts.day) {
            self.of_day.clear();
        }
        let number = agent.with(task_type);
        let place = match self.of_day.get(&number) {
            Some(place) => *place,
            None => {
                let place = self.place(facts.name(agent)?, facts.name(task_type)?);
                self.of_day.insert(number, place);
                place
            }
        };
        let OfPair { agent, task_type, by_task, by_time } = self.pairs.get_mut(place)?;
        let priced = if model == PriceModel::Task { by_task } else { by_time };
        let prices = self.prices;
        Some(priced.get_or_insert_with(|| {
            let key = PricedKey { agent: agent.clone(), task_type: task_type.clone(), model };
            let (rates, start) = (prices.rates(&key), prices.at_start(&key));
            Priced { key, prices, rates, start, sum: T::default() }
        }))
    }

    fn place(&mut self, agent: &'a Id, task_type: &'a Id) -> usize {
        *self.places.entry((agent, task_type)).or_insert_with(|| {
            self.pairs.push(OfPair { agent, task_type, by_task: None, by_time: None });
            self.pairs.len().saturating_sub(1)
        })
    }

    /// Every sum, in the order in which they were first asked for.
    pub(crate) fn into_sums(self) -> impl Iterator<Item = (PricedKey, T)> {
        let both = self.pairs.into_iter().flat_map(|pair| [pair.by_task, pair.by_time]);
        both.flatten().map(|priced| (priced.key, priced.sum))
    }
}

/// What the nights of a period leave behind.
#[derive(Debug)]
pub(crate) struct Nights {
    pub(crate) prices: InternalPrices,
    pub(crate) states: BTreeMap<PricedKey, PriceState>,
}

/// Prices every day up to the last night, or, for a closed period, reads its own prices.
pub(crate) fn price_period(input: &PeriodInput<'_>, workers: &dyn Workers) -> Result<Nights, LedgerError> {
    let first = input.period.first_day();
    let last = next_day(input.through);
    let observed = observe_days(input, workers)?;
    let mut keys = known_keys(input, &observed);
    let mut versions = Versions::new();
    if let Some(own) = input.own_prices {
        for version in own {
            keys.remove(&version.key);
            versions.entry(version.key.clone()).or_default().push(version.clone());
        }
        // What nobody knew when the period was closed has its seed price, as it would have had then.
        for key in &keys {
            let mut quotes = Quotes::default();
            quotes.seed(input, key)?;
            versions.extend(quotes.of(key));
        }
        return Ok(Nights { prices: InternalPrices::new((first, last), versions), states: BTreeMap::new() });
    }
    // What prices recover of pools is made of all of them.
    let parts = if Recovery::of(input).is_some() { 1 } else { workers.parts() };
    let keys: Vec<&PricedKey> = keys.iter().collect();
    let size = keys.len().div_ceil(parts.max(1)).max(1);
    let opening = rate_card::opening_states(input)?;
    let run = |keys: &[&PricedKey]| run_nights(input, (keys, &observed), &opening, |_| {});
    let mut states = BTreeMap::new();
    for (own, after) in try_each(workers, keys.chunks(size), run)? {
        versions.extend(own);
        states.extend(after);
    }
    Ok(Nights { prices: InternalPrices::new((first, last), versions), states })
}

fn next_day(day: NaiveDate) -> NaiveDate {
    day.checked_add_days(Days::new(1)).unwrap_or(day)
}

/// Everything that may have a price in the period: what had one before it, and every task that ended in it or has direct
/// cost in it. What went into a pool is no task's cost: facts do not say whose it was.
fn known_keys(input: &PeriodInput<'_>, observed: &Observed<'_>) -> BTreeSet<PricedKey> {
    let mut pairs = Pairs::<'_, (&Id, &Id)>::default();
    for day in observed.values() {
        for (agent, task_type) in &day.named {
            pairs.entry((agent, task_type)).or_insert((agent, task_type));
        }
    }
    let both = [PriceModel::Task, PriceModel::Time];
    let key =
        |(agent, task_type): (&Id, &Id), model| PricedKey { agent: agent.clone(), task_type: task_type.clone(), model };
    let from_tasks = pairs.into_values().flat_map(|pair| both.map(|model| key(pair, model)));
    from_tasks.chain(input.opening.prices.keys().cloned()).collect()
}

/// What has a price while its nights are run.
struct Running<'k> {
    key: &'k PricedKey,
    state: Option<PriceState>,
    quotes: Quotes,
}

/// `note` is told of every night of every price.
pub(crate) fn run_nights(
    input: &PeriodInput<'_>,
    (keys, observed): (&[&PricedKey], &Observed<'_>),
    opening: &BTreeMap<PricedKey, PriceState>,
    mut note: impl FnMut(PriceNight),
) -> Result<(Versions, BTreeMap<PricedKey, PriceState>), LedgerError> {
    let running = |key| Running { key, state: opening.get(key).cloned(), quotes: Quotes::default() };
    let mut all: Vec<Running<'_>> = keys.iter().copied().map(running).collect();
    let mut besides = Besides::of(input);
    for day in input.local_days() {
        for one in &mut all {
            one.quotes.quote(day, day, one.key, (one.state.as_ref(), input))?;
        }
        let organisation = &input.history.on(day).organisation;
        let policy = price_policy(organisation, input.period.next().first_day() == next_day(day));
        besides.night(day)?;
        for one in &mut all {
            let key = one.key;
            let seen = observed.get(&day).and_then(|day| day.tasks.get(&(&*key.agent, &*key.task_type)));
            let seen = seen.map(|seen| seen.of(key.model)).transpose()?.unwrap_or_default();
            if one.state.is_none() && !begins(organisation, key, &seen) {
                continue;
            }
            let beside = besides.take(key)?;
            let cost = fits(seen.cost.checked_add(beside), "the cost of a day's tasks")?;
            let before = one.state.clone();
            let advanced =
                advance(one.state.take(), day, &Observation { cost, ..seen }, &policy).map_err(|source| {
                    let (agent, task_type) = (key.agent.clone(), key.task_type.clone());
                    LedgerError::Price { model: key.model.billing().name(), agent, task_type, day, source }
                })?;
            if let Some(after) = advanced {
                note(PriceNight { day, seen, beside, policy, before, after: after.clone() });
                one.state = Some(after);
            }
        }
    }
    let (mut versions, mut states) = (Versions::new(), BTreeMap::new());
    for mut one in all {
        one.quotes.quote(next_day(input.through), input.through, one.key, (one.state.as_ref(), input))?;
        versions.extend(one.quotes.of(one.key));
        states.extend(one.state.map(|state| (one.key.clone(), state)));
    }
    Ok((versions, states))
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

/// By agent and task type.
type Pairs<'a, T> = HashMap<(&'a str, &'a str), T, FxBuildHasher>; // tidy: allow(hash-order) only asked, or put in order

/// What the tasks of one agent and task type came to on a day.
#[derive(Default)]
struct Seen {
    by_task: Observation,
    by_time: Observation,
    active_ns: u64,
}

impl Seen {
    fn of(&self, model: PriceModel) -> Result<Observation, LedgerError> {
        Ok(match model {
            PriceModel::Task => Observation { quantity: whole(self.by_task.completed)?, ..self.by_task },
            PriceModel::Time => Observation { quantity: task_minutes_pico(self.active_ns), ..self.by_time },
        })
    }
}

/// What a day says about prices.
#[derive(Default)]
pub(crate) struct DayObserved<'a> {
    /// The day's tasks by what prices them, whoever pays: also tasks of teams with another billing model, and of nobody.
    tasks: Pairs<'a, Seen>,
    /// What the day's tasks or direct cost name.
    named: Vec<(&'a Id, &'a Id)>,
}

/// The days of a period that have facts.
pub(crate) type Observed<'a> = BTreeMap<NaiveDate, DayObserved<'a>>;

/// What each day says, day by day apart.
pub(crate) fn observe_days<'a>(input: &PeriodInput<'a>, workers: &dyn Workers) -> Result<Observed<'a>, LedgerError> {
    let observed = try_each(workers, input.facts(), |facts| Ok((facts.day, observe_day(facts)?)))?;
    Ok(observed.into_iter().collect())
}

fn observe_day(facts: &SettlementFacts) -> Result<DayObserved<'_>, LedgerError> {
    let mut tasks = HashMap::<u64, (TasksOf, Seen), FxBuildHasher>::default(); // tidy: allow(hash-order) as `Pairs`
    for (task, value) in facts.tasks().iter().filter(|(task, _)| task.agent != Code::NONE) {
        let (_, seen) = tasks.entry(task.agent.with(task.task_type)).or_insert_with(|| (*task, Seen::default()));
        observe(&mut seen.by_task, (value.direct_cost, value.tasks, value.completed))?;
        // Tasks without any duration are no evidence for a time price (PRC-4).
        observe(&mut seen.by_time, (value.timed_cost, value.timed_tasks, value.timed_completed))?;
        seen.active_ns = fits(seen.active_ns.checked_add(value.active_ns), "the active time of a day's tasks")?;
    }
    let pair = |agent, task_type| Some((facts.name(agent)?, facts.name(task_type)?));
    let mut named: BTreeSet<(Code, Code)> = tasks.values().map(|(of, _)| (of.agent, of.task_type)).collect();
    let of_costs = facts.costs().iter().filter(|(key, _)| key.pool == Code::NONE).filter_map(|(key, _)| key.task);
    let mut last = None;
    for of in of_costs.map(|task| (task.agent, task.task_type)) {
        if last.replace(of) != Some(of) {
            named.insert(of);
        }
    }
    let seen = |(of, seen): (TasksOf, Seen)| {
        let (agent, task_type) = pair(of.agent, of.task_type)?;
        Some(((&**agent, &**task_type), seen))
    };
    Ok(DayObserved {
        tasks: tasks.into_values().filter_map(seen).collect(),
        named: named.into_iter().filter_map(|(agent, task_type)| pair(agent, task_type)).collect(),
    })
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

/// The price versions of a period, by what they price.
pub(crate) type Versions = BTreeMap<PricedKey, Vec<PriceVersion>>;

/// One price day by day, joined to versions.
#[derive(Debug, Default)]
struct Quotes(Vec<PriceVersion>);

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
            self.end(day);
            return Ok(());
        };
        if self.open().is_some_and(|version| version.price == price) {
            return Ok(());
        }
        self.end(day);
        let inputs = Digest::of(&serde_json::to_vec(&state)?);
        self.0.push(PriceVersion { key: key.clone(), from: day, to: None, price, origin, inputs });
        Ok(())
    }

    /// Seed prices for every day of the period.
    fn seed(&mut self, input: &PeriodInput<'_>, key: &PricedKey) -> Result<(), LedgerError> {
        for day in input.local_days() {
            self.quote(day, day, key, (None, input))?;
        }
        Ok(())
    }

    fn open(&mut self) -> Option<&mut PriceVersion> {
        self.0.last_mut().filter(|version| version.to.is_none())
    }

    fn end(&mut self, day: NaiveDate) {
        if let Some(version) = self.open() {
            version.to = Some(day);
        }
    }

    /// The versions, where there are any.
    fn of(self, key: &PricedKey) -> Option<(PricedKey, Vec<PriceVersion>)> {
        (!self.0.is_empty()).then(|| (key.clone(), self.0))
    }
}

/// The price before there is evidence (PRC-2). A seed is a price per task; minutes have none.
fn seed_price(history: &History, day: NaiveDate, key: &PricedKey) -> Option<Amount> {
    match key.model {
        PriceModel::Task => history.on(day).organisation.task_types.get(&key.task_type)?.seed_price,
        PriceModel::Time => None,
    }
}
