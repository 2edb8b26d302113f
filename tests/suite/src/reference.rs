//! The independent recomputation in `tests/reference`, and what it finds different.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::amount::pico;
use crate::books::Books;
use crate::calendar::Month;

/// The terms of CLO-4 that both sides state.
const TERMS: [&str; 10] = [
    "rounding",
    "unattributed",
    "unallocated",
    "priced_cost",
    "markup",
    "corrections",
    "residual",
    "absorbed",
    "carried_out",
    "carried_in",
];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name).canonicalize().unwrap()
}

fn python(script: &str, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new("python3");
    let output = command.arg(folder("tests/reference").join(script)).args(arguments).output().unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (output.status.success(), said)
}

/// A month recomputed from its events alone.
#[derive(Debug)]
pub struct Recomputed {
    path: PathBuf,
    /// Everything it found.
    pub found: Value,
}

/// Recomputes a month from events in the order in which they were recorded.
#[track_caller]
pub fn recompute(books: &Books, organisation: &str, events: &[String], month: Month) -> Recomputed {
    recompute_approved(books, organisation, events, (month, &[]))
}

/// The same where finance has approved the rate cards of some months.
#[track_caller]
pub fn recompute_approved(
    books: &Books,
    organisation: &str,
    events: &[String],
    (month, approved): (Month, &[Month]),
) -> Recomputed {
    let events = books.write("recorded.ndjson", events.join("\n"));
    let organisation = books.write("organisation.toml", organisation);
    let path = books.beside(&format!("recomputed-{month}.json"));
    let catalogue = folder("pricing-models/catalogue");
    let pairs =
        [("--events", &events), ("--organisation", &organisation), ("--catalogue", &catalogue), ("--out", &path)];
    let mut arguments: Vec<&str> = pairs.iter().flat_map(|(name, path)| [*name, path.to_str().unwrap()]).collect();
    let period = month.to_string();
    arguments.extend(["--period", &period]);
    let approved: Vec<String> = approved.iter().map(Month::to_string).collect();
    arguments.extend(approved.iter().flat_map(|month| ["--approved", month]));
    let (succeeded, said) = python("recompute.py", &arguments);
    assert!(succeeded, "recompute.py: {said}");
    let found = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    Recomputed { path, found }
}

impl Recomputed {
    /// Panics with every difference between the issued statements, the close's own sums, and this.
    #[track_caller]
    pub fn assert_equals(&self, books: &Books, closed: &Value) {
        let statements = books.data().join("documents/statements");
        let (equal, said) = python("compare.py", &[statements.to_str().unwrap(), self.path.to_str().unwrap()]);
        let mut differences = if equal { Vec::new() } else { vec![said] };
        for term in TERMS {
            let stated = if term == "rounding" { &closed[term] } else { &closed["totals"][term] };
            let theirs = stated.as_str().unwrap_or_else(|| panic!("no {term} in {closed}"));
            let ours = self.found[term].as_str().unwrap();
            if pico(theirs) != pico(ours) {
                differences.push(format!("CLO-4: {term} is {theirs}, expected {ours}"));
            }
        }
        assert!(differences.is_empty(), "{}", differences.join("\n"));
        assert_ties(&closed["totals"]);
    }

    /// Lines of a kind over all teams.
    pub fn lines(&self, kind: &str) -> Vec<Value> {
        let teams = self.found["teams"].as_object().unwrap().values();
        let lines = teams.flat_map(|team| team["lines"].as_array().unwrap());
        lines.filter(|line| line["kind"] == kind).cloned().collect()
    }
}

/// CLO-4, to the last picounit.
#[track_caller]
pub(crate) fn assert_ties(totals: &Value) {
    let term = |name: &str| pico(totals[name].as_str().unwrap_or_else(|| panic!("no {name} in {totals}")));
    let left = term("exact_total") + term("unattributed") + term("unallocated");
    let right = ["priced_cost", "markup", "corrections", "residual", "absorbed", "carried_out"].map(term);
    assert_eq!(left, right.iter().sum::<i128>() - term("carried_in"), "CLO-4: {totals}");
}
