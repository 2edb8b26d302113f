//! Imported price lists beside the shipped catalogue.

use std::sync::Arc;

use chrono::NaiveDate;
use recoup_model::Digest;
use recoup_pricing::litellm::{self, NotUnderstood};
use recoup_pricing::{Catalogue, Compared, Disagreement, PriceEntry, Priced, Tier};
use recoup_store::{Books, Expect, Key};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::access::Principal;
use crate::app::App;
use crate::error::Refusal;
use crate::records;

/// The partition of imports.
const CATALOGUE: &str = "catalogue";
/// Bytes of an imported price list.
pub const IMPORT_BYTES_MAX: usize = 32 * 1024 * 1024;

/// An import in a list.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ImportRecord {
    /// From 1.
    pub number: u32,
    /// Where the file came from, in the importer's words.
    pub source: String,
    /// When it was imported, RFC 3339.
    pub imported_at: String,
    /// Digest of its entries.
    pub digest: Digest,
    /// How many entries.
    pub entries: u64,
}

/// What an import did, or would do.
#[derive(Clone, Debug, Serialize)]
pub struct Imported {
    /// The import, where it was kept.
    pub import: Option<ImportRecord>,
    /// Entries that were read.
    pub entries: u64,
    /// Price fields that were understood.
    pub understood: u64,
    /// What was not understood, and why.
    pub not_understood: Vec<Value>,
    /// Where it disagrees with the catalogue in force, which wins.
    pub disagreements: Vec<Value>,
}

/// Whether a provider, model, alias or SKU of an entry contains a text.
fn names(entry: &PriceEntry, text: &str) -> bool {
    match &entry.priced {
        Priced::Model(price) => {
            let name = format!("{}/{}", price.provider, price.model);
            name.contains(text) || price.aliases.iter().any(|alias| alias.contains(text))
        }
        Priced::Unit(price) => price.sku.contains(text),
    }
}

fn not_understood_json(one: &NotUnderstood) -> Value {
    json!({ "model": one.model, "field": one.field, "reason": one.reason })
}

fn disagreement_json(one: &Disagreement) -> Value {
    let what = match one.what {
        Compared::Rate(class) => class.name().to_owned(),
        Compared::LongRate(class) => format!("{} above the threshold", class.name()),
        Compared::Threshold => "threshold".to_owned(),
    };
    json!({
        "provider": one.provider, "model": one.model, "tier": one.tier.map(Tier::name).unwrap_or("standard"),
        "what": what, "ours": one.ours, "theirs": one.theirs,
    })
}

/// Rows of an import lie under its number and digest, so that what a crash left behind is no part of the next.
fn entries_partition(number: u32, digest: Digest) -> String {
    format!("catalogue-entries/{number:06}/{digest}")
}

/// Every imported catalogue, oldest first.
pub(crate) async fn load(books: &dyn Books) -> Result<Vec<Arc<Catalogue>>, Refusal> {
    let mut catalogues = Vec::new();
    for (_, import, _) in records::all::<ImportRecord>(books, CATALOGUE, "").await? {
        let entries: Vec<PriceEntry> =
            records::list(books, &entries_partition(import.number, import.digest), "").await?;
        let catalogue = Catalogue::from_entries(&import.source, entries)
            .map_err(|error| Refusal::computation("read an imported price list", error))?;
        catalogues.push(Arc::new(catalogue));
    }
    Ok(catalogues)
}

impl App {
    /// Reads LiteLLM's `model_prices_and_context_window.json`; keeps it unless `dry_run`. Prices hold from `from`.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`]; a file that cannot be read at all, or of which nothing is understood.
    pub async fn import_prices(
        &self,
        principal: &Principal,
        text: &str,
        source: &str,
        (from, dry_run): (NaiveDate, bool),
    ) -> Result<Imported, Refusal> {
        principal.may_run()?;
        if text.len() > IMPORT_BYTES_MAX {
            return Err(Refusal::TooLarge(format!("the price list has more than {IMPORT_BYTES_MAX} bytes")));
        }
        let read = litellm::read(text, from).map_err(|error| {
            Refusal::invalid("invalid-price-list", "body", format!("the price list cannot be read: {error}"))
        })?;
        if read.entries.is_empty() && !dry_run {
            let detail = "no price in the list is understood, so that there is nothing to keep; send \
                          model_prices_and_context_window.json of LiteLLM, or see why with `dry_run`";
            return Err(Refusal::invalid("invalid-price-list", "body", detail));
        }
        let theirs = Catalogue::from_entries(source, read.entries.clone())
            .map_err(|error| Refusal::invalid("invalid-price-list", "body", error.to_string()))?;
        let disagreements = recoup_pricing::check(self.shipped()?, &theirs, self.now_ns());
        let entries = u64::try_from(read.entries.len()).unwrap_or(u64::MAX);
        let import =
            if dry_run { None } else { Some(self.keep_import(principal, &theirs, (read.entries, source)).await?) };
        Ok(Imported {
            import,
            entries,
            understood: u64::try_from(read.understood).unwrap_or(u64::MAX),
            not_understood: read.not_understood.iter().map(not_understood_json).collect(),
            disagreements: disagreements.iter().map(disagreement_json).collect(),
        })
    }

    async fn keep_import(
        &self,
        principal: &Principal,
        catalogue: &Catalogue,
        (entries, source): (Vec<PriceEntry>, &str),
    ) -> Result<ImportRecord, Refusal> {
        let earlier = records::all::<ImportRecord>(self.books(), CATALOGUE, "").await?;
        let digest = catalogue.digest();
        if let Some((_, same, _)) = earlier.iter().find(|(_, import, _)| import.digest == digest) {
            return Ok(same.clone());
        }
        let number = u32::try_from(earlier.len()).unwrap_or(u32::MAX).saturating_add(1);
        let import = ImportRecord {
            number,
            source: source.to_owned(),
            imported_at: self.now_text(),
            digest,
            entries: u64::try_from(entries.len()).unwrap_or(u64::MAX),
        };
        let puts = records::list_puts(&entries_partition(number, digest), "", entries)?;
        records::write_in_groups(self.books(), puts).await?;
        let key = Key::new(CATALOGUE, format!("{number:06}"));
        let detail = json!({ "source": source, "entries": import.entries, "digest": digest });
        let audit = self.audit_put(principal, "prices-imported", &number.to_string(), detail)?;
        self.books().write(vec![records::put(key, &import, Expect::Absent)?, audit]).await?;
        self.forget_world();
        Ok(import)
    }

    /// Every import, oldest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn imports(&self) -> Result<Vec<ImportRecord>, Refusal> {
        Ok(records::all::<ImportRecord>(self.books(), CATALOGUE, "").await?.into_iter().map(|(_, i, _)| i).collect())
    }

    /// Entries of the shipped catalogue and of imports whose provider, model or SKU contains `text`, in order.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn price_entries(&self, text: Option<&str>) -> Result<Vec<PriceEntry>, Refusal> {
        let mut catalogues = vec![Arc::clone(self.shipped()?)];
        catalogues.extend(load(self.books()).await?);
        let wanted = |entry: &&PriceEntry| text.is_none_or(|text| names(entry, text));
        Ok(catalogues.iter().flat_map(|catalogue| catalogue.entries().iter()).filter(wanted).cloned().collect())
    }
}
