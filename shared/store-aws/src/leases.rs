//! Leases: room of budgets that is set aside, each step in one transaction with the counters that it changes.
//!
//! A lease's item: `g` what it has of each counter, `f` how much of that nobody has drawn, `n` the number of the last
//! reservation, `b` its counters, `w` a name of the draw or grant that changed it last. Beside it lie pages of the numbers that
//! are settled (`s`, with `x` when they expire). A lease that stands is named under the minute at which it ends.
//!
//! What leases have of a counter is the sum of their `g`: every transaction keeps that, and its conditions say what it was
//! computed from. So a crash between any two calls leaves nothing to be repaired: what was drawn or granted and whose answer
//! nobody heard stays reserved until its lease ends. Settling twice finds the number in its page, ending twice finds no
//! lease. A lease itself never expires: `end` takes it away, however late.
//!
//! Whoever is in the way of others looks again and draws from what they were granted before it asks for more; after
//! [`ATTEMPTS_MAX`] attempts, some four seconds, it gives up in words.
//!
//! | method | costs, for a chain of n counters |
//! |---|---|
//! | `balances` | a read unit each |
//! | `draw` | a write unit |
//! | `grant` | a read unit; two write units for the lease and for each counter, two more where the lease is new |
//! | `settle` | a read unit per lease; two write units per page of 64 numbers, per lease and per counter, whatever number of reservations |
//! | `give_back`, `extend` | as a grant |
//! | `end` | a read unit per lease; four write units per lease and two per counter, some forty leases of a chain in one call |
//! | `ending` | a query |
//!
//! A lease takes 1,000 draws a second (one item); the reservations of a chain that end at one minute share one.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use recoup_money::Amount;
use recoup_store::leases::CHAIN_COUNTERS_MAX;
use recoup_store::{Balance, BlockName, CounterKey, Grant, Granted, Lease, LeaseName, Leases, Settlement, StoreError};

use crate::change::{Change, SORT, damaged, read_text};
use crate::counters;
use crate::keys;
use crate::lease_items::{self as items, Ending, Held, lease_key};
use crate::open::AwsStore;
use crate::table::{CONTENDED, Query, TRANSACTION_CHANGES_MAX, TransactError, pause, random_name};

const READING: &str = "read leases";
const CHANGING: &str = "change a lease";
/// Attempts at a change that others get in the way of.
const ATTEMPTS_MAX: u32 = 14;
/// Attempts of one transaction before it is looked again: the second is for one whose answer is under way.
const AT_ONCE: u32 = 2;

/// What became of an attempt.
enum Attempt {
    Done,
    /// The conditions of these changes did not hold.
    Refused(Vec<usize>),
    Contended,
}

/// Reservations that end with a post.
#[derive(Default)]
pub(crate) struct Settling {
    pub(crate) endings: Vec<Ending>,
    pub(crate) held: BTreeMap<LeaseName, Held>,
    pub(crate) left: BTreeSet<Settlement>,
}

#[async_trait]
impl Leases for AwsStore {
    async fn balances(&self, counters: &[CounterKey]) -> Result<Vec<Balance>, StoreError> {
        self.balances_of(READING, counters).await
    }

    async fn grant(&self, grant: Grant) -> Result<Granted, StoreError> {
        let rooms = items::rooms_of(&grant);
        if rooms.is_empty() || rooms.len() > CHAIN_COUNTERS_MAX {
            return Err(wrong(format!("{} counters are not 1 to {CHAIN_COUNTERS_MAX}, what a chain has", rooms.len())));
        }
        items::check_amounts(&grant).map_err(wrong)?;
        let takes = rooms.iter().map(|room| counters::take(room, grant.amount));
        let takes: Vec<Change> = takes.collect::<Result<_, _>>().map_err(wrong)?;
        let name = random_name().map_err(wrong)?;
        for attempt in 1..=ATTEMPTS_MAX {
            let held = self.held(grant.lease).await?;
            if attempt > 1
                && let Some(number) = self.draw_granted(&grant, held.as_ref()).await?
            {
                return Ok(Granted::Done(number));
            }
            let mut changes = takes.clone();
            changes.extend(items::enlarge(&grant, held.as_ref(), &name));
            match self.attempt(&changes).await? {
                Attempt::Done => return next_number(held.map_or(0, |held| held.drawn)).map(Granted::Done),
                Attempt::Refused(at) => {
                    let full: Vec<CounterKey> =
                        at.into_iter().filter_map(|at| rooms.get(at)).map(|room| room.counter.clone()).collect();
                    if !full.is_empty() {
                        return Ok(Granted::Full(full));
                    }
                }
                Attempt::Contended => {}
            }
            pause(attempt).await;
        }
        Err(contended())
    }

    async fn draw(&self, lease: LeaseName, amount: Amount) -> Result<Option<u32>, StoreError> {
        let name = random_name().map_err(wrong)?;
        match self.books.update(CHANGING, &items::draw(lease, amount, &name)).await? {
            Ok(item) => items::drawn_of(&item).map(Some),
            // Our own draw whose answer was lost, and which the SDK repeated.
            Err(Some(standing)) if items::is_drawn_by(&standing, &name) => items::drawn_of(&standing).map(Some),
            Err(_) => Ok(None),
        }
    }

    async fn give_back(&self, lease: LeaseName, amount: Amount) -> Result<(), StoreError> {
        for attempt in 1..=ATTEMPTS_MAX {
            let Some(held) = self.held(lease).await? else { return Ok(()) };
            let taken = amount.min(held.free);
            if taken <= Amount::ZERO {
                return Ok(());
            }
            let changes = items::give_back(lease, &held, taken).map_err(wrong)?;
            if matches!(self.attempt(&changes).await?, Attempt::Done) {
                return Ok(());
            }
            pause(attempt).await;
        }
        Err(contended())
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<(), StoreError> {
        let endings = endings_of(settlements);
        let held = self.held_all(&endings).await?;
        let mut group: Vec<Ending> = Vec::new();
        for ending in endings.into_iter().filter(|ending| held.contains_key(&ending.lease)) {
            group.push(ending);
            if items::items_of(&group, &held) > TRANSACTION_CHANGES_MAX
                && let Some(last) = group.pop()
            {
                self.settle_group(std::mem::replace(&mut group, vec![last]), &held).await?;
            }
        }
        self.settle_group(group, &held).await
    }

    async fn lease(&self, name: LeaseName) -> Result<Option<Lease>, StoreError> {
        Ok(self.held(name).await?.map(|held| held.lease(name)))
    }

    async fn ending(&self, minute: u32, limit: usize) -> Result<Vec<LeaseName>, StoreError> {
        let mut query = Query { partition: keys::ending(minute), ..Query::default() };
        let mut found = Vec::new();
        while found.len() < limit {
            query.limit = Some(limit.saturating_sub(found.len()));
            let page = self.books.query(READING, &query).await?;
            for item in &page.items {
                let id = read_text(item, SORT).and_then(keys::parse_fingerprint);
                let id = id.ok_or_else(|| damaged(item, "it names no lease"))?;
                found.push(LeaseName { ends_minute: minute, id });
            }
            match page.next {
                Some(next) => query.from = Some(next),
                None => break,
            }
        }
        Ok(found)
    }

    async fn end(&self, leases: &[LeaseName]) -> Result<(), StoreError> {
        let mut left = self.held_of(leases.iter().copied().collect()).await?;
        while !left.is_empty() {
            let together = items::ended_together(&mut left);
            self.end_group(together).await?;
        }
        Ok(())
    }

    async fn extend(&self, reservation: Settlement, to: LeaseName) -> Result<Option<u32>, StoreError> {
        let Settlement { lease, number, amount } = reservation;
        let ending = Ending { lease, page: items::page_of(number), numbers: BTreeMap::from([(number, amount)]) };
        let name = random_name().map_err(wrong)?;
        for attempt in 1..=ATTEMPTS_MAX {
            let [from_item, to_item] = self.items_of([lease, to]).await?;
            if attempt > 1
                && let Some(item) = to_item.as_ref().filter(|item| items::is_drawn_by(item, &name))
            {
                // Done, by an attempt whose answer was lost.
                return items::drawn_of(item).map(Some);
            }
            let Some(held) = from_item.as_ref().map(Held::read).transpose()? else { return Ok(None) };
            if held.granted < amount || (attempt > 1 && self.unsettled(vec![ending.clone()]).await?.is_empty()) {
                return Ok(None);
            }
            let to_held = to_item.as_ref().map(Held::read).transpose()?;
            let changes = items::extend(&ending, &held, (to, to_held.as_ref()), &name).map_err(wrong)?;
            if matches!(self.attempt(&changes).await?, Attempt::Done) {
                return next_number(to_held.map_or(0, |held| held.drawn)).map(Some);
            }
            pause(attempt).await;
        }
        Err(contended())
    }

    async fn note_counted(&self, blocks: &[(BlockName, i64)]) -> Result<(), StoreError> {
        self.forget_uncounted(blocks).await
    }

    async fn counted_through(&self, now_ns: i64) -> Result<Option<i64>, StoreError> {
        self.counted_before(now_ns).await.map(Some)
    }
}

impl AwsStore {
    async fn held(&self, lease: LeaseName) -> Result<Option<Held>, StoreError> {
        self.books.get(READING, &lease_key(lease)).await?.as_ref().map(Held::read).transpose()
    }

    async fn items_of<const N: usize>(
        &self,
        leases: [LeaseName; N],
    ) -> Result<[Option<crate::change::Item>; N], StoreError> {
        let keys = leases.map(|lease| (keys::lease(lease), keys::LEASE.to_owned()));
        let mut found = self.books.get_all(READING, &keys).await?.into_iter();
        Ok(leases.map(|_| found.next().flatten()))
    }

    /// The leases of some reservations, those that stand.
    async fn held_all(&self, endings: &[Ending]) -> Result<BTreeMap<LeaseName, Held>, StoreError> {
        self.held_of(endings.iter().map(|ending| ending.lease).collect()).await
    }

    /// Those of some leases that stand.
    async fn held_of(&self, leases: BTreeSet<LeaseName>) -> Result<BTreeMap<LeaseName, Held>, StoreError> {
        let keys: Vec<keys::ItemKey> =
            leases.iter().map(|lease| (keys::lease(*lease), keys::LEASE.to_owned())).collect();
        let items = self.books.get_all(READING, &keys).await?;
        let standing = leases.into_iter().zip(items).filter_map(|(lease, item)| Some((lease, item?)));
        standing.map(|(lease, item)| Ok((lease, Held::read(&item)?))).collect()
    }

    /// Of some reservations those that one transaction takes beside a post that changes these counters and `items` more
    /// items, and those that are left. What is settled, or whose lease has ended, is neither.
    pub(crate) async fn settling(
        &self,
        settlements: &BTreeSet<Settlement>,
        (items, counters): (usize, &BTreeSet<&CounterKey>),
    ) -> Result<Settling, StoreError> {
        let mut endings = endings_of(settlements);
        let held = self.held_all(&endings).await?;
        let open = self.unsettled(endings.clone()).await?;
        for ending in &mut endings {
            ending.numbers.retain(|number, _| open.contains(&(ending.lease, *number)));
        }
        endings.retain(|ending| !ending.numbers.is_empty() && held.contains_key(&ending.lease));
        let mut settling = Settling { held, ..Settling::default() };
        for ending in endings {
            settling.endings.push(ending);
            let changed = items.saturating_add(items::items_with(&settling.endings, &settling.held, counters));
            if changed > TRANSACTION_CHANGES_MAX
                && let Some(Ending { lease, numbers, .. }) = settling.endings.pop()
            {
                let left = numbers.into_iter().map(|(number, amount)| Settlement { lease, number, amount });
                settling.left.extend(left);
            }
        }
        Ok(settling)
    }

    /// Those of some reservations that are not settled.
    async fn unsettled(&self, endings: Vec<Ending>) -> Result<BTreeSet<(LeaseName, u32)>, StoreError> {
        let keys: Vec<keys::ItemKey> =
            endings.iter().map(|ending| (keys::lease(ending.lease), keys::settled(ending.page))).collect();
        let pages = self.books.get_all(READING, &keys).await?;
        let mut open = BTreeSet::new();
        for (ending, page) in endings.into_iter().zip(pages) {
            let settled = page.as_ref().map(items::settled_of).unwrap_or_default();
            let of_page = ending.numbers.into_keys().filter(|number| !settled.contains(number));
            open.extend(of_page.map(|number| (ending.lease, number)));
        }
        Ok(open)
    }

    /// Ends leases that one transaction takes, as they were read.
    async fn end_group(&self, mut leases: BTreeMap<LeaseName, Held>) -> Result<(), StoreError> {
        for attempt in 1..=ATTEMPTS_MAX {
            let changes = items::end(&leases).map_err(wrong)?;
            if changes.is_empty() || matches!(self.attempt(&changes).await?, Attempt::Done) {
                return Ok(());
            }
            pause(attempt).await;
            // Some may have ended, of others something was settled.
            leases = self.held_of(leases.into_keys().collect()).await?;
        }
        if leases.is_empty() { Ok(()) } else { Err(contended()) }
    }

    /// Ends reservations that one transaction takes, of leases as they were read.
    async fn settle_group(&self, mut endings: Vec<Ending>, held: &BTreeMap<LeaseName, Held>) -> Result<(), StoreError> {
        let mut held = held.clone();
        for attempt in 1..=ATTEMPTS_MAX {
            if endings.is_empty() {
                return Ok(());
            }
            let changes = items::settle(&endings, &held).map_err(wrong)?;
            if matches!(self.attempt(&changes).await?, Attempt::Done) {
                return Ok(());
            }
            pause(attempt).await;
            // Some may be settled, a lease may have ended: only what is left is tried again.
            held = self.held_all(&endings).await?;
            let open = self.unsettled(endings.clone()).await?;
            for ending in &mut endings {
                ending.numbers.retain(|number, _| open.contains(&(ending.lease, *number)));
            }
            endings.retain(|ending| !ending.numbers.is_empty() && held.contains_key(&ending.lease));
        }
        if endings.is_empty() { Ok(()) } else { Err(contended()) }
    }

    /// What others were granted may be enough: then nothing more is taken.
    async fn draw_granted(&self, grant: &Grant, held: Option<&Held>) -> Result<Option<u32>, StoreError> {
        if grant.drawn <= Amount::ZERO || held.is_none_or(|held| held.free < grant.drawn) {
            return Ok(None);
        }
        self.draw(grant.lease, grant.drawn).await
    }

    async fn attempt(&self, changes: &[Change]) -> Result<Attempt, StoreError> {
        match self.books.transact_within(CHANGING, changes, AT_ONCE).await {
            Ok(()) => Ok(Attempt::Done),
            Err(TransactError::Refused(at)) => Ok(Attempt::Refused(at)),
            Err(TransactError::Contended) => Ok(Attempt::Contended),
            Err(TransactError::TooLarge(words)) => Err(wrong(words)),
            Err(TransactError::Store(error)) => Err(error),
        }
    }
}

/// Reservations by the pages of their leases.
fn endings_of<'a>(settlements: impl IntoIterator<Item = &'a Settlement>) -> Vec<Ending> {
    let mut pages: BTreeMap<(LeaseName, u32), BTreeMap<u32, Amount>> = BTreeMap::new();
    for Settlement { lease, number, amount } in settlements {
        pages.entry((*lease, items::page_of(*number))).or_default().entry(*number).or_insert(*amount);
    }
    pages.into_iter().map(|((lease, page), numbers)| Ending { lease, page, numbers }).collect()
}

fn wrong(words: String) -> StoreError {
    StoreError::unavailable(CHANGING, words)
}

fn contended() -> StoreError {
    wrong(CONTENDED.to_owned())
}

fn next_number(drawn: u32) -> Result<u32, StoreError> {
    drawn.checked_add(1).ok_or_else(|| wrong("a lease has no numbers left".to_owned()))
}
