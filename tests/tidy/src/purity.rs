//! What the sources of the pure crates must not name: the outside world, hash order, floats.

use crate::Finding;
use crate::scan::in_word;
use crate::source::Source;

/// A crate whose results depend on its arguments alone.
#[derive(Debug)]
pub struct PureCrate {
    /// Package name.
    pub package: &'static str,
    /// Folder from the workspace root.
    pub folder: &'static str,
    /// Whether it may compute with floats (forecasts and anomalies do, amounts never).
    pub has_floats: bool,
}

const fn exact(package: &'static str, folder: &'static str) -> PureCrate {
    PureCrate { package, folder, has_floats: false }
}

/// The pure crates.
pub const PURE_CRATES: &[PureCrate] = &[
    exact("recoup-money", "shared/money"),
    exact("recoup-model", "shared/model"),
    exact("recoup-metering", "shared/metering"),
    exact("recoup-attribution", "shared/attribution"),
    exact("recoup-pricing", "pricing-models"),
    exact("recoup-ledger", "shared/ledger"),
    PureCrate { package: "recoup-budgets", folder: "shared/budgets", has_floats: true },
    exact("recoup-documents", "shared/documents"),
    exact("recoup-messages", "shared/messages"),
];

const OUTSIDE: &[(&str, &str)] = &[
    ("std::fs", "take the content as an argument, or include_str!"),
    ("std::env", "take the setting as an argument"),
    ("std::net", "leave the network to an adapter"),
    ("std::process", "return a value to the caller"),
    ("std::thread", "leave threads to the caller"),
    ("std::time", "take the time as an argument (std::time::Duration is fine)"),
    ("SystemTime", "take the time as an argument"),
    ("Instant::now", "take the time as an argument"),
    ("Utc::now", "take the time as an argument"),
    ("Local::now", "take the time as an argument"),
    ("chrono::Local", "take the organisation's time zone as an argument"),
];

const HASHED: &[&str] = &["HashMap", "HashSet", "hash_map", "hash_set", "RandomState", "DefaultHasher"];

const HASH_MARK: &str = "// tidy: allow(hash-order) ";

const FLOAT_MARK: &str = "// tidy: allow(float) ";

/// Everything impure that the product code of the pure crates names.
pub fn check(sources: &[Source]) -> Vec<Finding> {
    sources.iter().flat_map(check_source).collect()
}

fn check_source(source: &Source) -> Vec<Finding> {
    let lies_in =
        |pure: &&PureCrate| source.path.strip_prefix(pure.folder).is_some_and(|rest| rest.starts_with("/src/"));
    let Some(pure) = PURE_CRATES.iter().find(lies_in) else {
        return Vec::new();
    };
    let judge = |(line, path): (usize, String)| {
        if source.is_test_line(line) {
            return None;
        }
        let mut lines = source.text.lines().skip(line - 1);
        let (own, next) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
        let (rule, instead) = judge(&path, pure, (own, next))?;
        Some(Finding::new(&source.path, line, rule, format!("a pure crate names {path}"), instead))
    };
    paths(&source.code).into_iter().filter_map(judge).collect()
}

/// `next` is the line after it, where a comment stands that has no room behind a signature.
fn judge(path: &str, pure: &PureCrate, (line, next): (&str, &str)) -> Option<(&'static str, &'static str)> {
    if let Some((_, instead)) = OUTSIDE.iter().find(|(outside, _)| names(path, outside)) {
        return (!names(path, "std::time::Duration")).then_some(("purity", instead));
    }
    if HASHED.iter().any(|hashed| names(path, hashed)) {
        let reason = line.split_once(HASH_MARK).map_or("", |(_, reason)| reason.trim());
        let instead = "use a BTreeMap or BTreeSet, or mark the line `// tidy: allow(hash-order) <reason>`";
        return reason.is_empty().then_some(("hash-order", instead));
    }
    if !pure.has_floats && path.split("::").any(is_float) {
        let mark = line.split_once(FLOAT_MARK).or_else(|| next.split_once(FLOAT_MARK));
        let reason = mark.map_or("", |(_, reason)| reason.trim());
        let instead = "use recoup-money, integers or exact ratios, or mark the line `// tidy: allow(float) <reason>`";
        return reason.is_empty().then_some(("float", instead));
    }
    None
}

/// Whether the segments of `wanted` follow each other in `path`.
fn names(path: &str, wanted: &str) -> bool {
    format!("::{path}::").contains(&format!("::{wanted}::"))
}

/// `f64`, `1.5f64`, and the conversions `as_f64`, `from_f64`.
fn is_float(segment: &str) -> bool {
    segment
        .split('_')
        .map(|part| part.trim_start_matches(|letter: char| letter.is_ascii_digit()))
        .any(|part| matches!(part, "f32" | "f64"))
}

/// Every path of a code mask with its line; the braces of a `use` are multiplied out.
fn paths(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut prefixes: Vec<String> = Vec::new();
    let mut current = String::new();
    let mut line = 1;
    for letter in code.chars().chain(['\n']) {
        if in_word(letter) || letter == ':' {
            current.push(letter);
            continue;
        }
        let path = format!("{}{current}", prefixes.last().map_or("", String::as_str));
        let opens_group = letter == '{' && current.ends_with("::");
        if letter == '{' {
            prefixes.push(if opens_group { path.clone() } else { String::new() });
        }
        if !current.is_empty() && !opens_group {
            found.push((line, path.trim_matches(':').to_owned()));
        }
        current.clear();
        match letter {
            '}' => drop(prefixes.pop()),
            '\n' => line += 1,
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{check, paths};
    use crate::source::Source;

    fn rules(path: &str, text: &str) -> Vec<&'static str> {
        check(&[Source::new(path, text)]).iter().map(|finding| finding.rule).collect()
    }

    #[test]
    fn imports_are_multiplied_out() {
        let found = paths("use std::{\n  a::{B, C},\n  d,\n};\nx { y }");
        let found: Vec<_> = found.iter().map(|(_, path)| path.as_str()).collect();
        assert_eq!(found, ["use", "std::a::B", "std::a::C", "std::d", "x", "y"]);
        let expected = (2, "std::fs::read".to_owned());
        assert_eq!(paths("\nstd::fs::read(x)").first(), Some(&expected));
    }

    #[test]
    fn the_outside_world_is_refused() {
        let bad = [
            "use std::fs;",
            "use std::{env, fmt};",
            "let s = std::net::TcpStream::connect(x);",
            "use std::time::{Duration, Instant};",
            "use std::time::SystemTime as Now;",
            "std::process::exit(1)",
            "std::thread::spawn(f)",
            "chrono::Utc::now()",
            "let t = Utc::now();",
            "use chrono::{Local, Utc};",
        ];
        for text in bad {
            assert_eq!(rules("shared/model/src/a.rs", text), ["purity"], "{text}");
        }
    }

    #[test]
    fn values_comments_tests_and_other_crates_are_fine() {
        let good = "use std::time::Duration;\n// std::fs\nlet a = include_str!(\"std::env\");\n#[cfg(test)]\nmod tests { use std::fs; }\n";
        assert!(rules("shared/model/src/a.rs", good).is_empty());
        assert!(rules("shared/store/src/a.rs", "use std::fs;").is_empty());
        assert!(rules("shared/model/tests/a.rs", "use std::fs;").is_empty());
    }

    #[test]
    fn hash_order_needs_a_reason() {
        let path = "pricing-models/src/a.rs";
        assert_eq!(rules(path, "use std::collections::{BTreeMap, HashMap};"), ["hash-order"]);
        assert_eq!(rules(path, "let a: HashSet<u8>; // tidy: allow(hash-order)"), ["hash-order"]);
        assert!(rules(path, "let a: HashSet<u8>; // tidy: allow(hash-order) only asked, never walked").is_empty());
    }

    #[test]
    fn floats_stay_out_of_amounts() {
        for text in ["fn a(b: f64) {}", "let a = 1.5f32;", "n.as_f64()", "Decimal::from_f64_retain(x)"] {
            assert_eq!(rules("shared/money/src/a.rs", text), ["float"], "{text}");
        }
        assert!(rules("shared/budgets/src/a.rs", "fn a(b: f64) {}").is_empty());
        let marked =
            |mark: &str| rules("shared/money/src/a.rs", &format!("fn a(b: f64) {{\n    // tidy: allow(float){mark}"));
        assert_eq!((marked(""), marked(" serde asks for it")), (vec!["float"], vec![]));
    }
}
