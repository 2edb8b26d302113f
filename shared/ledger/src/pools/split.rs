//! Which bearer bears how much of each pool: a group's own cost over the bearers, then inside each bearer over the pools by
//! what each contributed (POOL-3, SPL-2).

use std::collections::{BTreeMap, BTreeSet};

use num_rational::BigRational;
use recoup_model::Id;
use recoup_model::organisation::{Pool, PoolMethod};
use recoup_money::{Amount, Share, split_big};

use super::system::{Shares, common_weights, solve_group};
use super::weights::{Weights, pool_weights};
use super::{Group, Member};
use crate::charges::Ground;
use crate::error::{LedgerError, fits};
use crate::line::Bearer;
use crate::settle::PeriodInput;

/// A group of pools and what becomes of its cost.
#[derive(Debug)]
pub(super) struct GroupSplit<'a> {
    pub(super) id: Id,
    pub(super) method: PoolMethod,
    /// Own cost of all its pools.
    pub(super) own: Amount,
    pub(super) pools: Vec<PoolSplit<'a>>,
}

/// A pool and what becomes of its cost.
#[derive(Debug)]
pub(super) struct PoolSplit<'a> {
    pub(super) member: Member<'a>,
    pub(super) weights: Weights,
    pub(super) shares: Shares,
    pub(super) borne: BTreeMap<Bearer, Amount>,
}

/// Splits the pools of the period up to the input's last night. Groups without cost are left out.
pub(super) fn split_pools<'a>(input: &PeriodInput<'a>, ground: &Ground) -> Result<Vec<GroupSplit<'a>>, LedgerError> {
    let mut splits = Vec::new();
    for group in groups(input, ground)? {
        if group.members.iter().all(|member| member.own.is_zero()) {
            continue;
        }
        let weigh = |at| pool_weights((input, ground), &group, at);
        let weights = (0..group.members.len()).map(weigh).collect::<Result<Vec<_>, _>>()?;
        let solved = solve_group(&group, &weights)?;
        splits.push(split_group(group, weights, solved)?);
    }
    Ok(splits)
}

/// Pools by group: those of the organisation on the last night, and those that had cost before they left it.
fn groups<'a>(input: &PeriodInput<'a>, ground: &Ground) -> Result<Vec<Group<'a>>, LedgerError> {
    let current = &input.organisation().organisation.pools;
    let ids: BTreeSet<&Id> = current.keys().chain(ground.pools.keys()).collect();
    let mut groups: BTreeMap<Id, Vec<Member<'a>>> = BTreeMap::new();
    for id in ids {
        let own = ground.pools.get(id).copied().unwrap_or_default();
        let pool = declared(input, id).ok_or_else(|| LedgerError::UnknownPool { pool: id.clone() })?;
        if own < Amount::ZERO {
            return Err(LedgerError::NegativePool { pool: id.clone(), cost: own });
        }
        groups.entry(pool.group.clone()).or_default().push(Member { id: id.clone(), pool, own });
    }
    let ordered = groups.into_iter().filter_map(|(id, mut members)| {
        members.sort_by_key(|member| (member.pool.step.is_none(), member.pool.step, member.id.clone()));
        let method = members.first()?.pool.method;
        Some(Group { id, method, members })
    });
    Ok(ordered.collect())
}

/// The latest declaration of a pool in the period.
fn declared<'a>(input: &PeriodInput<'a>, id: &Id) -> Option<&'a Pool> {
    let days: Vec<_> = input.local_days().collect();
    days.into_iter().rev().find_map(|day| input.history.on(day).organisation.pools.get(id))
}

fn split_group<'a>(
    group: Group<'a>,
    weights: Vec<Weights>,
    solved: Vec<Shares>,
) -> Result<GroupSplit<'a>, LedgerError> {
    let own = Amount::checked_sum(group.members.iter().map(|member| member.own));
    let own = fits(own, "the cost of a pool group")?;
    let bearers: BTreeSet<&Bearer> = solved.iter().flat_map(|shares| shares.bearers.keys()).collect();
    let contributions: Vec<Vec<BigRational>> =
        bearers.iter().map(|bearer| solved.iter().map(|shares| shares.contribution(bearer)).collect()).collect();
    let totals: Vec<BigRational> = contributions.iter().map(|parts| parts.iter().sum()).collect();
    let ids: Vec<&[u8]> = bearers.iter().map(|bearer| bearer.tie_break()).collect();
    let amounts = split_ratios(own, &totals, &ids)?;
    let pool_ids: Vec<&[u8]> = group.members.iter().map(|member| member.id.as_bytes()).collect();
    let mut borne: Vec<BTreeMap<Bearer, Amount>> = vec![BTreeMap::new(); group.members.len()];
    for ((bearer, amount), parts) in bearers.iter().zip(amounts).zip(&contributions) {
        for (part, borne) in split_ratios(amount, parts, &pool_ids)?.into_iter().zip(&mut borne) {
            borne.insert((*bearer).clone(), part);
        }
    }
    let pools = group.members.into_iter().zip(weights).zip(solved).zip(borne);
    let pools = pools.map(|(((member, weights), shares), borne)| PoolSplit { member, weights, shares, borne });
    Ok(GroupSplit { id: group.id, method: group.method, own, pools: pools.collect() })
}

/// SPL-1 over exact rationals, brought to one denominator.
fn split_ratios(amount: Amount, ratios: &[BigRational], ids: &[&[u8]]) -> Result<Vec<Amount>, LedgerError> {
    let weights = fits(common_weights(ratios), "a pool's weights")?;
    let shares: Vec<_> = ids.iter().zip(weights).map(|(id, weight)| Share { id, weight }).collect();
    let parts = match split_big(amount.pico(), &shares) {
        Some(parts) => parts,
        // A bearer without any contribution has nothing to split.
        None if amount.is_zero() => vec![0; ids.len()],
        None => return Err(LedgerError::Overflow { what: "a pool's share" }),
    };
    Ok(parts.into_iter().map(Amount::from_pico).collect())
}
