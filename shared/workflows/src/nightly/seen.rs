//! What the facts of a day see of the organisation file and of prices: a night is run again where that is another one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use chrono::{Days, NaiveDate};
use recoup_model::organisation::{History, Organisation, Version, diff};
use recoup_model::{Calendar, Digest};

use crate::app::World;
use crate::error::Refusal;
use crate::records;

/// Changes of an organisation file that a reason names.
const NAMED_MAX: usize = 3;
/// The section of the file whose entries are people.
const PEOPLE: &str = "people";
const REASON: &str = "organisation changed";

/// Versions of the organisation file as facts see them, each looked at once.
#[derive(Default)]
pub(super) struct Seen(BTreeMap<u32, Digest>);

/// Prices and exchange rates have digests of their own.
fn without_prices(organisation: &Organisation) -> Organisation {
    Organisation { prices: Vec::new(), rates: Vec::new(), ..organisation.for_facts() }
}

impl Seen {
    pub(super) fn digest(&mut self, version: &Version) -> Result<Digest, Refusal> {
        if let Some(known) = self.0.get(&version.number) {
            return Ok(*known);
        }
        let digest = Digest::of(records::to_json(&without_prices(&version.organisation))?.as_bytes());
        self.0.insert(version.number, digest);
        Ok(digest)
    }

    /// Why a night that saw one version is run again under another: what is different, as far as the first is known.
    pub(super) fn difference(&mut self, history: &History, held: Digest, version: &Version) -> Result<String, Refusal> {
        for before in history.versions() {
            if before.digest != held && self.digest(before)? != held {
                continue;
            }
            let [old, new] = [before, version].map(|version| without_prices(&version.organisation));
            return Ok(told(paths_that_differ(&old, &new)));
        }
        Ok(REASON.to_owned())
    }
}

/// Where two organisation files differ; of people, who stand in the file by their names, only that they do.
pub(super) fn paths_that_differ(old: &Organisation, new: &Organisation) -> Vec<String> {
    let name = |path: String| if path.starts_with(PEOPLE) { PEOPLE.to_owned() } else { path };
    let mut paths: Vec<String> = diff(Some(old), new).into_iter().map(|change| name(change.path)).collect();
    paths.dedup();
    paths
}

/// The reason that changes of the organisation file are.
pub(super) fn told(mut changes: Vec<String>) -> String {
    let more = changes.len().saturating_sub(NAMED_MAX);
    changes.truncate(NAMED_MAX);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{REASON}: {}{more}", changes.join(", "))
}

/// What the facts of a day were made with.
pub(super) struct Inputs {
    /// Versions of the organisation file on the days of its traces, as facts see them.
    pub(super) organisations: BTreeMap<NaiveDate, Digest>,
    /// Names that were looked up, with what they could cost.
    pub(super) names: BTreeMap<String, Digest>,
}

impl Inputs {
    /// Of traces that have events on some days and looked up some names.
    pub(super) fn of(
        (world, seen): (&World, &Mutex<Seen>),
        days: &BTreeSet<NaiveDate>,
        names: &BTreeSet<String>,
    ) -> Result<Self, Refusal> {
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        let on = |day: &NaiveDate| Ok((*day, seen.digest(world.history.on(*day))?));
        let organisations = days.iter().map(on).collect::<Result<_, Refusal>>()?;
        drop(seen);
        let before_ns = priced_before_ns(world.history.calendar(), days.last().copied());
        let priced = |name: &String| (name.clone(), world.prices.name_digest_before(name, before_ns));
        Ok(Self { organisations, names: names.iter().map(priced).collect() })
    }
}

/// The instant before which everything begins that prices the events of some days, of which this is the last.
pub(super) fn priced_before_ns(calendar: Calendar, last: Option<NaiveDate>) -> i64 {
    let after = last.and_then(|last| last.checked_add_days(Days::new(1)));
    after.map_or(i64::MAX, |after| calendar.day_start_ns(after))
}
