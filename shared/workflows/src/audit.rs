//! The audit record: who did what, when, from where, to what. It is only added to.

use recoup_store::{Expect, Key, Page, Record, Write};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::access::Principal;
use crate::app::App;
use crate::error::Refusal;
use crate::lists::Listed;
use crate::records;

/// The partition of the record.
const AUDIT: &str = "audit";
/// Digits of the time in the name of an entry, nanoseconds since 1970.
const TIME_DIGITS: usize = 20;
/// Bytes by chance in it.
const RANDOM_BYTES: usize = 6;
/// Digits of what tells entries of one instant apart: by chance, or an event's identity.
const NAME_DIGITS: [usize; 2] = [2 * RANDOM_BYTES, 32];
/// Entries of one answer.
pub const AUDIT_ENTRIES_MAX: usize = 1_000;

/// An entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// When, RFC 3339.
    pub at: String,
    /// Who: a person, else the API key, else the operator at the machine.
    pub who: String,
    /// By which door: `machine`, `api`, `slack`.
    pub via: String,
    /// With which API key, by its id.
    #[serde(default)]
    pub key: Option<String>,
    /// From where, as far as it is known: an address, or a user of the machine.
    #[serde(default)]
    pub from: Option<String>,
    /// What: `alert-acknowledged`, `extension-approved` and so on.
    pub action: String,
    /// To what.
    pub target: String,
    /// What else there is to know.
    pub detail: Value,
}

impl AuditEntry {
    /// The write of an entry at an instant under a name, which tells entries of one instant apart. It refuses to write it again.
    pub(crate) fn put_as(&self, at_ns: i64, name: &str) -> Result<Write, Refusal> {
        Ok(records::put(Key::new(AUDIT, format!("{at_ns:020}-{name}")), self, Expect::Absent)?)
    }
}

impl App {
    /// The write of an entry, to go with what it tells of.
    pub(crate) fn audit_put(
        &self,
        principal: &Principal,
        action: &str,
        target: &str,
        detail: Value,
    ) -> Result<Write, Refusal> {
        let mut random = [0_u8; RANDOM_BYTES];
        getrandom::fill(&mut random).map_err(|error| Refusal::computation("write the audit record", error))?;
        let entry = AuditEntry {
            at: self.now_text(),
            who: principal.who(),
            via: principal.via.clone(),
            key: principal.key_id.clone(),
            from: principal.from.clone(),
            action: action.to_owned(),
            target: target.to_owned(),
            detail,
        };
        let key = Key::new(AUDIT, format!("{:0TIME_DIGITS$}-{}", self.now_ns().max(0), hex::encode(random)));
        Ok(records::put(key, &entry, Expect::Absent)?)
    }

    /// Adds an entry for something that has no write of its own to go with.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn audit(&self, principal: &Principal, action: &str, target: &str, detail: Value) -> Result<(), Refusal> {
        let put = self.audit_put(principal, action, target, detail)?;
        Ok(self.books().write(vec![put]).await?)
    }

    /// The record from an instant on, oldest first, at most [`AUDIT_ENTRIES_MAX`] entries.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`] unless the key may see the whole organisation.
    pub async fn audit_entries(&self, principal: &Principal, from_ns: i64) -> Result<Vec<AuditEntry>, Refusal> {
        Ok(self.audit_page(principal, &AuditFrom::instant(from_ns), AUDIT_ENTRIES_MAX).await?.rows)
    }

    /// A page of the record, oldest first.
    ///
    /// # Errors
    /// As [`App::audit_entries`].
    pub async fn audit_page(
        &self,
        principal: &Principal,
        from: &AuditFrom,
        limit: usize,
    ) -> Result<Listed<AuditEntry>, Refusal> {
        principal.may_see_all()?;
        let page = self.books().scan(AUDIT, "", Some(&from.0), limit.min(AUDIT_ENTRIES_MAX)).await?;
        listed(page)
    }

    /// A page of the record from an instant on, newest first: what was done before a page whose cursor that is. It costs the
    /// same however long the record is.
    ///
    /// # Errors
    /// As [`App::audit_entries`].
    pub async fn audit_newest(
        &self,
        principal: &Principal,
        (from, before): (&AuditFrom, Option<&AuditFrom>),
        limit: usize,
    ) -> Result<Listed<AuditEntry>, Refusal> {
        principal.may_see_all()?;
        let before = before.map(|before| before.0.as_str());
        listed(self.books().scan_back(AUDIT, &from.0, before, limit.min(AUDIT_ENTRIES_MAX)).await?)
    }
}

fn listed(page: Page) -> Result<Listed<AuditEntry>, Refusal> {
    let rows = page.records.iter().map(read).collect::<Result<_, _>>()?;
    Ok(Listed { rows, next_cursor: page.next })
}

/// Where a page of the record begins, or ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditFrom(String);

impl AuditFrom {
    /// With what was done at an instant.
    #[must_use]
    pub fn instant(from_ns: i64) -> Self {
        Self(format!("{:0TIME_DIGITS$}", from_ns.max(0)))
    }

    /// After a page whose cursor this is; `None`: no page has such a cursor.
    #[must_use]
    pub fn cursor(cursor: &str) -> Option<Self> {
        let (time, name) = cursor.split_once('-')?;
        let is_time = time.len() == TIME_DIGITS && time.bytes().all(|digit| digit.is_ascii_digit());
        let is_name = NAME_DIGITS.contains(&name.len()) && name.bytes().all(|digit| digit.is_ascii_hexdigit());
        (is_time && is_name).then(|| Self(cursor.to_owned()))
    }
}

fn read(record: &Record) -> Result<AuditEntry, Refusal> {
    serde_json::from_str(&record.value).map_err(|error| Refusal::computation("read the audit record", error))
}
