//! Seeded traces for the organisation [`EVERYTHING`](crate::EVERYTHING): each rule is met, most by chance.

use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta, TimeZone, Utc};
use serde_json::{Map, Value, json};

use crate::calendar::{BERLIN, printed};
use crate::chance::Chance;

const TEAMS: [&str; 3] = ["alpha", "beta", "gamma"];
const SHARED: [&str; 7] = ["guardrail", "formatter", "search", "memory", "tracer", "lobby", "router"];
/// Milliseconds of a local day, less what a trace may take.
const DAY_MS: u64 = 86_000_000;

/// What to make.
#[derive(Clone, Debug)]
pub struct Traffic {
    /// The same seed gives the same events.
    pub seed: u64,
    /// The first local day.
    pub first: NaiveDate,
    /// Local days.
    pub days: u64,
    /// Traces on each day.
    pub traces: u64,
}

/// Events as lines of JSON.
pub fn lines<'a>(events: impl IntoIterator<Item = &'a Map<String, Value>>) -> Vec<String> {
    events.into_iter().map(|event| serde_json::to_string(event).unwrap()).collect()
}

impl Traffic {
    /// The events, by the time of their trace.
    pub fn events(&self) -> Vec<Map<String, Value>> {
        let mut chance = Chance::seeded(self.seed);
        let mut events = Vec::new();
        for day in 0..self.days {
            let day = self.first.checked_add_days(Days::new(day)).unwrap();
            let midnight = BERLIN.from_local_datetime(&day.and_time(NaiveTime::MIN)).earliest().unwrap().to_utc();
            for number in 0..self.traces {
                let offset = chance.between(0, DAY_MS);
                let begin = midnight + TimeDelta::milliseconds(i64::try_from(offset).unwrap());
                let id = format!("{:04x}-{day}-{number}", self.seed);
                Scene { chance: &mut chance, id, clock: begin, events: Vec::new() }.play(&mut events);
            }
        }
        // A trace of yesterday may end in the future.
        let now = printed(Utc::now());
        events.retain(|event| event["used_at"].as_str().is_some_and(|used_at| used_at < now.as_str()));
        events
    }
}

struct Scene<'c> {
    chance: &'c mut Chance,
    id: String,
    clock: DateTime<Utc>,
    events: Vec<Map<String, Value>>,
}

impl Scene<'_> {
    fn play(mut self, all: &mut Vec<Map<String, Value>>) {
        if self.chance.percent(4) {
            self.lone_event();
        } else {
            self.trace();
        }
        all.append(&mut self.events);
    }

    fn pass(&mut self, low_ms: u64, high_ms: u64) -> u64 {
        let ms = self.chance.between(low_ms, high_ms);
        self.clock += TimeDelta::milliseconds(i64::try_from(ms).unwrap());
        ms
    }

    /// An event that ends now and took some time.
    fn span(&mut self, parent: Option<&str>, kind: &str, duration_ms: u64) -> usize {
        let number = self.events.len();
        let event = json!({
            "event_id": format!("{}-{number}", self.id), "trace_id": self.id, "parent_id": parent,
            "used_at": printed(self.clock), "duration_ms": duration_ms, "kind": kind, "tags": {},
        });
        self.events.push(event.as_object().unwrap().clone());
        number
    }

    fn set(&mut self, at: usize, name: &str, value: Value) {
        self.events.get_mut(at).unwrap().insert(name.to_owned(), value);
    }

    fn tag(&mut self, at: usize, name: &str, value: &str) {
        let tags = self.events.get_mut(at).unwrap().get_mut("tags").unwrap();
        tags.as_object_mut().unwrap().insert(name.to_owned(), value.into());
    }

    fn name_of(&self, at: usize) -> String {
        self.events.get(at).unwrap()["event_id"].as_str().unwrap().to_owned()
    }

    fn lone_event(&mut self) {
        let at = self.span(None, "llm", 700);
        self.events.get_mut(at).unwrap().remove("trace_id");
        let team = *self.chance.one(&TEAMS);
        self.tag(at, "team", team);
        self.tag(at, "agent", "writer");
        self.tokens(at);
    }

    fn trace(&mut self) {
        let (agent, task) = *self.chance.one(&[
            ("resolver", Some("resolve")),
            ("resolver", Some("escalate")),
            ("caller", Some("call")),
            ("writer", Some("write")),
            ("writer", None),
        ]);
        let begin = self.clock;
        let root = self.span(None, "agent", 0);
        self.tag(root, "agent", agent);
        if let Some(task) = task {
            self.tag(root, "task_type", task);
            let status = *self.chance.one(&["ok", "ok", "ok", "ok", "ok", "ok", "error", "killed"]);
            self.set(root, "status", status.into());
        }
        self.payer(root);
        let parent = self.name_of(root);
        for _ in 0..self.chance.between(1, 4) {
            self.step(&parent, 0);
        }
        if self.chance.percent(2) {
            // Across midnight, sometimes across the end of the month.
            self.pass(20_000_000, 80_000_000);
        }
        self.pass(1, 400);
        self.set(root, "used_at", printed(self.clock).into());
        let took = (self.clock - begin).num_milliseconds();
        self.set(root, "duration_ms", took.into());
        if self.chance.percent(10) {
            self.wrap(root);
        }
        if self.chance.percent(2) {
            self.set(root, "parent_id", "never-arrived".into());
        }
    }

    fn payer(&mut self, root: usize) {
        match self.chance.between(1, 100) {
            1..=3 => {}
            4..=6 => self.tag(root, "team", "dissolved"),
            7..=12 => {
                let user = *self.chance.one(&["u1", "u2", "u3"]);
                self.tag(root, "user", user);
            }
            _ => {
                let team = *self.chance.one(&TEAMS);
                self.tag(root, "team", team);
            }
        }
    }

    fn step(&mut self, parent: &str, depth: u32) {
        match self.chance.between(1, 100) {
            1..=50 => self.model_call(parent),
            51..=60 => {
                let took = self.pass(50, 900);
                let at = self.span(Some(parent), "tool", took);
                self.units(at, "example.search", "call", "1");
            }
            61..=66 => {
                let took = self.pass(1_000, 9_000);
                let at = self.span(Some(parent), "compute", took);
                let quantity = format!("{}.{:03}", took / 1_000, took % 1_000);
                self.units(at, "example.gpu", "second", &quantity);
            }
            67..=70 => {
                let took = self.pass(50, 900);
                let at = self.span(Some(parent), "tool", took);
                self.set(at, "provider", "translations".into());
                self.set(at, "cost", json!({ "amount": "0.0271", "currency": "EUR" }));
            }
            71..=95 if depth < 3 => self.call_shared(parent, depth),
            96..=98 if depth < 3 => self.call_back(parent, depth),
            _ => self.model_call(parent),
        }
    }

    fn units(&mut self, at: usize, sku: &str, unit: &str, quantity: &str) {
        for (name, value) in [("sku", sku), ("unit", unit), ("quantity", quantity)] {
            self.set(at, name, value.into());
        }
    }

    fn call_shared(&mut self, parent: &str, depth: u32) {
        let agent = *self.chance.one(&SHARED);
        self.pass(1, 50);
        let frame = self.span(Some(parent), "agent", 0);
        self.tag(frame, "agent", agent);
        let inner = self.name_of(frame);
        for _ in 0..self.chance.between(1, 2) {
            self.step(&inner, depth + 1);
        }
        if self.chance.percent(12) {
            self.pass(1, 50);
            let again = self.span(Some(parent), "agent", 0);
            self.tag(again, "agent", agent);
            self.set(again, "retry_of", inner.into());
            let again = self.name_of(again);
            self.step(&again, depth + 1);
        }
    }

    /// An agent that is not shared, below another: re-entrant when it is the caller's own.
    fn call_back(&mut self, parent: &str, depth: u32) {
        let agent = *self.chance.one(&["writer", "resolver"]);
        self.pass(1, 50);
        let frame = self.span(Some(parent), "agent", 0);
        self.tag(frame, "agent", agent);
        let inner = self.name_of(frame);
        self.step(&inner, depth + 1);
    }

    fn model_call(&mut self, parent: &str) {
        let took = self.pass(300, 8_000);
        let at = self.span(Some(parent), "llm", took);
        self.tokens(at);
        if self.chance.percent(3) {
            let first = self.name_of(at);
            let corrected = self.span(Some(parent), "llm", took);
            self.tokens(corrected);
            self.set(corrected, "supersedes", first.into());
        }
        if self.chance.percent(3) {
            // The gateway reports the same call in a trace of its own.
            let response = format!("response-{}-{at}", self.id);
            self.set(at, "response_id", response.clone().into());
            let mut twin = self.events.get(at).unwrap().clone();
            for (name, value) in [("trace_id", format!("gateway-{}-{at}", self.id)), ("response_id", response)] {
                twin.insert(name.to_owned(), value.into());
            }
            twin.remove("parent_id");
            self.events.push(twin);
        }
    }

    fn tokens(&mut self, at: usize) {
        let model = *self.chance.one(&["example-large", "example-large", "example-large", "example-small"]);
        let model = if self.chance.percent(2) { "unheard-of" } else { model };
        let input = self.chance.between(1, 20_000);
        let mut usage = json!({ "input": input, "output": self.chance.between(1, 3_000) });
        if model == "example-large" && self.chance.percent(40) {
            usage["cache_read"] = self.chance.between(0, 45_000).into();
            usage["reasoning"] = self.chance.between(0, 900).into();
        }
        if model == "example-large" && self.chance.percent(8) {
            self.set(at, "service_tier", "batch".into());
        }
        self.set(at, "provider", "example".into());
        self.set(at, "model", model.into());
        self.set(at, "usage", usage);
        if self.chance.percent(5) {
            self.set(at, "cost", json!({ "amount": "0.01", "currency": "USD" }));
        }
    }

    /// Lets the root report usage, as much as or more than what is below it.
    fn wrap(&mut self, root: usize) {
        let (mut input, mut output) = (0, 0);
        for usage in self.events.iter().filter(|event| event["kind"] == "llm").map(|event| &event["usage"]) {
            let count = |name: &str| usage[name].as_u64().unwrap_or(0);
            input += count("input") + count("cache_read");
            output += count("output") + count("reasoning");
        }
        if self.chance.percent(50) {
            input += self.chance.between(1, 5_000);
        }
        if input + output > 0 {
            self.set(root, "usage", json!({ "input": input, "output": output }));
            if self.chance.percent(70) {
                self.set(root, "provider", "example".into());
                self.set(root, "model", "example-large".into());
            }
        }
    }
}
