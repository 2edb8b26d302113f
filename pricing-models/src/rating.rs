//! From an event to its cost (RAT-1, RAT-2, EVT-6).
//!
//! What the semantics leave open, and what is done:
//! * A class of audio or image tokens without a rate leaves the event unpriced (`no_rate`): no rule supplies one.
//! * A tier that an entry does not price, and a long request in a tier whose long-context rates are not given while the
//!   standard tier has such, leave the event unpriced (`unknown_tier`).
//! * An event with both usage and a quantity costs both; where one has no price, the event has none.
//! * A reported cost replaces a price that is not known. It does not replace one that is known and cannot be converted
//!   or computed: that event is unpriced by MON-4 or MON-3.
//! * A wrapper (EVT-5) is rated by its quantity only. Its usage is compared with what lies below it, by attribution;
//!   its reported cost repeats costs below it, so it is neither billed nor compared. Its quantity and what only it saw
//!   are one event's cost, rounded once and split by SPL-1, where both have a price.

use ethnum::{I256, U256};
use recoup_model::{
    Basis, CostPart, Event, Id, Kind, PriceQuery, Quantity, REPORTED_TOLERANCE, Rater, Rating, Reported, Tariff,
    TokenClass, UnitTariff, UnpricedReason,
};
use recoup_money::{Amount, Currency, PICO_PER_UNIT, Share, mul_div_half_even, split_big};

use crate::book::{PriceBook, Segment};
use crate::entry::{ModelPrice, Rates, Tier, rate_of};
use crate::wide;

/// Rates are per so many tokens.
pub const TOKENS_PER_RATE: i128 = 1_000_000;

/// One part of an event before rounding: `price_pico * count / per * rate_pico / PICO_PER_UNIT` picounits.
struct Product {
    part: CostPart,
    price_pico: i128,
    count: i128,
    per: i128,
    rate_pico: i128,
}

impl Product {
    /// The cost, where it needs neither rounding nor conversion.
    fn whole_pico(&self) -> Option<i128> {
        let product = self.price_pico.checked_mul(self.count)?;
        let exact = self.rate_pico == PICO_PER_UNIT && product.checked_rem(self.per)? == 0;
        if exact { product.checked_div(self.per) } else { None }
    }

    /// The cost times the square of [`PICO_PER_UNIT`], which every part divides without remainder.
    fn scaled(&self) -> Option<U256> {
        let factor = PICO_PER_UNIT.checked_div(self.per)?;
        [self.price_pico, self.count, factor, self.rate_pico]
            .into_iter()
            .try_fold(U256::ONE, |product, term| product.checked_mul(U256::try_from(term).ok()?))
    }
}

impl Rater for PriceBook {
    fn rate(&self, event: &Event) -> Rating {
        let wrapper = event.kind == Kind::Agent && event.usage.is_some();
        let reported = event.reported.filter(|_| !wrapper);
        let metered = event.quantity.is_some() || (event.usage.is_some() && !wrapper);
        let Some(segment) = self.segment(event.used_at_ns) else {
            return Rating::Unpriced(UnpricedReason::NoUsage);
        };
        if metered {
            let listed = self.metered(segment, event, wrapper).and_then(settle);
            return match listed {
                Ok((cost, parts)) => {
                    let disagrees = reported.is_some_and(|reported| {
                        let rate_pico = segment.exchange.rate_pico(reported.currency, event.used_at_ns);
                        rate_pico.is_some_and(|rate_pico| disagrees(cost, reported.amount, rate_pico))
                    });
                    Rating::Priced { cost, parts, basis: Basis::Catalogue, disagrees }
                }
                Err(reason) => match reported.filter(|reported| !reported.amount.is_zero() && replaceable(reason)) {
                    Some(reported) => by_report(segment, reported, event.used_at_ns),
                    None => Rating::Unpriced(reason),
                },
            };
        }
        match reported {
            Some(reported) => by_report(segment, reported, event.used_at_ns),
            None if event.kind == Kind::Agent => Rating::Free,
            None => Rating::Unpriced(UnpricedReason::NoUsage),
        }
    }

    fn rate_tokens(&self, query: &PriceQuery<'_>) -> Rating {
        let Some(segment) = self.segment(query.used_at_ns) else {
            return Rating::Unpriced(UnpricedReason::UnknownModel);
        };
        match self.tokens(segment, query).and_then(settle) {
            Ok((cost, parts)) => Rating::Priced { cost, parts, basis: Basis::Catalogue, disagrees: false },
            Err(reason) => Rating::Unpriced(reason),
        }
    }

    fn rate_wrapper(&self, event: &Event, excess: &PriceQuery<'_>) -> Option<(Rating, Rating)> {
        let segment = self.segment(event.used_at_ns)?;
        let mut products = self.tokens(segment, excess).ok()?;
        products.push(self.units(segment, event.quantity.as_ref()?, event.used_at_ns).ok()?);
        let (_, mut parts) = settle(products).ok()?;
        let units = parts.pop()?;
        Some((listed(vec![units])?, listed(parts)?))
    }

    fn tariff(&self, query: &PriceQuery<'_>) -> Option<Tariff> {
        self.find_tariff(query)
    }

    fn unit_tariff(&self, sku: &str, unit: Option<&Id>, at_ns: i64) -> Option<UnitTariff> {
        self.find_unit_tariff(sku, unit, at_ns)
    }

    /// None where versions of the organisation file report in different ones.
    fn is_before_rules_5(&self) -> bool {
        self.before_rules_5()
    }

    fn reporting_currency(&self) -> Option<Currency> {
        let mut currencies = self.segments().iter().map(|segment| segment.exchange.reporting());
        let first = currencies.next()?;
        currencies.all(|other| other == first).then_some(first)
    }
}

/// Whether a reported cost may stand in: only where there is no price.
const fn replaceable(reason: UnpricedReason) -> bool {
    !matches!(reason, UnpricedReason::NoExchangeRate | UnpricedReason::Overflow)
}

/// What these parts cost by the catalogue.
fn listed(parts: Vec<CostPart>) -> Option<Rating> {
    let cost = Amount::checked_sum(parts.iter().map(CostPart::cost))?;
    Some(Rating::Priced { cost, parts, basis: Basis::Catalogue, disagrees: false })
}

fn by_report(segment: &Segment, reported: Reported, at_ns: i64) -> Rating {
    let Some(rate_pico) = segment.exchange.rate_pico(reported.currency, at_ns) else {
        return Rating::Unpriced(UnpricedReason::NoExchangeRate);
    };
    match mul_div_half_even(reported.amount.pico(), rate_pico, PICO_PER_UNIT).map(Amount::from_pico) {
        Some(cost) => {
            Rating::Priced { cost, parts: vec![CostPart::Reported { cost }], basis: Basis::Reported, disagrees: false }
        }
        None => Rating::Unpriced(UnpricedReason::Overflow),
    }
}

/// Whether a reported amount, converted, lies outside 0.2x to 5x of the listed cost. The bounds themselves agree.
fn disagrees(listed: Amount, reported: Amount, rate_pico: i128) -> bool {
    let wide = |a: i128, b: i128| I256::from(a).checked_mul(I256::from(b));
    let times = |value: I256| value.checked_mul(I256::from(REPORTED_TOLERANCE));
    let compare = || {
        let reported = wide(reported.pico(), rate_pico)?;
        let listed = wide(listed.pico(), PICO_PER_UNIT)?;
        Some(times(reported)? < listed || reported > times(listed)?)
    };
    compare().unwrap_or(true)
}

impl PriceBook {
    fn metered(&self, segment: &Segment, event: &Event, wrapper: bool) -> Result<Vec<Product>, UnpricedReason> {
        let mut products = match event.usage.filter(|_| !wrapper) {
            Some(usage) => self.tokens(
                segment,
                &PriceQuery {
                    provider: event.provider.as_deref(),
                    model: event.model.as_deref(),
                    service_tier: event.service_tier.as_deref(),
                    used_at_ns: event.used_at_ns,
                    usage,
                },
            )?,
            None => Vec::new(),
        };
        if let Some(quantity) = &event.quantity {
            products.push(self.units(segment, quantity, event.used_at_ns)?);
        }
        Ok(products)
    }

    /// Never empty: a call that reported zero tokens has one part of nothing.
    fn tokens(&self, segment: &Segment, query: &PriceQuery<'_>) -> Result<Vec<Product>, UnpricedReason> {
        let name = query.provider.zip(query.model).ok_or(UnpricedReason::UnknownModel)?;
        let (entry, price) = self.model(segment, name, query.used_at_ns).ok_or(UnpricedReason::UnknownModel)?;
        let rates = rates_for(price, query.service_tier, query.usage.context())?;
        let rate_pico = segment.exchange.rate_pico(entry.currency, query.used_at_ns);
        let rate_pico = rate_pico.ok_or(UnpricedReason::NoExchangeRate)?;
        let product = |class: TokenClass, tokens: u64, price_pico: i128| Product {
            part: CostPart::Tokens { class, tokens, cost: Amount::ZERO },
            price_pico,
            count: i128::from(tokens),
            per: TOKENS_PER_RATE,
            rate_pico,
        };
        let used = query.usage.nonzero().map(|(class, tokens)| {
            let rate = rate_of(rates, class).ok_or(UnpricedReason::NoRate)?;
            Ok(product(class, tokens, rate.pico()))
        });
        let mut products = used.collect::<Result<Vec<_>, _>>()?;
        if products.is_empty() {
            products.push(product(TokenClass::Input, 0, 0));
        }
        Ok(products)
    }

    fn units(&self, segment: &Segment, quantity: &Quantity, at_ns: i64) -> Result<Product, UnpricedReason> {
        let found = self.unit(segment, (&quantity.sku, quantity.unit.as_ref()), at_ns);
        let (entry, price) = found.ok_or(UnpricedReason::UnknownSku)?;
        let rate_pico = segment.exchange.rate_pico(entry.currency, at_ns).ok_or(UnpricedReason::NoExchangeRate)?;
        Ok(Product {
            part: CostPart::Units {
                sku: quantity.sku.clone(),
                quantity: quantity.quantity,
                unit: quantity.unit.clone(),
                cost: Amount::ZERO,
            },
            price_pico: price.price.pico(),
            count: quantity.quantity.pico(),
            per: PICO_PER_UNIT,
            rate_pico,
        })
    }
}

/// The rates of a request of this tier and context size.
pub(crate) fn rates_for<'a>(
    price: &'a ModelPrice,
    tier: Option<&str>,
    context: u64,
) -> Result<&'a Rates, UnpricedReason> {
    let standard = &price.standard;
    let long_at_standard = standard.long_context.as_ref().filter(|long| context > long.above);
    let table = match tier {
        None | Some("standard" | "default" | "auto") => standard,
        Some(name) => {
            let table = Tier::from_name(name).and_then(|tier| price.tiers.get(&tier));
            table.ok_or(UnpricedReason::UnknownTier)?
        }
    };
    match &table.long_context {
        Some(long) if context > long.above => Ok(&long.per_million),
        None if long_at_standard.is_some() => Err(UnpricedReason::UnknownTier),
        _ => Ok(&table.per_million),
    }
}

/// The cost, rounded half to even once, and the parts that sum to it (MON-1, SPL-1).
fn settle(products: Vec<Product>) -> Result<(Amount, Vec<CostPart>), UnpricedReason> {
    let whole: Option<Vec<i128>> = products.iter().map(Product::whole_pico).collect();
    let costs = match whole {
        Some(costs) => costs,
        None => rounded(&products).ok_or(UnpricedReason::Overflow)?,
    };
    let cost = Amount::checked_sum(costs.iter().copied().map(Amount::from_pico)).ok_or(UnpricedReason::Overflow)?;
    if cost < Amount::ZERO {
        return Err(UnpricedReason::Overflow);
    }
    let parts = products.into_iter().zip(costs).map(|(product, pico)| with_cost(product.part, pico));
    Ok((cost, parts.collect()))
}

fn rounded(products: &[Product]) -> Option<Vec<i128>> {
    let scaled = products.iter().map(Product::scaled).collect::<Option<Vec<_>>>()?;
    let sum = scaled.iter().try_fold(U256::ZERO, |sum, part| sum.checked_add(*part))?;
    let unit = I256::from(PICO_PER_UNIT).checked_mul(I256::from(PICO_PER_UNIT))?;
    let cost = wide::half_even(I256::try_from(sum).ok()?, unit)?;
    if sum == U256::ZERO {
        return Some(vec![0; products.len()]);
    }
    let shares: Vec<_> = products
        .iter()
        .zip(&scaled)
        .map(|(product, weight)| Share { id: part_id(&product.part), weight: wide::unbounded(*weight) })
        .collect();
    split_big(cost, &shares)
}

fn part_id(part: &CostPart) -> &[u8] {
    match part {
        CostPart::Tokens { class, .. } => class.name().as_bytes(),
        CostPart::Units { sku, .. } => sku.as_bytes(),
        CostPart::Reported { .. } => b"",
    }
}

fn with_cost(part: CostPart, pico: i128) -> CostPart {
    let cost = Amount::from_pico(pico);
    match part {
        CostPart::Tokens { class, tokens, .. } => CostPart::Tokens { class, tokens, cost },
        CostPart::Units { sku, quantity, unit, .. } => CostPart::Units { sku, quantity, unit, cost },
        CostPart::Reported { .. } => CostPart::Reported { cost },
    }
}
