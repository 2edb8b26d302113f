//! The SDK's clients: what they take from the environment of a function, and their bounds: how often they try again and how
//! long they wait, all below the 29 seconds that a function has.
//!
//! A start waits for this. So nothing is looked for where Lambda puts nothing (profiles, the metadata of a machine), and
//! connections are made, and certificates read, when something is first sent.

use std::time::Duration;

use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{
    BehaviorVersion, Credentials, HttpClient, Region, RuntimeComponents, SharedCredentialsProvider, SharedHttpClient,
};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::http::{HttpConnectorSettings, SharedHttpConnector};
use aws_types::SdkConfig;

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

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
#[error("the variable {0} is not set; Lambda sets it, and elsewhere whoever starts the function has to")]
pub struct ConfigError(&'static str);

/// Region, credentials and endpoint from the environment, as Lambda sets it, with our bounds: `AWS_REGION`,
/// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`; `AWS_ENDPOINT_URL` is a custom endpoint of every
/// service, and `true` in `AWS_USE_FIPS_ENDPOINT` or `AWS_USE_DUALSTACK_ENDPOINT` asks for such endpoints.
///
/// # Errors
/// [`ConfigError`] names the variable that is missing.
pub fn load_config() -> Result<SdkConfig, ConfigError> {
    config_of(|name| std::env::var(name).ok())
}

/// The same from variables that somebody else knows.
///
/// # Errors
/// [`ConfigError`] names the variable that is missing.
pub fn config_of(variable: impl Fn(&str) -> Option<String>) -> Result<SdkConfig, ConfigError> {
    let optional = |name: &str| variable(name).filter(|value| !value.is_empty());
    let required = |name| optional(name).ok_or(ConfigError(name));
    let is_true = |name| optional(name).map(|value| value.eq_ignore_ascii_case("true"));
    let region = Region::new(required("AWS_REGION")?);
    // Those of a function hold as long as the process.
    let credentials = Credentials::new(
        required("AWS_ACCESS_KEY_ID")?,
        required("AWS_SECRET_ACCESS_KEY")?,
        optional("AWS_SESSION_TOKEN"),
        None,
        "environment",
    );
    let endpoint = optional("AWS_ENDPOINT_URL");
    let retries = RetryConfig::standard()
        .with_max_attempts(ATTEMPTS_MAX)
        .with_initial_backoff(BACKOFF_FIRST)
        .with_max_backoff(BACKOFF_MAX);
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(region)
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(OnDemand(http_client(endpoint.as_deref())))
        .retry_config(retries)
        .timeout_config(timeouts(ATTEMPT_TIMEOUT, OPERATION_TIMEOUT));
    config.set_use_fips(is_true("AWS_USE_FIPS_ENDPOINT"));
    config.set_use_dual_stack(is_true("AWS_USE_DUALSTACK_ENDPOINT"));
    config.set_endpoint_url(endpoint);
    Ok(config.build())
}

/// TLS trusts whom the machine trusts. An endpoint without TLS is sent to as it is, and nobody is trusted beside it.
fn http_client(endpoint: Option<&str>) -> SharedHttpClient {
    let client = Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring));
    let is_plain = endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"));
    let nobody = TlsContext::builder().with_trust_store(TrustStore::empty()).build();
    match nobody {
        Ok(nobody) if is_plain => client.tls_context(nobody).build_https(),
        _ => client.build_https(),
    }
}

/// Connectors when something is first sent, one for all clients: the SDK would make one for each client as it is built, and
/// read the machine's certificates for each.
#[derive(Debug)]
struct OnDemand(SharedHttpClient);

impl HttpClient for OnDemand {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        self.0.http_connector(settings, components)
    }
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

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const LAMBDA: [(&str, &str); 4] = [
        ("AWS_REGION", "eu-central-1"),
        ("AWS_ACCESS_KEY_ID", "id"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_SESSION_TOKEN", "token"),
    ];

    fn config(more: &[(&str, &str)], without: &str) -> Result<SdkConfig, ConfigError> {
        config_of(|name| {
            let found = more.iter().chain(&LAMBDA).find(|(known, _)| *known == name && name != without);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn what_lambda_sets_is_enough() {
        let config = config(&[], "").unwrap();
        assert_eq!(config.region().map(AsRef::as_ref), Some("eu-central-1"));
        assert_eq!((config.endpoint_url(), config.use_fips(), config.use_dual_stack()), (None, None, None));
    }

    #[test]
    fn endpoints_are_what_the_environment_says() {
        let more = [("AWS_ENDPOINT_URL", "http://127.0.0.1:1"), ("AWS_USE_FIPS_ENDPOINT", "TRUE")];
        let found = config(&more, "").unwrap();
        assert_eq!((found.endpoint_url(), found.use_fips()), (Some("http://127.0.0.1:1"), Some(true)));
        assert_eq!(config(&[("AWS_ENDPOINT_URL", "")], "").unwrap().endpoint_url(), None);
    }

    #[test]
    fn a_missing_variable_is_named() {
        for (name, _) in LAMBDA.into_iter().take(3) {
            assert!(config(&[], name).unwrap_err().to_string().contains(&format!("{name} is not set")));
        }
    }
}
