//! Months one after the other, under the rules that held and under others, from the same events.
//!
//! The first month opens with what the books opened it with; every later one with what the month before left behind under the
//! same rules. Corrections have no part in it: what came late is counted in the month that it was used in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::NaiveDate;
use recoup_attribution::{Grain, SettlementFacts};
use recoup_documents::RULES_VERSION;
use recoup_ledger::{Carried, Opening, PeriodInput, Settlement, settle_with};
use recoup_model::organisation::{Billing, History};
use recoup_model::{Digest, Organisation, Period};
use recoup_pricing::PriceBook;

use crate::app::{App, World};
use crate::close::{self, PeriodRecord};
use crate::error::Refusal;
use crate::nightly::{DIRTY, Dirty, Prints, SettledPeriod, SettledRecord, carry_past, to_settle};
use crate::records;
use crate::shipped::Known;
use crate::workers::Threads;

/// Days that are replayed between two looks at how far it is.
const DAYS_PER_STEP: usize = 4;

/// A month to replay.
pub(crate) struct Month {
    pub(crate) period: Period,
    /// The last local day that has a night.
    pub(crate) through: NaiveDate,
    pub(crate) closed: Option<PeriodRecord>,
}

impl Month {
    /// Its days that have a night, or lie before one that has.
    pub(crate) fn days(&self) -> impl Iterator<Item = NaiveDate> + use<> {
        let through = self.through;
        self.period.days().take_while(move |day| *day <= through)
    }
}

/// A month under both rules.
pub(crate) struct Replayed {
    pub(crate) period: Period,
    pub(crate) old: Settlement,
    pub(crate) new: Settlement,
}

/// One side: what the last month left behind.
#[derive(Clone)]
struct Side {
    before: Opening,
    carried: Carried,
    first: Option<Opening>,
}

/// What one month is settled from.
struct Ground {
    world: Arc<World>,
    days: Arc<Facts>,
}

/// Facts of a month.
type Facts = BTreeMap<NaiveDate, SettlementFacts>;

impl Side {
    fn opening_with(first: Opening) -> Result<Self, Refusal> {
        let mut carried = Carried::default();
        carry_past(&mut carried, &Opening::default(), &first)?;
        Ok(Self { before: Opening::default(), carried, first: Some(first) })
    }

    async fn settle(&mut self, month: &Month, ground: &Ground, approvals: &[Digest]) -> Result<Settlement, Refusal> {
        let opening = self.first.take().unwrap_or_else(|| self.carried.open(&self.before));
        let (period, through, approvals) = (month.period, month.through, approvals.to_vec());
        let rules = month.closed.as_ref().map_or(RULES_VERSION, |closed| closed.rules);
        let (world, days, opened) = (Arc::clone(&ground.world), Arc::clone(&ground.days), opening.clone());
        let settling = tokio::task::spawn_blocking(move || {
            let input = PeriodInput {
                period,
                through,
                history: &world.history,
                days: &days,
                opening: &opened,
                rules,
                own_prices: None,
                corrections: &[],
                approvals: &approvals,
            };
            let settlement = settle_with(&input, &Threads).map_err(|error| failed(period, &error))?;
            recoup_ledger::check_with(&settlement, &Threads)
                .map_err(|error| Refusal::computation("tie a simulated month (CLO-4)", error))?;
            Ok::<_, Refusal>(settlement)
        });
        let settlement = settling.await.map_err(|error| Refusal::computation("settle a simulated month", error))??;
        carry_past(&mut self.carried, &opening, &settlement.closing)?;
        self.before = settlement.closing.clone();
        Ok(settlement)
    }
}

/// Rules that cannot be settled are the asker's to mend.
fn failed(period: Period, error: &recoup_ledger::LedgerError) -> Refusal {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    Refusal::invalid("cannot-be-settled", "policy", format!("{period} cannot be settled like this: {error}{cause}"))
}

impl App {
    /// The months of a range (half-open) that have figures.
    pub(crate) async fn months_settled(&self) -> Result<Vec<Month>, Refusal> {
        let closed = close::period_records(self.books()).await?;
        let settled = records::all::<SettledRecord>(self.books(), crate::nightly::SETTLED, "").await?;
        let month = |record: SettledRecord| {
            let closed = closed.iter().find(|one| one.is_closed() && one.period == record.period).cloned();
            Month { period: record.period, through: record.through, closed }
        };
        Ok(settled.into_iter().map(|(_, record, _)| month(record)).collect())
    }

    /// Replays months, which follow each other, under the rules of `world` and those of `other`.
    pub(crate) async fn replay_months(
        self: &Arc<Self>,
        run: &str,
        (world, other): (&Arc<World>, &History),
        months: &[Month],
    ) -> Result<Vec<Replayed>, Refusal> {
        let Some(first) = months.first() else { return Ok(Vec::new()) };
        let opening = Side::opening_with(self.opening_in_the_books(world, first).await?)?;
        let (mut old, mut new) = (opening.clone(), opening);
        let stale = self.stale_days(world).await?;
        let is_stale = months.iter().flat_map(Month::days).any(|day| stale.contains(&day));
        let again = is_stale || facts_differ(&world.history, other);
        let mut replayed = Vec::with_capacity(months.len());
        for (number, month) in months.iter().enumerate() {
            self.progress(run, format!("replaying {}", month.period), number, months.len());
            let base = match &month.closed {
                Some(closed) => self.world_of(world, closed, Known::Since).await?,
                None => Arc::clone(world),
            };
            let changed = changed_world(&base, other, month)?;
            let approvals = self.approved_cards(month.period).await?;
            let stored = Arc::new(to_settle(&self.period_facts(month.period).await?)?);
            let (before, after) = if again {
                self.replay_both(run, (&base, &changed), (month, stored, &stale)).await?
            } else {
                (Arc::clone(&stored), stored)
            };
            let settled_old = old.settle(month, &Ground { world: base, days: before }, &approvals).await?;
            let settled_new = new.settle(month, &Ground { world: changed, days: after }, &approvals).await?;
            replayed.push(Replayed { period: month.period, old: settled_old, new: settled_new });
        }
        Ok(replayed)
    }

    /// What a month opened with, or would.
    async fn opening_in_the_books(&self, world: &World, month: &Month) -> Result<Opening, Refusal> {
        match &month.closed {
            Some(closed) => self.opening_of(closed).await,
            None => {
                let mut chain = Vec::new();
                let outcome = self.settle_chain(world, (None, None), &mut chain).await;
                let found = chain.into_iter().find(|settled: &SettledPeriod| settled.period == month.period);
                // A later month that cannot be settled is no hindrance.
                if found.is_none() {
                    outcome?;
                }
                Ok(found.map(|settled| settled.opening).unwrap_or_default())
            }
        }
    }

    /// Days whose nights say no more what holds: they are marked, or will be by the next night, as an organisation file was
    /// applied or prices were imported since.
    async fn stale_days(&self, world: &World) -> Result<BTreeSet<NaiveDate>, Refusal> {
        let marked = records::all::<Dirty>(self.books(), DIRTY, "").await?.into_iter().map(|(_, dirty, _)| dirty.day);
        let changed = self.marks_of_changed_inputs(world).await?.into_keys().map(|(day, _)| day);
        Ok(marked.chain(changed).collect())
    }

    /// The facts of a month from its blocks, under both rules: those that held are taken from the nights, but for days that
    /// are stale.
    async fn replay_both(
        self: &Arc<Self>,
        run: &str,
        (base, changed): (&Arc<World>, &Arc<World>),
        (month, stored, stale): (&Month, Arc<Facts>, &BTreeSet<NaiveDate>),
    ) -> Result<(Arc<Facts>, Arc<Facts>), Refusal> {
        let from = (self.marked_through().await?, Prints::Stored);
        let dirty: BTreeSet<NaiveDate> =
            stale.iter().copied().filter(|day| month.period.contains(*day) && *day <= month.through).collect();
        let days: Vec<NaiveDate> = month.days().collect();
        let mut after = BTreeMap::new();
        for (number, part) in days.chunks(DAYS_PER_STEP).enumerate() {
            let done = number.saturating_mul(DAYS_PER_STEP);
            self.progress(run, format!("attributing {} again", month.period), done, days.len());
            let part = part.iter().copied();
            after.extend(to_settle(&self.replay_days(changed, (part, Grain::Settlement), from).await?)?);
        }
        let before = if dirty.is_empty() {
            stored
        } else {
            let mut before = Arc::unwrap_or_clone(stored);
            before.retain(|day, _| !dirty.contains(day));
            let dirty = (dirty.into_iter(), Grain::Settlement);
            before.extend(to_settle(&self.replay_days(base, dirty, from).await?)?);
            Arc::new(before)
        };
        Ok((before, Arc::new(after)))
    }
}

/// The prices and the organisation of a month under the other rules: versions that were not known at its close have no part.
fn changed_world(base: &Arc<World>, other: &History, month: &Month) -> Result<Arc<World>, Refusal> {
    let history = match &month.closed {
        Some(closed) => close::history_as_closed(other, closed)?,
        None => other.clone(),
    };
    let prices = PriceBook::of_layers(&base.catalogues, &history)
        .map_err(|error| Refusal::invalid("invalid-simulation", "rate_card", error.to_string()))?;
    let prices = match &month.closed {
        Some(closed) => prices.under_rules(closed.rules),
        None => prices,
    };
    let catalogues = base.catalogues.clone();
    Ok(Arc::new(World { history, prices: Arc::new(prices), catalogues }))
}

/// Whether the facts of days could differ: then they are made again from the events.
pub(crate) fn facts_differ(one: &History, other: &History) -> bool {
    let pairs = one.versions().iter().zip(other.versions());
    let differ = |(one, other): (&recoup_model::organisation::Version, &recoup_model::organisation::Version)| {
        as_facts_see_it(&one.organisation) != as_facts_see_it(&other.organisation)
    };
    one.versions().len() != other.versions().len() || pairs.into_iter().any(differ)
}

/// An organisation as facts see it whatever their grain.
fn as_facts_see_it(organisation: &Organisation) -> Organisation {
    let mut seen = organisation.for_facts();
    for agent in seen.agents.values_mut() {
        // Facts hold the durations of single tasks only where these are billed by time.
        let by_time = |billing: Billing| if billing == Billing::Time { Billing::Time } else { Billing::Token };
        agent.billing = by_time(agent.billing);
        agent.billing_by_team.values_mut().for_each(|billing| *billing = by_time(*billing));
    }
    seen
}
