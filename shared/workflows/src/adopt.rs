//! Records that an earlier release has left, without a place in a list or without an end: each look adopts some of them, until
//! there are none. How far it has come stands in the books; beginning again changes nothing. While a release is deployed the
//! earlier one still writes: an hour after the first pass a second one finds what it has left.

use std::sync::atomic::Ordering;

use recoup_store::{Expect, Key, Record, Write, WriteError, causes};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::alerts::TOLD;
use crate::app::App;
use crate::authorize::limits::Extension;
use crate::error::Refusal;
use crate::lists::List;
use crate::lives::{DELIVERY_DAYS, FORM_DAYS, PRESS_DAYS, end_of};
use crate::notify::{Delivery, FORMS, PRESSES, THREADS};
use crate::records;
use crate::reviews::Review;
use crate::watch::AlertRecord;

/// Records adopted by one look.
const ADOPTED_MAX: usize = 200;
/// Writes of one group; what is too large together is written one by one.
const GROUP_MAX: usize = 50;
/// How often everything is gone through.
const PASSES: usize = 2;
/// How long after a pass the next one begins: no process of the earlier release is left then.
const BETWEEN_NS: i64 = 3_600 * 1_000_000_000;
/// The partitions, in the order in which they are gone through: what people are waited for first, what there is most of later.
const PARTITIONS: [&str; 8] = [
    List::Extensions.records(),
    List::Reviews.records(),
    List::Alerts.records(),
    List::Deliveries.records(),
    TOLD,
    FORMS,
    PRESSES,
    THREADS,
];

/// Of these the first ones, which lists are made of; a later pass looks at them alone.
const LISTED: usize = 4;

/// How far it has come.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Adopted {
    /// Passes that are over.
    #[serde(default)]
    passes: usize,
    /// When the next one may begin, nanoseconds since 1970.
    #[serde(default)]
    not_before_ns: i64,
    partitions: usize,
    after: Option<String>,
}

impl Adopted {
    const fn is_over(&self) -> bool {
        self.passes >= PASSES
    }

    const fn goes_on(&self, now_ns: i64) -> bool {
        !self.is_over() && now_ns >= self.not_before_ns
    }

    fn after_page(self, next: Option<String>) -> Self {
        match next {
            Some(next) => Self { after: Some(next), ..self },
            None => Self { partitions: self.partitions.saturating_add(1), after: None, ..self },
        }
    }

    fn after_pass(self, now_ns: i64) -> Self {
        let not_before_ns = now_ns.saturating_add(BETWEEN_NS);
        Self { passes: self.passes.saturating_add(1), not_before_ns, partitions: 0, after: None }
    }
}

fn adopted_key() -> Key {
    Key::new("state", "adopted")
}

fn read<T: DeserializeOwned>(record: &Record) -> Result<T, Refusal> {
    serde_json::from_str(&record.value)
        .map_err(|error| Refusal::computation("read a record of an earlier release", error))
}

/// The same record with an end.
fn ending(record: &Record, until_ns: i64) -> Write {
    Write::Put {
        key: record.key.clone(),
        value: record.value.clone(),
        expect: Expect::Version(record.version),
        until_s: Some(until_ns.div_euclid(1_000_000_000)),
    }
}

impl App {
    /// Adopts some of the records that are left.
    pub(crate) async fn adopt_records(&self) -> Result<(), Refusal> {
        if self.adopted.load(Ordering::Relaxed) {
            return Ok(());
        }
        let known = records::get::<Adopted>(self.books(), &adopted_key()).await?;
        let before = known.map(|(adopted, _)| adopted).unwrap_or_default();
        let (mut adopted, now_ns) = (before.clone(), self.now_ns());
        let mut left = ADOPTED_MAX;
        while left > 0 && adopted.goes_on(now_ns) {
            let partitions = if adopted.passes == 0 { PARTITIONS.len() } else { LISTED };
            let Some(partition) = PARTITIONS.get(adopted.partitions).filter(|_| adopted.partitions < partitions) else {
                adopted = adopted.after_pass(now_ns);
                continue;
            };
            let page = self.books().scan(partition, "", adopted.after.as_deref(), left).await?;
            left = left.saturating_sub(page.records.len());
            self.adopt(partition, &page.records, now_ns).await?;
            adopted = adopted.after_page(page.next);
        }
        if adopted != before {
            self.books().write(vec![records::put(adopted_key(), &adopted, Expect::Any)?]).await?;
        }
        self.adopted.store(adopted.is_over(), Ordering::Relaxed);
        Ok(())
    }

    async fn adopt(&self, partition: &str, found: &[Record], from_ns: i64) -> Result<(), Refusal> {
        let (mut entries, mut ends) = (Vec::new(), Vec::new());
        for record in found {
            match self.adoption(partition, record, from_ns) {
                Ok((of_lists, end)) => {
                    entries.extend(of_lists);
                    ends.extend(end);
                }
                // What nobody can read is in no list, and holds nothing else up.
                Err(error) => {
                    tracing::error!(partition, record = record.key.sort, error = causes(&error), "it is not adopted")
                }
            }
        }
        for group in entries.chunks(GROUP_MAX).chain(ends.chunks(GROUP_MAX)) {
            match self.books().write(group.to_vec()).await {
                Ok(()) => {}
                Err(WriteError::Conflict(_) | WriteError::TooLarge(_)) => self.write_each(group).await?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Of records that others change meanwhile those writers say how long they are kept.
    async fn write_each(&self, group: &[Write]) -> Result<(), Refusal> {
        for write in group {
            match self.books().write(vec![write.clone()]).await {
                Ok(()) | Err(WriteError::Conflict(_)) => {}
                Err(error @ WriteError::TooLarge(_)) => {
                    let Key { partition, sort } = write.key();
                    tracing::error!(partition, record = sort, error = causes(&error), "it is not adopted");
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// The entries that a record lacks, and the record with its end.
    fn adoption(&self, partition: &str, record: &Record, from_ns: i64) -> Result<(Vec<Write>, Option<Write>), Refusal> {
        let sort = &record.key.sort;
        Ok(if partition == List::Alerts.records() {
            (vec![read::<AlertRecord>(record)?.place().put(None)?], None)
        } else if partition == List::Reviews.records() {
            (vec![read::<Review>(record)?.place().put(None)?], None)
        } else if partition == List::Extensions.records() {
            (read::<Extension>(record)?.entries()?.to_vec(), None)
        } else if partition == List::Deliveries.records() {
            let delivery: Delivery = read(record)?;
            (vec![delivery.place_put(sort)?], Some(ending(record, delivery.until_ns())))
        } else if partition == TOLD {
            (Vec::new(), self.told_until_ns(sort).map(|until_ns| ending(record, until_ns)))
        } else {
            let days = match partition {
                FORMS => FORM_DAYS,
                PRESSES => PRESS_DAYS,
                _ => DELIVERY_DAYS,
            };
            (Vec::new(), Some(ending(record, end_of(from_ns, days))))
        })
    }
}
