//! Wrappers (EVT-5): `agent` events that report usage which may or may not have been observed below them.
//!
//! What the rule leaves open: the excess of a side goes to the token classes in which the wrapper reports more than was
//! observed, in proportion (SPL-1); a call that is billed in another trace (EVT-2) was observed all the same, one that
//! this trace reports twice was observed once, a superseded one (EVT-3) was not. What the wrapper bought by the piece and its excess are one event's cost, rounded once
//! (MON-1), where both have a price.

use recoup_model::{Event, PriceQuery, Rater, Rating, TokenClass, UnpricedReason, Usage};
use recoup_money::{Share, split};

use crate::error::AttributionError;
use crate::trace::{Span, Unobserved, meets_at};

const OVERFLOW: AttributionError = AttributionError::Overflow { field: "usage" };

/// The models that events at or below a span name.
#[derive(Clone, Copy, Default)]
enum Models {
    #[default]
    None,
    /// One (provider, model): that of the span at this index.
    Only(usize),
    Several,
}

/// What counts at or below a span.
#[derive(Clone, Copy, Default)]
struct Observed {
    usage: Usage,
    models: Models,
}

/// Finds what only wrappers saw, and prices it. `spans` are in preorder.
pub(crate) fn find_unobserved(spans: &mut [Span], rater: &dyn Rater) -> Result<(), AttributionError> {
    if !spans.iter().any(Span::is_wrapper) {
        return Ok(());
    }
    let mut observed = vec![Observed::default(); spans.len()];
    // What was observed twice below a span, of two reports of one call.
    let mut twice = vec![Usage::NONE; spans.len()];
    for at in (0..spans.len()).rev() {
        let mut below = observed.get(at).copied().unwrap_or_default();
        below.usage = without(&below.usage, twice.get(at).unwrap_or(&Usage::NONE));
        let Some(span) = spans.get(at) else { continue };
        let parent = span.parent;
        let (mut adds, priced) = observe(span, &below, spans, rater)?;
        match meets_at(spans, at).filter(|_| !rater.is_before_rules_5()) {
            // What it reports lies below it already.
            Some(here) if here == at => adds = Usage::NONE,
            Some(up) => {
                if let Some(sum) = twice.get_mut(up) {
                    *sum = add_usage(sum, &adds)?;
                }
            }
            None => {}
        }
        if let (Some(span), Some(priced)) = (spans.get_mut(at), priced) {
            span.unobserved = Some(priced.unobserved);
            span.own = priced.own.unwrap_or_else(|| span.own.clone());
        }
        let whole = Observed {
            usage: add_usage(&below.usage, &adds)?,
            models: join_models(below.models, named_model(spans, at), spans),
        };
        if let Some(above) = parent.and_then(|parent| observed.get_mut(parent)) {
            above.usage = add_usage(&above.usage, &whole.usage)?;
            above.models = join_models(above.models, whole.models, spans);
        }
    }
    Ok(())
}

/// What only a wrapper saw, and its own rating where that is rounded together with it.
struct Priced {
    unobserved: Unobserved,
    own: Option<Rating>,
}

/// What the span adds to the usage below it, and, where only a wrapper saw that, its price.
fn observe(
    span: &Span,
    below: &Observed,
    spans: &[Span],
    rater: &dyn Rater,
) -> Result<(Usage, Option<Priced>), AttributionError> {
    let Some(usage) = span.event.usage.filter(|_| span.superseded_by.is_none()) else {
        return Ok((Usage::NONE, None));
    };
    if !span.is_wrapper() {
        return Ok((usage, None));
    }
    let excess = find_excess(&usage, &below.usage)?;
    let bills = span.counts() && excess != Usage::NONE;
    Ok((excess, bills.then(|| price(span, excess, below.models, spans, rater))))
}

fn price(span: &Span, usage: Usage, below: Models, spans: &[Span], rater: &dyn Rater) -> Priced {
    let priced_as: Option<&Event> = match below {
        _ if span.event.model.is_some() => Some(&span.event),
        Models::Only(at) => spans.get(at).map(|span| &span.event),
        Models::None | Models::Several => None,
    };
    let Some(priced_as) = priced_as else {
        let rating = Rating::Unpriced(UnpricedReason::UnknownModel);
        let unobserved = Unobserved { usage, provider: span.event.provider.clone(), model: None, rating };
        return Priced { unobserved, own: None };
    };
    let query = PriceQuery {
        provider: priced_as.provider.as_deref(),
        model: priced_as.model.as_deref(),
        service_tier: span.event.service_tier.as_deref(),
        used_at_ns: span.event.used_at_ns,
        usage,
    };
    let (own, rating) = match rater.rate_wrapper(&span.event, &query) {
        Some((own, rating)) => (Some(own), rating),
        None => (None, rater.rate_tokens(&query)),
    };
    let (provider, model) = (priced_as.provider.clone(), priced_as.model.clone());
    Priced { unobserved: Unobserved { usage, provider, model, rating }, own }
}

/// What a wrapper reports beyond what is below it, side by side.
fn find_excess(own: &Usage, below: &Usage) -> Result<Usage, AttributionError> {
    let mut excess = Usage::NONE;
    for input_side in [true, false] {
        let classes: Vec<TokenClass> =
            TokenClass::ALL.into_iter().filter(|class| class.is_input_side() == input_side).collect();
        let missing = sum_side(own, &classes)?.saturating_sub(sum_side(below, &classes)?);
        let shares: Vec<Share<'_, u128>> = classes
            .iter()
            .map(|class| Share {
                id: class.name().as_bytes(),
                weight: u128::from(own.get(*class).saturating_sub(below.get(*class))),
            })
            .collect();
        // A side that is larger is larger in one of its classes: there is a weight wherever something is missing.
        let Some(parts) = split(i128::from(missing), &shares) else { continue };
        for (class, part) in classes.iter().zip(parts) {
            excess.set(*class, u64::try_from(part).map_err(|_| OVERFLOW)?);
        }
    }
    Ok(excess)
}

fn sum_side(usage: &Usage, classes: &[TokenClass]) -> Result<u64, AttributionError> {
    classes.iter().try_fold(0_u64, |sum, class| sum.checked_add(usage.get(*class))).ok_or(OVERFLOW)
}

fn add_usage(one: &Usage, other: &Usage) -> Result<Usage, AttributionError> {
    let mut sum = *one;
    for (class, tokens) in other.nonzero() {
        sum.set(class, one.get(class).checked_add(tokens).ok_or(OVERFLOW)?);
    }
    Ok(sum)
}

fn without(whole: &Usage, part: &Usage) -> Usage {
    let mut rest = *whole;
    for (class, tokens) in part.nonzero() {
        rest.set(class, whole.get(class).saturating_sub(tokens));
    }
    rest
}

fn named_model(spans: &[Span], at: usize) -> Models {
    let names_one = |span: &&Span| span.superseded_by.is_none() && span.event.model.is_some();
    spans.get(at).filter(names_one).map_or(Models::None, |_| Models::Only(at))
}

fn join_models(one: Models, other: Models, spans: &[Span]) -> Models {
    let pair = |at: usize| spans.get(at).map(|span| (&span.event.provider, &span.event.model));
    match (one, other) {
        (Models::None, models) | (models, Models::None) => models,
        (Models::Only(a), Models::Only(b)) if pair(a) == pair(b) => Models::Only(a),
        _ => Models::Several,
    }
}
