//! Users are stored as pseudonyms: an HMAC under the organisation's key. Their names stand in a table of their own,
//! so that deleting a row there is erasure and every event, block and statement stays as it is.
//!
//! Where the organisation file has `[[people]]`, a name is a known person's if it is the id of one of them, letter by letter.

use std::collections::BTreeSet;
use std::sync::Mutex;

use hmac::{Hmac, Mac};
use recoup_model::Id;
use recoup_model::organisation::Organisation;
use recoup_store::{Books, Expect, Key};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::error::Refusal;
use crate::records;

/// Bytes of a pseudonym's hexadecimal part.
const PSEUDONYM_DIGITS: usize = 24;
/// Pseudonyms remembered as stored; beyond it names are written again, which changes nothing.
const KNOWN_MAX: usize = 100_000;
/// The partition of names.
const USERS: &str = "users";

/// Turns users into pseudonyms.
pub struct Pseudonyms {
    /// Keyed, to be copied for each use.
    mac: Hmac<Sha256>,
    known: Mutex<BTreeSet<Id>>,
}

#[derive(Serialize, Deserialize)]
struct UserName {
    name: String,
}

impl Pseudonyms {
    /// Pseudonyms under an organisation's key.
    #[must_use]
    pub fn new(key: [u8; 32]) -> Self {
        let Ok(mac) = Hmac::new_from_slice(&key) else { unreachable!("HMAC takes any key") };
        Self { mac, known: Mutex::new(BTreeSet::new()) }
    }

    /// The pseudonym of a user.
    #[must_use]
    pub fn of(&self, user: &str) -> Id {
        let mut mac = self.mac.clone();
        mac.update(user.as_bytes());
        let digits = hex::encode(mac.finalize().into_bytes());
        Id::from(format!("u_{}", digits.get(..PSEUDONYM_DIGITS).unwrap_or(&digits)))
    }

    /// Whether a name is that of one of the organisation's people, or the pseudonym of one whose name was erased; any name is
    /// where the organisation file has no `[[people]]`.
    pub(crate) fn are_known(&self, name: &str, organisation: &Organisation) -> bool {
        let people = &organisation.people;
        people.is_empty() || people.contains_key(&self.of(name)) || people.contains_key(name)
    }

    /// A seal that only the organisation can make, over bytes that it gives out and gets back; each purpose has its own.
    pub(crate) fn seal(&self, purpose: &str, bytes: &[u8]) -> [u8; 32] {
        let mut mac = self.mac.clone();
        mac.update(purpose.as_bytes());
        // What is sealed is kept apart from the users that the same key names.
        mac.update(&[0]);
        mac.update(bytes);
        mac.finalize().into_bytes().into()
    }

    /// Stores the names of users that were not seen before, durably, and returns the pseudonyms in order.
    pub(crate) async fn remember(&self, books: &dyn Books, users: &[Id]) -> Result<Vec<Id>, Refusal> {
        let pseudonyms: Vec<Id> = users.iter().map(|user| self.of(user)).collect();
        let mut writes = Vec::new();
        let mut fresh = BTreeSet::new();
        {
            let Ok(known) = self.known.lock() else { return Err(Refusal::computation("remember users", "poisoned")) };
            for (user, pseudonym) in users.iter().zip(&pseudonyms) {
                if !known.contains(pseudonym) && fresh.insert(pseudonym.clone()) {
                    let key = Key::new(USERS, pseudonym.as_ref());
                    writes.push(records::put(key, &UserName { name: user.to_string() }, Expect::Any)?);
                }
            }
        }
        records::write_in_groups(books, writes).await?;
        if let Ok(mut known) = self.known.lock() {
            if known.len() > KNOWN_MAX {
                known.clear();
            }
            known.extend(fresh);
        }
        Ok(pseudonyms)
    }

    /// The name behind a pseudonym, unless it was erased.
    pub(crate) async fn name(books: &dyn Books, pseudonym: &str) -> Result<Option<String>, Refusal> {
        Ok(records::get::<UserName>(books, &Key::new(USERS, pseudonym)).await?.map(|(user, _)| user.name))
    }
}
