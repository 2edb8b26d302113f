//! What Slack sends after a button was pressed or a form was sent.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use recoup_messages::slack::callback::BODY_BYTES_MAX;
use recoup_messages::slack::signature::verify;
use recoup_store::Slack;
use recoup_workflows::Refusal;
use recoup_workflows::notify::{AlertQueue, Answered};

use crate::problem::Problem;
use crate::{Shared, body};

/// How long a private answer may keep the request that it belongs to.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(700);
const NS_PER_S: i64 = 1_000_000_000;

/// Where private answers to whoever pressed a button are given. They wait in the books either way.
#[derive(Clone)]
pub enum Answering {
    /// By a task of this process, which works the queue off.
    Queue(AlertQueue),
    /// Before the request is answered, because nothing runs after it.
    AtOnce,
}

/// The door that Slack comes through.
#[derive(Clone)]
pub struct SlackDoor {
    /// Slack's signing secret.
    secret: Arc<str>,
    slack: Arc<dyn Slack>,
    answering: Answering,
}

impl SlackDoor {
    /// A door for requests that this secret signs.
    pub fn new(signing_secret: &str, slack: Arc<dyn Slack>, answering: Answering) -> Self {
        Self { secret: signing_secret.into(), slack, answering }
    }
}

pub(crate) async fn post_actions(
    State(shared): State<Shared>,
    headers: HeaderMap,
    request: Body,
) -> Result<Response, Problem> {
    let Some(door) = &shared.slack else {
        let detail = "no signing secret of Slack is configured; set RECOUP_SLACK_SIGNING_SECRET";
        return Err(Refusal::NotFound(detail.to_owned()).into());
    };
    let bytes = body::read(&headers, request, BODY_BYTES_MAX).await?;
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (sent_at, signature) = (header("x-slack-request-timestamp"), header("x-slack-signature"));
    let now_s = shared.app.ports.clock.now_ns().div_euclid(NS_PER_S);
    verify(&door.secret, sent_at, signature, &bytes, now_s).map_err(|error| {
        tracing::warn!(%error, "a request to Slack's door was refused");
        Refusal::Unauthenticated("the request is not signed by Slack, or too old")
    })?;
    let _let_in = shared.let_in().await?;
    let pressed = shared.app.slack_callback(door.slack.as_ref(), &bytes).await?;
    match (&door.answering, &pressed.answer) {
        (Answering::Queue(queue), _) => queue.wake(),
        (Answering::AtOnce, Some(answer)) => {
            let given = shared.app.give_answer(door.slack.as_ref(), answer);
            if !matches!(tokio::time::timeout(ANSWER_TIMEOUT, given).await, Ok(Ok(()))) {
                tracing::warn!("somebody who pressed a button is answered later");
            }
        }
        (Answering::AtOnce, None) => {}
    }
    Ok(match pressed.body {
        Answered::Nothing => StatusCode::OK.into_response(),
        Answered::Form(body) => Json(body).into_response(),
    })
}
