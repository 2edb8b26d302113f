//! The body of a request: one object, an array of objects, or one object per line (NDJSON).

use std::fmt;

use recoup_model::Event;
use recoup_model::limits::{EVENT_BYTES_MAX, REQUEST_EVENTS_MAX};
use serde::de::{Deserialize, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::event::{Rules, read_event};
use crate::item::{ItemError, Problem};
use crate::json::{explain, kind_of};

/// What a body says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One object or an array; several lines of objects are told apart and read as [`Shape::Ndjson`].
    Json,
    /// One object per line; blank lines do not count.
    Ndjson,
}

impl Shape {
    /// The shape that a `Content-Type` names; [`Shape::Json`] for none or an unknown one.
    ///
    /// ```
    /// use recoup_metering::Shape;
    /// assert_eq!(Shape::from_content_type(Some("application/x-ndjson; charset=utf-8")), Shape::Ndjson);
    /// assert_eq!(Shape::from_content_type(None), Shape::Json);
    /// ```
    #[must_use]
    pub fn from_content_type(content_type: Option<&str>) -> Self {
        const LINES: [&str; 5] = [
            "application/x-ndjson",
            "application/ndjson",
            "application/jsonl",
            "application/x-jsonlines",
            "application/jsonlines",
        ];
        let media_type = content_type.and_then(|text| text.split(';').next()).unwrap_or_default().trim();
        let lines = LINES.iter().any(|name| name.eq_ignore_ascii_case(media_type));
        if lines { Self::Ndjson } else { Self::Json }
    }
}

/// Why a body cannot be read at all: nothing of it is stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The body is empty or blank.
    #[error("the body is empty; send one event, an array of events, or one event per line")]
    Empty,
    /// The body is no text.
    #[error(
        "the body is not UTF-8 from byte {offset} on; encode it as UTF-8 (compressed bodies need Content-Encoding)"
    )]
    NotUtf8 {
        /// Bytes before the first that is wrong.
        offset: usize,
    },
    /// The object or the array is broken.
    #[error("the body is not JSON at line {line}, column {column}: {detail}")]
    NotJson {
        /// Line, from 1.
        line: usize,
        /// Column in bytes, from 1.
        column: usize,
        /// What is wrong, with the remedy.
        detail: String,
    },
    /// The body is JSON, but neither an object nor an array.
    #[error("the body is {found}; send an event object, an array of them, or one per line")]
    NotAnEvent {
        /// What it is.
        found: &'static str,
    },
    /// The body holds too many events.
    #[error("the body has {events} events, at most {max} are allowed in one request; send them in several")]
    TooManyEvents {
        /// How many.
        events: usize,
        /// How many are allowed.
        max: usize,
    },
}

impl BodyError {
    /// The stable kebab-case name of the problem.
    #[must_use]
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::Empty => "empty-body",
            Self::NotUtf8 { .. } => "not-utf8",
            Self::NotJson { .. } => "not-json",
            Self::NotAnEvent { .. } => "not-an-event",
            Self::TooManyEvents { .. } => "too-many-events",
        }
    }

    fn not_json(text: &str, error: &serde_json::Error) -> Self {
        Self::NotJson { line: error.line(), column: error.column(), detail: explain(text, error) }
    }

    const fn too_many(events: usize) -> Self {
        Self::TooManyEvents { events, max: REQUEST_EVENTS_MAX }
    }
}

/// What became of each event of a body, in its order.
pub type Items = Vec<Result<Event, ItemError>>;

/// Reads the events of a request's body, each on its own: a refused one does not touch the others.
///
/// In NDJSON a line that is no JSON or no UTF-8 is a refused event; an object or array that is broken refuses the body.
///
/// # Errors
/// [`BodyError`] where the body cannot be read at all: nothing of it may be stored.
pub fn read_events(body: &[u8], shape: Shape, rules: &Rules<'_>) -> Result<Items, BodyError> {
    let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body).trim_ascii_end();
    let start = body.trim_ascii_start();
    if start.is_empty() {
        return Err(BodyError::Empty);
    }
    if shape == Shape::Ndjson || is_objects_on_lines(start) {
        return read_lines(body, rules);
    }
    let text = std::str::from_utf8(body).map_err(|error| BodyError::NotUtf8 { offset: error.valid_up_to() })?;
    match start.first() {
        Some(b'[') => read_array(text, rules),
        Some(b'{') => read_object(text, rules),
        _ => {
            serde_json::from_str::<&RawValue>(text).map_err(|error| BodyError::not_json(text, &error))?;
            Err(BodyError::NotAnEvent { found: kind_of(text) })
        }
    }
}

/// Whether the first two lines that are not blank each begin an object and the first also ends one, which no single
/// JSON value does: NDJSON, even if the first line is broken.
fn is_objects_on_lines(start: &[u8]) -> bool {
    let mut lines = lines(start).map(|(_, line)| line);
    matches!((lines.next(), lines.next()), (Some([b'{', .., b'}']), Some([b'{', ..])))
}

/// The lines that are not blank, without surrounding blanks, with their numbers from 1.
fn lines(body: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    body.split(|byte| *byte == b'\n')
        .enumerate()
        .map(|(at, line)| (at.saturating_add(1), line.trim_ascii()))
        .filter(|(_, line)| !line.is_empty())
}

fn read_lines(body: &[u8], rules: &Rules<'_>) -> Result<Items, BodyError> {
    let events = lines(body).count();
    if events > REQUEST_EVENTS_MAX {
        return Err(BodyError::too_many(events));
    }
    let read = |(number, line)| read_line(line, rules).map_err(|error| ItemError { line: Some(number), ..error });
    Ok(lines(body).map(read).collect())
}

fn read_line(line: &[u8], rules: &Rules<'_>) -> Result<Event, ItemError> {
    if line.len() > EVENT_BYTES_MAX {
        let detail = format!("has {} bytes, at most {EVENT_BYTES_MAX} are allowed; shorten it", line.len());
        return Err(ItemError::new(Problem::TooLarge, "", detail));
    }
    let text = std::str::from_utf8(line).map_err(|error| {
        let detail = format!("is not UTF-8 from byte {} on; encode it as UTF-8", error.valid_up_to());
        ItemError::new(Problem::NotUtf8, "", detail)
    })?;
    read_event(text, rules)
}

fn read_object(text: &str, rules: &Rules<'_>) -> Result<Items, BodyError> {
    let mut parser = serde_json::Deserializer::from_str(text);
    let object = <&RawValue>::deserialize(&mut parser).map_err(|error| BodyError::not_json(text, &error))?;
    match parser.end() {
        Ok(()) => Ok(vec![read_event(object.get(), rules)]),
        Err(_) => read_lines(text.as_bytes(), rules),
    }
}

fn read_array(text: &str, rules: &Rules<'_>) -> Result<Items, BodyError> {
    let elements: Elements<'_> = serde_json::from_str(text).map_err(|error| BodyError::not_json(text, &error))?;
    if elements.count > REQUEST_EVENTS_MAX {
        return Err(BodyError::too_many(elements.count));
    }
    Ok(elements.first.into_iter().map(|element| read_event(element.get(), rules)).collect())
}

/// The elements of an array as text; those beyond the limit are only counted.
struct Elements<'a> {
    first: Vec<&'a RawValue>,
    count: usize,
}

impl<'de> Deserialize<'de> for Elements<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Elements<'de>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an array of events")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Elements<'de>, A::Error> {
                let mut first = Vec::new();
                while first.len() < REQUEST_EVENTS_MAX {
                    match elements.next_element()? {
                        Some(element) => first.push(element),
                        None => return Ok(Elements { count: first.len(), first }),
                    }
                }
                let mut count = first.len();
                while elements.next_element::<IgnoredAny>()?.is_some() {
                    count = count.saturating_add(1);
                }
                Ok(Elements { first, count })
            }
        }
        deserializer.deserialize_seq(Collect)
    }
}

#[cfg(test)]
mod tests;
