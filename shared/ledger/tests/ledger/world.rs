//! A small world to settle: an organisation, tasks with their spans, and the day facts that follow from them.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{Days, NaiveDate};
use recoup_attribution::facts::{CellKey, EventSet, Item, PoolUseKey, TaskKey, TaskOf};
use recoup_attribution::{DayFacts, SettlementFacts};
use recoup_ledger::{
    Alone, Correction, LedgerError, Line, LineKind, Opening, PeriodInput, PriceVersion, Settlement, Workers,
};
use recoup_model::organisation::{
    Agent, Billing, History, Mode, Policy, Pool, PoolBasis, PoolMethod, TaskType, Team, Version,
};
use recoup_model::{Digest, Id, Kind, Organisation, Period, TokenClass};
use recoup_money::{Amount, Currency};

pub(crate) fn id(name: &str) -> Id {
    Id::from(name)
}

pub(crate) fn amount(text: &str) -> Amount {
    text.parse().unwrap()
}

/// A day of October 2026; 0 is the last of September, 32 the first of November.
pub(crate) fn day(number: i64) -> NaiveDate {
    let last_of_september = NaiveDate::from_ymd_opt(2026, 9, 30).unwrap();
    let days = Days::new(number.unsigned_abs());
    let moved =
        if number < 0 { last_of_september.checked_sub_days(days) } else { last_of_september.checked_add_days(days) };
    moved.unwrap()
}

pub(crate) fn october() -> Period {
    "2026-10".parse().unwrap()
}

pub(crate) fn agent(billing: Billing) -> Agent {
    Agent { billing, ..Agent::default() }
}

pub(crate) fn pool(basis: PoolBasis, group: &str, method: PoolMethod) -> Pool {
    Pool { basis, group: id(group), method, step: None, percent: BTreeMap::new() }
}

/// Teams a, b, c; agents by billing model; pools as given.
pub(crate) fn organisation(pools: &[(&str, Pool)]) -> Organisation {
    let team = Team { cost_centre: None, lead: None, slack_channel: None, email: None, mode: Mode::Showback };
    let agents = [("tok", Billing::Token), ("tas", Billing::Task), ("tim", Billing::Time)];
    Organisation {
        name: "Example".to_owned(),
        currency: Currency::USD,
        time_zone: chrono_tz::Europe::Berlin,
        policy: Policy::default(),
        teams: ["a", "b", "c"].map(|name| (id(name), team.clone())).into(),
        agents: agents.map(|(name, billing)| (id(name), agent(billing))).into(),
        pools: pools.iter().map(|(name, pool)| (id(name), pool.clone())).collect(),
        task_types: BTreeMap::new(),
        people: BTreeMap::new(),
        recurring: Vec::new(),
        rates: Vec::new(),
        budgets: Vec::new(),
        prices: Vec::new(),
        alerts: Default::default(),
    }
}

pub(crate) fn with_seed(mut organisation: Organisation, price: &str) -> Organisation {
    organisation.task_types.insert(id("t"), TaskType { cap: None, seed_price: Some(amount(price)), critical: false });
    organisation
}

pub(crate) fn version(number: u32, effective: Option<NaiveDate>, organisation: Organisation) -> Version {
    let text = format!("version {number}");
    Version { number, effective, digest: Digest::of(text.as_bytes()), text, organisation: Arc::new(organisation) }
}

/// A span of a task or of no task.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) day: i64,
    pub(crate) cost: i128,
    /// The pool that it belongs to, and the pool above it.
    pub(crate) pool: Option<(&'static str, Option<&'static str>)>,
}

/// A trace: with an end its root has arrived and it is a task.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    pub(crate) team: Option<&'static str>,
    pub(crate) agent: &'static str,
    pub(crate) ended: Option<i64>,
    pub(crate) completed: bool,
    pub(crate) active_ns: Option<u64>,
    pub(crate) idle_ns: u64,
    pub(crate) spans: Vec<Span>,
}

pub(crate) struct World {
    pub(crate) history: History,
    pub(crate) days: BTreeMap<NaiveDate, DayFacts>,
    pub(crate) opening: Opening,
    pub(crate) period: Period,
    pub(crate) through: NaiveDate,
    pub(crate) corrections: Vec<Correction>,
    pub(crate) rules: u32,
    pub(crate) approvals: Vec<Digest>,
    /// The task type of what is added.
    pub(crate) task_type: &'static str,
}

impl World {
    pub(crate) fn new(organisation: Organisation) -> Self {
        Self::of(vec![version(1, None, organisation)])
    }

    pub(crate) fn of(versions: Vec<Version>) -> Self {
        Self {
            history: History::new(versions).unwrap(),
            days: BTreeMap::new(),
            opening: Opening::default(),
            period: october(),
            through: day(31),
            corrections: Vec::new(),
            rules: 6,
            approvals: Vec::new(),
            task_type: "t",
        }
    }

    pub(crate) fn facts(&mut self, on: NaiveDate) -> &mut DayFacts {
        self.days.entry(on).or_insert_with(|| empty_day(on))
    }

    pub(crate) fn try_settle(&self) -> Result<Settlement, LedgerError> {
        self.settle_at(None)
    }

    /// At its own prices, as when a closed period is settled again.
    pub(crate) fn settle_at(&self, own_prices: Option<&[PriceVersion]>) -> Result<Settlement, LedgerError> {
        self.settle_by(&Alone, own_prices)
    }

    pub(crate) fn settle_by(
        &self,
        workers: &dyn Workers,
        own_prices: Option<&[PriceVersion]>,
    ) -> Result<Settlement, LedgerError> {
        let input = PeriodInput {
            period: self.period,
            through: self.through,
            history: &self.history,
            days: &SettlementFacts::of_days(&self.days).unwrap(),
            opening: &self.opening,
            rules: self.rules,
            own_prices,
            corrections: &self.corrections,
            approvals: &self.approvals,
        };
        recoup_ledger::settle_with(&input, workers)
    }

    /// Settles, checks that it ties, and that its JSON is read back as it was.
    pub(crate) fn settle(&self) -> Settlement {
        let settlement = self.try_settle().unwrap();
        recoup_ledger::check(&settlement).unwrap();
        let json = serde_json::to_string(&settlement).unwrap();
        assert_eq!(serde_json::from_str::<Settlement>(&json).unwrap(), settlement);
        settlement
    }

    /// `count` tasks of a team that end on a day and cost so much together, with one span each.
    pub(crate) fn tasks(&mut self, team: &'static str, agent: &'static str, (on, count): (i64, u64), cost: &str) {
        let pico = amount(cost).pico();
        let each = pico / i128::from(count);
        for number in 0..count {
            let cost = if number == 0 { pico - each * (i128::from(count) - 1) } else { each };
            let span = Span { day: on, cost, pool: None };
            let trace = Trace {
                team: Some(team),
                agent,
                ended: Some(on),
                completed: true,
                active_ns: None,
                idle_ns: 0,
                spans: vec![span],
            };
            self.add(&trace);
        }
    }

    /// Adds a trace to the facts of the days that it touches.
    pub(crate) fn add(&mut self, trace: &Trace) {
        let (team, task_type) = (trace.team.map(id), id(self.task_type));
        let agent = id(trace.agent);
        let task = trace.ended.map(|ended| TaskOf {
            agent: Some(agent.clone()),
            task_type: task_type.clone(),
            ended_on: day(ended),
            timed: trace.active_ns.is_some(),
        });
        for span in &trace.spans {
            let facts = self.facts(day(span.day));
            let cell = CellKey {
                team: team.clone(),
                project: None,
                agent: Some(span.pool.map_or_else(|| agent.clone(), |(pool, _)| id(&format!("guard-{pool}")))),
                task_type: Some(task_type.clone()),
                kind: Kind::Llm,
                provider: Some(id("p")),
                model: Some(id("m")),
                item: Item::Tokens(TokenClass::Input),
                task: task.clone(),
                pool: span.pool.map(|(pool, _)| id(pool)),
                unobserved: false,
            };
            let value = facts.cells.entry(cell).or_default();
            value.cost = value.cost.checked_add(Amount::from_pico(span.cost)).unwrap();
            value.quantity = value.quantity.checked_add(amount("10")).unwrap();
            value.events += 1;
            count(facts, 1);
            if let Some((pool, via)) = span.pool {
                self.use_pool(pool, (trace.team, via, trace.agent), (span.day, 1));
            }
        }
        if let (Some(task), Some(ended)) = (task, trace.ended) {
            self.end(trace, team, (task.agent, ended));
        }
    }

    /// Uses a pool: `calls` invocations, as many tens of tokens and milliseconds.
    pub(crate) fn invoke(
        &mut self,
        pool: &'static str,
        (team, via): (Option<&'static str>, Option<&'static str>),
        (on, calls): (i64, u64),
    ) {
        self.use_pool(pool, (team, via, "tok"), (on, calls));
    }

    /// The same below a root of an agent.
    pub(crate) fn use_pool(
        &mut self,
        pool: &'static str,
        (team, via, agent): (Option<&'static str>, Option<&'static str>, &'static str),
        (on, calls): (i64, u64),
    ) {
        let key = PoolUseKey { pool: id(pool), team: team.map(id), via: via.map(id), agent: Some(id(agent)) };
        let usage = self.facts(day(on)).pools.entry(key).or_default();
        usage.invocations += calls;
        usage.tokens += 10 * calls;
        usage.duration_ms += 10 * calls;
    }

    fn end(&mut self, trace: &Trace, team: Option<Id>, (agent, ended): (Option<Id>, i64)) {
        let direct: i128 = trace.spans.iter().filter(|span| span.pool.is_none()).map(|span| span.cost).sum();
        let direct = Amount::from_pico(direct);
        let billing = |team: &str| self.history.on(day(ended)).organisation.billing(team, agent.as_deref());
        let by_time = trace.team.is_some_and(|team| billing(team) == Billing::Time);
        let key = TaskKey { team, agent, task_type: id(self.task_type) };
        let value = self.facts(day(ended)).tasks.entry(key).or_default();
        value.tasks += 1;
        value.completed += u64::from(trace.completed);
        value.failed += u64::from(!trace.completed);
        value.direct_cost = value.direct_cost.checked_add(direct).unwrap();
        value.idle_ns += trace.idle_ns;
        if let Some(active_ns) = trace.active_ns {
            value.timed_cost = value.timed_cost.checked_add(direct).unwrap();
            value.timed_tasks += 1;
            value.timed_completed += u64::from(trace.completed);
            value.active_ns += active_ns;
            if by_time {
                *value.durations_ns.entry(active_ns).or_default() += 1;
                if trace.idle_ns > 0 {
                    *value.idles_ns.entry(trace.idle_ns).or_default() += 1;
                }
            }
        }
    }
}

fn empty_day(on: NaiveDate) -> DayFacts {
    DayFacts {
        day: on,
        cells: BTreeMap::new(),
        users: BTreeMap::new(),
        tasks: BTreeMap::new(),
        pools: BTreeMap::new(),
        agents: BTreeMap::new(),
        counted: BTreeMap::new(),
        context: None,
        price_names: std::collections::BTreeSet::new(),
        finding_counts: BTreeMap::new(),
        findings: Vec::new(),
        work: BTreeMap::new(),
    }
}

fn count(facts: &mut DayFacts, events: u64) {
    let set = facts.counted.entry(facts.day).or_insert(EventSet { events: 0, digest: Digest::of(b"") });
    set.events += events;
}

/// Lines of a team and kind.
pub(crate) fn lines<'a>(settlement: &'a Settlement, team: &str, kind: LineKind) -> Vec<&'a Line> {
    settlement.lines.get(team).into_iter().flatten().filter(|line| line.key.kind == kind).collect()
}

/// The exact total of a team.
pub(crate) fn total(settlement: &Settlement, team: &str) -> Amount {
    Amount::checked_sum(settlement.lines.get(team).into_iter().flatten().map(|line| line.exact)).unwrap()
}
