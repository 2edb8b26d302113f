//! Nights and closes run in state machines; a request only starts their execution.

use async_trait::async_trait;
use aws_config::SdkConfig;
use recoup_http::Jobs;
use recoup_store::StoreError;
use recoup_workflows::{Job, Refusal};

/// The two state machines.
pub struct StateMachines {
    client: aws_sdk_sfn::Client,
    night: String,
    close: String,
}

impl StateMachines {
    pub(crate) fn new(config: &SdkConfig, night: &str, close: &str) -> Self {
        Self { client: aws_sdk_sfn::Client::new(config), night: night.to_owned(), close: close.to_owned() }
    }
}

#[async_trait]
impl Jobs for StateMachines {
    /// Starts an execution that is named as the run: the same run twice is one execution.
    async fn start(&self, run: &str, job: &Job) -> Result<(), Refusal> {
        let machine = match job {
            Job::Nightly(_) => &self.night,
            Job::Close(_) => &self.close,
        };
        let input = job.first_step(run).to_string();
        let started = self.client.start_execution().state_machine_arn(machine).name(run).input(input).send().await;
        match started {
            Ok(_) => Ok(()),
            Err(error) if error.as_service_error().is_some_and(|error| error.is_execution_already_exists()) => Ok(()),
            Err(error) => {
                Err(StoreError::unavailable("start a state machine", error.into_source().unwrap_or_else(Into::into))
                    .into())
            }
        }
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
