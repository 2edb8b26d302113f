//! One day: from the traces that touch it to facts in the books, visible by one final record.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use chrono::NaiveDate;
use recoup_attribution::facts::Item;
use recoup_attribution::settlement::Bought;
use recoup_attribution::{Grain, SettlementFacts};
use recoup_documents::RULES_VERSION;
use recoup_model::period::TIME_ZONE_DATA;
use recoup_model::{Digest, Id, Period};
use recoup_money::Amount;
use recoup_store::{Expect, Key, Write, WriteError};
use tokio::task::JoinSet;

use super::seen::{Inputs, Seen};
use super::{Cut, DIRTY, DayOutcome, DayTraces, Prints, facts_in_grain, facts_to_settle, unreadable};
use crate::alerts::UnpricedModel;
use crate::anomalies::work_puts;
use crate::app::{App, World};
use crate::close;
use crate::error::Refusal;
use crate::facts::{
    FACTS_FORM, NIGHTS, Night, QUERIES_FORM, facts_digest, facts_partition, night_sort, query_puts, settlement_puts,
};
use crate::plans::{PartDone, PlannedDay};
use crate::records;
use crate::shipped::Known;

/// Hexadecimal digits of the digest in the name under which facts are stored.
const NAME_DIGITS: usize = 16;

impl App {
    /// Runs the days of a part, some at the same time, from the blocks up to a cut. Also gives the days that could not be run
    /// because a block cannot be read.
    pub(crate) async fn run_days(
        self: &Arc<Self>,
        run: &str,
        world: &Arc<World>,
        (days, cut): (Vec<PlannedDay>, Cut),
    ) -> Result<(PartDone, BTreeSet<NaiveDate>), Refusal> {
        let closed = self.closed_worlds(world).await?;
        // Where processes share the work each has few days and little memory.
        let _keeping = (!self.sharing).then(|| self.decoded.keep());
        let (mut done, mut unread) = (PartDone::default(), BTreeSet::new());
        let seen = Arc::new(Mutex::new(Seen::default()));
        let mut queue = days.into_iter();
        let mut tasks = JoinSet::new();
        loop {
            while tasks.len() < self.days_at_once() {
                let Some(planned) = queue.next() else { break };
                let own = closed.get(&Period::of(planned.day)).unwrap_or(world);
                let (app, world, run) = (Arc::clone(self), Arc::clone(own), run.to_owned());
                let (day, seen) = (planned.day, Arc::clone(&seen));
                tasks.spawn(async move { (day, app.run_day((world, &seen), &run, (planned, cut)).await) });
            }
            let Some(joined) = tasks.join_next().await else { break };
            let (day, outcome) = joined.map_err(|error| Refusal::computation("run a day", error))?;
            match outcome {
                Ok((outcome, unpriced)) => {
                    self.advance(run, format!("day {}", outcome.day));
                    done.days.push(outcome);
                    done.unpriced.extend(unpriced);
                }
                // The day stays marked, so that no close passes it by; the others go on.
                Err(error) => match unreadable(&error) {
                    Some((block, reason)) => {
                        unread.insert(day);
                        tracing::error!(block, reason, "a block cannot be read");
                        let line = format!("{block}: {reason}");
                        if !done.unread.contains(&line) {
                            done.unread.push(line);
                        }
                    }
                    None => return Err(error),
                },
            }
        }
        done.days.sort_by_key(|outcome| (outcome.day, outcome.lane));
        Ok((done, unread))
    }

    /// What the days of closed periods are made with: the organisation and the prices as they were known at the close,
    /// and prices that came later for what had none (LED-4, RAT-2).
    pub(crate) async fn closed_worlds(&self, world: &World) -> Result<BTreeMap<Period, Arc<World>>, Refusal> {
        let mut worlds = BTreeMap::new();
        for record in close::period_records(self.books()).await?.iter().filter(|record| record.is_closed()) {
            worlds.insert(record.period, self.world_of(world, record, Known::Since).await?);
        }
        Ok(worlds)
    }

    async fn run_day(
        &self,
        (world, seen): (Arc<World>, &Mutex<Seen>),
        run: &str,
        (planned, cut): (PlannedDay, Cut),
    ) -> Result<(DayOutcome, Vec<UnpricedModel>), Refusal> {
        let (day, lane) = (planned.day, planned.lane);
        let grain = if planned.queries { Grain::Query } else { Grain::Settlement };
        let traces = self.load_day(&world, (day, lane), (cut, Prints::Stored)).await?;
        let days = traces.days.clone();
        let shared = Arc::clone(&world);
        let own_run = run.to_owned();
        let made = tokio::task::spawn_blocking(move || make_facts(&shared, (day, lane, grain), &own_run, &traces))
            .await
            .map_err(|error| Refusal::computation("attribute a day", error))??;
        let key = Key::new(NIGHTS, night_sort(day, lane));
        let before = records::get::<Night>(self.books(), &key).await?;
        let held = before.as_ref().map(|(night, _)| night);
        let changed = held.is_none_or(|night| night.facts != made.digest || night.form != FACTS_FORM);
        // What only queries and anomalies read was made for both or for neither.
        let is_held =
            |night: &Night| made.queries.is_none() || (night.queries == made.queries && night.work == made.work);
        let same = !changed && held.is_some_and(is_held);
        let stored = match held.filter(|_| same) {
            Some(held) => (held.run.clone(), held.rows.clone()),
            None => (run.to_owned(), made.name.clone()),
        };
        let inputs = Inputs::of((&world, seen), &days, &made.facts.price_names)?;
        let night = Night {
            day,
            lane,
            run: stored.0,
            rows: stored.1,
            organisations: inputs.organisations,
            names: inputs.names,
            exchange: None,
            form: FACTS_FORM,
            facts: made.digest,
            queries: made.queries,
            queries_form: Some(QUERIES_FORM),
            work: made.work,
            events: made.facts.counted.values().map(|set| set.events).sum(),
            rules: RULES_VERSION,
            catalogue: world.prices.digest(),
            time_zone_data: TIME_ZONE_DATA.to_owned(),
            finished_at: self.now_text(),
        };
        let night = match held.filter(|held| same && made.queries.is_none() && has_same_inputs(held, &night)) {
            Some(held) => Night { queries: held.queries, queries_form: held.queries_form, work: held.work, ..night },
            None => night,
        };
        if !same {
            records::write_in_groups(self.books(), made.puts).await?;
        }
        self.make_current((&key, &night), before.as_ref(), (&made.name, same)).await?;
        if let Some(mark) = planned.mark {
            self.clear_dirty(day, lane, mark).await?;
        }
        let outcome = DayOutcome {
            day,
            lane,
            reason: planned.reason,
            events: night.events,
            events_before: before.map(|(night, _)| night.events),
            cost: total_cost(&made.facts)?,
            changed,
        };
        self.keep_fresh(&night, made.facts);
        Ok((outcome, made.unpriced))
    }

    /// Makes a night the current one, and removes the rows of the one before.
    async fn make_current(
        &self,
        (key, night): (&Key, &Night),
        before: Option<&(Night, u64)>,
        (name, same): (&str, bool),
    ) -> Result<(), Refusal> {
        let expect = before.map_or(Expect::Absent, |(_, version)| Expect::Version(*version));
        let partition = facts_partition(night.day, night.lane);
        let written = self.books().write(vec![records::put(key.clone(), night, expect)?]).await;
        if let Err(WriteError::Conflict(_)) = &written {
            // Another process did the same part and was faster; what it made of the same events has the same name.
            let current = records::get::<Night>(self.books(), key).await?;
            if current.is_none_or(|(current, _)| current.rows() != name) {
                records::remove_all(self.books(), &partition, &format!("{name}/")).await?;
            }
        }
        written?;
        if let Some((old, _)) = before.filter(|(old, _)| !same && old.rows() != name) {
            records::remove_all(self.books(), &partition, &format!("{}/", old.rows())).await?;
        }
        Ok(())
    }

    /// Takes the mark away, unless new events have marked the day again meanwhile.
    async fn clear_dirty(&self, day: NaiveDate, lane: u16, version: u64) -> Result<(), Refusal> {
        let key = Key::new(DIRTY, night_sort(day, lane));
        match self.books().write(vec![Write::Delete { key, expect: Expect::Version(version) }]).await {
            Ok(()) | Err(recoup_store::WriteError::Conflict(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether what only queries and anomalies read follows from the same in both: a close that has not made it may keep it.
fn has_same_inputs(held: &Night, night: &Night) -> bool {
    (held.rules, held.exchange) == (night.rules, night.exchange)
        && held.time_zone_data == night.time_zone_data
        && held.organisations == night.organisations
        && held.names == night.names
}

/// A day's facts in the grain of settlements, and everything that is stored of it.
struct Made {
    /// What the rows are stored under: the run, and a digest of them, so that two processes that do the same part from
    /// different events never mix their rows.
    name: String,
    facts: SettlementFacts,
    unpriced: Vec<UnpricedModel>,
    digest: Digest,
    queries: Option<Digest>,
    work: Option<Digest>,
    puts: Vec<Write>,
}

fn make_facts(
    world: &World,
    (day, lane, grain): (NaiveDate, u16, Grain),
    run: &str,
    traces: &DayTraces,
) -> Result<Made, Refusal> {
    let (mut fine, mut tasks) = (Vec::new(), Vec::new());
    let (facts, unpriced) = match grain {
        Grain::Query => {
            let facts = facts_in_grain(world, (day, grain), traces)?;
            fine = query_puts(&facts, lane, run)?;
            tasks = work_puts(&facts, world.history.calendar(), (lane, run))?;
            let cells = facts.cells.iter().filter(|(key, _)| key.item == Item::Unpriced);
            let of = cells.map(|(key, value)| (key.provider.as_ref(), key.model.as_ref(), value.events));
            let coarse = SettlementFacts::coarse(&facts, &world.history);
            let coarse = coarse.map_err(|error| Refusal::computation("add up the costs of a day", error))?;
            (coarse, unpriced_models(day, of))
        }
        // The rest the next night makes.
        Grain::Settlement => {
            let facts = facts_to_settle(world, day, traces)?;
            let costs = facts.costs().iter().filter(|(key, _)| key.item == Bought::Unpriced);
            let of = costs.map(|(key, value)| (facts.name(key.provider), facts.name(key.model), value.events));
            let unpriced = unpriced_models(day, of);
            (facts, unpriced)
        }
    };
    let mut puts = settlement_puts(&facts, lane, run)?;
    let digest = facts_digest(&puts, run);
    let of = |puts: &[Write]| (grain == Grain::Query).then(|| facts_digest(puts, run));
    let (queries, work) = (of(&fine), of(&tasks));
    let all = [Some(digest), queries, work].into_iter().flatten().map(|part| part.to_string()).collect::<String>();
    let all = Digest::of(all.as_bytes()).to_string();
    let name = format!("{run}-{}", all.get(..NAME_DIGITS).unwrap_or_default());
    puts.append(&mut fine);
    puts.append(&mut tasks);
    for put in &mut puts {
        if let Write::Put { key, .. } = put {
            key.sort = format!("{name}{}", key.sort.strip_prefix(run).unwrap_or_default());
        }
    }
    Ok(Made { name, facts, unpriced, digest, queries, work, puts })
}

/// The models of a day that no price was found for.
fn unpriced_models<'a>(
    day: NaiveDate,
    found: impl Iterator<Item = (Option<&'a Id>, Option<&'a Id>, u64)>,
) -> Vec<UnpricedModel> {
    let mut models: BTreeMap<(String, String), u64> = BTreeMap::new();
    for (provider, model, events) in found {
        let Some(model) = model else { continue };
        let provider = provider.map(ToString::to_string).unwrap_or_default();
        let sum = models.entry((provider, model.to_string())).or_default();
        *sum = sum.saturating_add(events);
    }
    models.into_iter().map(|((provider, model), events)| UnpricedModel { provider, model, day, events }).collect()
}

fn total_cost(facts: &SettlementFacts) -> Result<Amount, Refusal> {
    Amount::checked_sum(facts.costs().iter().map(|(_, value)| value.cost))
        .ok_or_else(|| Refusal::computation("add a day's cost", "the sum overflows"))
}
