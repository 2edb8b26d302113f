//! The equations of a pool group: x = b + A'x over exact rationals (POOL-2).

use std::collections::{BTreeMap, BTreeSet};

use num_bigint::{BigInt, BigUint};
use num_rational::BigRational;
use num_traits::{One, Zero};

use super::weights::Weights;
use super::{Group, Member};
use crate::error::{LedgerError, fits};
use crate::line::Bearer;

/// What a pool passes on, and to whom.
#[derive(Debug)]
pub(super) struct Shares {
    /// Own cost plus what other pools passed on.
    pub(super) full_cost_pico: BigRational,
    /// Fraction of the full cost by bearer.
    pub(super) bearers: BTreeMap<Bearer, BigRational>,
    /// Fraction of the full cost by pool of the group.
    pub(super) pools: BTreeMap<usize, BigRational>,
}

impl Shares {
    /// Whether the pool has no cost, own or passed on.
    pub(super) fn is_idle(&self) -> bool {
        self.full_cost_pico.is_zero()
    }

    /// What the pool contributes to a bearer, before rounding.
    pub(super) fn contribution(&self, bearer: &Bearer) -> BigRational {
        self.bearers.get(bearer).map_or_else(BigRational::zero, |ratio| ratio * &self.full_cost_pico)
    }
}

/// Full cost and shares of every pool of a group.
pub(super) fn solve_group(group: &Group<'_>, weights: &[Weights]) -> Result<Vec<Shares>, LedgerError> {
    let shares: Vec<Shares> = weights.iter().map(fractions).collect();
    let open = open_pools(group, &shares)?;
    let costs = fits(solve(equations(group, &shares, &open)), "a pool's equations")?;
    Ok(shares.into_iter().zip(costs).map(|(shares, full_cost_pico)| Shares { full_cost_pico, ..shares }).collect())
}

fn fractions(weights: &Weights) -> Shares {
    let total: BigUint = weights.bearers.values().chain(weights.pools.values()).sum();
    let fraction = |weight: &BigUint| {
        if total.is_zero() {
            return BigRational::zero();
        }
        BigRational::new(BigInt::from(weight.clone()), BigInt::from(total.clone()))
    };
    Shares {
        full_cost_pico: BigRational::zero(),
        bearers: weights.bearers.iter().map(|(bearer, weight)| (bearer.clone(), fraction(weight))).collect(),
        pools: weights.pools.iter().map(|(at, weight)| (*at, fraction(weight))).collect(),
    }
}

/// The pools from which a way leads to a bearer; an error names those that have none and that cost reaches.
fn open_pools(group: &Group<'_>, shares: &[Shares]) -> Result<BTreeSet<usize>, LedgerError> {
    let costly = group.members.iter().enumerate().filter(|(_, member)| !member.own.is_zero()).map(|(at, _)| at);
    let mut reached: BTreeSet<usize> = costly.collect();
    let mut open: BTreeSet<usize> =
        shares.iter().enumerate().filter(|(_, shares)| !shares.bearers.is_empty()).map(|(at, _)| at).collect();
    // One round per pool is enough: each round that changes anything adds at least one.
    for _ in shares {
        for (at, shares) in shares.iter().enumerate() {
            if reached.contains(&at) {
                reached.extend(shares.pools.keys());
            }
            if shares.pools.keys().any(|to| open.contains(to)) {
                open.insert(at);
            }
        }
    }
    let closed = reached.difference(&open).filter_map(|at| group.members.get(*at));
    let pools: Vec<String> = closed.map(|member| member.id.to_string()).collect();
    if pools.is_empty() { Ok(open) } else { Err(LedgerError::ClosedPools { pools }) }
}

/// Row q: x_q less what each pool p passes on to q, and q's own cost on the right. Closed pools, which no cost reaches,
/// pass nothing on: two that serve only each other would make the system singular.
fn equations(group: &Group<'_>, shares: &[Shares], open: &BTreeSet<usize>) -> Vec<Vec<BigRational>> {
    let cell = |q: usize, (p, shares): (usize, &Shares)| {
        let own = if p == q { BigRational::one() } else { BigRational::zero() };
        match shares.pools.get(&q) {
            Some(passed_on) if open.contains(&p) => own - passed_on,
            _ => own,
        }
    };
    let row = |(q, member): (usize, &Member<'_>)| {
        let own = BigRational::from_integer(BigInt::from(member.own.pico()));
        shares.iter().enumerate().map(|passing| cell(q, passing)).chain([own]).collect()
    };
    group.members.iter().enumerate().map(row).collect()
}

/// Solves a square system with its right side as last column, by elimination; `None` where it is singular.
fn solve(mut rows: Vec<Vec<BigRational>>) -> Option<Vec<BigRational>> {
    for column in 0..rows.len() {
        let pivot = rows.iter().skip(column).position(|row| row.get(column).is_some_and(|cell| !cell.is_zero()))?;
        rows.swap(column, column.checked_add(pivot)?);
        let divisor = rows.get(column)?.get(column)?.clone();
        let pivot: Vec<BigRational> = rows.get(column)?.iter().map(|cell| cell / &divisor).collect();
        for (at, row) in rows.iter_mut().enumerate() {
            let factor = if at == column { BigRational::zero() } else { row.get(column)?.clone() };
            for (cell, above) in row.iter_mut().zip(&pivot) {
                *cell -= &factor * above;
            }
        }
        *rows.get_mut(column)? = pivot;
    }
    rows.into_iter().map(|mut row| row.pop()).collect()
}

/// Rationals as whole weights over their common denominator; `None` where one is below zero.
pub(super) fn common_weights(ratios: &[BigRational]) -> Option<Vec<BigUint>> {
    let common = ratios.iter().fold(BigInt::one(), |common, ratio| {
        // The reduced fraction common/denominator has lost exactly their greatest common divisor.
        BigRational::new(common, ratio.denom().clone()).numer() * ratio.denom()
    });
    ratios.iter().map(|ratio| (ratio.numer() * (&common / ratio.denom())).to_biguint()).collect()
}

/// An exact fraction, reduced: `3/5`, `1/1`.
pub(super) fn ratio_text(ratio: &BigRational) -> String {
    format!("{}/{}", ratio.numer(), ratio.denom())
}
