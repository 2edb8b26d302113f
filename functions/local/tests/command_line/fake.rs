//! A server that answers what a test tells it to, and remembers what it was asked.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{AUTHORIZATION, LOCATION};
use axum::response::IntoResponse as _;
use serde_json::{Value, json};

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Method, path and query: `GET /v1/keys?limit=1`.
    pub(crate) what: String,
    /// The Authorization header.
    pub(crate) authorization: String,
    pub(crate) body: String,
}

type Answers = dyn Fn(&Asked) -> (u16, String) + Send + Sync;

#[derive(Clone)]
struct Script {
    answers: Arc<Answers>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

/// A server; it answers until the test ends.
pub(crate) struct Fake {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    _runtime: tokio::runtime::Runtime,
}

async fn answer(State(script): State<Script>, request: Request<Body>) -> axum::response::Response {
    let (head, body) = request.into_parts();
    let authorization = head.headers.get(AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned());
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let asked = Asked {
        what: format!("{} {}", head.method, head.uri),
        authorization: authorization.unwrap_or_default(),
        body: String::from_utf8(body.to_vec()).unwrap(),
    };
    script.asked.lock().unwrap().push(asked.clone());
    let (status, text) = (script.answers)(&asked);
    if status == 303 {
        // What a redirection says is where to.
        return (StatusCode::SEE_OTHER, [(LOCATION, text)]).into_response();
    }
    (StatusCode::from_u16(status).unwrap(), text).into_response()
}

impl Fake {
    /// A server with these answers.
    pub(crate) fn new(answers: impl Fn(&Asked) -> (u16, String) + Send + Sync + 'static) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::default();
        let script = Script { answers: Arc::new(answers), asked: Arc::clone(&asked) };
        let router = Router::new().fallback(answer).with_state(script);
        runtime.spawn(axum::serve(listener, router).into_future());
        Self { url, asked, _runtime: runtime }
    }

    /// A server that always gives the same answer.
    pub(crate) fn always(status: u16, body: &Value) -> Self {
        let body = body.to_string();
        Self::new(move |_| (status, body.clone()))
    }

    /// A server on which a run ends with this record, after being asked twice.
    pub(crate) fn running(end: Value) -> Self {
        let looks = Mutex::new(0);
        Self::new(move |asked| {
            if asked.what == "POST /v1/runs" {
                return (202, json!({ "run": "r1" }).to_string());
            }
            let mut looks = looks.lock().unwrap();
            *looks += 1;
            let going =
                json!({ "run": "r1", "kind": "nightly", "state": "running", "done": 1, "total": 2, "doing": "x" });
            (200, if *looks < 3 { going.to_string() } else { end.to_string() })
        })
    }

    /// Everything that was asked, in order.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// What was asked, without bodies.
    pub(crate) fn whats(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.what).collect()
    }

    /// Runs `recoup --server URL --key k1 ...`.
    pub(crate) fn recoup(&self, arguments: &[&str]) -> crate::Outcome {
        crate::recoup(&[&["--server", &self.url, "--key", "k1"], arguments].concat())
    }
}
