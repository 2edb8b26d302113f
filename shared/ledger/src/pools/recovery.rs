//! `pool_recovery = "price"`: which part of the pools' cost the internal prices recover (PRC-1, POOL-4).
//!
//! A team's share of a pool is divided over its agents (those of the roots), and that of each agent not billed by token over
//! its task types. What can be divided so far enters the prices of these and has no pool line; the rest keeps its line: pairs
//! billed by token, use outside any task, and what work without an agent has brought on. All by SPL-1 inside the share above it (SPL-2), so that every sub-total ties.
//!
//! | what | is divided by |
//! |---|---|
//! | a share over agents | use of the pool, where that is its basis; else direct cost |
//! | an agent's part over task types | direct cost of the tasks not billed by token, else their number |
//! | a task type's part over what had a price and what passed through | the same |

use std::collections::BTreeMap;

use chrono::NaiveDate;
use num_bigint::{BigInt, BigUint};
use num_rational::BigRational;
use num_traits::Zero;
use recoup_attribution::SettlementFacts;
use recoup_attribution::settlement::{Cost, TasksOf};
use recoup_model::Id;
use recoup_model::organisation::{Billing, PoolRecovery};
use recoup_money::{Amount, Share, split_big};
use serde::{Deserialize, Serialize};

use super::pairs::Pairs;
use super::split::{GroupSplit, PoolSplit, split_pools};
use crate::charges::{Ground, Sums, add, pass_through_key};
use crate::draft::Draft;
use crate::error::{LedgerError, fits};
use crate::journal::{pool_account, variance_account};
use crate::line::{Bearer, Line, PriceModel, PricedKey};
use crate::prices::InternalPrices;
use crate::recurring;
use crate::settle::PeriodInput;

/// A part of a group's cost that an internal price recovers, or a line that passes tasks through (PRC-1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveredPart {
    /// The group of pools.
    pub group: Id,
    /// The team that bears it.
    pub team: Id,
    /// The price.
    #[serde(flatten)]
    pub key: PricedKey,
    /// Whether there was a price; else it is on the line of the tasks that pass through.
    pub has_price: bool,
    /// How much.
    pub amount: Amount,
}

/// What is recovered by (agent, task type), of the period to date.
pub(crate) type ByTask = BTreeMap<(Id, Id), Amount>;

/// The nights of a period, each with what the prices recover up to it.
#[derive(Debug)]
pub(crate) struct Recovery<'a> {
    input: PeriodInput<'a>,
    ground: Ground,
    nobody: Amount,
    pairs: Pairs,
    to_date: ByTask,
}

impl<'a> Recovery<'a> {
    /// The period before its first night; `None` where no version of the organisation recovers pools in prices.
    pub(crate) fn of(input: &PeriodInput<'a>) -> Option<Self> {
        let mut versions = input.history.versions().iter();
        let asked = versions.any(|version| version.organisation.policy.pool_recovery == PoolRecovery::Price);
        asked.then(|| Self {
            input: *input,
            ground: Ground::default(),
            nobody: Amount::ZERO,
            pairs: Pairs::default(),
            to_date: ByTask::new(),
        })
    }

    /// The night of the next day: what is recovered of the period up to it. A night on which pools serve only each other
    /// posted nothing, so that what the night before knew still holds.
    pub(crate) fn night(&mut self, day: NaiveDate) -> Result<&ByTask, LedgerError> {
        let input = PeriodInput { through: day, ..self.input };
        if let Some(facts) = input.days.get(&day) {
            self.add_costs(facts)?;
            self.pairs.add_day(input.history, facts)?;
        }
        if input.organisation().organisation.policy.pool_recovery == PoolRecovery::Line {
            self.to_date.clear();
            return Ok(&self.to_date);
        }
        let mut ground = self.ground.clone();
        ground.add_unattributed(&input, self.nobody)?;
        recurring::add_to(&input, &mut ground)?;
        let recovered = match split_pools(&input, &ground) {
            Ok(splits) => Recovered::over(&input, &splits, &self.pairs)?,
            Err(LedgerError::ClosedPools { .. }) => return Ok(&self.to_date),
            Err(error) => return Err(error),
        };
        self.to_date.clear();
        for ((_, _, agent, task_type), amount) in recovered.parts {
            add(&mut self.to_date, (agent, task_type), amount)?;
        }
        Ok(&self.to_date)
    }

    fn add_costs(&mut self, facts: &SettlementFacts) -> Result<(), LedgerError> {
        for (key, value) in facts.costs() {
            let Cost { team, pool, .. } = facts.cost(key);
            self.ground.active.extend(team.cloned());
            match (pool, team) {
                (Some(pool), _) => add(&mut self.ground.pools, pool.clone(), value.cost)?,
                (None, Some(team)) => {
                    add(&mut self.ground.direct, Bearer::Team(team.clone()), value.cost)?;
                }
                (None, None) => self.nobody = fits(self.nobody.checked_add(value.cost), "the unattributed cost")?,
            }
        }
        Ok(())
    }
}

/// What the prices recover of the period up to one night.
#[derive(Debug, Default)]
pub(super) struct Recovered {
    /// Of a bearer's share of a pool: how much, and which fraction of it.
    of_shares: BTreeMap<(Id, Bearer), (Amount, BigRational)>,
    /// By group, team, agent and task type.
    parts: BTreeMap<(Id, Id, Id, Id), Amount>,
}

impl Recovered {
    /// Of the whole period up to the last night, as its policy says.
    pub(super) fn of_period(input: &PeriodInput<'_>, splits: &[GroupSplit<'_>]) -> Result<Self, LedgerError> {
        if input.organisation().organisation.policy.pool_recovery == PoolRecovery::Line {
            return Ok(Self::default());
        }
        let mut pairs = Pairs::default();
        for facts in input.facts() {
            pairs.add_day(input.history, facts)?;
        }
        Self::over(input, splits, &pairs)
    }

    fn over(input: &PeriodInput<'_>, splits: &[GroupSplit<'_>], pairs: &Pairs) -> Result<Self, LedgerError> {
        let mut recovered = Self::default();
        for group in splits {
            for pool in &group.pools {
                for (bearer, share) in &pool.borne {
                    let Bearer::Team(team) = bearer else { continue };
                    recovered.divide((input, pairs), (&group.id, pool), team, *share)?;
                }
            }
        }
        Ok(recovered)
    }

    /// Divides a team's share of a pool over agents and task types, as far as it can be.
    fn divide(
        &mut self,
        (input, pairs): (&PeriodInput<'_>, &Pairs),
        (group, pool): (&Id, &PoolSplit<'_>),
        team: &Id,
        share: Amount,
    ) -> Result<(), LedgerError> {
        let organisation = &input.organisation().organisation;
        let weights = agent_weights(pool, team, pairs)?;
        let total: BigUint = weights.values().sum();
        let mut in_price = (Amount::ZERO, BigRational::zero());
        for (agent, part) in split_by(share, &weights)? {
            let Some(agent) = agent.filter(|agent| organisation.billing(team, Some(agent)) != Billing::Token) else {
                continue;
            };
            let types = pairs.weights(team, &agent)?;
            let weight = weights.get(&Some(agent.clone())).filter(|_| !types.is_empty());
            let Some(weight) = weight.filter(|weight| !weight.is_zero()) else { continue };
            in_price.0 = fits(in_price.0.checked_add(part), "a pool's share")?;
            in_price.1 += BigRational::new(BigInt::from(weight.clone()), BigInt::from(total.clone()));
            for (task_type, amount) in split_amounts(part, &types)? {
                add(&mut self.parts, (group.clone(), team.clone(), agent.clone(), task_type), amount)?;
            }
        }
        if !in_price.1.is_zero() {
            self.of_shares.insert((pool.member.id.clone(), Bearer::Team(team.clone())), in_price);
        }
        Ok(())
    }

    /// What prices recover of a bearer's share of a pool, and which fraction of it that is.
    pub(super) fn of(&self, pool: &Id, bearer: &Bearer) -> (Amount, BigRational) {
        let known = self.of_shares.get(&(pool.clone(), bearer.clone()));
        known.cloned().unwrap_or_else(|| (Amount::ZERO, BigRational::zero()))
    }

    /// Moves every part from its group's account to where it is recovered: to where charges at a price meet actual cost, or,
    /// where tasks pass through for want of a price, onto their line.
    pub(super) fn book(
        self,
        (input, prices): (&PeriodInput<'_>, &InternalPrices),
        sums: &mut Sums,
        draft: &mut Draft,
    ) -> Result<Vec<RecoveredPart>, LedgerError> {
        let mut recovered = Vec::new();
        for ((group, team, agent, task_type), amount) in self.parts {
            let account = pool_account(&group);
            let ways = ways((input, prices), sums, (&team, &agent, &task_type))?;
            for ((model, has_price), part) in split_amounts(amount, &ways)? {
                let key = PricedKey { agent: agent.clone(), task_type: task_type.clone(), model };
                recovered.push(RecoveredPart {
                    group: group.clone(),
                    team: team.clone(),
                    key: key.clone(),
                    has_price,
                    amount: part,
                });
                if has_price {
                    draft.balances.transfer(&account, &variance_account(&key), part)?;
                } else {
                    let line = Line::new(pass_through_key(&key), part).with_quantity(Amount::ZERO);
                    draft.bear(&account, &Bearer::Team(team.clone()), line)?;
                }
            }
        }
        for part in recovered.iter().filter(|part| part.has_price) {
            add(&mut sums.tallies.entry(part.key.clone()).or_default().actual, part.team.clone(), part.amount)?;
        }
        Ok(recovered)
    }
}

/// By what a team's share of a pool is divided over its agents.
fn agent_weights(pool: &PoolSplit<'_>, team: &Id, pairs: &Pairs) -> Result<BTreeMap<Option<Id>, BigUint>, LedgerError> {
    if let Some(agents) = pool.weights.agents.get(&Bearer::Team(team.clone())) {
        return Ok(agents.clone());
    }
    let weigh = |(agent, cost): (&Option<Id>, Amount)| {
        let weight = u128::try_from(cost.pico()).ok().map(BigUint::from);
        Ok((agent.clone(), fits(weight, "a direct cost below zero")?))
    };
    pairs.direct(team).map(weigh).collect()
}

/// Direct cost of a team's tasks of a type, by billing model and whether they had a price; where they cost nothing, their
/// number.
fn ways(
    (input, prices): (&PeriodInput<'_>, &InternalPrices),
    sums: &Sums,
    (team, agent, task_type): (&Id, &Id, &Id),
) -> Result<BTreeMap<(PriceModel, bool), Amount>, LedgerError> {
    let mut ways = BTreeMap::new();
    for model in [PriceModel::Task, PriceModel::Time] {
        let key = PricedKey { agent: agent.clone(), task_type: task_type.clone(), model };
        let priced = sums.tallies.get(&key).and_then(|tally| tally.actual.get(team));
        let passed = sums.passed.get(&key).and_then(|teams| teams.get(team));
        for (has_price, cost) in [(true, priced), (false, passed)] {
            if let Some(cost) = cost.filter(|cost| !cost.is_zero()) {
                ways.insert((model, has_price), *cost);
            }
        }
    }
    if !ways.is_empty() {
        return Ok(ways);
    }
    for facts in input.facts() {
        let organisation = &input.history.on(facts.day).organisation;
        let Some(model) = PriceModel::of(organisation.billing(team, Some(agent))) else { continue };
        let key = PricedKey { agent: agent.clone(), task_type: task_type.clone(), model };
        let has_price = prices.in_force(&key, facts.day).is_some();
        let [team, agent, task_type] = [team, agent, task_type].map(|name| facts.code(name));
        let (Some(team), Some(agent), Some(task_type)) = (team, agent, task_type) else { continue };
        let ours = TasksOf { team, agent, task_type };
        for value in facts.tasks().iter().filter(|(task, _)| *task == ours).map(|(_, value)| value) {
            // PRC-4: of tasks billed by time only those with a duration can have a price.
            let timed = value.durations_ns.values().try_fold(0_u64, |sum, count| sum.checked_add(*count));
            let priced = match model {
                _ if !has_price => 0,
                PriceModel::Task => value.tasks,
                PriceModel::Time => fits(timed, "the number of tasks")?.min(value.tasks),
            };
            for (has_price, tasks) in [(true, priced), (false, value.tasks.saturating_sub(priced))] {
                if tasks > 0 {
                    add(&mut ways, (model, has_price), Amount::from_pico(i128::from(tasks)))?;
                }
            }
        }
    }
    Ok(ways)
}

/// SPL-1 over agents; nothing where nobody has a weight.
fn split_by(amount: Amount, weights: &BTreeMap<Option<Id>, BigUint>) -> Result<Vec<(Option<Id>, Amount)>, LedgerError> {
    let id = |agent: &'_ Option<Id>| agent.clone().unwrap_or_default();
    let ids: Vec<Id> = weights.keys().map(id).collect();
    let shares: Vec<_> = ids
        .iter()
        .zip(weights.values())
        .map(|(id, weight)| Share { id: id.as_bytes(), weight: weight.clone() })
        .collect();
    let Some(parts) = split_big(amount.pico(), &shares) else { return Ok(Vec::new()) };
    Ok(weights.keys().cloned().zip(parts.into_iter().map(Amount::from_pico)).collect())
}

/// SPL-1 over amounts as weights; ties go by the order of the keys.
fn split_amounts<K: Clone + Ord>(
    amount: Amount,
    weights: &BTreeMap<K, Amount>,
) -> Result<Vec<(K, Amount)>, LedgerError> {
    let weigh = |weight: &Amount| fits(u128::try_from(weight.pico()).ok(), "a direct cost below zero");
    let shares = weights
        .values()
        .map(|weight| Ok(Share { id: b"".as_slice(), weight: BigUint::from(weigh(weight)?) }))
        .collect::<Result<Vec<_>, LedgerError>>()?;
    let parts = fits(split_big(amount.pico(), &shares), "the weights of a pool's share")?;
    Ok(weights.keys().cloned().zip(parts.into_iter().map(Amount::from_pico)).collect())
}
