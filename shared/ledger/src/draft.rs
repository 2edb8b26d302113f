//! A settlement while it is being made: every line is posted when it is noted, so that the two cannot differ.

use std::collections::BTreeMap;

use recoup_model::{Finding, FindingKind, Id, Severity};

use crate::error::{LedgerError, fits};
use crate::journal::{Balances, bearer_account};
use crate::line::{Bearer, Line, LineKey};

#[derive(Debug, Default)]
pub(crate) struct Draft {
    lines: BTreeMap<Id, BTreeMap<LineKey, Line>>,
    pub(crate) balances: Balances,
    findings: Vec<Finding>,
}

impl Draft {
    /// Moves an amount from an account to whoever bears it; a team gets the line on its statement.
    pub(crate) fn bear(&mut self, from: &str, bearer: &Bearer, line: Line) -> Result<(), LedgerError> {
        if line.is_empty() {
            return Ok(());
        }
        self.balances.transfer(from, &bearer_account(bearer, line.key.kind), line.exact)?;
        if let Bearer::Team(team) = bearer {
            let lines = self.lines.entry(team.clone()).or_default();
            match lines.get_mut(&line.key) {
                Some(known) => fits(known.checked_add(&line), "a line")?,
                None => drop(lines.insert(line.key.clone(), line)),
            }
        }
        Ok(())
    }

    pub(crate) fn find(&mut self, severity: Severity, kind: FindingKind, subject: &str, detail: String) {
        self.findings.push(Finding { severity, kind, subject: subject.to_owned(), detail });
    }

    pub(crate) fn lines(&self) -> impl Iterator<Item = &Line> {
        self.lines.values().flat_map(BTreeMap::values)
    }

    pub(crate) fn finish(self) -> (BTreeMap<Id, Vec<Line>>, Balances, Vec<Finding>) {
        let lines = self.lines.into_iter().map(|(team, lines)| (team, lines.into_values().collect())).collect();
        let mut findings = self.findings;
        findings.sort();
        (lines, self.balances, findings)
    }
}
