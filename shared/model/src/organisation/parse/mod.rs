//! Reads an organisation file: every problem with its line, its path and its remedy, or the checked values.
//!
//! [`DeTable`] parses the text and knows where each value stands; `reader` takes values out of it, `entries`, `bills`
//! and `prices` know the sections.

mod bills;
mod entries;
mod markups;
mod nearest;
mod prices;
mod problem;
mod reader;
#[cfg(test)]
mod tests;

use chrono_tz::{TZ_VARIANTS, Tz};
use recoup_money::{Amount, Currency};
use toml::de::DeTable;

use self::entries::{Declared, Known, Unique};
pub use self::problem::FileProblem;
use self::problem::{Place, Report, quoted};
use self::reader::{Table, Value};
use crate::event::Id;
use crate::limits::{ORGANISATION_BYTES_MAX, TAG_NAME_BYTES_MAX};
use crate::organisation::{
    Alerting, ESCALATE_AFTER_HOURS_DEFAULT, Organisation, Policy, PoolRecovery, PriceApproval, PriceLock,
    VariancePolicy,
};

/// Extra tags that an organisation may allow.
const EXTRA_TAG_NAMES_MAX: usize = 64;
/// The named dimensions, which no extra tag may be called.
const TAG_NAMES: [&str; 6] = ["agent", "task_type", "task_id", "user", "team", "project"];
/// Steps of the default price grid: 0.0001 (PRC-1).
const PRICE_GRID_DEFAULT: Amount = Amount::from_pico(100_000_000);
/// Most days of a half-life and of the evidence: ten years.
const DAYS_MAX: u32 = 3_650;
/// Most hours that an alert may wait for its escalation: a month.
const ESCALATE_HOURS_MAX: u32 = 744;

/// Reads an organisation file.
///
/// # Errors
/// All problems of the file in the order of its lines (of a very faulty one the first 1,000, and a count).
///
/// ```
/// use recoup_model::organisation::parse;
/// let problems = parse("[organisation]\nname = \"Example\"\ncurrency = \"USD\"\ntime_zone = \"Berlin\"").unwrap_err();
/// assert_eq!(
///     problems[0].to_string(),
///     "line 4: organisation.time_zone: `Berlin` is not an IANA time zone; did you mean `Europe/Berlin`?"
/// );
/// ```
pub fn parse(text: &str) -> Result<Organisation, Vec<FileProblem>> {
    parse_with_notices(text).map(|(organisation, _)| organisation)
}

/// Reads an organisation file, and what in it has no effect: owners and billing exceptions that name a team which the
/// file does not declare. They are allowed, because no cost depends on them.
///
/// # Errors
/// As [`parse`].
pub fn parse_with_notices(text: &str) -> Result<(Organisation, Vec<FileProblem>), Vec<FileProblem>> {
    let report = Report::about(text);
    let organisation = read(text, &report);
    let (problems, notices) = report.into_parts();
    match organisation {
        Some(organisation) if problems.is_empty() => Ok((organisation, notices)),
        _ => Err(problems),
    }
}

fn read(text: &str, report: &Report) -> Option<Organisation> {
    if text.len() > ORGANISATION_BYTES_MAX {
        let problem = format!("the file has {} bytes", text.len());
        report.problem(&Place::default(), problem, format!("shorten it to at most {ORGANISATION_BYTES_MAX} bytes"));
        return None;
    }
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let offset = error.span().map_or(0, |span| span.start);
        let before = text.get(report.line_start(offset)..offset).unwrap_or_default();
        let column = before.chars().count().saturating_add(1);
        let place = Place { offset, path: String::new() };
        report.problem(&place, format!("column {column}: {}", error.message()), "correct the TOML");
    }
    if errors.is_empty() { read_document(Table::document(&document, report)) } else { None }
}

fn read_document(mut document: Table<'_>) -> Option<Organisation> {
    let head = document.required("organisation", "{ .. }").and_then(|value| value.table()).and_then(read_head);
    let policy = document.get("policy").and_then(|value| value.table());
    let teams = document.entries("teams");
    let agents = document.entries("agents");
    let pools = document.entries("pools");
    let declared = Declared {
        // Without a head there is no organisation, so that this currency is never used.
        currency: head.as_ref().map_or(Currency::USD, |(_, currency, _)| *currency),
        teams: Known::of("team", "teams", &teams),
        agents: Known::of("agent", "agents", &agents),
        pools: Known::of("pool", "pools", &pools),
    };
    let policy = read_policy(policy, &declared);
    let teams = entries::read_teams(teams);
    let agents = entries::read_agents(agents, &declared);
    let pools = entries::read_pools(pools, &declared);
    let task_types = entries::read_task_types(document.entries("task_types"));
    let people = entries::read_people(document.entries("people"), &declared);
    let recurring = bills::read_recurring(document.entries("recurring"), &declared);
    let rates = bills::read_rates(document.entries("rates"));
    let budgets = bills::read_budgets(document.entries("budgets"), &declared);
    let prices = prices::read_prices(document.entries("prices"), &declared);
    let alerts = document.get("alerts").and_then(|value| value.table()).map_or_else(Alerting::default, read_alerts);
    document.finish();
    let (name, currency, time_zone) = head?;
    Some(Organisation {
        name,
        currency,
        time_zone,
        policy,
        teams,
        agents,
        pools,
        task_types,
        people,
        recurring,
        rates,
        budgets,
        prices,
        alerts,
    })
}

fn read_head(mut table: Table<'_>) -> Option<(String, Currency, Tz)> {
    let name = table.required("name", "\"Example\"").and_then(|value| value.text());
    let currency = table.required("currency", "\"USD\"").and_then(|value| value.currency());
    let time_zone = table.required("time_zone", "\"Europe/Berlin\"").and_then(|value| time_zone(&value));
    table.finish();
    Some((name?, currency?, time_zone?))
}

fn time_zone(value: &Value<'_>) -> Option<Tz> {
    let name = value.string()?;
    if let Ok(zone) = name.parse() {
        return Some(zone);
    }
    let city = |zone: &&str| zone.rsplit('/').next().is_some_and(|city| city.eq_ignore_ascii_case(name));
    let zones = || TZ_VARIANTS.iter().map(|zone| zone.name());
    let remedy = match zones().find(city) {
        Some(zone) => format!("did you mean {}?", quoted(zone)),
        None => value.did_you_mean(name, zones(), "write one such as \"Europe/Berlin\" or \"UTC\""),
    };
    value.refuse(format!("{} is not an IANA time zone", quoted(name)), remedy)
}

fn read_alerts(mut table: Table<'_>) -> Alerting {
    let escalate_after_hours =
        table.or("escalate_after_hours", ESCALATE_AFTER_HOURS_DEFAULT, |value| value.small(1..=ESCALATE_HOURS_MAX));
    let dashboard_url = table.get("dashboard_url").and_then(|value| {
        let url = value.text()?;
        if !url.starts_with("https://") && !url.starts_with("http://") {
            let problem = format!("{} is no address of a page", quoted(&url));
            return value.refuse(problem, "write one such as \"https://recoup.example.com\"");
        }
        Some(url.trim_end_matches('/').to_owned())
    });
    let alerts = Alerting {
        finops_slack_channel: table.get("finops_slack_channel").and_then(|value| value.text()),
        finops_email: table.get("finops_email").and_then(|value| value.text()),
        escalate_after_hours,
        dashboard_url,
    };
    table.finish();
    alerts
}

const POLICY_DEFAULT: Policy = Policy {
    lanes: 1,
    price_grid: PRICE_GRID_DEFAULT,
    half_life_days: 7,
    min_tasks: 30,
    min_days: 3,
    price_lock: PriceLock::Floating,
    price_band_percent: None,
    price_approval: None,
    markup: None,
    variance: VariancePolicy::Settle,
    pool_recovery: PoolRecovery::Line,
    soft_close_days: 3,
    extra_tags: Vec::new(),
    unattributed_pool: None,
};

impl Default for Policy {
    fn default() -> Self {
        POLICY_DEFAULT
    }
}

const PRICE_LOCKS: [(&str, PriceLock); 3] =
    [("floating", PriceLock::Floating), ("locked", PriceLock::Locked), ("banded", PriceLock::Banded)];
const VARIANCES: [(&str, VariancePolicy); 3] =
    [("settle", VariancePolicy::Settle), ("carry", VariancePolicy::Carry), ("absorb", VariancePolicy::Absorb)];
const RECOVERIES: [(&str, PoolRecovery); 2] = [("line", PoolRecovery::Line), ("price", PoolRecovery::Price)];
const APPROVALS: [(&str, Option<PriceApproval>); 2] = [("none", None), ("finance", Some(PriceApproval::Finance))];

fn read_policy(table: Option<Table<'_>>, declared: &Declared<'_>) -> Policy {
    let Some(mut table) = table else { return POLICY_DEFAULT };
    let default = POLICY_DEFAULT;
    let lanes = table.or("lanes", 1, |value| value.small(1..=256));
    let (price_lock, price_band_percent, price_approval) = read_lock(&mut table);
    let policy = Policy {
        lanes: u16::try_from(lanes).unwrap_or(default.lanes),
        price_grid: table.or("price_grid", default.price_grid, |value| value.positive()),
        half_life_days: table.or("half_life_days", default.half_life_days, |value| value.small(1..=DAYS_MAX)),
        min_tasks: table.or("min_tasks", default.min_tasks, |value| value.small(1..=1_000_000_000)),
        min_days: table.or("min_days", default.min_days, |value| value.small(1..=DAYS_MAX)),
        price_lock,
        price_band_percent,
        price_approval,
        markup: table.get("markup").and_then(|value| markups::read_percent(&value)),
        variance: table.or("variance", default.variance, |value| value.choice(&VARIANCES)),
        pool_recovery: table.or("pool_recovery", default.pool_recovery, |value| value.choice(&RECOVERIES)),
        soft_close_days: table.or("soft_close_days", default.soft_close_days, |value| value.small(0..=28)),
        extra_tags: table.or("extra_tags", Vec::new(), |value| extra_tags(&value)),
        unattributed_pool: table.get("unattributed_pool").and_then(|value| declared.pools.reference(&value)),
    };
    table.finish();
    policy
}

/// The lock, and the keys that belong to one lock alone.
fn read_lock(table: &mut Table<'_>) -> (PriceLock, Option<Amount>, Option<PriceApproval>) {
    const BAND: &str = "price_band_percent";
    const APPROVAL: &str = "price_approval";
    let lock = table.get("price_lock").map_or(Some(PriceLock::Floating), |value| value.choice(&PRICE_LOCKS));
    let band = match lock {
        Some(PriceLock::Banded) => table.required(BAND, "\"10\"").and_then(|value| value.positive()),
        Some(PriceLock::Floating | PriceLock::Locked) => {
            table.refuse(BAND, "needs a banded price", "remove it, or set `price_lock = \"banded\"`");
            None
        }
        None => table.get(BAND).and_then(|value| value.positive()),
    };
    let approval = table.get(APPROVAL).and_then(|value| {
        let approval = value.choice(&APPROVALS)?;
        if approval.is_some() && lock.is_some_and(|lock| lock != PriceLock::Locked) {
            let problem = "needs a locked price: any other moves by itself every night";
            return value.refuse(problem, "remove it, or set `price_lock = \"locked\"`");
        }
        approval
    });
    (lock.unwrap_or(PriceLock::Floating), band, approval)
}

fn extra_tags(value: &Value<'_>) -> Option<Vec<Id>> {
    let items = value.list()?;
    if items.len() > EXTRA_TAG_NAMES_MAX {
        return value.refuse(format!("{} tags", items.len()), format!("allow at most {EXTRA_TAG_NAMES_MAX}"));
    }
    let mut unique = Unique::default();
    let mut tags = Vec::new();
    for item in items {
        let Some(name) = item.string().filter(|name| item.is_name(name, TAG_NAME_BYTES_MAX)) else { continue };
        if TAG_NAMES.contains(&name) {
            item.refuse::<()>(format!("{} is a dimension of its own", quoted(name)), "remove it: it is always kept");
        } else if unique.claim(name, &item, &quoted(name)) {
            tags.push(Id::from(name));
        }
    }
    Some(tags)
}
