//! One model of the price map: its rates put together, or the reason why it has none.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use recoup_model::Id;
use recoup_money::{Amount, Currency};

use super::fields::{self, Field, Rate};
use super::{Fields, NotUnderstood, not_carried};
use crate::entry::{LongContext, ModelPrice, PriceEntry, Priced, RateTable, Rates, Tier};

const NOT_A_NUMBER: &str = "is not a price of 0 or more as a JSON number";
const TWICE: &str = "another field gives this rate differently";
const NO_BASE: &str = "is a rate above a threshold or of a tier without the rate it departs from";
const THRESHOLDS: &str = "the model has more than one context threshold";
const FREE_TOKENS: &str = "its tokens cost 0 and it is billed by something that is not carried over";

/// A model that can be priced.
#[derive(Clone)]
pub(super) struct Model {
    /// LiteLLM's key.
    pub(super) key: String,
    /// The fields that are carried over.
    pub(super) fields: Vec<String>,
    tables: BTreeMap<Option<Tier>, RateTable>,
}

impl Model {
    /// Adds what another key says of the same model; `None` where the two contradict each other.
    pub(super) fn joined(mut self, other: &Self) -> Option<Self> {
        for (tier, theirs) in &other.tables {
            let ours = self.tables.entry(*tier).or_insert_with(|| theirs.clone());
            join_rates(&mut ours.per_million, &theirs.per_million)?;
            match (&mut ours.long_context, &theirs.long_context) {
                (Some(ours), Some(theirs)) if ours.above == theirs.above => {
                    join_rates(&mut ours.per_million, &theirs.per_million)?;
                }
                (Some(_), Some(_)) => return None,
                (ours, theirs) => *ours = ours.take().or_else(|| theirs.clone()),
            }
        }
        Some(self)
    }

    pub(super) fn to_entry(&self, (provider, model): (Id, Id), from_ns: i64) -> PriceEntry {
        let standard = self.tables.get(&None).cloned().unwrap_or_default();
        let tiers = self.tables.iter().filter_map(|(tier, table)| Some(((*tier)?, table.clone()))).collect();
        let price = ModelPrice { provider, model, aliases: Vec::new(), standard, tiers };
        PriceEntry { priced: Priced::Model(price), from_ns, to_ns: None, currency: Currency::USD, source: None }
    }
}

fn join_rates(ours: &mut Rates, theirs: &Rates) -> Option<()> {
    theirs.iter().try_for_each(|(class, rate)| (ours.entry(*class).or_insert(*rate) == rate).then_some(()))
}

/// Rates of a tier by threshold, and the fields they came from.
type Found = BTreeMap<Option<Tier>, BTreeMap<Option<u64>, Rates>>;

#[derive(Default)]
struct Reading {
    found: Found,
    carried: Vec<(String, Rate)>,
    refused: Vec<(String, Cow<'static, str>)>,
    billed_otherwise: bool,
}

/// The model's rates and the price fields that are not among them. A model without any rate is no model.
pub(super) fn read(key: &str, fields: &Fields<'_>) -> (Option<Model>, Vec<NotUnderstood>) {
    let mut reading = Reading::default();
    for (name, raw) in fields {
        reading.take(name, raw.get());
    }
    reading.drop_baseless();
    if let Some(reason) = reading.wrong_as_a_whole(fields) {
        let carried = std::mem::take(&mut reading.carried);
        reading.refused.extend(carried.into_iter().map(|(name, _)| (name, Cow::Borrowed(reason))));
    }
    let refused = reading.refused.iter().map(|(field, reason)| not_carried(key, field, reason.clone())).collect();
    if reading.carried.is_empty() {
        return (None, refused);
    }
    let fields = reading.carried.into_iter().map(|(name, _)| name).collect();
    let tables = reading.found.into_iter().map(|(tier, rates)| (tier, table(rates))).collect();
    (Some(Model { key: key.to_owned(), fields, tables }), refused)
}

fn table(mut rates: BTreeMap<Option<u64>, Rates>) -> RateTable {
    let per_million = rates.remove(&None).unwrap_or_default();
    let long = rates.into_iter().find_map(|(above, per_million)| Some(LongContext { above: above?, per_million }));
    RateTable { per_million, long_context: long }
}

impl Reading {
    fn take(&mut self, name: &str, raw: &str) {
        match fields::classify(name) {
            Field::NotPrice => {}
            Field::Factors => {
                if holds_number(raw) {
                    self.refuse(name, "surcharges by region or mode are not carried over");
                }
            }
            Field::NotCarried(reason) => {
                self.billed_otherwise |= per_million(raw).is_some_and(|price| !price.is_zero());
                self.refuse(name, reason);
            }
            Field::Rate(rate) => match per_million(raw) {
                Some(price) => self.carry(name, rate, price),
                None => self.refuse(name, NOT_A_NUMBER),
            },
        }
    }

    fn refuse(&mut self, name: &str, reason: &'static str) {
        self.refused.push((name.to_owned(), Cow::Borrowed(reason)));
    }

    fn carry(&mut self, name: &str, rate: Rate, price: Amount) {
        let rates = self.found.entry(rate.tier).or_default().entry(rate.above).or_default();
        if *rates.entry(rate.class).or_insert(price) == price {
            self.carried.push((name.to_owned(), rate));
        } else {
            self.refuse(name, TWICE);
        }
    }

    /// Drops tiers and thresholds that have no rates to depart from.
    fn drop_baseless(&mut self) {
        let has_standard = self.found.get(&None).is_some_and(|rates| rates.contains_key(&None));
        self.found.retain(|_, rates| has_standard && rates.contains_key(&None));
        let (kept, baseless) = std::mem::take(&mut self.carried)
            .into_iter()
            .partition(|(_, rate): &(String, Rate)| self.found.contains_key(&rate.tier));
        self.carried = kept;
        self.refused.extend(baseless.into_iter().map(|(name, _)| (name, Cow::Borrowed(NO_BASE))));
    }

    /// Why what can be carried over would price some requests of this model wrongly.
    fn wrong_as_a_whole(&self, fields: &Fields<'_>) -> Option<&'static str> {
        let thresholds: BTreeSet<u64> = self.carried.iter().filter_map(|(_, rate)| rate.above).collect();
        let free = self.found.values().flat_map(BTreeMap::values).flat_map(BTreeMap::values).all(|rate| rate.is_zero());
        if fields.contains_key(fields::TIERED) {
            Some(fields::RANGES)
        } else if thresholds.len() > 1 {
            Some(THRESHOLDS)
        } else {
            (free && self.billed_otherwise).then_some(FREE_TOKENS)
        }
    }
}

/// A price per token as a rate per million: the same digits, six places on.
fn per_million(raw: &str) -> Option<Amount> {
    let (digits, exponent) = match raw.split_once(['e', 'E']) {
        Some((digits, exponent)) => (digits, exponent.parse::<i32>().ok()?),
        None => (raw, 0),
    };
    let price = Amount::parse_rounded(&format!("{digits}e{}", exponent.checked_add(6)?)).ok()?;
    (price >= Amount::ZERO).then_some(price)
}

/// Whether an object has a number among its values.
fn holds_number(raw: &str) -> bool {
    let values: Result<Fields<'_>, _> = serde_json::from_str(raw);
    values.is_ok_and(|values| values.values().any(|value| per_million(value.get()).is_some()))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn mon_1_rates_come_from_the_text_of_the_number() {
        for (text, rate) in [
            ("1.25e-07", Some("0.125")),
            ("3E-6", Some("3")),
            ("0", Some("0")),
            ("0.0", Some("0")),
            ("0.00001", Some("10")),
            ("3.0001999999999996E-7", Some("0.30002")),
            ("-1e-6", None),
            ("\"1e-6\"", None),
            ("null", None),
            ("{}", None),
        ] {
            assert_eq!(per_million(text), rate.map(|rate| rate.parse().unwrap()), "{text}");
        }
    }
}
