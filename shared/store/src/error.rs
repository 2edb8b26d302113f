//! What can go wrong below a port.

use std::error::Error;

/// Causes that are told at most.
const CAUSES_MAX: usize = 6;

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

/// An error with its causes, without repetition: what an operator has to read in a log.
#[must_use]
pub fn causes(error: &(dyn Error + 'static)) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(cause) = next.filter(|_| words.len() < CAUSES_MAX) {
        let said = cause.to_string();
        if !words.last().is_some_and(|last| last.ends_with(&said)) {
            words.push(said);
        }
        next = cause.source();
    }
    words.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the store failed: {0}")]
    struct Refused(#[from] StoreError);

    #[test]
    fn an_error_tells_each_cause_once() {
        let full = StoreError::unavailable("write records", std::io::Error::other("the disk is full"));
        assert_eq!(causes(&Refused(full)), "the store failed: could not write records: the disk is full");
    }

    #[test]
    fn a_chain_of_causes_is_told_up_to_its_bound() {
        let deep = (0..20).fold(StoreError::unavailable("stop", "the end"), |error, _| {
            StoreError::unavailable(if error.to_string().ends_with('a') { "b" } else { "a" }, error)
        });
        assert_eq!(causes(&deep).split(": ").count(), CAUSES_MAX);
    }
}
