//! Checked accumulation (MON-3).

use recoup_money::Amount;

use crate::error::AttributionError;

/// Adds to an amount.
pub(crate) fn add_amount(total: &mut Amount, more: Amount, field: &'static str) -> Result<(), AttributionError> {
    *total = total.checked_add(more).ok_or(AttributionError::Overflow { field })?;
    Ok(())
}

/// Adds to a count.
pub(crate) fn add_count(total: &mut u64, more: u64, field: &'static str) -> Result<(), AttributionError> {
    *total = total.checked_add(more).ok_or(AttributionError::Overflow { field })?;
    Ok(())
}
