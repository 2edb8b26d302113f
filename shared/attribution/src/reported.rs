//! Costs that `agent` events report (EVT-1, EVT-6): a frame has no cost of its own, so that what it reports is what everything
//! at and below it cost. What the spans below cost is billed there; only the excess is billed at the frame.
//!
//! What the rule leaves open: as with wrappers (EVT-5) a call that is billed in another trace was observed all the same, one
//! that this trace reports twice was observed once, a superseded one was not; what has no price below counts as not
//! observed. Below a wrapper a frame bills nothing: the wrapper's tokens stand for all of it, and tokens come before reported
//! costs (EVT-6).

use recoup_model::{Basis, CostPart, Kind, Rater, Rating};
use recoup_money::Amount;

use crate::error::AttributionError;
use crate::sum::add_amount;
use crate::trace::{Span, meets_at};

/// Leaves of what frames report the excess over what was observed below them. `spans` are in preorder.
pub(crate) fn keep_excess(spans: &mut [Span], rater: &dyn Rater) -> Result<(), AttributionError> {
    if rater.is_before_rules_5() || !spans.iter().any(is_reported_frame) {
        return Ok(());
    }
    let below_wrapper = below_wrappers(spans);
    let mut observed = vec![Amount::ZERO; spans.len()];
    // What was observed twice at or below a span, of two reports of one call.
    let mut twice = vec![Amount::ZERO; spans.len()];
    for at in (0..spans.len()).rev() {
        let meets_at = meets_at(spans, at);
        let Some(span) = spans.get_mut(at) else { continue };
        let mut whole = cost_of(span, rater)?;
        if let Some(sum) = meets_at.and_then(|at| twice.get_mut(at)) {
            add_amount(sum, whole, "observed")?;
        }
        let below = observed.get(at).copied().unwrap_or_default();
        let below = below.checked_sub(twice.get(at).copied().unwrap_or_default()).unwrap_or_default();
        if is_reported_frame(span) {
            let bills = below_wrapper.get(at) == Some(&false);
            let excess = Some(whole).filter(|whole| bills && *whole > below).and_then(|whole| whole.checked_sub(below));
            whole = excess.unwrap_or_default();
            // Without an exchange rate its cost stays unknown.
            if span.counts() && matches!(span.own, Rating::Priced { .. }) {
                span.own = excess.map_or(Rating::Free, reported);
            }
        }
        add_amount(&mut whole, below, "observed")?;
        if let Some(above) = span.parent.and_then(|parent| observed.get_mut(parent)) {
            add_amount(above, whole, "observed")?;
        }
    }
    Ok(())
}

/// Whether a wrapper stands above, by position.
fn below_wrappers(spans: &[Span]) -> Vec<bool> {
    let mut below = vec![false; spans.len()];
    for (at, span) in spans.iter().enumerate() {
        let Some(parent) = span.parent else { continue };
        let is_wrapper = spans.get(parent).is_some_and(|above| above.is_wrapper() && above.superseded_by.is_none());
        let is_below = is_wrapper || below.get(parent) == Some(&true);
        if let Some(slot) = below.get_mut(at) {
            *slot = is_below;
        }
    }
    below
}

/// Whether a span is a frame that reports a cost and nothing that could be priced.
pub(crate) fn is_reported_frame(span: &Span) -> bool {
    let event = &span.event;
    event.kind == Kind::Agent && event.usage.is_none() && event.quantity.is_none() && event.reported.is_some()
}

fn reported(cost: Amount) -> Rating {
    Rating::Priced { cost, parts: vec![CostPart::Reported { cost }], basis: Basis::Reported, disagrees: false }
}

/// What the span itself costs, here or in another trace.
fn cost_of(span: &Span, rater: &dyn Rater) -> Result<Amount, AttributionError> {
    if span.superseded_by.is_some() {
        return Ok(Amount::ZERO);
    }
    if span.excluded {
        return Ok(rater.rate(&span.event).cost().unwrap_or_default());
    }
    let mut cost = span.own.cost().unwrap_or_default();
    let unobserved = span.unobserved.as_ref().and_then(|unobserved| unobserved.rating.cost());
    add_amount(&mut cost, unobserved.unwrap_or_default(), "observed")?;
    Ok(cost)
}
