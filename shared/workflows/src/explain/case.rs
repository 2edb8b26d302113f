//! Everything that a closed month was closed with, put together once: its events, prices, organisation and settlement.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::NaiveDate;
use recoup_attribution::{DayFacts, SettlementFacts};
use recoup_ledger::{Opening, PeriodInput, PriceVersion, Settlement, settle_with};
use recoup_model::{Digest, Id, Period};

use super::pools::Ground;
use super::route::Tariffs;
use crate::app::{App, World};
use crate::close::PeriodRecord;
use crate::error::Refusal;
use crate::nightly::to_settle;
use crate::shipped::Known;
use crate::workers::Threads;

/// A closed month.
pub(crate) struct Case {
    pub(crate) record: PeriodRecord,
    /// Organisation and prices as they were known at the close.
    pub(crate) world: Arc<World>,
    /// As fine as queries ask.
    pub(crate) days: BTreeMap<NaiveDate, DayFacts>,
    /// What its settlement reads of them.
    read: BTreeMap<NaiveDate, SettlementFacts>,
    pub(crate) opening: Opening,
    pub(crate) prices: Vec<PriceVersion>,
    pub(crate) settlement: Settlement,
}

impl Case {
    pub(crate) fn period(&self) -> Period {
        self.record.period
    }

    /// The last local day of the month.
    pub(crate) fn through(&self) -> NaiveDate {
        self.period().days().last().unwrap_or_default()
    }

    pub(crate) fn ground(&self) -> Ground<'_> {
        Ground { period: self.period(), through: self.through(), history: &self.world.history, days: &self.days }
    }

    pub(crate) fn tariffs(&self) -> Tariffs<'_> {
        Tariffs::new((self.period(), self.through()), &self.world.history, &self.prices)
    }

    /// The month's input as its nights had it, without its own prices.
    pub(crate) fn input<'a>(&'a self, approvals: &'a [Digest]) -> PeriodInput<'a> {
        PeriodInput {
            period: self.period(),
            through: self.through(),
            history: &self.world.history,
            days: &self.read,
            opening: &self.opening,
            rules: self.record.rules,
            own_prices: None,
            corrections: &[],
            approvals,
        }
    }

    /// The rate card that the month's prices began with (PRC-3).
    pub(crate) fn approvals(&self) -> Vec<Digest> {
        self.record.rate_card.into_iter().collect()
    }

    /// First day of the stretch of days on which an agent has the same idle rate, by day (PRC-4).
    pub(crate) fn idle_since(&self, agent: &str) -> BTreeMap<NaiveDate, NaiveDate> {
        let mut since = BTreeMap::new();
        let mut held: Option<(recoup_money::Amount, NaiveDate)> = None;
        for day in self.period().days() {
            let rate = self.world.history.on(day).organisation.idle_rate(agent);
            let begun = held.filter(|(before, _)| *before == rate).map_or(day, |(_, begun)| begun);
            held = Some((rate, begun));
            since.insert(day, begun);
        }
        since
    }

    /// Teams that pay for anything.
    pub(crate) fn active_teams(&self) -> std::collections::BTreeSet<&Id> {
        self.days.values().flat_map(|facts| facts.cells.keys()).filter_map(|cell| cell.team.as_ref()).collect()
    }
}

impl App {
    /// A closed month as it was closed.
    pub(crate) async fn case_of(self: &Arc<Self>, record: &PeriodRecord) -> Result<Case, Refusal> {
        let world = self.world().await?;
        let own = self.world_of(&world, record, Known::AtTheClose).await?;
        let days = self.facts_as_closed(&world, record).await?;
        self.case_from(record, own, days).await
    }

    /// A closed month over other facts than it was closed with: by its own organisation, prices and opening.
    pub(crate) async fn case_from(
        &self,
        record: &PeriodRecord,
        world: Arc<World>,
        days: BTreeMap<NaiveDate, DayFacts>,
    ) -> Result<Case, Refusal> {
        let opening = self.opening_of(record).await?;
        let prices = self.own_prices(record).await?;
        let corrections = self.corrections_in(record).await?;
        let record = record.clone();
        let settling = tokio::task::spawn_blocking(move || {
            let through = record.period.days().last().unwrap_or_default();
            let read = to_settle(&days)?;
            let input = PeriodInput {
                period: record.period,
                through,
                history: &world.history,
                days: &read,
                opening: &opening,
                rules: record.rules,
                own_prices: Some(&prices),
                corrections: &corrections,
                approvals: &[],
            };
            let settlement = settle_with(&input, &Threads)
                .map_err(|error| Refusal::computation("settle a closed month again", error))?;
            Ok(Case { record, world, days, read, opening, prices, settlement })
        });
        settling.await.map_err(|error| Refusal::computation("settle a closed month again", error))?
    }
}
