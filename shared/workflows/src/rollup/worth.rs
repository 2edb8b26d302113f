//! What a trace posts: its events as they were recorded first, put together, priced and counted. No I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use recoup_attribution::{Context, resolve};
use recoup_budgets::{Borne, Counter, CriticalSpan, Reservations, Reserved, Watched, critical_spans, postings};
use recoup_model::{Identity, Recorded};
use recoup_money::Amount;
use recoup_store::{BlockName, CounterKey, Settlement};

use crate::app::World;
use crate::authorize::{Reservation, holder};
use crate::error::Refusal;
use crate::exemptions::Unasked;
use crate::people::Pseudonyms;
use crate::reviews::Capped;

/// What is needed to say what a trace posts.
pub(super) struct Sight<'a> {
    pub(super) pseudonyms: &'a Pseudonyms,
    pub(super) world: Arc<World>,
    pub(super) watched: Watched,
    /// Events that another trace's report of the same call stands for (EVT-2), where somebody has looked.
    pub(super) excluded: BTreeSet<Identity>,
    /// Events that claim to be critical.
    pub(super) claims: BTreeMap<Identity, Claim>,
}

/// The report of an event that claims to be critical, of several the one that was recorded first.
#[derive(Clone, Copy)]
pub(super) struct Claim {
    pub(super) recorded_at_ns: i64,
    pub(super) block: BlockName,
}

/// What the events of a trace come to.
#[derive(Default)]
pub(super) struct Worth {
    pub(super) posted: BTreeMap<CounterKey, Amount>,
    pub(super) unpriced_events: usize,
    /// Its task, where that has a kind; only where tasks of that kind have a cap it is counted.
    pub(super) capped: Option<Capped>,
    /// Critical work among the events of the blocks at hand, as far as no reservation admitted it.
    pub(super) unasked: Vec<Unasked>,
}

/// What the events of a trace post by counter, and how many of them have no price.
pub(super) fn posted_by(events: &[Recorded], sight: &Sight<'_>) -> Result<Worth, Refusal> {
    let context = Context { history: &sight.world.history, rater: sight.world.prices.as_ref() };
    // Reports of the same provider call in other traces are the night's business: until then both count (EVT-2).
    let trace =
        resolve(events, &sight.excluded, &context).map_err(|error| Refusal::computation("attribute a trace", error))?;
    let reservations = reservations_of(events, sight.pseudonyms);
    let borne = Borne::of(&trace, events, &reservations);
    let posted = postings(&borne, &sight.world.history, &sight.watched)
        .map_err(|error| Refusal::computation("post a trace", error))?;
    let key = |counter: Counter| CounterKey { scope: counter.scope, period: counter.period };
    let root = trace.root_span().or_else(|| trace.spans.first());
    let capped = root.and_then(|root| {
        let task_type = root.event.tags.task_type.clone()?;
        Some(Capped {
            task_type,
            agent: root.agent.clone(),
            team: trace.payer.team.clone(),
            root_arrived: trace.root_arrived,
        })
    });
    Ok(Worth {
        posted: posted.into_iter().map(|(counter, amount)| (key(counter), amount)).collect(),
        unpriced_events: trace.spans.iter().filter(|span| span.unpriced().next().is_some()).count(),
        capped,
        unasked: unasked_of(&borne, events, sight),
    })
}

/// The critical work among the events of the blocks at hand, with what of its cost no reservation has admitted.
fn unasked_of(borne: &Borne<'_>, events: &[Recorded], sight: &Sight<'_>) -> Vec<Unasked> {
    let critical = critical_spans(borne, &sight.world.history, &sight.watched);
    let unasked = critical.into_iter().filter_map(|CriticalSpan { span, asker, counters, not_admitted }| {
        let claim = sight.claims.get(&span.identity)?;
        let recorded = events.iter().find(|recorded| Identity::of(&recorded.event) == span.identity)?;
        // A report that only repeats one of an earlier block is not what counts, and was looked at when that came.
        let counts = recorded.recorded_at_ns == claim.recorded_at_ns;
        counts.then(|| Unasked {
            block: claim.block,
            identity: span.identity,
            recorded_at_ns: recorded.recorded_at_ns,
            key_id: recorded.origin.key_id.clone(),
            event_id: span.event.event_id.clone(),
            trace_id: span.event.trace_id.clone(),
            day: span.local_day,
            asker,
            counters,
            cost: span.exclusive,
            not_asked: not_admitted,
        })
    });
    unasked.collect()
}

/// The reservation that an event settles: one that was given to the key that sent it. Where it names a stranger's, or none
/// of ours, its cost is posted all the same, and what that holds stays until it ends.
pub(super) fn settlement(recorded: &Recorded, pseudonyms: &Pseudonyms) -> Option<Settlement> {
    Some(own_reservation(recorded, pseudonyms)?.settlement)
}

fn own_reservation(recorded: &Recorded, pseudonyms: &Pseudonyms) -> Option<Reservation> {
    let reservation = Reservation::from_text(recorded.event.reservation_id.as_ref()?, pseudonyms)?;
    (reservation.holder == holder(recorded.origin.key_id.as_deref())).then_some(reservation)
}

/// The reservations that the events of a trace name.
fn reservations_of(events: &[Recorded], pseudonyms: &Pseudonyms) -> Reservations {
    let reserved = |recorded: &Recorded| {
        let reservation = own_reservation(recorded, pseudonyms)?;
        let id = recorded.event.reservation_id.clone()?;
        let expires_ns = reservation.expires_ns();
        let Reservation { settlement, asker, .. } = reservation;
        Some((Identity::of(&recorded.event), Reserved { id, asker, amount: settlement.amount, expires_ns }))
    };
    events.iter().filter_map(reserved).collect()
}
