//! What time alone brings, while a folder is served: leases end, alerts are escalated, periods end. And what follows decisions,
//! as soon as whoever decided was answered.

use recoup_store::causes;
use std::sync::Arc;
use std::time::Duration;

use recoup_workflows::App;
use tokio::time::Instant;

/// How often leases are swept.
const SWEEP: Duration = Duration::from_secs(5);
/// Sweeps between two looks at the budgets.
const LOOK_EVERY: u32 = 6;

/// Sweeps and looks for ever.
pub(crate) async fn run(app: Arc<App>) {
    let mut since_look = LOOK_EVERY;
    let mut next_sweep = Instant::now();
    loop {
        tokio::select! {
            () = app.has_news() => {
                app.after_decisions().await;
                continue;
            }
            () = tokio::time::sleep_until(next_sweep) => {}
        }
        if let Err(error) = app.sweep_leases().await {
            tracing::error!(error = causes(&error), "leases that are over wait for the next sweep");
        }
        since_look = since_look.saturating_add(1);
        if since_look >= LOOK_EVERY {
            since_look = 0;
            if let Err(error) = app.watch_time().await {
                tracing::error!(error = causes(&error), "the budgets could not be looked at");
            }
            app.publish_alerts().await;
        }
        next_sweep = Instant::now() + SWEEP;
    }
}
