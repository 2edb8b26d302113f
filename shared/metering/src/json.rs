//! Reading values out of raw JSON text, exactly, with the field named in every refusal.

use std::borrow::Cow;
use std::fmt;

use recoup_model::limits::UNITS_MAX;
use recoup_money::{Amount, AmountError, PICO_PER_UNIT};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::item::{At, ItemError, Problem, shown};

/// Members of one object that are looked at; no object of the contract or of a provider has as many.
const MEMBERS_MAX: usize = 64;

/// A member of an object: its name, and its value as text.
pub(crate) type Member<'a> = (Cow<'a, str>, &'a RawValue);

/// The members of an object in their order. Values that nobody asks for are never parsed.
struct Object<'a> {
    members: Vec<Member<'a>>,
    duplicate: Option<String>,
    surplus: usize,
}

struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrow;
        impl<'de> Visitor<'de> for Borrow {
            type Value = Name<'de>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Borrow)
    }
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Object<'de>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
                let mut object = Object { members: Vec::with_capacity(16), duplicate: None, surplus: 0 };
                while let Some(Name(name)) = map.next_key()? {
                    if object.members.len() >= MEMBERS_MAX {
                        map.next_value::<IgnoredAny>()?;
                        object.surplus = object.surplus.saturating_add(1);
                        continue;
                    }
                    let value = map.next_value::<&'de RawValue>()?;
                    if object.duplicate.is_none() && object.members.iter().any(|(known, _)| *known == name) {
                        object.duplicate = Some(name.clone().into_owned());
                    }
                    object.members.push((name, value));
                }
                Ok(object)
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

/// The members of the object that `text` is; `field` names it in refusals and is empty for the event itself.
pub(crate) fn members<'a>(text: &'a str, field: &str) -> Result<Vec<Member<'a>>, ItemError> {
    if !text.trim_start().starts_with('{') && serde_json::from_str::<&RawValue>(text).is_ok() {
        let detail = format!("is {}; it has to be an object", kind_of(text));
        return Err(ItemError::new(Problem::NotAnObject, field, detail));
    }
    let object: Object<'a> = serde_json::from_str(text).map_err(|error| not_json(text, &error, field))?;
    if let Some(name) = object.duplicate {
        let detail = format!("`{}` stands there twice; keep one", shown(&name));
        return Err(ItemError::new(Problem::DuplicateField, At::inside(field, &name), detail));
    }
    if object.surplus > 0 {
        let detail = format!("has more than {MEMBERS_MAX} members; leave out what is not in the contract");
        return Err(ItemError::new(Problem::TooMany, field, detail));
    }
    Ok(object.members)
}

fn not_json(text: &str, error: &serde_json::Error, field: &str) -> ItemError {
    let problem = if stands_for_no_number(text, error) { Problem::NotANumber } else { Problem::NotJson };
    ItemError::new(problem, field, format!("column {}: {}", error.column(), explain(text, error)))
}

/// What is wrong with a text that is not JSON, in words, without the position.
pub(crate) fn explain(text: &str, error: &serde_json::Error) -> String {
    if stands_for_no_number(text, error) {
        return "NaN and Infinity are no JSON; leave the field out, or send a decimal string".to_owned();
    }
    let words = error.to_string();
    let words = words.rsplit_once(" at line ").map_or(words.as_str(), |(words, _)| words);
    format!("{words}; send valid JSON")
}

/// Whether the parser stopped at a NaN or an infinity, as some writers print them.
fn stands_for_no_number(text: &str, error: &serde_json::Error) -> bool {
    let line = text.split('\n').nth(error.line().saturating_sub(1)).unwrap_or_default().as_bytes();
    // The parser names the column of the last byte it took, which may be the sign or the letter itself.
    (0..=2).any(|back| {
        line.get(error.column().saturating_sub(back)..).is_some_and(|rest| {
            [b"NaN".as_slice(), b"Infinity", b"-NaN", b"-Infinity"].iter().any(|name| rest.starts_with(name))
        })
    })
}

/// What sort of JSON value a text is, for refusals.
pub(crate) fn kind_of(text: &str) -> &'static str {
    match text.trim_start().bytes().next() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

/// Whether a value is `null`, which means that the field is absent.
pub(crate) fn is_null(value: &RawValue) -> bool {
    value.get() == "null"
}

/// The text of a JSON string, or `None` where the value is no string or no valid one.
pub(crate) fn string(value: &RawValue) -> Option<Cow<'_, str>> {
    let quoted = value.get();
    let inner = quoted.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        return serde_json::from_str(quoted).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(inner))
}

/// A name or id: not empty, printable, at most `bytes_max` bytes.
pub(crate) fn text<'a>(value: &'a RawValue, at: At<'_>, bytes_max: usize) -> Result<Cow<'a, str>, ItemError> {
    let Some(text) = string(value) else {
        let detail = match kind_of(value.get()) {
            "a string" => "is not valid text: a \\u escape has no partner; send the character itself".to_owned(),
            kind => format!("is {kind}; send a string"),
        };
        return Err(ItemError::new(Problem::NotAString, at, detail));
    };
    if text.trim().is_empty() {
        return Err(ItemError::new(Problem::Empty, at, "is empty; send a value or leave the field out"));
    }
    if text.len() > bytes_max {
        let detail = format!("has {} bytes, at most {bytes_max} are allowed; shorten it", text.len());
        return Err(ItemError::new(Problem::TooLong, at, detail));
    }
    if text.chars().any(char::is_control) {
        let detail = "has a control character; send printable characters only";
        return Err(ItemError::new(Problem::ControlCharacter, at, detail));
    }
    Ok(text)
}

/// A count: a JSON integer from 0 to `max`.
pub(crate) fn count(value: &RawValue, at: At<'_>, max: u64) -> Result<u64, ItemError> {
    let raw = value.get();
    let digits = raw.strip_prefix('-').unwrap_or(raw);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let detail = format!("{} is not a whole number; send a JSON integer such as 5, not 5.0 or \"5\"", shown(raw));
        return Err(ItemError::new(Problem::NotAnInteger, at, detail));
    }
    if digits.len() < raw.len() {
        return Err(ItemError::new(Problem::Negative, at, format!("{} is negative; send 0 or more", shown(raw))));
    }
    match raw.parse::<u64>() {
        Ok(count) if count <= max => Ok(count),
        _ => {
            let detail = format!("{} is more than {max}; split the event or correct the count", shown(raw));
            Err(ItemError::new(Problem::TooLarge, at, detail))
        }
    }
}

/// An exact decimal from 0 to the limit of units: a string, or a JSON number taken from its text (MON-1).
pub(crate) fn decimal(value: &RawValue, at: At<'_>) -> Result<Amount, ItemError> {
    let raw = value.get();
    let text = match kind_of(raw) {
        "a string" => string(value).unwrap_or_default(),
        "a number" => Cow::Borrowed(raw),
        kind => {
            let detail = format!("is {kind}; send a decimal string such as \"0.0125\"");
            return Err(ItemError::new(Problem::NotANumber, at, detail));
        }
    };
    let amount: Amount = text.parse().map_err(|error| decimal_error(&text, at, &error))?;
    if amount < Amount::ZERO {
        return Err(ItemError::new(Problem::Negative, at, format!("{} is negative; send 0 or more", shown(&text))));
    }
    if UNITS_MAX.checked_mul(PICO_PER_UNIT).is_none_or(|most| amount.pico() > most) {
        let detail = format!("{} is more than {UNITS_MAX}; correct it", shown(&text));
        return Err(ItemError::new(Problem::TooLarge, at, detail));
    }
    Ok(amount)
}

fn decimal_error(text: &str, at: At<'_>, error: &AmountError) -> ItemError {
    let text = shown(text);
    let (problem, detail) = match error {
        AmountError::NotDecimal => {
            (Problem::NotANumber, format!("`{text}` {error}; send a decimal string such as \"0.0125\""))
        }
        AmountError::TooPrecise => {
            (Problem::TooPrecise, format!("`{text}` {error}; round it to 12 fraction digits at its source"))
        }
        AmountError::TooLarge => (Problem::TooLarge, format!("`{text}` is more than {UNITS_MAX}; correct it")),
    };
    ItemError::new(problem, at, detail)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn raw(text: &str) -> &RawValue {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn evt_4_a_count_is_a_json_integer() {
        let at = At::top("n");
        assert_eq!(count(raw("5"), at, 10).unwrap(), 5);
        for (text, problem) in [
            ("5.0", "not-an-integer"),
            ("5e0", "not-an-integer"),
            ("\"5\"", "not-an-integer"),
            ("true", "not-an-integer"),
            ("[]", "not-an-integer"),
            ("-5", "negative"),
            ("11", "too-large"),
            ("18446744073709551616", "too-large"),
        ] {
            assert_eq!(count(raw(text), at, 10).unwrap_err().r#type, problem, "{text}");
        }
    }

    #[test]
    fn mon_1_a_decimal_is_taken_from_its_text() {
        let at = At::top("n");
        for (text, pico) in [
            ("\"0.000000000001\"", 1),
            ("1.25e-07", 125_000),
            ("0.1", 100_000_000_000),
            ("\"1000000000000\"", 1_000_000_000_000_000_000_000_000),
            ("-0", 0),
        ] {
            assert_eq!(decimal(raw(text), at).unwrap().pico(), pico, "{text}");
        }
        for (text, problem) in [
            ("\"NaN\"", "not-a-number"),
            ("\"Infinity\"", "not-a-number"),
            ("\"\"", "not-a-number"),
            ("\" 1\"", "not-a-number"),
            ("{}", "not-a-number"),
            ("null", "not-a-number"),
            ("1e400", "too-large"),
            ("1e99999999999", "too-large"),
            ("\"123456789012345678901234567890123456789012345678\"", "too-large"),
            ("\"1.2.3456789012345678901234567890123456789\"", "not-a-number"),
            ("1000000000000.000000000001", "too-large"),
            ("-0.01", "negative"),
            ("0.0000000000001", "too-precise"),
        ] {
            let error = decimal(raw(text), at).unwrap_err();
            assert_eq!(error.r#type, problem, "{text}");
            let names_limit = error.detail.contains(&format!("is more than {UNITS_MAX}"));
            assert_eq!(names_limit, problem == "too-large", "{}", error.detail);
        }
    }

    #[test]
    fn evt_2_an_id_is_printable_text() {
        let at = At::top("event_id");
        assert_eq!(text(raw("\"a\\u00e9\""), at, 8).unwrap(), "aé");
        for (value, problem) in [
            ("\"\"", "empty"),
            ("\"  \"", "empty"),
            ("\"123456789\"", "too-long"),
            ("\"a\\nb\"", "control-character"),
            ("\"a\u{7f}\"", "control-character"),
            ("\"\\ud800\"", "not-a-string"),
            ("7", "not-a-string"),
        ] {
            assert_eq!(text(raw(value), at, 8).unwrap_err().r#type, problem, "{value}");
        }
    }

    #[test]
    fn evt_1_members_are_told_apart_after_unescaping() {
        assert_eq!(members(r#"{"a":1,"\u0061":2}"#, "").unwrap_err().r#type, "duplicate-field");
        assert_eq!(members("[]", "x").unwrap_err().r#type, "not-an-object");
        let many: String = (0..=MEMBERS_MAX).map(|n| format!("\"k{n}\":0,")).collect();
        assert_eq!(members(&format!("{{{many}\"z\":0}}"), "").unwrap_err().r#type, "too-many");
    }

    #[test]
    fn mon_1_nan_is_named() {
        for text in [r#"{"a":NaN}"#, r#"{"a": -Infinity}"#, r#"{"a":Infinity,"b":1}"#] {
            let error = members(text, "").unwrap_err();
            assert_eq!(error.r#type, "not-a-number", "{error}");
        }
        assert_eq!(members(r#"{"a":nope,"N":"NaN"}"#, "").unwrap_err().r#type, "not-json");
    }
}
