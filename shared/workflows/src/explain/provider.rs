//! Which provider prices the events of a line could have: the organisation's own before the catalogues (RAT-1).

use recoup_ledger::Line;
use recoup_model::TokenClass;
use recoup_model::period::format_instant;
use recoup_pricing::{PriceEntry, Priced, RateTable};

use crate::app::World;

/// From, to, source, tier, context, price, currency of every entry that holds at some time of the month.
pub(crate) fn rows(world: &World, line: &Line, (begin_ns, end_ns): (i64, i64)) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let own = world.history.versions().iter().flat_map(|version| &version.organisation.prices);
    let mut own: Vec<PriceEntry> = own.filter_map(|price| PriceEntry::try_from(price).ok()).collect();
    own.dedup();
    let listed = world.catalogues.iter().flat_map(|catalogue| catalogue.entries());
    let sources = own.iter().map(|entry| (entry, true)).chain(listed.map(|entry| (entry, false)));
    for (entry, is_own) in sources {
        let holds = entry.from_ns < end_ns && entry.to_ns.is_none_or(|to_ns| begin_ns < to_ns);
        if holds && !rows_of(entry, line, is_own).is_empty() {
            rows.extend(rows_of(entry, line, is_own));
        }
    }
    rows
}

fn rows_of(entry: &PriceEntry, line: &Line, is_own: bool) -> Vec<Vec<String>> {
    let key = &line.key;
    let source = if is_own { "organisation" } else { entry.source.as_deref().unwrap_or("catalogue") };
    let row = |tier: &str, context: String, price: String| {
        let to = entry.to_ns.map(format_instant).unwrap_or_default();
        vec![
            format_instant(entry.from_ns),
            to,
            source.to_owned(),
            tier.to_owned(),
            context,
            price,
            entry.currency.to_string(),
        ]
    };
    match (&entry.priced, key.class) {
        (Priced::Model(price), Some(class)) => {
            let named = |name: &str| *price.model == *name || price.aliases.iter().any(|alias| **alias == *name);
            let is_it = key.provider.as_deref() == Some(&*price.provider) && key.model.as_deref().is_some_and(named);
            if !is_it {
                return Vec::new();
            }
            let tables = std::iter::once(("standard", &price.standard))
                .chain(price.tiers.iter().map(|(tier, table)| (tier.name(), table)));
            tables
                .flat_map(|(tier, table)| {
                    rates(table, class).map(|(context, rate)| row(tier, context, rate)).collect::<Vec<_>>()
                })
                .collect()
        }
        (Priced::Unit(price), None) if key.sku.as_deref() == Some(&*price.sku) => {
            let per = price.unit.as_deref().unwrap_or("unit");
            vec![row("", String::new(), format!("{} per {per}", price.price))]
        }
        _ => Vec::new(),
    }
}

/// The rate of a class below and above the context threshold, where it is stated.
fn rates(table: &RateTable, class: TokenClass) -> impl Iterator<Item = (String, String)> + '_ {
    let words = |rate: &recoup_money::Amount| format!("{rate} per million");
    let below = table.per_million.get(&class).map(|rate| (String::new(), words(rate)));
    let above = table.long_context.as_ref().and_then(|long| {
        long.per_million.get(&class).map(|rate| (format!("above {} tokens", long.above), words(rate)))
    });
    below.into_iter().chain(above)
}
