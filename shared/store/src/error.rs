//! What can go wrong below a port.

/// A store could not do what it was asked. Says what was being done; the cause is behind `source()`.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store is not reachable, full, or broken; trying again may help.
    #[error("could not {doing}")]
    Unavailable {
        /// What was being done, in a verb phrase.
        doing: &'static str,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Stored bytes are not what they should be; trying again does not help.
    #[error("{what} is damaged: {detail}")]
    Damaged {
        /// Which record or block.
        what: String,
        /// What is wrong with it.
        detail: String,
    },
}

impl StoreError {
    /// An [`StoreError::Unavailable`] with its cause.
    pub fn unavailable(doing: &'static str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Unavailable { doing, source: source.into() }
    }
}
