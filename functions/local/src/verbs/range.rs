//! Options that several verbs share: which days, how many rows.

use chrono::NaiveDate;
use clap::Args;
use clap::builder::RangedU64ValueParser;
use recoup_model::Period;

use crate::api::Ask;

/// A number of rows: nothing is shown of none, which would look as if there were none.
pub(crate) fn at_least_one() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..)
}

/// Which local days.
#[derive(Clone, Debug, Args)]
pub(crate) struct Days {
    /// First local day
    #[arg(long, value_name = "DAY", conflicts_with = "month")]
    from: Option<NaiveDate>,
    /// First local day that is left out
    #[arg(long, value_name = "DAY", conflicts_with = "month")]
    to: Option<NaiveDate>,
    /// A whole month, such as 2026-10
    #[arg(long, value_name = "MONTH")]
    month: Option<Period>,
}

impl Days {
    /// Whether any day was named.
    pub(crate) const fn is_stated(&self) -> bool {
        self.from.is_some() || self.to.is_some() || self.month.is_some()
    }

    /// The days of a month.
    pub(crate) const fn of_month(month: Period) -> Self {
        Self { from: None, to: None, month: Some(month) }
    }

    /// First day and first day after, as far as they were named.
    pub(crate) fn bounds(&self) -> (Option<NaiveDate>, Option<NaiveDate>) {
        match self.month {
            Some(month) => (Some(month.first_day()), Some(month.next().first_day())),
            None => (self.from, self.to),
        }
    }

    /// The question with these days.
    pub(crate) fn of<'a>(&self, ask: Ask<'a>) -> Ask<'a> {
        let (from, to) = self.bounds();
        ask.with_some("from", from).with_some("to", to)
    }
}

/// How many rows.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Limit {
    /// Rows shown at most
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = at_least_one())]
    pub(crate) limit: usize,
}

impl Limit {
    /// What to say when there are more.
    pub(crate) fn hint(self) -> String {
        format!("only the first {} are shown; more with --limit", self.limit)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::Days;

    #[test]
    fn a_month_is_its_half_open_days() {
        let (from, to) = Days::of_month("2026-12".parse().unwrap()).bounds();
        assert_eq!(from.unwrap().to_string(), "2026-12-01");
        assert_eq!(to.unwrap().to_string(), "2027-01-01");
    }
}
