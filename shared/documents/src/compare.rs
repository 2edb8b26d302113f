//! Which line of a statement differs from what the log gives.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::statement::{Statement, StatementLine};

/// One difference between a statement and its recomputation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The line, from 1, as stated (else as recomputed); `None`: the head or the total.
    pub line: Option<usize>,
    /// Which field; `line` where the whole line is missing on one side.
    pub field: String,
    /// As stated.
    pub stated: Option<Value>,
    /// As recomputed.
    pub recomputed: Option<Value>,
}

/// Every difference, the head first. Lines are matched by their dimensions, so one missing line is one difference.
#[must_use]
pub fn compare(stated: &Statement, recomputed: &Statement) -> Vec<Difference> {
    let mut differences = Vec::new();
    fields(None, &head(stated), &head(recomputed), &mut differences);
    let mut theirs: BTreeMap<String, Vec<(usize, &StatementLine)>> = BTreeMap::new();
    for (at, line) in recomputed.lines.iter().enumerate() {
        theirs.entry(name(line)).or_default().push((at, line));
    }
    for (at, line) in stated.lines.iter().enumerate() {
        let number = Some(at.saturating_add(1));
        match theirs.get_mut(&name(line)).filter(|same| !same.is_empty()).map(|same| same.remove(0)) {
            Some((_, other)) => fields(number, &value(line), &value(other), &mut differences),
            None => differences.push(whole(number, Some(value(line)), None)),
        }
    }
    for (at, line) in theirs.into_values().flatten() {
        differences.push(whole(Some(at.saturating_add(1)), None, Some(value(line))));
    }
    differences
}

fn whole(line: Option<usize>, stated: Option<Value>, recomputed: Option<Value>) -> Difference {
    Difference { line, field: "line".to_owned(), stated, recomputed }
}

/// What a line is matched by: its dimensions, as JSON.
fn name(line: &StatementLine) -> String {
    serde_json::to_string(&line.line.key).unwrap_or_default()
}

fn value(line: &StatementLine) -> Value {
    serde_json::to_value(line).unwrap_or_default()
}

fn head(statement: &Statement) -> Value {
    let mut head = serde_json::to_value(statement).unwrap_or_default();
    if let Some(fields) = head.as_object_mut() {
        fields.remove("lines");
    }
    head
}

fn fields(line: Option<usize>, stated: &Value, recomputed: &Value, differences: &mut Vec<Difference>) {
    let (Some(ours), Some(theirs)) = (stated.as_object(), recomputed.as_object()) else { return };
    let missing = theirs.keys().filter(|name| !ours.contains_key(*name));
    for name in ours.keys().chain(missing) {
        if ours.get(name) != theirs.get(name) {
            differences.push(Difference {
                line,
                field: name.clone(),
                stated: ours.get(name).cloned(),
                recomputed: theirs.get(name).cloned(),
            });
        }
    }
}
