//! A settlement while it is being made: lines are posted when they are noted, so that the two cannot differ. Completed tasks
//! have a line a price version and are posted in sums; that lines and accounts agree is looked at before a close.

use std::collections::{BTreeMap, BTreeSet};

use recoup_model::organisation::Billing;
use recoup_model::{Finding, FindingKind, Id, Severity};
use recoup_money::Amount;

use crate::error::{LedgerError, fits};
use crate::journal::{Balances, bearer_account};
use crate::line::{Bearer, Line, LineKind};
use crate::parts::{Workers, try_each};

/// What a settlement comes to: the lines of each team, the balances, the findings.
pub(crate) type Finished = (BTreeMap<Id, Vec<Line>>, Balances, Vec<Finding>);

#[derive(Debug, Default)]
pub(crate) struct Draft {
    /// As they were noted; those of one key are added at the end. They come in long runs that are in order, so that sorting
    /// moves few of them: a line has some 400 bytes.
    lines: BTreeMap<Id, Vec<Line>>,
    /// Of all lines.
    exact_total: Amount,
    /// Agent, task type and billing model of lines that pass tasks through.
    passed: BTreeSet<(Id, Id, &'static str)>,
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
        match bearer {
            Bearer::Team(team) => self.note(team, line),
            Bearer::Unattributed | Bearer::Unallocated | Bearer::Absorbed => Ok(()),
        }
    }

    /// Notes a line of a team alone: the caller posts what several such lines come to.
    fn note(&mut self, team: &Id, line: Line) -> Result<(), LedgerError> {
        self.passed.extend(passed_through(&line));
        self.add(line.exact)?;
        match self.lines.get_mut(team) {
            Some(lines) => lines.push(line),
            None => drop(self.lines.insert(team.clone(), vec![line])),
        }
        Ok(())
    }

    /// Notes priced lines of a team alone, which lie in the order of a statement.
    pub(crate) fn note_priced(&mut self, team: &Id, lines: Vec<Line>) -> Result<(), LedgerError> {
        let sum = Amount::checked_sum(lines.iter().map(|line| line.exact));
        self.add(fits(sum, "the sum of all lines")?)?;
        self.append(team, lines);
        Ok(())
    }

    fn add(&mut self, exact: Amount) -> Result<(), LedgerError> {
        self.exact_total = fits(self.exact_total.checked_add(exact), "the sum of all lines")?;
        Ok(())
    }

    fn append(&mut self, team: &Id, mut lines: Vec<Line>) {
        match self.lines.get_mut(team) {
            Some(noted) => {
                // The longer one stays where it is.
                if noted.len() < lines.len() {
                    std::mem::swap(noted, &mut lines);
                }
                noted.append(&mut lines);
            }
            None if lines.is_empty() => {}
            None => drop(self.lines.insert(team.clone(), lines)),
        }
    }

    pub(crate) fn find(&mut self, severity: Severity, kind: FindingKind, subject: &str, detail: String) {
        self.findings.push(Finding { severity, kind, subject: subject.to_owned(), detail });
    }

    /// The sum of all lines.
    pub(crate) const fn exact_total(&self) -> Amount {
        self.exact_total
    }

    /// Notes which tasks passed through for want of a price so far.
    pub(crate) fn note_pass_through(&mut self) {
        for (agent, task_type, billing) in std::mem::take(&mut self.passed) {
            // Minutes have no seed price, and tasks are priced without durations (PRC-2, PRC-4).
            let remedy = match billing {
                "time" => "more tasks with durations end this",
                _ => "a `seed_price`, or more tasks, end this",
            };
            let detail = format!(
                "tasks of `{agent}` for `{task_type}` billed by {billing} had no price and pass through at actual cost; {remedy}"
            );
            self.find(Severity::Info, FindingKind::PassThrough, &format!("{agent}/{task_type}"), detail);
        }
    }

    /// Adds what another part of the settlement came to.
    pub(crate) fn absorb(&mut self, other: Self) -> Result<(), LedgerError> {
        other.lines.into_iter().for_each(|(team, lines)| self.append(&team, lines));
        self.add(other.exact_total)?;
        self.passed.extend(other.passed);
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

/// What a line passes through, if it does: tasks that have a price model and no price.
fn passed_through(line: &Line) -> Option<(Id, Id, &'static str)> {
    let key = &line.key;
    let billing = key.billing.filter(|billing| *billing != Billing::Token && key.kind == LineKind::Charge)?;
    let names = line.price.is_none().then(|| Some((key.agent.clone()?, key.task_type.clone()?)));
    names.flatten().map(|(agent, task_type)| (agent, task_type, billing.name()))
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
