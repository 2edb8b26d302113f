//! What leases do beyond the port's suite: races of many callers, chains of forty counters, redelivery, lost answers, and a
//! process that ends before or after any of its calls.
#![expect(clippy::indexing_slicing, reason = "tests")]

mod emulator;
mod faulty;
mod lost;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use faulty::{Faults, NEVER};
use lost::LoseOne;
use recoup_money::Amount;
use recoup_store::conformance::event_log::{event, incoming};
use recoup_store::leases::CHAIN_COUNTERS_MAX;
use recoup_store::{
    Appended, Balance, CounterKey, EventLog as _, Grant, Granted, LeaseName, Leases as _, Live as _, PostError, Room,
    Settlement, StoreError, TraceChange,
};
use recoup_store_aws::{AwsStore, Settings};

type Item = std::collections::HashMap<String, AttributeValue>;

const MINUTE: u32 = 29_000_000;
const MINUTE_NS: i64 = 60_000_000_000;

fn pico(amount: i128) -> Amount {
    Amount::from_pico(amount)
}

fn key(scope: &str) -> CounterKey {
    CounterKey { scope: scope.into(), period: "2026-10".into() }
}

fn lease(id: u64) -> LeaseName {
    LeaseName { ends_minute: MINUTE, id }
}

fn grant(of: LeaseName, limits: &[(&str, i128)], amount: i128, drawn: i128) -> Grant {
    let rooms = limits.iter().map(|(scope, limit)| Room { counter: key(scope), limit: Some(pico(*limit)) }).collect();
    Grant { lease: of, rooms, amount: pico(amount), drawn: pico(drawn) }
}

async fn balance(store: &AwsStore, scope: &str) -> (i128, i128) {
    let Balance { posted, reserved } = store.balances(&[key(scope)]).await.expect("balances")[0];
    (posted.pico(), reserved.pico())
}

/// A store whose tables can be looked into, with a client of a process that can end.
struct World {
    client: Client,
    settings: Settings,
    store: AwsStore,
    faults: Arc<Faults>,
    faulty: AwsStore,
}

impl World {
    async fn new() -> Self {
        let config = emulator::config().await;
        let client = recoup_store_aws::dynamodb_client(&config);
        let settings = emulator::make_tables(&client).await;
        let (faults, faulty) = Faults::client(&config);
        let open = async |client| AwsStore::with_client(settings.clone(), client).await.expect("open");
        let (store, faulty) = (open(client.clone()).await, open(faulty).await);
        Self { client, settings, store, faults, faulty }
    }

    async fn items(&self, prefix: &str) -> Vec<Item> {
        let (mut items, mut from) = (Vec::new(), None);
        loop {
            let page = self.client.scan().table_name(&self.settings.books_table).consistent_read(true);
            let page = page.set_exclusive_start_key(from).send().await.expect("scan");
            items
                .extend(page.items.unwrap_or_default().into_iter().filter(|item| text(item, "pk").starts_with(prefix)));
            from = page.last_evaluated_key.filter(|key| !key.is_empty());
            if from.is_none() {
                return items;
            }
        }
    }

    /// What is reserved of every counter is what leases have of it; each lease is named under its minute.
    async fn audit(&self) {
        let mut reserved: BTreeMap<CounterKey, i128> = BTreeMap::new();
        let leases: Vec<Item> =
            self.items("@lease#").await.into_iter().filter(|item| text(item, "sk") == "lease").collect();
        for item in &leases {
            let parts: Vec<&str> = text(item, "pk").split('#').collect();
            let id = u64::from_str_radix(parts[2], 16).expect("an id");
            let name = LeaseName { ends_minute: parts[1].parse().expect("a minute"), id };
            let stands = self.store.lease(name).await.expect("lease").expect("it stands");
            assert!(stands.free >= Amount::ZERO && stands.free <= stands.granted, "{stands:?}");
            assert!(self.store.ending(name.ends_minute, 10_000).await.expect("ending").contains(&name));
            for counter in stands.counters {
                *reserved.entry(counter).or_default() += stands.granted.pico();
            }
        }
        assert_eq!(self.items("@ending#").await.len(), leases.len(), "only leases that stand end");
        for item in self.items("@counter#").await {
            let partition = text(&item, "pk");
            let (scope, period) = partition.rsplit_once('#').expect("a period");
            let scope = scope.splitn(3, '#').nth(2).expect("a scope");
            let counter = CounterKey { scope: scope.into(), period: period.into() };
            let stands = self.store.balances(std::slice::from_ref(&counter)).await.expect("balances")[0];
            let of_leases = reserved.get(&counter).copied().unwrap_or_default();
            assert_eq!(stands.reserved.pico(), of_leases, "{counter:?}");
        }
    }
}

fn text<'a>(item: &'a Item, name: &str) -> &'a str {
    item[name].as_s().expect("a text")
}

/// So many callers at once, each with a store of its own as in a process of its own.
async fn race(callers: usize) {
    let world = World::new().await;
    let config = emulator::config().await;
    let limit = i128::try_from(callers / 2).expect("small");
    let mut running = Vec::new();
    for caller in 0..callers {
        let store = AwsStore::open(world.settings.clone(), &config).await.expect("open");
        let limits = [("organisation", limit + 5), ("team:a", limit)];
        // Two leases, so that some meet at the counters alone.
        let grant = grant(lease(u64::try_from(caller % 2).expect("small")), &limits, 1, 1);
        running.push(tokio::spawn(async move { store.grant(grant).await.expect("grant") }));
    }
    let mut done = Vec::new();
    for (caller, task) in running.into_iter().enumerate() {
        match task.await.expect("a task ends") {
            Granted::Done(number) => done.push((caller % 2, number)),
            Granted::Full(counters) => assert_eq!(counters, [key("team:a")]),
        }
    }
    assert_eq!(i128::try_from(done.len()).expect("small"), limit, "all of the room, and no more");
    done.sort_unstable();
    let drawn = done.len();
    done.dedup();
    assert_eq!(done.len(), drawn, "each reservation has a number of its own");
    assert_eq!(balance(&world.store, "team:a").await, (0, limit));
    assert_eq!(balance(&world.store, "organisation").await, (0, limit));
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn bud_3_sixteen_grants_at_once_never_exceed_the_limit() {
    race(16).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn bud_3_sixty_four_grants_at_once_never_exceed_the_limit() {
    race(64).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn bud_3_a_chain_of_forty_counters_is_one_transaction() {
    let world = World::new().await;
    let store = &world.store;
    let scopes: Vec<String> = (0..CHAIN_COUNTERS_MAX).map(|at| format!("project:{at:02}")).collect();
    let limits: Vec<(&str, i128)> = scopes.iter().map(|scope| (scope.as_str(), 100)).collect();
    assert_eq!(store.grant(grant(lease(1), &limits, 60, 10)).await.expect("grant"), Granted::Done(1));
    let mut narrow = limits.clone();
    (narrow[3].1, narrow[39].1) = (99, 20);
    let full = store.grant(grant(lease(2), &narrow, 40, 40)).await.expect("grant");
    assert_eq!(full, Granted::Full(vec![key("project:03"), key("project:39")]), "every counter without room is named");
    assert_eq!(store.draw(lease(1), pico(50)).await.expect("draw"), Some(2));
    let settlement = |number, amount| Settlement { lease: lease(1), number, amount: pico(amount) };
    store.settle(&[settlement(1, 10)]).await.expect("settle");
    let to = LeaseName { ends_minute: MINUTE + 9, id: 5 };
    assert_eq!(store.extend(settlement(2, 50), to).await.expect("extend"), Some(1));
    store.end(&[lease(1)]).await.expect("end");
    for scope in [&scopes[0], &scopes[39]] {
        assert_eq!(balance(store, scope).await, (0, 50));
    }
    world.audit().await;
    store.end(&[to]).await.expect("end");
    assert_eq!(balance(store, &scopes[20]).await, (0, 0));
    let mut more = limits.clone();
    more.push(("team:a", 100));
    assert!(emulator::failure(store.grant(grant(lease(3), &more, 1, 1)).await).contains("41 counters"));
    assert!(emulator::failure(store.grant(grant(lease(3), &[], 1, 1)).await).contains("0 counters"));
    for (amount, drawn) in [(-1, 0), (1, 2), (10_i128.pow(26), 1)] {
        assert!(emulator::failure(store.grant(grant(lease(3), &limits, amount, drawn)).await).contains("no amount"));
    }
}

/// As a stream brings events again, in other groups, to several processes at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn bud_3_settlements_that_come_again_in_other_groups_settle_once() {
    const LEASES: u64 = 7;
    const DRAWS: u32 = 70;
    let world = World::new().await;
    let mut settlements = Vec::new();
    for id in 0..LEASES {
        let own = format!("team:{id}");
        let limits = [("organisation", 1_000_000), (own.as_str(), 1_000_000)];
        let amount = i128::from(DRAWS) + 1;
        // One of 70, as if 70 had drawn one each: only the lease's room counts.
        world.store.grant(grant(lease(id), &limits, amount, amount - 1)).await.expect("grant");
        settlements.extend((1..=DRAWS).map(|number| Settlement { lease: lease(id), number, amount: pico(1) }));
    }
    let store = Arc::new(AwsStore::open(world.settings.clone(), &emulator::config().await).await.expect("open"));
    let mut running = Vec::new();
    for process in 0..4_usize {
        let (store, mut own) = (Arc::clone(&store), settlements.clone());
        own.rotate_left(process * 101);
        running.push(tokio::spawn(async move {
            for part in own.chunks(90 + process * 37) {
                store.settle(part).await.expect("settle");
            }
        }));
    }
    for task in running {
        task.await.expect("a task ends");
    }
    world.store.settle(&settlements).await.expect("settle again");
    assert_eq!(balance(&world.store, "organisation").await, (0, i128::from(LEASES)), "one of each lease is left");
    assert_eq!(balance(&world.store, "team:3").await, (0, 1));
    world.audit().await;
    let pages = world.items("@lease#").await.into_iter().filter(|item| text(item, "sk").starts_with("settled#"));
    for page in pages {
        let expires: u32 = page["x"].as_n().expect("a number").parse().expect("seconds");
        assert_eq!(expires, (MINUTE + 35 * 24 * 60) * 60, "35 days after the lease");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn bud_3_leases_that_end_are_found_page_by_page() {
    let world = World::new().await;
    for id in 0..25 {
        world.store.grant(grant(lease(id * (u64::MAX / 25)), &[("team:a", 1_000)], 2, 1)).await.expect("grant");
    }
    for limit in [1, 7, 24, 25, 26, 500] {
        assert_eq!(world.store.ending(MINUTE, limit).await.expect("ending").len(), limit.min(25));
    }
    let mut ended = 0;
    loop {
        let some = world.store.ending(MINUTE, 10).await.expect("ending");
        if some.is_empty() {
            break;
        }
        for name in some {
            world.store.end(&[name]).await.expect("end");
            ended += 1;
        }
    }
    assert_eq!((ended, balance(&world.store, "team:a").await), (25, (0, 0)));
    assert!(world.items("@lease#").await.is_empty() && world.items("@ending#").await.is_empty());
}

/// A step of a lease's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    GrantNew,
    GrantMore,
    Draw,
    GiveBack,
    Settle,
    /// As the rollup settles: with what the events have cost, then what that left.
    Post,
    Extend,
    End,
}

const STEPS: [Step; 8] =
    [Step::GrantNew, Step::GrantMore, Step::Draw, Step::GiveBack, Step::Settle, Step::Post, Step::Extend, Step::End];

/// A lease with a counter of its own, and one that all share.
struct Stage {
    id: u64,
    own: String,
}

impl Stage {
    fn limits(&self) -> [(&str, i128); 2] {
        [("organisation", 1_000_000), (&self.own, 100)]
    }

    fn extended(&self) -> LeaseName {
        LeaseName { ends_minute: MINUTE + 5, id: self.id }
    }

    fn settlements(&self) -> [Settlement; 2] {
        [1, 2].map(|number| Settlement { lease: lease(self.id), number, amount: pico(10) })
    }

    /// What stands before the step: 40 of 100, two reservations of 10.
    async fn prepare(&self, store: &AwsStore, step: Step) {
        if step != Step::GrantNew {
            store.grant(grant(lease(self.id), &self.limits(), 40, 10)).await.expect("grant");
            store.draw(lease(self.id), pico(10)).await.expect("draw");
        }
    }

    async fn run(&self, store: &AwsStore, step: Step) -> Result<(), StoreError> {
        let name = lease(self.id);
        match step {
            Step::GrantNew => store.grant(grant(name, &self.limits(), 40, 10)).await.map(drop),
            Step::GrantMore => store.grant(grant(name, &self.limits(), 25, 25)).await.map(drop),
            Step::Draw => store.draw(name, pico(10)).await.map(drop),
            Step::GiveBack => store.give_back(name, pico(20)).await,
            Step::Settle => store.settle(&self.settlements()).await,
            Step::Post => self.post(store).await,
            Step::Extend => store.extend(self.settlements()[0], self.extended()).await.map(drop),
            Step::End => store.end(&[name]).await,
        }
    }

    async fn post(&self, store: &AwsStore) -> Result<(), StoreError> {
        let before = store.traces(&[self.id]).await?.remove(0);
        let mut left = BTreeSet::from(self.settlements());
        if before.blocks.is_empty() {
            let posted = BTreeMap::from([(key(&self.own), pico(15))]);
            let change = TraceChange {
                trace: self.id,
                before,
                new_blocks: vec![block(&naming("post", None, MINUTE_NS), store).0],
                posted,
            };
            left = store.post_settling(vec![change], &left).await.map_err(|error| match error {
                PostError::Store(error) => error,
                other => StoreError::unavailable("post", other),
            })?;
        }
        store.settle(&left.into_iter().collect::<Vec<_>>()).await
    }

    /// What is reserved of the own counter once the step was done, again after a process that ended somewhere in it.
    fn is_expected(step: Step, reserved: i128) -> bool {
        match step {
            // The one whose answer nobody heard counts until its lease ends.
            Step::GrantNew => [40, 80].contains(&reserved),
            Step::GrantMore => [65, 90].contains(&reserved),
            Step::Draw | Step::Extend => reserved == 40,
            Step::GiveBack | Step::Settle | Step::Post => reserved == 20,
            Step::End => reserved == 0,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn bud_3_a_process_that_ends_anywhere_in_a_step_leaves_the_counters_exact() {
    let world = World::new().await;
    let mut id = 0;
    for step in STEPS {
        id += 1;
        let undisturbed = Stage { id, own: format!("team:{id}") };
        undisturbed.prepare(&world.store, step).await;
        world.faults.set(NEVER, NEVER);
        undisturbed.run(&world.faulty, step).await.expect("nothing fails");
        let calls = world.faults.sent.load(Ordering::SeqCst);
        assert!((1..=5).contains(&calls), "{step:?} makes {calls} calls");
        for at in 0..calls {
            for (before, after) in [(at, NEVER), (NEVER, at)] {
                id += 1;
                let stage = Stage { id, own: format!("team:{id}") };
                stage.prepare(&world.store, step).await;
                world.faults.set(before, after);
                let ended = stage.run(&world.faulty, step).await;
                assert!(ended.is_err(), "{step:?}: the process ended at call {at}");
                world.faults.set(NEVER, NEVER);
                stage.run(&world.store, step).await.expect("nothing fails");
                let (posted, reserved) = balance(&world.store, &stage.own).await;
                assert_eq!(posted, if step == Step::Post { 15 } else { 0 }, "{step:?} at {at}, before {before}");
                assert!(Stage::is_expected(step, reserved), "{step:?} at {at}, before {before}: {reserved}");
                for name in [lease(stage.id), stage.extended()] {
                    world.store.settle(&stage.settlements()).await.expect("settle");
                    world.store.end(&[name]).await.expect("end");
                }
                assert_eq!(balance(&world.store, &stage.own).await, (posted, 0), "{step:?} at {at}, before {before}");
            }
        }
    }
    world.audit().await;
}

/// A call whose answer was lost is repeated by the SDK: what it did is done once, or counts until its lease ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn bud_3_a_step_whose_answer_was_lost_is_done_once() {
    let world = World::new().await;
    let (lose, client) = LoseOne::client(&emulator::config().await);
    let store = AwsStore::with_client(world.settings.clone(), client).await.expect("open");
    let stage = Stage { id: 1, own: "team:1".to_owned() };
    stage.prepare(&world.store, Step::Draw).await;
    lose.0.store(true, Ordering::SeqCst);
    assert_eq!(store.draw(lease(1), pico(5)).await.expect("draw"), Some(3));
    assert!(!lose.0.load(Ordering::SeqCst), "an answer was lost");
    let stands = store.lease(lease(1)).await.expect("lease").expect("it stands");
    assert_eq!((stands.free, stands.granted), (pico(15), pico(40)), "drawn once");
    for (step, reserved) in [(Step::Settle, 20), (Step::GiveBack, 5), (Step::End, 0)] {
        lose.0.store(true, Ordering::SeqCst);
        stage.run(&store, step).await.expect("done");
        assert!(!lose.0.load(Ordering::SeqCst), "{step:?}: an answer was lost");
        assert_eq!(balance(&store, "team:1").await, (0, reserved), "{step:?}");
    }
    world.audit().await;
}

fn naming(trace: &str, reservation: Option<&str>, recorded_at_ns: i64) -> recoup_store::Incoming {
    let mut event = event(trace, "a", 1);
    event.reservation_id = reservation.map(Into::into);
    let mut incoming = incoming(event);
    incoming.recorded.recorded_at_ns = recorded_at_ns;
    incoming
}

/// The block that one event makes, as the rollup names it.
fn block(incoming: &recoup_store::Incoming, store: &AwsStore) -> (recoup_store::BlockName, i64) {
    let packed = recoup_store::block::pack::pack(&[incoming], store.lanes()).expect("pack");
    (packed[0].name, incoming.recorded.recorded_at_ns)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn bud_3_leases_wait_for_what_was_recorded_and_names_a_reservation() {
    const NOW_NS: i64 = 1_794_297_600_000_000_000;
    let world = World::new().await;
    let store = &world.store;
    let through = async |minutes: i64| {
        let now_ns = NOW_NS + minutes * MINUTE_NS;
        store
            .counted_through(now_ns)
            .await
            .expect("counted_through")
            .map(|counted_ns| (counted_ns - NOW_NS) / MINUTE_NS)
    };
    assert_eq!(through(5).await, Some(4), "an append may be under way");
    let first = naming("first", Some("rsv_1"), NOW_NS + MINUTE_NS);
    let second = naming("second", Some("rsv_2"), NOW_NS + 2 * MINUTE_NS);
    let free = naming("free", None, NOW_NS + 2 * MINUTE_NS);
    assert_eq!(store.append(vec![first.clone()]).await.expect("append"), [Appended::Accepted]);
    assert_eq!(store.append(vec![second.clone(), free]).await.expect("append").len(), 2);
    assert_eq!(through(5).await, Some(1), "the first is not counted");
    assert_eq!(through(600).await, Some(1), "however long it takes");
    store.note_counted(&[block(&first, store)]).await.expect("note_counted");
    store.note_counted(&[block(&first, store)]).await.expect("note_counted again");
    assert_eq!(world.items("@uncounted#").await.len(), 1, "and one of them is left");
    // A retry of what is counted waits for nothing.
    let retry = naming("first", Some("rsv_1"), NOW_NS + 3 * MINUTE_NS);
    assert_eq!(store.append(vec![retry]).await.expect("append"), [Appended::Duplicate]);
    assert_eq!(world.items("@uncounted#").await.len(), 1);
    assert_eq!(through(24 * 60).await.map(|minutes| minutes < 3), Some(true));
    assert_eq!(through(26 * 60).await, Some(26 * 60 - 1), "the stream has forgotten it");
    assert!(world.items("@uncounted#").await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn bud_3_an_append_that_ended_halfway_holds_leases_for_ten_minutes() {
    const NOW_NS: i64 = 1_794_297_600_000_000_000;
    let world = World::new().await;
    let event = naming("half", Some("rsv_1"), NOW_NS);
    // Its second call is the block.
    world.faults.set(1, NEVER);
    assert!(world.faulty.append(vec![event.clone()]).await.is_err());
    let through = async |minutes: i64| {
        let counted = world.store.counted_through(NOW_NS + minutes * MINUTE_NS).await.expect("counted_through");
        counted.map(|counted_ns| (counted_ns - NOW_NS) / MINUTE_NS)
    };
    assert_eq!(through(9).await, Some(0), "its block may still come");
    // Somebody else brings it: that one counts, the other is nobody's.
    let again = naming("half", Some("rsv_1"), NOW_NS + MINUTE_NS);
    assert_eq!(world.store.append(vec![again.clone()]).await.expect("append"), [Appended::Accepted]);
    assert_eq!(through(10).await, Some(1), "the first note is nobody's");
    world.store.note_counted(&[block(&again, &world.store)]).await.expect("note_counted");
    assert_eq!(through(11).await, Some(10));
}
