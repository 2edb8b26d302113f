//! What a price model adds to its charges (PRC-5): a line of its own, no part of the variance.

use recoup_model::organisation::Markup;

use crate::number::{Q, of, to_pico, whole};

/// A markup as text.
#[must_use]
pub fn shown(markup: &Markup) -> String {
    match markup {
        Markup::Percent(percent) => format!("{percent}%"),
        Markup::Fixed(price) => format!("{price} each"),
    }
}

/// The markup on one charge of so many units, rounded once; and what it is taken of.
#[must_use]
pub fn on(markup: Markup, charge: &Q, units: &Q) -> (Q, Q) {
    match markup {
        Markup::Percent(percent) => (to_pico(&(charge * of(percent) / whole(100))), charge.clone()),
        Markup::Fixed(price) => (to_pico(&(of(price) * units)), units.clone()),
    }
}
