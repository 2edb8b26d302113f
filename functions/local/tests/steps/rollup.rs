//! BUD-1: rolling blocks up again, in whatever grouping, by whomever, after whatever crash, changes no counter.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use recoup_model::Tags;
use recoup_model::limits::BLOCK_EVENTS_MAX;
use recoup_money::Amount;
use recoup_store::{
    BlockName, Books, Clock as _, CounterKey, Key, Live, Page, PostError, Record, StoreError, TraceChange, TraceState,
    Write, WriteError,
};
use recoup_workflows::audit::AuditEntry;
use recoup_workflows::lives::LOOKED_AT_DAYS;
use recoup_workflows::rollup::ArrivedBlock;
use recoup_workflows::{App, Ports, Principal, Role};
use serde_json::{Value, json};

use crate::stage::{ORGANISATION, Stage, conflict, events};

pub(crate) const BUDGETS: &str = r#"
[[budgets]]
scope = "organisation"
limit = "100"
[[budgets]]
scope = "organisation"
period = "day"
limit = "100"
[[budgets]]
scope = "team:support"
limit = "100"
[[budgets]]
scope = "team:marketing"
limit = "100"
[[budgets]]
scope = "agent:guardrail"
period = "week"
limit = "100"
"#;

/// Recorded and not rolled up: another process does that.
async fn recorded(events: &[Value]) -> Stage {
    let stage = Stage::bare();
    let app = stage.process();
    app.apply_organisation(&format!("{ORGANISATION}{BUDGETS}"), None, false).await.unwrap();
    stage.ingest(&app, events).await;
    stage
}

async fn blocks(stage: &Stage) -> Vec<ArrivedBlock> {
    blocks_after(stage, 0).await
}

async fn blocks_after(stage: &Stage, seq: u64) -> Vec<ArrivedBlock> {
    let log = stage.ports().log;
    let infos = log.blocks_after(seq, 10_000).await.unwrap();
    let stored = log.read(infos.iter().map(|info| info.seq).collect()).await.unwrap();
    let named = stored.into_iter().map(|block| ArrivedBlock { name: block.info.name(), bytes: block.bytes });
    named.collect()
}

pub(crate) async fn counters(stage: &Stage) -> Vec<Amount> {
    let key = |scope: &str, period: String| CounterKey { scope: scope.into(), period };
    let mut keys: Vec<CounterKey> =
        ["organisation", "team:support", "team:marketing"].map(|scope| key(scope, "2026-10".into())).into();
    keys.extend((1..=14).map(|day| key("organisation", format!("2026-10-{day:02}"))));
    keys.extend((40..=42).map(|week| key("agent:guardrail", format!("2026-W{week}"))));
    stage.ports().live.counters(&keys).await.unwrap()
}

/// What one rollup of everything gives.
async fn expected(events: &[Value]) -> Vec<Amount> {
    let stage = recorded(events).await;
    let outcome = stage.process().rollup(blocks(&stage).await).await.unwrap();
    assert_eq!((outcome.unreadable.len(), outcome.failed_traces.len()), (0, 0));
    let counters = counters(&stage).await;
    let teams = counters[1].checked_add(counters[2]).unwrap();
    // 100,005 tokens of an event that names no team.
    assert_eq!(counters[0].checked_sub(teams).unwrap().to_string(), "0.300015", "the teams and what is unattributed");
    let days = Amount::checked_sum(counters[3..17].iter().copied());
    assert_eq!(days, Some(counters[0]), "the days are the month");
    assert!(!counters[18].is_zero(), "the second week of the agent");
    counters
}

#[tokio::test]
async fn bud_1_blocks_that_come_again_in_any_grouping_change_nothing() {
    let events = events();
    let expected = expected(&events).await;
    for seed in 1..=6_usize {
        let stage = recorded(&events).await;
        let blocks = blocks(&stage).await;
        let mut at = seed;
        for round in 0..3 {
            let mut rest: Vec<ArrivedBlock> = blocks.iter().skip(if round == 1 { seed } else { 0 }).cloned().collect();
            while !rest.is_empty() {
                // Any order, any size, some of them twice in one batch.
                at = (at * 48_271) % 2_147_483_647;
                let first = rest.remove(at % rest.len());
                let mut batch = vec![first.clone()];
                batch.extend(rest.drain(..(at / 7 % 4).min(rest.len())));
                batch.push(first);
                stage.process().rollup(batch).await.unwrap();
            }
        }
        assert_eq!(counters(&stage).await, expected, "seed {seed}");
        let again = stage.process().rollup(blocks).await.unwrap();
        assert_eq!(again.posted_traces, 0, "what is known costs no write");
    }
}

/// Live state whose process dies before or behind its so-many-th call.
struct Dying {
    live: Arc<dyn Live>,
    left: AtomicUsize,
    behind: bool,
}

impl Dying {
    fn dead<T>() -> Result<T, StoreError> {
        Err(StoreError::unavailable("work", "this process is dead"))
    }

    /// Whether this is the call at which it dies; no call follows.
    fn dies(&self) -> bool {
        self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) == Err(0)
    }
}

#[async_trait]
impl Live for Dying {
    async fn traces(&self, traces: &[u64]) -> Result<Vec<TraceState>, StoreError> {
        if self.dies() { Self::dead() } else { self.live.traces(traces).await }
    }

    async fn blocks(&self, names: &[BlockName]) -> Result<Vec<Vec<u8>>, StoreError> {
        if self.dies() { Self::dead() } else { self.live.blocks(names).await }
    }

    async fn arrived(&self, blocks: &[BlockName]) -> Result<(), StoreError> {
        if self.dies() { Self::dead() } else { self.live.arrived(blocks).await }
    }

    async fn post(&self, changes: Vec<TraceChange>) -> Result<(), PostError> {
        if self.dies() {
            if self.behind {
                self.live.post(changes).await?;
            }
            return Ok(Self::dead()?);
        }
        self.live.post(changes).await
    }

    async fn counters(&self, keys: &[CounterKey]) -> Result<Vec<Amount>, StoreError> {
        self.live.counters(keys).await
    }
}

#[tokio::test]
async fn bud_1_a_crash_between_any_two_calls_is_made_good_by_the_redelivery() {
    let events = events();
    let expected = expected(&events).await;
    let mut survived = 0;
    for calls in 0..40 {
        for behind in [false, true] {
            let stage = recorded(&events).await;
            let blocks = blocks(&stage).await;
            let (half, rest) = blocks.split_at(blocks.len() / 2);
            let live = Arc::new(Dying { live: stage.ports().live, left: AtomicUsize::new(calls), behind });
            let dying = App::new(Ports { live, ..stage.ports() }, [7; 32], 1).sharing(true);
            let first = dying.rollup(rest.to_vec()).await.is_ok();
            let second = first && dying.rollup(half.to_vec()).await.is_ok();
            survived += usize::from(second);
            stage.process().rollup(blocks).await.unwrap();
            assert_eq!(counters(&stage).await, expected, "{calls} calls, behind: {behind}");
        }
        if survived > 0 {
            assert!(calls >= 5, "several calls were cut off");
            return;
        }
    }
    panic!("no rollup came to its end");
}

pub(crate) const CRITICAL: &str = r#"
[[agents]]
id = "pager"
critical = true
[[budgets]]
scope = "organisation"
limit = "1"
"#;

pub(crate) fn critical(id: &str, amount: &str) -> Value {
    json!({
        "event_id": id, "used_at": "2026-11-10T07:59:00Z", "kind": "tool", "priority": "critical",
        "tags": { "agent": "pager" }, "cost": { "amount": amount, "currency": "USD" },
    })
}

/// The first event is within the limit; the others, of one request, go beyond it in whatever order.
#[tokio::test]
async fn bud_2_critical_work_that_did_not_ask_is_logged_once_through_crashes_and_redelivery() {
    let mut survived = 0;
    for calls in 0..20 {
        for behind in [false, true] {
            let stage = Stage::bare();
            let app = stage.process();
            app.apply_organisation(&format!("{ORGANISATION}{CRITICAL}"), None, false).await.unwrap();
            stage.ingest(&app, &[critical("c1", "0.9")]).await;
            let within = blocks(&stage).await;
            stage.process().rollup(within.clone()).await.unwrap();
            stage.ingest(&app, &[critical("c2", "0.3"), critical("c3", "0.3")]).await;
            let blocks = blocks(&stage).await;
            let live = Arc::new(Dying { live: stage.ports().live, left: AtomicUsize::new(calls), behind });
            let dying = App::new(Ports { live, ..stage.ports() }, [7; 32], 1).sharing(true);
            survived += usize::from(dying.rollup(blocks.clone()).await.is_ok());
            for _ in 0..2 {
                stage.process().rollup(blocks.clone()).await.unwrap();
                stage.process().rollup(within.clone()).await.unwrap();
            }
            let log = app.audit_entries(&Principal::operator(), 0).await.unwrap();
            let logged = log.iter().filter(|entry| entry.action == "critical-exemption");
            let mut logged: Vec<_> = logged.map(|entry| (&entry.detail["event_id"], &entry.detail["posted"])).collect();
            logged.sort_by_key(|(id, _)| id.to_string());
            let ids: Vec<&Value> = logged.iter().map(|(id, _)| *id).collect();
            assert_eq!(ids, [&json!("c2"), &json!("c3")], "{calls} calls, behind: {behind}");
            let posted: Vec<&Value> = logged.iter().map(|(_, posted)| *posted).collect();
            assert!(posted.contains(&&json!("1.5")), "the later of both: {posted:?}");
        }
        if survived > 0 {
            assert!(calls >= 3, "several calls were cut off");
            return;
        }
    }
    panic!("no rollup came to its end");
}

/// The events that the record says went beyond a limit, and what was posted then, in order of the events.
async fn beyond(app: &App) -> Vec<(String, String)> {
    let log = app.audit_entries(&Principal::operator(), 0).await.unwrap();
    let logged = log.iter().filter(|entry| entry.action == "critical-exemption");
    let text = |entry: &AuditEntry, name: &str| entry.detail[name].as_str().unwrap().to_owned();
    let mut logged: Vec<_> = logged.map(|entry| (text(entry, "event_id"), text(entry, "posted"))).collect();
    logged.sort();
    logged
}

async fn critical_stage() -> Stage {
    let stage = Stage::bare();
    stage.process().apply_organisation(&format!("{ORGANISATION}{CRITICAL}"), None, false).await.unwrap();
    stage
}

/// Live state of which no block can be read.
struct Damaging(Arc<dyn Live>);

#[async_trait]
impl Live for Damaging {
    async fn traces(&self, traces: &[u64]) -> Result<Vec<TraceState>, StoreError> {
        self.0.traces(traces).await
    }

    async fn blocks(&self, _: &[BlockName]) -> Result<Vec<Vec<u8>>, StoreError> {
        Err(StoreError::Damaged { what: "a block".into(), detail: "it is gone".into() })
    }

    async fn arrived(&self, blocks: &[BlockName]) -> Result<(), StoreError> {
        self.0.arrived(blocks).await
    }

    async fn post(&self, changes: Vec<TraceChange>) -> Result<(), PostError> {
        self.0.post(changes).await
    }

    async fn counters(&self, keys: &[CounterKey]) -> Result<Vec<Amount>, StoreError> {
        self.0.counters(keys).await
    }
}

#[tokio::test]
async fn bud_2_a_trace_that_could_not_be_posted_is_looked_at_when_it_is_and_no_entry_is_written_over() {
    let stage = critical_stage().await;
    let of_trace = |id: &str, amount: &str| {
        let mut event = critical(id, amount);
        event["trace_id"] = json!("t");
        event
    };
    stage.ingest(&stage.process(), &[of_trace("c1", "0.9")]).await;
    stage.process().rollup(blocks(&stage).await).await.unwrap();
    stage.ingest(&stage.process(), &[of_trace("c2", "0.5"), critical("c3", "0.2")]).await;
    let fresh = blocks_after(&stage, 1).await;
    assert_eq!(fresh.len(), 1, "both in one block");
    let live = Arc::new(Damaging(stage.ports().live));
    let blind = App::new(Ports { live, ..stage.ports() }, [7; 32], 1).sharing(true);
    let outcome = blind.rollup(fresh.clone()).await.unwrap();
    assert_eq!(outcome.failed_traces.len(), 1);
    let third = ("c3".to_owned(), "1.1".to_owned());
    assert_eq!(beyond(&stage.process()).await, std::slice::from_ref(&third));
    for _ in 0..2 {
        stage.process().rollup(fresh.clone()).await.unwrap();
        let logged = beyond(&stage.process()).await;
        assert_eq!((logged.len(), logged[0].0.as_str(), &logged[1]), (2, "c2", &third), "{logged:?}");
    }
}

/// Books that count what is read one by one.
struct Counting {
    books: Arc<dyn Books>,
    read: Mutex<Vec<Key>>,
}

#[async_trait]
impl Books for Counting {
    async fn get(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        self.read.lock().unwrap().push(key.clone());
        self.books.get(key).await
    }

    async fn get_all(&self, keys: &[Key]) -> Result<Vec<Option<Record>>, StoreError> {
        self.books.get_all(keys).await
    }

    async fn scan(&self, partition: &str, prefix: &str, after: Option<&str>, limit: usize) -> Result<Page, StoreError> {
        self.books.scan(partition, prefix, after, limit).await
    }

    async fn scan_back(
        &self,
        partition: &str,
        from: &str,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.books.scan_back(partition, from, before, limit).await
    }

    async fn write(&self, writes: Vec<Write>) -> Result<(), WriteError> {
        self.books.write(writes).await
    }
}

const LOOKED_AT: &str = "exemptions-looked-at";

/// Three full blocks of critical work: a key is read once, a call logs two of them, and the next goes on.
#[tokio::test]
async fn bud_2_much_critical_work_is_logged_in_bounded_calls_and_its_marks_end() {
    let stage = critical_stage().await;
    let app = stage.process();
    let made = app.create_key(Role::Ingest, None, Tags::default(), None).await.unwrap();
    let sender = app.authenticate(&made.key).await.unwrap();
    for trace in ["t1", "t2", "t3"] {
        let event = |number: usize| {
            let mut event = critical(&format!("{trace}-{number}"), "2");
            event["trace_id"] = json!(trace);
            event
        };
        let body = Value::from((0..BLOCK_EVENTS_MAX).map(event).collect::<Vec<_>>()).to_string().into_bytes();
        let (shape, listing) = (recoup_metering::Shape::Json, recoup_workflows::ingest::Listing::Errors);
        let receipt = app.ingest(&sender, &body, shape, listing).await.unwrap();
        assert_eq!(receipt.accepted, BLOCK_EVENTS_MAX as u64);
    }
    let arrived = blocks(&stage).await;
    assert_eq!(arrived.len(), 3);
    let books = stage.ports().books;
    let logged = || async { in_books(&*books, "audit").await.iter().filter(|sort| sort.len() == 53).count() };
    let counting = Arc::new(Counting { books: Arc::clone(&books), read: Mutex::default() });
    let process = App::new(Ports { books: counting.clone(), ..stage.ports() }, [7; 32], 1).sharing(true);
    let (kind, detail) = conflict(process.rollup(arrived.clone()).await);
    assert!(kind == "more-to-log" && detail.contains("8192") && detail.contains("1 blocks"), "{kind}: {detail}");
    assert_eq!((logged().await, in_books(&*books, LOOKED_AT).await.len()), (8_192, 2));
    let read = |partition: &str| counting.read.lock().unwrap().iter().filter(|key| key.partition == partition).count();
    assert_eq!((read("keys"), read(LOOKED_AT)), (1, 0), "one by one");
    process.rollup(arrived.clone()).await.unwrap();
    assert_eq!((logged().await, in_books(&*books, LOOKED_AT).await.len()), (12_288, 3));
    let now_s = stage.clock.now_ns() / 1_000_000_000;
    for (days, left) in [(LOOKED_AT_DAYS - 1, 3), (LOOKED_AT_DAYS + 1, 0)] {
        books.remove_expired(now_s + days * 86_400, 500).await.unwrap();
        assert_eq!(in_books(&*books, LOOKED_AT).await.len(), left, "{days} days later");
    }
}

/// The names of what stands in a partition.
async fn in_books(books: &dyn Books, partition: &str) -> Vec<String> {
    let (mut names, mut after) = (Vec::new(), None);
    loop {
        let page = books.scan(partition, "", after.as_deref(), 1_000).await.unwrap();
        names.extend(page.records.into_iter().map(|record| record.key.sort));
        after = page.next;
        if after.is_none() {
            return names;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn bud_1_sixteen_rollups_of_one_counter_at_once_are_exact() {
    let events = events();
    let expected = expected(&events).await;
    let stage = recorded(&events).await;
    let blocks = blocks(&stage).await;
    let mut tasks = Vec::new();
    for number in 0..16 {
        let process = stage.process();
        // Every block by several of them.
        let own: Vec<_> =
            blocks.iter().enumerate().filter(|(at, _)| (at + number) % 3 != 0).map(|(_, b)| b.clone()).collect();
        tasks.push(tokio::spawn(async move { process.rollup(own).await.map(drop) }));
    }
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!(counters(&stage).await, expected);
}

fn spans(trace: &str, count: usize) -> Vec<Value> {
    let span = |at: usize| {
        let mut event = json!({
            "event_id": format!("e{at}"), "trace_id": trace, "used_at": "2026-10-05T10:00:00Z", "kind": "llm",
            "provider": "example", "model": "known", "usage": { "input": 1_000 }, "tags": { "agent": "triage" },
        });
        match at {
            0 => event["tags"]["team"] = json!("support"),
            _ => event["parent_id"] = json!(format!("e{}", (at - 1) / 8)),
        }
        event
    };
    (0..count).map(span).collect()
}

async fn record_at_once(app: &App, events: &[Value]) {
    let body = Value::from(events.to_vec()).to_string().into_bytes();
    let operator = recoup_workflows::Principal::operator();
    let (shape, listing) = (recoup_metering::Shape::Json, recoup_workflows::ingest::Listing::Errors);
    let receipt = app.ingest(&operator, &body, shape, listing).await.unwrap();
    assert_eq!(receipt.accepted, events.len() as u64);
}

/// A trace of 50,000 spans in batches of 500, its root last; and 1,000 traces in one request.
#[tokio::test]
async fn bud_1_large_traces_and_many_traces_are_counted_exactly() {
    let stage = recorded(&[]).await;
    let app = stage.process();
    let all = spans("large", 50_000);
    for batch in all.rchunks(500) {
        record_at_once(&app, batch).await;
    }
    let many: Vec<Value> = (0..1_000).flat_map(|at| spans(&format!("t{at}"), 2)).collect();
    record_at_once(&app, &many).await;
    let blocks = blocks(&stage).await;
    assert!(blocks.len() >= 100);
    for batch in blocks.chunks(10) {
        stage.process().rollup(batch.to_vec()).await.unwrap();
    }
    let counters = counters(&stage).await;
    // 52,000 spans of 0.003 each, and every trace has named its payer.
    assert_eq!(counters[0].to_string(), "156");
    assert_eq!(counters[1].to_string(), "156");
    assert!(counters[2].is_zero());
}

/// CLO-1: what cannot be read stops nothing else.
#[tokio::test]
async fn clo_1_a_damaged_block_is_told_of_and_the_others_go_on() {
    let stage = recorded(&events()).await;
    let mut blocks = blocks(&stage).await;
    stage.process().rollup(blocks.clone()).await.unwrap();
    let before = counters(&stage).await;
    stage.damage_a_block();
    let more = json!({
        "event_id": "later", "trace_id": "t1", "parent_id": "root", "used_at": "2026-10-02T09:00:00Z", "kind": "llm",
        "provider": "example", "model": "known", "usage": { "input": 1_000 },
    });
    let alone = json!({
        "event_id": "alone", "used_at": "2026-10-09T09:00:00Z", "kind": "llm", "provider": "example", "model": "known",
        "usage": { "input": 1_000 }, "tags": { "team": "marketing" },
    });
    stage.ingest(&stage.process(), &[more, alone]).await;
    let mut arrived = blocks_after(&stage, blocks.len() as u64).await;
    let mut broken = blocks.remove(1);
    broken.bytes = vec![0; 10];
    broken.name.digest = recoup_model::Digest::of(b"broken");
    arrived.push(broken);
    let outcome = stage.process().rollup(arrived).await.unwrap();
    assert_eq!(outcome.unreadable.len(), 1);
    assert_eq!(outcome.failed_traces.len(), 1, "the trace with an earlier block that is gone");
    let after = counters(&stage).await;
    let added = after[2].checked_sub(before[2]).unwrap();
    assert_eq!((added.to_string(), after[1]), ("0.003".to_owned(), before[1]));
}
