//! Why one event of a request is refused.

use std::fmt;

use serde::Serialize;

/// Why one event was refused; the others of its request are not touched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize)]
#[error("{field}: {detail}")]
pub struct ItemError {
    /// What kind of problem, a stable kebab-case name.
    pub r#type: &'static str,
    /// The field, as a path (`tags.team`); empty where the whole item is at fault.
    pub field: String,
    /// In words, with the remedy.
    pub detail: String,
    /// The line of the body that it stands on, from 1, where each line is an event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// The event's id, where it could be read.
    #[serde(skip)]
    pub event_id: Option<String>,
}

impl ItemError {
    pub(crate) fn new(problem: Problem, field: impl fmt::Display, detail: impl Into<String>) -> Self {
        Self { r#type: problem.name(), field: field.to_string(), detail: detail.into(), line: None, event_id: None }
    }
}

/// The kinds of problems. Their names are part of the contract: clients branch on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    MissingField,
    UnknownField,
    DuplicateField,
    NotAnObject,
    NotAString,
    NotAnInteger,
    NotANumber,
    NotATime,
    Negative,
    TooPrecise,
    TooLarge,
    TooLong,
    TooMany,
    Empty,
    ControlCharacter,
    UnknownValue,
    UnknownTag,
    UnknownCurrency,
    TooOld,
    InTheFuture,
    NotJson,
    NotUtf8,
    BothUsageForms,
    UnknownUsageForm,
    AmbiguousUsage,
    NegativeClass,
}

impl Problem {
    const fn name(self) -> &'static str {
        match self {
            Self::MissingField => "missing-field",
            Self::UnknownField => "unknown-field",
            Self::DuplicateField => "duplicate-field",
            Self::NotAnObject => "not-an-object",
            Self::NotAString => "not-a-string",
            Self::NotAnInteger => "not-an-integer",
            Self::NotANumber => "not-a-number",
            Self::NotATime => "not-a-time",
            Self::Negative => "negative",
            Self::TooPrecise => "too-precise",
            Self::TooLarge => "too-large",
            Self::TooLong => "too-long",
            Self::TooMany => "too-many",
            Self::Empty => "empty",
            Self::ControlCharacter => "control-character",
            Self::UnknownValue => "unknown-value",
            Self::UnknownTag => "unknown-tag",
            Self::UnknownCurrency => "unknown-currency",
            Self::TooOld => "too-old",
            Self::InTheFuture => "in-the-future",
            Self::NotJson => "not-json",
            Self::NotUtf8 => "not-utf8",
            Self::BothUsageForms => "both-usage-forms",
            Self::UnknownUsageForm => "unknown-usage-form",
            Self::AmbiguousUsage => "ambiguous-usage",
            Self::NegativeClass => "negative-class",
        }
    }
}

/// Where a value stands: a field, or a field inside another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At<'a> {
    parent: &'a str,
    name: &'a str,
}

impl<'a> At<'a> {
    pub(crate) const fn top(name: &'a str) -> Self {
        Self { parent: "", name }
    }

    pub(crate) const fn inside(parent: &'a str, name: &'a str) -> Self {
        Self { parent, name }
    }
}

impl fmt::Display for At<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = shown(self.name);
        if self.parent.is_empty() { out.write_str(&name) } else { write!(out, "{}.{name}", shown(self.parent)) }
    }
}

/// Characters of a client's text that an error repeats.
const SHOWN_CHARS_MAX: usize = 96;

/// A client's text as an error may repeat it: bounded, and without control characters.
pub(crate) fn shown(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(SHOWN_CHARS_MAX)
        .map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c })
        .collect();
    if shown.len() < text.len() && text.chars().nth(SHOWN_CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown
}
