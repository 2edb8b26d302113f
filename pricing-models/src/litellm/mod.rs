//! Imports LiteLLM's `model_prices_and_context_window.json`.
//!
//! Prices are taken from the text of the numbers, never through a float. LiteLLM computes some of them in floats
//! (`3.0001999999999996E-7`), so a rate per million tokens is rounded half to even at 12 fraction digits (MON-1).
//! What our format cannot say is not guessed: the field is listed with its reason, and where the fields that can be said
//! would price some requests wrongly without it, the whole model is left out and stays unpriced (RAT-2).

mod fields;
mod model;
mod providers;

use std::borrow::Cow;
use std::collections::BTreeMap;

use chrono::{NaiveDate, NaiveTime};
use recoup_model::Id;
use serde_json::value::RawValue;

use crate::entry::PriceEntry;

/// What an import gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// Prices in order of provider and model, from 00:00 UTC of the day the file was retrieved.
    pub entries: Vec<PriceEntry>,
    /// How many price fields are carried over.
    pub understood: usize,
    /// The price fields that are not, in order of model and field.
    pub not_understood: Vec<NotUnderstood>,
}

/// A field that is not carried over.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NotUnderstood {
    /// The model, as LiteLLM calls it.
    pub model: String,
    /// The field.
    pub field: String,
    /// Why.
    pub reason: Cow<'static, str>,
}

/// Why nothing was imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It is not the expected JSON.
    #[error("the text is not LiteLLM's price map, a JSON object of models; pass model_prices_and_context_window.json")]
    Syntax(#[source] serde_json::Error),
    /// The date does not fit.
    #[error("`retrieved` {0} is out of range; pass the date on which the file was retrieved")]
    Date(NaiveDate),
}

/// Keys of the file that are no models.
const NOT_MODELS: &[&str] = &["fallback_generalizations", "sample_spec"];
const NO_PROVIDER: &str = "is missing, so the model has no provider";
const AMBIGUOUS: &str = "two keys name this model of this provider with different prices";

pub(crate) type Fields<'a> = BTreeMap<Cow<'a, str>, &'a RawValue>;

/// Reads the whole file. LiteLLM dates nothing: the prices are known to hold from `retrieved`.
///
/// # Errors
/// [`ImportError`] when the text is no JSON object of objects.
pub fn read(text: &str, retrieved: NaiveDate) -> Result<Import, ImportError> {
    let from = retrieved.and_time(NaiveTime::MIN).and_utc().timestamp_nanos_opt();
    let from_ns = from.ok_or(ImportError::Date(retrieved))?;
    let models: BTreeMap<Cow<'_, str>, Fields<'_>> = serde_json::from_str(text).map_err(ImportError::Syntax)?;
    let mut names: BTreeMap<(Id, Id), Vec<model::Model>> = BTreeMap::new();
    let mut not_understood = Vec::new();
    for (key, fields) in models.iter().filter(|(key, _)| !NOT_MODELS.contains(&&***key)) {
        let Some(provider) =
            fields.get("litellm_provider").and_then(|raw| serde_json::from_str::<&str>(raw.get()).ok())
        else {
            not_understood.push(not_carried(key, "litellm_provider", NO_PROVIDER));
            continue;
        };
        let name = (Id::from(providers::provider(provider)), Id::from(providers::model(provider, key)));
        let (model, refused) = model::read(key, fields);
        not_understood.extend(refused);
        names.entry(name).or_default().extend(model);
    }
    let mut import = Import { entries: Vec::new(), understood: 0, not_understood };
    for (name, models) in names {
        import.merge(name, &models, from_ns);
    }
    import.not_understood.sort();
    Ok(import)
}

fn not_carried(model: &str, field: &str, reason: impl Into<Cow<'static, str>>) -> NotUnderstood {
    NotUnderstood { model: model.to_owned(), field: field.to_owned(), reason: reason.into() }
}

impl Import {
    /// Joins what the keys of a model say; where two contradict each other nobody can tell which one holds.
    fn merge(&mut self, name: (Id, Id), models: &[model::Model], from_ns: i64) {
        let Some((first, others)) = models.split_first() else { return };
        if let Some(joined) = others.iter().try_fold(first.clone(), model::Model::joined) {
            self.understood = models.iter().fold(self.understood, |sum, model| sum.saturating_add(model.fields.len()));
            self.entries.push(joined.to_entry(name, from_ns));
            return;
        }
        for model in models {
            self.not_understood.extend(model.fields.iter().map(|field| not_carried(&model.key, field, AMBIGUOUS)));
        }
    }
}
