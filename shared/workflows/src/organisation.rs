//! The organisation file: apply a version, show the difference, keep every version.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{Days, NaiveDate};
use recoup_model::organisation::{
    Change, FileProblem, History, Organisation, OwnPrice, Version, check_succession, diff, parse, parse_with_notices,
};
use recoup_model::{Calendar, Digest, Id, limits};
use recoup_store::{Books, Expect, Key};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::access::Principal;
use crate::app::App;
use crate::close;
use crate::error::Refusal;
use crate::people::Pseudonyms;
use crate::records;

/// The partition of versions.
const ORGANISATION: &str = "organisation";
/// Versions of one organisation.
const VERSIONS_MAX: u32 = 100_000;
/// Changes of a version that the audit record lists; the version itself has them all.
const CHANGES_NOTED_MAX: usize = 50;

#[derive(Serialize, Deserialize)]
struct VersionRecord {
    number: u32,
    effective: Option<NaiveDate>,
    applied_at: String,
    digest: Digest,
}

/// A version in a list.
#[derive(Clone, Debug, Serialize)]
pub struct VersionSummary {
    /// From 1.
    pub number: u32,
    /// First local day on which it holds; `None`: for all time before the next.
    pub effective: Option<NaiveDate>,
    /// SHA-256 of the file.
    pub digest: Digest,
    /// The file as it was applied.
    pub text: String,
}

/// What applying a file changes, or would change.
#[derive(Clone, Debug, Serialize)]
pub struct Applied {
    /// The version that the file is or would be.
    pub version: u32,
    /// First local day on which it holds; `None`: for all time.
    pub effective: Option<NaiveDate>,
    /// What differs from the version that held on that day.
    pub changes: Vec<Change>,
    /// What is not wrong but worth a look, with its line.
    pub notices: Vec<String>,
    /// Whether it was written.
    pub applied: bool,
    /// SHA-256 of the file.
    pub digest: Digest,
}

/// The text of a version lies under its number and digest, so that what a crash left behind is no part of the next.
fn text_partition(number: u32, digest: Digest) -> String {
    format!("organisation-text/{number:06}/{digest}")
}

/// An organisation whose people stand under the pseudonyms that events carry.
pub(crate) fn under_pseudonyms(mut organisation: Organisation, pseudonyms: &Pseudonyms) -> Organisation {
    let people = std::mem::take(&mut organisation.people).into_iter();
    organisation.people = people.map(|(user, person)| (pseudonyms.of(&user), person)).collect();
    organisation
}

/// Every version, people under their pseudonyms; `None`: none was applied yet.
pub(crate) async fn load(books: &dyn Books, pseudonyms: &Pseudonyms) -> Result<Option<History>, Refusal> {
    let mut versions = Vec::new();
    for (_, record, _) in records::all::<VersionRecord>(books, ORGANISATION, "").await? {
        let text = records::text(books, &text_partition(record.number, record.digest), "").await?;
        let organisation = parse(&text).map_err(|problems| {
            let detail = problems.first().map(ToString::to_string).unwrap_or_default();
            Refusal::computation("read a stored organisation file", detail)
        })?;
        versions.push(Version {
            number: record.number,
            effective: record.effective,
            digest: record.digest,
            text,
            organisation: Arc::new(under_pseudonyms(organisation, pseudonyms)),
        });
    }
    Ok(History::new(versions))
}

/// The digests of every version, in order.
pub(crate) async fn digests(books: &dyn Books) -> Result<Vec<Digest>, Refusal> {
    let versions = records::all::<VersionRecord>(books, ORGANISATION, "").await?;
    Ok(versions.into_iter().map(|(_, version, _)| version.digest).collect())
}

/// How a file is to be applied.
pub(crate) struct Wanted<'a> {
    pub(crate) effective: Option<NaiveDate>,
    pub(crate) dry_run: bool,
    pub(crate) noted: Option<Noted<'a>>,
}

/// What the audit record is told beside the version and its changes.
pub(crate) struct Noted<'a> {
    pub(crate) principal: &'a Principal,
    pub(crate) action: &'static str,
    pub(crate) target: String,
    /// An object.
    pub(crate) detail: Value,
}

fn merge(detail: &mut Value, more: Value) {
    if let (Value::Object(detail), Value::Object(more)) = (detail, more) {
        detail.extend(more);
    }
}

fn refuse(problems: &[FileProblem]) -> Refusal {
    Refusal::Problems {
        kind: "invalid-organisation-file",
        summary: format!("the organisation file has {} problem(s); nothing was applied", problems.len()),
        problems: problems.iter().map(ToString::to_string).collect(),
    }
}

/// Days and ids that a notice names.
const NOTICED_MAX: usize = 5;

/// What whoever applied a file may not expect: versions that hold again after it, and prices that begin before it holds.
fn with_notices(applied: Applied, history: Option<&History>, text: &str) -> Applied {
    let (Some(history), Some(effective)) = (history, applied.effective) else { return applied };
    let mut notices = applied.notices.clone();
    let later: BTreeSet<NaiveDate> = history.versions().iter().filter_map(|version| version.effective).collect();
    let other = |day: &&NaiveDate| **day > effective && history.on(**day).digest != applied.digest;
    for day in later.range(effective..).filter(other).take(NOTICED_MAX) {
        let version = history.on(*day).number;
        notices.push(format!(
            "version {version}, which was applied before, holds again from {day} on; where this file is to hold then too, \
             apply it again with `--effective {day}`"
        ));
    }
    let begins_ns = history.calendar().day_start_ns(effective);
    let known = &history.on(effective).organisation.prices;
    let prices = parse(text).map(|parsed| parsed.prices).unwrap_or_default();
    // A price that only ends is no new one.
    let open = |price: &OwnPrice| OwnPrice { to_ns: None, ..price.clone() };
    let is_known = |price: &OwnPrice| known.iter().any(|known| open(known) == open(price));
    let early: Vec<&OwnPrice> = prices.iter().filter(|price| price.from_ns < begins_ns && !is_known(price)).collect();
    if let Some(first_ns) = early.iter().map(|price| price.from_ns).min() {
        let name = |price: &&OwnPrice| {
            let parts = [&price.provider, &price.model, &price.sku].into_iter().flatten();
            parts.map(|part| &**part).collect::<Vec<_>>().join("/")
        };
        let names: BTreeSet<String> = early.iter().map(name).collect();
        let named: Vec<&str> = names.iter().take(NOTICED_MAX).map(String::as_str).collect();
        let more = names.len().saturating_sub(named.len());
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let from = history.calendar().day_of(first_ns);
        notices.push(format!(
            "the file holds from {effective} on, and its new prices (of {}{more}) price nothing before that day; where they \
             are to, from {from} on, apply it with `--effective {from}`, or the first day that is not in a closed month",
            named.join(", ")
        ));
    }
    Applied { notices, ..applied }
}

impl App {
    /// Applies an organisation file, or only shows what it would change.
    ///
    /// The first version holds for all time. A later one holds from `effective`, by default the next local midnight,
    /// never inside a closed period.
    ///
    /// # Errors
    /// Every problem of the file with its line; or why the date cannot be.
    pub async fn apply_organisation(
        &self,
        text: &str,
        effective: Option<NaiveDate>,
        dry_run: bool,
    ) -> Result<Applied, Refusal> {
        let history = load(self.books(), &self.pseudonyms).await?;
        let applied = self.apply_over(history.as_ref(), text, Wanted { effective, dry_run, noted: None }).await?;
        Ok(with_notices(applied, history.as_ref(), text))
    }

    /// The same for somebody, who is told of in the audit record.
    ///
    /// # Errors
    /// As [`App::apply_organisation`]; [`Refusal::Forbidden`] unless the key may change the organisation.
    pub async fn apply_organisation_by(
        &self,
        principal: &Principal,
        text: &str,
        effective: Option<NaiveDate>,
        dry_run: bool,
    ) -> Result<Applied, Refusal> {
        principal.may_administer()?;
        let history = load(self.books(), &self.pseudonyms).await?;
        let noted =
            Noted { principal, action: "organisation-applied", target: "organisation".to_owned(), detail: json!({}) };
        let wanted = Wanted { effective, dry_run, noted: Some(noted) };
        let applied = self.apply_over(history.as_ref(), text, wanted).await?;
        Ok(with_notices(applied, history.as_ref(), text))
    }

    /// What is wrong with schedules that go by other clocks than the organisation's days: nights would begin before a day is
    /// over, or long after, and a close while late events still have time.
    pub(crate) fn scheduled_elsewhere(&self, organisation: &Organisation) -> Option<String> {
        let (ours, theirs) = (organisation.time_zone.name(), self.scheduled_in.as_deref()?);
        (ours != theirs).then(|| {
            format!(
                "the schedules of this deployment go by {theirs}, the days of the organisation by {ours}; \
                 deploy it with TimeZone={ours}"
            )
        })
    }

    /// Applies a file that was made from these versions: where there is another one meanwhile, nothing is written.
    pub(crate) async fn apply_over(
        &self,
        history: Option<&History>,
        text: &str,
        wanted: Wanted<'_>,
    ) -> Result<Applied, Refusal> {
        let Wanted { effective, dry_run, noted } = wanted;
        if text.len() > limits::ORGANISATION_BYTES_MAX {
            let most = limits::ORGANISATION_BYTES_MAX;
            return Err(Refusal::TooLarge(format!("the organisation file has more than {most} bytes")));
        }
        let (organisation, notices) = parse_with_notices(text).map_err(|problems| refuse(&problems))?;
        let notices: Vec<String> =
            notices.iter().map(ToString::to_string).chain(self.scheduled_elsewhere(&organisation)).collect();
        self.check_lanes(&organisation)?;
        let digest = Digest::of(text.as_bytes());
        let Some(history) = history else {
            let changes = diff(None, &organisation);
            let mut notices = notices;
            if effective.is_some() {
                notices.push("the first version holds for all time; the effective date was not used".to_owned());
            }
            let applied = Applied { version: 1, effective: None, changes, notices, applied: !dry_run, digest };
            return self.write_version(applied, text, noted).await;
        };
        let number = u32::try_from(history.versions().len()).unwrap_or(VERSIONS_MAX).saturating_add(1);
        let effective = self.effective_day(history, effective).await?;
        let before = parse(&history.on(effective).text).map_err(|problems| refuse(&problems))?;
        let problems = check_succession(&before, &organisation);
        if !problems.is_empty() {
            return Err(refuse(&problems));
        }
        let changes = diff(Some(&before), &organisation);
        let changed = history.on(effective).digest != digest;
        let number = if changed { number } else { history.on(effective).number };
        let applied = Applied {
            version: number,
            effective: Some(effective),
            changes,
            notices,
            applied: changed && !dry_run,
            digest,
        };
        self.write_version(applied, text, noted).await
    }

    fn check_lanes(&self, organisation: &Organisation) -> Result<(), Refusal> {
        if organisation.policy.lanes == self.lanes {
            return Ok(());
        }
        let detail = format!(
            "policy.lanes is {} but this event log was created with {}; lanes are fixed when the log is created",
            organisation.policy.lanes, self.lanes
        );
        Err(Refusal::invalid("lanes-fixed", "policy.lanes", detail))
    }

    /// The first day that a version holds from: the next local midnight unless one is wanted, never in a closed period.
    pub(crate) async fn effective_day(
        &self,
        history: &History,
        wanted: Option<NaiveDate>,
    ) -> Result<NaiveDate, Refusal> {
        let calendar: Calendar = history.calendar();
        let today = calendar.day_of(self.now_ns());
        let day = wanted.or_else(|| today.checked_add_days(Days::new(1))).unwrap_or(today);
        // A month that is being closed counts as closed.
        let closed = close::period_records(self.books()).await?;
        match closed.last().map(|record| record.period) {
            Some(last) if day < last.next().first_day() => Err(Refusal::invalid(
                "inside-closed-period",
                "effective",
                format!("{day} lies in or before the closed period {last}; use {} or later", last.next().first_day()),
            )),
            _ => Ok(day),
        }
    }

    async fn write_version(&self, applied: Applied, text: &str, noted: Option<Noted<'_>>) -> Result<Applied, Refusal> {
        if !applied.applied {
            return Ok(applied);
        }
        if applied.version > VERSIONS_MAX {
            return Err(Refusal::TooLarge(format!("there are {VERSIONS_MAX} versions already")));
        }
        let pieces = records::text_puts(&text_partition(applied.version, applied.digest), "", text)?;
        records::write_in_groups(self.books(), pieces).await?;
        let users: Vec<Id> = parse(text).map(|parsed| parsed.people.into_keys().collect()).unwrap_or_default();
        self.pseudonyms.remember(self.books(), &users).await?;
        let record = VersionRecord {
            number: applied.version,
            effective: applied.effective,
            applied_at: self.now_text(),
            digest: applied.digest,
        };
        let key = Key::new(ORGANISATION, format!("{:06}", applied.version));
        let mut writes = vec![records::put(key, &record, Expect::Absent)?];
        if let Some(Noted { principal, action, target, mut detail }) = noted {
            let (version, effective) = (applied.version, applied.effective);
            let changes: Vec<String> =
                applied.changes.iter().take(CHANGES_NOTED_MAX).map(ToString::to_string).collect();
            merge(&mut detail, json!({ "version": version, "effective": effective, "changes": changes }));
            writes.push(self.audit_put(principal, action, &target, detail)?);
        }
        self.books().write(writes).await?;
        self.forget_world();
        Ok(applied)
    }

    /// Every version that was applied, oldest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn organisation_versions(&self) -> Result<Vec<VersionSummary>, Refusal> {
        let history = load(self.books(), &self.pseudonyms).await?;
        let versions = history.iter().flat_map(|history| history.versions().iter().cloned());
        Ok(versions
            .map(|version| VersionSummary {
                number: version.number,
                effective: version.effective,
                digest: version.digest,
                text: version.text,
            })
            .collect())
    }
}
