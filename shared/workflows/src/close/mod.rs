//! Month close: plan (every finding), then execute: freeze, write the documents, book, and only then closed.
//!
//! I/O: the facts and the blocks of the period, what is frozen and its record, one document per team, the ledger entries,
//! one final record. A crash after the freeze is finished by the next close, which writes what was frozen and computes
//! nothing.
//! Start reading at `steps`, then `compute` (what will be written) and `issue` (writing it).

mod compute;
mod frozen;
mod issue;
mod steps;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use recoup_ledger::{Correction, Opening, PriceVersion, Totals};
use recoup_model::organisation::History;
use recoup_model::{Digest, Id, Period};
use recoup_money::Amount;
use recoup_store::Books;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use steps::ClosePlanned;
pub(crate) use steps::utc_days_of;

use crate::app::App;
use crate::error::Refusal;
use crate::records;
use crate::statements::Issued;

/// The partition of period states.
pub(crate) const PERIODS: &str = "periods";

/// Where a period is on its way (CLO-1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PeriodState {
    /// Frozen: its documents are being written.
    Closing,
    /// Closed for good.
    Closed,
}

/// A period that is closed or being closed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PeriodRecord {
    /// The month.
    pub period: Period,
    /// Where it is.
    pub state: PeriodState,
    /// The run that closed it.
    pub run: String,
    /// The instant that the close was made for, RFC 3339.
    pub as_of: String,
    /// When it was closed, RFC 3339.
    pub closed_at: Option<String>,
    /// Versions of the organisation file that were known.
    pub organisation_versions: u32,
    /// Price lists that had been imported.
    pub imports: usize,
    /// Digest of the shipped catalogue; `None`: closed before it was noted, with that of the release of the time.
    #[serde(default)]
    pub shipped: Option<Digest>,
    /// Version of the rules that it was closed under; 4 or before where it was not noted.
    #[serde(default = "rules_before_noted")]
    pub rules: u32,
    /// The last block that the nights had seen.
    pub cut: u64,
    /// Digest of the facts of each night.
    pub nights: BTreeMap<String, Digest>,
    /// What was issued.
    pub statements: Vec<Issued>,
    /// Digest of the manifest.
    pub manifest: Digest,
    /// Digest of the approved rate card that its prices began with.
    #[serde(default)]
    pub rate_card: Option<Digest>,
    /// The sums that tie (CLO-4).
    pub totals: Totals,
    /// Printed total less exact total of each team, booked on the account `rounding`.
    pub rounding: BTreeMap<Id, Amount>,
}

const fn rules_before_noted() -> u32 {
    4
}

impl PeriodRecord {
    /// Whether it is closed for good.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state == PeriodState::Closed
    }
}

/// What a close needs to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloseRequest {
    /// The month.
    pub period: Period,
    /// Only say what would happen.
    pub plan: bool,
    /// The instant at which it is asked; default now.
    pub as_of_ns: Option<i64>,
    /// Run the missing nights up to the month's end first, without what only queries need: the next night does that.
    pub run_missing_nights: bool,
}

/// Every period that is closed or being closed, in order.
pub(crate) async fn period_records(books: &dyn Books) -> Result<Vec<PeriodRecord>, Refusal> {
    Ok(records::all::<PeriodRecord>(books, PERIODS, "").await?.into_iter().map(|(_, record, _)| record).collect())
}

/// The period that a close has frozen and not finished.
pub(crate) async fn closing_period(books: &dyn Books) -> Result<Option<Period>, Refusal> {
    let records = period_records(books).await?;
    Ok(records.into_iter().find(|record| !record.is_closed()).map(|record| record.period))
}

/// The organisation as it was known when a period was closed.
pub(crate) fn history_as_closed(history: &History, record: &PeriodRecord) -> Result<History, Refusal> {
    let known = history.versions().iter().filter(|version| version.number <= record.organisation_versions);
    History::new(known.cloned().collect())
        .ok_or_else(|| Refusal::computation("recompute a closed period", "its organisation version is gone"))
}

fn detail_partition(period: Period) -> String {
    format!("periods/{period}")
}

impl App {
    /// The state at the start of a closed period.
    pub(crate) async fn opening_of(&self, record: &PeriodRecord) -> Result<Opening, Refusal> {
        self.detail(record, "opening/").await
    }

    /// The state at the end of a closed period.
    pub(crate) async fn closing_of(&self, record: &PeriodRecord) -> Result<Opening, Refusal> {
        self.detail(record, "closing/").await
    }

    async fn detail(&self, record: &PeriodRecord, prefix: &str) -> Result<Opening, Refusal> {
        let text = records::text(self.books(), &detail_partition(record.period), prefix).await?;
        serde_json::from_str(&text).map_err(|error| Refusal::computation("read a closed period", error))
    }

    /// The internal prices that a closed period charged.
    pub(crate) async fn own_prices(&self, record: &PeriodRecord) -> Result<Vec<PriceVersion>, Refusal> {
        Ok(records::list(self.books(), &detail_partition(record.period), "prices/").await?)
    }

    /// Corrections of earlier periods that a closed period booked.
    pub(crate) async fn corrections_in(&self, record: &PeriodRecord) -> Result<Vec<Correction>, Refusal> {
        Ok(records::list(self.books(), &detail_partition(record.period), "corrections/").await?)
    }

    /// Corrections of `period` that were booked in later closed periods.
    pub(crate) async fn corrections_booked(
        &self,
        closed: &[PeriodRecord],
        period: Period,
    ) -> Result<Vec<Correction>, Refusal> {
        let mut booked = Vec::new();
        for record in closed.iter().filter(|record| record.is_closed() && record.period > period) {
            let all = self.corrections_in(record).await?;
            booked.extend(all.into_iter().filter(|one| one.line.key.original_period == Some(period)));
        }
        Ok(booked)
    }

    /// Every period that has figures: its state and what it amounts to.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn periods(&self) -> Result<Vec<Value>, Refusal> {
        let closed = period_records(self.books()).await?;
        let mut rows: BTreeMap<Period, Value> = BTreeMap::new();
        let settled = records::all::<crate::nightly::SettledRecord>(self.books(), crate::nightly::SETTLED, "").await?;
        for (_, record, _) in settled {
            let row =
                json!({ "period": record.period, "state": "open", "through": record.through, "totals": record.totals });
            rows.insert(record.period, row);
        }
        for record in closed {
            let row = json!({
                "period": record.period, "state": record.state, "closed_at": record.closed_at,
                "totals": record.totals, "statements": record.statements.len(), "manifest": record.manifest,
            });
            rows.insert(record.period, row);
        }
        Ok(rows.into_values().collect())
    }
}

/// Where the manifest of a month lies among the documents.
pub(crate) fn manifest_path(period: Period) -> String {
    format!("statements/{period}/manifest-r1.json")
}

/// Reads an instant such as `2026-11-04T00:00:00Z`, or a date, which is 00:00 UTC of it.
///
/// # Errors
/// [`Refusal::Invalid`] naming `as_of`.
pub fn parse_as_of(text: &str) -> Result<i64, Refusal> {
    let bad = || {
        Refusal::invalid("invalid-time", "as_of", format!("`{text}` is no RFC 3339 time; write 2026-11-04T00:00:00Z"))
    };
    let full = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() };
    let instant = DateTime::parse_from_rfc3339(&full).map_err(|_| bad())?;
    instant.with_timezone(&Utc).timestamp_nanos_opt().ok_or_else(bad)
}
