//! The last guard of a close: the settlement ties exactly (LED-1, POOL-3, LED-3, CLO-4).

use std::collections::BTreeMap;

use recoup_model::Id;
use recoup_money::Amount;

use crate::journal::{
    ABSORBED, Balances, MARKUP, MARKUP_CORRECTIONS, PROVIDER, PROVIDER_CORRECTIONS, UNALLOCATED, UNATTRIBUTED,
    team_account,
};
use crate::line::{Line, LineKind};
use crate::parts::{Alone, Workers, each};
use crate::settle::{Settlement, Totals};

/// Why a settlement must not be closed. Each is a fault of this program, not of its input.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TieError {
    /// A sum does not fit.
    #[error("{0} overflows while it is checked")]
    Overflow(&'static str),
    /// Whoever takes the parts of the check left one out.
    #[error("a part of the check was not taken; a thread of it must have failed, so run it again")]
    PartNotDone,
    /// Two figures that must be one differ.
    #[error("{what} is {found} and must be {expected}; do not close, and report this with the period's manifest")]
    Differs {
        /// Which figure.
        what: String,
        /// As found.
        found: Amount,
        /// As it must be.
        expected: Amount,
    },
}

fn equal(what: impl Into<String>, found: Amount, expected: Amount) -> Result<(), TieError> {
    if found == expected { Ok(()) } else { Err(TieError::Differs { what: what.into(), found, expected }) }
}

fn sum(amounts: impl IntoIterator<Item = Amount>, what: &'static str) -> Result<Amount, TieError> {
    Amount::checked_sum(amounts).ok_or(TieError::Overflow(what))
}

fn negative(amount: Amount) -> Result<Amount, TieError> {
    amount.checked_neg().ok_or(TieError::Overflow("a balance"))
}

/// Checks that a settlement ties: CLO-4, a zero trial balance, lines equal to accounts, and passed-through accounts empty.
///
/// # Errors
/// The first [`TieError`].
pub fn check(settlement: &Settlement) -> Result<(), TieError> {
    check_with(settlement, &Alone)
}

/// As [`check`], by several workers.
///
/// # Errors
/// As [`check`]; [`TieError::PartNotDone`].
pub fn check_with(settlement: &Settlement, workers: &dyn Workers) -> Result<(), TieError> {
    let Settlement { balances, totals, lines, .. } = settlement;
    equal("the sum of all balances", sum(balances.accounts().values().copied(), "the balances")?, Amount::ZERO)?;
    let teams = each(workers, lines, |(team, lines)| check_team(balances, team, lines));
    let printed = teams.ok_or(TieError::PartNotDone)?.into_iter().collect::<Result<Vec<_>, _>>()?;
    equal("the sum of all lines", sum(printed, "the lines")?, totals.exact_total)?;
    check_accounts(balances, totals)?;
    check_clo_4(totals)
}

/// The sum of a team's lines, which are those of its accounts.
fn check_team(balances: &Balances, team: &Id, lines: &[Line]) -> Result<Amount, TieError> {
    let mut sums = BTreeMap::from(LineKind::ALL.map(|kind| (kind, Amount::ZERO)));
    for line in lines {
        let of_kind = sums.entry(line.key.kind).or_default();
        *of_kind = of_kind.checked_add(line.exact).ok_or(TieError::Overflow("a team's lines"))?;
    }
    for (kind, found) in &sums {
        let account = team_account(team, *kind);
        equal(account.clone(), balances.of(&account), *found)?;
    }
    sum(sums.into_values(), "a team's lines")
}

fn check_accounts(balances: &Balances, totals: &Totals) -> Result<(), TieError> {
    equal(PROVIDER, balances.of(PROVIDER), negative(totals.priced_cost)?)?;
    equal(MARKUP, balances.of(MARKUP), negative(totals.markup)?)?;
    let corrected = [PROVIDER_CORRECTIONS, MARKUP_CORRECTIONS].map(|account| balances.of(account));
    equal("what is corrected", sum(corrected, "the corrections")?, negative(totals.corrections)?)?;
    equal(UNATTRIBUTED, balances.of(UNATTRIBUTED), totals.unattributed)?;
    equal(UNALLOCATED, balances.of(UNALLOCATED), totals.unallocated)?;
    equal(ABSORBED, balances.of(ABSORBED), negative(totals.absorbed)?)?;
    let passes = |account: &&String| account.starts_with("pool/") || account.starts_with("variance/");
    for account in balances.accounts().keys().filter(passes) {
        equal(account.clone(), balances.of(account), Amount::ZERO)?;
    }
    Ok(())
}

/// Sum of the exact totals + unattributed + unallocated = priced cost + markup + corrections + residual + absorbed +
/// carried out - carried in.
fn check_clo_4(totals: &Totals) -> Result<(), TieError> {
    let borne = sum([totals.exact_total, totals.unattributed, totals.unallocated], "what is borne")?;
    let caused = sum(
        [
            totals.priced_cost,
            totals.markup,
            totals.corrections,
            totals.residual,
            totals.absorbed,
            totals.carried_out,
            negative(totals.carried_in)?,
        ],
        "what was caused",
    )?;
    equal("what teams and accounts bear (CLO-4)", borne, caused)
}
