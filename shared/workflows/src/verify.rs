//! Verify: recompute a statement from the log and say whether it holds, or which line differs.

use std::collections::BTreeMap;
use std::sync::Arc;

use recoup_documents::{Manifest, RULES_VERSION, Statement, canonical_json, compare};
use recoup_model::{Digest, Id};
use recoup_pricing::PriceBook;
use serde_json::{Value, json};

use crate::access::Principal;
use crate::app::{App, World};
use crate::close::{self, PeriodRecord};
use crate::error::Refusal;
use crate::nightly::{Cut, build_facts};
use crate::statements::read;

/// Bytes of a statement that is checked.
pub const STATEMENT_BYTES_MAX: usize = 64 * 1024 * 1024;

impl App {
    /// Recomputes a statement from the event log: from blocks, not from what a night stored.
    ///
    /// # Errors
    /// When the file is no statement, names a period that is not closed, or rules that this release does not have.
    pub async fn verify(&self, principal: &Principal, bytes: &[u8]) -> Result<Value, Refusal> {
        if bytes.len() > STATEMENT_BYTES_MAX {
            return Err(Refusal::TooLarge(format!("the statement has more than {STATEMENT_BYTES_MAX} bytes")));
        }
        let stated = read(bytes)?;
        principal.may_see_team(&stated.team)?;
        if stated.manifest.rules != RULES_VERSION {
            let detail = format!(
                "the statement was made with rules version {}, this release has {RULES_VERSION}; verify it with the \
                 release that issued it",
                stated.manifest.rules
            );
            return Err(Refusal::invalid("other-rules", "manifest.rules", detail));
        }
        let records = close::period_records(self.books()).await?;
        let record = records.into_iter().find(|record| record.is_closed() && record.period == stated.period);
        let record = record.ok_or_else(|| Refusal::NotFound(format!("{} is not closed here", stated.period)))?;
        let world = self.world().await?;
        let recomputed = self.recompute_statement(&world, &record, &stated.team).await?;
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
            "detail": verdict(holds, differences.is_empty()),
        }))
    }

    async fn recompute_statement(
        &self,
        world: &World,
        record: &PeriodRecord,
        team: &str,
    ) -> Result<Statement, Refusal> {
        let own = world_as_closed(world, record)?;
        let mut days = BTreeMap::new();
        for day in record.period.days() {
            let mut merged: Option<recoup_attribution::DayFacts> = None;
            for lane in 0..self.lanes {
                let loaded = self.load_day(&own, (day, lane), Cut(record.cut)).await?;
                if loaded.is_empty() {
                    continue;
                }
                let facts = build_facts(&own, day, &loaded)?;
                match &mut merged {
                    None => merged = Some(facts),
                    Some(held) => {
                        held.merge(facts).map_err(|error| Refusal::computation("add the lanes of a day", error))?;
                    }
                }
            }
            if let Some(facts) = merged {
                days.insert(day, facts);
            }
        }
        let settlement = self.settle_closed(&own, record, &days).await?;
        let manifest = Manifest::build(record.period, &own.history, &days, own.prices.digest())
            .with_inputs(&self.opening_of(record).await?, &self.corrections_in(record).await?);
        let version = own.history.on(record.period.days().last().unwrap_or_default());
        Statement::build(&Id::from(team), &settlement, version, 1, &manifest)
            .map_err(|error| Refusal::computation("recompute a statement", error))
    }
}

/// Organisation versions and prices as they were known when a period was closed.
fn world_as_closed(world: &World, record: &PeriodRecord) -> Result<World, Refusal> {
    let history = close::history_as_closed(&world.history, record)?;
    let known = record.imports.saturating_add(1);
    let catalogues: Vec<_> = world.catalogues.iter().take(known).cloned().collect();
    let prices = PriceBook::new(&catalogues, &history)
        .map_err(|error| Refusal::computation("put the prices of the close together", error))?;
    Ok(World { history, prices: Arc::new(prices), catalogues })
}

const fn verdict(holds: bool, same_figures: bool) -> &'static str {
    match (holds, same_figures) {
        (true, _) => "holds: recomputed from the event log, byte for byte",
        (false, true) => "every figure holds, but the bytes are not the canonical ones that were issued",
        (false, false) => "does not hold: the lines listed differ from what the event log gives",
    }
}
