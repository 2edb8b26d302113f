//! Locks: how far a price in force follows its candidate (PRC-3).
//!
//! What the semantics leave open, and what is done:
//! * With `locked`, a first price waits for a period to start too, like every other.
//! * With `banded`, the first price is the candidate: there is nothing to move from. Later ones move by whole grid steps,
//!   at least one, even where the band is narrower than that.

use recoup_model::organisation::PriceLock;
use recoup_money::{Amount, PICO_PER_UNIT, mul_div_half_even};

use super::{PriceError, PricePolicy};

/// The price in force after a night with this candidate; `overflow` is what a figure that does not fit is called.
pub(super) fn hold(
    last: Option<Amount>,
    candidate: Amount,
    policy: &PricePolicy,
    overflow: PriceError,
) -> Result<Option<Amount>, PriceError> {
    match (policy.lock, last) {
        (PriceLock::Floating, _) | (PriceLock::Banded, None) => Ok(Some(candidate)),
        (PriceLock::Locked, _) if policy.period_starts_tomorrow => Ok(Some(candidate)),
        (PriceLock::Locked, last) => Ok(last),
        (PriceLock::Banded, Some(last)) => {
            let percent = policy.band_percent.filter(|percent| *percent >= Amount::ZERO).ok_or(PriceError::Band)?;
            banded(last, candidate, percent, policy.price_grid).ok_or(overflow).map(Some)
        }
    }
}

/// The candidate, held within the band around the last price.
fn banded(last: Amount, candidate: Amount, percent: Amount, grid: Amount) -> Option<Amount> {
    let hundred = PICO_PER_UNIT.checked_mul(100)?;
    let band = Amount::from_pico(mul_div_half_even(last.pico(), percent.pico(), hundred)?).max(grid);
    let step = grid.pico();
    let highest = last.checked_add(band)?.pico().checked_div_euclid(step)?.checked_mul(step)?;
    let below = last.checked_sub(band)?.pico();
    let lowest = below.checked_add(step.checked_sub(1)?)?.checked_div_euclid(step)?.checked_mul(step)?;
    Some(candidate.min(Amount::from_pico(highest)).max(Amount::from_pico(lowest)).max(grid))
}
