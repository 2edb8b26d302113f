//! Lists, newest first: beside each record of a list lies an entry whose name sorts by time, so that a page of the list is
//! read and not all of it.
//!
//! I/O: a page reads entries and their records, at most [`LOOKED_AT_MAX`] of each. An entry is written with its record.

use chrono::DateTime;
use recoup_model::Digest;
use recoup_store::books::GET_ALL_MAX;
use recoup_store::{Expect, Key, Record, Write};
use serde::de::DeserializeOwned;

use crate::app::App;
use crate::error::Refusal;
use crate::records;

/// Entries looked at for one page. Where few of them are for the caller the page is shorter than asked for, and has a cursor
/// all the same.
pub const LOOKED_AT_MAX: usize = 1_000;
/// Times are counted down from here, microseconds since 1970: what is newer sorts first.
const LAST_US: i64 = 9_999_999_999_999_999;
/// Digits of the time, of the rank and of the name in an entry.
const DIGITS: [usize; 3] = [16, 3, 16];

/// A list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum List {
    Alerts,
    Deliveries,
    Extensions,
    Reviews,
}

impl List {
    /// The partition of its records.
    pub(crate) const fn records(self) -> &'static str {
        match self {
            Self::Alerts => "alerts",
            Self::Deliveries => "deliveries",
            Self::Extensions => "extensions",
            Self::Reviews => "reviews",
        }
    }

    /// The partition of its entries.
    const fn entries(self) -> &'static str {
        match self {
            Self::Alerts => "list/alerts",
            Self::Deliveries => "list/deliveries",
            Self::Extensions => "list/extensions",
            Self::Reviews => "list/reviews",
        }
    }
}

/// Which part of a list is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    after: Option<String>,
    limit: usize,
}

impl Window {
    /// The first rows.
    #[must_use]
    pub const fn first(limit: usize) -> Self {
        Self { after: None, limit }
    }

    /// The rows after a page whose cursor this is; `None`: no page has such a cursor.
    #[must_use]
    pub fn after(cursor: &str, limit: usize) -> Option<Self> {
        let mut parts = cursor.split('-');
        let holds =
            |of: usize| move |part: &str| part.len() == of && part.bytes().all(|digit| digit.is_ascii_hexdigit());
        let is_one = DIGITS.iter().all(|of| parts.next().is_some_and(holds(*of))) && parts.next().is_none();
        is_one.then(|| Self { after: Some(cursor.to_owned()), limit })
    }
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed<T> {
    /// Its rows, newest first.
    pub rows: Vec<T>,
    /// Where the next part begins; `None`: that was all.
    pub next_cursor: Option<String>,
}

/// A record's place in its list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) list: List,
    /// When it came about, RFC 3339.
    pub(crate) at: &'a str,
    /// Of what came about together the highest is first.
    pub(crate) rank: u32,
    /// The record.
    pub(crate) sort: &'a str,
}

impl Place<'_> {
    fn key(&self) -> Key {
        let at_us = DateTime::parse_from_rfc3339(self.at).map_or(0, |at| at.timestamp_micros());
        let time = LAST_US.saturating_sub(at_us).clamp(0, LAST_US);
        let rank = 999_u32.saturating_sub(self.rank);
        let name = Digest::of(self.sort.as_bytes()).to_string();
        let [times, ranks, names] = DIGITS;
        let name = name.get(..names).unwrap_or(&name);
        Key::new(self.list.entries(), format!("{time:0times$}-{rank:0ranks$}-{name}"))
    }

    /// The write that enters it, to go with the record; as long-lived as that is.
    pub(crate) fn put(&self, until_ns: Option<i64>) -> Result<Write, Refusal> {
        Ok(match until_ns {
            None => records::put(self.key(), &self.sort, Expect::Any)?,
            Some(until_ns) => records::put_until(self.key(), &self.sort, Expect::Any, until_ns)?,
        })
    }

    /// The write that takes it away; `None`: it is the place of the other one too.
    pub(crate) fn delete_unless(&self, other: Option<&Self>) -> Option<Write> {
        let key = self.key();
        let is_same = other.is_some_and(|other| other.key() == key);
        (!is_same).then_some(Write::Delete { key, expect: Expect::Any })
    }
}

impl App {
    /// A part of a list: what the caller may see and asks for.
    pub(crate) async fn listed<T: DeserializeOwned>(
        &self,
        list: List,
        window: Window,
        is_asked: impl Fn(&T) -> bool + Send,
    ) -> Result<Listed<T>, Refusal> {
        let mut rows = Vec::new();
        let mut after = window.after;
        let mut looked_at = 0_usize;
        while rows.len() < window.limit && looked_at < LOOKED_AT_MAX {
            let missing = window.limit.saturating_sub(rows.len()).min(GET_ALL_MAX);
            let page = self.books().scan(list.entries(), "", after.as_deref(), missing).await?;
            looked_at = looked_at.saturating_add(page.records.len());
            for record in self.records_of(list, &page.records).await? {
                let row: T = serde_json::from_str(&record.value)
                    .map_err(|error| Refusal::computation("read a record of a list", error))?;
                rows.extend(Some(row).filter(&is_asked));
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        Ok(Listed { rows, next_cursor: after })
    }

    /// The records of some entries; one that is gone has no place any more.
    async fn records_of(&self, list: List, entries: &[Record]) -> Result<Vec<Record>, Refusal> {
        let mut keys = Vec::with_capacity(entries.len());
        for entry in entries {
            let sort: String = serde_json::from_str(&entry.value)
                .map_err(|error| Refusal::computation("read an entry of a list", error))?;
            let key = Key::new(list.records(), sort);
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        Ok(self.books().get_all(&keys).await?.into_iter().flatten().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::{List, Place, Window};

    fn name(at: &str, rank: u32, sort: &str) -> String {
        Place { list: List::Alerts, at, rank, sort }.key().sort
    }

    #[test]
    fn what_is_newer_sorts_first_and_of_equals_the_higher_rank() {
        let names = [
            name("2026-11-10T08:00:01Z", 70, "a"),
            name("2026-11-10T08:00:00.002Z", 70, "a"),
            name("2026-11-10T08:00:00.001Z", 100, "a"),
            name("2026-11-10T08:00:00.001Z", 70, "a"),
            name("1999-11-10T08:00:00Z", 70, "a"),
        ];
        assert!(names.is_sorted(), "{names:?}");
        assert_ne!(name("2026-11-10T08:00:01Z", 70, "a"), name("2026-11-10T08:00:01Z", 70, "b"));
    }

    #[test]
    fn only_what_a_page_gave_is_a_cursor() {
        let cursor = name("2026-11-10T08:00:01Z", 70, "a");
        assert!(Window::after(&cursor, 1).is_some(), "{cursor}");
        let wrong =
            ["", "0", "100", &cursor[1..], &format!("{cursor}0"), &format!("{cursor}-0"), &cursor.replace('-', "|")];
        for wrong in wrong {
            assert_eq!(Window::after(wrong, 1), None, "{wrong}");
        }
    }
}
