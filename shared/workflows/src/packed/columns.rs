//! Columns of numbers and codes, and lists of rows that are stored so.

use std::collections::BTreeMap;
use std::ops::Deref;

use chrono::{Days, NaiveDate};
use recoup_attribution::SettlementFacts;
use recoup_attribution::settlement::{Code, Numbering};
use recoup_model::{Id, Kind};
use recoup_money::Amount;
use recoup_store::books::VALUE_BYTES_MAX;
use recoup_store::{Expect, Key, StoreError, Write};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::records;

/// Rows in one record, unless their texts are long.
pub(super) const ROWS_MAX: usize = 4_000;

/// A column of small numbers: a value and on how many rows it stands, in turns.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Runs(Column<i64>);

impl Runs {
    pub(super) fn push(&mut self, value: i64) {
        match self.0.0.as_mut_slice() {
            [.., last, rows] if *last == value => *rows = rows.saturating_add(1),
            _ => self.0.0.extend([value, 1]),
        }
    }

    /// On how many rows it stands.
    pub(super) fn len(&self) -> usize {
        self.rows().count()
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = i64> + '_ {
        let runs =
            self.0.0.chunks_exact(2).filter_map(|run| Some((*run.first()?, usize::try_from(*run.get(1)?).ok()?)));
        runs.flat_map(|(value, rows)| std::iter::repeat_n(value, rows))
    }
}

/// A column of numbers. A close reads millions of them: they are read from the text of the column at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column<N>(pub(super) Vec<N>);

impl<N> Default for Column<N> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<N> Deref for Column<N> {
    type Target = Vec<N>;

    fn deref(&self) -> &Vec<N> {
        &self.0
    }
}

impl<N> Column<N> {
    pub(super) fn push(&mut self, number: N) {
        self.0.push(number);
    }
}

impl<N: Serialize> Serialize for Column<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(&self.0)
    }
}

impl<'de, N: Number> Deserialize<'de> for Column<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&RawValue>::deserialize(deserializer)?.get();
        numbers(text).map(Self).ok_or_else(|| D::Error::custom("a column is no list of numbers"))
    }
}

/// Digits that always fit.
const FEW_DIGITS: usize = 18;
/// About how many bytes a number takes with its comma.
const NUMBER_BYTES: usize = 6;

/// The numbers of a JSON array.
fn numbers<N: Number>(text: &str) -> Option<Vec<N>> {
    let inside = text.strip_prefix('[')?.strip_suffix(']')?.trim_ascii();
    let mut all = Vec::with_capacity(inside.len().div_euclid(NUMBER_BYTES));
    let mut rest = inside.as_bytes();
    while !rest.is_empty() {
        let (negative, digits) = match rest.split_first() {
            Some((b'-', digits)) => (true, digits),
            _ => (false, rest),
        };
        let mut value = 0_u64;
        let mut count = 0_usize;
        for digit in digits.iter().take_while(|byte| byte.is_ascii_digit()) {
            value = value.wrapping_mul(10).wrapping_add(u64::from(*digit & 0x0f));
            count = count.saturating_add(1);
        }
        let behind = digits.get(count..).unwrap_or_default();
        let is_short = (1..=FEW_DIGITS).contains(&count);
        rest = match behind.split_first() {
            None if is_short => {
                all.push(N::of_few_digits(negative, value)?);
                behind
            }
            Some((b',', next)) if is_short && !next.is_empty() => {
                all.push(N::of_few_digits(negative, value)?);
                next
            }
            _ => {
                let end = rest.iter().position(|byte| *byte == b',');
                let (number, next) = rest.split_at(end.unwrap_or(rest.len()));
                all.push(N::read(std::str::from_utf8(number).ok()?.trim_ascii())?);
                next.strip_prefix(b",").unwrap_or(next)
            }
        };
    }
    Some(all)
}

/// What stands in a column.
pub(super) trait Number: Sized {
    /// A number of at most [`FEW_DIGITS`] digits.
    fn of_few_digits(negative: bool, value: u64) -> Option<Self>;
    /// Any number, from its JSON.
    fn read(json: &str) -> Option<Self>;
}

impl Number for u64 {
    fn of_few_digits(negative: bool, value: u64) -> Option<Self> {
        (!negative || value == 0).then_some(value)
    }

    fn read(json: &str) -> Option<Self> {
        json.parse().ok()
    }
}

impl Number for i64 {
    fn of_few_digits(negative: bool, value: u64) -> Option<Self> {
        let value = Self::try_from(value).ok()?;
        Some(if negative { value.wrapping_neg() } else { value })
    }

    fn read(json: &str) -> Option<Self> {
        json.parse().ok()
    }
}

/// An amount as a number of picounits where that is one of JSON's, else as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pico(pub(super) Amount);

impl Serialize for Pico {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match i64::try_from(self.0.pico()) {
            Ok(pico) => serializer.serialize_i64(pico),
            Err(_) => serializer.collect_str(&self.0.pico()),
        }
    }
}

impl Number for Pico {
    fn of_few_digits(negative: bool, value: u64) -> Option<Self> {
        i64::of_few_digits(negative, value).map(|pico| Self(Amount::from_pico(i128::from(pico))))
    }

    fn read(json: &str) -> Option<Self> {
        let pico = match json.parse::<i64>() {
            Ok(pico) => i128::from(pico),
            Err(_) => json.strip_prefix('"').and_then(|json| json.strip_suffix('"')).unwrap_or(json).parse().ok()?,
        };
        Some(Self(Amount::from_pico(pico)))
    }
}

/// Values by number, each once; 0 is none.
pub(super) struct Codes<T> {
    known: BTreeMap<T, i64>,
    pub(super) values: Vec<T>,
    /// Rows are sorted: most say what the one before them said.
    last: Option<(T, i64)>,
}

impl<T: Clone + Ord> Codes<T> {
    pub(super) const fn new() -> Self {
        Self { known: BTreeMap::new(), values: Vec::new(), last: None }
    }

    pub(super) fn code(&mut self, value: Option<&T>) -> i64 {
        let Some(value) = value else { return 0 };
        if let Some((last, code)) = &self.last
            && last == value
        {
            return *code;
        }
        let code = match self.known.get(value) {
            Some(code) => *code,
            None => {
                self.values.push(value.clone());
                let code = i64::try_from(self.values.len()).unwrap_or(i64::MAX);
                self.known.insert(value.clone(), code);
                code
            }
        };
        self.last = Some((value.clone(), code));
        code
    }
}

/// The value of a code. A code that was never given is a damaged record.
pub(super) fn value_of<T: Clone>(values: &[T], code: i64) -> Option<Option<T>> {
    match code {
        0 => Some(None),
        code => values.get(usize::try_from(code.checked_sub(1)?).ok()?).cloned().map(Some),
    }
}

/// Rows of a partition that are written as one list.
pub(super) struct List<'a> {
    partition: &'a str,
    prefix: String,
    day: NaiveDate,
}

impl List<'_> {
    /// The puts of these rows, which `pack` makes records of; where their texts make a record too large, of the halves.
    fn put<R, P: Serialize>(
        &self,
        rows: &[R],
        pack: &impl Fn(NaiveDate, &[R]) -> P,
        puts: &mut Vec<Write>,
    ) -> Result<(), StoreError> {
        let value = records::to_json(&pack(self.day, rows))?;
        let half = rows.len().div_euclid(2);
        if value.len() > VALUE_BYTES_MAX && half > 0 {
            let (first, second) = rows.split_at(half);
            self.put(first, pack, puts)?;
            return self.put(second, pack, puts);
        }
        let key = Key::new(self.partition, format!("{}{:06}", self.prefix, puts.len()));
        puts.push(Write::Put { key, value, expect: Expect::Any, until_s: None });
        Ok(())
    }

    pub(super) fn puts<R, P: Serialize>(
        &self,
        rows: &[R],
        pack: impl Fn(NaiveDate, &[R]) -> P,
    ) -> Result<Vec<Write>, StoreError> {
        let mut puts = Vec::new();
        rows.chunks(ROWS_MAX).try_for_each(|rows| self.put(rows, &pack, &mut puts))?;
        Ok(puts)
    }
}

pub(super) fn list<'a>(partition: &'a str, run: &str, name: &str, day: NaiveDate) -> List<'a> {
    List { partition, prefix: format!("{run}/{name}/"), day }
}

/// Codes of texts, asked for by several columns.
pub(super) struct Texts {
    pub(super) codes: Codes<Id>,
    last: [Option<(Id, i64)>; 9],
}

impl Texts {
    pub(super) const fn new() -> Self {
        Self { codes: Codes::new(), last: [const { None }; 9] }
    }

    /// Adds a row to columns that are always given in the same order.
    pub(super) fn push<const N: usize>(&mut self, row: [(&mut Runs, Option<&Id>); N]) {
        for (at, (column, text)) in row.into_iter().enumerate() {
            column.push(self.code(at, text));
        }
    }

    fn code(&mut self, column: usize, text: Option<&Id>) -> i64 {
        let last = self.last.get_mut(column);
        match (text, last) {
            (None, _) => 0,
            (Some(text), Some(Some((known, code)))) if known == text => *code,
            (Some(text), last) => {
                let code = self.codes.code(Some(text));
                if let Some(last) = last {
                    *last = Some((text.clone(), code));
                }
                code
            }
        }
    }
}

/// Texts of one record for numbered names, numbered as they come.
pub(super) struct Numbered<'f> {
    facts: &'f SettlementFacts,
    codes: Vec<i64>,
    pub(super) texts: Vec<Id>,
}

impl<'f> Numbered<'f> {
    pub(super) fn of(facts: &'f SettlementFacts) -> Self {
        Self { facts, codes: vec![0; facts.names().len()], texts: Vec::new() }
    }

    pub(super) fn code(&mut self, name: Code) -> i64 {
        let Some(code) = name.place().and_then(|place| self.codes.get_mut(place)) else { return 0 };
        if *code == 0 {
            self.texts.extend(self.facts.name(name).cloned());
            *code = i64::try_from(self.texts.len()).unwrap_or(i64::MAX);
        }
        *code
    }

    /// Adds a row to columns.
    pub(super) fn push<const N: usize>(&mut self, row: [(&mut Runs, Code); N]) {
        for (column, name) in row {
            column.push(self.code(name));
        }
    }
}

/// Numbers of names for the texts of one record.
pub(super) struct Read(Vec<Code>);

impl Read {
    pub(super) fn of(texts: &[Id], names: &mut Numbering) -> Self {
        Self(texts.iter().map(|text| names.code(Some(text))).collect())
    }

    /// A code that was never given is a damaged record.
    pub(super) fn code(&self, code: i64) -> Option<Code> {
        match code {
            0 => Some(Code::NONE),
            code => self.0.get(usize::try_from(code.checked_sub(1)?).ok()?).copied(),
        }
    }

    /// As [`Read::code`], of what every row has.
    pub(super) fn required(&self, code: i64) -> Option<Code> {
        self.code(code).filter(|code| *code != Code::NONE)
    }
}

/// None where a column is longer or shorter than the others: then some rows are lost.
pub(super) fn all_are(mut lengths: impl Iterator<Item = usize>, rows: usize) -> Option<()> {
    lengths.all(|length| length == rows).then_some(())
}

/// The number of a kind; the first one's is 0.
pub(super) fn kind_code(kind: Kind) -> i64 {
    Kind::ALL.iter().position(|known| *known == kind).and_then(|at| i64::try_from(at).ok()).unwrap_or_default()
}

/// The kind with a number. A number that no kind has is a damaged record.
pub(super) fn kind_of(code: i64) -> Option<Kind> {
    Kind::ALL.get(usize::try_from(code).ok()?).copied()
}

/// The day so many days after another, or before it.
pub(super) fn later(day: NaiveDate, days: i64) -> Option<NaiveDate> {
    let distance = Days::new(days.unsigned_abs());
    if days < 0 { day.checked_sub_days(distance) } else { day.checked_add_days(distance) }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn read<N: Number>(json: &str) -> Option<Vec<N>> {
        serde_json::from_str::<Column<N>>(json).ok().map(|column| column.0)
    }

    #[test]
    fn a_column_is_read_from_its_json() {
        assert_eq!(read::<u64>("[]"), Some(vec![]));
        assert_eq!(read::<u64>(" [ 0 ,18446744073709551615 ] "), Some(vec![0, u64::MAX]));
        assert_eq!(read::<i64>("[-9223372036854775808,7]"), Some(vec![i64::MIN, 7]));
        let amounts = [0, -1, i128::from(i64::MIN), i128::MAX].map(|pico| Pico(Amount::from_pico(pico)));
        let written = serde_json::to_string(&Column(amounts.to_vec())).unwrap();
        assert_eq!(read::<Pico>(&written), Some(amounts.to_vec()), "{written}");
    }

    #[test]
    fn what_is_no_number_is_not_read() {
        for json in ["7", "null", "[1,]", "[,1]", "[1.0]", "[1e3]", "[true]", "[[1]]", "[18446744073709551616]"] {
            assert_eq!(read::<u64>(json), None, "{json}");
        }
        for json in ["[\"1,2\"]", "[\"\"]", "[\"x\"]", "[0.5]"] {
            assert_eq!(read::<Pico>(json), None, "{json}");
        }
    }
}
