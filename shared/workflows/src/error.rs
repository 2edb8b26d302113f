//! Why a workflow did not do what it was asked.

use recoup_store::{StoreError, WriteError};

/// A refusal, a named value that a caller can act on, or a failure of what lies below.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The request itself is wrong; the same request will fail again.
    #[error("{detail}")]
    Invalid {
        /// Stable name of the problem, kebab-case.
        kind: &'static str,
        /// The field or argument concerned.
        field: String,
        /// What is wrong with it, and the remedy.
        detail: String,
    },
    /// Several problems at once, each with its remedy.
    #[error("{summary}")]
    Problems {
        /// Stable name of the problem, kebab-case.
        kind: &'static str,
        /// In one sentence.
        summary: String,
        /// Each problem in words.
        problems: Vec<String>,
    },
    /// No key, or one that is not known.
    #[error("{0}")]
    Unauthenticated(&'static str),
    /// The key may not do or see this.
    #[error("{0}")]
    Forbidden(String),
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// The state does not allow it now.
    #[error("{detail}")]
    Conflict {
        /// Stable name of the problem, kebab-case.
        kind: &'static str,
        /// Why, and the remedy.
        detail: String,
    },
    /// The request is larger than a named limit.
    #[error("{0}")]
    TooLarge(String),
    /// The store failed; trying again may help.
    #[error("the store failed: {0}")]
    Store(#[from] StoreError),
    /// A figure could not be computed; nothing was changed.
    #[error("could not {doing}: {detail}")]
    Computation {
        /// What was being done, in a verb phrase.
        doing: &'static str,
        /// Why it could not be done.
        detail: String,
    },
}

impl Refusal {
    /// An [`Refusal::Invalid`].
    pub fn invalid(kind: &'static str, field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Invalid { kind, field: field.into(), detail: detail.into() }
    }

    /// Whether what was asked, or what stands, is why: the same is refused again until that changes. Else something below
    /// broke, or somebody was faster.
    #[must_use]
    pub fn refuses(&self) -> bool {
        let passing = matches!(self, Self::Conflict { kind: "busy" | "turn-lost" | "changed-meanwhile", .. });
        !passing && !matches!(self, Self::Store(_) | Self::Computation { .. })
    }

    /// A [`Refusal::Computation`].
    pub fn computation(doing: &'static str, cause: impl std::fmt::Display) -> Self {
        Self::Computation { doing, detail: cause.to_string() }
    }
}

impl From<WriteError> for Refusal {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Conflict(key) => Self::Conflict {
                kind: "changed-meanwhile",
                detail: format!("{}/{} was changed by somebody else meanwhile; try again", key.partition, key.sort),
            },
            WriteError::TooLarge(detail) => Self::TooLarge(detail),
            WriteError::Store(error) => Self::Store(error),
        }
    }
}
