//! Slack's Web API with the token of a bot, or one incoming webhook.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use recoup_store::{ChannelError, Posted, Slack, SlackReach};
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Response, StatusCode, Url};
use serde_json::{Value, json};

use crate::SetupError;

/// Slack's Web API.
pub const SLACK_API_URL: &str = "https://slack.com/api";
/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
/// How long a call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of an answer that are read; Slack repeats the message in it.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// Characters of a service's word.
const WORD_CHARS_MAX: usize = 80;
const SLACK: &str = "Slack";
/// Errors of the Web API after which the same call may succeed.
const PASSING: [&str; 7] = [
    "fatal_error",
    "internal_error",
    "rate_limited",
    "ratelimited",
    "request_timeout",
    "service_unavailable",
    "team_added_to_org",
];

/// Where Slack is, and what opens it.
#[derive(Clone)]
pub enum SlackSettings {
    /// The token of a bot, `xoxb-..`, and the address of the Web API.
    Bot {
        /// The token.
        token: String,
        /// [`SLACK_API_URL`], except in tests.
        api_url: String,
    },
    /// The address of an incoming webhook, which is a secret of its own.
    Webhook {
        /// The address.
        url: String,
    },
}

enum Door {
    Bot { token: String, api: Url },
    Webhook(Url),
}

/// A client of Slack.
pub struct SlackClient {
    http: reqwest::Client,
    door: Door,
}

impl fmt::Debug for SlackClient {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("SlackClient").field("reach", &self.reach()).finish_non_exhaustive()
    }
}

impl SlackClient {
    /// A client; nothing is sent.
    ///
    /// # Errors
    /// For an address or a token that cannot be one, without repeating it.
    pub fn new(settings: SlackSettings) -> Result<Self, SetupError> {
        Self::with_timeout(settings, CALL_TIMEOUT)
    }

    /// The same with another time that a call may take.
    ///
    /// # Errors
    /// As [`SlackClient::new`].
    pub fn with_timeout(settings: SlackSettings, timeout: Duration) -> Result<Self, SetupError> {
        let door = match settings {
            SlackSettings::Bot { token, api_url } => {
                if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                    return Err(SetupError("it is no token; a bot's begins with `xoxb-`".to_owned()));
                }
                Door::Bot { token, api: address(api_url.trim_end_matches('/'))? }
            }
            SlackSettings::Webhook { url } => Door::Webhook(address(&url)?),
        };
        Ok(Self { http: client(timeout)?, door })
    }

    /// Calls a method of the Web API, which answers in JSON.
    async fn call(&self, method: &str, body: &Value) -> Result<Value, ChannelError> {
        let Door::Bot { token, api } = &self.door else {
            return Err(given_up("a webhook can do nothing but post"));
        };
        let mut url = api.clone();
        // An address of the Web API always has a path.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push(method);
        }
        let answer = self.send(url, Some(token), body).await?;
        let answer: Value =
            serde_json::from_slice(&answer).map_err(|_| again("the answer is not the JSON of Slack", None))?;
        if answer.get("ok").and_then(Value::as_bool) == Some(true) {
            return Ok(answer);
        }
        let word = shortened(answer.get("error").and_then(Value::as_str).unwrap_or("no reason was given"));
        Err(if PASSING.contains(&word.as_str()) { again(&word, None) } else { given_up(&word) })
    }

    /// Posts JSON and returns the body of an answer that is a success.
    async fn send(&self, url: Url, token: Option<&str>, body: &Value) -> Result<Vec<u8>, ChannelError> {
        let request = self.http.post(url).header(CONTENT_TYPE, "application/json; charset=utf-8");
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let response = request.body(body.to_string()).send().await.map_err(|error| unanswered(&error))?;
        let status = response.status();
        let after = retry_after(&response);
        let body = read(response).await?;
        match status {
            _ if status.is_success() => Ok(body),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => Err(again(status.as_str(), after)),
            _ if status.is_server_error() => Err(again(status.as_str(), after)),
            _ => {
                let word = String::from_utf8_lossy(&body);
                let word = word.lines().next().unwrap_or_default().trim();
                Err(given_up(&if word.is_empty() { status.to_string() } else { shortened(word) }))
            }
        }
    }
}

#[async_trait]
impl Slack for SlackClient {
    fn reach(&self) -> SlackReach {
        match self.door {
            Door::Bot { .. } => SlackReach::Channels,
            Door::Webhook(_) => SlackReach::OneWebhook,
        }
    }

    async fn post(&self, channel: &str, message: &Value, thread: Option<&str>) -> Result<Option<Posted>, ChannelError> {
        if let Door::Webhook(url) = &self.door {
            self.send(url.clone(), None, message).await?;
            return Ok(None);
        }
        let own = json!({ "channel": channel, "unfurl_links": false, "unfurl_media": false });
        let thread = thread.map_or_else(|| json!({}), |ts| json!({ "thread_ts": ts }));
        let answer = self.call("chat.postMessage", &merged(message, [own, thread])).await?;
        let text = |name: &str| answer.get(name).and_then(Value::as_str).map(str::to_owned);
        match (text("channel"), text("ts")) {
            (Some(channel), Some(ts)) => Ok(Some(Posted { channel, ts })),
            // It stands there, only nobody can say where.
            _ => Ok(None),
        }
    }

    async fn update(&self, at: &Posted, message: &Value) -> Result<(), ChannelError> {
        let own = json!({ "channel": at.channel, "ts": at.ts });
        self.call("chat.update", &merged(message, [own])).await.map(drop)
    }

    async fn open_view(&self, trigger: &str, view: &Value) -> Result<(), ChannelError> {
        self.call("views.open", &json!({ "trigger_id": trigger, "view": view })).await.map(drop)
    }

    async fn respond(&self, response_url: &str, message: &Value) -> Result<(), ChannelError> {
        let url = Url::parse(response_url).map_err(|_| given_up("the address to answer at is none"))?;
        self.send(url, None, message).await.map(drop)
    }
}

fn merged<const N: usize>(message: &Value, more: [Value; N]) -> Value {
    let mut fields = message.as_object().cloned().unwrap_or_default();
    for more in more {
        fields.extend(more.as_object().cloned().unwrap_or_default());
    }
    Value::Object(fields)
}

fn again(word: &str, after: Option<Duration>) -> ChannelError {
    ChannelError::Again { service: SLACK, word: word.to_owned(), after }
}

fn given_up(word: &str) -> ChannelError {
    ChannelError::GivenUp { service: SLACK, word: word.to_owned() }
}

/// Errors of the client name addresses, which may be secrets: only their kind is told.
fn unanswered(error: &reqwest::Error) -> ChannelError {
    let word = if error.is_timeout() {
        "timed out"
    } else if error.is_connect() {
        "not reachable"
    } else {
        "the connection broke off"
    };
    again(word, None)
}

fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

async fn read(mut response: Response) -> Result<Vec<u8>, ChannelError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| unanswered(&error))? {
        body.extend_from_slice(&chunk);
        if body.len() > ANSWER_BYTES_MAX {
            return Err(again("the answer is too long", None));
        }
    }
    Ok(body)
}

fn shortened(word: &str) -> String {
    word.chars().filter(|letter| !letter.is_control()).take(WORD_CHARS_MAX).collect()
}

fn address(url: &str) -> Result<Url, SetupError> {
    let parsed = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    parsed.ok_or_else(|| SetupError("it is no address; write https://..".to_owned()))
}

fn client(timeout: Duration) -> Result<reqwest::Client, SetupError> {
    // An error says that it was installed before.
    drop(rustls::crypto::ring::default_provider().install_default());
    let builder = || {
        reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(timeout)
            // A token goes nowhere but where it was sent.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("recoup/", env!("CARGO_PKG_VERSION")))
    };
    // A machine without any certificate of an authority still reaches a server over http.
    let built = builder().build().or_else(|_| builder().tls_certs_only([]).build());
    built.map_err(|_| SetupError("the connection could not be prepared".to_owned()))
}
