//! Month close: plan (every finding), then execute: freeze, write the documents, book, and only then closed.
//!
//! I/O: the facts and the blocks of the period, what is frozen and its record, one document per team, the ledger entries,
//! one final record. A crash after the freeze is finished by the next close, which writes what was frozen and computes
//! nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, NaiveDate, Utc};
use recoup_documents::{Manifest, Statement, canonical_json};
use recoup_ledger::{Balances, CloseFacts, Correction, Opening, PriceVersion, Totals, close_findings, post};
use recoup_model::organisation::History;
use recoup_model::period::format_instant;
use recoup_model::{Digest, Finding, FindingKind, Id, Period, Severity};
use recoup_money::Amount;
use recoup_store::{Books, Expect, Key, PutOutcome};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::access::Principal;
use crate::app::{App, World};
use crate::error::Refusal;
use crate::nightly::{Cut, DIRTY, Dirty, SettledPeriod, unreadable};
use crate::records;
use crate::runs::Running;
use crate::statements::Issued;

/// The partition of period states.
const PERIODS: &str = "periods";

/// Where a period is on its way (CLO-1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PeriodState {
    /// Frozen: its documents are being written.
    Closing,
    /// Closed for good.
    Closed,
}

/// A period that is closed or being closed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PeriodRecord {
    /// The month.
    pub period: Period,
    /// Where it is.
    pub state: PeriodState,
    /// The run that closed it.
    pub run: String,
    /// The instant that the close was made for, RFC 3339.
    pub as_of: String,
    /// When it was closed, RFC 3339.
    pub closed_at: Option<String>,
    /// Versions of the organisation file that were known.
    pub organisation_versions: u32,
    /// Price lists that had been imported.
    pub imports: usize,
    /// Digest of the shipped catalogue; `None`: closed before it was noted, with that of the release of the time.
    #[serde(default)]
    pub shipped: Option<Digest>,
    /// The last block that the nights had seen.
    pub cut: u64,
    /// Digest of the facts of each night.
    pub nights: BTreeMap<String, Digest>,
    /// What was issued.
    pub statements: Vec<Issued>,
    /// Digest of the manifest.
    pub manifest: Digest,
    /// Digest of the approved rate card that its prices began with.
    #[serde(default)]
    pub rate_card: Option<Digest>,
    /// The sums that tie (CLO-4).
    pub totals: Totals,
    /// Printed total less exact total of each team, booked on the account `rounding`.
    pub rounding: BTreeMap<Id, Amount>,
}

impl PeriodRecord {
    /// Whether it is closed for good.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state == PeriodState::Closed
    }
}

/// What a close needs to know.
#[derive(Clone, Debug)]
pub struct CloseRequest {
    /// The month.
    pub period: Period,
    /// Only say what would happen.
    pub plan: bool,
    /// The instant at which it is asked; default now.
    pub as_of_ns: Option<i64>,
    /// Run the month's missing nights first, without what only queries need: the next night does that.
    pub run_missing_nights: bool,
}

/// Every period that is closed or being closed, in order.
pub(crate) async fn period_records(books: &dyn Books) -> Result<Vec<PeriodRecord>, Refusal> {
    Ok(records::all::<PeriodRecord>(books, PERIODS, "").await?.into_iter().map(|(_, record, _)| record).collect())
}

/// The period that a close has frozen and not finished.
pub(crate) async fn closing_period(books: &dyn Books) -> Result<Option<Period>, Refusal> {
    let records = period_records(books).await?;
    Ok(records.into_iter().find(|record| !record.is_closed()).map(|record| record.period))
}

/// The organisation as it was known when a period was closed.
pub(crate) fn history_as_closed(history: &History, record: &PeriodRecord) -> Result<History, Refusal> {
    let known = history.versions().iter().filter(|version| version.number <= record.organisation_versions);
    History::new(known.cloned().collect())
        .ok_or_else(|| Refusal::computation("recompute a closed period", "its organisation version is gone"))
}

fn detail_partition(period: Period) -> String {
    format!("periods/{period}")
}

/// A statement ready to be issued.
struct Ready {
    team: String,
    statement: Statement,
    bytes: Vec<u8>,
}

/// Everything a close will write, made before anything is written.
struct ClosePlan {
    settled: SettledPeriod,
    manifest: Vec<u8>,
    ready: Vec<Ready>,
    findings: Vec<Finding>,
    rounding: BTreeMap<Id, Amount>,
    organisation_versions: u32,
    imports: usize,
    cut: Cut,
}

impl ClosePlan {
    fn blocking(&self) -> usize {
        self.findings.iter().filter(|finding| finding.severity == Severity::Blocking).count()
    }
}

impl App {
    /// Plans or executes the close of a month.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`], or a figure that cannot be computed. A close that findings refuse is an outcome, not an
    /// error.
    pub async fn close(
        self: &Arc<Self>,
        principal: &Principal,
        run: &str,
        request: CloseRequest,
    ) -> Result<Value, Refusal> {
        principal.may_run()?;
        let running = self.begin_run(run, "close").await?;
        let outcome = self.close_steps(&running, &request).await;
        self.end_run(run, &outcome).await?;
        outcome
    }

    async fn close_steps(self: &Arc<Self>, running: &Running, request: &CloseRequest) -> Result<Value, Refusal> {
        let period = request.period;
        let key = Key::new(PERIODS, period.to_string());
        let held = records::get::<PeriodRecord>(self.books(), &key).await?;
        if let Some((record, _)) = held.as_ref().filter(|(record, _)| record.is_closed()) {
            return Ok(outcome_of(record, "was closed before; nothing was done"));
        }
        if let Some((record, _)) = held {
            if request.plan {
                return Ok(outcome_of(&record, "a plan: an interrupted close is finished by the next one"));
            }
            self.progress(running, "finishing an interrupted close", 1, 3);
            return Ok(outcome_of(&self.complete(running, &key, record).await?, "closed"));
        }
        let world = self.world().await?;
        let cut = self.mark_days(running, &world).await?;
        if request.run_missing_nights && !request.plan {
            self.run_missing_nights(running, &world, period).await?;
        }
        self.progress(running, "computing the close", 0, 3);
        let Some(plan) = self.plan_close(&world, request, cut).await? else {
            return self.nothing_to_close(&world, request).await;
        };
        if request.plan || plan.blocking() > 0 {
            return Ok(plan_json(period, &plan, request.plan));
        }
        self.progress(running, "writing the statements", 1, 3);
        self.publish(&world, &plan.settled).await?;
        let record = self.freeze(running, request, &plan).await?;
        let record = self.complete(running, &key, record).await?;
        let mut outcome = outcome_of(&record, "closed");
        if let Some(outcome) = outcome.as_object_mut() {
            outcome.insert("findings".into(), json!(plan.findings));
        }
        Ok(outcome)
    }

    async fn plan_close(&self, world: &World, request: &CloseRequest, cut: Cut) -> Result<Option<ClosePlan>, Refusal> {
        let period = request.period;
        let settled = self.settle_chain(world, Some(period)).await?;
        let Some(settled) = settled.into_iter().find(|settled| settled.period == period) else { return Ok(None) };
        recoup_ledger::check(&settled.settlement)
            .map_err(|error| Refusal::computation("tie the close (CLO-4)", error))?;
        let mut findings = self.close_findings(world, request, &settled.settlement.balances).await?;
        findings.extend(settled.settlement.findings.iter().cloned());
        let version = world.history.on(period.days().last().unwrap_or_default());
        let manifest = Manifest::build(period, &world.history, &settled.days, world.prices.digest())
            .with_inputs(&settled.opening, &settled.corrections)
            .with_rate_card(settled.settlement.rate_card);
        let mut ready = Vec::new();
        // A team whose events are all unpriced has no line and still a statement that says so (RAT-2).
        let unpriced = settled.settlement.unpriced_events.keys().flatten();
        let teams: BTreeSet<&Id> = settled.settlement.lines.keys().chain(unpriced).collect();
        for team in teams {
            let statement = Statement::build(team, &settled.settlement, version, 1, &manifest)
                .map_err(|error| Refusal::computation("write a statement", error))?;
            let bytes = canonical_json(&statement);
            ready.push(Ready { team: team.to_string(), statement, bytes });
        }
        let rounding = rounding_of(&ready)?;
        let organisation_versions = u32::try_from(world.history.versions().len()).unwrap_or(u32::MAX);
        Ok(Some(ClosePlan {
            settled,
            manifest: canonical_json(&manifest),
            ready,
            findings,
            rounding,
            organisation_versions,
            imports: world.catalogues.len().saturating_sub(1),
            cut,
        }))
    }

    /// The outcome for a month without any night: refused, with every finding (CLO-1).
    async fn nothing_to_close(&self, world: &World, request: &CloseRequest) -> Result<Value, Refusal> {
        let period = request.period;
        let mut findings = self.close_findings(world, request, &Balances::default()).await?;
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
        balances: &Balances,
    ) -> Result<Vec<Finding>, Refusal> {
        let period = request.period;
        let dirty = records::all::<Dirty>(self.books(), DIRTY, "").await?;
        let missing: BTreeSet<NaiveDate> =
            dirty.into_iter().map(|(_, dirty, _)| dirty.day).filter(|day| period.contains(*day)).collect();
        let missing: Vec<NaiveDate> = missing.into_iter().collect();
        let unreadable_blocks = self.damaged_blocks(world, period).await?;
        let last = world.history.on(period.days().last().unwrap_or_default());
        Ok(close_findings(&CloseFacts {
            period,
            calendar: world.history.calendar(),
            soft_close_days: last.organisation.policy.soft_close_days,
            as_of_ns: request.as_of_ns.unwrap_or_else(|| self.now_ns()),
            missing_nights: &missing,
            unreadable_blocks: &unreadable_blocks,
            balances,
        }))
    }

    /// Blocks of the period's days whose checksum does not hold: what a statement is made from has to be there when it
    /// is verified.
    async fn damaged_blocks(&self, world: &World, period: Period) -> Result<Vec<(String, String)>, Refusal> {
        let calendar = world.history.calendar();
        let utc_days: BTreeSet<NaiveDate> = period.days().flat_map(|day| calendar.utc_days(day)).collect();
        let mut damaged = Vec::new();
        for utc_day in utc_days {
            for lane in 0..self.lanes {
                for block in self.ports.log.blocks_of_day(utc_day, lane).await? {
                    damaged.extend(self.damage(block.seq).await?);
                }
            }
        }
        Ok(damaged)
    }

    /// What is wrong with a block, where its bytes are not what they were: a read checks them.
    async fn damage(&self, seq: u64) -> Result<Option<(String, String)>, Refusal> {
        match self.ports.log.read(vec![seq]).await.map_err(Refusal::from) {
            Ok(_) => Ok(None),
            Err(error) => unreadable(&error).map(Some).ok_or(error),
        }
    }

    /// Freezes the period with everything that is written later: from here on late events are late.
    async fn freeze(
        &self,
        running: &Running,
        request: &CloseRequest,
        plan: &ClosePlan,
    ) -> Result<PeriodRecord, Refusal> {
        let period = request.period;
        let issued_at = self.now_text();
        let statements: Vec<Issued> = plan.ready.iter().map(|ready| issued(period, ready, &issued_at)).collect();
        let partition = detail_partition(period);
        let settled = &plan.settled;
        let mut puts = records::text_puts(&partition, "opening/", &records::to_json(&settled.opening)?)?;
        puts.extend(records::text_puts(&partition, "closing/", &records::to_json(&settled.settlement.closing)?)?);
        puts.extend(records::list_puts(&partition, "prices/", settled.settlement.prices.iter())?);
        puts.extend(records::list_puts(&partition, "corrections/", settled.corrections.iter())?);
        puts.extend(records::list_puts(&partition, "balances/", settled.settlement.balances.accounts().iter())?);
        puts.extend(records::text_puts(&partition, "documents/manifest/", &utf8(&plan.manifest)?)?);
        for (number, ready) in plan.ready.iter().enumerate() {
            puts.extend(records::text_puts(&partition, &format!("documents/{number:06}/"), &utf8(&ready.bytes)?)?);
        }
        self.keep_shipped().await?;
        records::remove_all(self.books(), &partition, "").await?;
        records::write_in_groups(self.books(), puts).await?;
        let record = PeriodRecord {
            period,
            state: PeriodState::Closing,
            run: running.run.clone(),
            as_of: format_instant(request.as_of_ns.unwrap_or_else(|| self.now_ns())),
            closed_at: None,
            organisation_versions: plan.organisation_versions,
            imports: plan.imports,
            shipped: Some(self.shipped.digest()),
            cut: plan.cut.0,
            nights: settled.nights.clone(),
            statements,
            manifest: Digest::of(&plan.manifest),
            rate_card: settled.settlement.rate_card,
            totals: settled.settlement.totals,
            rounding: plan.rounding.clone(),
        };
        let key = Key::new(PERIODS, period.to_string());
        self.books().write(vec![records::put(key, &record, Expect::Absent)?]).await?;
        Ok(record)
    }

    /// Writes what was frozen, books it, and declares the period closed. Nothing is computed here, so whoever finishes an
    /// interrupted close comes to the same end, whatever has arrived meanwhile.
    async fn complete(&self, running: &Running, key: &Key, record: PeriodRecord) -> Result<PeriodRecord, Refusal> {
        let partition = detail_partition(record.period);
        let manifest = records::text(self.books(), &partition, "documents/manifest/").await?;
        self.write_once(&manifest_path(record.period), manifest.into_bytes()).await?;
        for (number, issued) in record.statements.iter().enumerate() {
            let text = records::text(self.books(), &partition, &format!("documents/{number:06}/")).await?;
            self.write_once(&issued.path, text.into_bytes()).await?;
        }
        self.progress(running, "booking the close", 2, 3);
        self.finish(key, record).await
    }

    async fn write_once(&self, path: &str, bytes: Vec<u8>) -> Result<(), Refusal> {
        match self.ports.documents.put_once(path, bytes).await? {
            PutOutcome::Written | PutOutcome::Same => Ok(()),
            PutOutcome::Different => Err(Refusal::Conflict {
                kind: "document-exists",
                detail: format!("the document {path} exists with other content; statements are never overwritten"),
            }),
        }
    }

    /// Books the close with its rounding, then declares the period closed. The entries are the difference to what is
    /// booked already, so that a repetition adds nothing.
    async fn finish(&self, key: &Key, record: PeriodRecord) -> Result<PeriodRecord, Refusal> {
        let (_, version) = records::get::<PeriodRecord>(self.books(), key)
            .await?
            .ok_or_else(|| Refusal::computation("finish a close", "the frozen record is gone"))?;
        let frozen: Vec<(String, Amount)> =
            records::list(self.books(), &detail_partition(record.period), "balances/").await?;
        let after = Balances::from_iter(frozen)
            .with_rounding(&record.rounding)
            .map_err(|error| Refusal::computation("book the rounding", error))?;
        let entries = post(&self.booked(record.period).await?, &after)
            .map_err(|error| Refusal::computation("post the close to the ledger", error))?;
        let run = format!("{}-close-{}", record.run, self.new_run()?);
        records::write_in_groups(self.books(), self.entry_puts(record.period, &run, entries)?).await?;
        let closed = PeriodRecord { state: PeriodState::Closed, closed_at: Some(self.now_text()), ..record };
        self.books().write(vec![records::put(key.clone(), &closed, Expect::Version(version))?]).await?;
        Ok(closed)
    }

    /// The state at the start of a closed period.
    pub(crate) async fn opening_of(&self, record: &PeriodRecord) -> Result<Opening, Refusal> {
        self.detail(record, "opening/").await
    }

    /// The state at the end of a closed period.
    pub(crate) async fn closing_of(&self, record: &PeriodRecord) -> Result<Opening, Refusal> {
        self.detail(record, "closing/").await
    }

    async fn detail(&self, record: &PeriodRecord, prefix: &str) -> Result<Opening, Refusal> {
        let text = records::text(self.books(), &detail_partition(record.period), prefix).await?;
        serde_json::from_str(&text).map_err(|error| Refusal::computation("read a closed period", error))
    }

    /// The internal prices that a closed period charged.
    pub(crate) async fn own_prices(&self, record: &PeriodRecord) -> Result<Vec<PriceVersion>, Refusal> {
        Ok(records::list(self.books(), &detail_partition(record.period), "prices/").await?)
    }

    /// Corrections of earlier periods that a closed period booked.
    pub(crate) async fn corrections_in(&self, record: &PeriodRecord) -> Result<Vec<Correction>, Refusal> {
        Ok(records::list(self.books(), &detail_partition(record.period), "corrections/").await?)
    }

    /// Corrections of `period` that were booked in later closed periods.
    pub(crate) async fn corrections_booked(
        &self,
        closed: &[PeriodRecord],
        period: Period,
    ) -> Result<Vec<Correction>, Refusal> {
        let mut booked = Vec::new();
        for record in closed.iter().filter(|record| record.is_closed() && record.period > period) {
            let all = self.corrections_in(record).await?;
            booked.extend(all.into_iter().filter(|one| one.line.key.original_period == Some(period)));
        }
        Ok(booked)
    }

    /// Every period that has figures: its state and what it amounts to.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn periods(&self) -> Result<Vec<Value>, Refusal> {
        let closed = period_records(self.books()).await?;
        let mut rows: BTreeMap<Period, Value> = BTreeMap::new();
        let settled = records::all::<crate::nightly::SettledRecord>(self.books(), crate::nightly::SETTLED, "").await?;
        for (_, record, _) in settled {
            let row =
                json!({ "period": record.period, "state": "open", "through": record.through, "totals": record.totals });
            rows.insert(record.period, row);
        }
        for record in closed {
            let row = json!({
                "period": record.period, "state": record.state, "closed_at": record.closed_at,
                "totals": record.totals, "statements": record.statements.len(), "manifest": record.manifest,
            });
            rows.insert(record.period, row);
        }
        Ok(rows.into_values().collect())
    }
}

/// Where the manifest of a month lies among the documents.
pub(crate) fn manifest_path(period: Period) -> String {
    format!("statements/{period}/manifest-r1.json")
}

fn issued(period: Period, ready: &Ready, issued_at: &str) -> Issued {
    Issued {
        team: ready.team.clone(),
        period,
        statement: ready.statement.statement.clone(),
        revision: ready.statement.revision,
        digest: Digest::of(&ready.bytes),
        total: ready.statement.total.clone(),
        mode: ready.statement.mode.clone(),
        issued_at: issued_at.to_owned(),
        path: format!("statements/{period}/{}/r{}.json", path_segment(&ready.team), ready.statement.revision),
    }
}

fn utf8(bytes: &[u8]) -> Result<String, Refusal> {
    String::from_utf8(bytes.to_vec()).map_err(|error| Refusal::computation("keep a document", error))
}

/// A team's id as a path segment: what is not plain is percent-encoded with `_` in place of `%`.
fn path_segment(team: &str) -> String {
    let mut segment = String::with_capacity(team.len());
    for byte in team.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' || (byte == b'.' && !segment.is_empty()) {
            segment.push(char::from(byte));
        } else {
            segment.push_str(&format!("_{byte:02x}"));
        }
    }
    segment
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
fn booked_rounding(by_team: &BTreeMap<Id, Amount>) -> Amount {
    Amount::checked_sum(by_team.values().copied()).unwrap_or_default()
}

fn plan_json(period: Period, plan: &ClosePlan, only_planned: bool) -> Value {
    let statements = plan.ready.iter().map(|ready| {
        json!({
            "team": ready.team, "statement": ready.statement.statement, "revision": 1,
            "total": ready.statement.total, "exact_total": ready.statement.exact_total,
            "digest": Digest::of(&ready.bytes),
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

fn outcome_of(record: &PeriodRecord, detail: &str) -> Value {
    json!({
        "period": record.period,
        "state": record.state,
        "closed": record.is_closed(),
        "detail": detail,
        "blocking": 0,
        "findings": [],
        "totals": record.totals,
        "rounding": booked_rounding(&record.rounding),
        "statements": record.statements,
        "manifest": record.manifest,
    })
}

/// Reads an instant such as `2026-11-04T00:00:00Z`, or a date, which is 00:00 UTC of it.
///
/// # Errors
/// [`Refusal::Invalid`] naming `as_of`.
pub fn parse_as_of(text: &str) -> Result<i64, Refusal> {
    let bad = || {
        Refusal::invalid("invalid-time", "as_of", format!("`{text}` is no RFC 3339 time; write 2026-11-04T00:00:00Z"))
    };
    let full = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() };
    let instant = DateTime::parse_from_rfc3339(&full).map_err(|_| bad())?;
    instant.with_timezone(&Utc).timestamp_nanos_opt().ok_or_else(bad)
}
