//! Markups (PRC-5) and the rate of idle minutes (PRC-4): what a price model adds to its charges.

use crate::event::Id;
use crate::organisation::parse::problem::quoted;
use crate::organisation::parse::reader::{Table, Value};
use crate::organisation::{Agent, Billing, Markup};

/// Finest step of a percentage: 10 fraction digits.
const PERCENT_STEP_PICO: i128 = 100;

/// `{ percent = ".." }` or `{ fixed = ".." }`.
pub(super) fn read(value: &Value<'_>) -> Option<Markup> {
    let mut table = value.table()?;
    match (table.has("percent"), table.has("fixed")) {
        (false, false) if table.pairs().is_empty() => {
            table.problem("neither `percent` nor `fixed`", "write { percent = \"5\" } or { fixed = \"0.02\" }")
        }
        (true, true) => table.problem("both `percent` and `fixed`", "keep the one that is added to a charge"),
        _ => {}
    }
    let percent = table.get("percent").and_then(|value| {
        let percent = value.not_negative()?;
        if percent.pico().checked_rem(PERCENT_STEP_PICO) != Some(0) {
            // A hundredth of it is the price that a statement shows, with 12 fraction digits.
            return value
                .refuse(format!("`{percent}` has more than 10 fraction digits"), "round it to 10 fraction digits");
        }
        Some(percent)
    });
    let fixed = table.get("fixed").and_then(|value| value.not_negative());
    table.finish();
    percent.map(Markup::Percent).or(fixed.map(Markup::Fixed))
}

/// `{ percent = ".." }`: the markup of the whole organisation, of agents billed by token too.
pub(super) fn read_percent(value: &Value<'_>) -> Option<Markup> {
    match read(value)? {
        Markup::Fixed(_) => {
            let problem =
                "a fixed markup is one per task or minute, and agents without a declaration are billed by token";
            value.refuse(problem, "write { percent = \"5\" } here, and a fixed one at the agents that it is for")
        }
        percent @ Markup::Percent(_) => Some(percent),
    }
}

/// Refuses a fixed markup where tokens are billed, and an idle rate where nobody is billed by time.
pub(super) fn check(table: &mut Table<'_>, agent: &Agent) {
    let billing = |team: &Id| agent.billing_by_team.get(team).copied().unwrap_or(agent.billing);
    if is_fixed(agent.markup.as_ref()) {
        if agent.billing == Billing::Token {
            refuse_fixed(table, "markup", "the agent is");
        } else {
            let by_token = |team: &&Id| billing(team) == Billing::Token && !agent.markup_by_team.contains_key(*team);
            for team in agent.billing_by_team.keys().filter(by_token) {
                refuse_fixed(table, "markup", &format!("team {} is", quoted(team)));
            }
        }
    }
    for (team, _) in agent.markup_by_team.iter().filter(|(_, markup)| is_fixed(Some(markup))) {
        if billing(team) == Billing::Token {
            refuse_fixed(table, "markup_by_team", &format!("team {} is", quoted(team)));
        }
    }
    let by_time = agent.billing == Billing::Time || agent.billing_by_team.values().any(|model| *model == Billing::Time);
    if !by_time {
        table.refuse("idle_rate", "nobody is billed by time for this agent", "remove it, or set `billing = \"time\"`");
    }
}

fn is_fixed(markup: Option<&Markup>) -> bool {
    matches!(markup, Some(Markup::Fixed(rate)) if !rate.is_zero())
}

fn refuse_fixed(table: &mut Table<'_>, key: &'static str, who: &str) {
    let problem = format!("a fixed markup is one per task or minute, and {who} billed by token");
    table.refuse(key, &problem, "write { percent = \"5\" }, or bill by task or time");
}
