//! What keeps a period from being closed (CLO-1): every finding, not the first.

use chrono::{Days, NaiveDate};
use recoup_model::period::format_instant;
use recoup_model::{Calendar, Finding, FindingKind, Period, Severity};
use recoup_money::{Amount, Currency};

use crate::correct::Correction;
use crate::journal::Balances;
use crate::line::Bearer;
use crate::settle::{Settlement, Totals};

/// What a close knows besides its settlement.
#[derive(Clone, Copy, Debug)]
pub struct CloseFacts<'a> {
    /// The month.
    pub period: Period,
    /// The organisation's calendar.
    pub calendar: Calendar,
    /// Days for late events after the period's end.
    pub soft_close_days: u32,
    /// As of when, nanoseconds since 1970-01-01T00:00:00Z.
    pub as_of_ns: i64,
    /// Days of the period without a current night.
    pub missing_nights: &'a [NaiveDate],
    /// An earlier month whose close was interrupted: its own days wait for it.
    pub unfinished: Option<Period>,
    /// Blocks that cannot be read, each with its reason.
    pub unreadable_blocks: &'a [(String, String)],
    /// The balances that would be closed.
    pub balances: &'a Balances,
}

impl CloseFacts<'_> {
    /// The first instant at which the period may be closed: local midnight after the last soft-close day.
    #[must_use]
    pub fn closable_ns(&self) -> i64 {
        let end = self.period.next().first_day();
        let day = end.checked_add_days(Days::new(u64::from(self.soft_close_days))).unwrap_or(NaiveDate::MAX);
        self.calendar.day_start_ns(day)
    }
}

/// All findings that block a close (CLO-1). Nothing else does.
#[must_use]
pub fn close_findings(facts: &CloseFacts<'_>) -> Vec<Finding> {
    let blocking = |kind, subject: String, detail| Finding { severity: Severity::Blocking, kind, subject, detail };
    let mut findings: Vec<Finding> = still_open(facts)
        .map(|detail| blocking(FindingKind::PeriodOpen, facts.period.to_string(), detail))
        .into_iter()
        .collect();
    findings.extend(facts.missing_nights.iter().map(|day| {
        let detail = format!("{day} has no current night; run `recoup nightly --all`");
        blocking(FindingKind::NightMissing, day.to_string(), detail)
    }));
    findings.extend(facts.unfinished.map(|month| {
        let detail = format!("the close of {month} was interrupted; finish it with `recoup close {month}`");
        blocking(FindingKind::NightMissing, month.to_string(), detail)
    }));
    findings.extend(facts.unreadable_blocks.iter().map(|(block, reason)| {
        let detail = format!("the block cannot be read ({reason}); restore it from a backup");
        blocking(FindingKind::BlockUnreadable, block.clone(), detail)
    }));
    let trial = facts.balances.trial();
    if trial.is_none_or(|sum| !sum.is_zero()) {
        let sum = trial.map_or_else(|| "more than fits".to_owned(), |sum| sum.to_string());
        let detail = format!("all balances together are {sum} instead of 0; run the nights of the period again");
        findings.push(blocking(FindingKind::TrialBalance, facts.period.to_string(), detail));
    }
    findings
}

/// What no statement of a settled month holds, so that whoever closes it sees it before (RAT-2, ATR-1). It blocks nothing.
/// `corrections` are those that the month books: what they give or take is another month's.
#[must_use]
pub fn not_charged(settlement: &Settlement, corrections: &[Correction], currency: Currency) -> Vec<Finding> {
    let month = settlement.period;
    let subject = || month.to_string();
    let warning = |kind, detail| Finding { severity: Severity::Warning, kind, subject: subject(), detail };
    let mut findings = Vec::new();
    let unpriced = settlement.unpriced_events.values().fold(0_u64, |sum, events| sum.saturating_add(*events));
    if unpriced > 0 {
        let (what, their) =
            if unpriced == 1 { ("event or bill has", "its") } else { ("events or bills have", "their") };
        let detail = format!(
            "{unpriced} {what} no price: {their} cost is not known, not zero, and in no statement; see `recoup unpriced --month {month}`, \
             and add what is missing to [[prices]] or [[rates]]"
        );
        findings.push(warning(FindingKind::Unpriced, detail));
    }
    let Totals { unattributed, priced_cost, .. } = settlement.totals;
    let of_others = corrections.iter().filter(|correction| correction.bearer == Bearer::Unattributed);
    let of_others = Amount::checked_sum(of_others.map(|correction| correction.line.exact)).unwrap_or_default();
    let unattributed = unattributed.checked_sub(of_others).unwrap_or(unattributed);
    if !unattributed.is_zero() {
        let detail = format!(
            "{unattributed} of {priced_cost} {currency} names no known team and is in no statement; see `recoup findings --month \
             {month}`, tag the roots, or name an `unattributed_pool`"
        );
        findings.push(warning(FindingKind::Unattributed, detail));
    }
    findings
}

fn still_open(facts: &CloseFacts<'_>) -> Option<String> {
    let closable_ns = facts.closable_ns();
    if facts.as_of_ns >= closable_ns {
        return None;
    }
    let (_, end_ns) = facts.calendar.period_bounds_ns(facts.period);
    let what = if facts.as_of_ns < end_ns { "the period is" } else { "its soft-close days are" };
    Some(format!("{what} not over; close it from {} on", format_instant(closable_ns)))
}
