//! What time alone brings. Each of the steps is tried whatever became of the others; the next minute finds what was missed.

use std::time::Instant;

use recoup_workflows::{App, Refusal};
use serde_json::{Value, json};

use crate::metrics::{Metric, emit};

/// The name of the function.
const WATCH: &str = "watch";

/// Sweeps leases, looks at the budgets and tells what is to be told.
///
/// # Errors
/// The first refusal of a step, so that the function's alarm hears of it.
pub async fn look(app: &App) -> Result<Value, Refusal> {
    let started = Instant::now();
    let looked = app.watch_time().await;
    app.publish_alerts().await;
    // Last, because many leases may end at once.
    let swept = app.sweep_leases().await;
    let leases = swept.as_ref().map_or(0, |swept| swept.leases);
    let minutes = swept.as_ref().map_or(0, |swept| swept.minutes);
    emit(
        WATCH,
        &[
            Metric::Count("LeasesEnded", u64::try_from(leases).unwrap_or(u64::MAX)),
            Metric::Milliseconds("WatchTime", u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX)),
        ],
    );
    for refusal in [swept.as_ref().err(), looked.as_ref().err()].into_iter().flatten() {
        tracing::error!(error = recoup_store::causes(refusal), "a look was not done; the next one goes on");
    }
    swept?;
    looked?;
    Ok(json!({ "leases": leases, "minutes": minutes }))
}
