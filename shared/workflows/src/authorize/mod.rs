//! Authorize: whether work may begin, asked by an agent before it spends, and the reservation that holds its room.
//!
//! Room is taken from the store in leases and handed out from them: on one machine from memory, where several processes
//! share the books by one conditional update of the lease. What a lease has counts at every budget of its chain until it is
//! spent, released, or its minute has passed and everything recorded before is counted.
//! I/O: on one machine none for most calls; the balances of a chain after something was posted to it; one transaction for
//! each lease. Where the books are shared: balances, the lease, one update.

mod chains;
mod desk;
mod estimate;
pub(crate) mod limits;
mod patience;
mod reservation;
mod room;
mod sweep;

use std::sync::Arc;

use recoup_budgets::PeriodKind;
use recoup_budgets::admission::{Asker, Link, Span, Standing, Verdict, admit, cap_beyond, tier_reached};
use recoup_model::organisation::Unavailable;
use recoup_model::period::format_instant;
use recoup_model::{Id, Organisation, Tags};
use recoup_money::{Amount, Currency};
use recoup_store::{CounterKey, LeaseName, Settlement, causes};
use serde::Serialize;

pub(crate) use self::chains::Chains;
use self::chains::{Chain, GroundOf};
pub(crate) use self::desk::Desk;
pub use self::estimate::Estimate;
use self::patience::Patience;
pub(crate) use self::reservation::{Reservation, holder};
use self::room::Held;
use crate::access::Principal;
use crate::app::{App, World};
use crate::error::Refusal;
use crate::exemptions;

/// How long a reservation lives, where the request says nothing (BUD-3).
pub const TTL_DEFAULT_S: u32 = 15 * 60;
/// The longest that a reservation lives.
pub const TTL_MAX_S: u32 = 24 * 60 * 60;
const MINUTE_NS: i64 = 60_000_000_000;
/// Why a task is killed.
const TASK_CAP: &str = "task-cap";

/// What is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthorizeRequest {
    /// Who wants to begin; what is missing comes from the API key.
    pub tags: Tags,
    /// The trace, which names the task where no tag does.
    pub trace_id: Option<Id>,
    /// Whether the work claims to be critical.
    pub critical: bool,
    /// What it costs at most; `None`: the state is asked for, and the kill switch.
    pub estimate: Option<Estimate>,
    /// How long the reservation has to live, seconds; rounded up to a whole minute of the clock.
    pub ttl_s: Option<u32>,
    /// Whether to ask only: nothing is reserved.
    pub ask_only: bool,
}

/// Allow or deny.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// The work may begin.
    Allow,
    /// It may not.
    Deny,
}

/// What decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DecidedBy {
    /// The scope as the organisation file names it; `task:` and the task for a cap, `task` for one that nobody has named.
    pub scope: String,
    /// The highest tier that is reached there, percent; `None`: none, or a cap.
    pub tier: Option<u32>,
    /// `budget-exceeded`, `kill-switch`, `task-cap`, `task-killed`, `unavailable` or `critical`.
    pub reason: &'static str,
}

/// A limit in an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ScopeRow {
    /// The scope as the organisation file names it.
    pub scope: String,
    /// `2026-11`, `2026-W48`, `2026-11-24`, or `task`: the cap of a task.
    pub period: String,
    /// The limit, with what was approved for the period.
    pub limit: Amount,
    /// What is posted and reserved, this reservation included.
    pub committed: Amount,
    /// What is left; negative where more was spent.
    pub remaining: Amount,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Authorization {
    /// Allow or deny.
    pub decision: Decision,
    /// What an event names to settle it; `None`: nothing is reserved.
    pub reservation_id: Option<String>,
    /// When the reservation ends, RFC 3339.
    pub expires_at: Option<String>,
    /// Why it is denied, or let through although a budget is used up.
    pub decided_by: Option<DecidedBy>,
    /// What is reserved, in `currency`.
    pub estimate: Amount,
    /// The organisation's currency.
    pub currency: Currency,
    /// Whether the claim to be critical is honoured.
    pub critical: bool,
    /// Every limit that applies.
    pub scopes: Vec<ScopeRow>,
}

/// A request with everything that it is decided by.
pub(crate) struct Case {
    pub(crate) asker: Asker,
    pub(crate) chain: Arc<Chain>,
    pub(crate) estimate: Amount,
    pub(crate) critical: bool,
    /// Whether it is more than the cap of a task that nobody has named.
    pub(crate) is_beyond_cap: bool,
    /// Whether more than the state is asked for.
    pub(crate) reserves: bool,
    pub(crate) ends_minute: u32,
    pub(crate) now_ns: i64,
    pub(crate) currency: Currency,
}

impl Case {
    /// What a reservation draws from.
    pub(crate) fn lease(&self) -> LeaseName {
        LeaseName { ends_minute: self.ends_minute, id: self.chain.lease }
    }
}

/// What became of it.
enum Outcome {
    Reserved(Held, Vec<Standing>),
    /// Critical work: it is held although the link with this number has not that much room.
    Beyond(Held, usize, Vec<Standing>),
    /// Nothing had to be reserved.
    Free(Vec<Standing>),
    Denied(DecidedBy, Vec<Standing>),
    /// Its reservation would have ended before there was room for it.
    Late,
}

impl App {
    /// Whether work may begin; if so its room is reserved at every limit that applies, or at none.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`] for a key that may not send events, [`Refusal::Invalid`] naming the field. A denial is an answer.
    pub async fn authorize(&self, principal: &Principal, request: AuthorizeRequest) -> Result<Authorization, Refusal> {
        principal.may_ingest()?;
        let patience = self.patience();
        let world = self.world_in_time(patience).await?;
        let case = self.case(principal, &request, &world, patience).await?;
        let (case, decided) = match patience.for_work(|| self.decide(&case, request.ask_only)).await {
            Ok(Outcome::Late) => {
                let case = Box::pin(self.case(principal, &request, &world, patience)).await?;
                let decided = Box::pin(patience.for_work(|| self.decide(&case, request.ask_only))).await;
                (case, decided)
            }
            decided => (case, decided),
        };
        let answered = match decided {
            Ok(outcome) => patience.for_work(|| self.answer(principal, &case, outcome)).await,
            Err(refusal) => Err(refusal),
        };
        match answered {
            Err(Refusal::Store(error)) => {
                tracing::error!(error = causes(&error), "a budget could not be read; the answer is what BUD-5 says");
                Ok(unavailable(&case))
            }
            answered => answered,
        }
    }

    /// Gives back what a reservation holds: nothing was spent, or the event that says so does not name it.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for an id that we gave to nobody, [`Refusal::Forbidden`] for one of another key.
    pub async fn release(&self, principal: &Principal, reservation_id: &str) -> Result<(), Refusal> {
        self.patience().for_work(|| self.give_back(principal, reservation_id)).await
    }

    async fn give_back(&self, principal: &Principal, reservation_id: &str) -> Result<(), Refusal> {
        let reservation = self.held_reservation(principal, reservation_id, principal.may_administer().is_ok())?;
        self.ports.leases.settle(&[reservation.settlement]).await?;
        if reservation.holder != holder(principal.key_id.as_deref()) {
            let detail = serde_json::json!({ "amount": reservation.settlement.amount });
            self.audit(principal, "reservation-released", reservation_id, detail).await?;
        }
        self.forget_lease(reservation.settlement.lease).await
    }

    /// Makes a reservation live longer, from now on; the new id takes the place of the old one.
    ///
    /// # Errors
    /// As [`App::release`]; [`Refusal::Conflict`] where it is settled or has ended, or would outlive a period that it is
    /// counted in.
    pub async fn extend_reservation(
        &self,
        principal: &Principal,
        reservation_id: &str,
        ttl_s: u32,
    ) -> Result<(String, String), Refusal> {
        self.patience().for_work(|| self.prolong(principal, reservation_id, ttl_s)).await
    }

    async fn prolong(
        &self,
        principal: &Principal,
        reservation_id: &str,
        ttl_s: u32,
    ) -> Result<(String, String), Refusal> {
        // Nobody else's: the id that its holder has would mean nothing any more.
        let reservation = self.held_reservation(principal, reservation_id, false)?;
        let ends_minute = self.ends_minute(Some(ttl_s), self.now_ns())?;
        let ended = || Refusal::Conflict {
            kind: "reservation-ended",
            detail: "the reservation is settled or has ended; ask for a new one".into(),
        };
        let lease = self.ports.leases.lease(reservation.settlement.lease).await?.ok_or_else(ended)?;
        let world = self.world().await?;
        if !outlives_no_period(&lease.counters, &world, ends_minute) {
            let detail = "the reservation would outlive a budget's period; ask for a new one, which counts in both";
            return Err(Refusal::Conflict { kind: "outlives-period", detail: detail.into() });
        }
        let to = room::extended_lease(reservation.settlement.lease, ends_minute);
        let number = self.ports.leases.extend(reservation.settlement, to).await?.ok_or_else(ended)?;
        let settlement = Settlement { lease: to, number, ..reservation.settlement };
        let extended = Reservation { settlement, ..reservation };
        Ok((extended.to_text(&self.pseudonyms), format_instant(extended.expires_ns())))
    }

    /// A reservation of the key, or of any where that `may` be.
    fn held_reservation(&self, principal: &Principal, text: &str, may: bool) -> Result<Reservation, Refusal> {
        principal.may_ingest()?;
        let unknown = || Refusal::NotFound("there is no such reservation".into());
        let reservation = Reservation::from_text(text, &self.pseudonyms).ok_or_else(unknown)?;
        if reservation.holder != holder(principal.key_id.as_deref()) && !may {
            return Err(Refusal::Forbidden("this reservation was given to another API key".into()));
        }
        Ok(reservation)
    }

    /// Who asks, which limits apply, what it costs.
    async fn case(
        &self,
        principal: &Principal,
        request: &AuthorizeRequest,
        world: &Arc<World>,
        patience: Patience,
    ) -> Result<Case, Refusal> {
        let now_ns = self.now_ns();
        let ends_minute = self.ends_minute(request.ttl_s, now_ns)?;
        let until_ns = i64::from(ends_minute).saturating_mul(MINUTE_NS);
        let span = Span::between(world.history.calendar(), now_ns, until_ns);
        let organisation = &world.history.on(span.from).organisation;
        let asker = self.asker(principal, request, organisation);
        let extended = match self.extended_in_time(span.from, now_ns, patience).await {
            // Without what was approved the limits are lower: a denial too early and never one too late. Where the balances
            // cannot be read either, BUD-5 says what is answered.
            Err(Refusal::Store(error)) => {
                tracing::error!(
                    error = causes(&error),
                    "what was approved could not be read; the limits of the organisation file hold"
                );
                Arc::default()
            }
            found => found?,
        };
        let pseudonym_of = |user: &str| self.pseudonyms.of(user).to_string();
        let nonce = if self.sharing { 0 } else { self.nonce };
        let ground = GroundOf { world, extended: &extended, span };
        let chain = self.chains.of(&asker, ground, nonce, &pseudonym_of);
        let estimate = match &request.estimate {
            Some(estimate) => estimate::price(estimate, world, (organisation.currency, now_ns))?,
            None => Amount::ZERO,
        };
        let critical = request.critical && asker.may_be_critical(organisation);
        let is_beyond_cap = cap_beyond(&asker, organisation, estimate).is_some();
        let reserves = !request.ask_only;
        let currency = organisation.currency;
        Ok(Case { asker, chain, estimate, critical, is_beyond_cap, reserves, ends_minute, now_ns, currency })
    }

    /// The minute that a reservation ends at.
    fn ends_minute(&self, ttl_s: Option<u32>, now_ns: i64) -> Result<u32, Refusal> {
        let ttl_s = ttl_s.unwrap_or(TTL_DEFAULT_S);
        if ttl_s == 0 || ttl_s > TTL_MAX_S {
            let detail = format!("{ttl_s} seconds; a reservation lives 1 to {TTL_MAX_S}, by default {TTL_DEFAULT_S}");
            return Err(Refusal::invalid("out-of-range", "ttl_s", detail));
        }
        let ends_ns = now_ns.saturating_add(i64::from(ttl_s).saturating_mul(1_000_000_000));
        let minute = ends_ns.saturating_add(MINUTE_NS).saturating_sub(1).div_euclid(MINUTE_NS);
        u32::try_from(minute).map_err(|_| Refusal::computation("reserve", "the clock is out of range"))
    }

    /// Who asks. As with the root of a trace (ATR-1) the team is the one named, else that of the user who is named, else the
    /// key's, else that of the key's user.
    fn asker(&self, principal: &Principal, request: &AuthorizeRequest, organisation: &Organisation) -> Asker {
        let (own, of_key) = (&request.tags, &principal.tags);
        let tag = |own: &Option<Id>, of_key: &Option<Id>| own.clone().or_else(|| of_key.clone());
        let user = tag(&own.user, &of_key.user).map(|user| self.pseudonyms.of(&user));
        let person = user.as_ref().and_then(|user| organisation.people.get(user));
        let of_user = person.and_then(|person| person.team.clone());
        let (of_own_user, of_key_user) = if own.user.is_some() { (of_user, None) } else { (None, of_user) };
        Asker {
            team: own.team.clone().or(of_own_user).or_else(|| of_key.team.clone()).or(of_key_user),
            project: tag(&own.project, &of_key.project),
            agent: tag(&own.agent, &of_key.agent),
            user,
            task: tag(&own.task_id, &of_key.task_id).or_else(|| request.trace_id.clone()),
            task_type: tag(&own.task_type, &of_key.task_type),
        }
    }

    async fn decide(&self, case: &Case, ask_only: bool) -> Result<Outcome, Refusal> {
        let outcome = self.decide_as_it_stands(case, ask_only).await?;
        if !matches!(&outcome, Outcome::Denied(by, _) if by.reason == TASK_CAP) {
            return Ok(outcome);
        }
        Box::pin(async {
            // What an event has cost counts beside its reservation for a moment, which must not kill a task.
            let _still = self.rolled.still().await;
            self.desk.forget(case.chain.links.iter().map(|link| &link.counter));
            self.decide_as_it_stands(case, ask_only).await
        })
        .await
    }

    async fn decide_as_it_stands(&self, case: &Case, ask_only: bool) -> Result<Outcome, Refusal> {
        if case.chain.links.iter().any(Link::is_cap)
            && let Some(killed) = Box::pin(self.killed(case)).await?
        {
            return Ok(Outcome::Denied(killed, self.standings(case).await?));
        }
        if case.is_beyond_cap {
            let by = DecidedBy { scope: "task".into(), tier: None, reason: TASK_CAP };
            return Ok(Outcome::Denied(by, self.standings(case).await?));
        }
        if ask_only || case.estimate.is_zero() || case.chain.links.is_empty() {
            let standings = self.standings(case).await?;
            return Ok(match admit(&case.chain.links, &standings, case.estimate, case.critical) {
                Verdict::Deny(at) => Outcome::Denied(denied_by(case, &standings, at), standings),
                Verdict::Admit => Outcome::Free(standings),
            });
        }
        Ok(match self.reserve(case).await? {
            room::Reserved::Held(held, standings) => Outcome::Reserved(held, standings),
            room::Reserved::Beyond(held, at, standings) => Outcome::Beyond(held, at, standings),
            room::Reserved::Late => Outcome::Late,
            room::Reserved::Full(at, standings) => Outcome::Denied(denied_by(case, &standings, at), standings),
        })
    }

    async fn answer(&self, principal: &Principal, case: &Case, outcome: Outcome) -> Result<Authorization, Refusal> {
        let mut answer = Authorization {
            decision: Decision::Allow,
            reservation_id: None,
            expires_at: None,
            decided_by: None,
            estimate: case.estimate,
            currency: case.currency,
            critical: case.critical,
            scopes: Vec::new(),
        };
        let mut hold = |held: Held| {
            let holder = holder(principal.key_id.as_deref());
            let reservation = Reservation { settlement: held.0, holder, asker: case.asker.clone() };
            answer.reservation_id = Some(reservation.to_text(&self.pseudonyms));
            answer.expires_at = Some(format_instant(reservation.expires_ns()));
        };
        let (standings, more) = match outcome {
            Outcome::Reserved(held, standings) => {
                hold(held);
                (standings, case.estimate)
            }
            Outcome::Beyond(held, at, standings) => {
                hold(held);
                answer.decided_by = Box::pin(self.note_exemption(principal, case, (at, &standings))).await?;
                (standings, case.estimate)
            }
            Outcome::Free(standings) => {
                if let (true, Verdict::Deny(at)) =
                    (case.critical, admit(&case.chain.links, &standings, case.estimate, false))
                {
                    answer.decided_by = Box::pin(self.note_exemption(principal, case, (at, &standings))).await?;
                }
                (standings, Amount::ZERO)
            }
            Outcome::Denied(by, standings) => {
                // Whoever only asks stops nothing.
                if by.reason == TASK_CAP && case.reserves {
                    Box::pin(self.kill_task(principal, case, &standings)).await?;
                }
                answer.decision = Decision::Deny;
                answer.decided_by = Some(by);
                (standings, Amount::ZERO)
            }
            Outcome::Late => return Ok(unavailable(case)),
        };
        answer.scopes = rows(&case.chain.links, &standings, more);
        Ok(answer)
    }

    /// Critical work that goes on although a budget is used up: every further amount is logged (BUD-2).
    async fn note_exemption(
        &self,
        principal: &Principal,
        case: &Case,
        (at, standings): (usize, &[Standing]),
    ) -> Result<Option<DecidedBy>, Refusal> {
        let Some(link) = case.chain.links.get(at) else { return Ok(None) };
        let posted = standings.get(at).map(|standing| standing.posted).unwrap_or_default();
        let entry = serde_json::json!({
            "scope": link.scope, "period": link.counter.period, "limit": link.limit, "posted": posted,
            "amount": case.estimate, "agent": case.asker.agent, "task_type": case.asker.task_type,
            "task": case.asker.task, "team": case.asker.team, "reserved": case.reserves, "asked": true,
        });
        self.audit(principal, exemptions::ACTION, &link.scope, entry).await?;
        Ok(Some(DecidedBy { scope: link.scope.clone(), tier: tier_reached(link, posted), reason: "critical" }))
    }
}

/// Whether a chain counts the periods that hold the minute as well.
fn outlives_no_period(counters: &[CounterKey], world: &World, ends_minute: u32) -> bool {
    let calendar = world.history.calendar();
    let day = calendar.day_of(i64::from(ends_minute).saturating_mul(MINUTE_NS));
    let is_counted = |kind: PeriodKind| {
        let then = kind.period_of(day);
        counters.iter().any(|counter| counter.period == then)
    };
    counters.iter().filter_map(|counter| PeriodKind::of_period(&counter.period)).all(is_counted)
}

fn denied_by(case: &Case, standings: &[Standing], at: usize) -> DecidedBy {
    let posted = standings.get(at).map(|standing| standing.posted).unwrap_or_default();
    match case.chain.links.get(at) {
        Some(link) if link.is_cap() => DecidedBy { scope: link.scope.clone(), tier: None, reason: TASK_CAP },
        Some(link) => {
            let reason = if posted >= link.limit { "kill-switch" } else { "budget-exceeded" };
            DecidedBy { scope: link.scope.clone(), tier: tier_reached(link, posted), reason }
        }
        None => DecidedBy { scope: "organisation".into(), tier: None, reason: "budget-exceeded" },
    }
}

fn rows(links: &[Link], standings: &[Standing], more: Amount) -> Vec<ScopeRow> {
    let row = |(link, standing): (&Link, &Standing)| {
        let committed = standing.committed().and_then(|committed| committed.checked_add(more))?;
        Some(ScopeRow {
            scope: link.scope.clone(),
            period: link.counter.period.clone(),
            limit: link.limit,
            committed,
            remaining: link.limit.checked_sub(committed)?,
        })
    };
    links.iter().zip(standings).filter_map(row).collect()
}

/// What is said when a budget cannot be read (BUD-5): critical work is let through, other work only where every budget of it
/// says so.
fn unavailable(case: &Case) -> Authorization {
    let allows = |link: &Link| link.unavailable == Unavailable::Allow;
    let refusing = case.chain.links.iter().find(|link| !allows(link));
    let is_let_through = case.critical || refusing.is_none();
    let scope = refusing.map_or_else(|| "organisation".to_owned(), |link| link.scope.clone());
    Authorization {
        decision: if is_let_through { Decision::Allow } else { Decision::Deny },
        reservation_id: None,
        expires_at: None,
        decided_by: Some(DecidedBy { scope, tier: None, reason: "unavailable" }),
        estimate: case.estimate,
        currency: case.currency,
        critical: case.critical,
        scopes: Vec::new(),
    }
}
