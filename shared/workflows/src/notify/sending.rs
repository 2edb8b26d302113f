//! One message on its way: in what form it goes, and what is noted of it.

use std::time::Duration;

use recoup_messages::slack::{HeldBack, digest, message};
use recoup_messages::{Audience, Notice, Severity, email};
use recoup_model::Digest;
use recoup_model::period::format_instant;
use recoup_store::{ChannelError, Email, Expect, Key, Posted};
use serde_json::{Value, json};

use super::Channels;
use super::backoff::{ATTEMPTS_MAX, wait};
use super::delivery::{Channel, Delivery, DeliveryState, Due, How, Place, delivery_key};
use super::outlet::{Entry, Held, rank};
use super::plan::taken;
use super::targets::Target;
use crate::app::App;
use crate::error::Refusal;
use crate::lives::{DELIVERY_DAYS, end_of};
use crate::records;

/// The partition of where the first message of a thread stands.
pub(crate) const THREADS: &str = "slack-threads";
/// How long a service may take, whatever the adapter allows; less than an outlet is held.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Deliveries that end in one group of writes.
const ENDED_TOGETHER_MAX: usize = 40;
/// Titles that an e-mail's digest names.
const TITLES_MAX: usize = 50;
/// Slack's words for a message that cannot be changed any more.
const GONE: [&str; 3] = ["message_not_found", "cant_update_message", "edit_window_closed"];

/// What came of an attempt.
enum Attempt {
    Arrived {
        how: How,
        posted: Option<Posted>,
    },
    /// What it changes is not there: it has to be a message of its own.
    NothingToChange,
    Failed(ChannelError),
}

/// How a message goes to Slack.
enum Way {
    Update(Posted),
    /// In the place of the message whose button was pressed.
    Answer(String),
    Post(Option<Posted>),
    NothingToChange,
}

impl App {
    /// Sends the delivery and notes what came of it.
    pub(super) async fn send_one(&self, channels: &Channels, held: &mut Held, entry: &Entry) -> Result<(), Refusal> {
        let due = &entry.due;
        let attempt = match due.target.channel {
            Channel::Slack => self.send_to_slack(channels, due).await?,
            Channel::Email => arrived(send_mail(channels, &due.target, &due.alert, &due.notice).await),
            Channel::None => Attempt::Failed(not_configured("nobody")),
        };
        match attempt {
            Attempt::Arrived { how, posted } => {
                if how == How::Message {
                    held.outlet.count(self.now_ns());
                }
                self.note_arrival(held, entry, how, posted).await
            }
            Attempt::NothingToChange => {
                let due = Due { posts: true, ..due.clone() };
                let put = records::put(entry.key.clone(), &due, Expect::Version(entry.version))?;
                self.write_with_outlet(held, vec![put]).await.map(drop)
            }
            Attempt::Failed(error) => self.note_failure(held, &[entry], &error).await,
        }
    }

    async fn send_to_slack(&self, channels: &Channels, due: &Due) -> Result<Attempt, Refusal> {
        let Some(slack) = &channels.slack else { return Ok(Attempt::Failed(not_configured("Slack"))) };
        let mut shown = to_value(&message(&due.notice))?;
        Ok(match self.way(due).await? {
            Way::NothingToChange => Attempt::NothingToChange,
            Way::Update(at) => changed(in_time("Slack", slack.update(&at, &shown)).await),
            Way::Answer(url) => {
                set(&mut shown, "replace_original", true);
                match in_time("Slack", slack.respond(&url, &shown)).await {
                    // Whatever is wrong with that address: the message can still be posted.
                    Err(ChannelError::GivenUp { .. }) => Attempt::NothingToChange,
                    answered => changed(answered),
                }
            }
            Way::Post(thread) => {
                // What somebody has to act on must not go under in a thread.
                if thread.is_some() && due.notice.severity != Severity::Info {
                    set(&mut shown, "reply_broadcast", true);
                }
                let thread = thread.as_ref().map(|thread| thread.ts.as_str());
                match in_time("Slack", slack.post(&due.target.to, &shown, thread)).await {
                    Ok(posted) => Attempt::Arrived { how: How::Message, posted },
                    Err(error) => Attempt::Failed(error),
                }
            }
        })
    }

    async fn way(&self, due: &Due) -> Result<Way, Refusal> {
        if !due.is_update() {
            let Some(thread) = &due.notice.thread else { return Ok(Way::Post(None)) };
            let first = records::get::<Place>(self.books(), &thread_key(&due.target, thread)).await?;
            return Ok(Way::Post(first.map(|(place, _)| place.into())));
        }
        let original = records::get::<Delivery>(self.books(), &delivery_key(&due.notice.id, &due.target)).await?;
        if let Some(place) = original.and_then(|(original, _)| original.place) {
            return Ok(Way::Update(place.into()));
        }
        Ok(self.pressed_at(&due.notice.id).await?.map_or(Way::NothingToChange, Way::Answer))
    }

    async fn note_arrival(
        &self,
        held: &mut Held,
        entry: &Entry,
        how: How,
        posted: Option<Posted>,
    ) -> Result<(), Refusal> {
        let due = &entry.due;
        let mut writes = vec![taken(entry.key.clone(), entry.version)];
        let place = posted.map(Place::from);
        if let (How::Message, Some(place), Some(thread)) = (how, &place, &due.notice.thread) {
            let key = thread_key(&due.target, thread);
            if self.books().get(&key).await?.is_none() {
                writes.push(records::put_until(key, place, Expect::Any, end_of(self.now_ns(), DELIVERY_DAYS))?);
            }
        }
        let sent = Delivery {
            how: Some(how),
            attempts: due.attempts.saturating_add(1),
            ended_at: Some(self.now_text()),
            place,
            ..due.delivery(DeliveryState::Sent)
        };
        writes.push(sent.put(delivery_key(&due.alert, &due.target), Expect::Any)?);
        tracing::debug!(alert = due.alert, outlet = due.target.outlet(), "told");
        self.write_with_outlet(held, writes).await.map(drop)
    }

    /// Notes an attempt that failed: it is tried again, or a dead letter.
    async fn note_failure(&self, held: &mut Held, entries: &[&Entry], error: &ChannelError) -> Result<(), Refusal> {
        let now_ns = self.now_ns();
        let attempts = entries.iter().map(|entry| entry.due.attempts).max().unwrap_or_default().saturating_add(1);
        let (given_up, asked) = match error {
            ChannelError::GivenUp { .. } => (true, None),
            ChannelError::Again { after, .. } => (false, *after),
        };
        let is_last = |due: &Due| given_up || due.attempts.saturating_add(1) >= ATTEMPTS_MAX;
        let wait = wait(attempts, asked, getrandom::u64().unwrap_or_default());
        let next_ns = now_ns.saturating_add(i64::try_from(wait.as_nanos()).unwrap_or(i64::MAX));
        if entries.iter().any(|entry| !is_last(&entry.due)) {
            held.outlet.not_before_ns = next_ns;
        }
        for some in entries.chunks(ENDED_TOGETHER_MAX) {
            let mut writes = Vec::new();
            for Entry { key, version, due } in some {
                let is_over = is_last(due);
                let due = Due { attempts: due.attempts.saturating_add(1), ..due.clone() };
                let state = if is_over { DeliveryState::Dead } else { DeliveryState::Waiting };
                let mut delivery = Delivery { reason: Some(error.to_string()), ..due.delivery(state) };
                if is_over {
                    tracing::error!(alert = due.alert, title = due.notice.title, outlet = due.target.outlet(),
                        attempts = due.attempts, %error, "a dead letter: somebody was not told");
                    delivery.ended_at = Some(self.now_text());
                    delivery.notice = Some(Box::new(due.notice.clone()));
                    writes.push(taken(key.clone(), *version));
                } else {
                    tracing::warn!(alert = due.alert, outlet = due.target.outlet(), attempts = due.attempts, %error,
                        "it is tried again");
                    delivery.next_attempt_at = Some(format_instant(next_ns));
                    writes.push(records::put(key.clone(), &due, Expect::Version(*version))?);
                }
                writes.push(delivery.put(delivery_key(&due.alert, &due.target), Expect::Any)?);
            }
            if !self.write_with_outlet(held, writes).await? {
                break;
            }
        }
        Ok(())
    }

    /// Sends one message instead of many and notes what came of it.
    pub(super) async fn send_digest(
        &self,
        channels: &Channels,
        held: &mut Held,
        entries: &[&Entry],
    ) -> Result<(), Refusal> {
        let Some(Entry { due: Due { target, .. }, .. }) = entries.first() else { return Ok(()) };
        let notices: Vec<&Notice> = entries.iter().map(|entry| &entry.due.notice).collect();
        let sent = match (target.channel, &channels.slack) {
            (Channel::Slack, Some(slack)) => {
                let mut held_back: Vec<HeldBack> = notices.iter().map(|notice| HeldBack::from(*notice)).collect();
                // A digest names the first ones.
                held_back.sort_by_key(|held_back| std::cmp::Reverse(rank(held_back.severity)));
                let shown = to_value(&digest(&held_back, held_back.len(), &self.now_text()))?;
                in_time("Slack", slack.post(&target.to, &shown, None)).await.map(drop)
            }
            (Channel::Email, _) => {
                let notice = digest_notice(&notices, self.now_text());
                send_mail(channels, target, &notice.id, &notice).await
            }
            _ => Err(not_configured("Slack")),
        };
        if let Err(error) = sent {
            return self.note_failure(held, entries, &error).await;
        }
        held.outlet.count(self.now_ns());
        for some in entries.chunks(ENDED_TOGETHER_MAX) {
            let mut writes = Vec::new();
            for Entry { key, version, due } in some {
                writes.push(taken(key.clone(), *version));
                let sent = Delivery {
                    how: Some(How::Digest),
                    attempts: due.attempts.saturating_add(1),
                    ended_at: Some(self.now_text()),
                    ..due.delivery(DeliveryState::Sent)
                };
                writes.push(sent.put(delivery_key(&due.alert, &due.target), Expect::Any)?);
            }
            if !self.write_with_outlet(held, writes).await? {
                break;
            }
        }
        Ok(())
    }
}

fn thread_key(target: &Target, thread: &str) -> Key {
    Key::new(THREADS, format!("{}|{thread}", target.outlet()))
}

fn to_value(message: &impl serde::Serialize) -> Result<Value, Refusal> {
    serde_json::to_value(message).map_err(|error| Refusal::computation("write a message for Slack", error))
}

fn set(message: &mut Value, name: &str, value: bool) {
    if let Some(fields) = message.as_object_mut() {
        fields.insert(name.to_owned(), json!(value));
    }
}

/// What a service answers, or that it did not answer in time.
pub(super) async fn in_time<T>(
    service: &'static str,
    call: impl Future<Output = Result<T, ChannelError>>,
) -> Result<T, ChannelError> {
    match tokio::time::timeout(CALL_TIMEOUT, call).await {
        Ok(answer) => answer,
        Err(_) => Err(ChannelError::Again { service, word: "timed out".to_owned(), after: None }),
    }
}

fn arrived(sent: Result<(), ChannelError>) -> Attempt {
    match sent {
        Ok(()) => Attempt::Arrived { how: How::Message, posted: None },
        Err(error) => Attempt::Failed(error),
    }
}

fn changed(sent: Result<(), ChannelError>) -> Attempt {
    match sent {
        Ok(()) => Attempt::Arrived { how: How::Update, posted: None },
        Err(ChannelError::GivenUp { word, .. }) if GONE.contains(&word.as_str()) => Attempt::NothingToChange,
        Err(error) => Attempt::Failed(error),
    }
}

fn not_configured(service: &'static str) -> ChannelError {
    ChannelError::GivenUp { service, word: "it is not configured any more".to_owned() }
}

async fn send_mail(channels: &Channels, target: &Target, id: &str, notice: &Notice) -> Result<(), ChannelError> {
    const SERVICE: &str = "the mail server";
    let Some(mail) = &channels.mail else { return Err(not_configured(SERVICE)) };
    let email::Email { subject, text, html } = email::render(notice);
    let name = Digest::of(format!("{id}\n{}", target.to).as_bytes()).to_string();
    let id = name.get(..32).unwrap_or(&name).to_owned();
    in_time(SERVICE, mail.send(&Email { to: target.to.clone(), subject, text, html, id })).await
}

/// Many notices as one.
fn digest_notice(notices: &[&Notice], at: String) -> Notice {
    let severity = notices.iter().map(|notice| notice.severity).max_by_key(|severity| rank(*severity));
    let more = notices.len().saturating_sub(TITLES_MAX);
    let mut next_steps: Vec<String> = notices.iter().take(TITLES_MAX).map(|notice| notice.title.clone()).collect();
    next_steps.extend((more > 0).then(|| format!("and {more} more")));
    let names: Vec<&str> = notices.iter().map(|notice| notice.id.as_str()).collect();
    Notice {
        id: format!("digest-{}", Digest::of(names.join("\n").as_bytes())),
        kind: "digest".into(),
        severity: severity.unwrap_or(Severity::Info),
        title: format!("{} alerts in a short time", notices.len()),
        summary: "There were too many to send each of them. All of them: recoup alerts".into(),
        facts: Vec::new(),
        table: None,
        next_steps,
        actions: Vec::new(),
        team: None,
        audience: vec![Audience::FinOps],
        thread: None,
        outcome: None,
        at,
    }
}
