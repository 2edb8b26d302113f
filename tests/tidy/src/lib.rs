//! Tidy: the house rules of this workspace, as tests that name the file, the line and what to do instead.
//!
//! Owns: the layers of the crates, what a pure crate may touch, sizes, names, the shape of the tree, and that every
//! cited invariant exists. Does not own: formatting (rustfmt), code lints (clippy), what the invariants mean.
//!
//! Every check is a function of values (paths, texts, packages), so that it can be shown to fail on a made-up input;
//! only [`workspace`] reads files and starts processes. Start reading at `tests/workspace.rs`.

pub mod citations;
pub mod hygiene;
pub mod layers;
pub mod manifests;
pub mod purity;
pub mod scan;
pub mod sizes;
pub mod source;
pub mod workspace;

use std::fmt;

/// One broken rule; prints as `file:line: rule: what is wrong; what to do instead`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Path from the workspace root, with `/`.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// The rule's short name.
    pub rule: &'static str,
    /// What is wrong.
    pub wrong: String,
    /// What to do instead.
    pub instead: String,
}

impl Finding {
    /// A finding at `line` of `file`.
    pub fn new(
        file: &str,
        line: usize,
        rule: &'static str,
        wrong: impl Into<String>,
        instead: impl Into<String>,
    ) -> Self {
        Self { file: file.to_owned(), line, rule, wrong: wrong.into(), instead: instead.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, rule, wrong, instead } = self;
        write!(out, "{file}:{line}: {rule}: {wrong}; {instead}")
    }
}

#[cfg(test)]
mod tests {
    use super::Finding;

    #[test]
    fn a_finding_prints_as_one_clickable_line() {
        let finding = Finding::new("a/b.rs", 7, "size", "too long", "split it");
        assert_eq!(finding.to_string(), "a/b.rs:7: size: too long; split it");
    }
}
