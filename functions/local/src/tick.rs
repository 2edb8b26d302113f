//! What time alone brings, while a folder is served: leases end, alerts are escalated, periods end.

use std::sync::Arc;
use std::time::Duration;

use recoup_workflows::App;

/// How often leases are swept.
const SWEEP: Duration = Duration::from_secs(5);
/// Sweeps between two looks at the budgets.
const LOOK_EVERY: u32 = 6;

/// Sweeps and looks for ever.
pub(crate) async fn run(app: Arc<App>) {
    let mut since_look = LOOK_EVERY;
    loop {
        if let Err(error) = app.sweep_leases().await {
            tracing::error!(%error, "leases that are over wait for the next sweep");
        }
        since_look = since_look.saturating_add(1);
        if since_look >= LOOK_EVERY {
            since_look = 0;
            if let Err(error) = app.watch_time().await {
                tracing::error!(%error, "the budgets could not be looked at");
            }
            app.publish_alerts().await;
        }
        tokio::time::sleep(SWEEP).await;
    }
}
