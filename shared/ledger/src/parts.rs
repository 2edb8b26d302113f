//! A settlement in parts that do not need each other: this crate has no threads, its caller may have some.

use std::collections::BTreeMap;
use std::sync::Mutex;

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
            let teams = facts.tasks.keys().map(|task| &task.team).chain(facts.cells.keys().map(|cell| &cell.team));
            // They lie in order of teams.
            let mut run: Option<(&Id, usize)> = None;
            for team in teams.flatten() {
                match &mut run {
                    Some((last, count)) if *last == team => *count = count.saturating_add(1),
                    _ => {
                        add_run(&mut rows, run.replace((team, 1)));
                    }
                }
            }
            add_run(&mut rows, run);
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

fn add_run<'a>(rows: &mut BTreeMap<&'a Id, usize>, run: Option<(&'a Id, usize)>) {
    if let Some((team, count)) = run {
        let sum = rows.entry(team).or_default();
        *sum = sum.saturating_add(count);
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

    /// The rows of the part's payers, of rows that lie in order of payers.
    pub(crate) fn of<'r, K: 'r, V: 'r>(
        self,
        rows: &'r BTreeMap<K, V>,
        team: impl Fn(&K) -> Option<&Id>,
    ) -> impl Iterator<Item = (&'r K, &'r V)> {
        let mut last: Option<(&'r K, bool)> = None;
        rows.iter().filter(move |(key, _)| match last {
            Some((known, is_ours)) if team(known) == team(key) => is_ours,
            _ => {
                let is_ours = self.has(team(key));
                last = Some((key, is_ours));
                is_ours
            }
        })
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
