//! What Slack sends after a click or a sent modal: `application/x-www-form-urlencoded` with `payload=JSON`.

use serde::Deserialize;

use super::modal::{EXTENSION, Field};

/// Bytes of a request.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// Who did it, as Slack knows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlackUser {
    /// `U2CERLKJA`.
    pub id: String,
    /// The handle; for people to read, it proves nothing.
    pub name: String,
}

/// A button.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Button {
    /// Say that it was seen.
    Acknowledge,
    /// Ask for more.
    RequestExtension,
    /// Let somebody have more.
    Approve,
    /// Do not.
    Decline,
    /// A page was opened; nothing is to be done but to answer.
    Open,
}

impl Button {
    /// Its `action_id`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Acknowledge => "acknowledge",
            Self::RequestExtension => "request_extension",
            Self::Approve => "approve",
            Self::Decline => "decline",
            Self::Open => "open",
        }
    }

    /// The button of an `action_id`. Further links of a message are `open-2` and so on.
    fn from_name(name: &str) -> Option<Self> {
        let all = [Self::Acknowledge, Self::RequestExtension, Self::Approve, Self::Decline, Self::Open];
        let is_link = name.strip_prefix("open-").is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
        all.into_iter().find(|button| button.name() == name || (is_link && *button == Self::Open))
    }
}

/// A click.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Click {
    /// Who.
    pub user: SlackUser,
    /// Where.
    pub channel: Option<String>,
    /// The message that the button belongs to.
    pub message_ts: Option<String>,
    /// Where the message can be replaced, for half an hour.
    pub response_url: Option<String>,
    /// What a modal can be opened with, for three seconds.
    pub trigger_id: Option<String>,
    /// Which button.
    pub button: Button,
    /// The id of the notice.
    pub notice: String,
}

/// A modal for an extension that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtensionForm {
    /// Who.
    pub user: SlackUser,
    /// The alert that it was opened from.
    pub alert: String,
    /// How much more, as it was typed.
    pub amount: String,
    /// Why, as it was typed.
    pub reason: String,
}

/// What somebody did in Slack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Callback {
    /// `block_actions`.
    Click(Click),
    /// `view_submission` of the modal for an extension.
    Extension(ExtensionForm),
}

/// Why a request means nothing to us.
#[derive(Debug, thiserror::Error)]
pub enum CallbackError {
    /// It is larger than any that Slack sends.
    #[error("the request has {bytes} bytes, at most {BODY_BYTES_MAX} are read")]
    TooLarge {
        /// Its bytes.
        bytes: usize,
    },
    /// There is no `payload` among its fields.
    #[error("the request has no field `payload`")]
    NoPayload,
    /// The payload is not the JSON that Slack documents.
    #[error("the payload cannot be read")]
    Unreadable(#[source] serde_json::Error),
    /// Something else than a click or a sent modal.
    #[error("callbacks of the type `{0}` are not known")]
    UnknownType(String),
    /// A button that no message of ours has.
    #[error("the action `{0}` is not known")]
    UnknownAction(String),
    /// A modal that is not ours.
    #[error("the modal `{0}` is not known")]
    UnknownView(String),
    /// A field that this type of callback always has.
    #[error("the payload has no `{0}`")]
    Missing(&'static str),
}

/// Reads a request whose signature was verified.
///
/// # Errors
/// Why it means nothing to us.
pub fn parse(body: &[u8]) -> Result<Callback, CallbackError> {
    if body.len() > BODY_BYTES_MAX {
        return Err(CallbackError::TooLarge { bytes: body.len() });
    }
    let payload = form_urlencoded::parse(body).find_map(|(name, value)| (name == "payload").then_some(value));
    let payload = payload.ok_or(CallbackError::NoPayload)?;
    let kind: Kind = serde_json::from_str(&payload).map_err(CallbackError::Unreadable)?;
    match kind.kind.as_str() {
        "block_actions" => serde_json::from_str::<BlockActions>(&payload).map_err(CallbackError::Unreadable)?.read(),
        "view_submission" => {
            serde_json::from_str::<ViewSubmission>(&payload).map_err(CallbackError::Unreadable)?.read()
        }
        _ => Err(CallbackError::UnknownType(shortened(kind.kind))),
    }
}

/// A name that somebody else chose, as far as an error repeats it.
fn shortened(name: String) -> String {
    name.chars().take(80).collect()
}

#[derive(Deserialize)]
struct Kind {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct User {
    id: String,
    /// In clicks.
    username: Option<String>,
    /// In modals, and mostly in clicks.
    name: Option<String>,
}

impl User {
    fn read(self) -> SlackUser {
        let name = self.username.or(self.name).unwrap_or_else(|| self.id.clone());
        SlackUser { id: self.id, name }
    }
}

#[derive(Deserialize)]
struct BlockActions {
    user: User,
    channel: Option<Channel>,
    container: Option<Container>,
    message: Option<Message>,
    response_url: Option<String>,
    trigger_id: Option<String>,
    #[serde(default)]
    actions: Vec<ActionTaken>,
}

#[derive(Deserialize)]
struct Channel {
    id: String,
}

#[derive(Deserialize)]
struct Container {
    message_ts: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    ts: String,
}

#[derive(Deserialize)]
struct ActionTaken {
    action_id: String,
    value: Option<String>,
}

impl BlockActions {
    fn read(self) -> Result<Callback, CallbackError> {
        let action = self.actions.into_iter().next().ok_or(CallbackError::Missing("actions"))?;
        let button = Button::from_name(&action.action_id);
        let button = button.ok_or_else(|| CallbackError::UnknownAction(shortened(action.action_id)))?;
        let in_container = self.container.and_then(|container| container.message_ts);
        Ok(Callback::Click(Click {
            user: self.user.read(),
            channel: self.channel.map(|channel| channel.id),
            message_ts: self.message.map(|message| message.ts).or(in_container),
            response_url: self.response_url,
            trigger_id: self.trigger_id,
            button,
            notice: action.value.filter(|value| !value.is_empty()).ok_or(CallbackError::Missing("value"))?,
        }))
    }
}

#[derive(Deserialize)]
struct ViewSubmission {
    user: User,
    view: View,
}

#[derive(Deserialize)]
struct View {
    callback_id: String,
    #[serde(default)]
    private_metadata: String,
    state: State,
}

#[derive(Deserialize)]
struct State {
    values: Inputs,
}

#[derive(Deserialize)]
struct Inputs {
    amount: Option<AmountBlock>,
    reason: Option<ReasonBlock>,
}

#[derive(Deserialize)]
struct AmountBlock {
    amount: Input,
}

#[derive(Deserialize)]
struct ReasonBlock {
    reason: Input,
}

#[derive(Deserialize)]
struct Input {
    /// `null` where nothing was typed.
    value: Option<String>,
}

impl ViewSubmission {
    fn read(self) -> Result<Callback, CallbackError> {
        let View { callback_id, private_metadata, state: State { values } } = self.view;
        if callback_id != EXTENSION {
            return Err(CallbackError::UnknownView(shortened(callback_id)));
        }
        if private_metadata.is_empty() {
            return Err(CallbackError::Missing("private_metadata"));
        }
        let amount = values.amount.ok_or(CallbackError::Missing(Field::Amount.name()))?.amount;
        let reason = values.reason.ok_or(CallbackError::Missing(Field::Reason.name()))?.reason;
        Ok(Callback::Extension(ExtensionForm {
            user: self.user.read(),
            alert: private_metadata,
            amount: amount.value.unwrap_or_default(),
            reason: reason.value.unwrap_or_default(),
        }))
    }
}
