//! Recurring bills of a period with the arithmetic of each (POOL-5): a second reading of the organisation file, so that
//! what the ledger booked can be compared with it.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use num_bigint::BigInt;
use num_rational::BigRational;
use recoup_model::organisation::{ExchangeRate, History, Recurring};
use recoup_model::{Id, Organisation, Period};
use recoup_money::{Amount, Currency, PICO_PER_UNIT};

use super::ratio;
use crate::error::Refusal;

/// Who bears a bill.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum BilledTo {
    /// A pool, named or that of a shared agent.
    Pool(Id),
    /// The owner of an agent that is not shared, and the agent.
    Owner(Id, Id),
    /// Nobody that is known.
    Nobody,
}

/// A bill and who bears it: what is rounded once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BillKey {
    pub(crate) id: Id,
    pub(crate) to: BilledTo,
}

/// What it comes to.
#[derive(Clone, Debug, Default)]
pub(crate) struct BillDays {
    /// Amounts in the order in which they came.
    parts: Vec<Part>,
    /// Days without an exchange rate: unpriced (MON-4).
    unpriced: u64,
    pub(crate) cost: Amount,
}

/// Days of one amount that have a rate.
#[derive(Clone, Debug)]
struct Part {
    amount: Amount,
    currency: Currency,
    days: u64,
    /// Sum of the days' rates into the organisation's currency.
    rates: Amount,
}

impl BillDays {
    /// Adds a day; `None` on overflow.
    fn add(&mut self, entry: &Recurring, rate: Option<Amount>) -> Option<()> {
        let Some(rate) = rate else {
            self.unpriced = self.unpriced.checked_add(1)?;
            return Some(());
        };
        let is_same = |part: &&mut Part| (part.amount, part.currency) == (entry.amount, entry.currency);
        match self.parts.iter_mut().find(is_same) {
            Some(part) => {
                part.days = part.days.checked_add(1)?;
                part.rates = part.rates.checked_add(rate)?;
            }
            None => self.parts.push(Part { amount: entry.amount, currency: entry.currency, days: 1, rates: rate }),
        }
        Some(())
    }

    /// All parts by the days of the month, rounded once; `None` on overflow.
    fn cost(&self, month: i128) -> Option<Amount> {
        let exact: BigInt = self.parts.iter().map(|part| BigInt::from(part.amount.pico()) * part.rates.pico()).sum();
        ratio::to_amount(&BigRational::new(exact, BigInt::from(PICO_PER_UNIT.checked_mul(month)?)))
    }
}

/// The bills of the period up to its last night.
pub(crate) fn bills_of(
    history: &History,
    period: Period,
    through: NaiveDate,
) -> Result<BTreeMap<BillKey, BillDays>, Refusal> {
    let overflow = || Refusal::computation("add up the recurring bills", "the sum overflows");
    let mut bills: BTreeMap<BillKey, BillDays> = BTreeMap::new();
    for day in period.days().take_while(|day| *day <= through) {
        let organisation = &history.on(day).organisation;
        let runs = |entry: &&Recurring| entry.from <= day && entry.to.is_none_or(|to| day < to);
        for entry in organisation.recurring.iter().filter(runs) {
            let key = BillKey { id: entry.id.clone(), to: billed_to(organisation, entry) };
            let rate = rate_on(organisation, entry.currency, day);
            bills.entry(key).or_default().add(entry, rate).ok_or_else(overflow)?;
        }
    }
    let month = i128::try_from(period.days().count()).unwrap_or(i128::MAX);
    for bill in bills.values_mut() {
        bill.cost = bill.cost(month).ok_or_else(overflow)?;
    }
    Ok(bills)
}

fn billed_to(organisation: &Organisation, entry: &Recurring) -> BilledTo {
    if let Some(pool) = &entry.pool {
        return BilledTo::Pool(pool.clone());
    }
    let declared = entry.agent.as_ref().and_then(|id| Some((id, organisation.agents.get(id)?)));
    match declared.map(|(id, agent)| (id, &agent.shared_pool, &agent.owner)) {
        Some((_, Some(pool), _)) => BilledTo::Pool(pool.clone()),
        Some((id, None, Some(owner))) if organisation.teams.contains_key(owner) => {
            BilledTo::Owner(owner.clone(), id.clone())
        }
        _ => BilledTo::Nobody,
    }
}

fn rate_on(organisation: &Organisation, currency: Currency, day: NaiveDate) -> Option<Amount> {
    if currency == organisation.currency {
        return Some(Amount::from_pico(PICO_PER_UNIT));
    }
    let applies = |rate: &&ExchangeRate| {
        (rate.from_currency, rate.to_currency) == (currency, organisation.currency) && rate.from <= day
    };
    organisation.rates.iter().filter(applies).max_by_key(|rate| rate.from).map(|rate| rate.rate)
}

/// The arithmetic: `310 USD x 31 of 31 days = 310`, each amount of a bill that changes, the sum of the days' rates where
/// another currency is converted, and the days that have none.
pub(crate) fn arithmetic(key: &BillKey, bill: &BillDays, period: Period) -> String {
    let month = period.days().count();
    let unpriced = match bill.unpriced {
        0 => String::new(),
        days => format!("the bill `{}` has no exchange rate on {days} days: unpriced, not zero", key.id),
    };
    if bill.parts.is_empty() {
        return unpriced;
    }
    let parts: Vec<String> = bill.parts.iter().map(|part| part_text(part, month)).collect();
    let sum = format!("{} = {}", parts.join(" + "), bill.cost);
    if unpriced.is_empty() { sum } else { format!("{sum}; {unpriced}") }
}

fn part_text(Part { amount, currency, days, rates }: &Part, month: usize) -> String {
    if *rates == Amount::from_pico(PICO_PER_UNIT).checked_mul(i128::from(*days)).unwrap_or_default() {
        return format!("{amount} {currency} x {days} of {month} days");
    }
    format!("{amount} {currency} x {rates} (sum of the rates of {days} days) / {month} days")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::sync::Arc;

    use chrono::{Days, NaiveDate};
    use recoup_model::Digest;
    use recoup_model::organisation::{History, Version, parse};

    use super::{BillKey, BilledTo, arithmetic, bills_of};

    const FILE: &str = "[organisation]\nname = \"Example\"\ncurrency = \"USD\"\ntime_zone = \"UTC\"\n[[teams]]\nid = \"a\"\n\
        [[agents]]\nid = \"x\"\nowner = \"a\"\n";

    /// What the bill `vm` of October comes to, and how: each entry from the 1st, the 11th and the 22nd on.
    fn bill(entries: &[&str]) -> (String, String) {
        let first = NaiveDate::from_ymd_opt(2026, 10, 1).unwrap();
        let versions = (1..).zip(entries).map(|(number, entry)| {
            let bill = "[[recurring]]\nid = \"vm\"\nagent = \"x\"\nfrom = \"2026-01-01\"";
            let text = format!("{FILE}{bill}\n{entry}");
            let effective = (number > 1).then(|| first + Days::new(11 * u64::from(number) - 12));
            let organisation = Arc::new(parse(&text).unwrap());
            Version { number, effective, digest: Digest::of(text.as_bytes()), text, organisation }
        });
        let history = History::new(versions.collect()).unwrap();
        let period = "2026-10".parse().unwrap();
        let bills = bills_of(&history, period, period.days().last().unwrap()).unwrap();
        let key = BillKey { id: "vm".into(), to: BilledTo::Owner("a".into(), "x".into()) };
        assert_eq!(bills.keys().collect::<Vec<_>>(), [&key], "one bill, whatever it asks for");
        let bill = bills.get(&key).unwrap();
        (bill.cost.to_string(), arithmetic(&key, bill, period))
    }

    #[test]
    fn pool_5_a_bill_whose_amount_changes_in_the_month_is_rounded_once() {
        let (cost, shown) = bill(&["amount = \"0.000000000001\"", "amount = \"0.000000000002\""]);
        assert_eq!(cost, "0.000000000002", "52/31 of a picodollar; apart they would be 0 and 1");
        let parts = "0.000000000001 USD x 10 of 31 days + 0.000000000002 USD x 21 of 31 days";
        assert_eq!(shown, format!("{parts} = 0.000000000002"));
        let again = bill(&["amount = 31", "amount = 62", "amount = 31"]).1;
        assert_eq!(again, "31 USD x 20 of 31 days + 62 USD x 11 of 31 days = 42");
    }

    #[test]
    fn mon_4_days_without_a_rate_are_said_to_be_unpriced() {
        let euros = "amount = 31\ncurrency = \"EUR\"";
        let (cost, shown) = bill(&[euros]);
        let unpriced = |days| format!("the bill `vm` has no exchange rate on {days} days: unpriced, not zero");
        assert_eq!((cost.as_str(), shown), ("0", unpriced(31)));
        let rate = "[[rates]]\nfrom_currency = \"EUR\"\nto_currency = \"USD\"\nfrom = \"2026-10-30\"\nrate = 2";
        let (cost, shown) = bill(&[&format!("{euros}\n{rate}")]);
        let priced = "31 EUR x 4 (sum of the rates of 2 days) / 31 days = 4";
        assert_eq!((cost.as_str(), shown), ("4", format!("{priced}; {}", unpriced(29))));
    }
}
