//! The token price: pass-through of the ground truth (PRC-6). What it adds is in [`super::markup`].

use recoup_money::Amount;

/// What rated cost is charged at: itself. There is no variance, and nothing is rounded after the event.
#[must_use]
pub const fn token_charge(cost: Amount) -> Amount {
    cost
}
