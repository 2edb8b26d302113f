//! Canonical JSON: keys sorted, no blanks, UTF-8, no floats; the form that is hashed.

use serde::Serialize;
use serde_json::Value;

/// The canonical JSON of a value. Object keys are sorted by their bytes; numbers are integers only, since amounts are
/// strings.
#[must_use]
pub fn canonical_json(value: &impl Serialize) -> Vec<u8> {
    // serde_json's map is ordered by key, so that the detour over a value sorts every object.
    let value = serde_json::to_value(value).unwrap_or(Value::Null);
    serde_json::to_vec(&value).unwrap_or_default()
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
