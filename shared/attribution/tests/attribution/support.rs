//! A small organisation, a fixed price list, and a short way to write events.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, NaiveDate};
use recoup_attribution::{Context, DayBuilder, DayFacts, Span, Trace, resolve};
use recoup_model::organisation::{Agent, Billing, Organisation, Person, Policy, Team, Version};
use recoup_model::organisation::{History, Mode};
use recoup_model::{
    Basis, CostPart, Digest, Event, FindingKind, Id, Identity, Kind, Origin, PriceQuery, Quantity, Rater, Rating,
    Recorded, Reported, Status, Tags, TokenClass, UnpricedReason, Usage,
};
use recoup_money::{Amount, Currency};

/// Pico per token of the models `m`, `n`; nothing else has a price. A unit costs 500 pico.
pub(crate) struct PriceList;

impl PriceList {
    fn tokens(model: Option<&str>, usage: Usage) -> Rating {
        let price = match model {
            Some("m") => 1_000,
            Some("n") => 7_000,
            _ => return Rating::Unpriced(UnpricedReason::UnknownModel),
        };
        let cost = |tokens: u64| Amount::from_pico(i128::from(tokens) * price);
        let parts: Vec<CostPart> =
            usage.nonzero().map(|(class, tokens)| CostPart::Tokens { class, tokens, cost: cost(tokens) }).collect();
        Rating::Priced { cost: cost(usage.total()), parts, basis: Basis::Catalogue, disagrees: false }
    }
}

impl Rater for PriceList {
    fn rate(&self, event: &Event) -> Rating {
        if let Some(usage) = event.usage {
            return Self::tokens(event.model.as_deref(), usage);
        }
        if let Some(Quantity { sku, quantity, unit }) = event.quantity.clone() {
            let cost = Amount::from_pico(quantity.pico() / 1_000_000_000_000 * 500);
            let parts = vec![CostPart::Units { sku, quantity, unit, cost }];
            return Rating::Priced { cost, parts, basis: Basis::Catalogue, disagrees: false };
        }
        match event.reported {
            Some(reported) => Rating::Priced {
                cost: reported.amount,
                parts: vec![CostPart::Reported { cost: reported.amount }],
                basis: Basis::Reported,
                disagrees: true,
            },
            None if event.kind == Kind::Agent => Rating::Free,
            None => Rating::Unpriced(UnpricedReason::NoUsage),
        }
    }

    fn rate_tokens(&self, query: &PriceQuery<'_>) -> Rating {
        Self::tokens(query.model, query.usage)
    }
}

fn agent(billing: Billing, shared_pool: Option<&str>) -> Agent {
    let pool = shared_pool.map(Id::from);
    Agent { billing, shared_pool: pool, ..Agent::default() }
}

fn organisation(agents: BTreeMap<Id, Agent>) -> Organisation {
    let team = || Team { cost_centre: None, lead: None, slack_channel: None, email: None, mode: Mode::Showback };
    let person = |team: &str| Person { team: Some(team.into()), role: None, slack: None };
    Organisation {
        name: "Example".into(),
        currency: Currency::USD,
        time_zone: "Europe/Berlin".parse().unwrap(),
        policy: Policy::default(),
        teams: [("support".into(), team()), ("marketing".into(), team())].into(),
        agents,
        pools: BTreeMap::new(),
        task_types: BTreeMap::new(),
        people: [("u17".into(), person("support")), ("u18".into(), person("marketing"))].into(),
        recurring: vec![],
        rates: vec![],
        budgets: vec![],
        prices: vec![],
        alerts: Default::default(),
    }
}

/// Two versions: from 2026-10-02 the agent `late` is shared too.
pub(crate) fn history() -> History {
    let mut agents: BTreeMap<Id, Agent> = [
        ("triage".into(), agent(Billing::Task, None)),
        ("clock".into(), agent(Billing::Time, None)),
        ("guardrail".into(), agent(Billing::Token, Some("safety"))),
        ("search".into(), agent(Billing::Token, Some("index"))),
        ("late".into(), agent(Billing::Token, None)),
        ("pager".into(), Agent { critical: true, ..agent(Billing::Token, None) }),
    ]
    .into();
    let version = |number, effective, agents: &BTreeMap<Id, Agent>| Version {
        number,
        effective,
        digest: Digest([0; 32]),
        text: String::new(),
        organisation: Arc::new(organisation(agents.clone())),
    };
    let first = version(1, None, &agents);
    agents.insert("late".into(), agent(Billing::Token, Some("safety")));
    History::new(vec![first, version(2, Some(day(2)), &agents)]).unwrap()
}

pub(crate) fn day(of_october: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 10, of_october).unwrap()
}

fn noon_ns() -> i64 {
    DateTime::parse_from_rfc3339("2026-10-01T12:00:00+02:00").unwrap().timestamp_nanos_opt().unwrap()
}

/// An event on its way. Without further words: an `llm` span of trace `t` without usage, at noon of 1 October.
#[derive(Clone, Debug)]
pub(crate) struct Make(pub(crate) Recorded);

pub(crate) fn span(event_id: &str) -> Make {
    let event = Event {
        trace_id: Some("t".into()),
        event_id: event_id.into(),
        parent_id: None,
        used_at_ns: noon_ns(),
        duration_ms: None,
        kind: Kind::Llm,
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
    };
    Make(Recorded { event, origin: Origin::default(), recorded_at_ns: 0 })
}

impl Make {
    fn with(mut self, change: impl FnOnce(&mut Recorded)) -> Self {
        change(&mut self.0);
        self
    }
    pub(crate) fn below(self, parent: &str) -> Self {
        self.with(|it| it.event.parent_id = Some(parent.into()))
    }
    pub(crate) fn kind(self, kind: Kind) -> Self {
        self.with(|it| it.event.kind = kind)
    }
    pub(crate) fn frame(self, agent: &str) -> Self {
        self.kind(Kind::Agent).agent(agent)
    }
    pub(crate) fn agent(self, agent: &str) -> Self {
        self.with(|it| it.event.tags.agent = Some(agent.into()))
    }
    pub(crate) fn team(self, team: &str) -> Self {
        self.with(|it| it.event.tags.team = Some(team.into()))
    }
    pub(crate) fn user(self, user: &str) -> Self {
        self.with(|it| it.event.tags.user = Some(user.into()))
    }
    pub(crate) fn task(self, task_type: &str) -> Self {
        self.with(|it| it.event.tags.task_type = Some(task_type.into()))
    }
    pub(crate) fn status(self, status: Status) -> Self {
        self.with(|it| it.event.status = Some(status))
    }
    pub(crate) fn model(self, model: &str) -> Self {
        self.with(|it| {
            it.event.provider = Some("p".into());
            it.event.model = Some(model.into());
        })
    }
    pub(crate) fn usage(self, classes: &[(TokenClass, u64)]) -> Self {
        let usage = classes.iter().fold(Usage::NONE, |usage, (class, tokens)| usage.with(*class, *tokens));
        self.with(|it| it.event.usage = Some(usage))
    }
    /// Input tokens of model `m`, 1,000 pico each.
    pub(crate) fn tokens(self, tokens: u64) -> Self {
        self.model("m").usage(&[(TokenClass::Input, tokens)])
    }
    pub(crate) fn units(self, units: i128) -> Self {
        let quantity = Amount::from_pico(units * 1_000_000_000_000);
        self.with(|it| it.event.quantity = Some(Quantity { sku: "s".into(), quantity, unit: Some("call".into()) }))
    }
    pub(crate) fn reported(self, pico: i128) -> Self {
        let reported = Reported { amount: Amount::from_pico(pico), currency: Currency::USD };
        self.with(|it| it.event.reported = Some(reported))
    }
    pub(crate) fn response(self, id: &str) -> Self {
        self.with(|it| it.event.response_id = Some(id.into()))
    }
    pub(crate) fn supersedes(self, event_id: &str) -> Self {
        self.with(|it| it.event.supersedes = Some(event_id.into()))
    }
    pub(crate) fn retry_of(self, event_id: &str) -> Self {
        self.with(|it| it.event.retry_of = Some(event_id.into()))
    }
    pub(crate) fn critical(self) -> Self {
        self.with(|it| it.event.critical = true)
    }
    pub(crate) fn resource_team(self, team: &str) -> Self {
        self.with(|it| it.origin.resource_team = Some(team.into()))
    }
    pub(crate) fn key(self, tags: Tags) -> Self {
        self.with(|it| it.origin.key_tags = Arc::new(tags))
    }
    /// Recorded so many nanoseconds later than others.
    pub(crate) fn recorded(self, later_ns: i64) -> Self {
        self.with(|recorded| recorded.recorded_at_ns = later_ns)
    }

    pub(crate) fn trace(self, trace: Option<&str>) -> Self {
        self.with(|it| it.event.trace_id = trace.map(Id::from))
    }
    /// Seconds after noon of 1 October, in Berlin.
    pub(crate) fn ends(self, seconds: i64) -> Self {
        self.with(|it| it.event.used_at_ns = noon_ns() + seconds * 1_000_000_000)
    }
    pub(crate) fn lasts(self, seconds: u64) -> Self {
        self.with(|it| it.event.duration_ms = Some(seconds * 1_000))
    }
    pub(crate) fn identity(&self) -> Identity {
        Identity::of(&self.0.event)
    }
}

pub(crate) fn events(spans: impl IntoIterator<Item = Make>) -> Vec<Recorded> {
    spans.into_iter().map(|make| make.0).collect()
}

pub(crate) fn resolved(spans: impl IntoIterator<Item = Make>) -> Trace {
    resolved_without(spans, &BTreeSet::new())
}

pub(crate) fn resolved_without(spans: impl IntoIterator<Item = Make>, excluded: &BTreeSet<Identity>) -> Trace {
    resolve(&events(spans), excluded, &Context { history: &history(), rater: &PriceList }).unwrap()
}

pub(crate) fn facts<'t>(of_october: u32, traces: impl IntoIterator<Item = &'t Trace>) -> DayFacts {
    let history = history();
    let mut builder = DayBuilder::new(day(of_october));
    for trace in traces {
        builder.add(trace, &Context { history: &history, rater: &PriceList }).unwrap();
    }
    builder.finish()
}

pub(crate) fn find<'t>(trace: &'t Trace, event_id: &str) -> &'t Span {
    trace.spans.iter().find(|span| &*span.event.event_id == event_id).unwrap()
}

pub(crate) fn parent_of(trace: &Trace, event_id: &str) -> Option<String> {
    find(trace, event_id).parent.map(|parent| trace.spans[parent].event.event_id.to_string())
}

pub(crate) fn root_of(trace: &Trace) -> &str {
    &trace.spans[trace.root].event.event_id
}

pub(crate) fn kinds(trace: &Trace) -> Vec<FindingKind> {
    trace.findings.iter().map(|finding| finding.kind).collect()
}

pub(crate) fn subjects(trace: &Trace, kind: FindingKind) -> Vec<&str> {
    trace.findings.iter().filter(|finding| finding.kind == kind).map(|finding| &*finding.subject).collect()
}

pub(crate) fn pico(amount: Amount) -> i128 {
    amount.pico()
}
