//! Prices of a model for a stretch of time, where a cost is a product of whole numbers (RAT-1, MON-1).

use std::collections::BTreeSet;

use recoup_model::{Id, PriceQuery, Tariff, TokenClass, UnitTariff};

use crate::book::PriceBook;
use crate::entry::{ModelPrice, PriceEntry, Priced, rate_of};
use crate::rating::{TOKENS_PER_RATE, rates_for};

impl PriceBook {
    /// The tariff of a model around an instant: none where the price needs an exchange rate or is not known.
    pub(crate) fn find_tariff(&self, query: &PriceQuery<'_>) -> Option<Tariff> {
        let at_ns = query.used_at_ns;
        let (provider, model) = query.provider.zip(query.model)?;
        let segment = self.segment(at_ns)?;
        let (entry, price) = self.model(segment, (provider, model), at_ns)?;
        if entry.currency != segment.exchange.reporting() {
            return None;
        }
        let rates = rates_for(price, query.service_tier, 0).ok()?;
        let mut per_token_pico = [None; TokenClass::ALL.len()];
        for (slot, class) in per_token_pico.iter_mut().zip(TokenClass::ALL) {
            let Some(rate) = rate_of(rates, class) else { continue };
            let whole = rate.pico().checked_rem(TOKENS_PER_RATE)? == 0;
            *slot =
                rate.pico().checked_div(TOKENS_PER_RATE).filter(|_| whole).and_then(|pico| i64::try_from(pico).ok());
        }
        let (from_ns, to_ns) = self.unchanged(provider, model, at_ns);
        Some(Tariff { from_ns, to_ns, context_max: context_max(price), per_token_pico })
    }

    /// The stretch around an instant in which no entry that could price the model begins or ends.
    fn unchanged(&self, provider: &str, model: &str, at_ns: i64) -> (i64, i64) {
        let listed = self.catalogues().iter().flat_map(|catalogue| catalogue.all_of_model(provider, model));
        let mut entries: Vec<&PriceEntry> = listed.map(|(entry, _)| entry).collect();
        let mut names = BTreeSet::from([model]);
        for entry in &entries {
            if let Priced::Model(price) = &entry.priced {
                names.insert(&price.model);
            }
        }
        for segment in self.segments() {
            let own = names.iter().flat_map(|name| segment.own.all_of_model(provider, name));
            entries.extend(own.map(|(entry, _)| entry));
        }
        self.between_changes(&entries, at_ns)
    }

    /// The tariff of a SKU around an instant.
    pub(crate) fn find_unit_tariff(&self, sku: &str, unit: Option<&Id>, at_ns: i64) -> Option<UnitTariff> {
        let segment = self.segment(at_ns)?;
        let (entry, price) = self.unit(segment, (sku, unit), at_ns)?;
        if entry.currency != segment.exchange.reporting() {
            return None;
        }
        let listed = self.catalogues().iter().map(AsRef::as_ref);
        let catalogues = listed.chain(self.segments().iter().map(|segment| &segment.own));
        let entries: Vec<&PriceEntry> =
            catalogues.flat_map(|catalogue| catalogue.all_of_sku(sku)).map(|(entry, _)| entry).collect();
        let (from_ns, to_ns) = self.between_changes(&entries, at_ns);
        Some(UnitTariff { from_ns, to_ns, price: price.price })
    }

    /// The stretch around an instant in which none of the entries, and no version of the organisation file, begins or
    /// ends.
    fn between_changes(&self, entries: &[&PriceEntry], at_ns: i64) -> (i64, i64) {
        let of_entries = entries.iter().flat_map(|entry| [entry.from_ns, entry.to_ns.unwrap_or(i64::MAX)]);
        let changes: Vec<i64> = of_entries.chain(self.segments().iter().map(|segment| segment.from_ns)).collect();
        let before = changes.iter().copied().filter(|change| *change <= at_ns).max();
        let after = changes.iter().copied().filter(|change| *change > at_ns).min();
        (before.unwrap_or(i64::MIN), after.unwrap_or(i64::MAX))
    }
}

/// The largest context at which every tier still takes its short rates.
fn context_max(price: &ModelPrice) -> u64 {
    let tables = std::iter::once(&price.standard).chain(price.tiers.values());
    tables.filter_map(|table| Some(table.long_context.as_ref()?.above)).min().unwrap_or(u64::MAX)
}
