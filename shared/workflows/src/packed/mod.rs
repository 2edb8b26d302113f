//! Facts as columns of numbers in JSON: a text is written once a record, and what stays the same from row to row once a run of
//! rows.
//!
//! A close reads every row of its month, each of which names up to nine things that its neighbours name too; as fine as
//! queries ask there are nearly as many rows as events. As objects these rows were the largest part of the books by far, and
//! of the time that nights and closes took.

mod cells;
mod columns;
mod pools;
mod tasks;
mod users;

use std::collections::BTreeMap;

use chrono::NaiveDate;
use recoup_attribution::DayFacts;
use recoup_attribution::facts::{CellKey, CellValue, PoolUse, PoolUseKey, TaskKey, TaskValue, UserKey, UserValue};
use recoup_store::{Books, StoreError, Write};

use self::cells::Cells;
use self::columns::list;
use self::pools::Pools;
use self::tasks::{Tasks, Times};
use self::users::Users;

/// The puts of a day's cost cells, tasks and use of pools.
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
    puts.extend(list(partition, run, "pools", day).all_puts::<Pools>(&facts.pools)?);
    Ok(puts)
}

/// Cost cells, tasks and use of pools by what they are of.
pub(crate) type Rows = (BTreeMap<CellKey, CellValue>, BTreeMap<TaskKey, TaskValue>, BTreeMap<PoolUseKey, PoolUse>);

/// What [`puts`] stored.
pub(crate) async fn read(
    books: &dyn Books,
    (partition, run): (&str, &str),
    day: NaiveDate,
) -> Result<Rows, StoreError> {
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
    Ok((cells, tasks, list(partition, run, "pools", day).read::<Pools>(books).await?))
}

/// The puts of what only queries ask: the day's cost cells as fine as they are, and costs by user.
pub(crate) fn query_puts(partition: &str, run: &str, facts: &DayFacts) -> Result<Vec<Write>, StoreError> {
    let day = facts.day;
    let mut puts = list(partition, run, "cells", day).all_puts::<Cells>(&facts.cells)?;
    puts.extend(list(partition, run, "users", day).all_puts::<Users>(&facts.users)?);
    Ok(puts)
}

/// The cost cells that [`query_puts`] stored.
pub(crate) async fn read_cells(
    books: &dyn Books,
    (partition, run): (&str, &str),
    day: NaiveDate,
) -> Result<BTreeMap<CellKey, CellValue>, StoreError> {
    list(partition, run, "cells", day).read::<Cells>(books).await
}

/// The costs by user that [`query_puts`] stored.
pub(crate) async fn read_users(
    books: &dyn Books,
    (partition, run): (&str, &str),
    day: NaiveDate,
) -> Result<BTreeMap<UserKey, UserValue>, StoreError> {
    list(partition, run, "users", day).read::<Users>(books).await
}
