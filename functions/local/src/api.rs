//! The client of recoup's HTTP interface, over TCP or over the socket in a data folder.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use reqwest::{Method, StatusCode, Url};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::failure::{Failure, Problem};

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Rows asked for at once.
const PAGE_ROWS: usize = 1_000;
/// Stands for whatever is behind a socket.
const SOCKET_HOST: &str = "recoup.local";
/// Media type of one event per line.
pub(crate) const NDJSON: &str = "application/x-ndjson";
/// Media type of everything else that is sent.
pub(crate) const JSON: &str = "application/json";

/// A recoup that answers.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    http: reqwest::Client,
    base: Url,
    key: Option<String>,
}

/// What to ask.
#[derive(Clone, Debug)]
pub(crate) struct Ask<'a> {
    method: Method,
    path: &'a [&'a str],
    query: Vec<(&'static str, String)>,
    body: Option<(&'static str, Bytes)>,
}

impl<'a> Ask<'a> {
    const fn new(method: Method, path: &'a [&'a str]) -> Self {
        Self { method, path, query: Vec::new(), body: None }
    }

    /// A question; `path` are the segments of the address, unencoded.
    pub(crate) const fn get(path: &'a [&'a str]) -> Self {
        Self::new(Method::GET, path)
    }

    /// A command with a body of a media type.
    pub(crate) fn post(path: &'a [&'a str], media_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self { body: Some((media_type, body.into())), ..Self::new(Method::POST, path) }
    }

    /// A command with a JSON body.
    pub(crate) fn post_json(path: &'a [&'a str], body: &Value) -> Self {
        Self::post(path, JSON, body.to_string())
    }

    /// A replacement with a body of a media type.
    pub(crate) fn put(path: &'a [&'a str], media_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self { body: Some((media_type, body.into())), ..Self::new(Method::PUT, path) }
    }

    /// A removal.
    pub(crate) const fn delete(path: &'a [&'a str]) -> Self {
        Self::new(Method::DELETE, path)
    }

    /// The same with a parameter.
    pub(crate) fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.query.push((name, value.to_string()));
        self
    }

    /// The same with a parameter where there is a value.
    pub(crate) fn with_some(self, name: &'static str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }
}

/// A successful answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// Its body, as it came.
    pub(crate) bytes: Bytes,
}

impl Answer {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Result<Value, Failure> {
        self.read()
    }

    /// The body as a value.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.bytes)
            .map_err(|error| Failure::caused("the server's answer is not what this release expects", error))
    }
}

/// Rows of a list.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rows {
    /// The rows, at most as many as were asked for.
    pub(crate) rows: Vec<Value>,
    /// Whether there are more.
    pub(crate) more: bool,
    /// What the list sums up to, where it has a sum.
    pub(crate) total: Value,
}

impl Rows {
    /// The rows as one JSON document of the interface's shape.
    pub(crate) fn to_json(&self) -> Value {
        let mut document = serde_json::Map::new();
        document.insert("rows".into(), Value::Array(self.rows.clone()));
        if !self.total.is_null() {
            document.insert("total".into(), self.total.clone());
        }
        if self.more {
            document.insert("more".into(), Value::Bool(true));
        }
        Value::Object(document)
    }
}

impl Api {
    /// The recoup at an address.
    ///
    /// # Errors
    /// [`Failure::Usage`] when this build cannot reach such an address.
    pub(crate) fn over_tcp(server: &str, key: Option<String>) -> Result<Self, Failure> {
        let base = Url::parse(server).map_err(|error| {
            Failure::usage(format!("--server `{server}` is no address ({error}); use http://HOST:PORT"))
        })?;
        match base.scheme() {
            "http" | "https" if base.has_host() => Ok(Self { http: afar()?, base, key }),
            _ => Err(Failure::usage(format!(
                "--server `{server}` is no http address; use https://HOST or http://HOST:PORT"
            ))),
        }
    }

    /// The recoup behind a Unix socket.
    pub(crate) fn over_socket(socket: &Path) -> Result<Self, Failure> {
        let base = Url::parse(&format!("http://{SOCKET_HOST}"))
            .map_err(|error| Failure::caused("could not name the socket", error))?;
        // A connection that idles shows the other side that we are still here.
        // Nothing is encrypted here, so that no certificate is looked for.
        let builder = builder().unix_socket(socket).pool_idle_timeout(None).tls_certs_only([]);
        Ok(Self { http: client(builder)?, base, key: None })
    }

    /// Asks, and takes any refusal as a failure.
    ///
    /// # Errors
    /// [`Failure::Refused`] with what the server says, [`Failure::Failed`] when it does not answer.
    pub(crate) async fn ask(&self, ask: Ask<'_>) -> Result<Answer, Failure> {
        let mut request = self.http.request(ask.method, self.address(ask.path, &ask.query)?);
        if let Some(key) = &self.key {
            request = request.bearer_auth(key);
        }
        if let Some((media_type, body)) = ask.body {
            request = request.header(reqwest::header::CONTENT_TYPE, media_type).body(body);
        }
        let unanswered =
            |error: reqwest::Error| Failure::caused(format!("{} did not answer", self.place()), error.without_url());
        let response = request.send().await.map_err(unanswered)?;
        let status = response.status();
        let bytes = response.bytes().await.map_err(unanswered)?;
        if status.is_success() {
            return Ok(Answer { bytes });
        }
        let mut said: Problem = serde_json::from_slice(&bytes).unwrap_or_default();
        if status == StatusCode::UNAUTHORIZED && self.key.is_none() {
            said.detail = format!("{} wants an API key: give it with --key or in RECOUP_KEY", self.place());
        }
        Err(Failure::Refused(Box::new(Problem { http_status: status.as_u16(), ..said })))
    }

    /// Up to `limit` rows of a list, page by page.
    ///
    /// # Errors
    /// As [`Api::ask`].
    pub(crate) async fn rows(&self, ask: Ask<'_>, limit: usize) -> Result<Rows, Failure> {
        let mut found = Rows::default();
        let mut cursor: Option<String> = None;
        loop {
            let wanted = limit.saturating_sub(found.rows.len()).clamp(1, PAGE_ROWS);
            let page = ask.clone().with("limit", wanted).with_some("cursor", cursor.as_ref());
            let (rows, next, total) = read_page(self.ask(page).await?.json()?)?;
            found.rows.extend(rows);
            found.total = total;
            found.more = next.is_some();
            if next.is_none() || found.rows.len() >= limit {
                return Ok(found);
            }
            cursor = next;
        }
    }

    /// Whether it is reached over TCP: a server somewhere, whose jobs may be run by other processes.
    pub(crate) fn is_afar(&self) -> bool {
        self.base.host_str() != Some(SOCKET_HOST)
    }

    fn place(&self) -> String {
        match &self.key {
            None if !self.is_afar() => "the recoup that holds the data folder".to_owned(),
            _ => self.base.to_string(),
        }
    }

    fn address(&self, path: &[&str], query: &[(&'static str, String)]) -> Result<Url, Failure> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| Failure::usage(format!("`{}` is no http address", self.base)))?
            .pop_if_empty()
            .extend(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(url)
    }
}

/// A client with its cryptography.
fn builder() -> reqwest::ClientBuilder {
    // An error says that it was installed before.
    drop(rustls::crypto::ring::default_provider().install_default());
    reqwest::Client::builder()
}

/// A client for a server somewhere. A machine without any certificate of an authority still reaches one over http. Where an
/// answer leads to another host the client leaves the key behind.
fn afar() -> Result<reqwest::Client, Failure> {
    client(builder()).or_else(|_| client(builder().tls_certs_only([])))
}

fn client(builder: reqwest::ClientBuilder) -> Result<reqwest::Client, Failure> {
    builder
        .connect_timeout(CONNECT_TIMEOUT)
        .user_agent(concat!("recoup/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| Failure::caused("could not prepare the connection", error))
}

/// Rows, cursor and total of a page; a bare array is a page too.
fn read_page(page: Value) -> Result<(Vec<Value>, Option<String>, Value), Failure> {
    match page {
        Value::Array(rows) => Ok((rows, None, Value::Null)),
        Value::Object(mut fields) => match fields.remove("rows") {
            Some(Value::Array(rows)) => {
                let next = fields.get("next_cursor").and_then(Value::as_str).map(str::to_owned);
                Ok((rows, next, fields.remove("total").unwrap_or_default()))
            }
            _ => Err(Failure::failed("the server's answer has no `rows`")),
        },
        _ => Err(Failure::failed("the server's answer is no list")),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::Api;

    #[test]
    fn an_address_keeps_names_apart_from_its_own_signs() {
        let api = Api::over_tcp("http://127.0.0.1:8080/billing/", None).unwrap();
        let url = api.address(&["v1", "traces", "a/b?c#d"], &[("from", "2026-10-01 &".to_owned())]).unwrap();
        assert_eq!(url.as_str(), "http://127.0.0.1:8080/billing/v1/traces/a%2Fb%3Fc%23d?from=2026-10-01+%26");
    }

    #[test]
    fn an_address_that_cannot_be_reached_is_wrong_usage() {
        for (server, hint) in [("ftp://a", "http://HOST:PORT"), ("nowhere", "http://")] {
            let failure = Api::over_tcp(server, None).unwrap_err();
            assert_eq!(failure.code(), 2);
            assert!(failure.to_string().contains(hint), "{failure}");
        }
    }
}
