//! Corrections of closed periods (LED-4): full recomputation less what was booked, never a split of the difference.

use std::collections::{BTreeMap, BTreeSet};

use recoup_model::{Id, Period};
use recoup_money::Amount;
use serde::{Deserialize, Serialize};

use crate::error::{LedgerError, fits};
use crate::line::{Bearer, Line, LineKey, LineKind};
use crate::settle::{Settlement, Totals};

/// One line of a correction, to be booked in an open period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Correction {
    /// Who bears it. The accounts that are no teams are corrected too, so that all corrections of a period together are
    /// what its priced cost has changed by.
    pub bearer: Bearer,
    /// A line of kind `correction`, with the original period and kind.
    pub line: Line,
}

/// What a close has booked: the part of its settlement that corrections are measured against.
#[derive(Clone, Copy, Debug)]
pub struct Booked<'a> {
    /// The lines by team.
    pub lines: &'a BTreeMap<Id, Vec<Line>>,
    /// The totals.
    pub totals: &'a Totals,
}

impl Settlement {
    /// What its close books.
    #[must_use]
    pub const fn booked(&self) -> Booked<'_> {
        Booked { lines: &self.lines, totals: &self.totals }
    }
}

type Figures = BTreeMap<(Bearer, LineKey), (Amount, Option<Amount>)>;

/// The corrections of a closed period, per bearer and line: `recomputed` (settled with the period's own prices) less
/// the original close and the corrections booked since. Lines without a difference are left out.
///
/// Corrections that the closed period itself had booked for periods before it are no part of this.
///
/// # Errors
/// [`LedgerError::Overflow`].
pub fn correct(
    original: Booked<'_>,
    earlier: &[Correction],
    recomputed: &Settlement,
) -> Result<Vec<Correction>, LedgerError> {
    let period = recomputed.period;
    let after = figures(period, recomputed.booked())?;
    let mut before = figures(period, original)?;
    for correction in earlier.iter().filter(|correction| correction.line.key.original_period == Some(period)) {
        let line = &correction.line;
        note(&mut before, (correction.bearer.clone(), line.key.clone()), (line.exact, line.quantity))?;
    }
    let keys: BTreeSet<&(Bearer, LineKey)> = before.keys().chain(after.keys()).collect();
    let mut corrections = Vec::new();
    for key in keys {
        let nothing = (Amount::ZERO, None);
        let (new, new_quantity) = after.get(key).copied().unwrap_or(nothing);
        let (old, old_quantity) = before.get(key).copied().unwrap_or(nothing);
        let exact = fits(new.checked_sub(old), "a correction")?;
        if exact.is_zero() {
            continue;
        }
        let mut line = Line::new(key.1.clone(), exact);
        if new_quantity.is_some() || old_quantity.is_some() {
            let difference = new_quantity.unwrap_or_default().checked_sub(old_quantity.unwrap_or_default());
            line.quantity = Some(fits(difference, "a correction")?);
        }
        corrections.push(Correction { bearer: key.0.clone(), line });
    }
    Ok(corrections)
}

fn figures(period: Period, booked: Booked<'_>) -> Result<Figures, LedgerError> {
    let mut figures = Figures::new();
    for (team, lines) in booked.lines {
        for line in lines.iter().filter(|line| line.key.kind != LineKind::Correction) {
            let key = correction_key(period, line.key.kind, &line.key);
            note(&mut figures, (Bearer::Team(team.clone()), key), (line.exact, line.quantity))?;
        }
    }
    let totals = booked.totals;
    // A gain that the centre kept or carried lowers what it bears; a later gain or loss of a closed period enters no
    // later variance, so under `carry` the centre bears it too.
    let kept = totals.absorbed.checked_add(totals.carried_out).and_then(Amount::checked_neg);
    let accounts = [
        (Bearer::Unattributed, totals.unattributed, LineKind::Charge),
        (Bearer::Unallocated, totals.unallocated, LineKind::Charge),
        (Bearer::Absorbed, fits(kept, "the absorbed variance")?, LineKind::Variance),
    ];
    for (bearer, amount, kind) in accounts {
        let key = correction_key(period, kind, &LineKey::of(kind));
        note(&mut figures, (bearer, key), (amount, None))?;
    }
    Ok(figures)
}

fn correction_key(period: Period, kind: LineKind, key: &LineKey) -> LineKey {
    LineKey { kind: LineKind::Correction, original_kind: Some(kind), original_period: Some(period), ..key.clone() }
}

fn note(
    figures: &mut Figures,
    key: (Bearer, LineKey),
    (exact, quantity): (Amount, Option<Amount>),
) -> Result<(), LedgerError> {
    let known = figures.entry(key).or_insert((Amount::ZERO, None));
    known.0 = fits(known.0.checked_add(exact), "a correction")?;
    known.1 = match (known.1, quantity) {
        (Some(a), Some(b)) => Some(fits(a.checked_add(b), "a correction")?),
        (a, b) => a.or(b),
    };
    Ok(())
}
