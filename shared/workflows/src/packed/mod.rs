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
use recoup_attribution::facts::{CellKey, CellValue, UserKey, UserValue};
use recoup_attribution::settlement::Rows;
use recoup_attribution::{DayFacts, SettlementFacts};
use recoup_store::{StoreError, Write};
use serde::de::DeserializeOwned;

use self::cells::Cells;
use self::columns::list;
use self::pools::Pools;
use self::tasks::{Tasks, Times};
use self::users::Users;
use crate::facts::NightRows;

/// The puts of a day's costs, tasks and use of pools.
pub(crate) fn puts(partition: &str, run: &str, facts: &SettlementFacts) -> Result<Vec<Write>, StoreError> {
    let list = |name| list(partition, run, name, facts.day);
    let mut puts = list("costs").puts(facts.costs(), |day, rows| Cells::of_costs(day, rows, facts))?;
    puts.extend(list("tasks").puts(facts.tasks(), |_, rows| Tasks::of(rows, facts))?);
    let mut times = Vec::new();
    for (row, (_, value)) in (0..).zip(facts.tasks()) {
        times.extend(value.durations_ns.iter().map(|(ns, tasks)| ((row, false, *ns), *tasks)));
        times.extend(value.idles_ns.iter().map(|(ns, tasks)| ((row, true, *ns), *tasks)));
    }
    puts.extend(list("times").puts(&times, |_, rows| Times::of(rows))?);
    puts.extend(list("pools").puts(facts.uses(), |_, rows| Pools::of(rows, facts))?);
    Ok(puts)
}

/// What [`puts`] stored.
pub(crate) async fn read(stored: &mut NightRows<'_>) -> Result<SettlementFacts, StoreError> {
    let day = stored.day();
    let mut rows = Rows::default();
    unpack(stored, "costs", |day, packed: Cells| packed.into_costs(day, &mut rows)).await?;
    unpack(stored, "tasks", |_, packed: Tasks| packed.into_rows(&mut rows)).await?;
    let mut times = Vec::new();
    unpack(stored, "times", |_, packed: Times| packed.into_rows(&mut times)).await?;
    let mut times = times.into_iter().peekable();
    for (row, (_, value)) in (0..).zip(&mut rows.tasks) {
        while let Some(((_, idle, ns), count)) = times.next_if(|((of, ..), _)| *of == row) {
            let durations = if idle { &mut value.idles_ns } else { &mut value.durations_ns };
            durations.insert(ns, count);
        }
    }
    if let Some(((row, ..), _)) = times.next() {
        return Err(damaged("the durations of the tasks", day, format!("there is no task {row}")));
    }
    unpack(stored, "pools", |_, packed: Pools| packed.into_rows(&mut rows)).await?;
    rows.in_order(day).map_err(|error| damaged("the facts", day, error.to_string()))
}

/// Hands each record of a name to `take`, which gives `None` where it does not hold what was written.
async fn unpack<P: DeserializeOwned>(
    stored: &mut NightRows<'_>,
    name: &str,
    mut take: impl FnMut(NaiveDate, P) -> Option<()>,
) -> Result<(), StoreError> {
    let day = stored.day();
    for (key, packed) in stored.named(name).await? {
        take(day, packed).ok_or_else(|| StoreError::Damaged {
            what: format!("the record {}/{}", key.partition, key.sort),
            detail: "its columns do not fit together".to_owned(),
        })?;
    }
    Ok(())
}

fn damaged(what: &str, day: NaiveDate, detail: String) -> StoreError {
    StoreError::Damaged { what: format!("{what} of {day}"), detail }
}

/// The puts of what only queries ask: the day's cost cells as fine as they are, and costs by user.
pub(crate) fn query_puts(partition: &str, run: &str, facts: &DayFacts) -> Result<Vec<Write>, StoreError> {
    let day = facts.day;
    let cells: Vec<_> = facts.cells.iter().collect();
    let mut puts = list(partition, run, "cells", day).puts(&cells, Cells::of)?;
    let users: Vec<_> = facts.users.iter().collect();
    puts.extend(list(partition, run, "users", day).puts(&users, |_, rows| Users::of(rows))?);
    Ok(puts)
}

/// The cost cells that [`query_puts`] stored.
pub(crate) async fn read_cells(stored: &mut NightRows<'_>) -> Result<BTreeMap<CellKey, CellValue>, StoreError> {
    let mut rows = Vec::new();
    unpack(stored, "cells", |day, packed: Cells| packed.into_cells(day, &mut rows)).await?;
    Ok(rows.into_iter().collect())
}

/// The costs by user that [`query_puts`] stored.
pub(crate) async fn read_users(stored: &mut NightRows<'_>) -> Result<BTreeMap<UserKey, UserValue>, StoreError> {
    let mut rows = Vec::new();
    unpack(stored, "users", |_, packed: Users| packed.into_rows(&mut rows)).await?;
    Ok(rows.into_iter().collect())
}
