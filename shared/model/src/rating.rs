//! What rating an event gives: an exact cost by token class or SKU, or the reason why there is none (RAT-1, RAT-2).

use recoup_money::{Amount, Currency};
use serde::{Deserialize, Serialize};

use crate::event::{Event, Id};
use crate::usage::{TokenClass, Usage};

/// Where a rated cost came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// The catalogue or the organisation's own price.
    Catalogue,
    /// The source's own figure, because there was no price or no usage (EVT-6).
    Reported,
}

/// Why an event has no cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnpricedReason {
    /// No entry for (provider, model) at `used_at`.
    UnknownModel,
    /// An entry, but not for this service tier.
    UnknownTier,
    /// An entry, but no rate for a token class that was used and no rule that supplies one.
    NoRate,
    /// No entry for the SKU at `used_at`, or in another unit.
    UnknownSku,
    /// A cost-bearing event that reported neither usage, nor quantity, nor cost.
    NoUsage,
    /// No dated rate into the organisation's currency (MON-4).
    NoExchangeRate,
    /// The product overflows (MON-3).
    Overflow,
}

/// A part of an event's cost. The parts sum to the event's cost exactly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CostPart {
    /// Tokens of a class.
    Tokens {
        /// Which class.
        class: TokenClass,
        /// How many.
        tokens: u64,
        /// What they cost.
        cost: Amount,
    },
    /// Units of a SKU.
    Units {
        /// Which SKU.
        sku: Id,
        /// How many units, exact decimal.
        quantity: Amount,
        /// Of what.
        unit: Option<Id>,
        /// What they cost.
        cost: Amount,
    },
    /// A reported cost that has no usage to hang on.
    Reported {
        /// What it costs.
        cost: Amount,
    },
}

impl CostPart {
    /// What the part costs.
    #[must_use]
    pub const fn cost(&self) -> Amount {
        match self {
            Self::Tokens { cost, .. } | Self::Units { cost, .. } | Self::Reported { cost } => *cost,
        }
    }
}

/// The result of rating one event, in the organisation's currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rating {
    /// A cost, rounded once (MON-1).
    Priced {
        /// The whole cost.
        cost: Amount,
        /// Its parts, which sum to it.
        parts: Vec<CostPart>,
        /// Where it came from.
        basis: Basis,
        /// Reported and catalogue cost differ beyond 0.2x to 5x (EVT-6).
        disagrees: bool,
    },
    /// No cost is known; it is never zero (RAT-2).
    Unpriced(UnpricedReason),
    /// The event bears no cost: an `agent` frame without usage, quantity or reported cost.
    Free,
}

impl Rating {
    /// The cost, where one is known.
    #[must_use]
    pub const fn cost(&self) -> Option<Amount> {
        match self {
            Self::Priced { cost, .. } => Some(*cost),
            Self::Unpriced(_) => None,
            Self::Free => Some(Amount::ZERO),
        }
    }
}

/// What tokens of an unobserved call are priced by (EVT-5).
#[derive(Clone, Copy, Debug)]
pub struct PriceQuery<'a> {
    /// Who sold it.
    pub provider: Option<&'a str>,
    /// Which model.
    pub model: Option<&'a str>,
    /// Which tier.
    pub service_tier: Option<&'a str>,
    /// When, nanoseconds since 1970-01-01T00:00:00Z.
    pub used_at_ns: i64,
    /// How many tokens.
    pub usage: Usage,
}

/// A reported cost may be this many times the listed one, or the other way round, before they disagree (EVT-6).
pub const REPORTED_TOLERANCE: u8 = 5;

/// What a token of each class costs while nothing has to be rounded, converted or looked up again: a product of whole
/// numbers. What it does not cover is rated one event at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tariff {
    /// First instant at which it holds, nanoseconds since 1970-01-01T00:00:00Z
    pub from_ns: i64,
    /// and the first at which it does not any more.
    pub to_ns: i64,
    /// The largest context (RAT-1) that it holds for.
    pub context_max: u64,
    /// Picounits of the reporting currency per token, by class in class order; `None`: it says nothing of that class.
    pub per_token_pico: [Option<i64>; TokenClass::ALL.len()],
}

/// What a unit of a SKU costs for a stretch of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnitTariff {
    /// First instant at which it holds, nanoseconds since 1970-01-01T00:00:00Z
    pub from_ns: i64,
    /// and the first at which it does not any more.
    pub to_ns: i64,
    /// In the reporting currency.
    pub price: Amount,
}

/// Prices events. Implemented by the catalogue; attribution asks it and knows no price itself.
pub trait Rater: Send + Sync {
    /// The rating of an event by its own usage, quantity and reported cost.
    fn rate(&self, event: &Event) -> Rating;
    /// The rating of tokens alone.
    fn rate_tokens(&self, query: &PriceQuery<'_>) -> Rating;
    /// The ratings of a wrapper's quantity and of what only it saw (EVT-5), rounded together: they are one event's (MON-1).
    /// `None` where one of both has no price, or there is no quantity: then each is rated for itself.
    fn rate_wrapper(&self, event: &Event, excess: &PriceQuery<'_>) -> Option<(Rating, Rating)> {
        let _ = (event, excess);
        None
    }
    /// The tariff of a model at the query's instant, where there is one; its usage is not looked at. It gives the
    /// same cost and parts as [`Self::rate_tokens`], and as [`Self::rate`] of an event that reports nothing but tokens.
    fn tariff(&self, query: &PriceQuery<'_>) -> Option<Tariff> {
        let _ = query;
        None
    }
    /// The tariff of a SKU sold in some unit at an instant, where it is in the reporting currency. An event that reports
    /// nothing but a quantity costs the product, rounded half to even to picounits.
    fn unit_tariff(&self, sku: &str, unit: Option<&Id>, at_ns: i64) -> Option<UnitTariff> {
        let _ = (sku, unit, at_ns);
        None
    }
    /// The currency whose reported costs are taken as they are (EVT-6), where the rater says so.
    fn reporting_currency(&self) -> Option<Currency> {
        None
    }

    /// Whether it is for a month that was closed before version 5 of the rules and keeps those (LED-4): what an `agent` event
    /// reports is billed beside what is below it (EVT-1), and of a call that a trace reports twice both were observed (EVT-5).
    fn is_before_rules_5(&self) -> bool {
        false
    }
}
