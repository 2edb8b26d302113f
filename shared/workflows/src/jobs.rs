//! Jobs: what takes longer than a request, as a value that can be handed to another process.

use std::str::FromStr;

use chrono::NaiveDate;
use recoup_model::Period;
use recoup_model::period::format_instant;
use serde_json::{Value, json};

use crate::app::App;
use crate::close::CloseRequest;
use crate::error::Refusal;
use crate::nightly::Through;

/// The kind of a run that turns days into facts.
pub(crate) const NIGHTLY: &str = "nightly";
/// The kind of a run that issues statements.
pub(crate) const CLOSE: &str = "close";

/// A night or a close.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Job {
    /// The nights that have something to do.
    Nightly(Through),
    /// The close of a month.
    Close(CloseRequest),
}

impl Job {
    /// `nightly` or `close`, as its run is called.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Nightly(_) => NIGHTLY,
            Self::Close(_) => CLOSE,
        }
    }

    /// The input of its first step, for a process that takes steps one by one:
    /// `{"step":"plan","run","through"}`, or `{"step":"plan","run","period","plan","run_missing_nights"[,"as_of"]}`.
    #[must_use]
    pub fn first_step(&self, run: &str) -> Value {
        match self {
            Self::Nightly(through) => json!({ "step": "plan", "run": run, "through": through.to_string() }),
            Self::Close(request) => {
                let mut step = json!({
                    "step": "plan", "run": run, "period": request.period, "plan": request.plan,
                    "run_missing_nights": request.run_missing_nights,
                });
                if let (Some(as_of_ns), Some(step)) = (request.as_of_ns, step.as_object_mut()) {
                    step.insert("as_of".into(), json!(format_instant(as_of_ns)));
                }
                step
            }
        }
    }
}

impl std::fmt::Display for Through {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Yesterday => f.write_str("yesterday"),
            Self::All => f.write_str("all"),
            Self::Day(day) => write!(f, "{day}"),
        }
    }
}

impl FromStr for Through {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        match text {
            "yesterday" => Ok(Self::Yesterday),
            "all" => Ok(Self::All),
            day => day.parse::<NaiveDate>().map(Self::Day).map_err(|_| {
                let detail = format!("`{text}` is not right; write yesterday, all or a day as 2026-10-31");
                Refusal::invalid("invalid-argument", "through", detail)
            }),
        }
    }
}

impl App {
    /// The local month before the one that it is now: what a scheduled close is for.
    ///
    /// # Errors
    /// [`Refusal::Conflict`] without an organisation file.
    pub async fn previous_month(&self) -> Result<Period, Refusal> {
        let world = self.world().await?;
        Ok(Period::of(world.history.calendar().day_of(self.now_ns())).previous())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn the_first_step_of_a_night_reads_back() {
        for text in ["yesterday", "all", "2026-10-31"] {
            let through: Through = text.parse().unwrap();
            let step = Job::Nightly(through).first_step("r1");
            assert_eq!(step, json!({ "step": "plan", "run": "r1", "through": text }));
        }
        assert!("2026-13-01".parse::<Through>().is_err());
    }

    #[test]
    fn the_first_step_of_a_close_says_all_that_was_asked() {
        let request = CloseRequest {
            period: "2026-10".parse().unwrap(),
            plan: true,
            as_of_ns: Some(0),
            run_missing_nights: false,
        };
        let wanted = json!({
            "step": "plan", "run": "r1", "period": "2026-10", "plan": true, "run_missing_nights": false,
            "as_of": format_instant(0),
        });
        assert_eq!(Job::Close(request).first_step("r1"), wanted);
    }
}
