//! The clock of `recoup serve`: at 04:30 in the organisation's time zone the nights run.

use std::sync::Arc;
use std::time::Duration;

use chrono::{Days, NaiveTime, TimeZone as _};
use recoup_model::Calendar;
use recoup_store::causes;
use recoup_workflows::nightly::Through;
use recoup_workflows::{App, Principal};

/// How often the clock is read: often enough to notice a machine that slept or a new time zone.
const LOOK: Duration = Duration::from_secs(20);
const DAY_NS: i64 = 86_400_000_000_000;

/// Runs the nights for ever. One that was due while nobody served is made up for.
pub(crate) async fn run_nights(app: Arc<App>) {
    let now_ns = app.ports.clock.now_ns();
    let mut looked_ns = match app.last_night_ns().await {
        Ok(Some(last_ns)) => last_ns.min(now_ns),
        // The first night of a folder that has events is due as well.
        Ok(None) => now_ns.saturating_sub(DAY_NS),
        Err(error) => {
            tracing::warn!(error = causes(&error), "it cannot be seen whether a night was missed");
            now_ns
        }
    };
    loop {
        tokio::time::sleep(LOOK).await;
        // Without an organisation file there is no time zone and nothing to run.
        let Ok(organisation) = app.organisation_today().await else { continue };
        let now_ns = app.ports.clock.now_ns();
        if next_night_ns(organisation.calendar(), looked_ns).is_some_and(|due_ns| due_ns <= now_ns) {
            run_night(&app).await;
        }
        looked_ns = now_ns;
    }
}

async fn run_night(app: &Arc<App>) {
    let run = match app.new_run() {
        Ok(run) => run,
        Err(error) => {
            tracing::error!(error = causes(&error), "the nightly run was not started");
            return;
        }
    };
    tracing::info!(run, "the nightly run begins");
    match app.nightly(&Principal::operator(), &run, Through::Yesterday).await {
        Ok(outcome) => {
            let days = outcome.get("days").and_then(serde_json::Value::as_array).map_or(0, Vec::len);
            tracing::info!(run, days, "the nightly run is done");
        }
        Err(error) => {
            tracing::error!(
                run,
                error = causes(&error),
                "the nightly run failed; run `recoup nightly` once the cause is mended"
            )
        }
    }
}

/// The first 04:30 after an instant. Where the clocks leave it out, the first moment after the gap; where it comes
/// twice, the first.
fn next_night_ns(calendar: Calendar, after_ns: i64) -> Option<i64> {
    let time = NaiveTime::from_hms_opt(4, 30, 0)?;
    let today = calendar.day_of(after_ns);
    [Some(today), today.checked_add_days(Days::new(1))].into_iter().flatten().find_map(|day| {
        let local = day.and_time(time);
        let instant = (0..24).find_map(|quarters| {
            let shifted = local.checked_add_signed(chrono::TimeDelta::minutes(quarters * 15))?;
            calendar.zone().from_local_datetime(&shifted).earliest()
        })?;
        instant.timestamp_nanos_opt().filter(|due_ns| *due_ns > after_ns)
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use chrono::{DateTime, Utc};
    use chrono_tz::Tz;
    use recoup_model::Calendar;

    use super::next_night_ns;

    fn next(zone: &str, after: &str) -> String {
        let after: DateTime<Utc> = after.parse().unwrap();
        let due =
            next_night_ns(Calendar::new(zone.parse::<Tz>().unwrap()), after.timestamp_nanos_opt().unwrap()).unwrap();
        DateTime::from_timestamp_nanos(due).to_rfc3339()
    }

    #[test]
    fn the_night_runs_at_half_past_four_local_time() {
        assert_eq!(next("Europe/Berlin", "2026-11-23T01:00:00Z"), "2026-11-23T03:30:00+00:00");
        assert_eq!(next("Europe/Berlin", "2026-11-23T03:30:00Z"), "2026-11-24T03:30:00+00:00");
        assert_eq!(next("America/New_York", "2026-11-23T23:00:00Z"), "2026-11-24T09:30:00+00:00");
    }

    #[test]
    fn summer_time_moves_it_with_the_clocks() {
        assert_eq!(next("Europe/Berlin", "2026-03-28T12:00:00Z"), "2026-03-29T02:30:00+00:00");
        assert_eq!(next("Europe/Berlin", "2026-10-24T12:00:00Z"), "2026-10-25T03:30:00+00:00");
    }
}
