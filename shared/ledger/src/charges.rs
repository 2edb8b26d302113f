//! Cells of the period: where each cost goes, and what passes through at actual cost (PRC-0, PRC-2, PRC-6, PRC-7).

use std::collections::{BTreeMap, BTreeSet};

use recoup_attribution::DayFacts;
use recoup_attribution::facts::{CellKey, CellValue, Item, TaskOf};
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

/// Where the cost of a cell goes.
enum Route<'a> {
    Pool(&'a Id),
    Nobody,
    Tokens(&'a Id),
    /// The payer's team, the task, and under which model it has a price, if it has one.
    Task(&'a Id, (&'a TaskOf, &'a Id), PriceModel),
}

/// Actual cost of what has a price, by team.
#[derive(Default)]
struct Actual {
    priced: BTreeMap<Id, Amount>,
    /// PRC-2, PRC-4: no price applies; it is charged under the billing model's name.
    passed: BTreeMap<Id, Amount>,
}

/// The line that a token-billed cell goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Bought<'a> {
    team: &'a Id,
    agent: Option<&'a Id>,
    task_type: Option<&'a Id>,
    provider: Option<&'a Id>,
    model: Option<&'a Id>,
    item: &'a Item,
}

/// What cells come to, before it becomes lines.
struct Passing<'a> {
    tokens: BTreeMap<Bought<'a>, CellValue>,
    tasks: ByPrice<'a, 'a, Actual>,
    /// The payer of the last cells, and their direct cost.
    payer: Option<(&'a Id, Amount)>,
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

    fn count_events(&mut self, facts: &DayFacts) -> Result<(), LedgerError> {
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
    let mut passing = Passing { tokens: BTreeMap::new(), tasks: ByPrice::new(prices), payer: None };
    for facts in input.facts() {
        if part.is_first() {
            sums.count_events(facts)?;
        }
        let mut last = None;
        for (cell, value) in part.of(&facts.cells, |cell| cell.team.as_ref()) {
            sums.priced_cost = fits(sums.priced_cost.checked_add(value.cost), "the priced cost")?;
            // Cells of a day lie in order of teams.
            if last != cell.team.as_ref() {
                last = cell.team.as_ref();
                sums.ground.active.extend(last.cloned());
            }
            count_unpriced(&mut sums, cell, value)?;
            let route = route(input, cell);
            if matches!(route, Route::Tokens(_)) {
                markups.pass_through(facts.day, cell, value.cost)?;
            }
            passing.sum_cell(&mut sums, (cell, value), route)?;
        }
        markups.end_day()?;
    }
    passing.end_payer(&mut sums)?;
    for (key, Actual { priced: actual, passed }) in passing.tasks.into_sums() {
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

fn count_unpriced(sums: &mut Sums, cell: &CellKey, value: &CellValue) -> Result<(), LedgerError> {
    if cell.item == Item::Unpriced && value.events > 0 {
        sums.add_unpriced(cell.team.clone(), value.events)?;
    }
    Ok(())
}

impl<'a> Passing<'a> {
    fn sum_cell(
        &mut self,
        sums: &mut Sums,
        (cell, value): (&'a CellKey, &CellValue),
        route: Route<'a>,
    ) -> Result<(), LedgerError> {
        if let Route::Tokens(team) | Route::Task(team, ..) = &route {
            self.add_direct(sums, team, value.cost)?;
        }
        match route {
            Route::Pool(pool) => add(&mut sums.ground.pools, pool.clone(), value.cost),
            Route::Nobody => {
                sums.nobody = fits(sums.nobody.checked_add(value.cost), "the unattributed cost")?;
                Ok(())
            }
            Route::Task(team, (task, agent), model) => {
                let of = self.tasks.of((agent, &task.task_type), model);
                // PRC-4: a task without any duration passes through.
                let can_be_priced = model == PriceModel::Task || task.timed;
                let is_priced = can_be_priced && of.in_force(task.ended_on).is_some();
                add(if is_priced { &mut of.sum.priced } else { &mut of.sum.passed }, team.clone(), value.cost)
            }
            // A frame has no cost; that of an unpriced event is unknown (RAT-2).
            Route::Tokens(_) if matches!(cell.item, Item::Frame | Item::Unpriced) => Ok(()),
            Route::Tokens(team) => {
                let sum = self.tokens.entry(bought(team, cell)).or_default();
                sum.cost = fits(sum.cost.checked_add(value.cost), "a line")?;
                sum.quantity = fits(sum.quantity.checked_add(value.quantity), "a quantity")?;
                sum.events = fits(sum.events.checked_add(value.events), "the number of events")?;
                Ok(())
            }
        }
    }

    /// Adds direct cost of a payer, whose next cells most often follow.
    fn add_direct(&mut self, sums: &mut Sums, team: &'a Id, cost: Amount) -> Result<(), LedgerError> {
        match &mut self.payer {
            Some((payer, direct)) if *payer == team => {
                *direct = fits(direct.checked_add(cost), "a sum of costs")?;
                Ok(())
            }
            _ => {
                self.end_payer(sums)?;
                self.payer = Some((team, cost));
                Ok(())
            }
        }
    }

    fn end_payer(&mut self, sums: &mut Sums) -> Result<(), LedgerError> {
        let Some((team, direct)) = self.payer.take() else { return Ok(()) };
        add(&mut sums.ground.direct, Bearer::Team(team.clone()), direct)
    }
}

fn bought<'a>(team: &'a Id, cell: &'a CellKey) -> Bought<'a> {
    Bought {
        team,
        agent: cell.agent.as_ref(),
        task_type: cell.task_type.as_ref(),
        provider: cell.provider.as_ref(),
        model: cell.model.as_ref(),
        item: &cell.item,
    }
}

fn route<'a>(input: &PeriodInput<'_>, cell: &'a CellKey) -> Route<'a> {
    if let Some(pool) = &cell.pool {
        return Route::Pool(pool);
    }
    let Some(team) = &cell.team else { return Route::Nobody };
    // PRC-0: cost outside any task passes through at actual cost whatever the billing model.
    let Some(task) = &cell.task else { return Route::Tokens(team) };
    let billing = input.history.on(task.ended_on).organisation.billing(team, task.agent.as_deref());
    match (&task.agent, PriceModel::of(billing)) {
        (Some(agent), Some(model)) => Route::Task(team, (task, agent), model),
        _ => Route::Tokens(team),
    }
}

/// Tokens and units count themselves; a reported cost has no usage to count, its line counts the events.
fn token_line(bought: &Bought<'_>, value: &CellValue) -> Result<Line, LedgerError> {
    let (class, sku, unit, quantity) = match bought.item {
        Item::Tokens(class) => (Some(*class), None, Some(Id::from("token")), value.quantity),
        Item::Units { sku, unit } => (None, Some(sku.clone()), unit.clone(), value.quantity),
        Item::Reported | Item::Frame | Item::Unpriced => (None, None, Some(Id::from("event")), whole(value.events)?),
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
