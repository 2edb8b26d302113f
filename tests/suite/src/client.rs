//! A client of the HTTP interface that waits for each answer.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::calendar::Month;

/// Media type of one event per line.
pub const NDJSON: &str = "application/x-ndjson";
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(180);
/// Rows of one page.
const PAGE_ROWS: usize = 1_000;

/// Talks to one server with one key.
#[derive(Debug)]
pub struct Client {
    runtime: Runtime,
    http: reqwest::Client,
    url: String,
    key: String,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The headers, their names in small letters.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
}

impl Reply {
    /// The same, if it has this status.
    #[track_caller]
    pub fn ok(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("no JSON ({error}): {}", self.text()))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header, or nothing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(String::as_str).unwrap_or_default()
    }
}

impl Client {
    pub(crate) fn new(url: &str, key: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        // A client wants a provider of cryptography, also where it speaks plain HTTP; an error says that there is one.
        drop(rustls::crypto::ring::default_provider().install_default());
        let http = reqwest::Client::builder().timeout(PATIENCE).no_proxy().build().unwrap();
        Self { runtime, http, url: url.to_owned(), key: key.to_owned() }
    }

    /// Sends a request; `None` where no answer came.
    pub fn try_send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Option<Reply> {
        let method: Method = method.parse().unwrap();
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        if !self.key.is_empty() {
            request = request.bearer_auth(&self.key);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.runtime.block_on(async {
            let response = request.body(body).send().await.ok()?;
            let status = response.status().as_u16();
            let text = |value: &reqwest::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
            let headers = response.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect();
            let body = response.bytes().await.ok()?.to_vec();
            Some(Reply { status, headers, body })
        })
    }

    /// Sends a request that has to be answered.
    #[track_caller]
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Reply {
        self.try_send(method, path, headers, body.into()).unwrap_or_else(|| panic!("{method} {path} was not answered"))
    }

    /// A question; `None` where no answer came.
    pub fn try_get(&self, path: &str) -> Option<Reply> {
        self.try_send("GET", path, &[], Vec::new())
    }

    /// A question.
    #[track_caller]
    pub fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], Vec::new())
    }

    /// A question that has to succeed, read as JSON.
    #[track_caller]
    pub fn json(&self, path: &str) -> Value {
        self.get(path).ok(200).json()
    }

    /// Posts JSON.
    #[track_caller]
    pub fn post(&self, path: &str, body: &Value) -> Reply {
        self.send("POST", path, &[("content-type", "application/json")], body.to_string())
    }

    /// Posts lines of events in one request, and returns the receipt.
    #[track_caller]
    pub fn ingest(&self, lines: &[String]) -> Value {
        self.send("POST", "/v1/events", &[("content-type", NDJSON)], lines.join("\n")).ok(200).json()
    }

    /// All rows of a list, page by page.
    #[track_caller]
    pub fn rows(&self, path: &str) -> Vec<Value> {
        let mut rows = Vec::new();
        let mut cursor = String::new();
        loop {
            let separator = if path.contains('?') { '&' } else { '?' };
            let page = self.json(&format!("{path}{separator}limit={PAGE_ROWS}{cursor}"));
            rows.extend(page["rows"].as_array().unwrap_or_else(|| panic!("no rows in {page}")).iter().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return rows,
            }
        }
    }

    /// Starts a run, waits for it, and returns its outcome.
    #[track_caller]
    pub fn run(&self, body: &Value) -> Value {
        let record = self.post("/v1/runs?wait=true", body).ok(200).json();
        assert_eq!(record["state"], "done", "{record}");
        record["outcome"].clone()
    }

    /// Runs every night, unfinished days too.
    #[track_caller]
    pub fn nightly(&self) -> Value {
        self.run(&json!({ "kind": "nightly", "through": "all" }))
    }

    /// Closes a month as of an instant at which that may be.
    #[track_caller]
    pub fn close(&self, month: Month) -> Value {
        let outcome = self.run(&json!({ "kind": "close", "period": month.to_string(), "as_of": month.closable() }));
        assert_eq!(outcome["closed"], true, "{outcome}");
        outcome
    }

    /// Events that count, over some local days (half-open).
    #[track_caller]
    pub fn events_counted(&self, from: &str, to: &str) -> u64 {
        self.json(&format!("/v1/costs?from={from}&to={to}&group_by=team"))["total"]["events"].as_u64().unwrap()
    }
}

/// Bytes as gzip.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Bytes as zstd.
pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}
