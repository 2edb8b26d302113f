//! Critical work that went beyond a used-up budget without having asked (BUD-2): every further amount is in the audit record.
//!
//! Whoever asks is logged when it is let through. What did not ask is found when its cost is posted: an event that claims to be
//! critical, whose agent or task type the organisation file declares so, and that names no reservation of its key. It is
//! logged under a name that follows from the event, and its block is marked once all of it was looked at: blocks that come
//! again log nothing anew, also where the budget was used up only later.
//! Of what one rollup posts, the latest events are those beyond the limit. What has no price yet costs nothing and is not
//! logged.
//! I/O: nothing for blocks without such events; else a read of the marks and counters, a write per event and block.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use recoup_budgets::admission::{Asker, Extended, limit_of};
use recoup_budgets::{Counter, counter_of};
use recoup_model::period::format_instant;
use recoup_model::{Id, Identity};
use recoup_money::Amount;
use recoup_store::{BlockName, CounterKey, Expect, Key, Write};
use serde_json::json;

use crate::app::{App, World};
use crate::audit::AuditEntry;
use crate::error::Refusal;
use crate::records;

/// The partition of blocks whose critical events were looked at: a key for each block that holds such.
const LOOKED_AT: &str = "exemptions-looked-at";
/// What the record calls it.
pub(crate) const ACTION: &str = "critical-exemption";

/// An event of critical work that names no reservation.
#[derive(Clone, Debug)]
pub(crate) struct Unasked {
    pub(crate) block: BlockName,
    pub(crate) identity: Identity,
    pub(crate) recorded_at_ns: i64,
    pub(crate) key_id: Option<Id>,
    pub(crate) event_id: Id,
    pub(crate) trace_id: Option<Id>,
    pub(crate) day: NaiveDate,
    pub(crate) asker: Asker,
    pub(crate) counters: Vec<Counter>,
    pub(crate) cost: Amount,
}

/// A limit that an event went beyond.
struct Beyond {
    scope: String,
    period: String,
    limit: Amount,
    posted: Amount,
}

impl App {
    /// Logs what went beyond limits, once its cost is posted.
    ///
    /// # Errors
    /// When the store fails: the same blocks can be given again.
    pub(crate) async fn log_unasked(&self, world: &World, unasked: &[Unasked]) -> Result<(), Refusal> {
        let mut blocks: BTreeMap<BlockName, BTreeMap<Identity, &Unasked>> = BTreeMap::new();
        for one in unasked {
            blocks.entry(one.block).or_default().insert(one.identity, one);
        }
        let mut open: Vec<BlockName> = Vec::new();
        for block in blocks.keys() {
            if self.books().get(&mark_of(block)).await?.is_none() {
                open.push(*block);
            }
        }
        blocks.retain(|block, _| open.contains(block));
        let mut events: Vec<&Unasked> = blocks.values().flat_map(BTreeMap::values).copied().collect();
        if events.is_empty() {
            return Ok(());
        }
        events.sort_by_key(|event| std::cmp::Reverse((event.recorded_at_ns, event.identity)));
        let mut posted = self.posted_to(&events).await?;
        let periods = posted.keys().map(|counter| counter.period.clone()).collect();
        let extended = self.approved_for(&periods).await?;
        let mut writes = Vec::new();
        for event in events {
            if let Some(beyond) = self.beyond(event, world, &extended, &posted) {
                writes.push(self.exemption_put(event, &beyond).await?);
            }
            for counter in &event.counters {
                if let Some(posted) = posted.get_mut(counter) {
                    *posted = posted.checked_sub(event.cost).unwrap_or(*posted);
                }
            }
        }
        records::write_in_groups(self.books(), writes).await?;
        let marks = open.iter().map(|block| records::put(mark_of(block), &self.now_text(), Expect::Any));
        Ok(records::write_in_groups(self.books(), marks.collect::<Result<_, _>>()?).await?)
    }

    /// What is posted to the counters of some events.
    async fn posted_to(&self, events: &[&Unasked]) -> Result<BTreeMap<Counter, Amount>, Refusal> {
        let counters: BTreeSet<&Counter> = events.iter().flat_map(|event| &event.counters).collect();
        let key = |counter: &&Counter| CounterKey { scope: counter.scope.clone(), period: counter.period.clone() };
        let keys: Vec<CounterKey> = counters.iter().map(key).collect();
        let posted = self.ports.live.counters(&keys).await?;
        Ok(counters.into_iter().cloned().zip(posted).collect())
    }

    /// The first budget that has no room for an event, where the later ones are not counted.
    fn beyond(
        &self,
        event: &Unasked,
        world: &World,
        extended: &Extended,
        posted: &BTreeMap<Counter, Amount>,
    ) -> Option<Beyond> {
        let pseudonym_of = |user: &str| self.pseudonyms.of(user).to_string();
        world.history.on(event.day).organisation.budgets.iter().find_map(|budget| {
            let counter =
                counter_of(budget, event.day, &pseudonym_of).filter(|counter| event.counters.contains(counter))?;
            let (limit, posted) = (limit_of(budget, &counter.period, extended), *posted.get(&counter)?);
            (posted > limit).then(|| Beyond { scope: budget.scope.clone(), period: counter.period, limit, posted })
        })
    }

    async fn exemption_put(&self, event: &Unasked, beyond: &Beyond) -> Result<Write, Refusal> {
        let principal = self.holder_of_key(event.key_id.as_deref()).await?;
        let entry = AuditEntry {
            at: format_instant(event.recorded_at_ns),
            who: principal.who(),
            via: principal.via,
            key: principal.key_id,
            from: None,
            action: ACTION.to_owned(),
            target: beyond.scope.clone(),
            detail: json!({
                "scope": beyond.scope, "period": beyond.period, "limit": beyond.limit, "posted": beyond.posted,
                "amount": event.cost, "agent": event.asker.agent, "task_type": event.asker.task_type,
                "task": event.asker.task, "team": event.asker.team, "reserved": false, "asked": false,
                "event_id": event.event_id, "trace_id": event.trace_id,
            }),
        };
        let Identity { trace, event: number } = event.identity;
        entry.put_as(event.recorded_at_ns, &format!("{trace:016x}{number:016x}"))
    }
}

fn mark_of(block: &BlockName) -> Key {
    Key::new(LOOKED_AT, block.digest.to_string())
}
