//! Names that say nothing, doors left open, and traces of one machine.

use crate::Finding;
use crate::scan::{self, in_word, line_at, word_positions};
use crate::source::Source;

const EMPTY_NAMES: &[&str] = &[
    "common", "utils", "util", "helpers", "helper", "core", "manager", "misc",
];

const MACROS: &[(&str, &str)] = &[
    ("todo!", "write it, or return a named refusal"),
    ("unimplemented!", "write it, or return a named refusal"),
    ("dbg!", "use tracing, or delete it"),
];

const REMINDERS: &[&str] = &["TODO", "FIXME", "XXX"];

/// First folders of absolute paths that exist on somebody's machine only.
const MACHINE_FOLDERS: &[&str] = &["work", "root", "home"];

/// Folders, files (with any extension) and packages whose name says nothing.
pub fn check_names(paths: &[String], packages: &[String]) -> Vec<Finding> {
    let finding = |file: &str, name: &str| {
        let wrong = format!("the name {name} says nothing");
        Finding::new(file, 1, "name", wrong, "name it after what it holds")
    };
    let in_path = |path: &String| {
        let empty = path.split('/').find_map(empty_part)?;
        Some(finding(path, empty))
    };
    let in_package = |package: &String| Some(finding("Cargo.toml", empty_part(package)?));
    let of_paths = paths.iter().filter_map(in_path);
    of_paths
        .chain(packages.iter().filter_map(in_package))
        .collect()
}

fn empty_part(name: &str) -> Option<&str> {
    name.split(['-', '_', '.'])
        .find(|part| EMPTY_NAMES.contains(part))
}

/// What no text of the tree may hold.
pub fn check_texts(sources: &[Source]) -> Vec<Finding> {
    let checks = [
        inline_modules,
        opening,
        attributes,
        macros,
        reminders,
        machine_paths,
    ];
    sources
        .iter()
        .flat_map(|source| checks.iter().flat_map(move |check| check(source)))
        .collect()
}

fn inline_modules(source: &Source) -> Vec<Finding> {
    let module = |at: usize| {
        let after = source.code.get(at + "mod".len()..)?.trim_start();
        let name = after.split(|letter| !in_word(letter)).next()?;
        let empty = empty_part(name)?;
        let wrong = format!("the module name {empty} says nothing");
        Some(at_byte(
            source,
            at,
            ("name", wrong, "name it after what it holds"),
        ))
    };
    word_positions(&source.code, "mod")
        .filter_map(module)
        .collect()
}

fn opening(source: &Source) -> Vec<Finding> {
    let mut parts = source.path.rsplit('/');
    let is_root = match (parts.next(), parts.next()) {
        (Some("lib.rs" | "main.rs"), Some("src")) => true,
        (Some(_), Some("bin")) => source.is_rust(),
        _ => false,
    };
    if !is_root || source.text.starts_with("//!") {
        return Vec::new();
    }
    let wrong = "the crate does not begin with `//!`";
    let instead = "say what it is, owns, does not own, and where to start reading";
    vec![Finding::new(&source.path, 1, "opening", wrong, instead)]
}

fn attributes(source: &Source) -> Vec<Finding> {
    let judge = |(at, _): (usize, &str)| {
        let item = source.code.get(at..)?;
        let attribute = item.get(..attribute_length(item))?;
        let has = |word| word_positions(attribute, word).next().is_some();
        let complaint = if has("allow") {
            (
                "a lint is switched off for good",
                "use `#[expect(..., reason = \"...\")]`",
            )
        } else if has("expect") && !has("reason") {
            ("an expectation without a reason", "add `reason = \"...\"`")
        } else if has("ignore") {
            ("a test is skipped", "make it pass or delete it")
        } else {
            return None;
        };
        Some(at_byte(
            source,
            at,
            ("attribute", complaint.0.to_owned(), complaint.1),
        ))
    };
    source.code.match_indices('#').filter_map(judge).collect()
}

/// Length of `#[…]` or `#![…]`; 0 where the hash begins something else.
fn attribute_length(code: &str) -> usize {
    let inside = code.trim_start_matches(['#', '!']);
    if !inside.starts_with('[') {
        return 0;
    }
    let mut depth = 0_usize;
    for (at, letter) in code.char_indices() {
        match letter {
            '[' => depth += 1,
            ']' if depth == 1 => return at + 1,
            ']' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

fn macros(source: &Source) -> Vec<Finding> {
    let uses = |(name, instead): &(&'static str, &'static str)| {
        let finding = |at| {
            at_byte(
                source,
                at,
                ("macro", format!("{name} is left in"), *instead),
            )
        };
        word_positions(&source.code, name)
            .map(finding)
            .collect::<Vec<_>>()
    };
    MACROS.iter().flat_map(uses).collect()
}

fn reminders(source: &Source) -> Vec<Finding> {
    let uses = |word: &&'static str| {
        let finding = |at| {
            let line = line_at(&source.comments, at);
            let wrong = format!("{word} is left in");
            Finding::new(
                &source.path,
                line,
                "reminder",
                wrong,
                "do it, or write it down outside the tree",
            )
        };
        word_positions(&source.comments, word)
            .map(finding)
            .collect::<Vec<_>>()
    };
    REMINDERS.iter().flat_map(uses).collect()
}

fn machine_paths(source: &Source) -> Vec<Finding> {
    let uses = |folder: &&str| {
        let wanted = format!("/{folder}/");
        let finding = |(at, found): (usize, &str)| {
            // Behind a letter or a closing bracket the slash continues a relative path or an address.
            let before = source
                .text
                .get(..at)
                .and_then(|head| head.chars().next_back());
            let continues =
                before.is_some_and(|letter| in_word(letter) || ".-~}])*/".contains(letter));
            let wrong = format!("an absolute path below {found}");
            let instead = "make it relative to the workspace, or an argument";
            (!continues).then(|| {
                Finding::new(
                    &source.path,
                    line_at(&source.text, at),
                    "machine",
                    wrong,
                    instead,
                )
            })
        };
        source
            .text
            .match_indices(&wanted)
            .filter_map(finding)
            .collect::<Vec<_>>()
    };
    MACHINE_FOLDERS.iter().flat_map(uses).collect()
}

fn at_byte(
    source: &Source,
    at: usize,
    (rule, wrong, instead): (&'static str, String, &str),
) -> Finding {
    Finding::new(
        &source.path,
        scan::line_at(&source.code, at),
        rule,
        wrong,
        instead,
    )
}

#[cfg(test)]
mod tests {
    use super::{check_names, check_texts};
    use crate::source::Source;

    fn rules(path: &str, text: &str) -> Vec<&'static str> {
        check_texts(&[Source::new(path, text)])
            .iter()
            .map(|finding| finding.rule)
            .collect()
    }

    #[test]
    fn empty_names_are_refused() {
        let names = |path: &str, package: &str| {
            check_names(&[path.to_owned()], &[package.to_owned()]).len()
        };
        assert_eq!(names("shared/score/src/encoder.rs", "recoup-money"), 0);
        assert_eq!(names("shared/core/src/lib.rs", "recoup-core"), 2);
        assert_eq!(names("tests/test_helpers.py", "recoup-money"), 1);
        assert_eq!(rules("a/src/b.rs", "pub mod utils {}"), ["name"]);
        assert!(rules("a/src/b.rs", "pub mod units {}").is_empty());
    }

    #[test]
    fn crates_open_with_their_purpose() {
        assert_eq!(rules("a/src/lib.rs", "// A crate.\n"), ["opening"]);
        assert_eq!(rules("a/src/bin/b.rs", ""), ["opening"]);
        assert!(rules("a/src/main.rs", "//! A crate.\n").is_empty());
        assert!(rules("a/src/b.rs", "").is_empty());
    }

    #[test]
    fn lints_are_expected_with_a_reason() {
        let bad = [
            "#[allow(dead_code)]",
            "#![allow(x)]",
            "#[cfg_attr(test, allow(x))]",
            "#[expect(\n    x\n)]",
            "#[ignore]",
            "#[ignore = \"slow\"]",
        ];
        for text in bad {
            assert_eq!(rules("a/src/b.rs", text), ["attribute"], "{text}");
        }
        let good = "#[expect(x, reason = \"y\")]\nfn allow() { a.expect(1); }\n// #[allow(x)]\n#[serde(allow_null)]";
        assert!(rules("a/src/b.rs", good).is_empty());
    }

    #[test]
    fn nothing_is_left_in() {
        assert_eq!(rules("a/src/b.rs", "fn a() { todo!() }"), ["macro"]);
        assert_eq!(
            rules("a/src/b.rs", "unimplemented!(); std::dbg!(x);"),
            ["macro", "macro"]
        );
        assert_eq!(
            rules("a/src/b.rs", "// TODO later\n/* FIXME */ // XXX"),
            ["reminder"; 3]
        );
        assert_eq!(rules("a/b.sh", "# TODO later"), ["reminder"]);
        assert!(rules("a/src/b.rs", "let todo = \"TODO\"; // todos").is_empty());
    }

    #[test]
    fn paths_of_one_machine_are_refused() {
        let below = |before: &str, folder: &str| format!("{before}/{folder}/x");
        for folder in ["work", "root", "home"] {
            assert_eq!(
                rules("a.md", &below("see ", folder)),
                ["machine"],
                "{folder}"
            );
            assert_eq!(
                rules("a/src/b.rs", &below("let a = \"", folder)),
                ["machine"],
                "{folder}"
            );
            assert!(
                rules("a.md", &below("target", folder)).is_empty(),
                "{folder}"
            );
            assert!(
                rules("a.md", &below("$HOME", folder)).is_empty(),
                "{folder}"
            );
        }
    }
}
