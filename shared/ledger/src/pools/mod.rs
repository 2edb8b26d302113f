//! Shared pools: who bears their cost, by use (POOL-1 to POOL-4).
//!
//! A group of pools is one system of equations over exact rationals; only the split at the end rounds, to picounits,
//! and it ties (POOL-3, SPL-2).

mod pairs;
mod recovery;
mod split;
mod system;
mod weights;

use num_bigint::BigUint;
use num_rational::BigRational;
use num_traits::One;
use recoup_model::organisation::{Pool, PoolBasis, PoolMethod};
use recoup_model::{FindingKind, Id, Severity};
use recoup_money::Amount;
use serde::{Deserialize, Serialize};

use self::recovery::Recovered;
pub use self::recovery::RecoveredPart;
pub(crate) use self::recovery::{ByTask, Recovery};
use self::split::{GroupSplit, PoolSplit, split_pools};
use self::system::ratio_text;
use crate::charges::Sums;
use crate::draft::Draft;
use crate::error::{LedgerError, fits};
use crate::journal::{PROVIDER, pool_account};
use crate::line::{Bearer, Line, LineKey, LineKind};
use crate::prices::InternalPrices;
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
    /// Of that, what internal prices recover (PRC-1), so that it has no line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_price: Option<Amount>,
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

/// Splits every pool's cost of the period to date, posts it, and writes the lines; what the prices recover goes to where
/// charges meet actual cost.
pub(crate) fn allocate(
    input: &PeriodInput<'_>,
    prices: &InternalPrices,
    sums: &mut Sums,
    draft: &mut Draft,
) -> Result<(Vec<PoolRecord>, Vec<RecoveredPart>), LedgerError> {
    let splits = split_pools(input, &sums.ground)?;
    let recovered = Recovered::of_period(input, &splits)?;
    let mut records = Vec::new();
    for group in &splits {
        note_fallbacks(group, draft);
        records.extend(book_group(group, &recovered, draft)?);
    }
    let recovered = recovered.book((input, prices), sums, draft)?;
    records.sort_by(|a, b| a.pool.cmp(&b.pool));
    Ok((records, recovered))
}

fn note_fallbacks(group: &GroupSplit<'_>, draft: &mut Draft) {
    for pool in group.pools.iter().filter(|pool| !pool.shares.is_idle()) {
        let id = &pool.member.id;
        if pool.weights.basis != Some(pool.member.pool.basis) {
            let wanted = pool.member.pool.basis.name();
            let used = pool.weights.basis.map_or("unallocated", PoolBasis::name);
            let detail = format!("pool `{id}` had no {wanted} in the period; its cost was split by {used}");
            draft.find(Severity::Warning, FindingKind::PoolFallback, id, detail);
        }
        if pool.weights.bearers.contains_key(&Bearer::Unallocated) {
            let detail = format!(
                "nobody could bear the cost of pool `{id}`; it stands on the account unallocated until a team is active"
            );
            draft.find(Severity::Warning, FindingKind::Unallocated, id, detail);
        }
    }
}

fn book_group(
    group: &GroupSplit<'_>,
    recovered: &Recovered,
    draft: &mut Draft,
) -> Result<Vec<PoolRecord>, LedgerError> {
    let account = pool_account(&group.id);
    draft.balances.transfer(PROVIDER, &account, group.own)?;
    let mut records = Vec::new();
    for pool in group.pools.iter().filter(|pool| !pool.shares.is_idle()) {
        for (bearer, ratio) in &pool.shares.bearers {
            let part = pool.borne.get(bearer).copied().unwrap_or_default();
            let (in_price, fraction) = recovered.of(&pool.member.id, bearer);
            let mut line = pool_line(pool, fits(part.checked_sub(in_price), "a pool's share")?);
            line.method = Some(Id::from(group.method.name()));
            line.ratio = Some(ratio_text(&(ratio * (BigRational::one() - fraction))));
            draft.bear(&account, bearer, line)?;
        }
        records.push(record(group, pool, recovered));
    }
    Ok(records)
}

fn basis_name(pool: &PoolSplit<'_>) -> Id {
    Id::from(pool.weights.basis.unwrap_or(PoolBasis::Even).name())
}

fn pool_line(pool: &PoolSplit<'_>, exact: Amount) -> Line {
    let mut line = Line::new(LineKey { pool: Some(pool.member.id.clone()), ..LineKey::of(LineKind::Pool) }, exact);
    line.basis = Some(basis_name(pool));
    line
}

fn record(group: &GroupSplit<'_>, pool: &PoolSplit<'_>, recovered: &Recovered) -> PoolRecord {
    let of_bearer = |(bearer, weight): (&Bearer, &BigUint)| {
        let (in_price, _) = recovered.of(&pool.member.id, bearer);
        PoolShare {
            consumer: Consumer::Bearer(bearer.clone()),
            weight: weight.to_string(),
            ratio: pool.shares.bearers.get(bearer).map(ratio_text).unwrap_or_default(),
            amount: Some(pool.borne.get(bearer).copied().unwrap_or_default()),
            in_price: Some(in_price).filter(|in_price| !in_price.is_zero()),
        }
    };
    let named = |at: &usize| group.pools.get(*at).map(|other| other.member.id.clone()).unwrap_or_default();
    let of_pool = |(at, weight): (&usize, &BigUint)| PoolShare {
        consumer: Consumer::Pool(named(at)),
        weight: weight.to_string(),
        ratio: pool.shares.pools.get(at).map(ratio_text).unwrap_or_default(),
        amount: None,
        in_price: None,
    };
    PoolRecord {
        pool: pool.member.id.clone(),
        group: group.id.clone(),
        method: Id::from(group.method.name()),
        basis: basis_name(pool),
        own_cost: pool.member.own,
        full_cost_pico: ratio_text(&pool.shares.full_cost_pico),
        consumers: pool.weights.bearers.iter().map(of_bearer).chain(pool.weights.pools.iter().map(of_pool)).collect(),
    }
}
