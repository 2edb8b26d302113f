//! What each field of LiteLLM's price map means: `base[_above_1hr|_above_12hr][_above_{N}k_tokens][_{tier}]`.

use recoup_model::TokenClass;

use crate::entry::Tier;

/// What a field says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    /// A rate per token.
    Rate(Rate),
    /// Nothing about prices.
    NotPrice,
    /// A factor by region or mode, or a name: a price only where the value has a number.
    Factors,
    /// A price that is not carried over, and why.
    NotCarried(&'static str),
}

/// Where a rate belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rate {
    /// Which tokens.
    pub(super) class: TokenClass,
    /// In which tier; `None`: standard.
    pub(super) tier: Option<Tier>,
    /// Above so many tokens of context.
    pub(super) above: Option<u64>,
}

const BASES: &[(&str, TokenClass)] = &[
    ("cache_creation_input_token_cost", TokenClass::CacheWrite5m),
    ("cache_read_input_token_cost", TokenClass::CacheRead),
    ("input_cost_per_audio_token", TokenClass::AudioInput),
    ("input_cost_per_image_token", TokenClass::ImageInput),
    ("input_cost_per_token", TokenClass::Input),
    ("output_cost_per_audio_token", TokenClass::AudioOutput),
    ("output_cost_per_image_token", TokenClass::ImageOutput),
    ("output_cost_per_reasoning_token", TokenClass::Reasoning),
    ("output_cost_per_token", TokenClass::Output),
];
/// Suffixes of a cache write that lives longer. `cache_write_1h` is the long-lived one, whatever its provider's hours.
const LONG_LIVED: &[&str] = &["_above_1hr", "_above_12hr"];
const TIERS: &[(&str, Tier)] = &[("_batches", Tier::Batch), ("_flex", Tier::Flex), ("_priority", Tier::Priority)];
const OTHER_TIERS: &[&str] = &["_balanced", "_decisions", "_ultrafast"];

const NOT_PRICES: &[&str] = &[
    "audio_transcription_config",
    "bedrock_converse_supports_strict_tools",
    "bedrock_output_config_effort_ceiling",
    "comment",
    "default_reasoning_effort",
    "deprecation_date",
    "gemini_audio_only_live",
    "gemini_native_audio",
    "litellm_provider",
    "max_input_tokens",
    "max_output_tokens",
    "max_tokens",
    "metadata",
    "mode",
    "output_vector_size",
    "prompt_cache_min_tokens",
    "reasoning_contexts",
    "reasoning_effort_levels",
    "reasoning_modes",
    "rpm",
    "rules",
    "source",
    "supported_audio_formats",
    "supported_endpoints",
    "supported_modalities",
    "supported_output_modalities",
    "supported_regions",
    "thinking_always_on",
    "token_count_framing",
    "token_count_model",
    "token_count_tokenizer",
    "tpm",
    "use_openai_responses_path",
    "uses_embed_content",
    "vertex_ai_audio_api",
];
const CAPABILITY: &str = "supports_";

/// Fields that are priced by something other than our token classes, by the start of their name, and why they are left.
const OTHER_UNITS: &[(&str, &str)] = &[
    ("annotation_cost_per_page", "is billed by the page; add a sku to the organisation's prices"),
    ("cache_creation_input_audio_token_cost", "cached audio is no token class"),
    ("cache_read_input_audio_token_cost", "cached audio is no token class"),
    ("cache_read_input_image_token_cost", "cached images are no token class"),
    ("citation_cost_per_token", "citations are no token class"),
    ("code_interpreter_cost_per_session", "is billed by the session; add a sku to the organisation's prices"),
    ("cost_per_second", "is billed by the second; add a sku to the organisation's prices"),
    ("explicit_cache_read_input_token_cost", "a second cache rate is no token class"),
    ("google_maps_grounding_cost_per_query", "is billed by the query; add a sku to the organisation's prices"),
    ("guardrail_cost_per_unit", "is billed by its own unit; add a sku to the organisation's prices"),
    ("input_cost_per_audio_per_second", "is billed by the second; add a sku to the organisation's prices"),
    ("input_cost_per_character", "is billed by the character; add a sku to the organisation's prices"),
    ("input_cost_per_pixel", "is billed by the pixel; add a sku to the organisation's prices"),
    ("input_cost_per_query", "is billed by the query; add a sku to the organisation's prices"),
    ("input_cost_per_request", "is billed by the request; add a sku to the organisation's prices"),
    ("input_cost_per_second", "is billed by the second; add a sku to the organisation's prices"),
    ("input_cost_per_text_message", "is billed by the message; add a sku to the organisation's prices"),
    ("input_cost_per_video_per_second", "is billed by the second; add a sku to the organisation's prices"),
    ("input_cost_per_video_token", "video is no token class"),
    ("input_dbu_cost_per_token", "is a price in Databricks units, not in a currency"),
    ("ocr_cost_per_credit", "is billed by the credit; add a sku to the organisation's prices"),
    ("ocr_cost_per_page", "is billed by the page; add a sku to the organisation's prices"),
    ("off_peak_pricing", "prices by time of day are not carried over; the peak price is"),
    ("output_cost_per_character", "is billed by the character; add a sku to the organisation's prices"),
    ("output_cost_per_pixel", "is billed by the pixel; add a sku to the organisation's prices"),
    ("output_cost_per_second", "is billed by the second; add a sku to the organisation's prices"),
    ("output_cost_per_video_per_second", "is billed by the second; add a sku to the organisation's prices"),
    ("output_cost_per_video_token", "video is no token class"),
    ("output_dbu_cost_per_token", "is a price in Databricks units, not in a currency"),
    ("regional_endpoint_uplift_multiplier", "surcharges by region are not carried over"),
    ("regional_processing_uplift_multiplier", "surcharges by region are not carried over"),
    ("search_context_cost_per_query", "is billed by the query; add a sku to the organisation's prices"),
    ("search_free_requests", "free allowances are not carried over"),
    ("web_search_billing_unit", "is billed by the query; add a sku to the organisation's prices"),
];
/// As [`OTHER_UNITS`], where the name also begins a token field.
const PER_IMAGE: &[&str] = &["input_cost_per_image", "output_cost_per_image"];
const BY_IMAGE: &str = "is billed by the image; add a sku to the organisation's prices";
/// Ranges decide the whole price of a request.
pub(super) const TIERED: &str = "tiered_pricing";
pub(super) const RANGES: &str = "rates by range of context are not carried over";
const UNKNOWN: &str = "is not a field that this release knows";
const OTHER_TIER: &str = "is the price of a service tier other than batch, flex and priority";

/// What a field means.
pub(super) fn classify(name: &str) -> Field {
    if NOT_PRICES.binary_search(&name).is_ok() || name.starts_with(CAPABILITY) {
        return Field::NotPrice;
    }
    match name {
        // DeepSeek's word for a cache read.
        "input_cost_per_token_cache_hit" => {
            return Field::Rate(Rate { class: TokenClass::CacheRead, tier: None, above: None });
        }
        "provider_specific_entry" => return Field::Factors,
        TIERED => return Field::NotCarried(RANGES),
        _ => {}
    }
    if let Some(field) = BASES.iter().find_map(|(base, class)| suffixes(*class, name.strip_prefix(base)?)) {
        return field;
    }
    if let Some((_, reason)) = OTHER_UNITS.iter().find(|(start, _)| name.starts_with(start)) {
        return Field::NotCarried(reason);
    }
    let by_image = PER_IMAGE.iter().any(|start| name.starts_with(start));
    Field::NotCarried(if by_image { BY_IMAGE } else { UNKNOWN })
}

/// The rate that the rest of a name after its base describes; `None`: the rest is none of the grammar.
fn suffixes(base: TokenClass, rest: &str) -> Option<Field> {
    let long_lived = LONG_LIVED.iter().find_map(|suffix| rest.strip_prefix(suffix));
    let (class, rest) = match long_lived {
        Some(rest) if base == TokenClass::CacheWrite5m => (TokenClass::CacheWrite1h, rest),
        Some(_) => return None,
        None => (base, rest),
    };
    let (above, rest) = match rest.strip_prefix("_above_").and_then(|rest| rest.split_once("k_tokens")) {
        Some((thousands, rest)) => (Some(thousands.parse::<u64>().ok()?.checked_mul(1_000)?), rest),
        None => (None, rest),
    };
    if OTHER_TIERS.contains(&rest) {
        return Some(Field::NotCarried(OTHER_TIER));
    }
    let tier = TIERS.iter().find(|(suffix, _)| *suffix == rest).map(|(_, tier)| *tier);
    (rest.is_empty() || tier.is_some()).then_some(Field::Rate(Rate { class, tier, above }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(class: TokenClass, tier: Option<Tier>, above: Option<u64>) -> Field {
        Field::Rate(Rate { class, tier, above })
    }

    #[test]
    fn rat_1_reads_the_suffix_grammar() {
        for (name, field) in [
            ("input_cost_per_token", rate(TokenClass::Input, None, None)),
            ("input_cost_per_token_batches", rate(TokenClass::Input, Some(Tier::Batch), None)),
            ("output_cost_per_token_above_200k_tokens", rate(TokenClass::Output, None, Some(200_000))),
            ("cache_creation_input_token_cost_above_1hr", rate(TokenClass::CacheWrite1h, None, None)),
            (
                "cache_creation_input_token_cost_above_12hr_above_272k_tokens_priority",
                rate(TokenClass::CacheWrite1h, Some(Tier::Priority), Some(272_000)),
            ),
            ("input_cost_per_token_cache_hit", rate(TokenClass::CacheRead, None, None)),
            ("input_cost_per_image_token_flex", rate(TokenClass::ImageInput, Some(Tier::Flex), None)),
            ("output_cost_per_token_ultrafast", Field::NotCarried(OTHER_TIER)),
            ("input_cost_per_image", Field::NotCarried(BY_IMAGE)),
            ("output_cost_per_image_1K", Field::NotCarried(BY_IMAGE)),
            ("input_cost_per_token_above_1hr", Field::NotCarried(UNKNOWN)),
            ("input_cost_per_token_above_xk_tokens", Field::NotCarried(UNKNOWN)),
            ("input_cost_per_token_tomorrow", Field::NotCarried(UNKNOWN)),
            ("tiered_pricing", Field::NotCarried(RANGES)),
            ("supports_anything_new", Field::NotPrice),
            ("max_tokens", Field::NotPrice),
        ] {
            assert_eq!(classify(name), field, "{name}");
        }
    }

    #[test]
    fn rat_1_the_list_of_other_fields_is_in_order() {
        assert!(NOT_PRICES.is_sorted(), "NOT_PRICES is searched by halves");
    }
}
