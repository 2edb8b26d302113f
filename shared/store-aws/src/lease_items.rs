//! The items of leases, and the changes that each step of a lease's life makes of them.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::types::AttributeValue;
use recoup_money::Amount;
use recoup_store::{CounterKey, Grant, Lease, LeaseName, Room, StoreError};

use crate::change::{Change, Item, binary, damaged, item_key, number, read_number, read_text, text};
use crate::counters;
use crate::keys;
use crate::numbers::unpacked;
use crate::packed::{pack_posted, unpack_posted};
use crate::table::TRANSACTION_CHANGES_MAX;

/// Reservations of one page: what is settled of them keeps below a write unit.
const PAGE_NUMBERS: u32 = 64;
/// How long pages are kept after their lease's minute, seconds: 35 days. A stream brings a record for one day.
const PAGES_KEPT_S: u64 = 35 * 24 * 3_600;
/// Digits of a grant, as of a counter's change.
const GRANT_DIGITS_MAX: u32 = 26;

/// A lease as its item has it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Held {
    pub(crate) granted: Amount,
    pub(crate) free: Amount,
    /// The number of the reservation that was drawn last.
    pub(crate) drawn: u32,
    pub(crate) counters: Vec<CounterKey>,
}

/// Reservations of one page of a lease that end together, with what each had.
#[derive(Clone, Debug)]
pub(crate) struct Ending {
    pub(crate) lease: LeaseName,
    pub(crate) page: u32,
    pub(crate) numbers: BTreeMap<u32, Amount>,
}

impl Held {
    pub(crate) fn read(item: &Item) -> Result<Self, StoreError> {
        let amount = |name: &str| {
            let pico = read_number(item, name).ok_or_else(|| damaged(item, format!("it has no number `{name}`")));
            pico.map(Amount::from_pico)
        };
        let counters = unpacked(item, unpack_posted)?.into_keys().collect();
        Ok(Self { granted: amount("g")?, free: amount("f")?, drawn: drawn_of(item)?, counters })
    }

    pub(crate) fn lease(self, name: LeaseName) -> Lease {
        Lease { name, counters: self.counters, granted: self.granted, free: self.free }
    }
}

/// The number of the reservation that was drawn last.
pub(crate) fn drawn_of(item: &Item) -> Result<u32, StoreError> {
    read_number(item, "n").ok_or_else(|| damaged(item, "its reservations have no numbers left"))
}

/// The name of the draw that made an item what it is.
pub(crate) fn is_drawn_by(item: &Item, name: &str) -> bool {
    read_text(item, "w") == Some(name)
}

pub(crate) fn lease_key(name: LeaseName) -> Item {
    item_key(&keys::lease(name), keys::LEASE)
}

pub(crate) const fn page_of(number: u32) -> u32 {
    number / PAGE_NUMBERS
}

/// The numbers that a page says are settled.
pub(crate) fn settled_of(item: &Item) -> BTreeSet<u32> {
    let numbers = item.get("s").and_then(|numbers| numbers.as_ns().ok());
    numbers.into_iter().flatten().filter_map(|number| number.parse().ok()).collect()
}

/// The rooms of a grant, each counter once: of two limits the lower one holds.
pub(crate) fn rooms_of(grant: &Grant) -> Vec<Room> {
    let mut limits: BTreeMap<&CounterKey, Option<Amount>> = BTreeMap::new();
    for Room { counter, limit } in &grant.rooms {
        let standing = limits.entry(counter).or_insert(*limit);
        *standing = [*standing, *limit].into_iter().flatten().min();
    }
    limits.into_iter().map(|(counter, limit)| Room { counter: counter.clone(), limit }).collect()
}

/// What is wrong with the amounts of a grant, in words.
pub(crate) fn check_amounts(grant: &Grant) -> Result<(), String> {
    let fits = |amount: Amount| amount >= Amount::ZERO && amount.pico().unsigned_abs() < 10_u128.pow(GRANT_DIGITS_MAX);
    if !fits(grant.amount) || !fits(grant.drawn) || grant.drawn > grant.amount {
        return Err(format!("{} with {} drawn of it is no amount to grant", grant.amount, grant.drawn));
    }
    Ok(())
}

/// Adds a grant to its lease, if that is as it was read; `w` names the change.
pub(crate) fn enlarge(grant: &Grant, held: Option<&Held>, w: &str) -> Vec<Change> {
    let free = grant.amount.checked_sub(grant.drawn).unwrap_or_default();
    let add = |expression: &str| {
        Change::update(lease_key(grant.lease), expression)
            .value(":g", number(grant.amount.pico()))
            .value(":f", number(free.pico()))
            .value(":one", number(1))
            .value(":w", text(w))
    };
    let Some(held) = held else {
        let counters: BTreeSet<&CounterKey> = grant.rooms.iter().map(|room| &room.counter).collect();
        let made = add("SET b = :b, w = :w ADD g :g, f :f, n :one").when("attribute_not_exists(pk)");
        return vec![made.value(":b", pack_counters(counters)), end_put(grant.lease)];
    };
    let added = add("SET w = :w ADD g :g, f :f, n :one");
    vec![added.when("n = :n").value(":n", number(held.drawn))]
}

/// Takes an amount of what is free; the answer has the number.
pub(crate) fn draw(lease: LeaseName, amount: Amount, w: &str) -> Change {
    Change::update(lease_key(lease), "SET f = f - :a, n = n + :one, w = :w")
        .when("f >= :a AND w <> :w")
        .value(":a", number(amount.pico()))
        .value(":one", number(1))
        .value(":w", text(w))
}

/// Gives back some of what is free, here and at every counter.
pub(crate) fn give_back(lease: LeaseName, held: &Held, amount: Amount) -> Result<Vec<Change>, String> {
    let shrunk = Change::update(lease_key(lease), "SET f = f - :a, g = g - :a");
    let mut changes = vec![shrunk.when("f >= :a").value(":a", number(amount.pico()))];
    changes.extend(released(&BTreeMap::from_iter(held.counters.iter().map(|key| (key.clone(), amount))))?);
    Ok(changes)
}

/// Ends leases as they were read, with their places among those of their minutes, and every counter once.
pub(crate) fn end(leases: &BTreeMap<LeaseName, Held>) -> Result<Vec<Change>, String> {
    let mut changes = Vec::new();
    let mut of_counters: BTreeMap<CounterKey, Amount> = BTreeMap::new();
    for (lease, held) in leases {
        let gone = Change::delete(lease_key(*lease)).when("g = :g").value(":g", number(held.granted.pico()));
        changes.extend([gone, Change::delete(end_key(*lease))]);
        for key in &held.counters {
            let of_counter = of_counters.entry(key.clone()).or_default();
            *of_counter = of_counter.checked_add(held.granted).ok_or_else(overflow)?;
        }
    }
    changes.extend(released(&of_counters)?);
    Ok(changes)
}

/// As many of some leases as end in one transaction, at least one; the others are left.
pub(crate) fn ended_together(leases: &mut BTreeMap<LeaseName, Held>) -> BTreeMap<LeaseName, Held> {
    let mut together = BTreeMap::new();
    let mut counters: BTreeSet<CounterKey> = BTreeSet::new();
    while let Some((lease, held)) = leases.pop_first() {
        counters.extend(held.counters.iter().cloned());
        let items = together.len().saturating_add(1).saturating_mul(2).saturating_add(counters.len());
        if items > TRANSACTION_CHANGES_MAX && !together.is_empty() {
            leases.insert(lease, held);
            break;
        }
        together.insert(lease, held);
    }
    together
}

/// Moves a reservation of a lease that stands to another one, as that was read.
pub(crate) fn extend(
    ending: &Ending,
    held: &Held,
    (to, to_held): (LeaseName, Option<&Held>),
    w: &str,
) -> Result<Vec<Change>, String> {
    let amount = sum_of(ending)?;
    let counters = held.counters.iter().map(|counter| Room { counter: counter.clone(), limit: None }).collect();
    let mut changes = vec![page_update(ending), shrink(ending.lease, amount)];
    // What the counters have reserved stays as it is: it belongs to the other lease now.
    changes.extend(enlarge(&Grant { lease: to, rooms: counters, amount, drawn: amount }, to_held, w));
    Ok(changes)
}

/// Ends reservations of leases that stand: their pages, the leases, and every counter once.
pub(crate) fn settle(endings: &[Ending], held: &BTreeMap<LeaseName, Held>) -> Result<Vec<Change>, String> {
    let (mut changes, of_counters) = settle_leases(endings, held)?;
    changes.extend(released(&of_counters)?);
    Ok(changes)
}

/// Ends reservations of leases that stand, apart from the counters: the pages and the leases, and what each counter gets back.
pub(crate) fn settle_leases(
    endings: &[Ending],
    held: &BTreeMap<LeaseName, Held>,
) -> Result<(Vec<Change>, BTreeMap<CounterKey, Amount>), String> {
    let mut of_leases: BTreeMap<LeaseName, Amount> = BTreeMap::new();
    let mut of_counters: BTreeMap<CounterKey, Amount> = BTreeMap::new();
    for ending in endings {
        let sum = of_leases.entry(ending.lease).or_default();
        *sum = sum.checked_add(sum_of(ending)?).ok_or_else(overflow)?;
    }
    for (lease, sum) in &mut of_leases {
        let Some(held) = held.get(lease) else { continue };
        // More than it has was never drawn from it.
        *sum = (*sum).min(held.granted);
        for key in &held.counters {
            let of_counter = of_counters.entry(key.clone()).or_default();
            *of_counter = of_counter.checked_add(*sum).ok_or_else(overflow)?;
        }
    }
    let mut changes: Vec<Change> = endings.iter().map(page_update).collect();
    changes.extend(of_leases.into_iter().map(|(lease, sum)| shrink(lease, sum)));
    Ok((changes, of_counters))
}

/// How many items settling changes at most.
pub(crate) fn items_of(endings: &[Ending], held: &BTreeMap<LeaseName, Held>) -> usize {
    items_with(endings, held, &BTreeSet::new())
}

/// The same together with these counters.
pub(crate) fn items_with(
    endings: &[Ending],
    held: &BTreeMap<LeaseName, Held>,
    counters: &BTreeSet<&CounterKey>,
) -> usize {
    let leases: BTreeSet<LeaseName> = endings.iter().map(|ending| ending.lease).collect();
    let of_leases = leases.iter().filter_map(|lease| held.get(lease)).flat_map(|held| &held.counters);
    let counters = of_leases.chain(counters.iter().copied()).collect::<BTreeSet<_>>().len();
    endings.len().saturating_add(leases.len()).saturating_add(counters)
}

fn overflow() -> String {
    "what is reserved does not fit".to_owned()
}

fn sum_of(ending: &Ending) -> Result<Amount, String> {
    Amount::checked_sum(ending.numbers.values().copied()).ok_or_else(overflow)
}

fn released(amounts: &BTreeMap<CounterKey, Amount>) -> Result<Vec<Change>, String> {
    let release = |(key, amount): (&CounterKey, &Amount)| {
        let delta = amount.checked_neg().ok_or_else(overflow)?;
        counters::reserve(key, delta)
    };
    amounts.iter().filter(|(_, amount)| !amount.is_zero()).map(release).collect()
}

/// A lease without something that was drawn from it.
fn shrink(lease: LeaseName, amount: Amount) -> Change {
    let shrunk = Change::update(lease_key(lease), "SET g = g - :a");
    shrunk.when("g >= :a").value(":a", number(amount.pico()))
}

/// Marks reservations as settled, if none of them is.
fn page_update(ending: &Ending) -> Change {
    let key = item_key(&keys::lease(ending.lease), &keys::settled(ending.page));
    let numbers: Vec<String> = ending.numbers.keys().map(u32::to_string).collect();
    let condition: Vec<String> = numbers.iter().map(|number| format!("NOT contains(s, :n{number})")).collect();
    let expiry = u64::from(ending.lease.ends_minute).saturating_mul(60).saturating_add(PAGES_KEPT_S);
    let marked = Change::update(key, "SET x = :x ADD s :s").when(condition.join(" AND ")).value(":x", number(expiry));
    let named = |change: Change, number: &u32| change.value(&format!(":n{number}"), self::number(number));
    ending.numbers.keys().fold(marked.value(":s", AttributeValue::Ns(numbers)), named)
}

fn end_key(lease: LeaseName) -> Item {
    item_key(&keys::ending(lease.ends_minute), &keys::fingerprint(lease.id))
}

fn end_put(lease: LeaseName) -> Change {
    Change::put(end_key(lease))
}

fn pack_counters(counters: BTreeSet<&CounterKey>) -> AttributeValue {
    let named = counters.into_iter().map(|key| (key.clone(), Amount::ZERO)).collect();
    binary(pack_posted(&named))
}
