//! Settling: facts of a period become prices, charges, pool shares, variance and ledger entries.
//!
//! Periods are settled in calendar order, each from where the one before it ends. What is late for a closed period
//! becomes corrections in the first open period after the last closed one (LED-4).

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::NaiveDate;
use recoup_attribution::{DayFacts, SettlementFacts};
use recoup_documents::{Counted, RULES_VERSION};
use recoup_ledger::{
    Balances, Booked, Carried, Correction, LedgerError, Opening, PeriodInput, PoolRecord, PriceVersion, Settlement,
    Totals, VarianceRecord, each, settle_with,
};
use recoup_model::organisation::{Recurring, VariancePolicy, Version};
use recoup_model::{Digest, Finding, Period};
use recoup_store::{Expect, Key};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::moved::{Basis, Moved};
use crate::app::{App, World};
use crate::close::{self, PeriodRecord};
use crate::error::Refusal;
use crate::facts::Night;
use crate::rate_cards::next_card_puts;
use crate::records;
use crate::workers::Threads;

/// The partition of what each period amounts to.
pub(crate) const SETTLED: &str = "settled";
/// The partition of internal prices; lists of earlier runs stay (PRC-3).
pub(crate) const PRICES: &str = "prices";
/// The partition of closed months that were looked at and have nothing to correct: from which nights.
const NOTHING_TO_CORRECT: &str = "nothing-to-correct";
/// Prices that one thread writes as JSON in one go.
const PRICES_AT_ONCE: usize = 1_000;
/// Months between the first and the last period that are settled in one run; each has to be settled for the next.
const PERIODS_MAX: usize = 240;

/// A period and what it amounts to.
pub(crate) struct SettledPeriod {
    pub(crate) period: Period,
    pub(crate) through: NaiveDate,
    pub(crate) opening: Opening,
    pub(crate) settlement: Settlement,
    /// Its prices as JSON, each by itself: they are stored under the run, and again with a close.
    pub(crate) price_rows: Vec<String>,
    pub(crate) corrections: Vec<Correction>,
    pub(crate) nights: BTreeMap<String, Digest>,
    /// Of the facts that it was settled from, where it is being closed, which events they count.
    pub(crate) days: BTreeMap<NaiveDate, Counted>,
    /// What publishing it found; `None`: nothing is known of before.
    pub(crate) moved: Option<Moved>,
}

/// What is kept of a settled period; lists lie beside it under the run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SettledRecord {
    pub(crate) period: Period,
    pub(crate) run: String,
    pub(crate) through: NaiveDate,
    pub(crate) totals: Totals,
    pub(crate) prices: Digest,
    pub(crate) prices_run: String,
    /// Of releases that did not note it: nothing.
    #[serde(default)]
    pub(crate) basis: Basis,
}

impl SettledPeriod {
    /// What a run says about it.
    pub(crate) fn summary(&self) -> Value {
        let mut summary = json!({
            "period": self.period,
            "through": self.through,
            "totals": self.settlement.totals,
            "teams": self.settlement.lines.len(),
            "prices": self.settlement.prices.len(),
            "findings": self.settlement.findings.len(),
        });
        if let (Some(moved), Some(summary)) = (&self.moved, summary.as_object_mut()) {
            summary.insert("changed".into(), json!(moved.changed));
            if let Some(reason) = &moved.reason {
                summary.insert("reason".into(), json!(reason));
            }
        }
        summary
    }
}

pub(crate) fn settled_partition(period: Period) -> String {
    format!("settled/{period}")
}

pub(crate) fn nights_of(nights: &[(Night, u64)], period: Period) -> BTreeMap<String, Digest> {
    let ours = nights.iter().filter(|(night, _)| period.contains(night.day));
    ours.map(|(night, _)| (crate::facts::night_sort(night.day, night.lane), night.facts)).collect()
}

impl App {
    /// Settles and publishes every open period; those before one that cannot be settled too.
    pub(super) async fn settle_open_periods(
        &self,
        world: &World,
        until: Option<NaiveDate>,
    ) -> Result<Vec<SettledPeriod>, Refusal> {
        let mut settled = Vec::new();
        let outcome = self.settle_chain(world, (None, until), &mut settled).await;
        for period in &mut settled {
            period.moved = self.publish(world, period).await?;
        }
        outcome.map(|()| settled)
    }

    /// Settles every open period in calendar order, up to the one that is `closing`; writes no figure. A period is settled to
    /// its end if it is `closing` or a later one has begun, else to its last night, or to the day `until` which nights were
    /// asked for, or as far as it was settled before: days without events take their part in smoothing and in bills.
    pub(crate) async fn settle_chain(
        &self,
        world: &World,
        (closing, until): (Option<Period>, Option<NaiveDate>),
        settled: &mut Vec<SettledPeriod>,
    ) -> Result<(), Refusal> {
        let nights = self.nights().await?;
        let closed = close::period_records(self.books()).await?;
        let closed_only: Vec<Period> = closed.iter().filter(|r| r.is_closed()).map(|r| r.period).collect();
        let has_bills = |period: Period| {
            let runs_on = |bill: &Recurring, day| bill.from <= day && bill.to.is_none_or(|to| to > day);
            let bills_on = |day| &world.history.on(day).organisation.recurring;
            period.days().any(|day| bills_on(day).iter().any(|bill| runs_on(bill, day)))
        };
        let Some((first, last)) = super::open_span(&nights, &closed_only, (closing, has_bills)) else {
            return Ok(());
        };
        // What comes after it has no part in it, and may have a fault of its own.
        let last = closing.map_or(last, |closing| last.min(closing));
        let last_night = nights.iter().map(|(night, _)| night.day).max().unwrap_or_default();
        let booked_in = closed_only.last().map(|period| period.next());
        let (mut before, mut carried) = self.left_behind(world, &closed, first).await?;
        let mut period = first;
        for number in 0.. {
            if period > last {
                break;
            }
            if number >= PERIODS_MAX {
                return Err(Refusal::Conflict {
                    kind: "too-many-open-months",
                    detail: format!(
                        "more than {PERIODS_MAX} months up to {last} are not closed; close the oldest first"
                    ),
                });
            }
            // What was frozen stands, also where the close that froze it has not ended.
            if let Some(record) = closed.iter().find(|record| record.period == period) {
                let closing = self.closing_of(record).await?;
                carry_past(&mut carried, &self.opening_of(record).await?, &closing)?;
                before = closing;
            } else {
                let corrections = match booked_in {
                    Some(booked_in) if booked_in == period => {
                        self.corrections(world, &closed, closing.is_none()).await?
                    }
                    _ => Vec::new(),
                };
                let end = period.days().last().unwrap_or_default();
                let through = if period < last || closing == Some(period) {
                    end
                } else {
                    let before = self.settled_record(period).await?.map(|record| record.through);
                    let asked = [Some(last_night), until, before].into_iter().max().flatten();
                    end.min(asked.unwrap_or(last_night))
                };
                let one = self.settle_one(world, period, (through, carried.open(&before)), &corrections).await?;
                carry_past(&mut carried, &one.opening, &one.settlement.closing)?;
                before = one.settlement.closing.clone();
                settled.push(SettledPeriod { nights: nights_of(&nights, period), ..one });
            }
            period = period.next();
        }
        self.fresh_facts.clear();
        Ok(())
    }

    /// What the closed periods before `first` left behind: the prices of the last of them, and what all of them owe.
    async fn left_behind(
        &self,
        world: &World,
        closed: &[PeriodRecord],
        first: Period,
    ) -> Result<(Opening, Carried), Refusal> {
        let earlier: Vec<_> = closed.iter().filter(|record| record.is_closed() && record.period < first).collect();
        let mut carried = Carried::default();
        let Some(last) = earlier.last() else { return Ok((Opening::default(), carried)) };
        let before = self.closing_of(last).await?;
        let carries = |version: &Version| version.organisation.policy.variance == VariancePolicy::Carry;
        if world.history.versions().iter().any(carries) {
            for record in &earlier {
                carry_past(&mut carried, &self.opening_of(record).await?, &self.closing_of(record).await?)?;
            }
        }
        Ok((before, carried))
    }

    async fn settle_one(
        &self,
        world: &World,
        period: Period,
        (through, opening): (NaiveDate, Opening),
        corrections: &[Correction],
    ) -> Result<SettledPeriod, Refusal> {
        let days = self.settlement_facts(period).await?;
        let approvals = self.approved_cards(period).await?;
        let input = PeriodInput {
            period,
            through,
            history: &world.history,
            days: &days,
            opening: &opening,
            rules: RULES_VERSION,
            own_prices: None,
            corrections,
            approvals: &approvals,
        };
        let settlement = settle_with(&input, &Threads).map_err(|error| not_settled((period, through), error))?;
        let price_rows = rows_of(&settlement.prices)?;
        let corrections = corrections.to_vec();
        let heads = days.iter().map(|(day, facts)| (*day, Counted::of(facts))).collect();
        // A month's facts are many small things to give back, and nobody has to wait for that.
        tokio::task::spawn_blocking(move || drop(days));
        let days = heads;
        Ok(SettledPeriod {
            period,
            through,
            opening,
            settlement,
            price_rows,
            corrections,
            nights: BTreeMap::new(),
            days,
            moved: None,
        })
    }

    pub(crate) async fn period_facts(&self, period: Period) -> Result<BTreeMap<NaiveDate, DayFacts>, Refusal> {
        let facts = self.facts_between(period.first_day(), period.next().first_day()).await?;
        Ok(facts.into_iter().map(|(day, facts)| (day, Arc::unwrap_or_clone(facts))).collect())
    }

    /// What is late for closed periods, against their statements and the corrections booked so far (LED-4).
    /// `keep`: a month that there is nothing to correct in is not looked at again before one of its nights is another one.
    async fn corrections(
        &self,
        world: &World,
        closed: &[PeriodRecord],
        keep: bool,
    ) -> Result<Vec<Correction>, Refusal> {
        let nights = self.nights().await?;
        let mut corrections = Vec::new();
        for record in closed.iter().filter(|record| record.is_closed()) {
            let earlier = self.corrections_booked(closed, record.period).await?;
            let now = nights_of(&nights, record.period);
            if now == record.nights && earlier.is_empty() {
                continue;
            }
            let looked_at = Digest::of(records::to_json(&now)?.as_bytes());
            let key = Key::new(NOTHING_TO_CORRECT, record.period.to_string());
            let known = records::get::<Digest>(self.books(), &key).await?;
            if earlier.is_empty() && known.is_some_and(|(known, _)| known == looked_at) {
                continue;
            }
            let recomputed = self.recompute_closed(world, record).await?;
            let lines = self.lines_of_statements(record).await?;
            let fresh = recoup_ledger::correct(Booked { lines: &lines, totals: &record.totals }, &earlier, &recomputed)
                .map_err(|error| Refusal::computation("correct a closed period", error))?;
            if keep && fresh.is_empty() && earlier.is_empty() {
                self.books().write(vec![records::put(key, &looked_at, Expect::Any)?]).await?;
            }
            corrections.extend(fresh);
        }
        Ok(corrections)
    }

    /// A closed period over today's facts, with its own prices and organisation.
    async fn recompute_closed(&self, world: &World, record: &PeriodRecord) -> Result<Settlement, Refusal> {
        let days = self.settlement_facts(record.period).await?;
        self.settle_closed(world, record, &days).await
    }

    /// A closed period over given facts, with its own prices, organisation and corrections.
    pub(crate) async fn settle_closed(
        &self,
        world: &World,
        record: &PeriodRecord,
        days: &BTreeMap<NaiveDate, SettlementFacts>,
    ) -> Result<Settlement, Refusal> {
        let own = close::history_as_closed(&world.history, record)?;
        let opening = self.opening_of(record).await?;
        let prices = self.own_prices(record).await?;
        let booked = self.corrections_in(record).await?;
        let input = PeriodInput {
            period: record.period,
            through: record.period.days().last().unwrap_or_default(),
            history: &own,
            days,
            opening: &opening,
            rules: record.rules,
            own_prices: Some(&prices),
            corrections: &booked,
            approvals: &[],
        };
        settle_with(&input, &Threads).map_err(|error| Refusal::computation("recompute a closed period", error))
    }

    /// Writes what a period amounts to: prices, ledger entries, and the final record that makes them current.
    /// Tells whether it amounted to something else before.
    pub(crate) async fn publish(&self, world: &World, settled: &SettledPeriod) -> Result<Option<Moved>, Refusal> {
        let key = Key::new(SETTLED, settled.period.to_string());
        let before = records::get::<SettledRecord>(self.books(), &key).await?;
        let run = self.new_run()?;
        let partition = settled_partition(settled.period);
        let settlement = &settled.settlement;
        let prices = Digest::of(format!("[{}]", settled.price_rows.join(",")).as_bytes());
        let same_prices = before.as_ref().filter(|(record, _)| record.prices == prices);
        let prices_run = same_prices.map_or_else(|| run.clone(), |(record, _)| record.prices_run.clone());
        let mut writes = Vec::new();
        if same_prices.is_none() {
            let prefix = format!("{}/{run}/", settled.period);
            writes.extend(records::list_puts_of(PRICES, &prefix, &settled.price_rows));
        }
        writes.extend(records::list_puts(&partition, &format!("{run}/pools/"), settlement.pools.iter())?);
        writes.extend(records::list_puts(&partition, &format!("{run}/variances/"), settlement.variances.iter())?);
        writes.extend(records::list_puts(&partition, &format!("{run}/findings/"), settlement.findings.iter())?);
        writes.extend(next_card_puts(world, settled, (&partition, &run))?);
        records::write_in_groups(self.books(), writes).await?;
        self.post_balances(settled.period, &run, &settlement.balances).await?;
        let totals = settlement.totals;
        let basis = Basis::of(settled.period, &world.history, settlement)?;
        let moved = basis.moved(before.as_ref().map(|(record, _)| &record.basis), &world.history);
        let through = settled.through;
        let record = SettledRecord { period: settled.period, run, through, totals, prices, prices_run, basis };
        let expect = before.as_ref().map_or(Expect::Absent, |(_, version)| Expect::Version(*version));
        self.books().write(vec![records::put(key, &record, expect)?]).await?;
        if let Some((old, _)) = before {
            records::remove_all(self.books(), &partition, &format!("{}/", old.run)).await?;
        }
        Ok(moved)
    }

    pub(crate) async fn settled_list<T: serde::de::DeserializeOwned>(
        &self,
        partition: &str,
        run: &str,
        name: &str,
    ) -> Result<Vec<T>, Refusal> {
        Ok(records::list(self.books(), partition, &format!("{run}/{name}/")).await?)
    }

    /// The current record of a settled period.
    pub(crate) async fn settled_record(&self, period: Period) -> Result<Option<SettledRecord>, Refusal> {
        let key = Key::new(SETTLED, period.to_string());
        Ok(records::get::<SettledRecord>(self.books(), &key).await?.map(|(record, _)| record))
    }

    /// Pools of a settled period: cost in, basis, ratios, parts out.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for a period without a night.
    pub async fn pools(&self, period: Period) -> Result<Vec<PoolRecord>, Refusal> {
        let record = self.settled_record(period).await?.ok_or_else(|| no_night(period))?;
        self.settled_list(&settled_partition(period), &record.run, "pools").await
    }

    /// Variances of a settled period.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for a period without a night.
    pub async fn variances(&self, period: Period) -> Result<Vec<VarianceRecord>, Refusal> {
        let record = self.settled_record(period).await?.ok_or_else(|| no_night(period))?;
        self.settled_list(&settled_partition(period), &record.run, "variances").await
    }

    /// Findings of a settled period.
    pub(crate) async fn settled_findings(&self, period: Period) -> Result<Vec<Finding>, Refusal> {
        match self.settled_record(period).await? {
            Some(record) => self.settled_list(&settled_partition(period), &record.run, "findings").await,
            None => Ok(Vec::new()),
        }
    }

    /// Account balances of a period: the sum of its ledger entries; together they are zero (LED-1).
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for a period without a night.
    pub async fn balances(&self, period: Period) -> Result<Balances, Refusal> {
        self.settled_record(period).await?.ok_or_else(|| no_night(period))?;
        self.booked(period).await
    }

    /// The internal prices of a period as they are now.
    pub(crate) async fn current_prices(&self, record: &SettledRecord) -> Result<Vec<PriceVersion>, Refusal> {
        let prefix = format!("{}/{}/", record.period, record.prices_run);
        Ok(records::list(self.books(), PRICES, &prefix).await?)
    }
}

/// Why a period cannot be settled. What a file says wrongly has to be corrected for the days that it was wrong on.
fn not_settled((period, through): (Period, NaiveDate), error: LedgerError) -> Refusal {
    match error {
        LedgerError::ClosedPools { .. } | LedgerError::UnknownPool { .. } => Refusal::Conflict {
            kind: "period-not-settled",
            detail: format!(
                "{period} cannot be settled: {error}. A month takes its pools from the organisation file of its last day: apply \
                 the corrected file with `--effective {}`, or up to {through}, and run the night again",
                period.first_day()
            ),
        },
        error => Refusal::computation("settle a period", format!("{period}: {error}")),
    }
}

/// Prices as JSON, which are many where a price moves every night.
fn rows_of(prices: &[PriceVersion]) -> Result<Vec<String>, Refusal> {
    let some = |prices: &[PriceVersion]| prices.iter().map(records::to_json).collect::<Result<Vec<_>, _>>();
    let rows = each(&Threads, prices.chunks(PRICES_AT_ONCE), some);
    let rows = rows.ok_or_else(|| Refusal::computation("write the prices", "a thread stopped"))?;
    Ok(rows.into_iter().collect::<Result<Vec<_>, _>>()?.concat())
}

pub(crate) fn carry_past(carried: &mut Carried, opening: &Opening, closing: &Opening) -> Result<(), Refusal> {
    carried.pass(opening, closing).map_err(|error| Refusal::computation("carry a variance on", error))
}

pub(crate) fn no_night(period: Period) -> Refusal {
    Refusal::NotFound(format!("no night of {period} has run yet; run `recoup nightly`"))
}
