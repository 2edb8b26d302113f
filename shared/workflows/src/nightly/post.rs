//! Posting to the ledger: a period's entries are what its balances lack, booked once whoever books them.
//!
//! Every posting moves the period's mark, on condition that nobody has moved it since the balances were read: of two
//! processes that post at the same instant one posts, and the other reads again. I/O per try: the mark, the period's
//! entries, one group of puts.

use std::collections::BTreeMap;

use recoup_ledger::{Balances, Entry, post};
use recoup_model::Period;
use recoup_money::Amount;
use recoup_store::books::WRITES_MAX;
use recoup_store::{Expect, Key, Write, WriteError};
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::error::Refusal;
use crate::records;

/// The partition of the marks: which transaction of a period was the last.
const POSTED: &str = "posted";
/// Times that somebody else may be first before a posting is given up.
const TRIES_MAX: usize = 16;
/// Puts of a transaction in one group, beside that of its mark. A put has at most 200 KiB, so the group stays short.
const PUTS_MAX: usize = 8;
const _: () = assert!(PUTS_MAX < WRITES_MAX);

/// One side of a transaction as it is kept.
#[derive(Serialize, Deserialize)]
struct Booking {
    booked_at: String,
    entry: Entry,
}

fn ledger_partition(period: Period) -> String {
    format!("ledger/{period}")
}

impl App {
    /// Books what the ledger lacks of a period's balances. What the entries sum to is what was booked, whatever a crash has
    /// left out of the records beside them; a repetition adds nothing.
    pub(crate) async fn post_balances(
        &self,
        period: Period,
        transaction: &str,
        balances: &Balances,
    ) -> Result<(), Refusal> {
        for attempt in 0..TRIES_MAX {
            let mark = Key::new(POSTED, period.to_string());
            let last = records::get::<String>(self.books(), &mark).await?.map(|(_, version)| version);
            let entries = post(&self.booked(period).await?, balances)
                .map_err(|error| Refusal::computation("post to the ledger", error))?;
            if entries.is_empty() {
                return Ok(());
            }
            let name = if attempt == 0 { transaction.to_owned() } else { format!("{transaction}-{attempt}") };
            let puts = self.entry_puts(period, &name, entries)?;
            match self.write_marked((&mark, last), &name, puts).await {
                Err(WriteError::Conflict(key)) if key == mark => {}
                written => return Ok(written?),
            }
        }
        Err(Refusal::Conflict {
            kind: "changed-meanwhile",
            detail: format!("others post to the ledger of {period} all the time; try again"),
        })
    }

    /// Writes in groups, each of which moves the mark.
    async fn write_marked(
        &self,
        (mark, mut last): (&Key, Option<u64>),
        name: &String,
        puts: Vec<Write>,
    ) -> Result<(), WriteError> {
        let mut puts = puts.into_iter();
        loop {
            let mut group: Vec<Write> = puts.by_ref().take(PUTS_MAX).collect();
            if group.is_empty() {
                return Ok(());
            }
            group.push(records::put(mark.clone(), name, last.map_or(Expect::Absent, Expect::Version))?);
            self.books().write(group).await?;
            last = Some(last.unwrap_or_default().saturating_add(1));
        }
    }

    /// The puts of one balanced transaction.
    fn entry_puts(&self, period: Period, name: &str, entries: Vec<Entry>) -> Result<Vec<Write>, Refusal> {
        let booked_at = self.now_text();
        let rows = entries.into_iter().map(|entry| Booking { booked_at: booked_at.clone(), entry });
        Ok(records::list_puts(&ledger_partition(period), &format!("{name}/"), rows)?)
    }

    /// The sum of a period's ledger entries.
    pub(crate) async fn booked(&self, period: Period) -> Result<Balances, Refusal> {
        let mut sums: BTreeMap<String, Amount> = BTreeMap::new();
        for booked in records::list::<Booking>(self.books(), &ledger_partition(period), "").await? {
            let sum = sums.entry(booked.entry.account).or_default();
            *sum = sum
                .checked_add(booked.entry.amount)
                .ok_or_else(|| Refusal::computation("add up the ledger", "the balance of an account overflows"))?;
        }
        Ok(sums.into_iter().collect())
    }
}
