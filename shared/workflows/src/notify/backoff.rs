//! How long to wait before the next attempt.

use std::time::Duration;

/// Attempts at one delivery; the last ones are a quarter of an hour apart, all of them take about two hours.
pub(super) const ATTEMPTS_MAX: u32 = 16;
/// Before the second attempt.
const FIRST: Duration = Duration::from_secs(2);
/// Between any two.
const LONGEST: Duration = Duration::from_secs(15 * 60);
/// Longer is not waited, whatever a service asks for.
const ASKED_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The wait after so many attempts: it doubles, with up to half of it on top by chance, so that what failed together does not
/// come back together. What the service asks for counts where it is longer. `chance` is any number.
pub(super) fn wait(attempts: u32, asked: Option<Duration>, chance: u64) -> Duration {
    let doublings = attempts.saturating_sub(1).min(16);
    let base = FIRST.saturating_mul(1 << doublings).min(LONGEST);
    let half_ms = u64::try_from(base.as_millis()).unwrap_or(u64::MAX).div_euclid(2).saturating_add(1);
    let wait = base.saturating_add(Duration::from_millis(chance.checked_rem(half_ms).unwrap_or_default()));
    wait.max(asked.unwrap_or_default().min(ASKED_MAX))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{ATTEMPTS_MAX, wait};

    #[test]
    fn waits_double_up_to_a_quarter_of_an_hour() {
        let seconds = |attempts| wait(attempts, None, 0).as_secs();
        assert_eq!([1, 2, 3, 9, 10, ATTEMPTS_MAX].map(seconds), [2, 4, 8, 512, 900, 900]);
        let longest = (1..ATTEMPTS_MAX).map(|attempts| wait(attempts, None, 0)).sum::<Duration>();
        assert!(longest > Duration::from_secs(90 * 60) && longest < Duration::from_secs(150 * 60), "{longest:?}");
    }

    #[test]
    fn chance_adds_half_at_most() {
        for chance in [0, 1, 999, 1_000, 1_001, u64::MAX] {
            let waited = wait(1, None, chance);
            assert!(waited >= Duration::from_secs(2) && waited <= Duration::from_secs(3), "{waited:?}");
        }
    }

    #[test]
    fn the_service_may_ask_for_longer_and_never_for_less() {
        assert_eq!(wait(1, Some(Duration::from_secs(30)), 0), Duration::from_secs(30));
        assert_eq!(wait(3, Some(Duration::from_secs(1)), 0), Duration::from_secs(8));
        assert_eq!(wait(1, Some(Duration::from_secs(1_000_000)), 0), Duration::from_secs(86_400));
    }
}
