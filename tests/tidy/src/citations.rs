//! Invariants are cited by id; every cited id exists in the registry, and what must be tested is cited by a test.

use crate::Finding;
use crate::scan::line_at;
use crate::source::Source;

/// Where the invariants are declared.
pub const REGISTRY: &str = "shared/model/src/registry.rs";

/// This crate talks about ids, so that its own text proves nothing.
const OWN_FOLDER: &str = "tests/tidy/";

const PREFIXES: &[&str] = &["MON", "SPL", "CRX", "EVT", "RAT", "ATR", "POOL", "PRC", "LED", "BUD", "ANO", "REC", "CLO"];

/// An entry of the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invariant {
    /// Such as `PRC-0`.
    pub id: String,
    /// The line that declares it.
    pub line: usize,
    /// Whether a test has to cite it.
    pub is_enforced: bool,
}

/// The entries `id: "…"` of the registry's text, up to the next one `enforced: true` or not.
pub fn read_registry(text: &str) -> Vec<Invariant> {
    const OPENING: &str = "id: \"";
    let read = |(at, _): (usize, &str)| {
        let (id, rest) = text.get(at + OPENING.len()..)?.split_once('"')?;
        let entry = rest.split(OPENING).next()?;
        Some(Invariant { id: id.to_owned(), line: line_at(text, at), is_enforced: entry.contains("enforced: true") })
    };
    text.match_indices(OPENING).filter_map(read).collect()
}

/// Cited ids that the registry does not hold.
pub fn check_known(registry: &[Invariant], sources: &[Source]) -> Vec<Finding> {
    let check = |source: &Source| {
        let unknown = |(_, id): &(usize, String)| !registry.iter().any(|known| known.id == *id);
        let finding = |(line, id)| {
            let wrong = format!("{id} is not an invariant");
            let instead = format!("cite one of {REGISTRY}, or declare it there");
            Finding::new(&source.path, line, "citation", wrong, instead)
        };
        citations(&source.text).into_iter().filter(unknown).map(finding).collect::<Vec<_>>()
    };
    sources.iter().filter(|source| is_cited_in(source)).flat_map(check).collect()
}

/// The invariants that no test cites.
pub fn untested<'a>(registry: &'a [Invariant], sources: &[Source]) -> Vec<&'a Invariant> {
    let in_tests = |source: &Source| {
        let cited = citations(&source.text).into_iter().chain(names(registry, &source.text));
        cited.filter(|(line, _)| source.is_test_line(*line)).map(|(_, id)| id).collect::<Vec<_>>()
    };
    let cited: Vec<_> = sources.iter().filter(|source| is_cited_in(source)).flat_map(in_tests).collect();
    registry.iter().filter(|known| !cited.contains(&known.id)).collect()
}

/// Enforced invariants that no test cites.
pub fn check_tested(registry: &[Invariant], sources: &[Source]) -> Vec<Finding> {
    let finding = |known: &Invariant| {
        let wrong = format!("no test cites {}", known.id);
        Finding::new(REGISTRY, known.line, "untested", wrong, "name it in the test that shows it")
    };
    untested(registry, sources).into_iter().filter(|known| known.is_enforced).map(finding).collect()
}

fn is_cited_in(source: &Source) -> bool {
    let is_text = [".rs", ".md", ".py", ".toml"].iter().any(|extension| source.path.ends_with(extension));
    is_text && !source.path.starts_with(OWN_FOLDER)
}

/// Ids that begin the name of a function (`fn mon_3_overflow_is_an_error`), with their lines.
fn names(registry: &[Invariant], text: &str) -> Vec<(usize, String)> {
    let named = |known: &Invariant| {
        let opening = format!("fn {}_", known.id.to_ascii_lowercase().replace('-', "_"));
        text.match_indices(&opening).map(|(at, _)| (line_at(text, at), known.id.clone())).collect::<Vec<_>>()
    };
    registry.iter().flat_map(named).collect()
}

/// Ids in a text with their lines. Longer numbers (`REC-2026-03`, `EVT-0001`) are documents, not rules.
fn citations(text: &str) -> Vec<(usize, String)> {
    let at_prefix = |prefix: &'static &str| {
        text.match_indices(prefix).filter_map(move |(at, _)| {
            let before = text.get(..at)?.chars().next_back();
            let after = text.get(at + prefix.len()..)?.strip_prefix('-')?;
            let rest = after.trim_start_matches(|letter: char| letter.is_ascii_digit());
            let number = after.get(..after.len() - rest.len())?;
            let continues = |letter: char| letter.is_alphanumeric() || matches!(letter, '-' | '_');
            let is_alone = !before.is_some_and(continues) && !rest.starts_with(continues);
            (is_alone && matches!(number.len(), 1 | 2)).then(|| (line_at(text, at), format!("{prefix}-{number}")))
        })
    };
    PREFIXES.iter().flat_map(at_prefix).collect()
}

#[cfg(test)]
mod tests {
    use super::{check_known, check_tested, names, read_registry, untested};
    use crate::source::Source;

    const REGISTRY: &str = "&[\n  Invariant { id: \"MON-1\", enforced: true },\n  Invariant { id: \"POOL-2\", enforced: false },\n  Invariant { id: \"PRC-0\", says: \"\", enforced: true },\n]";

    #[test]
    fn the_registry_is_read_from_its_text() {
        let found: Vec<_> = read_registry(REGISTRY).into_iter().map(|i| (i.id, i.line, i.is_enforced)).collect();
        let expected = [("MON-1", 2, true), ("POOL-2", 3, false), ("PRC-0", 4, true)];
        assert_eq!(found, expected.map(|(id, line, flag)| (id.to_owned(), line, flag)));
    }

    #[test]
    fn an_unknown_id_is_refused() {
        let text = "//! MON-1, POOL-2's\n// PRC-9 and (MON-10) but not COMMON-3, MON-2026-01, MON-x or SHA-256\n";
        let sources = [Source::new("a/src/b.rs", text), Source::new("a/b.svg", "PRC-8")];
        let found: Vec<_> =
            check_known(&read_registry(REGISTRY), &sources).into_iter().map(|f| (f.line, f.wrong)).collect();
        assert_eq!(found, ["MON-10", "PRC-9"].map(|id| (2, format!("{id} is not an invariant"))));
    }

    #[test]
    fn the_name_of_a_test_is_a_citation() {
        let registry = read_registry(r#"Invariant { id: "MON-3", enforced: true }"#);
        assert_eq!(names(&registry, "\nfn mon_3_overflow() {}\nfn mon_31_no() {}"), [(2, "MON-3".to_owned())]);
    }

    #[test]
    fn only_tests_prove_an_invariant() {
        let registry = read_registry(REGISTRY);
        let sources = [Source::new("a/src/b.rs", "// PRC-0\n#[cfg(test)]\nmod tests {\n // MON-1\n}\n")];
        let ids: Vec<_> = untested(&registry, &sources).into_iter().map(|known| known.id.as_str()).collect();
        assert_eq!(ids, ["POOL-2", "PRC-0"]);
        let findings = check_tested(&registry, &sources);
        assert_eq!(findings.iter().map(|f| f.wrong.as_str()).collect::<Vec<_>>(), ["no test cites PRC-0"]);
    }
}
