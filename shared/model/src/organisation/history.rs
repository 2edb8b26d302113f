//! Every version of the organisation file, and which one holds on which local day.

use std::sync::Arc;

use chrono::NaiveDate;

use crate::digest::Digest;
use crate::organisation::Organisation;
use crate::period::Calendar;

/// One applied version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// From 1.
    pub number: u32,
    /// First local day on which it holds; `None`: the first version, which holds for all time.
    pub effective: Option<NaiveDate>,
    /// SHA-256 of the file's text.
    pub digest: Digest,
    /// The file as it was applied.
    pub text: String,
    /// What it says.
    pub organisation: Arc<Organisation>,
}

/// All versions in the order in which they were applied. At least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History(Vec<Version>);

impl History {
    /// A history; `None` without versions.
    #[must_use]
    pub fn new(versions: Vec<Version>) -> Option<Self> {
        (!versions.is_empty()).then_some(Self(versions))
    }

    /// All versions in the order in which they were applied.
    #[must_use]
    pub fn versions(&self) -> &[Version] {
        &self.0
    }

    /// The version in force on a local day: of those that are effective by then the latest effective one, and of
    /// several with the same date the one applied last.
    ///
    /// # Panics
    /// Never: a history has at least one version.
    #[must_use]
    pub fn on(&self, day: NaiveDate) -> &Version {
        let held = self.0.iter().filter(|version| version.effective.is_none_or(|from| from <= day));
        match held.max_by_key(|version| (version.effective, version.number)).or_else(|| self.0.first()) {
            Some(version) => version,
            None => unreachable!("a history has at least one version"),
        }
    }

    /// The calendar, which no later version may change.
    #[must_use]
    pub fn calendar(&self) -> Calendar {
        self.on(NaiveDate::MAX).organisation.calendar()
    }
}
