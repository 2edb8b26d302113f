//! Rate cards that finance approves (PRC-3).

use recoup_ledger::{LineKind, Settlement, rate_card};
use recoup_model::organisation::{PriceApproval, PriceLock};
use recoup_model::{FindingKind, Organisation};
use recoup_money::Amount;

use crate::world::{World, amount, day, id, lines, organisation, version, with_seed};

fn locked(approval: Option<PriceApproval>) -> Organisation {
    let mut organisation = organisation(&[]);
    organisation.policy.price_lock = PriceLock::Locked;
    organisation.policy.price_approval = approval;
    organisation
}

fn asking() -> Organisation {
    locked(Some(PriceApproval::Finance))
}

/// October with 40 tasks that cost 4.
fn october(organisation: Organisation) -> World {
    let mut world = World::new(organisation);
    world.tasks("a", "tas", (1, 40), "4");
    world
}

/// November after a month, with 3 tasks on its second day.
fn after(month: &World, settlement: &Settlement) -> World {
    let mut world = World::of(month.history.versions().to_vec());
    world.period = month.period.next();
    world.through = day(61);
    world.opening = settlement.closing.clone();
    world.tasks("a", "tas", (33, 3), "1");
    world
}

fn prices(settlement: &Settlement) -> Vec<String> {
    settlement.prices.iter().map(|version| format!("{} {}", version.from, version.price)).collect()
}

fn charge(settlement: &Settlement) -> (Option<Amount>, Amount) {
    let line = lines(settlement, "a", LineKind::Charge)[0];
    (line.price, line.exact)
}

#[test]
fn prc_3_a_card_holds_from_the_start_of_the_period_once_it_is_approved() {
    let october = october(asking());
    let settled = october.settle();
    assert_eq!(prices(&settled), Vec::<String>::new(), "nothing moves by itself");
    let mut november = after(&october, &settled);
    let card = rate_card(november.period, &november.opening, &november.history).unwrap().unwrap();
    let rows: Vec<_> = card.rows.iter().map(|row| (row.key.agent.to_string(), row.price, row.candidate)).collect();
    assert_eq!(rows, [("tas".to_owned(), None, amount("0.1"))]);
    let waiting = november.settle();
    assert_eq!(charge(&waiting), (None, amount("1")), "without any approved price tasks pass through");
    assert_eq!((waiting.rate_card, waiting.findings[1].kind), (None, FindingKind::RateCardWaits));
    assert_eq!(
        waiting.findings[1].detail,
        "the rate card of 2026-11 waits for approval by finance: 1 price would change, and what was approved last holds \
         until then; see `recoup prices card 2026-11`, approve it with `recoup prices approve 2026-11` before the month is \
         closed"
    );
    november.approvals = vec![card.digest];
    let approved = november.settle();
    assert_eq!(charge(&approved), (Some(amount("0.1")), amount("0.3")));
    assert_eq!(prices(&approved), ["2026-11-01 0.1"]);
    assert_eq!((approved.rate_card, approved.findings.len()), (Some(card.digest), 0));
}

#[test]
fn prc_3_until_a_new_card_is_approved_the_last_approved_prices_hold() {
    let october = october(asking());
    let mut november = after(&october, &october.settle());
    let card = |world: &World| rate_card(world.period, &world.opening, &world.history).unwrap().unwrap();
    november.approvals = vec![card(&november).digest];
    november.tasks("a", "tas", (34, 40), "40");
    let settled = november.settle();
    let mut december = after(&november, &settled);
    december.period = november.period.next();
    december.through = day(90);
    december.days.clear();
    december.tasks("a", "tas", (63, 3), "1");
    let next = card(&december);
    assert_eq!(next.rows[0].price, Some(amount("0.1")));
    assert_ne!(next.rows[0].candidate, amount("0.1"));
    assert_eq!(next.changes().count(), 1);
    let change = next.rows[0].change_percent().unwrap();
    let exact = next.rows[0].candidate.checked_sub(amount("0.1")).unwrap().checked_mul(1_000).unwrap();
    assert_eq!(change, exact, "a grid of 0.0001 over 0.1 has one digit of percent");
    // The approval of another month's card, or of this one before it changed, approves nothing.
    december.approvals = november.approvals.clone();
    let waiting = december.settle();
    assert_eq!(charge(&waiting), (Some(amount("0.1")), amount("0.3")));
    assert!(waiting.findings[0].detail.contains("changed after its approval"), "{}", waiting.findings[0].detail);
    december.approvals.push(next.digest);
    assert_eq!(charge(&december.settle()).0, Some(next.rows[0].candidate));
}

#[test]
fn prc_3_a_seed_holds_until_the_first_card_is_approved() {
    let october = october(with_seed(asking(), "0.7"));
    let november = after(&october, &october.settle());
    assert_eq!(charge(&november.settle()).0, Some(amount("0.7")));
}

#[test]
fn prc_3_an_approved_card_gives_what_a_lock_without_approval_gives() {
    let (asking, plain) = (october(asking()), october(locked(None)));
    let mut one = after(&asking, &asking.settle());
    one.approvals = vec![rate_card(one.period, &one.opening, &one.history).unwrap().unwrap().digest];
    let other = after(&plain, &plain.settle());
    assert!(rate_card(other.period, &other.opening, &other.history).unwrap().is_none(), "there is nothing to approve");
    let (one, other) = (one.settle(), other.settle());
    assert_eq!((one.lines, one.balances, one.totals), (other.lines, other.balances, other.totals));
}

#[test]
fn prc_3_the_policy_of_the_last_night_before_decides() {
    let versions = vec![version(1, None, locked(None)), version(2, Some(day(32)), asking())];
    let mut world = World::of(versions);
    world.tasks("a", "tas", (1, 40), "4");
    let november = after(&world, &world.settle());
    assert_eq!(charge(&november.settle()).0, Some(amount("0.1")), "October's last night moved the price");
    let versions = vec![version(1, None, asking()), version(2, Some(day(32)), locked(None))];
    let mut world = World::of(versions);
    world.tasks("a", "tas", (1, 40), "4");
    let november = after(&world, &world.settle());
    assert_eq!(charge(&november.settle()).0, None, "its card waits all the same");
}

#[test]
fn prc_3_own_prices_ask_for_no_approval() {
    let october = october(asking());
    let mut november = after(&october, &october.settle());
    november.approvals =
        vec![rate_card(november.period, &november.opening, &november.history).unwrap().unwrap().digest];
    let original = november.settle();
    november.approvals.clear();
    let again = november.settle_at(Some(&original.prices)).unwrap();
    assert_eq!((&again.lines, again.rate_card, again.findings.len()), (&original.lines, None, 0));
    assert_eq!(again.lines[&id("a")][0].price, Some(amount("0.1")));
}

#[test]
fn prc_3_a_card_lists_what_somebody_is_billed_by() {
    let mut world = october(asking());
    world.tasks("a", "tok", (1, 40), "4");
    let settled = world.settle();
    assert_eq!(settled.closing.prices.len(), 2, "a price is prepared for whoever may be billed by it");
    let november = after(&world, &settled);
    let card = rate_card(november.period, &november.opening, &november.history).unwrap().unwrap();
    assert_eq!(card.rows.iter().map(|row| &*row.key.agent).collect::<Vec<_>>(), ["tas"]);
    assert_eq!(card.rows[0].change_percent(), None, "there was no price before");
}
