//! Seeded choice in whole numbers: the only source of variety in a sample.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// Lowest and highest value, both included.
pub(super) type Range = (u64, u64);

/// A stream of choices that depends on the seed alone.
#[derive(Debug)]
pub(super) struct Chance(ChaCha8Rng);

impl Chance {
    pub(super) fn seeded(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// Any 64 bits: the stuff of span and trace ids.
    pub(super) fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Every value below `count` is as likely as another; 0 where there is none.
    pub(super) fn below(&mut self, count: u64) -> u64 {
        let product = u128::from(self.0.next_u64()) * u128::from(count);
        u64::try_from(product >> 64).unwrap_or_default()
    }

    /// Every value of the range is as likely as another.
    pub(super) fn between(&mut self, (low, high): Range) -> u64 {
        low.saturating_add(self.below(high.saturating_sub(low).saturating_add(1)))
    }

    /// Values near the low end are likelier; the mean lies a quarter up the range, as with prompts and waiting times.
    pub(super) fn skewed(&mut self, (low, high): Range) -> u64 {
        let reach = self.below(high.saturating_sub(low).saturating_add(1));
        low.saturating_add(self.below(reach.saturating_add(1)))
    }

    /// True so many times in a hundred.
    pub(super) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// True so many times in a thousand.
    pub(super) fn per_mille(&mut self, per_mille: u64) -> bool {
        self.below(1_000) < per_mille
    }

    /// One of the items.
    pub(super) fn pick<'t, T>(&mut self, items: &'t [T]) -> Option<&'t T> {
        self.weighted(items, |_| 1)
    }

    /// One of the items, each as often as its weight says.
    pub(super) fn weighted<'t, T>(&mut self, items: &'t [T], weight: impl Fn(&T) -> u64) -> Option<&'t T> {
        let mut left = self.below(items.iter().map(&weight).sum());
        items.iter().find(|item| {
            let weight = weight(item);
            let found = left < weight;
            left = left.saturating_sub(weight);
            found
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_stay_in_their_range() {
        let mut chance = Chance::seeded(7);
        for _ in 0..2_000 {
            assert!((3..=5).contains(&chance.between((3, 5))));
            assert!((10..=90).contains(&chance.skewed((10, 90))));
            assert_eq!(chance.skewed((4, 4)), 4);
        }
        assert_eq!(chance.below(0), 0);
        assert_eq!(chance.pick::<u8>(&[]), None);
    }

    #[test]
    fn weights_are_kept() {
        let mut chance = Chance::seeded(7);
        let items = [("never", 0), ("often", 9), ("seldom", 1)];
        let mut often = 0;
        for _ in 0..10_000 {
            match chance.weighted(&items, |item| item.1) {
                Some(("often", _)) => often += 1,
                Some(("seldom", _)) => {}
                other => assert_eq!(other, None, "an item without weight was picked"),
            }
        }
        assert!((8_800..9_200).contains(&often), "{often}");
    }
}
