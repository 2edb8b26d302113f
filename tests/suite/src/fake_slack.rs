//! A server that behaves as Slack's Web API, incoming webhooks and response addresses are documented to, with faults to order.
//!
//! It speaks HTTP/1.1 by itself, so that it can be slow, and can close a connection before or after it has done what it was
//! asked.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hmac::{Hmac, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

/// The token that is right.
pub const BOT_TOKEN: &str = "xoxb-right";
/// What requests of this Slack are signed with.
pub const SIGNING_SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";
/// The path of the webhook that is right.
const WEBHOOK: &str = "/services/T0/B0/right";
/// Channels by name.
const CHANNELS: [(&str, &str); 4] =
    [("#support-ai", "C0SUPPORT"), ("#finops", "C0FINOPS"), ("#dead", "C0DEAD"), ("#marketing", "C0MARKETING")];
/// Answers that a response address takes.
const ANSWERS_MAX: usize = 5;
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(10);

/// What goes wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This status, with `Retry-After` in seconds where there is one; nothing is done.
    Status(u16, Option<u64>),
    /// `ok: false` with this error, or the error as text at the webhook; nothing is done.
    Error(&'static str),
    /// It is done, and answered after so long.
    Slow(Duration),
    /// The connection closes; nothing is done.
    Close,
    /// It is done, and the connection closes without an answer.
    DoneAndClose,
}

/// A message as it stands in a channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// The channel's id, or `webhook`.
    pub channel: String,
    /// Names it in the channel.
    pub ts: String,
    /// The first message of its thread.
    pub thread_ts: Option<String>,
    /// What it says now.
    pub body: Value,
    /// How often it was changed.
    pub updates: usize,
}

impl Message {
    /// All of it as text.
    pub fn text(&self) -> String {
        self.body.to_string()
    }
}

#[derive(Debug, Default)]
struct State {
    messages: Vec<Message>,
    views: Vec<Value>,
    answers: BTreeMap<String, Vec<Value>>,
    calls: Vec<String>,
    next: Vec<Fault>,
    dead: BTreeMap<String, Fault>,
    clock: u64,
}

/// The server; it answers as long as the process lives.
#[derive(Clone, Debug)]
pub struct FakeSlack {
    url: String,
    state: Arc<Mutex<State>>,
}

struct Request {
    path: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

struct Answer {
    status: u16,
    retry_after: Option<u64>,
    body: String,
}

impl Answer {
    fn text(status: u16, body: impl Into<String>) -> Self {
        Self { status, retry_after: None, body: body.into() }
    }

    fn json(value: &Value) -> Self {
        Self::text(200, value.to_string())
    }

    fn error(error: &str) -> Self {
        Self::json(&json!({ "ok": false, "error": error }))
    }
}

impl Default for FakeSlack {
    fn default() -> Self {
        Self::start()
    }
}

impl FakeSlack {
    /// Starts one.
    pub fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State { clock: 1_700_000_000, ..State::default() }));
        let fake = Self { url, state };
        let server = fake.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = server.clone();
                std::thread::spawn(move || server.serve(stream));
            }
        });
        fake
    }

    /// The address of its Web API.
    pub fn api_url(&self) -> String {
        format!("{}/api", self.url)
    }

    /// The address of its webhook.
    pub fn webhook_url(&self) -> String {
        format!("{}{WEBHOOK}", self.url)
    }

    /// What goes wrong with the next requests, one each.
    pub fn next(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state.lock().unwrap().next.extend(faults);
    }

    /// What goes wrong with every post to a channel, by its name; `None`: nothing any more.
    pub fn always(&self, channel: &str, fault: Option<Fault>) {
        let mut state = self.state.lock().unwrap();
        match fault {
            Some(fault) => drop(state.dead.insert(channel.to_owned(), fault)),
            None => drop(state.dead.remove(channel)),
        }
    }

    /// Every message, oldest first.
    pub fn messages(&self) -> Vec<Message> {
        self.state.lock().unwrap().messages.clone()
    }

    /// Messages of a channel by its name.
    pub fn messages_in(&self, channel: &str) -> Vec<Message> {
        let id = id_of(channel).unwrap_or(channel);
        self.messages().into_iter().filter(|message| message.channel == id).collect()
    }

    /// Views that were opened.
    pub fn views(&self) -> Vec<Value> {
        self.state.lock().unwrap().views.clone()
    }

    /// What was answered at a response address.
    pub fn answers(&self, press: &str) -> Vec<Value> {
        self.state.lock().unwrap().answers.get(press).cloned().unwrap_or_default()
    }

    /// Paths of all requests.
    pub fn calls(&self) -> Vec<String> {
        self.state.lock().unwrap().calls.clone()
    }

    /// Waits until something is so.
    #[track_caller]
    pub fn until<T>(&self, what: &str, found: impl Fn(&Self) -> Option<T>) -> T {
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            if let Some(found) = found(self) {
                return found;
            }
            std::thread::sleep(PAUSE);
        }
        panic!("{what} did not come about: {:#?}", self.messages());
    }

    /// The body of a callback after a click on a button of a message.
    pub fn click(&self, user: &str, action: &str, value: &str, press: &str) -> String {
        let payload = json!({
            "type": "block_actions", "user": { "id": user, "username": "somebody" }, "team": { "id": "T0" },
            "channel": { "id": "C0SUPPORT" }, "container": { "message_ts": "1.0" },
            "trigger_id": format!("trigger-{press}"), "response_url": format!("{}/respond/{press}", self.url),
            "actions": [{ "type": "button", "action_id": action, "block_id": "b", "value": value, "action_ts": "1.0" }],
        });
        form(&payload)
    }

    /// The body of a callback after the modal for an extension was sent.
    pub fn submission(&self, user: &str, alert: &str, amount: &str, reason: &str) -> String {
        let payload = json!({
            "type": "view_submission", "user": { "id": user, "name": "somebody" }, "team": { "id": "T0" },
            "view": {
                "id": "V0", "callback_id": "extension", "private_metadata": alert,
                "state": { "values": {
                    "amount": { "amount": { "type": "plain_text_input", "value": amount } },
                    "reason": { "reason": { "type": "plain_text_input", "value": reason } },
                } },
            },
        });
        form(&payload)
    }

    fn serve(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut stream = stream;
        while let Some(request) = read(&mut reader) {
            let fault = self.fault(&request);
            let answer = match fault {
                Some(Fault::Close) => return,
                Some(Fault::Status(status, retry_after)) => Answer { status, retry_after, body: "busy".to_owned() },
                Some(Fault::Error(error)) if request.path.starts_with("/api/") => Answer::error(error),
                Some(Fault::Error(error)) => Answer::text(400, error),
                Some(Fault::Slow(pause)) => {
                    let answer = self.answer(&request);
                    std::thread::sleep(pause);
                    answer
                }
                Some(Fault::DoneAndClose) => {
                    self.answer(&request);
                    return;
                }
                None => self.answer(&request),
            };
            let retry_after = answer.retry_after.map_or_else(String::new, |after| format!("Retry-After: {after}\r\n"));
            let head = format!(
                "HTTP/1.1 {} Said\r\nContent-Type: application/json\r\n{retry_after}Content-Length: {}\r\n\r\n",
                answer.status,
                answer.body.len()
            );
            if stream.write_all(format!("{head}{}", answer.body).as_bytes()).is_err() {
                return;
            }
        }
    }

    fn fault(&self, request: &Request) -> Option<Fault> {
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let mut state = self.state.lock().unwrap();
        state.calls.push(request.path.clone());
        if !state.next.is_empty() {
            return Some(state.next.remove(0));
        }
        state.dead.get(body["channel"].as_str()?).cloned()
    }

    fn answer(&self, request: &Request) -> Answer {
        let Ok(body) = serde_json::from_slice::<Value>(&request.body) else {
            return Answer::text(400, "invalid_payload");
        };
        if let Some(press) = request.path.strip_prefix("/respond/") {
            return self.respond(press, body);
        }
        if request.path.starts_with("/services/") {
            return self.webhook(&request.path, body);
        }
        let token = request.headers.get("authorization").map(String::as_str).unwrap_or_default();
        match token.strip_prefix("Bearer ") {
            None => return Answer::error("not_authed"),
            Some(token) if token != BOT_TOKEN => return Answer::error("invalid_auth"),
            Some(_) => {}
        }
        match request.path.as_str() {
            "/api/chat.postMessage" => self.post(body),
            "/api/chat.update" => self.update(&body),
            "/api/views.open" => self.open(&body),
            _ => Answer::error("unknown_method"),
        }
    }

    fn post(&self, body: Value) -> Answer {
        let Some(channel) = body["channel"].as_str().and_then(id_of) else { return Answer::error("channel_not_found") };
        if let Some(error) = wrong(&body) {
            return Answer::error(error);
        }
        let message = self.keep(channel, body);
        Answer::json(&json!({ "ok": true, "channel": channel, "ts": message.ts, "message": message.body }))
    }

    fn keep(&self, channel: &str, body: Value) -> Message {
        let mut state = self.state.lock().unwrap();
        state.clock += 1;
        let thread_ts = body["thread_ts"].as_str().map(str::to_owned);
        let ts = format!("{}.000100", state.clock);
        let message = Message { channel: channel.to_owned(), ts, thread_ts, body, updates: 0 };
        state.messages.push(message.clone());
        message
    }

    fn update(&self, body: &Value) -> Answer {
        if let Some(error) = wrong(body) {
            return Answer::error(error);
        }
        let channel = body["channel"].as_str().unwrap_or_default();
        // Updates take the id of a channel and not its name.
        if !CHANNELS.iter().any(|(_, id)| *id == channel) {
            return Answer::error("channel_not_found");
        }
        let mut state = self.state.lock().unwrap();
        let found = state.messages.iter_mut().find(|message| message.channel == channel && message.ts == body["ts"]);
        let Some(message) = found else { return Answer::error("message_not_found") };
        message.body = body.clone();
        message.updates += 1;
        Answer::json(&json!({ "ok": true, "channel": channel, "ts": body["ts"] }))
    }

    fn open(&self, body: &Value) -> Answer {
        if !body["trigger_id"].as_str().unwrap_or_default().starts_with("trigger-") {
            return Answer::error("invalid_trigger_id");
        }
        if body["view"]["type"] != "modal" {
            return Answer::error("invalid_arguments");
        }
        self.state.lock().unwrap().views.push(body["view"].clone());
        Answer::json(&json!({ "ok": true, "view": { "id": "V0" } }))
    }

    fn webhook(&self, path: &str, body: Value) -> Answer {
        if path != WEBHOOK {
            return Answer::text(404, "no_service");
        }
        if let Some(error) = wrong(&body) {
            return Answer::text(400, error);
        }
        self.keep("webhook", body);
        Answer::text(200, "ok")
    }

    fn respond(&self, press: &str, body: Value) -> Answer {
        let mut state = self.state.lock().unwrap();
        let given = state.answers.entry(press.to_owned()).or_default();
        if given.len() >= ANSWERS_MAX {
            return Answer::text(404, "used_url");
        }
        given.push(body.clone());
        if body["replace_original"] == true
            && let Some(message) = state.messages.iter_mut().rfind(|message| message.channel == "webhook")
        {
            message.body = body;
            message.updates += 1;
        }
        Answer::text(200, "ok")
    }
}

/// The headers of a request that Slack signs at a time, seconds since 1970.
pub fn signed(body: &str, at_s: i64) -> [(&'static str, String); 3] {
    let mut mac = Hmac::<Sha256>::new_from_slice(SIGNING_SECRET.as_bytes()).unwrap();
    mac.update(format!("v0:{at_s}:{body}").as_bytes());
    [
        ("content-type", "application/x-www-form-urlencoded".to_owned()),
        ("x-slack-request-timestamp", at_s.to_string()),
        ("x-slack-signature", format!("v0={}", hex::encode(mac.finalize().into_bytes()))),
    ]
}

fn form(payload: &Value) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'*');
    let coded = payload.to_string();
    let coded =
        coded.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") });
    format!("payload={}", coded.collect::<String>())
}

fn id_of(channel: &str) -> Option<&'static str> {
    CHANNELS.iter().find(|(name, id)| *name == channel || *id == channel).map(|(_, id)| *id)
}

/// What Slack refuses of a message.
fn wrong(body: &Value) -> Option<&'static str> {
    let has_text = body["text"].as_str().is_some_and(|text| !text.is_empty());
    let blocks = body["blocks"].as_array();
    if !has_text && blocks.is_none_or(Vec::is_empty) {
        return Some("no_text");
    }
    let is_block = |block: &Value| block["type"].as_str().is_some_and(|name| !name.is_empty());
    blocks.is_some_and(|blocks| blocks.len() > 50 || !blocks.iter().all(is_block)).then_some("invalid_blocks")
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let path = line.split_whitespace().nth(1)?.to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { path, headers, body })
}
