//! What is wrong with a body of JSON, in words and with the field that it is about.

use serde::de::DeserializeOwned;
use serde_json::error::Category;

use crate::problem::Problem;

/// The field of what is wrong with a body as a whole.
const BODY: &str = "body";

/// Reads JSON. `kind` is that of the problem, `shape` what somebody should write who wrote something else.
pub(crate) fn read<T: DeserializeOwned>(bytes: &[u8], kind: &'static str, shape: &str) -> Result<T, Problem> {
    // Every body here is an object; serde would take an array for one, field by field in order.
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        return Err(Problem::invalid(
            kind,
            BODY,
            format!("the body is an array, it has to be an object; write {shape}"),
        ));
    }
    serde_json::from_slice(bytes).map_err(|error| {
        let (field, detail) = match error.classify() {
            Category::Data => of_data::<T>(bytes).unwrap_or_else(|| (BODY.to_owned(), words(&error.to_string()))),
            Category::Eof if bytes.is_empty() => (BODY.to_owned(), "the body is empty".to_owned()),
            Category::Syntax | Category::Eof | Category::Io => {
                (BODY.to_owned(), format!("the body is no JSON: {error}"))
            }
        };
        Problem::invalid(kind, &field, format!("{detail}; write {shape}"))
    })
}

/// The same error with the path to where it is; looking for it costs more than reading.
fn of_data<T: DeserializeOwned>(bytes: &[u8]) -> Option<(String, String)> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let error = serde_path_to_error::deserialize::<_, T>(&mut json).err()?;
    let path = error.path().to_string();
    let message = error.inner().to_string();
    // A field that is missing or not known is named by the message, what it lies in by the path.
    let named = ["missing field `", "unknown field `"].into_iter().find_map(|start| message.strip_prefix(start));
    let named = named.and_then(|rest| rest.split('`').next()).unwrap_or_default();
    let field = match path.trim_start_matches('.') {
        "" if named.is_empty() => BODY.to_owned(),
        "" => named.to_owned(),
        // The path to a field that is not known names it already.
        path if path.rsplit('.').next() == Some(named) || named.is_empty() => path.to_owned(),
        path => format!("{path}.{named}"),
    };
    Some((field, words(&message)))
}

/// What `serde` says in the words of JSON.
fn words(message: &str) -> String {
    let message = message.rsplit_once(" at line ").map_or(message, |(message, _)| message);
    for (start, what) in [("invalid type: ", "is of the wrong type"), ("invalid value: ", "is out of range")] {
        if let Some((found, expected)) = message.strip_prefix(start).and_then(|rest| rest.split_once(", expected ")) {
            return format!("{found} {what}, it has to be {}", json_type(expected));
        }
    }
    if let Some(field) = message.strip_prefix("missing field ") {
        return format!("{field} is missing");
    }
    for (start, what) in [("unknown field ", "is no field here"), ("unknown variant ", "is not known here")] {
        if let Some((found, known)) = message.strip_prefix(start).and_then(|rest| rest.split_once(", ")) {
            let known =
                known.strip_prefix("expected one of ").or_else(|| known.strip_prefix("expected ")).unwrap_or(known);
            return format!("{found} {what}; known: {known}");
        }
    }
    message.to_owned()
}

/// A Rust type as JSON has it.
fn json_type(expected: &str) -> &str {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number that is not negative",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "a sequence" => "a list",
        "a map" => "an object",
        "a boolean" => "true or false",
        _ if expected.starts_with("struct ") || expected.starts_with("internally tagged enum") => "an object",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Wanted {
        #[expect(dead_code, reason = "it is only read")]
        estimate: Estimate,
        #[serde(default)]
        #[expect(dead_code, reason = "it is only read")]
        kind: Kind,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Estimate {
        #[expect(dead_code, reason = "it is only read")]
        amount: String,
        #[serde(default)]
        #[expect(dead_code, reason = "it is only read")]
        input_tokens: Option<u64>,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Kind {
        #[default]
        Nightly,
        Close,
    }

    #[test]
    fn a_problem_names_the_field_and_speaks_of_json() {
        for (body, field, said) in [
            ("", "body", "the body is empty; write"),
            ("{", "body", "the body is no JSON: EOF"),
            ("[]", "body", "the body is an array, it has to be an object; write"),
            (
                "{\"estimate\":{\"amount\":5}}",
                "estimate.amount",
                "integer `5` is of the wrong type, it has to be a string",
            ),
            (
                "{\"estimate\":{\"amount\":\"5\",\"input_tokens\":-12000}}",
                "estimate.input_tokens",
                "integer `-12000` is out of range, it has to be a whole number that is not negative",
            ),
            ("{\"estimate\":{}}", "estimate.amount", "`amount` is missing"),
            ("{}", "estimate", "`estimate` is missing"),
            ("{\"estimate\":[1]}", "estimate[0]", "integer `1` is of the wrong type, it has to be a string"),
            (
                "{\"estimate\":{\"amount\":\"1\"},\"kind\":\"x\"}",
                "kind",
                "`x` is not known here; known: `nightly` or `close`",
            ),
            (
                "{\"estimate\":{\"amount\":\"1\",\"amout\":\"1\"}}",
                "estimate.amout",
                "`amout` is no field here; known: `amount` or `input_tokens`",
            ),
        ] {
            let problem = read::<Wanted>(body.as_bytes(), "invalid-request", "{}").unwrap_err();
            let told = serde_json::to_value(&problem).unwrap();
            let of = |name: &str| told.get(name).and_then(serde_json::Value::as_str).unwrap();
            assert_eq!(of("field"), field, "{body}: {told}");
            assert!(of("detail").starts_with(said), "{body}: {told}");
        }
    }
}
