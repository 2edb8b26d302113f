//! Lines of a statement, and who bears a cost.

use chrono::NaiveDate;
use recoup_model::organisation::{Billing, Markup};
use recoup_model::{Id, Period, TokenClass};
use recoup_money::Amount;
use serde::{Deserialize, Serialize};

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LineKind {
    /// A charge: tokens, tasks, minutes, or actual cost passed through.
    Charge,
    /// What a price model adds to charges (PRC-5).
    Markup,
    /// A share of a pool.
    Pool,
    /// A settled variance.
    Variance,
    /// A correction of a closed period.
    Correction,
}

impl LineKind {
    /// Every kind, in the order of a statement.
    pub const ALL: [Self; 5] = [Self::Charge, Self::Markup, Self::Pool, Self::Variance, Self::Correction];

    /// The name in the contract.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Charge => "charge",
            Self::Markup => "markup",
            Self::Pool => "pool",
            Self::Variance => "variance",
            Self::Correction => "correction",
        }
    }
}

/// The dimensions of a line. Their order here is the order of lines in a statement; an absent value comes first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LineKey {
    /// What the line is.
    pub kind: LineKind,
    /// Which agent: for tokens the span's, for tasks and minutes the root's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<Id>,
    /// Which task type: for tokens the span's, for tasks and minutes the root's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_type: Option<Id>,
    /// Which pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<Id>,
    /// Under which billing model.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "billing_name")]
    pub billing: Option<Billing>,
    /// Who sold it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<Id>,
    /// Which model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<Id>,
    /// Which class of tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<TokenClass>,
    /// Which SKU, or which recurring bill.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sku: Option<Id>,
    /// First local day, inside the period, of the price version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<NaiveDate>,
    /// Of what the quantity is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<Id>,
    /// Of a correction: the closed period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original_period: Option<Period>,
    /// Of a correction: what the corrected line is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original_kind: Option<LineKind>,
    /// Of a markup: which one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub markup: Option<Markup>,
}

impl LineKey {
    /// A key without dimensions.
    #[must_use]
    pub const fn of(kind: LineKind) -> Self {
        Self {
            kind,
            agent: None,
            task_type: None,
            pool: None,
            billing: None,
            provider: None,
            model: None,
            class: None,
            sku: None,
            from: None,
            unit: None,
            original_period: None,
            original_kind: None,
            markup: None,
        }
    }
}

/// One line of a statement, exact. The currency is the organisation's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Its dimensions.
    #[serde(flatten)]
    pub key: LineKey,
    /// Tokens, units, tasks, minutes, months, or the charges that a percentage is taken of: an exact decimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantity: Option<Amount>,
    /// The price of one unit, where a price was applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Amount>,
    /// The exact amount.
    pub exact: Amount,
    /// Of a pool: how pools of its group treat each other (POOL-2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<Id>,
    /// Of a pool: what its cost was divided by, after a fallback (POOL-1, SPL-3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basis: Option<Id>,
    /// Of a pool: the exact fraction of the pool's cost that the team bears, reduced: `3/5`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ratio: Option<String>,
}

impl Line {
    /// A line with an amount and nothing else.
    #[must_use]
    pub const fn new(key: LineKey, exact: Amount) -> Self {
        Self { key, quantity: None, price: None, exact, method: None, basis: None, ratio: None }
    }

    /// The same line with a quantity.
    #[must_use]
    pub const fn with_quantity(mut self, quantity: Amount) -> Self {
        self.quantity = Some(quantity);
        self
    }

    /// Whether the line says nothing: no quantity and no amount.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.exact.is_zero() && self.quantity.is_none_or(Amount::is_zero)
    }

    /// Adds another line of the same key; `None` on overflow.
    pub(crate) fn checked_add(&mut self, other: &Self) -> Option<()> {
        self.exact = self.exact.checked_add(other.exact)?;
        self.quantity = match (self.quantity, other.quantity) {
            (Some(a), Some(b)) => Some(a.checked_add(b)?),
            (a, b) => a.or(b),
        };
        Some(())
    }
}

/// Who bears a cost in the end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bearer {
    /// A team, on its statement.
    Team(Id),
    /// Nobody named (ATR-1): the account `unattributed`.
    Unattributed,
    /// Nobody could be found (SPL-3): the account `unallocated`.
    Unallocated,
    /// The centre: the account `absorbed` (LED-3).
    Absorbed,
}

impl Bearer {
    /// The bearer of a payer's cost.
    #[must_use]
    pub fn of_payer(team: Option<&Id>) -> Self {
        team.map_or(Self::Unattributed, |team| Self::Team(team.clone()))
    }

    /// What breaks ties of a split (SPL-1); the accounts that are no teams come before every team.
    pub(crate) fn tie_break(&self) -> &[u8] {
        match self {
            Self::Team(team) => team.as_bytes(),
            Self::Unattributed | Self::Unallocated | Self::Absorbed => b"",
        }
    }
}

/// The two billing models that have an internal price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PriceModel {
    /// Per completed task (PRC-1).
    Task,
    /// Per minute (PRC-4).
    Time,
}

impl PriceModel {
    /// The model of a billing model; tokens pass through and have none.
    #[must_use]
    pub const fn of(billing: Billing) -> Option<Self> {
        match billing {
            Billing::Token => None,
            Billing::Task => Some(Self::Task),
            Billing::Time => Some(Self::Time),
        }
    }

    /// The billing model that uses it.
    #[must_use]
    pub const fn billing(self) -> Billing {
        match self {
            Self::Task => Billing::Task,
            Self::Time => Billing::Time,
        }
    }
}

/// What has an internal price, and a variance (LED-2).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PricedKey {
    /// The root's agent.
    pub agent: Id,
    /// The root's task type.
    pub task_type: Id,
    /// Per task or per minute.
    pub model: PriceModel,
}

mod billing_name {
    use recoup_model::organisation::Billing;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(billing: &Option<Billing>, serializer: S) -> Result<S::Ok, S::Error> {
        billing.map(Billing::name).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Billing>, D::Error> {
        let Some(name) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
        let known = [Billing::Token, Billing::Task, Billing::Time].into_iter().find(|billing| billing.name() == name);
        let unknown = || serde::de::Error::custom(format!("`{name}` is no billing model; use token, task or time"));
        known.ok_or_else(unknown).map(Some)
    }
}
