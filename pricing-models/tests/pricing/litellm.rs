//! The import of LiteLLM's price map.

use recoup_model::TokenClass;
use recoup_pricing::litellm::{Import, read};
use recoup_pricing::{Catalogue, Priced, RateTable, Tier};

use crate::support::{amount, at, day};

fn import(models: &str) -> Import {
    read(&format!("{{{models}}}"), day("2026-11-23")).unwrap()
}

fn reasons(import: &Import) -> Vec<(&str, &str, &str)> {
    import.not_understood.iter().map(|item| (item.model.as_str(), item.field.as_str(), &*item.reason)).collect()
}

fn rates(table: &RateTable) -> Vec<(TokenClass, String)> {
    table.per_million.iter().map(|(class, rate)| (*class, rate.to_string())).collect()
}

#[test]
fn rat_1_a_model_comes_with_its_classes_tiers_and_threshold() {
    let found = import(
        r#""gemini/gemini-2.5-pro": {
            "litellm_provider": "gemini", "mode": "chat", "max_tokens": 8192, "supports_vision": true, "source": "https://example.com",
            "input_cost_per_token": 1.25e-06, "output_cost_per_token": 0.00001, "cache_read_input_token_cost": 1.25e-07,
            "cache_creation_input_token_cost": 0, "cache_creation_input_token_cost_above_1hr": 6E-6,
            "output_cost_per_reasoning_token": 1e-5, "input_cost_per_audio_token": 7e-7,
            "input_cost_per_token_above_200k_tokens": 2.5e-06, "output_cost_per_token_above_200k_tokens": 1.5e-05,
            "input_cost_per_token_batches": 6.25e-07, "input_cost_per_token_above_200k_tokens_batches": 1.25e-06,
            "search_context_cost_per_query": {"search_context_size_low": 0.035},
            "input_cost_per_token_ultrafast": 1e-5, "brand_new_cost": 1
        }"#,
    );
    let entry = found.entries.first().unwrap();
    assert_eq!((entry.from_ns, entry.to_ns), (at("2026-11-23T00:00:00Z"), None));
    let Priced::Model(price) = &entry.priced else { unreachable!() };
    assert_eq!((&*price.provider, &*price.model), ("gcp.gemini", "gemini-2.5-pro"));
    assert_eq!(
        rates(&price.standard),
        [
            (TokenClass::Input, "1.25".into()),
            (TokenClass::CacheRead, "0.125".into()),
            (TokenClass::CacheWrite5m, "0".into()),
            (TokenClass::CacheWrite1h, "6".into()),
            (TokenClass::Output, "10".into()),
            (TokenClass::Reasoning, "10".into()),
            (TokenClass::AudioInput, "0.7".into()),
        ]
    );
    let long = price.standard.long_context.as_ref().unwrap();
    assert_eq!((long.above, long.per_million.get(&TokenClass::Output)), (200_000, Some(&amount("15"))));
    let batch = price.tiers.get(&Tier::Batch).unwrap();
    assert_eq!(batch.per_million.get(&TokenClass::Input), Some(&amount("0.625")));
    assert_eq!(batch.long_context.as_ref().unwrap().per_million.get(&TokenClass::Input), Some(&amount("1.25")));
    assert_eq!(price.tiers.len(), 1);
    assert_eq!(found.understood, 11);
    let listed: Vec<_> = reasons(&found).into_iter().map(|(_, field, _)| field).collect();
    assert_eq!(listed, ["brand_new_cost", "input_cost_per_token_ultrafast", "search_context_cost_per_query"]);
    Catalogue::from_entries("import", found.entries).unwrap();
}

#[test]
fn rat_2_a_model_that_would_be_priced_wrongly_is_left_out() {
    for (fields, reason) in [
        (r#""tiered_pricing": [{"range": [0, 32000.0], "input_cost_per_token": 1e-6}]"#, "rates by range"),
        (
            r#""input_cost_per_token_above_32k_tokens": 2e-6, "input_cost_per_token_above_256k_tokens": 3e-6"#,
            "more than one context threshold",
        ),
        (r#""input_cost_per_token": 0.0, "output_cost_per_image": 0.04"#, "its tokens cost 0"),
    ] {
        let base = if fields.contains("\"input_cost_per_token\": 0") { "" } else { r#""input_cost_per_token": 1e-6,"# };
        let found = import(&format!(r#""m": {{"litellm_provider": "openai", {base} {fields}}}"#));
        assert_eq!((found.entries.len(), found.understood), (0, 0), "{fields}");
        let input = reasons(&found).into_iter().find(|(_, field, _)| *field == "input_cost_per_token");
        assert!(input.is_some_and(|(_, _, words)| words.contains(reason)), "{:?}", reasons(&found));
    }
}

#[test]
fn rat_2_an_explicit_zero_is_a_price() {
    let found =
        import(r#""m": {"litellm_provider": "ollama", "input_cost_per_token": 0, "output_cost_per_token": 0.0}"#);
    assert_eq!((found.entries.len(), found.understood), (1, 2));
    assert_eq!(reasons(&found), []);
}

#[test]
fn rat_1_two_keys_of_one_model_add_up_but_must_not_contradict() {
    let model = |key: &str, rate: &str| {
        format!(r#""{key}": {{"litellm_provider": "deepseek", "input_cost_per_token": {rate}}}"#)
    };
    let alike = import(&[model("m", "1e-6"), model("deepseek/m", "0.000001")].join(","));
    assert_eq!((alike.entries.len(), alike.understood), (1, 2));
    let more = model("deepseek/m", "1e-6, \"cache_read_input_token_cost\": 1e-7");
    let joined = import(&[model("m", "1e-6"), more].join(","));
    let Priced::Model(price) = &joined.entries.first().unwrap().priced else { unreachable!() };
    assert_eq!((joined.understood, price.standard.per_million.len()), (3, 2));
    let differ = import(&[model("m", "1e-6"), model("deepseek/m", "2e-6")].join(","));
    assert_eq!(differ.entries, []);
    assert_eq!(reasons(&differ).len(), 2);
    assert!(reasons(&differ).iter().all(|(_, _, words)| words.contains("two keys")));
}

#[test]
fn rat_1_a_field_that_cannot_be_read_is_listed() {
    let found = import(
        r#""a": {"litellm_provider": "openai", "input_cost_per_token": "cheap", "output_cost_per_token": 1e-6},
           "b": {"input_cost_per_token": 1e-6},
           "c": {"litellm_provider": "deepseek", "input_cost_per_token": 1e-6,
                 "cache_read_input_token_cost": 1e-7, "input_cost_per_token_cache_hit": 2e-7,
                 "output_cost_per_token_flex": 1e-6, "output_cost_per_token_above_128k_tokens_priority": 1e-6,
                 "provider_specific_entry": {"us": 1.1}},
           "d": {"litellm_provider": "bedrock", "input_cost_per_token": 1e-6, "provider_specific_entry": {"schema": "v2"}},
           "sample_spec": {"litellm_provider": "one of", "input_cost_per_token": 0.0},
           "fallback_generalizations": {"rules": []}"#,
    );
    let listed: Vec<_> = reasons(&found).into_iter().map(|(model, field, _)| (model, field)).collect();
    assert_eq!(
        listed,
        [
            ("a", "input_cost_per_token"),
            ("b", "litellm_provider"),
            ("c", "input_cost_per_token_cache_hit"),
            ("c", "output_cost_per_token_above_128k_tokens_priority"),
            ("c", "provider_specific_entry"),
        ]
    );
    assert_eq!(found.entries.len(), 3);
}

#[test]
fn rat_1_what_is_no_price_map_is_an_error() {
    for text in ["", "[]", "{\"m\": 1}"] {
        assert!(
            read(text, day("2026-11-23"))
                .unwrap_err()
                .to_string()
                .contains("pass model_prices_and_context_window.json")
        );
    }
}
