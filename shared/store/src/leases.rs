//! Leases: room of budgets that is set aside before it is spent, at every counter of a chain at once.
//!
//! What is committed of a counter is what is posted and what is reserved; the sum of what leases have of a counter is what is
//! reserved of it. Reservations are drawn from a lease and settled one by one, each once; what is left when a lease ends
//! is given back. A lease ends at a whole minute, which is part of its name, so that those
//! that ended are found by the clock.

use async_trait::async_trait;
use recoup_money::Amount;

use crate::error::StoreError;
use crate::live::{BlockName, CounterKey};

/// Counters of one chain: every scope with its kinds of period, and a period's end within reach.
pub const CHAIN_COUNTERS_MAX: usize = 40;

/// Names a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseName {
    /// When it ends, minutes since 1970-01-01T00:00Z.
    pub ends_minute: u32,
    /// Which of those.
    pub id: u64,
}

/// A counter as it stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    /// What is posted.
    pub posted: Amount,
    /// What leases have of it.
    pub reserved: Amount,
}

/// A counter that room is taken of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// Which.
    pub counter: CounterKey,
    /// What is posted and reserved of it may not exceed this; `None`: whatever it comes to.
    pub limit: Option<Amount>,
}

/// Room to be added to a lease, which is made where there is none. Its rooms name the same counters each time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The lease.
    pub lease: LeaseName,
    /// The counters of its chain.
    pub rooms: Vec<Room>,
    /// How much of each counter, not negative.
    pub amount: Amount,
    /// How much of that is drawn at once; the rest is free for others to draw.
    pub drawn: Amount,
}

/// What became of a grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Granted {
    /// All of it; the number of the reservation that was drawn.
    Done(u32),
    /// Nothing: these counters have not that much room.
    Full(Vec<CounterKey>),
}

/// The end of a reservation: its amount leaves the lease and what is reserved. Done once for each (lease, number).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Settlement {
    /// The lease that it was drawn from.
    pub lease: LeaseName,
    /// Its number.
    pub number: u32,
    /// What it had reserved.
    pub amount: Amount,
}

/// A lease as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Its name.
    pub name: LeaseName,
    /// The counters of its chain.
    pub counters: Vec<CounterKey>,
    /// What it has of each of them.
    pub granted: Amount,
    /// How much of that nobody has drawn.
    pub free: Amount,
}

/// Leases and what is committed.
#[async_trait]
pub trait Leases: Send + Sync {
    /// Counters as they stand, in the order asked for; an unknown one is empty.
    async fn balances(&self, counters: &[CounterKey]) -> Result<Vec<Balance>, StoreError>;
    /// Takes room at every counter, or at none. Where others enlarged the lease at the same time, what is to be drawn may
    /// be drawn from that, and nothing more is taken.
    async fn grant(&self, grant: Grant) -> Result<Granted, StoreError>;
    /// Draws from what is free and gives the number of the reservation; `None`: not that much is free, or there is no such lease.
    async fn draw(&self, lease: LeaseName, amount: Amount) -> Result<Option<u32>, StoreError>;
    /// Gives back what nobody has drawn. The caller knows that it is free: it drew from the lease in memory, or it draws
    /// it first.
    async fn give_back(&self, lease: LeaseName, amount: Amount) -> Result<(), StoreError>;
    /// Ends reservations: what they had is no longer reserved. Whatever is spent of them has to be posted before. One that is
    /// settled already, or whose lease has ended, changes nothing.
    async fn settle(&self, settlements: &[Settlement]) -> Result<(), StoreError>;
    /// A lease; `None`: there is none, or it has ended.
    async fn lease(&self, name: LeaseName) -> Result<Option<Lease>, StoreError>;
    /// Leases that end at this minute, at most `limit`.
    async fn ending(&self, minute: u32, limit: usize) -> Result<Vec<LeaseName>, StoreError>;
    /// Ends leases: whatever they still have is given back. What ended already is fine. Many end in one transaction, as many
    /// as the store takes at once; after an error some have ended and the others stand.
    async fn end(&self, leases: &[LeaseName]) -> Result<(), StoreError>;
    /// Moves a reservation to a lease of the same chain that nobody draws from, and gives its number there; `None`: it is
    /// settled, or its lease has ended.
    async fn extend(&self, reservation: Settlement, to: LeaseName) -> Result<Option<u32>, StoreError>;
    /// Blocks of which some events name reservations are posted, and these settled; with the instant at which the first of
    /// its events was recorded. A store that knows what is counted in another way does nothing.
    async fn note_counted(&self, blocks: &[(BlockName, i64)]) -> Result<(), StoreError> {
        let _ = blocks;
        Ok(())
    }
    /// An instant before which everything that was recorded and names a reservation is counted, nanoseconds since 1970-01-01T00:00:00Z, where the
    /// store knows; asking brings it on. `None`: not yet, or whoever counts knows and not the store.
    async fn counted_through(&self, now_ns: i64) -> Result<Option<i64>, StoreError> {
        let _ = now_ns;
        Ok(None)
    }
}
