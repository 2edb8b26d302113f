//! Disjoint token classes (EVT-4).

use serde::{Deserialize, Serialize};

/// A class of tokens. The classes are disjoint: a token is counted in exactly one of them (EVT-4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenClass {
    /// Prompt tokens that came from no cache.
    Input,
    /// Prompt tokens read from a cache.
    CacheRead,
    /// Prompt tokens written to a cache that lives five minutes (or has no stated life).
    #[serde(rename = "cache_write_5m")]
    CacheWrite5m,
    /// Prompt tokens written to a cache that lives an hour.
    #[serde(rename = "cache_write_1h")]
    CacheWrite1h,
    /// Completion tokens that are no reasoning.
    Output,
    /// Reasoning (thinking) tokens.
    Reasoning,
    /// Audio in the prompt.
    AudioInput,
    /// Audio in the completion.
    AudioOutput,
    /// Images in the prompt.
    ImageInput,
    /// Images in the completion.
    ImageOutput,
}

impl TokenClass {
    /// Every class, in the order in which they are stored, rated and printed.
    pub const ALL: [Self; 10] = [
        Self::Input,
        Self::CacheRead,
        Self::CacheWrite5m,
        Self::CacheWrite1h,
        Self::Output,
        Self::Reasoning,
        Self::AudioInput,
        Self::AudioOutput,
        Self::ImageInput,
        Self::ImageOutput,
    ];

    /// The name in the contract.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::CacheRead => "cache_read",
            Self::CacheWrite5m => "cache_write_5m",
            Self::CacheWrite1h => "cache_write_1h",
            Self::Output => "output",
            Self::Reasoning => "reasoning",
            Self::AudioInput => "audio_input",
            Self::AudioOutput => "audio_output",
            Self::ImageInput => "image_input",
            Self::ImageOutput => "image_output",
        }
    }

    /// The class of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.name() == name)
    }

    /// Whether the class counts on the input side of a call (EVT-5 compares input and output sides).
    #[must_use]
    pub const fn is_input_side(self) -> bool {
        matches!(
            self,
            Self::Input
                | Self::CacheRead
                | Self::CacheWrite5m
                | Self::CacheWrite1h
                | Self::AudioInput
                | Self::ImageInput
        )
    }

    /// Whether a context threshold counts it: input, `cache_read` and cache writes (RAT-1).
    #[must_use]
    pub const fn counts_as_context(self) -> bool {
        matches!(self, Self::Input | Self::CacheRead | Self::CacheWrite5m | Self::CacheWrite1h)
    }

    const fn slot(self) -> usize {
        self as usize
    }
}

/// Token counts by class. All zero is allowed and means that the call reported zero tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Usage([u64; TokenClass::ALL.len()]);

impl Usage {
    /// No tokens.
    pub const NONE: Self = Self([0; TokenClass::ALL.len()]);

    /// The tokens of a class.
    #[must_use]
    pub fn get(&self, class: TokenClass) -> u64 {
        self.0.get(class.slot()).copied().unwrap_or_default()
    }

    /// Sets the tokens of a class.
    pub fn set(&mut self, class: TokenClass, tokens: u64) {
        if let Some(slot) = self.0.get_mut(class.slot()) {
            *slot = tokens;
        }
    }

    /// This usage with the tokens of a class set.
    #[must_use]
    pub fn with(mut self, class: TokenClass, tokens: u64) -> Self {
        self.set(class, tokens);
        self
    }

    /// The classes that have tokens, in class order.
    pub fn nonzero(&self) -> impl Iterator<Item = (TokenClass, u64)> + '_ {
        TokenClass::ALL.into_iter().map(|class| (class, self.get(class))).filter(|(_, tokens)| *tokens > 0)
    }

    /// All tokens of the classes that `keep` accepts; saturates (a count is bounded at the door).
    fn sum(&self, keep: impl Fn(TokenClass) -> bool) -> u64 {
        TokenClass::ALL
            .into_iter()
            .filter(|class| keep(*class))
            .fold(0, |sum, class| sum.saturating_add(self.get(class)))
    }

    /// All tokens.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.sum(|_| true)
    }

    /// Tokens of the input side, cache included.
    #[must_use]
    pub fn input_side(&self) -> u64 {
        self.sum(TokenClass::is_input_side)
    }

    /// Tokens of the output side, reasoning included.
    #[must_use]
    pub fn output_side(&self) -> u64 {
        self.sum(|class| !class.is_input_side())
    }

    /// What a context threshold is compared with: input + `cache_read` + cache writes (RAT-1).
    #[must_use]
    pub fn context(&self) -> u64 {
        self.sum(TokenClass::counts_as_context)
    }
}
