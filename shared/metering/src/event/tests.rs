#![expect(clippy::unwrap_used, reason = "tests")]
use proptest::prelude::*;
use recoup_money::{Amount, Currency};

use super::*;

/// 2026-10-15T12:00:00Z.
const NOW_NS: i64 = 1_792_065_600_000_000_000;

fn read(text: &str) -> Result<Event, ItemError> {
    read_event(text, &Rules { now_ns: NOW_NS, extra_tags: &[Id::from("campaign")] })
}

fn with(rest: &str) -> String {
    format!(r#"{{"event_id":"e1","used_at":"2026-10-15T10:00:00Z","kind":"llm"{rest}}}"#)
}

fn problem(text: &str) -> (&'static str, String) {
    let error = read(text).unwrap_err();
    assert!(error.detail.len() > 10, "{error}");
    (error.r#type, error.field)
}

const FULL: &[(&str, &str)] = &[
    ("event_id", "\"e1\""),
    ("trace_id", "\"t1\""),
    ("parent_id", "\"e0\""),
    ("used_at", "\"2026-10-15T12:00:00.123456789+02:00\""),
    ("duration_ms", "1500"),
    ("kind", "\"llm\""),
    (
        "tags",
        r#"{"agent":"triage","task_type":"resolve_ticket","task_id":"k","user":"u17","team":"support","project":"p","campaign":"c"}"#,
    ),
    ("priority", "\"critical\""),
    ("status", "\"ok\""),
    ("provider", "\"vertex_ai\""),
    ("model", "\"gemini-2.5-pro\""),
    ("service_tier", "\"default\""),
    ("usage", r#"{"input":2,"cache_read":47105,"cache_write_5m":1076,"output":714}"#),
    ("sku", "\"example.search\""),
    ("quantity", "\"3.5\""),
    ("unit", "\"call\""),
    ("cost", r#"{"amount":"0.0125","currency":"EUR"}"#),
    ("response_id", "\"r\""),
    ("retry_of", "\"e\\u0039\""),
    ("supersedes", "\"e8\""),
    ("reservation_id", "\"v\""),
];

fn object(fields: &[(&str, &str)]) -> String {
    let fields: Vec<String> = fields.iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
    format!("{{ {} }}", fields.join(" , "))
}

#[test]
fn evt_1_every_field_of_the_contract_arrives() {
    let id = |text: &str| Some(Id::from(text));
    let event = read(&object(FULL)).unwrap();
    let expected = Event {
        trace_id: id("t1"),
        event_id: Id::from("e1"),
        parent_id: id("e0"),
        used_at_ns: 1_792_058_400_123_456_789,
        duration_ms: Some(1500),
        kind: Kind::Llm,
        tags: Tags {
            agent: id("triage"),
            task_type: id("resolve_ticket"),
            task_id: id("k"),
            user: id("u17"),
            team: id("support"),
            project: id("p"),
            extra: [(Id::from("campaign"), Id::from("c"))].into(),
        },
        critical: true,
        status: Some(Status::Ok),
        provider: id("gcp.vertex_ai"),
        model: id("gemini-2.5-pro"),
        service_tier: id("standard"),
        usage: Some(
            Usage::NONE
                .with(TokenClass::Input, 2)
                .with(TokenClass::CacheRead, 47105)
                .with(TokenClass::CacheWrite5m, 1076)
                .with(TokenClass::Output, 714),
        ),
        quantity: Some(Quantity {
            sku: Id::from("example.search"),
            quantity: Amount::from_pico(3_500_000_000_000),
            unit: id("call"),
        }),
        reported: Some(Reported { amount: Amount::from_pico(12_500_000_000), currency: "EUR".parse().unwrap() }),
        response_id: id("r"),
        retry_of: id("e9"),
        supersedes: id("e8"),
        reservation_id: id("v"),
    };
    assert_eq!(event, expected);
}

#[test]
fn evt_1_the_table_names_the_fields_that_are_read() {
    let mut fields = Fields::default();
    for name in FIELD_NAMES {
        assert!(fields.slot(name).is_some(), "{name}");
    }
    let both = FULL.len() + 1;
    assert_eq!(FIELD_NAMES.len(), both, "FULL has every field but usage_native");
}

#[test]
fn evt_1_null_is_absent() {
    let nulls: String = FIELD_NAMES
        .iter()
        .filter(|name| !["event_id", "used_at", "kind"].contains(name))
        .map(|name| format!(",\"{name}\":null"))
        .collect();
    assert_eq!(read(&with(&nulls)).unwrap(), read(&with("")).unwrap());
    assert_eq!(read(&with(r#","tags":{"team":null}"#)).unwrap().tags, Tags::default());
    assert_eq!(problem(r#"{"event_id":null,"used_at":null}"#), ("missing-field", "event_id".to_owned()));
}

#[test]
fn evt_1_fields_are_checked_one_by_one() {
    let long_id = "x".repeat(129);
    let long_name = "x".repeat(257);
    for (rest, expected, field) in [
        (r#","usd_at":1"#.to_owned(), "unknown-field", "usd_at"),
        (r#","tags":{},"tags":{}"#.to_owned(), "duplicate-field", "tags"),
        (r#","tags":{"team":"a","team":"b"}"#.to_owned(), "duplicate-field", "tags.team"),
        (r#","usage":{"input":1,"input":1}"#.to_owned(), "duplicate-field", "usage.input"),
        (r#","tags":["support"]"#.to_owned(), "not-an-object", "tags"),
        (r#","usage":7"#.to_owned(), "not-an-object", "usage"),
        (r#","usage_native":"x""#.to_owned(), "not-an-object", "usage_native"),
        (r#","cost":"1.50""#.to_owned(), "not-an-object", "cost"),
        (r#","tags":{"team":7}"#.to_owned(), "not-a-string", "tags.team"),
        (r#","trace_id":7"#.to_owned(), "not-a-string", "trace_id"),
        (r#","trace_id":"""#.to_owned(), "empty", "trace_id"),
        (r#","tags":{"user":" "}"#.to_owned(), "empty", "tags.user"),
        (r#","parent_id":"a\u0000b""#.to_owned(), "control-character", "parent_id"),
        (format!(r#","response_id":"{long_id}""#), "too-long", "response_id"),
        (format!(r#","model":"{long_name}""#), "too-long", "model"),
        (format!(r#","tags":{{"agent":"{long_name}"}}"#), "too-long", "tags.agent"),
        (format!(r#","tags":{{"{}":"x"}}"#, "y".repeat(65)), "too-long", &format!("tags.{}", "y".repeat(65))),
        (r#","tags":{"colour":"red"}"#.to_owned(), "unknown-tag", "tags.colour"),
        (r#","duration_ms":1.5"#.to_owned(), "not-an-integer", "duration_ms"),
        (r#","duration_ms":-1"#.to_owned(), "negative", "duration_ms"),
        (r#","duration_ms":34560000001"#.to_owned(), "too-large", "duration_ms"),
        (r#","priority":"high""#.to_owned(), "unknown-value", "priority"),
        (r#","status":"failed""#.to_owned(), "unknown-value", "status"),
        (r#","usage":{"input":-5}"#.to_owned(), "negative", "usage.input"),
        (r#","usage":{"input":5.0}"#.to_owned(), "not-an-integer", "usage.input"),
        (r#","usage":{"input":1000000000001}"#.to_owned(), "too-large", "usage.input"),
        (r#","usage":{"cached":5}"#.to_owned(), "unknown-field", "usage.cached"),
        (r#","usage":{}"#.to_owned(), "empty", "usage"),
        (r#","usage":{"input":null}"#.to_owned(), "empty", "usage"),
        (r#","usage":{"input":1},"usage_native":{"prompt_tokens":1}"#.to_owned(), "both-usage-forms", "usage_native"),
        (r#","sku":"s""#.to_owned(), "missing-field", "quantity"),
        (r#","quantity":"1""#.to_owned(), "missing-field", "sku"),
        (r#","unit":"call""#.to_owned(), "missing-field", "sku"),
        (r#","sku":"s","quantity":"-1""#.to_owned(), "negative", "quantity"),
        (r#","sku":"s","quantity":1e400"#.to_owned(), "too-large", "quantity"),
        (r#","sku":"s","quantity":NaN"#.to_owned(), "not-a-number", ""),
        (r#","sku":"s","quantity":"many""#.to_owned(), "not-a-number", "quantity"),
        (r#","sku":"s","quantity":"1000000000000.5""#.to_owned(), "too-large", "quantity"),
        (r#","cost":{"amount":"-0.01","currency":"USD"}"#.to_owned(), "negative", "cost.amount"),
        (r#","cost":{"amount":"0.0000000000001","currency":"USD"}"#.to_owned(), "too-precise", "cost.amount"),
        (r#","cost":{"amount":"1","currency":"BTC"}"#.to_owned(), "unknown-currency", "cost.currency"),
        (r#","cost":{"amount":"1","currency":"usd"}"#.to_owned(), "unknown-currency", "cost.currency"),
        (r#","cost":{"amount":"1"}"#.to_owned(), "missing-field", "cost.currency"),
        (r#","cost":{"currency":"USD"}"#.to_owned(), "missing-field", "cost.amount"),
        (r#","cost":{"amount":"1","currency":"USD","tax":1}"#.to_owned(), "unknown-field", "cost.tax"),
        (r#","kind":"llm""#.to_owned(), "duplicate-field", "kind"),
        ("} ".to_owned(), "not-json", ""),
        (format!(",\"model\":\"{}\"", "x".repeat(EVENT_BYTES_MAX)), "too-large", ""),
    ] {
        assert_eq!(problem(&with(&rest)), (expected, field.to_owned()), "{}", shown(&rest));
    }
}

#[test]
fn evt_1_a_refusal_names_the_event_and_the_remedy() {
    let error = read(&with(r#","tags":{"colour":"red"}"#)).unwrap_err();
    assert_eq!(error.event_id.as_deref(), Some("e1"));
    assert!(error.detail.contains("policy.extra_tags"), "{error}");
    let error = read(&with(r#","timestamp":1"#)).unwrap_err();
    assert_eq!(error.event_id.as_deref(), Some("e1"));
    assert!(error.detail.contains("`used_at`"), "{error}");
    assert!(read(&with(r#","usage":{"imput":1}"#)).unwrap_err().detail.contains("`input`"));
    assert_eq!(read("5").unwrap_err().r#type, "not-an-object");
    assert_eq!(
        serde_json::to_string(&read(r#"{"used_at":"2026-10-15T10:00:00Z","kind":"llm"}"#).unwrap_err()).unwrap(),
        r#"{"type":"missing-field","field":"event_id","detail":"is missing: send an id that is unique inside the trace"}"#
    );
}

#[test]
fn evt_1_extra_tags_are_kept_where_the_organisation_allows_them_and_counted() {
    let allowed: Vec<Id> = (0..20).map(|n| Id::from(format!("x{n}"))).collect();
    let rules = Rules { now_ns: NOW_NS, extra_tags: &allowed };
    let tags = |n: usize| {
        let tags: Vec<String> = (0..n).map(|n| format!(r#""x{n}":"v""#)).collect();
        with(&format!(r#","tags":{{{}}}"#, tags.join(",")))
    };
    assert_eq!(read_event(&tags(16), &rules).unwrap().tags.extra.len(), 16);
    let error = read_event(&tags(17), &rules).unwrap_err();
    assert_eq!((error.r#type, error.field.as_str()), ("too-many", "tags"));
}

#[test]
fn evt_7_the_window_is_400_days_back_to_one_hour_ahead() {
    let at = |time: &str| read(&format!(r#"{{"event_id":"e","used_at":{time},"kind":"tool"}}"#));
    for (time, used_at_ns) in [
        ("\"2026-10-15T13:00:00Z\"", NOW_NS + NS_PER_HOUR),
        ("\"2025-09-10T12:00:00Z\"", NOW_NS - 400 * NS_PER_DAY),
        ("\"2026-10-15T12:00:00.000000001Z\"", NOW_NS + 1),
        ("\"2026-10-15T07:00:00-05:00\"", NOW_NS),
        ("\"2026-10-15t12:00:00z\"", NOW_NS),
    ] {
        assert_eq!(at(time).unwrap().used_at_ns, used_at_ns, "{time}");
    }
    for (time, expected) in [
        ("\"2026-10-15T13:00:00.000000001Z\"", "in-the-future"),
        ("\"2025-09-10T11:59:59.999999999Z\"", "too-old"),
        ("\"1970-01-01T00:00:00Z\"", "too-old"),
        ("\"0001-01-01T00:00:00Z\"", "too-old"),
        ("\"2100-01-01T00:00:00Z\"", "in-the-future"),
        ("\"9999-12-31T23:59:59Z\"", "in-the-future"),
        ("\"2026-10-15T12:00:00\"", "not-a-time"),
        ("\"2026-10-15\"", "not-a-time"),
        ("\"2026-02-30T12:00:00Z\"", "not-a-time"),
        ("\"yesterday\"", "not-a-time"),
        ("\"\"", "not-a-time"),
        ("1792065600", "not-a-time"),
        ("{}", "not-a-time"),
        ("null", "missing-field"),
    ] {
        let error = at(time).unwrap_err();
        assert_eq!((error.r#type, error.field.as_str()), (expected, "used_at"), "{time}: {error}");
    }
    let ages = Rules { now_ns: i64::MIN, extra_tags: &[] };
    assert_eq!(read_event(&with(""), &ages).unwrap_err().r#type, "in-the-future");
}

#[test]
fn evt_6_a_reported_cost_is_exact_and_never_negative() {
    for (amount, pico) in [("\"1.25e-07\"", 125_000), ("1.25e-07", 125_000), ("0", 0), ("\"0.1\"", 100_000_000_000)] {
        let event = read(&with(&format!(r#","cost":{{"currency":"USD","amount":{amount}}}"#))).unwrap();
        let reported = Reported { amount: Amount::from_pico(pico), currency: Currency::USD };
        assert_eq!(event.reported, Some(reported), "{amount}");
    }
}

#[test]
fn evt_1_each_kind_may_come_with_cost_quantity_or_nothing() {
    for kind in Kind::ALL {
        for rest in ["", r#","cost":{"amount":"1","currency":"USD"}"#, r#","sku":"s","quantity":2"#] {
            let text = format!(
                r#"{{"event_id":"e","used_at":"2026-10-15T10:00:00Z","kind":"{}","parent_id":"e"{rest}}}"#,
                kind.name()
            );
            assert_eq!(read(&text).unwrap().kind, kind);
        }
    }
    assert_eq!(problem(r#"{"event_id":"e","used_at":"2026-10-15T10:00:00Z"}"#), ("missing-field", "kind".to_owned()));
    let model = r#"{"event_id":"e","used_at":"2026-10-15T10:00:00Z","kind":"model"}"#;
    assert_eq!(problem(model), ("unknown-value", "kind".to_owned()));
}

#[test]
fn evt_4_the_native_object_is_read_by_the_provider_s_id() {
    let native = r#","usage_native":{"input_tokens":2,"cache_read_input_tokens":47105,"output_tokens":1}"#;
    let event = read(&with(&format!(r#"{native},"provider":"bedrock""#))).unwrap();
    assert_eq!(event.provider.as_deref(), Some("aws.bedrock"));
    assert_eq!(event.usage.unwrap().get(TokenClass::Input), 2);
    assert_eq!(problem(&with(native)), ("ambiguous-usage", "usage_native".to_owned()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn evt_1_the_order_of_keys_does_not_matter(fields in Just(FULL.to_vec()).prop_shuffle()) {
        prop_assert_eq!(read(&object(&fields)).unwrap(), read(&object(FULL)).unwrap());
    }

    #[test]
    fn evt_1_reading_a_damaged_event_never_panics(at in 0_usize..900, byte in any::<u8>(), cut in 0_usize..900) {
        let mut bytes = object(FULL).into_bytes();
        if let Some(slot) = bytes.get_mut(at) {
            *slot = byte;
        }
        let _ = read(&String::from_utf8_lossy(&bytes));
        bytes.truncate(cut);
        let _ = read(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn mon_1_reading_any_number_never_panics(number in "-?[0-9]{1,40}(\\.[0-9]{0,40})?([eE][-+]?[0-9]{1,12})?") {
        for field in ["\"sku\":\"s\",\"quantity\":", "\"duration_ms\":", "\"used_at\":", "\"usage\":{\"input\":"] {
            let close = if field.ends_with("input\":") { "}" } else { "" };
            let _ = read(&format!("{{\"event_id\":\"e\",\"kind\":\"llm\",{field}{number}{close}}}"));
            let _ = read(&format!("{{\"event_id\":\"e\",\"kind\":\"llm\",{field}\"{number}\"{close}}}"));
        }
    }
}
