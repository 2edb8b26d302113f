//! A set of effective-dated prices, checked and indexed by name.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use recoup_model::period::format_instant;
use recoup_model::{Digest, Id};
use recoup_money::Currency;
use serde::Deserialize;

use crate::entry::{EntryError, EntryText, ModelPrice, PriceEntry, Priced, UnitPrice};
use crate::shipped;

/// Effective-dated prices. At any time a name, be it a model or an alias, means one entry of its provider.
#[derive(Clone, Debug)]
pub struct Catalogue {
    entries: Vec<PriceEntry>,
    canonical: Vec<String>,
    models: BTreeMap<Id, BTreeMap<Id, Vec<Held>>>,
    skus: BTreeMap<Id, BTreeMap<Option<Id>, Vec<Held>>>,
    digest: Digest,
}

/// When a name means the entry at a place in the list.
#[derive(Clone, Copy, Debug)]
struct Held {
    from_ns: i64,
    to_ns: i64,
    place: usize,
}

/// Why a catalogue cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CatalogueError {
    /// The text is not of the format.
    #[error("{file}: {detail}; see catalogue/README.md for the format")]
    Syntax {
        /// Which file or import.
        file: String,
        /// What is wrong, with the line.
        detail: String,
    },
    /// A price cannot be used.
    #[error("{file}: the price {entry}: {problem}")]
    Entry {
        /// Which file or import.
        file: String,
        /// Which price.
        entry: String,
        /// What is wrong with it.
        problem: EntryError,
    },
    /// A name would mean two entries at one time.
    #[error(
        "{file}: `{name}` has two prices from {from}: {first} and {second}; end the first with an earlier `to`, or give the second a later `from`"
    )]
    Overlap {
        /// Which file or import.
        file: String,
        /// The model, alias or SKU.
        name: String,
        /// When the second begins.
        from: String,
        /// The earlier entry.
        first: String,
        /// The later entry.
        second: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileText {
    source: String,
    #[serde(rename = "retrieved")]
    _retrieved: NaiveDate,
    currency: Currency,
    prices: Vec<EntryText>,
}

impl Catalogue {
    /// The prices that come with this release.
    ///
    /// # Errors
    /// [`CatalogueError`]; a test of this crate holds the shipped files to the format.
    pub fn shipped() -> Result<Self, CatalogueError> {
        let mut entries = Vec::new();
        for (file, text) in shipped::FILES {
            entries.extend(read_file(file, text)?);
        }
        Self::from_entries("the shipped catalogue", entries)
    }

    /// The prices of one catalogue file.
    ///
    /// # Errors
    /// [`CatalogueError`] names the file, the price and the remedy.
    pub fn parse(file: &str, text: &str) -> Result<Self, CatalogueError> {
        Self::from_entries(file, read_file(file, text)?)
    }

    /// A catalogue of such prices; `name` is what errors call it. An entry without `to` ends where the next one of the
    /// same name begins.
    ///
    /// # Errors
    /// [`CatalogueError::Entry`] and [`CatalogueError::Overlap`].
    pub fn from_entries(name: &str, entries: Vec<PriceEntry>) -> Result<Self, CatalogueError> {
        let mut checked = Vec::with_capacity(entries.len());
        for entry in entries {
            let label = entry.label();
            checked.push(entry.checked().map_err(|problem| CatalogueError::Entry {
                file: name.to_owned(),
                entry: label,
                problem,
            })?);
        }
        checked.sort_by(|a, b| order(a).cmp(&order(b)));
        close_open_ends(&mut checked);
        let canonical = checked.iter().map(canonical_text).collect::<Result<Vec<_>, _>>();
        let canonical =
            canonical.map_err(|error| CatalogueError::Syntax { file: name.to_owned(), detail: error.to_string() })?;
        let mut catalogue = Self {
            digest: Digest::of(canonical.join("\n").as_bytes()),
            entries: checked,
            canonical,
            models: BTreeMap::new(),
            skus: BTreeMap::new(),
        };
        catalogue.index();
        catalogue.refuse_overlaps(name)?;
        Ok(catalogue)
    }

    /// All entries, in order of name and time, each with its end where it has one.
    #[must_use]
    pub fn entries(&self) -> &[PriceEntry] {
        &self.entries
    }

    /// SHA-256 over the prices; formatting, order, comments and sources do not matter.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The entry that a model's id or alias means at an instant (RAT-1).
    #[must_use]
    pub fn model(&self, provider: &str, name: &str, at_ns: i64) -> Option<(&PriceEntry, &ModelPrice)> {
        let entry = self.held(self.models.get(provider)?.get(name)?, at_ns)?;
        match &entry.priced {
            Priced::Model(price) => Some((entry, price)),
            Priced::Unit(_) => None,
        }
    }

    /// The entry of a SKU at an instant. Without a unit the SKU must be sold in one unit only.
    #[must_use]
    pub fn unit(&self, sku: &str, unit: Option<&Id>, at_ns: i64) -> Option<(&PriceEntry, &UnitPrice)> {
        let by_unit = self.skus.get(sku)?;
        let entry = match unit {
            Some(_) => self.held(by_unit.get(&unit.cloned())?, at_ns)?,
            None => {
                let mut found = by_unit.values().filter_map(|held| self.held(held, at_ns));
                let first = found.next()?;
                if found.next().is_some() {
                    return None;
                }
                first
            }
        };
        match &entry.priced {
            Priced::Unit(price) => Some((entry, price)),
            Priced::Model(_) => None,
        }
    }

    /// Every entry that a model's id or alias ever means, with its canonical text.
    pub(crate) fn all_of_model(&self, provider: &str, name: &str) -> Vec<(&PriceEntry, &str)> {
        let held = self.models.get(provider).and_then(|names| names.get(name));
        self.places(held.into_iter().flatten())
    }

    /// Every entry of a SKU, in any unit, with its canonical text.
    pub(crate) fn all_of_sku(&self, sku: &str) -> Vec<(&PriceEntry, &str)> {
        self.places(self.skus.get(sku).into_iter().flat_map(BTreeMap::values).flatten())
    }

    fn places<'a>(&'a self, held: impl Iterator<Item = &'a Held>) -> Vec<(&'a PriceEntry, &'a str)> {
        held.filter_map(|held| Some((self.entries.get(held.place)?, self.canonical.get(held.place)?.as_str())))
            .collect()
    }

    fn held(&self, held: &[Held], at_ns: i64) -> Option<&PriceEntry> {
        let after = held.partition_point(|held| held.from_ns <= at_ns);
        let last = held.get(after.checked_sub(1)?)?;
        if at_ns < last.to_ns { self.entries.get(last.place) } else { None }
    }

    fn index(&mut self) {
        for (place, entry) in self.entries.iter().enumerate() {
            let held = Held { from_ns: entry.from_ns, to_ns: entry.to_ns.unwrap_or(i64::MAX), place };
            match &entry.priced {
                Priced::Model(price) => {
                    let names = self.models.entry(Id::clone(&price.provider)).or_default();
                    for name in price.aliases.iter().chain([&price.model]) {
                        names.entry(Id::clone(name)).or_default().push(held);
                    }
                }
                Priced::Unit(price) => {
                    let units = self.skus.entry(Id::clone(&price.sku)).or_default();
                    units.entry(price.unit.clone()).or_default().push(held);
                }
            }
        }
        let of_models = self.models.values_mut().flat_map(BTreeMap::values_mut);
        let of_skus = self.skus.values_mut().flat_map(BTreeMap::values_mut);
        of_models.chain(of_skus).for_each(|held| held.sort_by_key(|held| (held.from_ns, held.place)));
    }

    fn refuse_overlaps(&self, file: &str) -> Result<(), CatalogueError> {
        let of_models = self.models.values().flatten();
        let of_skus = self.skus.iter().flat_map(|(sku, units)| units.values().map(move |held| (sku, held)));
        for (name, held) in of_models.chain(of_skus) {
            for (first, second) in held.iter().zip(held.iter().skip(1)) {
                if second.from_ns < first.to_ns {
                    let label = |held: &Held| self.entries.get(held.place).map(PriceEntry::label).unwrap_or_default();
                    return Err(CatalogueError::Overlap {
                        file: file.to_owned(),
                        name: name.to_string(),
                        from: format_instant(second.from_ns),
                        first: label(first),
                        second: label(second),
                    });
                }
            }
        }
        Ok(())
    }
}

fn read_file(file: &str, text: &str) -> Result<Vec<PriceEntry>, CatalogueError> {
    let parsed: FileText = toml::from_str(text)
        .map_err(|error| CatalogueError::Syntax { file: file.to_owned(), detail: error.to_string() })?;
    let complete = |mut entry: EntryText| {
        entry.currency.get_or_insert(parsed.currency);
        entry.source.get_or_insert_with(|| parsed.source.clone());
        let label = entry.label();
        PriceEntry::try_from(entry).map_err(|problem| CatalogueError::Entry {
            file: file.to_owned(),
            entry: label,
            problem,
        })
    };
    parsed.prices.into_iter().map(complete).collect()
}

/// The name of an entry: provider and model, or SKU and unit.
fn name_of(entry: &PriceEntry) -> (u8, Option<&Id>, Option<&Id>) {
    match &entry.priced {
        Priced::Model(price) => (0, Some(&price.provider), Some(&price.model)),
        Priced::Unit(price) => (1, Some(&price.sku), price.unit.as_ref()),
    }
}

fn order(entry: &PriceEntry) -> ((u8, Option<&Id>, Option<&Id>), i64) {
    (name_of(entry), entry.from_ns)
}

/// Ends each entry without `to` where the next of the same name begins. The entries are in order. Two that begin
/// together stay as they are and are refused as an overlap.
fn close_open_ends(entries: &mut [PriceEntry]) {
    for next in 1..entries.len() {
        let (earlier, later) = entries.split_at_mut(next);
        if let (Some(entry), Some(after)) = (earlier.last_mut(), later.first())
            && name_of(entry) == name_of(after)
            && entry.to_ns.is_none()
            && entry.from_ns < after.from_ns
        {
            entry.to_ns = Some(after.from_ns);
        }
    }
}

/// The text of an entry that digests are taken of: without its source, which prices nothing.
fn canonical_text(entry: &PriceEntry) -> Result<String, serde_json::Error> {
    serde_json::to_string(&PriceEntry { source: None, ..entry.clone() })
}
