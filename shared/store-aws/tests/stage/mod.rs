//! Processes of one deployment, with a clock that is set.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use recoup_store::{Alert, Alerts, Clock, StoreError};
use recoup_store_aws::{AwsStore, DocumentSettings, S3Documents};
use recoup_workflows::{App, Ports};

use crate::emulator;

/// 2026-11-10T08:00:00Z.
pub(crate) const NOW_NS: i64 = 1_794_297_600_000_000_000;

#[derive(Debug)]
pub(crate) struct SetClock(pub(crate) AtomicI64);

impl SetClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(NOW_NS)))
    }
}

impl Clock for SetClock {
    fn now_ns(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// Nobody hears.
struct Silent;

#[async_trait]
impl Alerts for Silent {
    async fn publish(&self, _alert: &Alert) -> Result<(), StoreError> {
        Ok(())
    }
}

/// A process over a store; without `alerts` nobody hears of any.
pub(crate) async fn app(store: &Arc<AwsStore>, clock: &Arc<SetClock>, alerts: Option<Arc<dyn Alerts>>) -> Arc<App> {
    let config = emulator::config().await;
    let documents = Arc::new(S3Documents::new(DocumentSettings { bucket: "none".into(), lock: None }, &config));
    let ports = Ports {
        log: store.clone(),
        live: store.clone(),
        leases: store.clone(),
        books: store.clone(),
        documents,
        alerts: alerts.unwrap_or_else(|| Arc::new(Silent)),
        clock: clock.clone(),
    };
    Arc::new(App::new(ports, [7; 32], store.lanes()).sharing(true))
}
