//! Other rules: a rate card and single settings laid over every version of the organisation file.
//!
//! A rate card is TOML with the tables of an organisation file. Its entries are laid over those with the same id, key by key;
//! an empty text takes a key away. Prices are laid over those of the same model or SKU, rates over those of the same two
//! currencies, each as a whole.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use recoup_model::Digest;
use recoup_model::organisation::{FileProblem, History, Version, parse};
use toml::{Table, Value};

use super::{once, own};
use crate::error::Refusal;
use crate::organisation::under_pseudonyms;
use crate::people::Pseudonyms;

/// Settings of one simulation.
pub(crate) const SETTINGS_MAX: usize = 100;
/// Ids that a message lists.
const LISTED_MAX: usize = 20;

/// Agents, which a file need not list.
const AGENTS: &str = "agents";
/// Keys of an agent that name nothing else in the file.
const OF_AGENT: [&str; 4] = ["billing", "critical", "idle_rate", "markup"];
/// Sections whose entries have an id.
pub(super) const BY_ID: [&str; 6] = ["teams", AGENTS, "pools", "task_types", "people", "recurring"];
/// Sections whose entries are laid over as a whole, with what tells them apart.
const BY_SUBJECT: [(&str, &[&str]); 2] =
    [("prices", &["provider", "model", "sku", "unit"]), ("rates", &["from_currency", "to_currency"])];
/// Policies that past figures do not depend on, and why.
const WITHOUT_EFFECT: [(&str, &str); 3] = [
    ("lanes", "lanes are fixed when the event log is created"),
    ("extra_tags", "extra tags are decided when an event arrives"),
    ("soft_close_days", "it only says when a month may be closed"),
];
const SETTABLE: &str = "a key of [policy], or teams.ID.KEY, agents.ID.KEY, pools.ID.KEY, task_types.ID.KEY, \
                        people.ID.KEY, recurring.ID.KEY; for [[prices]] and [[rates]] use a rate card";

/// One setting: `agents.triage.billing` = `time`.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) section: &'static str,
    /// `None`: the section is a table, `policy`.
    pub(super) id: Option<String>,
    pub(super) path: Vec<String>,
    /// `None`: the key is taken away.
    value: Option<Value>,
}

/// What is laid over each version.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overlay {
    card: Table,
    settings: Vec<Setting>,
}

pub(super) fn invalid(field: impl Into<String>, detail: impl Into<String>) -> Refusal {
    Refusal::invalid("invalid-simulation", field, detail)
}

impl Overlay {
    /// Reads a rate card and settings, each `KEY` -> `VALUE`. `only`: the one team that the key may see; its changes are those
    /// of [`own`], and no message names what there is.
    pub(crate) fn read(
        card: Option<&str>,
        settings: &[(String, String)],
        (history, only): (&History, Option<&str>),
    ) -> Result<Self, Refusal> {
        if settings.len() > SETTINGS_MAX {
            return Err(Refusal::TooLarge(format!("a simulation takes at most {SETTINGS_MAX} settings")));
        }
        let card: Table = match card {
            None => Table::new(),
            Some(text) => toml::from_str(text)
                .map_err(|error| invalid("rate_card", format!("the rate card is no TOML: {}", one_line(&error))))?,
        };
        check_sections(&card)?;
        once::check_card(&card)?;
        if only.is_some() {
            own::check_sections(&card, settings)?;
        }
        let declared = Known::of(history, only.is_none())?;
        let known = declared.with(&card);
        let settings: Vec<_> =
            settings.iter().map(|(key, value)| setting(key, value, &known)).collect::<Result<_, _>>()?;
        if let Some(team) = only {
            own::check(team, (&card, &settings), |section| declared.ids_of(section))?;
        }
        once::check_settings(&settings, &card, history)?;
        let overlay = Self { card, settings };
        if overlay.card.is_empty() && overlay.settings.is_empty() {
            return Err(invalid("policy", format!("nothing is to be changed; name a rate card, or set {SETTABLE}")));
        }
        Ok(overlay)
    }

    /// Every version with the changes laid over it.
    pub(crate) fn lay_over(&self, history: &History, pseudonyms: &Pseudonyms) -> Result<History, Refusal> {
        let versions = history.versions().iter().map(|version| self.over(version, pseudonyms));
        let versions = versions.collect::<Result<Vec<_>, _>>()?;
        History::new(versions).ok_or_else(|| Refusal::computation("simulate", "there is no organisation version"))
    }

    fn over(&self, version: &Version, pseudonyms: &Pseudonyms) -> Result<Version, Refusal> {
        let unreadable = |error: &dyn std::fmt::Display| Refusal::computation("read a stored organisation file", error);
        let mut file: Table = toml::from_str(&version.text).map_err(|error| unreadable(&error))?;
        for (section, entries) in &self.card {
            lay_section(&mut file, section, entries);
        }
        for setting in &self.settings {
            setting.lay(&mut file)?;
        }
        let text = toml::to_string(&file).map_err(|error| unreadable(&error))?;
        let organisation = parse(&text).map_err(|problems| refuse(&problems, &file, version.number))?;
        Ok(Version {
            digest: Digest::of(text.as_bytes()),
            text,
            organisation: Arc::new(under_pseudonyms(organisation, pseudonyms)),
            ..version.clone()
        })
    }
}

fn one_line(error: &toml::de::Error) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

fn check_sections(card: &Table) -> Result<(), Refusal> {
    for (section, entries) in card {
        let is_list = BY_ID.contains(&section.as_str()) || BY_SUBJECT.iter().any(|(name, _)| name == section);
        match (section.as_str(), entries) {
            ("policy", Value::Table(policy)) => policy.keys().try_for_each(|key| has_effect(key))?,
            ("policy", _) => return Err(invalid("rate_card", "write the policies under `[policy]`")),
            (_, Value::Array(items)) if is_list => {
                if let Some(at) = items.iter().position(|item| !item.is_table()) {
                    return Err(invalid(
                        "rate_card",
                        format!("{section}[{at}] is no table; write it under [[{section}]]"),
                    ));
                }
                if BY_ID.contains(&section.as_str())
                    && let Some(at) = items.iter().position(|item| id_of(item).is_none())
                {
                    return Err(invalid(
                        "rate_card",
                        format!("{section}[{at}] has no `id`; name the entry that it changes"),
                    ));
                }
            }
            (_, _) if is_list => return Err(invalid("rate_card", format!("write each entry under [[{section}]]"))),
            ("organisation", _) => {
                let detail =
                    "`[organisation]` cannot be simulated: currency, time zone and name are fixed; leave it out";
                return Err(invalid("rate_card", detail));
            }
            ("budgets", _) => {
                return Err(invalid("rate_card", "`[[budgets]]` have no effect on figures; leave them out"));
            }
            _ => {
                let known = BY_ID.iter().copied().chain(BY_SUBJECT.iter().map(|(name, _)| *name));
                let known: Vec<String> = known.map(|name| format!("[[{name}]]")).collect();
                let detail = format!("`{section}` is no table of a rate card; known: [policy], {}", known.join(", "));
                return Err(invalid("rate_card", detail));
            }
        }
    }
    Ok(())
}

fn has_effect(policy: &str) -> Result<(), Refusal> {
    match WITHOUT_EFFECT.iter().find(|(name, _)| *name == policy) {
        Some((_, why)) => Err(invalid("policy", format!("`policy.{policy}` cannot be simulated: {why}"))),
        None => Ok(()),
    }
}

pub(super) fn id_of(entry: &Value) -> Option<&str> {
    entry.get("id")?.as_str()
}

/// The ids of each section, in any version or in the rate card.
#[derive(Clone)]
struct Known {
    ids: BTreeMap<&'static str, BTreeSet<String>>,
    may_list: bool,
}

impl Known {
    fn of(history: &History, may_list: bool) -> Result<Self, Refusal> {
        let mut known = Self { ids: BTreeMap::new(), may_list };
        for version in history.versions() {
            let file = toml::from_str(&version.text);
            known.note(&file.map_err(|error| Refusal::computation("read a stored organisation file", error))?);
        }
        Ok(known)
    }

    fn note(&mut self, file: &Table) {
        for section in BY_ID {
            let entries = file.get(section).and_then(Value::as_array).into_iter().flatten();
            self.ids.entry(section).or_default().extend(entries.filter_map(id_of).map(str::to_owned));
        }
    }

    /// With those that a rate card adds.
    fn with(&self, card: &Table) -> Self {
        let mut all = self.clone();
        all.note(card);
        all
    }

    fn ids_of(&self, section: &str) -> BTreeSet<String> {
        self.ids.get(section).cloned().unwrap_or_default()
    }

    /// The id that a path begins with, and the rest: ids may contain dots.
    fn split<'p>(&self, section: &'static str, path: &'p str) -> Option<(&'p str, &'p str)> {
        let ids = self.ids.get(section)?;
        let dots = path.match_indices('.').map(|(at, _)| at);
        let splits = dots.filter_map(|at| Some((path.get(..at)?, path.get(at.saturating_add(1)..)?)));
        splits.filter(|(id, _)| ids.contains(*id)).max_by_key(|(id, _)| id.len())
    }

    fn list(&self, section: &str) -> String {
        let ids = self.ids.get(section).filter(|_| self.may_list);
        let listed: Vec<&str> = ids.into_iter().flatten().take(LISTED_MAX).map(String::as_str).collect();
        if listed.is_empty() { String::new() } else { format!("; declared: {}", listed.join(", ")) }
    }
}

fn setting(key: &str, value: &str, known: &Known) -> Result<Setting, Refusal> {
    let field = || format!("policy.{key}");
    let value = read_value(value);
    let (head, rest) = key.split_once('.').unwrap_or((key, ""));
    let Some(section) = BY_ID.into_iter().find(|section| *section == head && !rest.is_empty()) else {
        let path = key.strip_prefix("policy.").unwrap_or(key);
        if path.is_empty() || path.contains('.') || BY_ID.contains(&path) || BY_SUBJECT.iter().any(|(n, _)| *n == head)
        {
            return Err(invalid(field(), format!("`{key}` cannot be set; set {SETTABLE}")));
        }
        has_effect(path)?;
        return Ok(Setting { section: "policy", id: None, path: vec![path.to_owned()], value });
    };
    if known.ids.get(section).is_some_and(|ids| ids.contains(rest)) {
        return Err(invalid(field(), format!("`{key}` names no key of `{rest}`; write {section}.{rest}.KEY")));
    }
    let Some((id, path)) = known.split(section, rest) else {
        let id = rest.split('.').next().unwrap_or_default();
        let detail = format!(
            "there is no `{id}` in [[{section}]]{}; write {section}.ID.KEY, or add one with a rate card",
            known.list(section)
        );
        return Err(invalid(field(), detail));
    };
    let path: Vec<String> = path.splitn(2, '.').map(str::to_owned).collect();
    if path.iter().any(String::is_empty) || path.first().is_some_and(|key| key == "id") {
        return Err(invalid(field(), format!("`{key}` names no key of `{id}`; write {section}.{id}.KEY")));
    }
    Ok(Setting { section, id: Some(id.to_owned()), path, value })
}

/// A value as the file would write it; what is no TOML of its own, and every decimal, is a text.
fn read_value(text: &str) -> Option<Value> {
    if text.is_empty() {
        return None;
    }
    let parsed = toml::from_str::<Table>(&format!("value = {text}")).ok().and_then(|mut table| table.remove("value"));
    Some(parsed.filter(|value| !value.is_float()).unwrap_or_else(|| Value::String(text.to_owned())))
}

impl Setting {
    pub(super) const fn takes_away(&self) -> bool {
        self.value.is_none()
    }

    /// The key as an answer names it.
    pub(super) fn field(&self) -> String {
        let id = self.id.as_deref().into_iter();
        [self.section].into_iter().chain(id).chain(self.path.iter().map(String::as_str)).collect::<Vec<_>>().join(".")
    }

    fn lay(&self, file: &mut Table) -> Result<(), Refusal> {
        let Some(id) = &self.id else {
            let policy = file.entry("policy").or_insert_with(|| Value::Table(Table::new()));
            return policy.as_table_mut().map_or(Ok(()), |policy| self.set(policy));
        };
        // An agent that a version does not list is one all the same, as if it were listed by its id alone. Nothing else that a
        // version lacks is made up, nor what refers to something that it may lack.
        let is_of_agent = self.path.first().is_some_and(|key| OF_AGENT.contains(&key.as_str()));
        if self.section == AGENTS && self.value.is_some() && is_of_agent {
            let agents = file.entry(AGENTS).or_insert_with(|| Value::Array(Vec::new()));
            let is_listed = |agents: &Vec<Value>| agents.iter().any(|entry| id_of(entry) == Some(id));
            if let Some(agents) = agents.as_array_mut().filter(|agents| !is_listed(agents)) {
                agents.push(Value::Table(Table::from_iter([("id".to_owned(), Value::from(id.as_str()))])));
            }
        }
        let entries = file.get_mut(self.section).and_then(Value::as_array_mut);
        let entry = entries.and_then(|entries| entries.iter_mut().find(|entry| id_of(entry) == Some(id)));
        entry.and_then(Value::as_table_mut).map_or(Ok(()), |entry| self.set(entry))
    }

    fn set(&self, table: &mut Table) -> Result<(), Refusal> {
        let (Some(key), below) = (self.path.first(), self.path.get(1)) else { return Ok(()) };
        let Some(below) = below else {
            put(table, key, self.value.clone());
            return Ok(());
        };
        let inner = table.entry(key.clone()).or_insert_with(|| Value::Table(Table::new()));
        let Some(inner) = inner.as_table_mut() else {
            return Err(invalid(format!("policy.{}.{key}", self.section), format!("`{key}` has no keys below it")));
        };
        put(inner, below, self.value.clone());
        Ok(())
    }
}

fn put(table: &mut Table, key: &str, value: Option<Value>) {
    match value {
        Some(value) => drop(table.insert(key.to_owned(), value)),
        None => drop(table.remove(key)),
    }
}

fn lay_section(file: &mut Table, section: &str, entries: &Value) {
    match entries {
        Value::Table(policy) => {
            let held = file.entry(section).or_insert_with(|| Value::Table(Table::new()));
            if let Some(held) = held.as_table_mut() {
                lay_keys(held, policy);
            }
        }
        Value::Array(items) => {
            let held = file.entry(section).or_insert_with(|| Value::Array(Vec::new()));
            let Some(held) = held.as_array_mut() else { return };
            match BY_SUBJECT.iter().find(|(name, _)| *name == section) {
                Some((_, keys)) => lay_subjects(held, items, keys),
                None => items.iter().filter_map(Value::as_table).for_each(|item| lay_entry(held, item)),
            }
        }
        _ => {}
    }
}

/// An empty text takes a key away. What has keys itself is laid over key by key.
fn lay_keys(held: &mut Table, keys: &Table) {
    for (key, value) in keys {
        match (held.get_mut(key).and_then(Value::as_table_mut), value.as_table()) {
            (Some(inner), Some(keys)) => lay_keys(inner, keys),
            _ => put(held, key, Some(value.clone()).filter(|value| value.as_str() != Some(""))),
        }
    }
}

fn lay_entry(held: &mut Vec<Value>, item: &Table) {
    let id = item.get("id").and_then(Value::as_str);
    match held.iter_mut().find(|entry| id_of(entry) == id).and_then(Value::as_table_mut) {
        Some(entry) => lay_keys(entry, item),
        None => {
            let mut entry = Table::new();
            lay_keys(&mut entry, item);
            held.push(Value::Table(entry));
        }
    }
}

fn lay_subjects(held: &mut Vec<Value>, items: &[Value], keys: &[&str]) {
    let subject = |entry: &Value| keys.iter().map(|key| entry.get(key).cloned()).collect::<Vec<_>>();
    let replaced: Vec<_> = items.iter().map(subject).collect();
    held.retain(|entry| !replaced.contains(&subject(entry)));
    held.extend(items.iter().cloned());
}

/// Problems of the laid-over file: entries are named by their id, as nobody has seen its lines.
fn refuse(problems: &[FileProblem], file: &Table, version: u32) -> Refusal {
    let shown = problems.iter().map(|problem| {
        let path = named_path(&problem.path, file);
        without_lines(&FileProblem { line: 0, path, ..problem.clone() }.to_string())
    });
    Refusal::Problems {
        kind: "invalid-simulation",
        summary: format!(
            "version {version} of the organisation file with these changes has {} problem(s); nothing was simulated; you \
             can set {SETTABLE}",
            problems.len()
        ),
        problems: shown.collect(),
    }
}

/// A text without the lines that it names.
fn without_lines(text: &str) -> String {
    let mut parts = text.split(" on line ");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.trim_start_matches(|digit: char| digit.is_ascii_digit()))
}

/// `agents[3].billing` as `agents.triage.billing`, `prices[7].from` as `prices.example/large.from`.
fn named_path(path: &str, file: &Table) -> String {
    let named = || {
        let (section, rest) = path.split_once('[')?;
        let (at, rest) = rest.split_once(']')?;
        let entry = file.get(section)?.as_array()?.get(at.parse::<usize>().ok()?)?;
        let subject = |(_, keys): &(&str, &[&str])| {
            keys.iter().filter_map(|key| entry.get(key)?.as_str()).collect::<Vec<_>>().join("/")
        };
        let name = match BY_SUBJECT.iter().find(|(name, _)| *name == section) {
            Some(keys) => subject(keys),
            None => id_of(entry)?.to_owned(),
        };
        Some(format!("{section}.{name}{rest}"))
    };
    named().unwrap_or_else(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use recoup_model::organisation::{Billing, PoolBasis, VariancePolicy};

    use super::*;

    const FILE: &str = "[organisation]\nname = \"A\"\ncurrency = \"USD\"\ntime_zone = \"UTC\"\n\
        [[teams]]\nid = \"support\"\n[[teams]]\nid = \"sales.eu\"\n\
        [[agents]]\nid = \"triage\"\nbilling_by_team = { support = \"time\" }\n[[agents]]\nid = \"guard\"\nshared_pool = \"safety\"\n\
        [[pools]]\nid = \"safety\"\nbasis = \"even\"\n\
        [[prices]]\nprovider = \"p\"\nmodel = \"m\"\nfrom = \"2026-01-01\"\nper_million = { input = \"3\" }\n";

    fn history() -> History {
        let organisation = Arc::new(parse(FILE).unwrap());
        let digest = Digest::of(FILE.as_bytes());
        let version = |number, effective| Version {
            number,
            effective,
            digest,
            text: FILE.to_owned(),
            organisation: Arc::clone(&organisation),
        };
        History::new(vec![version(1, None), version(2, chrono::NaiveDate::from_ymd_opt(2026, 2, 1))]).unwrap()
    }

    fn laid(card: Option<&str>, settings: &[(&str, &str)]) -> Result<History, String> {
        let settings: Vec<_> = settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let overlay = Overlay::read(card, &settings, (&history(), None));
        let laid = overlay.and_then(|overlay| overlay.lay_over(&history(), &Pseudonyms::new([0; 32])));
        laid.map_err(|refusal| match refusal {
            Refusal::Problems { problems, .. } => problems.join("\n"),
            other => other.to_string(),
        })
    }

    #[test]
    fn an_agent_of_one_version_is_set_in_those_that_do_not_list_it() {
        let file = FILE.replace("[[agents]]\nid = \"guard\"\nshared_pool = \"safety\"\n", "");
        let organisation = Arc::new(parse(&file).unwrap());
        let known = history();
        let [listing, second] = known.versions() else { unreachable!() };
        let first =
            Version { text: file.clone(), organisation, digest: Digest::of(file.as_bytes()), ..listing.clone() };
        let history = History::new(vec![first, second.clone()]).unwrap();
        let settings = [("agents.guard.billing".to_owned(), "task".to_owned())];
        let overlay = Overlay::read(None, &settings, (&history, None)).unwrap();
        let laid = overlay.lay_over(&history, &Pseudonyms::new([0; 32])).unwrap();
        for version in laid.versions() {
            assert_eq!(version.organisation.billing("support", Some("guard")), Billing::Task);
        }
        // A version without the pool has nothing to put it into.
        let settings = [("agents.guard.shared_pool".to_owned(), "safety".to_owned())];
        let overlay = Overlay::read(None, &settings, (&history, None)).unwrap();
        let laid = overlay.lay_over(&history, &Pseudonyms::new([0; 32])).unwrap();
        let listed = laid.versions().iter().map(|version| version.organisation.agents.contains_key("guard"));
        assert_eq!(listed.collect::<Vec<_>>(), [false, true]);
    }

    #[test]
    fn settings_are_laid_over_every_version() {
        let settings = [
            ("variance", "absorb"),
            ("agents.triage.billing", "task"),
            ("agents.triage.billing_by_team.support", ""),
            ("agents.triage.billing_by_team.sales.eu", "token"),
            ("pools.safety.basis", "tokens"),
            ("agents.guard.shared_pool", ""),
            ("policy.price_grid", "0.01"),
        ];
        for version in laid(None, &settings).unwrap().versions() {
            let organisation = &version.organisation;
            assert_eq!(organisation.policy.variance, VariancePolicy::Absorb);
            assert_eq!(organisation.policy.price_grid.to_string(), "0.01");
            assert_eq!(organisation.billing("support", Some("triage")), Billing::Task);
            assert_eq!(organisation.billing("sales.eu", Some("triage")), Billing::Token);
            assert_eq!(organisation.shared_pool("guard"), None);
            assert_eq!(organisation.pools.get("safety").unwrap().basis, PoolBasis::Tokens);
        }
    }

    #[test]
    fn a_rate_card_is_laid_over_by_id_and_prices_by_subject() {
        let card = "[policy]\nhalf_life_days = 3\n[[agents]]\nid = \"triage\"\nbilling = \"time\"\n[[agents]]\nid = \"new\"\n\
            [[prices]]\nprovider = \"p\"\nmodel = \"m\"\nfrom = \"2025-01-01\"\nper_million = { input = \"9\" }\n";
        let history = laid(Some(card), &[("agents.new.billing", "task")]).unwrap();
        let organisation = &history.versions().last().unwrap().organisation;
        assert_eq!(organisation.policy.half_life_days, 3);
        assert_eq!(organisation.agents.get("triage").unwrap().billing, Billing::Time);
        assert!(organisation.agents.get("triage").unwrap().billing_by_team.contains_key("support"), "other keys stay");
        let card = "[[agents]]\nid = \"triage\"\nbilling_by_team = { \"sales.eu\" = \"token\" }\n";
        let by_team = laid(Some(card), &[]).unwrap();
        let by_team = &by_team.versions().first().unwrap().organisation.agents.get("triage").unwrap().billing_by_team;
        assert_eq!(by_team.len(), 2, "those below them too: {by_team:?}");
        assert_eq!(organisation.agents.get("new").unwrap().billing, Billing::Task);
        assert_eq!(organisation.prices.len(), 1);
        assert_eq!(organisation.agents.get("guard").unwrap().shared_pool.as_deref(), Some("safety"));
    }

    #[test]
    fn a_key_of_one_team_changes_nothing_that_would_tell_of_others() {
        let laid = |card: Option<&str>, key: &str, value: &str| {
            let settings: Vec<_> =
                Some((key.to_owned(), value.to_owned())).filter(|_| !key.is_empty()).into_iter().collect();
            Overlay::read(card, &settings, (&history(), Some("support")))
                .map(|_| ())
                .map_err(|refusal| refusal.to_string())
        };
        for key in ["variance", "half_life_days", "agents.triage.billing", "agents.triage.billing_by_team.support"] {
            assert_eq!(laid(None, key, "1"), Ok(()), "{key}");
        }
        assert_eq!(laid(None, "pools.safety.basis", "tokens"), Ok(()));
        let refused = |card: Option<&str>, key: &str| {
            let said = laid(card, key, "support").unwrap_err();
            assert!(
                said.contains("decides on more than one team") && said.contains("ask someone in finance"),
                "{said}"
            );
        };
        for key in [
            "unattributed_pool",
            "agents.triage.shared_pool",
            "agents.triage.team",
            "agents.triage.billing_by_team.sales.eu",
            "agents.triage.billing_by_team",
            "pools.safety.percent.support",
            "teams.support.lead",
            "teams.sales.eu.lead",
            "teams.nobody.lead",
            "people.nobody.team",
        ] {
            refused(None, key);
        }
        for card in [
            "[[pools]]\nid = \"leak\"\nbasis = \"fixed\"\npercent = { support = \"100\" }",
            "[[pools]]\nid = \"new\"\nbasis = \"even\"",
            "[[agents]]\nid = \"triage\"\nshared_pool = \"safety\"",
            "[[agents]]\nid = \"new\"\nbilling = \"task\"",
            "[[agents]]\nid = \"triage\"\nbilling_by_team = { \"sales.eu\" = \"task\" }",
            "[[people]]\nid = \"u1\"\nteam = \"support\"",
            "[[people]]\nid = \"u1\"",
            "[[teams]]\nid = \"support\"",
            "[[recurring]]\nid = \"r\"",
            "[policy]\nunattributed_pool = \"safety\"",
        ] {
            refused(Some(card), "");
        }
        let card = "[[agents]]\nid = \"triage\"\nbilling_by_team = { support = \"task\" }\n[[rates]]\n[policy]\nvariance = \"absorb\"";
        assert_eq!(laid(Some(card), "", ""), Ok(()));
    }

    #[test]
    fn what_cannot_be_set_is_refused_in_words() {
        let refused = |key: &str, value: &str| laid(None, &[(key, value)]).unwrap_err();
        for (key, value, expected) in [
            ("billing", "task", "policy.billing: unknown key"),
            ("variance", "absord", "policy.variance: `absord` is not known here; did you mean `absorb`?"),
            ("half_life_days", "0", "policy.half_life_days: `0` is out of range; write a whole number from 1 to 3650"),
            ("agents.triage.billing", "hours", "agents.triage.billing: `hours` is not known here"),
            (
                "agents.nobody.billing",
                "time",
                "there is no `nobody` in [[agents]]; declared: guard, triage; write agents.ID.KEY",
            ),
            ("agents.triage", "time", "`agents.triage` names no key of `triage`; write agents.triage.KEY"),
            ("agents", "time", "`agents` cannot be set; set a key of [policy], or teams.ID.KEY, agents.ID.KEY"),
            ("prices.m.input", "1", "for [[prices]] and [[rates]] use a rate card"),
            ("lanes", "2", "`policy.lanes` cannot be simulated: lanes are fixed"),
            (
                "pools.safety.basis",
                "invocation",
                "pools.safety.basis: `invocation` is not known here; did you mean `invocations`?",
            ),
        ] {
            let said = refused(key, value);
            assert!(said.contains(expected), "{key}={value}: {said}");
        }
        let hole = "[[prices]]\nprovider = \"p\"\nmodel = \"m\"\nfrom = \"2025-01-01\"\nto = \"2025-02-01\"\n\
            per_million = { input = \"1\" }\n[[prices]]\nprovider = \"p\"\nmodel = \"m\"\nfrom = \"2025-03-01\"\n\
            per_million = { input = \"2\" }\n";
        let said = laid(Some(hole), &[]).unwrap_err();
        assert!(said.starts_with("prices.p/m.from") && !said.contains(" line "), "nobody has seen its lines: {said}");
        for (card, expected) in [
            ("[organisation]\nname = \"B\"", "cannot be simulated"),
            ("[[budgets]]\nscope = \"organisation\"", "no effect on figures"),
            ("[[agent]]\nid = \"a\"", "`agent` is no table of a rate card; known: [policy], [[teams]], [[agents]]"),
            ("[[agents]]\nbilling = \"time\"", "agents[0] has no `id`"),
            ("agents = 1", "write each entry under [[agents]]"),
            ("x", "the rate card is no TOML"),
            ("", "nothing is to be changed"),
        ] {
            let said = laid(Some(card), &[]).unwrap_err();
            assert!(said.contains(expected), "{card}: {said}");
        }
    }
}
