//! A settlement in parts that do not need each other: this crate has no threads, its caller may have some.

use std::collections::BTreeMap;
use std::sync::Mutex;

use recoup_attribution::SettlementFacts;
use recoup_attribution::settlement::Code;
use recoup_model::Id;

use crate::error::LedgerError;
use crate::settle::PeriodInput;

/// Who takes parts of a work that do not need each other.
pub trait Workers: Sync {
    /// How many parts it is worth to make of a work, from 1.
    fn parts(&self) -> usize;

    /// Calls `part` once with each number below `count`, in any order, maybe at the same time.
    fn run(&self, count: usize, part: &(dyn Fn(usize) + Sync));
}

/// One part after the other.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

impl Workers for Alone {
    fn parts(&self) -> usize {
        1
    }

    fn run(&self, count: usize, part: &(dyn Fn(usize) + Sync)) {
        (0..count).for_each(part);
    }
}

/// What each item comes to, in their order; `None` where a worker left one out.
pub fn each<T: Send, R: Send>(
    workers: &dyn Workers,
    items: impl IntoIterator<Item = T>,
    work: impl Fn(T) -> R + Sync,
) -> Option<Vec<R>> {
    let slots: Vec<Mutex<Slot<T, R>>> = items.into_iter().map(|item| Mutex::new(Slot::Todo(item))).collect();
    workers.run(slots.len(), &|number| {
        let take = || Some(std::mem::replace(&mut *slots.get(number)?.lock().ok()?, Slot::Taken));
        if let Some(Slot::Todo(item)) = take() {
            let done = work(item);
            if let Some(mut slot) = slots.get(number).and_then(|slot| slot.lock().ok()) {
                *slot = Slot::Done(done);
            }
        }
    });
    let done = |slot: Mutex<Slot<T, R>>| match slot.into_inner().ok()? {
        Slot::Done(done) => Some(done),
        Slot::Todo(_) | Slot::Taken => None,
    };
    slots.into_iter().map(done).collect()
}

enum Slot<T, R> {
    Todo(T),
    Taken,
    Done(R),
}

/// As [`each`], of what may fail: the first error in order, whoever was faster.
pub(crate) fn try_each<T: Send, R: Send>(
    workers: &dyn Workers,
    items: impl IntoIterator<Item = T>,
    work: impl Fn(T) -> Result<R, LedgerError> + Sync,
) -> Result<Vec<R>, LedgerError> {
    each(workers, items, work).ok_or(LedgerError::PartNotDone)?.into_iter().collect()
}

/// The payers' teams of a period in parts of about the same size. Nobody is a payer of the first part.
#[derive(Debug)]
pub(crate) struct Payers<'a> {
    parts: BTreeMap<&'a Id, usize>,
    count: usize,
}

/// The payers of one part.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part<'p, 'a> {
    payers: &'p Payers<'a>,
    number: usize,
}

impl<'a> Payers<'a> {
    pub(crate) fn of(input: &PeriodInput<'a>, parts: usize) -> Self {
        let mut rows: BTreeMap<&Id, usize> = BTreeMap::new();
        for facts in input.facts() {
            let mut of_team = |team: Code, count: usize| {
                if let Some(team) = facts.name(team) {
                    let sum = rows.entry(team).or_default();
                    *sum = sum.saturating_add(count);
                }
            };
            // They lie in order of teams.
            let of_tasks = facts.tasks().chunk_by(|(one, _), (next, _)| one.team == next.team);
            let of_costs = facts.costs().chunk_by(|(one, _), (next, _)| one.team == next.team);
            of_tasks.for_each(|run| run.first().map_or((), |(key, _)| of_team(key.team, run.len())));
            of_costs.for_each(|run| run.first().map_or((), |(key, _)| of_team(key.team, run.len())));
        }
        let mut largest: Vec<(usize, &Id)> = rows.into_iter().map(|(team, rows)| (rows, team)).collect();
        largest.sort_unstable_by(|one, other| other.cmp(one));
        let mut sizes = vec![0_usize; parts.clamp(1, largest.len().max(1))];
        let mut parts = BTreeMap::new();
        for (rows, team) in largest {
            let least = sizes.iter_mut().enumerate().min_by_key(|(number, size)| (**size, *number));
            let Some((number, size)) = least else { continue };
            *size = size.saturating_add(rows);
            parts.insert(team, number);
        }
        Self { parts, count: sizes.len() }
    }

    /// Every part.
    pub(crate) fn all(&self) -> impl Iterator<Item = Part<'_, 'a>> {
        (0..self.count).map(|number| Part { payers: self, number })
    }
}

impl Part<'_, '_> {
    /// Whether it is the one that takes what is of no team.
    pub(crate) const fn is_first(&self) -> bool {
        self.number == 0
    }

    /// Whether a payer belongs to it.
    pub(crate) fn has(&self, team: Option<&Id>) -> bool {
        team.map_or(0, |team| self.payers.parts.get(team).copied().unwrap_or_default()) == self.number
    }

    /// The rows of the part's payers, payer by payer, of rows that lie in order of payers.
    pub(crate) fn of<'r, K, V>(
        self,
        facts: &'r SettlementFacts,
        rows: &'r [(K, V)],
        team: fn(&K) -> Code,
    ) -> impl Iterator<Item = (Option<&'r Id>, &'r [(K, V)])> {
        let runs = rows.chunk_by(move |(one, _), (next, _)| team(one) == team(next));
        let named = runs.filter_map(move |run| Some((facts.name(team(&run.first()?.0)), run)));
        named.filter(move |(team, _)| self.has(*team))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The last part first.
    struct Backwards;

    impl Workers for Backwards {
        fn parts(&self) -> usize {
            3
        }

        fn run(&self, count: usize, part: &(dyn Fn(usize) + Sync)) {
            (0..count).rev().for_each(part);
        }
    }

    #[test]
    fn what_parts_come_to_is_in_their_order_and_the_first_error_counts() {
        let doubled = try_each(&Backwards, 0..5_u32, |number| Ok(number.saturating_mul(2)));
        assert_eq!(doubled.ok(), Some(vec![0, 2, 4, 6, 8]));
        let refused = try_each(&Backwards, 0..5_u32, |number| match number {
            0 | 2 => Ok(number),
            _ => Err(LedgerError::Overflow { what: if number == 1 { "one" } else { "another" } }),
        });
        assert!(matches!(refused, Err(LedgerError::Overflow { what: "one" })), "{refused:?}");
    }

    #[test]
    fn a_part_that_nobody_takes_is_an_error() {
        struct Lazy;
        impl Workers for Lazy {
            fn parts(&self) -> usize {
                2
            }
            fn run(&self, _: usize, part: &(dyn Fn(usize) + Sync)) {
                part(0);
            }
        }
        assert!(matches!(try_each(&Lazy, 0..2_u8, Ok), Err(LedgerError::PartNotDone)));
    }
}
