//! Which provider prices the events of a line could have: the organisation's own before the catalogues (RAT-1).

use recoup_ledger::Line;
use recoup_model::TokenClass;
use recoup_model::period::format_instant;
use recoup_money::{Amount, Currency};
use recoup_pricing::{PriceEntry, Priced, RateTable, TOKENS_PER_RATE, rate_of};

use crate::app::World;

/// A price that events of a line could have.
pub(crate) struct ProviderPrice {
    pub(crate) from_ns: i64,
    pub(crate) to_ns: Option<i64>,
    source: String,
    tier: &'static str,
    context: String,
    pub(crate) rate: Amount,
    /// How many tokens or units the rate is for.
    pub(crate) per: i128,
    words: String,
    pub(crate) currency: Currency,
}

impl ProviderPrice {
    /// Service tier and context in brackets, where they are not the usual ones.
    pub(crate) fn of(&self) -> String {
        let parts = [self.tier, self.context.as_str()].into_iter().filter(|part| !matches!(*part, "" | "standard"));
        let parts: Vec<&str> = parts.collect();
        if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
    }

    /// From, to, source, tier, context, price, currency.
    pub(crate) fn row(&self) -> Vec<String> {
        vec![
            format_instant(self.from_ns),
            self.to_ns.map(format_instant).unwrap_or_default(),
            self.source.clone(),
            self.tier.to_owned(),
            self.context.clone(),
            self.words.clone(),
            self.currency.to_string(),
        ]
    }
}

/// Every price that holds at some time of the month.
pub(crate) fn prices(world: &World, line: &Line, (begin_ns, end_ns): (i64, i64)) -> Vec<ProviderPrice> {
    let own = world.history.versions().iter().flat_map(|version| &version.organisation.prices);
    let mut own: Vec<PriceEntry> = own.filter_map(|price| PriceEntry::try_from(price).ok()).collect();
    own.dedup();
    let listed = world.catalogues.iter().flatten().flat_map(|catalogue| catalogue.entries());
    let sources = own.iter().map(|entry| (entry, true)).chain(listed.map(|entry| (entry, false)));
    let holds = |entry: &PriceEntry| entry.from_ns < end_ns && entry.to_ns.is_none_or(|to_ns| begin_ns < to_ns);
    sources.filter(|(entry, _)| holds(entry)).flat_map(|(entry, is_own)| of_entry(entry, line, is_own)).collect()
}

fn of_entry(entry: &PriceEntry, line: &Line, is_own: bool) -> Vec<ProviderPrice> {
    let key = &line.key;
    let source = if is_own { "organisation" } else { entry.source.as_deref().unwrap_or("catalogue") };
    let price = |(tier, context): (&'static str, String), (rate, per): (Amount, i128), words: String| ProviderPrice {
        from_ns: entry.from_ns,
        to_ns: entry.to_ns,
        source: source.to_owned(),
        tier,
        context,
        rate,
        per,
        words,
        currency: entry.currency,
    };
    match (&entry.priced, key.class) {
        (Priced::Model(model), Some(class)) => {
            let named = |name: &str| *model.model == *name || model.aliases.iter().any(|alias| **alias == *name);
            let is_it = key.provider.as_deref() == Some(&*model.provider) && key.model.as_deref().is_some_and(named);
            if !is_it {
                return Vec::new();
            }
            let tables = std::iter::once(("standard", &model.standard))
                .chain(model.tiers.iter().map(|(tier, table)| (tier.name(), table)));
            let of_table = |(tier, table)| {
                let rates = rates(table, class).into_iter();
                rates.map(move |(context, rate)| {
                    ((tier, context), (rate, TOKENS_PER_RATE), format!("{rate} per million"))
                })
            };
            tables.flat_map(of_table).map(|(of, rate, words)| price(of, rate, words)).collect()
        }
        (Priced::Unit(unit), None) if key.sku.as_deref() == Some(&*unit.sku) => {
            let per = unit.unit.as_deref().unwrap_or("unit");
            vec![price(("", String::new()), (unit.price, 1), format!("{} per {per}", unit.price))]
        }
        _ => Vec::new(),
    }
}

/// The rate of a class below and above the context threshold.
fn rates(table: &RateTable, class: TokenClass) -> Vec<(String, Amount)> {
    let below = rate_of(&table.per_million, class).map(|rate| (String::new(), rate));
    let above = table
        .long_context
        .as_ref()
        .and_then(|long| Some((format!("above {} tokens", long.above), rate_of(&long.per_million, class)?)));
    below.into_iter().chain(above).collect()
}
