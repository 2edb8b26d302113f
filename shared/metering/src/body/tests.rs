#![expect(clippy::unwrap_used, reason = "tests")]
use proptest::prelude::*;

use super::*;

/// 2026-10-15T12:00:00Z.
const RULES: Rules<'static> = Rules { now_ns: 1_792_065_600_000_000_000, extra_tags: &[] };

fn event(id: &str) -> String {
    format!(r#"{{"event_id":"{id}","used_at":"2026-10-15T10:00:00Z","kind":"tool","sku":"s","quantity":"1"}}"#)
}

fn read(body: impl AsRef<[u8]>, shape: Shape) -> Result<Items, BodyError> {
    read_events(body.as_ref(), shape, &RULES)
}

/// Ids of what was read, and the kinds of problems of what was not.
fn outcome(body: impl AsRef<[u8]>, shape: Shape) -> Vec<String> {
    let items = read(body, shape).unwrap();
    items
        .into_iter()
        .map(|item| item.map_or_else(|error| error.r#type.to_owned(), |e| e.event_id.to_string()))
        .collect()
}

#[test]
fn evt_1_one_object_an_array_and_lines_say_the_same() {
    let (a, b) = (event("a"), event("b"));
    assert_eq!(outcome(&a, Shape::Json), ["a"]);
    assert_eq!(outcome(format!(" {a}\n"), Shape::Json), ["a"]);
    assert_eq!(outcome(format!("\u{feff}{a}"), Shape::Json), ["a"]);
    assert_eq!(outcome(a.replace(',', ",\n  "), Shape::Json), ["a"]);
    assert_eq!(outcome(&a, Shape::Ndjson), ["a"]);
    assert_eq!(outcome(format!("[{a},\n{b}]"), Shape::Json), ["a", "b"]);
    assert_eq!(outcome("[]", Shape::Json), [""; 0]);
    for shape in [Shape::Json, Shape::Ndjson] {
        assert_eq!(outcome(format!("{a}\n{b}"), shape), ["a", "b"]);
        assert_eq!(outcome(format!("\r\n{a}\r\n\r\n \t\n{b}\r\n"), shape), ["a", "b"]);
    }
}

#[test]
fn evt_1_a_bad_element_of_an_array_spares_the_others() {
    let (a, b) = (event("a"), event("b"));
    let large = event(&"x".repeat(EVENT_BYTES_MAX));
    let bad = r#"{"event_id":"c","event_id":"c"}"#;
    assert_eq!(
        outcome(format!("[{a},5,{bad},{large},null,[{a}],{b}]"), Shape::Json),
        ["a", "not-an-object", "duplicate-field", "too-large", "not-an-object", "not-an-object", "b"]
    );
}

#[test]
fn evt_1_a_broken_object_or_array_refuses_the_body() {
    let a = event("a");
    for (body, line, column) in [
        (format!("[{a},\n{{\"event_id\":}}]"), 2, 13),
        (format!("[{a}"), 1, a.len() + 1),
        (format!("[{a}] x"), 1, a.len() + 4),
        (format!("[{a},]"), 1, a.len() + 3),
        (a.replace("\"1\"", "NaN"), 1, a.len() - 3),
        ("nonsense".to_owned(), 1, 2),
    ] {
        match read(&body, Shape::Json).unwrap_err() {
            BodyError::NotJson { line: at_line, column: at_column, .. } => {
                assert_eq!((at_line, at_column), (line, column), "{body}");
            }
            other => unreachable!("{body}: {other}"),
        }
    }
    let error = read(format!("[{}]", a.replace("\"1\"", "NaN")), Shape::Json).unwrap_err();
    assert_eq!(error.type_name(), "not-json");
    assert!(error.to_string().contains("NaN and Infinity are no JSON"), "{error}");
}

#[test]
fn evt_1_a_broken_line_spares_the_others() {
    let mut lines: Vec<String> = (1..=1000).map(|n| event(&n.to_string())).collect();
    for (broken, expected) in [
        ("{\"event_id\":\"3\",".to_owned(), "not-json"),
        ("nonsense".to_owned(), "not-json"),
        (event("3").replace("\"1\"", "NaN"), "not-a-number"),
        (event("3").replace("\"1\"", "1e400"), "too-large"),
        (event(&"3".repeat(EVENT_BYTES_MAX)), "too-large"),
        (format!("[{}]", event("3")), "not-an-object"),
        (format!("{}{}", event("3"), event("3")), "not-json"),
    ] {
        *lines.get_mut(2).unwrap() = broken;
        let items = read(lines.join("\n"), Shape::Ndjson).unwrap();
        let bad: Vec<_> = items.iter().enumerate().filter(|(_, item)| item.is_err()).collect();
        let [(2, Err(error))] = bad.as_slice() else { unreachable!("{expected}: {bad:?}") };
        assert_eq!(error.r#type, expected);
        assert_eq!(error.line, Some(3), "{error}");
        assert!(!error.detail.contains("line"), "{error}");
        assert_eq!(items.len(), 1000);
    }
}

#[test]
fn evt_1_a_broken_first_line_without_content_type_is_still_lines() {
    let (a, b) = (event("a").replace("\"1\"", "NaN"), event("b"));
    assert_eq!(outcome(format!("{a}\n{b}\n"), Shape::Json), ["not-a-number", "b"]);
    assert_eq!(outcome(format!("{b}{b}"), Shape::Json), ["not-json"]);
    let pretty = "{\n\"tags\":\n{\"team\":\"a\"}\n{\"x\":1}\n}";
    assert_eq!(read(pretty, Shape::Json).unwrap_err().type_name(), "not-json");
}

#[test]
fn evt_1_bytes_that_are_no_utf8_spoil_their_line_or_the_body() {
    let broken = [event("x").into_bytes(), b"\xff".to_vec()].concat();
    let spoil = |text: String| -> Vec<u8> {
        text.into_bytes().into_iter().map(|byte| if byte == b'#' { 0xff } else { byte }).collect()
    };
    let lines = spoil(format!("{}\n{}\n{}", event("a"), event("#"), event("c")));
    for shape in [Shape::Json, Shape::Ndjson] {
        assert_eq!(outcome(&lines, shape), ["a", "not-utf8", "c"]);
    }
    let array = spoil(format!("[{},{}]", event("a"), event("#")));
    assert_eq!(read(array, Shape::Json).unwrap_err(), BodyError::NotUtf8 { offset: event("a").len() + 15 });
    assert_eq!(read(broken, Shape::Json).unwrap_err().type_name(), "not-utf8");
}

#[test]
fn evt_1_a_request_has_a_limit_of_events() {
    let events = |n: usize| vec![event("a"); n];
    let limit = REQUEST_EVENTS_MAX;
    assert_eq!(read(events(limit).join("\n\n"), Shape::Ndjson).unwrap().len(), limit);
    let array = |n: usize| format!("[{}]", events(n).join(","));
    assert_eq!(read(array(limit), Shape::Json).unwrap().len(), limit);
    let error = BodyError::TooManyEvents { events: limit + 5, max: limit };
    assert_eq!(read(events(limit + 5).join("\n"), Shape::Ndjson).unwrap_err(), error);
    assert_eq!(read(array(limit + 5), Shape::Json).unwrap_err(), error);
    let broken_behind = array(limit + 5).replace(']', "");
    assert_eq!(read(broken_behind, Shape::Json).unwrap_err().type_name(), "not-json");
}

#[test]
fn evt_1_a_body_without_events_says_so() {
    for (body, shape, name) in [
        ("", Shape::Json, "empty-body"),
        (" \n ", Shape::Json, "empty-body"),
        ("\n\n", Shape::Ndjson, "empty-body"),
        ("\u{feff}", Shape::Json, "empty-body"),
        ("5", Shape::Json, "not-an-event"),
        ("\"event\"", Shape::Json, "not-an-event"),
        ("null", Shape::Json, "not-an-event"),
    ] {
        let error = read(body, shape).unwrap_err();
        assert_eq!(error.type_name(), name, "{body}");
        assert!(error.to_string().starts_with("the body is "), "{error}");
    }
}

#[test]
fn evt_1_the_content_type_names_the_shape() {
    for (content_type, shape) in [
        ("application/json", Shape::Json),
        ("application/x-ndjson", Shape::Ndjson),
        ("Application/NDJSON; charset=utf-8", Shape::Ndjson),
        ("application/jsonl", Shape::Ndjson),
        ("text/plain", Shape::Json),
    ] {
        assert_eq!(Shape::from_content_type(Some(content_type)), shape, "{content_type}");
    }
}

#[test]
fn evt_1_depth_cannot_exhaust_the_stack() {
    let deep = "[".repeat(1_000_000);
    assert_eq!(read(&deep, Shape::Json).unwrap_err().type_name(), "not-json");
    let deep = format!("{}{}", "{\"a\":".repeat(10_000), "}".repeat(10_000));
    assert!(read(deep, Shape::Json).is_err());
    let closed = format!("{{\"usage_native\":{}{}}}", "{\"a\":[".repeat(10_000), "]}".repeat(10_000));
    assert_eq!(outcome(closed, Shape::Json), ["too-large"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn evt_1_reading_any_bytes_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&bytes, Shape::Json);
        let _ = read(&bytes, Shape::Ndjson);
    }

    #[test]
    fn evt_1_reading_any_json_like_text_never_panics(text in r#"([\[\]{}:,"\\ \n]|event_id|tags|usage_native|used_at|kind|llm|NaN|-1|1e9|null|_tokens|\\u00){0,60}"#) {
        let _ = read(&text, Shape::Json);
        let _ = read(&text, Shape::Ndjson);
    }

    #[test]
    fn evt_1_lines_are_read_each_on_its_own(
        picks in prop::collection::vec(0_usize..4, 1..20),
    ) {
        let sorts = [event("a"), "{broken".to_owned(), event("b").replace("tool", "x"), "{}".to_owned()];
        let lines: Vec<&str> = picks.iter().map(|pick| sorts.get(*pick).unwrap().as_str()).collect();
        let alone: Vec<String> = lines.iter().flat_map(|line| outcome(line, Shape::Ndjson)).collect();
        prop_assert_eq!(outcome(lines.join("\n"), Shape::Ndjson), alone);
    }
}
