//! What a pool's cost is divided by, and what stands in where there is none (POOL-1, SPL-3).

use std::collections::{BTreeMap, HashMap}; // tidy: allow(hash-order) sums, which end in ordered maps

use num_bigint::BigUint;
use num_traits::Zero;
use recoup_attribution::facts::PoolUse;
use recoup_model::Id;
use recoup_model::organisation::PoolBasis;
use recoup_money::Amount;
use rustc_hash::FxBuildHasher;

use super::Group;
use crate::charges::Ground;
use crate::error::{LedgerError, fits};
use crate::line::Bearer;
use crate::settle::PeriodInput;

/// The consumers of one pool. At least one weight is not zero.
#[derive(Debug, Default)]
pub(super) struct Weights {
    /// On which basis; `None`: nobody could be found, the cost is unallocated.
    pub(super) basis: Option<PoolBasis>,
    pub(super) bearers: BTreeMap<Bearer, BigUint>,
    /// Of each bearer by root's agent, where the basis is the use of the pool.
    pub(super) agents: BTreeMap<Bearer, BTreeMap<Option<Id>, BigUint>>,
    /// Pools of the group, by place.
    pub(super) pools: BTreeMap<usize, BigUint>,
}

impl Weights {
    fn are_zero(&self) -> bool {
        self.bearers.values().chain(self.pools.values()).all(Zero::is_zero)
    }

    fn without_zeros(mut self) -> Self {
        self.bearers.retain(|_, weight| !weight.is_zero());
        self.pools.retain(|_, weight| !weight.is_zero());
        self
    }
}

/// The weights of the pool at a place of its group: on its own basis, else by invocations, direct cost, even over the
/// active teams, and in the end on the account `unallocated` (SPL-3).
pub(super) fn pool_weights(
    (input, ground): (&PeriodInput<'_>, &Ground),
    group: &Group<'_>,
    at: usize,
) -> Result<Weights, LedgerError> {
    let Some(member) = group.members.get(at) else { return Ok(unallocated()) };
    let own = member.pool.basis;
    let organisation = &input.organisation().organisation;
    // ATR-6: unattributed cost would come back to the account that it was taken from.
    let takes_unattributed = organisation.policy.unattributed_pool.as_ref() == Some(&member.id);
    for basis in [own, PoolBasis::Invocations, PoolBasis::DirectCost, PoolBasis::Even] {
        let mut weights = match basis {
            PoolBasis::Invocations => used(input, group, (at, |usage| usage.invocations)),
            PoolBasis::Tokens => used(input, group, (at, |usage| usage.tokens)),
            PoolBasis::Duration => used(input, group, (at, |usage| usage.duration_ms)),
            PoolBasis::DirectCost => bearers(ground.direct.iter().map(|(bearer, cost)| (bearer.clone(), *cost)))?,
            PoolBasis::Fixed => bearers(member.pool.percent.iter().map(|(team, part)| (team_of(team), *part)))?,
            PoolBasis::Even if ground.active.is_empty() && own == PoolBasis::Even => even(organisation.teams.keys()),
            PoolBasis::Even => even(ground.active.iter()),
        };
        if takes_unattributed {
            weights.bearers.remove(&Bearer::Unattributed);
        }
        if !weights.are_zero() {
            weights.basis = Some(basis);
            return Ok(weights.without_zeros());
        }
    }
    Ok(unallocated())
}

fn team_of(team: &Id) -> Bearer {
    Bearer::Team(team.clone())
}

fn unallocated() -> Weights {
    Weights { bearers: [(Bearer::Unallocated, BigUint::from(1_u8))].into(), ..Weights::default() }
}

fn even<'a>(teams: impl Iterator<Item = &'a Id>) -> Weights {
    let bearers = teams.map(|team| (team_of(team), BigUint::from(1_u8))).collect();
    Weights { bearers, ..Weights::default() }
}

fn bearers(amounts: impl Iterator<Item = (Bearer, Amount)>) -> Result<Weights, LedgerError> {
    let weigh = |(bearer, amount): (Bearer, Amount)| {
        let weight = u128::try_from(amount.pico()).ok().map(BigUint::from);
        Ok((bearer, fits(weight, "a direct cost below zero")?))
    };
    Ok(Weights { bearers: amounts.map(weigh).collect::<Result<_, LedgerError>>()?, ..Weights::default() })
}

/// Use of the pool in the period to date (POOL-4). Use below another pool of the group counts for that pool, where the
/// method passes it on; below a pool of another group it counts for the payer.
fn used(input: &PeriodInput<'_>, group: &Group<'_>, (at, measure): (usize, fn(&PoolUse) -> u64)) -> Weights {
    let mut weights = Weights::default();
    let Some(member) = group.members.get(at) else { return weights };
    let place = |pool: &Id| group.members.iter().position(|member| member.id == *pool);
    let mut payers: UsedBy<'_> = UsedBy::default();
    for facts in input.facts() {
        let Some(pool) = facts.code(&member.id) else { continue };
        // They lie in order of pools.
        let rows = facts.uses().chunk_by(|(one, _), (next, _)| one.pool == next.pool);
        let of_pool = rows.filter(|rows| rows.first().is_some_and(|(key, _)| key.pool == pool));
        for (key, usage) in of_pool.flatten() {
            let weight = measure(usage);
            match facts.name(key.via).and_then(place).filter(|via| *via != at) {
                Some(via) if group.passes_on(at, via) => *weights.pools.entry(via).or_default() += weight,
                Some(_) => {}
                None => {
                    let sum = payers.entry((facts.name(key.team), facts.name(key.agent))).or_default();
                    *sum = sum.saturating_add(u128::from(weight));
                }
            }
        }
    }
    for ((team, agent), weight) in payers {
        let bearer = Bearer::of_payer(team);
        let agents = weights.agents.entry(bearer.clone()).or_default();
        *agents.entry(agent.cloned()).or_default() += weight;
        *weights.bearers.entry(bearer).or_default() += weight;
    }
    weights
}

/// By payer and root's agent; fewer than 2^64 uses of less than 2^64 each.
type UsedBy<'a> = HashMap<(Option<&'a Id>, Option<&'a Id>), u128, FxBuildHasher>; // tidy: allow(hash-order) sums
