//! Costs that `agent` events report (EVT-1, EVT-6): a frame has no cost of its own, so that what it reports is what everything
//! at and below it cost. What the spans below cost is billed there; only the excess is billed at the frame.
//!
//! What the rule leaves open: as with wrappers (EVT-5) a call that is billed in another trace was observed all the same, a
//! superseded one was not; what has no price below counts as not observed.

use recoup_model::{Basis, CostPart, Kind, Rater, Rating};
use recoup_money::Amount;

use crate::error::AttributionError;
use crate::sum::add_amount;
use crate::trace::Span;

/// Leaves of what frames report the excess over what was observed below them. `spans` are in preorder.
pub(crate) fn keep_excess(spans: &mut [Span], rater: &dyn Rater) -> Result<(), AttributionError> {
    if !spans.iter().any(is_reported_frame) {
        return Ok(());
    }
    let mut observed = vec![Amount::ZERO; spans.len()];
    for at in (0..spans.len()).rev() {
        let below = observed.get(at).copied().unwrap_or_default();
        let Some(span) = spans.get_mut(at) else { continue };
        let mut whole = cost_of(span, rater)?;
        if is_reported_frame(span) {
            let excess = Some(whole).filter(|whole| *whole > below).and_then(|whole| whole.checked_sub(below));
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

fn is_reported_frame(span: &Span) -> bool {
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
