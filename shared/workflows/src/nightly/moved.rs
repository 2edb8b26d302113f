//! Whether a period amounts to something else than it did, and why: a pool, a policy or a bill that changed runs no day again,
//! as no event costs anything else.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use recoup_ledger::Settlement;
use recoup_model::organisation::{History, Organisation};
use recoup_model::{Digest, Period};
use serde::{Deserialize, Serialize};

use super::seen::{paths_that_differ, told};
use crate::error::Refusal;
use crate::records;

/// Sections of the file that no figure of a settlement depends on.
const WITHOUT_FIGURES: [&str; 2] = ["budgets", "organisation.name"];

/// What a period was settled from and to, as far as it says whether it moved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Basis {
    /// The versions of the organisation file that hold in it, by the first day on which each does.
    organisations: BTreeMap<NaiveDate, Digest>,
    /// Digest of what the accounts amount to.
    balances: Option<Digest>,
}

/// What became of a period by settling it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Moved {
    /// Whether an account amounts to something else.
    pub(crate) changed: bool,
    /// Why, where the organisation file is the reason: `organisation changed: pools[search].basis`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

impl Basis {
    pub(crate) fn of(period: Period, history: &History, settlement: &Settlement) -> Result<Self, Refusal> {
        let mut organisations = BTreeMap::new();
        let mut last = None;
        for day in period.days() {
            let digest = history.on(day).digest;
            if last.replace(digest) != Some(digest) {
                organisations.insert(day, digest);
            }
        }
        let accounts = settlement.balances.accounts().iter().filter(|(_, amount)| !amount.is_zero());
        let accounts: Vec<_> = accounts.collect();
        let balances = Some(Digest::of(records::to_json(&accounts)?.as_bytes()));
        Ok(Self { organisations, balances })
    }

    /// How it differs from what it was before; `None`: nothing was noted then.
    pub(crate) fn moved(&self, before: Option<&Self>, history: &History) -> Option<Moved> {
        let before = before.filter(|before| before.balances.is_some())?;
        let changed = self.balances != before.balances;
        let reason = if changed { self.reason(before, history) } else { None };
        Some(Moved { changed, reason })
    }

    /// What is different in the organisation files, as far as the earlier ones are known.
    fn reason(&self, before: &Self, history: &History) -> Option<String> {
        let known = |digest: Digest| history.versions().iter().find(|version| version.digest == digest);
        let on =
            |basis: &Self, day: NaiveDate| basis.organisations.range(..=day).next_back().map(|(_, digest)| *digest);
        let days = self.organisations.keys().chain(before.organisations.keys());
        let mut changes: Vec<String> = Vec::new();
        for day in days {
            let (old, new) = (on(before, *day)?, on(self, *day)?);
            if old != new {
                let fresh = named(&known(old)?.organisation, &known(new)?.organisation);
                changes.extend(fresh.into_iter().filter(|path| !changes.contains(path)).collect::<Vec<_>>());
            }
        }
        if changes.is_empty() { None } else { Some(told(changes)) }
    }
}

/// The paths that differ and may change a figure.
fn named(old: &Organisation, new: &Organisation) -> Vec<String> {
    let mut paths = paths_that_differ(old, new);
    paths.retain(|path| !WITHOUT_FIGURES.iter().any(|section| path.starts_with(section)));
    paths
}
