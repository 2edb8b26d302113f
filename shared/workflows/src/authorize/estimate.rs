//! What a request says that it will cost at most, in the organisation's currency.

use recoup_model::event::{Kind, Reported};
use recoup_model::rating::Rater as _;
use recoup_model::{Event, Id, Tags, TokenClass, Usage};
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
        /// Tokens that go in, priced as plain input.
        input_tokens: u64,
        /// Most tokens that come out.
        max_output_tokens: u64,
    },
}

/// What an estimate comes to.
pub(crate) fn price(estimate: &Estimate, world: &World, now_ns: i64) -> Result<Amount, Refusal> {
    let (event, field) = match estimate {
        Estimate::Money { amount, currency } => {
            let reported = Some(Reported { amount: *amount, currency: *currency });
            (Event { reported, kind: Kind::Tool, ..empty(now_ns) }, "estimate.currency")
        }
        Estimate::Tokens { provider, model, input_tokens, max_output_tokens } => {
            let mut usage = Usage::default();
            usage.set(TokenClass::Input, *input_tokens);
            usage.set(TokenClass::Output, *max_output_tokens);
            let (provider, model) = (Some(provider.clone()), Some(model.clone()));
            (Event { usage: Some(usage), provider, model, kind: Kind::Llm, ..empty(now_ns) }, "estimate.model")
        }
    };
    let rating = world.prices.rate(&event);
    rating.cost().ok_or_else(|| {
        let detail = match estimate {
            Estimate::Money { currency, .. } => {
                format!("there is no [[rates]] entry from {currency}; add one, or send the estimate in the organisation's currency")
            }
            Estimate::Tokens { provider, model, .. } => {
                format!("{provider} {model} has no price; import one, or send the estimate as an amount")
            }
        };
        Refusal::invalid("no-price", field, detail)
    })
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
