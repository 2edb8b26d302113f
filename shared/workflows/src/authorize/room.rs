//! Room for a reservation: drawn from a lease, which is granted more while there is room.

use recoup_budgets::Counter;
use recoup_budgets::admission::{Link, Standing, Verdict, admit, slice};
use recoup_model::Digest;
use recoup_money::Amount;
use recoup_store::{Balance, CounterKey, Grant, Granted, LeaseName, Room, Settlement};

use super::{Case, MINUTE_NS};
use crate::app::App;
use crate::error::Refusal;

/// Attempts at a reservation that others take the room of in between.
const ATTEMPTS_MAX: usize = 8;

/// What settles a reservation.
pub(crate) struct Held(pub(crate) Settlement);

/// What became of a reservation.
pub(crate) enum Reserved {
    /// It is held; how the links stood just before.
    Held(Held, Vec<Standing>),
    /// It is held although the link with this number has not that much room: the work is critical.
    Beyond(Held, usize, Vec<Standing>),
    /// The link with this number has not that much room.
    Full(usize, Vec<Standing>),
    /// The minute of its lease has passed: nobody would end it.
    Late,
}

fn key(counter: &Counter) -> CounterKey {
    CounterKey { scope: counter.scope.clone(), period: counter.period.clone() }
}

fn counter(key: CounterKey) -> Counter {
    Counter { scope: key.scope, period: key.period }
}

/// The id of the leases of a chain. `nonce` keeps those of a process apart from those of all others; where processes share a
/// lease it is the same for all.
pub(super) fn lease_of(links: &[Link], nonce: u64) -> u64 {
    let chain: String = links.iter().map(|link| format!("{}\n{}\n", link.counter.scope, link.counter.period)).collect();
    number(&format!("{nonce:016x}\n{chain}"))
}

/// The lease that reservations of another one are moved to: nobody draws from it.
pub(crate) fn extended_lease(lease: LeaseName, ends_minute: u32) -> LeaseName {
    LeaseName { ends_minute, id: number(&format!("extended {:016x} {}", lease.id, lease.ends_minute)) }
}

/// The lease of what critical work is given beyond limits. Its room is granted for one reservation at a time, so that nobody
/// else draws what no limit holds back.
fn beyond_lease(lease: LeaseName) -> LeaseName {
    LeaseName { id: number(&format!("beyond {:016x}", lease.id)), ..lease }
}

fn number(text: &str) -> u64 {
    Digest::of(text.as_bytes()).0.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

impl App {
    /// How the links stand, without what is set aside and free.
    pub(crate) async fn standings(&self, case: &Case) -> Result<Vec<Standing>, Refusal> {
        if self.sharing {
            return Box::pin(self.shared_standings(case)).await;
        }
        let counters = || case.chain.links.iter().map(|link| &link.counter);
        match self.desk.standings(counters()) {
            Ok(standings) => Ok(standings),
            Err(missing) => Box::pin(self.standings_after(missing, case)).await,
        }
    }

    /// The same where some have to be read first.
    async fn standings_after(&self, mut missing: Vec<Counter>, case: &Case) -> Result<Vec<Standing>, Refusal> {
        let counters = || case.chain.links.iter().map(|link| &link.counter);
        for _ in 0..ATTEMPTS_MAX {
            let changes = self.desk.changes();
            let balances = self.balances_of(&missing).await?;
            self.desk.remember(missing.into_iter().zip(balances), changes);
            missing = match self.desk.standings(counters()) {
                Ok(standings) => return Ok(standings),
                Err(missing) => missing,
            };
        }
        // Others keep changing them: as they were read, with all that is free still counted.
        let all: Vec<Counter> = counters().cloned().collect();
        Ok(self.balances_of(&all).await?.into_iter().map(standing).collect())
    }

    async fn balances_of(&self, counters: &[Counter]) -> Result<Vec<Balance>, Refusal> {
        let keys: Vec<CounterKey> = counters.iter().map(key).collect();
        Ok(self.ports.leases.balances(&keys).await?)
    }

    async fn shared_standings(&self, case: &Case) -> Result<Vec<Standing>, Refusal> {
        let counters: Vec<Counter> = case.chain.links.iter().map(|link| link.counter.clone()).collect();
        // The lease after the balances: what is granted in between is then free and not reserved, which a draw finds out;
        // the other way round it would be a denial while there is room.
        let balances = self.balances_of(&counters).await?;
        let lease = self.ports.leases.lease(case.lease()).await?;
        let free = lease.map(|lease| lease.free).unwrap_or_default();
        let without_free = |balance: Balance| {
            let reserved = balance.reserved.checked_sub(free).unwrap_or(balance.reserved);
            standing(Balance { reserved, ..balance })
        };
        Ok(balances.into_iter().map(without_free).collect())
    }

    /// Reserves the estimate at every link, or at none. Critical work takes what limits leave, like everybody; only where
    /// that is not enough it goes beyond, so that whatever exceeds a limit is known as such.
    pub(crate) async fn reserve(&self, case: &Case) -> Result<Reserved, Refusal> {
        let lease = case.lease();
        match self.reserve_within(case, lease).await? {
            Reserved::Full(at, standings) if case.critical => {
                Box::pin(self.reserve_beyond(case, lease, (at, standings))).await
            }
            reserved => Ok(reserved),
        }
    }

    async fn reserve_beyond(
        &self,
        case: &Case,
        lease: LeaseName,
        (at, standings): (usize, Vec<Standing>),
    ) -> Result<Reserved, Refusal> {
        let lease = beyond_lease(lease);
        let room = |link: &Link| Room { counter: key(&link.counter), limit: link.is_cap().then_some(link.limit) };
        let rooms = case.chain.links.iter().map(room).collect();
        let grant = Grant { lease, rooms, amount: case.estimate, drawn: case.estimate };
        match self.ports.leases.grant(grant).await? {
            Granted::Done(number) => {
                self.desk.forget(case.chain.links.iter().map(|link| &link.counter));
                Ok(Reserved::Beyond(held(lease, number, case.estimate), at, standings))
            }
            Granted::Full(_) => {
                let cap = case.chain.links.iter().position(Link::is_cap).unwrap_or(at);
                Ok(Reserved::Full(cap, standings))
            }
        }
    }

    /// Most find room in the lease. What seldom happens lies on the heap: the request is small without it.
    async fn reserve_within(&self, case: &Case, lease: LeaseName) -> Result<Reserved, Refusal> {
        let links = &case.chain.links;
        let admits = |standings: &[Standing]| admit(links, standings, case.estimate, false) == Verdict::Admit;
        let counters = links.iter().map(|link| &link.counter);
        if !self.sharing
            && let Some((number, standings)) =
                self.desk.draw_admitted(counters, (lease, case.estimate, case.now_ns), admits)
        {
            return Ok(Reserved::Held(held(lease, number, case.estimate), standings));
        }
        Box::pin(self.reserve_with_more(case, lease)).await
    }

    async fn reserve_with_more(&self, case: &Case, lease: LeaseName) -> Result<Reserved, Refusal> {
        let mut full = 0;
        for _ in 0..ATTEMPTS_MAX {
            let standings = self.standings(case).await?;
            if let Verdict::Deny(at) = admit(&case.chain.links, &standings, case.estimate, false) {
                return Ok(Reserved::Full(at, standings));
            }
            if let Some(number) = self.draw(lease, case).await? {
                return Ok(Reserved::Held(held(lease, number, case.estimate), standings));
            }
            // One at a time asks for more, and the others find it granted.
            let _turn = self.granting.lock().await;
            if let Some(number) = self.draw(lease, case).await? {
                return Ok(Reserved::Held(held(lease, number, case.estimate), standings));
            }
            if self.now_ns() >= i64::from(case.ends_minute).saturating_mul(MINUTE_NS) {
                return Ok(Reserved::Late);
            }
            match self
                .grant(lease, case, slice(&case.chain.links, &standings, case.estimate, self.desk.drawn(lease)))
                .await?
            {
                Granted::Done(number) if self.sharing => {
                    return Ok(Reserved::Held(held(lease, number, case.estimate), standings));
                }
                Granted::Done(_) => {
                    if let Some(number) = self.draw(lease, case).await? {
                        return Ok(Reserved::Held(held(lease, number, case.estimate), standings));
                    }
                }
                Granted::Full(counters) => {
                    let counters: Vec<Counter> = counters.into_iter().map(counter).collect();
                    full =
                        case.chain.links.iter().position(|link| counters.contains(&link.counter)).unwrap_or_default();
                    if self.sharing {
                        self.give_back_free(lease).await?;
                    }
                    self.give_back_idle(Some(&counters)).await?;
                    self.desk.forget(counters.iter());
                }
            }
        }
        Ok(Reserved::Full(full, self.standings(case).await?))
    }

    async fn draw(&self, lease: LeaseName, case: &Case) -> Result<Option<u32>, Refusal> {
        if self.sharing {
            return Ok(self.ports.leases.draw(lease, case.estimate).await?);
        }
        Ok(self.desk.draw(lease, case.estimate, case.now_ns))
    }

    /// Takes a slice of room, or where there is not that much the estimate alone.
    async fn grant(&self, lease: LeaseName, case: &Case, amount: Amount) -> Result<Granted, Refusal> {
        let room = |link: &Link| Room { counter: key(&link.counter), limit: Some(link.limit) };
        let drawn = if self.sharing { case.estimate } else { Amount::ZERO };
        let of = |amount| Grant { lease, rooms: case.chain.links.iter().map(room).collect(), amount, drawn };
        let mut taken = amount;
        let mut granted = self.ports.leases.grant(of(amount)).await?;
        if matches!(granted, Granted::Full(_)) && amount > case.estimate {
            taken = case.estimate;
            granted = self.ports.leases.grant(of(taken)).await?;
        }
        if matches!(granted, Granted::Done(_)) && !self.sharing {
            let counters: Vec<Counter> = case.chain.links.iter().map(|link| link.counter.clone()).collect();
            self.desk.add(lease, &counters, taken, case.now_ns);
        }
        Ok(granted)
    }

    /// Gives back what is free in a lease that processes share: together with what is left outside it may be enough.
    async fn give_back_free(&self, lease: LeaseName) -> Result<(), Refusal> {
        let Some(held) = self.ports.leases.lease(lease).await? else { return Ok(()) };
        Ok(self.ports.leases.give_back(lease, held.free).await?)
    }

    /// Gives back what is free in leases of this process.
    pub(crate) async fn give_back_idle(&self, wanted: Option<&[Counter]>) -> Result<(), Refusal> {
        for idle in self.desk.take_idle(self.now_ns(), wanted) {
            self.ports.leases.give_back(idle.lease, idle.amount).await?;
            self.desk.forget(idle.counters.iter());
        }
        Ok(())
    }

    /// Gives back all that is free: this process ends, and what it has set aside would count until its minute has passed.
    ///
    /// # Errors
    /// When the store fails; then it counts until then.
    pub async fn give_back_room(&self) -> Result<(), Refusal> {
        for idle in self.desk.take_idle(i64::MAX, None) {
            self.ports.leases.give_back(idle.lease, idle.amount).await?;
        }
        Ok(())
    }

    /// What was settled of a lease may have changed its counters.
    pub(crate) async fn forget_lease(&self, lease: LeaseName) -> Result<(), Refusal> {
        if let Some(lease) = self.ports.leases.lease(lease).await? {
            let counters: Vec<Counter> = lease.counters.into_iter().map(counter).collect();
            self.desk.forget(counters.iter());
        }
        Ok(())
    }
}

fn standing(balance: Balance) -> Standing {
    Standing { posted: balance.posted, reserved: balance.reserved }
}

fn held(lease: LeaseName, number: u32, amount: Amount) -> Held {
    Held(Settlement { lease, number, amount })
}
