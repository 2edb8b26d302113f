//! Shared pools (POOL-1 to POOL-4): who bears their cost.

use std::collections::{BTreeMap, BTreeSet};

use num_traits::{One, Zero};
use recoup_model::Id;
use recoup_model::organisation::{Pool, PoolBasis, PoolMethod};

use crate::book::{Bearer, PoolSplit};
use crate::facts::use_of;
use crate::ground::Ground;
use crate::number::{Q, of, split, whole};

/// Who uses a pool.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Consumer {
    /// A team or an account.
    Bearer(Bearer),
    /// Another pool of the group.
    Pool(Id),
}

impl Consumer {
    fn name(&self) -> String {
        match self {
            Self::Bearer(Bearer::Team(team)) => format!("team {team}"),
            Self::Bearer(Bearer::Account(account)) => (*account).to_owned(),
            Self::Pool(pool) => format!("pool {pool}"),
        }
    }
}

/// Weights by consumer.
type Weights = BTreeMap<Consumer, Q>;

/// A pool cannot reach anybody (POOL-2): the ids of the closed ones.
pub type Closed = Vec<String>;

/// A pool's full cost and its ratios, after its basis.
type Share = (Q, &'static str, Weights);

/// A group of pools, split.
pub struct Group {
    /// Its pools.
    pub pools: Vec<PoolSplit>,
    /// What each bearer bears of each pool, to the picounit.
    pub parts: BTreeMap<Bearer, BTreeMap<String, Q>>,
}

/// Splits every pool.
///
/// # Errors
/// The pools that serve only each other.
pub fn split_pools(ground: &Ground<'_>) -> Result<Vec<Group>, Closed> {
    let mut pools: BTreeMap<Id, Pool> = BTreeMap::new();
    for day in ground.nights.days() {
        pools.extend(ground.nights.on(day).pools.clone());
    }
    let groups: BTreeSet<Id> = pools.values().map(|pool| pool.group.clone()).collect();
    let split = |group: Id| {
        let ours = pools.iter().filter(|(_, pool)| pool.group == group);
        let members: BTreeMap<Id, Pool> = ours.map(|(id, pool)| (id.clone(), pool.clone())).collect();
        let shares = solve(ground, &members)?;
        Ok(Group { pools: record(ground, &shares), parts: split_group(ground, &shares) })
    };
    groups.into_iter().map(split).collect()
}

/// The full cost of each pool of a group, and the fractions of it by consumer.
fn solve(ground: &Ground<'_>, members: &BTreeMap<Id, Pool>) -> Result<BTreeMap<Id, Share>, Closed> {
    let method = members.values().next().unwrap().method;
    let everything: BTreeSet<Id> = members.keys().cloned().collect();
    match method {
        PoolMethod::Direct => Ok(members
            .keys()
            .map(|pool| {
                let (basis, ratios) = ratios(ground, members, pool, &everything);
                (pool.clone(), (ground.pool(pool), basis, ratios))
            })
            .collect()),
        PoolMethod::StepDown => Ok(step_down(ground, members)),
        PoolMethod::Reciprocal => reciprocal(ground, members),
    }
}

fn step_down(ground: &Ground<'_>, members: &BTreeMap<Id, Pool>) -> BTreeMap<Id, Share> {
    let mut order: Vec<(&Id, &Pool)> = members.iter().collect();
    order.sort_by_key(|(id, pool)| (pool.step, (*id).clone()));
    let mut full: BTreeMap<Id, Q> = members.keys().map(|pool| (pool.clone(), ground.pool(pool))).collect();
    let (mut closed, mut shares) = (BTreeSet::new(), BTreeMap::new());
    for (pool, _) in order {
        closed.insert(pool.clone());
        let (basis, ratios) = ratios(ground, members, pool, &closed);
        let cost = full[pool].clone();
        for (consumer, fraction) in &ratios {
            if let Consumer::Pool(next) = consumer {
                *full.get_mut(next).unwrap() += &cost * fraction;
            }
        }
        shares.insert(pool.clone(), (cost, basis, ratios));
    }
    shares
}

/// The pools of a group that any cost can come to. The others have nothing that nobody could bear.
fn costly(ground: &Ground<'_>, shares: &BTreeMap<Id, (&'static str, Weights)>) -> BTreeSet<Id> {
    let mut found: BTreeSet<Id> = shares.keys().filter(|pool| !ground.pool(pool).is_zero()).cloned().collect();
    for _ in shares {
        let passed = |pool: &Id| shares[pool].1.keys().cloned().collect::<Vec<_>>();
        for consumer in found.iter().flat_map(passed).collect::<Vec<_>>() {
            if let Consumer::Pool(pool) = consumer {
                found.insert(pool);
            }
        }
    }
    found
}

/// x = b + A'x by elimination; a pool from which no bearer can be reached has no solution.
fn reciprocal(ground: &Ground<'_>, members: &BTreeMap<Id, Pool>) -> Result<BTreeMap<Id, Share>, Closed> {
    let all: BTreeMap<Id, (&'static str, Weights)> =
        members.keys().map(|pool| (pool.clone(), ratios(ground, members, pool, &BTreeSet::new()))).collect();
    let names: Vec<Id> = costly(ground, &all).into_iter().collect();
    let shares: Vec<(&'static str, Weights)> = names.iter().map(|pool| all[pool].clone()).collect();
    let mut reaching: BTreeSet<&Id> = BTreeSet::new();
    for _ in &names {
        for (pool, (_, ratios)) in names.iter().zip(&shares) {
            let reaches = |consumer: &Consumer| match consumer {
                Consumer::Bearer(_) => true,
                Consumer::Pool(other) => reaching.contains(other),
            };
            if ratios.keys().any(reaches) {
                reaching.insert(pool);
            }
        }
    }
    let closed: Vec<String> = names.iter().filter(|pool| !reaching.contains(pool)).map(ToString::to_string).collect();
    if !closed.is_empty() {
        return Err(closed);
    }
    let row = |to: usize| {
        let passes =
            |from: usize| shares[from].1.get(&Consumer::Pool(names[to].clone())).cloned().unwrap_or_else(Q::zero);
        let identity = |from: usize| if from == to { Q::one() } else { Q::zero() };
        let mut row: Vec<Q> = (0..names.len()).map(|from| identity(from) - passes(from)).collect();
        row.push(ground.pool(&names[to]));
        row
    };
    let full = eliminate((0..names.len()).map(row).collect());
    let together = names.into_iter().zip(full).zip(shares);
    Ok(together.map(|((pool, full), (basis, ratios))| (pool, (full, basis, ratios))).collect())
}

/// Gauss and Jordan, exactly.
fn eliminate(mut matrix: Vec<Vec<Q>>) -> Vec<Q> {
    for column in 0..matrix.len() {
        let pivot = (column..matrix.len()).find(|row| !matrix[*row][column].is_zero()).unwrap();
        matrix.swap(column, pivot);
        let lead = matrix[column][column].clone();
        matrix[column].iter_mut().for_each(|value| *value /= &lead);
        let pivot = matrix[column].clone();
        for (number, row) in matrix.iter_mut().enumerate().filter(|(number, _)| *number != column) {
            let factor = row[column].clone();
            assert_ne!(number, column);
            row.iter_mut().zip(&pivot).for_each(|(value, lead)| *value -= &factor * lead);
        }
    }
    matrix.into_iter().map(|row| row.last().unwrap().clone()).collect()
}

/// SPL-3: by the pool's basis, else by invocations, direct cost, evenly over active teams, else nobody.
fn ratios(
    ground: &Ground<'_>,
    members: &BTreeMap<Id, Pool>,
    pool: &Id,
    closed: &BTreeSet<Id>,
) -> (&'static str, Weights) {
    let chain = [members[pool].basis, PoolBasis::Invocations, PoolBasis::DirectCost, PoolBasis::Even];
    for basis in chain {
        let mut weights = weights(ground, members, pool, basis);
        weights.retain(|consumer, weight| {
            let shut = matches!(consumer, Consumer::Pool(other) if closed.contains(other));
            let circular = *consumer == Consumer::Bearer(Bearer::Account("unattributed"))
                && ground.nights.on(ground.nights.through).policy.unattributed_pool.as_ref() == Some(pool);
            !weight.is_zero() && !shut && !circular
        });
        let sum: Q = weights.values().sum();
        if !sum.is_zero() {
            return (basis.name(), weights.into_iter().map(|(who, weight)| (who, weight / &sum)).collect());
        }
    }
    (PoolBasis::Even.name(), [(Consumer::Bearer(Bearer::Account("unallocated")), Q::one())].into())
}

fn weights(ground: &Ground<'_>, members: &BTreeMap<Id, Pool>, pool: &Id, basis: PoolBasis) -> Weights {
    let team = |team: &Id| Consumer::Bearer(Bearer::Team(team.clone()));
    let figure = match basis {
        PoolBasis::Fixed => {
            return members[pool].percent.iter().map(|(id, percent)| (team(id), of(*percent))).collect();
        }
        // A pool that is meant to be borne evenly is, where nobody was active, borne by all teams that there are.
        PoolBasis::Even if ground.active.is_empty() && members[pool].basis == PoolBasis::Even => {
            let declared = &ground.nights.on(ground.nights.through).teams;
            return declared.keys().map(|id| (team(id), whole(1))).collect();
        }
        PoolBasis::Even => return ground.active.iter().map(|id| (team(id), whole(1))).collect(),
        PoolBasis::DirectCost => {
            let bearer = |payer: &Option<Id>| Consumer::Bearer(Bearer::of(payer.as_ref()));
            return ground.direct.iter().map(|(payer, cost)| (bearer(payer), cost.clone())).collect();
        }
        PoolBasis::Invocations => 0,
        PoolBasis::Tokens => 1,
        PoolBasis::Duration => 2,
    };
    let mut weights = Weights::new();
    for trace in ground.traces {
        for span in
            trace.spans.iter().filter(|span| ground.nights.contain(span.day) && span.pool.as_ref() == Some(pool))
        {
            let via = span.via.as_ref().filter(|via| members.contains_key(*via));
            let payer = || Consumer::Bearer(Bearer::of(trace.payer.as_ref()));
            let consumer = via.map_or_else(payer, |via| Consumer::Pool(via.clone()));
            *weights.entry(consumer).or_insert_with(Q::zero) += &use_of(span)[figure];
        }
    }
    weights
}

fn record(ground: &Ground<'_>, shares: &BTreeMap<Id, Share>) -> Vec<PoolSplit> {
    let named = |(pool, (full, basis, ratios)): (&Id, &Share)| PoolSplit {
        pool: pool.clone(),
        own: ground.pool(pool),
        full: full.clone(),
        basis,
        ratios: ratios.iter().map(|(who, fraction)| (who.name(), fraction.clone())).collect(),
    };
    shares.iter().map(named).collect()
}

/// POOL-3, SPL-2: the group's own cost over the bearers, then inside each over the pools by what each contributed.
fn split_group(ground: &Ground<'_>, shares: &BTreeMap<Id, Share>) -> BTreeMap<Bearer, BTreeMap<String, Q>> {
    let mut given: BTreeMap<Bearer, BTreeMap<String, Q>> = BTreeMap::new();
    for (pool, (full, _, ratios)) in shares {
        for (consumer, fraction) in ratios {
            if let Consumer::Bearer(bearer) = consumer {
                given.entry(bearer.clone()).or_default().insert(pool.to_string(), full * fraction);
            }
        }
    }
    let own: Q = shares.keys().map(|pool| ground.pool(pool)).sum();
    let weights = given.iter().map(|(bearer, pools)| (bearer.tie_break(), pools.values().sum())).collect();
    let Some(totals) = split(&own, &weights) else {
        assert!(own.is_zero(), "somebody bears every pool");
        return BTreeMap::new();
    };
    let inside = |(bearer, pools): (Bearer, BTreeMap<String, Q>)| {
        let parts = split(&totals[&bearer.tie_break()], &pools)?;
        Some((bearer, parts))
    };
    given.into_iter().filter_map(inside).collect()
}
