//! Budgets as they stand: what is posted to each in the period that it is now, and how counters keep up.
//!
//! On one machine a request rolls its own blocks up before it is acknowledged; where many processes share the books the
//! stream of the log does. A budget that is new counts its whole period: what was recorded before is rolled up again.
//! I/O: one read of the counters; blocks since the last rollup, or those of the running periods.

mod true_up;

use chrono::{Days, NaiveDate};
use recoup_budgets::admission::limit_of;
use recoup_budgets::{Counter, PeriodKind, Tier, Watched, counter_of, usage};
use recoup_model::Organisation;
use recoup_model::organisation::Budget;
use recoup_model::period::format_instant;
use recoup_money::{Amount, Currency};
use recoup_store::{BlockInfo, CounterKey, Expect, Key, StoreError, StoredBlock};
use serde::Serialize;

use crate::access::Principal;
use crate::app::{App, World};
use crate::error::Refusal;
use crate::overruns::{OverrunRow, Used};
use crate::records;
use crate::rollup::ArrivedBlock;
use crate::spend::ForecastRow;

pub use true_up::RECOUNTED_DAYS_MAX;

/// Blocks rolled up in one step.
const BLOCKS_PER_STEP: usize = 32;
/// Blocks after which the cursor is written. Rolling up a block again changes nothing, so that it may lag behind.
const CURSOR_EVERY: u64 = 64;
/// Days before a running period in which a trace may have begun that reaches into it.
const REACH_DAYS: u64 = 40;

/// A budget in the period that it is now.
#[derive(Clone, Debug, Serialize)]
pub struct BudgetRow {
    /// `organisation`, or `team:`, `project:`, `agent:`, `user:`, `task:` and an id.
    pub scope: String,
    /// `month`, `week` or `day`.
    pub kind: String,
    /// Which: `2026-11`, `2026-W47` or `2026-11-24`.
    pub period: String,
    /// When it began, RFC 3339.
    pub begin: String,
    /// When it ends, exclusive.
    pub end: String,
    /// The limit: the base and what was approved for this period.
    pub limit: Amount,
    /// The limit of the organisation file.
    pub base_limit: Amount,
    /// What is posted.
    pub posted: Amount,
    /// What reservations hold.
    pub reserved: Amount,
    /// What is posted and reserved.
    pub committed: Amount,
    /// What is left of the limit; negative where more was spent.
    pub remaining: Amount,
    /// The currency of the amounts.
    pub currency: Currency,
    /// Whole percent of the limit that are posted, rounded down.
    pub percent: Option<u64>,
    /// Its tiers in percent of the limit, lowest first.
    pub tiers: Vec<TierRow>,
    /// What the period will have cost when it ends (ANO-4); `None` for a task, which has no days to tell from.
    pub forecast: Option<ForecastRow>,
    /// Why more is posted than the limit (BUD-3); `None`: it is not more.
    pub overrun: Option<OverrunRow>,
}

/// A tier of a budget.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct TierRow {
    /// Its percentage of the limit.
    pub percent: u32,
    /// Whether what is posted has reached it.
    pub reached: bool,
}

/// How far the log is rolled up, on one machine.
#[derive(Default)]
pub(crate) struct Rolled(tokio::sync::Mutex<Option<Cursor>>);

impl Rolled {
    /// Waits until nothing is being rolled up, and lets nothing begin while what this gives is held.
    pub(crate) async fn still(&self) -> impl Sized + '_ {
        self.0.lock().await
    }
}

#[derive(Clone, Copy)]
struct Cursor {
    seq: u64,
    written: u64,
}

fn cursor_key() -> Key {
    Key::new("state", "rolled-up")
}

/// The one team that a budget concerns, which may then see it and act for it: its own, or that of an agent that it owns.
pub(crate) fn team_of<'a>(scope: &'a str, organisation: &'a Organisation) -> Option<&'a str> {
    match scope.split_once(':') {
        Some(("team", id)) => Some(id),
        Some(("agent", id)) => organisation.agents.get(id)?.owner.as_deref(),
        _ => None,
    }
}

impl App {
    /// Every budget of today's organisation file that the caller may see, as it stands.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`], or when the store fails.
    pub async fn budgets(&self, principal: &Principal) -> Result<Vec<BudgetRow>, Refusal> {
        let team = principal.seen_team()?;
        let organisation = self.organisation_today().await?;
        let today = organisation.calendar().day_of(self.now_ns());
        let seen = |budget: &&Budget| team.is_none_or(|team| team_of(&budget.scope, &organisation) == Some(team));
        let budgets: Vec<&Budget> = organisation.budgets.iter().filter(seen).collect();
        let pseudonym_of = |user: &str| self.pseudonyms.of(user).to_string();
        let key_of = |budget: &&Budget| {
            let counter = counter_of(budget, today, &pseudonym_of)?;
            Some(CounterKey { scope: counter.scope, period: counter.period })
        };
        let keys = budgets.iter().map(|budget| {
            key_of(budget).ok_or_else(|| Refusal::computation("read a budget", format!("`{}`?", budget.period)))
        });
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        let world = self.world().await?;
        let extended = self.extended(&world, self.now_ns()).await?;
        let balances = self.ports.leases.balances(&keys).await?;
        let spend = self.spend().await?;
        let used: Vec<Used> = budgets
            .iter()
            .zip(&keys)
            .zip(&balances)
            .map(|((budget, key), balance)| Used {
                counter: Counter { scope: key.scope.clone(), period: key.period.clone() },
                limit: limit_of(budget, &key.period, &extended),
                posted: balance.posted,
            })
            .collect();
        let overruns = self.overruns(&used).await?;
        let stands = budgets.iter().zip(used).zip(balances.iter().zip(overruns));
        let rows = stands.filter_map(|((budget, Used { counter, limit, posted }), (balance, overrun))| {
            // What is set aside and nobody has drawn is room for whoever comes next.
            let reserved = balance.reserved.checked_sub(self.desk.free(&counter))?;
            let row = row((budget, limit), (posted, reserved), (&organisation, today))?;
            let forecast = spend.forecast((&counter.scope, &row.kind), today, (row.committed, limit));
            Some(BudgetRow { forecast, overrun, ..row })
        });
        Ok(rows.collect())
    }

    /// What has a budget in any version of the organisation file.
    pub(crate) fn watched(&self, world: &World) -> Watched {
        let organisations = || world.history.versions().iter().map(|version| &version.organisation);
        let budgets = organisations().flat_map(|organisation| &organisation.budgets);
        let task_types = organisations().flat_map(|organisation| &organisation.task_types);
        let capped = task_types.filter(|(_, task_type)| task_type.cap.is_some()).map(|(id, _)| id.clone());
        Watched::of(budgets, |user| self.pseudonyms.of(user).to_string()).with_capped(capped)
    }

    /// On one machine: rolls up what was recorded since it was done last, before anybody is told that it was recorded.
    /// Without a budget there is nothing to count.
    pub(crate) async fn roll_up_new(&self) -> Result<(), Refusal> {
        if self.sharing {
            return Ok(());
        }
        let Ok(world) = self.world().await else { return Ok(()) };
        if self.watched(&world).is_empty() {
            return Ok(());
        }
        let mut rolled = self.rolled.0.lock().await;
        let mut cursor = match *rolled {
            Some(cursor) => cursor,
            None => {
                let seq = records::get::<u64>(self.books(), &cursor_key()).await?.map_or(0, |(seq, _)| seq);
                Cursor { seq, written: seq }
            }
        };
        let earliest = self.earliest_day(&world);
        loop {
            let blocks = self.ports.log.blocks_after(cursor.seq, BLOCKS_PER_STEP).await?;
            let Some(last) = blocks.last().map(|block| block.seq) else { break };
            let recent: Vec<BlockInfo> = blocks.into_iter().filter(|block| block.utc_day >= earliest).collect();
            let arrived = self.arrived_blocks(&recent).await?;
            let outcome = self.rollup(arrived).await?;
            for (trace, reason) in &outcome.failed_traces {
                tracing::error!(trace = format!("{trace:016x}"), reason, "a trace cannot be counted");
            }
            cursor.seq = last;
            *rolled = Some(cursor);
            if cursor.seq.saturating_sub(cursor.written) >= CURSOR_EVERY {
                self.books().write(vec![records::put(cursor_key(), &cursor.seq, Expect::Any)?]).await?;
                cursor.written = cursor.seq;
                *rolled = Some(cursor);
            }
        }
        Ok(())
    }

    /// The first UTC day whose blocks may hold a trace that counts in a period that is now.
    fn earliest_day(&self, world: &World) -> NaiveDate {
        let today = world.history.calendar().day_of(self.now_ns());
        let (month, _) = PeriodKind::Month.days_around(today);
        let (week, _) = PeriodKind::Week.days_around(today);
        month.min(week).checked_sub_days(Days::new(REACH_DAYS)).unwrap_or(today)
    }

    /// Blocks with their bytes, without those that cannot be read: the night tells of them.
    async fn arrived_blocks(&self, blocks: &[BlockInfo]) -> Result<Vec<ArrivedBlock>, Refusal> {
        let stored = match self.ports.log.read(blocks.iter().map(|block| block.seq).collect()).await {
            Ok(stored) => stored,
            Err(StoreError::Damaged { .. }) => self.readable_blocks(blocks).await?,
            Err(error) => return Err(error.into()),
        };
        let arrived = stored.into_iter().map(|block| ArrivedBlock { name: block.info.name(), bytes: block.bytes });
        Ok(arrived.collect())
    }

    async fn readable_blocks(&self, blocks: &[BlockInfo]) -> Result<Vec<StoredBlock>, Refusal> {
        let mut readable = Vec::with_capacity(blocks.len());
        for block in blocks {
            match self.ports.log.read(vec![block.seq]).await {
                Ok(stored) => readable.extend(stored),
                Err(StoreError::Damaged { what, detail }) => {
                    tracing::error!(what, detail, "a block cannot be rolled up");
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(readable)
    }
}

fn row(
    (budget, limit): (&Budget, Amount),
    (posted, reserved): (Amount, Amount),
    (organisation, today): (&Organisation, NaiveDate),
) -> Option<BudgetRow> {
    let used = usage(budget, limit, today, posted)?;
    let committed = posted.checked_add(reserved)?;
    let (begin_ns, end_ns) = used.kind.bounds_ns(organisation.calendar(), today);
    let tier = |tier: &Tier| TierRow { percent: tier.percent, reached: tier.reached };
    Some(BudgetRow {
        scope: used.scope,
        kind: budget.period.clone(),
        period: used.period,
        begin: format_instant(begin_ns),
        end: format_instant(end_ns),
        limit: used.limit,
        base_limit: budget.limit,
        posted: used.posted,
        reserved,
        committed,
        remaining: limit.checked_sub(committed)?,
        currency: organisation.currency,
        percent: used.percent,
        tiers: used.tiers.iter().map(tier).collect(),
        forecast: None,
        overrun: None,
    })
}
