//! What the scopes of budgets cost on each of the last days, as the nights found it, and what follows for the end of their
//! periods (ANO-4).
//!
//! What the rule leaves open: a day between two nights that no event lies on cost nothing; a day whose events no night has
//! read is not known. A budget that is new has the days of its scope from the next night on.
//! I/O: one record for each of the last days; at night the users' grain of the facts of days that changed.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{Days, NaiveDate};
use recoup_attribution::facts::UserKey;
use recoup_budgets::forecast::{Forecast, ForecastOf, HISTORY_DAYS_MAX, forecast};
use recoup_budgets::{PeriodKind, counter_of};
use recoup_model::Digest;
use recoup_money::Amount;
use recoup_store::{CounterKey, Expect, Key, Write};
use serde::{Deserialize, Serialize};

use crate::app::{App, World};
use crate::error::Refusal;
use crate::facts::{Night, NightRows};
use crate::packed;
use crate::records;
use crate::watch::AlertRecord;

/// The partition of what scopes cost, by day.
const SPEND: &str = "spend";

/// What a budget's period will have cost when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum ForecastRow {
    /// Too few days are known.
    InsufficientHistory {
        /// How many are.
        days_known: u32,
    },
    /// It can be told.
    Known {
        /// Lower end of the range.
        low: Amount,
        /// Expected.
        expected: Amount,
        /// Upper end of the range.
        high: Amount,
        /// The local day by whose end the expected sum has reached the limit; `None`: not in this period.
        runs_out_on: Option<NaiveDate>,
        /// Days of the period after today.
        days_left: u32,
        /// Days that the run-rate was made of.
        days_known: u32,
    },
}

/// What a day cost.
#[derive(Serialize, Deserialize)]
struct DaySpend {
    /// The facts and the scopes that it was made from.
    inputs: Digest,
    /// By scope as counters name it; of every scope that has a budget.
    costs: BTreeMap<String, Amount>,
}

/// What the scopes of budgets cost on the days that are known.
pub(crate) struct Spend(BTreeMap<String, BTreeMap<NaiveDate, Amount>>);

impl Spend {
    /// The forecast of a budget, by its scope as counters name it and its kind of period.
    pub(crate) fn forecast(
        &self,
        (scope, kind): (&str, &str),
        today: NaiveDate,
        (committed, limit): (Amount, Amount),
    ) -> Option<ForecastRow> {
        if scope.starts_with("task:") {
            return None;
        }
        let unknown = BTreeMap::new();
        let days = self.0.get(scope).unwrap_or(&unknown);
        let kind = PeriodKind::from_name(kind)?;
        Some(match forecast(&ForecastOf { kind, today, committed, limit: Some(limit), days })? {
            Forecast::InsufficientHistory { days } => ForecastRow::InsufficientHistory { days_known: days },
            Forecast::Known(outlook) => ForecastRow::Known {
                low: outlook.low,
                expected: outlook.expected,
                high: outlook.high,
                runs_out_on: outlook.runs_out_on,
                days_left: outlook.days_left,
                days_known: outlook.days_known,
            },
        })
    }
}

/// Sums of the scopes that are asked for; the others are left out.
struct Sums(BTreeMap<String, Amount>);

impl Sums {
    fn new(scopes: &BTreeSet<String>) -> Self {
        Self(scopes.iter().map(|scope| (scope.clone(), Amount::ZERO)).collect())
    }

    fn add(&mut self, key: &UserKey, cost: Amount) -> Option<()> {
        let UserKey { team, project, agent, user, .. } = key;
        self.add_to("organisation", cost)?;
        let named = [("team", team), ("project", project), ("agent", agent), ("user", user)];
        let mut scopes = named.into_iter().filter_map(|(of, id)| Some(format!("{of}:{}", id.as_ref()?)));
        scopes.try_for_each(|scope| self.add_to(&scope, cost))
    }

    fn add_to(&mut self, scope: &str, cost: Amount) -> Option<()> {
        let Some(sum) = self.0.get_mut(scope) else { return Some(()) };
        *sum = sum.checked_add(cost)?;
        Some(())
    }
}

fn spend_key(day: NaiveDate) -> Key {
    Key::new(SPEND, day.to_string())
}

impl App {
    /// What the scopes of budgets cost on the days that are known.
    pub(crate) async fn spend(&self) -> Result<Spend, Refusal> {
        let mut scopes: BTreeMap<String, BTreeMap<NaiveDate, Amount>> = BTreeMap::new();
        for (sort, spend, _) in records::all::<DaySpend>(self.books(), SPEND, "").await? {
            let Ok(day) = sort.parse::<NaiveDate>() else { continue };
            for (scope, cost) in spend.costs {
                scopes.entry(scope).or_default().insert(day, cost);
            }
        }
        Ok(Spend(scopes))
    }

    /// The forecast of an alert's budget, while its period is not over.
    pub(crate) async fn forecast_of(&self, alert: &AlertRecord) -> Result<Option<ForecastRow>, Refusal> {
        let world = self.world().await?;
        let today = world.history.calendar().day_of(self.now_ns());
        let is_now = PeriodKind::from_name(&alert.kind).is_some_and(|kind| kind.period_of(today) == alert.period);
        if !is_now {
            return Ok(None);
        }
        let scope = match alert.scope.strip_prefix("user:") {
            Some(user) => format!("user:{}", self.pseudonyms.of(user)),
            None => alert.scope.clone(),
        };
        let key = CounterKey { scope, period: alert.period.clone() };
        let balance = self.ports.leases.balances(std::slice::from_ref(&key)).await?.into_iter().next();
        let posted = balance.map_or(alert.posted, |balance| balance.posted);
        let reserved = balance.map_or(Amount::ZERO, |balance| balance.reserved);
        let committed = posted.checked_add(reserved).unwrap_or(posted);
        Ok(self.spend().await?.forecast((&key.scope, &alert.kind), today, (committed, alert.limit)))
    }

    /// Keeps what the scopes of budgets cost on the last days, where the facts or the budgets have changed. Days that are not
    /// begun before `until_ns` are added up after the next night.
    pub(crate) async fn keep_spend(&self, world: &World, nights: &[Night], until_ns: i64) -> Result<(), Refusal> {
        let scopes = self.scopes_of_budgets(world);
        let known = records::all::<DaySpend>(self.books(), SPEND, "").await?;
        if scopes.is_empty() && known.is_empty() {
            return Ok(());
        }
        let mut by_day: BTreeMap<NaiveDate, Vec<&Night>> = BTreeMap::new();
        for night in nights {
            by_day.entry(night.day).or_default().push(night);
        }
        let today = world.history.calendar().day_of(self.now_ns());
        let oldest = today.checked_sub_days(Days::new(HISTORY_DAYS_MAX)).unwrap_or(today);
        let unread: BTreeSet<NaiveDate> = self.marked_days(true).await?.into_iter().map(|one| one.day).collect();
        let bounds = by_day.keys().next().zip(by_day.keys().next_back());
        let days: Vec<NaiveDate> = match bounds {
            Some((first, last)) => {
                oldest.max(*first).iter_days().take_while(|day| *day < today && day <= last).collect()
            }
            None => Vec::new(),
        };
        let mut current = BTreeSet::new();
        for day in days {
            let of_day = by_day.get(&day).map(Vec::as_slice).unwrap_or_default();
            let is_unknown = of_day.is_empty() && unread.contains(&day);
            if is_unknown || !of_day.iter().all(|night| night.keeps_queries()) {
                continue;
            }
            current.insert(day.to_string());
            let inputs = inputs_of(&scopes, of_day);
            let is_known = known.iter().any(|(sort, spend, _)| *sort == day.to_string() && spend.inputs == inputs);
            if !is_known {
                if self.now_ns() >= until_ns {
                    tracing::warn!(%day, "the time is over: forecasts lack days from this one on until the next night");
                    // What is kept of later days stands as it is.
                    return Ok(());
                }
                let spend = DaySpend { inputs, costs: self.spend_of(&scopes, of_day).await? };
                self.books().write(vec![records::put(spend_key(day), &spend, Expect::Any)?]).await?;
            }
        }
        let gone = known.into_iter().map(|(sort, _, _)| sort).filter(|sort| !current.contains(sort));
        let deletes = gone.map(|sort| Write::Delete { key: Key::new(SPEND, sort), expect: Expect::Any }).collect();
        Ok(records::write_in_groups(self.books(), deletes).await?)
    }

    async fn spend_of(
        &self,
        scopes: &BTreeSet<String>,
        nights: &[&Night],
    ) -> Result<BTreeMap<String, Amount>, Refusal> {
        let mut sums = Sums::new(scopes);
        for night in nights {
            let users = packed::read_users(&mut NightRows::new(self.books(), night)).await?;
            for (key, value) in &users {
                sums.add(key, value.cost)
                    .ok_or_else(|| Refusal::computation("add up the cost of a day", "the sum overflows"))?;
            }
        }
        Ok(sums.0)
    }

    /// The scopes that have a budget in any version of the organisation file, as counters name them.
    fn scopes_of_budgets(&self, world: &World) -> BTreeSet<String> {
        let pseudonym_of = |user: &str| self.pseudonyms.of(user).to_string();
        let versions = world.history.versions().iter();
        let budgets = versions.flat_map(|version| &version.organisation.budgets);
        let counters = budgets.filter_map(|budget| counter_of(budget, NaiveDate::default(), &pseudonym_of));
        counters.map(|counter| counter.scope).filter(|scope| !scope.starts_with("task:")).collect()
    }
}

fn inputs_of(scopes: &BTreeSet<String>, nights: &[&Night]) -> Digest {
    let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
    let facts = nights.iter().map(|night| format!("{} {:?}", night.lane, night.queries));
    Digest::of(format!("{}\n\n{}", scopes.join("\n"), facts.collect::<Vec<_>>().join("\n")).as_bytes())
}
