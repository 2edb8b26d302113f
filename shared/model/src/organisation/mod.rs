//! The organisation: teams, agents, pools, policies, as `recoup.toml` declares them.
//!
//! These are the checked values; `parse` reads the file, `diff` compares two versions, `history` knows which version
//! holds on which local day.

mod check;
mod diff;
pub mod history;
mod parse;

use std::collections::BTreeMap;

use chrono::NaiveDate;
use chrono_tz::Tz;
use recoup_money::{Amount, Currency};
use serde::{Deserialize, Serialize};

pub use self::check::check_succession;
pub use self::diff::{Change, ChangeKind, diff};
pub use self::history::{History, Version};
pub use self::parse::{FileProblem, parse, parse_with_notices};
use crate::event::Id;
use crate::period::Calendar;

/// A checked organisation file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Organisation {
    /// The name, printed on statements.
    pub name: String,
    /// The reporting currency (MON-4).
    pub currency: Currency,
    /// The zone whose months are billed.
    pub time_zone: Tz,
    /// Policies.
    pub policy: Policy,
    /// Teams by id.
    pub teams: BTreeMap<Id, Team>,
    /// Agents by id.
    pub agents: BTreeMap<Id, Agent>,
    /// Pools by id.
    pub pools: BTreeMap<Id, Pool>,
    /// Task types by id.
    pub task_types: BTreeMap<Id, TaskType>,
    /// People by user id, as the file writes them.
    pub people: BTreeMap<Id, Person>,
    /// Costs that arrive as a bill (POOL-5).
    pub recurring: Vec<Recurring>,
    /// Currency conversion (MON-4), in file order.
    pub rates: Vec<ExchangeRate>,
    /// Budgets, parsed and kept.
    pub budgets: Vec<Budget>,
    /// The organisation's own prices, which win over the catalogue (RAT-1).
    pub prices: Vec<OwnPrice>,
    /// Who hears of what concerns the whole organisation.
    pub alerts: Alerting,
}

impl Organisation {
    /// The calendar of its time zone.
    #[must_use]
    pub const fn calendar(&self) -> Calendar {
        Calendar::new(self.time_zone)
    }

    /// The same without what only settlements, budgets and alerts ask for: what is left, with prices and exchange rates, decides
    /// on the facts of a day. What is not taken out here counts.
    #[must_use]
    pub fn for_facts(&self) -> Self {
        let mut seen = self.clone();
        (seen.policy, seen.alerts) = (Policy::default(), Alerting::default());
        seen.pools.clear();
        seen.task_types.clear();
        seen.recurring.clear();
        seen.budgets.clear();
        for team in seen.teams.values_mut() {
            let Team { cost_centre, lead, slack_channel, email, mode } = team;
            (*cost_centre, *lead, *slack_channel, *email, *mode) = (None, None, None, None, Mode::Showback);
        }
        for agent in seen.agents.values_mut() {
            (agent.owner, agent.markup, agent.idle_rate) = (None, None, None);
            agent.markup_by_team.clear();
        }
        seen
    }

    /// The billing model of (team, agent) (PRC-7): the exception for the team, else the agent's, else token.
    #[must_use]
    pub fn billing(&self, team: &str, agent: Option<&str>) -> Billing {
        agent
            .and_then(|agent| self.agents.get(agent))
            .map_or(Billing::Token, |agent| agent.billing_by_team.get(team).copied().unwrap_or(agent.billing))
    }

    /// The markup of (team, agent) (PRC-5): that for the team, else the agent's, else the organisation's; `None`: none.
    #[must_use]
    pub fn markup(&self, team: &str, agent: Option<&str>) -> Option<Markup> {
        let declared = agent.and_then(|agent| self.agents.get(agent));
        let own = declared.and_then(|agent| agent.markup_by_team.get(team).copied().or(agent.markup));
        own.or(self.policy.markup).filter(|markup| !markup.is_zero())
    }

    /// Whether anybody has a markup.
    #[must_use]
    pub fn has_markup(&self) -> bool {
        let of_agents = self.agents.values().flat_map(|agent| agent.markup_by_team.values().chain(&agent.markup));
        of_agents.chain(&self.policy.markup).any(|markup| !markup.is_zero())
    }

    /// Whether any team is billed by a model for an agent.
    #[must_use]
    pub fn is_billed_by(&self, agent: &str, model: Billing) -> bool {
        let of = |agent: &Agent| agent.billing == model || agent.billing_by_team.values().any(|by| *by == model);
        self.agents.get(agent).is_some_and(of)
    }

    /// The rate of an agent's idle minutes (PRC-4), by default 0.
    #[must_use]
    pub fn idle_rate(&self, agent: &str) -> Amount {
        self.agents.get(agent).and_then(|agent| agent.idle_rate).unwrap_or_default()
    }

    /// The pool of a shared agent (ATR-4).
    #[must_use]
    pub fn shared_pool(&self, agent: &str) -> Option<&Id> {
        self.agents.get(agent)?.shared_pool.as_ref()
    }
}

/// `[policy]`. The default is what an organisation file that says nothing gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Policy {
    /// Lanes of the event log; fixed when the log is created.
    pub lanes: u16,
    /// Price grid (PRC-1).
    pub price_grid: Amount,
    /// Half-life of the smoothing in days, at least 1 (PRC-1).
    pub half_life_days: u32,
    /// Enough evidence: completed tasks (PRC-2).
    pub min_tasks: u32,
    /// Enough evidence: days with tasks (PRC-2).
    pub min_days: u32,
    /// Locks (PRC-3).
    pub price_lock: PriceLock,
    /// Most a banded price moves in a night, percent (PRC-3); only with `banded`.
    pub price_band_percent: Option<Amount>,
    /// Whose approval a locked price needs to come into force (PRC-3); only with `locked`. `None`: nobody's.
    pub price_approval: Option<PriceApproval>,
    /// Markup of agents that declare none (PRC-5): a percentage, as an agent may be billed by token.
    pub markup: Option<Markup>,
    /// Close policy for the variance (LED-3).
    pub variance: VariancePolicy,
    /// Where pool shares are charged (PRC-1).
    pub pool_recovery: PoolRecovery,
    /// Days for late events after the period's end (CLO-1).
    pub soft_close_days: u32,
    /// Tags beyond the named dimensions that are kept.
    pub extra_tags: Vec<Id>,
    /// Pool that unattributed cost goes to (ATR-6).
    pub unattributed_pool: Option<Id>,
}

/// How a price may move (PRC-3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PriceLock {
    /// Every night.
    Floating,
    /// At the start of a period only.
    Locked,
    /// At most a given percentage a night.
    Banded,
}

/// Who has to approve the prices of a new period (PRC-3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PriceApproval {
    /// Somebody with the role `finance`.
    Finance,
}

/// What a price model adds to its charges (PRC-5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Markup {
    /// Percent of the charge.
    Percent(Amount),
    /// So much per completed task or per minute.
    Fixed(Amount),
}

impl Markup {
    /// Whether it adds nothing.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        match self {
            Self::Percent(rate) | Self::Fixed(rate) => rate.is_zero(),
        }
    }
}

/// What happens to the variance at the close (LED-3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum VariancePolicy {
    /// Settled over the teams.
    Settle,
    /// Carried into the next price.
    Carry,
    /// Absorbed by a central account.
    Absorb,
}

/// Where pool shares are charged (PRC-1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PoolRecovery {
    /// As lines of their own.
    Line,
    /// Inside the task price.
    Price,
}

/// `[[teams]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Team {
    /// Where its cost is booked.
    pub cost_centre: Option<String>,
    /// Who leads it.
    pub lead: Option<String>,
    /// Where it is told.
    pub slack_channel: Option<String>,
    /// Where it is told by e-mail.
    pub email: Option<String>,
    /// Shown or charged.
    pub mode: Mode,
}

/// Showback shows, chargeback books.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The statement informs and posts nothing.
    Showback,
    /// The statement is booked.
    Chargeback,
}

/// `[[agents]]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Agent {
    /// The team that runs it (which is not who pays).
    pub owner: Option<Id>,
    /// How its tasks are billed (PRC-7).
    pub billing: Billing,
    /// Exceptions by team.
    pub billing_by_team: BTreeMap<Id, Billing>,
    /// What is added to its charges (PRC-5); `None`: as the policy says.
    pub markup: Option<Markup>,
    /// Exceptions by team.
    pub markup_by_team: BTreeMap<Id, Markup>,
    /// Price of an idle minute, where it is billed by time (PRC-4); `None`: 0.
    pub idle_rate: Option<Amount>,
    /// Whether it may claim `critical` (BUD-2).
    pub critical: bool,
    /// The pool that its cost goes to, which makes it a shared agent (ATR-4).
    pub shared_pool: Option<Id>,
}

/// Billing models (PRC-7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Billing {
    /// Pass-through of the ground truth (PRC-6).
    #[default]
    Token,
    /// A price per completed task (PRC-1).
    Task,
    /// A price per minute (PRC-4).
    Time,
}

impl Billing {
    /// The name in the contract.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Task => "task",
            Self::Time => "time",
        }
    }
}

/// `[[pools]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pool {
    /// What its cost is divided by (POOL-1).
    pub basis: PoolBasis,
    /// Pools that consume each other; by default each pool is a group of its own.
    pub group: Id,
    /// How pools of a group treat each other (POOL-2).
    pub method: PoolMethod,
    /// The order of a step-down.
    pub step: Option<u32>,
    /// Percent by team for `fixed`, which sum to 100.
    pub percent: BTreeMap<Id, Amount>,
}

/// What a pool's cost is divided by (POOL-1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PoolBasis {
    /// The direct cost of the consumers.
    DirectCost,
    /// Invocations of the pool's agents.
    Invocations,
    /// Tokens used by the pool's agents.
    Tokens,
    /// Milliseconds used by the pool's agents.
    Duration,
    /// Fixed percentages.
    Fixed,
    /// Even over the active teams.
    Even,
}

impl PoolBasis {
    /// The name in the contract.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::DirectCost => "direct_cost",
            Self::Invocations => "invocations",
            Self::Tokens => "tokens",
            Self::Duration => "duration",
            Self::Fixed => "fixed",
            Self::Even => "even",
        }
    }
}

/// How pools of a group treat each other (POOL-2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PoolMethod {
    /// Consumption by other pools is left out.
    Direct,
    /// In a stated order, each closed after its turn.
    StepDown,
    /// Simultaneous equations.
    Reciprocal,
}

impl PoolMethod {
    /// The name in the contract.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::StepDown => "step_down",
            Self::Reciprocal => "reciprocal",
        }
    }
}

/// `[[task_types]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TaskType {
    /// Most a task may cost (BUD-4).
    pub cap: Option<Amount>,
    /// The price before there is evidence (PRC-2).
    pub seed_price: Option<Amount>,
    /// Whether its work may claim `critical` (BUD-2).
    pub critical: bool,
}

/// `[[people]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Person {
    /// The team of the user, for roots that name a user and no team (ATR-1).
    pub team: Option<Id>,
    /// The role of the person in recoup.
    pub role: Option<String>,
    /// The person's member id in Slack, for buttons that are pressed there.
    pub slack: Option<String>,
}

/// `[[recurring]]` (POOL-5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Recurring {
    /// Names the bill.
    pub id: Id,
    /// The pool that bears it, or
    pub pool: Option<Id>,
    /// the agent that does.
    pub agent: Option<Id>,
    /// The amount per period.
    pub amount: Amount,
    /// In this currency (default: the organisation's).
    pub currency: Currency,
    /// `month`: the only period for now.
    pub period: String,
    /// First local day.
    pub from: NaiveDate,
    /// First local day after it ended.
    pub to: Option<NaiveDate>,
}

/// `[[rates]]` (MON-4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExchangeRate {
    /// One unit of this
    pub from_currency: Currency,
    /// is `rate` units of this,
    pub to_currency: Currency,
    /// from 00:00 UTC of this date, until the next entry of the pair.
    pub from: NaiveDate,
    /// Units of `to_currency` for one of `from_currency`, positive.
    pub rate: Amount,
}

/// `[[budgets]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Budget {
    /// `organisation` or `team:`, `project:`, `agent:`, `user:`, `task:` and an id.
    pub scope: String,
    /// `month`, `week` or `day`.
    pub period: String,
    /// The limit.
    pub limit: Amount,
    /// Percentages at which somebody is told.
    pub tiers: Vec<u32>,
    /// What non-critical work is told when the budget cannot be read (BUD-5).
    pub unavailable: Unavailable,
}

/// What happens to non-critical work while a budget cannot be read (BUD-5); critical work is let through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Unavailable {
    /// It is refused.
    #[default]
    Deny,
    /// It is let through.
    Allow,
}

/// `[alerts]`: who hears of what concerns the whole organisation, and how long an alert may stay unacknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Alerting {
    /// The Slack channel of those who look after all budgets.
    pub finops_slack_channel: Option<String>,
    /// Their e-mail address.
    pub finops_email: Option<String>,
    /// Hours after which an alert that needs an acknowledgement and has none is escalated (BUD-2).
    pub escalate_after_hours: u32,
    /// Where the dashboard is, for links; ends without a slash.
    pub dashboard_url: Option<String>,
}

/// Hours until an alert is escalated, where the file says nothing.
pub const ESCALATE_AFTER_HOURS_DEFAULT: u32 = 4;

impl Default for Alerting {
    fn default() -> Self {
        Self {
            finops_slack_channel: None,
            finops_email: None,
            escalate_after_hours: ESCALATE_AFTER_HOURS_DEFAULT,
            dashboard_url: None,
        }
    }
}

/// `[[prices]]`: the same shape as an entry of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OwnPrice {
    /// Who sells it (with `model`).
    pub provider: Option<Id>,
    /// Which model (with `provider`).
    pub model: Option<Id>,
    /// Which SKU.
    pub sku: Option<Id>,
    /// Of what, with `sku`.
    pub unit: Option<Id>,
    /// In force from this instant, nanoseconds since 1970-01-01T00:00:00Z.
    pub from_ns: i64,
    /// Until this instant, exclusive.
    pub to_ns: Option<i64>,
    /// Currency of the price (default: the organisation's).
    pub currency: Currency,
    /// Rates per million tokens by class name.
    pub per_million: BTreeMap<String, Amount>,
    /// Rates above a context threshold.
    pub long_context: Option<LongContext>,
    /// Rates by service tier.
    pub tiers: BTreeMap<String, TierRates>,
    /// Price per unit, with `sku`.
    pub price: Option<Amount>,
}

/// Rates above a context threshold (RAT-1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LongContext {
    /// More tokens than this.
    pub above: u64,
    /// Rates per million tokens by class name.
    pub per_million: BTreeMap<String, Amount>,
}

/// Rates of a service tier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TierRates {
    /// Rates per million tokens by class name.
    pub per_million: BTreeMap<String, Amount>,
    /// Rates above a context threshold.
    pub long_context: Option<LongContext>,
}
