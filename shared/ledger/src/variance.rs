//! Variance between charges at internal prices and actual cost, and what becomes of it (LED-2, LED-3).

use std::collections::{BTreeMap, BTreeSet};

use recoup_attribution::settlement::Code;
use recoup_model::organisation::VariancePolicy;
use recoup_model::{FindingKind, Id, Severity};
use recoup_money::{Amount, Share, split};
use serde::{Deserialize, Serialize};

use crate::charges::{Sums, Tally, add};
use crate::draft::Draft;
use crate::error::{LedgerError, fits};
use crate::journal::{ABSORBED, CARRIED, variance_account};
use crate::line::{Bearer, Line, LineKey, LineKind, PricedKey};
use crate::settle::PeriodInput;

/// The variance of one (agent, task type, billing model) in a period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VarianceRecord {
    /// Of what.
    #[serde(flatten)]
    pub key: PricedKey,
    /// Charges at the prices in force, without markup.
    pub charges: Amount,
    /// Actual cost of the period, by `used_at`; parts of pools that the price recovers included.
    pub actual: Amount,
    /// Charges less actual cost.
    pub variance: Amount,
    /// (rate at the period's start - rate applied) x quantity, summed.
    pub price_part: Amount,
    /// The rest.
    pub usage_part: Amount,
    /// What the period before carried in.
    pub carried_in: Amount,
    /// What goes into the next period: this variance and what was carried in, under `carry`.
    pub carried_out: Amount,
}

/// Computes every variance and settles, carries or absorbs it, as the organisation's policy on the last night says.
pub(crate) fn close(
    input: &PeriodInput<'_>,
    sums: &Sums,
    draft: &mut Draft,
) -> Result<Vec<VarianceRecord>, LedgerError> {
    let policy = input.organisation().organisation.policy.variance;
    let nothing = Tally::default();
    let keys: BTreeSet<&PricedKey> = sums.tallies.keys().chain(input.opening.carried.keys()).collect();
    let mut records = Vec::new();
    for key in keys {
        let tally = sums.tallies.get(key).unwrap_or(&nothing);
        let carried_in = input.opening.carried.get(key).copied().unwrap_or_default();
        let mut record = measure(key, tally, carried_in)?;
        let account = variance_account(key);
        // What was over-recovered before is owed: it leaves `carried` for this variance, whatever becomes of that.
        draft.balances.transfer(&account, CARRIED, carried_in)?;
        let open = fits(record.variance.checked_add(carried_in), "a variance")?;
        let back = fits(open.checked_neg(), "a variance")?;
        match policy {
            VariancePolicy::Settle => settle(input, (key, back), (sums, tally), draft)?,
            VariancePolicy::Absorb => draft.balances.transfer(&account, ABSORBED, back)?,
            VariancePolicy::Carry => {
                record.carried_out = open;
                draft.balances.transfer(&account, CARRIED, back)?;
            }
        }
        if record != empty(key) {
            records.push(record);
        }
    }
    Ok(records)
}

/// What the next period opens with.
pub(crate) fn carried_out(records: &[VarianceRecord]) -> BTreeMap<PricedKey, Amount> {
    let carried = records.iter().filter(|record| !record.carried_out.is_zero());
    carried.map(|record| (record.key.clone(), record.carried_out)).collect()
}

fn empty(key: &PricedKey) -> VarianceRecord {
    VarianceRecord {
        key: key.clone(),
        charges: Amount::ZERO,
        actual: Amount::ZERO,
        variance: Amount::ZERO,
        price_part: Amount::ZERO,
        usage_part: Amount::ZERO,
        carried_in: Amount::ZERO,
        carried_out: Amount::ZERO,
    }
}

fn measure(key: &PricedKey, tally: &Tally, carried_in: Amount) -> Result<VarianceRecord, LedgerError> {
    let sum = |amounts: &BTreeMap<Id, Amount>| fits(Amount::checked_sum(amounts.values().copied()), "a variance");
    let (charges, actual) = (sum(&tally.charges)?, sum(&tally.actual)?);
    let variance = fits(charges.checked_sub(actual), "a variance")?;
    let price_part = fits(tally.at_start.checked_sub(charges), "a price variance")?;
    let usage_part = fits(variance.checked_sub(price_part), "a usage variance")?;
    Ok(VarianceRecord { charges, actual, variance, price_part, usage_part, carried_in, ..empty(key) })
}

/// -V over the teams: by the charges under the model, else by the actual cost behind it, else by the direct cost of this agent
/// and type under whatever model, else as SPL-3 says (the invocations are here the tasks of this agent and type), one line each.
fn settle(
    input: &PeriodInput<'_>,
    (key, back): (&PricedKey, Amount),
    (sums, tally): (&Sums, &Tally),
    draft: &mut Draft,
) -> Result<(), LedgerError> {
    if back.is_zero() {
        return Ok(());
    }
    let account = variance_account(key);
    let line_key = LineKey {
        agent: Some(key.agent.clone()),
        task_type: Some(key.task_type.clone()),
        billing: Some(key.model.billing()),
        ..LineKey::of(LineKind::Variance)
    };
    let Some(weights) = find_weights(input, key, (sums, tally))? else {
        let detail = format!(
            "nobody could bear the variance of `{}` for `{}`; it stands on the account unallocated until a team is active",
            key.agent, key.task_type
        );
        draft.find(Severity::Warning, FindingKind::Unallocated, &account, detail);
        return draft.bear(&account, &Bearer::Unallocated, Line::new(line_key, back));
    };
    for (team, part) in split_over(back, &weights)? {
        draft.bear(&account, &Bearer::Team(team), Line::new(line_key.clone(), part))?;
    }
    Ok(())
}

/// What a variance is split by: the first of the bases that has any weight.
fn find_weights(
    input: &PeriodInput<'_>,
    key: &PricedKey,
    (sums, tally): (&Sums, &Tally),
) -> Result<Option<BTreeMap<Id, Amount>>, LedgerError> {
    let has_weight = |weights: &BTreeMap<Id, Amount>| weights.values().any(|weight| !weight.is_zero());
    for weights in [&tally.charges, &tally.actual] {
        if has_weight(weights) {
            return Ok(Some(weights.clone()));
        }
    }
    let of_kind = if input.is_before_rules_6() { BTreeMap::new() } else { direct_cost_by_team(input, key)? };
    if has_weight(&of_kind) {
        return Ok(Some(of_kind));
    }
    let tasks = tasks_by_team(input, key)?;
    if has_weight(&tasks) {
        return Ok(Some(tasks));
    }
    let team_cost = sums.ground.direct.iter().filter_map(|(bearer, cost)| match bearer {
        Bearer::Team(team) => Some((team.clone(), *cost)),
        Bearer::Unattributed | Bearer::Unallocated | Bearer::Absorbed => None,
    });
    let team_cost: BTreeMap<Id, Amount> = team_cost.collect();
    let one = Amount::from_pico(1);
    let evenly = || sums.ground.active.iter().map(|team| (team.clone(), one)).collect();
    let last = if has_weight(&team_cost) { team_cost } else { evenly() };
    Ok(Some(last).filter(has_weight))
}

/// What tasks of the agent and type cost in the period, however they are billed.
fn direct_cost_by_team(input: &PeriodInput<'_>, key: &PricedKey) -> Result<BTreeMap<Id, Amount>, LedgerError> {
    let mut costs = BTreeMap::new();
    for facts in input.facts() {
        let [agent, task_type] = [&key.agent, &key.task_type].map(|name| facts.code(name));
        for (cost, value) in facts.costs().iter().filter(|(cost, _)| cost.pool == Code::NONE) {
            let is_of_key =
                cost.task.is_some_and(|task| (Some(task.agent), Some(task.task_type)) == (agent, task_type));
            if let Some(team) = facts.name(cost.team).filter(|_| is_of_key) {
                add(&mut costs, team.clone(), value.cost)?;
            }
        }
    }
    Ok(costs)
}

fn tasks_by_team(input: &PeriodInput<'_>, key: &PricedKey) -> Result<BTreeMap<Id, Amount>, LedgerError> {
    let mut tasks = BTreeMap::new();
    for facts in input.facts() {
        let [agent, task_type] = [&key.agent, &key.task_type].map(|name| facts.code(name));
        for (task, value) in facts.tasks() {
            let is_of_key = (Some(task.agent), Some(task.task_type)) == (agent, task_type);
            if let Some(team) = facts.name(task.team).filter(|_| is_of_key) {
                add(&mut tasks, team.clone(), Amount::from_pico(i128::from(value.tasks)))?;
            }
        }
    }
    Ok(tasks)
}

fn split_over(amount: Amount, weights: &BTreeMap<Id, Amount>) -> Result<Vec<(Id, Amount)>, LedgerError> {
    let weight = |weight: &Amount| fits(u128::try_from(weight.pico()).ok(), "a weight below zero");
    let shares = weights
        .iter()
        .map(|(team, amount)| Ok(Share { id: team.as_bytes(), weight: weight(amount)? }))
        .collect::<Result<Vec<_>, LedgerError>>()?;
    let parts = fits(split(amount.pico(), &shares), "the split of a variance")?;
    Ok(weights.keys().cloned().zip(parts.into_iter().map(Amount::from_pico)).collect())
}
