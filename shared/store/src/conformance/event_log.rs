//! Behaviours of the event log.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::NaiveDate;
use recoup_model::digest::{content_digest, response_fingerprint};
use recoup_model::limits::{BLOCK_BYTES_MAX, BLOCK_EVENTS_MAX};
use recoup_model::{Digest, Event, Id, Identity, Kind, Origin, Recorded, Tags, TokenClass, Usage};

use super::race;
use crate::block;
use crate::block::prints::{Print, digest_of_prints, print_of};
use crate::event_log::{Appended, BlockInfo, EventLog, Incoming, ResponseUse};

/// 2026-10-01T00:00:00Z.
const OCTOBER_NS: i64 = 1_790_812_800_000_000_000;
const DAY_NS: i64 = 24 * 3_600 * 1_000_000_000;

/// The UTC day on which [`event`] puts its events, and those behind it.
fn october(day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 10, day).expect("a day of October")
}

/// A small event of a trace on 1 October 2026 with some input tokens, which tell contents apart.
#[must_use]
pub fn event(trace: &str, event_id: &str, tokens: u64) -> Event {
    Event {
        trace_id: Some(Id::from(trace)),
        event_id: Id::from(event_id),
        parent_id: None,
        used_at_ns: OCTOBER_NS,
        duration_ms: Some(20),
        kind: Kind::Llm,
        tags: Tags { agent: Some(Id::from("triage")), ..Tags::default() },
        critical: false,
        status: None,
        provider: Some(Id::from("example")),
        model: Some(Id::from("example-large")),
        service_tier: None,
        usage: Some(Usage::NONE.with(TokenClass::Input, tokens)),
        quantity: None,
        reported: None,
        response_id: None,
        retry_of: None,
        supersedes: None,
        reservation_id: None,
    }
}

/// An event as the ingest workflow hands it to the log.
#[must_use]
pub fn incoming(event: Event) -> Incoming {
    let response = event
        .provider
        .as_ref()
        .zip(event.response_id.as_ref())
        .map(|(provider, id)| response_fingerprint(provider, id));
    let origin = Origin { key_id: Some(Id::from("k1")), ..Origin::default() };
    Incoming {
        identity: Identity::of(&event),
        digest: content_digest(&event),
        response,
        recorded: Recorded { event, origin, recorded_at_ns: OCTOBER_NS + 1 },
    }
}

fn on_day(day: u32, mut event: Event) -> Incoming {
    event.used_at_ns = OCTOBER_NS + DAY_NS * i64::from(day - 1);
    incoming(event)
}

async fn append(log: &Arc<dyn EventLog>, events: Vec<Incoming>) -> Vec<Appended> {
    log.append(events).await.expect("append")
}

async fn number(log: &Arc<dyn EventLog>) {
    log.number_blocks().await.expect("number_blocks");
}

/// Appends, and sees to it that the blocks have their numbers before those of a later append.
async fn append_next(log: &Arc<dyn EventLog>, events: Vec<Incoming>) -> Vec<Appended> {
    let outcomes = append(log, events).await;
    number(log).await;
    outcomes
}

/// All blocks recorded so far.
async fn infos(log: &Arc<dyn EventLog>) -> Vec<BlockInfo> {
    number(log).await;
    log.blocks_after(0, usize::MAX).await.expect("blocks_after")
}

/// Everything in the log, in order.
///
/// # Panics
/// Where the log cannot be read.
pub async fn contents(log: &Arc<dyn EventLog>) -> Vec<Recorded> {
    let seqs = infos(log).await.iter().map(|info| info.seq).collect();
    let blocks = log.read(seqs).await.expect("read");
    blocks.iter().flat_map(|stored| block::decode(&stored.bytes).expect("decode")).collect()
}

fn count(outcomes: &[Appended], wanted: Appended) -> usize {
    outcomes.iter().filter(|outcome| **outcome == wanted).count()
}

/// Nothing is known of an empty log, and appending nothing changes nothing.
pub async fn evt_2_an_empty_log_answers_with_nothing(log: Arc<dyn EventLog>) {
    assert_eq!(append(&log, Vec::new()).await, []);
    assert_eq!(log.last_seq().await.expect("last_seq"), 0);
    assert_eq!(infos(&log).await, []);
    assert_eq!(log.utc_days().await.expect("utc_days"), []);
    assert_eq!(log.blocks_of_day(october(1), 0).await.expect("blocks_of_day"), []);
    assert_eq!(log.read(Vec::new()).await.expect("read"), []);
    assert_eq!(log.blocks_of_traces(vec![7]).await.expect("blocks_of_traces"), []);
    assert_eq!(log.traces_beyond(vec![october(1)], 0).await.expect("traces_beyond"), []);
    assert_eq!(log.shared_responses(vec![october(1)]).await.expect("shared_responses"), []);
}

/// Whatever days it mixes, in another order, with another time of recording: a repeated request writes no block.
pub async fn evt_2_an_exact_retry_is_all_duplicates(log: Arc<dyn EventLog>) {
    let request: Vec<Incoming> =
        [("a", 1), ("b", 2), ("c", 1), ("d", 3), ("e", 2)].map(|(id, day)| on_day(day, event("t", id, 1))).into();
    assert_eq!(append(&log, request.clone()).await, [Appended::Accepted; 5]);
    let known = infos(&log).await;
    assert_eq!(known.len(), 3);
    let mut retry = request.clone();
    retry.iter_mut().for_each(|incoming| incoming.recorded.recorded_at_ns += 1);
    let backwards: Vec<Incoming> = retry.iter().rev().cloned().collect();
    for again in [request.clone(), retry, backwards] {
        assert_eq!(append(&log, again).await, [Appended::Duplicate; 5]);
        assert_eq!(infos(&log).await, known);
    }
    let mut stored = contents(&log).await;
    stored.sort_unstable_by(|left, right| left.event.event_id.cmp(&right.event.event_id));
    assert_eq!(stored, request.iter().map(|sent| sent.recorded.clone()).collect::<Vec<_>>());
}

/// The first of an identity stays, also where the others lie on another day.
pub async fn evt_2_repeats_and_conflicts_inside_a_request_are_known(log: Arc<dyn EventLog>) {
    let first = incoming(event("t", "a", 1));
    let other = incoming(event("u", "a", 1));
    let request = vec![
        first.clone(),
        first.clone(),
        incoming(event("t", "a", 2)),
        other.clone(),
        on_day(2, event("t", "a", 1)),
        first.clone(),
        other.clone(),
    ];
    let (accepted, duplicate, conflict) = (Appended::Accepted, Appended::Duplicate, Appended::Conflict);
    let expected = [accepted, duplicate, conflict, accepted, conflict, duplicate, duplicate];
    assert_eq!(append(&log, request.clone()).await, expected);
    assert_eq!(contents(&log).await, [first.recorded, other.recorded]);
    assert_eq!(log.utc_days().await.expect("utc_days"), [october(1)]);
    let again = [duplicate, duplicate, conflict, duplicate, conflict, duplicate, duplicate];
    assert_eq!(append(&log, request).await, again);
    assert_eq!(infos(&log).await.len(), 1);
}

/// Tasks send the same request at once: one of them is told `Accepted`.
pub async fn evt_2_of_racing_retries_one_is_accepted(log: Arc<dyn EventLog>) {
    let request: Vec<Incoming> = (0..20).map(|at| on_day(1 + at % 2, event("t", &format!("e{at}"), 1))).collect();
    let outcomes = race(|_| {
        let (log, request) = (Arc::clone(&log), request.clone());
        async move { append(&log, request).await }
    })
    .await
    .concat();
    assert_eq!(count(&outcomes, Appended::Accepted), request.len());
    assert_eq!(count(&outcomes, Appended::Duplicate), request.len() * (super::TASKS - 1));
    assert_eq!(contents(&log).await.len(), request.len());
}

/// What lies in both requests is stored twice, and each block holds what its request brought: in the order of the log
/// the first recorded still comes first.
pub async fn evt_2_an_overlapping_request_is_stored_beside_the_first(log: Arc<dyn EventLog>) {
    let [a, b, c] = ["a", "b", "c"].map(|id| incoming(event("t", id, 1)));
    let other_a = incoming(event("t", "a", 2));
    assert_eq!(append_next(&log, vec![a.clone(), b.clone()]).await, [Appended::Accepted; 2]);
    assert_eq!(append_next(&log, vec![b.clone(), c.clone()]).await, [Appended::Accepted; 2]);
    assert_eq!(append_next(&log, vec![other_a.clone()]).await, [Appended::Accepted]);
    let sent = [a, b.clone(), b, c, other_a].map(|sent| sent.recorded);
    assert_eq!(contents(&log).await, sent);
    assert_eq!(infos(&log).await.iter().map(|info| info.events).collect::<Vec<_>>(), [2, 2, 1]);
}

/// As after a call of which one block was written and the other was not: each event is told what became of it.
pub async fn evt_2_a_retry_that_is_half_known_stores_the_other_half(log: Arc<dyn EventLog>) {
    let half =
        |day: u32| -> Vec<Incoming> { (0..3).map(|at| on_day(day, event("t", &format!("d{day}e{at}"), 1))).collect() };
    assert_eq!(append(&log, half(1)).await, [Appended::Accepted; 3]);
    let whole: Vec<Incoming> = half(2).into_iter().zip(half(1)).flat_map(|(second, first)| [second, first]).collect();
    let expected = [Appended::Accepted, Appended::Duplicate].repeat(3);
    assert_eq!(append(&log, whole.clone()).await, expected);
    assert_eq!(append(&log, whole).await, [Appended::Duplicate; 6]);
    assert_eq!(contents(&log).await.len(), 6);
}

/// In the same request, in a later one, with another time of recording: a repeat is acknowledged and not stored.
pub async fn evt_2_the_same_event_is_a_duplicate(log: Arc<dyn EventLog>) {
    let one = incoming(event("t", "a", 1));
    let request = vec![one.clone(), incoming(event("t", "b", 1)), one.clone()];
    let outcomes = append(&log, request).await;
    assert_eq!(outcomes, [Appended::Accepted, Appended::Accepted, Appended::Duplicate]);
    let mut later = one.clone();
    later.recorded.recorded_at_ns += 1;
    assert_eq!(append(&log, vec![later.clone(), later]).await, [Appended::Duplicate; 2]);
    let stored = contents(&log).await;
    assert_eq!(stored.len(), 2);
    assert_eq!(stored.first(), Some(&one.recorded));
    assert_eq!(infos(&log).await.len(), 1, "a request of repeats writes no block");
}

/// In the same request and in a later one, on the same day and on another.
pub async fn evt_2_other_content_is_a_conflict_and_the_first_stays(log: Arc<dyn EventLog>) {
    let first = incoming(event("t", "a", 1));
    let outcomes = append(&log, vec![first.clone(), incoming(event("t", "a", 2))]).await;
    assert_eq!(outcomes, [Appended::Accepted, Appended::Conflict]);
    let later = vec![incoming(event("t", "a", 2)), on_day(2, event("t", "a", 1)), first.clone()];
    assert_eq!(append(&log, later).await, [Appended::Conflict, Appended::Conflict, Appended::Duplicate]);
    assert_eq!(contents(&log).await, [first.recorded]);
    assert_eq!(log.utc_days().await.expect("utc_days"), [october(1)]);
}

/// However the log sorts inside, outcomes and stored events keep the order of the request.
pub async fn evt_2_outcomes_stand_in_the_order_of_the_events(log: Arc<dyn EventLog>) {
    let known: Vec<Incoming> = (0..50).step_by(3).map(|at| incoming(event("t", &format!("e{at}"), 1))).collect();
    append(&log, known).await;
    let request: Vec<Incoming> =
        (0..50).map(|at| incoming(event("t", &format!("e{at}"), if at % 6 == 0 { 2 } else { 1 }))).collect();
    let expected: Vec<Appended> = (0..50)
        .map(|at| match at % 6 {
            0 => Appended::Conflict,
            3 => Appended::Duplicate,
            _ => Appended::Accepted,
        })
        .collect();
    assert_eq!(append(&log, request.clone()).await, expected);
    let fresh = request.iter().zip(&expected).filter(|(_, outcome)| **outcome == Appended::Accepted);
    let fresh: Vec<Recorded> = fresh.map(|(incoming, _)| incoming.recorded.clone()).collect();
    assert_eq!(contents(&log).await.split_off(17), fresh);
}

/// Tasks send the same events in requests that overlap; one of them is told `Accepted` for each event.
pub async fn evt_2_racing_appends_accept_each_event_once(log: Arc<dyn EventLog>) {
    const EVENTS: usize = 200;
    const REQUEST: usize = 25;
    let outcomes = race(|task| {
        let log = Arc::clone(&log);
        async move {
            let mut outcomes = Vec::new();
            for start in (0..EVENTS).step_by(REQUEST) {
                let ids = (start..start + REQUEST).map(|at| (at + task * 7) % EVENTS);
                let request = ids.map(|at| incoming(event("t", &format!("e{at}"), 1))).collect();
                outcomes.extend(append(&log, request).await);
            }
            outcomes
        }
    })
    .await
    .concat();
    assert_eq!(count(&outcomes, Appended::Accepted), EVENTS);
    assert_eq!(count(&outcomes, Appended::Conflict), 0);
    let mut ids: Vec<Id> = contents(&log).await.into_iter().map(|recorded| recorded.event.event_id).collect();
    assert_eq!(ids.len(), EVENTS);
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), EVENTS, "each event is stored once");
}

/// Tasks send one identity with contents of their own: whoever was told `Accepted` is the one that is stored.
pub async fn evt_2_of_racing_contents_one_stays(log: Arc<dyn EventLog>) {
    let own = |task: usize| incoming(event("t", "a", u64::try_from(task).unwrap_or_default()));
    let outcomes = race(|task| {
        let log = Arc::clone(&log);
        async move { append(&log, vec![own(task)]).await }
    })
    .await
    .concat();
    assert_eq!(count(&outcomes, Appended::Accepted), 1);
    assert_eq!(count(&outcomes, Appended::Conflict), super::TASKS - 1);
    let winner = outcomes.iter().position(|outcome| *outcome == Appended::Accepted).expect("one is accepted");
    assert_eq!(contents(&log).await, [own(winner).recorded]);
}

/// Every field comes back, those that no digest covers too.
pub async fn evt_2_an_acknowledged_event_is_readable_as_it_came(log: Arc<dyn EventLog>) {
    let mut sent = incoming(event("t", "a", 1));
    sent.recorded.event.tags.user = Some(Id::from("9f86d081"));
    sent.recorded.origin = Origin {
        key_id: None,
        key_tags: Arc::new(Tags { team: Some(Id::from("support")), ..Tags::default() }),
        resource_team: Some(Id::from("platform")),
    };
    append(&log, vec![sent.clone()]).await;
    assert_eq!(contents(&log).await, [sent.recorded]);
}

/// Whatever days a request mixes, and in the last and first nanosecond of a day.
pub async fn rat_3_a_block_holds_one_day_and_is_named_by_its_content(log: Arc<dyn EventLog>) {
    let mut last = event("t", "last", 1);
    last.used_at_ns = OCTOBER_NS + DAY_NS - 1;
    let request = vec![
        on_day(3, event("t", "c", 1)),
        on_day(1, event("t", "a", 1)),
        on_day(2, event("t", "b", 1)),
        incoming(last),
    ];
    append_next(&log, request).await;
    assert_eq!(log.utc_days().await.expect("utc_days"), [october(1), october(2), october(3)]);
    for info in infos(&log).await {
        let stored = log.read(vec![info.seq]).await.expect("read");
        let stored = stored.first().expect("one block");
        assert_eq!(stored.info, info);
        let events = block::decode(&stored.bytes).expect("decode");
        assert_eq!(info.digest, block::digest_of(&events));
        assert_eq!(usize::try_from(info.events), Ok(events.len()));
        assert_eq!(info.events, if info.utc_day == october(1) { 2 } else { 1 });
        assert_eq!(log.blocks_of_day(info.utc_day, 0).await.expect("blocks_of_day"), [info]);
    }
    assert_eq!(log.blocks_of_day(october(1), 1).await.expect("blocks_of_day"), [], "there is no lane 1");
}

/// Pages end at their limit, and each block is in one of them.
pub async fn rat_3_blocks_are_listed_page_by_page(log: Arc<dyn EventLog>) {
    for at in 0..5 {
        append(&log, vec![incoming(event("t", &format!("e{at}"), 1))]).await;
    }
    let all = infos(&log).await;
    assert_eq!(all.len(), 5);
    assert!(all.iter().zip(all.iter().skip(1)).all(|(left, right)| left.seq < right.seq));
    let last = log.last_seq().await.expect("last_seq");
    assert_eq!(all.last().map(|info| info.seq), Some(last));
    for limit in [1, 2, 5, 6] {
        let mut paged: Vec<BlockInfo> = Vec::new();
        loop {
            let after = paged.last().map_or(0, |info| info.seq);
            let page = log.blocks_after(after, limit).await.expect("blocks_after");
            assert!(page.len() <= limit);
            if page.is_empty() {
                break;
            }
            paged.extend(page);
        }
        assert_eq!(paged, all, "limit {limit}");
    }
    assert_eq!(log.blocks_after(0, 0).await.expect("blocks_after"), []);
    assert_eq!(log.blocks_after(last, 10).await.expect("blocks_after"), []);
    assert_eq!(log.blocks_after(u64::MAX, 10).await.expect("blocks_after"), []);
}

/// One event more than a block holds, and then one that was in either part.
pub async fn rat_3_large_appends_are_split_at_the_limit_of_a_block(log: Arc<dyn EventLog>) {
    let request: Vec<Incoming> = (0..=BLOCK_EVENTS_MAX).map(|at| incoming(event("t", &format!("e{at}"), 1))).collect();
    let outcomes = append(&log, request.clone()).await;
    assert_eq!(count(&outcomes, Appended::Accepted), request.len());
    let infos = infos(&log).await;
    assert!(infos.len() >= 2);
    assert!(infos.iter().all(|info| usize::try_from(info.events).is_ok_and(|events| events <= BLOCK_EVENTS_MAX)));
    let sent: Vec<Recorded> = request.iter().map(|incoming| incoming.recorded.clone()).collect();
    assert_eq!(contents(&log).await, sent);
    let outcomes = append(&log, request.clone()).await;
    assert_eq!(count(&outcomes, Appended::Duplicate), request.len());
}

/// Events with ids that hardly shrink: fewer than a block's number of events are more than a block's bytes.
pub async fn rat_3_large_events_are_split_at_the_bytes_of_a_block(log: Arc<dyn EventLog>) {
    let noise = |at: usize| -> String {
        let part = |part: usize| Digest::of(format!("{at} {part}").as_bytes()).to_string();
        (0..16).map(part).collect()
    };
    let large = |at: usize| {
        let mut event = event("t", &format!("e{at}"), 1);
        event.tags.extra.insert(Id::from("noise"), Id::from(noise(at)));
        incoming(event)
    };
    let request: Vec<Incoming> = (0..1_500).map(large).collect();
    let outcomes = append(&log, request.clone()).await;
    assert_eq!(count(&outcomes, Appended::Accepted), request.len());
    let infos = infos(&log).await;
    assert!(infos.len() >= 2);
    for stored in log.read(infos.iter().map(|info| info.seq).collect()).await.expect("read") {
        assert!(stored.bytes.len() <= BLOCK_BYTES_MAX);
    }
    let mut stored: Vec<Id> = contents(&log).await.into_iter().map(|recorded| recorded.event.event_id).collect();
    stored.sort_unstable();
    stored.dedup();
    assert_eq!(stored.len(), request.len());
    let outcomes = append(&log, request.clone()).await;
    assert_eq!(count(&outcomes, Appended::Duplicate), request.len());
}

/// While tasks append and number: whoever has seen a number never misses a block by looking behind it.
pub async fn rat_3_numbers_are_never_below_one_given_before(log: Arc<dyn EventLog>) {
    const APPENDS: usize = 6;
    let seen = race(|task| {
        let log = Arc::clone(&log);
        async move {
            let mut seen: Vec<BlockInfo> = Vec::new();
            for at in 0..APPENDS {
                let day = u32::try_from(1 + (task + at) % 3).expect("a small number");
                append(&log, vec![on_day(day, event("t", &format!("{task} {at}"), 1))]).await;
                number(&log).await;
                let after = seen.last().map_or(0, |info| info.seq);
                seen.extend(log.blocks_after(after, usize::MAX).await.expect("blocks_after"));
            }
            seen
        }
    })
    .await;
    let all = infos(&log).await;
    let events: u32 = all.iter().map(|info| info.events).sum();
    assert_eq!(usize::try_from(events), Ok(super::TASKS * APPENDS));
    assert!(all.iter().zip(all.iter().skip(1)).all(|(left, right)| left.seq < right.seq));
    assert!(seen.iter().all(|seen| all.starts_with(seen)), "what a task saw step by step is the beginning of all");
    let mut digests: Vec<Digest> = all.iter().map(|info| info.digest).collect();
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), all.len(), "each block has one number");
    let mut by_day: Vec<BlockInfo> = Vec::new();
    for day in 1..=3 {
        by_day.extend(log.blocks_of_day(october(day), 0).await.expect("blocks_of_day"));
    }
    by_day.sort_unstable_by_key(|info| info.seq);
    assert_eq!(by_day, all);
}

/// Backwards, twice, and one that is not there.
pub async fn rat_3_blocks_are_read_in_the_order_asked_for(log: Arc<dyn EventLog>) {
    for at in 0..3 {
        append_next(&log, vec![incoming(event("t", &format!("e{at}"), 1))]).await;
    }
    let mut seqs: Vec<u64> = infos(&log).await.iter().map(|info| info.seq).collect();
    seqs.reverse();
    seqs.extend(seqs.first().copied());
    let read: Vec<u64> = log.read(seqs.clone()).await.expect("read").iter().map(|stored| stored.info.seq).collect();
    assert_eq!(read, seqs);
    let missing = log.last_seq().await.expect("last_seq") + 1;
    assert!(log.read(vec![missing]).await.is_err());
    assert!(log.read(vec![u64::MAX]).await.is_err());
}

/// A store keeps no prints of a block, or those of its events.
pub async fn evt_2_prints_are_those_of_the_events(log: Arc<dyn EventLog>) {
    append(&log, vec![incoming(event("t", "b", 1)), incoming(event("t", "a", 1)), incoming(event("u", "a", 1))]).await;
    append(&log, vec![on_day(2, event("t", "c", 1))]).await;
    let mut infos = infos(&log).await;
    infos.reverse();
    let seqs: Vec<u64> = infos.iter().map(|info| info.seq).collect();
    let kept = log.prints(seqs).await.expect("prints");
    assert_eq!(kept.len(), infos.len());
    for (info, prints) in infos.iter().zip(kept) {
        let stored = log.read(vec![info.seq]).await.expect("read");
        let events = block::decode(&stored.first().expect("one block").bytes).expect("decode");
        let print = |recorded: &Recorded| print_of(Identity::of(&recorded.event), &content_digest(&recorded.event));
        let expected: Vec<Print> = events.iter().map(print).collect();
        assert_eq!(digest_of_prints(&expected), info.digest);
        assert!(prints.is_none_or(|prints| prints == expected));
    }
    assert_eq!(log.prints(Vec::new()).await.expect("prints"), []);
    assert!(log.prints(vec![u64::MAX]).await.is_err());
}

/// Whatever follows from the prints alone is computed again.
pub async fn evt_2_dropped_prints_are_gone_and_nothing_else(log: Arc<dyn EventLog>) {
    let sent: Vec<Incoming> = (1..=3).map(|day| on_day(day, event("t", &format!("e{day}"), 1))).collect();
    append(&log, sent.clone()).await;
    let infos = infos(&log).await;
    let seqs: Vec<u64> = infos.iter().map(|info| info.seq).collect();
    let before = log.prints(seqs.clone()).await.expect("prints");
    log.drop_prints(vec![october(1), october(3), october(4)]).await.expect("drop_prints");
    let after = log.prints(seqs).await.expect("prints");
    for (info, (before, after)) in infos.iter().zip(before.into_iter().zip(after)) {
        assert_eq!(after, before.filter(|_| info.utc_day == october(2)));
    }
    assert_eq!(contents(&log).await, sent.iter().map(|sent| sent.recorded.clone()).collect::<Vec<_>>());
    assert_eq!(append(&log, sent).await, [Appended::Duplicate; 3]);
}

/// Every block that holds an event of one of the traces, once.
pub async fn atr_1_the_blocks_of_a_trace_are_found(log: Arc<dyn EventLog>) {
    append_next(&log, vec![incoming(event("t", "a", 1)), incoming(event("t", "b", 1)), incoming(event("u", "a", 1))])
        .await;
    append_next(&log, vec![incoming(event("t", "c", 1))]).await;
    append_next(&log, vec![incoming(event("v", "a", 1))]).await;
    let [t, u, v] = ["t", "u", "v"].map(Identity::trace_of);
    let seqs: Vec<u64> = infos(&log).await.iter().map(|info| info.seq).collect();
    let [first, second, third] = seqs.try_into().expect("three blocks");
    let mut expected = vec![(t, first), (t, second), (u, first)];
    expected.sort_unstable();
    let mut found = log.blocks_of_traces(vec![t, u, t]).await.expect("blocks_of_traces");
    found.sort_unstable();
    assert_eq!(found, expected);
    assert_eq!(log.blocks_of_traces(vec![v, 1]).await.expect("blocks_of_traces"), [(v, third)]);
}

/// A trace that gets its second day later, one with three days, one with one day.
pub async fn atr_1_traces_beyond_a_day_are_found(log: Arc<dyn EventLog>) {
    append_next(&log, vec![on_day(1, event("two", "a", 1)), on_day(2, event("one", "a", 1))]).await;
    append_next(&log, vec![on_day(2, event("two", "b", 1)), on_day(2, event("two", "c", 1))]).await;
    append_next(&log, (1..=3).map(|day| on_day(day, event("three", &format!("e{day}"), 1))).collect()).await;
    let [two, three] = ["two", "three"].map(Identity::trace_of);
    let cases: BTreeMap<Vec<u32>, Vec<(u64, NaiveDate)>> = [
        (vec![1], vec![(two, october(2)), (three, october(2)), (three, october(3))]),
        (vec![2], vec![(two, october(1)), (three, october(1)), (three, october(3))]),
        (vec![1, 2], vec![(three, october(3))]),
        (vec![3], vec![(three, october(1)), (three, october(2))]),
        (vec![1, 2, 3], vec![]),
        (vec![4], vec![]),
        (vec![], vec![]),
    ]
    .into();
    for (days, mut expected) in cases {
        expected.sort_unstable();
        let utc_days = days.iter().map(|day| october(*day)).collect();
        let mut found = log.traces_beyond(utc_days, 0).await.expect("traces_beyond");
        found.sort_unstable();
        assert_eq!(found, expected, "days {days:?}");
    }
    assert_eq!(log.traces_beyond(vec![october(1)], 1).await.expect("traces_beyond"), [], "there is no lane 1");
}

/// Named twice in one request, again in a later one, on another day; repeats of one event do not count.
pub async fn evt_2_shared_responses_are_found(log: Arc<dyn EventLog>) {
    let calling = |day: u32, trace: &str, event_id: &str, response: &str| {
        let mut event = event(trace, event_id, 1);
        event.response_id = Some(Id::from(response));
        on_day(day, event)
    };
    let alone = calling(1, "t", "alone", "r-alone");
    let gateway = calling(1, "t", "gateway", "r-1");
    append_next(&log, vec![gateway.clone(), alone.clone(), incoming(event("t", "none", 1))]).await;
    append_next(&log, vec![alone, gateway.clone()]).await;
    assert_eq!(log.shared_responses(vec![october(1)]).await.expect("shared_responses"), []);

    let sdk = calling(2, "u", "sdk", "r-1");
    let twins = [calling(3, "v", "x", "r-2"), calling(3, "w", "x", "r-2")];
    append_next(&log, [vec![sdk.clone()], twins.to_vec()].concat()).await;
    let used = |incoming: &Incoming| ResponseUse {
        response: incoming.response.expect("a response"),
        identity: incoming.identity,
    };
    let sorted = |uses: &[&Incoming]| {
        let mut uses: Vec<ResponseUse> = uses.iter().map(|incoming| used(incoming)).collect();
        uses.sort_unstable();
        uses
    };
    let pair = sorted(&[&gateway, &sdk]);
    let [left, right] = &twins;
    for (days, expected) in [
        (vec![1], pair.clone()),
        (vec![2], pair),
        (vec![3], sorted(&[left, right])),
        (vec![1, 2, 3], sorted(&[&gateway, &sdk, left, right])),
        (vec![4], Vec::new()),
    ] {
        let utc_days = days.iter().map(|day| october(*day)).collect();
        let mut found = log.shared_responses(utc_days).await.expect("shared_responses");
        found.sort_unstable();
        assert_eq!(found, expected, "days {days:?}");
    }
}
