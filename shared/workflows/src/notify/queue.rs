//! Alerts on one machine: they are handed over in the books, and told by a task of the process that serves the folder.

use std::sync::Arc;

use async_trait::async_trait;
use recoup_store::{Alert, Alerts, Books, Clock, Expect, Key, StoreError, WriteError};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::Notify;

use super::Channels;
use super::delivery::{DELIVERIES, Delivery, of_alert};
use super::plan::{read, taken};
use crate::access::Principal;
use crate::app::App;
use crate::error::Refusal;
use crate::records;

/// The partition of alerts that were handed over.
const HANDED_OVER: &str = "alerts-handed-over";
/// Alerts planned by one step.
const ALERTS_MAX: usize = 100;

/// A queue of alerts in the books.
#[derive(Clone)]
pub struct AlertQueue {
    books: Arc<dyn Books>,
    clock: Arc<dyn Clock>,
    news: Arc<Notify>,
}

impl AlertQueue {
    /// A queue in these books.
    #[must_use]
    pub fn new(books: Arc<dyn Books>, clock: Arc<dyn Clock>) -> Self {
        Self { books, clock, news: Arc::default() }
    }

    /// Ends once there is something new in it.
    pub async fn has_news(&self) {
        self.news.notified().await;
    }

    /// Says that there is something to do.
    pub fn wake(&self) {
        self.news.notify_one();
    }
}

#[derive(Serialize, Deserialize)]
struct HandedOver {
    alert: String,
    json: String,
}

#[async_trait]
impl Alerts for AlertQueue {
    async fn publish(&self, alert: &Alert) -> Result<(), StoreError> {
        let of = |name: &str| alert.attributes.get(name).map_or("", String::as_str);
        let record = HandedOver { alert: alert.id.clone(), json: alert.json.clone() };
        let key = Key::new(HANDED_OVER, format!("{:020}|{}", self.clock.now_ns().max(0), alert.id));
        let put = records::put(key, &record, Expect::Any)?;
        self.books.write(vec![put]).await.map_err(|error| match error {
            WriteError::Store(error) => error,
            other => StoreError::unavailable("hand over an alert", other),
        })?;
        tracing::info!(kind = of("kind"), severity = of("severity"), id = alert.id, "{}", alert.subject);
        self.wake();
        Ok(())
    }
}

impl App {
    /// Tells an alert again to those whom it could not be told, once what was in the way is mended: its dead letters and what
    /// could not be delivered. Returns how many there are.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`] without the role; [`Refusal::NotFound`] where nothing of it failed.
    pub async fn deliver_again(&self, principal: &Principal, alert: &str) -> Result<usize, Refusal> {
        principal.may_run()?;
        let rows = records::all::<Delivery>(self.books(), DELIVERIES, &of_alert(alert)).await?;
        let failed: Vec<_> = rows.into_iter().filter(|(_, delivery, _)| delivery.notice.is_some()).collect();
        let Some(notice) = failed.first().and_then(|(_, delivery, _)| delivery.notice.as_ref()) else {
            return Err(Refusal::NotFound(format!("nothing of the alert `{alert}` is dead or undeliverable")));
        };
        let handed = HandedOver { alert: alert.to_owned(), json: json!({ "id": alert, "notice": notice }).to_string() };
        let key = Key::new(HANDED_OVER, format!("{:020}|{alert}", self.now_ns().max(0)));
        let detail = json!({ "deliveries": failed.len() });
        let mut writes = vec![
            records::put(key, &handed, Expect::Any)?,
            self.audit_put(principal, "alert-delivered-again", alert, detail)?,
        ];
        for (sort, delivery, version) in &failed {
            writes.push(taken(Key::new(DELIVERIES, sort), *version));
            // It gets another place when it is planned again.
            writes.extend(delivery.place_in_list(sort).delete_unless(None));
        }
        self.books().write(writes).await?;
        Ok(failed.len())
    }

    /// Plans the deliveries of the alerts that were handed over.
    ///
    /// # Errors
    /// When the store fails; nothing is lost.
    pub async fn plan_alerts(&self, channels: &Channels) -> Result<(), Refusal> {
        loop {
            let page = self.books().scan(HANDED_OVER, "", None, ALERTS_MAX).await?;
            let more = page.next.is_some();
            for record in page.records {
                let taken = taken(record.key.clone(), record.version);
                let handed: HandedOver = serde_json::from_str(&record.value)
                    .map_err(|error| Refusal::computation("read an alert that was handed over", error))?;
                match read(&handed.json, &self.now_text()) {
                    Ok(Some(arrived)) => self.plan(channels.reach(), &arrived, vec![taken]).await?,
                    Ok(None) => self.books().write(vec![taken]).await?,
                    Err(error) => {
                        tracing::error!(alert = handed.alert, %error, "an alert cannot be read and is told to nobody");
                        self.books().write(vec![taken]).await?;
                    }
                }
            }
            if !more {
                return Ok(());
            }
        }
    }
}
