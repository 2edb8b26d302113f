//! Past days again, from their blocks: what a statement is verified and explained by, and what other rules would have made
//! of them. Nothing is written.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::NaiveDate;
use recoup_attribution::{DayFacts, Grain};
use recoup_pricing::PriceBook;
use tokio::task::JoinSet;

use crate::app::{App, World};
use crate::close::{self, PeriodRecord};
use crate::error::Refusal;
use crate::nightly::{Cut, Prints, facts_in_grain, nights_of};
use crate::shipped::Known;

impl App {
    /// Organisation versions and prices of a closed month.
    pub(crate) async fn world_of(
        &self,
        world: &World,
        closed: &PeriodRecord,
        known: Known<'_>,
    ) -> Result<Arc<World>, Refusal> {
        let history = close::history_as_closed(&world.history, closed)?;
        let catalogues = self.catalogues_of(world, closed, known).await?;
        let prices = PriceBook::of_layers(&catalogues, &history)
            .map_err(|error| Refusal::computation("put the prices of a closed month together", error))?;
        let prices = prices.under_rules(closed.rules);
        Ok(Arc::new(World { history, prices: Arc::new(prices), catalogues }))
    }

    /// The facts of one lane of a local day from the blocks up to a cut; `None`: nothing happened.
    pub(crate) async fn replay_lane(
        &self,
        world: &Arc<World>,
        (day, lane, grain): (NaiveDate, u16, Grain),
        from: (Cut, Prints),
    ) -> Result<Option<DayFacts>, Refusal> {
        let loaded = self.load_day(world, (day, lane), from).await?;
        if loaded.is_empty() {
            return Ok(None);
        }
        let shared = Arc::clone(world);
        let facts = tokio::task::spawn_blocking(move || facts_in_grain(&shared, (day, grain), &loaded));
        facts.await.map_err(|error| Refusal::computation("attribute a day", error))?.map(Some)
    }

    /// The facts of one local day, all lanes, from the blocks up to a cut; `None`: nothing happened.
    pub(crate) async fn replay_day(
        &self,
        world: &Arc<World>,
        (day, grain): (NaiveDate, Grain),
        from: (Cut, Prints),
    ) -> Result<Option<DayFacts>, Refusal> {
        let mut merged: Option<DayFacts> = None;
        for lane in 0..self.lanes {
            let Some(facts) = self.replay_lane(world, (day, lane, grain), from).await? else { continue };
            match &mut merged {
                None => merged = Some(facts),
                Some(held) => {
                    held.merge(facts).map_err(|error| Refusal::computation("add the lanes of a day", error))?;
                }
            }
        }
        Ok(merged)
    }

    /// The facts that a closed month was closed with: those of its nights, or where late events have changed these, again
    /// from the blocks that there were.
    pub(crate) async fn facts_as_closed(
        self: &Arc<Self>,
        world: &World,
        closed: &PeriodRecord,
    ) -> Result<BTreeMap<NaiveDate, DayFacts>, Refusal> {
        let nights = self.nights().await?;
        let mut of_month = nights.iter().filter(|(night, _)| closed.period.contains(night.day));
        // What a night has not kept is made with what is known by now.
        if nights_of(&nights, closed.period) == closed.nights && of_month.all(|(night, _)| night.keeps_queries()) {
            return self.period_facts(closed.period).await;
        }
        let own = self.world_of(world, closed, Known::AtTheClose).await?;
        let days = (closed.period.days(), Grain::Query);
        self.replay_days(&own, days, (Cut(closed.cut), Prints::Stored)).await
    }

    /// The facts of several local days, as [`Self::replay_day`], some of them at a time.
    pub(crate) async fn replay_days(
        self: &Arc<Self>,
        world: &Arc<World>,
        (days, grain): (impl Iterator<Item = NaiveDate> + Send, Grain),
        from: (Cut, Prints),
    ) -> Result<BTreeMap<NaiveDate, DayFacts>, Refusal> {
        let mut queue = days;
        let mut tasks = JoinSet::new();
        let mut replayed = BTreeMap::new();
        loop {
            while tasks.len() < self.days_at_once() {
                let Some(day) = queue.next() else { break };
                let (app, world) = (Arc::clone(self), Arc::clone(world));
                tasks.spawn(async move { Ok((day, app.replay_day(&world, (day, grain), from).await?)) });
            }
            let Some(joined) = tasks.join_next().await else { break };
            let joined: Result<_, Refusal> = joined.map_err(|error| Refusal::computation("replay a day", error))?;
            let (day, facts) = joined?;
            replayed.extend(facts.map(|facts| (day, facts)));
        }
        Ok(replayed)
    }
}
