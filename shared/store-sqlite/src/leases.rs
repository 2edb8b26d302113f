//! Leases in four tables. What is reserved of a counter is the sum of what leases have of it, kept beside them.

use async_trait::async_trait;
use recoup_money::Amount;
use recoup_store::leases::CHAIN_COUNTERS_MAX;
use recoup_store::{Balance, CounterKey, Grant, Granted, Lease, LeaseName, Leases, Settlement, StoreError};
use rusqlite::{Connection, OptionalExtension as _, params};
use tokio::sync::oneshot;

use crate::failure::failed;
use crate::live::{amount, counter};
use crate::open::SqliteStore;
use crate::together;

const READING: &str = "read leases";
const CHANGING: &str = "change a lease";

/// A change of leases, and where its answer goes.
#[derive(Debug)]
pub(crate) enum LeaseChange {
    Grant(Grant),
    Draw(LeaseName, Amount),
    GiveBack(LeaseName, Amount),
    Settle(Vec<Settlement>),
    End(Vec<LeaseName>),
    Extend(Settlement, LeaseName),
}

/// Leases that end in one transaction: it holds the writer for a few milliseconds, and costs one commit.
const ENDED_TOGETHER_MAX: usize = 100;

pub(crate) type LeaseReply = oneshot::Sender<Result<Option<Granted>, StoreError>>;

#[async_trait]
impl Leases for SqliteStore {
    async fn balances(&self, counters: &[CounterKey]) -> Result<Vec<Balance>, StoreError> {
        let counters = counters.to_vec();
        // One transaction, so that a reservation that is being settled is seen on one side only.
        let query = move |connection: &Connection| {
            let snapshot = connection.unchecked_transaction().map_err(failed(READING))?;
            counters.iter().map(|key| balance(&snapshot, key)).collect::<Result<_, _>>()
        };
        self.readers.read(READING, query).await
    }

    async fn grant(&self, grant: Grant) -> Result<Granted, StoreError> {
        let counters = grant.rooms.len();
        if counters == 0 || counters > CHAIN_COUNTERS_MAX {
            let cause = format!("{counters} counters are not 1 to {CHAIN_COUNTERS_MAX}, what a chain has");
            return Err(StoreError::unavailable(CHANGING, cause));
        }
        let granted = self.writer.change_lease(LeaseChange::Grant(grant)).await?;
        granted.ok_or_else(|| StoreError::unavailable(CHANGING, "the writer gave no answer"))
    }

    async fn draw(&self, lease: LeaseName, amount: Amount) -> Result<Option<u32>, StoreError> {
        match self.writer.change_lease(LeaseChange::Draw(lease, amount)).await? {
            Some(Granted::Done(number)) => Ok(Some(number)),
            Some(Granted::Full(_)) | None => Ok(None),
        }
    }

    async fn give_back(&self, lease: LeaseName, amount: Amount) -> Result<(), StoreError> {
        self.writer.change_lease(LeaseChange::GiveBack(lease, amount)).await.map(drop)
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<(), StoreError> {
        self.writer.change_lease(LeaseChange::Settle(settlements.to_vec())).await.map(drop)
    }

    async fn lease(&self, name: LeaseName) -> Result<Option<Lease>, StoreError> {
        self.readers
            .read(READING, move |connection| {
                let snapshot = connection.unchecked_transaction().map_err(failed(READING))?;
                let Some(held) = held(&snapshot, name)? else { return Ok(None) };
                let counters = counters_of(&snapshot, name)?;
                Ok(Some(Lease { name, counters, granted: held.granted, free: held.free }))
            })
            .await
    }

    async fn ending(&self, minute: u32, limit: usize) -> Result<Vec<LeaseName>, StoreError> {
        let query = move |connection: &Connection| {
            let mut select = connection
                .prepare_cached("SELECT id FROM leases WHERE ends_minute = ?1 ORDER BY id LIMIT ?2")
                .map_err(failed(READING))?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let rows = select
                .query_map(params![minute, limit], |row| {
                    Ok(LeaseName { ends_minute: minute, id: row.get::<_, i64>(0)?.cast_unsigned() })
                })
                .map_err(failed(READING))?;
            rows.collect::<Result<_, _>>().map_err(failed(READING))
        };
        self.readers.read(READING, query).await
    }

    async fn end(&self, leases: &[LeaseName]) -> Result<(), StoreError> {
        for together in leases.chunks(ENDED_TOGETHER_MAX) {
            self.writer.change_lease(LeaseChange::End(together.to_vec())).await?;
        }
        Ok(())
    }

    async fn extend(&self, reservation: Settlement, to: LeaseName) -> Result<Option<u32>, StoreError> {
        match self.writer.change_lease(LeaseChange::Extend(reservation, to)).await? {
            Some(Granted::Done(number)) => Ok(Some(number)),
            Some(Granted::Full(_)) | None => Ok(None),
        }
    }
}

/// Commits changes together.
pub(crate) fn commit(connection: &mut Connection, group: Vec<(LeaseChange, LeaseReply)>) {
    together::commit(connection, CHANGING, group, apply);
}

fn apply(connection: &Connection, change: &LeaseChange) -> Result<Option<Granted>, StoreError> {
    match change {
        LeaseChange::Grant(grant) => give(connection, grant).map(Some),
        LeaseChange::Draw(lease, amount) => draw(connection, *lease, *amount),
        LeaseChange::GiveBack(lease, amount) => take_back(connection, *lease, *amount).map(|()| None),
        LeaseChange::Settle(settlements) => {
            settlements.iter().try_for_each(|settlement| settle(connection, settlement)).map(|()| None)
        }
        LeaseChange::End(leases) => leases.iter().try_for_each(|lease| end(connection, *lease)).map(|()| None),
        LeaseChange::Extend(reservation, to) => extend(connection, reservation, *to),
    }
}

/// A lease without its counters.
#[derive(Clone, Copy, Default)]
struct Held {
    granted: Amount,
    free: Amount,
    drawn: u32,
}

fn reserved(connection: &Connection, key: &CounterKey) -> Result<Amount, StoreError> {
    let mut select = connection
        .prepare_cached("SELECT pico FROM reserved WHERE scope = ?1 AND period = ?2")
        .map_err(failed(READING))?;
    let pico: Option<String> =
        select.query_row(params![key.scope, key.period], |row| row.get(0)).optional().map_err(failed(READING))?;
    pico.map_or(Ok(Amount::ZERO), |text| amount(&text))
}

fn balance(connection: &Connection, key: &CounterKey) -> Result<Balance, StoreError> {
    Ok(Balance { posted: counter(connection, key)?, reserved: reserved(connection, key)? })
}

fn held(connection: &Connection, name: LeaseName) -> Result<Option<Held>, StoreError> {
    let mut select = connection
        .prepare_cached("SELECT granted, free, drawn FROM leases WHERE ends_minute = ?1 AND id = ?2")
        .map_err(failed(READING))?;
    let row = select
        .query_row(params![name.ends_minute, name.id.cast_signed()], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get(2)?))
        })
        .optional()
        .map_err(failed(READING))?;
    let Some((granted, free, drawn)) = row else { return Ok(None) };
    Ok(Some(Held { granted: amount(&granted)?, free: amount(&free)?, drawn }))
}

fn counters_of(connection: &Connection, name: LeaseName) -> Result<Vec<CounterKey>, StoreError> {
    let mut select = connection
        .prepare_cached("SELECT scope, period FROM lease_counters WHERE ends_minute = ?1 AND id = ?2")
        .map_err(failed(READING))?;
    let rows = select
        .query_map(params![name.ends_minute, name.id.cast_signed()], |row| {
            Ok(CounterKey { scope: row.get(0)?, period: row.get(1)? })
        })
        .map_err(failed(READING))?;
    rows.collect::<Result<_, _>>().map_err(failed(READING))
}

fn put_held(connection: &Connection, name: LeaseName, held: Held) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO leases (ends_minute, id, granted, free, drawn) VALUES (?1, ?2, ?3, ?4, ?5) \
             ON CONFLICT (ends_minute, id) DO UPDATE SET granted = excluded.granted, free = excluded.free, \
             drawn = excluded.drawn",
        )
        .and_then(|mut put| {
            let (granted, free) = (held.granted.pico().to_string(), held.free.pico().to_string());
            put.execute(params![name.ends_minute, name.id.cast_signed(), granted, free, held.drawn])
        })
        .map_err(failed(CHANGING))?;
    Ok(())
}

fn overflow() -> StoreError {
    StoreError::unavailable(CHANGING, "what is reserved does not fit")
}

/// Adds to what is reserved of a counter.
fn reserve(connection: &Connection, key: &CounterKey, delta: Amount) -> Result<(), StoreError> {
    let sum = reserved(connection, key)?.checked_add(delta).ok_or_else(overflow)?;
    let mut put = connection
        .prepare_cached(
            "INSERT INTO reserved (scope, period, pico) VALUES (?1, ?2, ?3) \
             ON CONFLICT (scope, period) DO UPDATE SET pico = excluded.pico",
        )
        .map_err(failed(CHANGING))?;
    put.execute(params![key.scope, key.period, sum.pico().to_string()]).map_err(failed(CHANGING))?;
    Ok(())
}

fn put_counters<'a>(
    connection: &Connection,
    lease: LeaseName,
    counters: impl Iterator<Item = &'a CounterKey>,
) -> Result<(), StoreError> {
    let mut insert = connection
        .prepare_cached("INSERT INTO lease_counters (ends_minute, id, scope, period) VALUES (?1, ?2, ?3, ?4)")
        .map_err(failed(CHANGING))?;
    for CounterKey { scope, period } in counters {
        let of = params![lease.ends_minute, lease.id.cast_signed(), scope, period];
        insert.execute(of).map_err(failed(CHANGING))?;
    }
    Ok(())
}

fn give(connection: &Connection, grant: &Grant) -> Result<Granted, StoreError> {
    let mut full = Vec::new();
    for room in &grant.rooms {
        let Some(limit) = room.limit else { continue };
        let Balance { posted, reserved } = balance(connection, &room.counter)?;
        let wanted = posted.checked_add(reserved).and_then(|sum| sum.checked_add(grant.amount));
        if wanted.is_none_or(|wanted| wanted > limit) {
            full.push(room.counter.clone());
        }
    }
    if !full.is_empty() {
        return Ok(Granted::Full(full));
    }
    let before = held(connection, grant.lease)?;
    if before.is_none() {
        put_counters(connection, grant.lease, grant.rooms.iter().map(|room| &room.counter))?;
    }
    for room in &grant.rooms {
        reserve(connection, &room.counter, grant.amount)?;
    }
    let before = before.unwrap_or_default();
    let free = grant.amount.checked_sub(grant.drawn).and_then(|free| before.free.checked_add(free));
    let after = Held {
        granted: before.granted.checked_add(grant.amount).ok_or_else(overflow)?,
        free: free.ok_or_else(overflow)?,
        drawn: before.drawn.checked_add(1).ok_or_else(overflow)?,
    };
    put_held(connection, grant.lease, after)?;
    Ok(Granted::Done(after.drawn))
}

fn draw(connection: &Connection, lease: LeaseName, amount: Amount) -> Result<Option<Granted>, StoreError> {
    let Some(held) = held(connection, lease)? else { return Ok(None) };
    if held.free < amount {
        return Ok(None);
    }
    let drawn = held.drawn.checked_add(1).ok_or_else(overflow)?;
    let free = held.free.checked_sub(amount).ok_or_else(overflow)?;
    put_held(connection, lease, Held { free, drawn, ..held })?;
    Ok(Some(Granted::Done(drawn)))
}

/// Takes something out of a lease and of what is reserved, at most what it has.
fn shrink(connection: &Connection, lease: LeaseName, held: Held, wanted: Amount) -> Result<(), StoreError> {
    let taken = wanted.min(held.granted);
    let granted = held.granted.checked_sub(taken).ok_or_else(overflow)?;
    put_held(connection, lease, Held { granted, ..held })?;
    let delta = taken.checked_neg().ok_or_else(overflow)?;
    for key in counters_of(connection, lease)? {
        reserve(connection, &key, delta)?;
    }
    Ok(())
}

fn take_back(connection: &Connection, lease: LeaseName, amount: Amount) -> Result<(), StoreError> {
    let Some(held) = held(connection, lease)? else { return Ok(()) };
    let taken = amount.min(held.free);
    let free = held.free.checked_sub(taken).ok_or_else(overflow)?;
    shrink(connection, lease, Held { free, ..held }, taken)
}

/// Ends a reservation, if nobody did and its lease stands.
fn settle(connection: &Connection, settlement: &Settlement) -> Result<(), StoreError> {
    let Settlement { lease, number, amount } = *settlement;
    let Some(held) = held(connection, lease)? else { return Ok(()) };
    if mark_settled(connection, lease, number)? { shrink(connection, lease, held, amount) } else { Ok(()) }
}

/// Whether nobody settled it before.
fn mark_settled(connection: &Connection, lease: LeaseName, number: u32) -> Result<bool, StoreError> {
    let settled = connection
        .prepare_cached("INSERT OR IGNORE INTO lease_settled (ends_minute, id, number) VALUES (?1, ?2, ?3)")
        .and_then(|mut insert| insert.execute(params![lease.ends_minute, lease.id.cast_signed(), number]))
        .map_err(failed(CHANGING))?;
    Ok(settled > 0)
}

/// What the counters have reserved stays as it is: it belongs to the other lease now.
fn extend(connection: &Connection, reservation: &Settlement, to: LeaseName) -> Result<Option<Granted>, StoreError> {
    let Settlement { lease, number, amount } = *reservation;
    let Some(from) = held(connection, lease)? else { return Ok(None) };
    if from.granted < amount || !mark_settled(connection, lease, number)? {
        return Ok(None);
    }
    let granted = from.granted.checked_sub(amount).ok_or_else(overflow)?;
    put_held(connection, lease, Held { granted, ..from })?;
    let before = held(connection, to)?;
    if before.is_none() {
        put_counters(connection, to, counters_of(connection, lease)?.iter())?;
    }
    let before = before.unwrap_or_default();
    let granted = before.granted.checked_add(amount).ok_or_else(overflow)?;
    let drawn = before.drawn.checked_add(1).ok_or_else(overflow)?;
    put_held(connection, to, Held { granted, drawn, ..before })?;
    Ok(Some(Granted::Done(drawn)))
}

fn end(connection: &Connection, lease: LeaseName) -> Result<(), StoreError> {
    let Some(held) = held(connection, lease)? else { return Ok(()) };
    shrink(connection, lease, held, held.granted)?;
    for table in ["lease_settled", "lease_counters", "leases"] {
        connection
            .prepare_cached(&format!("DELETE FROM {table} WHERE ends_minute = ?1 AND id = ?2"))
            .and_then(|mut delete| delete.execute(params![lease.ends_minute, lease.id.cast_signed()]))
            .map_err(failed(CHANGING))?;
    }
    Ok(())
}
