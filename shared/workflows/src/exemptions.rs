//! Critical work that went beyond a used-up budget without having asked (BUD-2): every further amount is in the audit record.
//!
//! Whoever asks is logged when it is let through. What did not ask is found when its cost is posted: an event that claims to be
//! critical, whose agent or task type the organisation file declares so, and of whose cost a part was not admitted by a
//! reservation: all of it where it names none of its key, or too late, else what is above the reservation. It is logged
//! under a name that follows from the event and never written over, and its block is marked once all of it was looked at:
//! blocks that come again log nothing anew, also where the budget was used up only later. A mark has an end
//! ([`LOOKED_AT_DAYS`]). Not all of a block was looked at where a trace with such an event could not be posted.
//! Of what one rollup is given, the latest events are those beyond the limit.
//! Not logged is what has no price yet: it costs nothing; and what counts for the limit of a payer who is not known yet when the
//! event arrives, such as a child whose root comes in a later block: that block says who pays, and only its own events are
//! looked at.
//! I/O: nothing for blocks without such events; else the marks of the blocks, [`GET_ALL_MAX`] at once, the counters, each key
//! once, and the writes, [`WRITES_MAX`] at once.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use recoup_budgets::admission::{Asker, Extended, TASK_PERIOD, limit_of};
use recoup_budgets::{Counter, counter_of};
use recoup_model::limits::BLOCK_EVENTS_MAX;
use recoup_model::period::format_instant;
use recoup_model::{Id, Identity};
use recoup_money::Amount;
use recoup_store::books::{GET_ALL_MAX, WRITES_MAX};
use recoup_store::{BlockName, CounterKey, Expect, Key, Write, WriteError};
use serde_json::json;

use crate::access::Principal;
use crate::app::{App, World};
use crate::audit::AuditEntry;
use crate::error::Refusal;
use crate::lives::{LOOKED_AT_DAYS, end_of};
use crate::records;

/// The partition of blocks whose critical events were looked at: a key for each block that holds such.
const LOOKED_AT: &str = "exemptions-looked-at";
/// What the record calls it.
pub(crate) const ACTION: &str = "critical-exemption";
/// Events logged in one call, or those of one block. What is left the call that is given the same blocks again goes on with.
const LOGGED_MAX: usize = 2 * BLOCK_EVENTS_MAX;
/// Attempts at a group of writes of which others wrote some.
const ATTEMPTS_MAX: usize = 5;

/// An event of critical work.
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
    /// What of the cost no reservation has admitted; what one has is logged where it is asked for.
    pub(crate) not_asked: Amount,
}

/// A limit that an event went beyond.
struct Beyond {
    scope: String,
    period: String,
    limit: Amount,
    posted: Amount,
}

/// A budget by the counter that it looks at.
struct Line {
    /// Which of the organisation file's it is.
    number: usize,
    scope: String,
    limit: Amount,
}

type Lines = BTreeMap<Counter, Line>;

impl App {
    /// Logs what went beyond limits, once its cost is posted, and marks the blocks of which all was looked at; those that are
    /// `unsettled` are not.
    ///
    /// # Errors
    /// When the store fails, or [`LOGGED_MAX`] is reached: the same blocks can be given again. What was written stays.
    pub(crate) async fn log_unasked(
        &self,
        world: &World,
        unasked: &[Unasked],
        unsettled: &BTreeSet<BlockName>,
    ) -> Result<(), Refusal> {
        let events: BTreeMap<Identity, &Unasked> = unasked.iter().map(|event| (event.identity, event)).collect();
        let blocks: BTreeSet<BlockName> = events.values().map(|event| event.block).collect();
        let open = self.not_looked_at(blocks).await?;
        if open.is_empty() {
            return Ok(());
        }
        let mut beyond = self.all_beyond(world, events.into_values().collect()).await?;
        let mut holders = BTreeMap::new();
        let mut writes = Vec::new();
        let (mut logged, mut left) = (0_usize, 0_usize);
        for block in open {
            let entries = beyond.remove(&block).unwrap_or_default();
            let with_these = entries.len().saturating_add(logged);
            if left > 0 || (logged > 0 && with_these > LOGGED_MAX) {
                left = left.saturating_add(1);
                continue;
            }
            logged = with_these;
            for (event, beyond) in entries {
                writes.push(self.exemption_put(event, &beyond, &mut holders).await?);
            }
            if !unsettled.contains(&block) {
                let until_ns = end_of(self.now_ns(), LOOKED_AT_DAYS);
                writes.push(records::put_until(mark_of(&block), &self.now_text(), Expect::Any, until_ns)?);
            }
        }
        for group in writes.chunks(WRITES_MAX) {
            self.write_what_is_new(group.to_vec()).await?;
        }
        if left > 0 {
            let detail = format!(
                "{logged} events of critical work were logged, more than {LOGGED_MAX} are not at once, and {left} blocks are \
                 left; give the same blocks again"
            );
            return Err(Refusal::Conflict { kind: "more-to-log", detail });
        }
        Ok(())
    }

    /// Those of some blocks that have no mark.
    async fn not_looked_at(&self, blocks: BTreeSet<BlockName>) -> Result<Vec<BlockName>, Refusal> {
        let blocks: Vec<BlockName> = blocks.into_iter().collect();
        let mut open = Vec::new();
        for part in blocks.chunks(GET_ALL_MAX) {
            let keys: Vec<Key> = part.iter().map(mark_of).collect();
            let marks = self.books().get_all(&keys).await?;
            open.extend(part.iter().zip(marks).filter(|(_, mark)| mark.is_none()).map(|(block, _)| *block));
        }
        Ok(open)
    }

    /// The events that went beyond a limit, by their block. Those of marked blocks are given too: what is posted has them.
    async fn all_beyond<'a>(
        &self,
        world: &World,
        mut events: Vec<&'a Unasked>,
    ) -> Result<BTreeMap<BlockName, Vec<(&'a Unasked, Beyond)>>, Refusal> {
        events.sort_by_key(|event| Reverse((event.recorded_at_ns, event.identity)));
        let mut posted = self.posted_to(&events).await?;
        let periods = posted.keys().map(|counter| counter.period.clone()).collect();
        let extended = self.approved_for(&periods).await?;
        let mut days: BTreeMap<NaiveDate, Lines> = BTreeMap::new();
        let mut all: BTreeMap<BlockName, Vec<_>> = BTreeMap::new();
        for event in events {
            let lines = days.entry(event.day).or_insert_with(|| self.lines_on(event.day, world, &extended));
            if let Some(beyond) = first_beyond(event, lines, &posted).filter(|_| !event.not_asked.is_zero()) {
                all.entry(event.block).or_default().push((event, beyond));
            }
            for counter in &event.counters {
                if let Some(posted) = posted.get_mut(counter) {
                    *posted = posted.checked_sub(event.cost).unwrap_or(*posted);
                }
            }
        }
        Ok(all)
    }

    /// Writes a group but for those entries that stand there already.
    async fn write_what_is_new(&self, mut group: Vec<Write>) -> Result<(), Refusal> {
        for _ in 0..ATTEMPTS_MAX {
            match self.books().write(group.clone()).await {
                Err(WriteError::Conflict(_)) => {}
                done => return Ok(done?),
            }
            let keys: Vec<Key> = group.iter().map(|write| write.key().clone()).collect();
            let mut stands = self.books().get_all(&keys).await?.into_iter().map(|record| record.is_some());
            let is_mark = |write: &Write| matches!(write, Write::Put { expect: Expect::Any, .. });
            group.retain(|write| !stands.next().unwrap_or(false) || is_mark(write));
            if group.is_empty() {
                return Ok(());
            }
        }
        let detail = format!("others logged the same critical work in each of {ATTEMPTS_MAX} attempts; try again");
        Err(Refusal::Conflict { kind: "contended", detail })
    }

    /// What is posted to the counters of some events.
    async fn posted_to(&self, events: &[&Unasked]) -> Result<BTreeMap<Counter, Amount>, Refusal> {
        let counters = events.iter().flat_map(|event| &event.counters);
        // A cap is no budget: whoever goes beyond it is stopped.
        let counters: BTreeSet<&Counter> = counters.filter(|counter| counter.period != TASK_PERIOD).collect();
        let key = |counter: &&Counter| CounterKey { scope: counter.scope.clone(), period: counter.period.clone() };
        let keys: Vec<CounterKey> = counters.iter().map(key).collect();
        let posted = self.ports.live.counters(&keys).await?;
        Ok(counters.into_iter().cloned().zip(posted).collect())
    }

    /// The budgets of a day, with their limits.
    fn lines_on(&self, day: NaiveDate, world: &World, extended: &Extended) -> Lines {
        let pseudonym_of = |user: &str| self.pseudonyms.of(user).to_string();
        let mut lines = Lines::new();
        for (number, budget) in world.history.on(day).organisation.budgets.iter().enumerate() {
            if let Some(counter) = counter_of(budget, day, &pseudonym_of) {
                let (scope, limit) = (budget.scope.clone(), limit_of(budget, &counter.period, extended));
                lines.entry(counter).or_insert(Line { number, scope, limit });
            }
        }
        lines
    }

    async fn exemption_put(
        &self,
        event: &Unasked,
        beyond: &Beyond,
        holders: &mut BTreeMap<Option<Id>, Principal>,
    ) -> Result<Write, Refusal> {
        let principal = match holders.get(&event.key_id) {
            Some(holder) => holder.clone(),
            None => {
                let holder = self.holder_of_key(event.key_id.as_deref()).await?;
                holders.insert(event.key_id.clone(), holder.clone());
                holder
            }
        };
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
                "amount": event.not_asked, "agent": event.asker.agent, "task_type": event.asker.task_type,
                "task": event.asker.task, "team": event.asker.team, "reserved": event.not_asked != event.cost, "asked": false,
                "event_id": event.event_id, "trace_id": event.trace_id,
            }),
        };
        let Identity { trace, event: number } = event.identity;
        entry.put_as(event.recorded_at_ns, &format!("{trace:016x}{number:016x}"))
    }
}

/// The first budget that has no room for an event, where the later ones are not counted.
fn first_beyond(event: &Unasked, lines: &Lines, posted: &BTreeMap<Counter, Amount>) -> Option<Beyond> {
    let found = event.counters.iter().filter_map(|counter| Some((counter, lines.get(counter)?, *posted.get(counter)?)));
    let beyond = found.filter(|(_, line, posted)| *posted > line.limit);
    beyond.min_by_key(|(_, line, _)| line.number).map(|(counter, line, posted)| Beyond {
        scope: line.scope.clone(),
        period: counter.period.clone(),
        limit: line.limit,
        posted,
    })
}

fn mark_of(block: &BlockName) -> Key {
    Key::new(LOOKED_AT, block.digest.to_string())
}
