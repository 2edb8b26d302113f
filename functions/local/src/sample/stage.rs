//! Plays a playbook: turns an agent's steps into spans with times and tokens.

use recoup_model::{Kind, Status, TokenClass, Usage};

use super::chance::{Chance, Range};
use super::habits::Habits;
use super::offers::{OPENAI_EMBEDDING, VECTORS};
use super::playbooks::{Ask, Playbook, Step, playbook};
use super::trace::{Cost, Span};

/// Spans of one trace.
pub(super) const SPANS_MAX: usize = 40;

/// Agents below each other.
const DEPTH_MAX: u32 = 4;

/// Nanoseconds of a millisecond.
pub(super) const MILLISECOND_NS: i64 = 1_000_000;

/// What is unusual about a run.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Turn {
    /// A pause before the last step: for a person, or across midnight.
    pub(super) pause_ns: i64,
    /// Gives up half-way.
    pub(super) stops_early: bool,
    /// Asks the same again and again, with an ever longer prompt.
    pub(super) runs_away: bool,
}

/// Where a step happens: in which agent's frame, who called that agent, and how deep.
#[derive(Clone, Copy)]
struct Place {
    playbook: &'static Playbook,
    caller: Option<&'static Playbook>,
    parent: Option<u64>,
    /// The agent, where its calls have to name it because it has no frame.
    tag: Option<&'static str>,
    depth: u32,
}

/// Spans in the making.
pub(super) struct Stage<'c> {
    chance: &'c mut Chance,
    habits: &'static Habits,
    spans: Vec<Span>,
    clock_ns: i64,
    latest_ns: i64,
}

impl<'c> Stage<'c> {
    pub(super) fn new(chance: &'c mut Chance, habits: &'static Habits, start_ns: i64) -> Self {
        Self { chance, habits, spans: Vec::with_capacity(SPANS_MAX), clock_ns: start_ns, latest_ns: start_ns }
    }

    /// A whole run of an agent as the root of a trace.
    pub(super) fn play(mut self, playbook: &'static Playbook, turn: Turn) -> Vec<Span> {
        let frame = self.open(None, playbook.agent);
        let place = Place { playbook, caller: None, parent: self.id_of(frame), tag: None, depth: 0 };
        let all = playbook.steps.len();
        let count = if turn.stops_early { all.div_ceil(2) } else { all };
        for (index, step) in playbook.steps.iter().take(count).enumerate() {
            if index.saturating_add(1) == count {
                self.clock_ns = self.clock_ns.saturating_add(turn.pause_ns);
            }
            self.step(step, place);
        }
        if turn.runs_away {
            self.run_away(place);
        }
        self.close(frame);
        self.spans
    }

    /// One model call on its own: an index that is kept up to date.
    pub(super) fn refresh_index(mut self, agent: &'static str) -> Vec<Span> {
        let input = self.chance.skewed((500, 8_000));
        let usage = Usage::NONE.with(TokenClass::Input, input);
        let cost = Cost::Tokens { model: OPENAI_EMBEDDING, tier: None, usage };
        let span = self.leaf(Kind::Llm, 120, cost);
        self.push(Span { agent: Some(agent), ..span });
        self.spans
    }

    fn is_full(&self) -> bool {
        self.spans.len() >= SPANS_MAX
    }

    fn id_of(&self, index: usize) -> Option<u64> {
        self.spans.get(index).map(|span| span.id)
    }

    fn push(&mut self, span: Span) {
        if !self.is_full() {
            self.spans.push(span);
        }
    }

    fn open(&mut self, parent: Option<u64>, agent: &'static str) -> usize {
        let span = Span { parent, agent: Some(agent), ..self.leaf(Kind::Agent, 0, Cost::Nothing) };
        self.push(span);
        self.spans.len().saturating_sub(1)
    }

    /// Ends a frame after everything below it, and lets some frames report the usage below them.
    fn close(&mut self, frame: usize) {
        let overhead_ms = self.chance.between((1, 40));
        let end_ns = self.latest_ns.max(self.clock_ns).saturating_add(nanoseconds(overhead_ms));
        (self.clock_ns, self.latest_ns) = (end_ns, end_ns);
        let reported = self.wrap(frame);
        if let Some(span) = self.spans.get_mut(frame) {
            let elapsed_ns = end_ns.saturating_sub(span.end_ns);
            span.duration_ms = u64::try_from(elapsed_ns / MILLISECOND_NS).unwrap_or_default();
            span.end_ns = end_ns;
            (span.cost, span.is_excessive) = reported.unwrap_or((Cost::Nothing, false));
        }
    }

    /// The usage that a frame reports, and whether that is more than there is below it.
    fn wrap(&mut self, frame: usize) -> Option<(Cost, bool)> {
        if !self.chance.per_mille(self.habits.wrapper) {
            return None;
        }
        let below = self.spans.get(frame.saturating_add(1)..)?.iter().filter(|span| span.kind == Kind::Llm);
        let (model, mut usage) = below.filter_map(Span::tokens).reduce(|(_, sum), (model, usage)| {
            let add = |sum: Usage, class| sum.with(class, sum.get(class).saturating_add(usage.get(class)));
            (model, TokenClass::ALL.into_iter().fold(sum, add))
        })?;
        let is_excessive = self.chance.per_mille(self.habits.unobserved);
        if is_excessive {
            let input = usage.get(TokenClass::Input).saturating_add(self.chance.skewed((2_000, 30_000)));
            let output = usage.get(TokenClass::Output).saturating_add(self.chance.skewed((100, 2_000)));
            usage = usage.with(TokenClass::Input, input).with(TokenClass::Output, output);
        }
        Some((Cost::Tokens { model, tier: None, usage }, is_excessive))
    }

    fn step(&mut self, step: &'static Step, place: Place) {
        match step {
            Step::Ask(ask) if self.chance.percent(ask.percent) => {
                for _ in 0..self.chance.between(ask.times) {
                    self.ask(ask, 1, place);
                }
            }
            Step::Buy { kind, sku, thousandths, percent } if self.chance.percent(*percent) => {
                let mut thousandths = self.chance.skewed(*thousandths);
                if sku.unit != "second" && *sku != VECTORS {
                    thousandths = thousandths / 1_000 * 1_000;
                }
                let duration_ms = match kind {
                    Kind::Compute => thousandths,
                    Kind::Tool => self.chance.skewed((150, 1_800)),
                    _ => self.chance.between((5, 60)),
                };
                self.attach(*kind, duration_ms, Cost::Units { sku: *sku, thousandths }, place);
            }
            Step::Pay { service, thousandths, percent } if self.chance.percent(*percent) => {
                let duration_ms = self.chance.skewed((200, 2_500));
                let thousandths = self.chance.skewed(*thousandths);
                self.attach(Kind::Tool, duration_ms, Cost::Reported { service: *service, thousandths }, place);
            }
            Step::Call { agent, percent } if self.chance.percent(*percent) => self.call(agent, place),
            Step::AskBack { percent } if self.chance.percent(*percent) => self.ask_back(place),
            Step::Wait { seconds } => {
                let seconds = self.chance.skewed(*seconds);
                self.clock_ns = self.clock_ns.saturating_add(nanoseconds(seconds.saturating_mul(1_000)));
            }
            _ => {}
        }
    }

    fn call(&mut self, agent: &str, place: Place) {
        let Some(playbook) = playbook(agent).filter(|_| place.depth < DEPTH_MAX && !self.is_full()) else {
            return;
        };
        let inner = Place { playbook, caller: Some(place.playbook), depth: place.depth.saturating_add(1), ..place };
        if self.chance.percent(playbook.bare_percent) {
            let bare = Place { tag: Some(playbook.agent), ..inner };
            playbook.steps.iter().take(1).for_each(|step| self.step(step, bare));
        } else {
            self.frame(inner, playbook.steps);
        }
    }

    fn frame(&mut self, place: Place, steps: &'static [Step]) {
        let frame = self.open(place.parent, place.playbook.agent);
        let place = Place { parent: self.id_of(frame), tag: None, ..place };
        steps.iter().for_each(|step| self.step(step, place));
        self.close(frame);
    }

    /// The called agent calls its caller: a cycle of two.
    fn ask_back(&mut self, place: Place) {
        let Some(caller) = place.caller.filter(|_| place.depth < DEPTH_MAX && !self.is_full()) else {
            return;
        };
        let question = caller.steps.iter().position(|step| matches!(step, Step::Ask(_))).unwrap_or_default();
        let steps = caller.steps.get(question..=question).unwrap_or_default();
        let back = Place { playbook: caller, caller: Some(place.playbook), depth: DEPTH_MAX, ..place };
        self.frame(back, steps);
    }

    fn run_away(&mut self, place: Place) {
        let mut asks = place.playbook.steps.iter().filter_map(|step| match step {
            Step::Ask(ask) => Some(ask),
            _ => None,
        });
        let Some(ask) = asks.next_back() else {
            return;
        };
        for round in 1..=u64::try_from(SPANS_MAX).unwrap_or_default() {
            if self.is_full() {
                return;
            }
            self.ask(ask, round.min(2), place);
        }
    }

    fn ask(&mut self, ask: &Ask, growth: u64, place: Place) {
        let mut draw = |range: Range| self.chance.skewed(range);
        let usage = Usage::NONE
            .with(TokenClass::Input, draw(ask.input).saturating_mul(growth))
            .with(TokenClass::CacheRead, draw(ask.cache_read))
            .with(TokenClass::CacheWrite5m, draw(ask.cache_write))
            .with(TokenClass::AudioInput, draw(ask.audio))
            .with(TokenClass::Output, draw(ask.output))
            .with(TokenClass::Reasoning, draw(ask.reasoning));
        let tokens = |usage| Cost::Tokens { model: ask.model, tier: ask.tier, usage };
        let duration_ms = thinking_ms(&usage);
        let failed = self.chance.per_mille(self.habits.retry).then(|| {
            let cut_off = usage.with(TokenClass::Output, 0).with(TokenClass::Reasoning, 0);
            self.attach(Kind::Llm, duration_ms, tokens(cut_off), place)
        });
        let first = failed.flatten();
        if let Some(span) = self.spans.last_mut().filter(|span| Some(span.id) == first) {
            (span.status, span.response) = (Some(Status::Error), None);
        }
        let second = self.attach(Kind::Llm, duration_ms, tokens(usage), place);
        if let Some(span) = self.spans.last_mut().filter(|span| Some(span.id) == second) {
            span.retry_of = first;
        }
    }

    /// A leaf below a place; its id, where the trace has room for it.
    fn attach(&mut self, kind: Kind, duration_ms: u64, cost: Cost, place: Place) -> Option<u64> {
        if self.is_full() {
            return None;
        }
        let span = Span { parent: place.parent, agent: place.tag, ..self.leaf(kind, duration_ms, cost) };
        let id = span.id;
        self.push(span);
        Some(id)
    }

    /// Takes the time of a span; some work overlaps with what follows.
    fn leaf(&mut self, kind: Kind, duration_ms: u64, cost: Cost) -> Span {
        let end_ns = self.clock_ns.saturating_add(nanoseconds(duration_ms));
        let share = self.chance.between((75, 112));
        let passed_ms = duration_ms.saturating_mul(share) / 100;
        self.clock_ns = self.clock_ns.saturating_add(nanoseconds(passed_ms));
        self.latest_ns = self.latest_ns.max(end_ns);
        let responds = kind == Kind::Llm && self.chance.per_mille(self.habits.response_id);
        let response = responds.then(|| self.chance.bits());
        let id = self.chance.bits();
        Span {
            id,
            parent: None,
            end_ns,
            duration_ms,
            kind,
            agent: None,
            status: None,
            cost,
            response,
            retry_of: None,
            is_excessive: false,
        }
    }
}

/// How long a model takes: a start, reading the prompt, writing the answer.
fn thinking_ms(usage: &Usage) -> u64 {
    let reading = usage.input_side() / 90;
    let writing = usage.output_side().saturating_mul(6);
    reading.saturating_add(writing).saturating_add(250)
}

/// Milliseconds as nanoseconds.
pub(super) fn nanoseconds(milliseconds: u64) -> i64 {
    i64::try_from(milliseconds).unwrap_or(i64::MAX).saturating_mul(MILLISECOND_NS)
}
