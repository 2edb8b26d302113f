//! How far a budget is used, and which tiers are reached (BUD-2).

use chrono::NaiveDate;
use recoup_model::organisation::Budget;
use recoup_money::Amount;

use crate::admission::is_reached;
use crate::counter::{Counter, PeriodKind, scope_of};

/// A tier of a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tier {
    /// Its percentage of the limit.
    pub percent: u32,
    /// Whether what is posted has reached it.
    pub reached: bool,
}

/// A budget in one of its periods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// The budget's scope as the organisation file names it.
    pub scope: String,
    /// Its kind of period.
    pub kind: PeriodKind,
    /// The period.
    pub period: String,
    /// The limit.
    pub limit: Amount,
    /// What is posted.
    pub posted: Amount,
    /// What is left; negative where more was spent.
    pub remaining: Amount,
    /// Whole percent of the limit that are posted, rounded down; `None`: more than fits.
    pub percent: Option<u64>,
    /// Its tiers, lowest first.
    pub tiers: Vec<Tier>,
}

/// The counter of a budget in the period that a local day lies in; `None` for a kind of period that is not known.
#[must_use]
pub fn counter_of(budget: &Budget, day: NaiveDate, pseudonym_of: &impl Fn(&str) -> String) -> Option<Counter> {
    let kind = PeriodKind::from_name(&budget.period)?;
    Some(Counter { scope: scope_of(budget, pseudonym_of), period: kind.period_of(day) })
}

/// How far a budget is used in the period that a local day lies in, where its limit is then this. A tier is reached when 100 * posted >= tier * limit.
#[must_use]
pub fn usage(budget: &Budget, limit: Amount, day: NaiveDate, posted: Amount) -> Option<Usage> {
    let kind = PeriodKind::from_name(&budget.period)?;
    let hundredfold = posted.pico().checked_mul(100);
    let reached = |percent: u32| is_reached(percent, limit, posted);
    let percent = hundredfold.and_then(|posted| posted.max(0).checked_div(limit.pico()));
    Some(Usage {
        scope: budget.scope.clone(),
        kind,
        period: kind.period_of(day),
        limit,
        posted,
        remaining: limit.checked_sub(posted).unwrap_or_default(),
        percent: percent.and_then(|percent| u64::try_from(percent).ok()),
        tiers: budget.tiers.iter().map(|percent| Tier { percent: *percent, reached: reached(*percent) }).collect(),
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use recoup_model::organisation::Unavailable;

    use super::*;

    fn budget(limit: &str) -> Budget {
        let limit = Amount::parse_rounded(limit).unwrap();
        Budget {
            scope: "team:a".into(),
            period: "month".into(),
            limit,
            tiers: vec![70, 90, 100],
            unavailable: Unavailable::Deny,
        }
    }

    #[test]
    fn bud_2_a_tier_is_reached_at_exactly_its_percentage() {
        let day = "2026-11-24".parse().unwrap();
        let reached = |posted: &str| -> Vec<u32> {
            let usage =
                usage(&budget("10"), Amount::parse_rounded("10").unwrap(), day, Amount::parse_rounded(posted).unwrap())
                    .unwrap();
            usage.tiers.iter().filter(|tier| tier.reached).map(|tier| tier.percent).collect()
        };
        assert_eq!(reached("6.999999999999"), Vec::<u32>::new());
        assert_eq!(reached("7"), [70]);
        assert_eq!(reached("8.999999999999"), [70]);
        assert_eq!(reached("9"), [70, 90]);
        assert_eq!(reached("10"), [70, 90, 100]);
        assert_eq!(reached("-10"), Vec::<u32>::new());
    }

    #[test]
    fn bud_2_more_than_the_limit_leaves_less_than_nothing() {
        let usage = usage(
            &budget("10"),
            Amount::parse_rounded("10").unwrap(),
            "2026-11-24".parse().unwrap(),
            Amount::parse_rounded("12.5").unwrap(),
        )
        .unwrap();
        assert_eq!((usage.remaining.to_string(), usage.percent), ("-2.5".to_owned(), Some(125)));
        assert_eq!(usage.period, "2026-11");
    }
}
