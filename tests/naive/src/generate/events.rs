//! One span of a random trace.

use std::sync::Arc;

use recoup_model::{Event, Id, Kind, Origin, Quantity, Recorded, Reported, Status, Tags, TokenClass, Usage};
use recoup_money::{Amount, Currency};

use super::Temper;
use super::organisation::{AGENTS, LATE_TEAM, TASK_TYPES, TEAMS};
use crate::random::Chance;

/// Where a span stands in its trace.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) at: usize,
    pub(super) spans: usize,
    pub(super) used_at_ns: i64,
    pub(super) is_root: bool,
}

/// Ids whose order is not that of the spans.
fn name(at: usize) -> Id {
    let letters = ["m", "c", "x", "a", "q", "b", "z", "d"];
    Id::from(letters[at])
}

pub(super) fn event(chance: &mut Chance, temper: Temper, place: Place) -> Recorded {
    let kind = match chance.below(10) {
        0..=4 => Kind::Llm,
        5..=7 => Kind::Agent,
        8 => Kind::Tool,
        _ => *chance.pick(&[Kind::Compute, Kind::Storage, Kind::Orchestration]),
    };
    let kind = if place.is_root && chance.percent(60) { Kind::Agent } else { kind };
    let mut event = Event {
        trace_id: None,
        event_id: name(place.at),
        parent_id: parent(chance, temper, place),
        used_at_ns: place.used_at_ns,
        duration_ms: duration(chance, place),
        kind,
        tags: tags(chance, temper, place),
        critical: false,
        status: status(chance, place),
        provider: None,
        model: None,
        service_tier: None,
        usage: None,
        quantity: None,
        reported: None,
        response_id: None,
        retry_of: chance.percent(temper.repeats).then(|| any(chance, place)),
        supersedes: chance.percent(temper.repeats / 2).then(|| any(chance, place)),
        reservation_id: None,
    };
    buy(chance, temper, &mut event);
    let strange = chance.percent(temper.strangers);
    let origin = Origin {
        key_id: None,
        key_tags: Arc::new(if strange { key_tags(chance) } else { Tags::default() }),
        resource_team: chance.maybe(temper.strangers / 4, &[TEAMS[0], LATE_TEAM, "ghost"]).map(|team| Id::from(*team)),
    };
    Recorded { event, origin, recorded_at_ns: 0 }
}

/// Any span of the trace, itself and one that is not there among them.
fn any(chance: &mut Chance, place: Place) -> Id {
    let at = usize::try_from(chance.below(place.spans as u64 + 1)).unwrap();
    if at == place.spans { Id::from("gone") } else { name(at) }
}

fn parent(chance: &mut Chance, temper: Temper, place: Place) -> Option<Id> {
    if chance.percent(temper.tangles) {
        return chance.percent(75).then(|| any(chance, place));
    }
    (place.at > 0).then(|| name(usize::try_from(chance.below(place.at as u64)).unwrap()))
}

fn duration(chance: &mut Chance, place: Place) -> Option<u64> {
    let most_ms = if place.is_root { 7_200_000 } else { 900_000 };
    match chance.below(10) {
        0 | 1 => None,
        2 => Some(0),
        3 => Some(chance.between(1, 99)),
        4 => Some(86_400_000),
        _ => Some(chance.between(1, most_ms)),
    }
}

fn status(chance: &mut Chance, place: Place) -> Option<Status> {
    let all = [Status::Ok, Status::Ok, Status::Ok, Status::Ok, Status::Error, Status::Killed];
    chance.maybe(if place.is_root { 95 } else { 10 }, &all).copied()
}

fn tags(chance: &mut Chance, temper: Temper, place: Place) -> Tags {
    let root = |at_root: u64, below: u64| if place.is_root { at_root } else { below };
    let id = |name: Option<&&str>| name.map(|name| Id::from(*name));
    let known = 100 - temper.strangers;
    let agents = if place.is_root && chance.percent(50) { &[temper.favourite][..] } else { &AGENTS[..] };
    Tags {
        agent: id(chance.maybe(root(88, 50), agents)),
        task_type: id(chance.maybe(root(70, 8), &[TASK_TYPES[0], TASK_TYPES[0], TASK_TYPES[1]])),
        task_id: None,
        user: id(chance.maybe(root(30, 5), &["u1", "u2", "u3", "u4"])),
        team: id(chance.maybe(root(known, 8), &["support", "support", "marketing", "ops", "ghost"][..])),
        project: id(chance.maybe(20, &["apollo"])),
        extra: std::collections::BTreeMap::new(),
    }
}

fn key_tags(chance: &mut Chance) -> Tags {
    let id = |name: Option<&&str>| name.map(|name| Id::from(*name));
    Tags {
        agent: id(chance.maybe(30, &AGENTS)),
        task_type: id(chance.maybe(30, &TASK_TYPES)),
        task_id: None,
        user: id(chance.maybe(30, &["u1", "u3"])),
        team: id(chance.maybe(40, &["marketing", "ghost"])),
        project: id(chance.maybe(20, &["zeus"])),
        extra: std::collections::BTreeMap::new(),
    }
}

/// What a span reports: usage, a quantity, a cost, nothing.
fn buy(chance: &mut Chance, temper: Temper, event: &mut Event) {
    if event.kind == Kind::Agent {
        if chance.percent(temper.wrappers) {
            event.usage = Some(usage(chance, 900));
            name_model(chance, temper, event, 60);
        }
        if chance.percent(temper.wrappers / 4) {
            event.quantity = Some(quantity(chance, temper));
        }
        if chance.percent(temper.prices / 5) {
            event.reported = Some(reported(chance));
        }
        return;
    }
    if event.kind == Kind::Llm || chance.percent(15) {
        event.usage = (!chance.percent(temper.prices)).then(|| usage(chance, 600));
        name_model(chance, temper, event, 97);
    }
    if event.kind != Kind::Llm || chance.percent(temper.prices / 4) {
        event.quantity = (!chance.percent(temper.prices)).then(|| quantity(chance, temper));
    }
    if chance.percent(temper.prices) {
        event.reported = Some(reported(chance));
    }
    if chance.percent(temper.repeats) && event.provider.is_some() {
        event.response_id = Some(Id::from(*chance.pick(&["r1", "r2", "r3", "r4"])));
    }
}

fn name_model(chance: &mut Chance, temper: Temper, event: &mut Event, percent: u64) {
    if !chance.percent(percent) {
        return;
    }
    let known = [("p", "m"), ("p", "m"), ("p", "n"), ("q", "m"), ("q", "z")];
    let (provider, model) = if chance.percent(temper.prices) { ("p", "unheard-of") } else { *chance.pick(&known) };
    event.provider = Some(provider.into());
    event.model = Some(model.into());
    event.service_tier = chance.maybe(15, &["standard", "batch", "flex"]).map(|tier| Id::from(*tier));
}

fn usage(chance: &mut Chance, most: u64) -> Usage {
    let mut usage = Usage::NONE;
    if chance.percent(4) {
        return usage;
    }
    let classes = [TokenClass::Input, TokenClass::Output, TokenClass::CacheRead, TokenClass::Reasoning];
    for class in classes {
        if chance.percent(60) {
            usage.set(class, chance.between(1, most));
        }
    }
    if chance.percent(5) {
        usage.set(*chance.pick(&[TokenClass::CacheWrite1h, TokenClass::AudioInput]), chance.between(1, most));
    }
    usage
}

fn quantity(chance: &mut Chance, temper: Temper) -> Quantity {
    let (sku, unit) = *chance.pick(&[("search", "call"), ("gpu", "second")]);
    let sku = if chance.percent(temper.prices) { "nothing" } else { sku };
    let unit = match chance.below(8) {
        0 => None,
        1 if chance.percent(temper.prices) => Some("mile"),
        _ => Some(unit),
    };
    let pico = *chance.pick(&[1_000_000_000_000, 3_000_000_000_000, 123_456_789, 12_345_678_901_234]);
    Quantity { sku: sku.into(), quantity: Amount::from_pico(pico), unit: unit.map(Id::from) }
}

fn reported(chance: &mut Chance) -> Reported {
    let pico = *chance.pick(&[0, 1, 2_500_000_000, 1_234_567_890_123]);
    let code = *chance.pick(&["USD", "USD", "EUR", "GBP", "CHF"]);
    Reported { amount: Amount::from_pico(pico), currency: code.parse::<Currency>().unwrap() }
}
