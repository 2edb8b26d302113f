//! Behaviours of the event log.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::NaiveDate;
use recoup_model::digest::{content_digest, response_fingerprint};
use recoup_model::limits::BLOCK_EVENTS_MAX;
use recoup_model::{Event, Id, Identity, Kind, Origin, Recorded, Tags, TokenClass, Usage};

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

async fn infos(log: &Arc<dyn EventLog>) -> Vec<BlockInfo> {
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
    append(&log, request).await;
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
    let ends = request.first().into_iter().chain(request.last()).cloned().collect();
    assert_eq!(append(&log, ends).await, [Appended::Duplicate; 2]);
}

/// Backwards, twice, and one that is not there.
pub async fn rat_3_blocks_are_read_in_the_order_asked_for(log: Arc<dyn EventLog>) {
    for at in 0..3 {
        append(&log, vec![incoming(event("t", &format!("e{at}"), 1))]).await;
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
    append(&log, vec![incoming(event("t", "a", 1)), incoming(event("t", "b", 1)), incoming(event("u", "a", 1))]).await;
    append(&log, vec![incoming(event("t", "c", 1))]).await;
    append(&log, vec![incoming(event("v", "a", 1))]).await;
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
    append(&log, vec![on_day(1, event("two", "a", 1)), on_day(2, event("one", "a", 1))]).await;
    append(&log, vec![on_day(2, event("two", "b", 1)), on_day(2, event("two", "c", 1))]).await;
    append(&log, (1..=3).map(|day| on_day(day, event("three", &format!("e{day}"), 1))).collect()).await;
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
    append(&log, vec![gateway.clone(), alone.clone(), incoming(event("t", "none", 1))]).await;
    append(&log, vec![alone, gateway.clone()]).await;
    assert_eq!(log.shared_responses(vec![october(1)]).await.expect("shared_responses"), []);

    let sdk = calling(2, "u", "sdk", "r-1");
    let twins = [calling(3, "v", "x", "r-2"), calling(3, "w", "x", "r-2")];
    append(&log, [vec![sdk.clone()], twins.to_vec()].concat()).await;
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
