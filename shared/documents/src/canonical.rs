//! Canonical JSON: keys sorted, no blanks, UTF-8, no floats; the form that is hashed.

use recoup_model::Digest;
use serde::Serialize;
use serde_json::Value;

/// The canonical JSON of a value: object keys sorted by their bytes, no blanks, only the escapes that JSON requires.
/// Numbers are integers only, since amounts are strings. Documents always have one; what has none gives `null`.
///
/// ```
/// let value = serde_json::json!({"b": "é\n", "a": [1, null]});
/// assert_eq!(recoup_documents::canonical_json(&value), "{\"a\":[1,null],\"b\":\"é\\n\"}".as_bytes());
/// ```
#[must_use]
pub fn canonical_json(value: &impl Serialize) -> Vec<u8> {
    let mut value = serde_json::to_value(value).unwrap_or(Value::Null);
    // serde_json keeps the order of insertion as soon as any crate of the build asks it to.
    value.sort_all_objects();
    value.to_string().into_bytes()
}

/// SHA-256 of the canonical JSON of a value.
#[must_use]
pub fn digest(value: &impl Serialize) -> Digest {
    Digest::of(&canonical_json(value))
}

#[cfg(test)]
mod tests {
    use serde::Serialize;

    use super::canonical_json;

    #[derive(Serialize)]
    struct Unsorted {
        b: u8,
        a: &'static str,
        nested: Inner,
    }

    #[derive(Serialize)]
    struct Inner {
        z: u8,
        y: u8,
    }

    #[test]
    fn clo_5_keys_are_sorted_and_nothing_is_blank() {
        let value = Unsorted { b: 1, a: "\u{e4}", nested: Inner { z: 1, y: 2 } };
        assert_eq!(canonical_json(&value), "{\"a\":\"\u{e4}\",\"b\":1,\"nested\":{\"y\":2,\"z\":1}}".as_bytes());
    }
}
