//! Why a budget is overrun (BUD-3): what was posted to it without having been admitted, by cause.
//!
//! A reservation admits cost up to its amount, of work that is not critical and was recorded before it expired: that of the
//! event that names it, and of what is below that in its trace. Beside a
//! counter, parts of it are counted: what was admitted, and of the rest all but what named no reservation, which is what is
//! left. So an organisation that does not ask before it spends counts nothing more.

use std::collections::BTreeMap;

use recoup_attribution::{Place, Span, Trace};
use recoup_model::{Id, Identity, Recorded};
use recoup_money::{Amount, Share, split};

use crate::admission::Asker;
use crate::counter::Counter;

/// A reservation that an event names and that was given to whoever sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reserved {
    /// Its id.
    pub id: Id,
    /// Whom it was admitted for.
    pub asker: Asker,
    /// What it admits.
    pub amount: Amount,
    /// When it ends, nanoseconds since 1970-01-01T00:00:00Z.
    pub expires_ns: i64,
}

/// The reservations that the events of a trace name.
pub type Reservations = BTreeMap<Identity, Reserved>;

/// A part of what a counter counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Covered by a reservation.
    Admitted,
    /// Of work whose claim to be critical is honoured.
    Critical,
    /// Recorded after its reservation had expired.
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

    /// Those that are not zero.
    pub(crate) fn present(self) -> impl Iterator<Item = (Part, Amount)> {
        let Self { admitted, critical, late, above_estimate } = self;
        let amounts = [admitted, critical, late, above_estimate];
        Part::ALL.into_iter().zip(amounts).filter(|(_, amount)| !amount.is_zero())
    }
}

/// Why more was posted to a budget than its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// Nobody asked for it.
    NotAsked,
    /// It cost more than its estimate.
    AboveEstimate,
    /// It was reported after its reservation had expired.
    ReportedLate,
    /// Critical work, which no budget stops.
    Critical,
    /// It was admitted, and the limit is lower now; or it came here when the payer of its trace became known, or by a price
    /// that changed.
    LimitOrPayerChanged,
}

impl Cause {
    /// `not-asked`, `above-estimate`, `reported-late`, `critical` or `limit-or-payer-changed`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NotAsked => "not-asked",
            Self::AboveEstimate => "above-estimate",
            Self::ReportedLate => "reported-late",
            Self::Critical => "critical",
            Self::LimitOrPayerChanged => "limit-or-payer-changed",
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
/// limit comes from a change; the rest of the overrun is split over what was not admitted, in proportion to what each cause
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
    let causes = of_weighed.chain([(Cause::LimitOrPayerChanged, changed)]);
    Some(Overrun { amount, causes: causes.filter(|(_, share)| !share.is_zero()).collect() })
}

/// The parts that each span of a trace posts beside its whole cost, in the order of the spans. `is_critical` says whose claim
/// is honoured.
///
/// A span has the reservation that it names, else the nearest one above: that of a task is named by its root. The spans of one
/// reservation have its amount in the order that they were recorded in.
pub(crate) fn parts_of(
    trace: &Trace,
    events: &[Recorded],
    reservations: &Reservations,
    is_critical: impl Fn(usize, &Span) -> bool,
) -> Vec<Parts> {
    let mut parts = vec![Parts::default(); trace.spans.len()];
    let recorded = |recorded: &Recorded| (Identity::of(&recorded.event), recorded.recorded_at_ns);
    let recorded_at_ns: BTreeMap<Identity, i64> =
        if reservations.is_empty() { BTreeMap::new() } else { events.iter().map(recorded).collect() };
    // In preorder a parent stands before its children.
    let mut held: Vec<Option<&Reserved>> = Vec::with_capacity(trace.spans.len());
    let mut asked = Vec::new();
    for (at, (span, of_span)) in trace.spans.iter().zip(&mut parts).enumerate() {
        // What only hangs on the root for want of its own parent was not asked for with a root that stands in for another.
        let is_below = trace.root_arrived || span.place == Place::Parent;
        let above = || *held.get(span.parent.filter(|_| is_below)?)?;
        let reserved = reservations.get(&span.identity).or_else(above);
        held.push(reserved);
        if span.event.critical && is_critical(at, span) {
            of_span.critical = span.exclusive;
        } else if let (Some(reserved), false) = (reserved, span.exclusive.is_zero()) {
            let recorded_at_ns = recorded_at_ns.get(&span.identity).copied().unwrap_or(i64::MAX);
            asked.push((recorded_at_ns, span.identity, (at, span.exclusive, reserved)));
        }
    }
    asked.sort_unstable_by_key(|(recorded_at_ns, identity, _)| (*recorded_at_ns, *identity));
    let mut left: BTreeMap<&Id, Amount> = BTreeMap::new();
    for (recorded_at_ns, _, (at, cost, reserved)) in asked {
        let Some(of_span) = parts.get_mut(at) else { continue };
        if recorded_at_ns > reserved.expires_ns {
            of_span.late = cost;
            continue;
        }
        let room = left.entry(&reserved.id).or_insert(reserved.amount);
        of_span.admitted = cost.min(*room);
        of_span.above_estimate = cost.checked_sub(of_span.admitted).unwrap_or_default();
        *room = room.checked_sub(of_span.admitted.max(Amount::ZERO)).unwrap_or_default();
    }
    parts
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
        assert_eq!(found.causes, [(Cause::LimitOrPayerChanged, amount("1"))]);
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
