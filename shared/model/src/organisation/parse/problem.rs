//! What is wrong with a file, and where.

use std::cell::{Cell, RefCell};
use std::fmt;

use serde::Serialize;

use crate::organisation::parse::nearest::nearest;

/// Problems of one file that are listed; the others are only counted.
const PROBLEMS_MAX: usize = 1_000;
/// Searches for a name that was perhaps meant, in one file: each compares with every declared name.
const SUGGESTIONS_MAX: usize = 20;
/// Characters of a faulty value that are repeated in a message.
const QUOTED_CHARS_MAX: usize = 64;

/// One thing that is wrong with an organisation file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileProblem {
    /// Where it stands, from 1; 0: the problem is one of the whole and not of a line.
    pub line: usize,
    /// What it is about, such as `agents[1].shared_pool` (entries count from 0); empty: the text itself.
    pub path: String,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

impl fmt::Display for FileProblem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(out, "line {}: ", self.line)?;
        }
        if !self.path.is_empty() {
            write!(out, "{}: ", self.path)?;
        }
        write!(out, "{}; {}", self.problem, self.remedy)
    }
}

impl std::error::Error for FileProblem {}

/// Where a value stands.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    /// Byte offset in the text.
    pub(super) offset: usize,
    /// The path that a person reads.
    pub(super) path: String,
}

impl Place {
    /// The place of a key inside a table.
    pub(super) fn key(&self, key: &str, offset: usize) -> Self {
        let bare =
            !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        let key = if bare { key.to_owned() } else { format!("\"{}\"", shortened(key)) };
        let path = if self.path.is_empty() { key } else { format!("{}.{key}", self.path) };
        Self { offset, path }
    }

    /// The place of an entry of a list.
    pub(super) fn entry(&self, at: usize, offset: usize) -> Self {
        Self { offset, path: format!("{}[{at}]", self.path) }
    }
}

/// A value of the file as messages repeat it: in backticks, without control characters, not too long.
pub(super) fn quoted(text: &str) -> String {
    format!("`{}`", shortened(text))
}

fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(QUOTED_CHARS_MAX).flat_map(readable).collect();
    if text.chars().nth(QUOTED_CHARS_MAX).is_some() {
        short.push_str("...");
    }
    short
}

fn readable(letter: char) -> Vec<char> {
    if letter.is_control() { letter.escape_default().collect() } else { vec![letter] }
}

/// Collects everything that is wrong with one text.
pub(super) struct Report {
    line_starts: Vec<usize>,
    found: RefCell<Vec<(usize, FileProblem)>>,
    notices: RefCell<Vec<(usize, FileProblem)>>,
    unlisted: Cell<usize>,
    suggestions: Cell<usize>,
}

impl Report {
    /// An empty report about a text.
    pub(super) fn about(text: &str) -> Self {
        let after_breaks =
            text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at.saturating_add(1));
        Self {
            line_starts: std::iter::once(0).chain(after_breaks).collect(),
            found: RefCell::default(),
            notices: RefCell::default(),
            unlisted: Cell::new(0),
            suggestions: Cell::new(0),
        }
    }

    /// The line of a byte offset, from 1.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset).max(1)
    }

    /// The byte offset at which the line of an offset begins.
    pub(super) fn line_start(&self, offset: usize) -> usize {
        self.line_starts.get(self.line(offset).saturating_sub(1)).copied().unwrap_or_default()
    }

    /// Adds a problem, which refuses the file.
    pub(super) fn problem(&self, place: &Place, problem: impl Into<String>, remedy: impl Into<String>) {
        self.list(&self.found, place, problem.into(), remedy.into());
    }

    /// Adds a notice, which does not.
    pub(super) fn notice(&self, place: &Place, problem: impl Into<String>, remedy: impl Into<String>) {
        self.list(&self.notices, place, problem.into(), remedy.into());
    }

    fn list(&self, list: &RefCell<Vec<(usize, FileProblem)>>, place: &Place, problem: String, remedy: String) {
        let mut list = list.borrow_mut();
        if list.len() >= PROBLEMS_MAX {
            self.unlisted.set(self.unlisted.get().saturating_add(1));
            return;
        }
        let line = self.line(place.offset);
        list.push((place.offset, FileProblem { line, path: place.path.clone(), problem, remedy }));
    }

    /// The remedy `did you mean ...?` where a known name is near, else `otherwise`.
    pub(super) fn did_you_mean<'n>(
        &self,
        name: &str,
        known: impl IntoIterator<Item = &'n str>,
        otherwise: impl Into<String>,
    ) -> String {
        let searched = self.suggestions.get();
        if searched >= SUGGESTIONS_MAX {
            return otherwise.into();
        }
        self.suggestions.set(searched.saturating_add(1));
        nearest(name, known).map_or_else(|| otherwise.into(), |near| format!("did you mean {}?", quoted(near)))
    }

    /// All problems and all notices, each in the order of the text.
    pub(super) fn into_parts(self) -> (Vec<FileProblem>, Vec<FileProblem>) {
        let unlisted = self.unlisted.get();
        let mut problems = in_order(self.found.into_inner());
        if unlisted > 0 && !problems.is_empty() {
            problems.push(FileProblem {
                line: 0,
                path: String::new(),
                problem: format!("{unlisted} more problems are not listed"),
                remedy: "correct these first".to_owned(),
            });
        }
        (problems, in_order(self.notices.into_inner()))
    }
}

fn in_order(mut found: Vec<(usize, FileProblem)>) -> Vec<FileProblem> {
    found.sort_by_key(|(offset, _)| *offset);
    found.into_iter().map(|(_, problem)| problem).collect()
}
