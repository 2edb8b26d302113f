//! Buttons of Slack: who pressed one, and whether they may.
//!
//! A Slack user acts as the person whose entry in `[[people]]` names them, with that person's role and team: what the API
//! would refuse them is refused here, in words that only they see.

use std::time::Duration;

use recoup_messages::slack::callback::{Button, Callback, Click, ExtensionForm, SlackUser, parse};
use recoup_messages::slack::{ExtensionAsk, Field, extension_modal, modal_error};
use recoup_model::{Digest, Tags};
use recoup_store::{Expect, Key, Slack, SlackReach, Write, WriteError};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::answers::{ADDRESS_GOOD_NS, Answer};
use crate::access::{Principal, Role};
use crate::app::App;
use crate::error::Refusal;
use crate::extensions::ExtensionRequest;
use crate::lives::{FORM_DAYS, PRESS_DAYS, end_of};
use crate::people::Pseudonyms;
use crate::records;

/// The partition of where a pressed button can be answered, by notice.
pub(crate) const PRESSES: &str = "slack-presses";
/// The partition of forms that were sent.
pub(crate) const FORMS: &str = "slack-forms";
/// Slack waits three seconds for the answer to a press, and opens no form later than that.
const FORM_TIMEOUT: Duration = Duration::from_millis(1_500);
/// Attempts at something that somebody else changes at the same time.
const ATTEMPTS_MAX: u32 = 3;
/// How to ask for more without a form.
const BY_COMMAND: &str = "Ask on the command line (`recoup budgets extend`) or with POST /v1/budgets/extensions.";

/// What Slack is answered within three seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answered {
    /// An empty body.
    Nothing,
    /// What is wrong with a form.
    Form(Value),
}

/// What came of a press.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pressed {
    /// The body of the answer.
    pub body: Answered,
    /// What else whoever pressed is told; it waits in the books.
    pub answer: Option<Answer>,
}

impl Pressed {
    const NOTHING: Self = Self { body: Answered::Nothing, answer: None };

    fn form(field: Field, words: &str) -> Self {
        Self { body: Answered::Form(modal_error(field, words)), answer: None }
    }
}

#[derive(Serialize, Deserialize)]
struct Press {
    response_url: String,
    at_ns: i64,
}

/// What a person is told of a refusal; `None`: it is not theirs to mend.
fn words_of(refusal: &Refusal) -> Option<String> {
    match refusal {
        Refusal::Store(_) | Refusal::Computation { .. } => None,
        Refusal::NotFound(_) => Some("It concerns another team, or it is not there any more.".to_owned()),
        // The API speaks of keys; here it is the person who lacks the role.
        Refusal::Forbidden(detail) => Some(format!("You may not: {detail}")),
        other => Some(other.to_string()),
    }
}

impl App {
    /// Does what somebody asked for in Slack; `body` is a request whose signature was verified. What was decided is in the
    /// books when this returns. Again changes nothing.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] for a request that means nothing; when the store fails, so that they press again.
    pub async fn slack_callback(&self, slack: &dyn Slack, body: &[u8]) -> Result<Pressed, Refusal> {
        let callback =
            parse(body).map_err(|error| Refusal::invalid("invalid-callback", "payload", error.to_string()))?;
        match callback {
            Callback::Click(click) => self.click(slack, click).await,
            Callback::Extension(form) => self.form(form, Digest::of(body)).await,
        }
    }

    async fn click(&self, slack: &dyn Slack, click: Click) -> Result<Pressed, Refusal> {
        if click.button == Button::Open {
            return Ok(Pressed::NOTHING);
        }
        let principal = match self.person_in_slack(&click.user).await? {
            Ok(principal) => principal,
            Err(words) => return self.say(click, &words).await,
        };
        let done = match click.button {
            Button::RequestExtension => return self.open_form(slack, &principal, click).await,
            Button::Acknowledge => self.pressed(&principal, &click, None).await,
            Button::Approve => self.pressed(&principal, &click, Some(true)).await,
            Button::Decline => self.pressed(&principal, &click, Some(false)).await,
            Button::Open => Ok(()),
        };
        match done {
            Ok(()) => Ok(Pressed::NOTHING),
            Err(refusal) => match words_of(&refusal) {
                Some(words) => self.say(click, &words).await,
                None => Err(refusal),
            },
        }
    }

    /// Acknowledges an alert, or decides about an extension.
    async fn pressed(&self, principal: &Principal, click: &Click, decision: Option<bool>) -> Result<(), Refusal> {
        if let Some(url) = &click.response_url {
            let press = Press { response_url: url.clone(), at_ns: self.now_ns() };
            let until_ns = end_of(press.at_ns, PRESS_DAYS);
            let put = records::put_until(Key::new(PRESSES, &click.notice), &press, Expect::Any, until_ns)?;
            self.books().write(vec![put]).await?;
        }
        let mut attempt = 1;
        loop {
            let done = match decision {
                None => self.acknowledge(principal, &click.notice).await.map(drop),
                Some(approve) => self.decide_extension(principal, &click.notice, approve).await.map(drop),
            };
            match done {
                Err(Refusal::Conflict { kind: "changed-meanwhile", .. }) if attempt < ATTEMPTS_MAX => {
                    attempt = attempt.saturating_add(1);
                }
                done => return done,
            }
        }
    }

    /// Where the message of a notice can be replaced, because one of its buttons was pressed not long ago.
    pub(super) async fn pressed_at(&self, notice: &str) -> Result<Option<String>, Refusal> {
        let found = records::get::<Press>(self.books(), &Key::new(PRESSES, notice)).await?;
        let good = found.filter(|(press, _)| self.now_ns().saturating_sub(press.at_ns) < ADDRESS_GOOD_NS);
        Ok(good.map(|(press, _)| press.response_url))
    }

    async fn open_form(&self, slack: &dyn Slack, principal: &Principal, click: Click) -> Result<Pressed, Refusal> {
        let alert = match self.budget_alert(principal, &click.notice).await {
            Ok(alert) => match principal.may_act_for(alert.team.as_deref()) {
                Ok(()) => alert,
                Err(refusal) => return self.say(click, &words_of(&refusal).unwrap_or_default()).await,
            },
            Err(refusal) => match words_of(&refusal) {
                Some(words) => return self.say(click, &words).await,
                None => return Err(refusal),
            },
        };
        let currency = alert.currency.to_string();
        let ask = ExtensionAsk { alert: &alert.id, scope: &alert.scope, period: &alert.period, currency: &currency };
        let (SlackReach::Channels, Some(trigger)) = (slack.reach(), click.trigger_id.as_deref()) else {
            let words = format!("A form needs the token of a bot, and there is only a webhook. {BY_COMMAND}");
            return self.say(click, &words).await;
        };
        let opened = tokio::time::timeout(FORM_TIMEOUT, slack.open_view(trigger, &extension_modal(&ask))).await;
        let why = match opened {
            Ok(Ok(())) => return Ok(Pressed::NOTHING),
            Ok(Err(error)) => error.word().to_owned(),
            Err(_) => "timed out".to_owned(),
        };
        tracing::warn!(alert = alert.id, why, "the form for an extension could not be opened");
        self.say(click, &format!("The form could not be opened ({why}): press again. {BY_COMMAND}")).await
    }

    async fn form(&self, form: ExtensionForm, request: Digest) -> Result<Pressed, Refusal> {
        let principal = match self.person_in_slack(&form.user).await? {
            Ok(principal) => principal,
            Err(words) => return Ok(Pressed::form(Field::Reason, &words)),
        };
        let Ok(amount) = form.amount.trim().parse() else {
            return Ok(Pressed::form(Field::Amount, "Write an amount such as 250.00"));
        };
        let key = Key::new(FORMS, request.to_string());
        let until_ns = end_of(self.now_ns(), FORM_DAYS);
        let seen = records::put_until(key.clone(), &self.now_text(), Expect::Absent, until_ns)?;
        match self.books().write(vec![seen]).await {
            Ok(()) => {}
            // The same request once more: it was done before.
            Err(WriteError::Conflict(_)) => return Ok(Pressed::NOTHING),
            Err(error) => return Err(error.into()),
        }
        let asked = match self.budget_alert(&principal, &form.alert).await {
            Ok(alert) => {
                let request = ExtensionRequest {
                    scope: alert.scope,
                    kind: Some(alert.kind),
                    amount,
                    reason: form.reason,
                    alert: Some(alert.id),
                };
                self.request_extension(&principal, request).await.map(drop)
            }
            Err(refusal) => Err(refusal),
        };
        let Err(refusal) = asked else { return Ok(Pressed::NOTHING) };
        // It was not done: the same may be sent again.
        self.books().write(vec![Write::Delete { key, expect: Expect::Any }]).await?;
        let field = match &refusal {
            Refusal::Invalid { field, .. } if field == "amount" => Field::Amount,
            _ => Field::Reason,
        };
        words_of(&refusal).map(|words| Pressed::form(field, &words)).ok_or(refusal)
    }

    /// The person that a Slack user is, or what they are told instead.
    async fn person_in_slack(&self, user: &SlackUser) -> Result<Result<Principal, String>, Refusal> {
        let organisation = self.organisation_today().await?;
        let mut found = organisation.people.iter().filter(|(_, person)| person.slack.as_deref() == Some(&user.id));
        let (Some((pseudonym, person)), None) = (found.next(), found.next()) else {
            return Ok(Err(format!(
                "recoup does not know who you are: exactly one entry of [[people]] in the organisation file has to say \
                 slack = \"{}\".",
                user.id
            )));
        };
        let role = person.role.as_deref().and_then(Role::from_name);
        let Some(role @ (Role::Lead | Role::Finance | Role::Admin)) = role else {
            let words = "You have no role that may do this: your entry of [[people]] in the organisation file has to say \
                         role = \"lead\", \"finance\" or \"admin\".";
            return Ok(Err(words.to_owned()));
        };
        let name = Pseudonyms::name(self.books(), pseudonym).await?.unwrap_or_else(|| pseudonym.to_string());
        Ok(Ok(Principal {
            key_id: None,
            role,
            team: person.team.as_ref().map(ToString::to_string),
            tags: Tags::default(),
            person: Some(name),
            via: "slack".to_owned(),
            from: Some(user.id.clone()),
        }))
    }

    /// Tells whoever pressed something that nobody else sees.
    async fn say(&self, click: Click, words: &str) -> Result<Pressed, Refusal> {
        let Some(url) = click.response_url else { return Ok(Pressed::NOTHING) };
        Ok(Pressed { body: Answered::Nothing, answer: Some(self.put_answer(url, words).await?) })
    }
}
