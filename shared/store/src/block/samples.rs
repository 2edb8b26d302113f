//! Events for tests of the codec.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::sync::Arc;

use proptest::prelude::*;
use recoup_model::{Event, Id, Kind, Origin, Quantity, Recorded, Reported, Status, Tags, TokenClass, Usage};
use recoup_money::{Amount, Currency};

pub(super) fn plain(event_id: &str) -> Event {
    Event {
        trace_id: None,
        event_id: Id::from(event_id),
        parent_id: None,
        used_at_ns: 0,
        duration_ms: None,
        kind: Kind::Tool,
        tags: Tags::default(),
        critical: false,
        status: None,
        provider: None,
        model: None,
        service_tier: None,
        usage: None,
        quantity: None,
        reported: None,
        response_id: None,
        retry_of: None,
        supersedes: None,
        reservation_id: None,
    }
}

/// Numbers that look random and are the same in every run (splitmix64).
pub(super) struct Numbers(pub(super) u64);

impl Numbers {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// As a provider makes them: a prefix and 24 letters or digits.
fn response_id(numbers: &mut Numbers) -> Id {
    const LETTERS: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let letter = |_| char::from(LETTERS[usize::try_from(numbers.below(62)).unwrap()]);
    Id::from(format!("msg_{}", (0..24).map(letter).collect::<String>()))
}

/// Spans as an OpenTelemetry collector sends them: traces of ten, random ids, nanoseconds, a few agents and models.
pub(super) fn realistic(count: usize, with_response: bool) -> Vec<Recorded> {
    let mut numbers = Numbers(7);
    let teams = ["support", "marketing", "platform", "sales"].map(Id::from);
    let agents = ["triage", "resolver", "guardrail", "writer", "planner", "searcher"].map(Id::from);
    let models = ["claude-sonnet-4-5", "gpt-5.1-mini", "gemini-2.5-flash"].map(Id::from);
    let providers = ["anthropic", "openai", "gcp.vertex_ai"].map(Id::from);
    let key_tags = Arc::new(Tags { team: Some(Id::from("support")), ..Tags::default() });
    let key_id = Id::from("key_7f3a");
    let mut events: Vec<Recorded> = Vec::with_capacity(count);
    let mut trace = Id::from("");
    let mut now_ns = 1_790_000_000_000_000_000_i64;
    for at in 0..count {
        let span = at % 10;
        if span == 0 {
            trace = Id::from(format!("{:016x}{:016x}", numbers.next(), numbers.next()));
        }
        now_ns += i64::try_from(numbers.below(800_000_000)).unwrap();
        let pick = usize::try_from(numbers.below(3)).unwrap();
        let mut event = plain(&format!("{:016x}", numbers.next()));
        event.trace_id = Some(Id::clone(&trace));
        if span > 0 {
            let above = 1 + usize::try_from(numbers.below(u64::try_from(span.min(3)).unwrap())).unwrap();
            event.parent_id = Some(Id::clone(&events[at - above].event.event_id));
        }
        event.used_at_ns = now_ns;
        event.duration_ms = Some(200 + numbers.below(9_000));
        event.tags.agent = Some(Id::clone(&agents[usize::try_from(numbers.below(6)).unwrap()]));
        if span == 0 {
            event.kind = Kind::Agent;
            event.status = Some(Status::Ok);
            event.tags.team = Some(Id::clone(&teams[usize::try_from(numbers.below(4)).unwrap()]));
            event.tags.task_type = Some(Id::from("resolve_ticket"));
        } else {
            event.kind = Kind::Llm;
            event.provider = Some(Id::clone(&providers[pick]));
            event.model = Some(Id::clone(&models[pick]));
            let usage = Usage::NONE
                .with(TokenClass::Input, 50 + numbers.below(4_000))
                .with(TokenClass::CacheRead, if pick == 0 { numbers.below(20_000) } else { 0 })
                .with(TokenClass::Output, 10 + numbers.below(900));
            event.usage = Some(usage);
            event.response_id = with_response.then(|| response_id(&mut numbers));
        }
        let origin = Origin { key_id: Some(Id::clone(&key_id)), key_tags: Arc::clone(&key_tags), resource_team: None };
        let recorded_at_ns = 1_790_000_100_000_000_000 + i64::try_from(at / 500).unwrap() * 7_123_457;
        events.push(Recorded { event, origin, recorded_at_ns });
    }
    events
}

fn id() -> BoxedStrategy<Id> {
    prop_oneof!["[a-c]{1,2}", "[0-9a-f]{16}", "[0-9a-f]{32}", "[0-9A-F]{15,17}", "\\PC{0,12}"]
        .prop_map(Id::from)
        .boxed()
}

fn maybe_id() -> BoxedStrategy<Option<Id>> {
    prop::option::of(id()).boxed()
}

fn tags() -> BoxedStrategy<Tags> {
    let named = (maybe_id(), maybe_id(), maybe_id(), maybe_id(), maybe_id(), maybe_id());
    (named, prop::collection::btree_map(id(), id(), 0..3))
        .prop_map(|(named, extra)| {
            let (agent, task_type, task_id, user, team, project) = named;
            Tags { agent, task_type, task_id, user, team, project, extra }
        })
        .boxed()
}

fn usage() -> BoxedStrategy<Usage> {
    prop::array::uniform10(prop_oneof![Just(0), any::<u64>(), 0..5_000_u64])
        .prop_map(|counts| {
            TokenClass::ALL
                .into_iter()
                .zip(counts)
                .fold(Usage::NONE, |usage, (class, tokens)| usage.with(class, tokens))
        })
        .boxed()
}

fn amount() -> BoxedStrategy<Amount> {
    prop_oneof![any::<i128>(), (-900..900_i128).prop_map(|units| units * 10_i128.pow(10))]
        .prop_map(Amount::from_pico)
        .boxed()
}

fn time() -> BoxedStrategy<i64> {
    prop_oneof![any::<i64>(), (1_790_000_000..1_790_000_100_i64).prop_map(|seconds| seconds * 1_000_000_000)].boxed()
}

fn quantity() -> BoxedStrategy<Quantity> {
    (id(), amount(), maybe_id()).prop_map(|(sku, quantity, unit)| Quantity { sku, quantity, unit }).boxed()
}

fn reported() -> BoxedStrategy<Reported> {
    let currency = prop::sample::select(vec!["USD", "EUR", "JPY"]);
    (amount(), currency)
        .prop_map(|(amount, code)| Reported { amount, currency: code.parse::<Currency>().unwrap() })
        .boxed()
}

fn event() -> BoxedStrategy<Event> {
    let ids = prop::array::uniform8(maybe_id());
    let kinds = (prop::sample::select(&Kind::ALL[..]), prop::option::of(prop::sample::select(&Status::ALL[..])));
    let figures = (prop::option::of(any::<u64>()), prop::option::of(usage()));
    let fees = (prop::option::of(quantity()), prop::option::of(reported()));
    (id(), maybe_id(), ids, time(), kinds, any::<bool>(), figures, fees, tags())
        .prop_map(|(event_id, parent_id, ids, used_at_ns, (kind, status), critical, figures, fees, tags)| {
            let [trace_id, provider, model, service_tier, response_id, retry_of, supersedes, reservation_id] = ids;
            let (duration_ms, usage) = figures;
            let (quantity, reported) = fees;
            let event = plain(&event_id);
            let event = Event { trace_id, parent_id, used_at_ns, duration_ms, kind, tags, critical, status, ..event };
            let event = Event { provider, model, service_tier, usage, quantity, reported, response_id, ..event };
            Event { retry_of, supersedes, reservation_id, ..event }
        })
        .boxed()
}

/// Anything that the types can hold.
pub(super) fn recorded() -> BoxedStrategy<Recorded> {
    (event(), maybe_id(), tags(), maybe_id(), time())
        .prop_map(|(event, key_id, key_tags, resource_team, recorded_at_ns)| {
            let origin = Origin { key_id, key_tags: Arc::new(key_tags), resource_team };
            Recorded { event, origin, recorded_at_ns }
        })
        .boxed()
}
