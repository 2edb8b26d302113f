//! The engine agrees with the reference on random worlds of one to three months, by every way that it has.
//!
//! `NAIVE_WORLDS=5000` runs so many worlds in each test instead of the usual number; `NAIVE_FROM=123` begins at a seed.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a difference fails the test")]

use recoup_naive::agree::agree;
use recoup_naive::generate::world;

/// Worlds in each test.
const WORLDS: u64 = 150;
/// Seeds between the first ones of two tests.
const APART: u64 = 10_000_000;

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is `{text}`, not a number")))
}

fn hold(seeds: impl Iterator<Item = u64>) {
    // While worlds are made smaller either side may stop; what it says is in the difference.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let found = seeds.into_iter().find_map(|seed| agree(seed, &world(seed)).err());
    std::panic::set_hook(hook);
    if let Some(found) = found {
        panic!("{found}\nadd the seed to tests/naive/seeds.txt");
    }
}

fn hold_range(number: u64) {
    let first = variable("NAIVE_FROM").unwrap_or(0) + number * APART;
    hold(first..first + variable("NAIVE_WORLDS").unwrap_or(WORLDS));
}

#[test]
fn a_kept_seeds_agree() {
    let lines = include_str!("../seeds.txt").lines();
    let seeds: Vec<u64> = lines
        .filter_map(|line| line.split('#').next())
        .map(str::trim)
        .filter(|text| !text.is_empty())
        .map(|text| text.parse().unwrap())
        .collect();
    assert!(!seeds.is_empty(), "seeds.txt holds the seeds that once failed");
    hold(seeds.into_iter());
}

/// Each range is a test of its own, so that they run side by side.
macro_rules! ranges {
    ($($name:ident: $number:expr),* $(,)?) => {
        $(#[test]
        fn $name() {
            hold_range($number);
        })*
    };
}

ranges! {
    b_worlds_of_range_0_agree: 0,
    b_worlds_of_range_1_agree: 1,
    b_worlds_of_range_2_agree: 2,
    b_worlds_of_range_3_agree: 3,
    b_worlds_of_range_4_agree: 4,
    b_worlds_of_range_5_agree: 5,
    b_worlds_of_range_6_agree: 6,
    b_worlds_of_range_7_agree: 7,
}
