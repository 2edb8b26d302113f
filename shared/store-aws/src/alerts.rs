//! Alerts through a topic of SNS.
//!
//! People who take e-mail get the text, every other protocol (Lambda, SQS, HTTPS) the JSON. Where Amazon Q Developer
//! subscribes, HTTPS gets the form for chats instead. What a subscription filters by are message attributes, with the
//! alert's id among them.

use std::collections::BTreeMap;

use async_trait::async_trait;
use aws_sdk_sns::types::MessageAttributeValue;
use aws_types::SdkConfig;
use recoup_store::alerts::{ALERT_BYTES_MAX, check_alert};
use recoup_store::{Alert, Alerts, StoreError};

use crate::client::sns_client;
use crate::failure::{Service, failed};

const PUBLISHING: &str = "publish an alert";
/// The attribute that names the alert.
const ID: &str = "id";

/// A topic.
#[derive(Clone, Debug)]
pub struct SnsAlerts {
    client: aws_sdk_sns::Client,
    topic: String,
    has_chats: bool,
}

impl SnsAlerts {
    /// A topic by its ARN.
    #[must_use]
    pub fn new(topic_arn: impl Into<String>, config: &SdkConfig) -> Self {
        Self { client: sns_client(config), topic: topic_arn.into(), has_chats: false }
    }

    /// HTTPS subscriptions get the form for chats, of those alerts that have one.
    #[must_use]
    pub fn with_chats(self) -> Self {
        Self { has_chats: true, ..self }
    }
}

#[async_trait]
impl Alerts for SnsAlerts {
    async fn publish(&self, alert: &Alert) -> Result<(), StoreError> {
        check_alert(alert)?;
        let mut forms = BTreeMap::from([("default", &alert.json), ("email", &alert.text)]);
        forms.extend(alert.chat.as_ref().filter(|_| self.has_chats).map(|chat| ("https", chat)));
        let message = serde_json::json!(forms).to_string();
        let mut call = self.client.publish().topic_arn(&self.topic).subject(&alert.subject);
        let mut bytes = message.len().saturating_add(alert.subject.len());
        for (name, value) in
            alert.attributes.iter().map(|(name, value)| (name.as_str(), value)).chain([(ID, &alert.id)])
        {
            let attribute = MessageAttributeValue::builder().data_type("String").string_value(value).build();
            let attribute = attribute.map_err(|error| StoreError::unavailable(PUBLISHING, error))?;
            bytes = bytes.saturating_add(name.len()).saturating_add(value.len());
            call = call.message_attributes(name, attribute);
        }
        if bytes > ALERT_BYTES_MAX {
            let cause =
                format!("the alert `{}` has {bytes} bytes as SNS takes it, at most {ALERT_BYTES_MAX} fit", alert.id);
            return Err(StoreError::unavailable(PUBLISHING, cause));
        }
        let sent = call.message(message).message_structure("json").send().await;
        sent.map(drop).map_err(failed(Service::Sns, PUBLISHING))
    }
}
