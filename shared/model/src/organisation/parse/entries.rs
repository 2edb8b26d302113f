//! Teams, agents, pools, task types and people: what has an id, and what refers to it.

use std::collections::{BTreeMap, BTreeSet};

use recoup_money::Currency;
use recoup_money::{Amount, PICO_PER_UNIT};

use crate::event::Id;
use crate::organisation::parse::markups;
use crate::organisation::parse::problem::{Place, Report, quoted};
use crate::organisation::parse::reader::{Table, Value};
use crate::organisation::{Agent, Billing, Mode, Person, Pool, PoolBasis, PoolMethod, TaskType, Team};

/// Accounts of the ledger that no team may be called.
const RESERVED_TEAMS: [&str; 2] = ["unattributed", "unallocated"];
/// Steps of a step-down.
const STEPS_MAX: u32 = 10_000;
const ONE_HUNDRED: Amount = Amount::from_pico(100 * PICO_PER_UNIT);

const MODES: [(&str, Mode); 2] = [("showback", Mode::Showback), ("chargeback", Mode::Chargeback)];
const BILLINGS: [(&str, Billing); 3] = [
    (Billing::Token.name(), Billing::Token),
    (Billing::Task.name(), Billing::Task),
    (Billing::Time.name(), Billing::Time),
];
const BASES: [(&str, PoolBasis); 6] = [
    (PoolBasis::DirectCost.name(), PoolBasis::DirectCost),
    (PoolBasis::Invocations.name(), PoolBasis::Invocations),
    (PoolBasis::Tokens.name(), PoolBasis::Tokens),
    (PoolBasis::Duration.name(), PoolBasis::Duration),
    (PoolBasis::Fixed.name(), PoolBasis::Fixed),
    (PoolBasis::Even.name(), PoolBasis::Even),
];
const METHODS: [(&str, PoolMethod); 3] = [
    (PoolMethod::Direct.name(), PoolMethod::Direct),
    (PoolMethod::StepDown.name(), PoolMethod::StepDown),
    (PoolMethod::Reciprocal.name(), PoolMethod::Reciprocal),
];
const ROLES: [(&str, &str); 4] = [("viewer", "viewer"), ("lead", "lead"), ("finance", "finance"), ("admin", "admin")];

/// The ids that a section declares.
pub(super) struct Known<'a> {
    noun: &'static str,
    section: &'static str,
    ids: BTreeSet<&'a str>,
}

impl<'a> Known<'a> {
    /// The ids of a section's entries, even of entries that are faulty otherwise.
    pub(super) fn of(noun: &'static str, section: &'static str, entries: &[Table<'a>]) -> Self {
        Self { noun, section, ids: entries.iter().filter_map(|entry| entry.peek("id")).collect() }
    }

    /// The id that a value refers to; it has to be declared.
    pub(super) fn reference(&self, value: &Value<'_>) -> Option<Id> {
        let id = value.name()?;
        self.holds(id, value).then(|| Id::from(id))
    }

    /// Whether an id is declared; reports where not.
    pub(super) fn holds(&self, id: &str, value: &Value<'_>) -> bool {
        if self.ids.contains(id) {
            return true;
        }
        let remedy = value.did_you_mean(id, self.ids.iter().copied(), format!("declare it in [[{}]]", self.section));
        value.refuse::<()>(format!("no {} {}", self.noun, quoted(id)), remedy);
        false
    }

    /// Notes an id that is not declared.
    fn note(&self, id: &str, value: &Value<'_>) {
        if !self.ids.contains(id) {
            let otherwise = format!("declare it in [[{}]], or it has no effect", self.section);
            let remedy = value.did_you_mean(id, self.ids.iter().copied(), otherwise);
            value.note(format!("no {} {}", self.noun, quoted(id)), remedy);
        }
    }
}

/// What the rest of the file refers to.
pub(super) struct Declared<'a> {
    pub(super) currency: Currency,
    pub(super) teams: Known<'a>,
    pub(super) agents: Known<'a>,
    pub(super) pools: Known<'a>,
}

/// Keys that may stand once.
#[derive(Debug)]
pub(super) struct Unique<K>(BTreeMap<K, usize>);

impl<K> Default for Unique<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord> Unique<K> {
    /// Whether the key is new; reports where it stands already.
    pub(super) fn claim(&mut self, key: K, value: &Value<'_>, shown: &str) -> bool {
        if let Some(line) = self.0.get(&key) {
            value.refuse::<()>(
                format!("{shown} is declared twice"),
                format!("change or remove one; the first stands on line {line}"),
            );
            return false;
        }
        self.0.insert(key, value.line());
        true
    }
}

/// Reads entries by their id.
fn keyed<'a, T>(
    entries: Vec<Table<'a>>,
    example: &str,
    mut read: impl FnMut(&mut Table<'a>, &Id) -> T,
) -> BTreeMap<Id, T> {
    let mut unique = Unique::default();
    let mut values = BTreeMap::new();
    for mut entry in entries {
        let id = entry.required("id", example);
        let id = id.and_then(|value| value.id().filter(|id| unique.claim(id.clone(), &value, &quoted(id))));
        // A faulty id is reported; the rest of the entry is checked all the same.
        let value = read(&mut entry, &id.clone().unwrap_or_default());
        entry.finish();
        if let Some(id) = id {
            values.insert(id, value);
        }
    }
    values
}

/// `[[teams]]`.
pub(super) fn read_teams(entries: Vec<Table<'_>>) -> BTreeMap<Id, Team> {
    keyed(entries, "\"support\"", |table, id| {
        if RESERVED_TEAMS.contains(&&**id) {
            table.refuse("id", &format!("{} is an account of the ledger", quoted(id)), "choose another id");
        }
        Team {
            cost_centre: table.get("cost_centre").and_then(|value| value.text()),
            lead: table.get("lead").and_then(|value| value.text()),
            slack_channel: table.get("slack_channel").and_then(|value| value.text()),
            email: table.get("email").and_then(|value| value.text()),
            mode: table.or("mode", Mode::Showback, |value| value.choice(&MODES)),
        }
    })
}

/// `[[agents]]`.
pub(super) fn read_agents(entries: Vec<Table<'_>>, declared: &Declared<'_>) -> BTreeMap<Id, Agent> {
    keyed(entries, "\"triage\"", |table, _| {
        let owner = table.get("owner").and_then(|value| {
            let owner = value.shared()?;
            declared.teams.note(&owner, &value);
            Some(owner)
        });
        let agent = Agent {
            owner,
            billing: table.or("billing", Billing::Token, |value| value.choice(&BILLINGS)),
            billing_by_team: read_by_team(table, "billing_by_team", declared, |value| value.choice(&BILLINGS)),
            markup: table.get("markup").and_then(|value| markups::read(&value)),
            markup_by_team: read_by_team(table, "markup_by_team", declared, markups::read),
            idle_rate: table.get("idle_rate").and_then(|value| value.not_negative()),
            critical: table.or("critical", false, |value| value.boolean()),
            shared_pool: table.get("shared_pool").and_then(|value| declared.pools.reference(&value)),
        };
        markups::check(table, &agent);
        agent
    })
}

/// Exceptions by team.
fn read_by_team<'a, T>(
    table: &mut Table<'a>,
    key: &'static str,
    declared: &Declared<'_>,
    read: impl Fn(&Value<'a>) -> Option<T>,
) -> BTreeMap<Id, T> {
    let exceptions = table.get(key).and_then(|value| value.table());
    let exception = |(team, value): (&str, Value<'a>)| {
        declared.teams.note(team, &value);
        Some((Id::from(team), read(&value)?))
    };
    exceptions.into_iter().flat_map(|table| table.pairs()).filter_map(exception).collect()
}

/// `[[task_types]]`.
pub(super) fn read_task_types(entries: Vec<Table<'_>>) -> BTreeMap<Id, TaskType> {
    keyed(entries, "\"resolve_ticket\"", |table, _| TaskType {
        cap: table.get("cap").and_then(|value| value.positive()),
        seed_price: table.get("seed_price").and_then(|value| value.not_negative()),
        critical: table.or("critical", false, |value| value.boolean()),
    })
}

/// `[[people]]`.
pub(super) fn read_people(entries: Vec<Table<'_>>, declared: &Declared<'_>) -> BTreeMap<Id, Person> {
    keyed(entries, "\"u17\"", |table, _| Person {
        team: table.get("team").and_then(|value| declared.teams.reference(&value)),
        role: table.get("role").and_then(|value| value.choice(&ROLES)).map(str::to_owned),
        slack: table.get("slack").and_then(|value| value.text()),
    })
}

/// A pool among those of its group.
struct Member {
    place: Place,
    method: PoolMethod,
    step: Option<u32>,
    /// Whether the file states a step, be it a faulty one.
    states_step: bool,
}

/// `[[pools]]`.
pub(super) fn read_pools(entries: Vec<Table<'_>>, declared: &Declared<'_>) -> BTreeMap<Id, Pool> {
    let Some(report) = entries.first().map(Table::report) else { return BTreeMap::new() };
    let mut groups: BTreeMap<Id, Vec<Member>> = BTreeMap::new();
    let mut pools = keyed(entries, "\"safety\"", |table, id| {
        let group = table.get("group").map_or_else(|| Some(id.clone()), |value| value.id()).unwrap_or_default();
        let (basis, percent) = read_basis(table, declared);
        let method = table.get("method").map_or(Some(PoolMethod::Direct), |value| value.choice(&METHODS));
        let step = read_step(table, method);
        if let Some(method) = method.filter(|_| !group.is_empty()) {
            let member = Member { place: table.place().clone(), method, step, states_step: table.has("step") };
            groups.entry(group.clone()).or_default().push(member);
        }
        Pool { basis, group, method: method.unwrap_or(PoolMethod::Direct), step, percent }
    });
    for (group, members) in &groups {
        check_group(report, group, members);
    }
    for pool in pools.values_mut() {
        // The only pool of a step-down has no order to state.
        if pool.method == PoolMethod::StepDown {
            pool.step = pool.step.or(Some(1));
        }
    }
    pools
}

fn read_step(table: &mut Table<'_>, method: Option<PoolMethod>) -> Option<u32> {
    if matches!(method, Some(PoolMethod::Direct | PoolMethod::Reciprocal)) {
        table.refuse("step", "needs the method step_down", "remove it, or set `method = \"step_down\"`");
        return None;
    }
    table.get("step").and_then(|value| value.small(1..=STEPS_MAX))
}

fn check_group(report: &Report, group: &Id, members: &[Member]) {
    let Some(first) = members.first() else { return };
    let mut steps: BTreeMap<u32, usize> = BTreeMap::new();
    for member in members {
        if member.method != first.method {
            let others = format!("the pool on line {} is `{}`", report.line(first.place.offset), first.method.name());
            report.problem(
                &member.place.key("method", member.place.offset),
                format!("group {} mixes methods: {others}", quoted(group)),
                "give all pools of a group one method",
            );
        }
        if member.method != PoolMethod::StepDown {
            continue;
        }
        let place = member.place.key("step", member.place.offset);
        match member.step {
            None if members.len() > 1 && !member.states_step => {
                report.problem(&place, "missing", "add `step = 1` for the first, 2 for the next")
            }
            None => {}
            Some(step) => {
                if let Some(line) = steps.insert(step, report.line(member.place.offset)) {
                    let problem = format!("the pool on line {line} of group {} is step {step} too", quoted(group));
                    report.problem(&place, problem, "give each pool of the group its own step");
                }
            }
        }
    }
}

fn read_basis(table: &mut Table<'_>, declared: &Declared<'_>) -> (PoolBasis, BTreeMap<Id, Amount>) {
    let basis = table.get("basis").map_or(Some(PoolBasis::DirectCost), |value| value.choice(&BASES));
    let percent = match basis {
        Some(PoolBasis::Fixed) => table.required("percent", "{ support = \"60\", sales = \"40\" }"),
        Some(_) => {
            table.refuse("percent", "needs the basis fixed", "remove it, or set `basis = \"fixed\"`");
            None
        }
        None => table.get("percent"),
    };
    (
        basis.unwrap_or(PoolBasis::DirectCost),
        percent.and_then(|value| read_percent(&value, declared)).unwrap_or_default(),
    )
}

fn read_percent(value: &Value<'_>, declared: &Declared<'_>) -> Option<BTreeMap<Id, Amount>> {
    let part = |(team, value): (&str, Value<'_>)| {
        let known = declared.teams.holds(team, &value);
        let percent = value.not_negative()?;
        known.then(|| (Id::from(team), percent))
    };
    let pairs = value.table()?.pairs();
    let count = pairs.len();
    let percent: BTreeMap<Id, Amount> = pairs.into_iter().filter_map(part).collect();
    if percent.len() < count {
        return None;
    }
    match Amount::checked_sum(percent.values().copied()) {
        Some(ONE_HUNDRED) => Some(percent),
        Some(sum) => value.refuse(format!("the percentages sum to {sum}"), "make them sum to exactly 100"),
        None => value.refuse("the percentages sum to more than can be counted", "make them sum to exactly 100"),
    }
}
