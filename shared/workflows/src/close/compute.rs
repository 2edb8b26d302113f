//! What a close will write, computed before anything is written, and everything that stands against it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use recoup_documents::{Manifest, Statement, canonical_json};
use recoup_ledger::{Balances, CloseFacts, Line, Settlement, Totals, close_findings, each, not_charged};
use recoup_model::organisation::Version;
use recoup_model::{Digest, Finding, FindingKind, Id, Period, Severity};
use recoup_money::Amount;
use serde_json::{Value, json};

use super::CloseRequest;
use super::frozen::Frozen;
use crate::app::{App, World};
use crate::error::Refusal;
use crate::nightly::{Cut, DIRTY, Dirty, SettledPeriod, unreadable};
use crate::records;
use crate::workers::Threads;

/// Blocks read in one call.
const BLOCKS_PER_READ: usize = 64;

/// A statement ready to be issued.
pub(super) struct Ready {
    pub(super) team: String,
    /// Without its lines.
    pub(super) statement: Statement,
    pub(super) frozen: Frozen,
    pub(super) digest: Digest,
    /// The document.
    pub(super) bytes: Vec<u8>,
}

/// Everything a close will write, made before anything is written.
pub(super) struct ClosePlan {
    /// Its lines are in the documents of the statements.
    pub(super) settled: SettledPeriod,
    pub(super) manifest: Vec<u8>,
    pub(super) ready: Vec<Ready>,
    pub(super) findings: Vec<Finding>,
    pub(super) rounding: BTreeMap<Id, Amount>,
    pub(super) organisation_versions: u32,
    pub(super) imports: usize,
    pub(super) cut: Cut,
}

impl ClosePlan {
    pub(super) fn blocking(&self) -> usize {
        self.findings.iter().filter(|finding| finding.severity == Severity::Blocking).count()
    }
}

impl App {
    /// `None` for a month without any night. `damaged` are blocks of its days that cannot be read.
    pub(super) async fn plan_close(
        &self,
        world: &World,
        request: &CloseRequest,
        (cut, damaged): (Cut, &[(String, String)]),
    ) -> Result<Option<ClosePlan>, Refusal> {
        let period = request.period;
        let mut settled = Vec::new();
        self.settle_chain(world, (Some(period), None), &mut settled).await?;
        let Some(mut settled) = settled.into_iter().find(|settled| settled.period == period) else { return Ok(None) };
        recoup_ledger::check_with(&settled.settlement, &Threads)
            .map_err(|error| Refusal::computation("tie the close (CLO-4)", error))?;
        let mut findings = self.close_findings(world, request, (&settled.settlement.balances, damaged)).await?;
        let version = world.history.on(period.days().last().unwrap_or_default());
        findings.extend(not_charged(&settled.settlement, &settled.corrections, version.organisation.currency));
        findings.extend(settled.settlement.findings.iter().cloned());
        let manifest = Manifest::build(period, &world.history, &settled.days, world.prices.digest())
            .with_inputs(&settled.opening, &settled.corrections)
            .with_rate_card(settled.settlement.rate_card);
        let ready = make_statements(&mut settled.settlement, version, &manifest)?;
        let rounding = rounding_of(&ready)?;
        let organisation_versions = u32::try_from(world.history.versions().len()).unwrap_or(u32::MAX);
        Ok(Some(ClosePlan {
            settled,
            manifest: canonical_json(&manifest),
            ready,
            findings,
            rounding,
            organisation_versions,
            imports: world.imported().len(),
            cut,
        }))
    }

    /// The outcome for a month without any night: refused, with every finding (CLO-1).
    pub(super) async fn nothing_to_close(
        &self,
        world: &World,
        request: &CloseRequest,
        damaged: &[(String, String)],
    ) -> Result<Value, Refusal> {
        let period = request.period;
        let mut findings = self.close_findings(world, request, (&Balances::default(), damaged)).await?;
        if !findings.iter().any(|finding| finding.kind == FindingKind::NightMissing) {
            findings.push(Finding {
                severity: Severity::Blocking,
                kind: FindingKind::NightMissing,
                subject: period.to_string(),
                detail: format!("no event of {period} was recorded, so that there is nothing to close"),
            });
        }
        Ok(json!({
            "period": period, "state": "open", "closed": false, "detail": "refused: blocking findings stand",
            "blocking": findings.len(), "findings": findings, "totals": Totals::default(), "rounding": Amount::ZERO,
            "statements": [], "manifest": null,
        }))
    }

    /// All findings of CLO-1.
    async fn close_findings(
        &self,
        world: &World,
        request: &CloseRequest,
        (balances, unreadable_blocks): (&Balances, &[(String, String)]),
    ) -> Result<Vec<Finding>, Refusal> {
        let period = request.period;
        let dirty = records::all::<Dirty>(self.books(), DIRTY, "").await?;
        let unfinished = super::closing_period(self.books()).await?.filter(|closing| *closing < period);
        let days = dirty.into_iter().map(|(_, dirty, _)| dirty.day);
        let missing: BTreeSet<NaiveDate> = days.filter(|day| decides_on(*day, (period, unfinished))).collect();
        let missing: Vec<NaiveDate> = missing.into_iter().collect();
        let last = world.history.on(period.days().last().unwrap_or_default());
        Ok(close_findings(&CloseFacts {
            period,
            calendar: world.history.calendar(),
            soft_close_days: last.organisation.policy.soft_close_days,
            as_of_ns: request.as_of_ns.unwrap_or_else(|| self.now_ns()),
            missing_nights: &missing,
            unfinished,
            unreadable_blocks,
            balances,
        }))
    }

    /// Blocks of some UTC days whose checksum does not hold: what a statement is made from has to be there when it is
    /// verified.
    pub(crate) async fn damaged_blocks(
        &self,
        run: &str,
        utc_days: &[NaiveDate],
    ) -> Result<Vec<(String, String)>, Refusal> {
        let mut damaged = Vec::new();
        for utc_day in utc_days {
            for lane in 0..self.lanes {
                let blocks = self.ports.log.blocks_of_day(*utc_day, lane).await?;
                let seqs: Vec<u64> = blocks.into_iter().map(|block| block.seq).collect();
                for some in seqs.chunks(BLOCKS_PER_READ) {
                    damaged.extend(self.damage(some).await?);
                }
            }
            self.advance(run, format!("blocks of {utc_day}"));
        }
        Ok(damaged)
    }

    /// What is wrong with blocks whose bytes are not what they were: a read checks them.
    async fn damage(&self, seqs: &[u64]) -> Result<Vec<(String, String)>, Refusal> {
        match self.ports.log.read(seqs.to_vec()).await.map_err(Refusal::from) {
            Ok(_) => return Ok(Vec::new()),
            Err(error) if unreadable(&error).is_none() => return Err(error),
            Err(_) => {}
        }
        let mut damaged = Vec::new();
        for seq in seqs {
            if let Err(error) = self.ports.log.read(vec![*seq]).await.map_err(Refusal::from) {
                damaged.push(unreadable(&error).ok_or(error)?);
            }
        }
        Ok(damaged)
    }
}

/// Whether a day's night has a part in a month (CLO-1): its own days have, and those before it, whose tasks and variance the
/// month's prices begin with, and whose late events it may book as corrections (LED-4). Days of a month whose close is
/// unfinished wait for that.
pub(super) fn decides_on(day: NaiveDate, (period, unfinished): (Period, Option<Period>)) -> bool {
    day < period.next().first_day() && unfinished.is_none_or(|unfinished| !unfinished.contains(day))
}

/// The statement of every team, several at the same time. Takes the lines out of the settlement.
fn make_statements(settlement: &mut Settlement, version: &Version, manifest: &Manifest) -> Result<Vec<Ready>, Refusal> {
    let lines = std::mem::take(&mut settlement.lines);
    // A team whose events are all unpriced has no line and still a statement that says so (RAT-2).
    let unpriced = settlement.unpriced_events.keys().flatten().map(|team| (team.clone(), Vec::new()));
    let mut teams: BTreeMap<Id, Vec<Line>> = unpriced.collect();
    teams.extend(lines);
    let made = each(&Threads, teams, |team| make_statement(team, settlement, version, manifest));
    made.ok_or_else(|| Refusal::computation("write the statements", "a thread stopped"))?.into_iter().collect()
}

fn make_statement(
    (team, lines): (Id, Vec<Line>),
    settlement: &Settlement,
    version: &Version,
    manifest: &Manifest,
) -> Result<Ready, Refusal> {
    let (statement, bytes) = Statement::document((&team, &lines), settlement, version, 1, manifest)
        .map_err(|error| Refusal::computation("write a statement", error))?;
    // By far the largest part of the close.
    drop(lines);
    let (digest, frozen) = (Digest::of(&bytes), Frozen::of(&bytes)?);
    Ok(Ready { team: team.to_string(), statement, frozen, digest, bytes })
}

/// Printed less exact total of each team.
fn rounding_of(ready: &[Ready]) -> Result<BTreeMap<Id, Amount>, Refusal> {
    let off = |one: &Ready| {
        let printed: Amount = one.statement.total.parse().map_err(|e| Refusal::computation("read a total", e))?;
        let off = printed.checked_sub(one.statement.exact_total);
        let off = off.ok_or_else(|| Refusal::computation("round a statement", "the difference overflows"))?;
        Ok((Id::from(one.team.as_str()), off))
    };
    ready.iter().map(off).collect()
}

/// What the account `rounding` gives or takes in all; it cannot overflow, as each part is below one minor unit.
pub(super) fn booked_rounding(by_team: &BTreeMap<Id, Amount>) -> Amount {
    Amount::checked_sum(by_team.values().copied()).unwrap_or_default()
}

pub(super) fn plan_json(period: Period, plan: &ClosePlan, only_planned: bool) -> Value {
    let statements = plan.ready.iter().map(|ready| {
        json!({
            "team": ready.team, "statement": ready.statement.statement, "revision": 1,
            "total": ready.statement.total, "exact_total": ready.statement.exact_total,
            "digest": ready.digest,
        })
    });
    json!({
        "period": period,
        "state": "open",
        "closed": false,
        "detail": if only_planned { "a plan: nothing was written" } else { "refused: blocking findings stand" },
        "blocking": plan.blocking(),
        "findings": plan.findings,
        "totals": plan.settled.settlement.totals,
        "rounding": booked_rounding(&plan.rounding),
        "statements": statements.collect::<Vec<_>>(),
        "manifest": Digest::of(&plan.manifest),
    })
}
