//! Books that several applications work on, each as if it were another process: a clock that can be set, a topic that keeps
//! what it is told and can be out of order, and books that break off after so many writes.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use recoup_metering::Shape;
use recoup_model::Period;
use recoup_store::{Alert, Alerts, Books, Clock, Key, Page, Record, StoreError, Write, WriteError};
use recoup_store_sqlite::{Options, SqliteStore};
use recoup_workflows::close::CloseRequest;
use recoup_workflows::extensions::ExtensionRequest;
use recoup_workflows::ingest::Listing;
use recoup_workflows::lists::Window;
use recoup_workflows::statements::Format;
use recoup_workflows::{App, Ports, Principal, Refusal};
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) const ORGANISATION: &str = r#"
[organisation]
name = "Steps"
currency = "USD"
time_zone = "Europe/Berlin"
[policy]
lanes = 1
[[teams]]
id = "support"
cost_centre = "CC-1"
mode = "chargeback"
[[teams]]
id = "marketing"
[[agents]]
id = "triage"
owner = "support"
billing = "task"
[[agents]]
id = "guardrail"
owner = "support"
shared_pool = "safety"
[[pools]]
id = "safety"
basis = "invocations"
[[task_types]]
id = "ticket"
seed_price = "0.35"
[[prices]]
provider = "example"
model = "known"
from = "2026-01-01"
per_million = { input = "3.00" }
"#;

/// 2026-11-10T08:00:00Z: the month of the events is over, and its soft-close days as well.
const NOW_NS: i64 = 1_794_297_600_000_000_000;

pub(crate) fn month() -> Period {
    "2026-10".parse().unwrap()
}

#[derive(Debug)]
pub(crate) struct SetClock {
    now_ns: AtomicI64,
    /// How much passes between two looks at it, so that it never stands still and runs sort by their start.
    pub(crate) step_ns: AtomicI64,
}

impl SetClock {
    pub(crate) fn pass_minutes(&self, minutes: i64) {
        self.now_ns.fetch_add(minutes * 60_000_000_000, Ordering::SeqCst);
    }
}

impl Clock for SetClock {
    fn now_ns(&self) -> i64 {
        self.now_ns.fetch_add(self.step_ns.load(Ordering::SeqCst), Ordering::SeqCst)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Topic {
    pub(crate) is_down: AtomicBool,
    /// How long each takes, milliseconds.
    pub(crate) takes_ms: AtomicU64,
    told: Mutex<Vec<Alert>>,
}

impl Topic {
    pub(crate) fn ids(&self) -> Vec<String> {
        self.told().into_iter().map(|alert| alert.id).collect()
    }

    pub(crate) fn told(&self) -> Vec<Alert> {
        self.told.lock().unwrap().clone()
    }
}

#[async_trait]
impl Alerts for Topic {
    async fn publish(&self, alert: &Alert) -> Result<(), StoreError> {
        tokio::time::sleep(Duration::from_millis(self.takes_ms.load(Ordering::SeqCst))).await;
        if self.is_down.load(Ordering::SeqCst) {
            return Err(StoreError::unavailable("publish an alert", "the topic is down"));
        }
        self.told.lock().unwrap().push(alert.clone());
        Ok(())
    }
}

/// Books whose process dies before its so-many-th write.
struct Breaking {
    books: Arc<dyn Books>,
    left: AtomicUsize,
}

#[async_trait]
impl Books for Breaking {
    async fn get(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        self.books.get(key).await
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
        let left = self.left.load(Ordering::SeqCst);
        if left == 0 {
            return Err(StoreError::unavailable("write records", "this process is dead").into());
        }
        self.left.store(left - 1, Ordering::SeqCst);
        self.books.write(writes).await
    }
}

/// Books whose process, before it first goes on from the entries of a ledger, waits until another one has read them too.
struct Meeting {
    books: Arc<dyn Books>,
    place: Arc<tokio::sync::Barrier>,
    has_met: AtomicBool,
}

#[async_trait]
impl Books for Meeting {
    async fn get(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        self.books.get(key).await
    }

    async fn scan(&self, partition: &str, prefix: &str, after: Option<&str>, limit: usize) -> Result<Page, StoreError> {
        let page = self.books.scan(partition, prefix, after, limit).await?;
        if partition.starts_with("ledger/") && !self.has_met.swap(true, Ordering::SeqCst) {
            self.place.wait().await;
        }
        Ok(page)
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

/// Books with a month of events that no night has seen.
pub(crate) struct Stage {
    store: Arc<SqliteStore>,
    pub(crate) clock: Arc<SetClock>,
    pub(crate) topic: Arc<Topic>,
    folder: TempDir,
}

fn event(day: u32, id: &str, more: &Value) -> Value {
    let mut event = json!({
        "event_id": id, "used_at": format!("2026-10-{day:02}T21:30:00Z"), "kind": "llm", "provider": "example",
        "model": "known", "usage": { "input": 100_000 + day }, "tags": { "team": "support", "agent": "triage" },
    });
    for (name, value) in more.as_object().unwrap() {
        event[name] = value.clone();
    }
    event
}

/// Asks for more money for the team support, without naming an alert.
pub(crate) fn more(amount: &str, reason: &str) -> ExtensionRequest {
    ExtensionRequest {
        scope: "team:support".into(),
        kind: None,
        amount: amount.parse().unwrap(),
        reason: reason.into(),
        alert: None,
    }
}

/// Tasks, a shared agent, a trace over two days, two reports of one call, and a model without a price.
pub(crate) fn events() -> Vec<Value> {
    let mut events = Vec::new();
    for day in 1..=12 {
        let trace = format!("t{day}");
        let tags = json!({ "team": "support", "agent": "triage", "task_type": "ticket" });
        events.push(event(day, "root", &json!({ "trace_id": trace, "tags": tags, "status": "ok" })));
        let guard = json!({ "trace_id": trace, "parent_id": "root", "tags": { "agent": "guardrail" } });
        events.push(event(day, "guard", &guard));
        let used_at = format!("2026-10-{:02}T01:00:00Z", day + 1);
        events.push(event(day, "late", &json!({ "trace_id": trace, "parent_id": "root", "used_at": used_at })));
        events.push(event(day, &format!("m{day}"), &json!({ "tags": { "team": "marketing" } })));
    }
    let twice = |id: &str, tags: Value| event(5, id, &json!({ "response_id": "r1", "trace_id": id, "tags": tags }));
    events.push(twice("one", json!({ "team": "marketing" })));
    events.push(twice("two", json!({})));
    events.push(event(7, "x1", &json!({ "model": "unheard-of" })));
    events.push(event(8, "x2", &json!({ "model": "unheard-of" })));
    events
}

impl Stage {
    pub(crate) async fn new() -> Self {
        let stage = Self::bare();
        let app = stage.alone();
        app.apply_organisation(ORGANISATION, None, false).await.unwrap();
        stage.ingest(&app, &events()).await;
        stage
    }

    /// Books with nothing in them.
    pub(crate) fn bare() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(SqliteStore::open(folder.path(), Options::default()).unwrap());
        let clock = Arc::new(SetClock { now_ns: AtomicI64::new(NOW_NS), step_ns: AtomicI64::new(1_000) });
        Self { store, clock, topic: Arc::default(), folder }
    }

    pub(crate) async fn ingest(&self, app: &App, events: &[Value]) {
        for some in events.chunks(7) {
            let body = Value::from(some.to_vec()).to_string().into_bytes();
            let receipt = app.ingest(&Principal::operator(), &body, Shape::Json, Listing::All).await.unwrap();
            assert_eq!(receipt.accepted, some.len() as u64, "{:?}", receipt.results);
        }
    }

    pub(crate) fn ports(&self) -> Ports {
        Ports {
            log: self.store.clone(),
            live: self.store.clone(),
            leases: self.store.clone(),
            books: self.store.clone(),
            documents: Arc::new(self.store.documents().clone()),
            alerts: self.topic.clone(),
            clock: self.clock.clone(),
        }
    }

    /// A place for files.
    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// As a disk would that forgets.
    pub(crate) fn damage_a_block(&self) {
        let database = rusqlite::Connection::open(self.folder.path().join("recoup.sqlite3")).unwrap();
        let changed = database.execute("UPDATE blocks SET bytes = x'00' WHERE seq = 1", []).unwrap();
        assert_eq!(changed, 1);
    }

    /// An application whose process has the books for itself.
    pub(crate) fn alone(&self) -> Arc<App> {
        Arc::new(App::new(self.ports(), [7; 32], 1))
    }

    /// Another process of those that share the books.
    pub(crate) fn process(&self) -> Arc<App> {
        Arc::new(App::new(self.ports(), [7; 32], 1).sharing(true))
    }

    /// One that dies before its so-many-th write, after few steps: it takes large parts.
    pub(crate) fn dying_process(&self, writes: usize) -> Arc<App> {
        let books = Arc::new(Breaking { books: self.store.clone(), left: AtomicUsize::new(writes) });
        let ports = Ports { books, ..self.ports() };
        Arc::new(App::new(ports, [7; 32], 1))
    }

    /// Two that meet where both have read the ledger and neither has posted.
    pub(crate) fn meeting_processes(&self) -> [Arc<App>; 2] {
        let place = Arc::new(tokio::sync::Barrier::new(2));
        [(), ()].map(|()| {
            let has_met = AtomicBool::new(false);
            let books = Arc::new(Meeting { books: self.store.clone(), place: place.clone(), has_met });
            Arc::new(App::new(Ports { books, ..self.ports() }, [7; 32], 1).sharing(true))
        })
    }

    /// Everything that was issued: the manifest and each statement, byte for byte, and the balances of the month.
    pub(crate) async fn issued(&self) -> (Vec<u8>, Vec<Vec<u8>>, Value) {
        let app = self.process();
        let operator = Principal::operator();
        let (_, manifest) = app.manifest(&operator, month()).await.unwrap();
        let mut statements = Vec::new();
        for issued in app.list_statements(&operator, Some(month())).await.unwrap() {
            let wanted = (month(), issued.team.as_str(), None);
            statements.push(app.statement(&operator, wanted, Format::Json).await.unwrap().1);
        }
        assert_eq!(statements.len(), 2);
        let balances = app.balances(month()).await.unwrap();
        assert!(balances.trial().unwrap().is_zero());
        (manifest, statements, json!(balances.accounts()))
    }
}

/// All of a list, in tests.
pub(crate) fn all() -> Window {
    Window::first(1_000)
}

pub(crate) fn closing(run_missing_nights: bool) -> CloseRequest {
    CloseRequest { period: month(), plan: false, as_of_ns: None, run_missing_nights }
}

/// The kind of a conflict.
#[track_caller]
pub(crate) fn conflict<T: std::fmt::Debug>(result: Result<T, Refusal>) -> (&'static str, String) {
    match result {
        Err(Refusal::Conflict { kind, detail }) => (kind, detail),
        other => panic!("no conflict: {other:?}"),
    }
}
