//! API keys: roles, default tags, who may see what. Only a digest of the secret is stored.

use std::sync::Arc;

use recoup_model::{Tags, limits};
use recoup_store::{Expect, Key, causes};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

use crate::app::{App, LOOK_WITHIN};
use crate::error::Refusal;
use crate::extensions::not_of_people;
use crate::records;

/// The partition of keys.
const KEYS: &str = "keys";
/// Bytes of a key's secret part.
const SECRET_BYTES: usize = 24;
/// Bytes of a key's id.
const KEY_ID_BYTES: usize = 6;
const UNKNOWN: Refusal = Refusal::Unauthenticated("the API key is not known; make one with `recoup keys create`");
/// The record calls the operator at the machine so, and a key that is nobody's own by this and its id: no person is.
const OPERATOR: &str = "operator";
const KEY_PREFIX: &str = "key:";
/// Keys of one organisation.
pub const KEYS_MAX: usize = 10_000;

/// What a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Send events.
    Ingest,
    /// See one team's numbers.
    Viewer,
    /// See one team's numbers; acts for it.
    Lead,
    /// See everything; run nights and closes; import prices.
    Finance,
    /// Everything.
    Admin,
}

impl Role {
    /// The role of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "ingest" => Some(Self::Ingest),
            "viewer" => Some(Self::Viewer),
            "lead" => Some(Self::Lead),
            "finance" => Some(Self::Finance),
            "admin" => Some(Self::Admin),
            _ => None,
        }
    }
}

/// Who asks.
#[derive(Clone, Debug)]
pub struct Principal {
    /// The id of the key; `None`: the operator at the machine itself.
    pub key_id: Option<String>,
    /// What it may do.
    pub role: Role,
    /// The team whose numbers it may see; for an ingest key the default team.
    pub team: Option<String>,
    /// Default tags of events that it brings.
    pub tags: Tags,
    /// The person who holds it, where it is somebody's own.
    pub person: Option<String>,
    /// By which door the request came: `machine`, `api`, `slack`.
    pub via: String,
    /// From where it came, as far as it is known: an address, a user of the machine.
    pub from: Option<String>,
}

impl Principal {
    /// The operator at the machine: whoever may read the data folder.
    #[must_use]
    pub fn operator() -> Self {
        Self {
            key_id: None,
            role: Role::Admin,
            team: None,
            tags: Tags::default(),
            person: None,
            via: "machine".to_owned(),
            from: None,
        }
    }

    /// The person who acts; `None`: an API key that is nobody's own, or the operator at the machine, who may be anybody.
    #[must_use]
    pub fn known_person(&self) -> Option<&str> {
        self.person.as_deref().filter(|person| is_person(person))
    }

    /// Who it is, for the record: the person, else the key, else the operator.
    #[must_use]
    pub fn who(&self) -> String {
        match (&self.person, &self.key_id) {
            (Some(person), _) => person.clone(),
            (None, Some(key)) => format!("{KEY_PREFIX}{key}"),
            (None, None) => OPERATOR.to_owned(),
        }
    }

    /// Refuses unless the key acts for a team: its lead, finance or an admin. What concerns no team is for the latter two.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`].
    pub fn may_act_for(&self, team: Option<&str>) -> Result<(), Refusal> {
        let leads = self.role == Role::Lead && team.is_some() && self.team.as_deref() == team;
        let what = "act here; its team's lead, `finance` or `admin` may";
        self.need(leads || matches!(self.role, Role::Finance | Role::Admin), what)
    }

    /// Refuses unless the key may send events.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`].
    pub fn may_ingest(&self) -> Result<(), Refusal> {
        self.need(matches!(self.role, Role::Ingest | Role::Admin), "send events; use a key with the role `ingest`")
    }

    /// Refuses unless the key may see the whole organisation.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`].
    pub fn may_see_all(&self) -> Result<(), Refusal> {
        self.need(matches!(self.role, Role::Finance | Role::Admin), "see the whole organisation; use `finance`")
    }

    /// Refuses unless the key may run nights and closes and change prices.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`].
    pub fn may_run(&self) -> Result<(), Refusal> {
        self.need(matches!(self.role, Role::Finance | Role::Admin), "do this; use a key with the role `finance`")
    }

    /// Refuses unless the key may change the organisation and keys.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`].
    pub fn may_administer(&self) -> Result<(), Refusal> {
        self.need(self.role == Role::Admin, "do this; use a key with the role `admin`")
    }

    /// The only team whose numbers the key may see; `None`: all of them.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`] for a key that may see nothing.
    pub fn seen_team(&self) -> Result<Option<&str>, Refusal> {
        match (self.role, self.team.as_deref()) {
            (Role::Finance | Role::Admin, _) => Ok(None),
            (Role::Viewer | Role::Lead, Some(team)) => Ok(Some(team)),
            _ => Err(Refusal::Forbidden("this key may not read; use one with the role `viewer` or `finance`".into())),
        }
    }

    /// Refuses unless the key may see this team's numbers.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`], which does not tell whether the team exists.
    pub fn may_see_team(&self, team: &str) -> Result<(), Refusal> {
        match self.seen_team()? {
            Some(own) if own != team => Err(Refusal::Forbidden(format!("this key sees the team `{own}` only"))),
            _ => Ok(()),
        }
    }

    fn need(&self, allowed: bool, what: &str) -> Result<(), Refusal> {
        if allowed { Ok(()) } else { Err(Refusal::Forbidden(format!("this key may not {what}"))) }
    }
}

/// A key as stored and listed: never the secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeyRecord {
    /// Its id, the readable part of the key.
    pub id: String,
    /// What it may do.
    pub role: Role,
    /// Its team.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// Default tags of events that it brings.
    #[serde(default)]
    pub tags: Tags,
    /// The person whose own it is: who is told in the audit record, and for four eyes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<String>,
    /// When it was made, RFC 3339.
    pub created_at: String,
    /// When it was revoked, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<String>,
    /// SHA-256 of the secret part.
    digest: String,
}

/// A key in a list.
#[derive(Clone, Debug, Serialize)]
pub struct KeySummary {
    /// Its id, the readable part of the key.
    pub id: String,
    /// What it may do.
    pub role: Role,
    /// Its team.
    pub team: Option<String>,
    /// Default tags of events that it brings.
    pub tags: Tags,
    /// The person whose own it is.
    pub person: Option<String>,
    /// When it was made, RFC 3339.
    pub created_at: String,
    /// When it was revoked, RFC 3339.
    pub revoked_at: Option<String>,
}

/// A key just made: the only time that the secret is seen.
#[derive(Clone, Debug, Serialize)]
pub struct NewKey {
    /// What to send as `Authorization: Bearer`.
    pub key: String,
    /// Its id.
    pub id: String,
    /// What it may do.
    pub role: Role,
    /// Its team.
    pub team: Option<String>,
}

/// A key of the role `admin` that stands in no books.
pub(crate) struct AdminKey {
    id: String,
    digest: String,
}

impl AdminKey {
    pub(crate) fn new(id: &str, digest_hex: &str) -> Result<Self, Refusal> {
        let is_hex = |text: &str, bytes: usize| {
            text.len() == bytes.saturating_mul(2)
                && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        };
        if !is_hex(id, KEY_ID_BYTES) {
            let detail = format!("`{id}` is no id of a key; make one with `recoup keys make-admin`");
            return Err(Refusal::invalid("invalid-key", "admin_key_id", detail));
        }
        if !is_hex(digest_hex, 32) {
            let detail = "this is no SHA-256 in hexadecimal digits; make one with `recoup keys make-admin`";
            return Err(Refusal::invalid("invalid-key", "admin_key_digest", detail));
        }
        Ok(Self { id: id.to_owned(), digest: digest_hex.to_owned() })
    }
}

/// A key made without any books, to be named to a deployment by its id and digest.
#[derive(Clone, Debug, Serialize)]
pub struct OfflineKey {
    /// What to send as `Authorization: Bearer`: the only time that it is seen.
    pub key: String,
    /// Its id.
    pub id: String,
    /// SHA-256 of its secret part, hexadecimal.
    pub digest: String,
}

/// Makes a key of the role `admin` for [`App::with_admin_key`].
///
/// # Errors
/// When the machine has no randomness.
pub fn make_admin_key() -> Result<OfflineKey, Refusal> {
    let id = hex::encode(random::<KEY_ID_BYTES>()?);
    let secret = hex::encode(random::<SECRET_BYTES>()?);
    Ok(OfflineKey { key: format!("recoup_{id}_{secret}"), digest: hex::encode(Sha256::digest(&secret)), id })
}

fn random<const N: usize>() -> Result<[u8; N], Refusal> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| Refusal::computation("make a random key", error))?;
    Ok(bytes)
}

impl App {
    /// Makes a key. `viewer` and `lead` need a team that exists; default tags are for `ingest`; a person is one of the
    /// organisation file's where it has `[[people]]`.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] naming the argument.
    pub async fn create_key(
        &self,
        role: Role,
        team: Option<String>,
        tags: Tags,
        person: Option<String>,
    ) -> Result<NewKey, Refusal> {
        let needs_team = matches!(role, Role::Viewer | Role::Lead);
        if needs_team && team.is_none() {
            return Err(Refusal::invalid("missing-field", "team", "a viewer or lead sees one team: name it"));
        }
        if let Some(team) = &team {
            let organisation = self.organisation_today().await?;
            if !organisation.teams.contains_key(team.as_str()) {
                let detail = format!("there is no team `{team}` in the organisation file");
                return Err(Refusal::invalid("unknown-team", "team", detail));
            }
        }
        check_tags(&tags)?;
        check_person(person.as_deref())?;
        self.check_is_known(person.as_deref()).await?;
        if records::all::<KeyRecord>(self.books(), KEYS, "").await?.len() >= KEYS_MAX {
            return Err(Refusal::TooLarge(format!("there are {KEYS_MAX} keys already; they are kept for the record")));
        }
        let id = hex::encode(random::<KEY_ID_BYTES>()?);
        let secret = hex::encode(random::<SECRET_BYTES>()?);
        let mut tags = tags;
        if role == Role::Ingest && tags.team.is_none() {
            tags.team = team.as_deref().map(Into::into);
        }
        let record = KeyRecord {
            id: id.clone(),
            role,
            team: team.clone(),
            tags,
            person,
            created_at: self.now_text(),
            revoked_at: None,
            digest: hex::encode(Sha256::digest(&secret)),
        };
        self.ports.books.write(vec![records::put(Key::new(KEYS, &id), &record, Expect::Absent)?]).await?;
        Ok(NewKey { key: format!("recoup_{id}_{secret}"), id, role, team })
    }

    /// Refuses a person whom the organisation file does not know, so that nobody finds out only when the key is needed.
    async fn check_is_known(&self, person: Option<&str>) -> Result<(), Refusal> {
        let Some(person) = person else { return Ok(()) };
        let organisation = match self.organisation_today().await {
            Ok(organisation) => organisation,
            Err(Refusal::Conflict { kind: "no-organisation", .. }) => return Ok(()),
            Err(refusal) => return Err(refusal),
        };
        if self.pseudonyms.are_known(person, &organisation) {
            return Ok(());
        }
        let detail = format!(
            "{}: write the id of one of them, letter by letter, add the person to the file, or name nobody, as for a robot's key",
            not_of_people(person)
        );
        Err(Refusal::invalid("unknown-person", "person", detail))
    }

    /// Every key, oldest id first, without secrets.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list_keys(&self) -> Result<Vec<KeySummary>, Refusal> {
        let rows = records::all::<KeyRecord>(self.books(), KEYS, "").await?;
        Ok(rows.into_iter().map(|(_, key, _)| summary(key)).collect())
    }

    /// Revokes a key; it stays in the list.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] without such a key.
    pub async fn revoke_key(&self, id: &str) -> Result<KeySummary, Refusal> {
        let at = Key::new(KEYS, id);
        let Some((mut record, version)) = records::get::<KeyRecord>(self.books(), &at).await? else {
            return Err(Refusal::NotFound(format!("there is no key `{id}`")));
        };
        record.revoked_at.get_or_insert(self.now_text());
        self.ports.books.write(vec![records::put(at, &record, Expect::Version(version))?]).await?;
        self.forget_keys();
        Ok(summary(record))
    }

    /// Who holds a key: the text after `Bearer `.
    ///
    /// # Errors
    /// [`Refusal::Unauthenticated`], the same for an unknown id and a wrong secret.
    pub async fn authenticate(&self, bearer: &str) -> Result<Principal, Refusal> {
        let (id, secret) = bearer.strip_prefix("recoup_").and_then(|rest| rest.split_once('_')).ok_or(UNKNOWN)?;
        let record = match self.cached_key(id) {
            _ if self.admin.as_ref().is_some_and(|admin| admin.id == id) => return self.admin_principal(secret),
            Some(record) => record,
            None => Box::pin(self.read_key(id)).await?,
        };
        if !is_secret(secret, &record.digest) {
            return Err(UNKNOWN);
        }
        if record.revoked_at.is_some() {
            return Err(Refusal::Unauthenticated("the API key was revoked; make one with `recoup keys create`"));
        }
        let KeyRecord { id, role, team, tags, person, .. } = record.as_ref();
        Ok(Principal {
            key_id: Some(id.clone()),
            role: *role,
            team: team.clone(),
            tags: tags.clone(),
            person: person.clone(),
            via: "api".to_owned(),
            from: None,
        })
    }

    /// The record of a key. While it cannot be read what was known of it holds: agents ask for leave just then, and BUD-5 says what
    /// they are answered.
    async fn read_key(&self, id: &str) -> Result<Arc<KeyRecord>, Refusal> {
        let changes = self.changes();
        let key = Key::new(KEYS, id);
        let read = records::get::<KeyRecord>(self.books(), &key);
        let found = match self.known_key(id) {
            // Whoever is answered in time is told in time that nothing is known.
            None => self.patience().for_work(|| async { Ok(read.await?) }).await?,
            Some(known) => match tokio::time::timeout(LOOK_WITHIN, read).await {
                Ok(Ok(found)) => found,
                Ok(Err(error)) => {
                    tracing::warn!(error = causes(&error), key = id, "it cannot be seen whether a key still holds");
                    return Ok(known);
                }
                Err(_) => return Ok(known),
            },
        };
        let record = Arc::new(found.ok_or(UNKNOWN)?.0);
        self.cache_key(Arc::clone(&record), changes);
        Ok(record)
    }

    /// Who holds a key, by its id, for the record; without one the operator at the machine.
    pub(crate) async fn holder_of_key(&self, key_id: Option<&str>) -> Result<Principal, Refusal> {
        let Some(id) = key_id else { return Ok(Principal::operator()) };
        let found = records::get::<KeyRecord>(self.books(), &Key::new(KEYS, id)).await?;
        let person = found.and_then(|(record, _)| record.person);
        Ok(Principal { key_id: Some(id.to_owned()), person, via: "api".to_owned(), ..Principal::operator() })
    }

    /// Whoever holds the key that stands in no books.
    fn admin_principal(&self, secret: &str) -> Result<Principal, Refusal> {
        let admin = self.admin.as_ref().filter(|admin| is_secret(secret, &admin.digest)).ok_or(UNKNOWN)?;
        Ok(Principal { key_id: Some(admin.id.clone()), via: "api".to_owned(), ..Principal::operator() })
    }
}

/// In constant time for a secret of any length.
fn is_secret(secret: &str, digest_hex: &str) -> bool {
    let mut expected = [0_u8; 32];
    hex::decode_to_slice(digest_hex, &mut expected).is_ok() && Sha256::digest(secret).as_slice().ct_eq(&expected).into()
}

/// Whether a name in the record is that of a person.
pub(crate) fn is_person(name: &str) -> bool {
    let name = name.trim().to_lowercase();
    !name.is_empty() && name != OPERATOR && !name.starts_with(KEY_PREFIX)
}

fn check_person(person: Option<&str>) -> Result<(), Refusal> {
    let is_good = |name: &str| {
        !name.trim().is_empty() && name.len() <= limits::TAG_BYTES_MAX && !name.chars().any(char::is_control)
    };
    match person {
        Some(name) if !is_good(name) => {
            let most = limits::TAG_BYTES_MAX;
            let detail = format!("a person is named by 1 to {most} bytes without control characters");
            Err(Refusal::invalid("invalid-person", "person", detail))
        }
        Some(name) if !is_person(name) => {
            let detail =
                format!("`{name}` is no person: the record calls the operator and nobody's keys so; write a name");
            Err(Refusal::invalid("invalid-person", "person", detail))
        }
        _ => Ok(()),
    }
}

/// Default tags obey the rules of an event's tags; tags beyond the named dimensions cannot be defaults.
fn check_tags(tags: &Tags) -> Result<(), Refusal> {
    if let Some(name) = tags.extra.keys().next() {
        let detail = format!("a key has no default for `{name}`; use agent, task_type, task_id, user, team or project");
        return Err(Refusal::invalid("unknown-tag", format!("tags.{name}"), detail));
    }
    let named = [
        ("agent", &tags.agent),
        ("task_type", &tags.task_type),
        ("task_id", &tags.task_id),
        ("user", &tags.user),
        ("team", &tags.team),
        ("project", &tags.project),
    ];
    for (name, value) in named {
        let Some(value) = value else { continue };
        if value.trim().is_empty() || value.len() > limits::TAG_BYTES_MAX || value.chars().any(char::is_control) {
            let most = limits::TAG_BYTES_MAX;
            let detail = format!("a default tag has 1 to {most} bytes and no control characters");
            return Err(Refusal::invalid("invalid-tag", format!("tags.{name}"), detail));
        }
    }
    Ok(())
}

fn summary(key: KeyRecord) -> KeySummary {
    let KeyRecord { id, role, team, tags, person, created_at, revoked_at, digest: _ } = key;
    KeySummary { id, role, team, tags, person, created_at, revoked_at }
}
