//! A secret of Secrets Manager: a JSON object of texts. Nothing of it is ever part of an error.

use std::collections::BTreeMap;

use aws_types::SdkConfig;
use recoup_store::StoreError;

use crate::failure::{Service, failed};

const READING: &str = "read a secret";

/// The fields of a secret by its ARN.
///
/// # Errors
/// Whatever Secrets Manager says; [`StoreError::Unavailable`] for a secret of another form.
pub async fn read_secret(arn: &str, config: &SdkConfig) -> Result<BTreeMap<String, String>, StoreError> {
    let client = aws_sdk_secretsmanager::Client::new(config);
    let read = client.get_secret_value().secret_id(arn).send().await;
    let read = read.map_err(failed(Service::SecretsManager, READING))?;
    // What serde says of a value may repeat it.
    let fields = read.secret_string().and_then(|text| serde_json::from_str(text).ok());
    fields.ok_or_else(|| {
        StoreError::unavailable(READING, format!("{arn} is not a JSON object of texts; write {{\"name\":\"value\"}}"))
    })
}
