//! What functions do with what they cannot do now, and with answers that Lambda does not give: over a store of their own, and a
//! server on this machine in the place of S3 and SQS.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, reason = "tests")]

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use aws_lambda_events::dynamodb::Event;
use aws_lambda_events::sqs::SqsEvent;
use aws_types::SdkConfig;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{AUTHORIZATION, LOCATION};
use axum::response::{IntoResponse, Response};
use recoup_lambda::web::{ANSWER_BYTES_MAX, NoJobs, api};
use recoup_lambda::{notify, stream};
use recoup_model::Tags;
use recoup_model::period::format_instant;
use recoup_money::Amount;
use recoup_store::{
    Alert, Alerts, BlockName, Clock as _, CounterKey, EventLog as _, Live, PostError, Settlement, StoreError,
    SystemClock, TraceChange, TraceState,
};
use recoup_store_aws::{DeadLetters, DocumentSettings, S3Documents, config_of};
use recoup_store_sqlite::{Options, SqliteStore};
use recoup_workflows::notify::Channels;
use recoup_workflows::{App, Ports, Role};
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt as _;

use base64::Engine as _;

const ORGANISATION: &str = "[organisation]\nname = \"Batches\"\ncurrency = \"USD\"\ntime_zone = \"UTC\"\n\
    [[teams]]\nid = \"support\"\n[[budgets]]\nscope = \"team:support\"\nlimit = \"100\"\n";

struct Nowhere;

#[async_trait]
impl Alerts for Nowhere {
    async fn publish(&self, _alert: &Alert) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Live state that takes nothing while it is down.
struct Sometimes(Arc<SqliteStore>, AtomicBool);

#[async_trait]
impl Live for Sometimes {
    async fn traces(&self, traces: &[u64]) -> Result<Vec<TraceState>, StoreError> {
        self.0.traces(traces).await
    }

    async fn blocks(&self, names: &[BlockName]) -> Result<Vec<Vec<u8>>, StoreError> {
        self.0.blocks(names).await
    }

    async fn arrived(&self, blocks: &[BlockName]) -> Result<(), StoreError> {
        self.0.arrived(blocks).await
    }

    async fn post(&self, changes: Vec<TraceChange>) -> Result<(), PostError> {
        if self.1.load(Ordering::SeqCst) {
            return Err(PostError::Store(StoreError::unavailable("post", "throttled")));
        }
        self.0.post(changes).await
    }

    async fn post_settling(
        &self,
        changes: Vec<TraceChange>,
        settlements: &BTreeSet<Settlement>,
    ) -> Result<BTreeSet<Settlement>, PostError> {
        self.post(changes).await?;
        Ok(settlements.clone())
    }

    async fn counters(&self, keys: &[CounterKey]) -> Result<Vec<Amount>, StoreError> {
        self.0.counters(keys).await
    }
}

/// Path and body of a request.
type Sent = (String, Vec<u8>);

/// What a service was sent, and whether it refuses it.
#[derive(Clone, Default)]
struct Service {
    sent: Arc<Mutex<Vec<Sent>>>,
    refuses: Arc<AtomicBool>,
}

impl Service {
    async fn take(State(service): State<Self>, request: Request) -> Response {
        let path = request.uri().path().to_owned();
        let bytes = axum::body::to_bytes(request.into_body(), usize::MAX).await.unwrap();
        service.sent.lock().unwrap().push((path, bytes.to_vec()));
        if service.refuses.load(Ordering::SeqCst) {
            let body = json!({ "__type": "com.amazonaws.sqs#QueueDoesNotExist", "message": "gone" });
            return (StatusCode::BAD_REQUEST, body.to_string()).into_response();
        }
        json!({ "MessageId": "m" }).to_string().into_response()
    }

    /// Serves on a port of this machine; the configuration that leads there.
    async fn serve(&self) -> SdkConfig {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(Self::take).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let variables = |name: &str| match name {
            "AWS_REGION" => Some("eu-central-1".to_owned()),
            "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("made-up".to_owned()),
            "AWS_ENDPOINT_URL" => Some(url.clone()),
            _ => None,
        };
        config_of(variables).unwrap()
    }

    fn bodies(&self) -> Vec<Value> {
        let sent = self.sent.lock().unwrap();
        sent.iter().filter_map(|(_, body)| serde_json::from_slice(body).ok()).collect()
    }
}

struct Stage {
    _folder: TempDir,
    store: Arc<SqliteStore>,
    live: Arc<Sometimes>,
    app: Arc<App>,
    service: Service,
    config: SdkConfig,
}

impl Stage {
    /// `sharing`: another process rolls up, as on AWS.
    async fn new(sharing: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(SqliteStore::open(folder.path(), Options::default()).unwrap());
        let live = Arc::new(Sometimes(Arc::clone(&store), AtomicBool::new(false)));
        let ports = Ports {
            log: store.clone(),
            live: live.clone(),
            leases: store.clone(),
            documents: Arc::new(store.documents().clone()),
            books: store.clone(),
            alerts: Arc::new(Nowhere),
            clock: Arc::new(SystemClock),
        };
        let app = Arc::new(App::new(ports, [7; 32], 1).sharing(sharing));
        app.apply_organisation(ORGANISATION, None, false).await.unwrap();
        let service = Service::default();
        let config = service.serve().await;
        Self { _folder: folder, store, live, app, service, config }
    }

    fn dead_letters(&self) -> DeadLetters {
        DeadLetters::new("https://sqs.eu-central-1.amazonaws.com/000000000000/dead", &self.config)
    }

    async fn ask(&self, role: Role, request: axum::http::request::Builder, body: String) -> Response {
        let key = self.app.create_key(role, None, Tags::default(), None).await.unwrap().key;
        let documents = S3Documents::new(DocumentSettings { bucket: "documents".into(), lock: None }, &self.config);
        let router = api("api", Arc::clone(&self.app), Arc::new(NoJobs), Some(documents));
        let request = request.header(AUTHORIZATION, format!("Bearer {key}")).body(Body::from(body)).unwrap();
        router.oneshot(request).await.unwrap()
    }

    async fn send(&self, events: &[Value]) {
        let body = Value::from(events).to_string();
        let answer = self.ask(Role::Ingest, Request::post("/v1/events?results=errors"), body).await;
        assert_eq!(answer.status(), StatusCode::OK);
    }

    /// What the stream brings of the log, from this sequence number on.
    async fn records(&self) -> Vec<Value> {
        let infos = self.store.blocks_after(0, 100).await.unwrap();
        let blocks = self.store.read(infos.iter().map(|info| info.seq).collect()).await.unwrap();
        let record = |(number, block): (usize, recoup_store::StoredBlock)| {
            let name = block.info.name();
            let bytes = base64(&block.bytes);
            let (pk, sk) = (format!("{}#{:03}", name.utc_day, name.lane), name.digest.to_string());
            let keys = json!({ "pk": { "S": pk }, "sk": { "S": sk } });
            let image = json!({ "pk": { "S": pk }, "sk": { "S": sk }, "n": { "N": name.events.to_string() }, "b": { "B": bytes } });
            json!({
                "eventID": number.to_string(), "eventName": "INSERT", "eventSource": "aws:dynamodb", "awsRegion": "eu-central-1",
                "dynamodb": {
                    "ApproximateCreationDateTime": 1_764_400_000, "Keys": keys, "NewImage": image,
                    "SequenceNumber": format!("{}00", number + 1), "SizeBytes": 1, "StreamViewType": "NEW_IMAGE",
                },
            })
        };
        blocks.into_iter().enumerate().map(record).collect()
    }

    async fn posted(&self) -> String {
        let now = format_instant(SystemClock.now_ns());
        let key = CounterKey { scope: "team:support".into(), period: now[..7].to_owned() };
        self.store.counters(&[key]).await.unwrap()[0].to_string()
    }
}

fn base64(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn event(id: &str, more: &Value) -> Value {
    let used_at = format_instant(SystemClock.now_ns());
    let mut event = json!({ "event_id": id, "used_at": used_at, "kind": "tool", "tags": { "team": "support" },
        "cost": { "amount": "0.25", "currency": "USD" } });
    let more = more.as_object().unwrap().clone();
    event.as_object_mut().unwrap().extend(more);
    event
}

#[tokio::test]
async fn a_batch_of_the_stream_that_the_store_does_not_take_is_given_back_from_its_first_record_on() {
    let stage = Stage::new(true).await;
    stage.send(&[event("a", &json!({}))]).await;
    stage.send(&[event("b", &json!({}))]).await;
    let records = stage.records().await;
    let batch = || -> Event { serde_json::from_value(json!({ "Records": records })).unwrap() };
    stage.live.1.store(true, Ordering::SeqCst);
    let answer = stream::take(&stage.app, &stage.dead_letters(), batch()).await;
    let failures: Vec<_> = answer.batch_item_failures.iter().map(|failure| failure.item_identifier.clone()).collect();
    assert_eq!(failures, [Some("100".to_owned())], "of a stream the first one stands for all after it");
    assert_eq!(stage.posted().await, "0");
    stage.live.1.store(false, Ordering::SeqCst);
    for _ in 0..2 {
        let answer = stream::take(&stage.app, &stage.dead_letters(), batch()).await;
        assert!(answer.batch_item_failures.is_empty());
        assert_eq!(stage.posted().await, "0.5", "when it comes again, and again");
    }
    assert_eq!(stage.service.bodies(), Vec::<Value>::new(), "nothing was put aside");
}

#[tokio::test]
async fn a_block_that_nobody_can_read_is_put_aside_and_given_back_only_while_that_fails() {
    let stage = Stage::new(true).await;
    stage.send(&[event("a", &json!({}))]).await;
    let mut records = stage.records().await;
    let mut damaged = records[0].clone();
    damaged["dynamodb"]["NewImage"]["b"]["B"] = json!(base64(b"no block"));
    damaged["dynamodb"]["NewImage"]["sk"]["S"] = json!("00".repeat(32));
    records.insert(0, damaged);
    let batch = || -> Event { serde_json::from_value(json!({ "Records": records })).unwrap() };
    stage.service.refuses.store(true, Ordering::SeqCst);
    let answer = stream::take(&stage.app, &stage.dead_letters(), batch()).await;
    assert_eq!(answer.batch_item_failures.len(), 1, "nothing is lost");
    stage.service.refuses.store(false, Ordering::SeqCst);
    let answer = stream::take(&stage.app, &stage.dead_letters(), batch()).await;
    assert!(answer.batch_item_failures.is_empty());
    let letter: Value =
        serde_json::from_str(stage.service.bodies().pop().unwrap()["MessageBody"].as_str().unwrap()).unwrap();
    assert!(letter["key"].as_str().unwrap().ends_with(&"00".repeat(32)), "{letter}");
    assert_eq!(letter["source"], "rollup");
    assert!(!letter["reason"].as_str().unwrap().is_empty());
    assert_eq!(stage.posted().await, "0.25", "the others went on");
}

#[tokio::test]
async fn of_a_batch_of_alerts_only_those_that_fail_are_given_back() {
    let stage = Stage::new(true).await;
    let desk =
        notify::Desk { app: stage.app.clone(), channels: Channels::default(), dead_letters: stage.dead_letters() };
    let message =
        |id: &str, body: &str| json!({ "messageId": id, "body": body, "attributes": {}, "messageAttributes": {} });
    let fine = json!({ "id": "kill-1", "kind": "kill" }).to_string();
    let batch = || -> SqsEvent {
        serde_json::from_value(
            json!({ "Records": [message("m-1", &fine), message("m-2", "no JSON"), message("m-3", &fine)] }),
        )
        .unwrap()
    };
    stage.service.refuses.store(true, Ordering::SeqCst);
    let answer = notify::tell(&desk, batch()).await;
    let failures: Vec<&str> = answer.batch_item_failures.iter().map(|one| one.item_identifier.as_str()).collect();
    assert_eq!(failures, ["m-2"], "it cannot be put aside");
    stage.service.refuses.store(false, Ordering::SeqCst);
    let answer = notify::tell(&desk, batch()).await;
    assert!(answer.batch_item_failures.is_empty());
    let letter: Value =
        serde_json::from_str(stage.service.bodies().pop().unwrap()["MessageBody"].as_str().unwrap()).unwrap();
    assert_eq!((&letter["key"], &letter["source"]), (&json!("m-2"), &json!("notify")));
}

#[tokio::test]
async fn an_answer_that_lambda_does_not_give_is_kept_and_its_reader_is_sent_there() {
    let stage = Stage::new(false).await;
    let spans = 9_000;
    let long = "x".repeat(100);
    for part in 0..3 {
        let span = |number: usize| {
            let id = format!("{long}-{number}");
            event(
                &id,
                &json!({ "trace_id": "large", "parent_id": "root", "tags": { "agent": long, "team": "support" } }),
            )
        };
        let events: Vec<Value> = (part * spans / 3..(part + 1) * spans / 3).map(span).collect();
        stage.send(&events).await;
    }
    let small = stage.ask(Role::Admin, Request::get("/v1/budgets"), String::new()).await;
    assert_eq!(small.status(), StatusCode::OK);
    let answer = stage.ask(Role::Admin, Request::get("/v1/traces/large"), String::new()).await;
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    let link = answer.headers()[LOCATION].to_str().unwrap();
    let sent = stage.service.sent.lock().unwrap();
    let (path, kept) = sent.last().expect("it was kept");
    assert!(link.contains(path.as_str()) && link.contains("X-Amz-Expires=900"), "{link} {path}");
    assert!(kept.len() > ANSWER_BYTES_MAX, "{}", kept.len());
    let text = String::from_utf8_lossy(kept);
    assert!(text.contains("\"trace_id\":\"large\"") && text.contains(&format!("{long}-8999")), "all of it");
}
