//! Compares two catalogues, such as the shipped one and an import.

use std::collections::BTreeSet;

use recoup_model::{Id, TokenClass};
use recoup_money::{Amount, PICO_PER_UNIT};

use crate::catalogue::Catalogue;
use crate::entry::{ModelPrice, Priced, RateTable, Rates, Tier, rate_of};

/// What two catalogues say differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Compared {
    /// The rate per million tokens of a class.
    Rate(TokenClass),
    /// The same above the context threshold.
    LongRate(TokenClass),
    /// The threshold itself, in tokens; `None`: there is none.
    Threshold,
}

/// A figure of a model that two catalogues state differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disagreement {
    /// Who sells it.
    pub provider: Id,
    /// Which model, as `ours` calls it.
    pub model: Id,
    /// Which tier; `None`: standard.
    pub tier: Option<Tier>,
    /// Which figure.
    pub what: Compared,
    /// What the first catalogue says.
    pub ours: Option<Amount>,
    /// What the second says.
    pub theirs: Option<Amount>,
}

/// Every difference between the models that both catalogues price at an instant, in the tiers that both price.
/// A rate that a rule of RAT-1 supplies counts as stated. Prices in two currencies are not compared.
#[must_use]
pub fn check(ours: &Catalogue, theirs: &Catalogue, at_ns: i64) -> Vec<Disagreement> {
    let mut found = Vec::new();
    for entry in ours.entries() {
        let Priced::Model(price) = &entry.priced else { continue };
        let in_force = ours.model(&price.provider, &price.model, at_ns).is_some_and(|(held, _)| held == entry);
        let Some((other, other_price)) = theirs.model(&price.provider, &price.model, at_ns) else { continue };
        if in_force && entry.currency == other.currency {
            found.extend(compare(price, other_price).into_iter().map(|(tier, what, ours, theirs)| Disagreement {
                provider: Id::clone(&price.provider),
                model: Id::clone(&price.model),
                tier,
                what,
                ours,
                theirs,
            }));
        }
    }
    found
}

type Difference = (Option<Tier>, Compared, Option<Amount>, Option<Amount>);

fn compare(ours: &ModelPrice, theirs: &ModelPrice) -> Vec<Difference> {
    let tiers = ours.tiers.iter().filter_map(|(tier, table)| Some((Some(*tier), table, theirs.tiers.get(tier)?)));
    std::iter::once((None, &ours.standard, &theirs.standard))
        .chain(tiers)
        .flat_map(|(tier, a, b)| compare_tables(a, b).into_iter().map(move |(what, x, y)| (tier, what, x, y)))
        .collect()
}

fn compare_tables(ours: &RateTable, theirs: &RateTable) -> Vec<(Compared, Option<Amount>, Option<Amount>)> {
    let mut found = compare_rates(&ours.per_million, &theirs.per_million, Compared::Rate);
    let threshold = |table: &RateTable| table.long_context.as_ref().and_then(|long| tokens(long.above));
    if threshold(ours) != threshold(theirs) {
        found.push((Compared::Threshold, threshold(ours), threshold(theirs)));
    }
    if let (Some(ours), Some(theirs)) = (&ours.long_context, &theirs.long_context) {
        found.extend(compare_rates(&ours.per_million, &theirs.per_million, Compared::LongRate));
    }
    found
}

fn tokens(count: u64) -> Option<Amount> {
    Amount::from_pico(PICO_PER_UNIT).checked_mul(i128::from(count))
}

fn compare_rates(
    ours: &Rates,
    theirs: &Rates,
    what: impl Fn(TokenClass) -> Compared,
) -> Vec<(Compared, Option<Amount>, Option<Amount>)> {
    let classes: BTreeSet<TokenClass> = ours.keys().chain(theirs.keys()).copied().collect();
    classes
        .into_iter()
        .map(|class| (what(class), rate_of(ours, class), rate_of(theirs, class)))
        .filter(|(_, a, b)| a != b)
        .collect()
}
