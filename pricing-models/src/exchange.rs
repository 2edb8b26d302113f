//! Dated rates into the reporting currency (MON-4).
//!
//! Only a rate into the reporting currency converts: the inverse of a rate is another price and is not made up.

use std::collections::BTreeMap;

use chrono::NaiveTime;
use recoup_model::organisation::{ExchangeRate, Organisation};
use recoup_model::period::format_instant;
use recoup_money::{Amount, Currency, PICO_PER_UNIT};

/// The rates of one version of the organisation file.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    reporting: Currency,
    rates: BTreeMap<Currency, BTreeMap<i64, Amount>>,
}

impl Exchange {
    /// The rates of an organisation; the one that cannot be used, if there is one.
    pub(crate) fn of(organisation: &Organisation) -> Result<Self, &ExchangeRate> {
        let reporting = organisation.currency;
        let mut rates: BTreeMap<Currency, BTreeMap<i64, Amount>> = BTreeMap::new();
        for rate in organisation.rates.iter().filter(|rate| rate.to_currency == reporting) {
            let from_ns = rate.from.and_time(NaiveTime::MIN).and_utc().timestamp_nanos_opt().ok_or(rate)?;
            if rate.rate <= Amount::ZERO {
                return Err(rate);
            }
            rates.entry(rate.from_currency).or_default().insert(from_ns, rate.rate);
        }
        Ok(Self { reporting, rates })
    }

    /// The currency that everything is converted into.
    pub(crate) const fn reporting(&self) -> Currency {
        self.reporting
    }

    /// Picounits of the reporting currency for one unit of another at an instant.
    ///
    /// A rate holds from 00:00 UTC of its date, so the instant itself tells which one its UTC date has.
    pub(crate) fn rate_pico(&self, from: Currency, at_ns: i64) -> Option<i128> {
        if from == self.reporting {
            return Some(PICO_PER_UNIT);
        }
        let (_, rate) = self.rates.get(&from)?.range(..=at_ns).next_back()?;
        Some(rate.pico())
    }

    /// The rates of the currencies that `wanted` accepts, as far as they begin before an instant, one line each, in order.
    pub(crate) fn lines(&self, wanted: impl Fn(Currency) -> bool, before_ns: i64) -> Vec<String> {
        let kept = self.rates.iter().filter(|(from, _)| wanted(**from));
        let line = |from: &Currency, from_ns: &i64, rate: &Amount| {
            format!("{from}>{} {} {rate}", self.reporting, format_instant(*from_ns))
        };
        let begun = |(from_ns, _): &(&i64, &Amount)| **from_ns < before_ns;
        kept.flat_map(|(from, rates)| rates.iter().filter(begun).map(move |(from_ns, rate)| line(from, from_ns, rate)))
            .collect()
    }
}
