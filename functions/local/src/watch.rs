//! Watching a run until it ends.

use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::{Api, Ask};
use crate::failure::Failure;
use crate::screen::Screen;

/// First pause between two looks; each one is twice as long, up to [`PAUSE_MAX`].
const PAUSE: Duration = Duration::from_millis(40);
const PAUSE_MAX: Duration = Duration::from_millis(100);
/// The same where each look is a call to a server somewhere.
const PAUSE_AFAR_MAX: Duration = Duration::from_secs(2);
/// How long a run on a server may show no progress: its turn expires before that.
const PATIENCE: Duration = Duration::from_secs(30 * 60);
/// What nights and closes are.
const RUNS: &str = "runs";
/// Looks in a row that may fail on the way to a server.
const FAILED_LOOKS_MAX: u32 = 5;

#[derive(Deserialize)]
struct Started {
    run: String,
}

/// A run as it stands.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Run {
    /// Its name.
    pub(crate) run: String,
    state: String,
    #[serde(default)]
    done: u64,
    #[serde(default)]
    total: u64,
    #[serde(default)]
    doing: String,
    #[serde(default)]
    outcome: Value,
    #[serde(default)]
    error: Value,
    #[serde(default)]
    refused: bool,
}

/// Starts a run and waits for its outcome.
///
/// # Errors
/// [`Failure::Refused`] when it may not start, [`Failure::Usage`] when what was asked or what stands is why it failed,
/// [`Failure::Failed`] when something broke.
pub(crate) async fn run_to_end(api: &Api, screen: Screen, command: &Value) -> Result<Value, Failure> {
    follow(api, screen, (Ask::post_json(&["v1", RUNS], command), RUNS)).await
}

/// Asks for something that takes a while and waits for its outcome; it is looked at below `/v1/` and what it is one `of`.
///
/// # Errors
/// As [`run_to_end`].
pub(crate) async fn follow(api: &Api, screen: Screen, (ask, of): (Ask<'_>, &str)) -> Result<Value, Failure> {
    let Started { run } = api.ask(ask).await?.read()?;
    let bar = screen.steps(1, "starting");
    let pause_max = if api.is_afar() { PAUSE_AFAR_MAX } else { PAUSE_MAX };
    let mut pause = PAUSE;
    let mut moved = (Instant::now(), (0, 0, String::new()));
    loop {
        let now = look(api, (of, &run)).await?;
        match now.state.as_str() {
            "done" => {
                bar.finish_and_clear();
                return Ok(now.outcome);
            }
            "failed" => {
                bar.finish_and_clear();
                return Err(failed(&now));
            }
            _ => {}
        }
        bar.set_length(now.total.max(1));
        bar.set_position(now.done);
        bar.set_message(now.doing.clone());
        let stands = (now.done, now.total, now.doing);
        if moved.1 != stands {
            moved = (Instant::now(), stands);
        } else if api.is_afar() && moved.0.elapsed() > PATIENCE {
            bar.finish_and_clear();
            let watch = if of == RUNS { format!(": watch it with `recoup runs {run}`") } else { String::new() };
            return Err(Failure::failed(format!(
                "run {run} has not moved for {} min; it may still go on{watch}",
                PATIENCE.as_secs() / 60
            )));
        }
        tokio::time::sleep(pause).await;
        pause = pause.saturating_mul(2).min(pause_max);
    }
}

/// How far a run is; a look that fails on the way is repeated, as the run goes on without it.
async fn look(api: &Api, (of, run): (&str, &str)) -> Result<Run, Failure> {
    let mut failures = 0_u32;
    loop {
        match api.ask(Ask::get(&["v1", of, run])).await {
            Ok(answer) => return answer.read(),
            Err(failure) if api.is_afar() && failure.may_pass() && failures < FAILED_LOOKS_MAX => {
                failures = failures.saturating_add(1);
                tokio::time::sleep(PAUSE_AFAR_MAX).await;
            }
            Err(failure) => return Err(failure),
        }
    }
}

fn failed(run: &Run) -> Failure {
    let why = match &run.error {
        Value::String(text) => text.clone(),
        Value::Object(fields) => fields.get("detail").and_then(Value::as_str).unwrap_or("no reason given").to_owned(),
        _ => "no reason given".to_owned(),
    };
    if run.refused { Failure::usage(why) } else { Failure::failed(format!("run {} failed: {why}", run.run)) }
}

/// The command of a nightly run.
pub(crate) fn nightly(through: &str) -> Value {
    json!({ "kind": "nightly", "through": through })
}

/// The command of a close.
pub(crate) fn close(period: &str, as_of: Option<&str>, (plan, run_missing_nights): (bool, bool)) -> Value {
    json!({
        "kind": "close", "period": period, "plan": plan, "as_of": as_of, "run_missing_nights": run_missing_nights,
    })
}
