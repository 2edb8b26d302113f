//! Counters of budgets: one item each, so that "is there room" is one condition on one attribute.
//!
//! An item: `c` what is posted, `m` what is committed, which is posted and reserved (whole picounits), `x` when it expires.
//! A post adds to both in the transaction of its traces, a lease to `m` alone in its own, so that `m - c` is at every instant
//! what leases have of the counter. Spread over several items neither would be one condition. What that costs: no unit more
//! than a shard did (two write units per counter and transaction), but one item takes 1,000 write units a second, so
//! that a counter takes 500 transactions a second at best: posts of 64 traces each, grants, settlements of many.
//!
//! A counter expires [`KEPT_S`] after it was changed last: no event is accepted for its period by then (EVT-7), and a task
//! that has been silent for longer begins anew.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use recoup_money::Amount;
use recoup_store::{Balance, CounterKey, Room, StoreError};

use crate::change::{Change, Item, damaged, item_key, number, read_number};
use crate::keys::{self, ItemKey, SUM};
use crate::open::AwsStore;

/// Digits of a change of a counter, so that a sum of very many of them keeps below 28.
const DELTA_DIGITS_MAX: u32 = 26;
/// Digits that a limit is compared by; a sum has fewer.
const LIMIT_DIGITS_MAX: u32 = 27;
/// How long a counter is kept after its last change, seconds: 500 days.
const KEPT_S: u64 = 500 * 24 * 3_600;

impl AwsStore {
    /// Counters as they stand, in the order asked for; one that was never counted is empty.
    pub(crate) async fn balances_of(
        &self,
        doing: &'static str,
        counters: &[CounterKey],
    ) -> Result<Vec<Balance>, StoreError> {
        let wanted: BTreeSet<&CounterKey> = counters.iter().collect();
        // A name that is too long for a key was never counted.
        let named: Vec<(&CounterKey, ItemKey)> =
            wanted.into_iter().filter_map(|key| Some((key, item_of(key)?))).collect();
        let keys: Vec<ItemKey> = named.iter().map(|(_, key)| key.clone()).collect();
        let items = self.books.get_all(doing, &keys).await?;
        let mut balances: BTreeMap<&CounterKey, Balance> = BTreeMap::new();
        for ((key, _), item) in named.into_iter().zip(items) {
            if let Some(item) = item {
                balances.insert(key, balance(&item)?);
            }
        }
        Ok(counters.iter().map(|key| balances.get(key).copied().unwrap_or_default()).collect())
    }
}

fn item_of(key: &CounterKey) -> Option<ItemKey> {
    Some((keys::counter(key)?, SUM.to_owned()))
}

fn balance(item: &Item) -> Result<Balance, StoreError> {
    let read = |name: &str| -> Result<i128, StoreError> {
        match item.get(name) {
            None => Ok(0),
            Some(_) => read_number(item, name).ok_or_else(|| damaged(item, format!("its `{name}` is no whole number"))),
        }
    };
    let (posted, committed) = (read("c")?, read("m")?);
    let reserved = committed.checked_sub(posted).ok_or_else(|| damaged(item, "what is reserved does not fit"))?;
    Ok(Balance { posted: Amount::from_pico(posted), reserved: Amount::from_pico(reserved) })
}

/// Adds to what is posted, and so to what is committed. An error is what is wrong with it, in words.
pub(crate) fn post(key: &CounterKey, delta: Amount) -> Result<Change, String> {
    Ok(update(key, "SET x = :x ADD c :d, m :d", delta)?.value(":x", number(expiry())))
}

/// Adds to what is posted, and takes from what is reserved, at once.
pub(crate) fn post_and_release(key: &CounterKey, posted: Amount, released: Amount) -> Result<Change, String> {
    let committed = posted.checked_sub(released).ok_or_else(|| "what is committed does not fit".to_owned())?;
    let change = update(key, "SET x = :x ADD c :d, m :m", posted)?;
    Ok(change.value(":m", number(committed.pico())).value(":x", number(expiry())))
}

/// Adds to what is reserved, or takes from it where it is negative.
pub(crate) fn reserve(key: &CounterKey, delta: Amount) -> Result<Change, String> {
    Ok(update(key, "SET x = :x ADD m :d", delta)?.value(":x", number(expiry())))
}

/// Takes room, if there is that much.
pub(crate) fn take(room: &Room, amount: Amount) -> Result<Change, String> {
    let change = reserve(&room.counter, amount)?;
    let Some(limit) = room.limit else { return Ok(change) };
    let bound = 10_i128.pow(LIMIT_DIGITS_MAX);
    let left = limit.pico().saturating_sub(amount.pico()).clamp(-bound, bound);
    // Nothing is committed of a counter that is not there.
    let condition = if left < 0 { "m <= :left" } else { "attribute_not_exists(m) OR m <= :left" };
    Ok(change.when(condition).value(":left", number(left)))
}

fn update(key: &CounterKey, expression: &str, delta: Amount) -> Result<Change, String> {
    let shown: String = key.scope.chars().take(100).collect();
    if delta.pico().unsigned_abs() >= 10_u128.pow(DELTA_DIGITS_MAX) {
        return Err(format!("{delta} for {shown} is more than a counter takes at once"));
    }
    let (partition, sort) = item_of(key).ok_or_else(|| format!("the name {shown}... is too long"))?;
    Ok(Change::update(item_key(&partition, &sort), expression).value(":d", number(delta.pico())))
}

fn expiry() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs().saturating_add(KEPT_S)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn room(limit: Option<i128>) -> Room {
        let counter = CounterKey { scope: "team:a".into(), period: "2026-10".into() };
        Room { counter, limit: limit.map(Amount::from_pico) }
    }

    #[test]
    fn bud_3_room_is_one_condition_on_one_attribute() {
        let condition = |limit, amount| take(&room(limit), Amount::from_pico(amount)).unwrap().condition;
        assert_eq!(condition(None, 5), None);
        assert_eq!(condition(Some(5), 5).as_deref(), Some("attribute_not_exists(m) OR m <= :left"));
        assert_eq!(condition(Some(4), 5).as_deref(), Some("m <= :left"), "an empty counter has not that much room");
        let left = |limit| take(&room(Some(limit)), Amount::from_pico(1)).unwrap().values.remove(":left").unwrap();
        assert_eq!(left(i128::MAX), number(10_i128.pow(27)));
        assert_eq!(left(i128::MIN), number(-10_i128.pow(27)));
    }

    #[test]
    fn mon_3_what_a_counter_does_not_take_is_refused_in_words() {
        let most = Amount::from_pico(10_i128.pow(26));
        assert!(reserve(&room(None).counter, most).unwrap_err().contains("more than a counter takes"));
        let long = CounterKey { scope: "x".repeat(3_000), period: "2026-10".into() };
        assert!(post(&long, Amount::ZERO).unwrap_err().contains("too long"));
    }
}
