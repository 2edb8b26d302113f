//! One price with the time it holds: the value, and the one text form it has in files, in the store and over HTTP.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, NaiveTime};
use recoup_model::period::format_instant;
use recoup_model::{Id, TokenClass};
use recoup_money::{Amount, Currency};
use serde::{Deserialize, Serialize};

/// Rates per million tokens by class, as written: without the rules that supply a missing one.
pub type Rates = BTreeMap<TokenClass, Amount>;

/// A price and the time it holds.
///
/// Its text form (TOML in the catalogue, JSON in the store) is the one of the organisation file's `[[prices]]`, with
/// `aliases`, `source` and, unless the file states it once, `currency`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "EntryText", into = "EntryText")]
pub struct PriceEntry {
    /// What is priced, and how.
    pub priced: Priced,
    /// In force from this instant, nanoseconds since 1970-01-01T00:00:00Z.
    pub from_ns: i64,
    /// Until this instant, exclusive; `None`: until the next entry of the same name, else for good.
    pub to_ns: Option<i64>,
    /// Currency of the rates.
    pub currency: Currency,
    /// Page that publishes the price; prices nothing and enters no digest.
    pub source: Option<String>,
}

/// What an entry prices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Priced {
    /// Tokens of a model.
    Model(ModelPrice),
    /// Units of a SKU.
    Unit(UnitPrice),
}

/// Token rates of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelPrice {
    /// Who sells it (OpenTelemetry `gen_ai.provider.name`).
    pub provider: Id,
    /// Which model.
    pub model: Id,
    /// Other ids of the same model at the same provider, in order.
    pub aliases: Vec<Id>,
    /// Rates of the standard tier.
    pub standard: RateTable,
    /// Rates of the other tiers.
    pub tiers: BTreeMap<Tier, RateTable>,
}

/// Rates of one tier.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateTable {
    /// Up to the threshold.
    pub per_million: Rates,
    /// Above it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub long_context: Option<LongContext>,
}

/// Rates above a context threshold (RAT-1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LongContext {
    /// More context tokens than this.
    pub above: u64,
    /// Rates of all tokens of such a request.
    pub per_million: Rates,
}

/// Price of a SKU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitPrice {
    /// Which SKU.
    pub sku: Id,
    /// Of what. Without one it prices only quantities that state no unit.
    pub unit: Option<Id>,
    /// Per unit.
    pub price: Amount,
}

/// A service tier other than standard (RAT-1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// Answered within a day.
    Batch,
    /// Answered when there is room.
    Flex,
    /// Answered first.
    Priority,
}

impl Tier {
    /// Every tier.
    pub const ALL: [Self; 3] = [Self::Batch, Self::Flex, Self::Priority];

    /// The name in the contract.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Batch => "batch",
            Self::Flex => "flex",
            Self::Priority => "priority",
        }
    }

    /// The tier of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tier| tier.name() == name)
    }
}

/// The rate of a class: as written, else the one that RAT-1 supplies (input for cache classes, output for reasoning).
#[must_use]
pub fn rate_of(rates: &Rates, class: TokenClass) -> Option<Amount> {
    let supplied = match class {
        TokenClass::CacheRead | TokenClass::CacheWrite5m | TokenClass::CacheWrite1h => Some(TokenClass::Input),
        TokenClass::Reasoning => Some(TokenClass::Output),
        _ => None,
    };
    rates.get(&class).or_else(|| rates.get(&supplied?)).copied()
}

/// Why a price cannot be used. Each says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Neither or both kinds.
    #[error("has neither `provider` and `model` nor `sku`, or both; name one kind")]
    Kind,
    /// A model without rates.
    #[error("`{0}` has no rate; write per_million = {{ input = \"..\", output = \"..\" }}")]
    NoRates(String),
    /// A SKU without a price.
    #[error("`price` is missing; write the price of one unit as a decimal string")]
    NoPrice,
    /// A key that belongs to the other kind.
    #[error("`{0}` does not belong to a {1} price; remove it")]
    Misplaced(&'static str, &'static str),
    /// A negative price.
    #[error("`{0}` is negative; write a price of 0 or more")]
    Negative(String),
    /// An empty name.
    #[error("`{0}` is empty; write a name or leave the key out")]
    Empty(&'static str),
    /// A text that is no time.
    #[error("`{0}` is `{1}`, which is no time; write 2026-10-01 (00:00 UTC) or 2026-10-01T08:00:00Z")]
    Time(&'static str, String),
    /// It ends before it starts.
    #[error("`to` is not after `from`; write a later `to` or leave it out")]
    Backwards,
    /// No currency.
    #[error("`currency` is missing; write the currency of the price, such as \"USD\"")]
    NoCurrency,
    /// An alias twice, or the model's own name.
    #[error("`aliases` names `{0}` twice or repeats the model; remove it there")]
    Alias(String),
    /// A class that does not exist.
    #[error(
        "`{0}` is no token class; use one of input, cache_read, cache_write_5m, cache_write_1h, output, reasoning, audio_input, audio_output, image_input, image_output"
    )]
    Class(String),
    /// A tier that does not exist.
    #[error("`{0}` is no service tier; use batch, flex or priority (standard rates stand in `per_million`)")]
    Tier(String),
}

/// The text form.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EntryText {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    provider: Option<Id>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    model: Option<Id>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    aliases: Vec<Id>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sku: Option<Id>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unit: Option<Id>,
    from: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) currency: Option<Currency>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    price: Option<Amount>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    per_million: Rates,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    long_context: Option<LongContext>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    tiers: BTreeMap<Tier, RateTable>,
}

impl EntryText {
    /// What a reader calls the entry.
    pub(crate) fn label(&self) -> String {
        let text = |id: &Option<Id>| id.as_deref().unwrap_or("?").to_owned();
        match &self.sku {
            Some(sku) => format!("{sku} from {}", self.from),
            None => format!("{}/{} from {}", text(&self.provider), text(&self.model), self.from),
        }
    }

    fn into_model(self, provider: Id, model: Id) -> Result<ModelPrice, EntryError> {
        if self.unit.is_some() || self.price.is_some() {
            let key = if self.unit.is_some() { "unit" } else { "price" };
            return Err(EntryError::Misplaced(key, "model"));
        }
        let mut aliases = self.aliases;
        aliases.sort();
        let mut names = aliases.iter().zip(aliases.iter().skip(1));
        if let Some((twice, _)) = names.find(|(a, b)| a == b) {
            return Err(EntryError::Alias(twice.to_string()));
        }
        if aliases.contains(&model) {
            return Err(EntryError::Alias(model.to_string()));
        }
        let standard = RateTable { per_million: self.per_million, long_context: self.long_context };
        Ok(ModelPrice { provider, model, aliases, standard, tiers: self.tiers })
    }

    fn into_unit(self, sku: Id) -> Result<UnitPrice, EntryError> {
        let misplaced = [
            ("aliases", !self.aliases.is_empty()),
            ("per_million", !self.per_million.is_empty()),
            ("long_context", self.long_context.is_some()),
            ("tiers", !self.tiers.is_empty()),
        ];
        if let Some((key, _)) = misplaced.into_iter().find(|(_, present)| *present) {
            return Err(EntryError::Misplaced(key, "sku"));
        }
        Ok(UnitPrice { sku, unit: self.unit, price: self.price.ok_or(EntryError::NoPrice)? })
    }
}

impl TryFrom<EntryText> for PriceEntry {
    type Error = EntryError;

    fn try_from(mut text: EntryText) -> Result<Self, EntryError> {
        let from_ns = instant("from", &text.from)?;
        let to_ns = text.to.as_deref().map(|to| instant("to", to)).transpose()?;
        let currency = text.currency.ok_or(EntryError::NoCurrency)?;
        let source = text.source.take();
        let priced = match (text.provider.take(), text.model.take(), text.sku.take()) {
            (Some(provider), Some(model), None) => Priced::Model(text.into_model(provider, model)?),
            (None, None, Some(sku)) => Priced::Unit(text.into_unit(sku)?),
            _ => return Err(EntryError::Kind),
        };
        Self { priced, from_ns, to_ns, currency, source }.checked()
    }
}

impl From<PriceEntry> for EntryText {
    fn from(entry: PriceEntry) -> Self {
        let mut text = Self {
            provider: None,
            model: None,
            aliases: Vec::new(),
            sku: None,
            unit: None,
            from: format_instant(entry.from_ns),
            to: entry.to_ns.map(format_instant),
            currency: Some(entry.currency),
            source: entry.source,
            price: None,
            per_million: Rates::new(),
            long_context: None,
            tiers: BTreeMap::new(),
        };
        match entry.priced {
            Priced::Model(model) => {
                (text.provider, text.model) = (Some(model.provider), Some(model.model));
                (text.aliases, text.tiers) = (model.aliases, model.tiers);
                (text.per_million, text.long_context) = (model.standard.per_million, model.standard.long_context);
            }
            Priced::Unit(unit) => {
                (text.sku, text.unit, text.price) = (Some(unit.sku), unit.unit, Some(unit.price));
            }
        }
        text
    }
}

impl PriceEntry {
    /// What a reader calls it.
    pub(crate) fn label(&self) -> String {
        let from = format_instant(self.from_ns);
        match &self.priced {
            Priced::Model(price) => format!("{}/{} from {from}", price.provider, price.model),
            Priced::Unit(price) => format!("{} from {from}", price.sku),
        }
    }

    /// The entry, if it can be used.
    pub(crate) fn checked(self) -> Result<Self, EntryError> {
        if self.to_ns.is_some_and(|to_ns| to_ns <= self.from_ns) {
            return Err(EntryError::Backwards);
        }
        match &self.priced {
            Priced::Model(price) => price.check()?,
            Priced::Unit(price) => price.check()?,
        }
        Ok(self)
    }
}

impl ModelPrice {
    fn check(&self) -> Result<(), EntryError> {
        filled("provider", &self.provider)?;
        filled("model", &self.model)?;
        self.aliases.iter().try_for_each(|alias| filled("aliases", alias))?;
        self.standard.check("")?;
        self.tiers.iter().try_for_each(|(tier, table)| table.check(&format!("tiers.{}.", tier.name())))
    }
}

impl UnitPrice {
    fn check(&self) -> Result<(), EntryError> {
        filled("sku", &self.sku)?;
        self.unit.iter().try_for_each(|unit| filled("unit", unit))?;
        if self.price < Amount::ZERO { Err(EntryError::Negative("price".to_owned())) } else { Ok(()) }
    }
}

impl RateTable {
    fn check(&self, path: &str) -> Result<(), EntryError> {
        check_rates(&self.per_million, || format!("{path}per_million"))?;
        self.long_context
            .iter()
            .try_for_each(|long| check_rates(&long.per_million, || format!("{path}long_context.per_million")))
    }
}

fn check_rates(rates: &Rates, path: impl Fn() -> String) -> Result<(), EntryError> {
    if rates.is_empty() {
        return Err(EntryError::NoRates(path()));
    }
    match rates.iter().find(|(_, rate)| **rate < Amount::ZERO) {
        Some((class, _)) => Err(EntryError::Negative(format!("{}.{}", path(), class.name()))),
        None => Ok(()),
    }
}

fn filled(key: &'static str, name: &str) -> Result<(), EntryError> {
    if name.is_empty() { Err(EntryError::Empty(key)) } else { Ok(()) }
}

/// Nanoseconds of a date (00:00 UTC) or an RFC 3339 time.
fn instant(key: &'static str, text: &str) -> Result<i64, EntryError> {
    let time = match text.parse::<NaiveDate>() {
        Ok(date) => Some(date.and_time(NaiveTime::MIN).and_utc()),
        Err(_) => DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc()),
    };
    time.and_then(|time| time.timestamp_nanos_opt()).ok_or_else(|| EntryError::Time(key, text.to_owned()))
}
