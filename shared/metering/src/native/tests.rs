#![expect(clippy::unwrap_used, reason = "tests")]
use recoup_model::TokenClass::{self, *};

use super::*;

fn tokens(text: &str, provider: Option<&str>) -> Vec<(TokenClass, u64)> {
    read_usage_native(text, provider).unwrap_or_else(|error| unreachable!("{text}: {error}")).nonzero().collect()
}

fn refused(text: &str, provider: Option<&str>) -> ItemError {
    read_usage_native(text, provider).unwrap_err()
}

/// The example of EVT-4 in every inclusive dialect.
#[test]
fn evt_4_48183_with_47105_and_1076_leaves_two() {
    for (text, provider) in [
        (
            r#"{"prompt_tokens":48183,"completion_tokens":714,"total_tokens":48897,
                "prompt_tokens_details":{"cached_tokens":47105,"cache_write_tokens":1076,"audio_tokens":0},
                "completion_tokens_details":{"reasoning_tokens":0}}"#,
            Some("openai"),
        ),
        (
            r#"{"prompt_tokens":48183,"completion_tokens":714,"cache_read_input_tokens":47105,
                "cache_creation_input_tokens":1076,"prompt_tokens_details":{"cached_tokens":47105}}"#,
            Some("anthropic"),
        ),
        (
            r#"{"input_tokens":48183,"output_tokens":714,
                "input_tokens_details":{"cached_tokens":47105,"cache_write_tokens":1076}}"#,
            Some("azure.ai.openai"),
        ),
        (
            r#"{"gen_ai.usage.input_tokens":48183,"gen_ai.usage.output_tokens":714,"gen_ai.usage.cost":0.1,
                "gen_ai.usage.cache_read.input_tokens":47105,"gen_ai.usage.cache_creation.input_tokens":1076}"#,
            Some("anthropic"),
        ),
        (
            r#"{"input_tokens":48183,"output_tokens":714,"cache_read.input_tokens":47105,
                "cache_write.input_tokens":1076}"#,
            None,
        ),
        (
            r#"{"llm.token_count.prompt":48183,"llm.token_count.completion":714,"llm.token_count.total":48897,
                "llm.token_count.prompt_details.cache_read":47105,
                "llm.token_count.prompt_details.cache_write":1076}"#,
            None,
        ),
        (
            r#"{"inputTokens":48183,"outputTokens":714,"cachedInputTokens":47105,
                "inputTokenDetails":{"noCacheTokens":2,"cacheReadTokens":47105,"cacheWriteTokens":1076}}"#,
            None,
        ),
        (
            r#"{"input_tokens":2,"output_tokens":714,"cache_read_input_tokens":47105,
                "cache_creation_input_tokens":1076}"#,
            Some("anthropic"),
        ),
        (
            r#"{"inputTokens":2,"outputTokens":714,"totalTokens":48897,"cacheReadInputTokens":47105,
                "cacheWriteInputTokens":1076}"#,
            Some("aws.bedrock"),
        ),
    ] {
        let expected = [(Input, 2), (CacheRead, 47105), (CacheWrite5m, 1076), (Output, 714)];
        assert_eq!(tokens(text, provider), expected, "{text}");
    }
}

#[test]
fn evt_4_openai_and_its_followers_include_cache_and_reasoning() {
    for (text, provider, expected) in [
        (
            r#"{"prompt_tokens":1117,"completion_tokens":46,"total_tokens":1163,
                "prompt_tokens_details":{"cached_tokens":0,"audio_tokens":20},
                "completion_tokens_details":{"reasoning_tokens":30,"audio_tokens":6,
                "accepted_prediction_tokens":4,"rejected_prediction_tokens":3}}"#,
            "openai",
            vec![(Input, 1097), (Output, 10), (Reasoning, 30), (AudioInput, 20), (AudioOutput, 6)],
        ),
        (
            r#"{"prompt_tokens":100,"prompt_tokens_details":{"cached_tokens":50,"audio_tokens":40,
                "cached_tokens_details":{"text_tokens":20,"audio_tokens":30}},"completion_tokens":1}"#,
            "openai",
            vec![(Input, 40), (CacheRead, 50), (Output, 1), (AudioInput, 10)],
        ),
        (
            r#"{"input_tokens":500,"input_tokens_details":{"cached_tokens":100,"cache_write_tokens":300,
                "cache_write_tokens_details":{"ttl_30m_tokens":100,"ttl_12h_tokens":200}},
                "output_tokens":90,"output_tokens_details":{"reasoning_tokens":80},"total_tokens":590}"#,
            "openai",
            vec![
                (Input, 100),
                (CacheRead, 100),
                (CacheWrite5m, 100),
                (CacheWrite1h, 200),
                (Output, 10),
                (Reasoning, 80),
            ],
        ),
        (
            r#"{"total_tokens":253,"input_tokens":132,"output_tokens":121,
                "input_token_details":{"text_tokens":119,"audio_tokens":13,"cached_tokens":64,
                "cached_tokens_details":{"text_tokens":64,"audio_tokens":0}},
                "output_token_details":{"text_tokens":30,"audio_tokens":91}}"#,
            "openai",
            vec![(Input, 55), (CacheRead, 64), (Output, 30), (AudioInput, 13), (AudioOutput, 91)],
        ),
        (
            r#"{"input_tokens":50,"output_tokens":1000,"total_tokens":1050,
                "input_tokens_details":{"text_tokens":10,"image_tokens":40},
                "output_tokens_details":{"image_tokens":1000,"text_tokens":0}}"#,
            "openai",
            vec![(Input, 10), (ImageInput, 40), (ImageOutput, 1000)],
        ),
        (r#"{"prompt_tokens":8,"total_tokens":8}"#, "openai", vec![(Input, 8)]),
        (
            r#"{"prompt_tokens":100,"completion_tokens":20,"prompt_cache_hit_tokens":60,"prompt_cache_miss_tokens":40,
                "prompt_tokens_details":{"cached_tokens":60}}"#,
            "deepseek",
            vec![(Input, 40), (CacheRead, 60), (Output, 20)],
        ),
        (
            r#"{"prompt_tokens":100,"completion_tokens":20,"num_cached_tokens":60,"prompt_audio_seconds":3.5}"#,
            "mistral_ai",
            vec![(Input, 40), (CacheRead, 60), (Output, 20)],
        ),
        (
            r#"{"queue_time":0.01,"prompt_tokens":100,"prompt_time":0.02,"completion_tokens":20,"total_tokens":120}"#,
            "groq",
            vec![(Input, 100), (Output, 20)],
        ),
    ] {
        assert_eq!(tokens(text, Some(provider)), expected, "{text}");
    }
}

#[test]
fn evt_4_xai_and_google_may_count_reasoning_outside() {
    let chat = |total: &str| {
        format!(
            r#"{{"prompt_tokens":10120,"completion_tokens":3000,{total}"prompt_tokens_details":{{"cached_tokens":128}},
               "completion_tokens_details":{{"reasoning_tokens":2809}}}}"#
        )
    };
    let output = |text: &str, provider| {
        let usage = read_usage_native(text, Some(provider)).unwrap();
        (usage.get(Output), usage.get(Reasoning))
    };
    assert_eq!(output(&chat("\"total_tokens\":15929,"), "x_ai"), (3000, 2809));
    assert_eq!(output(&chat("\"total_tokens\":13120,"), "x_ai"), (191, 2809));
    assert_eq!(output(&chat(""), "x_ai"), (3000, 2809));
    assert_eq!(output(&chat("\"total_tokens\":15929,"), "gcp.gemini"), (3000, 2809));
    assert_eq!(output(&chat(""), "gcp.gemini"), (191, 2809));
    assert_eq!(output(&chat("\"total_tokens\":15929,"), "openai"), (191, 2809));
}

#[test]
fn evt_4_anthropic_s_input_excludes_the_cache() {
    for (text, expected) in [
        (
            r#"{"input_tokens":2,"cache_read_input_tokens":47105,"cache_creation_input_tokens":1076,
                "cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":1076},
                "output_tokens":714,"server_tool_use":{"web_search_requests":3,"web_fetch_requests":0},
                "service_tier":"standard","inference_geo":"global","speed":"standard"}"#,
            vec![(Input, 2), (CacheRead, 47105), (CacheWrite1h, 1076), (Output, 714)],
        ),
        (
            r#"{"input_tokens":2,"cache_creation":{"ephemeral_5m_input_tokens":6,"ephemeral_1h_input_tokens":7},
                "output_tokens":9,"output_tokens_details":{"thinking_tokens":5}}"#,
            vec![(Input, 2), (CacheWrite5m, 6), (CacheWrite1h, 7), (Output, 4), (Reasoning, 5)],
        ),
        (
            r#"{"input_tokens":2,"cache_creation_input_tokens":10,"cache_creation":{"ephemeral_1h_input_tokens":7},
                "cache_read_input_tokens":null,"output_tokens":9}"#,
            vec![(Input, 2), (CacheWrite5m, 3), (CacheWrite1h, 7), (Output, 9)],
        ),
        (
            r#"{"input_tokens":23000,"output_tokens":1000,"iterations":[
                {"type":"compaction","input_tokens":180000,"output_tokens":3500},
                {"type":"message","input_tokens":23000,"output_tokens":1000}]}"#,
            vec![(Input, 203_000), (Output, 4_500)],
        ),
    ] {
        for provider in ["anthropic", "aws.bedrock", "gcp.vertex_ai"] {
            assert_eq!(tokens(text, Some(provider)), expected, "{text}");
        }
    }
}

#[test]
fn evt_4_bedrock_s_input_excludes_the_cache() {
    let text = r#"{"inputTokens":10,"outputTokens":20,"totalTokens":1330,"cacheReadInputTokens":1000,
        "cacheWriteInputTokens":300,"cacheDetails":[{"ttl":"1h","inputTokens":100},{"ttl":"5m","inputTokens":200}]}"#;
    let expected = [(Input, 10), (CacheRead, 1000), (CacheWrite5m, 200), (CacheWrite1h, 100), (Output, 20)];
    assert_eq!(tokens(text, Some("aws.bedrock")), expected);
    assert_eq!(tokens(text, None), expected);
    let nova = r#"{"inputTokens":10,"outputTokens":20,"cacheReadInputTokenCount":5,"cacheWriteInputTokenCount":0}"#;
    assert_eq!(tokens(nova, Some("aws.bedrock")), [(Input, 10), (CacheRead, 5), (Output, 20)]);
}

#[test]
fn evt_4_gemini_s_thoughts_and_tools_lie_outside() {
    for (text, expected) in [
        (
            r#"{"promptTokenCount":1000,"cachedContentTokenCount":400,"candidatesTokenCount":50,
                "thoughtsTokenCount":70,"toolUsePromptTokenCount":30,"totalTokenCount":1150,
                "trafficType":"ON_DEMAND",
                "promptTokensDetails":[{"modality":"TEXT","tokenCount":700},{"modality":"AUDIO","tokenCount":200},
                {"modality":"IMAGE","tokenCount":60},{"modality":"VIDEO","tokenCount":40}],
                "cacheTokensDetails":[{"modality":"AUDIO","tokenCount":150},{"modality":"TEXT","tokenCount":250}],
                "candidatesTokensDetails":[{"modality":"TEXT","tokenCount":20},{"modality":"IMAGE","tokenCount":30}]}"#,
            vec![
                (Input, 520),
                (CacheRead, 400),
                (Output, 20),
                (Reasoning, 70),
                (AudioInput, 50),
                (ImageInput, 60),
                (ImageOutput, 30),
            ],
        ),
        (
            r#"{"prompt_token_count":10,"candidates_token_count":5,"total_token_count":15,
                "cached_content_token_count":null,
                "prompt_tokens_details":[{"modality":"TEXT","token_count":10}]}"#,
            vec![(Input, 10), (Output, 5)],
        ),
        (r#"{"promptTokenCount":10,"totalTokenCount":10}"#, vec![(Input, 10)]),
    ] {
        assert_eq!(tokens(text, Some("gcp.vertex_ai")), expected, "{text}");
    }
}

#[test]
fn evt_4_cohere_bills_its_billed_units() {
    let text = r#"{"billed_units":{"input_tokens":5,"output_tokens":30,"search_units":1},
        "tokens":{"input_tokens":71,"output_tokens":32},"cached_tokens":16}"#;
    assert_eq!(tokens(text, Some("cohere")), [(Input, 5), (Output, 30)]);
}

#[test]
fn evt_4_plain_totals_need_no_provider() {
    for provider in [None, Some("anthropic"), Some("openai"), Some("example")] {
        assert_eq!(tokens(r#"{"input_tokens":5,"output_tokens":7}"#, provider), [(Input, 5), (Output, 7)]);
        let zero = r#"{"input_tokens":5,"output_tokens":7,"cache_read_input_tokens":0}"#;
        assert_eq!(tokens(zero, provider), [(Input, 5), (Output, 7)]);
    }
    assert_eq!(tokens(r#"{"prompt_tokens":0,"completion_tokens":0}"#, None), []);
}

#[test]
fn evt_4_what_cannot_be_told_is_refused() {
    let raw = r#"{"input_tokens":5,"output_tokens":7,"cache_read_input_tokens":3}"#;
    for (text, provider, problem, field) in [
        (raw, None, "ambiguous-usage", "usage_native"),
        (raw, Some("openai"), "ambiguous-usage", "usage_native"),
        (
            r#"{"input_tokens":5,"input_tokens_details":{"cached_tokens":3},"cache_read_input_tokens":3}"#,
            Some("anthropic"),
            "ambiguous-usage",
            "usage_native",
        ),
        (
            r#"{"prompt_tokens":9,"cached_tokens":3,"prompt_tokens_details":{"cached_tokens":4}}"#,
            Some("openai"),
            "ambiguous-usage",
            "usage_native",
        ),
        (
            r#"{"inputTokens":9,"cachedInputTokens":3,"cacheReadInputTokens":3}"#,
            None,
            "ambiguous-usage",
            "usage_native",
        ),
        ("{}", None, "unknown-usage-form", "usage_native"),
        (r#"{"seconds":4.5,"type":"duration"}"#, None, "unknown-usage-form", "usage_native"),
        (r#"{"total_tokens":12}"#, None, "unknown-usage-form", "usage_native"),
        (r#"{"prompt_tokens":5,"hologram_tokens":3}"#, Some("openai"), "unknown-field", "usage_native.hologram_tokens"),
        (
            r#"{"input_tokens":1,"output_tokens":1,"iterations":[{"type":"advisor_message","input_tokens":3}]}"#,
            Some("anthropic"),
            "unknown-field",
            "usage_native.iterations.advisor_message.input_tokens",
        ),
        (
            r#"{"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":3}}"#,
            Some("openai"),
            "missing-field",
            "usage_native.prompt_tokens",
        ),
        ("[]", None, "not-an-object", "usage_native"),
        ("nonsense", None, "not-json", "usage_native"),
        (r#"{"prompt_tokens":5.0}"#, None, "not-an-integer", "usage_native.prompt_tokens"),
        (r#"{"prompt_tokens":"5"}"#, None, "not-an-integer", "usage_native.prompt_tokens"),
        (r#"{"prompt_tokens":-5}"#, None, "negative", "usage_native.prompt_tokens"),
        (r#"{"prompt_tokens":5,"prompt_tokens":5}"#, None, "duplicate-field", "usage_native.prompt_tokens"),
        (r#"{"a":{"b_tokens":5},"a.b_tokens":5}"#, None, "duplicate-field", "usage_native.a.b_tokens"),
        (r#"{"prompt_tokens":1000000000001}"#, None, "too-large", "usage_native.prompt_tokens"),
        (r#"{"promptTokenCount":1000000000000,"toolUsePromptTokenCount":1}"#, None, "too-large", "usage_native"),
    ] {
        let error = refused(text, provider);
        assert_eq!((error.r#type, error.field.as_str()), (problem, field), "{text}: {error}");
    }
}

#[test]
fn evt_4_a_negative_class_is_refused_with_its_reason() {
    for (text, provider, class) in [
        (r#"{"prompt_tokens":100,"prompt_tokens_details":{"cached_tokens":105}}"#, "openai", "`input` comes out as -5"),
        (
            r#"{"completion_tokens":10,"completion_tokens_details":{"reasoning_tokens":12}}"#,
            "openai",
            "`output` comes out as -2",
        ),
        (
            r#"{"input_tokens":1,"cache_creation_input_tokens":5,"cache_creation":{"ephemeral_1h_input_tokens":6}}"#,
            "anthropic",
            "`cache_write_5m` comes out as -1",
        ),
        (
            r#"{"gen_ai.usage.input_tokens":2,"gen_ai.usage.cache_read.input_tokens":47105}"#,
            "anthropic",
            "`input` comes out as -47103",
        ),
        (
            r#"{"promptTokenCount":9,"promptTokensDetails":[{"modality":"AUDIO","tokenCount":3}],
                "cacheTokensDetails":[{"modality":"AUDIO","tokenCount":4}]}"#,
            "gcp.gemini",
            "`audio_input` comes out as -1",
        ),
    ] {
        let error = refused(text, Some(provider));
        assert_eq!((error.r#type, error.field.as_str()), ("negative-class", "usage_native"), "{error}");
        assert!(error.detail.starts_with(class), "{error}");
    }
}

#[test]
fn evt_4_nesting_and_number_of_counts_are_bounded() {
    let deep = format!("{}{}", "{\"a\":".repeat(5000), "1".to_owned() + &"}".repeat(5000));
    assert_eq!(refused(&deep, None).r#type, "unknown-usage-form");
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(20_000), "]".repeat(20_000));
    assert_eq!(refused(&deep, None).r#type, "unknown-usage-form");
    let many: Vec<String> = (0..200).map(|n| format!(r#"{{"type":"t{n}","x_tokens":1}}"#)).collect();
    assert_eq!(refused(&format!("{{\"a\":[{}]}}", many.join(",")), None).r#type, "too-many");
}
