//! What closed and open periods owe to the next one under `carry` (LED-3).
//!
//! Months are settled in calendar order and may be closed in any. Where one is closed before the month before it, it has
//! taken in what that month had carried out so far; what becomes of the difference is decided here: the next open month
//! takes it in. So the account `carried` of all months together is what the next one opens with, and nothing is stranded.

use std::collections::BTreeMap;

use recoup_money::Amount;

use crate::error::{LedgerError, fits};
use crate::line::PricedKey;
use crate::settle::Opening;

/// What was carried out and not yet taken in, by agent, task type and billing model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Carried(BTreeMap<PricedKey, Amount>);

impl Carried {
    /// Goes past a period, open or closed: what it took in is settled, what it carried out is owed.
    ///
    /// # Errors
    /// [`LedgerError::Overflow`].
    pub fn pass(&mut self, opening: &Opening, closing: &Opening) -> Result<(), LedgerError> {
        for (key, taken_in) in &opening.carried {
            let owed = self.0.entry(key.clone()).or_default();
            *owed = fits(owed.checked_sub(*taken_in), "the carried variance")?;
        }
        for (key, carried_out) in &closing.carried {
            let owed = self.0.entry(key.clone()).or_default();
            *owed = fits(owed.checked_add(*carried_out), "the carried variance")?;
        }
        self.0.retain(|_, owed| !owed.is_zero());
        Ok(())
    }

    /// The opening of the next open period: the prices that the period before left behind, and everything that is owed.
    #[must_use]
    pub fn open(&self, before: &Opening) -> Opening {
        Opening { prices: before.prices.clone(), carried: self.0.clone() }
    }
}
