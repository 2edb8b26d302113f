//! Facts of days in the books: written under a run, visible by one final record (the night).
//!
//! Each night keeps them in the grain of settlements, which closes read, and besides as fine as queries ask. A close that
//! runs nights itself leaves the second part to the next night, and what anomalies are judged by; until then queries compute
//! theirs, and an earlier judgement stands.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use chrono::NaiveDate;
use recoup_attribution::facts::{AgentCost, EventSet};
use recoup_attribution::{DayFacts, Grain, SettlementFacts};
use recoup_model::{Digest, Finding, FindingKind, Id, Period};
use recoup_store::{Books, Key, StoreError, Write};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::task::JoinSet;

use crate::app::App;
use crate::close;
use crate::error::Refusal;
use crate::nightly::{DIRTY, Dirty, Prints};
use crate::packed;
use crate::records;
use crate::shipped::Known;

/// The partition of nights.
pub(crate) const NIGHTS: &str = "nights";
/// The form in which facts for settlements are stored; a night in another form is run again.
pub(crate) const FACTS_FORM: u32 = 5;
/// The form in which facts for queries are stored; those in another form are made again by the next night.
pub(crate) const QUERIES_FORM: u32 = 2;
/// Records of facts read in one page.
const ROWS_PAGE: usize = 500;
/// Days of facts remembered between queries.
const REMEMBERED_MAX: usize = 100;

/// A finished night of one day and lane. Exactly one is current; earlier ones are gone with their rows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Night {
    /// The local day.
    pub day: NaiveDate,
    /// The lane.
    pub lane: u16,
    /// The run whose rows are current.
    pub run: String,
    /// What the rows are stored under; empty: the run.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) rows: String,
    /// Organisation versions that held on the days of the traces that touch the day, and of those that report the same
    /// calls.
    pub organisations: BTreeMap<NaiveDate, Digest>,
    /// Names that were looked up, with the digest of the prices they could resolve to.
    pub names: BTreeMap<String, Digest>,
    /// Of earlier releases: digest of all exchange rates. Those that reported costs need are among the names now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) exchange: Option<Digest>,
    /// The form in which the facts are stored.
    #[serde(default)]
    pub form: u32,
    /// Digest of the facts that settlements read.
    pub facts: Digest,
    /// Digest of the facts that only queries read; `None`: they were not made yet.
    #[serde(default)]
    pub queries: Option<Digest>,
    /// The form in which these are stored; `None`: that of releases before it was noted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) queries_form: Option<u32>,
    /// Digest of what the tasks used that ended on the day; `None`: it was not made yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) work: Option<Digest>,
    /// Events that counted.
    pub events: u64,
    /// Rules version that the facts were made by.
    pub rules: u32,
    /// Digest of every price there was.
    pub catalogue: Digest,
    /// Version of the time zone data.
    pub time_zone_data: String,
    /// When the run finished, RFC 3339.
    pub finished_at: String,
}

impl Night {
    /// What its rows are stored under: of a run, those of two processes that did the same part may differ.
    pub(crate) fn rows(&self) -> &str {
        if self.rows.is_empty() { &self.run } else { &self.rows }
    }

    /// Whether what only queries read is there, in the form of this release.
    pub(crate) fn keeps_queries(&self) -> bool {
        self.queries.is_some() && self.form == FACTS_FORM && self.queries_form == Some(QUERIES_FORM)
    }
}

#[derive(Serialize, Deserialize)]
struct Head {
    day: NaiveDate,
    counted: BTreeMap<NaiveDate, EventSet>,
    context: Option<EventSet>,
    price_names: BTreeSet<String>,
}

#[derive(Serialize, Deserialize)]
struct QueryHead {
    agents: BTreeMap<Id, AgentCost>,
    finding_counts: BTreeMap<FindingKind, u64>,
}

/// Rows of facts that are kept from the nights of a run to its settlement; what is beyond is read again.
const KEPT_ROWS_MAX: usize = 2_000_000;

/// Facts in the grain of settlements that this process has just written, so that the settlement after them need not read
/// them again.
#[derive(Default)]
pub(crate) struct FreshFacts(Mutex<Fresh>);

#[derive(Default)]
struct Fresh {
    /// By day and lane: what the rows are stored under, and the facts.
    nights: BTreeMap<(NaiveDate, u16), (String, SettlementFacts)>,
    rows: usize,
}

impl FreshFacts {
    /// Keeps the facts of a night, while there is room.
    pub(crate) fn keep(&self, night: &Night, facts: SettlementFacts) {
        if let Ok(mut fresh) = self.0.lock() {
            fresh.keep((night.day, night.lane), night.rows(), facts);
        }
    }

    /// The facts of a night, if they are the ones that it made current.
    fn take(&self, night: &Night) -> Option<SettlementFacts> {
        let (rows, facts) = self.0.lock().ok()?.take((night.day, night.lane))?;
        (rows == night.rows()).then_some(facts)
    }

    /// Forgets what no settlement came for.
    pub(crate) fn clear(&self) {
        if let Ok(mut fresh) = self.0.lock() {
            *fresh = Fresh::default();
        }
    }
}

impl Fresh {
    fn keep(&mut self, of: (NaiveDate, u16), name: &str, facts: SettlementFacts) {
        drop(self.take(of));
        let rows = self.rows.saturating_add(facts.size());
        if rows <= KEPT_ROWS_MAX {
            self.rows = rows;
            self.nights.insert(of, (name.to_owned(), facts));
        }
    }

    fn take(&mut self, of: (NaiveDate, u16)) -> Option<(String, SettlementFacts)> {
        let taken = self.nights.remove(&of)?;
        self.rows = self.rows.saturating_sub(taken.1.size());
        Some(taken)
    }
}

/// Facts remembered between queries.
#[derive(Default)]
pub(crate) struct FactsCache(Mutex<BTreeMap<(NaiveDate, u16, String), Arc<DayFacts>>>);

pub(crate) fn night_sort(day: NaiveDate, lane: u16) -> String {
    format!("{day}/{lane:03}")
}

pub(crate) fn facts_partition(day: NaiveDate, lane: u16) -> String {
    format!("facts/{day}/{lane:03}")
}

/// The puts that store a day's facts in the grain of settlements under a run.
pub(crate) fn settlement_puts(facts: &SettlementFacts, lane: u16, run: &str) -> Result<Vec<Write>, StoreError> {
    let partition = facts_partition(facts.day, lane);
    let head = Head {
        day: facts.day,
        counted: facts.counted.clone(),
        context: facts.context,
        price_names: facts.price_names.clone(),
    };
    let mut puts = records::text_puts(&partition, &format!("{run}/head/"), &records::to_json(&head)?)?;
    puts.extend(packed::puts(&partition, run, facts)?);
    Ok(puts)
}

/// The puts that store what only queries ask of a day's facts.
pub(crate) fn query_puts(facts: &DayFacts, lane: u16, run: &str) -> Result<Vec<Write>, StoreError> {
    let partition = facts_partition(facts.day, lane);
    let head = QueryHead { agents: facts.agents.clone(), finding_counts: facts.finding_counts.clone() };
    let mut puts = records::text_puts(&partition, &format!("{run}/query/"), &records::to_json(&head)?)?;
    puts.extend(packed::query_puts(&partition, run, facts)?);
    puts.extend(records::list_puts(&partition, &format!("{run}/findings/"), facts.findings.iter())?);
    Ok(puts)
}

/// The digest of facts: of their puts, whatever run they belong to.
pub(crate) fn facts_digest(puts: &[Write], run: &str) -> Digest {
    let mut digest = RowsDigest::default();
    for put in puts {
        if let Write::Put { key, value, .. } = put {
            digest.add((run, &key.sort), value);
        }
    }
    digest.finish()
}

/// The digest of rows, whatever they are stored under.
#[derive(Default)]
struct RowsDigest(Sha256);

impl RowsDigest {
    fn add(&mut self, (run, sort): (&str, &str), value: &str) {
        self.0.update(sort.strip_prefix(run).unwrap_or(sort));
        self.0.update([0]);
        self.0.update(value);
        self.0.update([0]);
    }

    fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

/// The rows of a night, read in the order in which they were put: then they can be told from others.
pub(crate) struct NightRows<'a> {
    books: &'a dyn Books,
    night: &'a Night,
    partition: String,
    digest: RowsDigest,
}

impl<'a> NightRows<'a> {
    pub(crate) fn new(books: &'a dyn Books, night: &'a Night) -> Self {
        let partition = facts_partition(night.day, night.lane);
        Self { books, night, partition, digest: RowsDigest::default() }
    }

    /// The local day.
    pub(crate) const fn day(&self) -> NaiveDate {
        self.night.day
    }

    /// The records of a name, each with where it stands.
    pub(crate) async fn named<T: DeserializeOwned>(&mut self, name: &str) -> Result<Vec<(Key, T)>, StoreError> {
        let run = self.night.rows();
        let mut found = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let prefix = format!("{run}/{name}/");
            let page = self.books.scan(&self.partition, &prefix, after.as_deref(), ROWS_PAGE).await?;
            for record in page.records {
                self.digest.add((run, &record.key.sort), &record.value);
                let value =
                    serde_json::from_str(&record.value).map_err(|error| damaged(self.night, error.to_string()))?;
                found.push((record.key, value));
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(found),
            }
        }
    }

    /// A value that was stored as a text in pieces.
    async fn text<T: DeserializeOwned>(&mut self, name: &str) -> Result<T, StoreError> {
        let pieces = self.named::<String>(name).await?.into_iter().map(|(_, piece)| piece);
        serde_json::from_str(&pieces.collect::<String>()).map_err(|error| damaged(self.night, error.to_string()))
    }

    /// Whether they are what the night stored: a bit that flipped in the books must not become a figure.
    fn check(self, stored: Digest) -> Result<(), StoreError> {
        let Self { night, digest, .. } = self;
        if digest.finish() == stored {
            return Ok(());
        }
        Err(damaged(night, "it is not what its night stored; restore the books from a backup".to_owned()))
    }
}

fn damaged(night: &Night, detail: String) -> StoreError {
    StoreError::Damaged { what: format!("the record of the facts of {}", night.day), detail }
}

/// The night that has taken the place of one, whose rows are gone then; `None`: it is current.
async fn newer(books: &dyn Books, night: &Night) -> Result<Option<Night>, StoreError> {
    let key = Key::new(NIGHTS, night_sort(night.day, night.lane));
    let current = records::get::<Night>(books, &key).await?.map(|(current, _)| current);
    Ok(current.filter(|current| current.rows() != night.rows()))
}

/// The facts of a night in the grain of settlements, or of the one that took its place while they were read.
async fn read_settlement_facts(books: &dyn Books, night: &Night) -> Result<SettlementFacts, StoreError> {
    match read_settlement_rows(books, night).await {
        Err(error @ StoreError::Damaged { .. }) => match newer(books, night).await? {
            Some(current) => read_settlement_rows(books, &current).await,
            None => Err(error),
        },
        read => read,
    }
}

async fn read_settlement_rows(books: &dyn Books, night: &Night) -> Result<SettlementFacts, StoreError> {
    if night.form != FACTS_FORM {
        let detail = "they are in the form of another release; run `recoup nightly`".to_owned();
        return Err(damaged(night, detail));
    }
    let mut rows = NightRows::new(books, night);
    let head: Head = rows.text("head").await?;
    let mut facts = packed::read(&mut rows).await?;
    rows.check(night.facts)?;
    (facts.counted, facts.context, facts.price_names) = (head.counted, head.context, head.price_names);
    Ok(facts)
}

/// The facts of a night as fine as queries ask, or of the one that took its place while they were read.
async fn read_facts(books: &dyn Books, night: &Night) -> Result<DayFacts, StoreError> {
    match read_rows(books, night).await {
        Err(error @ StoreError::Damaged { .. }) => match newer(books, night).await? {
            Some(current) if current.keeps_queries() => read_rows(books, &current).await,
            _ => Err(error),
        },
        read => read,
    }
}

async fn read_rows(books: &dyn Books, night: &Night) -> Result<DayFacts, StoreError> {
    let mut rows = NightRows::new(books, night);
    let head: QueryHead = rows.text("query").await?;
    let cells = packed::read_cells(&mut rows).await?;
    let users = packed::read_users(&mut rows).await?;
    let findings = rows.named::<Vec<Finding>>("findings").await?;
    rows.check(night.queries.unwrap_or(night.facts))?;
    Ok(DayFacts {
        users,
        agents: head.agents,
        finding_counts: head.finding_counts,
        findings: findings.into_iter().flat_map(|(_, found)| found).collect(),
        ..read_settlement_rows(books, night).await?.with_cells(cells)
    })
}

impl App {
    /// Every night, by day and lane.
    pub(crate) async fn nights(&self) -> Result<Vec<(Night, u64)>, Refusal> {
        let rows = records::all::<Night>(self.books(), NIGHTS, "").await?;
        Ok(rows.into_iter().map(|(_, night, version)| (night, version)).collect())
    }

    /// Keeps what a night has found for the settlement after it; where processes share the work another one may settle.
    pub(crate) fn keep_fresh(&self, night: &Night, facts: SettlementFacts) {
        if !self.sharing {
            self.fresh_facts.keep(night, facts);
        }
    }

    async fn facts_of(&self, night: &Night) -> Result<Arc<DayFacts>, Refusal> {
        let key = (night.day, night.lane, night.rows().to_owned());
        let remembered = self.facts_cache.0.lock().ok().and_then(|cache| cache.get(&key).cloned());
        if let Some(facts) = remembered {
            return Ok(facts);
        }
        let facts = Arc::new(if night.keeps_queries() {
            read_facts(self.books(), night).await?
        } else {
            self.facts_not_stored(night).await?
        });
        if let Ok(mut cache) = self.facts_cache.0.lock() {
            if cache.len() >= REMEMBERED_MAX {
                cache.clear();
            }
            cache.insert(key, Arc::clone(&facts));
        }
        Ok(facts)
    }

    /// What queries ask of a night that has not kept it: made again from the blocks that nights have seen.
    async fn facts_not_stored(&self, night: &Night) -> Result<DayFacts, Refusal> {
        let world = self.world().await?;
        let records = close::period_records(self.books()).await?;
        let closed = records.iter().find(|record| record.is_closed() && record.period.contains(night.day));
        let world = match closed {
            Some(record) => self.world_of(&world, record, Known::Since).await?,
            None => world,
        };
        let day = (night.day, night.lane, Grain::Query);
        let facts = self.replay_lane(&world, day, (self.marked_through().await?, Prints::Stored)).await?;
        Ok(facts.unwrap_or_else(|| DayFacts::empty(night.day)))
    }

    /// Reads the facts of a month's nights that stand, while others are run again, and keeps them for the settlement. A night
    /// that becomes another one meanwhile is not taken for it.
    pub(crate) async fn read_ahead(self: Arc<Self>, period: Period) -> Result<(), Refusal> {
        if self.sharing {
            return Ok(());
        }
        let dirty = records::all::<Dirty>(self.books(), DIRTY, "").await?;
        let is_run_again =
            |night: &Night| dirty.iter().any(|(_, one, _)| (one.day, one.lane) == (night.day, night.lane));
        let nights = self.nights().await?.into_iter().map(|(night, _)| night);
        for night in nights.filter(|night| period.contains(night.day) && !is_run_again(night)) {
            let facts = read_settlement_facts(self.books(), &night).await?;
            self.fresh_facts.keep(&night, facts);
        }
        Ok(())
    }

    /// Facts of the days of a month in the grain of settlements, lanes merged; days without a night are left out.
    pub(crate) async fn settlement_facts(
        &self,
        period: Period,
    ) -> Result<BTreeMap<NaiveDate, SettlementFacts>, Refusal> {
        let nights = self.nights().await?.into_iter().map(|(night, _)| night);
        let mut nights = nights.filter(|night| period.contains(night.day));
        let mut days: BTreeMap<NaiveDate, SettlementFacts> = BTreeMap::new();
        let mut reads = JoinSet::new();
        loop {
            while reads.len() < self.days_at_once() {
                let Some(night) = nights.next() else { break };
                let (books, fresh) = (Arc::clone(&self.ports.books), self.fresh_facts.take(&night));
                reads.spawn(async move {
                    match fresh {
                        Some(facts) => Ok(facts),
                        None => read_settlement_facts(books.as_ref(), &night).await,
                    }
                });
            }
            let Some(read) = reads.join_next().await else { break };
            let facts = read.map_err(|error| Refusal::computation("read the facts of a day", error))??;
            match days.get_mut(&facts.day) {
                None => drop(days.insert(facts.day, facts)),
                Some(held) => {
                    held.merge(facts).map_err(|error| Refusal::computation("add the lanes of a day", error))?;
                }
            }
        }
        Ok(days)
    }

    /// Facts of the local days from `from` (inclusive) to `to` (exclusive), lanes merged; days without a night are
    /// left out.
    pub(crate) async fn facts_between(
        &self,
        from: NaiveDate,
        to: NaiveDate,
    ) -> Result<BTreeMap<NaiveDate, Arc<DayFacts>>, Refusal> {
        let mut days: BTreeMap<NaiveDate, Arc<DayFacts>> = BTreeMap::new();
        for (night, _) in self.nights().await?.into_iter().filter(|(night, _)| night.day >= from && night.day < to) {
            let facts = self.facts_of(&night).await?;
            match days.get_mut(&night.day) {
                None => {
                    days.insert(night.day, facts);
                }
                Some(held) => Arc::make_mut(held)
                    .merge(DayFacts::clone(&facts))
                    .map_err(|error| Refusal::computation("add the lanes of a day", error))?,
            }
        }
        Ok(days)
    }
}

#[cfg(test)]
mod tests {
    use recoup_attribution::facts::TaskValue;
    use recoup_attribution::settlement::{Code, Rows, TasksOf};

    use super::*;

    fn facts(count: usize) -> SettlementFacts {
        let mut rows = Rows::default();
        for row in 0..count {
            let task_type = rows.names.code(Some(&Id::from(format!("{row}"))));
            let of = TasksOf { team: Code::NONE, agent: Code::NONE, task_type };
            rows.tasks.push((of, TaskValue::default()));
        }
        rows.in_order(NaiveDate::MIN).unwrap_or_else(|_| SettlementFacts::empty(NaiveDate::MIN))
    }

    #[test]
    fn facts_are_kept_up_to_a_limit_and_given_once() {
        let mut fresh = Fresh::default();
        let [first, second] = [0, 1].map(|lane| (NaiveDate::MIN, lane));
        fresh.keep(first, "run", facts(3));
        fresh.rows = KEPT_ROWS_MAX;
        fresh.keep(second, "run", facts(1));
        assert!(fresh.take(second).is_none(), "there is no room for one row more");
        fresh.rows = KEPT_ROWS_MAX.saturating_sub(1);
        fresh.keep(second, "run", facts(1));
        assert_eq!((fresh.take(second), fresh.rows), (Some(("run".to_owned(), facts(1))), KEPT_ROWS_MAX - 1));
        fresh.keep(first, "later", facts(2));
        assert_eq!(fresh.rows, KEPT_ROWS_MAX - 2, "a night is kept once");
        assert_eq!(fresh.take(first), Some(("later".to_owned(), facts(2))));
        assert!(fresh.take(first).is_none());
    }
}
