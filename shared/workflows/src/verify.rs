//! Verify: recompute a statement from the log and say whether it holds, or which line differs.

use std::sync::Arc;

use recoup_attribution::Grain;
use recoup_documents::{Counted, Manifest, RULES_HELD, RULES_VERSION, Statement, canonical_json, compare};
use recoup_model::period::TIME_ZONE_DATA;
use recoup_model::{Digest, Id};
use serde_json::{Value, json};

use crate::access::Principal;
use crate::app::{App, World};
use crate::close::{self, PeriodRecord};
use crate::error::Refusal;
use crate::nightly::{Cut, Prints, to_settle};
use crate::shipped::Known;
use crate::statements::read;

/// Bytes of a statement that is checked.
pub const STATEMENT_BYTES_MAX: usize = 64 * 1024 * 1024;

impl App {
    /// Recomputes a statement from the event log: from blocks, not from what a night stored.
    ///
    /// # Errors
    /// When the file is no statement, names a period that is not closed, or rules that this release does not have.
    pub async fn verify(self: &Arc<Self>, principal: &Principal, bytes: &[u8]) -> Result<Value, Refusal> {
        if bytes.len() > STATEMENT_BYTES_MAX {
            return Err(Refusal::TooLarge(format!("the statement has more than {STATEMENT_BYTES_MAX} bytes")));
        }
        let stated = read(bytes)?;
        principal.may_see_team(&stated.team)?;
        if !RULES_HELD.contains(&stated.manifest.rules) {
            let detail = format!(
                "the statement was made with rules version {}, this release has {} to {RULES_VERSION}; verify it with the \
                 release that issued it",
                stated.manifest.rules,
                RULES_HELD.start()
            );
            return Err(Refusal::invalid("other-rules", "manifest.rules", detail));
        }
        let records = close::period_records(self.books()).await?;
        let record = records.into_iter().find(|record| record.is_closed() && record.period == stated.period);
        let record = record.ok_or_else(|| Refusal::NotFound(format!("{} is not closed here", stated.period)))?;
        let world = self.world().await?;
        let time_zone_data = self.time_zone_data_of(&record).await?;
        let recomputed = self.recompute_statement(&world, &record, (&stated.team, &time_zone_data)).await?;
        let again = canonical_json(&recomputed);
        let differences = compare(&stated, &recomputed);
        let canonical = again == bytes || again == bytes.trim_ascii_end();
        let holds = differences.is_empty() && canonical;
        let issued = record.statements.iter().find(|issued| issued.team == stated.team);
        let digest = Digest::of(bytes.trim_ascii_end());
        Ok(json!({
            "holds": holds,
            "statement": stated.statement,
            "differences": differences,
            "digest": digest,
            "issued_digest": issued.map(|issued| issued.digest),
            "recomputed_digest": Digest::of(&again),
            "events": recomputed.manifest.events,
            "time_zone_data": { "issued": time_zone_data, "here": TIME_ZONE_DATA },
            "detail": verdict(holds, differences.is_empty(), &time_zone_data),
        }))
    }

    /// The version of the time zone data that a month was closed with, as its manifest says.
    async fn time_zone_data_of(&self, record: &PeriodRecord) -> Result<String, Refusal> {
        let path = close::manifest_path(record.period);
        let bytes = self.ports.documents.get(&path).await?;
        let bytes =
            bytes.ok_or_else(|| Refusal::computation("read a manifest", format!("the document {path} is gone")))?;
        let manifest: Manifest = serde_json::from_slice(&bytes)
            .map_err(|error| Refusal::computation("read a manifest", format!("the document {path}: {error}")))?;
        Ok(manifest.time_zone_data)
    }

    async fn recompute_statement(
        self: &Arc<Self>,
        world: &World,
        record: &PeriodRecord,
        (team, time_zone_data): (&str, &str),
    ) -> Result<Statement, Refusal> {
        let own = self.world_of(world, record, Known::AtTheClose).await?;
        let from = (Cut(record.cut), Prints::Computed);
        let days = self.replay_days(&own, (record.period.days(), Grain::Settlement), from).await?;
        let days = to_settle(&days)?;
        let settlement = self.settle_closed(&own, record, &days).await?;
        let counted = days.iter().map(|(day, facts)| (*day, Counted::of(facts))).collect();
        // Other time zone data that moves no event of the month gives the same statement: it is named as it was issued.
        let manifest = Manifest {
            time_zone_data: time_zone_data.to_owned(),
            rules: record.rules,
            ..Manifest::build(record.period, &own.history, &counted, own.prices.digest())
                .with_inputs(&self.opening_of(record).await?, &self.corrections_in(record).await?)
                .with_rate_card(record.rate_card)
        };
        let version = own.history.on(record.period.days().last().unwrap_or_default());
        Statement::build(&Id::from(team), &settlement, version, 1, &manifest)
            .map_err(|error| Refusal::computation("recompute a statement", error))
    }
}

fn verdict(holds: bool, same_figures: bool, time_zone_data: &str) -> String {
    let verdict = match (holds, same_figures) {
        (true, _) => "holds: recomputed from the event log, byte for byte",
        (false, true) => "every figure holds, but the bytes are not the canonical ones that were issued",
        (false, false) => "does not hold: the lines listed differ from what the event log gives",
    };
    if time_zone_data == TIME_ZONE_DATA {
        return verdict.to_owned();
    }
    let remedy = if holds { "" } else { "; verify it with the release that issued it" };
    format!(
        "{verdict} (the month was closed with time zone data {time_zone_data}, this release has {TIME_ZONE_DATA}{remedy})"
    )
}
