//! The statement of one team and month (CLO-2).

use std::collections::BTreeMap;

use chrono::NaiveDate;
use recoup_ledger::{Line, LineKey, LineKind, Settlement};
use recoup_model::organisation::{Billing, Markup, Mode, Version};
use recoup_model::{Digest, Id, Period, TokenClass};
use recoup_money::{Amount, Currency, round_statement};
use serde::{Deserialize, Serialize, Serializer};

use crate::canonical::canonical_json;
use crate::manifest::Manifest;

/// Why a statement could not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// A sum does not fit (MON-3).
    #[error("the statement of `{0}` overflows; look for a line with an absurd amount")]
    Overflow(Id),
    /// Settlement and manifest are of different months.
    #[error("the settlement is of {settlement} and the manifest of {manifest}; build both from the same days")]
    OtherPeriod {
        /// The settlement's month.
        settlement: Period,
        /// The manifest's month.
        manifest: Period,
    },
    /// A line that JSON does not hold.
    #[error("a line of the statement of `{0}` cannot be written: {1}")]
    Unwritable(Id, String),
}

/// Behind it stand a statement's lines.
const LINES_KEY: &[u8] = b"\"lines\":[";
/// Most lines are shorter.
const LINE_BYTES: usize = 200;

/// What a statement was made from, in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestRef {
    /// Digest of the whole manifest.
    pub digest: Digest,
    /// Events of the month that counted, of all teams.
    pub events: u64,
    /// Digest of every price.
    pub catalogue: Digest,
    /// Digest of the organisation file that held at the end of the month.
    pub organisation: Digest,
    /// Rules version.
    pub rules: u32,
}

/// A line as printed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct StatementLine {
    /// The exact line.
    #[serde(flatten)]
    pub line: Line,
    /// Its amount in the currency's minor unit; the amounts sum to the total (MON-2).
    pub amount: String,
}

/// A line's fields in the order of their names, in which canonical JSON has them: a statement may have a million lines.
#[derive(Serialize)]
struct InOrder<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<&'a Id>,
    amount: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    basis: Option<&'a Id>,
    #[serde(skip_serializing_if = "Option::is_none")]
    billing: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<TokenClass>,
    exact: Amount,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<NaiveDate>,
    kind: LineKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    markup: Option<Markup>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'a Id>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a Id>,
    #[serde(skip_serializing_if = "Option::is_none")]
    original_kind: Option<LineKind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    original_period: Option<Period>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pool: Option<&'a Id>,
    #[serde(skip_serializing_if = "Option::is_none")]
    price: Option<Amount>,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<&'a Id>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quantity: Option<Amount>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sku: Option<&'a Id>,
    #[serde(skip_serializing_if = "Option::is_none")]
    task_type: Option<&'a Id>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<&'a Id>,
}

impl<'a> InOrder<'a> {
    fn of(line: &'a Line, amount: &'a str) -> Self {
        // Without `..`: a new field has to be printed too.
        let Line { key, quantity, price, exact, method, basis, ratio } = line;
        let LineKey {
            kind,
            agent,
            task_type,
            pool,
            billing,
            provider,
            model,
            class,
            sku,
            from,
            unit,
            original_period,
            original_kind,
            markup,
        } = key;
        Self {
            agent: agent.as_ref(),
            amount,
            basis: basis.as_ref(),
            billing: billing.map(Billing::name),
            class: *class,
            exact: *exact,
            from: *from,
            kind: *kind,
            markup: *markup,
            method: method.as_ref(),
            model: model.as_ref(),
            original_kind: *original_kind,
            original_period: *original_period,
            pool: pool.as_ref(),
            price: *price,
            provider: provider.as_ref(),
            quantity: *quantity,
            ratio: ratio.as_deref(),
            sku: sku.as_ref(),
            task_type: task_type.as_ref(),
            unit: unit.as_ref(),
        }
    }
}

impl Serialize for StatementLine {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        InOrder::of(&self.line, &self.amount).serialize(serializer)
    }
}

/// The statement of one team and month. Its canonical JSON is what is hashed; times of issue stand outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// Its number.
    pub statement: String,
    /// From 1; a new revision never changes an amount (LED-4).
    pub revision: u32,
    /// The organisation's name.
    pub organisation: String,
    /// The team.
    pub team: String,
    /// Where the team's cost is booked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_centre: Option<String>,
    /// The month.
    pub period: Period,
    /// The currency of every amount.
    pub currency: Currency,
    /// `showback` or `chargeback`.
    pub mode: String,
    /// Lines in their documented order.
    pub lines: Vec<StatementLine>,
    /// Sum of the exact amounts.
    pub exact_total: Amount,
    /// The total in the currency's minor unit.
    pub total: String,
    /// Events whose cost is not known, and bills that no exchange rate converts (MON-4).
    pub unpriced_events: u64,
    /// What it was made from.
    pub manifest: ManifestRef,
    /// What a reader has to know.
    pub notes: Vec<String>,
}

const fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Showback => "showback",
        Mode::Chargeback => "chargeback",
    }
}

impl Statement {
    /// The statement of a team over a settled month. `version` is the organisation at the end of the month. A team
    /// without lines gets a statement of zero; one that has left the organisation is shown and not booked.
    ///
    /// # Errors
    /// [`DocumentError`].
    pub fn build(
        team: &Id,
        settlement: &Settlement,
        version: &Version,
        revision: u32,
        manifest: &Manifest,
    ) -> Result<Self, DocumentError> {
        let lines = settlement.lines.get(team).map(Vec::as_slice).unwrap_or_default();
        let (statement, amounts) = Self::without_lines((team, lines), settlement, version, revision, manifest)?;
        let printed = lines.iter().cloned().zip(amounts);
        let currency = statement.currency;
        let lines = printed.map(|(line, units)| StatementLine { line, amount: currency.format_minor(units) }).collect();
        Ok(Self { lines, ..statement })
    }

    /// The canonical JSON of [`Statement::build`], of lines that were taken out of the settlement, with the statement itself
    /// but for its lines: a month may have a million of them.
    ///
    /// # Errors
    /// As [`Statement::build`].
    pub fn document(
        (team, lines): (&Id, &[Line]),
        settlement: &Settlement,
        version: &Version,
        revision: u32,
        manifest: &Manifest,
    ) -> Result<(Self, Vec<u8>), DocumentError> {
        let (statement, amounts) = Self::without_lines((team, lines), settlement, version, revision, manifest)?;
        let text = canonical_json(&statement);
        // No text has it, as quotes stand escaped in texts.
        let place = text.windows(LINES_KEY.len()).position(|bytes| bytes == LINES_KEY);
        let place = place.map_or(text.len(), |at| at.saturating_add(LINES_KEY.len()));
        let (before, after) = text.split_at(place);
        let mut document = Vec::with_capacity(text.len().saturating_add(lines.len().saturating_mul(LINE_BYTES)));
        document.extend_from_slice(before);
        for (at, (line, units)) in lines.iter().zip(amounts).enumerate() {
            if at > 0 {
                document.push(b',');
            }
            // Fields in order, no floats, no blanks: this is canonical.
            let amount = statement.currency.format_minor(units);
            serde_json::to_writer(&mut document, &InOrder::of(line, &amount))
                .map_err(|error| DocumentError::Unwritable(team.clone(), error.to_string()))?;
        }
        document.extend_from_slice(after);
        Ok((statement, document))
    }

    /// The statement but for its lines, and the amount of each in minor units.
    fn without_lines(
        (team, lines): (&Id, &[Line]),
        settlement: &Settlement,
        version: &Version,
        revision: u32,
        manifest: &Manifest,
    ) -> Result<(Self, Vec<i128>), DocumentError> {
        if settlement.period != manifest.period {
            return Err(DocumentError::OtherPeriod { settlement: settlement.period, manifest: manifest.period });
        }
        let organisation = &version.organisation;
        let currency = organisation.currency;
        let exact: Vec<i128> = lines.iter().map(|line| line.exact.pico()).collect();
        let overflow = || DocumentError::Overflow(team.clone());
        let (total, amounts) = round_statement(&exact, currency.minor_unit_pico()).ok_or_else(overflow)?;
        let exact_total = Amount::checked_sum(lines.iter().map(|line| line.exact)).ok_or_else(overflow)?;
        let known = organisation.teams.get(team);
        let mode = known.map_or(Mode::Showback, |known| known.mode);
        let unpriced_events = settlement.unpriced_events.get(&Some(team.clone())).copied().unwrap_or_default();
        let corrected = corrected(lines, &amounts).ok_or_else(overflow)?;
        let notes = notes(mode, unpriced_events, (corrected, currency));
        let statement = Self {
            statement: format!("{}-{team}", settlement.period),
            revision,
            organisation: organisation.name.clone(),
            team: team.to_string(),
            cost_centre: known.and_then(|known| known.cost_centre.clone()),
            period: settlement.period,
            currency,
            mode: mode_name(mode).to_owned(),
            lines: Vec::new(),
            exact_total,
            total: currency.format_minor(total),
            unpriced_events,
            manifest: ManifestRef {
                digest: manifest.digest(),
                events: manifest.events,
                catalogue: manifest.catalogue,
                organisation: version.digest,
                rules: manifest.rules,
            },
            notes,
        };
        Ok((statement, amounts))
    }
}

/// Printed corrections by the month that they correct.
fn corrected(lines: &[Line], amounts: &[i128]) -> Option<BTreeMap<Period, i128>> {
    let mut sums: BTreeMap<Period, i128> = BTreeMap::new();
    for (line, amount) in lines.iter().zip(amounts) {
        if let (LineKind::Correction, Some(period)) = (line.key.kind, line.key.original_period) {
            let sum = sums.entry(period).or_default();
            *sum = sum.checked_add(*amount)?;
        }
    }
    Some(sums)
}

fn notes(mode: Mode, unpriced_events: u64, (corrected, currency): (BTreeMap<Period, i128>, Currency)) -> Vec<String> {
    let mut notes = Vec::new();
    if mode == Mode::Showback {
        notes.push("Showback: for information only. Nothing is booked.".to_owned());
    }
    if unpriced_events > 0 {
        let (unpriced, cost) =
            if unpriced_events == 1 { ("event or bill has", "its") } else { ("events or bills have", "their") };
        notes.push(format!(
            "{unpriced_events} {unpriced} no price in {currency} yet: {cost} cost is not in this statement and not zero."
        ));
    }
    notes.extend(corrected.into_iter().map(|(period, sum)| {
        let sum = currency.format_minor(sum);
        format!("Corrections of {period}: {sum} {currency}; the statements of that month stay as they are.")
    }));
    notes
}
