//! Issuing: what was computed is frozen, written as documents and booked; then the month is closed for good.

use std::sync::Arc;

use recoup_documents::RULES_VERSION;
use recoup_ledger::Balances;
use recoup_model::period::format_instant;
use recoup_model::{Digest, Period};
use recoup_money::Amount;
use recoup_store::{Expect, Key, PutOutcome, StoreError};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::compute::{ClosePlan, Ready, booked_rounding};
use super::frozen::Frozen;
use super::{CloseRequest, PERIODS, PeriodRecord, PeriodState, detail_partition, manifest_path};
use crate::alerts::{Tell, outbox_put};
use crate::app::App;
use crate::error::Refusal;
use crate::records;
use crate::statements::Issued;

/// Documents that are written at the same time.
const DOCUMENTS_AT_ONCE: usize = 4;
/// What the manifest is frozen under; a statement is under its number.
const MANIFEST: &str = "manifest";

/// Documents that were made in this process.
pub(super) struct Made {
    pub(super) manifest: Vec<u8>,
    /// The statements in order.
    pub(super) ready: Vec<Ready>,
}

fn numbered(statement: usize) -> String {
    format!("{statement:06}")
}

impl App {
    /// Freezes the period with everything that is written later: from here on late events are late.
    pub(super) async fn freeze(
        &self,
        run: &str,
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
        puts.extend(records::list_puts_of(&partition, "prices/", &settled.price_rows));
        puts.extend(records::list_puts(&partition, "corrections/", settled.corrections.iter())?);
        puts.extend(records::list_puts(&partition, "balances/", settled.settlement.balances.accounts().iter())?);
        puts.extend(Frozen::of(&plan.manifest)?.puts(&partition, MANIFEST));
        for (number, ready) in plan.ready.iter().enumerate() {
            puts.extend(ready.frozen.puts(&partition, &numbered(number)));
        }
        self.keep_shipped().await?;
        records::remove_all(self.books(), &partition, "").await?;
        records::write_in_groups(self.books(), puts).await?;
        let record = PeriodRecord {
            period,
            state: PeriodState::Closing,
            run: run.to_owned(),
            as_of: format_instant(request.as_of_ns.unwrap_or_else(|| self.now_ns())),
            closed_at: None,
            organisation_versions: plan.organisation_versions,
            imports: plan.imports,
            shipped: Some(self.shipped()?.digest()),
            rules: RULES_VERSION,
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
    /// `made` are the documents that were frozen, where they are still at hand.
    pub(super) async fn complete(
        self: &Arc<Self>,
        run: &str,
        key: &Key,
        (record, made): (PeriodRecord, Option<Made>),
    ) -> Result<PeriodRecord, Refusal> {
        let (manifest, ready) = match made {
            Some(Made { manifest, ready }) => (manifest, ready),
            None => {
                let path = manifest_path(record.period);
                (self.frozen(record.period, MANIFEST, (&path, record.manifest)).await?, Vec::new())
            }
        };
        self.write_once(&manifest_path(record.period), manifest).await?;
        let mut ready = ready.into_iter();
        let mut statements = record.statements.iter().enumerate();
        let mut writes = JoinSet::new();
        loop {
            while writes.len() < DOCUMENTS_AT_ONCE {
                let Some((number, issued)) = statements.next() else { break };
                let (app, path, digest) = (Arc::clone(self), issued.path.clone(), issued.digest);
                let period = record.period;
                let made = ready.next().map(|ready| ready.bytes);
                writes.spawn(async move {
                    let bytes = match made {
                        Some(bytes) => bytes,
                        None => app.frozen(period, &numbered(number), (&path, digest)).await?,
                    };
                    app.write_once(&path, bytes).await
                });
            }
            let Some(written) = writes.join_next().await else { break };
            written.map_err(|error| Refusal::computation("write a statement", error))??;
        }
        self.progress(run, "booking the close", 2, 3);
        self.finish(key, record).await
    }

    /// A document as it was frozen, as its digest tells.
    async fn frozen(&self, period: Period, name: &str, (path, digest): (&str, Digest)) -> Result<Vec<u8>, Refusal> {
        let bytes = Frozen::read(self.books(), &detail_partition(period), name).await?;
        if Digest::of(&bytes) != digest {
            let detail = "it is not what was frozen; nothing was issued, restore the books from a backup".to_owned();
            return Err(StoreError::Damaged { what: format!("the frozen document {path}"), detail }.into());
        }
        Ok(bytes)
    }

    /// Writes a document for good.
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
        let transaction = format!("{}-close-{}", record.run, self.new_run()?);
        self.post_balances(record.period, &transaction, &after).await?;
        let closed = PeriodRecord { state: PeriodState::Closed, closed_at: Some(self.now_text()), ..record };
        let told = outbox_put(&Tell::StatementReady { period: closed.period })?;
        self.books().write(vec![records::put(key.clone(), &closed, Expect::Version(version))?, told]).await?;
        Ok(closed)
    }
}

fn issued(period: Period, ready: &Ready, issued_at: &str) -> Issued {
    Issued {
        team: ready.team.clone(),
        period,
        statement: ready.statement.statement.clone(),
        revision: ready.statement.revision,
        digest: ready.digest,
        total: ready.statement.total.clone(),
        mode: ready.statement.mode.clone(),
        issued_at: issued_at.to_owned(),
        path: format!("statements/{period}/{}/r{}.json", path_segment(&ready.team), ready.statement.revision),
    }
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

pub(super) fn outcome_of(record: &PeriodRecord, detail: &str) -> Value {
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
