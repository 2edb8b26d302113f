//! A rollup that ends before or after any of its calls, then the same blocks again, in other groups: counters, reservations,
//! exemptions, tiers, reviews and alerts are those of a rollup that nothing disturbed.
#![expect(clippy::indexing_slicing, reason = "tests")]

mod arriving;
mod emulator;
mod faulty;
mod stage;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use arriving::{Item, items, send, text};
use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use aws_types::SdkConfig;
use faulty::{Faults, NEVER};
use recoup_store::{Alert, Alerts, Balance, Books as _, CounterKey, EventLog as _, Leases as _, Live as _, StoreError};
use recoup_store_aws::{AwsStore, Settings};
use recoup_workflows::authorize::{AuthorizeRequest, Decision, Estimate};
use recoup_workflows::lists::Window;
use recoup_workflows::rollup::ArrivedBlock;
use recoup_workflows::{App, Principal};
use serde_json::{Value, json};
use stage::SetClock;
use tokio::task::JoinSet;

const ORGANISATION: &str = r#"
[organisation]
name = "Crashes"
currency = "USD"
time_zone = "Europe/Berlin"
[[teams]]
id = "support"
[[teams]]
id = "marketing"
[[agents]]
id = "triage"
owner = "support"
[[agents]]
id = "pager"
critical = true
[[task_types]]
id = "research"
cap = "0.05"
[[budgets]]
scope = "agent:pager"
limit = "1"
[[budgets]]
scope = "organisation"
limit = "6"
[[budgets]]
scope = "team:support"
limit = "1"
[[budgets]]
scope = "team:marketing"
limit = "0.6"
period = "week"
[[budgets]]
scope = "project:atlas"
limit = "1.8"
period = "day"
[[budgets]]
scope = "user:ada"
limit = "1"
"#;
/// Blocks that the long trace has before: the next post moves some of them to a page.
const BLOCKS_BEFORE: usize = 17;
/// Events of one request, each a trace of its own: more than one transaction takes.
const SMALL_EVENTS: usize = 70;
/// Crashes looked at at the same time.
const AT_ONCE: usize = 4;
/// The kinds of calls of a rollup.
const OPERATIONS: [&str; 8] =
    ["BatchGetItem", "DeleteItem", "GetItem", "Publish", "PutItem", "Query", "TransactWriteItems", "UpdateItem"];
/// Calls of an undisturbed rollup, at least.
const CALLS_MIN: usize = 80;
/// Rows of a list.
const ROWS: usize = 100;

/// A topic that a process can end at, as at any call, and that keeps how often each alert was heard.
struct Topic {
    faults: Option<Arc<Faults>>,
    heard: Arc<Mutex<BTreeMap<String, usize>>>,
}

#[async_trait]
impl Alerts for Topic {
    async fn publish(&self, alert: &Alert) -> Result<(), StoreError> {
        let ended = |error| StoreError::unavailable("publish an alert", error);
        if let Some(faults) = &self.faults {
            faults.sends("Publish").map_err(ended)?;
        }
        *self.heard.lock().expect("nobody panicked").entry(alert.id.clone()).or_default() += 1;
        self.faults.as_ref().map_or(Ok(()), |faults| faults.hears().map_err(ended))
    }
}

/// Tables with what stands in them before the rollup, and the blocks that it gets.
struct Prepared {
    tables: [Vec<Item>; 2],
    blocks: Vec<ArrivedBlock>,
}

/// Tables of one deployment.
struct World {
    config: SdkConfig,
    client: Client,
    settings: Settings,
    clock: Arc<SetClock>,
    heard: Arc<Mutex<BTreeMap<String, usize>>>,
}

impl World {
    async fn new() -> Self {
        let config = emulator::config().await;
        let client = recoup_store_aws::dynamodb_client(&config);
        let settings = emulator::make_tables(&client).await;
        Self { config, client, settings, clock: SetClock::new(), heard: Arc::default() }
    }

    async fn with(prepared: &Prepared) -> Self {
        let world = Self::new().await;
        let tables = [&world.settings.events_table, &world.settings.books_table];
        for (table, items) in tables.into_iter().zip(&prepared.tables) {
            for part in items.chunks(25) {
                let put = |item: &Item| {
                    let put = PutRequest::builder().set_item(Some(item.clone())).build().expect("an item");
                    WriteRequest::builder().put_request(put).build()
                };
                let call = world.client.batch_write_item().request_items(table, part.iter().map(put).collect());
                let left = call.send().await.expect("put").unprocessed_items.unwrap_or_default();
                assert!(left.is_empty());
            }
        }
        world
    }

    /// A process that knows nothing of those before it.
    async fn process(&self) -> (Arc<App>, Arc<AwsStore>) {
        self.open(self.client.clone(), None).await
    }

    async fn open(&self, client: Client, faults: Option<Arc<Faults>>) -> (Arc<App>, Arc<AwsStore>) {
        let store = Arc::new(AwsStore::with_client(self.settings.clone(), client).await.expect("open"));
        let topic = Arc::new(Topic { faults, heard: Arc::clone(&self.heard) });
        (stage::app(&store, &self.clock, Some(topic)).await, store)
    }

    /// One that ends at a call; how many calls it came to, and whether it said that it did not do what it was asked.
    async fn process_that_ends(&self, (before, after): (usize, usize), blocks: &[ArrivedBlock]) -> (Arc<Faults>, bool) {
        let (faults, client) = Faults::client(&self.config);
        let (app, _) = self.open(client, Some(Arc::clone(&faults))).await;
        faults.set(before, after);
        let outcome = app.rollup(blocks.to_vec()).await;
        (faults, outcome.is_err())
    }

    /// The look of each minute.
    async fn look(&self) {
        let (app, _) = self.process().await;
        app.watch_time().await.expect("look");
        app.publish_alerts().await;
    }

    /// The blocks again: the last ones first and in other groups, then all of them, to two processes.
    async fn redeliver(&self, blocks: &[ArrivedBlock]) {
        let (app, _) = self.process().await;
        for group in blocks.rchunks(3) {
            let outcome = app.rollup(group.to_vec()).await.expect("rollup");
            assert!(outcome.failed_traces.is_empty() && outcome.unreadable.is_empty(), "{outcome:?}");
        }
        self.process().await.0.rollup(blocks.to_vec()).await.expect("rollup");
    }

    /// What stands, by what it is called. Left out are when something expires, and of an alert what was posted when it fired:
    /// that depends on what was posted together.
    async fn stands(&self) -> BTreeMap<String, String> {
        let (app, store) = self.process().await;
        store.number_blocks().await.expect("number");
        let mut stands = BTreeMap::new();
        let mut traces = BTreeSet::new();
        for mut item in items(&self.client, &self.settings.books_table).await {
            let name = format!("{} {}", text(&item, "pk"), text(&item, "sk"));
            let own = ["@counter#", "@lease#", "@ending#", "@uncounted#", "@beyond#", "@days", "@pending", "outbox"];
            if own.iter().any(|own| name.starts_with(own)) {
                for attribute in ["w", "x", "v"] {
                    item.remove(attribute);
                }
                let sorted: BTreeMap<String, String> =
                    item.into_iter().map(|(attribute, value)| (attribute, shown(value))).collect();
                stands.insert(name, format!("{sorted:?}"));
            } else if let Some(trace) = text(&item, "pk").strip_prefix("@trace#") {
                traces.insert(u64::from_str_radix(trace, 16).expect("a fingerprint"));
            }
        }
        let traces: Vec<u64> = traces.into_iter().collect();
        for (trace, state) in traces.iter().zip(store.traces(&traces).await.expect("traces")) {
            let blocks: BTreeSet<_> = state.blocks.iter().collect();
            assert_eq!(blocks.len(), state.blocks.len(), "trace {trace:016x}: a block twice");
            stands.insert(format!("trace {trace:016x}"), format!("{:?} {blocks:?}", state.posted));
        }
        let numbered = store.blocks_after(0, 1_000).await.expect("blocks");
        let names: BTreeSet<String> = numbered.iter().map(|info| format!("{:?}", info.name())).collect();
        assert_eq!(names.len(), numbered.len(), "a block has one number");
        stands.insert("numbered".into(), format!("{names:?}"));
        self.records(&app, &store, &mut stands).await;
        stands
    }

    async fn records(&self, app: &App, store: &AwsStore, stands: &mut BTreeMap<String, String>) {
        let operator = Principal::operator();
        for entry in app.audit_entries(&operator, 0).await.expect("the record") {
            if entry.action == "critical-exemption" {
                let name = format!("exemption {} {}", entry.target, entry.detail["event_id"]);
                assert_eq!(stands.insert(name, entry.detail["amount"].to_string()), None, "logged twice");
            }
        }
        for review in app.reviews(&operator, Window::first(ROWS)).await.expect("reviews").rows {
            let what = format!("{:?} {} {} {:?}", review.mark, review.cap, review.committed, review.team);
            assert_eq!(stands.insert(format!("review {}", review.task), what), None, "listed twice");
        }
        for alert in app.budget_alerts(&operator, None, Window::first(ROWS)).await.expect("alerts").rows {
            let name = format!("alert {} {} {} %", alert.scope, alert.period, alert.tier);
            let what = format!("{} {} {:?} {}", alert.id, alert.limit_version, alert.state, alert.limit);
            assert_eq!(stands.insert(name, what), None, "fired twice");
        }
        for partition in ["told", "exemptions-looked-at", "open-alerts", "budget-progress"] {
            for record in store.scan(partition, "", None, 1_000).await.expect("scan").records {
                let value: Value = serde_json::from_str(&record.value).expect("a value");
                // The alerts of a budget stand by themselves; when something was told does not matter.
                stands.insert(format!("{partition} {}", record.key.sort), value["progress"].to_string());
            }
        }
    }

    fn heard(&self) -> BTreeMap<String, usize> {
        self.heard.lock().expect("nobody panicked").clone()
    }
}

fn shown(value: AttributeValue) -> String {
    match value {
        AttributeValue::Ns(mut numbers) => {
            numbers.sort_unstable();
            format!("{numbers:?}")
        }
        other => format!("{other:?}"),
    }
}

/// A cost that is reported as it is.
fn event(trace: &str, id: &str, cost: &str, more: Value) -> Value {
    let mut event = json!({
        "trace_id": trace, "event_id": id, "used_at": "2026-11-10T07:30:00Z", "kind": "tool", "cost": { "amount": cost, "currency": "USD" },
    });
    let own = event.as_object_mut().expect("an object");
    own.extend(more.as_object().expect("an object").clone());
    event
}

fn support() -> Value {
    json!({ "team": "support", "agent": "triage" })
}

async fn reserve(app: &App, team: &str, agent: &str) -> String {
    let estimate =
        Estimate::Money { amount: "0.05".parse().expect("an amount"), currency: "USD".parse().expect("USD") };
    let tags = serde_json::from_value(json!({ "team": team, "agent": agent })).expect("tags");
    let request = AuthorizeRequest { tags, estimate: Some(estimate), ..AuthorizeRequest::default() };
    let answer = app.authorize(&Principal::operator(), request).await.expect("an answer");
    assert_eq!(answer.decision, Decision::Allow, "{answer:?}");
    answer.reservation_id.expect("it is reserved")
}

/// The requests that the rollup is about.
fn requests(reservations: &[String]) -> Vec<Vec<Value>> {
    let small = |number: usize| {
        let id = format!("small-{number:02}");
        event(&id, &id, "0.02", json!({ "tags": { "team": "sales", "project": "atlas" } }))
    };
    let naming = |number: usize, team: &str| {
        let id = format!("asked-{number}");
        let tags = json!({ "team": team, "agent": "triage" });
        event(&id, &id, "0.03", json!({ "tags": tags, "reservation_id": reservations[number] }))
    };
    let task =
        json!({ "team": "marketing", "agent": "triage", "task_type": "research", "task_id": "T1", "user": "ada" });
    let critical = |agent: &str| json!({ "priority": "critical", "tags": { "team": "sales", "agent": agent } });
    let long = |id: &str| event("long", id, "0.25", json!({ "parent_id": "p00", "tags": support() }));
    vec![
        vec![long("l1"), naming(0, "support"), naming(1, "support"), naming(2, "marketing")],
        vec![event("task", "T1-1", "0.09", json!({ "tags": task }))],
        vec![event("beyond", "c1", "2", critical("pager")), event("within", "c2", "0.01", critical("triage"))],
        vec![event(
            "split",
            "s1",
            "0.40",
            json!({ "parent_id": "s0", "tags": { "team": "support", "project": "atlas" } }),
        )],
        vec![event("split", "s0", "0.11", json!({ "tags": { "team": "marketing" } }))],
        (0..SMALL_EVENTS).map(small).collect(),
        // An event that comes again with another one: recorded in another block, it counts once.
        vec![long("l1"), long("l2")],
    ]
}

async fn prepared() -> Prepared {
    let world = World::new().await;
    let (app, _) = world.process().await;
    app.apply_organisation(ORGANISATION, None, false).await.expect("apply");
    for number in 0..BLOCKS_BEFORE {
        let parent = (number > 0).then_some("p00");
        let more = json!({ "used_at": "2026-11-09T12:00:00Z", "parent_id": parent, "tags": support() });
        send(&app, &world.clock, vec![event("long", &format!("p{number:02}"), "0.01", more)]).await;
    }
    let before = arriving::blocks(&world.client, &world.settings.events_table).await;
    for block in &before {
        app.rollup(vec![block.clone()]).await.expect("rollup");
    }
    let mut reservations = Vec::new();
    for (team, agent) in [("support", "triage"), ("support", "triage"), ("marketing", "triage"), ("support", "triage")]
    {
        reservations.push(reserve(&app, team, agent).await);
    }
    for events in requests(&reservations) {
        send(&app, &world.clock, events).await;
    }
    let known: BTreeSet<_> = before.iter().map(|block| block.name).collect();
    let mut blocks = arriving::blocks(&world.client, &world.settings.events_table).await;
    blocks.retain(|block| !known.contains(&block.name));
    let tables = [&world.settings.events_table, &world.settings.books_table];
    let [events, books] = tables.map(|table| items(&world.client, table));
    assert_eq!(world.heard(), BTreeMap::new(), "nothing was reached yet");
    Prepared { tables: [events.await, books.await], blocks }
}

/// The sums by hand.
async fn is_what_the_events_say(world: &World, stands: &BTreeMap<String, String>) {
    let (_, store) = world.process().await;
    let counted = [
        ("agent:pager", "2026-11", "2", "0"),
        // One reservation of 0.05 is spent by nobody.
        ("organisation", "2026-11", "4.77", "0.05"),
        ("team:support", "2026-11", "0.73", "0.05"),
        ("team:marketing", "2026-W46", "0.63", "0"),
        ("project:atlas", "2026-11-10", "1.4", "0"),
        ("task:T1", "task", "0.09", "0"),
    ];
    for (scope, period, posted, reserved) in counted {
        let key = CounterKey { scope: scope.into(), period: period.into() };
        let Balance { posted: found, reserved: held } = store.balances(&[key]).await.expect("balances")[0];
        assert_eq!((found.to_string(), held.to_string()), (posted.to_owned(), reserved.to_owned()), "{scope}");
    }
    let named = |prefix: &str| stands.keys().filter_map(|name| name.strip_prefix(prefix)).collect::<Vec<_>>();
    let fired = [
        "agent:pager 2026-11 100 %",
        "agent:pager 2026-11 70 %",
        "agent:pager 2026-11 90 %",
        "organisation 2026-11 70 %",
        "project:atlas 2026-11-10 70 %",
        "team:marketing 2026-W46 100 %",
        "team:marketing 2026-W46 70 %",
        "team:marketing 2026-W46 90 %",
        "team:support 2026-11 70 %",
    ];
    assert_eq!(named("alert "), fired);
    assert_eq!(named("exemption "), ["agent:pager \"c1\""]);
    assert_eq!(named("review "), ["T1"]);
    assert!(named("outbox").is_empty() && named("@uncounted").is_empty() && named("@pending").is_empty());
    let heard = world.heard();
    assert_eq!(heard.len(), fired.len() + 2, "an alert each, and what stops two budgets");
    assert!(heard.values().all(|times| *times == 1), "{heard:?}");
}

/// What a rollup that nothing disturbs leaves, and that it is what the events say.
async fn undisturbed(prepared: &Prepared) -> (BTreeMap<String, String>, BTreeSet<String>, usize) {
    let world = World::with(prepared).await;
    let (faults, has_failed) = world.process_that_ends((NEVER, NEVER), &prepared.blocks).await;
    assert!(!has_failed);
    let calls = faults.sent.load(Ordering::SeqCst);
    let operations: Vec<String> = faults.operations.lock().expect("nobody panicked").iter().cloned().collect();
    println!("{calls} calls: {operations:?}");
    assert_eq!(operations, OPERATIONS, "every kind of call is among them");
    world.look().await;
    let stands = world.stands().await;
    is_what_the_events_say(&world, &stands).await;
    world.redeliver(&prepared.blocks).await;
    world.look().await;
    assert_eq!(world.stands().await, stands, "what comes again changes nothing");
    (stands, world.heard().into_keys().collect(), calls)
}

fn differences(expected: &BTreeMap<String, String>, found: &BTreeMap<String, String>) -> Vec<String> {
    let names: BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
    let differing = names.into_iter().filter(|name| expected.get(*name) != found.get(*name));
    differing.map(|name| format!("{name}: {:?} instead of {:?}", found.get(name), expected.get(name))).collect()
}

/// What is wrong after a crash at a call.
async fn wrong_after(
    prepared: &Prepared,
    ends: (usize, usize),
    (expected, heard): (&BTreeMap<String, String>, &BTreeSet<String>),
) -> Vec<String> {
    let world = World::with(prepared).await;
    let (_, has_failed) = world.process_that_ends(ends, &prepared.blocks).await;
    let mut wrong = Vec::new();
    if !has_failed {
        // What was left undone the next look finds: a stream does not bring these blocks again.
        world.look().await;
        wrong.extend(differences(expected, &world.stands().await).into_iter().map(|one| format!("not again: {one}")));
    }
    world.redeliver(&prepared.blocks).await;
    world.look().await;
    wrong.extend(differences(expected, &world.stands().await));
    let found = world.heard();
    if !found.keys().eq(heard) || found.values().any(|times| *times > 2) {
        wrong.push(format!("heard: {found:?}"));
    }
    wrong
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn bud_2_a_rollup_that_ends_anywhere_is_made_up_for_when_its_blocks_come_again() {
    let prepared = Arc::new(prepared().await);
    let (expected, heard, calls) = undisturbed(&prepared).await;
    assert!(calls >= CALLS_MIN, "{calls} calls");
    let expected = Arc::new((expected, heard));
    let all = (0..calls).flat_map(|at| [(at, NEVER), (NEVER, at)]);
    // Both emulators come through all of them; the slower one takes minutes for it.
    let each = if emulator::emulator() == "moto" { 12 } else { 1 };
    let mut crashes: Vec<(usize, usize)> = all.step_by(each).collect();
    let injected = crashes.len();
    let mut running = JoinSet::new();
    let mut wrong = BTreeMap::new();
    while !crashes.is_empty() || !running.is_empty() {
        if running.len() < AT_ONCE
            && let Some(ends) = crashes.pop()
        {
            let (prepared, expected) = (Arc::clone(&prepared), Arc::clone(&expected));
            running.spawn(async move { (ends, wrong_after(&prepared, ends, (&expected.0, &expected.1)).await) });
        } else if let Some(done) = running.join_next().await {
            let (ends, found) = done.expect("it ends");
            wrong.extend((!found.is_empty()).then_some((ends, found)));
        }
    }
    println!("{injected} crashes");
    assert!(injected >= 2 * CALLS_MIN / each, "{injected} crashes");
    assert!(wrong.is_empty(), "{} of {injected}: {wrong:#?}", wrong.len());
}
