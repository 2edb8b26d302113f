//! Facts in the grain of settlements, as columns of numbers in JSON: a text is written once a record, and what stays the same
//! from row to row once a run of rows.
//!
//! A close reads every row of its month, each of which names up to nine things that its neighbours name too. As objects
//! these rows were the largest part of the books and of the time that a close took.

use std::collections::BTreeMap;

use chrono::{Days, NaiveDate};
use recoup_attribution::DayFacts;
use recoup_attribution::facts::{CellKey, CellValue, Item, TaskKey, TaskOf, TaskValue};
use recoup_model::{Id, Kind};
use recoup_money::Amount;
use recoup_store::books::VALUE_BYTES_MAX;
use recoup_store::{Books, Expect, Key, StoreError, Write};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::records;

/// Rows in one record, unless their texts are long.
const ROWS_MAX: usize = 4_000;

/// A column of small numbers: a value and on how many rows it stands, in turns.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
struct Runs(Vec<i64>);

impl Runs {
    fn push(&mut self, value: i64) {
        match self.0.as_mut_slice() {
            [.., last, rows] if *last == value => *rows = rows.saturating_add(1),
            _ => self.0.extend([value, 1]),
        }
    }

    /// On how many rows it stands.
    fn len(&self) -> usize {
        self.rows().count()
    }

    fn rows(&self) -> impl Iterator<Item = i64> + '_ {
        let runs = self.0.chunks_exact(2).filter_map(|run| Some((*run.first()?, usize::try_from(*run.get(1)?).ok()?)));
        runs.flat_map(|(value, rows)| std::iter::repeat_n(value, rows))
    }
}

/// An amount as a number of picounits where that is one of JSON's, else as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pico(Amount);

impl Serialize for Pico {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match i64::try_from(self.0.pico()) {
            Ok(pico) => serializer.serialize_i64(pico),
            Err(_) => serializer.collect_str(&self.0.pico()),
        }
    }
}

impl<'de> Deserialize<'de> for Pico {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = i128;

            fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str("picounits")
            }

            fn visit_i64<E>(self, pico: i64) -> Result<i128, E> {
                Ok(i128::from(pico))
            }

            fn visit_u64<E>(self, pico: u64) -> Result<i128, E> {
                Ok(i128::from(pico))
            }

            fn visit_str<E: serde::de::Error>(self, pico: &str) -> Result<i128, E> {
                pico.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor).map(|pico| Self(Amount::from_pico(pico)))
    }
}

/// Values by number, each once; 0 is none.
struct Codes<T> {
    known: BTreeMap<T, i64>,
    values: Vec<T>,
    /// Rows are sorted: most say what the one before them said.
    last: Option<(T, i64)>,
}

impl<T: Clone + Ord> Codes<T> {
    const fn new() -> Self {
        Self { known: BTreeMap::new(), values: Vec::new(), last: None }
    }

    fn code(&mut self, value: Option<&T>) -> i64 {
        let Some(value) = value else { return 0 };
        if let Some((last, code)) = &self.last
            && last == value
        {
            return *code;
        }
        let code = match self.known.get(value) {
            Some(code) => *code,
            None => {
                self.values.push(value.clone());
                let code = i64::try_from(self.values.len()).unwrap_or(i64::MAX);
                self.known.insert(value.clone(), code);
                code
            }
        };
        self.last = Some((value.clone(), code));
        code
    }
}

/// The value of a code. A code that was never given is a damaged record.
fn value_of<T: Clone>(values: &[T], code: i64) -> Option<Option<T>> {
    match code {
        0 => Some(None),
        code => values.get(usize::try_from(code.checked_sub(1)?).ok()?).cloned().map(Some),
    }
}

/// Rows as they stand in a record.
trait Packed: Serialize + DeserializeOwned {
    type Key: Ord;
    type Value;

    fn pack<'a>(day: NaiveDate, rows: impl Iterator<Item = (&'a Self::Key, &'a Self::Value)>) -> Self
    where
        Self::Key: 'a,
        Self::Value: 'a;

    /// None where a record does not hold what was written.
    fn unpack(self, day: NaiveDate, rows: &mut Vec<(Self::Key, Self::Value)>) -> Option<()>;
}

/// Rows of a partition that are written as one list.
struct List<'a> {
    partition: &'a str,
    prefix: String,
    day: NaiveDate,
}

impl List<'_> {
    /// The puts of these rows; where their texts make a record too large, of the halves.
    fn puts<P: Packed>(&self, rows: &[(&P::Key, &P::Value)], puts: &mut Vec<Write>) -> Result<(), StoreError> {
        let value = records::to_json(&P::pack(self.day, rows.iter().copied()))?;
        let half = rows.len().div_euclid(2);
        if value.len() > VALUE_BYTES_MAX && half > 0 {
            let (first, second) = rows.split_at(half);
            self.puts::<P>(first, puts)?;
            return self.puts::<P>(second, puts);
        }
        let key = Key::new(self.partition, format!("{}{:06}", self.prefix, puts.len()));
        puts.push(Write::Put { key, value, expect: Expect::Any, until_s: None });
        Ok(())
    }

    fn all_puts<P: Packed>(&self, map: &BTreeMap<P::Key, P::Value>) -> Result<Vec<Write>, StoreError> {
        let rows: Vec<_> = map.iter().collect();
        let mut puts = Vec::new();
        rows.chunks(ROWS_MAX).try_for_each(|rows| self.puts::<P>(rows, &mut puts))?;
        Ok(puts)
    }

    async fn read<P: Packed>(&self, books: &dyn Books) -> Result<BTreeMap<P::Key, P::Value>, StoreError> {
        let mut rows = Vec::new();
        for (sort, packed, _) in records::all::<P>(books, self.partition, &self.prefix).await? {
            packed.unpack(self.day, &mut rows).ok_or_else(|| StoreError::Damaged {
                what: format!("the record {}/{sort}", self.partition),
                detail: "its columns do not fit together".to_owned(),
            })?;
        }
        Ok(rows.into_iter().collect())
    }
}

fn list<'a>(partition: &'a str, run: &str, name: &str, day: NaiveDate) -> List<'a> {
    List { partition, prefix: format!("{run}/{name}/"), day }
}

/// Cost cells.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Cells {
    texts: Vec<Id>,
    items: Vec<Item>,
    team: Runs,
    project: Runs,
    agent: Runs,
    task_type: Runs,
    kind: Runs,
    provider: Runs,
    model: Runs,
    item: Runs,
    /// The type of the task that the cost belongs to; none where there is no task.
    task: Runs,
    task_agent: Runs,
    /// Days from the facts' to the one on which the task ended.
    ended: Runs,
    timed: Runs,
    pool: Runs,
    unobserved: Runs,
    cost: Vec<Pico>,
    quantity: Vec<Pico>,
    events: Vec<u64>,
}

impl Packed for Cells {
    type Key = CellKey;
    type Value = CellValue;

    fn pack<'a>(day: NaiveDate, rows: impl Iterator<Item = (&'a CellKey, &'a CellValue)>) -> Self {
        let mut all = Self::default();
        // A column of texts has its own memory of what its last row said.
        let mut texts = Texts::new();
        let mut items = Codes::new();
        for (key, value) in rows {
            let task = key.task.as_ref();
            let columns = [
                (&mut all.team, key.team.as_ref()),
                (&mut all.project, key.project.as_ref()),
                (&mut all.agent, key.agent.as_ref()),
                (&mut all.task_type, key.task_type.as_ref()),
                (&mut all.provider, key.provider.as_ref()),
                (&mut all.model, key.model.as_ref()),
                (&mut all.task, task.map(|task| &task.task_type)),
                (&mut all.task_agent, task.and_then(|task| task.agent.as_ref())),
                (&mut all.pool, key.pool.as_ref()),
            ];
            for (at, (column, text)) in columns.into_iter().enumerate() {
                column.push(texts.code(at, text));
            }
            all.kind.push(Kind::ALL.iter().position(|kind| *kind == key.kind).map_or(0, small));
            all.item.push(items.code(Some(&key.item)));
            all.ended.push(task.map_or(0, |task| task.ended_on.signed_duration_since(day).num_days()));
            all.timed.push(i64::from(task.is_some_and(|task| task.timed)));
            all.unobserved.push(i64::from(key.unobserved));
            all.cost.push(Pico(value.cost));
            all.quantity.push(Pico(value.quantity));
            all.events.push(value.events);
        }
        (all.texts, all.items) = (texts.codes.values, items.values);
        all
    }

    fn unpack(self, day: NaiveDate, rows: &mut Vec<(CellKey, CellValue)>) -> Option<()> {
        let text = |code| value_of(&self.texts, code);
        let names = [&self.team, &self.project, &self.agent, &self.task_type, &self.provider, &self.model, &self.pool];
        let others = [&self.kind, &self.item, &self.task, &self.task_agent, &self.ended, &self.timed, &self.unobserved];
        let lengths = names.into_iter().chain(others).map(Runs::len).chain([self.quantity.len(), self.events.len()]);
        all_are(lengths, self.cost.len())?;
        let [mut team, mut project, mut agent, mut task_type, mut provider, mut model, mut pool] =
            names.map(Runs::rows);
        let tasks = [&self.task, &self.task_agent, &self.ended, &self.timed];
        let [mut task, mut task_agent, mut ended, mut timed] = tasks.map(Runs::rows);
        let [mut kind, mut item, mut unobserved] = [&self.kind, &self.item, &self.unobserved].map(Runs::rows);
        let mut quantity = self.quantity.iter();
        let mut events = self.events.iter();
        rows.reserve(self.cost.len());
        for cost in &self.cost {
            let (task_agent, ended, timed) = (text(task_agent.next()?)?, ended.next()?, timed.next()? != 0);
            let task = match text(task.next()?)? {
                Some(task_type) => Some(TaskOf { agent: task_agent, task_type, ended_on: later(day, ended)?, timed }),
                None => None,
            };
            let key = CellKey {
                team: text(team.next()?)?,
                project: text(project.next()?)?,
                agent: text(agent.next()?)?,
                task_type: text(task_type.next()?)?,
                kind: *Kind::ALL.get(usize::try_from(kind.next()?).ok()?)?,
                provider: text(provider.next()?)?,
                model: text(model.next()?)?,
                item: value_of(&self.items, item.next()?)??,
                task,
                pool: text(pool.next()?)?,
                unobserved: unobserved.next()? != 0,
            };
            rows.push((key, CellValue { cost: cost.0, quantity: quantity.next()?.0, events: *events.next()? }));
        }
        Some(())
    }
}

/// Codes of texts, asked for by several columns.
struct Texts {
    codes: Codes<Id>,
    last: [Option<(Id, i64)>; 9],
}

impl Texts {
    const fn new() -> Self {
        Self { codes: Codes::new(), last: [const { None }; 9] }
    }

    fn code(&mut self, column: usize, text: Option<&Id>) -> i64 {
        let last = self.last.get_mut(column);
        match (text, last) {
            (None, _) => 0,
            (Some(text), Some(Some((known, code)))) if known == text => *code,
            (Some(text), last) => {
                let code = self.codes.code(Some(text));
                if let Some(last) = last {
                    *last = Some((text.clone(), code));
                }
                code
            }
        }
    }
}

/// None where a column is longer or shorter than the others: then some rows are lost.
fn all_are(mut lengths: impl Iterator<Item = usize>, rows: usize) -> Option<()> {
    lengths.all(|length| length == rows).then_some(())
}

fn small(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The day so many days after another, or before it.
fn later(day: NaiveDate, days: i64) -> Option<NaiveDate> {
    let distance = Days::new(days.unsigned_abs());
    if days < 0 { day.checked_sub_days(distance) } else { day.checked_add_days(distance) }
}

/// Tasks, without the durations of each.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Tasks {
    texts: Vec<Id>,
    team: Runs,
    agent: Runs,
    task_type: Runs,
    tasks: Vec<u64>,
    completed: Vec<u64>,
    failed: Vec<u64>,
    killed: Vec<u64>,
    direct_cost: Vec<Pico>,
    timed_cost: Vec<Pico>,
    timed_tasks: Vec<u64>,
    timed_completed: Vec<u64>,
    active_ns: Vec<u64>,
    idle_ns: Vec<u64>,
}

impl Packed for Tasks {
    type Key = TaskKey;
    type Value = TaskValue;

    fn pack<'a>(_: NaiveDate, rows: impl Iterator<Item = (&'a TaskKey, &'a TaskValue)>) -> Self {
        let mut all = Self::default();
        let mut texts = Texts::new();
        for (key, value) in rows {
            all.team.push(texts.code(0, key.team.as_ref()));
            all.agent.push(texts.code(1, key.agent.as_ref()));
            all.task_type.push(texts.code(2, Some(&key.task_type)));
            all.tasks.push(value.tasks);
            all.completed.push(value.completed);
            all.failed.push(value.failed);
            all.killed.push(value.killed);
            all.direct_cost.push(Pico(value.direct_cost));
            all.timed_cost.push(Pico(value.timed_cost));
            all.timed_tasks.push(value.timed_tasks);
            all.timed_completed.push(value.timed_completed);
            all.active_ns.push(value.active_ns);
            all.idle_ns.push(value.idle_ns);
        }
        all.texts = texts.codes.values;
        all
    }

    fn unpack(self, _: NaiveDate, rows: &mut Vec<(TaskKey, TaskValue)>) -> Option<()> {
        let text = |code| value_of(&self.texts, code);
        let names = [&self.team, &self.agent, &self.task_type];
        let counts = [&self.completed, &self.failed, &self.killed, &self.timed_tasks, &self.timed_completed];
        let times = [&self.active_ns, &self.idle_ns].map(Vec::len);
        let lengths = names.map(Runs::len).into_iter().chain(counts.map(Vec::len)).chain(times);
        all_are(lengths.chain([self.direct_cost.len(), self.timed_cost.len()]), self.tasks.len())?;
        let [mut team, mut agent, mut task_type] = names.map(Runs::rows);
        rows.reserve(self.tasks.len());
        for (at, tasks) in self.tasks.iter().enumerate() {
            let count = |column: &[u64]| column.get(at).copied();
            let key = TaskKey {
                team: text(team.next()?)?,
                agent: text(agent.next()?)?,
                task_type: text(task_type.next()?)??,
            };
            let value = TaskValue {
                tasks: *tasks,
                completed: count(&self.completed)?,
                failed: count(&self.failed)?,
                killed: count(&self.killed)?,
                direct_cost: self.direct_cost.get(at)?.0,
                timed_cost: self.timed_cost.get(at)?.0,
                timed_tasks: count(&self.timed_tasks)?,
                timed_completed: count(&self.timed_completed)?,
                active_ns: count(&self.active_ns)?,
                idle_ns: count(&self.idle_ns)?,
                ..TaskValue::default()
            };
            rows.push((key, value));
        }
        Some(())
    }
}

/// Whose duration it is (the number of the row among the tasks), whether it is an idle one, and how long.
type TimeKey = (u64, bool, u64);

/// Durations of tasks -> how many have it. A list of its own: a day of one team may have more than one record holds.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Times {
    row: Vec<u64>,
    idle: Runs,
    ns: Vec<u64>,
    tasks: Vec<u64>,
}

impl Packed for Times {
    type Key = TimeKey;
    type Value = u64;

    fn pack<'a>(_: NaiveDate, rows: impl Iterator<Item = (&'a TimeKey, &'a u64)>) -> Self {
        let mut all = Self::default();
        for ((row, idle, ns), tasks) in rows {
            all.row.push(*row);
            all.idle.push(i64::from(*idle));
            all.ns.push(*ns);
            all.tasks.push(*tasks);
        }
        all
    }

    fn unpack(self, _: NaiveDate, rows: &mut Vec<(TimeKey, u64)>) -> Option<()> {
        all_are([self.idle.len(), self.ns.len(), self.tasks.len()].into_iter(), self.row.len())?;
        let mut idle = self.idle.rows();
        for (at, row) in self.row.iter().enumerate() {
            rows.push(((*row, idle.next()? != 0, *self.ns.get(at)?), *self.tasks.get(at)?));
        }
        Some(())
    }
}

/// The puts of a day's cost cells and tasks.
pub(crate) fn puts(partition: &str, run: &str, facts: &DayFacts) -> Result<Vec<Write>, StoreError> {
    let day = facts.day;
    let mut puts = list(partition, run, "costs", day).all_puts::<Cells>(&facts.cells)?;
    puts.extend(list(partition, run, "tasks", day).all_puts::<Tasks>(&facts.tasks)?);
    let mut times = BTreeMap::new();
    for (row, value) in (0..).zip(facts.tasks.values()) {
        times.extend(value.durations_ns.iter().map(|(ns, tasks)| ((row, false, *ns), *tasks)));
        times.extend(value.idles_ns.iter().map(|(ns, tasks)| ((row, true, *ns), *tasks)));
    }
    puts.extend(list(partition, run, "times", day).all_puts::<Times>(&times)?);
    Ok(puts)
}

/// Cost cells and tasks by what they are of.
pub(crate) type CellsAndTasks = (BTreeMap<CellKey, CellValue>, BTreeMap<TaskKey, TaskValue>);

/// What [`puts`] stored.
pub(crate) async fn read(
    books: &dyn Books,
    (partition, run): (&str, &str),
    day: NaiveDate,
) -> Result<CellsAndTasks, StoreError> {
    let cells = list(partition, run, "costs", day).read::<Cells>(books).await?;
    let mut tasks = list(partition, run, "tasks", day).read::<Tasks>(books).await?;
    let times = list(partition, run, "times", day).read::<Times>(books).await?;
    let mut times = times.into_iter().peekable();
    for (row, value) in (0..).zip(tasks.values_mut()) {
        while let Some(((_, idle, ns), count)) = times.next_if(|((of, ..), _)| *of == row) {
            let durations = if idle { &mut value.idles_ns } else { &mut value.durations_ns };
            durations.insert(ns, count);
        }
    }
    if let Some(((row, ..), _)) = times.next() {
        return Err(StoreError::Damaged {
            what: format!("the durations of the tasks of {day}"),
            detail: format!("there is no task {row}"),
        });
    }
    Ok((cells, tasks))
}
