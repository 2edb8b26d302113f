//! How long functions and files may be, and the list of exceptions that may only shrink.

use crate::Finding;
use crate::scan::{Function, functions};
use crate::source::Source;
use std::collections::BTreeMap;

/// Lines of a function, from `fn` to its closing brace. Tests are functions too.
pub const FUNCTION_LINES_MAX: usize = 70;
/// Lines of a file without its tests.
pub const FILE_LINES_MAX: usize = 600;
/// Parameters of a function without its receiver.
pub const PARAMETERS_MAX: usize = 5;
/// Where the exceptions are listed, one `path:function lines` a line.
pub const RATCHET: &str = "tests/tidy/ratchet.txt";

/// Functions and files that are too large, and exceptions in `ratchet` that are not needed as they stand.
pub fn check(sources: &[Source], ratchet: &str) -> Vec<Finding> {
    let (mut exceptions, mut findings) = read_ratchet(ratchet);
    let mut longest: BTreeMap<String, (&Source, Function)> = BTreeMap::new();
    for source in sources.iter().filter(|source| source.is_rust()) {
        findings.extend(check_file(source));
        for function in functions(&source.code) {
            findings.extend(check_parameters(source, &function));
            let key = format!("{}:{}", source.path, function.name);
            let known = longest.get(&key).map_or(0, |(_, known)| known.lines);
            if function.lines > known.max(FUNCTION_LINES_MAX) {
                longest.insert(key, (source, function));
            }
        }
    }
    for (key, (source, function)) in longest {
        findings.extend(check_function(source, &function, exceptions.remove(&key)));
    }
    findings.extend(exceptions.into_iter().map(|(key, exception)| {
        let wrong = format!("{key} is not longer than {FUNCTION_LINES_MAX} lines, or gone");
        Finding::new(RATCHET, exception.line, "ratchet", wrong, "delete this line")
    }));
    findings
}

struct Exception {
    line: usize,
    lines: usize,
}

fn read_ratchet(text: &str) -> (BTreeMap<String, Exception>, Vec<Finding>) {
    let mut exceptions = BTreeMap::new();
    let mut findings = Vec::new();
    let is_entry = |(_, entry): &(usize, &str)| !entry.trim().is_empty() && !entry.starts_with('#');
    for (line, entry) in (1..).zip(text.lines()).filter(is_entry) {
        let parsed = entry.rsplit_once(' ').and_then(|(key, lines)| Some((key, lines.parse().ok()?)));
        if let Some((key, lines)) = parsed {
            exceptions.insert(key.trim().to_owned(), Exception { line, lines });
        } else {
            let wrong = format!("`{entry}` is not an exception");
            findings.push(Finding::new(RATCHET, line, "ratchet", wrong, "write `path:function lines`"));
        }
    }
    (exceptions, findings)
}

fn check_function(source: &Source, function: &Function, exception: Option<Exception>) -> Option<Finding> {
    let Function { name, line, lines, .. } = function;
    match exception {
        Some(exception) if exception.lines == *lines => None,
        Some(exception) if exception.lines > *lines => {
            let wrong = format!("{name} has shrunk to {lines} lines");
            Some(Finding::new(RATCHET, exception.line, "ratchet", wrong, format!("lower the exception to {lines}")))
        }
        _ => {
            let wrong = format!("{name} has {lines} lines, more than {FUNCTION_LINES_MAX}");
            Some(Finding::new(&source.path, *line, "size", wrong, "move a step with a name of its own out of it"))
        }
    }
}

fn check_parameters(source: &Source, function: &Function) -> Option<Finding> {
    let Function { name, line, parameters, .. } = function;
    (*parameters > PARAMETERS_MAX).then(|| {
        let wrong = format!("{name} has {parameters} parameters, more than {PARAMETERS_MAX}");
        Finding::new(&source.path, *line, "size", wrong, "group what belongs together in a struct")
    })
}

fn check_file(source: &Source) -> Option<Finding> {
    let lines = source.product_lines();
    (lines > FILE_LINES_MAX).then(|| {
        let wrong = format!("{lines} lines without tests, more than {FILE_LINES_MAX}");
        Finding::new(&source.path, 1, "size", wrong, "split the file by subject")
    })
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::source::Source;

    const PATH: &str = "shared/x/src/a.rs";

    fn source(function_lines: usize) -> Source {
        Source::new(PATH, &format!("fn long() {{{}}}\n", "\n".repeat(function_lines - 1)))
    }

    fn found(source: Source, ratchet: &str) -> Vec<String> {
        check(&[source], ratchet).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_function_has_seventy_lines_at_most() {
        assert!(found(source(70), "").is_empty());
        let findings = found(source(71), "");
        assert_eq!(findings.len(), 1);
        assert!(findings.concat().starts_with("shared/x/src/a.rs:1: size: long has 71 lines"));
    }

    #[test]
    fn the_ratchet_fits_exactly_or_is_a_finding() {
        let entry = |lines: &str| format!("# why\n\n{PATH}:long {lines}\n");
        assert!(found(source(80), &entry("80")).is_empty());
        assert!(found(source(81), &entry("80")).concat().contains("long has 81 lines"));
        assert!(found(source(79), &entry("80")).concat().contains("ratchet.txt:3: ratchet: long has shrunk"));
        assert!(found(source(70), &entry("80")).concat().contains("delete this line"));
        assert!(found(source(70), &entry("many")).concat().contains("is not an exception"));
    }

    #[test]
    fn a_file_has_six_hundred_lines_at_most_apart_from_tests() {
        let tests = format!("#[cfg(test)]\nmod tests {{{}}}\n", "\n".repeat(90));
        let with = |lines: usize| "// a\n".repeat(lines) + &tests;
        assert!(found(Source::new(PATH, &with(600)), "").is_empty());
        assert!(found(Source::new(PATH, &with(601)), "").concat().contains("601 lines without tests"));
        assert!(found(Source::new("tests/x/src/a.rs", &with(601)), "").is_empty());
    }

    #[test]
    fn a_function_has_five_parameters_at_most() {
        let five = "fn f(&self, a: u8, b: u8, c: u8, d: u8, e: u8) {}";
        assert!(found(Source::new(PATH, five), "").is_empty());
        assert_eq!(found(Source::new(PATH, &five.replace("&self", "s: S")), "").len(), 1);
    }
}
