//! Tiers that fire: once per (budget, period, tier, limit version) (BUD-2).

use recoup_money::Amount;
use serde::{Deserialize, Serialize};

use crate::admission::is_reached;

/// How far a budget has come in one of its periods.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The limit that it was last seen with.
    pub limit: Amount,
    /// Grows with each change of the limit, from 1.
    pub version: u32,
    /// The highest tier that this version has fired or begun with, percent; 0: none.
    pub level: u32,
}

/// What follows from what is posted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The progress now.
    pub progress: Progress,
    /// Tiers that fire, lowest first, percent.
    pub fires: Vec<u32>,
    /// Whether the limit is another one than before: what earlier versions fired is settled by that.
    pub new_version: bool,
}

/// Goes on from where a budget was. A tier fires when 100 * posted >= tier * limit; a new limit version fires at most the
/// highest tier reached, and only if it is higher than before. What falls again does not arm a tier anew.
#[must_use]
pub fn advance(before: Option<&Progress>, limit: Amount, tiers: &[u32], posted: Amount) -> Step {
    let reached = |tier: &&u32| is_reached(**tier, limit, posted);
    let highest = tiers.iter().filter(reached).max().copied().unwrap_or_default();
    match before {
        Some(before) if before.limit != limit => {
            let fires = if highest > before.level { vec![highest] } else { Vec::new() };
            let version = before.version.saturating_add(1);
            Step { progress: Progress { limit, version, level: highest }, fires, new_version: true }
        }
        _ => {
            let level = before.map_or(0, |before| before.level);
            let version = before.map_or(1, |before| before.version);
            let fires: Vec<u32> = tiers.iter().filter(reached).filter(|tier| **tier > level).copied().collect();
            Step { progress: Progress { limit, version, level: highest.max(level) }, fires, new_version: false }
        }
    }
}

/// The amount at which the next tier fires; `None`: all have fired. A caller that knows it need not ask before.
#[must_use]
pub fn next_amount(progress: &Progress, tiers: &[u32]) -> Option<Amount> {
    let tier = tiers.iter().filter(|tier| **tier > progress.level).min()?;
    let hundredfold = progress.limit.pico().checked_mul(i128::from(*tier))?;
    // Rounded up: the smallest amount that reaches it.
    let quotient = hundredfold.checked_div_euclid(100)?;
    let rest = hundredfold.checked_rem_euclid(100)?;
    quotient.checked_add(i128::from(rest > 0)).map(Amount::from_pico)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use proptest::prelude::*;

    use super::*;

    const TIERS: [u32; 3] = [70, 90, 100];

    fn amount(text: &str) -> Amount {
        Amount::parse_rounded(text).unwrap()
    }

    /// Walks through (limit, posted) and gives what fires at each step with its version.
    fn walk(steps: &[(&str, &str)]) -> Vec<(u32, Vec<u32>)> {
        let mut progress: Option<Progress> = None;
        let mut fired = Vec::new();
        for (limit, posted) in steps {
            let step = advance(progress.as_ref(), amount(limit), &TIERS, amount(posted));
            fired.push((step.progress.version, step.fires));
            progress = Some(step.progress);
        }
        fired
    }

    #[test]
    fn bud_2_each_tier_fires_once_and_at_exactly_its_percentage() {
        let steps =
            [("10", "6.999999999999"), ("10", "7"), ("10", "7"), ("10", "9.5"), ("10", "3"), ("10", "8"), ("10", "10")];
        let expected =
            [(1, vec![]), (1, vec![70]), (1, vec![]), (1, vec![90]), (1, vec![]), (1, vec![]), (1, vec![100])];
        assert_eq!(walk(&steps), expected);
        assert_eq!(walk(&[("10", "12")]), [(1, vec![70, 90, 100])], "a leap fires all that it passes");
    }

    #[test]
    fn bud_2_a_new_limit_fires_only_the_highest_tier_and_only_if_it_is_higher() {
        let raised = [("10", "10"), ("12", "10"), ("12", "11"), ("12", "12")];
        assert_eq!(walk(&raised), [(1, vec![70, 90, 100]), (2, vec![]), (2, vec![90]), (2, vec![100])]);
        let lowered = [("10", "7"), ("5", "7")];
        assert_eq!(walk(&lowered), [(1, vec![70]), (2, vec![100])], "lowered below what is spent");
        let unreached = [("10", "1"), ("1.2", "1")];
        assert_eq!(walk(&unreached), [(1, vec![]), (2, vec![70])]);
    }

    #[test]
    fn bud_2_the_next_amount_is_the_smallest_that_fires() {
        let progress = Progress { limit: amount("0.000000000003"), version: 1, level: 0 };
        assert_eq!(next_amount(&progress, &TIERS), Some(amount("0.000000000003")));
        let fired = Progress { level: 100, ..progress };
        assert_eq!(next_amount(&fired, &TIERS), None);
    }

    proptest! {
        #[test]
        fn bud_2_no_tier_fires_twice_for_one_version(steps in proptest::collection::vec((1_i128..20, 0_i128..30), 1..40)) {
            let mut progress: Option<Progress> = None;
            let mut seen = std::collections::BTreeSet::new();
            for (limit, posted) in steps {
                let (limit, posted) = (Amount::from_pico(limit * 10), Amount::from_pico(posted * 10));
                let step = advance(progress.as_ref(), limit, &TIERS, posted);
                for tier in &step.fires {
                    prop_assert!(100 * posted.pico() >= i128::from(*tier) * limit.pico());
                    prop_assert!(seen.insert((step.progress.version, *tier)));
                }
                if let Some(next) = next_amount(&step.progress, &TIERS) {
                    let at = advance(Some(&step.progress), limit, &TIERS, next);
                    prop_assert!(!at.fires.is_empty());
                    let below = Amount::from_pico(next.pico() - 1);
                    prop_assert!(advance(Some(&step.progress), limit, &TIERS, below).fires.is_empty());
                }
                progress = Some(step.progress);
            }
        }
    }
}
