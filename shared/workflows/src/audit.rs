//! The audit record: who did what, when, from where, to what. It is only added to.

use recoup_store::{Expect, Key, Record, Write};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::access::Principal;
use crate::app::App;
use crate::error::Refusal;
use crate::queries::{Paging, Rows};
use crate::records;

/// The partition of the record.
const AUDIT: &str = "audit";
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
    /// The write of an entry at an instant under a name, which tells entries of one instant apart. Again changes nothing.
    pub(crate) fn put_as(&self, at_ns: i64, name: &str) -> Result<Write, Refusal> {
        Ok(records::put(Key::new(AUDIT, format!("{at_ns:020}-{name}")), self, Expect::Any)?)
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
        let mut random = [0_u8; 6];
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
        let key = Key::new(AUDIT, format!("{:020}-{}", self.now_ns(), hex::encode(random)));
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
        principal.may_see_all()?;
        let after = format!("{:020}", from_ns.max(0));
        let page = self.books().scan(AUDIT, "", Some(&after), AUDIT_ENTRIES_MAX).await?;
        page.records.iter().map(read).collect()
    }

    /// A page of the record from an instant on, oldest first.
    ///
    /// # Errors
    /// As [`App::audit_entries`].
    pub async fn audit_page(&self, principal: &Principal, from_ns: i64, paging: Paging) -> Result<Rows, Refusal> {
        principal.may_see_all()?;
        let mut after = Some(format!("{:020}", from_ns.max(0)));
        let (mut skip, mut rows) = (paging.skip, Vec::new());
        // One more than the page tells whether there is a next one.
        let wanted = paging.limit.saturating_add(1);
        while let Some(from) = after.take() {
            let page = self.books().scan(AUDIT, "", Some(&from), AUDIT_ENTRIES_MAX).await?;
            let left_out = skip.min(page.records.len());
            skip = skip.saturating_sub(left_out);
            let missing = wanted.saturating_sub(rows.len());
            for record in page.records.iter().skip(left_out).take(missing) {
                rows.push(json!(read(record)?));
            }
            after = page.next.filter(|_| rows.len() < wanted);
        }
        let next_cursor = (rows.len() > paging.limit).then(|| paging.skip.saturating_add(paging.limit).to_string());
        rows.truncate(paging.limit);
        Ok(Rows { rows, next_cursor, total: None })
    }
}

fn read(record: &Record) -> Result<AuditEntry, Refusal> {
    serde_json::from_str(&record.value).map_err(|error| Refusal::computation("read the audit record", error))
}
