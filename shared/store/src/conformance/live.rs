//! Behaviours of the live state.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::NaiveDate;
use recoup_model::Digest;
use recoup_money::Amount;

use super::{TASKS, race};
use crate::error::StoreError;
use crate::live::{
    BlockName, COUNTERS_PER_POST_MAX, CounterKey, Live, PostError, TRACES_PER_POST_MAX, TraceChange, TraceState,
};

/// Blocks of the largest state that every store keeps.
const BLOCKS_MANY: usize = 5_000;
/// Blocks that one change may bring to a trace.
const BLOCKS_PER_CHANGE: usize = 1_000;
/// Tries of a post that somebody else may be in the way of.
const TRIES_MAX: usize = 10_000;

type Posted = BTreeMap<CounterKey, Amount>;

fn key(scope: &str) -> CounterKey {
    CounterKey { scope: scope.into(), period: "2026-10".into() }
}

fn posted(entries: &[(&str, i128)]) -> Posted {
    entries.iter().map(|(scope, pico)| (key(scope), Amount::from_pico(*pico))).collect()
}

/// A block of a day of October 2026 that no other number names.
fn block(day: u32, number: usize) -> BlockName {
    BlockName {
        utc_day: NaiveDate::from_ymd_opt(2026, 10, day).expect("a day of October"),
        lane: 0,
        digest: Digest::of(format!("block {number}").as_bytes()),
        events: 10,
    }
}

async fn trace(live: &Arc<dyn Live>, trace: u64) -> TraceState {
    live.traces(&[trace]).await.expect("traces").pop().expect("one state")
}

async fn counter(live: &Arc<dyn Live>, key: CounterKey) -> Amount {
    live.counters(&[key]).await.expect("counters").pop().expect("one value")
}

/// The amount of a counter in picounits.
async fn pico(live: &Arc<dyn Live>, scope: &str) -> i128 {
    counter(live, key(scope)).await.pico()
}

/// A change of a trace from the state that stands.
async fn change(live: &Arc<dyn Live>, of: u64, new_blocks: Vec<BlockName>, posted: Posted) -> TraceChange {
    TraceChange { trace: of, before: trace(live, of).await, new_blocks, posted }
}

async fn post(live: &Arc<dyn Live>, changes: Vec<TraceChange>) {
    live.post(changes).await.expect("post");
}

fn is_too_large(outcome: &Result<(), PostError>) -> bool {
    matches!(outcome, Err(PostError::TooLarge(_)))
}

/// Nothing is known, and asking about nothing is answered with nothing.
pub async fn bud_1_unknown_traces_and_counters_are_empty(live: Arc<dyn Live>) {
    assert_eq!(trace(&live, 7).await, TraceState::default());
    assert_eq!(pico(&live, "organisation").await, 0);
    assert_eq!(live.traces(&[]).await.expect("traces"), []);
    assert_eq!(live.counters(&[]).await.expect("counters"), []);
    assert_eq!(live.blocks(&[]).await.expect("blocks"), Vec::<Vec<u8>>::new());
    live.arrived(&[]).await.expect("arrived");
    post(&live, Vec::new()).await;
    assert!(matches!(live.blocks(&[block(1, 1)]).await, Err(StoreError::Damaged { .. })), "there is no such block");
}

/// Blocks are kept in order, what is posted is replaced, the version grows; answers stand in the order asked for.
pub async fn bud_1_a_posted_trace_is_read_as_it_was_posted(live: Arc<dyn Live>) {
    let first = posted(&[("organisation", 30), ("team:a", 30)]);
    let change_one = change(&live, 1, vec![block(2, 9), block(1, 3)], first.clone()).await;
    post(&live, vec![change_one]).await;
    let stands = trace(&live, 1).await;
    assert!(stands.version > 0);
    assert_eq!((stands.blocks.clone(), stands.posted.clone()), (vec![block(2, 9), block(1, 3)], first));

    let second = posted(&[("organisation", 45), ("project:x", -5)]);
    let both = vec![
        change(&live, 2, vec![block(1, 1)], Posted::new()).await,
        change(&live, 1, vec![block(1, 1)], second.clone()).await,
    ];
    post(&live, both).await;
    let states = live.traces(&[1, 3, 2, 1]).await.expect("traces");
    let [one, three, two, again] = states.try_into().expect("four states");
    assert!(one.version > stands.version);
    assert_eq!((one.blocks.clone(), one.posted.clone()), (vec![block(2, 9), block(1, 3), block(1, 1)], second));
    assert_eq!(one, again);
    assert_eq!(three, TraceState::default());
    assert_eq!((two.blocks, two.posted), (vec![block(1, 1)], Posted::new()));
    let asked = ["team:a", "organisation", "nobody", "project:x", "organisation"].map(key);
    let values: Vec<i128> = live.counters(&asked).await.expect("counters").iter().map(|value| value.pico()).collect();
    assert_eq!(values, [0, 45, 0, -5, 45]);
}

/// From a state before the last one, from nothing where something stands, from something where nothing stands.
pub async fn bud_1_a_change_of_a_stale_state_changes_nothing(live: Arc<dyn Live>) {
    let stale = change(&live, 1, vec![block(1, 2)], posted(&[("team:a", 50)])).await;
    let first = change(&live, 1, vec![block(1, 1)], posted(&[("team:a", 1)])).await;
    post(&live, vec![first]).await;
    let older = change(&live, 1, vec![block(1, 4)], posted(&[("team:a", 60)])).await;
    let second = change(&live, 1, vec![block(1, 3)], posted(&[("team:a", 2)])).await;
    post(&live, vec![second]).await;
    let stands = trace(&live, 1).await;
    let made_up = TraceState { version: 5, ..TraceState::default() };
    let never = TraceChange { trace: 2, before: made_up, new_blocks: Vec::new(), posted: posted(&[("team:a", 70)]) };
    for refused in [stale, older, never] {
        assert!(matches!(live.post(vec![refused]).await, Err(PostError::Contended)));
        assert_eq!(trace(&live, 1).await, stands);
        assert_eq!(trace(&live, 2).await, TraceState::default());
        assert_eq!(pico(&live, "team:a").await, 2);
    }
}

/// Whether a store says that it is contended or that it is done: it is done once.
pub async fn bud_1_the_same_change_again_changes_nothing(live: Arc<dyn Live>) {
    let once = change(&live, 1, vec![block(1, 1)], posted(&[("team:a", 8)])).await;
    post(&live, vec![once.clone()]).await;
    let stands = trace(&live, 1).await;
    let again = live.post(vec![once]).await;
    assert!(matches!(again, Ok(()) | Err(PostError::Contended)), "{again:?}");
    assert_eq!(trace(&live, 1).await, stands);
    assert_eq!(pico(&live, "team:a").await, 8);
}

/// One stale trace among others: no state and no counter changes.
pub async fn bud_1_a_group_is_posted_whole_or_not_at_all(live: Arc<dyn Live>) {
    let stale = change(&live, 2, vec![block(1, 1)], posted(&[("team:b", 5)])).await;
    let first = change(&live, 2, vec![block(1, 2)], posted(&[("team:b", 1)])).await;
    post(&live, vec![first]).await;
    let fresh = change(&live, 1, vec![block(1, 1)], posted(&[("team:a", 5)])).await;
    let other = change(&live, 3, vec![block(1, 1)], posted(&[("team:c", 5)])).await;
    let stands = live.traces(&[1, 2, 3]).await.expect("traces");
    let outcome = live.post(vec![fresh, stale, other]).await;
    assert!(matches!(outcome, Err(PostError::Contended)));
    assert_eq!(live.traces(&[1, 2, 3]).await.expect("traces"), stands);
    for (scope, value) in [("team:a", 0), ("team:b", 1), ("team:c", 0)] {
        assert_eq!(pico(&live, scope).await, value, "{scope}");
    }
}

/// Several traces, some of them changed again: a counter is the sum of what is posted to it.
pub async fn bud_1_counters_are_sums_of_what_is_posted(live: Arc<dyn Live>) {
    for round in 1..=3_i128 {
        for of in 1..=20_u64 {
            let own = i128::from(of) * round;
            let team = if of % 2 == 0 { "team:even" } else { "team:odd" };
            let new_blocks = vec![block(1, usize::try_from(own).expect("a small number"))];
            let change = change(&live, of, new_blocks, posted(&[("organisation", own), (team, own)])).await;
            post(&live, vec![change]).await;
        }
        assert_eq!(pico(&live, "organisation").await, 210 * round);
        assert_eq!(pico(&live, "team:even").await, 110 * round);
        assert_eq!(pico(&live, "team:odd").await, 100 * round);
    }
    let other_period = CounterKey { scope: "organisation".into(), period: "2026-11".into() };
    assert_eq!(counter(&live, other_period).await, Amount::ZERO);
}

/// The payer becomes known: what was posted to one team is posted to another.
pub async fn bud_1_a_posting_that_moves_changes_both_counters(live: Arc<dyn Live>) {
    let first = change(&live, 1, vec![block(1, 1)], posted(&[("organisation", 40), ("team:a", 40)])).await;
    let other = change(&live, 2, vec![block(1, 1)], posted(&[("organisation", 2), ("team:a", 2)])).await;
    post(&live, vec![first, other]).await;
    let moved = change(&live, 1, Vec::new(), posted(&[("organisation", 40), ("team:b", 40)])).await;
    post(&live, vec![moved]).await;
    for (scope, value) in [("organisation", 42), ("team:a", 2), ("team:b", 40)] {
        assert_eq!(pico(&live, scope).await, value, "{scope}");
    }
    assert_eq!(trace(&live, 1).await.blocks, [block(1, 1)]);
}

/// A trace that turns out cheaper, one of nothing at all, amounts below zero, and large ones.
pub async fn bud_1_counters_go_down_too(live: Arc<dyn Live>) {
    // 10^13 currency units.
    let large = 10_i128.pow(25) - 1;
    for (amount, sum) in [(large, large), (5, 5), (-7, -7), (-large, -large), (1, 1)] {
        let change = change(&live, 1, Vec::new(), posted(&[("team:a", amount)])).await;
        post(&live, vec![change]).await;
        assert_eq!(pico(&live, "team:a").await, sum);
        assert_eq!(trace(&live, 1).await.posted, posted(&[("team:a", sum)]));
    }
    let nothing = change(&live, 1, Vec::new(), Posted::new()).await;
    post(&live, vec![nothing]).await;
    assert_eq!(pico(&live, "team:a").await, 0);
    assert_eq!(trace(&live, 1).await.posted, Posted::new());
}

/// As many traces and counters as a group takes, at once; one more of either, or a trace twice, is refused.
pub async fn bud_1_groups_have_limits(live: Arc<dyn Live>) {
    let fresh = |of: usize, posted: Posted| TraceChange {
        trace: u64::try_from(of).expect("a small number"),
        before: TraceState::default(),
        new_blocks: vec![block(1, of)],
        posted,
    };
    let scope = |of: usize| format!("team:{of}");
    let spread = |of: usize| posted(&[(&scope(of % COUNTERS_PER_POST_MAX), 1)]);
    let one_too_many = (0..=TRACES_PER_POST_MAX).map(|of| fresh(of, Posted::new())).collect();
    assert!(is_too_large(&live.post(one_too_many).await));
    let too_wide = (0..=COUNTERS_PER_POST_MAX).map(|of| fresh(of, posted(&[(&scope(of), 1)]))).collect();
    assert!(is_too_large(&live.post(too_wide).await));
    let twice = live.post(vec![fresh(1, spread(1)), fresh(2, spread(2)), fresh(1, spread(1))]).await;
    assert!(matches!(twice, Err(PostError::Store(_))), "{twice:?}");
    let all: Vec<u64> = (0..=u64::try_from(TRACES_PER_POST_MAX).expect("a small number")).collect();
    let states = live.traces(&all).await.expect("traces");
    assert!(states.iter().all(|state| *state == TraceState::default()), "what is refused changes nothing");

    post(&live, (0..TRACES_PER_POST_MAX).map(|of| fresh(of, spread(of))).collect()).await;
    let states = live.traces(&all).await.expect("traces");
    assert_eq!(states.iter().filter(|state| state.version > 0).count(), TRACES_PER_POST_MAX);
    let keys: Vec<CounterKey> = (0..=COUNTERS_PER_POST_MAX).map(|of| key(&scope(of))).collect();
    let sum = Amount::checked_sum(live.counters(&keys).await.expect("counters")).expect("a small sum");
    assert_eq!(usize::try_from(sum.pico()), Ok(TRACES_PER_POST_MAX));
}

/// Posts with a try again for each time that somebody is in the way.
async fn insist(live: &Arc<dyn Live>, of: u64, new_block: BlockName, amount: i128) {
    for _ in 0..TRIES_MAX {
        let state = trace(live, of).await;
        let total = state.posted.get(&key("organisation")).map_or(0, |posted| posted.pico()) + amount;
        let posted = posted(&[("organisation", total)]);
        let change = TraceChange { trace: of, before: state, new_blocks: vec![new_block], posted };
        let outcome = live.post(vec![change]).await;
        if outcome.is_ok() {
            return;
        }
        assert!(matches!(outcome, Err(PostError::Contended)), "{outcome:?}");
        tokio::task::yield_now().await;
    }
    unreachable!("{TRIES_MAX} tries were not enough");
}

/// Each task has a trace of its own and they share a counter.
pub async fn bud_1_racing_posts_to_one_counter_are_exact(live: Arc<dyn Live>) {
    const ROUNDS: usize = 5;
    race(|task| {
        let live = Arc::clone(&live);
        async move {
            for round in 0..ROUNDS {
                let of = u64::try_from(task).expect("a small number");
                insist(&live, of, block(1, task * ROUNDS + round), 1).await;
            }
        }
    })
    .await;
    assert_eq!(usize::try_from(pico(&live, "organisation").await), Ok(TASKS * ROUNDS));
}

/// Tasks that add to one trace: each of them is in it once.
pub async fn bud_1_racing_posts_to_one_trace_lose_nothing(live: Arc<dyn Live>) {
    race(|task| {
        let live = Arc::clone(&live);
        async move { insist(&live, 1, block(1, task), 1).await }
    })
    .await;
    let state = trace(&live, 1).await;
    let mut found = state.blocks.clone();
    found.sort_unstable();
    let mut expected: Vec<BlockName> = (0..TASKS).map(|task| block(1, task)).collect();
    expected.sort_unstable();
    assert_eq!(found, expected);
    assert_eq!(usize::try_from(pico(&live, "organisation").await), Ok(TASKS));
}

/// A trace whose spans come one by one, and many at once: its blocks come back in order.
pub async fn bud_1_states_of_many_blocks_are_kept(live: Arc<dyn Live>) {
    let mut sent: Vec<BlockName> = Vec::new();
    let steps = std::iter::repeat_n(1, 40).chain([BLOCKS_PER_CHANGE; 4]).chain(std::iter::repeat_n(1, 3));
    for step in steps.chain([BLOCKS_MANY - 43 - 4 * BLOCKS_PER_CHANGE]) {
        let new_blocks: Vec<BlockName> =
            (sent.len()..sent.len() + step).map(|number| block(1 + u32::from(number % 7 == 0), number)).collect();
        sent.extend(&new_blocks);
        let total = i128::try_from(sent.len()).expect("a small number");
        let change = change(&live, 1, new_blocks, posted(&[("team:a", total)])).await;
        assert_eq!(change.before.blocks.len(), sent.len() - step);
        post(&live, vec![change]).await;
    }
    let state = trace(&live, 1).await;
    assert_eq!(state.blocks.len(), BLOCKS_MANY);
    assert!(state.blocks == sent, "the blocks come back in order");
    assert_eq!(usize::try_from(pico(&live, "team:a").await), Ok(BLOCKS_MANY));
}

/// Ids are anything that a tag may hold, and what belongs to one counter never counts for another.
pub async fn bud_1_counters_are_told_apart_whatever_they_are_called(live: Arc<dyn Live>) {
    let long = "x".repeat(256);
    let names = [
        ("team:a", "b#c"),
        ("team:a#b", "c"),
        ("team:a#", "b#c"),
        ("team:A", "c"),
        ("user:\u{fc}\u{1f680}", "2026-W47"),
        ("user:u\u{308}", "2026-W47"),
        ("project: ", " "),
        ("project:\u{0}", "2026-10"),
        ("project:/\\'\"%_", "2026-10"),
        ("", "2026-10"),
        ("organisation", ""),
        (long.as_str(), "2026-10"),
    ];
    let keys = names.map(|(scope, period)| CounterKey { scope: scope.into(), period: period.into() });
    for (number, key) in (1..).zip(&keys) {
        let own = Posted::from([(key.clone(), Amount::from_pico(number))]);
        let of = u64::try_from(number).expect("a small number");
        let change = change(&live, of, Vec::new(), own.clone()).await;
        post(&live, vec![change]).await;
        assert_eq!(trace(&live, of).await.posted, own);
    }
    let values = live.counters(&keys).await.expect("counters");
    let values: Vec<i128> = values.iter().map(|value| value.pico()).collect();
    assert_eq!(values, (1..=12).collect::<Vec<_>>());
}

/// The smallest and the largest fingerprint, and one that is negative where fingerprints have a sign.
pub async fn bud_1_every_fingerprint_is_a_trace(live: Arc<dyn Live>) {
    let traces = [0, u64::MAX, 1 << 63, (1 << 63) - 1];
    for (of, number) in traces.into_iter().zip(1..) {
        let change = change(&live, of, vec![block(1, number)], Posted::new()).await;
        post(&live, vec![change]).await;
    }
    let states = live.traces(&traces).await.expect("traces");
    let found: Vec<Vec<BlockName>> = states.into_iter().map(|state| state.blocks).collect();
    assert_eq!(found, (1..=4).map(|number| vec![block(1, number)]).collect::<Vec<_>>());
}
