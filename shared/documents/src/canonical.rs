//! Canonical JSON: keys sorted, no blanks, UTF-8, no floats; the form that is hashed.

use recoup_model::Digest;
use serde::Serialize;

use crate::sorted::Writer;

/// The canonical JSON of a value: object keys sorted by their bytes, no blanks, only the escapes that JSON requires.
/// Numbers are integers only, since amounts are strings. Documents always have one; what has none gives `null`.
///
/// ```
/// let value = serde_json::json!({"b": "é\n", "a": [1, null]});
/// assert_eq!(recoup_documents::canonical_json(&value), "{\"a\":[1,null],\"b\":\"é\\n\"}".as_bytes());
/// ```
#[must_use]
pub fn canonical_json(value: &impl Serialize) -> Vec<u8> {
    Writer::write(value).unwrap_or_else(|_| b"null".to_vec())
}

/// SHA-256 of the canonical JSON of a value.
#[must_use]
pub fn digest(value: &impl Serialize) -> Digest {
    Digest::of(&canonical_json(value))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde::Serialize;
    use serde_json::Value;

    use super::canonical_json;

    #[derive(Clone, Debug, Serialize)]
    enum Variant {
        Unit,
        New(i64),
        Pair(bool, char),
        Fields { z: Option<String>, a: () },
    }

    #[derive(Clone, Debug, Serialize)]
    struct Inner {
        z: Vec<Variant>,
        y: BTreeMap<i32, u64>,
        x: BTreeMap<String, (u8, String)>,
    }

    #[derive(Clone, Debug, Serialize)]
    struct Unsorted {
        b: u128,
        a: &'static str,
        #[serde(flatten)]
        inner: Inner,
        #[serde(skip_serializing_if = "Option::is_none")]
        m: Option<Box<Unsorted>>,
    }

    /// What a value that is built first, and then sorted, says.
    fn by_value(value: &impl Serialize) -> Vec<u8> {
        let mut value = serde_json::to_value(value).unwrap_or(Value::Null);
        value.sort_all_objects();
        value.to_string().into_bytes()
    }

    fn variants() -> impl Strategy<Value = Variant> {
        prop_oneof![
            Just(Variant::Unit),
            any::<i64>().prop_map(Variant::New),
            any::<(bool, char)>().prop_map(|(one, other)| Variant::Pair(one, other)),
            any::<Option<String>>().prop_map(|z| Variant::Fields { z, a: () }),
        ]
    }

    fn plain() -> impl Strategy<Value = Unsorted> {
        let inner = (
            prop::collection::vec(variants(), 0..4),
            prop::collection::btree_map(any::<i32>(), any::<u64>(), 0..4),
            prop::collection::btree_map("[a-c\"\\\\\u{1}\u{e4}]{0,3}", any::<(u8, String)>(), 0..4),
        );
        (inner, any::<u64>()).prop_map(|((z, y, x), b)| {
            let inner = Inner { z, y, x };
            Unsorted { b: u128::from(b), a: "\u{e4}\n", inner, m: None }
        })
    }

    fn values() -> impl Strategy<Value = Unsorted> {
        (plain(), prop::option::of(plain())).prop_map(|(one, m)| Unsorted { m: m.map(Box::new), ..one })
    }

    proptest! {
        #[test]
        fn clo_5_the_text_is_that_of_a_sorted_value(value in values()) {
            prop_assert_eq!(String::from_utf8(canonical_json(&value)), String::from_utf8(by_value(&value)));
            let again: Value = serde_json::from_slice(&by_value(&value)).unwrap();
            prop_assert_eq!(canonical_json(&again), by_value(&value));
        }
    }

    #[test]
    fn clo_5_what_has_no_text_is_null() {
        assert_eq!(canonical_json(&[1, u128::MAX]), b"null");
        assert_eq!(canonical_json(&BTreeMap::from([(vec![1], 2)])), b"null");
        assert_eq!(canonical_json(&Vec::<u8>::new()), b"[]");
        assert_eq!(canonical_json(&BTreeMap::<String, u8>::new()), b"{}");
    }
}
