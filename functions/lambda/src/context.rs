//! The application of a function, built once at its start from the environment. What is missing or wrong stops the start
//! with a message that names the variable.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_types::SdkConfig;
use recoup_store::{Alert, Alerts, Documents, PutOutcome, StoreError, SystemClock};
use recoup_store_aws::{
    AwsStore, ConfigError, DeadLetters, DocumentLock, DocumentSettings, LockMode, OpenError, S3Documents, Settings,
    SnsAlerts, load_config,
};
use recoup_workflows::{App, Ports, Refusal};

use crate::channels::{self, Secret};
use crate::jobs::StateMachines;

/// An agent that waits for leave to begin is told after this at the latest (BUD-5).
const AUTHORIZE_WITHIN: Duration = Duration::from_secs(5);

/// Why a function did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A variable is missing.
    #[error("the variable {0} is not set; the template sets it for each function that needs it")]
    Missing(&'static str),
    /// A variable has a value that cannot be.
    #[error("the variable {name} is `{value}`: {remedy}")]
    Wrong {
        /// Which.
        name: &'static str,
        /// What it says.
        value: String,
        /// What to write instead.
        remedy: &'static str,
    },
    /// A variable that Lambda sets is missing.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The store did not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The secret of Slack cannot be read.
    #[error("the secret that RECOUP_SLACK_SECRET names cannot be read")]
    Secret(#[source] Arc<StoreError>),
    /// The secret of Slack cannot be used.
    #[error("the secret that RECOUP_SLACK_SECRET names cannot be used: {0}")]
    Slack(String),
    /// The application cannot be built.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// The environment of a process, or that of a test.
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// That of this process.
    #[must_use]
    pub fn of_process() -> Self {
        Self(std::env::vars().filter(|(name, _)| name.starts_with("RECOUP_")).collect())
    }

    /// These variables.
    #[must_use]
    pub fn of(variables: &[(&str, &str)]) -> Self {
        Self(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    /// A variable that may be left out; empty is left out.
    pub(crate) fn optional(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn required(&self, name: &'static str) -> Result<&str, StartError> {
        self.optional(name).ok_or(StartError::Missing(name))
    }

    fn count(&self, name: &'static str) -> Result<Option<NonZeroU16>, StartError> {
        let wrong = |value: &str| StartError::Wrong {
            name,
            value: value.to_owned(),
            remedy: "write a whole number from 1 to 65535",
        };
        self.optional(name).map(|value| value.parse().map_err(|_| wrong(value))).transpose()
    }

    /// Whether HTTPS subscriptions of the topic get the form for chats.
    fn has_chats(&self) -> Result<bool, StartError> {
        const FORM: &str = "RECOUP_CHAT_FORM";
        match self.optional(FORM) {
            None | Some("none") => Ok(false),
            Some("amazon-q") => Ok(true),
            Some(other) => {
                let remedy = "write none or amazon-q";
                Err(StartError::Wrong { name: FORM, value: other.to_owned(), remedy })
            }
        }
    }

    /// The key `admin` that stands in no books: both of its variables, or neither.
    fn admin_key(&self) -> Result<Option<(&str, &str)>, StartError> {
        const ID: &str = "RECOUP_ADMIN_KEY_ID";
        const DIGEST: &str = "RECOUP_ADMIN_KEY_DIGEST";
        match (self.optional(ID), self.optional(DIGEST)) {
            (None, None) => Ok(None),
            (Some(id), Some(digest)) => Ok(Some((id, digest))),
            (Some(_), None) => Err(StartError::Missing(DIGEST)),
            (None, Some(_)) => Err(StartError::Missing(ID)),
        }
    }

    fn store(&self) -> Result<Settings, StartError> {
        let mut settings = Settings::new(self.required("RECOUP_EVENTS_TABLE")?, self.required("RECOUP_BOOKS_TABLE")?);
        settings.lanes = self.count("RECOUP_LANES")?;
        Ok(settings)
    }

    fn documents(&self) -> Result<DocumentSettings, StartError> {
        const MODE: &str = "RECOUP_OBJECT_LOCK_MODE";
        const DAYS: &str = "RECOUP_RETENTION_DAYS";
        let bucket = self.required("RECOUP_DOCUMENTS_BUCKET")?.to_owned();
        let mode = match self.required(MODE)? {
            "none" => return Ok(DocumentSettings { bucket, lock: None }),
            "GOVERNANCE" => LockMode::Governance,
            "COMPLIANCE" => LockMode::Compliance,
            other => {
                let remedy = "write none, GOVERNANCE or COMPLIANCE";
                return Err(StartError::Wrong { name: MODE, value: other.to_owned(), remedy });
            }
        };
        let days = self.required(DAYS)?;
        let wrong =
            || StartError::Wrong { name: DAYS, value: days.to_owned(), remedy: "write a number of days from 1 on" };
        let days = days.parse().ok().filter(|days| *days > 0).ok_or_else(wrong)?;
        Ok(DocumentSettings { bucket, lock: Some(DocumentLock { mode, days }) })
    }
}

/// What a function works with.
pub struct Context {
    /// The application.
    pub app: Arc<App>,
    /// Documents, where the function has them.
    pub documents: Option<S3Documents>,
    pub(crate) config: SdkConfig,
    pub(crate) environment: Environment,
    /// Whoever needs none of it starts without it.
    pub(crate) secret: Result<Secret, Arc<StoreError>>,
}

impl Context {
    /// Opens the tables and whatever else the environment names. The first handshake with `DynamoDB` happens here, and not
    /// in the first request.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn open(environment: Environment) -> Result<Self, StartError> {
        Self::with_config(environment, load_config()?).await
    }

    /// The same with a configuration of the SDK of your own.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn with_config(environment: Environment, config: SdkConfig) -> Result<Self, StartError> {
        let documents = match environment.optional("RECOUP_DOCUMENTS_BUCKET") {
            Some(_) => Some(S3Documents::new(environment.documents()?, &config)),
            None => None,
        };
        let admin_key = environment.admin_key()?.map(|(id, digest)| (id.to_owned(), digest.to_owned()));
        // Neither waits for the other.
        let (store, secret) =
            tokio::join!(AwsStore::open(environment.store()?, &config), channels::read(&environment, &config));
        let store = Arc::new(store?);
        let lanes = store.lanes();
        let user_key = store.user_key().await?;
        let alerts: Arc<dyn Alerts> = match environment.optional("RECOUP_ALERTS_TOPIC") {
            Some(topic) if environment.has_chats()? => Arc::new(SnsAlerts::new(topic, &config).with_chats()),
            Some(topic) => Arc::new(SnsAlerts::new(topic, &config)),
            None => Arc::new(Absent),
        };
        let kept: Arc<dyn Documents> = match &documents {
            Some(documents) => Arc::new(documents.clone()),
            None => Arc::new(Absent),
        };
        let ports = Ports {
            log: Arc::clone(&store) as _,
            live: Arc::clone(&store) as _,
            leases: Arc::clone(&store) as _,
            books: store,
            documents: kept,
            alerts,
            clock: Arc::new(SystemClock),
        };
        let app = App::new(ports, user_key, lanes).sharing(true).answering_within(AUTHORIZE_WITHIN);
        let app = app.scheduled_in(environment.optional("RECOUP_TIME_ZONE"));
        let app = match admin_key {
            Some((id, digest)) => app.with_admin_key(&id, &digest)?,
            None => app,
        };
        Ok(Self { app: Arc::new(app), documents, config, environment, secret: secret.map_err(Arc::new) })
    }

    /// The state machines that run nights, closes and simulations.
    ///
    /// # Errors
    /// [`StartError::Missing`].
    pub fn state_machines(&self) -> Result<StateMachines, StartError> {
        let night = self.environment.required("RECOUP_NIGHT_MACHINE")?;
        let close = self.environment.required("RECOUP_CLOSE_MACHINE")?;
        let simulation = self.environment.required("RECOUP_SIMULATION_MACHINE")?;
        Ok(StateMachines::new(&self.config, [night, close, simulation]))
    }

    /// The queue of what cannot be worked off.
    ///
    /// # Errors
    /// [`StartError::Missing`].
    pub fn dead_letters(&self) -> Result<DeadLetters, StartError> {
        Ok(DeadLetters::new(self.environment.required("RECOUP_DEAD_LETTERS_QUEUE")?, &self.config))
    }
}

/// Stands where a function has no such thing and no right to it.
struct Absent;

fn absent<T>(doing: &'static str, variable: &str) -> Result<T, StoreError> {
    Err(StoreError::unavailable(doing, format!("this function works without; {variable} is not set")))
}

#[async_trait]
impl Alerts for Absent {
    async fn publish(&self, _alert: &Alert) -> Result<(), StoreError> {
        absent("publish an alert", "RECOUP_ALERTS_TOPIC")
    }
}

#[async_trait]
impl Documents for Absent {
    async fn put_once(&self, _path: &str, _bytes: Vec<u8>) -> Result<PutOutcome, StoreError> {
        absent("write a document", "RECOUP_DOCUMENTS_BUCKET")
    }

    async fn get(&self, _path: &str) -> Result<Option<Vec<u8>>, StoreError> {
        absent("read a document", "RECOUP_DOCUMENTS_BUCKET")
    }

    async fn list(&self, _prefix: &str, _after: Option<&str>, _limit: usize) -> Result<Vec<String>, StoreError> {
        absent("list documents", "RECOUP_DOCUMENTS_BUCKET")
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::{Environment, StartError};

    fn message<T>(result: Result<T, StartError>) -> String {
        result.err().unwrap().to_string()
    }

    #[test]
    fn a_missing_variable_is_named() {
        let none = Environment::of(&[]);
        assert!(message(none.store()).contains("RECOUP_EVENTS_TABLE is not set"));
        let empty = Environment::of(&[("RECOUP_EVENTS_TABLE", "events"), ("RECOUP_BOOKS_TABLE", "")]);
        assert!(message(empty.store()).contains("RECOUP_BOOKS_TABLE is not set"));
        let half = Environment::of(&[("RECOUP_ADMIN_KEY_ID", "0123456789ab")]);
        assert!(message(half.admin_key()).contains("RECOUP_ADMIN_KEY_DIGEST"));
    }

    #[test]
    fn a_wrong_variable_says_what_to_write() {
        let tables = [("RECOUP_EVENTS_TABLE", "e"), ("RECOUP_BOOKS_TABLE", "b")];
        for lanes in ["0", "-1", "65536", "many"] {
            let environment = Environment::of(&[tables[0], tables[1], ("RECOUP_LANES", lanes)]);
            assert!(message(environment.store()).contains("write a whole number from 1 to 65535"), "{lanes}");
        }
        let lock = |mode, days| {
            Environment::of(&[
                ("RECOUP_DOCUMENTS_BUCKET", "d"),
                ("RECOUP_OBJECT_LOCK_MODE", mode),
                ("RECOUP_RETENTION_DAYS", days),
            ])
        };
        assert!(message(lock("Governance", "1").documents()).contains("write none, GOVERNANCE or COMPLIANCE"));
        assert!(message(lock("COMPLIANCE", "0").documents()).contains("from 1 on"));
        assert_eq!(lock("COMPLIANCE", "3650").documents().unwrap().lock.unwrap().days, 3650);
        assert!(lock("none", "").documents().unwrap().lock.is_none());
        let chats = |form| Environment::of(&[("RECOUP_CHAT_FORM", form)]);
        assert!(message(chats("slack").has_chats()).contains("write none or amazon-q"));
        assert_eq!(["", "none", "amazon-q"].map(|form| chats(form).has_chats().unwrap()), [false, false, true]);
    }
}
