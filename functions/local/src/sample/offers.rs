//! What the agents buy: models of the shipped catalogue, SKUs of the catalogue, the company's own SKUs.

/// A model at a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Model {
    pub(super) provider: &'static str,
    pub(super) name: &'static str,
    /// The context from which on every token of the request costs more, where there is one.
    pub(super) long_above: Option<u64>,
}

const fn model(provider: &'static str, name: &'static str) -> Model {
    Model { provider, name, long_above: None }
}

const fn long(provider: &'static str, name: &'static str, above: u64) -> Model {
    Model { provider, name, long_above: Some(above) }
}

pub(super) const OPUS: Model = model("anthropic", "claude-opus-5-5");
pub(super) const SONNET: Model = model("anthropic", "claude-sonnet-5-5");
pub(super) const HAIKU: Model = model("anthropic", "claude-haiku-4-5");
pub(super) const GPT: Model = long("openai", "gpt-6-sol", 272_000);
pub(super) const GPT_MINI: Model = model("openai", "gpt-5.4-mini");
pub(super) const GPT_NANO: Model = model("openai", "gpt-5.4-nano");
pub(super) const OPENAI_EMBEDDING: Model = model("openai", "text-embedding-3-small");
pub(super) const GEMINI_PRO: Model = long("gcp.gemini", "gemini-2.5-pro", 200_000);
pub(super) const GEMINI_FLASH: Model = model("gcp.gemini", "gemini-3.5-flash");
pub(super) const BEDROCK_SONNET: Model = model("aws.bedrock", "eu.anthropic.claude-sonnet-4-6");
pub(super) const BEDROCK_HAIKU: Model = model("aws.bedrock", "eu.anthropic.claude-haiku-4-5-20251001-v1:0");
pub(super) const NOVA_LITE: Model = model("aws.bedrock", "amazon.nova-lite-v1:0");
pub(super) const NOVA_PRO: Model = model("aws.bedrock", "amazon.nova-pro-v1:0");
pub(super) const COHERE_EMBEDDING: Model = model("aws.bedrock", "cohere.embed-multilingual-v3");
pub(super) const MISTRAL_SMALL: Model = model("mistral_ai", "mistral-small-2603");
/// Runs on the company's own machines; priced by `demo.toml`.
pub(super) const OWN_TRANSLATOR: Model = model("lindenfels", "translate-7b");
/// A fine-tune that nobody has priced yet: its events are unpriced until somebody does.
pub(super) const FINE_TUNED: Model = model("openai", "ft:gpt-5.4-mini:lindenfels::docs-2");

/// A stock-keeping unit and the unit it is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sku {
    pub(super) name: &'static str,
    pub(super) unit: &'static str,
}

const fn sku(name: &'static str, unit: &'static str) -> Sku {
    Sku { name, unit }
}

pub(super) const WEB_SEARCH: Sku = sku("anthropic.web_search", "call");
pub(super) const FILE_SEARCH: Sku = sku("openai.file_search", "call");
pub(super) const CODE_INTERPRETER: Sku = sku("openai.code_interpreter", "session");
pub(super) const GOOGLE_SEARCH: Sku = sku("gcp.gemini.google_search.gemini_2_5", "prompt");
pub(super) const TAVILY: Sku = sku("tavily.search", "call");
pub(super) const SERPER: Sku = sku("serper.search", "call");
pub(super) const RERANK: Sku = sku("aws.bedrock.cohere.rerank-v3-5", "query");
pub(super) const GPU: Sku = sku("lindenfels.gpu_l4", "second");
pub(super) const SANDBOX: Sku = sku("lindenfels.sandbox", "second");
pub(super) const VECTORS: Sku = sku("lindenfels.vector_store", "GB-hour");
pub(super) const WORKFLOW_STEP: Sku = sku("lindenfels.workflow_step", "step");

/// A service whose events carry its own figure and nothing to price it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Service {
    pub(super) provider: &'static str,
    pub(super) currency: &'static str,
}

pub(super) const COMPANY_REGISTER: Service = Service { provider: "company-register", currency: "EUR" };
pub(super) const KEYWORD_DATA: Service = Service { provider: "keyword-data", currency: "USD" };
