//! `recoup trace`: one trace as a tree.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use serde_json::Value;

use super::Desk;
use crate::api::Ask;
use crate::failure::{Failure, Verdict};
use crate::table::{Column, Grid, field, moment, money_field, plain};

/// Levels that are indented; deeper spans stand below each other.
const LEVELS_MAX: usize = 16;

/// Shows one trace as a tree. Exclusive cost is what a span itself cost and is billed once; inclusive is the cost of the
/// span and everything below it.
#[derive(Debug, Args)]
#[command(after_help = "\
Exclusive cost is what a span itself cost and is billed once; inclusive is that
of the span and everything below it. An event without a trace is found by its
own id.

Examples:
  recoup trace 4bf92f3577b34da6a3ce929d0e0e4736
  recoup trace 4bf92f3577b34da6a3ce929d0e0e4736 --why     what gave each tag
  recoup trace 4bf92f3577b34da6a3ce929d0e0e4736 --json    with every part")]
pub(crate) struct Trace {
    /// The trace's id
    id: String,
    /// Also show where each span has each of its tags from
    #[arg(long)]
    why: bool,
}

impl Trace {
    /// Runs the verb.
    pub(crate) async fn run(&self, desk: &Desk) -> Result<Verdict, Failure> {
        let answer = desk.api.ask(Ask::get(&["v1", "traces", &self.id])).await?;
        if desk.screen.json() {
            desk.screen.document(&answer.bytes)?;
        } else {
            desk.screen.line(render(&answer.json()?, self.why, desk.screen.width()))?;
        }
        Ok(Verdict::Yes)
    }
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A trace as text.
fn render(trace: &Value, why: bool, width: Option<u16>) -> String {
    let spans = list(trace, "spans");
    let mut parts = vec![heading(trace), String::new(), tree(spans).render(width)];
    let shown = u64::try_from(spans.len()).unwrap_or(u64::MAX);
    if trace.get("spans_in_all").and_then(Value::as_u64).is_some_and(|all| all > shown) {
        parts.push(format!("only {shown} of {} spans are shown", field(trace, "spans_in_all")));
    }
    if why {
        parts.extend([String::new(), sources(spans).render(width)]);
    }
    let agents = agents(trace.get("agents").unwrap_or(&Value::Null));
    if !agents.is_empty() {
        parts.extend([String::new(), agents.render(width)]);
    }
    let findings = list(trace, "findings");
    if !findings.is_empty() {
        let mut grid = super::close::findings_grid();
        findings.iter().for_each(|finding| super::close::add_finding(&mut grid, finding));
        parts.extend([String::new(), grid.render(width)]);
    }
    parts.join("\n")
}

fn heading(trace: &Value) -> String {
    let payer = trace.get("payer").unwrap_or(&Value::Null);
    let of = |name| field(payer, name);
    let team = match of("team") {
        team if team.is_empty() => "nobody".to_owned(),
        team => team,
    };
    let also = ["user", "project"].map(|name| (name, of(name))).into_iter().filter(|(_, value)| !value.is_empty());
    let also: String = also.map(|(name, value)| format!(", {name} {value}")).collect();
    let mut lines = vec![
        format!(
            "trace {}  {} {}{}",
            field(trace, "trace_id"),
            field(trace, "cost"),
            field(trace, "currency"),
            unpriced(trace)
        ),
        format!("paid by {team}{also}: {}", because(&of("source"))),
    ];
    if trace.get("root_arrived").and_then(Value::as_bool) == Some(false) {
        lines.push("its root has not arrived: its cost passes through".to_owned());
    }
    if let Some(late) = trace.get("late_root").filter(|late| !late.is_null()) {
        let (first, root) = (field(late, "first_recorded_at"), field(late, "recorded_at"));
        lines.push(format!("its root came late: first event {}, root {}", moment(&first), moment(&root)));
    }
    if let Some(task) = trace.get("task").filter(|task| !task.is_null()) {
        let of = |name| field(task, name);
        let status = of("status");
        lines.push(format!(
            "task {} of {}: {}, ended on {}, {} s active, {} s idle",
            of("task_type"),
            of("agent"),
            if status.is_empty() { "no status" } else { &status },
            of("ended_on"),
            seconds(&of("active_ns")),
            seconds(&of("idle_ns"))
        ));
    }
    lines.join("\n")
}

/// What its cost lacks.
fn unpriced(trace: &Value) -> String {
    match trace.get("unpriced").and_then(Value::as_u64).unwrap_or(0) {
        0 => String::new(),
        1 => ", and one event without a price, whose cost is not known".to_owned(),
        events => format!(", and {events} events without a price, whose cost is not known"),
    }
}

/// Nanoseconds as seconds, to the millisecond.
fn seconds(ns: &str) -> String {
    let ms = ns.parse::<u64>().unwrap_or_default().checked_div(1_000_000).unwrap_or_default();
    let (whole, rest) = (ms.checked_div(1_000), ms.checked_rem(1_000));
    format!("{}.{:03}", whole.unwrap_or_default(), rest.unwrap_or_default())
}

/// Why this payer (ATR-1), in words. A source that this release does not know is shown as it came.
fn because(source: &str) -> &str {
    match source {
        "root" => "its root names the team",
        "resource" => "the resource attributes of its root name the team",
        "person" => "its user's entry in [[people]] names the team",
        "key" => "its API key names the team",
        "nobody" => "nothing names a team",
        span if span.starts_with("span:") => "its first span that names a team",
        other => other,
    }
}

fn tree(spans: &[Value]) -> Grid {
    let mut grid = Grid::new([
        Column::Name("span"),
        Column::Name("kind"),
        Column::Name("model"),
        Column::Figure("exclusive"),
        Column::Figure("inclusive"),
        Column::Name("pool"),
        Column::Prose("notes"),
    ]);
    for (depth, span) in in_order(spans) {
        grid.row([
            named(depth, span),
            field(span, "kind"),
            field(span, "model"),
            money_field(span, "exclusive", 6),
            money_field(span, "inclusive", 6),
            field(span, "pool"),
            notes(span),
        ]);
    }
    grid
}

/// Where each span has its tags from: the tag, and below what gave it.
fn sources(spans: &[Value]) -> Grid {
    let tags = ["agent", "task_type", "team", "user", "project"];
    let titles = ["agent from", "task type from", "team from", "user from", "project from"];
    let columns = [Column::Name("span"), Column::Name("event")].into_iter().chain(titles.map(Column::Name));
    let mut grid = Grid::new(columns.collect::<Vec<_>>());
    for (depth, span) in in_order(spans) {
        let why = span.get("why").unwrap_or(&Value::Null);
        let event = field(span, "event_id");
        let cells = tags.map(|tag| source(why.get(tag).unwrap_or(&Value::Null), &event));
        grid.row([named(depth, span), event].into_iter().chain(cells));
    }
    grid
}

/// What gave a tag, in words.
fn source(why: &Value, event: &str) -> String {
    let name = field(why, "name");
    match field(why, "from").as_str() {
        "own" => "itself".to_owned(),
        "root" if name == event => "itself, the root".to_owned(),
        "root" => format!("root {name}"),
        "resource" => format!("resource of {name}"),
        "key" => format!("API key {name}").trim_end().to_owned(),
        other => format!("{other} {name}").trim_end().to_owned(),
    }
}

fn named(depth: usize, span: &Value) -> String {
    let agent = match field(span, "agent") {
        agent if agent.is_empty() => "-".to_owned(),
        agent => agent,
    };
    format!("{}{agent}", "  ".repeat(depth.min(LEVELS_MAX)))
}

/// Spans with their depth, parents first, siblings in the order of the answer. Each span comes exactly once.
fn in_order(spans: &[Value]) -> Vec<(usize, &Value)> {
    let id = |span: &Value| field(span, "event_id");
    let ids: BTreeSet<String> = spans.iter().map(id).collect();
    let mut below: BTreeMap<Option<String>, Vec<&Value>> = BTreeMap::new();
    for span in spans {
        let parent = field(span, "hangs_on");
        below.entry(ids.contains(&parent).then_some(parent)).or_default().push(span);
    }
    let mut ordered = Vec::with_capacity(spans.len());
    let mut stack: Vec<(usize, &Value)> = Vec::new();
    let roots = below.remove(&None).unwrap_or_default();
    stack.extend(roots.into_iter().rev().map(|span| (0, span)));
    while let Some((depth, span)) = stack.pop() {
        ordered.push((depth, span));
        let children = below.remove(&Some(id(span))).unwrap_or_default();
        stack.extend(children.into_iter().rev().map(|child| (depth.saturating_add(1), child)));
    }
    ordered.extend(below.into_values().flatten().map(|span| (0, span)));
    ordered
}

fn notes(span: &Value) -> String {
    let is_set = |name: &str| span.get(name).is_some_and(|value| !matches!(value, Value::Null | Value::Bool(false)));
    let mut notes = Vec::new();
    if let Some(frame) = span.get("frame").and_then(Value::as_u64).filter(|frame| *frame > 1) {
        notes.push(format!("frame {frame} of {}: re-entrant", field(span, "agent")));
    }
    for (name, words) in [("invocation", "one invocation"), ("reported_twice", "reported twice, not billed")] {
        if is_set(name) {
            notes.push(words.to_owned());
        }
    }
    for (name, words) in [("unpriced", "no price"), ("superseded_by", "corrected by"), ("retry_of", "retry of")] {
        if is_set(name) {
            notes.push(format!("{words}: {}", span.get(name).map(plain).unwrap_or_default()));
        }
    }
    if is_set("unobserved") {
        notes.push("counts more than was observed below it".to_owned());
    }
    match field(span, "status").as_str() {
        "" | "ok" => {}
        status => notes.push(status.to_owned()),
    }
    match field(span, "place").as_str() {
        "extra_root" => notes.push("one of several roots".to_owned()),
        "orphan" => notes.push("its parent never came".to_owned()),
        "loop_cut" => notes.push("a loop of parents was cut here".to_owned()),
        _ => {}
    }
    notes.join("; ")
}

fn agents(agents: &Value) -> Grid {
    let mut grid = Grid::new([
        Column::Name("agent"),
        Column::Name("run by"),
        Column::Name("shared in"),
        Column::Figure("frames"),
        Column::Figure("exclusive"),
        Column::Figure("inclusive"),
        Column::Figure("re-entrant"),
    ]);
    for (agent, cost) in agents.as_object().into_iter().flatten() {
        grid.row([
            agent.clone(),
            field(cost, "owner"),
            field(cost, "pool"),
            field(cost, "frames"),
            money_field(cost, "exclusive", 6),
            money_field(cost, "inclusive", 6),
            money_field(cost, "reentrant", 6),
        ]);
    }
    grid
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::render;

    #[test]
    fn atr_2_a_trace_is_shown_as_a_tree_with_each_span_once() {
        let span = |id: &str, on: &str, agent: &str| json!({ "event_id": id, "hangs_on": on, "agent": agent, "kind": "llm", "exclusive": "0.5", "inclusive": "1" });
        let spans = [
            span("c", "b", "inner"),
            span("a", "", "outer"),
            span("b", "a", "middle"),
            span("x", "y", "cut"),
            span("y", "x", "cut"),
        ];
        let trace = json!({ "trace_id": "t", "cost": "2.5", "currency": "USD", "spans": spans,
            "payer": { "team": "support", "user": "u1", "source": "person" } });
        let text = render(&trace, false, None);
        assert!(
            text.starts_with(
                "trace t  2.5 USD\npaid by support, user u1: its user's entry in [[people]] names the team\n"
            ),
            "{text}"
        );
        let names: Vec<&str> =
            text.lines().skip(5).filter_map(|line| line.split("  llm").next()).map(str::trim_end).collect();
        assert_eq!(names, ["outer", "  middle", "    inner", "cut", "cut"], "{text}");
    }

    #[test]
    fn atr_1_what_gave_each_tag_is_told_and_the_owner_stands_apart_from_the_payer() {
        let why = |from: &str, name: &str| json!({ "from": from, "name": name });
        let inherited = json!({ "agent": why("ancestor", "a"), "team": why("root", "a"), "user": why("key", "k1") });
        let trace = json!({
            "trace_id": "t", "cost": "1", "currency": "USD", "payer": { "team": "support", "source": "root" },
            "late_root": { "first_recorded_at": "2026-10-01T10:00:00Z", "recorded_at": "2026-10-02T10:00:00Z" },
            "agents": { "guardrail": { "owner": "platform", "pool": "safety", "frames": 2, "exclusive": "1" } },
            "spans": [{ "event_id": "b", "agent": "guardrail", "kind": "llm", "frame": 2, "why": inherited }],
        });
        let text = render(&trace, true, None);
        for expected in [
            "paid by support: its root names the team",
            "its root came late: first event 2026-10-01 10:00:00Z, root 2026-10-02 10:00:00Z",
            "frame 2 of guardrail: re-entrant",
            "guardrail  b      ancestor a",
            "root a     API key k1",
            "guardrail  platform  safety",
        ] {
            assert!(text.contains(expected), "{expected} is not in\n{text}");
        }
        assert!(!render(&trace, false, None).contains("ancestor a"));
    }
}
