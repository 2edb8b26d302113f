//! What was approved beyond the limits of budgets: requests for more, decided by somebody else (BUD-6).

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use chrono::{Days, NaiveDate};
use recoup_budgets::PeriodKind;
use recoup_budgets::admission::Extended;
use recoup_money::Amount;
use recoup_store::Key;
use serde::{Deserialize, Serialize};

use crate::app::{App, World};
use crate::error::Refusal;
use crate::records;

/// The partition of extensions.
const EXTENSIONS: &str = "extensions";
/// How long approvals of other processes may go unnoticed.
const REMEMBERED_NS: i64 = 10_000_000_000;

/// What became of a request for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExtensionState {
    /// Nobody has decided.
    Pending,
    /// The limit is higher in that period.
    Approved,
    /// It is not.
    Declined,
}

/// A request for more in one period of a budget.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extension {
    /// `ext_` and digits.
    pub id: String,
    /// The budget's scope as the organisation file names it.
    pub scope: String,
    /// The period that it is for.
    pub period: String,
    /// How much more.
    pub amount: Amount,
    /// Why.
    pub reason: String,
    /// Pending, approved or declined.
    pub state: ExtensionState,
    /// Who asked.
    pub requested_by: String,
    /// When, RFC 3339.
    pub requested_at: String,
    /// Who decided.
    pub decided_by: Option<String>,
    /// When, RFC 3339.
    pub decided_at: Option<String>,
    /// The alert that it was asked for from.
    pub alert: Option<String>,
}

/// Where an extension stands.
pub(crate) fn extension_key(period: &str, id: &str) -> Key {
    Key::new(EXTENSIONS, format!("{period}|{id}"))
}

/// Every request for a period, or all of them.
pub(crate) async fn extensions(app: &App, period: Option<&str>) -> Result<Vec<(Extension, u64)>, Refusal> {
    let prefix = period.map(|period| format!("{period}|")).unwrap_or_default();
    let rows = records::all::<Extension>(app.books(), EXTENSIONS, &prefix).await?;
    Ok(rows.into_iter().map(|(_, extension, version)| (extension, version)).collect())
}

/// What was approved, as it was read last.
#[derive(Default)]
pub(crate) struct Approved(Mutex<Option<Remembered>>);

struct Remembered {
    today: NaiveDate,
    read_ns: i64,
    extended: Arc<Extended>,
}

impl App {
    /// What was approved for the periods of today and tomorrow.
    pub(crate) async fn extended(&self, world: &World, now_ns: i64) -> Result<Arc<Extended>, Refusal> {
        self.extended_on(world.history.calendar().day_of(now_ns), now_ns).await
    }

    /// The same where the local day is known.
    pub(super) async fn extended_on(&self, today: NaiveDate, now_ns: i64) -> Result<Arc<Extended>, Refusal> {
        if let Ok(approved) = self.approved.0.lock()
            && let Some(known) = &*approved
            && known.today == today
            && (!self.sharing || now_ns.saturating_sub(known.read_ns) < REMEMBERED_NS)
        {
            return Ok(Arc::clone(&known.extended));
        }
        let tomorrow = today.checked_add_days(Days::new(1)).unwrap_or(today);
        let kinds = [PeriodKind::Month, PeriodKind::Week, PeriodKind::Day];
        let periods: BTreeSet<String> =
            kinds.iter().flat_map(|kind| [today, tomorrow].map(|day| kind.period_of(day))).collect();
        let mut extended = Extended::new();
        for period in &periods {
            for (extension, _) in extensions(self, Some(period)).await? {
                if extension.state == ExtensionState::Approved {
                    let sum = extended.entry((extension.scope, extension.period)).or_default();
                    *sum = sum.checked_add(extension.amount).unwrap_or(*sum);
                }
            }
        }
        let extended = Arc::new(extended);
        if let Ok(mut approved) = self.approved.0.lock() {
            *approved = Some(Remembered { today, read_ns: now_ns, extended: Arc::clone(&extended) });
        }
        Ok(extended)
    }

    pub(crate) fn forget_extended(&self) {
        if let Ok(mut approved) = self.approved.0.lock() {
            *approved = None;
        }
    }
}
