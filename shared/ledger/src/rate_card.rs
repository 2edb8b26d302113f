//! Rate cards: the locked prices of a new period, which hold once finance has approved them (PRC-3).
//!
//! The card of a period is what the nights before it left as candidates. Where the policy of the last of these nights asks
//! for approval, it holds from the period's first day if somebody approved exactly this card before the period is closed;
//! until then the last approved prices hold, else the seed, else tasks pass through. A card that has changed since, because
//! late events changed the period before, has to be approved again. It lists what somebody is billed by on the period's
//! first day; a billing model that comes later in the month waits for the next card.

use std::collections::BTreeMap;

use recoup_model::organisation::{History, PriceLock};
use recoup_model::{Digest, FindingKind, Period, Severity};
use recoup_money::{Amount, PICO_PER_UNIT, mul_div_half_even};
use recoup_pricing::internal::PriceState;
use serde::{Deserialize, Serialize};

use crate::draft::Draft;
use crate::error::LedgerError;
use crate::line::PricedKey;
use crate::settle::{Opening, PeriodInput};

/// A hundredth, in picounits.
const HUNDREDTH_PICO: i128 = PICO_PER_UNIT / 100;

/// The prices that a period begins with, for somebody to approve.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateCard {
    /// The month.
    pub period: Period,
    /// By agent, task type and billing model.
    pub rows: Vec<CardRow>,
    /// SHA-256 of month and rows, as JSON: what an approval names.
    pub digest: Digest,
}

/// One price of a rate card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CardRow {
    /// What it prices.
    #[serde(flatten)]
    pub key: PricedKey,
    /// The last approved price; `None`: there is none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Amount>,
    /// What the nights before the period gave.
    pub candidate: Amount,
}

/// The card of a period over what the period before left behind, where the policy of that one's last night asks for approval.
///
/// # Errors
/// [`LedgerError::Inputs`], which does not happen to values of this kind.
pub fn rate_card(period: Period, opening: &Opening, history: &History) -> Result<Option<RateCard>, LedgerError> {
    let Some(eve) = period.first_day().pred_opt() else { return Ok(None) };
    let policy = &history.on(eve).organisation.policy;
    if policy.price_lock != PriceLock::Locked || policy.price_approval.is_none() {
        return Ok(None);
    }
    let organisation = &history.on(period.first_day()).organisation;
    let row = |(key, state): (&PricedKey, &PriceState)| {
        let billed = organisation.is_billed_by(&key.agent, key.model.billing());
        Some(CardRow { key: key.clone(), price: state.price, candidate: state.candidate.filter(|_| billed)? })
    };
    RateCard::of(period, opening.prices.iter().filter_map(row).collect()).map(Some)
}

impl CardRow {
    /// By how many percent the price would change, half to even at two digits; `None` where there was none.
    #[must_use]
    pub fn change_percent(&self) -> Option<Amount> {
        let before = self.price.filter(|price| !price.is_zero())?;
        let change = self.candidate.checked_sub(before)?.checked_mul(100)?;
        let hundredths = mul_div_half_even(change.pico(), 100, before.pico())?;
        Some(Amount::from_pico(hundredths.checked_mul(HUNDREDTH_PICO)?))
    }
}

impl RateCard {
    /// The card of these rows.
    ///
    /// # Errors
    /// [`LedgerError::Inputs`], which does not happen to values of this kind.
    pub fn of(period: Period, rows: Vec<CardRow>) -> Result<Self, LedgerError> {
        let digest = Digest::of(&serde_json::to_vec(&(period, &rows))?);
        Ok(Self { period, rows, digest })
    }

    /// Rows whose price would change.
    pub fn changes(&self) -> impl Iterator<Item = &CardRow> {
        self.rows.iter().filter(|row| row.price != Some(row.candidate))
    }
}

/// The states that a period begins with: its card's candidates are in force where they were approved.
///
/// # Errors
/// [`LedgerError::Inputs`], which does not happen to values of this kind.
pub fn opening_states(input: &PeriodInput<'_>) -> Result<BTreeMap<PricedKey, PriceState>, LedgerError> {
    let mut states = input.opening.prices.clone();
    for row in approved(input)?.into_iter().flat_map(|card| card.rows) {
        if let Some(state) = states.get_mut(&row.key) {
            state.price = Some(row.candidate);
        }
    }
    Ok(states)
}

/// The period's card, if it was approved.
pub(crate) fn approved(input: &PeriodInput<'_>) -> Result<Option<RateCard>, LedgerError> {
    let card = rate_card(input.period, input.opening, input.history)?;
    Ok(card.filter(|card| input.approvals.contains(&card.digest)))
}

/// Tells that a card waits for somebody.
pub(crate) fn note_waiting(input: &PeriodInput<'_>, draft: &mut Draft) -> Result<(), LedgerError> {
    let Some(card) = rate_card(input.period, input.opening, input.history)? else { return Ok(()) };
    let changes = card.changes().count();
    if changes == 0 || input.approvals.contains(&card.digest) {
        return Ok(());
    }
    let period = input.period;
    let prices = if changes == 1 { "1 price".to_owned() } else { format!("{changes} prices") };
    let waits = if input.approvals.is_empty() { "waits for approval by finance" } else { "changed after its approval" };
    let detail = format!(
        "the rate card of {period} {waits}: {prices} would change, and what was approved last holds until then; see \
         `recoup prices card {period}`, approve it with `recoup prices approve {period}` before the month is closed"
    );
    draft.find(Severity::Warning, FindingKind::RateCardWaits, &period.to_string(), detail);
    Ok(())
}
