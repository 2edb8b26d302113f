//! The generator reaches every corner that it is there for: else the comparison would agree on nothing.

use recoup_naive::engine::{facts_by_resolve, replay};
use recoup_naive::facts::Figures;
use recoup_naive::generate::world;

/// Worlds looked at.
const WORLDS: u64 = 400;

/// What has to come up, in how many worlds at least, and how it is seen: words in one name, and what holds for its figure.
type Corner = (&'static str, u32, &'static [&'static str], fn(&str) -> bool);

const CORNERS: &[Corner] = &[
    ("EVT-5 a wrapper that saw more", 40, &["cell ", " unobserved"], any),
    ("EVT-6 a reported cost", 40, &["cell ", " reported "], any),
    ("RAT-2 an event without a price", 40, &["through", ": unpriced "], any),
    ("ATR-1 a payer that nobody knows", 40, &["cell team=- "], any),
    ("ATR-2 an agent below itself", 10, &[" agent "], |figure| {
        figure.split(' ').count() == 4 && figure.split(' ').nth(2) != Some("0")
    }),
    ("ATR-4 cost in a pool", 60, &["cell ", " pool=s"], any),
    ("ATR-6, POOL-1 unattributed use of a pool", 20, &["through", ": pool ", " unattributed"], any),
    ("POOL-2 a pool that uses a pool", 20, &["through", ": pool s", " pool "], any),
    ("POOL-5 a bill of an owner", 20, &["line ", " unit=month"], any),
    ("MON-4 a bill without a rate", 20, &["through", "bill without a rate "], any),
    ("SPL-3 cost that nobody could bear", 4, &["total unallocated"], not_zero),
    ("PRC-0 a task over days", 20, &["cell ", " task=("], any),
    ("PRC-1 a price of a night", 40, &[": price ", " task "], |figure| figure.ends_with(" false")),
    ("PRC-2 a seed price", 30, &[": price "], |figure| figure.ends_with(" true")),
    ("PRC-2 tasks that pass through", 40, &["line ", " unit=task "], any),
    ("PRC-3 a price that moves in the month", 20, &[": price "], |figure| {
        figure.starts_with("Some") && figure.ends_with(" false")
    }),
    ("PRC-4 minutes", 20, &["line ", " unit=minute "], any),
    ("PRC-4 idle minutes at a rate", 8, &["line ", " unit=idle minute "], |figure| !figure.starts_with("0 ")),
    ("PRC-5 markup on tokens", 20, &["line ", " markup ", "billing=token"], any),
    ("PRC-5 markup on tasks", 10, &["line ", " markup ", "billing=task"], any),
    ("PRC-5 fixed markup", 3, &["line ", " markup=0.02 each"], any),
    ("LED-2 variance", 40, &[": variance "], any),
    ("LED-3 settled variance", 20, &["line ", " variance "], any),
    ("LED-3 absorbed variance", 15, &["total absorbed"], not_zero),
    ("LED-3 variance carried out", 15, &["total carried_out"], not_zero),
    ("LED-3 variance carried in", 8, &["total carried_in"], not_zero),
    ("LED-4 corrected charges", 40, &[": correction ", "/charge"], any),
    ("LED-4 corrected pools", 15, &[": correction ", "/pool"], any),
    ("LED-4 corrected variance", 10, &[": correction ", "/variance"], any),
    ("LED-4 corrected markup", 8, &[": correction ", "/markup"], any),
    ("LED-4 what the centre bears", 8, &[": correction absorbed "], any),
];

fn any(_: &str) -> bool {
    true
}

fn not_zero(figure: &str) -> bool {
    figure != "0"
}

fn shows(figures: &Figures, words: &[&str], holds: fn(&str) -> bool) -> bool {
    figures.iter().any(|(name, figure)| words.iter().all(|word| name.contains(word)) && holds(figure))
}

#[test]
fn every_corner_is_reached() {
    let mut counts = vec![0_u32; CORNERS.len()];
    for seed in 0..WORLDS {
        let replayed = replay(&world(seed), facts_by_resolve);
        for (count, (_, _, words, holds)) in counts.iter_mut().zip(CORNERS) {
            *count += u32::from(shows(&replayed.months, words, *holds) || shows(&replayed.days, words, *holds));
        }
    }
    let missed: Vec<String> = CORNERS
        .iter()
        .zip(&counts)
        .filter(|((_, least, _, _), count)| *count < least)
        .map(|((what, least, _, _), count)| format!("{what}: {count} worlds of {WORLDS}, at least {least}"))
        .collect();
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}
