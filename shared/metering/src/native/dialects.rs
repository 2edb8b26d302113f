//! One table per dialect of usage objects: which counts contain which (EVT-4).

use recoup_model::TokenClass::{
    self, AudioInput, AudioOutput, CacheRead, CacheWrite1h, CacheWrite5m, ImageInput, ImageOutput, Input, Output,
    Reasoning,
};

/// How a source counts: groups that lie beside each other, each with the groups inside it.
pub(crate) struct Dialect {
    /// Whose it is, for refusals.
    pub(crate) name: &'static str,
    /// Disjoint groups; together they are all tokens of the call.
    pub(crate) groups: &'static [Group],
    /// Counts that only repeat tokens of the groups: totals, break-downs that we do not price apart. With a final `.`:
    /// everything below.
    pub(crate) repeats: &'static [&'static str],
}

/// A count, the counts inside it, and the class of what is left.
pub(crate) struct Group {
    /// Paths under which the count is found; where several are present they have to agree.
    pub(crate) paths: &'static [&'static str],
    /// A count to take off first: tokens of this group that another group holds (cached audio is cached).
    pub(crate) less: &'static [&'static str],
    /// Groups that the count includes.
    pub(crate) inside: &'static [Group],
    /// The class of the count less the groups inside it.
    pub(crate) class: TokenClass,
    /// Whether the groups inside may come without the count, which then is their sum.
    pub(crate) total: Total,
}

/// Whether a group's own count may be missing beside those inside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Total {
    /// The parts alone do not say how many tokens there were.
    Needed,
    /// The parts are all there is.
    SumOfParts,
}

const fn leaf(class: TokenClass, paths: &'static [&'static str]) -> Group {
    Group { paths, less: &[], inside: &[], class, total: Total::SumOfParts }
}

const fn leaf_less(class: TokenClass, paths: &'static [&'static str], less: &'static [&'static str]) -> Group {
    Group { paths, less, inside: &[], class, total: Total::SumOfParts }
}

const fn total(class: TokenClass, paths: &'static [&'static str], inside: &'static [Group]) -> Group {
    Group { paths, less: &[], inside, class, total: Total::Needed }
}

/// Cache writes: what has no stated life counts as the short one.
const fn writes(paths: &'static [&'static str], inside: &'static [Group]) -> Group {
    Group { paths, less: &[], inside, class: CacheWrite5m, total: Total::SumOfParts }
}

const CHAT_PROMPT: Group = total(
    Input,
    &["prompt_tokens"],
    &[
        leaf(
            CacheRead,
            &[
                "prompt_tokens_details.cached_tokens",
                "prompt_token_details.cached_tokens",
                "cached_tokens",
                "num_cached_tokens",
                "prompt_cache_hit_tokens",
                "cache_read_input_tokens",
            ],
        ),
        writes(
            &[
                "prompt_tokens_details.cache_write_tokens",
                "prompt_tokens_details.cache_creation_tokens",
                "cache_creation_input_tokens",
            ],
            &[
                leaf(
                    CacheWrite5m,
                    &[
                        "prompt_tokens_details.cache_write_tokens_details.ttl_30m_tokens",
                        "prompt_tokens_details.cache_creation_token_details.ephemeral_5m_input_tokens",
                        "cache_creation.ephemeral_5m_input_tokens",
                    ],
                ),
                leaf(
                    CacheWrite1h,
                    &[
                        "prompt_tokens_details.cache_write_tokens_details.ttl_12h_tokens",
                        "prompt_tokens_details.cache_creation_token_details.ephemeral_1h_input_tokens",
                        "cache_creation.ephemeral_1h_input_tokens",
                    ],
                ),
            ],
        ),
        leaf_less(
            AudioInput,
            &["prompt_tokens_details.audio_tokens"],
            &["prompt_tokens_details.cached_tokens_details.audio_tokens"],
        ),
        leaf_less(
            ImageInput,
            &["prompt_tokens_details.image_tokens"],
            &["prompt_tokens_details.cached_tokens_details.image_tokens"],
        ),
    ],
);
const CHAT_REASONING: Group = leaf(Reasoning, &["completion_tokens_details.reasoning_tokens"]);
const CHAT_AUDIO: Group = leaf(AudioOutput, &["completion_tokens_details.audio_tokens"]);
const CHAT_IMAGE: Group = leaf(ImageOutput, &["completion_tokens_details.image_tokens"]);
const CHAT_REPEATS: &[&str] = &[
    "total_tokens",
    "prompt_tokens_details.text_tokens",
    "prompt_tokens_details.cached_tokens_details.text_tokens",
    "prompt_cache_miss_tokens",
    "completion_tokens_details.text_tokens",
    "completion_tokens_details.accepted_prediction_tokens",
    "completion_tokens_details.rejected_prediction_tokens",
];

/// Chat completions of OpenAI and of all that follow it (Azure, Mistral, Groq, `DeepSeek`, `LiteLLM`): cache and
/// reasoning lie inside.
pub(crate) const CHAT: Dialect = Dialect {
    name: "chat completions",
    groups: &[CHAT_PROMPT, total(Output, &["completion_tokens"], &[CHAT_REASONING, CHAT_AUDIO, CHAT_IMAGE])],
    repeats: CHAT_REPEATS,
};

/// Chat completions of xAI: reasoning lies outside `completion_tokens`.
pub(crate) const CHAT_REASONING_OUTSIDE: Dialect = Dialect {
    name: "chat completions with reasoning outside",
    groups: &[CHAT_PROMPT, total(Output, &["completion_tokens"], &[CHAT_AUDIO, CHAT_IMAGE]), CHAT_REASONING],
    repeats: CHAT_REPEATS,
};

/// OpenAI's Responses, images and transcriptions (`input_tokens_details`), its realtime API and `LangChain`
/// (`input_token_details`): cache and reasoning lie inside.
pub(crate) const RESPONSES: Dialect = Dialect {
    name: "responses",
    groups: &[
        total(
            Input,
            &["input_tokens"],
            &[
                leaf(
                    CacheRead,
                    &[
                        "input_tokens_details.cached_tokens",
                        "input_token_details.cached_tokens",
                        "input_token_details.cache_read",
                    ],
                ),
                writes(
                    &["input_tokens_details.cache_write_tokens", "input_token_details.cache_creation"],
                    &[
                        leaf(CacheWrite5m, &["input_tokens_details.cache_write_tokens_details.ttl_30m_tokens"]),
                        leaf(CacheWrite1h, &["input_tokens_details.cache_write_tokens_details.ttl_12h_tokens"]),
                    ],
                ),
                leaf_less(
                    AudioInput,
                    &[
                        "input_tokens_details.audio_tokens",
                        "input_token_details.audio_tokens",
                        "input_token_details.audio",
                    ],
                    &[
                        "input_tokens_details.cached_tokens_details.audio_tokens",
                        "input_token_details.cached_tokens_details.audio_tokens",
                    ],
                ),
                leaf_less(
                    ImageInput,
                    &["input_tokens_details.image_tokens", "input_token_details.image_tokens"],
                    &[
                        "input_tokens_details.cached_tokens_details.image_tokens",
                        "input_token_details.cached_tokens_details.image_tokens",
                    ],
                ),
            ],
        ),
        total(
            Output,
            &["output_tokens"],
            &[
                leaf(Reasoning, &["output_tokens_details.reasoning_tokens", "output_token_details.reasoning"]),
                leaf(
                    AudioOutput,
                    &[
                        "output_tokens_details.audio_tokens",
                        "output_token_details.audio_tokens",
                        "output_token_details.audio",
                    ],
                ),
                leaf(ImageOutput, &["output_tokens_details.image_tokens", "output_token_details.image_tokens"]),
            ],
        ),
    ],
    repeats: &[
        "total_tokens",
        "input_tokens_details.text_tokens",
        "input_token_details.text_tokens",
        "input_tokens_details.cached_tokens_details.text_tokens",
        "input_token_details.cached_tokens_details.text_tokens",
        "output_tokens_details.text_tokens",
        "output_token_details.text_tokens",
    ],
};

/// Anthropic's messages, wherever they are served: `input_tokens` excludes the cache. A compaction is billed beside the
/// message; other `iterations` (an adviser's, say) are of another model and have to be events of their own.
pub(crate) const ANTHROPIC: Dialect = Dialect {
    name: "anthropic",
    groups: &[
        leaf(Input, &["input_tokens"]),
        leaf(CacheRead, &["cache_read_input_tokens"]),
        writes(
            &["cache_creation_input_tokens"],
            &[
                leaf(CacheWrite5m, &["cache_creation.ephemeral_5m_input_tokens"]),
                leaf(CacheWrite1h, &["cache_creation.ephemeral_1h_input_tokens"]),
            ],
        ),
        total(
            Output,
            &["output_tokens"],
            &[leaf(Reasoning, &["output_tokens_details.reasoning_tokens", "output_tokens_details.thinking_tokens"])],
        ),
        leaf(Input, &["iterations.compaction.input_tokens"]),
        leaf(CacheRead, &["iterations.compaction.cache_read_input_tokens"]),
        writes(
            &["iterations.compaction.cache_creation_input_tokens"],
            &[
                leaf(CacheWrite5m, &["iterations.compaction.cache_creation.ephemeral_5m_input_tokens"]),
                leaf(CacheWrite1h, &["iterations.compaction.cache_creation.ephemeral_1h_input_tokens"]),
            ],
        ),
        leaf(Output, &["iterations.compaction.output_tokens"]),
    ],
    repeats: &["iterations.message."],
};

/// Bedrock's Converse, and the counts of its `InvokeModel`: `inputTokens` excludes the cache, `totalTokens` includes it.
pub(crate) const BEDROCK: Dialect = Dialect {
    name: "bedrock",
    groups: &[
        leaf(Input, &["inputTokens", "inputTokenCount"]),
        leaf(CacheRead, &["cacheReadInputTokens", "cacheReadInputTokenCount"]),
        writes(
            &["cacheWriteInputTokens", "cacheWriteInputTokenCount"],
            &[
                leaf(CacheWrite5m, &["cacheDetails.5m.inputTokens"]),
                leaf(CacheWrite1h, &["cacheDetails.1h.inputTokens"]),
            ],
        ),
        leaf(Output, &["outputTokens", "outputTokenCount"]),
    ],
    repeats: &["totalTokens"],
};

/// Gemini's and Vertex's `usageMetadata`, in JSON's and in Python's spelling: the prompt includes what came from the
/// cache; thoughts and tool results lie beside candidates and prompt.
pub(crate) const GEMINI: Dialect = Dialect {
    name: "gemini",
    groups: &[
        total(
            Input,
            &["promptTokenCount", "prompt_token_count"],
            &[
                leaf(CacheRead, &["cachedContentTokenCount", "cached_content_token_count"]),
                leaf_less(
                    AudioInput,
                    &["promptTokensDetails.AUDIO.tokenCount", "prompt_tokens_details.AUDIO.token_count"],
                    &["cacheTokensDetails.AUDIO.tokenCount", "cache_tokens_details.AUDIO.token_count"],
                ),
                leaf_less(
                    ImageInput,
                    &["promptTokensDetails.IMAGE.tokenCount", "prompt_tokens_details.IMAGE.token_count"],
                    &["cacheTokensDetails.IMAGE.tokenCount", "cache_tokens_details.IMAGE.token_count"],
                ),
            ],
        ),
        total(
            Input,
            &["toolUsePromptTokenCount", "tool_use_prompt_token_count"],
            &[
                leaf(
                    AudioInput,
                    &[
                        "toolUsePromptTokensDetails.AUDIO.tokenCount",
                        "tool_use_prompt_tokens_details.AUDIO.token_count",
                    ],
                ),
                leaf(
                    ImageInput,
                    &[
                        "toolUsePromptTokensDetails.IMAGE.tokenCount",
                        "tool_use_prompt_tokens_details.IMAGE.token_count",
                    ],
                ),
            ],
        ),
        total(
            Output,
            &["candidatesTokenCount", "candidates_token_count", "responseTokenCount", "response_token_count"],
            &[
                leaf(
                    AudioOutput,
                    &[
                        "candidatesTokensDetails.AUDIO.tokenCount",
                        "candidates_tokens_details.AUDIO.token_count",
                        "responseTokensDetails.AUDIO.tokenCount",
                        "response_tokens_details.AUDIO.token_count",
                    ],
                ),
                leaf(
                    ImageOutput,
                    &[
                        "candidatesTokensDetails.IMAGE.tokenCount",
                        "candidates_tokens_details.IMAGE.token_count",
                        "responseTokensDetails.IMAGE.tokenCount",
                        "response_tokens_details.IMAGE.token_count",
                    ],
                ),
            ],
        ),
        leaf(Reasoning, &["thoughtsTokenCount", "thoughts_token_count"]),
    ],
    repeats: &[
        "totalTokenCount",
        "total_token_count",
        "promptTokensDetails.",
        "prompt_tokens_details.",
        "cacheTokensDetails.",
        "cache_tokens_details.",
        "toolUsePromptTokensDetails.",
        "tool_use_prompt_tokens_details.",
        "candidatesTokensDetails.",
        "candidates_tokens_details.",
        "responseTokensDetails.",
        "response_tokens_details.",
    ],
};

/// Cohere: `billed_units` is what the invoice counts; `tokens` is what the model saw, and its cache is not billed apart.
pub(crate) const COHERE: Dialect = Dialect {
    name: "cohere",
    groups: &[
        leaf(Input, &["billed_units.input_tokens"]),
        leaf(ImageInput, &["billed_units.image_tokens"]),
        leaf(Output, &["billed_units.output_tokens"]),
    ],
    repeats: &["tokens.", "cached_tokens"],
};

/// OpenTelemetry's `gen_ai.usage.*` with the spellings of earlier versions, Sentry and Traceloop: totals include all.
pub(crate) const OPEN_TELEMETRY: Dialect = Dialect {
    name: "opentelemetry",
    groups: &[
        total(
            Input,
            &["input_tokens", "prompt_tokens"],
            &[
                leaf(CacheRead, &["cache_read.input_tokens", "cache_read_input_tokens", "input_tokens.cached"]),
                writes(
                    &[
                        "cache_write.input_tokens",
                        "cache_creation.input_tokens",
                        "cache_write_input_tokens",
                        "cache_creation_input_tokens",
                        "input_tokens.cache_write",
                    ],
                    &[],
                ),
                leaf_less(AudioInput, &["audio.input_tokens"], &["audio.cache_read.input_tokens"]),
                leaf_less(ImageInput, &["image.input_tokens"], &["image.cache_read.input_tokens"]),
            ],
        ),
        total(
            Output,
            &["output_tokens", "completion_tokens"],
            &[
                leaf(Reasoning, &["reasoning.output_tokens", "reasoning_tokens", "output_tokens.reasoning"]),
                leaf(AudioOutput, &["audio.output_tokens"]),
                leaf(ImageOutput, &["image.output_tokens"]),
            ],
        ),
    ],
    repeats: &["total_tokens", "text."],
};

/// `OpenInference`'s `llm.token_count.*`: totals include all.
pub(crate) const OPEN_INFERENCE: Dialect = Dialect {
    name: "openinference",
    groups: &[
        total(
            Input,
            &["prompt"],
            &[
                leaf(CacheRead, &["prompt_details.cache_read"]),
                writes(&["prompt_details.cache_write"], &[]),
                leaf(AudioInput, &["prompt_details.audio"]),
            ],
        ),
        total(
            Output,
            &["completion"],
            &[leaf(Reasoning, &["completion_details.reasoning"]), leaf(AudioOutput, &["completion_details.audio"])],
        ),
    ],
    repeats: &["total"],
};

/// The AI SDK's `usage`: totals include all.
pub(crate) const AI_SDK: Dialect = Dialect {
    name: "ai sdk",
    groups: &[
        total(
            Input,
            &["inputTokens", "promptTokens"],
            &[
                leaf(CacheRead, &["cachedInputTokens", "inputTokenDetails.cacheReadTokens"]),
                writes(&["inputTokenDetails.cacheWriteTokens"], &[]),
            ],
        ),
        total(
            Output,
            &["outputTokens", "completionTokens"],
            &[leaf(Reasoning, &["reasoningTokens", "outputTokenDetails.reasoningTokens"])],
        ),
    ],
    repeats: &["totalTokens", "inputTokenDetails.noCacheTokens", "outputTokenDetails.textTokens"],
};
