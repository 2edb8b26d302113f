//! Many callers at once on the budgets of one server: each asks, spends and reports, gives back, or says nothing more.
//!
//! What the callers know at the end is the only truth that tests compare with. A request that is not answered is sent again,
//! wherever the server is by then: an event that comes twice counts once, and so does a release.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chrono::Utc;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::amount::{Pico, pico};
use crate::calendar::printed;
use crate::chance::Chance;

/// How long a caller tries to get an answer, over restarts.
const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(10);
/// Prices of [`RACE_MODEL`] in picounits a token: every call costs an odd number of them.
const INPUT_PICO: Pico = 3_141_593;
const OUTPUT_PICO: Pico = 15_926_535;
/// Most tokens of one call, each way.
const INPUT_TOKENS_MAX: u64 = 1_000;
const OUTPUT_TOKENS_MAX: u64 = 100;

/// Of a hundred calls so many are reported.
const REPORTED_OF_100: u64 = 75;

/// The model that callers spend on, to be added to an organisation file.
pub const RACE_MODEL: &str = r#"
[[prices]]
provider = "example"
model = "example-odd"
from = "2025-01-01"
per_million = { input = "3.141593", output = "15.926535" }
"#;

/// The most that one call of a race costs.
pub const RACE_CALL_MAX: Pico = INPUT_PICO * (INPUT_TOKENS_MAX as Pico) + OUTPUT_PICO * (OUTPUT_TOKENS_MAX as Pico);

/// Who races, and how.
#[derive(Clone, Debug)]
pub struct Race {
    /// The same seed gives the same callers with the same intentions.
    pub seed: u64,
    /// How many callers.
    pub callers: usize,
    /// How often each asks.
    pub rounds: usize,
    /// Tags of the callers, in turns; the last one's work claims to be critical where `critical` says so.
    pub tags: Vec<Value>,
    /// Whether the last tags come with the priority `critical`.
    pub critical: bool,
    /// Whether every call is as large as can be, costs what it was estimated at, and is reported.
    pub full: bool,
}

/// What callers know. Amounts are by agent.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Calls that were allowed.
    pub allowed: usize,
    /// Calls that were denied, by reason.
    pub denied: BTreeMap<String, usize>,
    /// What was reported and acknowledged.
    pub billed: BTreeMap<String, Pico>,
    /// Estimates of callers who said nothing more.
    pub silent: BTreeMap<String, Pico>,
    /// Estimates of critical work that was let through beyond a limit.
    pub exempt: Vec<Pico>,
    /// Requests that were not answered at first.
    pub unanswered: usize,
}

impl Known {
    /// What was billed to all agents.
    pub fn billed_in_all(&self) -> Pico {
        self.billed.values().sum()
    }

    /// Estimates of all callers who said nothing more.
    pub fn silent_in_all(&self) -> Pico {
        self.silent.values().sum()
    }
}

struct Shared {
    http: reqwest::Client,
    url: Mutex<String>,
    key: String,
    known: Mutex<Known>,
    answers: AtomicUsize,
    done: AtomicUsize,
    /// What events on their way cost at most: posted perhaps, while their reservation still holds.
    sending: AtomicU64,
    sent: AtomicU64,
}

/// A race that runs.
pub struct Racing {
    runtime: Runtime,
    shared: Arc<Shared>,
    callers: JoinSet<()>,
}

impl Race {
    /// Starts it, with the key of an admin or an agent.
    pub fn start(self, url: &str, key: &str) -> Racing {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        drop(rustls::crypto::ring::default_provider().install_default());
        let http = reqwest::Client::builder().timeout(PATIENCE).pool_max_idle_per_host(self.callers).no_proxy();
        let shared = Arc::new(Shared {
            http: http.build().unwrap(),
            url: Mutex::new(url.to_owned()),
            key: key.to_owned(),
            known: Mutex::default(),
            answers: AtomicUsize::new(0),
            done: AtomicUsize::new(0),
            sending: AtomicU64::new(0),
            sent: AtomicU64::new(0),
        });
        let mut callers = JoinSet::new();
        for number in 0..self.callers {
            let at = number % self.tags.len();
            let caller = Caller {
                shared: Arc::clone(&shared),
                chance: Chance::seeded(self.seed.wrapping_mul(1_000_003).wrapping_add(number as u64)),
                name: format!("{}-{number}", self.seed),
                tags: self.tags[at].clone(),
                critical: self.critical && at + 1 == self.tags.len(),
                full: self.full,
            };
            callers.spawn_on(caller.run(self.rounds), runtime.handle());
        }
        Racing { runtime, shared, callers }
    }
}

impl Racing {
    /// How often callers were answered so far.
    pub fn answers(&self) -> usize {
        self.shared.answers.load(Ordering::SeqCst)
    }

    /// Whether every caller is done.
    pub fn is_over(&self) -> bool {
        self.shared.done.load(Ordering::SeqCst) == self.callers.len()
    }

    /// The server is elsewhere now.
    pub fn moved_to(&self, url: &str) {
        url.clone_into(&mut self.shared.url.lock().unwrap());
    }

    /// Looks at every budget while the race goes on, and at what events on their way may cost at most: what is posted may
    /// count beside its reservation until the event is answered. `None` where the server was away.
    pub fn look(&self) -> Option<(Vec<Value>, Pico)> {
        let sent = self.shared.sent.load(Ordering::SeqCst);
        let rows = self.runtime.block_on(self.shared.send(Method::GET, "/v1/budgets", None))?.1;
        let sending = self.shared.sending.load(Ordering::SeqCst) - sent;
        Some((rows["rows"].as_array().unwrap().clone(), Pico::from(sending) * RACE_CALL_MAX))
    }

    /// Waits for every caller, and gives what they know.
    pub fn finish(mut self) -> Known {
        self.runtime.block_on(async {
            while let Some(caller) = self.callers.join_next().await {
                caller.unwrap();
            }
        });
        self.shared.known.lock().unwrap().clone()
    }
}

impl Shared {
    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Option<(u16, Value)> {
        let url = format!("{}{path}", self.url.lock().unwrap());
        let mut request = self.http.request(method, url).bearer_auth(&self.key);
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let response = request.send().await.ok()?;
        let status = response.status().as_u16();
        let body = response.bytes().await.ok()?;
        Some((status, serde_json::from_slice(&body).unwrap_or_default()))
    }

    /// Sends until there is an answer.
    async fn insist(&self, method: Method, path: &str, body: Option<&Value>) -> (u16, Value) {
        let started = Instant::now();
        loop {
            if let Some(answer) = self.send(method.clone(), path, body).await {
                self.answers.fetch_add(1, Ordering::SeqCst);
                return answer;
            }
            self.known.lock().unwrap().unanswered += 1;
            assert!(started.elapsed() < PATIENCE, "{path} was not answered");
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Counts a caller that is done, also one that fails its test.
struct Done(Arc<Shared>);

impl Drop for Done {
    fn drop(&mut self) {
        self.0.done.fetch_add(1, Ordering::SeqCst);
    }
}

struct Caller {
    shared: Arc<Shared>,
    chance: Chance,
    name: String,
    tags: Value,
    critical: bool,
    full: bool,
}

impl Caller {
    async fn run(mut self, rounds: usize) {
        let _done = Done(Arc::clone(&self.shared));
        for round in 0..rounds {
            self.call(round).await;
        }
    }

    async fn call(&mut self, round: usize) {
        let least = if self.full { (INPUT_TOKENS_MAX, OUTPUT_TOKENS_MAX) } else { (0, 0) };
        let input = self.chance.between(least.0, INPUT_TOKENS_MAX);
        let output = self.chance.between(least.1, OUTPUT_TOKENS_MAX);
        let used = (self.chance.between(least.0, input), self.chance.between(least.1, output));
        let fate = self.chance.between(1, if self.full { REPORTED_OF_100 } else { 100 });
        let estimate = INPUT_PICO * Pico::from(input) + OUTPUT_PICO * Pico::from(output);
        let answer = self.ask(input, output).await;
        assert_eq!(pico(answer["estimate"].as_str().unwrap()), estimate, "{answer}");
        let agent = self.agent();
        if answer["decision"] == "deny" {
            assert!(answer["reservation_id"].is_null(), "{answer}");
            let reason = answer["decided_by"]["reason"].as_str().unwrap().to_owned();
            *self.shared.known.lock().unwrap().denied.entry(reason).or_default() += 1;
            return;
        }
        {
            let mut known = self.shared.known.lock().unwrap();
            known.allowed += 1;
            if answer["decided_by"]["reason"] == "critical" {
                known.exempt.push(estimate);
            }
        }
        let reservation = answer["reservation_id"].as_str().map(str::to_owned);
        match fate {
            1..=65 => self.report(round, used, (reservation, 1)).await,
            66..=REPORTED_OF_100 => self.report(round, used, (reservation, 2)).await,
            76..=88 => self.release(reservation).await,
            _ => *self.shared.known.lock().unwrap().silent.entry(agent).or_default() += estimate,
        }
    }

    fn agent(&self) -> String {
        self.tags["agent"].as_str().unwrap().to_owned()
    }

    async fn ask(&self, input: u64, output: u64) -> Value {
        let mut request = json!({
            "tags": self.tags,
            "estimate": {
                "provider": "example", "model": "example-odd", "input_tokens": input, "max_output_tokens": output,
            },
        });
        if self.critical {
            request["priority"] = json!("critical");
        }
        let (status, answer) = self.shared.insist(Method::POST, "/v1/authorize", Some(&request)).await;
        assert_eq!(status, 200, "{answer}");
        for row in answer["scopes"].as_array().unwrap() {
            let left = pico(row["remaining"].as_str().unwrap());
            let is_within = left >= 0 || self.critical || answer["decision"] == "deny";
            assert!(is_within, "allowed beyond a limit: {answer}");
        }
        answer
    }

    /// Says what the call cost, so many times.
    async fn report(&self, round: usize, (input, output): (u64, u64), (reservation, times): (Option<String>, usize)) {
        let id = format!("{}-{round}", self.name);
        let mut event = json!({
            "event_id": id, "trace_id": id, "used_at": printed(Utc::now()), "kind": "llm", "provider": "example",
            "model": "example-odd", "usage": { "input": input, "output": output }, "tags": self.tags,
            "reservation_id": reservation,
        });
        if self.critical {
            event["priority"] = json!("critical");
        }
        self.shared.sending.fetch_add(1, Ordering::SeqCst);
        for _ in 0..times {
            let (status, receipt) = self.shared.insist(Method::POST, "/v1/events", Some(&event)).await;
            assert_eq!(status, 200, "{receipt}");
            let recorded = [&receipt["accepted"], &receipt["duplicate"]].map(|count| count.as_u64().unwrap());
            assert_eq!(recorded.iter().sum::<u64>(), 1, "{receipt}");
        }
        self.shared.sent.fetch_add(1, Ordering::SeqCst);
        let cost = INPUT_PICO * Pico::from(input) + OUTPUT_PICO * Pico::from(output);
        *self.shared.known.lock().unwrap().billed.entry(self.agent()).or_default() += cost;
    }

    async fn release(&self, reservation: Option<String>) {
        let Some(reservation) = reservation else { return };
        let path = format!("/v1/reservations/{reservation}");
        let (status, answer) = self.shared.insist(Method::DELETE, &path, None).await;
        assert_eq!(status, 204, "{answer}");
    }
}
