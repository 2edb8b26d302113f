//! Shared pools: who bears their cost, by use (POOL-1 to POOL-4).
//!
//! A group of pools is one system of equations over exact rationals; only the split at the end rounds, to picounits,
//! and it ties (POOL-3, SPL-2).

mod system;
mod weights;

use std::collections::{BTreeMap, BTreeSet};

use num_bigint::BigUint;
use num_rational::BigRational;
use recoup_model::organisation::{Pool, PoolBasis, PoolMethod};
use recoup_model::{FindingKind, Id, Severity};
use recoup_money::{Amount, Share, split_big};
use serde::{Deserialize, Serialize};

use self::system::{Shares, common_weights, ratio_text, solve_group};
use self::weights::{Weights, pool_weights};
use crate::charges::Sums;
use crate::draft::Draft;
use crate::error::{LedgerError, fits};
use crate::journal::{PROVIDER, pool_account};
use crate::line::{Bearer, Line, LineKey, LineKind};
use crate::settle::PeriodInput;

/// How a pool was split: kept with the run (POOL-3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolRecord {
    /// The pool.
    pub pool: Id,
    /// Its group.
    pub group: Id,
    /// How pools of the group treat each other.
    pub method: Id,
    /// What the cost was divided by, after a fallback.
    pub basis: Id,
    /// Events and bills of the pool.
    pub own_cost: Amount,
    /// Own cost plus what other pools of the group passed on, in picounits: an exact fraction.
    pub full_cost_pico: String,
    /// Who used it, teams before pools.
    pub consumers: Vec<PoolShare>,
}

/// One consumer of a pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolShare {
    /// Who.
    pub consumer: Consumer,
    /// Its weight on the basis: calls, tokens, milliseconds, picounits of cost or percent.
    pub weight: String,
    /// The exact fraction of the pool's full cost, reduced.
    pub ratio: String,
    /// What it bears; `None` for a pool, whose part is in that pool's full cost.
    pub amount: Option<Amount>,
}

/// Who uses a pool.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Consumer {
    /// A team, or an account instead of one.
    Bearer(Bearer),
    /// Another pool of the group.
    Pool(Id),
}

/// A pool of a group, with its own cost.
#[derive(Debug)]
pub(super) struct Member<'a> {
    pub(super) id: Id,
    pub(super) pool: &'a Pool,
    pub(super) own: Amount,
}

/// Pools that are solved together, in the order of a step-down.
#[derive(Debug)]
pub(super) struct Group<'a> {
    pub(super) id: Id,
    pub(super) method: PoolMethod,
    pub(super) members: Vec<Member<'a>>,
}

impl Group<'_> {
    /// Whether the use of `from` by `to` (places in the group) counts (POOL-2).
    pub(super) fn passes_on(&self, from: usize, to: usize) -> bool {
        match self.method {
            PoolMethod::Direct => false,
            PoolMethod::StepDown => from < to,
            PoolMethod::Reciprocal => from != to,
        }
    }
}

/// Splits every pool's cost of the period to date, posts it, and writes the lines.
pub(crate) fn allocate(
    input: &PeriodInput<'_>,
    sums: &Sums,
    draft: &mut Draft,
) -> Result<Vec<PoolRecord>, LedgerError> {
    let mut records = Vec::new();
    for group in groups(input, sums)? {
        if group.members.iter().all(|member| member.own.is_zero()) {
            continue;
        }
        let weights = group
            .members
            .iter()
            .enumerate()
            .map(|(at, _)| pool_weights((input, sums), &group, at))
            .collect::<Result<Vec<_>, _>>()?;
        let solved = solve_group(&group, &weights)?;
        note_fallbacks(&group, &weights, &solved, draft);
        records.extend(allocate_group(&group, &weights, &solved, draft)?);
    }
    records.sort_by(|a, b| a.pool.cmp(&b.pool));
    Ok(records)
}

/// Pools by group: those of the organisation on the last night, and those that had cost before they left it.
fn groups<'a>(input: &PeriodInput<'a>, sums: &Sums) -> Result<Vec<Group<'a>>, LedgerError> {
    let current = &input.organisation().organisation.pools;
    let ids: BTreeSet<&Id> = current.keys().chain(sums.pools.keys()).collect();
    let mut groups: BTreeMap<Id, Vec<Member<'a>>> = BTreeMap::new();
    for id in ids {
        let own = sums.pools.get(id).copied().unwrap_or_default();
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

fn note_fallbacks(group: &Group<'_>, weights: &[Weights], solved: &[Shares], draft: &mut Draft) {
    for ((member, weights), shares) in group.members.iter().zip(weights).zip(solved) {
        if shares.is_idle() {
            continue;
        }
        if weights.basis != Some(member.pool.basis) {
            let wanted = member.pool.basis.name();
            let used = weights.basis.map_or("unallocated", PoolBasis::name);
            let detail = format!("pool `{}` had no {wanted} in the period; its cost was split by {used}", member.id);
            draft.find(Severity::Warning, FindingKind::PoolFallback, &member.id, detail);
        }
        if weights.bearers.contains_key(&Bearer::Unallocated) {
            let detail = format!(
                "nobody could bear the cost of pool `{}`; it stands on the account unallocated until a team is active",
                member.id
            );
            draft.find(Severity::Warning, FindingKind::Unallocated, &member.id, detail);
        }
    }
}

/// POOL-3: the group's own cost over the bearers, then inside each bearer over the pools by what each contributed.
fn allocate_group(
    group: &Group<'_>,
    weights: &[Weights],
    solved: &[Shares],
    draft: &mut Draft,
) -> Result<Vec<PoolRecord>, LedgerError> {
    let account = pool_account(&group.id);
    let own = Amount::checked_sum(group.members.iter().map(|member| member.own));
    let own = fits(own, "the cost of a pool group")?;
    draft.balances.transfer(PROVIDER, &account, own)?;
    let bearers: BTreeSet<&Bearer> = solved.iter().flat_map(|shares| shares.bearers.keys()).collect();
    let contributions: Vec<Vec<BigRational>> =
        bearers.iter().map(|bearer| solved.iter().map(|shares| shares.contribution(bearer)).collect()).collect();
    let totals: Vec<BigRational> = contributions.iter().map(|parts| parts.iter().sum()).collect();
    let ids: Vec<&[u8]> = bearers.iter().map(|bearer| bearer.tie_break()).collect();
    let amounts = split_ratios(own, &totals, &ids)?;
    let pool_ids: Vec<&[u8]> = group.members.iter().map(|member| member.id.as_bytes()).collect();
    let mut borne: Vec<BTreeMap<&Bearer, Amount>> = vec![BTreeMap::new(); group.members.len()];
    for ((bearer, amount), parts) in bearers.iter().zip(amounts).zip(&contributions) {
        for (part, borne) in split_ratios(amount, parts, &pool_ids)?.into_iter().zip(&mut borne) {
            borne.insert(bearer, part);
        }
    }
    let mut records = Vec::new();
    for (((member, weights), shares), borne) in group.members.iter().zip(weights).zip(solved).zip(borne) {
        if shares.is_idle() {
            continue;
        }
        let basis = Id::from(weights.basis.unwrap_or(PoolBasis::Even).name());
        for (bearer, ratio) in &shares.bearers {
            let mut line = pool_line(member, borne.get(bearer).copied().unwrap_or_default());
            (line.method, line.basis) = (Some(Id::from(group.method.name())), Some(basis.clone()));
            line.ratio = Some(ratio_text(ratio));
            draft.bear(&account, bearer, line)?;
        }
        records.push(record(group, (member, basis), (weights, shares), &borne));
    }
    Ok(records)
}

fn pool_line(member: &Member<'_>, exact: Amount) -> Line {
    Line::new(LineKey { pool: Some(member.id.clone()), ..LineKey::of(LineKind::Pool) }, exact)
}

fn record(
    group: &Group<'_>,
    (member, basis): (&Member<'_>, Id),
    (weights, shares): (&Weights, &Shares),
    borne: &BTreeMap<&Bearer, Amount>,
) -> PoolRecord {
    let of_bearer = |(bearer, weight): (&Bearer, &BigUint)| PoolShare {
        consumer: Consumer::Bearer(bearer.clone()),
        weight: weight.to_string(),
        ratio: shares.bearers.get(bearer).map(ratio_text).unwrap_or_default(),
        amount: Some(borne.get(bearer).copied().unwrap_or_default()),
    };
    let of_pool = |(at, weight): (&usize, &BigUint)| PoolShare {
        consumer: Consumer::Pool(group.members.get(*at).map(|pool| pool.id.clone()).unwrap_or_else(|| Id::from(""))),
        weight: weight.to_string(),
        ratio: shares.pools.get(at).map(ratio_text).unwrap_or_default(),
        amount: None,
    };
    PoolRecord {
        pool: member.id.clone(),
        group: group.id.clone(),
        method: Id::from(group.method.name()),
        basis,
        own_cost: member.own,
        full_cost_pico: ratio_text(&shares.full_cost_pico),
        consumers: weights.bearers.iter().map(of_bearer).chain(weights.pools.iter().map(of_pool)).collect(),
    }
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
