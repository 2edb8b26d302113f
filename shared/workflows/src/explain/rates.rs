//! What passed through, price by price: which of the provider's prices each cell was rated at, and the multiplication.

use std::collections::BTreeMap;

use num_bigint::BigInt;
use recoup_attribution::facts::CellValue;
use recoup_money::{Amount, PICO_PER_UNIT};

use super::case::Case;
use super::lens::Lens;
use super::provider::ProviderPrice;
use super::step::plus;
use crate::error::Refusal;

/// Cells that one price explains, or none alone.
#[derive(Default)]
struct Rated {
    quantity: Amount,
    cost: Amount,
}

/// The arithmetic of what a lens reads, a line a price. A cell that no single price explains, as its events were of several
/// tiers or contexts, is told as such.
pub(crate) fn arithmetic(case: &Case, lens: &Lens<'_>, prices: &[ProviderPrice]) -> Result<Vec<String>, Refusal> {
    let organisation = &case.world.history.on(case.through()).organisation;
    let (currency, has_rates) = (organisation.currency, !organisation.rates.is_empty());
    let calendar = case.world.history.calendar();
    let mut by_price: BTreeMap<Option<usize>, Rated> = BTreeMap::new();
    for (day, facts) in &case.days {
        let (begin_ns, end_ns) = calendar.day_bounds_ns(*day);
        let used = |value: &CellValue| !value.quantity.is_zero() || !value.cost.is_zero();
        for (_, value) in lens.cells(facts).into_iter().filter(|(_, value)| used(value)) {
            let holds = |price: &ProviderPrice| price.from_ns < end_ns && price.to_ns.is_none_or(|to| begin_ns < to);
            let fits = |price: &ProviderPrice| price.currency == currency && holds(price) && explains(price, value);
            let rated = by_price.entry(prices.iter().position(fits)).or_default();
            plus(&mut rated.quantity, value.quantity)?;
            plus(&mut rated.cost, value.cost)?;
        }
    }
    let mut lines = Vec::new();
    // What no price explains comes first in the map and last in the text.
    let alone = by_price.remove(&None);
    for (price, rated) in by_price.iter().filter_map(|(place, rated)| Some((prices.get((*place)?)?, rated))) {
        lines.push(multiplied(price, rated));
    }
    if let Some(rated) = alone {
        let why = match prices {
            [] if has_rates => {
                "as its source reported, by the exchange rate of its day where that was in another currency"
            }
            [] => "as its source reported",
            [one, ..] if one.currency != currency => "each event converted by the rate of its day",
            _ => "of several of these prices on one day; the events of the traces below tell which",
        };
        lines.push(format!("{} for {}: {why}", rated.quantity, rated.cost));
    }
    Ok(lines)
}

/// Whether quantity times price is the cost, but for the rounding of each event.
fn explains(price: &ProviderPrice, value: &CellValue) -> bool {
    let tolerance = i128::from(value.events.max(1)).checked_mul(price.per);
    let difference = || {
        let product = recoup_money::mul_div_half_even(value.quantity.pico(), price.rate.pico(), PICO_PER_UNIT)?;
        value.cost.pico().checked_mul(price.per)?.checked_sub(product)
    };
    difference().zip(tolerance).is_some_and(|(difference, tolerance)| difference.abs() <= tolerance)
}

fn multiplied(price: &ProviderPrice, rated: &Rated) -> String {
    let per = if price.per == 1 { String::new() } else { format!(" / {}", price.per) };
    let terms = format!("{} x {}{per}", rated.quantity, price.rate);
    let [quantity, rate, cost] = [rated.quantity, price.rate, rated.cost].map(|amount| BigInt::from(amount.pico()));
    let of = price.of();
    if quantity * rate == cost * PICO_PER_UNIT * price.per {
        format!("{terms} = {}{of}", rated.cost)
    } else {
        format!("{terms}, each event rounded to a picounit, = {}{of}", rated.cost)
    }
}
