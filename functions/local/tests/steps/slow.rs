//! Clients that send slowly, or never end: they keep nobody else waiting, and are let go of.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use futures_util::stream::{self, StreamExt as _};
use recoup_http::{
    Access, Answering, InProcess, REQUESTS_AT_ONCE_MAX, SlackDoor, TcpDoor, UPLOADS_AT_ONCE_MAX, router_with_slack,
};
use recoup_model::Tags;
use recoup_suite::SIGNING_SECRET;
use recoup_workflows::Role;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tower::ServiceExt as _;

use crate::notify::{Outside, bot};

/// Time in which somebody has to be answered who has nothing to wait for.
const SOON: Duration = Duration::from_secs(10);

struct Served {
    outside: Outside,
    service: Router,
    ingest_key: String,
}

impl Served {
    async fn new() -> Self {
        let outside = Outside::new().await;
        let app = outside.stage.alone();
        let ingest_key = app.create_key(Role::Ingest, None, Tags::default(), None).await.unwrap().key;
        let door = SlackDoor::new(SIGNING_SECRET, bot(&outside.slack), Answering::AtOnce);
        let service = router_with_slack(app.clone(), Access::Keys, Arc::new(InProcess::new(app)), Some(door));
        Self { outside, service, ingest_key }
    }

    /// More requests than are worked on at the same time, whose bodies begin and never end.
    fn unending(&self, path: &'static str, key: &str) -> JoinSet<()> {
        let mut asking = JoinSet::new();
        for _ in 0..=REQUESTS_AT_ONCE_MAX.max(UPLOADS_AT_ONCE_MAX) {
            let begins = stream::once(async { Ok::<_, Infallible>("{") });
            let request = Request::post(path).header("authorization", format!("Bearer {key}"));
            let request = request.body(Body::from_stream(begins.chain(stream::pending()))).unwrap();
            let service = self.service.clone();
            asking.spawn(async move { drop(service.oneshot(request).await) });
        }
        asking
    }

    /// The status of an answer that has to come soon.
    async fn soon(&self, request: Request<Body>) -> u16 {
        let answer = timeout(SOON, self.service.clone().oneshot(request)).await;
        answer.expect("nobody else keeps it waiting").unwrap().status().as_u16()
    }

    async fn answers_others(&self) {
        assert_eq!(self.soon(Request::get("/healthz").body(Body::empty()).unwrap()).await, 200);
        let asks = Request::post("/v1/authorize").header("authorization", format!("Bearer {}", self.ingest_key));
        let asks = asks.body(Body::from(json!({ "tags": { "team": "support" } }).to_string())).unwrap();
        assert_eq!(self.soon(asks).await, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_never_end_keep_nobody_else_waiting() {
    let served = Served::new().await;
    let known = served.ingest_key.clone();
    for (path, key) in [
        ("/v1/events", "nobody"),
        ("/v1/events", &*known),
        ("/v1/slack/actions", ""),
        ("/v1/authorize", &known),
        ("/v1/reservations/x/extension", &known),
        ("/v1/budgets/extensions", &known),
        ("/v1/alerts/deliveries", "nobody"),
    ] {
        let asking = served.unending(path, key);
        // All of them are on their way.
        tokio::time::sleep(Duration::from_millis(300)).await;
        served.answers_others().await;
        drop(asking);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_connection_is_let_go_of() {
    let served = Served::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let door = TcpDoor::new(listener, Duration::from_millis(300));
    let serving =
        axum::serve(door, served.service.clone().into_make_service_with_connect_info::<recoup_http::Connection>());
    let serving = tokio::spawn(serving.into_future());
    let whole = "GET /healthz HTTP/1.1\r\nHost: recoup\r\n\r\n";
    for said in ["", "GET /healthz HT", "POST /v1/events HTTP/1.1\r\nHost: recoup\r\nContent-Length: 9\r\n\r\n{", whole]
    {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(said.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        timeout(SOON, stream.read_to_end(&mut answer)).await.expect("it is closed").unwrap();
        assert_eq!(String::from_utf8_lossy(&answer).starts_with("HTTP/1.1 200"), said == whole, "{said}");
    }
    serving.abort();
    drop(served.outside);
}
