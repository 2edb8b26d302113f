//! Alerts of one machine: a line of the log each.

use async_trait::async_trait;
use recoup_store::{Alert, Alerts, StoreError};

/// Writes every alert to the log of the process.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LogAlerts;

#[async_trait]
impl Alerts for LogAlerts {
    async fn publish(&self, alert: &Alert) -> Result<(), StoreError> {
        let of = |name: &str| alert.attributes.get(name).map_or("", String::as_str);
        tracing::info!(kind = of("kind"), severity = of("severity"), id = alert.id, "{}", alert.subject);
        tracing::debug!(id = alert.id, "{}", alert.text);
        Ok(())
    }
}
