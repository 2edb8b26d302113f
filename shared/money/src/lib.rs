//! Exact money: amounts, currencies, the one rounding rule, exact splitting.
//!
//! Owns: [`Amount`] (an exact number of picounits, 10^-12 of a currency unit), [`Currency`], half-to-even division,
//! the largest-remainder split and the rounding of a statement.
//! Does not own: prices, tokens, accounts, or which currency an organisation reports in.
//! Invariants: MON-1, MON-2, MON-3, SPL-1.
//! Start reading at [`Amount`], then [`split`].

mod amount;
mod currency;
mod rounding;
mod split;

pub use amount::{Amount, AmountError, PICO_DIGITS, PICO_PER_UNIT};
pub use currency::{Currency, UnknownCurrency};
pub use rounding::{div_half_even, mul_div_half_even, round_to_step};
pub use split::{Share, round_statement, split, split_big};
