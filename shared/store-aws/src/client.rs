//! The SDK's clients with our bounds: how often it tries again and how long it waits, all below the 29 seconds that a
//! function has.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;

/// Attempts of one call, the first included; between them the SDK waits with jitter.
const ATTEMPTS_MAX: u32 = 5;
/// The first wait between attempts, at most; each further one is up to twice as long.
const BACKOFF_FIRST: Duration = Duration::from_millis(50);
/// No wait is longer.
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// Until a connection stands.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// One attempt of a call.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);
/// A call with all its attempts.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(18);
/// One attempt to move a document, which may have some megabytes.
const DOCUMENT_ATTEMPT_TIMEOUT: Duration = Duration::from_secs(12);
/// Moving a document with all attempts.
const DOCUMENT_TIMEOUT: Duration = Duration::from_secs(24);

/// Region, credentials and endpoint from where the SDK finds them (the environment of a function), with our bounds. A
/// custom endpoint is that of `AWS_ENDPOINT_URL`.
pub async fn load_config() -> SdkConfig {
    let tls = Provider::Rustls(CryptoMode::Ring);
    let retries = RetryConfig::standard()
        .with_max_attempts(ATTEMPTS_MAX)
        .with_initial_backoff(BACKOFF_FIRST)
        .with_max_backoff(BACKOFF_MAX);
    aws_config::defaults(BehaviorVersion::latest())
        .http_client(Builder::new().tls_provider(tls).build_https())
        .retry_config(retries)
        .timeout_config(timeouts(ATTEMPT_TIMEOUT, OPERATION_TIMEOUT))
        .load()
        .await
}

fn timeouts(attempt: Duration, operation: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(attempt)
        .operation_timeout(operation)
        .build()
}

/// A client of `DynamoDB`.
#[must_use]
pub fn dynamodb_client(config: &SdkConfig) -> aws_sdk_dynamodb::Client {
    aws_sdk_dynamodb::Client::new(config)
}

/// A client of S3. With a custom endpoint a bucket is part of the path: no name server knows it as a host.
#[must_use]
pub fn s3_client(config: &SdkConfig) -> aws_sdk_s3::Client {
    let own = aws_sdk_s3::config::Builder::from(config)
        .force_path_style(config.endpoint_url().is_some())
        .timeout_config(timeouts(DOCUMENT_ATTEMPT_TIMEOUT, DOCUMENT_TIMEOUT));
    aws_sdk_s3::Client::from_conf(own.build())
}

/// A client of SNS.
#[must_use]
pub fn sns_client(config: &SdkConfig) -> aws_sdk_sns::Client {
    aws_sdk_sns::Client::new(config)
}

/// A client of SQS.
#[must_use]
pub fn sqs_client(config: &SdkConfig) -> aws_sdk_sqs::Client {
    aws_sdk_sqs::Client::new(config)
}
