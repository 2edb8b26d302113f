//! Everything that prices an event: the catalogues in order, the organisation's own prices, the exchange rates.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::NaiveDate;
use recoup_model::organisation::{self, History, OwnPrice, Version};
use recoup_model::{Digest, Id, TokenClass};
use recoup_money::{Amount, Currency};

use crate::catalogue::{Catalogue, CatalogueError};
use crate::entry::{EntryError, LongContext, ModelPrice, PriceEntry, Priced, RateTable, Rates, Tier, UnitPrice};
use crate::exchange::Exchange;

/// Prices events (RAT-1): the organisation's own price, else that of the first layer of catalogues that has one.
#[derive(Clone, Debug)]
pub struct PriceBook {
    /// Of all layers, in order.
    catalogues: Vec<Arc<Catalogue>>,
    /// How many catalogues each layer has.
    layers: Vec<usize>,
    before_rules_5: bool,
    segments: Vec<Segment>,
}

/// What one version of the organisation file says about prices, from the instant it is in force.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) from_ns: i64,
    pub(crate) own: Catalogue,
    pub(crate) exchange: Exchange,
}

/// Why an organisation file's prices cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PriceBookError {
    /// A price of `[[prices]]`.
    #[error("organisation file, version {version}, [[prices]]: {problem}")]
    Own {
        /// Which version of the file.
        version: u32,
        /// What is wrong.
        problem: CatalogueError,
    },
    /// A rate of `[[rates]]`.
    #[error(
        "organisation file, version {version}, [[rates]]: `rate` from {from} to {to} on {date} is not above 0 or its date is out of range; write the units of {to} for one {from}"
    )]
    Rate {
        /// Which version of the file.
        version: u32,
        /// From this currency
        from: Currency,
        /// to this one
        to: Currency,
        /// from this date.
        date: NaiveDate,
    },
}

impl PriceBook {
    /// The prices of `catalogues`, in order of precedence, below those of the organisation.
    ///
    /// # Errors
    /// [`PriceBookError`] names the version of the organisation file and the price.
    pub fn new(catalogues: &[Arc<Catalogue>], history: &History) -> Result<Self, PriceBookError> {
        let each = catalogues.iter().map(|catalogue| vec![Arc::clone(catalogue)]);
        Self::of_layers(&each.collect::<Vec<_>>(), history)
    }

    /// The prices of layers of catalogues, in order of precedence (shipped first, then imported), below those of the
    /// organisation. Catalogues of one layer are lists that grow: of what they say of a name the price that began last
    /// holds, and of two that began together that of the later list.
    ///
    /// # Errors
    /// As [`PriceBook::new`].
    pub fn of_layers(layers: &[Vec<Arc<Catalogue>>], history: &History) -> Result<Self, PriceBookError> {
        let calendar = history.calendar();
        let starts: BTreeSet<Option<NaiveDate>> =
            history.versions().iter().map(|version| version.effective).chain([None]).collect();
        let segments = starts.into_iter().map(|start| {
            let from_ns = start.map_or(i64::MIN, |day| calendar.day_start_ns(day));
            Segment::of(from_ns, history.on(start.unwrap_or(NaiveDate::MIN)))
        });
        let segments = segments.collect::<Result<_, _>>()?;
        let lengths = layers.iter().map(Vec::len).collect();
        Ok(Self { catalogues: layers.concat(), layers: lengths, before_rules_5: false, segments })
    }

    /// The same prices for a month that was closed under a version of the rules, which it keeps (LED-4): before version 5 the
    /// first of several lists that has a price decides.
    #[must_use]
    pub fn under_rules(self, version: u32) -> Self {
        if version < 5 { Self { layers: vec![1; self.catalogues.len()], before_rules_5: true, ..self } } else { self }
    }

    pub(crate) const fn before_rules_5(&self) -> bool {
        self.before_rules_5
    }

    fn layers(&self) -> impl Iterator<Item = &[Arc<Catalogue>]> {
        let mut rest = self.catalogues.as_slice();
        self.layers.iter().filter_map(move |length| {
            let (layer, others) = rest.split_at_checked(*length)?;
            rest = others;
            Some(layer)
        })
    }

    /// What the layers say at an instant: `find` looks into one catalogue.
    fn listed<'a, T>(
        &'a self,
        find: impl Fn(&'a Catalogue) -> Option<(&'a PriceEntry, T)>,
    ) -> Option<(&'a PriceEntry, T)> {
        // `max_by_key` gives the last of equal ones.
        self.layers().find_map(|layer| {
            layer.iter().filter_map(|catalogue| find(catalogue)).max_by_key(|(entry, _)| entry.from_ns)
        })
    }

    /// The catalogues in order of precedence.
    pub(crate) fn catalogues(&self) -> &[Arc<Catalogue>] {
        &self.catalogues
    }

    /// What each version of the organisation file says, by the instant from which it is in force.
    pub(crate) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// What the version in force on the local day of an instant says.
    pub(crate) fn segment(&self, at_ns: i64) -> Option<&Segment> {
        let after = self.segments.partition_point(|segment| segment.from_ns <= at_ns);
        self.segments.get(after.checked_sub(1)?)
    }

    /// The price of a model at an instant.
    ///
    /// An own price for the model applies to the ids that the catalogue knows as its aliases too: it was negotiated for
    /// the model, not for a spelling.
    pub(crate) fn model<'a>(
        &'a self,
        segment: &'a Segment,
        (provider, name): (&str, &str),
        at_ns: i64,
    ) -> Option<(&'a PriceEntry, &'a ModelPrice)> {
        let own = segment.own.model(provider, name, at_ns);
        own.or_else(|| {
            let listed = self.listed(|catalogue| catalogue.model(provider, name, at_ns));
            let canonical = listed.map(|(_, price)| &*price.model).filter(|model| *model != name);
            canonical.and_then(|model| segment.own.model(provider, model, at_ns)).or(listed)
        })
    }

    /// The price of a SKU at an instant.
    pub(crate) fn unit<'a>(
        &'a self,
        segment: &'a Segment,
        (sku, unit): (&str, Option<&Id>),
        at_ns: i64,
    ) -> Option<(&'a PriceEntry, &'a UnitPrice)> {
        let own = segment.own.unit(sku, unit, at_ns);
        own.or_else(|| self.listed(|catalogue| catalogue.unit(sku, unit, at_ns)))
    }

    /// Digest of everything that a looked-up name (`model:PROVIDER/MODEL` or `sku:SKU`) can come to cost at any time:
    /// all entries of all sources, and the exchange rates of their currencies; `rate:CURRENCY` has the rates alone, for costs
    /// that were reported in it (EVT-6). It changes whenever one of these does, so a night knows which days a new price
    /// touches. A name that nothing prices has the digest of nothing.
    #[must_use]
    pub fn name_digest(&self, name: &str) -> Digest {
        self.name_digest_before(name, i64::MAX)
    }

    /// As [`PriceBook::name_digest`], of what begins before an instant: nothing that begins later prices what was used earlier.
    #[must_use]
    pub fn name_digest_before(&self, name: &str, before_ns: i64) -> Digest {
        if let Some(code) = name.strip_prefix("rate:") {
            let lines = self.exchange_lines(|currency| currency.code() == code, before_ns);
            return Digest::of(lines.join("\n").as_bytes());
        }
        let found = self.everything_about(name, before_ns);
        let currencies: BTreeSet<Currency> =
            found.listed.iter().chain(found.own.values().flatten()).map(|(currency, _)| *currency).collect();
        let mut lines: Vec<String> = found.listed.into_iter().map(|(_, line)| line).collect();
        lines.extend(found.together.then(|| "the last to begin".to_owned()));
        for (from_ns, own) in found.own {
            lines.push(format!("own from {from_ns}"));
            lines.extend(own.into_iter().map(|(_, line)| line));
        }
        if !currencies.is_empty() {
            lines.extend(self.exchange_lines(|currency| currencies.contains(&currency), before_ns));
        }
        Digest::of(lines.join("\n").as_bytes())
    }

    /// Digest of all exchange rates, which nights of earlier releases hold for costs in whatever currency.
    #[must_use]
    pub fn exchange_digest(&self) -> Digest {
        self.exchange_digest_before(i64::MAX)
    }

    /// As [`PriceBook::exchange_digest`], of what begins before an instant.
    #[must_use]
    pub fn exchange_digest_before(&self, before_ns: i64) -> Digest {
        Digest::of(self.exchange_lines(|_| true, before_ns).join("\n").as_bytes())
    }

    /// Digest of all prices and rates: part of every manifest.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut lines: Vec<String> = self.catalogues.iter().map(|catalogue| catalogue.digest().to_string()).collect();
        let own = self.segments.iter().map(|segment| (segment.from_ns, vec![segment.own.digest().to_string()]));
        for (from_ns, digest) in changes(own) {
            lines.push(format!("own from {from_ns} {}", digest.concat()));
        }
        lines.extend(self.exchange_lines(|_| true, i64::MAX));
        Digest::of(lines.join("\n").as_bytes())
    }

    fn exchange_lines(&self, wanted: impl Fn(Currency) -> bool, before_ns: i64) -> Vec<String> {
        let begun = self.segments_before(before_ns);
        let rates = begun.map(|segment| (segment.from_ns, segment.exchange.lines(&wanted, before_ns)));
        changes(rates)
            .into_iter()
            .flat_map(|(from_ns, lines)| std::iter::once(format!("rates from {from_ns}")).chain(lines))
            .collect()
    }

    fn segments_before(&self, before_ns: i64) -> impl Iterator<Item = &Segment> {
        self.segments.iter().filter(move |segment| segment.from_ns < before_ns)
    }

    fn everything_about(&self, name: &str, before_ns: i64) -> Found {
        fn begun<'a>(
            entries: impl IntoIterator<Item = (&'a PriceEntry, &'a str)>,
            before_ns: i64,
        ) -> Vec<(&'a PriceEntry, &'a str)> {
            entries.into_iter().filter(|(entry, _)| entry.from_ns < before_ns).collect()
        }
        if let Some(sku) = name.strip_prefix("sku:") {
            return self.collect(
                |list| begun(list.all_of_sku(sku), before_ns),
                |own| begun(own.all_of_sku(sku), before_ns),
                before_ns,
            );
        }
        let Some((provider, model)) = name.strip_prefix("model:").and_then(|name| name.split_once('/')) else {
            return Found::default();
        };
        let mut names = BTreeSet::from([model]);
        for (entry, _) in
            self.catalogues.iter().flat_map(|catalogue| begun(catalogue.all_of_model(provider, model), before_ns))
        {
            if let Priced::Model(price) = &entry.priced {
                names.insert(&price.model);
            }
        }
        self.collect(
            |catalogue| begun(catalogue.all_of_model(provider, model), before_ns),
            |own| begun(names.iter().flat_map(|name| own.all_of_model(provider, name)), before_ns),
            before_ns,
        )
    }

    fn collect<'a>(
        &'a self,
        listed: impl Fn(&'a Catalogue) -> Vec<(&'a PriceEntry, &'a str)>,
        own: impl Fn(&'a Catalogue) -> Vec<(&'a PriceEntry, &'a str)>,
        before_ns: i64,
    ) -> Found {
        let ranked = self.catalogues.iter().enumerate().flat_map(|(rank, catalogue)| {
            listed(catalogue).into_iter().map(move |(entry, text)| (entry.currency, format!("{rank} {text}")))
        });
        let owned = |segment: &'a Segment| {
            let lines = own(&segment.own).into_iter().map(|(entry, text)| (entry.currency, text.to_owned()));
            (segment.from_ns, lines.collect())
        };
        // A name of which several lists of a layer tell: the price that began last holds.
        let together = self.layers().any(|layer| layer.iter().filter(|list| !listed(list).is_empty()).count() > 1);
        Found { together, listed: ranked.collect(), own: changes(self.segments_before(before_ns).map(owned)) }
    }
}

/// What can price a name, as (currency, canonical text).
#[derive(Default)]
struct Found {
    /// Whether several lists of one layer tell of it.
    together: bool,
    listed: Vec<(Currency, String)>,
    own: BTreeMap<i64, Vec<(Currency, String)>>,
}

/// The instants at which a list changes, starting from an empty one: a new version of the organisation file that says
/// the same changes no digest.
fn changes<T: PartialEq>(lists: impl Iterator<Item = (i64, Vec<T>)>) -> BTreeMap<i64, Vec<T>> {
    let mut kept: Vec<(i64, Vec<T>)> = Vec::new();
    for (from_ns, list) in lists {
        let same = kept.last().map_or(list.is_empty(), |(_, last)| *last == list);
        if !same {
            kept.push((from_ns, list));
        }
    }
    kept.into_iter().collect()
}

impl Segment {
    fn of(from_ns: i64, version: &Version) -> Result<Self, PriceBookError> {
        let organisation = &version.organisation;
        let own = own_catalogue(&organisation.prices)
            .map_err(|problem| PriceBookError::Own { version: version.number, problem })?;
        let exchange = Exchange::of(organisation).map_err(|rate| PriceBookError::Rate {
            version: version.number,
            from: rate.from_currency,
            to: rate.to_currency,
            date: rate.from,
        })?;
        Ok(Self { from_ns, own, exchange })
    }
}

fn own_catalogue(prices: &[OwnPrice]) -> Result<Catalogue, CatalogueError> {
    let file = "the organisation file";
    let entries = prices.iter().enumerate().map(|(at, price)| {
        PriceEntry::try_from(price).map_err(|problem| CatalogueError::Entry {
            file: file.to_owned(),
            entry: format!("number {} ({})", at.saturating_add(1), own_name(price)),
            problem,
        })
    });
    Catalogue::from_entries(file, entries.collect::<Result<_, _>>()?)
}

fn own_name(price: &OwnPrice) -> &str {
    price.model.as_deref().or(price.sku.as_deref()).unwrap_or("?")
}

impl TryFrom<&OwnPrice> for PriceEntry {
    type Error = EntryError;

    fn try_from(own: &OwnPrice) -> Result<Self, EntryError> {
        let priced = match (&own.provider, &own.model, &own.sku) {
            (Some(provider), Some(model), None) => Priced::Model(ModelPrice {
                provider: Id::clone(provider),
                model: Id::clone(model),
                aliases: Vec::new(),
                standard: table(&own.per_million, own.long_context.as_ref())?,
                tiers: tiers(&own.tiers)?,
            }),
            (None, None, Some(sku)) => Priced::Unit(UnitPrice {
                sku: Id::clone(sku),
                unit: own.unit.clone(),
                price: own.price.ok_or(EntryError::NoPrice)?,
            }),
            _ => return Err(EntryError::Kind),
        };
        Self { priced, from_ns: own.from_ns, to_ns: own.to_ns, currency: own.currency, source: None }.checked()
    }
}

fn tiers(own: &BTreeMap<String, organisation::TierRates>) -> Result<BTreeMap<Tier, RateTable>, EntryError> {
    own.iter()
        .map(|(name, rates)| {
            let tier = Tier::from_name(name).ok_or_else(|| EntryError::Tier(name.clone()))?;
            Ok((tier, table(&rates.per_million, rates.long_context.as_ref())?))
        })
        .collect()
}

fn table(
    per_million: &BTreeMap<String, Amount>,
    long: Option<&organisation::LongContext>,
) -> Result<RateTable, EntryError> {
    let long_context =
        long.map(|long| Ok(LongContext { above: long.above, per_million: rates(&long.per_million)? })).transpose()?;
    Ok(RateTable { per_million: rates(per_million)?, long_context })
}

fn rates(own: &BTreeMap<String, Amount>) -> Result<Rates, EntryError> {
    own.iter()
        .map(|(name, rate)| Ok((TokenClass::from_name(name).ok_or_else(|| EntryError::Class(name.clone()))?, *rate)))
        .collect()
}
