//! Charges: tokens and passed-through cost at actual cost, tasks and minutes at internal prices (PRC-0 to PRC-7).

use std::collections::{BTreeMap, BTreeSet};

use recoup_attribution::DayFacts;
use recoup_attribution::facts::{CellKey, CellValue, Item, TaskKey, TaskValue};
use recoup_model::organisation::Billing;
use recoup_model::{FindingKind, Id, Severity};
use recoup_money::Amount;
use recoup_pricing::internal::task::task_charge;
use recoup_pricing::internal::time::{task_minutes_pico, time_charge};

use crate::draft::Draft;
use crate::error::{LedgerError, fits};
use crate::journal::{PROVIDER, UNATTRIBUTED, variance_account};
use crate::line::{Bearer, Line, LineKey, LineKind, PriceModel, PricedKey};
use crate::prices::{InternalPrices, Rate, whole};
use crate::settle::PeriodInput;

/// What the period's cells and tasks add up to, beside their lines.
#[derive(Debug, Default)]
pub(crate) struct Sums {
    /// Direct cost by payer: not what went into pools.
    pub(crate) direct: BTreeMap<Bearer, Amount>,
    /// Teams with any event as payer.
    pub(crate) active: BTreeSet<Id>,
    /// Own cost of each pool.
    pub(crate) pools: BTreeMap<Id, Amount>,
    /// Charges and actual cost of what has a price.
    pub(crate) tallies: BTreeMap<PricedKey, Tally>,
    /// All priced cost, summed apart from everything else.
    pub(crate) priced_cost: Amount,
    /// Unpriced events by the payer's team.
    pub(crate) unpriced_events: BTreeMap<Option<Id>, u64>,
    /// Events that counted.
    pub(crate) events: u64,
}

/// The two sides of a variance (LED-2).
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Charges at price, by team.
    pub(crate) charges: BTreeMap<Id, Amount>,
    /// What the same tasks would have been charged at the rate of the period's start.
    pub(crate) at_start: Amount,
    /// Actual cost by team.
    pub(crate) actual: BTreeMap<Id, Amount>,
}

/// Where the cost of a cell goes.
enum Route<'a> {
    Pool(&'a Id),
    Nobody,
    Tokens(&'a Id),
    /// PRC-2, PRC-4: no price applies; actual cost is charged under the billing model's name.
    PassThrough(&'a Id, PricedKey),
    Priced(&'a Id, PricedKey),
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

/// What passes through, before it becomes lines.
#[derive(Debug, Default)]
struct Passing<'a> {
    tokens: BTreeMap<Bought<'a>, CellValue>,
    tasks: BTreeMap<(&'a Id, PricedKey), Amount>,
    nobody: Amount,
}

/// Adds to an amount of a map.
pub(crate) fn add<K: Ord>(map: &mut BTreeMap<K, Amount>, key: K, amount: Amount) -> Result<(), LedgerError> {
    let sum = map.entry(key).or_default();
    *sum = fits(sum.checked_add(amount), "a sum of costs")?;
    Ok(())
}

impl Sums {
    /// Direct cost without a payer: into the organisation's pool for it (ATR-6), else onto the account.
    pub(crate) fn add_unattributed(
        &mut self,
        input: &PeriodInput<'_>,
        draft: &mut Draft,
        cost: Amount,
    ) -> Result<(), LedgerError> {
        match &input.organisation().organisation.policy.unattributed_pool {
            Some(pool) => add(&mut self.pools, pool.clone(), cost),
            None => {
                add(&mut self.direct, Bearer::Unattributed, cost)?;
                draft.balances.transfer(PROVIDER, UNATTRIBUTED, cost)
            }
        }
    }

    fn count_events(&mut self, facts: &DayFacts) -> Result<(), LedgerError> {
        let counted = facts.counted.values().try_fold(self.events, |sum, set| sum.checked_add(set.events));
        self.events = fits(counted, "the number of events")?;
        Ok(())
    }
}

/// Sums the cells of the period and charges what passes through.
pub(crate) fn sum_cells(
    input: &PeriodInput<'_>,
    prices: &InternalPrices,
    draft: &mut Draft,
) -> Result<Sums, LedgerError> {
    let mut sums = Sums::default();
    let mut passing = Passing::default();
    for facts in input.facts() {
        sums.count_events(facts)?;
        for (cell, value) in &facts.cells {
            sums.priced_cost = fits(sums.priced_cost.checked_add(value.cost), "the priced cost")?;
            sums.active.extend(cell.team.clone());
            count_unpriced(&mut sums, cell, value)?;
            sum_cell(&mut sums, &mut passing, (cell, value), route(input, prices, cell))?;
        }
    }
    for (bought, value) in &passing.tokens {
        draft.bear(PROVIDER, &Bearer::Team(bought.team.clone()), token_line(bought, value)?)?;
    }
    for ((team, key), cost) in &passing.tasks {
        let line = Line::new(pass_through_key(key), *cost).with_quantity(Amount::ZERO);
        draft.bear(PROVIDER, &Bearer::Team((*team).clone()), line)?;
    }
    sums.add_unattributed(input, draft, passing.nobody)?;
    post_actual(&sums, draft)?;
    Ok(sums)
}

fn count_unpriced(sums: &mut Sums, cell: &CellKey, value: &CellValue) -> Result<(), LedgerError> {
    if cell.item == Item::Unpriced && value.events > 0 {
        let count = sums.unpriced_events.entry(cell.team.clone()).or_default();
        *count = fits(count.checked_add(value.events), "the number of unpriced events")?;
    }
    Ok(())
}

fn sum_cell<'a>(
    sums: &mut Sums,
    passing: &mut Passing<'a>,
    (cell, value): (&'a CellKey, &CellValue),
    route: Route<'a>,
) -> Result<(), LedgerError> {
    if let Route::Tokens(team) | Route::PassThrough(team, _) | Route::Priced(team, _) = &route {
        add(&mut sums.direct, Bearer::Team((*team).clone()), value.cost)?;
    }
    match route {
        Route::Pool(pool) => add(&mut sums.pools, pool.clone(), value.cost),
        Route::Nobody => {
            passing.nobody = fits(passing.nobody.checked_add(value.cost), "the unattributed cost")?;
            Ok(())
        }
        Route::Priced(team, key) => add(&mut sums.tallies.entry(key).or_default().actual, team.clone(), value.cost),
        Route::PassThrough(team, key) => add(&mut passing.tasks, (team, key), value.cost),
        // A frame has no cost; that of an unpriced event is unknown (RAT-2).
        Route::Tokens(_) if matches!(cell.item, Item::Frame | Item::Unpriced) => Ok(()),
        Route::Tokens(team) => {
            let sum = passing.tokens.entry(bought(team, cell)).or_default();
            sum.cost = fits(sum.cost.checked_add(value.cost), "a line")?;
            sum.quantity = fits(sum.quantity.checked_add(value.quantity), "a quantity")?;
            sum.events = fits(sum.events.checked_add(value.events), "the number of events")?;
            Ok(())
        }
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

fn post_actual(sums: &Sums, draft: &mut Draft) -> Result<(), LedgerError> {
    for (key, tally) in &sums.tallies {
        let actual = fits(Amount::checked_sum(tally.actual.values().copied()), "an actual cost")?;
        draft.balances.transfer(PROVIDER, &variance_account(key), actual)?;
    }
    Ok(())
}

fn route<'a>(input: &PeriodInput<'_>, prices: &InternalPrices, cell: &'a CellKey) -> Route<'a> {
    if let Some(pool) = &cell.pool {
        return Route::Pool(pool);
    }
    let Some(team) = &cell.team else { return Route::Nobody };
    // PRC-0: cost outside any task passes through at actual cost whatever the billing model.
    let Some(task) = &cell.task else { return Route::Tokens(team) };
    let billing = input.history.on(task.ended_on).organisation.billing(team, task.agent.as_deref());
    let (Some(agent), Some(model)) = (&task.agent, PriceModel::of(billing)) else { return Route::Tokens(team) };
    let key = PricedKey { agent: agent.clone(), task_type: task.task_type.clone(), model };
    // PRC-4: a task without any duration passes through.
    let can_be_priced = model == PriceModel::Task || task.timed;
    if can_be_priced && prices.in_force(&key, task.ended_on).is_some() {
        Route::Priced(team, key)
    } else {
        Route::PassThrough(team, key)
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
    Ok(Line::new(key, value.cost).with_quantity(quantity))
}

fn pass_through_key(key: &PricedKey) -> LineKey {
    LineKey { unit: Some(Id::from("task")), ..priced_line_key(key) }
}

fn priced_line_key(key: &PricedKey) -> LineKey {
    LineKey {
        agent: Some(key.agent.clone()),
        task_type: Some(key.task_type.clone()),
        billing: Some(key.model.billing()),
        ..LineKey::of(LineKind::Charge)
    }
}

/// The tasks of one payer, agent and task type that ended on one day.
struct Ended<'a> {
    team: &'a Id,
    key: PricedKey,
    rate: Option<Rate>,
    /// The rate of the period's start.
    start: Option<Amount>,
    value: &'a TaskValue,
}

/// Time charges wait for their sum: the minutes of a line are converted once.
type Minutes = BTreeMap<(Id, PricedKey, chrono::NaiveDate), (u64, Line)>;

/// Charges the tasks that ended in the period at the price in force on the day (PRC-3).
pub(crate) fn charge_tasks(
    input: &PeriodInput<'_>,
    prices: &InternalPrices,
    draft: &mut Draft,
    sums: &mut Sums,
) -> Result<(), LedgerError> {
    let mut minutes = Minutes::new();
    for facts in input.facts() {
        for (task, value) in &facts.tasks {
            let Some(ended) = ended(input, prices, (facts, task, value)) else { continue };
            match ended.key.model {
                PriceModel::Task => charge_completed(&ended, draft, sums)?,
                PriceModel::Time => charge_durations(&ended, draft, (sums, &mut minutes))?,
            }
        }
    }
    for ((team, key, _), (active_ns, line)) in minutes {
        let line = line.with_quantity(task_minutes_pico(active_ns));
        draft.bear(&variance_account(&key), &Bearer::Team(team), line)?;
    }
    note_pass_through(draft);
    Ok(())
}

fn ended<'a>(
    input: &PeriodInput<'_>,
    prices: &InternalPrices,
    (facts, task, value): (&DayFacts, &'a TaskKey, &'a TaskValue),
) -> Option<Ended<'a>> {
    let (team, agent) = (task.team.as_ref()?, task.agent.as_ref()?);
    let billing = input.history.on(facts.day).organisation.billing(team, Some(agent));
    let model = PriceModel::of(billing)?;
    let key = PricedKey { agent: agent.clone(), task_type: task.task_type.clone(), model };
    Some(Ended { team, rate: prices.in_force(&key, facts.day), start: prices.at_start(&key), key, value })
}

fn charge_completed(ended: &Ended<'_>, draft: &mut Draft, sums: &mut Sums) -> Result<(), LedgerError> {
    let completed = ended.value.completed;
    let Some(rate) = ended.rate else { return count_passed(ended, completed, draft) };
    let times = |price: Amount| fits(task_charge(price, completed), "a task charge");
    let exact = times(rate.price)?;
    ended.tally(sums, exact, times(ended.start.unwrap_or(rate.price))?)?;
    let mut line = Line::new(ended.line_key(rate, "task"), exact).with_quantity(whole(completed)?);
    line.price = Some(rate.price);
    draft.bear(&variance_account(&ended.key), &Bearer::Team(ended.team.clone()), line)
}

fn charge_durations(
    ended: &Ended<'_>,
    draft: &mut Draft,
    (sums, minutes): (&mut Sums, &mut Minutes),
) -> Result<(), LedgerError> {
    let durations = &ended.value.durations_ns;
    let Some(rate) = ended.rate else { return count_passed(ended, ended.value.tasks, draft) };
    let timed = fits(durations.values().try_fold(0_u64, |sum, count| sum.checked_add(*count)), "the number of tasks")?;
    count_passed(ended, ended.value.tasks.saturating_sub(timed), draft)?;
    let charge = |price: Amount| {
        let each = durations.iter().map(|(ns, count)| time_charge(price, *ns)?.checked_mul(i128::from(*count)));
        fits(each.collect::<Option<Vec<_>>>().and_then(Amount::checked_sum), "a time charge")
    };
    let exact = charge(rate.price)?;
    ended.tally(sums, exact, charge(ended.start.unwrap_or(rate.price))?)?;
    let active = durations.iter().try_fold(0_u64, |sum, (ns, count)| sum.checked_add(ns.checked_mul(*count)?));
    let active = fits(active, "the active time of a line")?;
    let mut line = Line::new(ended.line_key(rate, "minute"), exact);
    line.price = Some(rate.price);
    match minutes.get_mut(&(ended.team.clone(), ended.key.clone(), rate.from)) {
        Some((sum, known)) => {
            *sum = fits(sum.checked_add(active), "the active time of a line")?;
            fits(known.checked_add(&line), "a line")
        }
        None => {
            minutes.insert((ended.team.clone(), ended.key.clone(), rate.from), (active, line));
            Ok(())
        }
    }
}

impl Ended<'_> {
    fn line_key(&self, rate: Rate, unit: &str) -> LineKey {
        LineKey { from: Some(rate.from), unit: Some(Id::from(unit)), ..priced_line_key(&self.key) }
    }

    fn tally(&self, sums: &mut Sums, exact: Amount, at_start: Amount) -> Result<(), LedgerError> {
        let tally = sums.tallies.entry(self.key.clone()).or_default();
        tally.at_start = fits(tally.at_start.checked_add(at_start), "a charge at the first rate")?;
        add(&mut tally.charges, self.team.clone(), exact)
    }
}

/// Counts tasks onto the line that passes their actual cost through.
fn count_passed(ended: &Ended<'_>, tasks: u64, draft: &mut Draft) -> Result<(), LedgerError> {
    let line = Line::new(pass_through_key(&ended.key), Amount::ZERO).with_quantity(whole(tasks)?);
    draft.bear(PROVIDER, &Bearer::Team(ended.team.clone()), line)
}

fn note_pass_through(draft: &mut Draft) {
    let passes = |line: &&Line| line.key.billing.is_some_and(|model| model != Billing::Token) && line.price.is_none();
    let name = |line: &Line| Some((line.key.agent.clone()?, line.key.task_type.clone()?, line.key.billing?.name()));
    let passed: BTreeSet<_> = draft.lines().filter(passes).filter_map(name).collect();
    for (agent, task_type, billing) in passed {
        let detail = format!(
            "tasks of `{agent}` for `{task_type}` billed by {billing} had no price and pass through at actual cost; a `seed_price`, or more tasks with durations, ends this"
        );
        draft.find(Severity::Info, FindingKind::PassThrough, &format!("{agent}/{task_type}"), detail);
    }
}
