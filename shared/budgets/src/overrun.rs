//! Why a budget is overrun (BUD-3): what was posted to it without having been admitted, by cause.
//!
//! Beside a counter, parts of it are counted: what a reservation has admitted there, and of the rest all but what named no
//! reservation with room at that counter, which is what is left. So an organisation that does not ask before it spends counts
//! nothing more.

use recoup_money::{Amount, Share, split};
use serde::{Deserialize, Serialize};

use crate::counter::Counter;
use crate::reserved::Cover;

/// A part of what a counter counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Covered by a reservation.
    Admitted,
    /// Of work whose claim to be critical is honoured.
    Critical,
    /// Recorded after its reservation was settled or had expired.
    Late,
    /// More than its reservation.
    AboveEstimate,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Admitted, Self::Critical, Self::Late, Self::AboveEstimate];

    fn name(self) -> &'static str {
        match self {
            Self::Admitted => "admitted",
            Self::Critical => "critical",
            Self::Late => "late",
            Self::AboveEstimate => "above-estimate",
        }
    }

    /// Whether a counter is one of a part, by its period.
    #[must_use]
    pub fn is_in(period: &str) -> bool {
        period.contains('/')
    }

    /// Where this part of a counter is counted.
    #[must_use]
    pub fn of(self, counter: &Counter) -> Counter {
        Counter { scope: counter.scope.clone(), period: format!("{}/{}", counter.period, self.name()) }
    }
}

/// What the parts of a counter come to; what they do not have named no reservation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// [`Part::Admitted`].
    pub admitted: Amount,
    /// [`Part::Critical`].
    pub critical: Amount,
    /// [`Part::Late`].
    pub late: Amount,
    /// [`Part::AboveEstimate`].
    pub above_estimate: Amount,
}

impl Parts {
    /// Those with these amounts, in the order of [`Part::ALL`].
    #[must_use]
    pub fn from_amounts([admitted, critical, late, above_estimate]: [Amount; 4]) -> Self {
        Self { admitted, critical, late, above_estimate }
    }

    /// Those of a span with this cost and cover, at a counter where that has room.
    pub(crate) fn of_covered(cost: Amount, cover: &Cover<'_>) -> Self {
        if !cover.is_in_time {
            return Self { late: cost, ..Self::default() };
        }
        let above_estimate = cost.checked_sub(cover.admitted).unwrap_or_default();
        Self { admitted: cover.admitted, above_estimate, ..Self::default() }
    }

    /// Those that are not zero.
    pub(crate) fn present(self) -> impl Iterator<Item = (Part, Amount)> {
        let Self { admitted, critical, late, above_estimate } = self;
        let amounts = [admitted, critical, late, above_estimate];
        Part::ALL.into_iter().zip(amounts).filter(|(_, amount)| !amount.is_zero())
    }
}

/// Why more was posted to a budget than its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// Nobody asked for it.
    NotAsked,
    /// It cost more than its estimate.
    AboveEstimate,
    /// It was reported after its reservation was settled or had expired.
    ReportedLate,
    /// Critical work, which no budget stops.
    Critical,
    /// It was admitted: the limit was lowered since, a price changed, or its reservation was given back or named in another
    /// trace before.
    Admitted,
}

impl Cause {
    /// `not-asked`, `above-estimate`, `reported-late`, `critical` or `admitted`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NotAsked => "not-asked",
            Self::AboveEstimate => "above-estimate",
            Self::ReportedLate => "reported-late",
            Self::Critical => "critical",
            Self::Admitted => "admitted",
        }
    }
}

/// By how much a budget is overrun, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overrun {
    /// What is posted beyond the limit.
    pub amount: Amount,
    /// The causes with their parts of `amount`, which sum to it: no zeros.
    pub causes: Vec<(Cause, Amount)>,
}

/// Why more is posted than the limit; `None`: it is not more. What was admitted had its room, so what it has beyond the
/// limit is its own; the rest of the overrun is split over what was not admitted, in proportion to what each cause
/// has posted (SPL-1).
#[must_use]
pub fn overrun(limit: Amount, posted: Amount, parts: Parts) -> Option<Overrun> {
    let amount = posted.checked_sub(limit).filter(|over| *over > Amount::ZERO)?;
    let Parts { admitted, critical, late, above_estimate } = parts;
    let asked = Amount::checked_sum([admitted, critical, late, above_estimate])?;
    let weighed = [
        (Cause::NotAsked, posted.checked_sub(asked)?),
        (Cause::AboveEstimate, above_estimate),
        (Cause::ReportedLate, late),
        (Cause::Critical, critical),
    ];
    let changed = admitted.checked_sub(limit)?.max(Amount::ZERO).min(amount);
    let rest = amount.checked_sub(changed)?;
    let shares: Vec<Share<'_, u128>> = weighed
        .iter()
        .map(|(cause, weight)| Share { id: cause.name().as_bytes(), weight: weight.pico().max(0).unsigned_abs() })
        .collect();
    let (changed, split) = match split(rest.pico(), &shares) {
        Some(split) => (changed, split),
        None => (amount, vec![0; weighed.len()]),
    };
    let of_weighed = weighed.iter().zip(split).map(|((cause, _), share)| (*cause, Amount::from_pico(share)));
    let causes = of_weighed.chain([(Cause::Admitted, changed)]);
    Some(Overrun { amount, causes: causes.filter(|(_, share)| !share.is_zero()).collect() })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use proptest::prelude::*;

    use super::*;

    fn amount(text: &str) -> Amount {
        Amount::parse_rounded(text).unwrap()
    }

    #[test]
    fn bud_3_what_is_not_over_has_no_cause() {
        for posted in ["-1", "0", "9.999999999999", "10"] {
            assert_eq!(overrun(amount("10"), amount(posted), Parts::default()), None, "{posted}");
        }
    }

    #[test]
    fn bud_3_without_any_reservation_all_of_it_was_not_asked_for() {
        let found = overrun(amount("10"), amount("10.5"), Parts::default()).unwrap();
        assert_eq!(found.causes, [(Cause::NotAsked, amount("0.5"))]);
    }

    #[test]
    fn bud_3_credits_bear_no_part_of_an_overrun() {
        let parts = Parts { admitted: amount("12"), late: amount("-1"), ..Parts::default() };
        let found = overrun(amount("10"), amount("11"), parts).unwrap();
        assert_eq!(found.causes, [(Cause::Admitted, amount("1"))]);
    }

    proptest! {
        #[test]
        fn bud_3_causes_sum_to_the_overrun(
            limit in 1..1_000_i128,
            over in 1..1_000_i128,
            parts in proptest::array::uniform4(-1_000..1_000_i128),
        ) {
            let posted = Amount::from_pico(limit + over);
            let found = overrun(Amount::from_pico(limit), posted, Parts::from_amounts(parts.map(Amount::from_pico))).unwrap();
            let sum = Amount::checked_sum(found.causes.iter().map(|(_, amount)| *amount)).unwrap();
            prop_assert_eq!(sum, Amount::from_pico(over));
            prop_assert_eq!(found.amount, sum);
            prop_assert!(found.causes.iter().all(|(_, amount)| *amount > Amount::ZERO));
        }
    }
}
