//! What a key of one team may try. It sees what its own team would pay, so that a change that moved costs of others onto that
//! team, or told what the file says of others, would tell it what it may not read.

use std::collections::BTreeSet;

use toml::{Table, Value};

use super::overlay::Setting;
use crate::error::Refusal;

/// Policies that say how prices are made of costs, and not who bears whose.
const POLICIES: [&str; 10] = [
    "price_grid",
    "half_life_days",
    "min_tasks",
    "min_days",
    "price_lock",
    "price_band_percent",
    "price_approval",
    "markup",
    "variance",
    "pool_recovery",
];
/// Sections whose entries may be changed as a whole: what providers ask for.
const WHOLE: [&str; 2] = ["prices", "rates"];
/// Sections of entries that may be changed by these keys, and not added to.
const KEYS: [(&str, &[&str]); 2] = [("agents", &["billing", BY_TEAM]), ("pools", &["basis", "method"])];
/// Of an agent: how each team is billed.
const BY_TEAM: &str = "billing_by_team";
const ALLOWED: &str = "a key of one team may change policies of prices (half_life_days, price_lock, markup, variance, ...), \
                       agents.ID.billing, agents.ID.billing_by_team.OWN-TEAM, pools.ID.basis, pools.ID.method, [[prices]] \
                       and [[rates]]; ask someone in finance to simulate more";

/// Refuses sections that such a key may not change, before anything is looked up: an answer must not tell which ids there are.
pub(super) fn check_sections(card: &Table, settings: &[(String, String)]) -> Result<(), Refusal> {
    let may = |section: &str| {
        section == "policy" || WHOLE.contains(&section) || KEYS.iter().any(|(name, _)| *name == section)
    };
    if let Some(section) = card.keys().find(|section| !may(section)) {
        return Err(refused(section));
    }
    let sections = settings.iter().filter_map(|(key, _)| key.split_once('.')).map(|(section, _)| section);
    sections.into_iter().find(|section| !may(section)).map_or(Ok(()), |section| Err(refused(section)))
}

/// Refuses what a key of `team` may not change. `declared` tells the ids of a section.
pub(super) fn check(
    team: &str,
    (card, settings): (&Table, &[Setting]),
    declared: impl Fn(&str) -> BTreeSet<String>,
) -> Result<(), Refusal> {
    for (section, entries) in card {
        match entries {
            Value::Table(policy) => policy.keys().try_for_each(|key| check_policy(key))?,
            _ if WHOLE.contains(&section.as_str()) => {}
            _ => {
                let known = declared(section);
                for entry in entries.as_array().into_iter().flatten().filter_map(Value::as_table) {
                    check_entry(team, (section, entry), &known)?;
                }
            }
        }
    }
    settings.iter().try_for_each(|setting| match (&setting.id, setting.path.as_slice()) {
        (None, [key, ..]) => check_policy(key),
        (Some(_), [key, below @ ..]) => check_key(team, setting.section, (key, below.first().map(String::as_str))),
        (_, []) => Ok(()),
    })
}

fn check_policy(key: &str) -> Result<(), Refusal> {
    if POLICIES.contains(&key) { Ok(()) } else { Err(refused(&format!("policy.{key}"))) }
}

fn check_entry(team: &str, (section, entry): (&str, &Table), known: &BTreeSet<String>) -> Result<(), Refusal> {
    let id = entry.get("id").and_then(Value::as_str).unwrap_or_default();
    for (key, value) in entry.iter().filter(|(key, _)| *key != "id") {
        match value.as_table() {
            Some(below) if key == BY_TEAM => {
                below.keys().try_for_each(|other| check_key(team, section, (key, Some(other))))?;
            }
            _ => check_key(team, section, (key, None))?,
        }
    }
    if known.contains(id) { Ok(()) } else { Err(refused(&format!("{section}.{id}"))) }
}

/// `below`: the key below the key.
fn check_key(team: &str, section: &str, (key, below): (&str, Option<&str>)) -> Result<(), Refusal> {
    let may = KEYS.iter().any(|(name, keys)| *name == section && keys.contains(&key));
    if may && (key == BY_TEAM) == below.is_some() && below.is_none_or(|other| other == team) {
        return Ok(());
    }
    Err(refused(&format!("{section}.ID.{key}")))
}

fn refused(what: &str) -> Refusal {
    Refusal::Forbidden(format!("`{what}` decides on more than one team; {ALLOWED}"))
}
