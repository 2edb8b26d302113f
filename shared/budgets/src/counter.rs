//! Counters: a scope in a period. They exist only for scopes that have a budget.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{Datelike, Days, NaiveDate, Weekday};
use recoup_model::organisation::Budget;
use recoup_model::{Calendar, Digest, Id, Period};

/// What is posted beside the cost of a budget's scope. Another name here has the running periods counted again.
const POSTED: &str = "with parts";

/// How long a budget lasts before it starts again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PeriodKind {
    /// A calendar month.
    Month,
    /// An ISO week, from Monday.
    Week,
    /// A local day.
    Day,
}

impl PeriodKind {
    /// The kind that an organisation file calls so.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "month" => Some(Self::Month),
            "week" => Some(Self::Week),
            "day" => Some(Self::Day),
            _ => None,
        }
    }

    /// The kind of a period that [`PeriodKind::period_of`] named.
    #[must_use]
    pub fn of_period(period: &str) -> Option<Self> {
        match (period.len(), period.contains('W')) {
            (7, false) => Some(Self::Month),
            (8, true) => Some(Self::Week),
            (10, false) => Some(Self::Day),
            _ => None,
        }
    }

    /// The period of that kind which a local day lies in: `2026-11`, `2026-W47` or `2026-11-24`.
    #[must_use]
    pub fn period_of(self, day: NaiveDate) -> String {
        match self {
            Self::Month => Period::of(day).to_string(),
            Self::Week => {
                let week = day.iso_week();
                format!("{:04}-W{:02}", week.year(), week.week())
            }
            Self::Day => day.to_string(),
        }
    }

    /// The first local day of a period that [`PeriodKind::period_of`] named, and the first one after it.
    #[must_use]
    pub fn days_of(period: &str) -> Option<(NaiveDate, NaiveDate)> {
        let kind = Self::of_period(period)?;
        let first = match kind {
            Self::Month => period.parse::<Period>().ok()?.first_day(),
            Self::Week => {
                let (year, week) = period.split_once("-W")?;
                NaiveDate::from_isoywd_opt(year.parse().ok()?, week.parse().ok()?, Weekday::Mon)?
            }
            Self::Day => period.parse().ok()?,
        };
        Some(kind.days_around(first))
    }

    /// The first local day of the period that a day lies in, and the first one after it.
    #[must_use]
    pub fn days_around(self, day: NaiveDate) -> (NaiveDate, NaiveDate) {
        let after = |first: NaiveDate, days: u64| first.checked_add_days(Days::new(days)).unwrap_or(first);
        match self {
            Self::Month => (Period::of(day).first_day(), Period::of(day).next().first_day()),
            Self::Week => {
                let since_monday = Days::new(u64::from(day.weekday().num_days_from_monday()));
                let first = day.checked_sub_days(since_monday).unwrap_or(day);
                (first, after(first, 7))
            }
            Self::Day => (day, after(day, 1)),
        }
    }

    /// Begin (inclusive) and end (exclusive) of the period that a day lies in, nanoseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub fn bounds_ns(self, calendar: Calendar, day: NaiveDate) -> (i64, i64) {
        let (first, next) = self.days_around(day);
        (calendar.day_start_ns(first), calendar.day_start_ns(next))
    }
}

/// A counter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Counter {
    /// `organisation`, or `team:`, `project:`, `agent:`, `user:`, `task:` and an id.
    pub scope: String,
    /// As [`PeriodKind::period_of`] names it, for a part of what is posted with the name of that
    /// ([`crate::overrun::Part`]); `task` for as long as a task lives.
    pub period: String,
}

/// The scopes that have a budget in any version of the organisation file, with the kinds of period that they have one for:
/// a budget that is made in the middle of a month is for the whole month.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watched {
    scopes: BTreeMap<String, BTreeSet<PeriodKind>>,
    /// Task types whose tasks have a cap (BUD-4).
    capped: BTreeSet<Id>,
}

impl Watched {
    /// Those of some budgets. `pseudonym_of` names a user as events do.
    #[must_use]
    pub fn of<'a>(budgets: impl IntoIterator<Item = &'a Budget>, pseudonym_of: impl Fn(&str) -> String) -> Self {
        let mut scopes: BTreeMap<String, BTreeSet<PeriodKind>> = BTreeMap::new();
        for budget in budgets {
            if let Some(kind) = PeriodKind::from_name(&budget.period) {
                scopes.entry(scope_of(budget, &pseudonym_of)).or_default().insert(kind);
            }
        }
        Self { scopes, capped: BTreeSet::new() }
    }

    /// The same, and the tasks of these types: each is accumulated for its cap (BUD-4).
    #[must_use]
    pub fn with_capped(mut self, task_types: impl IntoIterator<Item = Id>) -> Self {
        self.capped.extend(task_types);
        self
    }

    /// Whether nothing has a budget or a cap.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.scopes.is_empty() && self.capped.is_empty()
    }

    /// Whether tasks of any type have a cap.
    #[must_use]
    pub fn has_caps(&self) -> bool {
        !self.capped.is_empty()
    }

    /// A digest that tells two of them apart.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let named = |(scope, kinds): (&String, &BTreeSet<PeriodKind>)| format!("{scope}\n{kinds:?}\n");
        let scopes: String = self.scopes.iter().map(named).collect();
        let capped: Vec<&str> = self.capped.iter().map(AsRef::as_ref).collect();
        Digest::of(format!("{POSTED}\n{scopes}\n{}", capped.join("\n")).as_bytes())
    }

    /// Whether tasks of this type have a cap.
    pub(crate) fn is_capped(&self, task_type: &Id) -> bool {
        self.capped.contains(task_type)
    }

    /// The kinds of period for which a scope has a budget.
    pub(crate) fn kinds(&self, scope: &str) -> impl Iterator<Item = PeriodKind> + '_ {
        self.scopes.get(scope).into_iter().flatten().copied()
    }
}

/// The scope of a budget as counters name it: a user by the name that events carry.
pub(crate) fn scope_of(budget: &Budget, pseudonym_of: &impl Fn(&str) -> String) -> String {
    match budget.scope.strip_prefix("user:") {
        Some(user) => format!("user:{}", pseudonym_of(user)),
        None => budget.scope.clone(),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use chrono::NaiveDate;
    use recoup_model::Calendar;

    use super::PeriodKind::{Day, Month, Week};

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    #[test]
    fn bud_1_a_day_lies_in_its_month_its_iso_week_and_itself() {
        assert_eq!(Month.period_of(day("2026-11-24")), "2026-11");
        assert_eq!(Week.period_of(day("2026-11-24")), "2026-W48");
        assert_eq!(Week.period_of(day("2027-01-03")), "2026-W53", "a week belongs to the year of its Thursday");
        assert_eq!(Day.period_of(day("2026-11-24")), "2026-11-24");
        for kind in [Month, Week, Day] {
            assert_eq!(super::PeriodKind::of_period(&kind.period_of(day("2026-11-24"))), Some(kind));
        }
        for kind in [Month, Week, Day] {
            for text in ["2026-11-24", "2027-01-03", "2026-12-31"] {
                let around = kind.days_around(day(text));
                assert_eq!(super::PeriodKind::days_of(&kind.period_of(day(text))), Some(around), "{kind:?} {text}");
            }
        }
        for unknown in ["task", "2026-13", "2026-W54", "2026-11-31"] {
            assert_eq!(super::PeriodKind::days_of(unknown), None, "{unknown}");
        }
        assert_eq!(super::PeriodKind::of_period("task"), None);
        assert_eq!(Month.days_around(day("2026-12-31")), (day("2026-12-01"), day("2027-01-01")));
        assert_eq!(Week.days_around(day("2027-01-03")), (day("2026-12-28"), day("2027-01-04")));
        assert_eq!(Week.days_around(day("2026-12-28")), (day("2026-12-28"), day("2027-01-04")));
    }

    #[test]
    fn bud_1_a_period_begins_and_ends_at_local_midnight() {
        let berlin = Calendar::new("Europe/Berlin".parse().unwrap());
        let (begin_ns, end_ns) = Week.bounds_ns(berlin, day("2026-10-25"));
        let hours = (end_ns - begin_ns) / 3_600_000_000_000;
        assert_eq!(hours, 7 * 24 + 1, "the week in which the clocks go back");
    }
}
