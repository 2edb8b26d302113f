//! What was approved beyond the limits of budgets: requests for more, decided by somebody else (BUD-6).

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use chrono::{Days, NaiveDate};
use recoup_budgets::PeriodKind;
use recoup_budgets::admission::Extended;
use recoup_money::Amount;
use recoup_store::{Expect, Key, Write};
use serde::{Deserialize, Serialize};

use super::patience::Patience;
use crate::app::{App, World};
use crate::error::Refusal;
use crate::lists::{List, Place};
use crate::records;

/// The partition of extensions.
const EXTENSIONS: &str = List::Extensions.records();
/// The partition of the periods of extensions, by id.
const PERIODS: &str = "extension-periods";
/// Extensions read at once where one is looked for that has no period by its id.
const LOOKED_AT_ONCE: usize = 500;
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

impl Extension {
    /// The writes that let it be listed and found by its id.
    pub(crate) fn entries(&self) -> Result<[Write; 2], Refusal> {
        let Key { sort, .. } = extension_key(&self.period, &self.id);
        let place = Place { list: List::Extensions, at: &self.requested_at, rank: 0, sort: &sort };
        Ok([place.put(None)?, records::put(Key::new(PERIODS, &self.id), &self.period, Expect::Any)?])
    }
}

/// A request by its id, with its version.
pub(crate) async fn extension(app: &App, id: &str) -> Result<Option<(Extension, u64)>, Refusal> {
    let key = match records::get::<String>(app.books(), &Key::new(PERIODS, id)).await? {
        Some((period, _)) => Some(extension_key(&period, id)),
        None => key_without_period(app, id).await?,
    };
    let Some(key) = key else { return Ok(None) };
    Ok(records::get(app.books(), &key).await?)
}

/// Where an extension of an earlier release stands that was not adopted yet: all are looked at, page by page.
async fn key_without_period(app: &App, id: &str) -> Result<Option<Key>, Refusal> {
    let is_meant = |key: &Key| key.sort.split_once('|').is_some_and(|(_, of)| of == id);
    let mut after: Option<String> = None;
    loop {
        let page = app.books().scan(EXTENSIONS, "", after.as_deref(), LOOKED_AT_ONCE).await?;
        if let Some(found) = page.records.into_iter().map(|record| record.key).find(is_meant) {
            return Ok(Some(found));
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(None),
        }
    }
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

    /// The same where the local day is known, and whoever asks is answered in time.
    pub(super) async fn extended_in_time(
        &self,
        today: NaiveDate,
        now_ns: i64,
        patience: Patience,
    ) -> Result<Arc<Extended>, Refusal> {
        match self.known_extended(today, now_ns) {
            Some(known) => Ok(known),
            None => Box::pin(patience.for_work(|| self.extended_on(today, now_ns))).await,
        }
    }

    fn known_extended(&self, today: NaiveDate, now_ns: i64) -> Option<Arc<Extended>> {
        let approved = self.approved.0.lock().ok()?;
        let known = approved.as_ref().filter(|known| known.today == today)?;
        let is_fresh = !self.sharing || now_ns.saturating_sub(known.read_ns) < REMEMBERED_NS;
        is_fresh.then(|| Arc::clone(&known.extended))
    }

    async fn extended_on(&self, today: NaiveDate, now_ns: i64) -> Result<Arc<Extended>, Refusal> {
        if let Some(known) = self.known_extended(today, now_ns) {
            return Ok(known);
        }
        let tomorrow = today.checked_add_days(Days::new(1)).unwrap_or(today);
        let kinds = [PeriodKind::Month, PeriodKind::Week, PeriodKind::Day];
        let periods: BTreeSet<String> =
            kinds.iter().flat_map(|kind| [today, tomorrow].map(|day| kind.period_of(day))).collect();
        let extended = Arc::new(self.approved_for(&periods).await?);
        if let Ok(mut approved) = self.approved.0.lock() {
            *approved = Some(Remembered { today, read_ns: now_ns, extended: Arc::clone(&extended) });
        }
        Ok(extended)
    }

    /// What was approved for these periods, read anew.
    pub(crate) async fn approved_for(&self, periods: &BTreeSet<String>) -> Result<Extended, Refusal> {
        let mut extended = Extended::new();
        for period in periods {
            let of_period = records::all::<Extension>(self.books(), EXTENSIONS, &format!("{period}|")).await?;
            for (_, extension, _) in of_period {
                if extension.state == ExtensionState::Approved {
                    let sum = extended.entry((extension.scope, extension.period)).or_default();
                    let more = sum.checked_add(extension.amount);
                    *sum = more.ok_or_else(|| Refusal::computation("add up what was approved", "the sum overflows"))?;
                }
            }
        }
        Ok(extended)
    }

    pub(crate) fn forget_extended(&self) {
        if let Ok(mut approved) = self.approved.0.lock() {
            *approved = None;
        }
    }
}
