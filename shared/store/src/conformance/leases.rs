//! Behaviours of leases; what is posted comes through [`Live`] on the same store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use recoup_money::Amount;

use super::race;
use crate::leases::{Balance, Grant, Granted, LeaseName, Leases, Room, Settlement};
use crate::live::{CounterKey, Live, PostError, TraceChange, TraceState};

/// A store as both of its faces.
pub type Both = (Arc<dyn Leases>, Arc<dyn Live>);

/// Tries of a post that somebody else may be in the way of.
const TRIES_MAX: usize = 10_000;

fn key(scope: &str) -> CounterKey {
    CounterKey { scope: scope.into(), period: "2026-10".into() }
}

fn pico(amount: i128) -> Amount {
    Amount::from_pico(amount)
}

fn lease(id: u64) -> LeaseName {
    LeaseName { ends_minute: 29_000_000, id }
}

fn rooms(limits: &[(&str, i128)]) -> Vec<Room> {
    limits.iter().map(|(scope, limit)| Room { counter: key(scope), limit: Some(pico(*limit)) }).collect()
}

fn grant(of: LeaseName, limits: &[(&str, i128)], amount: i128, drawn: i128) -> Grant {
    Grant { lease: of, rooms: rooms(limits), amount: pico(amount), drawn: pico(drawn) }
}

async fn balance(leases: &Arc<dyn Leases>, scope: &str) -> (i128, i128) {
    let Balance { posted, reserved } = leases.balances(&[key(scope)]).await.expect("balances").pop().expect("one");
    (posted.pico(), reserved.pico())
}

/// Posts an amount for a trace, however often others are in the way.
async fn post(live: &Arc<dyn Live>, trace: u64, posted: &[(&str, i128)]) {
    for _ in 0..TRIES_MAX {
        let before: TraceState = live.traces(&[trace]).await.expect("traces").pop().expect("one");
        let posted: BTreeMap<CounterKey, Amount> =
            posted.iter().map(|(scope, amount)| (key(scope), pico(*amount))).collect();
        let change = TraceChange { trace, before, new_blocks: Vec::new(), posted };
        match live.post(vec![change]).await {
            Ok(()) => return,
            Err(PostError::Contended) => tokio::task::yield_now().await,
            Err(error) => unreachable!("{error}"),
        }
    }
    unreachable!("{TRIES_MAX} tries were not enough");
}

/// Room is taken at every counter of the chain or at none.
pub async fn bud_3_a_grant_is_all_or_nothing((leases, live): Both) {
    let limits = [("organisation", 100), ("team:a", 50)];
    assert_eq!(leases.grant(grant(lease(1), &limits, 30, 10)).await.expect("grant"), Granted::Done(1));
    assert_eq!(balance(&leases, "organisation").await, (0, 30));
    assert_eq!(balance(&leases, "team:a").await, (0, 30));
    let full = leases.grant(grant(lease(2), &limits, 21, 21)).await.expect("grant");
    assert_eq!(full, Granted::Full(vec![key("team:a")]));
    assert_eq!(balance(&leases, "organisation").await, (0, 30), "nothing was taken anywhere");
    assert!(leases.lease(lease(2)).await.expect("lease").is_none());
    post(&live, 1, &[("organisation", 60)]).await;
    let full = leases.grant(grant(lease(1), &limits, 20, 20)).await.expect("grant");
    assert_eq!(full, Granted::Full(vec![key("organisation")]), "what is posted counts");
    assert_eq!(
        leases.grant(grant(lease(1), &limits, 10, 10)).await.expect("grant"),
        Granted::Done(2),
        "to the last unit"
    );
    assert_eq!(balance(&leases, "organisation").await, (60, 40));
    let stands = leases.lease(lease(1)).await.expect("lease").expect("it stands");
    let counters: BTreeSet<CounterKey> = stands.counters.into_iter().collect();
    assert_eq!(counters, BTreeSet::from([key("organisation"), key("team:a")]));
    assert_eq!((stands.granted, stands.free), (pico(40), pico(20)));
}

/// A counter without a limit counts what is granted all the same.
pub async fn bud_2_a_grant_without_a_limit_is_counted((leases, _): Both) {
    let rooms = vec![Room { counter: key("team:a"), limit: None }];
    let grant = Grant { lease: lease(1), rooms, amount: pico(7), drawn: pico(7) };
    assert_eq!(leases.grant(grant).await.expect("grant"), Granted::Done(1));
    assert_eq!(balance(&leases, "team:a").await, (0, 7));
}

/// Draws take what is free and no more, and each gets a number of its own.
pub async fn bud_3_draws_take_what_is_free((leases, _): Both) {
    assert_eq!(leases.draw(lease(1), pico(1)).await.expect("draw"), None, "there is no lease");
    leases.grant(grant(lease(1), &[("team:a", 100)], 10, 4)).await.expect("grant");
    assert_eq!(leases.draw(lease(1), pico(7)).await.expect("draw"), None);
    assert_eq!(leases.draw(lease(1), pico(5)).await.expect("draw"), Some(2));
    assert_eq!(leases.draw(lease(1), pico(2)).await.expect("draw"), None);
    assert_eq!(leases.draw(lease(1), pico(1)).await.expect("draw"), Some(3));
    assert_eq!(balance(&leases, "team:a").await, (0, 10));
    leases.grant(grant(lease(1), &[("team:a", 100)], 10, 1)).await.expect("grant");
    leases.give_back(lease(1), pico(6)).await.expect("give back");
    assert_eq!(balance(&leases, "team:a").await, (0, 14));
    leases.give_back(lease(1), pico(50)).await.expect("give back");
    assert_eq!(balance(&leases, "team:a").await, (0, 11), "what is drawn stays");
    leases.give_back(lease(9), pico(1)).await.expect("a lease that is not there");
}

/// A reservation is settled once, with what is posted for it or without.
pub async fn bud_3_a_reservation_is_settled_once((leases, live): Both) {
    leases.grant(grant(lease(1), &[("organisation", 100), ("team:a", 100)], 30, 10)).await.expect("grant");
    let first = Settlement { lease: lease(1), number: 1, amount: pico(10) };
    post(&live, 1, &[("organisation", 8), ("team:a", 8)]).await;
    leases.settle(&[first]).await.expect("settle");
    assert_eq!(balance(&leases, "organisation").await, (8, 20));
    assert_eq!(balance(&leases, "team:a").await, (8, 20));
    post(&live, 2, &[("organisation", 1)]).await;
    leases.settle(&[first]).await.expect("settle");
    assert_eq!(balance(&leases, "organisation").await, (9, 20), "once");
    assert_eq!(leases.draw(lease(1), pico(20)).await.expect("draw"), Some(2));
    let second = Settlement { lease: lease(1), number: 2, amount: pico(20) };
    leases.settle(&[second]).await.expect("settle");
    leases.settle(&[second]).await.expect("settle");
    assert_eq!(balance(&leases, "team:a").await, (8, 0));
    let stranger = Settlement { lease: lease(7), number: 1, amount: pico(10) };
    post(&live, 3, &[("team:a", 2)]).await;
    leases.settle(&[stranger]).await.expect("settle");
    assert_eq!(balance(&leases, "team:a").await, (10, 0), "a lease that is not there");
}

/// What a lease still has is given back when it ends; what it had settled stays settled.
pub async fn bud_3_a_lease_that_ends_gives_back_what_it_has((leases, live): Both) {
    leases.grant(grant(lease(1), &[("team:a", 100)], 30, 10)).await.expect("grant");
    leases.grant(grant(lease(2), &[("team:a", 100)], 5, 5)).await.expect("grant");
    let later = LeaseName { ends_minute: 29_000_001, id: 3 };
    leases.grant(grant(later, &[("team:a", 100)], 1, 1)).await.expect("grant");
    let settlement = Settlement { lease: lease(1), number: 1, amount: pico(10) };
    leases.settle(&[settlement]).await.expect("settle");
    let mut ending = leases.ending(29_000_000, 10).await.expect("ending");
    ending.sort_unstable();
    assert_eq!(ending, [lease(1), lease(2)]);
    assert_eq!(leases.ending(29_000_000, 1).await.expect("ending").len(), 1);
    assert_eq!(leases.ending(28_999_999, 10).await.expect("ending"), []);
    leases.end(&[lease(1)]).await.expect("end");
    leases.end(&[lease(1)]).await.expect("end again");
    assert_eq!(balance(&leases, "team:a").await, (0, 6));
    assert_eq!(leases.ending(29_000_000, 10).await.expect("ending"), [lease(2)]);
    post(&live, 1, &[("team:a", 4)]).await;
    leases.settle(&[Settlement { number: 2, ..settlement }]).await.expect("settle");
    assert_eq!(balance(&leases, "team:a").await, (4, 6), "after its end nothing is settled");
    assert_eq!(leases.draw(lease(1), pico(1)).await.expect("draw"), None);
}

/// What events cost is posted with the end of their reservations: whatever is left of these is settled after, and once.
pub async fn bud_3_a_post_settles_what_its_events_name((leases, live): Both) {
    leases.grant(grant(lease(1), &[("organisation", 100), ("team:a", 100)], 30, 10)).await.expect("grant");
    assert_eq!(leases.draw(lease(1), pico(5)).await.expect("draw"), Some(2));
    leases.grant(grant(lease(2), &[("team:b", 100)], 8, 8)).await.expect("grant");
    let of = |id: u64, number, amount| Settlement { lease: lease(id), number, amount: pico(amount) };
    let post = |trace: u64, scopes: &'static [(&str, i128)], settlements: Vec<Settlement>| {
        let (leases, live) = (Arc::clone(&leases), Arc::clone(&live));
        async move {
            let before = live.traces(&[trace]).await.expect("traces").pop().expect("one");
            let posted = scopes.iter().map(|(scope, amount)| (key(scope), pico(*amount))).collect();
            let change = TraceChange { trace, before, new_blocks: Vec::new(), posted };
            let settlements: BTreeSet<Settlement> = settlements.into_iter().collect();
            let left = live.post_settling(vec![change], &settlements).await.expect("post");
            assert!(left.is_subset(&settlements), "{left:?}");
            let left: Vec<Settlement> = left.into_iter().collect();
            leases.settle(&left).await.expect("settle what is left");
        }
    };
    post(1, &[("organisation", 7), ("team:a", 7)], vec![of(1, 1, 10)]).await;
    assert_eq!((balance(&leases, "organisation").await, balance(&leases, "team:a").await), ((7, 20), (7, 20)));
    assert_eq!(leases.lease(lease(1)).await.expect("lease").expect("it stands").granted, pico(20));
    // One that is settled, one that is not, of two leases; what is posted is somebody else's.
    post(2, &[("organisation", 1), ("team:c", 1)], vec![of(1, 1, 10), of(1, 2, 5), of(2, 1, 8)]).await;
    assert_eq!((balance(&leases, "organisation").await, balance(&leases, "team:a").await), ((8, 15), (7, 15)));
    assert_eq!((balance(&leases, "team:b").await, balance(&leases, "team:c").await), ((0, 0), (1, 0)));
    leases.settle(&[of(1, 1, 10), of(1, 2, 5), of(2, 1, 8)]).await.expect("settle again");
    assert_eq!(balance(&leases, "organisation").await, (8, 15), "once");
    leases.end(&[lease(1)]).await.expect("end");
    post(3, &[("organisation", 2)], vec![of(1, 3, 1), of(9, 1, 1)]).await;
    assert_eq!(balance(&leases, "organisation").await, (10, 0), "what has ended keeps nothing from being posted");
    post(4, &[("organisation", 1)], Vec::new()).await;
    assert_eq!(balance(&leases, "organisation").await, (11, 0));
}

/// More leases than one transaction takes end in one call, of several chains; those that ended or never were change nothing.
pub async fn bud_3_many_leases_end_together((leases, live): Both) {
    const LEASES: u64 = 130;
    let teams = ["team:a", "team:b", "team:c"];
    for (id, team) in (0..LEASES).zip(teams.iter().cycle()) {
        let limits = [("organisation", 10_000), (*team, 10_000)];
        leases.grant(grant(lease(id), &limits, 3, 1)).await.expect("grant");
    }
    post(&live, 1, &[("organisation", 1), ("team:a", 1)]).await;
    leases.settle(&[Settlement { lease: lease(0), number: 1, amount: pico(1) }]).await.expect("settle");
    leases.end(&[lease(1)]).await.expect("end one");
    assert_eq!(balance(&leases, "organisation").await, (1, 3 * 130 - 1 - 3));
    let all: Vec<LeaseName> = (0..=LEASES).map(lease).collect();
    leases.end(&all).await.expect("end all");
    leases.end(&all).await.expect("end all again");
    leases.end(&[]).await.expect("end none");
    assert_eq!(balance(&leases, "organisation").await, (1, 0));
    for team in teams {
        assert_eq!(balance(&leases, team).await.1, 0, "{team}");
    }
    assert_eq!(leases.ending(29_000_000, 200).await.expect("ending"), []);
}

/// A reservation that lives longer belongs to another lease; the counters stay as they are.
pub async fn bud_3_an_extended_reservation_changes_no_counter((leases, _): Both) {
    leases.grant(grant(lease(1), &[("team:a", 100)], 30, 10)).await.expect("grant");
    let later = LeaseName { ends_minute: 29_000_005, id: 8 };
    let first = Settlement { lease: lease(1), number: 1, amount: pico(10) };
    assert_eq!(leases.extend(first, later).await.expect("extend"), Some(1));
    assert_eq!(leases.extend(first, later).await.expect("extend"), None, "it is another one now");
    assert_eq!(balance(&leases, "team:a").await, (0, 30));
    leases.settle(&[first]).await.expect("the old one is settled");
    leases.end(&[lease(1)]).await.expect("end");
    assert_eq!(balance(&leases, "team:a").await, (0, 10));
    assert_eq!(leases.ending(29_000_005, 10).await.expect("ending"), [later]);
    leases.settle(&[Settlement { lease: later, ..first }]).await.expect("settle");
    assert_eq!(balance(&leases, "team:a").await, (0, 0));
    assert_eq!(leases.extend(Settlement { lease: lease(6), ..first }, later).await.expect("extend"), None);
}

/// Tasks that race for the last room: never more than the limit, and all of it in the end.
pub async fn bud_3_racing_grants_never_exceed_the_limit((leases, live): Both) {
    const LIMIT: i128 = 40;
    let done = race(|task| {
        let (leases, live) = (Arc::clone(&leases), Arc::clone(&live));
        async move {
            let id = u64::try_from(task).expect("a small number");
            let mut spent = 0;
            for round in 1..=5_u32 {
                let limits = [("organisation", LIMIT), ("team:a", LIMIT + 7)];
                let Granted::Done(number) = leases.grant(grant(lease(id), &limits, 1, 1)).await.expect("grant") else {
                    break;
                };
                if round % 2 == 0 {
                    let settlement = Settlement { lease: lease(id), number, amount: pico(1) };
                    spent += 1;
                    post(&live, id, &[("organisation", spent), ("team:a", spent)]).await;
                    leases.settle(&[settlement]).await.expect("settle");
                }
            }
            spent
        }
    })
    .await;
    let (posted, reserved) = balance(&leases, "organisation").await;
    assert_eq!(posted, done.iter().sum::<i128>());
    assert_eq!(posted + reserved, LIMIT, "16 tasks wanted 80");
    for id in 0..16 {
        leases.end(&[lease(id)]).await.expect("end");
    }
    assert_eq!(balance(&leases, "organisation").await, (posted, 0));
    assert_eq!(balance(&leases, "team:a").await, (posted, 0));
}
