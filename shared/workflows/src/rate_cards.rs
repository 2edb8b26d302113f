//! Rate cards: what a new period's locked prices would be, and who approved them (PRC-3).
//!
//! I/O: reading a card is the record of the month before and the list that its last night left, or what its close froze; an
//! approval is one record under the digest of the card, which is never changed: approving the same card again is the same.

use recoup_ledger::{CardRow, RateCard, rate_card};
use recoup_model::{Digest, Period};
use recoup_store::{Expect, Key, Write, WriteError};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::access::{Principal, Role};
use crate::app::{App, World};
use crate::close::{self, PeriodRecord};
use crate::error::Refusal;
use crate::nightly::{SettledPeriod, settled_partition};
use crate::records;

/// The partition of approvals, by period and digest.
const RATE_CARDS: &str = "rate-cards";
/// Where a settled period keeps the rows of the next one's card.
const ROWS: &str = "card";

/// That somebody approved a card. Kept for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// The month whose prices they are.
    pub period: Period,
    /// Digest of the card.
    pub digest: Digest,
    /// When, RFC 3339.
    pub approved_at: String,
    /// The id of the key; `None`: the operator at the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<String>,
    /// In which role.
    pub role: Role,
    /// The card as it was approved.
    pub rows: Vec<CardRow>,
}

/// A card, and where it is on its way.
struct Found {
    card: RateCard,
    state: CardState,
    approval: Option<Approval>,
}

/// Where a card is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum CardState {
    /// The month before has nights to come: it may change.
    Provisional,
    /// It can be approved; until then the last approved prices hold.
    Waiting,
    /// It holds.
    Approved,
    /// The month is closed without it.
    Lapsed,
}

/// The rows of the next period's card, beside the run that settled a period.
pub(crate) fn next_card_puts(
    world: &World,
    settled: &SettledPeriod,
    (partition, run): (&str, &str),
) -> Result<Vec<Write>, Refusal> {
    let card = rate_card(settled.period.next(), &settled.settlement.closing, &world.history)
        .map_err(|error| Refusal::computation("make a rate card", error))?;
    let rows = card.into_iter().flat_map(|card| card.rows);
    Ok(records::list_puts(partition, &format!("{run}/{ROWS}/"), rows)?)
}

impl App {
    /// Digests of the cards of a period that were approved.
    pub(crate) async fn approved_cards(&self, period: Period) -> Result<Vec<Digest>, Refusal> {
        let approvals = records::all::<Approval>(self.books(), RATE_CARDS, &format!("{period}/")).await?;
        Ok(approvals.into_iter().map(|(_, approval, _)| approval.digest).collect())
    }

    /// The card of a period: rows with the last approved price, the candidate and the change, its digest and its state.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] where no approval is asked for or the month before has no night yet.
    pub async fn rate_card(&self, principal: &Principal, period: Period) -> Result<Value, Refusal> {
        principal.may_see_all()?;
        Ok(shown(&self.find_card(period).await?))
    }

    /// Approves the card of a period that has this digest. From the next night on its prices hold for the whole period.
    ///
    /// # Errors
    /// [`Refusal::Conflict`] for a card that is not final, has changed, or whose month is closed.
    pub async fn approve_rate_card(
        &self,
        principal: &Principal,
        period: Period,
        digest: Digest,
    ) -> Result<Value, Refusal> {
        principal.may_run()?;
        let found = self.find_card(period).await?;
        if found.card.digest != digest {
            let now = found.card.digest;
            let detail = format!("the rate card of {period} is now {now}; look at it again and approve that");
            return Err(Refusal::Conflict { kind: "rate-card-changed", detail });
        }
        match found.state {
            CardState::Approved => return Ok(shown(&found)),
            CardState::Waiting => {}
            CardState::Provisional => {
                let last = period.previous().days().last().unwrap_or_default();
                let detail = format!("the rate card of {period} is final once the night of {last} has run");
                return Err(Refusal::Conflict { kind: "rate-card-provisional", detail });
            }
            CardState::Lapsed => {
                let detail = format!("{period} is closed: its prices cannot change any more");
                return Err(Refusal::Conflict { kind: "period-closed", detail });
            }
        }
        let approval = Approval {
            period,
            digest,
            approved_at: self.now_text(),
            approved_by: principal.key_id.clone(),
            role: principal.role,
            rows: found.card.rows,
        };
        let detail = json!({ "digest": digest });
        let writes = vec![
            records::put(approval_key(period, digest), &approval, Expect::Absent)?,
            self.audit_put(principal, "rate-card-approved", &period.to_string(), detail)?,
        ];
        match self.books().write(writes).await {
            // Somebody else has approved the same card meanwhile: theirs stays.
            Ok(()) | Err(WriteError::Conflict(_)) => Ok(shown(&self.find_card(period).await?)),
            Err(error) => Err(error.into()),
        }
    }

    async fn find_card(&self, period: Period) -> Result<Found, Refusal> {
        let world = self.world().await?;
        let closed = close::period_records(self.books()).await?;
        let of = |period: Period| closed.iter().find(|record| record.period == period);
        let (card, is_final) = match of(period) {
            Some(record) => (self.card_of_closed(&world, record).await?, true),
            None => match of(period.previous()).filter(|record| record.is_closed()) {
                Some(before) => (self.card_after(&world, before).await?, true),
                None => self.card_of_nights(&world, period).await?,
            },
        };
        let approval = records::get::<Approval>(self.books(), &approval_key(period, card.digest)).await?;
        let approval = approval.map(|(approval, _)| approval);
        let state = match (of(period), &approval) {
            (Some(record), _) if record.rate_card == Some(card.digest) => CardState::Approved,
            (Some(_), _) => CardState::Lapsed,
            (None, Some(_)) => CardState::Approved,
            (None, None) if is_final => CardState::Waiting,
            (None, None) => CardState::Provisional,
        };
        Ok(Found { card, state, approval })
    }

    /// The card that a closed period began with.
    async fn card_of_closed(&self, world: &World, record: &PeriodRecord) -> Result<RateCard, Refusal> {
        let history = close::history_as_closed(&world.history, record)?;
        asked(record.period, rate_card(record.period, &self.opening_of(record).await?, &history))
    }

    /// The card of the period after a closed one.
    async fn card_after(&self, world: &World, before: &PeriodRecord) -> Result<RateCard, Refusal> {
        let period = before.period.next();
        asked(period, rate_card(period, &self.closing_of(before).await?, &world.history))
    }

    /// The card as the nights of the month before have left it, and whether its last night is among them.
    async fn card_of_nights(&self, world: &World, period: Period) -> Result<(RateCard, bool), Refusal> {
        let before = period.previous();
        let eve = before.days().last().unwrap_or_default();
        if world.history.on(eve).organisation.policy.price_approval.is_none() {
            return Err(not_asked(period));
        }
        let record = self.settled_record(before).await?.ok_or_else(|| {
            Refusal::NotFound(format!("no night of {before} has run, so that there is no rate card of {period} yet"))
        })?;
        let rows = self.settled_list(&settled_partition(before), &record.run, ROWS).await?;
        Ok((asked(period, RateCard::of(period, rows).map(Some))?, record.through == eve))
    }
}

fn approval_key(period: Period, digest: Digest) -> Key {
    Key::new(RATE_CARDS, format!("{period}/{digest}"))
}

fn asked(period: Period, card: Result<Option<RateCard>, recoup_ledger::LedgerError>) -> Result<RateCard, Refusal> {
    card.map_err(|error| Refusal::computation("make a rate card", error))?.ok_or_else(|| not_asked(period))
}

fn not_asked(period: Period) -> Refusal {
    Refusal::NotFound(format!(
        "the prices of {period} need no approval; set `price_lock = \"locked\"` and `price_approval = \"finance\"` in \
         [policy] where they should, or see them with `recoup prices tasks`"
    ))
}

fn shown(found: &Found) -> Value {
    let row = |row: &CardRow| {
        json!({
            "agent": row.key.agent, "task_type": row.key.task_type, "model": row.key.model, "price": row.price,
            "candidate": row.candidate, "change_percent": row.change_percent(),
        })
    };
    let approval = found.approval.as_ref().map(|approval| {
        json!({ "approved_at": approval.approved_at, "approved_by": approval.approved_by, "role": approval.role })
    });
    json!({
        "period": found.card.period, "state": found.state, "digest": found.card.digest, "approval": approval,
        "rows": found.card.rows.iter().map(row).collect::<Vec<_>>(),
    })
}
