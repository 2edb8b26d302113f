//! A text of the tree as the checks see it: its masks and which of its lines are tests.

use crate::scan;
use std::ops::Range;

/// One readable file.
#[derive(Debug)]
pub struct Source {
    /// Path from the workspace root, with `/`.
    pub path: String,
    /// The text as it is.
    pub text: String,
    /// Rust code without comments and literals; empty for other languages.
    pub code: String,
    /// Rust comments; for other languages the whole text.
    pub comments: String,
    /// Half-open ranges of lines, from 1, that `#[cfg(test)]` governs.
    test_lines: Vec<Range<usize>>,
}

impl Source {
    /// Reads `text` as the content of `path`.
    pub fn new(path: &str, text: &str) -> Self {
        let (code, comments) = if path.ends_with(".rs") {
            let masks = scan::masks(text);
            (masks.code, masks.comments)
        } else {
            (String::new(), text.to_owned())
        };
        Self { path: path.to_owned(), text: text.to_owned(), test_lines: test_lines(&code), code, comments }
    }

    /// Whether it is Rust.
    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether the whole file serves tests: it lies in a `tests`, `benches` or `cases` folder or is a module `tests.rs`.
    pub fn is_test_file(&self) -> bool {
        let mut parts = self.path.rsplit('/');
        parts.next() == Some("tests.rs") || parts.any(|folder| matches!(folder, "tests" | "benches" | "cases"))
    }

    /// Whether `line` belongs to a test file or stands below `#[cfg(test)]`.
    pub fn is_test_line(&self, line: usize) -> bool {
        self.is_test_file() || self.test_lines.iter().any(|range| range.contains(&line))
    }

    /// Lines of the file that are no tests.
    pub fn product_lines(&self) -> usize {
        let lines = 1..=self.text.lines().count();
        lines.filter(|line| !self.is_test_line(*line)).count()
    }
}

fn test_lines(code: &str) -> Vec<Range<usize>> {
    const OUTER: &str = "#[cfg(test)]";
    if code.contains("#![cfg(test)]") {
        return vec![Range { start: 1, end: usize::MAX }];
    }
    code.match_indices(OUTER)
        .filter_map(|(at, _)| {
            let item = at + OUTER.len();
            let end = item + scan::item_length(code.get(item..)?);
            Some(scan::line_at(code, at)..scan::line_at(code, end) + 1)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::Source;

    #[test]
    fn the_lines_of_test_modules_are_known() {
        let text = "fn a() {}\n#[cfg(test)]\n#[expect(x, reason = \"}\")]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n";
        let source = Source::new("shared/x/src/lib.rs", text);
        let tests: Vec<_> = (1..=7).filter(|line| source.is_test_line(*line)).collect();
        assert_eq!(tests, [2, 3, 4, 5, 6]);
        assert_eq!(source.product_lines(), 2);
    }

    #[test]
    fn folders_and_file_names_make_a_test_file() {
        let is_test = |path| Source::new(path, "").is_test_file();
        assert!(is_test("tests/suite/src/lib.rs"));
        assert!(is_test("shared/x/tests/a.rs"));
        assert!(is_test("shared/x/src/a/tests.rs"));
        assert!(!is_test("shared/x/src/tests_of_faith.rs"));
        assert!(Source::new("a/src/b.rs", "#![cfg(test)]\n").is_test_line(9));
    }
}
