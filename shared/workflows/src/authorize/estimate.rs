//! What a request says that it will cost at most, in the organisation's currency.
//!
//! A request bounds the tokens that go in and those that come out, whatever kind they turn out to be: each side is priced as
//! the dearest kind that the model has a price for. A provider may write the whole prompt into a cache, which costs more
//! than plain input, or read all of it as audio. Up to these bounds no mixture costs more, since a sum of tokens at the
//! prices of their kinds is at most the sum at the highest one.

use recoup_model::event::{Kind, Reported};
use recoup_model::rating::Rater as _;
use recoup_model::{CostPart, Event, Id, PriceQuery, Rating, Tags, TokenClass, Usage};
use recoup_money::{Amount, Currency};

use crate::app::World;
use crate::error::Refusal;

/// An upper bound of what is about to be spent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Estimate {
    /// Money.
    Money {
        /// How much, not negative.
        amount: Amount,
        /// In this currency.
        currency: Currency,
    },
    /// A call of a model, which we price.
    Tokens {
        /// Who sells it.
        provider: Id,
        /// Which model.
        model: Id,
        /// On which service tier; `None`: the standard one.
        service_tier: Option<Id>,
        /// Most tokens that go in, of whatever kind.
        input_tokens: u64,
        /// Most tokens that come out, of whatever kind.
        max_output_tokens: u64,
    },
}

/// What an estimate comes to in the currency `ours`.
pub(crate) fn price(estimate: &Estimate, world: &World, (ours, now_ns): (Currency, i64)) -> Result<Amount, Refusal> {
    match estimate {
        Estimate::Money { amount, currency } if *currency == ours => Ok(*amount),
        Estimate::Money { amount, currency } => {
            let reported = Some(Reported { amount: *amount, currency: *currency });
            let rating = world.prices.rate(&Event { reported, kind: Kind::Tool, ..empty(now_ns) });
            rating.cost().ok_or_else(|| {
                let detail = format!(
                    "there is no [[rates]] entry from {currency}; add one, or send the estimate in the organisation's currency"
                );
                Refusal::invalid("no-price", "estimate.currency", detail)
            })
        }
        Estimate::Tokens { provider, model, service_tier, input_tokens, max_output_tokens } => {
            let rate = |usage: Usage| {
                let (provider, model) = (Some(provider.as_ref()), Some(model.as_ref()));
                let service_tier = service_tier.as_deref();
                world.prices.rate_tokens(&PriceQuery { provider, model, service_tier, used_at_ns: now_ns, usage })
            };
            most(*input_tokens, *max_output_tokens, &rate).ok_or_else(|| {
                let tier = service_tier.as_ref().map(|tier| format!(" on the tier {tier}")).unwrap_or_default();
                let detail =
                    format!("{provider} {model} has no price{tier}; import one, or send the estimate as an amount");
                Refusal::invalid("no-price", "estimate.model", detail)
            })
        }
    }
}

/// The most that a call with so many tokens costs; `None`: a side has no price.
fn most(input: u64, output: u64, rate: &impl Fn(Usage) -> Rating) -> Option<Amount> {
    // Which rates hold depends on the context (RAT-1), which is the largest where all that goes in counts as such.
    let context = Usage::default().with(TokenClass::Input, input);
    let dearest = |tokens: u64, is_meant: &dyn Fn(TokenClass) -> bool| {
        let cost = |class: TokenClass| {
            let usage = if class.counts_as_context() { Usage::default() } else { context };
            cost_of(&rate(usage.with(class, tokens)), class)
        };
        TokenClass::ALL.into_iter().filter(|class| is_meant(*class)).filter_map(cost).max()
    };
    let goes_in = dearest(input, &TokenClass::is_input_side)?;
    let comes_out = dearest(output, &|class| !class.is_input_side())?;
    goes_in.checked_add(comes_out)
}

/// What the tokens of a class cost; `None`: the model has no price for them.
fn cost_of(rating: &Rating, class: TokenClass) -> Option<Amount> {
    let Rating::Priced { parts, .. } = rating else { return None };
    let costs = parts.iter().filter_map(|part| match part {
        CostPart::Tokens { class: of, cost, .. } if *of == class => Some(*cost),
        _ => None,
    });
    Amount::checked_sum(costs)
}

fn empty(now_ns: i64) -> Event {
    Event {
        trace_id: None,
        event_id: Id::from("estimate"),
        parent_id: None,
        used_at_ns: now_ns,
        duration_ms: None,
        kind: Kind::Tool,
        tags: Tags::default(),
        critical: false,
        status: None,
        provider: None,
        model: None,
        service_tier: None,
        usage: None,
        quantity: None,
        reported: None,
        response_id: None,
        retry_of: None,
        supersedes: None,
        reservation_id: None,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use std::collections::BTreeMap;

    use recoup_model::{Basis, UnpricedReason};

    use super::*;

    /// Prices per token by class, twice as much above a context of 1,000.
    fn rater(prices: &[(TokenClass, i128)]) -> impl Fn(Usage) -> Rating {
        let prices: BTreeMap<TokenClass, i128> = prices.iter().copied().collect();
        move |usage| {
            let times = if usage.context() > 1_000 { 2 } else { 1 };
            let part = |(class, tokens): (TokenClass, u64)| {
                let cost = Amount::from_pico(prices.get(&class)? * times * i128::from(tokens));
                Some(CostPart::Tokens { class, tokens, cost })
            };
            match usage.nonzero().map(part).collect::<Option<Vec<_>>>() {
                Some(parts) => {
                    let cost = Amount::checked_sum(parts.iter().map(CostPart::cost)).unwrap();
                    Rating::Priced { cost, parts, basis: Basis::Catalogue, disagrees: false }
                }
                None => Rating::Unpriced(UnpricedReason::NoRate),
            }
        }
    }

    #[test]
    fn bud_3_each_side_is_priced_as_its_dearest_kind() {
        use TokenClass::{AudioInput, CacheRead, CacheWrite1h, Input, Output, Reasoning};
        let text = [(Input, 4), (CacheRead, 1), (CacheWrite1h, 8), (Output, 20)];
        let pico = |prices: &[(TokenClass, i128)], input, output| most(input, output, &rater(prices)).map(Amount::pico);
        assert_eq!(pico(&text, 100, 10), Some(800 + 200));
        assert_eq!(pico(&text, 1_000, 10), Some(8_000 + 200));
        assert_eq!(pico(&text, 1_001, 10), Some(2 * (8_008 + 200)), "above the threshold all of it");
        let audio = [&text[..], &[(AudioInput, 9), (Reasoning, 30)]].concat();
        assert_eq!(pico(&audio, 1_001, 10), Some(2 * (9_009 + 300)), "what comes with audio may be text");
        assert_eq!(pico(&[(Input, 4)], 100, 0), Some(400), "nothing comes out");
        assert_eq!(pico(&[(Input, 4)], 100, 1), None);
        assert_eq!(pico(&text, 0, 0), Some(0));
    }

    #[test]
    fn bud_3_no_mixture_of_kinds_costs_more() {
        let prices: Vec<(TokenClass, i128)> =
            TokenClass::ALL.into_iter().zip([5, 1, 6, 10, 20, 25, 9, 40, 7, 30]).collect();
        let rate = rater(&prices);
        let sides = |is_input: bool| TokenClass::ALL.into_iter().filter(move |class| class.is_input_side() == is_input);
        for input in [1, 999, 1_000, 1_001, 1_500] {
            let bound = most(input, 70, &rate).unwrap();
            for (one, other) in sides(true).flat_map(|one| sides(true).map(move |other| (one, other))) {
                for share in [0, 1, input / 2, input] {
                    for out in sides(false) {
                        let mut usage = Usage::default().with(one, share);
                        usage.set(other, usage.get(other) + (input - share));
                        assert!(
                            rate(usage.with(out, 70)).cost().unwrap() <= bound,
                            "{one:?} {other:?} {share} of {input}"
                        );
                    }
                }
            }
        }
    }
}
