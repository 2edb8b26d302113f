//! Accounts, postings, and the difference between two nights (LED-1, CRX-1).

use std::collections::BTreeMap;

use recoup_model::Id;
use recoup_money::Amount;
use serde::{Deserialize, Serialize};

use crate::error::{LedgerError, fits};
use crate::line::{Bearer, LineKind, PricedKey};

/// Balances by account, debits positive. Zero-sum by construction: only [`Balances::transfer`] changes them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Balances(BTreeMap<String, Amount>);

impl FromIterator<(String, Amount)> for Balances {
    /// Balances as they were stored.
    fn from_iter<I: IntoIterator<Item = (String, Amount)>>(rows: I) -> Self {
        Self(rows.into_iter().collect())
    }
}

/// One side of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Which account.
    pub account: String,
    /// Debit positive, credit negative.
    pub amount: Amount,
}

impl Balances {
    /// The balances by account, in order.
    #[must_use]
    pub const fn accounts(&self) -> &BTreeMap<String, Amount> {
        &self.0
    }

    /// The balance of an account.
    #[must_use]
    pub fn of(&self, account: &str) -> Amount {
        self.0.get(account).copied().unwrap_or_default()
    }

    /// The sum of all balances, which must be zero; `None` on overflow.
    #[must_use]
    pub fn trial(&self) -> Option<Amount> {
        Amount::checked_sum(self.0.values().copied())
    }

    /// Credits one account and debits another.
    ///
    /// # Errors
    /// [`LedgerError::Overflow`].
    pub fn transfer(&mut self, from: &str, to: &str, amount: Amount) -> Result<(), LedgerError> {
        let credit = fits(self.of(from).checked_sub(amount), "the balance of an account")?;
        self.set(from, credit);
        let debit = fits(self.of(to).checked_add(amount), "the balance of an account")?;
        self.set(to, debit);
        Ok(())
    }

    /// Adds other balances, account by account.
    pub(crate) fn absorb(&mut self, other: Self) -> Result<(), LedgerError> {
        for (account, balance) in other.0 {
            let sum = fits(self.of(&account).checked_add(balance), "the balance of an account")?;
            self.set(&account, sum);
        }
        Ok(())
    }

    fn set(&mut self, account: &str, balance: Amount) {
        match self.0.get_mut(account) {
            Some(known) => *known = balance,
            None => drop(self.0.insert(account.to_owned(), balance)),
        }
    }

    /// The balances after a close has rounded the statements (MON-2): what a team's printed total is above its exact
    /// one goes from the account `rounding` to the team.
    ///
    /// # Errors
    /// [`LedgerError::Overflow`].
    pub fn with_rounding(&self, by_team: &BTreeMap<Id, Amount>) -> Result<Self, LedgerError> {
        let mut rounded = self.clone();
        for (team, difference) in by_team {
            rounded.transfer(ROUNDING, &format!("team/{}/rounding", escape(team)), *difference)?;
        }
        Ok(rounded)
    }
}

/// What was bought: credited with the priced cost, recurring bills included.
pub const PROVIDER: &str = "provider";
/// What corrections of closed periods are credited to.
pub const PROVIDER_CORRECTIONS: &str = "provider/corrections";
/// Cost without a payer.
pub const UNATTRIBUTED: &str = "unattributed";
/// Cost that nobody could bear.
pub const UNALLOCATED: &str = "unallocated";
/// Variance that the centre keeps.
pub const ABSORBED: &str = "absorbed";
/// Variance on its way into the next price.
pub const CARRIED: &str = "carried";
/// Events without a price: a memo of 0, so that the account is seen.
pub const UNPRICED: &str = "unpriced";
/// Markup on charges.
pub const MARKUP: &str = "markup";
/// What corrections of the markup of closed periods are credited to.
pub const MARKUP_CORRECTIONS: &str = "markup/corrections";
/// Differences between printed and exact totals.
pub const ROUNDING: &str = "rounding";

/// The account of a team's lines of one kind.
#[must_use]
pub fn team_account(team: &str, kind: LineKind) -> String {
    format!("team/{}/{}", escape(team), kind.name())
}

/// The account that a group of pools passes its cost through. A pool is a group of its own unless it names one.
#[must_use]
pub fn pool_account(group: &str) -> String {
    format!("pool/{}", escape(group))
}

/// The account on which charges meet actual cost.
#[must_use]
pub fn variance_account(key: &PricedKey) -> String {
    format!("variance/{}/{}/{}", escape(&key.agent), escape(&key.task_type), key.model.billing().name())
}

/// The account of whoever bears a cost, by kind of line where it is a team.
#[must_use]
pub fn bearer_account(bearer: &Bearer, kind: LineKind) -> String {
    match bearer {
        Bearer::Team(team) => team_account(team, kind),
        Bearer::Unattributed => UNATTRIBUTED.to_owned(),
        Bearer::Unallocated => UNALLOCATED.to_owned(),
        Bearer::Absorbed => ABSORBED.to_owned(),
    }
}

/// An id as one segment of an account: `%` and `/` are written as `%25` and `%2F`, so that no two accounts meet.
fn escape(id: &str) -> String {
    id.replace('%', "%25").replace('/', "%2F")
}

/// What a night posts: the balances after it less those before (CRX-1). The entries sum to zero.
///
/// # Errors
/// [`LedgerError::Overflow`].
pub fn post(before: &Balances, after: &Balances) -> Result<Vec<Entry>, LedgerError> {
    let accounts: std::collections::BTreeSet<&String> = before.0.keys().chain(after.0.keys()).collect();
    let mut entries = Vec::new();
    for account in accounts {
        let amount = fits(after.of(account).checked_sub(before.of(account)), "a posting")?;
        if !amount.is_zero() {
            entries.push(Entry { account: account.clone(), amount });
        }
    }
    Ok(entries)
}
