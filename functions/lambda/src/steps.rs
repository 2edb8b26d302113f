//! The steps of the state machines: one invocation is one step of a run.
//!
//! What a step answers is small: names and counts. An error is named so that the state machine knows what to do: `TurnTaken`
//! (another run goes on; wait), `TryAgain` (the store was out of reach, or others changed the same), `Refused` (it will not get
//! better).

use std::sync::Arc;
use std::time::Instant;

use chrono::DateTime;
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use recoup_store::StoreError;
use recoup_workflows::close::{CloseRequest, parse_as_of};
use recoup_workflows::nightly::SettleStep;
use recoup_workflows::runs::{counted, is_name, name_of};
use recoup_workflows::{App, Principal, Refusal};
use serde::Deserialize;
use serde_json::{Value, json};
use tracing::Instrument as _;

use crate::context::{Context, Environment};
use crate::logs;
use crate::metrics::{Metric, emit};

/// Which of the state machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// The night.
    Nightly,
    /// The close of a month.
    Close,
    /// Past months under other rules.
    Simulate,
}

impl Duty {
    /// As its function is called.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nightly => "nightly",
            Self::Close => "close",
            Self::Simulate => "simulate",
        }
    }
}

/// One step. A run that is not named is named by the execution and the time of its start.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "step", rename_all = "lowercase")]
pub enum Step {
    /// Takes the turn and plans.
    Plan {
        /// The run, where somebody named it.
        run: Option<String>,
        /// Name of the execution.
        execution: Option<String>,
        /// When it started, RFC 3339.
        started_at: Option<String>,
        /// Of a night: `yesterday`, `all` or a day.
        through: Option<String>,
        /// Of a close: a month, or `previous`.
        period: Option<String>,
        /// Of a close: the instant at which it is asked, RFC 3339.
        as_of: Option<String>,
        /// Of a close: only say what would happen.
        #[serde(default)]
        plan: bool,
        /// Of a close: run the missing nights up to the month's end first.
        #[serde(default)]
        run_missing_nights: bool,
    },
    /// Does a part of a night.
    Part {
        /// The run.
        run: String,
        /// Which part, from 0.
        part: usize,
    },
    /// Does a part of a close.
    Check {
        /// The run.
        run: String,
        /// Which part, from 0.
        part: usize,
    },
    /// Settles a night; taken again while something is left.
    Settle {
        /// The run.
        run: String,
    },
    /// Ends a close.
    Issue {
        /// The run.
        run: String,
    },
    /// Answers a simulation.
    Simulate {
        /// The run.
        run: String,
    },
    /// Gives up.
    Failed {
        /// The run, where it has a name.
        run: Option<String>,
        /// Name of the execution.
        execution: Option<String>,
        /// When it started, RFC 3339.
        started_at: Option<String>,
        /// The same in milliseconds since 1970, as the event of an execution's end has it.
        started_ms: Option<i64>,
        /// Name of the error.
        error: Option<String>,
        /// What it says.
        cause: Option<String>,
    },
}

/// Why a step was not done.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StepError(#[from] Refusal);

impl From<StepError> for Diagnostic {
    fn from(error: StepError) -> Self {
        let error_type = match &error.0 {
            Refusal::Conflict { kind: "busy", .. } => "TurnTaken",
            Refusal::Store(StoreError::Unavailable { .. })
            | Refusal::Conflict { kind: "changed-meanwhile" | "contended", .. } => "TryAgain",
            _ => "Refused",
        };
        Self { error_type: error_type.to_owned(), error_message: error.0.to_string() }
    }
}

/// Takes the steps that the state machine hands to this process, for ever.
///
/// # Errors
/// When the function cannot start.
pub async fn serve(duty: Duty) -> Result<(), lambda_runtime::Error> {
    logs::start();
    let context = Context::open(Environment::of_process()).await?;
    let app = &context.app;
    let handle = |event: LambdaEvent<Step>| async move {
        let span = logs::invocation(&event.context);
        take(app, duty, event.payload).instrument(span).await
    };
    lambda_runtime::run(service_fn(handle)).await
}

fn run_name(
    run: Option<String>,
    execution: Option<String>,
    started_at: Option<String>,
    app: &App,
) -> Result<String, Refusal> {
    if let Some(run) = run {
        return Ok(run);
    }
    let (Some(execution), Some(started_at)) = (execution, started_at) else { return app.new_run() };
    let instant = DateTime::parse_from_rfc3339(&started_at).ok().and_then(|instant| instant.timestamp_nanos_opt());
    let wrong = || Refusal::invalid("invalid-step", "started_at", format!("`{started_at}` is no RFC 3339 time"));
    Ok(name_of(instant.ok_or_else(wrong)?, &execution))
}

/// The run of an execution that ended, which was started by the API under the run's own name, or by a schedule.
fn run_of_ended(execution: &str, started_ms: i64) -> Option<String> {
    if is_name(execution) {
        return Some(execution.to_owned());
    }
    Some(name_of(started_ms.checked_mul(1_000_000)?, execution))
}

fn parts_of(run: &str, parts: usize) -> Value {
    let parts: Vec<Value> = (0..parts).map(|part| json!({ "run": run, "part": part })).collect();
    json!({ "run": run, "parts": parts })
}

/// What settling answers: where something is left, that and the run, so that the state machine takes the step again.
fn settled(run: &str, step: &SettleStep) -> Value {
    match step {
        SettleStep::Left(left) => json!({ "run": run, "left": left }),
        SettleStep::Done(outcome) => counted(outcome),
    }
}

/// Takes a step.
///
/// # Errors
/// [`StepError`], under a name that the state machine knows.
pub async fn take(app: &Arc<App>, duty: Duty, step: Step) -> Result<Value, StepError> {
    let started = Instant::now();
    let (name, done) = match step {
        step @ Step::Plan { .. } => ("PlanTime", plan(app, duty, step).await),
        Step::Part { run, part } => ("PartTime", app.night_part(&run, part).await.map(|done| json!(done))),
        Step::Check { run, part } => ("CheckTime", app.close_check(&run, part).await.map(|done| json!(done))),
        Step::Settle { run } => ("SettleTime", app.night_settle_step(&run).await.map(|step| settled(&run, &step))),
        Step::Issue { run } => ("IssueTime", app.close_issue(&run).await.map(|outcome| counted(&outcome))),
        Step::Simulate { run } => ("SimulationTime", app.answer_simulation(&run).await),
        Step::Failed { run, execution, started_at, started_ms, error, cause } => {
            let why = why(error, cause);
            let run = run.or_else(|| run_of_ended(execution.as_deref()?, started_ms?));
            let failed = match run_name(run, execution, started_at, app) {
                Ok(run) => failed(app, duty, &run, &why).await.map(|()| json!({ "run": run })),
                Err(refusal) => Err(refusal),
            };
            ("FailedTime", failed)
        }
    };
    let taken = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    emit(duty.name(), &[Metric::Milliseconds(name, taken), Metric::Count("StepsRefused", u64::from(done.is_err()))]);
    if let Err(refusal) = &done {
        tracing::warn!(duty = duty.name(), error = recoup_store::causes(refusal), "a step was not done");
    }
    Ok(done?)
}

/// What people are told. A function's error reaches the state machine as JSON, which holds its message.
fn why(error: Option<String>, cause: Option<String>) -> String {
    let message = cause.as_deref().and_then(|cause| serde_json::from_str::<Value>(cause).ok());
    let message = message.as_ref().and_then(|cause| cause.get("errorMessage")).and_then(Value::as_str);
    match message {
        Some(message) => message.to_owned(),
        None => [error, cause].into_iter().flatten().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(": "),
    }
}

async fn failed(app: &App, duty: Duty, run: &str, why: &str) -> Result<(), Refusal> {
    match duty {
        Duty::Simulate => app.simulation_failed(run, why).await,
        Duty::Nightly | Duty::Close => app.run_failed(run, duty.name(), why).await,
    }
}

async fn plan(app: &Arc<App>, duty: Duty, step: Step) -> Result<Value, Refusal> {
    let Step::Plan { run, execution, started_at, through, period, as_of, plan, run_missing_nights } = step else {
        return Err(Refusal::invalid("invalid-step", "step", "only a plan is planned"));
    };
    let run = run_name(run, execution, started_at, app)?;
    // Whoever started the execution was allowed to.
    let principal = Principal::operator();
    let parts = match duty {
        Duty::Nightly => {
            let through = through.as_deref().unwrap_or("yesterday").parse()?;
            app.night_plan(&principal, &run, through).await?.parts
        }
        Duty::Close => {
            let period = match period.as_deref() {
                None | Some("previous") => app.previous_month().await?,
                Some(text) => text.parse().map_err(|error| {
                    Refusal::invalid("invalid-step", "period", format!("{error}, or as `previous`"))
                })?,
            };
            let as_of_ns = as_of.as_deref().map(parse_as_of).transpose()?;
            let request = CloseRequest { period, plan, as_of_ns, run_missing_nights };
            app.close_plan(&principal, &run, request).await?.parts
        }
        Duty::Simulate => return Err(Refusal::invalid("invalid-step", "step", "a simulation has no plan")),
    };
    Ok(parts_of(&run, parts))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use serde_json::json;

    use super::*;

    #[test]
    fn a_step_is_read_with_what_the_state_machine_adds() {
        let step = json!({
            "step": "plan", "through": "all", "execution": "e", "started_at": "2026-11-24T03:30:00Z", "more": 1,
        });
        assert!(matches!(serde_json::from_value(step).unwrap(), Step::Plan { run: None, plan: false, .. }));
        assert!(serde_json::from_value::<Step>(json!({ "step": "dance" })).is_err());
    }

    #[test]
    fn an_execution_that_was_stopped_has_the_run_that_its_steps_name() {
        let (started_at, started_ms) = ("2026-11-24T03:30:00.123Z", 1_795_491_000_123);
        let instant = DateTime::parse_from_rfc3339(started_at).unwrap();
        assert_eq!(instant.timestamp_millis(), started_ms);
        let planned = name_of(instant.timestamp_nanos_opt().unwrap(), "scheduled-1");
        assert_eq!(run_of_ended("scheduled-1", started_ms), Some(planned.clone()));
        assert_eq!(run_of_ended(&planned, started_ms), Some(planned), "the API names an execution as its run");
        assert_eq!(run_of_ended("x", i64::MAX), None);
    }

    #[test]
    fn people_are_told_the_message_of_a_function_and_no_json() {
        let why = |error: &str, cause: &str| why(Some(error.to_owned()), Some(cause.to_owned()));
        let cause = json!({ "errorType": "Refused", "errorMessage": "the store failed: throttled", "stackTrace": [] });
        assert_eq!(why("Refused", &cause.to_string()), "the store failed: throttled");
        assert_eq!(why("States.Timeout", ""), "States.Timeout");
        assert_eq!(
            why("Lambda.Unknown", "The function ran out of memory"),
            "Lambda.Unknown: The function ran out of memory"
        );
        assert_eq!(super::why(None, None), "");
    }

    #[test]
    fn settling_says_what_is_left_until_it_has_an_outcome() {
        assert_eq!(settled("r", &SettleStep::Left(3)), json!({ "run": "r", "left": 3 }));
        let outcome = json!({ "days": [1, 2], "unread": [], "periods": [3] });
        assert_eq!(settled("r", &SettleStep::Done(outcome)), json!({ "days": 2, "unread": 0, "periods": 1 }));
    }

    #[test]
    fn an_error_is_named_as_the_state_machine_knows_it() {
        let name = |refusal| Diagnostic::from(StepError(refusal)).error_type;
        assert_eq!(name(Refusal::Conflict { kind: "busy", detail: String::new() }), "TurnTaken");
        assert_eq!(name(StoreError::unavailable("read", "throttled").into()), "TryAgain");
        // Counting days again meets the rollup of what comes in.
        assert_eq!(name(Refusal::Conflict { kind: "contended", detail: String::new() }), "TryAgain");
        assert_eq!(name(Refusal::NotFound(String::new())), "Refused");
    }
}
