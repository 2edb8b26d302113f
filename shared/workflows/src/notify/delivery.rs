//! Deliveries: what was told to whom, and what of it is left to do.

use recoup_messages::Notice;
use recoup_store::{Expect, Key, Posted, Write};
use serde::{Deserialize, Serialize};

use super::targets::Target;
use crate::access::Principal;
use crate::app::App;
use crate::error::Refusal;
use crate::lists::{List, Listed, Place as ListPlace, Window};
use crate::lives::{DELIVERY_DAYS, end_of};
use crate::records;

/// The partition of every delivery.
pub(super) const DELIVERIES: &str = List::Deliveries.records();
/// The partition of what is left to send, by outlet and order.
pub(super) const DUE: &str = "deliveries-due";

/// By what somebody is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channel {
    /// Slack.
    Slack,
    /// E-mail.
    Email,
    /// By nothing: there is no channel.
    None,
}

impl Channel {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Slack => "slack",
            Self::Email => "email",
            Self::None => "none",
        }
    }
}

/// Where a delivery is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryState {
    /// It is being tried.
    Waiting,
    /// The service has taken it.
    Sent,
    /// The service never will, or did not in so many attempts: a dead letter.
    Dead,
    /// There was nobody to tell.
    Undeliverable,
}

impl DeliveryState {
    /// The state of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "waiting" => Some(Self::Waiting),
            "sent" => Some(Self::Sent),
            "dead" => Some(Self::Dead),
            "undeliverable" => Some(Self::Undeliverable),
            _ => None,
        }
    }
}

/// In what form it arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// As a message of its own.
    Message,
    /// In the place of the message that it changes.
    Update,
    /// As a line of a digest, because there were too many.
    Digest,
}

/// Where a message stands in Slack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    channel: String,
    ts: String,
}

impl From<Posted> for Place {
    fn from(Posted { channel, ts }: Posted) -> Self {
        Self { channel, ts }
    }
}

impl From<Place> for Posted {
    fn from(Place { channel, ts }: Place) -> Self {
        Self { channel, ts }
    }
}

/// An alert on its way to one target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// The alert.
    pub alert: String,
    /// What it tells of.
    pub kind: String,
    /// In one line.
    pub title: String,
    /// The team that it concerns.
    pub team: Option<String>,
    /// By what.
    pub channel: Channel,
    /// To whom: a channel of Slack or an address.
    pub to: String,
    /// Waiting, sent, dead or undeliverable.
    pub state: DeliveryState,
    /// In what form it arrived.
    pub how: Option<How>,
    /// Attempts so far.
    pub attempts: u32,
    /// Why the last attempt did not succeed, or why it went elsewhere than it should.
    pub reason: Option<String>,
    /// When it was planned, RFC 3339.
    pub planned_at: String,
    /// When it is tried again, RFC 3339.
    pub next_attempt_at: Option<String>,
    /// When it was sent or given up, RFC 3339.
    pub ended_at: Option<String>,
    /// Where it stands in Slack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) place: Option<Place>,
    /// What was to be told, where it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) notice: Option<Box<Notice>>,
}

impl Delivery {
    /// How long it is kept.
    pub(crate) fn until_ns(&self) -> i64 {
        let planned = chrono::DateTime::parse_from_rfc3339(&self.planned_at).ok();
        let planned_ns = planned.and_then(|planned| planned.timestamp_nanos_opt());
        end_of(planned_ns.unwrap_or_default(), DELIVERY_DAYS)
    }

    /// The write of it.
    pub(super) fn put(&self, key: Key, expect: Expect) -> Result<Write, Refusal> {
        Ok(records::put_until(key, self, expect, self.until_ns())?)
    }

    /// The writes of one that is new: it and its place in the list.
    pub(super) fn puts(&self, key: Key) -> Result<[Write; 2], Refusal> {
        let place = self.place_put(&key.sort)?;
        Ok([self.put(key, Expect::Absent)?, place])
    }

    /// The write of its place in the list.
    pub(crate) fn place_put(&self, sort: &str) -> Result<Write, Refusal> {
        self.place_in_list(sort).put(Some(self.until_ns()))
    }

    pub(super) fn place_in_list<'a>(&'a self, sort: &'a str) -> ListPlace<'a> {
        ListPlace { list: List::Deliveries, at: &self.planned_at, rank: 0, sort }
    }
}

/// A delivery that is left to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Due {
    pub(super) alert: String,
    pub(super) target: Target,
    pub(super) notice: Notice,
    pub(super) attempts: u32,
    /// It changes a message that cannot be changed: it is a message of its own.
    #[serde(default)]
    pub(super) posts: bool,
    pub(super) planned_at: String,
    /// Why it goes elsewhere than it should.
    pub(super) note: Option<String>,
}

impl Due {
    /// Whether it changes a message of Slack that another alert has posted.
    pub(super) fn is_update(&self) -> bool {
        let is_change = self.notice.id != self.alert && self.notice.outcome.is_some();
        is_change && !self.posts && self.target.channel == Channel::Slack
    }

    /// The record of it.
    pub(super) fn delivery(&self, state: DeliveryState) -> Delivery {
        Delivery {
            alert: self.alert.clone(),
            kind: self.notice.kind.clone(),
            title: self.notice.title.clone(),
            team: self.notice.team.clone(),
            channel: self.target.channel,
            to: self.target.to.clone(),
            state,
            how: None,
            attempts: self.attempts,
            reason: self.note.clone(),
            planned_at: self.planned_at.clone(),
            next_attempt_at: None,
            ended_at: None,
            place: None,
            notice: None,
        }
    }

    /// The writes that plan it, where it is not.
    pub(super) fn puts(&self, now_ns: i64) -> Result<[Write; 3], Refusal> {
        let sort = due_sort(&self.target, now_ns, &self.alert);
        let delivery = self.delivery(DeliveryState::Waiting);
        let [delivery, place] = delivery.puts(delivery_key(&self.alert, &self.target))?;
        Ok([delivery, place, records::put(Key::new(DUE, sort), self, Expect::Any)?])
    }
}

fn due_sort(target: &Target, now_ns: i64, alert: &str) -> String {
    format!("{}|{:020}|{alert}", target.outlet(), now_ns.max(0))
}

pub(super) fn delivery_key(alert: &str, target: &Target) -> Key {
    Key::new(DELIVERIES, format!("{}{}", of_alert(alert), target.outlet()))
}

/// What the deliveries of an alert begin with.
pub(super) fn of_alert(alert: &str) -> String {
    format!("{}|", alert.replace('%', "%25").replace('|', "%7C"))
}

impl App {
    /// Deliveries that the caller may see, newest first, without what was told.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`] for a key that may not read.
    pub async fn deliveries(
        &self,
        principal: &Principal,
        state: Option<DeliveryState>,
        window: Window,
    ) -> Result<Listed<Delivery>, Refusal> {
        let team = principal.seen_team()?;
        let is_seen = |delivery: &Delivery| {
            state.is_none_or(|state| delivery.state == state)
                && team.is_none_or(|team| delivery.team.as_deref() == Some(team))
        };
        let mut found = self.listed(List::Deliveries, window, is_seen).await?;
        for delivery in &mut found.rows {
            (delivery.place, delivery.notice) = (None, None);
        }
        Ok(found)
    }
}
