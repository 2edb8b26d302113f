//! Nights, closes and simulations run in state machines; a request only starts their execution.

use async_trait::async_trait;
use aws_types::SdkConfig;
use recoup_http::Jobs;
use recoup_store::StoreError;
use recoup_workflows::{Job, Refusal};
use serde_json::{Value, json};

/// The state machines.
pub struct StateMachines {
    client: aws_sdk_sfn::Client,
    night: String,
    close: String,
    simulation: String,
}

impl StateMachines {
    pub(crate) fn new(config: &SdkConfig, [night, close, simulation]: [&str; 3]) -> Self {
        let client = aws_sdk_sfn::Client::new(config);
        let [night, close, simulation] = [night, close, simulation].map(str::to_owned);
        Self { client, night, close, simulation }
    }

    /// Starts an execution that is named as the run: the same run twice is one execution.
    async fn execute(&self, machine: &str, run: &str, input: &Value) -> Result<(), Refusal> {
        let call = self.client.start_execution().state_machine_arn(machine).name(run).input(input.to_string());
        match call.send().await {
            Ok(_) => Ok(()),
            Err(error) if error.as_service_error().is_some_and(|error| error.is_execution_already_exists()) => Ok(()),
            Err(error) => {
                Err(StoreError::unavailable("start a state machine", error.into_source().unwrap_or_else(Into::into))
                    .into())
            }
        }
    }
}

#[async_trait]
impl Jobs for StateMachines {
    async fn start(&self, run: &str, job: &Job) -> Result<(), Refusal> {
        let machine = match job {
            Job::Nightly(_) => &self.night,
            Job::Close(_) => &self.close,
        };
        self.execute(machine, run, &job.first_step(run)).await
    }

    async fn simulate(&self, run: &str) -> Result<(), Refusal> {
        self.execute(&self.simulation, run, &json!({ "run": run })).await
    }
}

/// Where only events are taken nothing can be started.
pub struct NoJobs;

#[async_trait]
impl Jobs for NoJobs {
    async fn start(&self, run: &str, _job: &Job) -> Result<(), Refusal> {
        Err(Refusal::NotFound(format!(
            "the run {run} cannot be started by this function; the API's own function does it"
        )))
    }
}
