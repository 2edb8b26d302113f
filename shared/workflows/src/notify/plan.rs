//! From an alert to its deliveries.

use std::time::Duration;

use recoup_messages::{Audience, Notice, Severity};
use recoup_store::{Expect, Key, Write, WriteError};
use serde::Deserialize as _;
use serde_json::Value;

use super::delivery::{Channel, DELIVERIES, Delivery, DeliveryState, Due, delivery_key, of_alert};
use super::targets::{Target, aim};
use super::{Notified, Reach};
use crate::app::App;
use crate::error::Refusal;
use crate::records;

/// Attempts at a plan that others write at the same time.
const ATTEMPTS_MAX: usize = 4;
/// What runtimes obey and nobody reads.
const FOR_PROGRAMS: &str = "kill";
/// How long to wait for an outlet that somebody else works off.
const SOON_NS: i64 = 5_000_000_000;

/// An alert as it arrives.
pub(super) struct Arrived {
    pub(super) id: String,
    pub(super) notice: Notice,
}

/// Reads the JSON of an alert; `None`: it is not for people.
pub(super) fn read(json: &str, now_text: &str) -> Result<Option<Arrived>, Refusal> {
    let wrong = |detail: String| Refusal::invalid("invalid-alert", "alert", detail);
    let value: Value = serde_json::from_str(json).map_err(|error| wrong(format!("it is not JSON: {error}")))?;
    let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let id = text("id").filter(|id| !id.is_empty()).ok_or_else(|| wrong("it has no `id`".to_owned()))?;
    if let Some(notice) = value.get("notice") {
        let notice =
            Notice::deserialize(notice).map_err(|error| wrong(format!("its `notice` cannot be read: {error}")))?;
        return Ok(Some(Arrived { id, notice }));
    }
    let kind = text("kind").unwrap_or_default();
    if kind == FOR_PROGRAMS {
        return Ok(None);
    }
    let subject = text("subject").unwrap_or_else(|| kind.clone());
    let team = text("team");
    let severity = match text("severity").as_deref() {
        Some("info") => Severity::Info,
        Some("critical" | "error") => Severity::Critical,
        _ => Severity::Warning,
    };
    let notice = Notice {
        id: id.clone(),
        kind,
        severity,
        title: subject.trim_start_matches("[recoup] ").to_owned(),
        summary: text("error").unwrap_or_default(),
        facts: Vec::new(),
        table: None,
        next_steps: Vec::new(),
        actions: Vec::new(),
        audience: vec![if team.is_some() { Audience::Lead } else { Audience::FinOps }],
        team,
        thread: None,
        outcome: None,
        at: now_text.to_owned(),
    };
    Ok(Some(Arrived { id, notice }))
}

impl App {
    /// Plans the deliveries of an alert, where they are not; its id, unless it is not for people.
    pub(super) async fn plan_alert(&self, reach: Reach, json: &str) -> Result<Option<String>, Refusal> {
        let Some(arrived) = read(json, &self.now_text())? else { return Ok(None) };
        self.plan(reach, &arrived, Vec::new()).await?;
        Ok(Some(arrived.id))
    }

    /// Plans an alert, in one group with `more`.
    pub(super) async fn plan(&self, reach: Reach, arrived: &Arrived, more: Vec<Write>) -> Result<(), Refusal> {
        let organisation = match self.organisation_today().await {
            Ok(organisation) => Some(organisation),
            // Nobody has said yet who is to be told.
            Err(Refusal::Conflict { kind: "no-organisation", .. }) => None,
            Err(error) => return Err(error),
        };
        let aim = aim(&arrived.notice, organisation.as_deref(), reach);
        let due = |target: &Target| Due {
            alert: arrived.id.clone(),
            target: target.clone(),
            notice: arrived.notice.clone(),
            attempts: 0,
            posts: false,
            planned_at: self.now_text(),
            note: aim.note.clone(),
        };
        for _ in 0..ATTEMPTS_MAX {
            let now_ns = self.now_ns();
            let mut writes = more.clone();
            for target in &aim.targets {
                let key = delivery_key(&arrived.id, target);
                if self.books().get(&key).await?.is_none() {
                    writes.extend(due(target).puts(now_ns)?);
                }
            }
            if aim.targets.is_empty() {
                let nobody = Target { channel: Channel::None, to: String::new() };
                let key = delivery_key(&arrived.id, &nobody);
                if self.books().get(&key).await?.is_none() {
                    let undeliverable = Delivery {
                        ended_at: Some(self.now_text()),
                        notice: Some(Box::new(arrived.notice.clone())),
                        ..due(&nobody).delivery(DeliveryState::Undeliverable)
                    };
                    writes.extend(undeliverable.puts(key)?);
                }
            }
            let planned = writes.len() > more.len();
            if writes.is_empty() {
                return Ok(());
            }
            match self.books().write(writes).await {
                Ok(()) => {
                    if let (true, Some(note)) = (planned, &aim.note) {
                        tracing::warn!(alert = arrived.id, title = arrived.notice.title, "{note}");
                    }
                    return Ok(());
                }
                // Somebody else plans the same alert.
                Err(WriteError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Refusal::computation("plan the deliveries of an alert", "others write them again and again"))
    }

    /// What became of an alert that is planned.
    pub(super) async fn notified(&self, alert: &str) -> Result<Notified, Refusal> {
        let now_ns = self.now_ns();
        let mut dead = None;
        for (_, delivery, _) in records::all::<Delivery>(self.books(), DELIVERIES, &of_alert(alert)).await? {
            let reason = format!(
                "{} {}: {}",
                delivery.channel.name(),
                delivery.to,
                delivery.reason.as_deref().unwrap_or("it waits for its turn")
            );
            match delivery.state {
                DeliveryState::Sent | DeliveryState::Undeliverable => {}
                DeliveryState::Dead => dead = Some(reason),
                DeliveryState::Waiting => {
                    let next = delivery.next_attempt_at.as_deref();
                    let next = next.and_then(|next| chrono::DateTime::parse_from_rfc3339(next).ok());
                    let next_ns = next.and_then(|next| next.timestamp_nanos_opt());
                    let after_ns = next_ns.map_or(SOON_NS, |next_ns| next_ns.saturating_sub(now_ns).max(SOON_NS));
                    let after = Duration::from_nanos(u64::try_from(after_ns).unwrap_or_default());
                    return Ok(Notified::Again { after, reason });
                }
            }
        }
        Ok(dead.map_or(Notified::Done, |reason| Notified::Dead { reason }))
    }
}

/// The write that takes a record away that was read.
pub(super) fn taken(key: Key, version: u64) -> Write {
    Write::Delete { key, expect: Expect::Version(version) }
}
