//! A settlement while it is being made: lines are posted when they are noted, so that the two cannot differ. Completed tasks
//! have a line a day and are posted in sums; that lines and accounts agree is looked at before a close.

use std::collections::BTreeMap;

use recoup_model::{Finding, FindingKind, Id, Severity};

use crate::error::{LedgerError, fits};
use crate::journal::{Balances, bearer_account};
use crate::line::{Bearer, Line};
use crate::parts::{Workers, try_each};

/// What a settlement comes to: the lines of each team, the balances, the findings.
pub(crate) type Finished = (BTreeMap<Id, Vec<Line>>, Balances, Vec<Finding>);

#[derive(Debug, Default)]
pub(crate) struct Draft {
    /// As they were noted; those of one key are added at the end. They come in long runs that are in order, so that sorting
    /// moves few of them: a line has some 400 bytes.
    lines: BTreeMap<Id, Vec<Line>>,
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
            self.note(team, line);
        }
        Ok(())
    }

    /// Notes a line of a team alone: the caller posts what several such lines come to.
    pub(crate) fn note(&mut self, team: &Id, line: Line) {
        match self.lines.get_mut(team) {
            Some(lines) => lines.push(line),
            None => drop(self.lines.insert(team.clone(), vec![line])),
        }
    }

    /// Notes lines of a team alone, which lie in the order of a statement.
    pub(crate) fn note_all(&mut self, team: &Id, mut lines: Vec<Line>) {
        match self.lines.get_mut(team) {
            Some(noted) => noted.append(&mut lines),
            None if lines.is_empty() => {}
            None => drop(self.lines.insert(team.clone(), lines)),
        }
    }

    pub(crate) fn find(&mut self, severity: Severity, kind: FindingKind, subject: &str, detail: String) {
        self.findings.push(Finding { severity, kind, subject: subject.to_owned(), detail });
    }

    /// Every line as it was noted, those of one key apart.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &Line> {
        self.lines.values().flatten()
    }

    /// Adds what another part of the settlement came to.
    pub(crate) fn absorb(&mut self, other: Self) -> Result<(), LedgerError> {
        other.lines.into_iter().for_each(|(team, lines)| self.note_all(&team, lines));
        self.findings.extend(other.findings);
        self.balances.absorb(other.balances)
    }

    /// The lines of each team in statement order, the balances, the findings.
    pub(crate) fn finish(self, workers: &dyn Workers) -> Result<Finished, LedgerError> {
        let lines = try_each(workers, self.lines, |(team, lines)| Ok((team, in_order(lines)?)))?.into_iter().collect();
        let mut findings = self.findings;
        findings.sort();
        Ok((lines, self.balances, findings))
    }
}

/// Sorted by key, with those of one key added.
fn in_order(mut lines: Vec<Line>) -> Result<Vec<Line>, LedgerError> {
    lines.sort_by(|one, other| one.key.cmp(&other.key));
    let mut all_fit = true;
    lines.dedup_by(|line, last| {
        let same = line.key == last.key;
        all_fit &= !same || last.checked_add(line).is_some();
        same
    });
    fits(all_fit.then_some(lines), "a line")
}
