//! A typed reader over the parsed TOML that reports what it refuses and goes on.
//!
//! The keys that a section knows are those that its reading function asks for, so that the two cannot differ.

use std::ops::RangeInclusive;

use chrono::{DateTime, Datelike, NaiveDate};
use recoup_money::{Amount, AmountError, Currency, PICO_PER_UNIT};
use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use crate::event::Id;
use crate::limits::{ORGANISATION_ENTRIES_MAX, TAG_BYTES_MAX};
use crate::organisation::parse::problem::{Place, Report, quoted};

/// Currency units above which a number of the file is taken for a mistake.
const DECIMAL_UNITS_MAX: i128 = 1_000_000_000_000_000;
/// Years outside of which a date is taken for a mistake.
const YEARS: RangeInclusive<i32> = 1970..=2200;

/// A value of the file.
pub(super) struct Value<'a> {
    value: &'a DeValue<'a>,
    report: &'a Report,
    pub(super) place: Place,
}

/// A table of the file, and the keys it was asked for.
pub(super) struct Table<'a> {
    table: &'a DeTable<'a>,
    report: &'a Report,
    place: Place,
    asked: Vec<&'static str>,
}

impl<'a> Table<'a> {
    /// The whole document.
    pub(super) fn document(document: &'a Spanned<DeTable<'a>>, report: &'a Report) -> Self {
        Self { table: document.get_ref(), report, place: Place::default(), asked: Vec::new() }
    }

    /// Where the table begins.
    pub(super) const fn place(&self) -> &Place {
        &self.place
    }

    /// Where problems go.
    pub(super) const fn report(&self) -> &'a Report {
        self.report
    }

    /// The value of a key, if it is there.
    pub(super) fn get(&mut self, key: &'static str) -> Option<Value<'a>> {
        if !self.asked.contains(&key) {
            self.asked.push(key);
        }
        let value = self.table.get(key)?;
        Some(Value { value: value.get_ref(), report: self.report, place: self.place.key(key, value.span().start) })
    }

    /// Whether a key is there.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// The string under a key, without a word where there is none.
    pub(super) fn peek(&self, key: &str) -> Option<&'a str> {
        self.table.get(key)?.get_ref().as_str()
    }

    /// The `to` of a range whose `from` was read before: later than that.
    pub(super) fn end<T: PartialOrd>(&mut self, from: Option<&T>, read: impl Fn(&Value<'a>) -> Option<T>) -> Option<T> {
        let value = self.get("to")?;
        let to = read(&value)?;
        if from.is_some_and(|from| to <= *from) {
            return value.refuse("does not lie after `from`", "write a later one: `to` is the first instant outside");
        }
        Some(to)
    }

    /// The value of a key that has to be there. `example` is a value as the file would write it.
    pub(super) fn required(&mut self, key: &'static str, example: &str) -> Option<Value<'a>> {
        let value = self.get(key);
        if value.is_none() {
            self.missing(key, example);
        }
        value
    }

    /// Reports a key that has to be there.
    pub(super) fn missing(&self, key: &str, example: &str) {
        let place = self.place.key(key, self.place.offset);
        self.report.problem(&place, "missing", format!("add `{key} = {example}`"));
    }

    /// What `read` makes of a key, or the default where the key is absent (or refused, which is reported).
    pub(super) fn or<T>(&mut self, key: &'static str, default: T, read: impl FnOnce(Value<'a>) -> Option<T>) -> T {
        self.get(key).and_then(read).unwrap_or(default)
    }

    /// Reports a key that must not be there.
    pub(super) fn refuse(&mut self, key: &'static str, problem: &str, remedy: &str) {
        if let Some(value) = self.get(key) {
            self.report.problem(&value.place, problem, remedy);
        }
    }

    /// Reports a problem of the table as a whole.
    pub(super) fn problem(&self, problem: impl Into<String>, remedy: impl Into<String>) {
        self.report.problem(&self.place, problem, remedy);
    }

    /// The tables of a list of tables; none where the key is absent.
    pub(super) fn entries(&mut self, key: &'static str) -> Vec<Table<'a>> {
        let Some(list) = self.get(key) else { return Vec::new() };
        let remedy = format!("write each entry under [[{key}]]");
        let DeValue::Array(items) = list.value else {
            list.refuse::<()>(format!("expected a list of tables, found {}", kind_of(list.value)), remedy);
            return Vec::new();
        };
        if items.len() > ORGANISATION_ENTRIES_MAX {
            list.refuse::<()>(
                format!("{} entries", items.len()),
                format!("declare at most {ORGANISATION_ENTRIES_MAX}"),
            );
            return Vec::new();
        }
        list.items(items).filter_map(|item| item.table()).collect()
    }

    /// Every key with its value, for tables whose keys are names.
    pub(super) fn pairs(&self) -> Vec<(&'a str, Value<'a>)> {
        self.table
            .iter()
            .map(|(key, value)| {
                let place = self.place.key(key.get_ref(), key.span().start);
                (&**key.get_ref(), Value { value: value.get_ref(), report: self.report, place })
            })
            .collect()
    }

    /// Reports every key that was not asked for.
    pub(super) fn finish(self) {
        for (key, value) in self.pairs() {
            if !self.asked.contains(&key) {
                let otherwise = format!("known here: {}", self.asked.join(", "));
                let remedy = self.report.did_you_mean(key, self.asked.iter().copied(), otherwise);
                self.report.problem(&value.place, "unknown key", remedy);
            }
        }
    }
}

/// The type of a value with its article.
const fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn whole(integer: &DeInteger<'_>) -> Option<i128> {
    i128::from_str_radix(integer.as_str(), integer.radix()).ok()
}

impl<'a> Value<'a> {
    /// Reports a problem of this value; always `None`.
    pub(super) fn refuse<T>(&self, problem: impl Into<String>, remedy: impl Into<String>) -> Option<T> {
        self.report.problem(&self.place, problem, remedy);
        None
    }

    /// Adds a notice about this value.
    pub(super) fn note(&self, notice: impl Into<String>, remedy: impl Into<String>) {
        self.report.notice(&self.place, notice, remedy);
    }

    /// The remedy `did you mean ...?` where a known name is near, else `otherwise`.
    pub(super) fn did_you_mean<'n>(
        &self,
        name: &str,
        known: impl IntoIterator<Item = &'n str>,
        otherwise: impl Into<String>,
    ) -> String {
        self.report.did_you_mean(name, known, otherwise)
    }

    fn expected<T>(&self, what: &str, remedy: &str) -> Option<T> {
        self.refuse(format!("expected {what}, found {}", kind_of(self.value)), remedy)
    }

    /// The line it stands on.
    pub(super) fn line(&self) -> usize {
        self.report.line(self.place.offset)
    }

    fn as_str(&self) -> Option<&'a str> {
        match self.value {
            DeValue::String(text) => Some(text),
            _ => None,
        }
    }

    /// A string.
    pub(super) fn string(&self) -> Option<&'a str> {
        self.as_str().or_else(|| self.expected("a string", "write it in quotes"))
    }

    /// A name: not empty, of at most [`TAG_BYTES_MAX`] bytes, without control characters.
    pub(super) fn name(&self) -> Option<&'a str> {
        let text = self.string()?;
        self.is_name(text, TAG_BYTES_MAX).then_some(text)
    }

    /// Whether a text is a name; reports why not.
    pub(super) fn is_name(&self, text: &str, bytes_max: usize) -> bool {
        let refused: Option<()> = if text.is_empty() {
            self.refuse("empty", "write at least one character, or leave the key out")
        } else if text.len() > bytes_max {
            self.refuse(format!("{} bytes long", text.len()), format!("shorten it to at most {bytes_max} bytes"))
        } else if text.chars().any(char::is_control) {
            self.refuse(format!("{} contains a control character", quoted(text)), "remove it")
        } else {
            Some(())
        };
        refused.is_some()
    }

    /// A name to keep.
    pub(super) fn text(&self) -> Option<String> {
        self.name().map(str::to_owned)
    }

    /// A name to keep and share.
    pub(super) fn shared(&self) -> Option<Id> {
        self.name().map(Id::from)
    }

    /// An id that this file declares: a name without `/`, which separates the parts of keys and addresses.
    pub(super) fn id(&self) -> Option<Id> {
        let text = self.name()?;
        if text.contains('/') {
            return self.refuse(format!("{} contains `/`", quoted(text)), "use another character, such as `-`");
        }
        Some(Id::from(text))
    }

    /// A whole number of a range.
    pub(super) fn integer(&self, range: RangeInclusive<u64>) -> Option<u64> {
        let remedy = format!("write a whole number from {} to {}", range.start(), range.end());
        let DeValue::Integer(integer) = self.value else { return self.expected("an integer", &remedy) };
        let number = whole(integer).and_then(|number| u64::try_from(number).ok());
        match number.filter(|number| range.contains(number)) {
            Some(number) => Some(number),
            None => self.refuse(format!("{} is out of range", quoted(&integer.to_string())), remedy),
        }
    }

    /// A whole number of a range.
    pub(super) fn small(&self, range: RangeInclusive<u32>) -> Option<u32> {
        let wide = u64::from(*range.start())..=u64::from(*range.end());
        self.integer(wide).and_then(|number| u32::try_from(number).ok())
    }

    /// `true` or `false`.
    pub(super) fn boolean(&self) -> Option<bool> {
        match self.value {
            DeValue::Boolean(boolean) => Some(*boolean),
            _ => self.expected("a boolean", "write true or false"),
        }
    }

    /// One of some words.
    pub(super) fn choice<T: Copy>(&self, choices: &[(&'static str, T)]) -> Option<T> {
        let word = self.string()?;
        if let Some((_, choice)) = choices.iter().find(|(name, _)| *name == word) {
            return Some(*choice);
        }
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let otherwise = match names.split_last() {
            Some((last, others)) if !others.is_empty() => format!("write {} or {last}", others.join(", ")),
            _ => format!("write {}", names.join(", ")),
        };
        let remedy = self.report.did_you_mean(word, names, otherwise);
        self.refuse(format!("{} is not known here", quoted(word)), remedy)
    }

    /// An exact decimal (MON-1): a string or an integer, never a float.
    pub(super) fn decimal(&self) -> Option<Amount> {
        let amount = match self.value {
            DeValue::String(text) => text.parse(),
            DeValue::Integer(integer) => {
                let pico = whole(integer).and_then(|number| number.checked_mul(PICO_PER_UNIT));
                pico.map(Amount::from_pico).ok_or(AmountError::TooLarge)
            }
            DeValue::Float(float) => {
                return self.refuse(
                    format!("{} is a float, which is not exact", quoted(float.as_str())),
                    "write it in quotes",
                );
            }
            _ => return self.expected("a decimal", "write it in quotes, such as \"12.50\""),
        };
        match amount {
            Ok(amount)
                if amount.pico().unsigned_abs() / PICO_PER_UNIT.unsigned_abs() < DECIMAL_UNITS_MAX.unsigned_abs() =>
            {
                Some(amount)
            }
            Ok(_) => self.not_decimal(&AmountError::TooLarge),
            Err(error) => self.not_decimal(&error),
        }
    }

    fn not_decimal<T>(&self, error: &AmountError) -> Option<T> {
        let written = match self.value {
            DeValue::Integer(integer) => integer.to_string(),
            _ => self.as_str().unwrap_or_default().to_owned(),
        };
        let written = quoted(&written);
        let (problem, remedy) = match error {
            AmountError::NotDecimal => (format!("{written} {error}"), "write it such as \"12.50\"".to_owned()),
            AmountError::TooPrecise => (format!("{written} {error}"), "round it to 12 fraction digits".to_owned()),
            // Less is allowed here than would fit.
            AmountError::TooLarge => {
                (format!("{written} is too large"), format!("write less than {DECIMAL_UNITS_MAX}"))
            }
        };
        self.refuse(problem, remedy)
    }

    /// A decimal above zero.
    pub(super) fn positive(&self) -> Option<Amount> {
        let amount = self.decimal()?;
        if amount <= Amount::ZERO {
            return self.refuse(format!("`{amount}` is not positive"), "write more than 0");
        }
        Some(amount)
    }

    /// A decimal that is not below zero.
    pub(super) fn not_negative(&self) -> Option<Amount> {
        let amount = self.decimal()?;
        if amount < Amount::ZERO {
            return self.refuse(format!("`{amount}` is negative"), "write 0 or more");
        }
        Some(amount)
    }

    /// A currency.
    pub(super) fn currency(&self) -> Option<Currency> {
        let code = self.string()?;
        match code.parse() {
            Ok(currency) => Some(currency),
            Err(_) => self.refuse(
                format!("{} is not an ISO 4217 currency code", quoted(code)),
                "use one such as USD or EUR, in capitals",
            ),
        }
    }

    /// The text of a date or time, written natively or as a string.
    fn written_time(&self) -> Option<String> {
        match self.value {
            DeValue::String(text) => Some(text.to_string()),
            DeValue::Datetime(time) => Some(time.to_string()),
            _ => self.expected("a date", "write it such as \"2026-10-01\""),
        }
    }

    /// A date.
    pub(super) fn date(&self) -> Option<NaiveDate> {
        let text = self.written_time()?;
        match plain_date(&text) {
            Some(date) => self.plausible(date, date),
            None => self.refuse(format!("{} is not a date", quoted(&text)), "write it such as \"2026-10-01\""),
        }
    }

    /// An instant in nanoseconds since 1970-01-01T00:00:00Z; a bare date is its 00:00 UTC.
    pub(super) fn instant(&self) -> Option<i64> {
        let text = self.written_time()?;
        let time = plain_date(&text).map_or_else(
            || DateTime::parse_from_rfc3339(&text).ok().map(|time| time.to_utc()),
            |date| Some(date.and_time(chrono::NaiveTime::MIN).and_utc()),
        );
        let Some(time) = time else {
            return self.refuse(
                format!("{} is neither a date nor a time with its offset", quoted(&text)),
                "write it such as \"2026-10-01\" or \"2026-10-01T09:00:00Z\"",
            );
        };
        self.plausible(time.date_naive(), time)?.timestamp_nanos_opt()
    }

    fn plausible<T>(&self, date: NaiveDate, value: T) -> Option<T> {
        if YEARS.contains(&date.year()) {
            return Some(value);
        }
        self.refuse(
            format!("the year {} is out of range", date.year()),
            format!("write a year from {} to {}", YEARS.start(), YEARS.end()),
        )
    }

    /// A table.
    pub(super) fn table(&self) -> Option<Table<'a>> {
        match self.value {
            DeValue::Table(table) => {
                Some(Table { table, report: self.report, place: self.place.clone(), asked: Vec::new() })
            }
            _ => self.expected("a table", "write it such as { key = \"value\" }"),
        }
    }

    /// The items of a list.
    pub(super) fn list(&self) -> Option<Vec<Value<'a>>> {
        match self.value {
            DeValue::Array(items) => Some(self.items(items).collect()),
            _ => self.expected("a list", "write it such as [..]"),
        }
    }

    fn items(&self, items: &'a [Spanned<DeValue<'a>>]) -> impl Iterator<Item = Self> {
        items.iter().enumerate().map(|(at, item)| Self {
            value: item.get_ref(),
            report: self.report,
            place: self.place.entry(at, item.span().start),
        })
    }
}

/// A date as ISO 8601 writes it, and nothing else.
fn plain_date(text: &str) -> Option<NaiveDate> {
    (text.len() == 10).then(|| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()).flatten()
}
