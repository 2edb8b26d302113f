//! The manifest: which events, prices, organisation and rules the statements of a month were made from.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use chrono::NaiveDate;
use recoup_attribution::SettlementFacts;
use recoup_attribution::facts::EventSet;
use recoup_ledger::{Correction, Opening};
use recoup_model::organisation::History;
use recoup_model::period::TIME_ZONE_DATA;
use recoup_model::{Digest, Period};
use serde::{Deserialize, Serialize};

use crate::canonical::digest;

/// The rules that figures are made by; raised only when a figure can change. 2: idle minutes are always shown (PRC-4).
/// 3: which report of a corrected call is billed (EVT-2, EVT-3), prices on nights without a candidate (PRC-2, PRC-3), what of
/// pools enters prices beside cost without an agent (PRC-1), wrappers that are unpriced in part (RAT-2). 4: tasks without a
/// duration are no evidence of a time price (PRC-2, PRC-4), a wrapper's quantity and excess are rounded together (MON-1).
/// 5: what a frame reports is the cost of all at and below it (EVT-1), a call that a trace reports twice was observed once
/// (EVT-5), of imported prices the last to begin holds (RAT-1). 6: a variance without charges is split by the direct cost of
/// its agent and task type before it is by tasks (LED-3), only completed tasks count on a line that passes tasks billed by time
/// through (PRC-2).
pub const RULES_VERSION: u32 = 6;
/// The versions that this release still has: what was made under one of them can be recomputed.
pub const RULES_HELD: RangeInclusive<u32> = 5..=RULES_VERSION;

/// The events of one UTC day, as far as they lie in one local day, that counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DayEvents {
    /// The local day.
    pub local_day: NaiveDate,
    /// The UTC day; `None`: events on other days of traces that touch the local day. They decide who pays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub utc_day: Option<NaiveDate>,
    /// How many.
    pub events: u64,
    /// SHA-256 over the sorted (identity, content digest).
    pub digest: Digest,
}

/// A version of the organisation file that held in the month.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrganisationVersion {
    /// From 1.
    pub number: u32,
    /// First local day on which it holds; `None`: for all time before the next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effective: Option<NaiveDate>,
    /// SHA-256 of the file, policies and pools included.
    pub digest: Digest,
}

/// What the statements of a month were made from. Same manifest, same statements, byte for byte.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The month.
    pub period: Period,
    /// The IANA zone whose month it is.
    pub time_zone: String,
    /// Version of the time zone data.
    pub time_zone_data: String,
    /// Events that counted, in order of days.
    pub days: Vec<DayEvents>,
    /// How many events of the month counted.
    pub events: u64,
    /// Digest of every price, the organisation's own and imported ones included.
    pub catalogue: Digest,
    /// Versions of the organisation file that held in the month.
    pub organisation: Vec<OrganisationVersion>,
    /// Digest of what the month before handed over: smoothed sums and carried variance; `None`: not stated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opening: Option<Digest>,
    /// Digest of the corrections that are booked in the month; `None`: not stated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corrections: Option<Digest>,
    /// Digest of the approved rate card that the month's prices began with (PRC-3); `None`: none was asked for or approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_card: Option<Digest>,
    /// Rules version.
    pub rules: u32,
}

/// What a manifest says of the facts of a day.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// The events of the day that counted, by UTC day.
    pub counted: BTreeMap<NaiveDate, EventSet>,
    /// Events of the day's traces that lie on other days.
    pub context: Option<EventSet>,
}

impl Counted {
    /// Of a day's facts.
    #[must_use]
    pub fn of(facts: &SettlementFacts) -> Self {
        Self { counted: facts.counted.clone(), context: facts.context }
    }
}

impl Manifest {
    /// The manifest of a month over the facts of its days.
    #[must_use]
    pub fn build(period: Period, history: &History, days: &BTreeMap<NaiveDate, Counted>, catalogue: Digest) -> Self {
        let mut parts = Vec::new();
        for (local_day, facts) in days.range(period.first_day()..period.next().first_day()) {
            let counted = facts.counted.iter().map(|(utc_day, set)| (Some(*utc_day), set));
            let context = facts.context.iter().map(|set| (None, set));
            parts.extend(counted.chain(context).map(|(utc_day, set)| DayEvents {
                local_day: *local_day,
                utc_day,
                events: set.events,
                digest: set.digest,
            }));
        }
        let events =
            parts.iter().filter(|part| part.utc_day.is_some()).fold(0_u64, |n, part| n.saturating_add(part.events));
        Self {
            period,
            time_zone: history.calendar().zone().name().to_owned(),
            time_zone_data: TIME_ZONE_DATA.to_owned(),
            days: parts,
            events,
            catalogue,
            organisation: versions_in(period, history),
            opening: None,
            corrections: None,
            rate_card: None,
            rules: RULES_VERSION,
        }
    }

    /// The same manifest naming what came from other months: without it two openings share a manifest.
    #[must_use]
    pub fn with_inputs(mut self, opening: &Opening, corrections: &[Correction]) -> Self {
        self.opening = Some(digest(opening));
        self.corrections = Some(digest(&corrections));
        self
    }

    /// The same manifest naming the rate card that finance approved.
    #[must_use]
    pub const fn with_rate_card(mut self, approved: Option<Digest>) -> Self {
        self.rate_card = approved;
        self
    }

    /// SHA-256 of its canonical JSON.
    #[must_use]
    pub fn digest(&self) -> Digest {
        digest(self)
    }
}

fn versions_in(period: Period, history: &History) -> Vec<OrganisationVersion> {
    let mut versions: BTreeMap<u32, OrganisationVersion> = BTreeMap::new();
    for day in period.days() {
        let version = history.on(day);
        versions.entry(version.number).or_insert_with(|| OrganisationVersion {
            number: version.number,
            effective: version.effective,
            digest: version.digest,
        });
    }
    versions.into_values().collect()
}
