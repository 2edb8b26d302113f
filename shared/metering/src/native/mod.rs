//! A provider's own usage object, converted to disjoint classes (EVT-4).
//!
//! What is inferred, from what:
//!
//! | the object has | dialect | because |
//! |---|---|---|
//! | `gen_ai.usage.*`, or `cache_read.input_tokens` and its like | OpenTelemetry | its attribute names |
//! | `llm.token_count.*` | OpenInference | its attribute names |
//! | `prompt_tokens`, `completion_tokens` | chat completions | nobody else calls them so |
//! | the same from xAI or Google | chat, reasoning inside or outside | the total says which; else xAI outside, Google inside |
//! | `promptTokenCount` and its like | Gemini | its names |
//! | `billed_units` | Cohere | its name |
//! | `inputTokens` with `cachedInputTokens`, `inputTokenDetails` ... | AI SDK | its names |
//! | `inputTokens` otherwise | Bedrock | its names |
//! | `input_tokens` with `input_tokens_details` | Responses | its name |
//! | `input_tokens` with `cache_*_input_tokens` from a provider that serves Anthropic's API | Anthropic | the provider |
//! | the same from anybody else | refused | the tokens may or may not include the cache |
//! | `input_tokens` alone | Responses | without a cache all dialects agree |
//!
//! Numbers whose names do not speak of tokens (seconds, costs, `server_tool_use`, `search_units`) are not tokens and stay
//! out: they are events of their own with a `sku`. A count of tokens that the dialect does not know is refused.

mod counts;
mod dialects;

use recoup_model::limits::TOKENS_MAX;
use recoup_model::{TokenClass, Usage};

use crate::item::{At, ItemError, Problem, shown};
use counts::{Counts, matches};
use dialects::{
    AI_SDK, ANTHROPIC, BEDROCK, CHAT, CHAT_REASONING_OUTSIDE, COHERE, Dialect, GEMINI, Group, OPEN_INFERENCE,
    OPEN_TELEMETRY, RESPONSES, Total,
};

/// Providers that serve Anthropic's messages as Anthropic counts them.
const ANTHROPIC_PROVIDERS: [&str; 4] = ["anthropic", "aws.bedrock", "azure.ai.inference", "gcp.vertex_ai"];
/// Providers whose chat completions may leave reasoning out of `completion_tokens`.
const REASONING_OUTSIDE_BY_TOTAL: [&str; 4] = ["x_ai", "gcp.gemini", "gcp.gen_ai", "gcp.vertex_ai"];

/// Converts a provider's own usage object (its JSON text) to disjoint token classes (EVT-4). `provider` is the
/// OpenTelemetry id ([`crate::provider_id`]).
///
/// # Errors
/// `unknown-usage-form`, `ambiguous-usage`, `negative-class`, `unknown-field` for a count that the dialect does not
/// know, and what is wrong with single counts.
///
/// ```
/// use recoup_model::TokenClass;
/// let text = r#"{"prompt_tokens":48183,"prompt_tokens_details":{"cached_tokens":47105,"cache_write_tokens":1076}}"#;
/// let usage = recoup_metering::read_usage_native(text, Some("openai")).unwrap();
/// assert_eq!(usage.get(TokenClass::Input), 2);
/// ```
pub fn read_usage_native(text: &str, provider: Option<&str>) -> Result<Usage, ItemError> {
    let counts = Counts::read(text)?;
    if let Some(counts) = counts.without_prefix("gen_ai.usage.") {
        return convert(&OPEN_TELEMETRY, &counts);
    }
    if let Some(counts) = counts.without_prefix("llm.token_count.") {
        return convert(&OPEN_INFERENCE, &counts);
    }
    convert(dialect_of(&counts, provider)?, &counts)
}

fn dialect_of(counts: &Counts, provider: Option<&str>) -> Result<&'static Dialect, ItemError> {
    const DOTTED: [&str; 6] = [
        "cache_read.input_tokens",
        "cache_write.input_tokens",
        "cache_creation.input_tokens",
        "reasoning.output_tokens",
        "audio.input_tokens",
        "audio.output_tokens",
    ];
    const GEMINI_NAMES: [&str; 8] = [
        "promptTokenCount",
        "prompt_token_count",
        "candidatesTokenCount",
        "candidates_token_count",
        "responseTokenCount",
        "response_token_count",
        "totalTokenCount",
        "total_token_count",
    ];
    if counts.has_any(&DOTTED) {
        return Ok(&OPEN_TELEMETRY);
    }
    if counts.has_any(&["prompt_tokens", "completion_tokens"]) {
        return Ok(chat_dialect(counts, provider));
    }
    if counts.has_any(&GEMINI_NAMES) {
        return Ok(&GEMINI);
    }
    if counts.has_any(&["billed_units."]) {
        return Ok(&COHERE);
    }
    if counts.has_any(&["inputTokens", "outputTokens", "inputTokenCount", "outputTokenCount", "promptTokens"]) {
        return camel_case_dialect(counts);
    }
    if counts.has_any(&["input_tokens", "output_tokens"]) {
        return snake_case_dialect(counts, provider);
    }
    let detail = "is no usage object we know: it has none of prompt_tokens, input_tokens, inputTokens, \
                  promptTokenCount; send usage with disjoint classes, or sku and quantity for what is no tokens";
    Err(ItemError::new(Problem::UnknownUsageForm, "usage_native", detail))
}

/// Where a provider may count reasoning outside the completion, the total decides; without one, what the provider says.
fn chat_dialect(counts: &Counts, provider: Option<&str>) -> &'static Dialect {
    let Some(provider) = provider.filter(|provider| REASONING_OUTSIDE_BY_TOTAL.contains(provider)) else {
        return &CHAT;
    };
    let count = |path| counts.get(path).unwrap_or_default();
    let visible = count("prompt_tokens").saturating_add(count("completion_tokens"));
    let with_reasoning = visible.saturating_add(count("completion_tokens_details.reasoning_tokens"));
    match counts.get("total_tokens") {
        Some(total) if total == visible => &CHAT,
        Some(total) if total == with_reasoning => &CHAT_REASONING_OUTSIDE,
        _ if provider == "x_ai" => &CHAT_REASONING_OUTSIDE,
        _ => &CHAT,
    }
}

fn camel_case_dialect(counts: &Counts) -> Result<&'static Dialect, ItemError> {
    let sdk = ["cachedInputTokens", "reasoningTokens", "inputTokenDetails.", "outputTokenDetails.", "promptTokens"];
    let bedrock = [
        "cacheReadInputTokens",
        "cacheReadInputTokenCount",
        "cacheWriteInputTokens",
        "cacheWriteInputTokenCount",
        "cacheDetails.",
    ];
    match (counts.has_any(&sdk), counts.has_any(&bedrock)) {
        (true, true) => Err(ambiguous("mixes the names of Bedrock and of the AI SDK")),
        (true, false) => Ok(&AI_SDK),
        (false, _) => Ok(&BEDROCK),
    }
}

fn snake_case_dialect(counts: &Counts, provider: Option<&str>) -> Result<&'static Dialect, ItemError> {
    let cache = ["cache_read_input_tokens", "cache_creation_input_tokens", "cache_creation."];
    let details = counts.has_any(&["input_tokens_details.", "input_token_details."]);
    if provider.is_some_and(|provider| ANTHROPIC_PROVIDERS.contains(&provider)) && !details {
        return Ok(&ANTHROPIC);
    }
    match (details, counts.has_any_tokens(&cache)) {
        (true, true) => Err(ambiguous("has both input_tokens_details and cache_read/cache_creation_input_tokens")),
        (false, true) => Err(ambiguous("has cache tokens, and input_tokens may or may not include them")),
        // Cache fields that are zero do not matter, but only one table knows them.
        (false, false) if counts.has_any(&cache) => Ok(&ANTHROPIC),
        (_, false) => Ok(&RESPONSES),
    }
}

fn ambiguous(problem: &str) -> ItemError {
    let detail = format!(
        "{problem}; send provider (anthropic: input_tokens excludes the cache), the provider's object as it came, \
         or usage with disjoint classes"
    );
    ItemError::new(Problem::AmbiguousUsage, "usage_native", detail)
}

fn convert(dialect: &Dialect, counts: &Counts) -> Result<Usage, ItemError> {
    refuse_unknown(dialect, counts)?;
    let mut usage = Usage::NONE;
    for group in dialect.groups {
        take(group, counts, &mut usage)?;
    }
    Ok(usage)
}

/// Counts that the dialect does not know must not get lost: a new kind of token may have a price of its own.
fn refuse_unknown(dialect: &Dialect, counts: &Counts) -> Result<(), ItemError> {
    let unknown = counts.iter().find(|(path, count)| {
        let repeats = dialect.repeats.iter().any(|known| matches(known, path));
        *count > 0 && !repeats && !dialect.groups.iter().any(|group| knows(group, path))
    });
    unknown.map_or(Ok(()), |(path, count)| {
        let detail = format!(
            "`{}` counts {count} tokens that we do not know of ({} usage); send usage with disjoint classes",
            shown(path),
            dialect.name
        );
        Err(ItemError::new(Problem::UnknownField, At::inside("usage_native", path), detail))
    })
}

fn knows(group: &Group, path: &str) -> bool {
    group.paths.contains(&path) || group.less.contains(&path) || group.inside.iter().any(|part| knows(part, path))
}

/// Adds a group's own rest and those of the groups inside it to `usage`; returns all its tokens.
fn take(group: &Group, counts: &Counts, usage: &mut Usage) -> Result<u64, ItemError> {
    let mut parts = 0_u64;
    for part in group.inside {
        parts = parts.saturating_add(take(part, counts, usage)?);
    }
    let count = agreed(group.paths, counts)?;
    let less = agreed(group.less, counts)?.unwrap_or_default();
    let total = match count {
        Some(count) => count.checked_sub(less).ok_or_else(|| negative(group, count, less))?,
        None if parts > 0 && group.total == Total::Needed => return Err(total_missing(group)),
        None => parts,
    };
    let rest = total.checked_sub(parts).ok_or_else(|| negative(group, total, parts))?;
    let sum = usage.get(group.class).saturating_add(rest);
    if sum > TOKENS_MAX {
        let detail = format!("`{}` comes out as {sum}, more than {TOKENS_MAX}; correct it", group.class.name());
        return Err(ItemError::new(Problem::TooLarge, "usage_native", detail));
    }
    usage.set(group.class, sum);
    Ok(total)
}

/// The count that stands under one or more of these paths.
fn agreed(paths: &[&str], counts: &Counts) -> Result<Option<u64>, ItemError> {
    let mut found: Option<(&str, u64)> = None;
    for path in paths {
        let Some(count) = counts.get(path) else { continue };
        if let Some((other, earlier)) = found.filter(|(_, earlier)| *earlier != count) {
            return Err(ambiguous(&format!("says {earlier} in {other} and {count} in {path}")));
        }
        found = Some((path, count));
    }
    Ok(found.map(|(_, count)| count))
}

fn name_of(group: &Group) -> &'static str {
    group.paths.first().copied().unwrap_or_default()
}

fn total_missing(group: &Group) -> ItemError {
    let name = name_of(group);
    let detail = format!("is missing: its details stand there, but not how many tokens there were; send {name}");
    ItemError::new(Problem::MissingField, At::inside("usage_native", name), detail)
}

fn negative(group: &Group, total: u64, parts: u64) -> ItemError {
    let class: TokenClass = group.class;
    let missing = parts.saturating_sub(total);
    let detail = format!(
        "`{}` comes out as -{missing}: {} is {total}, its parts are {parts}; check provider, or send usage with \
         disjoint classes",
        class.name(),
        name_of(group),
    );
    ItemError::new(Problem::NegativeClass, "usage_native", detail)
}

#[cfg(test)]
mod tests;
