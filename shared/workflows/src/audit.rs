//! The audit record: who did what, when, from where, to what. It is only added to.

use recoup_store::{Expect, Key, Write};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::access::Principal;
use crate::app::App;
use crate::error::Refusal;
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
    /// From where: `machine`, `api`, `slack`.
    pub via: String,
    /// What: `alert-acknowledged`, `extension-approved` and so on.
    pub action: String,
    /// To what.
    pub target: String,
    /// What else there is to know.
    pub detail: Value,
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
            action: action.to_owned(),
            target: target.to_owned(),
            detail,
        };
        let key = Key::new(AUDIT, format!("{:020}-{}", self.now_ns(), hex::encode(random)));
        Ok(records::put(key, &entry, Expect::Absent)?)
    }

    pub(crate) async fn audit(
        &self,
        principal: &Principal,
        action: &str,
        target: &str,
        detail: Value,
    ) -> Result<(), Refusal> {
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
        let read = |record: recoup_store::Record| {
            serde_json::from_str(&record.value).map_err(|error| Refusal::computation("read the audit record", error))
        };
        page.records.into_iter().map(read).collect()
    }
}
