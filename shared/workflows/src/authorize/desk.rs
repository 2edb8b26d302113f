//! The desk of one machine: leases that are drawn from in memory, and how the counters stand.
//!
//! A lease is durable before anything is drawn from it. What is drawn is known to this process alone: if it ends, the lease
//! counts in full until its minute has passed. Nothing here decides; it answers and keeps sums.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use foldhash::fast::RandomState;
use recoup_budgets::Counter;
use recoup_budgets::admission::Standing;
use recoup_money::Amount;
use recoup_store::{Balance, LeaseName};

/// Counters remembered; beyond it the memory is emptied and read again.
const COUNTERS_REMEMBERED_MAX: usize = 100_000;
/// How long a lease keeps what nobody draws.
const IDLE_NS: i64 = 60_000_000_000;

/// See the module.
#[derive(Default)]
pub(crate) struct Desk(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    balances: HashMap<Counter, Balance, RandomState>,
    free: HashMap<Counter, Amount, RandomState>,
    leases: HashMap<LeaseName, Held, RandomState>,
    /// Grows whenever a counter may have changed, so that what was read before is not remembered after.
    changes: u64,
}

struct Held {
    counters: Vec<Counter>,
    free: Amount,
    drawn: u32,
    drawn_at_ns: i64,
}

/// What is to be given back to the store.
pub(crate) struct Idle {
    pub(crate) lease: LeaseName,
    pub(crate) amount: Amount,
    pub(crate) counters: Vec<Counter>,
}

impl Desk {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        // What a panicking holder left is still sums of whole steps.
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// How many changes there were: to be read before balances are, and given back with them.
    pub(crate) fn changes(&self) -> u64 {
        self.inner().changes
    }

    /// How counters stand, or those that have to be read first.
    pub(crate) fn standings<'a>(
        &self,
        counters: impl Iterator<Item = &'a Counter> + Clone,
    ) -> Result<Vec<Standing>, Vec<Counter>> {
        let inner = self.inner();
        let known: Option<Vec<Standing>> = counters.clone().map(|counter| inner.standing(counter)).collect();
        known.ok_or_else(|| counters.filter(|counter| !inner.balances.contains_key(*counter)).cloned().collect())
    }

    /// Remembers balances that were read after `changes` changes, unless there were more meanwhile.
    pub(crate) fn remember(&self, balances: impl Iterator<Item = (Counter, Balance)>, changes: u64) {
        let mut inner = self.inner();
        if inner.changes != changes {
            return;
        }
        if inner.balances.len() >= COUNTERS_REMEMBERED_MAX {
            inner.balances.clear();
        }
        inner.balances.extend(balances);
    }

    /// Counters may have changed in the store.
    pub(crate) fn forget<'a>(&self, counters: impl Iterator<Item = &'a Counter>) {
        let mut inner = self.inner();
        inner.changes = inner.changes.wrapping_add(1);
        for counter in counters {
            inner.balances.remove(counter);
        }
    }

    /// Draws from a lease, if it has that much; the number of the reservation.
    pub(crate) fn draw(&self, lease: LeaseName, amount: Amount, now_ns: i64) -> Option<u32> {
        self.inner().draw(lease, amount, now_ns)
    }

    /// Draws from a lease where all its counters are known, `admits` says so of how they stand, and it has that much: the number of
    /// the reservation, and how they stood before.
    pub(crate) fn draw_admitted<'a>(
        &self,
        counters: impl Iterator<Item = &'a Counter> + Clone,
        (lease, amount, now_ns): (LeaseName, Amount, i64),
        admits: impl FnOnce(&[Standing]) -> bool,
    ) -> Option<(u32, Vec<Standing>)> {
        let mut inner = self.inner();
        let standings: Vec<Standing> = counters.map(|counter| inner.standing(counter)).collect::<Option<_>>()?;
        if !admits(&standings) {
            return None;
        }
        Some((inner.draw(lease, amount, now_ns)?, standings))
    }

    /// How often was drawn from a lease.
    pub(crate) fn drawn(&self, lease: LeaseName) -> u32 {
        self.inner().leases.get(&lease).map_or(0, |held| held.drawn)
    }

    /// Adds what was granted to a lease.
    pub(crate) fn add(&self, lease: LeaseName, counters: &[Counter], amount: Amount, now_ns: i64) {
        let mut inner = self.inner();
        inner.changes = inner.changes.wrapping_add(1);
        let empty = || Held { counters: counters.to_vec(), free: Amount::ZERO, drawn: 0, drawn_at_ns: now_ns };
        let held = inner.leases.entry(lease).or_insert_with(empty);
        held.free = held.free.checked_add(amount).unwrap_or(held.free);
        for counter in counters {
            let free = inner.free.entry(counter.clone()).or_default();
            *free = free.checked_add(amount).unwrap_or(*free);
            inner.balances.remove(counter);
        }
    }

    /// Takes what is free out of leases: of those that nobody has drawn from for a while, or of all that share a counter
    /// with these.
    pub(crate) fn take_idle(&self, now_ns: i64, wanted: Option<&[Counter]>) -> Vec<Idle> {
        let mut inner = self.inner();
        let is_wanted = |held: &Held| match wanted {
            Some(wanted) => held.counters.iter().any(|counter| wanted.contains(counter)),
            None => now_ns.saturating_sub(held.drawn_at_ns) >= IDLE_NS,
        };
        let mut idle = Vec::new();
        for (lease, held) in &mut inner.leases {
            if held.free > Amount::ZERO && is_wanted(held) {
                let amount = std::mem::take(&mut held.free);
                idle.push(Idle { lease: *lease, amount, counters: held.counters.clone() });
            }
        }
        for one in &idle {
            // It stays reserved in the store until it is given back there.
            take_free(&mut inner.free, &one.counters, one.amount);
        }
        idle
    }

    /// A lease has ended.
    pub(crate) fn end(&self, lease: LeaseName) {
        let mut inner = self.inner();
        inner.changes = inner.changes.wrapping_add(1);
        let Some(held) = inner.leases.remove(&lease) else { return };
        take_free(&mut inner.free, &held.counters, held.free);
        for counter in &held.counters {
            inner.balances.remove(counter);
        }
    }

    /// What is set aside and free of a counter.
    pub(crate) fn free(&self, counter: &Counter) -> Amount {
        self.inner().free.get(counter).copied().unwrap_or_default()
    }
}

impl Inner {
    fn draw(&mut self, lease: LeaseName, amount: Amount, now_ns: i64) -> Option<u32> {
        let held = self.leases.get_mut(&lease)?;
        let free = held.free.checked_sub(amount).filter(|free| *free >= Amount::ZERO)?;
        let number = held.drawn.checked_add(1)?;
        (held.free, held.drawn, held.drawn_at_ns) = (free, number, now_ns);
        take_free(&mut self.free, &held.counters, amount);
        Some(number)
    }

    fn standing(&self, counter: &Counter) -> Option<Standing> {
        let balance = self.balances.get(counter)?;
        let free = self.free.get(counter).copied().unwrap_or_default();
        Some(Standing {
            posted: balance.posted,
            reserved: balance.reserved.checked_sub(free).unwrap_or(balance.reserved),
        })
    }
}

fn take_free(free_of: &mut HashMap<Counter, Amount, RandomState>, counters: &[Counter], amount: Amount) {
    for counter in counters {
        let Some(free) = free_of.get_mut(counter) else { continue };
        *free = free.checked_sub(amount).unwrap_or_default();
        if free.is_zero() {
            free_of.remove(counter);
        }
    }
}
