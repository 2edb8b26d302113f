//! From the facts of a period's days to charges, pools, variance, balances and lines: one pure function, [`settle`].

use std::collections::BTreeMap;

use chrono::NaiveDate;
use recoup_attribution::SettlementFacts;
use recoup_model::organisation::{History, Version};
use recoup_model::{Digest, Finding, Id, Period};
use recoup_money::Amount;
use recoup_pricing::internal::PriceState;
use serde::{Deserialize, Serialize};

use crate::charges::{self, Sums};
use crate::correct::Correction;
use crate::draft::Draft;
use crate::error::{LedgerError, fits};
use crate::journal::{
    ABSORBED, Balances, MARKUP, MARKUP_CORRECTIONS, PROVIDER_CORRECTIONS, UNALLOCATED, UNATTRIBUTED, UNPRICED,
};
use crate::line::{Bearer, Line, LineKind, PricedKey};
use crate::markup::Markups;
use crate::parts::{Alone, Part, Payers, Workers, try_each};
use crate::pools::{self, PoolRecord, RecoveredPart};
use crate::prices::{self, InternalPrices, PriceVersion};
use crate::rate_card;
use crate::recurring;
use crate::tasks;
use crate::variance::{self, VarianceRecord};

/// Everything that a period's figures are made from.
#[derive(Clone, Copy, Debug)]
pub struct PeriodInput<'a> {
    /// The month.
    pub period: Period,
    /// The last local day of the period that has a night.
    pub through: NaiveDate,
    /// All versions of the organisation file.
    pub history: &'a History,
    /// Facts by local day; days outside the period or after `through` are left alone.
    pub days: &'a BTreeMap<NaiveDate, SettlementFacts>,
    /// What the period before left behind.
    pub opening: &'a Opening,
    /// The version of the rules; a closed period keeps its own (LED-4). Before version 6 a variance without charges was split
    /// by tasks before the direct cost of its agent and task type, and failed and killed tasks counted on a line that passes
    /// tasks billed by time through.
    pub rules: u32,
    /// To recompute a closed period: its own prices. None are computed and none published.
    pub own_prices: Option<&'a [PriceVersion]>,
    /// Corrections of earlier periods that are booked in this one (LED-4).
    pub corrections: &'a [Correction],
    /// Digests of the rate cards of this period that finance has approved (PRC-3). With own prices they decide nothing.
    pub approvals: &'a [Digest],
}

impl<'a> PeriodInput<'a> {
    /// Whether its period was closed before version 6 of the rules.
    #[must_use]
    pub const fn is_before_rules_6(&self) -> bool {
        self.rules < 6
    }

    /// The facts of the period's days, in order.
    pub(crate) fn facts(&self) -> impl Iterator<Item = &'a SettlementFacts> + use<'a> {
        self.days.range(self.period.first_day()..=self.through).map(|(_, facts)| facts)
    }

    /// The local days of the period up to the last night, with facts or without.
    pub(crate) fn local_days(&self) -> impl Iterator<Item = NaiveDate> + use<'a> {
        let through = self.through;
        self.period.days().take_while(move |day| *day <= through)
    }

    /// The organisation on the last night: its policies and pools hold for the whole period (POOL-4).
    pub(crate) fn organisation(&self) -> &'a Version {
        self.history.on(self.through)
    }
}

/// What one period hands to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// Smoothed sums at the start of the period.
    #[serde(with = "crate::pairs", default)]
    pub prices: BTreeMap<PricedKey, PriceState>,
    /// Variance carried in (LED-3): charges less actual cost of earlier periods.
    #[serde(with = "crate::pairs", default)]
    pub carried: BTreeMap<PricedKey, Amount>,
}

/// The terms of CLO-4.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Priced cost used in the period, recurring bills included.
    pub priced_cost: Amount,
    /// Actual cost that nobody named pays for.
    pub unattributed: Amount,
    /// Cost that nobody could bear.
    pub unallocated: Amount,
    /// Markup on charges (PRC-5).
    pub markup: Amount,
    /// Corrections booked in this period.
    pub corrections: Amount,
    /// Difference to invoices (REC-2); zero until invoices are reconciled.
    pub residual: Amount,
    /// Variance that the centre keeps, positive where it gained.
    pub absorbed: Amount,
    /// Variance on its way into the next period.
    pub carried_out: Amount,
    /// Variance that came from the period before.
    pub carried_in: Amount,
    /// Sum of all lines of all teams.
    pub exact_total: Amount,
}

/// A settled period. `settle` of the same input gives the same value, and its JSON the same bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settlement {
    /// The month.
    pub period: Period,
    /// The last local day that went in.
    pub through: NaiveDate,
    /// Lines by team, for every team that has one, in statement order. A team that left the organisation during the
    /// period keeps its lines: cost is never dropped.
    pub lines: BTreeMap<Id, Vec<Line>>,
    /// How each pool was split (POOL-3).
    pub pools: Vec<PoolRecord>,
    /// Which parts of them prices recover, or lines that pass tasks through (PRC-1).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recovered: Vec<RecoveredPart>,
    /// The price versions of the period; none where own prices were used.
    pub prices: Vec<PriceVersion>,
    /// Digest of the approved rate card that the period's prices began with (PRC-3); `None`: none was asked for or none
    /// approved, or own prices were used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_card: Option<Digest>,
    /// Variance by agent, task type and billing model.
    pub variances: Vec<VarianceRecord>,
    /// Balances of all accounts.
    pub balances: Balances,
    /// The terms of CLO-4.
    pub totals: Totals,
    /// Unpriced events by the payer's team; `None`: no payer. A recurring bill with a day without an exchange rate counts
    /// as one for its owner, or for `None` where a pool or nobody bears it.
    #[serde(with = "crate::pairs")]
    pub unpriced_events: BTreeMap<Option<Id>, u64>,
    /// Events that counted on the period's days.
    pub events: u64,
    /// What a person should look at. Findings of single days stand in their facts.
    pub findings: Vec<Finding>,
    /// What the next period opens with; empty where own prices were used, as a closed period hands nothing on twice.
    pub closing: Opening,
}

/// Settles a period up to its last night.
///
/// # Errors
/// [`LedgerError`]: an overflow, a day outside the period, closed pools, an unknown pool or policy.
pub fn settle(input: &PeriodInput<'_>) -> Result<Settlement, LedgerError> {
    settle_with(input, &Alone)
}

/// As [`settle`], to the same bytes, by several workers: days are observed, payers are charged and lines are put in order
/// apart from each other.
///
/// # Errors
/// As [`settle`]; [`LedgerError::PartNotDone`].
pub fn settle_with(input: &PeriodInput<'_>, workers: &dyn Workers) -> Result<Settlement, LedgerError> {
    check_input(input)?;
    let nights = prices::price_period(input, workers)?;
    let (mut draft, mut sums) = (Draft::default(), Sums::default());
    let payers = Payers::of(input, workers.parts());
    for (of_part, summed) in try_each(workers, payers.all(), |part| charge_part(input, &nights.prices, part))? {
        draft.absorb(of_part)?;
        sums.absorb(summed)?;
    }
    charges::post(input, &mut sums, &mut draft)?;
    draft.note_pass_through();
    recurring::charge(input, &mut draft, &mut sums)?;
    let (pools, recovered) = pools::allocate(input, &nights.prices, &mut sums, &mut draft)?;
    let variances = variance::close(input, &sums, &mut draft)?;
    for correction in input.corrections {
        draft.bear(correction.account(), &correction.bearer, correction.line.clone())?;
    }
    // LED-1: accounts that stay at zero are still accounts. Unpriced cost is unknown, so that its memo has no amount.
    draft.balances.transfer(MARKUP, UNPRICED, Amount::ZERO)?;
    let totals = total(input, &draft, &sums, &variances)?;
    let closing = match input.own_prices {
        Some(_) => Opening::default(),
        None => Opening { prices: nights.states, carried: variance::carried_out(&variances) },
    };
    let (prices, rate_card) = match input.own_prices {
        Some(_) => (Vec::new(), None),
        None => {
            rate_card::note_waiting(input, &mut draft)?;
            (nights.prices.into_versions(), rate_card::approved(input)?.map(|card| card.digest))
        }
    };
    let (lines, balances, findings) = draft.finish(workers)?;
    Ok(Settlement {
        period: input.period,
        through: input.through,
        lines,
        pools,
        recovered,
        prices,
        rate_card,
        variances,
        balances,
        totals,
        unpriced_events: sums.unpriced_events,
        events: sums.events,
        findings,
        closing,
    })
}

/// What the payers of a part are charged.
fn charge_part(
    input: &PeriodInput<'_>,
    prices: &InternalPrices,
    part: Part<'_, '_>,
) -> Result<(Draft, Sums), LedgerError> {
    let mut draft = Draft::default();
    let mut markups = Markups::of(input);
    let mut sums = charges::sum_cells(input, prices, part, &mut draft, &mut markups)?;
    tasks::charge_tasks(input, prices, part, &mut draft, (&mut sums, &mut markups))?;
    markups.book(&mut draft)?;
    Ok((draft, sums))
}

fn check_input(input: &PeriodInput<'_>) -> Result<(), LedgerError> {
    if !input.period.contains(input.through) {
        return Err(LedgerError::ThroughOutside { through: input.through, period: input.period });
    }
    Ok(())
}

fn total(
    input: &PeriodInput<'_>,
    draft: &Draft,
    sums: &Sums,
    variances: &[VarianceRecord],
) -> Result<Totals, LedgerError> {
    let sum = |amounts: &mut dyn Iterator<Item = Amount>, what| fits(Amount::checked_sum(amounts), what);
    let corrections = sum(&mut input.corrections.iter().map(|correction| correction.line.exact), "the corrections")?;
    Ok(Totals {
        priced_cost: sums.priced_cost,
        unattributed: draft.balances.of(UNATTRIBUTED),
        unallocated: draft.balances.of(UNALLOCATED),
        markup: fits(draft.balances.of(MARKUP).checked_neg(), "the markup")?,
        corrections,
        residual: Amount::ZERO,
        // A correction that the centre bears lowers what it keeps.
        absorbed: fits(draft.balances.of(ABSORBED).checked_neg(), "the absorbed variance")?,
        carried_out: sum(&mut variances.iter().map(|record| record.carried_out), "the carried variance")?,
        carried_in: sum(&mut variances.iter().map(|record| record.carried_in), "the carried variance")?,
        exact_total: draft.exact_total(),
    })
}

impl Correction {
    /// Whether a team bears it.
    #[must_use]
    pub fn team(&self) -> Option<&Id> {
        match &self.bearer {
            Bearer::Team(team) => Some(team),
            Bearer::Unattributed | Bearer::Unallocated | Bearer::Absorbed => None,
        }
    }

    /// What it is credited to: markup is no cost, so that its corrections stand apart (PRC-5).
    fn account(&self) -> &'static str {
        match self.line.key.original_kind {
            Some(LineKind::Markup) => MARKUP_CORRECTIONS,
            _ => PROVIDER_CORRECTIONS,
        }
    }
}
