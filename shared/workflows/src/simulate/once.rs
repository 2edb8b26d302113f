//! What would be lost without a word: an entry or a setting that is given twice, and a key that is taken away where nothing
//! has it.

use std::collections::BTreeSet;

use recoup_model::organisation::History;
use toml::{Table, Value};

use super::overlay::{BY_ID, Setting, id_of, invalid};
use crate::error::Refusal;

/// Refuses an id that a section of a rate card has twice: the later entry would take the place of the earlier one.
pub(super) fn check_card(card: &Table) -> Result<(), Refusal> {
    for section in BY_ID {
        let entries = card.get(section).and_then(Value::as_array).into_iter().flatten();
        let mut seen = BTreeSet::new();
        if let Some(twice) = entries.filter_map(id_of).find(|id| !seen.insert(*id)) {
            let detail =
                format!("[[{section}]] `{twice}` is given twice; give each entry once, with all that it changes");
            return Err(invalid("rate_card", detail));
        }
    }
    Ok(())
}

/// Refuses one setting under two names, and a key that is to be taken away and stands nowhere: it may be mistyped.
pub(super) fn check_settings(settings: &[Setting], card: &Table, history: &History) -> Result<(), Refusal> {
    let mut seen = BTreeSet::new();
    for setting in settings {
        if !seen.insert((setting.section, setting.id.as_deref(), &setting.path)) {
            let detail = format!("`{}` is set twice, under two names; set it once", setting.field());
            return Err(invalid(setting.field(), detail));
        }
    }
    let mut taken: Vec<&Setting> = settings.iter().filter(|setting| setting.takes_away()).collect();
    taken.retain(|setting| !stands_in(card, setting));
    for version in history.versions() {
        if taken.is_empty() {
            break;
        }
        let file: Table = toml::from_str(&version.text)
            .map_err(|error| Refusal::computation("read a stored organisation file", error))?;
        taken.retain(|setting| !stands_in(&file, setting));
    }
    match taken.first() {
        None => Ok(()),
        Some(setting) => {
            let detail = format!(
                "`{}` stands in no version of the organisation file, so that nothing can be taken away; correct the key, or \
                 leave it out",
                setting.field()
            );
            Err(invalid(setting.field(), detail))
        }
    }
}

/// Whether a file has the key that a setting is of.
fn stands_in(file: &Table, setting: &Setting) -> bool {
    let section = file.get(setting.section);
    let entry = match &setting.id {
        None => section,
        Some(id) => section
            .and_then(Value::as_array)
            .and_then(|entries| entries.iter().find(|entry| id_of(entry) == Some(id.as_str()))),
    };
    setting.path.iter().try_fold(entry, |value, key| Some(value?.get(key))).flatten().is_some()
}
