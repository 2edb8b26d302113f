//! Names that say nothing, doors left open, and traces of one machine.

use crate::Finding;
use crate::scan::{in_word, line_at, word_positions};
use crate::source::Source;

const EMPTY_NAMES: &[&str] = &["common", "utils", "util", "helpers", "helper", "core", "manager", "misc"];

const MACROS: &[(&str, &str)] = &[
    ("todo!", "write it, or return a named refusal"),
    ("unimplemented!", "write it, or return a named refusal"),
    ("dbg!", "use tracing, or delete it"),
];

const LATER: &str = "do it, or write it down outside the tree";

const REMINDERS: &[(&str, &str)] = &[("TODO", LATER), ("FIXME", LATER), ("XXX", LATER)];

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
    of_paths.chain(packages.iter().filter_map(in_package)).collect()
}

fn empty_part(name: &str) -> Option<&str> {
    name.split(['-', '_', '.']).find(|part| EMPTY_NAMES.contains(part))
}

/// What no text of the tree may hold.
pub fn check_texts(sources: &[Source]) -> Vec<Finding> {
    let checks = [inline_modules, opening, attributes, leftovers, machine_paths];
    sources.iter().flat_map(|source| checks.iter().flat_map(move |check| check(source))).collect()
}

fn inline_modules(source: &Source) -> Vec<Finding> {
    let module = |at: usize| {
        let after = source.code.get(at + "mod".len()..)?.trim_start();
        let name = after.split(|letter| !in_word(letter)).next()?;
        let empty = empty_part(name)?;
        let wrong = format!("the module name {empty} says nothing");
        let line = line_at(&source.code, at);
        Some(Finding::new(&source.path, line, "name", wrong, "name it after what it holds"))
    };
    word_positions(&source.code, "mod").filter_map(module).collect()
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
        let (wrong, instead) = if has("allow") {
            ("a lint is switched off for good", "expect it, with a reason")
        } else if has("expect") && !has("reason") {
            ("an expectation without a reason", "add `reason = \"...\"`")
        } else if has("ignore") {
            ("a test is skipped", "make it pass or delete it")
        } else {
            return None;
        };
        let line = line_at(&source.code, at);
        Some(Finding::new(&source.path, line, "attribute", wrong, instead))
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

fn leftovers(source: &Source) -> Vec<Finding> {
    let find = |text: &str, words: &[(&str, &str)]| {
        let uses = |(word, instead): &(&str, &str)| {
            let finding = |at| {
                let wrong = format!("{word} is left in");
                Finding::new(&source.path, line_at(text, at), "leftover", wrong, *instead)
            };
            word_positions(text, word).map(finding).collect::<Vec<_>>()
        };
        words.iter().flat_map(uses).collect::<Vec<_>>()
    };
    [find(&source.code, MACROS), find(&source.comments, REMINDERS)].concat()
}

fn machine_paths(source: &Source) -> Vec<Finding> {
    let text = source.text.as_str();
    // Behind a letter or a closing bracket the slash continues a relative path or an address.
    let begins = |at: &usize| {
        let before = text.get(..*at).and_then(|head| head.chars().next_back());
        !before.is_some_and(|letter| in_word(letter) || ".~}])*".contains(letter))
    };
    let uses = |folder: &&str| {
        let wanted = format!("/{folder}/");
        let finding = |at| {
            let wrong = format!("an absolute path below {wanted}");
            let instead = "make it relative to the workspace, or an argument";
            Finding::new(&source.path, line_at(text, at), "machine", wrong, instead)
        };
        let places = text.match_indices(&wanted).map(|(at, _)| at).filter(begins);
        places.map(finding).collect::<Vec<_>>()
    };
    MACHINE_FOLDERS.iter().flat_map(uses).collect()
}

#[cfg(test)]
mod tests {
    use super::{check_names, check_texts};
    use crate::source::Source;

    fn rules(path: &str, text: &str) -> Vec<&'static str> {
        check_texts(&[Source::new(path, text)]).iter().map(|finding| finding.rule).collect()
    }

    #[test]
    fn empty_names_are_refused() {
        let names = |path: &str, package: &str| check_names(&[path.to_owned()], &[package.to_owned()]).len();
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
        assert_eq!(rules("a/src/b.rs", "fn a() { todo!() }"), ["leftover"]);
        assert_eq!(rules("a/src/b.rs", "unimplemented!(); std::dbg!(x);"), ["leftover"; 2]);
        assert_eq!(rules("a/src/b.rs", "// TODO later\n/* FIXME */ // XXX"), ["leftover"; 3]);
        assert_eq!(rules("a/b.sh", "# TODO later"), ["leftover"]);
        assert!(rules("a/src/b.rs", "let todo = \"TODO\"; // todos").is_empty());
    }

    #[test]
    fn paths_of_one_machine_are_refused() {
        let below = |before: &str, folder: &str| format!("{before}/{folder}/x");
        for folder in ["work", "root", "home"] {
            for before in ["see ", "let a = \"", "file://"] {
                assert_eq!(rules("a.md", &below(before, folder)), ["machine"], "{before}");
            }
            for before in ["target", "$HOME", "..", "https://a.example"] {
                assert!(rules("a.md", &below(before, folder)).is_empty(), "{before}");
            }
        }
    }
}
