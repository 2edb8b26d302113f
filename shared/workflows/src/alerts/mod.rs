//! Alerts: an outbox in the books, from which everything that somebody should hear of is published at least once.
//!
//! An entry says what there is to tell and is written with what it tells of. It is published by whoever wrote it, or by the
//! next run if that did not come to it, and then marked as told, so that nothing is told anew. What somebody decides is
//! recorded and answered first: [`App::after_decisions`] does the rest.
//! I/O: the outbox, the topic; for statements the record of their period.

mod anomaly_words;
mod budget_words;
mod weekly_words;
mod words;

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use chrono::NaiveDate;
use recoup_budgets::anomaly::TaskAnomaly;
use recoup_model::{Digest, Period};
use recoup_store::alerts::check_alert;
use recoup_store::{Alert, Expect, Key, Record, Write, WriteError, causes};
use serde::{Deserialize, Serialize};

use crate::anomalies::{DayAnomaly, HourAnomalies};
use crate::app::App;
use crate::close;
use crate::error::Refusal;
use crate::extensions::Extension;
use crate::lives::{TOLD_DAYS, end_of};
use crate::records;
use crate::reviews::Review;
use crate::watch::{AlertRecord, AlertState};
use crate::weekly::WeeklyReport;

/// The partition of what is to be told.
const OUTBOX: &str = "outbox";
/// What the names of models without a price begin with.
const UNPRICED_MODEL: &str = "unpriced-model-";
/// The partition of what was told.
pub(crate) const TOLD: &str = "told";
/// Entries published by one step.
const ENTRIES_MAX: usize = 100;
/// How long a decision's own entry may keep the answer to it, where nothing runs after the answer.
const ENTRY_WITHIN: Duration = Duration::from_millis(500);
/// Names remembered as told; beyond it the memory is emptied.
const REMEMBERED_MAX: usize = 1_000;

/// A model that a provider's price is missing for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnpricedModel {
    /// Who sells it; empty where no event says.
    pub provider: String,
    /// The model.
    pub model: String,
    /// The local day of its first event that is known.
    pub day: NaiveDate,
    /// Events without a price on that day, as far as counted.
    pub events: u64,
}

/// Something to be told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Tell {
    /// The statements of a month were issued: one alert for each.
    StatementReady {
        /// The month.
        period: Period,
    },
    /// A nightly run failed.
    NightFailed {
        /// Which.
        run: String,
        /// Why.
        error: String,
    },
    /// A close failed, or findings refused it.
    CloseFailed {
        /// Which.
        run: String,
        /// Why.
        error: String,
    },
    /// A model without a price was met for the first time.
    UnpricedModel(UnpricedModel),
    /// A budget reached a tier.
    BudgetTier {
        /// The alert as it fired.
        alert: Box<AlertRecord>,
    },
    /// Nobody has acknowledged it in time.
    BudgetEscalation {
        /// The alert.
        alert: Box<AlertRecord>,
    },
    /// Somebody has acknowledged it, or it is resolved.
    AlertChanged {
        /// The alert as it is now.
        alert: Box<AlertRecord>,
    },
    /// Somebody asks for more.
    ExtensionRequested {
        /// The request.
        extension: Extension,
        /// The team that it concerns.
        team: Option<String>,
    },
    /// Somebody else has decided.
    ExtensionDecided {
        /// The request as it is now.
        extension: Extension,
        /// The team that it concerns.
        team: Option<String>,
    },
    /// A task was stopped at its cap.
    TaskKilled {
        /// What the review list says.
        review: Review,
    },
    /// A task cost far more than those before it.
    TaskAnomaly {
        /// Which, by how much and why.
        found: Box<TaskAnomaly>,
        /// The team that runs its agent.
        owner: Option<String>,
    },
    /// Tasks of an hour did, none of them so much that it alerts on its own.
    HourAnomalies {
        /// Which, by how much and why.
        found: Box<HourAnomalies>,
        /// The team that runs their agent.
        owner: Option<String>,
    },
    /// The tasks of a day did.
    DayAnomaly {
        /// Which, by how much and why.
        found: Box<DayAnomaly>,
        /// The team that runs their agent.
        owner: Option<String>,
    },
    /// What a team has spent in a week.
    WeeklyReport {
        /// All of it.
        report: Box<WeeklyReport>,
    },
}

impl Tell {
    /// Names what there is to tell: the same thing has the same name.
    #[must_use]
    pub fn id(&self) -> String {
        match self {
            Self::StatementReady { period } => format!("statement-ready-{period}"),
            Self::NightFailed { run, .. } => format!("night-failed-{run}"),
            Self::CloseFailed { run, .. } => format!("close-failed-{run}"),
            Self::UnpricedModel(UnpricedModel { provider, model, .. }) => {
                format!("{UNPRICED_MODEL}{}", Digest::of(format!("{provider}\n{model}").as_bytes()))
            }
            Self::BudgetTier { alert } => alert.id.clone(),
            Self::BudgetEscalation { alert } => format!("{}-escalated", alert.id),
            Self::AlertChanged { alert } => match alert.state {
                AlertState::Resolved => format!("{}-resolved", alert.id),
                AlertState::Fired | AlertState::Acknowledged => format!("{}-acknowledged", alert.id),
            },
            Self::ExtensionRequested { extension, .. } => extension.id.clone(),
            Self::ExtensionDecided { extension, .. } => format!("{}-decided", extension.id),
            Self::TaskKilled { review } => {
                format!("task-killed-{}", Digest::of(format!("{}\n{}", review.task, review.at).as_bytes()))
            }
            Self::TaskAnomaly { found, .. } => format!("task-anomaly-{}", Digest::of(found.trace.as_bytes())),
            Self::HourAnomalies { found, .. } => {
                format!("hour-anomalies-{}-{:02}-{}", found.day, found.hour, anomaly_words::name_of(&found.kind))
            }
            Self::DayAnomaly { found, .. } => {
                format!("day-anomaly-{}-{}", found.day, anomaly_words::name_of(&found.kind))
            }
            Self::WeeklyReport { report } => format!("weekly-report-{}-{}", report.week, report.team),
        }
    }
}

/// What is known to be in the outbox or told.
#[derive(Default)]
pub(crate) struct Told(Mutex<BTreeSet<String>>);

impl Told {
    fn knows(&self, id: &str) -> bool {
        self.0.lock().is_ok_and(|told| told.contains(id))
    }

    fn add(&self, id: String) {
        if let Ok(mut told) = self.0.lock() {
            if told.len() >= REMEMBERED_MAX {
                told.clear();
            }
            told.insert(id);
        }
    }
}

/// The write that puts something into the outbox, to go with what it tells of.
pub(crate) fn outbox_put(tell: &Tell) -> Result<Write, Refusal> {
    Ok(records::put(Key::new(OUTBOX, tell.id()), tell, Expect::Any)?)
}

impl App {
    /// Tells what was not told before.
    ///
    /// # Errors
    /// When it cannot be noted in the books. That it could not be published is no error: the next run does it.
    pub async fn tell(&self, tells: &[Tell]) -> Result<(), Refusal> {
        self.remember(tells).await?;
        if !tells.is_empty() {
            self.publish_alerts().await;
        }
        Ok(())
    }

    /// Puts into the outbox what was not told before.
    pub(crate) async fn remember(&self, tells: &[Tell]) -> Result<(), Refusal> {
        for tell in tells {
            let id = tell.id();
            if self.told.knows(&id) {
                continue;
            }
            let told = self.books().get(&Key::new(TOLD, &id)).await?.is_some();
            if !told {
                let put = records::put(Key::new(OUTBOX, &id), tell, Expect::Absent)?;
                match self.books().write(vec![put]).await {
                    Ok(()) | Err(WriteError::Conflict(_)) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            self.told.add(id);
        }
        Ok(())
    }

    /// Publishes what is in the outbox, as far as that succeeds; what does not stays for the next run.
    pub async fn publish_alerts(&self) {
        if let Err(error) = self.publish_outbox().await {
            tracing::warn!(error = causes(&error), "alerts wait for the next run: they could not be published");
        }
    }

    async fn publish_outbox(&self) -> Result<(), Refusal> {
        let page = self.books().scan(OUTBOX, "", None, ENTRIES_MAX).await?;
        let mut untold = Ok(());
        for record in page.records {
            match self.alerts_in(&record.value).await {
                Ok(alerts) => self.publish_entry(record, &alerts).await?,
                // What cannot be put into words holds nothing else up.
                Err(error) => {
                    tracing::error!(
                        entry = record.key.sort,
                        error = causes(&error),
                        "what there is to tell cannot be told"
                    );
                    untold = untold.and(Err(error));
                }
            }
        }
        untold
    }

    async fn publish_entry(&self, record: Record, alerts: &[Alert]) -> Result<(), Refusal> {
        for alert in alerts {
            self.ports.alerts.publish(alert).await?;
        }
        let told = Key::new(TOLD, &record.key.sort);
        let writes =
            vec![Write::Delete { key: record.key, expect: Expect::Version(record.version) }, self.told_put(told)?];
        match self.books().write(writes).await {
            // Somebody else published it as well: told twice is better than never.
            Ok(()) | Err(WriteError::Conflict(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The write that notes that an entry was told.
    fn told_put(&self, key: Key) -> Result<Write, Refusal> {
        let now = self.now_text();
        Ok(match self.told_until_ns(&key.sort) {
            None => records::put(key, &now, Expect::Any)?,
            Some(until_ns) => records::put_until(key, &now, Expect::Any, until_ns)?,
        })
    }

    /// How long it is known that an entry was told. A model without a price is told of once; of everything else nothing comes
    /// again so late.
    pub(crate) fn told_until_ns(&self, entry: &str) -> Option<i64> {
        (!entry.starts_with(UNPRICED_MODEL)).then(|| end_of(self.now_ns(), TOLD_DAYS))
    }

    /// Something was decided and is in the books with what there is to tell of it. Whoever decided is answered now: the
    /// process that serves a folder does the rest when it is woken, and where nothing runs after an answer this entry alone
    /// is published, for at most [`ENTRY_WITHIN`]; the watch does what is left.
    pub(crate) async fn has_decided(&self, tell: &Tell) {
        self.decided.notify_one();
        if self.sharing && tokio::time::timeout(ENTRY_WITHIN, self.publish_one(tell)).await.is_err() {
            tracing::warn!(entry = tell.id(), "it is told by the next watch: publishing takes long");
        }
    }

    /// Publishes one entry, however many wait.
    pub(crate) async fn publish_one(&self, tell: &Tell) {
        let publish = async {
            let Some(record) = self.books().get(&Key::new(OUTBOX, tell.id())).await? else { return Ok(()) };
            let alerts = self.alerts_in(&record.value).await?;
            self.publish_entry(record, &alerts).await
        };
        if let Err(error) = publish.await {
            tracing::warn!(
                entry = tell.id(),
                error = causes(&error),
                "it is told by the next watch: it could not be published"
            );
        }
    }

    /// Ends once something was decided in this process that others are to be told of.
    pub async fn has_news(&self) {
        self.decided.notified().await;
    }

    /// What follows decisions: limits may be others now, and people are told.
    pub async fn after_decisions(&self) {
        if let Err(error) = self.watch_budgets(None).await {
            tracing::error!(error = causes(&error), "the budgets wait for the next look");
        }
        self.publish_alerts().await;
    }

    /// The alerts that tell what an entry holds, within the limits of every topic.
    async fn alerts_in(&self, entry: &str) -> Result<Vec<Alert>, Refusal> {
        let tell: Tell =
            serde_json::from_str(entry).map_err(|error| Refusal::computation("read what there is to tell", error))?;
        let alerts = self.alerts_of(&tell).await?;
        alerts.iter().try_for_each(check_alert)?;
        Ok(alerts)
    }

    /// The alerts that tell it.
    async fn alerts_of(&self, tell: &Tell) -> Result<Vec<Alert>, Refusal> {
        match tell {
            Tell::StatementReady { period } => {
                let records = close::period_records(self.books()).await?;
                let Some(record) = records.into_iter().find(|record| record.period == *period) else {
                    return Ok(Vec::new());
                };
                let world = self.world().await?;
                let last = period.days().last().unwrap_or_default();
                let organisation = &world.history.on(last).organisation;
                let issuer = words::Issuer {
                    organisation: &organisation.name,
                    currency: &organisation.currency.to_string(),
                    dashboard: organisation.alerts.dashboard_url.as_deref(),
                };
                let to_alert = |issued| words::statement_ready(&issuer, issued, &record.run);
                Ok(record.statements.iter().map(to_alert).collect())
            }
            Tell::TaskAnomaly { .. } | Tell::HourAnomalies { .. } | Tell::DayAnomaly { .. } => {
                self.anomaly_words(tell).await
            }
            Tell::WeeklyReport { report } => self.weekly_words(&tell.id(), report).await,
            Tell::NightFailed { run, error } => Ok(vec![words::night_failed(run, error, &self.now_text())]),
            Tell::CloseFailed { run, error } => Ok(vec![words::close_failed(run, error, &self.now_text())]),
            Tell::UnpricedModel(unpriced) => Ok(vec![words::unpriced_model(&tell.id(), unpriced, &self.now_text())]),
            _ => self.budget_words(tell).await,
        }
    }
}
