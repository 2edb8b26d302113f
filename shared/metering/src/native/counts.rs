//! The token counts of a usage object by their path: `prompt_tokens_details.cached_tokens` -> 47105.

use std::collections::BTreeMap;

use recoup_model::limits::TOKENS_MAX;
use serde_json::value::RawValue;

use crate::item::{At, ItemError, Problem, shown};
use crate::json;

/// Objects inside objects that are followed; no provider nests as deep.
const DEPTH_MAX: usize = 6;
/// Counts of one usage object; no provider reports as many.
const COUNTS_MAX: usize = 128;
/// Keys by which an element of an array says what it counts (`promptTokensDetails`, `cacheDetails`, `iterations`).
const LABELS: [&str; 3] = ["modality", "ttl", "type"];

/// Token counts by path. What is no token count (seconds, costs, searches, names) is not in it.
#[derive(Debug, Default)]
pub(crate) struct Counts(BTreeMap<String, u64>);

impl Counts {
    /// The token counts of the object that `text` is.
    pub(crate) fn read(text: &str) -> Result<Self, ItemError> {
        let mut counts = Self::default();
        counts.object("", text, 0, Repeats::Refused)?;
        Ok(counts)
    }

    /// The count at a path.
    pub(crate) fn get(&self, path: &str) -> Option<u64> {
        self.0.get(path).copied()
    }

    /// Whether any of these paths, or (with a final `.`) anything below them, has a count.
    pub(crate) fn has_any(&self, paths: &[&str]) -> bool {
        paths.iter().any(|path| self.below(path).next().is_some())
    }

    /// The same for counts other than zero.
    pub(crate) fn has_any_tokens(&self, paths: &[&str]) -> bool {
        paths.iter().any(|path| self.below(path).any(|(_, count)| count > 0))
    }

    /// Every path with its count, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(path, count)| (path.as_str(), *count))
    }

    /// The counts without a prefix that some of their paths have, or `None` where none has it.
    pub(crate) fn without_prefix(&self, prefix: &str) -> Option<Self> {
        self.iter().any(|(path, _)| path.starts_with(prefix)).then(|| {
            Self(
                self.iter()
                    .map(|(path, count)| (path.strip_prefix(prefix).unwrap_or(path).to_owned(), count))
                    .collect(),
            )
        })
    }

    fn below<'a>(&'a self, path: &'a str) -> impl Iterator<Item = (&'a str, u64)> {
        self.iter().filter(move |(known, _)| matches(path, known))
    }

    fn object(&mut self, prefix: &str, text: &str, depth: usize, repeats: Repeats) -> Result<(), ItemError> {
        for (name, value) in json::members(text, &at(prefix))? {
            let path = if prefix.is_empty() { name.into_owned() } else { format!("{prefix}.{name}") };
            self.value(&path, value, depth, repeats)?;
        }
        Ok(())
    }

    fn value(&mut self, path: &str, value: &RawValue, depth: usize, repeats: Repeats) -> Result<(), ItemError> {
        match value.get().bytes().next() {
            Some(b'{' | b'[') if depth >= DEPTH_MAX => {
                let detail = format!("is nested more than {DEPTH_MAX} deep; send the provider's object as it came");
                Err(ItemError::new(Problem::UnknownUsageForm, at(path), detail))
            }
            Some(b'{') => self.object(path, value.get(), depth.saturating_add(1), repeats),
            Some(b'[') => self.array(path, value, depth.saturating_add(1)),
            Some(b'n' | b't' | b'f') => Ok(()),
            Some(b'"') if !names_a_count(path) => Ok(()),
            _ if !speaks_of_tokens(path) => Ok(()),
            _ => {
                let count = json::count(value, At::inside("usage_native", path), TOKENS_MAX)?;
                self.add(path, count, repeats)
            }
        }
    }

    fn array(&mut self, path: &str, value: &RawValue, depth: usize) -> Result<(), ItemError> {
        let elements: Vec<&RawValue> = serde_json::from_str(value.get()).unwrap_or_default();
        for element in elements {
            if !element.get().starts_with('{') {
                self.value(path, element, depth, Repeats::Summed)?;
                continue;
            }
            let members = json::members(element.get(), &at(path))?;
            let label = members.iter().find(|(name, _)| LABELS.contains(&&**name));
            let label = label.and_then(|(_, value)| json::string(value)).unwrap_or("other".into());
            self.object(&format!("{path}.{label}"), element.get(), depth, Repeats::Summed)?;
        }
        Ok(())
    }

    fn add(&mut self, path: &str, count: u64, repeats: Repeats) -> Result<(), ItemError> {
        if self.0.len() >= COUNTS_MAX {
            let detail = format!("has more than {COUNTS_MAX} counts; send the provider's usage object as it came");
            return Err(ItemError::new(Problem::TooMany, "usage_native", detail));
        }
        let before = self.0.insert(path.to_owned(), count);
        match (before, repeats) {
            (None, _) => {}
            (Some(before), Repeats::Summed) => {
                self.0.insert(path.to_owned(), before.saturating_add(count));
            }
            (Some(_), Repeats::Refused) => {
                let detail = format!("`{}` stands there twice; keep one", shown(path));
                return Err(ItemError::new(Problem::DuplicateField, at(path), detail));
            }
        }
        Ok(())
    }
}

/// What two counts at one path mean: elements of an array add up, fields do not.
#[derive(Clone, Copy)]
enum Repeats {
    Refused,
    Summed,
}

/// Whether `path` names `known`, or, with a final `.`, something above it.
pub(crate) fn matches(path: &str, known: &str) -> bool {
    if path.ends_with('.') { known.starts_with(path) } else { known == path }
}

fn at(path: &str) -> String {
    if path.is_empty() { "usage_native".to_owned() } else { At::inside("usage_native", path).to_string() }
}

/// Whether a number at this path counts tokens.
fn speaks_of_tokens(path: &str) -> bool {
    path.to_ascii_lowercase().contains("token")
}

/// Whether the last name of a path promises a count, so that a string there is an error and no remark.
fn names_a_count(path: &str) -> bool {
    let last = path.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    ["tokens", "token_count", "tokencount"].iter().any(|ending| last.ends_with(ending))
}
