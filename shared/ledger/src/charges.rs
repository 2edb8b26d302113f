//! Cells of the period: where each cost goes, and what passes through at actual cost (PRC-0, PRC-2, PRC-6, PRC-7).

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use recoup_attribution::SettlementFacts;
use recoup_attribution::facts::CellValue;
use recoup_attribution::settlement::{Bought, Code, Cost, CostKey, Of, Within};
use recoup_model::Id;
use recoup_model::organisation::Billing;
use recoup_money::Amount;
use recoup_pricing::internal::token::token_charge;

use crate::draft::Draft;
use crate::error::{LedgerError, fits};
use crate::journal::{PROVIDER, UNATTRIBUTED, variance_account};
use crate::line::{Bearer, Line, LineKey, LineKind, PriceModel, PricedKey};
use crate::markup::Markups;
use crate::parts::Part;
use crate::prices::{ByPrice, InternalPrices, whole};
use crate::settle::PeriodInput;

/// What the period's cells and tasks add up to, beside their lines.
#[derive(Debug, Default)]
pub(crate) struct Sums {
    /// What pools are made of and split by.
    pub(crate) ground: Ground,
    /// Charges and actual cost of what has a price.
    pub(crate) tallies: BTreeMap<PricedKey, Tally>,
    /// Direct cost of tasks that pass through for want of a price, by team.
    pub(crate) passed: BTreeMap<PricedKey, BTreeMap<Id, Amount>>,
    /// All priced cost, summed apart from everything else.
    pub(crate) priced_cost: Amount,
    /// Unpriced events by the payer's team, and unpriced recurring bills by their owner.
    pub(crate) unpriced_events: BTreeMap<Option<Id>, u64>,
    /// Events that counted.
    pub(crate) events: u64,
    /// Direct cost of cells without a payer.
    pub(crate) nobody: Amount,
}

/// What pools are made of and split by, in the period up to some night.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ground {
    /// Direct cost by payer: not what went into pools.
    pub(crate) direct: BTreeMap<Bearer, Amount>,
    /// Teams with any event as payer.
    pub(crate) active: BTreeSet<Id>,
    /// Own cost of each pool.
    pub(crate) pools: BTreeMap<Id, Amount>,
}

/// The two sides of a variance (LED-2).
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Charges at price, by team.
    pub(crate) charges: BTreeMap<Id, Amount>,
    /// What the same tasks would have been charged at the rate of the period's start.
    pub(crate) at_start: Amount,
    /// Actual cost by team, parts of pools that the price recovers included.
    pub(crate) actual: BTreeMap<Id, Amount>,
}

/// Where a cost goes.
enum Route {
    Pool,
    Nobody,
    Tokens,
    /// The task, and under which model it has a price, if it has one.
    Task(Within<Code>, PriceModel),
}

/// Actual cost of what has a price, by number of the team.
#[derive(Default)]
struct Actual {
    priced: ByPayer,
    /// PRC-2, PRC-4: no price applies; it is charged under the billing model's name.
    passed: ByPayer,
}

/// An amount of each team that has one, by its number.
#[derive(Default)]
struct ByPayer(Vec<Option<Amount>>);

/// The line that a token-billed cell goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Sold<'a> {
    team: &'a Id,
    agent: Option<&'a Id>,
    task_type: Option<&'a Id>,
    provider: Option<&'a Id>,
    model: Option<&'a Id>,
    item: Bought<Option<&'a Id>>,
}

/// What cells come to, before it becomes lines.
struct Passing<'a> {
    tokens: BTreeMap<Sold<'a>, CellValue>,
    tasks: ByPrice<'a, 'a, Actual>,
}

/// Adds to an amount of a map.
pub(crate) fn add<K: Ord>(map: &mut BTreeMap<K, Amount>, key: K, amount: Amount) -> Result<(), LedgerError> {
    let sum = map.entry(key).or_default();
    *sum = fits(sum.checked_add(amount), "a sum of costs")?;
    Ok(())
}

impl Ground {
    /// Direct cost without a payer: into the organisation's pool for it (ATR-6), else onto the account; `true`: the latter.
    pub(crate) fn add_unattributed(&mut self, input: &PeriodInput<'_>, cost: Amount) -> Result<bool, LedgerError> {
        match &input.organisation().organisation.policy.unattributed_pool {
            Some(pool) => add(&mut self.pools, pool.clone(), cost).map(|()| false),
            None => add(&mut self.direct, Bearer::Unattributed, cost).map(|()| true),
        }
    }
}

impl Sums {
    /// [`Ground::add_unattributed`], posted.
    pub(crate) fn add_unattributed(
        &mut self,
        input: &PeriodInput<'_>,
        draft: &mut Draft,
        cost: Amount,
    ) -> Result<(), LedgerError> {
        if self.ground.add_unattributed(input, cost)? {
            draft.balances.transfer(PROVIDER, UNATTRIBUTED, cost)?;
        }
        Ok(())
    }

    /// Adds what another part of the settlement came to, whose payers are others.
    pub(crate) fn absorb(&mut self, other: Self) -> Result<(), LedgerError> {
        let Self { ground, tallies, passed, priced_cost, unpriced_events, events, nobody } = other;
        for (bearer, cost) in ground.direct {
            add(&mut self.ground.direct, bearer, cost)?;
        }
        self.ground.active.extend(ground.active);
        for (pool, cost) in ground.pools {
            add(&mut self.ground.pools, pool, cost)?;
        }
        for (key, tally) in tallies {
            let sum = self.tallies.entry(key).or_default();
            sum.at_start = fits(sum.at_start.checked_add(tally.at_start), "a charge at the first rate")?;
            sum.charges.extend(tally.charges);
            sum.actual.extend(tally.actual);
        }
        for (key, teams) in passed {
            self.passed.entry(key).or_default().extend(teams);
        }
        self.priced_cost = fits(self.priced_cost.checked_add(priced_cost), "the priced cost")?;
        for (team, events) in unpriced_events {
            self.add_unpriced(team, events)?;
        }
        self.events = fits(self.events.checked_add(events), "the number of events")?;
        self.nobody = fits(self.nobody.checked_add(nobody), "the unattributed cost")?;
        Ok(())
    }

    /// Counts what has no price (RAT-2); `None`: no team pays for it.
    pub(crate) fn add_unpriced(&mut self, team: Option<Id>, events: u64) -> Result<(), LedgerError> {
        let count = self.unpriced_events.entry(team).or_default();
        *count = fits(count.checked_add(events), "the number of unpriced events")?;
        Ok(())
    }

    fn count_events(&mut self, facts: &SettlementFacts) -> Result<(), LedgerError> {
        let counted = facts.counted.values().try_fold(self.events, |sum, set| sum.checked_add(set.events));
        self.events = fits(counted, "the number of events")?;
        Ok(())
    }
}

/// Sums the cells of a part of the payers and charges what passes through by token. [`post`] posts what all parts come to.
pub(crate) fn sum_cells<'a>(
    input: &PeriodInput<'a>,
    prices: &'a InternalPrices,
    part: Part<'_, '_>,
    draft: &mut Draft,
    markups: &mut Markups<'_>,
) -> Result<Sums, LedgerError> {
    let mut sums = Sums::default();
    let mut passing = Passing { tokens: BTreeMap::new(), tasks: ByPrice::new(prices) };
    let mut payers: BTreeMap<&Id, usize> = BTreeMap::new();
    for facts in input.facts() {
        if part.is_first() {
            sums.count_events(facts)?;
        }
        for (team, rows) in part.of(facts, facts.costs(), |key| key.team) {
            let next = payers.len();
            let payer = team.map(|team| (team, *payers.entry(team).or_insert(next)));
            sums.ground.active.extend(team.cloned());
            let mut routes = Routes { input, facts, team, last: None };
            let mut direct = None;
            for (key, value) in rows {
                sums.priced_cost = fits(sums.priced_cost.checked_add(value.cost), "the priced cost")?;
                if key.item == Bought::Unpriced && value.events > 0 {
                    sums.add_unpriced(team.cloned(), value.events)?;
                }
                let route = routes.of(key);
                if matches!(route, Route::Tokens) {
                    markups.pass_through(facts.day, &facts.cost(key), value.cost)?;
                }
                if matches!(route, Route::Tokens | Route::Task(..)) {
                    let sum = direct.unwrap_or(Amount::ZERO).checked_add(value.cost);
                    direct = Some(fits(sum, "a sum of costs")?);
                }
                passing.sum(&mut sums, (facts, key, value), (payer, route))?;
            }
            if let (Some(team), Some(direct)) = (team, direct) {
                add(&mut sums.ground.direct, Bearer::Team(team.clone()), direct)?;
            }
        }
        markups.end_day()?;
    }
    for (key, Actual { priced, passed }) in passing.tasks.into_sums() {
        let [actual, passed] = [priced, passed].map(|amounts| amounts.by_team(&payers));
        if !passed.is_empty() {
            sums.passed.insert(key.clone(), passed);
        }
        if !actual.is_empty() {
            sums.tallies.insert(key, Tally { actual, ..Tally::default() });
        }
    }
    for (bought, value) in &passing.tokens {
        draft.bear(PROVIDER, &Bearer::Team(bought.team.clone()), token_line(bought, value)?)?;
    }
    Ok(sums)
}

/// Posts actual cost: of tasks that pass through for want of a price, of nobody, and of what has a price.
pub(crate) fn post(input: &PeriodInput<'_>, sums: &mut Sums, draft: &mut Draft) -> Result<(), LedgerError> {
    for (key, teams) in &sums.passed {
        for (team, cost) in teams {
            let line = Line::new(pass_through_key(key), *cost).with_quantity(Amount::ZERO);
            draft.bear(PROVIDER, &Bearer::Team(team.clone()), line)?;
        }
    }
    sums.add_unattributed(input, draft, sums.nobody)?;
    for (key, tally) in sums.tallies.iter().filter(|(_, tally)| !tally.actual.is_empty()) {
        let actual = fits(Amount::checked_sum(tally.actual.values().copied()), "an actual cost")?;
        draft.balances.transfer(PROVIDER, &variance_account(key), actual)?;
    }
    Ok(())
}

impl ByPayer {
    fn add(&mut self, payer: usize, amount: Amount) -> Result<(), LedgerError> {
        if self.0.len() <= payer {
            self.0.resize(payer.saturating_add(1), None);
        }
        if let Some(sum) = self.0.get_mut(payer) {
            *sum = Some(fits(sum.unwrap_or(Amount::ZERO).checked_add(amount), "a sum of costs")?);
        }
        Ok(())
    }

    fn by_team(&self, payers: &BTreeMap<&Id, usize>) -> BTreeMap<Id, Amount> {
        let amount = |payer: usize| self.0.get(payer).copied().flatten();
        payers.iter().filter_map(|(team, payer)| Some((Id::clone(team), amount(*payer)?))).collect()
    }
}

impl<'a> Passing<'a> {
    fn sum(
        &mut self,
        sums: &mut Sums,
        (facts, key, value): (&'a SettlementFacts, &CostKey, &CellValue),
        (payer, route): (Option<(&'a Id, usize)>, Route),
    ) -> Result<(), LedgerError> {
        match (route, payer) {
            (Route::Pool, _) => match facts.name(key.pool) {
                Some(pool) => add(&mut sums.ground.pools, pool.clone(), value.cost),
                None => Ok(()),
            },
            (Route::Nobody, _) | (_, None) => {
                sums.nobody = fits(sums.nobody.checked_add(value.cost), "the unattributed cost")?;
                Ok(())
            }
            (Route::Task(task, model), Some((_, payer))) => {
                let Some(of) = self.tasks.of(facts, (task.agent, task.task_type), model) else { return Ok(()) };
                // PRC-4: a task without any duration passes through.
                let can_be_priced = model == PriceModel::Task || task.timed;
                let is_priced = can_be_priced && of.in_force(task.ended_on).is_some();
                let sum = if is_priced { &mut of.sum.priced } else { &mut of.sum.passed };
                sum.add(payer, value.cost)
            }
            // A frame has no cost; that of an unpriced event is unknown (RAT-2).
            (Route::Tokens, _) if matches!(key.item, Bought::Frame | Bought::Unpriced) => Ok(()),
            (Route::Tokens, Some((team, _))) => {
                let sum = self.tokens.entry(sold(team, &facts.cost(key))).or_default();
                sum.cost = fits(sum.cost.checked_add(value.cost), "a line")?;
                sum.quantity = fits(sum.quantity.checked_add(value.quantity), "a quantity")?;
                sum.events = fits(sum.events.checked_add(value.events), "the number of events")?;
                Ok(())
            }
        }
    }
}

fn sold<'a>(team: &'a Id, cost: &Cost<'a>) -> Sold<'a> {
    let Of { agent, task_type, provider, model, item, .. } = *cost;
    Sold { team, agent, task_type, provider, model, item }
}

/// Where the costs of one payer on one day go.
struct Routes<'r, 'a> {
    input: &'r PeriodInput<'a>,
    facts: &'a SettlementFacts,
    team: Option<&'a Id>,
    /// The agent and the day of the last task, and what has a price there: most often the next one's are the same.
    last: Option<((Code, NaiveDate), Option<PriceModel>)>,
}

impl Routes<'_, '_> {
    fn of(&mut self, key: &CostKey) -> Route {
        if key.pool != Code::NONE {
            return Route::Pool;
        }
        let Some(team) = self.team else { return Route::Nobody };
        // PRC-0: cost outside any task passes through at actual cost whatever the billing model.
        let Some(task) = key.task else { return Route::Tokens };
        let of = (task.agent, task.ended_on);
        let model = match self.last {
            Some((last, model)) if last == of => model,
            _ => {
                let agent = self.facts.name(task.agent);
                let billing = |agent: &Id| self.input.history.on(task.ended_on).organisation.billing(team, Some(agent));
                agent.and_then(|agent| PriceModel::of(billing(agent)))
            }
        };
        self.last = Some((of, model));
        model.map_or(Route::Tokens, |model| Route::Task(task, model))
    }
}

/// Tokens and units count themselves; a reported cost has no usage to count, its line counts the events.
fn token_line(bought: &Sold<'_>, value: &CellValue) -> Result<Line, LedgerError> {
    let (class, sku, unit, quantity) = match bought.item {
        Bought::Tokens(class) => (Some(class), None, Some(Id::from("token")), value.quantity),
        Bought::Units { sku, unit } => (None, sku.cloned(), unit.cloned(), value.quantity),
        Bought::Reported | Bought::Frame | Bought::Unpriced => {
            (None, None, Some(Id::from("event")), whole(value.events)?)
        }
    };
    let key = LineKey {
        agent: bought.agent.cloned(),
        task_type: bought.task_type.cloned(),
        billing: Some(Billing::Token),
        provider: bought.provider.cloned(),
        model: bought.model.cloned(),
        class,
        sku,
        unit,
        ..LineKey::of(LineKind::Charge)
    };
    Ok(Line::new(key, token_charge(value.cost)).with_quantity(quantity))
}

/// The line that passes tasks through for want of a price.
pub(crate) fn pass_through_key(key: &PricedKey) -> LineKey {
    LineKey { unit: Some(Id::from("task")), ..priced_line_key(key) }
}

/// The dimensions of every charge under a price.
pub(crate) fn priced_line_key(key: &PricedKey) -> LineKey {
    LineKey {
        agent: Some(key.agent.clone()),
        task_type: Some(key.task_type.clone()),
        billing: Some(key.model.billing()),
        ..LineKey::of(LineKind::Charge)
    }
}
