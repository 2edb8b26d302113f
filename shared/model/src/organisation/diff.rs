//! What changed between two versions of the organisation file, for a person to read.
//!
//! Both versions are laid out as entries of named fields, by way of their JSON form, so that no field can be forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;
use serde_json::Value;

use crate::organisation::Organisation;
use crate::period::format_instant;

/// What happened to something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It has another value.
    Changed,
}

/// One change. An entry that is new or gone is one change; of an entry that stays each field is one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What happened.
    pub kind: ChangeKind,
    /// To what: `policy.half_life_days`, `agents[triage]`, `agents[triage].billing`.
    pub path: String,
    /// What it was.
    pub before: Option<String>,
    /// What it is.
    pub after: Option<String>,
}

impl fmt::Display for Change {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let before = self.before.as_deref().unwrap_or_default();
        let after = self.after.as_deref().unwrap_or_default();
        match self.kind {
            ChangeKind::Added => write!(out, "+ {}: {after}", self.path),
            ChangeKind::Removed => write!(out, "- {}: {before}", self.path),
            ChangeKind::Changed => write!(out, "~ {}: {before} -> {after}", self.path),
        }
    }
}

type Fields = BTreeMap<String, String>;
/// Entries by (section in the order of the file, key).
type Entries = BTreeMap<(usize, String), Fields>;

/// Sections that have no entries but fields of their own.
const PLAIN_SECTIONS: [&str; 2] = ["policy", "alerts"];
/// The sections in the order of the file.
const SECTIONS: [&str; 12] = [
    "organisation",
    "policy",
    "teams",
    "agents",
    "pools",
    "task_types",
    "people",
    "recurring",
    "rates",
    "budgets",
    "prices",
    "alerts",
];

/// What `new` changes, in the order of the file's sections, inside a section by key. Without an old version everything
/// is added.
#[must_use]
pub fn diff(old: Option<&Organisation>, new: &Organisation) -> Vec<Change> {
    let old = old.map(entries).unwrap_or_default();
    let new = entries(new);
    let none = Fields::new();
    let keys: BTreeSet<&(usize, String)> = old.keys().chain(new.keys()).collect();
    let mut changes = Vec::new();
    for key in keys {
        let path = path(key);
        let (before, after) = (old.get(key), new.get(key));
        // A section without entries is told field by field, even where it is new as a whole.
        match (before, after) {
            (None, Some(fields)) if !key.1.is_empty() => changes.extend(change(path, None, Some(summary(fields)))),
            (Some(fields), None) if !key.1.is_empty() => changes.extend(change(path, Some(summary(fields)), None)),
            _ => changes.extend(field_changes(&path, before.unwrap_or(&none), after.unwrap_or(&none))),
        }
    }
    changes
}

fn path((section, key): &(usize, String)) -> String {
    let section = SECTIONS.get(*section).copied().unwrap_or_default();
    if key.is_empty() { section.to_owned() } else { format!("{section}[{key}]") }
}

fn field_changes(path: &str, before: &Fields, after: &Fields) -> Vec<Change> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let of = |name: &String| change(format!("{path}.{name}"), before.get(name).cloned(), after.get(name).cloned());
    names.into_iter().filter_map(of).collect()
}

/// The change from one value to another; none where they are the same.
fn change(path: String, before: Option<String>, after: Option<String>) -> Option<Change> {
    let kind = match (&before, &after) {
        (None, Some(_)) => ChangeKind::Added,
        (Some(_), None) => ChangeKind::Removed,
        (Some(old), Some(new)) if old != new => ChangeKind::Changed,
        _ => return None,
    };
    Some(Change { kind, path, before, after })
}

fn summary(fields: &Fields) -> String {
    let shown: Vec<String> = fields.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    if shown.is_empty() { "declared".to_owned() } else { shown.join(", ") }
}

fn entries(organisation: &Organisation) -> Entries {
    let mut entries = Entries::new();
    let Ok(Value::Object(sections)) = serde_json::to_value(organisation) else { return entries };
    for (name, section) in &sections {
        let at = SECTIONS.iter().position(|known| known == name);
        match (at, section) {
            (Some(at), Value::Object(named)) if !PLAIN_SECTIONS.contains(&name.as_str()) => {
                entries.extend(named.iter().map(|(id, fields)| ((at, id.clone()), fields_of(fields))));
            }
            (Some(at), Value::Array(list)) => {
                entries.extend(list.iter().map(|fields| ((at, list_key(name, fields)), fields_of(fields))));
            }
            (Some(at), policy) => {
                entries.insert((at, String::new()), fields_of(policy));
            }
            (None, field) => flatten(name, field, entries.entry((0, String::new())).or_default()),
        }
    }
    entries
}

/// What names an entry that has no id.
fn list_key(section: &str, fields: &Value) -> String {
    let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
    match section {
        "recurring" => text("id").to_owned(),
        "rates" => format!("{}/{} from {}", text("from_currency"), text("to_currency"), text("from")),
        "budgets" => format!("{} per {}", text("scope"), text("period")),
        _ => {
            let from = fields.get("from_ns").and_then(Value::as_i64).map(format_instant).unwrap_or_default();
            match fields.get("sku").and_then(Value::as_str) {
                Some(sku) => format!("{sku} from {from}"),
                None => format!("{}/{} from {from}", text("provider"), text("model")),
            }
        }
    }
}

fn fields_of(value: &Value) -> Fields {
    let mut fields = Fields::new();
    if let Value::Object(object) = value {
        for (name, value) in object {
            flatten(name, value, &mut fields);
        }
    }
    fields
}

/// Adds a field under its dotted name; absent and empty ones are left out.
fn flatten(name: &str, value: &Value, fields: &mut Fields) {
    let shown = match value {
        Value::Null => return,
        Value::Object(object) => {
            for (inner, value) in object {
                flatten(&format!("{name}.{inner}"), value, fields);
            }
            return;
        }
        Value::Array(list) if list.is_empty() => return,
        Value::Array(list) => list.iter().map(plain).collect::<Vec<_>>().join(", "),
        value => plain(value),
    };
    match (name.strip_suffix("_ns"), value.as_i64()) {
        (Some(name), Some(instant_ns)) => fields.insert(name.to_owned(), format_instant(instant_ns)),
        _ => fields.insert(name.to_owned(), shown),
    };
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::organisation::parse;

    const HEAD: &str = "[organisation]\nname = \"A\"\ncurrency = \"USD\"\ntime_zone = \"UTC\"\n";

    fn shown(old: &str, new: &str) -> Vec<String> {
        let old = parse(&format!("{HEAD}{old}")).unwrap();
        let new = parse(&format!("{HEAD}{new}")).unwrap();
        diff(Some(&old), &new).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_same_file_has_no_changes() {
        let text = "[[teams]]\nid = \"a\"\n[[budgets]]\nscope = \"team:a\"\nlimit = 5\n";
        assert!(shown(text, text).is_empty());
    }

    #[test]
    fn a_first_version_adds_everything_in_the_order_of_the_file() {
        let organisation = parse(&format!("{HEAD}[[teams]]\nid = \"a\"\n[[agents]]\nid = \"b\"\n")).unwrap();
        let changes = diff(None, &organisation);
        assert!(changes.iter().all(|change| change.kind == ChangeKind::Added && change.before.is_none()));
        let shown: Vec<String> = changes.iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "+ organisation.currency: USD",
                "+ organisation.name: A",
                "+ organisation.time_zone: UTC",
                "+ policy.half_life_days: 7",
                "+ policy.lanes: 1",
                "+ policy.min_days: 3",
                "+ policy.min_tasks: 30",
                "+ policy.pool_recovery: line",
                "+ policy.price_grid: 0.0001",
                "+ policy.price_lock: floating",
                "+ policy.soft_close_days: 3",
                "+ policy.variance: settle",
                "+ teams[a]: mode = showback",
                "+ agents[b]: billing = token, critical = false",
                "+ alerts.escalate_after_hours: 4",
            ]
        );
    }

    #[test]
    fn prc_7_a_changed_billing_model_is_told_by_agent_and_team() {
        let old = "[[agents]]\nid = \"t\"\nbilling = \"task\"\nbilling_by_team = { x = \"token\" }\n";
        let new = "[[agents]]\nid = \"t\"\nbilling = \"time\"\nbilling_by_team = { y = \"task\" }\n";
        assert_eq!(
            shown(old, new),
            [
                "~ agents[t].billing: task -> time",
                "- agents[t].billing_by_team.x: token",
                "+ agents[t].billing_by_team.y: task",
            ]
        );
    }

    #[test]
    fn entries_without_an_id_are_told_by_what_names_them() {
        let old = "[[rates]]\nfrom_currency = \"EUR\"\nto_currency = \"USD\"\nfrom = 2026-10-01\nrate = \"1.08\"\n\
                   [[budgets]]\nscope = \"organisation\"\nlimit = 5\n\
                   [[prices]]\nsku = \"s.x\"\nunit = \"call\"\nfrom = 2026-01-01\nprice = \"0.1\"\n";
        let new = "[[prices]]\nsku = \"s.x\"\nunit = \"call\"\nfrom = 2026-01-01\nto = 2026-02-01\nprice = \"0.2\"\n\
                   [[rates]]\nfrom_currency = \"EUR\"\nto_currency = \"USD\"\nfrom = 2026-11-01\nrate = \"1.09\"\n\
                   [[budgets]]\nscope = \"organisation\"\nlimit = 5\ntiers = [50, 100]\n";
        assert_eq!(
            shown(old, new),
            [
                "- rates[EUR/USD from 2026-10-01]: from = 2026-10-01, from_currency = EUR, rate = 1.08, to_currency = USD",
                "+ rates[EUR/USD from 2026-11-01]: from = 2026-11-01, from_currency = EUR, rate = 1.09, to_currency = USD",
                "~ budgets[organisation per month].tiers: 70, 90, 100 -> 50, 100",
                "~ prices[s.x from 2026-01-01T00:00:00Z].price: 0.1 -> 0.2",
                "+ prices[s.x from 2026-01-01T00:00:00Z].to: 2026-02-01T00:00:00Z",
            ]
        );
    }

    #[test]
    fn a_removed_team_is_one_change() {
        let old = "[[teams]]\nid = \"a\"\nlead = \"x@example.com\"\n";
        assert_eq!(shown(old, ""), ["- teams[a]: lead = x@example.com, mode = showback"]);
    }

    #[test]
    fn a_change_is_json_for_programs() {
        let change = change("policy.lanes".to_owned(), Some("1".to_owned()), Some("2".to_owned())).unwrap();
        assert_eq!(
            serde_json::to_string(&change).unwrap(),
            r#"{"kind":"changed","path":"policy.lanes","before":"1","after":"2"}"#
        );
    }
}
