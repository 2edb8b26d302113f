//! The pre-flight check over this adapter: callers of many processes that race for one budget (BUD-3).
#![expect(clippy::indexing_slicing, reason = "tests")]

mod emulator;
mod stage;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::types::AttributeValue;
use recoup_metering::Shape;
use recoup_money::Amount;
use recoup_store::{Balance, CounterKey, Leases as _};
use recoup_store_aws::{AwsStore, Settings, Usage, block_name};
use recoup_workflows::authorize::{Authorization, AuthorizeRequest, Decision, Estimate};
use recoup_workflows::ingest::Listing;
use recoup_workflows::rollup::ArrivedBlock;
use recoup_workflows::{App, Ports, Principal};
use serde_json::{Value, json};
use stage::SetClock;

const ORGANISATION: &str = r#"
[organisation]
name = "Races"
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
[[prices]]
provider = "example"
model = "known"
from = "2026-01-01"
per_million = { input = "3.00" }
[[budgets]]
scope = "organisation"
limit = "1000"
[[budgets]]
scope = "team:support"
limit = "2.50"
[[budgets]]
scope = "team:marketing"
limit = "900"
"#;
const MINUTE_NS: i64 = 60_000_000_000;
/// What one caller asks for; 50 of them fit.
const ESTIMATE: &str = "0.05";
const FIT: usize = 50;
/// What 10,000 input tokens cost.
const EVENT_COST: &str = "0.03";
/// How long a call may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// Processes that the callers are spread over.
const PROCESSES: usize = 8;

struct Stage {
    settings: Settings,
    store: Arc<AwsStore>,
    clock: Arc<SetClock>,
    apps: Vec<Arc<App>>,
}

fn amount(text: &str) -> Amount {
    text.parse().expect("an amount")
}

impl Stage {
    async fn new() -> Self {
        // An emulator takes its time for a thousand at once; what is tested is not how long.
        let patient = TimeoutConfig::builder().operation_attempt_timeout(PATIENCE).operation_timeout(PATIENCE).build();
        let config = emulator::config().await.into_builder().timeout_config(patient).build();
        let settings = emulator::make_tables(&recoup_store_aws::dynamodb_client(&config)).await;
        let clock = SetClock::new();
        let mut apps = Vec::new();
        let mut stores = Vec::new();
        for _ in 0..PROCESSES {
            let store = Arc::new(AwsStore::open(settings.clone(), &config).await.expect("open"));
            apps.push(stage::app(&store, &clock, None).await);
            stores.push(store);
        }
        apps[0].apply_organisation(ORGANISATION, None, false).await.expect("apply");
        for app in &apps {
            app.world().await.expect("an organisation");
        }
        Self { settings, store: stores.remove(0), clock, apps }
    }

    async fn balance(&self, scope: &str) -> (Amount, Amount) {
        let key = CounterKey { scope: scope.into(), period: "2026-11".into() };
        let Balance { posted, reserved } = self.store.balances(&[key]).await.expect("balances")[0];
        (posted, reserved)
    }

    /// So many callers at once; the ids of those that are let in.
    async fn race(&self, callers: usize) -> Vec<String> {
        let mut running = Vec::with_capacity(callers);
        for caller in 0..callers {
            let app = Arc::clone(&self.apps[caller % PROCESSES]);
            running.push(tokio::spawn(async move { ask(&app, "support").await }));
        }
        let mut held = Vec::new();
        for caller in running {
            let answer = caller.await.expect("a caller is answered");
            assert_eq!(answer.reservation_id.is_some(), answer.decision == Decision::Allow);
            if let Some(by) = answer.decided_by {
                assert_eq!((by.scope.as_str(), by.reason), ("team:support", "budget-exceeded"));
            }
            held.extend(answer.reservation_id);
        }
        held
    }

    /// Sweeps until nothing is left to look at; how many leases ended.
    async fn sweep(&self, app: usize) -> usize {
        let mut leases = 0;
        loop {
            let swept = self.apps[app].sweep_leases().await.expect("sweep");
            leases += swept.leases;
            if swept.minutes == 0 {
                return leases;
            }
        }
    }

    /// Everything that is in the log, as the stream brings it: to several processes, more than once.
    async fn roll_up(&self) {
        let blocks = self.blocks().await;
        let (one, other) = tokio::join!(self.apps[1].rollup(blocks.clone()), self.apps[2].rollup(blocks.clone()));
        let last = self.apps[3].rollup(blocks).await;
        for outcome in [one, other, last] {
            assert!(outcome.expect("rollup").failed_traces.is_empty());
        }
    }

    async fn blocks(&self) -> Vec<ArrivedBlock> {
        let client = recoup_store_aws::dynamodb_client(&emulator::config().await);
        let items =
            client.scan().table_name(&self.settings.events_table).consistent_read(true).send().await.expect("scan");
        let arrived = |item: &std::collections::HashMap<String, AttributeValue>| {
            let text = |name: &str| item[name].as_s().expect("a text").clone();
            let events = item["n"].as_n().expect("a number").parse().expect("a count");
            let name = block_name(&text("pk"), &text("sk"), events).expect("a block");
            ArrivedBlock { name, bytes: item["b"].as_b().expect("bytes").as_ref().to_vec() }
        };
        items.items.unwrap_or_default().iter().map(arrived).collect()
    }
}

async fn ask(app: &App, team: &str) -> Authorization {
    let estimate = Estimate::Money { amount: amount(ESTIMATE), currency: "USD".parse().expect("a currency") };
    let tags = serde_json::from_value(json!({ "team": team, "agent": "triage" })).expect("tags");
    let request = AuthorizeRequest { tags, estimate: Some(estimate), ..AuthorizeRequest::default() };
    app.authorize(&Principal::operator(), request).await.expect("an answer")
}

async fn send(app: &App, team: &str, reservations: &[String]) {
    let event = |(number, reservation): (usize, &String)| {
        json!({
            "event_id": format!("e{number}"), "used_at": "2026-11-10T07:59:00Z", "kind": "llm", "provider": "example",
            "model": "known", "usage": { "input": 10_000 }, "tags": { "team": team, "agent": "triage" },
            "reservation_id": reservation,
        })
    };
    let events: Vec<Value> = reservations.iter().enumerate().map(event).collect();
    let body = Value::from(events).to_string().into_bytes();
    let receipt = app.ingest(&Principal::operator(), &body, Shape::Json, Listing::All).await.expect("ingest");
    assert_eq!(receipt.accepted, reservations.len() as u64);
}

/// Callers race; half of those that are let in report what they spent, the others are never heard of again.
async fn committed_is_what_was_billed(callers: usize) {
    let stage = Stage::new().await;
    let started = std::time::Instant::now();
    let held = stage.race(callers).await;
    println!(
        "{callers} callers of {PROCESSES} processes: {} let in, {:.1} s",
        held.len(),
        started.elapsed().as_secs_f64()
    );
    assert_eq!(held.len(), callers.min(FIT), "all of the room, and no more");
    let (posted, reserved) = stage.balance("team:support").await;
    assert!(posted == Amount::ZERO && reserved <= amount("2.50"), "{posted} and {reserved}");
    let spending = held.len() / 2;
    send(&stage.apps[0], "support", &held[..spending]).await;
    stage.clock.0.fetch_add(30 * MINUTE_NS, Ordering::SeqCst);
    assert_eq!(stage.sweep(4).await, 0, "what was recorded is not counted yet");
    stage.roll_up().await;
    let billed = amount(EVENT_COST).checked_mul(i128::try_from(spending).expect("small")).expect("fits");
    let silent = amount(ESTIMATE).checked_mul(i128::try_from(held.len() - spending).expect("small")).expect("fits");
    let (posted, reserved) = stage.balance("team:support").await;
    assert_eq!(posted, billed);
    assert!(reserved >= silent, "those that were not heard of still hold {silent}: {reserved}");
    assert!(stage.sweep(5).await >= 1);
    for scope in ["team:support", "organisation"] {
        assert_eq!(stage.balance(scope).await, (billed, Amount::ZERO), "{scope}: committed is what was billed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn bud_3_sixty_four_racing_callers_of_several_processes_never_overspend() {
    committed_is_what_was_billed(64).await;
}

/// On one emulator: the other one answers one request after the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn bud_3_a_thousand_racing_callers_of_several_processes_never_overspend() {
    committed_is_what_was_billed(if emulator::emulator() == "moto" { 100 } else { 1_000 }).await;
}

/// Callers race, and two of the processes that answer them are killed in the middle: whatever call they were in is cut off, and
/// nobody hears from their callers again. One more is killed while it rolls up what the others' callers have spent.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn bud_3_processes_that_are_killed_in_the_race_overspend_nothing() {
    let stage = Stage::new().await;
    let callers = if emulator::emulator() == "moto" { 100 } else { 400 };
    let answered = Arc::new(AtomicUsize::new(0));
    let mut running = Vec::with_capacity(callers);
    for caller in 0..callers {
        let (app, answered) = (Arc::clone(&stage.apps[caller % PROCESSES]), Arc::clone(&answered));
        running.push(tokio::spawn(async move {
            let answer = ask(&app, "support").await;
            answered.fetch_add(1, Ordering::SeqCst);
            answer.reservation_id
        }));
    }
    while answered.load(Ordering::SeqCst) < 8 {
        tokio::task::yield_now().await;
    }
    running.iter().enumerate().filter(|(caller, _)| caller % PROCESSES < 2).for_each(|(_, caller)| caller.abort());
    let (mut held, mut cut_off) = (Vec::new(), 0);
    for (caller, answer) in running.into_iter().enumerate() {
        match answer.await {
            Ok(reservation) if caller % PROCESSES >= 2 => held.extend(reservation),
            Ok(_) => {}
            Err(error) => cut_off += usize::from(error.is_cancelled()),
        }
    }
    assert!(cut_off > 0, "somebody was cut off");
    let (posted, reserved) = stage.balance("team:support").await;
    assert!(posted == Amount::ZERO && reserved <= amount("2.50"), "{posted} and {reserved}");
    assert!(held.len() <= FIT, "{} of {FIT}", held.len());
    send(&stage.apps[2], "support", &held).await;
    let blocks = stage.blocks().await;
    let app = Arc::clone(&stage.apps[2]);
    let killed = tokio::spawn(async move { app.rollup(blocks).await });
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    killed.abort();
    drop(killed.await);
    stage.roll_up().await;
    stage.clock.0.fetch_add(30 * MINUTE_NS, Ordering::SeqCst);
    stage.sweep(4).await;
    let billed = amount(EVENT_COST).checked_mul(i128::try_from(held.len()).expect("small")).expect("fits");
    for scope in ["team:support", "organisation"] {
        assert_eq!(stage.balance(scope).await, (billed, Amount::ZERO), "{scope}: committed is what was billed");
    }
}

fn of_task(task: &str, estimate: &str, ask_only: bool) -> AuthorizeRequest {
    let tags = json!({ "team": "marketing", "agent": "triage", "task_type": "research", "task_id": task });
    let estimate = Estimate::Money { amount: amount(estimate), currency: "USD".parse().expect("a currency") };
    let tags = serde_json::from_value(tags).expect("tags");
    AuthorizeRequest { tags, estimate: Some(estimate), ask_only, ..AuthorizeRequest::default() }
}

/// What an event has cost and what was reserved for it are at no instant counted together: whoever asks while it is rolled up
/// finds the room that there is at the cap, before and after.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn bud_4_no_task_is_stopped_by_what_its_own_event_had_reserved() {
    let stage = Stage::new().await;
    for round in 0..8 {
        let task = format!("T{round}");
        let held =
            stage.apps[0].authorize(&Principal::operator(), of_task(&task, "0.03", false)).await.expect("answer");
        let event = json!({
            "event_id": task, "used_at": "2026-11-10T07:59:00Z", "kind": "llm", "provider": "example", "model": "known",
            "usage": { "input": 10_000 }, "reservation_id": held.reservation_id,
            "tags": { "team": "marketing", "agent": "triage", "task_type": "research", "task_id": task },
        });
        let body = event.to_string().into_bytes();
        stage.apps[0].ingest(&Principal::operator(), &body, Shape::Json, Listing::All).await.expect("ingest");
        let blocks = stage.blocks().await;
        let is_done = Arc::new(AtomicBool::new(false));
        let asking = (0..4).map(|caller| {
            let (app, task, is_done) = (Arc::clone(&stage.apps[2 + caller]), task.clone(), Arc::clone(&is_done));
            tokio::spawn(async move {
                let mut asked = 0;
                while !is_done.load(Ordering::SeqCst) || asked == 0 {
                    let answer =
                        app.authorize(&Principal::operator(), of_task(&task, "0.02", true)).await.expect("answer");
                    assert_eq!(answer.decision, Decision::Allow, "{:?} {:?}", answer.decided_by, answer.scopes);
                    asked += 1;
                }
            })
        });
        let asking: Vec<_> = asking.collect();
        stage.apps[1].rollup(blocks).await.expect("rollup");
        is_done.store(true, Ordering::SeqCst);
        for caller in asking {
            caller.await.expect("nobody was denied");
        }
        let key = CounterKey { scope: format!("task:{task}"), period: "task".into() };
        let stands = stage.store.balances(&[key]).await.expect("balances")[0];
        assert_eq!((stands.posted, stands.reserved), (amount("0.03"), Amount::ZERO));
    }
}

async fn report(app: &App, events: &[(&str, &str, &str)]) {
    let event = |(id, agent, amount): &(&str, &str, &str)| {
        json!({
            "event_id": id, "used_at": "2026-11-10T07:59:00Z", "kind": "tool", "priority": "critical",
            "tags": { "team": "support", "agent": agent }, "cost": { "amount": amount, "currency": "USD" },
        })
    };
    let body = Value::from(events.iter().map(event).collect::<Vec<_>>()).to_string().into_bytes();
    app.ingest(&Principal::operator(), &body, Shape::Json, Listing::All).await.expect("ingest");
}

/// A sender that repeats an event in another request has it recorded in another block.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn bud_2_critical_work_within_the_limit_is_not_logged_when_it_comes_again_in_another_block() {
    let stage = Stage::new().await;
    let mut seen = Vec::new();
    let requests: [&[(&str, &str, &str)]; 3] = [
        &[("within", "pager", "2")],
        &[("not-critical", "triage", "1")],
        &[("within", "pager", "2"), ("beyond", "pager", "0.25")],
    ];
    for request in requests {
        report(&stage.apps[0], request).await;
        let fresh = stage.blocks().await.into_iter().filter(|block| !seen.contains(&block.name));
        let [fresh] = <[ArrivedBlock; 1]>::try_from(fresh.collect::<Vec<_>>()).expect("a block for each request");
        seen.push(fresh.name);
        for app in &stage.apps[1..3] {
            app.rollup(vec![fresh.clone()]).await.expect("rollup");
        }
        stage.clock.0.fetch_add(MINUTE_NS, Ordering::SeqCst);
    }
    stage.roll_up().await;
    assert_eq!(stage.balance("team:support").await.0, amount("3.25"), "each event once");
    let log = stage.apps[3].audit_entries(&Principal::operator(), 0).await.expect("the record");
    let logged: Vec<&Value> = log.iter().map(|entry| &entry.detail["event_id"]).collect();
    assert_eq!(logged, ["beyond"]);
}

/// A way to the emulator on which nothing moves while it is held.
struct Line {
    address: String,
    is_held: Arc<AtomicBool>,
}

impl Line {
    fn start() -> Self {
        let emulator = std::env::var("AWS_ENDPOINT_URL").expect("an emulator").replace("http://", "");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let is_held = Arc::new(AtomicBool::new(false));
        let held = Arc::clone(&is_held);
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let far = TcpStream::connect(&emulator).expect("the emulator");
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let [from, to] = [from, to].map(|stream| stream.try_clone().expect("a stream"));
                    let held = Arc::clone(&held);
                    std::thread::spawn(move || pass(from, to, &held));
                }
            }
        });
        Self { address, is_held }
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, is_held: &AtomicBool) {
    let mut bytes = [0; 65_536];
    while let Ok(read @ 1..) = from.read(&mut bytes) {
        while is_held.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(5));
        }
        if to.write_all(&bytes[..read]).is_err() {
            break;
        }
    }
    // Whoever is at the other end may have gone before.
    drop(to.shutdown(Shutdown::Write));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn bud_5_who_asks_is_answered_in_time_while_the_store_does_not_answer() {
    let stage = Stage::new().await;
    let line = Line::start();
    let config = emulator::config().await;
    let client = aws_sdk_dynamodb::config::Builder::from(&config).endpoint_url(&line.address).build();
    let client = aws_sdk_dynamodb::Client::from_conf(client);
    let store = Arc::new(AwsStore::with_client(stage.settings.clone(), client).await.expect("open"));
    let ports = Ports { leases: store.clone(), live: store.clone(), books: store, ..stage.apps[0].ports.clone() };
    let app = || App::new(ports.clone(), [7; 32], 1).sharing(true);
    // Whoever waits for as long as it takes is answered, however busy the machine is.
    let (patient, app) = (app(), app().answering_within(Duration::from_millis(400)));
    app.world().await.expect("a world");
    assert_eq!(ask(&patient, "marketing").await.decision, Decision::Allow);
    line.is_held.store(true, Ordering::SeqCst);
    stage.clock.0.fetch_add(MINUTE_NS, Ordering::SeqCst);
    let started = std::time::Instant::now();
    let answer = ask(&app, "marketing").await;
    let by = answer.decided_by.expect("a reason");
    assert_eq!((answer.decision, by.reason), (Decision::Deny, "unavailable"));
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    line.is_held.store(false, Ordering::SeqCst);
    assert_eq!(ask(&patient, "marketing").await.decision, Decision::Allow, "when it answers again");
}

/// What a chain of two budgets costs, as the emulator counts it (an item of a batch as half a read unit, where AWS counts one): `cargo nextest run -p recoup-store-aws --test authorize
/// --no-capture`.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn bud_3_leave_to_begin_costs_one_write_and_few_reads() {
    const CALLS: usize = 128;
    let stage = Stage::new().await;
    let (app, meter) = (&stage.apps[0], stage.store.meter());
    ask(app, "marketing").await;
    let cost = |before: Usage, calls: usize| {
        let after = meter.usage();
        let per_call = |halves: u64| halves * 500 / u64::try_from(calls).expect("small");
        (per_call(after.written_halves - before.written_halves), per_call(after.read_halves - before.read_halves))
    };
    let before = meter.usage();
    let mut held = Vec::new();
    for _ in 0..CALLS {
        held.extend(ask(app, "marketing").await.reservation_id);
    }
    let asked = cost(before, CALLS);
    let before = meter.usage();
    app.release(&Principal::operator(), &held.pop().expect("held")).await.expect("release");
    let released = cost(before, 1);
    let before = meter.usage();
    send(app, "marketing", &held).await;
    let sent = cost(before, held.len());
    let blocks = stage.blocks().await;
    let before = meter.usage();
    app.rollup(blocks).await.expect("rollup");
    let rolled = cost(before, held.len());
    println!("thousandths of (write, read) units, budgets of 2 scopes: asked {asked:?}, released {released:?}");
    println!(
        "for each of {} events of one block that name a reservation: sent {sent:?}, rolled up {rolled:?}",
        held.len()
    );
    if emulator::emulator() == "moto" {
        // It counts every call alike, and transactions not at all.
        return;
    }
    assert!(asked.0 <= 1_250 && asked.1 <= 3_000, "a draw each, a grant for 64 of them: {asked:?}");
    assert!(released.0 <= 8_000, "a page, the lease and two counters: {released:?}");
    assert!(
        rolled.0 <= 2_400,
        "a state of a trace each, what is settled together and two counters with what was admitted: {rolled:?}"
    );
}
