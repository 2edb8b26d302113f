//! LiteLLM's provider names and key prefixes -> OpenTelemetry's `gen_ai.provider.name` and the model's own id.

/// Providers whose name differs. What stands in neither table keeps LiteLLM's name.
const RENAMED: &[(&str, &str)] = &[
    ("azure", "azure.ai.openai"),
    ("azure_ai", "azure.ai.inference"),
    ("azure_text", "azure.ai.openai"),
    ("bedrock", "aws.bedrock"),
    ("bedrock_converse", "aws.bedrock"),
    ("cohere_chat", "cohere"),
    ("fireworks_ai-embedding-models", "fireworks_ai"),
    ("gemini", "gcp.gemini"),
    ("mistral", "mistral_ai"),
    ("text-completion-openai", "openai"),
    ("vertex_ai", "gcp.vertex_ai"),
    ("watsonx", "ibm.watsonx.ai"),
    ("xai", "x_ai"),
];
/// Vertex AI's publishers, such as `vertex_ai-anthropic_models`, are one provider.
const VERTEX_PUBLISHER: &str = "vertex_ai-";

/// The OpenTelemetry name of a provider.
pub(super) fn provider(litellm: &str) -> &str {
    if litellm.starts_with(VERTEX_PUBLISHER) {
        return "gcp.vertex_ai";
    }
    RENAMED.iter().find(|(name, _)| *name == litellm).map_or(litellm, |(_, renamed)| renamed)
}

/// The model's id: the key without the route that LiteLLM puts in front of it.
pub(super) fn model<'a>(litellm_provider: &str, key: &'a str) -> &'a str {
    match key.split_once('/') {
        Some((route, model)) if is_route(route, litellm_provider) => model,
        _ => key,
    }
}

/// Whether the first part of a key is the provider, or the family that it belongs to (`azure` of `azure_text`).
fn is_route(route: &str, provider: &str) -> bool {
    let mut words = provider.split(['-', '_']);
    route.split(['-', '_']).all(|word| words.next() == Some(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rat_1_providers_have_their_opentelemetry_names() {
        for (litellm, name) in [
            ("anthropic", "anthropic"),
            ("azure", "azure.ai.openai"),
            ("bedrock_converse", "aws.bedrock"),
            ("vertex_ai-language-models", "gcp.vertex_ai"),
            ("vertex_ai", "gcp.vertex_ai"),
            ("gemini", "gcp.gemini"),
            ("xai", "x_ai"),
            ("somebody_new", "somebody_new"),
        ] {
            assert_eq!(provider(litellm), name);
        }
    }

    #[test]
    fn rat_1_the_route_is_no_part_of_the_model() {
        for (litellm, key, name) in [
            ("gemini", "gemini/gemini-2.5-pro", "gemini-2.5-pro"),
            ("openai", "gpt-5", "gpt-5"),
            ("amazon_nova", "amazon-nova/nova-micro-v1", "nova-micro-v1"),
            ("vertex_ai-anthropic_models", "vertex_ai/claude-3-opus", "claude-3-opus"),
            ("azure_text", "azure/gpt-3.5", "gpt-3.5"),
            ("together_ai", "together_ai/meta-llama/Llama-3", "meta-llama/Llama-3"),
            ("openai", "low/1024-x-1024/gpt-image-1", "low/1024-x-1024/gpt-image-1"),
            ("azure_ai", "azure/gpt-5", "gpt-5"),
        ] {
            assert_eq!(model(litellm, key), name, "{key}");
        }
    }
}
