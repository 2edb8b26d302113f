//! What AWS says no with, in words for whoever runs the stack. Only codes and messages are passed on: never a request, which
//! may hold a signature, nor a header.

use std::error::Error;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use recoup_store::{StoreError, causes};

/// Codes of a service that is asked for more than it gives at the moment.
const THROTTLING: [&str; 12] = [
    "ProvisionedThroughputExceededException",
    "ProvisionedThroughputExceeded",
    "ReplicatedWriteConflictException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "SlowDown",
    "Throttled",
    "ThrottledException",
    "Throttling",
    "ThrottlingError",
    "ThrottlingException",
    "TooManyRequestsException",
];

/// A service of AWS, by the name people know it under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    DynamoDb,
    S3,
    SecretsManager,
    Sns,
    Sqs,
}

impl Service {
    const fn name(self) -> &'static str {
        match self {
            Self::DynamoDb => "DynamoDB",
            Self::S3 => "S3",
            Self::SecretsManager => "Secrets Manager",
            Self::Sns => "SNS",
            Self::Sqs => "SQS",
        }
    }
}

/// Why a call to AWS did not do what it should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AwsError {
    #[error("{service} is throttling: {detail}")]
    Throttled { service: &'static str, detail: String },
    #[error("{service} refused the request: {detail}")]
    Refused { service: &'static str, detail: String },
    #[error("{service} did not answer in time")]
    TimedOut { service: &'static str },
    #[error("{service} could not be reached: {detail}")]
    Unreachable { service: &'static str, detail: String },
    #[error("{service} did not answer as it should: {detail}")]
    Unreadable { service: &'static str, detail: String },
}

/// What a refusal of a service is called.
pub(crate) fn refused(service: Service, code: &str, message: Option<&str>) -> AwsError {
    let detail = message.map_or_else(|| code.to_owned(), |message| format!("{message} ({code})"));
    let service = service.name();
    if THROTTLING.contains(&code) {
        AwsError::Throttled { service, detail }
    } else {
        AwsError::Refused { service, detail }
    }
}

/// The error of a call as one of a port, with what was being done.
pub(crate) fn failed<E, R>(service: Service, doing: &'static str) -> impl FnOnce(SdkError<E, R>) -> StoreError
where
    E: ProvideErrorMetadata + Error + 'static,
    R: std::fmt::Debug + 'static,
{
    move |error| StoreError::unavailable(doing, explain(service, &error))
}

fn explain<E, R>(service: Service, error: &SdkError<E, R>) -> AwsError
where
    E: ProvideErrorMetadata + Error + 'static,
    R: std::fmt::Debug + 'static,
{
    let name = service.name();
    match error {
        SdkError::ServiceError(answer) => {
            let answer = answer.err();
            refused(service, answer.code().unwrap_or("no code"), answer.message())
        }
        SdkError::TimeoutError(_) => AwsError::TimedOut { service: name },
        SdkError::DispatchFailure(failure) if failure.is_timeout() => AwsError::TimedOut { service: name },
        SdkError::DispatchFailure(failure) => {
            let detail = failure.as_connector_error().map_or_else(|| causes(error), |cause| causes(cause));
            AwsError::Unreachable { service: name, detail }
        }
        other => AwsError::Unreadable { service: name, detail: causes(other) },
    }
}
