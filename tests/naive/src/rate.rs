//! What an event costs by the organisation's own prices (MON-1, MON-4, RAT-1, RAT-2, EVT-6). No catalogue lies below
//! them here.

use std::collections::BTreeMap;

use num_traits::Zero;
use recoup_model::organisation::{History, LongContext, Organisation, OwnPrice};
use recoup_model::period::utc_day;
use recoup_model::{Event, Id, Kind, TokenClass, Usage};
use recoup_money::{Amount, Currency};

use crate::number::{Q, of, ratio, split, to_pico, whole};

/// A part of what was bought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bought {
    /// Who sold it.
    pub provider: Option<Id>,
    /// Which model.
    pub model: Option<Id>,
    /// What.
    pub what: What,
    /// Tokens, units or events.
    pub quantity: Q,
    /// What it costs.
    pub cost: Q,
    /// Only a wrapper saw it (EVT-5).
    pub unobserved: bool,
}

/// What was bought.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// Tokens of a class.
    Tokens(TokenClass),
    /// Units of a SKU.
    Units(Id, Option<Id>),
    /// A reported cost.
    Reported,
    /// Something without a known price (RAT-2).
    Unpriced,
    /// Nothing: an `agent` frame.
    Frame,
}

/// Why there is no price.
enum Missing {
    /// No entry, no rate, nothing to price: a reported cost may stand in.
    Price,
    /// A price in a currency without a rate: by MON-4 nothing stands in.
    Exchange,
}

/// A product before rounding, and what it is of.
type Product = (What, Q, Q);

/// Who sold tokens, of which model and tier, when.
#[derive(Clone, Copy)]
pub struct Seller<'a> {
    /// Who.
    pub provider: Option<&'a Id>,
    /// Which model.
    pub model: Option<&'a Id>,
    /// Which tier.
    pub tier: Option<&'a Id>,
    /// When.
    pub at_ns: i64,
}

/// The version of the organisation file in force at an instant.
#[must_use]
pub fn organisation_at(history: &History, at_ns: i64) -> &Organisation {
    &history.on(history.calendar().day_of(at_ns)).organisation
}

/// What an event buys itself; a wrapper's tokens are not its own (EVT-5).
#[must_use]
pub fn rate_event(history: &History, event: &Event) -> Vec<Bought> {
    let wrapper = event.kind == Kind::Agent && event.usage.is_some();
    let usage = if wrapper { None } else { event.usage };
    let reported = if wrapper { None } else { event.reported };
    let seller = seller_of(event);
    let measured = usage.is_some() || event.quantity.is_some();
    if !measured && reported.is_none() {
        if event.kind == Kind::Agent {
            // A frame bought nothing of anybody. Where a wrapper saw something, that stands in its place.
            return Vec::new();
        }
        return vec![bought(seller, What::Unpriced, Q::zero(), Q::zero())];
    }
    match products(history, event, usage) {
        Ok(products) if measured => return book(seller, &products),
        Err(Missing::Exchange) => return vec![unpriced(seller, event, usage)],
        _ => {}
    }
    let organisation = organisation_at(history, event.used_at_ns);
    let cost = reported.and_then(|reported| {
        let rate = exchange(organisation, reported.currency, event.used_at_ns)?;
        Some(to_pico(&(of(reported.amount) * rate)))
    });
    match cost {
        Some(cost) if !measured || reported.is_some_and(|reported| !reported.amount.is_zero()) => {
            vec![bought(seller, What::Reported, Q::zero(), cost)]
        }
        _ => vec![unpriced(seller, event, usage)],
    }
}

fn products(history: &History, event: &Event, usage: Option<Usage>) -> Result<Vec<Product>, Missing> {
    let organisation = organisation_at(history, event.used_at_ns);
    let mut products = Vec::new();
    if let Some(usage) = usage {
        products.extend(token_products(organisation, seller_of(event), usage)?);
    }
    if let Some(quantity) = &event.quantity {
        let fits = |price: &&OwnPrice| {
            price.sku.as_ref() == Some(&quantity.sku) && (quantity.unit.is_none() || price.unit == quantity.unit)
        };
        let entry = in_force(organisation, event.used_at_ns, fits).ok_or(Missing::Price)?;
        let rate = exchange(organisation, entry.currency, event.used_at_ns).ok_or(Missing::Exchange)?;
        let cost = of(quantity.quantity) * of(entry.price.unwrap()) * rate;
        let what = What::Units(quantity.sku.clone(), quantity.unit.clone());
        products.push((what, of(quantity.quantity), cost));
    }
    Ok(products)
}

/// What tokens buy, in one rounding; `None` where they have no price.
#[must_use]
pub fn rate_tokens(history: &History, seller: Seller<'_>, usage: Usage) -> Option<Vec<Bought>> {
    let organisation = organisation_at(history, seller.at_ns);
    token_products(organisation, seller, usage).ok().map(|products| book(seller, &products))
}

/// What a wrapper bought by the piece and what only it saw, in one rounding (MON-1); `None` where one of them has no price.
#[must_use]
pub fn rate_wrapper(history: &History, event: &Event, seller: Seller<'_>, usage: Usage) -> Option<Vec<Bought>> {
    event.quantity.as_ref()?;
    let units = products(history, event, None).ok()?;
    let tokens = token_products(organisation_at(history, seller.at_ns), seller, usage).ok()?;
    let all = [&units[..], &tokens[..]].concat();
    let (own, seen) = (book(seller_of(event), &all), book(seller, &all));
    let own = own.into_iter().take(units.len());
    Some(own.chain(seen.into_iter().skip(units.len()).map(|part| Bought { unobserved: true, ..part })).collect())
}

fn token_products(organisation: &Organisation, seller: Seller<'_>, usage: Usage) -> Result<Vec<Product>, Missing> {
    let (provider, model) = (seller.provider.ok_or(Missing::Price)?, seller.model.ok_or(Missing::Price)?);
    let fits = |price: &&OwnPrice| price.provider.as_ref() == Some(provider) && price.model.as_ref() == Some(model);
    let entry = in_force(organisation, seller.at_ns, fits).ok_or(Missing::Price)?;
    let rates = rates_of(entry, seller.tier, usage.context()).ok_or(Missing::Price)?;
    let exchange = exchange(organisation, entry.currency, seller.at_ns).ok_or(Missing::Exchange)?;
    let mut counted: Vec<(TokenClass, u64)> = usage.nonzero().collect();
    if counted.is_empty() {
        // A call that reported zero tokens bought nothing, at a known price.
        counted.push((TokenClass::Input, 0));
    }
    let mut products = Vec::new();
    for (class, tokens) in counted {
        let rate = rate_of(rates, class).or_else(|| (tokens == 0).then(|| Amount::from_pico(0)));
        let cost = whole(tokens) * of(rate.ok_or(Missing::Price)?) / whole(1_000_000);
        products.push((What::Tokens(class), whole(tokens), cost));
    }
    products.iter_mut().for_each(|product| product.2 *= &exchange);
    Ok(products)
}

/// RAT-1: a missing cache rate means the input rate, a missing reasoning rate the output rate.
fn rate_of(rates: &BTreeMap<String, Amount>, class: TokenClass) -> Option<Amount> {
    let instead = match class {
        TokenClass::CacheRead | TokenClass::CacheWrite5m | TokenClass::CacheWrite1h => "input",
        TokenClass::Reasoning => "output",
        _ => class.name(),
    };
    rates.get(class.name()).or_else(|| rates.get(instead)).copied()
}

/// RAT-1: the rates of a tier, above the threshold or not.
fn rates_of<'a>(entry: &'a OwnPrice, tier: Option<&Id>, context: u64) -> Option<&'a BTreeMap<String, Amount>> {
    let is_long = |long: &&LongContext| context > long.above;
    let name = tier.map_or("standard", |tier| &**tier);
    if name == "standard" {
        return Some(entry.long_context.as_ref().filter(is_long).map_or(&entry.per_million, |long| &long.per_million));
    }
    let tier = entry.tiers.get(name)?;
    match (&tier.long_context, &entry.long_context) {
        (Some(long), _) if is_long(&long) => Some(&long.per_million),
        (None, Some(standard)) if is_long(&standard) => None,
        _ => Some(&tier.per_million),
    }
}

/// The entry in force: the one with the latest `from`, unless it has ended.
fn in_force<'a>(
    organisation: &'a Organisation,
    at_ns: i64,
    fits: impl Fn(&&'a OwnPrice) -> bool,
) -> Option<&'a OwnPrice> {
    let begun = organisation.prices.iter().filter(fits).filter(|price| price.from_ns <= at_ns);
    begun.max_by_key(|price| price.from_ns).filter(|price| price.to_ns.is_none_or(|to_ns| at_ns < to_ns))
}

/// MON-4: units of the reporting currency for one of another on the UTC date of an instant.
#[must_use]
pub fn exchange(organisation: &Organisation, from: Currency, at_ns: i64) -> Option<Q> {
    exchange_on(organisation, from, utc_day(at_ns))
}

/// The same on a date.
#[must_use]
pub fn exchange_on(organisation: &Organisation, from: Currency, date: chrono::NaiveDate) -> Option<Q> {
    if from == organisation.currency {
        return Some(whole(1));
    }
    let ours = organisation
        .rates
        .iter()
        .filter(|rate| rate.from_currency == from && rate.to_currency == organisation.currency && rate.from <= date);
    ours.max_by_key(|rate| rate.from).map(|rate| of(rate.rate))
}

fn seller_of(event: &Event) -> Seller<'_> {
    Seller {
        provider: event.provider.as_ref(),
        model: event.model.as_ref(),
        tier: event.service_tier.as_ref(),
        at_ns: event.used_at_ns,
    }
}

fn bought(seller: Seller<'_>, what: What, quantity: Q, cost: Q) -> Bought {
    let (provider, model) = (seller.provider.cloned(), seller.model.cloned());
    Bought { provider, model, what, quantity, cost, unobserved: false }
}

/// Tokens where there are some, else units.
fn unpriced(seller: Seller<'_>, event: &Event, usage: Option<Usage>) -> Bought {
    let quantity = match (usage, &event.quantity) {
        (Some(usage), _) => whole(usage.total()),
        (None, Some(quantity)) => of(quantity.quantity),
        (None, None) => Q::zero(),
    };
    bought(seller, What::Unpriced, quantity, Q::zero())
}

/// MON-1: one rounding for the whole event; its parts by SPL-1 over the exact products.
fn book(seller: Seller<'_>, products: &[Product]) -> Vec<Bought> {
    let exact: Q = products.iter().map(|(_, _, cost)| cost).sum();
    let weights: BTreeMap<String, Q> = products.iter().map(|(what, _, cost)| (part_id(what), cost.clone())).collect();
    let parts = split(&to_pico(&exact), &weights);
    let part = |what: &What| parts.as_ref().map_or_else(Q::zero, |parts| parts[&part_id(what)].clone());
    products.iter().map(|(what, quantity, _)| bought(seller, what.clone(), quantity.clone(), part(what))).collect()
}

fn part_id(what: &What) -> String {
    match what {
        What::Tokens(class) => class.name().to_owned(),
        What::Units(sku, _) => sku.to_string(),
        _ => String::new(),
    }
}

/// EVT-5: the excess of one side over its classes, in proportion to how much more of each was reported.
#[must_use]
pub fn excess(own: Usage, below: Usage) -> Usage {
    let mut excess = Usage::NONE;
    for input_side in [true, false] {
        let classes = || TokenClass::ALL.into_iter().filter(|class| class.is_input_side() == input_side);
        let own_sum: u64 = classes().map(|class| own.get(class)).sum();
        let below_sum: u64 = classes().map(|class| below.get(class)).sum();
        if own_sum <= below_sum {
            continue;
        }
        let more = |class: TokenClass| own.get(class).saturating_sub(below.get(class));
        let weights: BTreeMap<String, Q> =
            classes().map(|class| (class.name().to_owned(), whole(more(class)))).collect();
        let total = ratio(own_sum - below_sum, 1_000_000_000_000_i64);
        let parts = split(&total, &weights).unwrap();
        for class in classes() {
            let tokens = (&parts[class.name()] * whole(1_000_000_000_000_i64)).to_integer();
            excess.set(class, u64::try_from(tokens).unwrap());
        }
    }
    excess
}
