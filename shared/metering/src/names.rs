//! Names that mean the same: providers by their OpenTelemetry id, service tiers by the catalogue's word.

/// Alias -> OpenTelemetry `gen_ai.provider.name`. Only names that well-known emitters use and that mean one provider;
/// anything else is kept as it came, and stays visible as unpriced where nobody prices it (RAT-2).
const PROVIDERS: &[(&str, &str)] = &[
    // OpenTelemetry's own earlier `gen_ai.system` values
    ("az.ai.openai", "azure.ai.openai"),
    ("az.ai.inference", "azure.ai.inference"),
    ("vertex_ai", "gcp.vertex_ai"),
    ("gemini", "gcp.gemini"),
    ("xai", "x_ai"),
    // LiteLLM's `custom_llm_provider`
    ("azure", "azure.ai.openai"),
    ("azure_ai", "azure.ai.inference"),
    ("bedrock", "aws.bedrock"),
    ("bedrock_converse", "aws.bedrock"),
    ("cohere_chat", "cohere"),
    ("mistral", "mistral_ai"),
    ("moonshot", "moonshot_ai"),
    ("text-completion-openai", "openai"),
    ("watsonx", "ibm.watsonx.ai"),
    // OpenInference's `llm.provider`; `google` does not say which of Google's endpoints
    ("aws", "aws.bedrock"),
    ("google", "gcp.gen_ai"),
    ("mistralai", "mistral_ai"),
    // LangChain, Pydantic AI, the AI SDK
    ("amazon-bedrock", "aws.bedrock"),
    ("amazon_bedrock", "aws.bedrock"),
    ("azure-openai", "azure.ai.openai"),
    ("azure_openai", "azure.ai.openai"),
    ("google-gla", "gcp.gemini"),
    ("google-vertex", "gcp.vertex_ai"),
    ("google.generative-ai", "gcp.gemini"),
    ("google_genai", "gcp.gen_ai"),
    ("google_vertexai", "gcp.vertex_ai"),
];

/// Alias -> the catalogue's service tier: what providers call their standard tier.
const SERVICE_TIERS: &[(&str, &str)] = &[("default", "standard"), ("on_demand", "standard")];

/// The OpenTelemetry id of a provider; a name that is no well-known alias stays as it is.
///
/// ```
/// assert_eq!(recoup_metering::provider_id("vertex_ai"), "gcp.vertex_ai");
/// assert_eq!(recoup_metering::provider_id("example"), "example");
/// ```
#[must_use]
pub fn provider_id(name: &str) -> &str {
    resolve(PROVIDERS, name)
}

/// The catalogue's name of a service tier (`default` is OpenAI's and Bedrock's word for `standard`, `on_demand` Groq's).
///
/// ```
/// assert_eq!(recoup_metering::service_tier_id("default"), "standard");
/// assert_eq!(recoup_metering::service_tier_id("batch"), "batch");
/// ```
#[must_use]
pub fn service_tier_id(name: &str) -> &str {
    resolve(SERVICE_TIERS, name)
}

fn resolve<'a>(aliases: &[(&str, &'static str)], name: &'a str) -> &'a str {
    aliases.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, id)| id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rat_1_an_alias_leads_to_an_id_that_is_no_alias() {
        for (alias, id) in PROVIDERS.iter().chain(SERVICE_TIERS) {
            assert_ne!(alias, id);
            assert_eq!(provider_id(id), *id, "{alias}");
            assert_eq!(service_tier_id(id), *id, "{alias}");
        }
        let mut aliases: Vec<_> = PROVIDERS.iter().map(|(alias, _)| alias).collect();
        aliases.sort();
        aliases.dedup();
        assert_eq!(aliases.len(), PROVIDERS.len());
    }
}
