//! The catalogue that comes with a release, kept in the books as numbered versions: what a month was closed with is there
//! when a later release recomputes it (RAT-3, LED-4).
//!
//! I/O: one record per release whose catalogue differs, its entries beside it; they are read only where a closed month was
//! made with another catalogue than this release has.

use std::sync::Arc;

use recoup_model::Digest;
use recoup_pricing::{Catalogue, PriceEntry};
use recoup_store::{Expect, Key};
use serde::{Deserialize, Serialize};

use crate::app::{App, World};
use crate::catalogue::ImportRecord;
use crate::close::PeriodRecord;
use crate::error::Refusal;
use crate::records;

/// The partition of versions.
const SHIPPED: &str = "catalogue-shipped";

/// A version of the shipped catalogue.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ShippedRecord {
    /// From 1.
    pub number: u32,
    /// Digest of its entries.
    pub digest: Digest,
    /// The release that brought it.
    pub release: String,
    /// When it was first used here, RFC 3339.
    pub first_used_at: String,
    /// How many entries.
    pub entries: u64,
}

/// Entries lie under their number and digest, so that what a crash left behind is no part of the next.
fn entries_partition(number: u32, digest: Digest) -> String {
    format!("catalogue-shipped-entries/{number:06}/{digest}")
}

/// What a closed month prices its events with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Known<'a> {
    /// What was known at the close, and nothing else: a statement is recomputed to the byte.
    AtTheClose,
    /// That first. What came later only prices what had no price then: its cost becomes a correction (RAT-2, LED-4).
    Since,
    /// The same, as far as it had come when a later month was closed.
    By(&'a PeriodRecord),
}

impl App {
    /// Keeps the catalogue of this release in the books, unless it is there.
    pub(crate) async fn keep_shipped(&self) -> Result<(), Refusal> {
        let earlier = self.shipped_versions().await?;
        let digest = self.shipped()?.digest();
        if earlier.iter().any(|version| version.digest == digest) {
            return Ok(());
        }
        let number = u32::try_from(earlier.len()).unwrap_or(u32::MAX).saturating_add(1);
        let entries = self.shipped()?.entries();
        let record = ShippedRecord {
            number,
            digest,
            release: env!("CARGO_PKG_VERSION").to_owned(),
            first_used_at: self.now_text(),
            entries: u64::try_from(entries.len()).unwrap_or(u64::MAX),
        };
        let puts = records::list_puts(&entries_partition(number, digest), "", entries.iter())?;
        records::write_in_groups(self.books(), puts).await?;
        let key = Key::new(SHIPPED, format!("{number:06}"));
        Ok(self.books().write(vec![records::put(key, &record, Expect::Absent)?]).await?)
    }

    /// Every version of the shipped catalogue that was used here, oldest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn shipped_versions(&self) -> Result<Vec<ShippedRecord>, Refusal> {
        let rows = records::all::<ShippedRecord>(self.books(), SHIPPED, "").await?;
        Ok(rows.into_iter().map(|(_, record, _)| record).collect())
    }

    async fn shipped_of(&self, record: &ShippedRecord) -> Result<Arc<Catalogue>, Refusal> {
        if record.digest == self.shipped()?.digest() {
            return Ok(Arc::clone(self.shipped()?));
        }
        let partition = entries_partition(record.number, record.digest);
        let entries: Vec<PriceEntry> = records::list(self.books(), &partition, "").await?;
        let name = format!("the shipped catalogue of release {}", record.release);
        let damaged = |detail: String| Refusal::computation("read the shipped catalogue of an earlier release", detail);
        let catalogue = Catalogue::from_entries(&name, entries).map_err(|error| damaged(error.to_string()))?;
        if catalogue.digest() != record.digest {
            return Err(damaged(format!("the entries of version {} are not those that were kept", record.number)));
        }
        Ok(Arc::new(catalogue))
    }

    /// The catalogues of a closed month, in layers in order of precedence: the shipped one, the lists that were imported by the
    /// close, then each that came later by itself, as it prices only what had no price.
    pub(crate) async fn catalogues_of(
        &self,
        world: &World,
        closed: &PeriodRecord,
        known: Known<'_>,
    ) -> Result<Vec<Vec<Arc<Catalogue>>>, Refusal> {
        let current = self.shipped()?.digest();
        let digest = closed.shipped.unwrap_or(current);
        let (imports, latest) = match known {
            Known::AtTheClose => (closed.imports, digest),
            Known::By(later) => (later.imports, later.shipped.unwrap_or(current)),
            Known::Since => (usize::MAX, current),
        };
        if digest == current && latest == current {
            return Ok(in_layers(self.shipped()?, world, (closed.imports, imports)));
        }
        let versions = self.shipped_versions().await?;
        let at_the_close = versions.iter().find(|version| version.digest == digest).ok_or_else(|| {
            let detail = format!("{} was closed with the shipped catalogue {digest}, which is gone", closed.period);
            Refusal::computation("price a closed month", detail)
        })?;
        let shipped = self.shipped_of(at_the_close).await?;
        let mut catalogues = in_layers(&shipped, world, (closed.imports, closed.imports));
        let number =
            versions.iter().find(|version| version.digest == latest).map_or(u32::MAX, |version| version.number);
        let later = self.later_catalogues(world, closed, (at_the_close, &shipped)).await?;
        let came = later.into_iter().filter(|one| one.import.map_or(one.number <= number, |import| import < imports));
        catalogues.extend(came.map(|one| vec![one.catalogue]));
        Ok(catalogues)
    }

    /// What came after a close, in the order in which it came: price lists, and of shipped catalogues the entries that the
    /// one of the close does not have.
    async fn later_catalogues(
        &self,
        world: &World,
        closed: &PeriodRecord,
        (at_the_close, shipped): (&ShippedRecord, &Catalogue),
    ) -> Result<Vec<Later>, Refusal> {
        let imports: Vec<ImportRecord> = self.imports().await?;
        let lists = imports.into_iter().zip(world.imported()).enumerate().skip(closed.imports);
        let mut later: Vec<Later> = lists
            .map(|(at, (import, list))| Later {
                since: import.imported_at,
                import: Some(at),
                number: 0,
                catalogue: Arc::clone(list),
            })
            .collect();
        for version in self.shipped_versions().await?.into_iter().filter(|one| one.number > at_the_close.number) {
            let newer = self.shipped_of(&version).await?;
            let name = format!("what release {} added", version.release);
            let added = Catalogue::from_entries(&name, added_entries(shipped, &newer))
                .map_err(|error| Refusal::computation("compare two shipped catalogues", error))?;
            let (since, number) = (version.first_used_at, version.number);
            later.push(Later { since, import: None, number, catalogue: Arc::new(added) });
        }
        later.sort_by(|a, b| a.since.cmp(&b.since));
        Ok(later)
    }
}

/// A shipped catalogue, the lists imported by a close, and each of those up to another number that came later.
fn in_layers(
    shipped: &Arc<Catalogue>,
    world: &World,
    (by_the_close, until): (usize, usize),
) -> Vec<Vec<Arc<Catalogue>>> {
    let imported = world.imported();
    let (known, later) = imported.split_at(by_the_close.min(imported.len()));
    let later = later.iter().take(until.saturating_sub(by_the_close)).map(|list| vec![Arc::clone(list)]);
    [vec![Arc::clone(shipped)], known.to_vec()].into_iter().chain(later).collect()
}

/// Prices that came after a close.
struct Later {
    /// When they were first known, RFC 3339.
    since: String,
    /// Which import it is, from 0; `None`: a shipped catalogue,
    import: Option<usize>,
    /// of this number.
    number: u32,
    catalogue: Arc<Catalogue>,
}

/// The entries that the older of two catalogues does not have. Where a price was found does not matter.
fn added_entries(older: &Catalogue, newer: &Catalogue) -> Vec<PriceEntry> {
    let bare = |entry: &PriceEntry| PriceEntry { source: None, ..entry.clone() };
    let known: Vec<PriceEntry> = older.entries().iter().map(bare).collect();
    newer.entries().iter().filter(|entry| !known.contains(&bare(entry))).cloned().collect()
}
