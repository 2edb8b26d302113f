//! A settled variance: charges less actual cost, its price and usage part, and its split over the teams (LED-2, LED-3).

use std::collections::BTreeMap;

use recoup_attribution::facts::TaskOf;
use recoup_ledger::{LineKind, PriceModel, PricedKey, VarianceRecord};
use recoup_model::Id;
use recoup_model::organisation::Billing;
use recoup_money::Amount;
use recoup_pricing::internal::task::task_charge;

use super::bills::{BilledTo, bills_of};
use super::case::Case;
use super::charge::{Asked, cells_step};
use super::lens::{Lens, What, charge_each};
use super::ratio;
use super::route::{Destination, Tariffs, key_of_line};
use super::shares::LargestRemainder;
use super::step::{Explained, Row, Step, Table, overflow, plus, sum};
use crate::error::Refusal;

/// By what a variance is divided, and the weights.
type Weights = (&'static str, BTreeMap<Id, Amount>);

/// Explains a variance line. Returns the reading of the actual cost behind it.
pub(crate) fn explain_variance<'a>(
    found: &mut Explained,
    case: &Case,
    asked: Asked<'a>,
    lens: impl Fn(What) -> Lens<'a>,
) -> Result<Option<Lens<'a>>, Refusal> {
    let Some(key) = key_of_line(&asked.line.key) else { return Ok(None) };
    let Some(record) = case.settlement.variances.iter().find(|record| record.key == key) else { return Ok(None) };
    let mut all = lens(What::Actual(key.clone()));
    all.team = None;
    explain_measure(found, case, (record, &all))?;
    let back = record.variance.checked_add(record.carried_in).and_then(Amount::checked_neg).ok_or_else(overflow)?;
    let (basis, weights) = weights(case, &key, &all)?;
    let ids: Vec<&[u8]> = weights.keys().map(|team| team.as_bytes()).collect();
    let ratios: Vec<_> = weights.values().map(|weight| ratio::of_pico(*weight)).collect();
    let split = LargestRemainder::of(back, &ratios, &ids)?;
    let me = weights.keys().position(|team| team == asked.team);
    let share = me.and_then(|me| split.parts.get(me).copied()).unwrap_or_default();
    found.readded = share;
    found.tie("the parts of all teams", sum(split.parts.iter().copied())?, back);
    let mut step = Step::new("split", &["LED-3", "SPL-1"])
        .say(format!("the variance goes back with the other sign, by {basis}"))
        .with(split_table(asked, &weights, &split)?);
    if let Some(me) = me {
        step = step.calculate(split.tell("it", back, me));
    }
    found.step(step);
    let mut own = lens(What::Actual(key));
    own.team = Some(asked.team);
    let (cells, actual) = cells_step(case, &own, asked.rows)?;
    found.step(cells.say(format!("actual cost of the tasks of {} behind it: {actual}", asked.team)));
    Ok(Some(own))
}

fn explain_measure(
    found: &mut Explained,
    case: &Case,
    (record, all): (&VarianceRecord, &Lens<'_>),
) -> Result<(), Refusal> {
    let VarianceRecord { charges, actual, variance, price_part, usage_part, carried_in, .. } = record;
    let direct = sum(case
        .days
        .values()
        .map(|facts| all.read(facts))
        .collect::<Result<Vec<_>, _>>()?
        .iter()
        .map(|read| read.amount))?;
    let parts = case.settlement.recovered.iter().filter(|part| part.has_price && part.key == record.key);
    let pools = sum(parts.map(|part| part.amount))?;
    let charged = sum(charges_by_team(case, &record.key)?.into_values())?;
    found.tie("the charges of all teams", charged, *charges);
    found.tie("the actual cost", direct.checked_add(pools).ok_or_else(overflow)?, *actual);
    let again = charged.checked_sub(*actual).ok_or_else(overflow)?;
    found.tie("the variance", again, *variance);
    found.tie("its parts", price_part.checked_add(*usage_part).ok_or_else(overflow)?, *variance);
    let pools =
        if pools.is_zero() { String::new() } else { format!(", of it {pools} of pools that the price recovers") };
    let first = case.tariffs().first_price(&record.key).unwrap_or_default();
    let rates = by_rate(case, (&record.key, first), all.tariffs)?;
    let at_start = sum(rates.iter().filter_map(|row| row.figures.get(1).copied()))?;
    found.tie("the price part", at_start.checked_sub(charged).ok_or_else(overflow)?, *price_part);
    let shown = rates.len();
    let rates = Table::of(
        (&["price of"], &["#charges", "#at the month's start rate", "#price part"]),
        rows_with_part(rates)?,
        shown,
    )?;
    let back = variance.checked_add(*carried_in).and_then(Amount::checked_neg).ok_or_else(overflow)?;
    found.step(
        Step::new("variance", &["LED-2", "LED-3"])
            .say(format!("actual cost {actual} of all teams' tasks, by the day of use{pools}"))
            .calculate(format!("V = charges {charges} - actual cost {actual} = {variance}"))
            .calculate(format!(
                "price part = sum of (rate at the month's start {first} - rate applied) x quantity = {price_part}"
            ))
            .calculate(format!("usage part = V - price part = {variance} - {price_part} = {usage_part}"))
            .calculate(format!("to settle = -(V + what was carried in) = -({variance} + {carried_in}) = {back}"))
            .with(rates),
    );
    Ok(())
}

/// What the tasks of all teams were charged, and what they would have been at the rate of the month's start, by the day
/// from which a price holds; idle minutes, which have a rate of their own, in a row of their own.
fn by_rate(case: &Case, (key, first): (&PricedKey, Amount), tariffs: &Tariffs<'_>) -> Result<Vec<Row>, Refusal> {
    let mut rates: BTreeMap<String, (Amount, Amount)> = BTreeMap::new();
    let idle_at_start = first_idle_rate(case, &key.agent);
    for (day, facts) in &case.days {
        for (task, value) in &facts.tasks {
            let (Some(team), Some(agent)) = (&task.team, &task.agent) else { continue };
            let is_it = tariffs.key_on(*day, team, (agent, &task.task_type)).as_ref() == Some(key);
            let Some(price) = tariffs.in_force(key, *day).filter(|_| is_it) else { continue };
            let charge = |rate: Amount| match key.model {
                PriceModel::Task => task_charge(rate, value.completed).ok_or_else(overflow),
                PriceModel::Time => charge_each(rate, &value.durations_ns),
            };
            let sums = rates.entry(price.from.to_string()).or_default();
            plus(&mut sums.0, charge(price.price)?)?;
            plus(&mut sums.1, charge(first)?)?;
            if key.model == PriceModel::Time && !value.idles_ns.is_empty() {
                let rate = case.world.history.on(*day).organisation.idle_rate(agent);
                let sums = rates.entry("idle minutes".to_owned()).or_default();
                plus(&mut sums.0, charge_each(rate, &value.idles_ns)?)?;
                plus(&mut sums.1, charge_each(idle_at_start, &value.idles_ns)?)?;
            }
        }
    }
    rates.retain(|_, (charges, at_start)| !(charges.is_zero() && at_start.is_zero()));
    Ok(rates
        .into_iter()
        .map(|(name, (charges, at_start))| Row { names: vec![name], figures: vec![charges, at_start] })
        .collect())
}

/// The idle rate of the first day on which somebody is billed by time for an agent, else of the month's first day.
fn first_idle_rate(case: &Case, agent: &str) -> Amount {
    let mut days = case.period().days().map(|day| &case.world.history.on(day).organisation);
    let by_time = days.find(|organisation| organisation.is_billed_by(agent, Billing::Time));
    by_time.unwrap_or(&case.world.history.on(case.period().first_day()).organisation).idle_rate(agent)
}

fn rows_with_part(rows: Vec<Row>) -> Result<Vec<Row>, Refusal> {
    rows.into_iter()
        .map(|mut row| {
            if let [charges, at_start] = row.figures.as_slice() {
                row.figures.push(at_start.checked_sub(*charges).ok_or_else(overflow)?);
            }
            Ok(row)
        })
        .collect()
}

/// Charges at the price by team: lines of tasks and minutes, idle ones included.
fn charges_by_team(case: &Case, key: &PricedKey) -> Result<BTreeMap<Id, Amount>, Refusal> {
    let mut charges = BTreeMap::new();
    for (team, lines) in &case.settlement.lines {
        for line in lines.iter().filter(|line| line.key.kind == LineKind::Charge) {
            if key_of_line(&line.key).as_ref() == Some(key) && line.price.is_some() {
                plus(charges.entry(team.clone()).or_default(), line.exact)?;
            }
        }
    }
    Ok(charges)
}

/// The first of these that has any: charges, actual cost, direct cost of the agent and type, tasks, direct cost, an even share of
/// the active teams.
fn weights(case: &Case, key: &PricedKey, all: &Lens<'_>) -> Result<Weights, Refusal> {
    let has_any = |weights: &BTreeMap<Id, Amount>| weights.values().any(|weight| !weight.is_zero());
    let charges = charges_by_team(case, key)?;
    if has_any(&charges) {
        return Ok(("the charges under the model", charges));
    }
    let actual = actual_by_team(case, key, all)?;
    if has_any(&actual) {
        return Ok(("the actual cost behind it", actual));
    }
    let is_before_rules_6 = case.input(&[]).is_before_rules_6();
    let of_kind = if is_before_rules_6 { BTreeMap::new() } else { direct_cost_of_kind(case, key)? };
    if has_any(&of_kind) {
        return Ok(("the direct cost of the agent and type", of_kind));
    }
    let tasks = tasks_by_team(case, key)?;
    if has_any(&tasks) {
        return Ok(("the tasks of the agent and type", tasks));
    }
    let direct = direct_by_team(case, all.tariffs)?;
    if has_any(&direct) {
        return Ok(("direct cost", direct));
    }
    let one = Amount::from_pico(1);
    Ok(("equal parts", case.active_teams().into_iter().map(|team| (team.clone(), one)).collect()))
}

fn direct_cost_of_kind(case: &Case, key: &PricedKey) -> Result<BTreeMap<Id, Amount>, Refusal> {
    let mut costs = BTreeMap::new();
    for (cell, value) in case.days.values().flat_map(|facts| &facts.cells).filter(|(cell, _)| cell.pool.is_none()) {
        let is_of_kind = |of: &TaskOf| (of.agent.as_ref(), &of.task_type) == (Some(&key.agent), &key.task_type);
        if let Some(team) = cell.team.as_ref().filter(|_| cell.task.as_ref().is_some_and(is_of_kind)) {
            plus(costs.entry(team.clone()).or_default(), value.cost)?;
        }
    }
    Ok(costs)
}

fn actual_by_team(case: &Case, key: &PricedKey, all: &Lens<'_>) -> Result<BTreeMap<Id, Amount>, Refusal> {
    let mut actual = BTreeMap::new();
    for facts in case.days.values() {
        for (cell, value) in all.cells(facts) {
            if let Some(team) = &cell.team {
                plus(actual.entry(team.clone()).or_default(), value.cost)?;
            }
        }
    }
    for part in case.settlement.recovered.iter().filter(|part| part.has_price && part.key == *key) {
        plus(actual.entry(part.team.clone()).or_default(), part.amount)?;
    }
    Ok(actual)
}

fn tasks_by_team(case: &Case, key: &PricedKey) -> Result<BTreeMap<Id, Amount>, Refusal> {
    let mut tasks = BTreeMap::new();
    for facts in case.days.values() {
        for (task, value) in &facts.tasks {
            if let (Some(team), Some(agent)) = (&task.team, &task.agent)
                && (agent, &task.task_type) == (&key.agent, &key.task_type)
            {
                plus(tasks.entry(team.clone()).or_default(), Amount::from_pico(i128::from(value.tasks)))?;
            }
        }
    }
    Ok(tasks)
}

fn direct_by_team(case: &Case, tariffs: &Tariffs<'_>) -> Result<BTreeMap<Id, Amount>, Refusal> {
    let mut direct = BTreeMap::new();
    for facts in case.days.values() {
        for (cell, value) in &facts.cells {
            let Some(team) = &cell.team else { continue };
            if !matches!(tariffs.destination(cell), Destination::Pool(_)) {
                plus(direct.entry(team.clone()).or_default(), value.cost)?;
            }
        }
    }
    for (key, bill) in bills_of(&case.world.history, case.period(), case.through())? {
        if let BilledTo::Owner(team, _) = key.to {
            plus(direct.entry(team).or_default(), bill.cost)?;
        }
    }
    Ok(direct)
}

fn split_table(asked: Asked<'_>, weights: &BTreeMap<Id, Amount>, split: &LargestRemainder) -> Result<Table, Refusal> {
    let mut rows: Vec<Row> = Vec::new();
    for ((team, weight), part) in weights.iter().zip(&split.parts) {
        let is_seen = asked.sees_all || team == asked.team;
        let name = if is_seen { format!("team {team}") } else { "other teams".to_owned() };
        let known = rows.iter_mut().find(|row| !is_seen && row.names.first() == Some(&name));
        match known {
            Some(row) => {
                for (figure, more) in row.figures.iter_mut().zip([weight, part]) {
                    *figure = figure.checked_add(*more).ok_or_else(overflow)?;
                }
            }
            None => rows.push(Row { names: vec![name], figures: vec![*weight, *part] }),
        }
    }
    let all = rows.len();
    Table::of((&["who"], &["#weight", "#bears"]), rows, all)
}
