//! The shape of an explanation: steps from a line down to the events, each with its rule, its words, its arithmetic and a
//! table, and the sums that have to be equal.

use recoup_money::Amount;
use serde::Serialize;

use crate::error::Refusal;

/// Rows of a table at most, whatever was asked for; what is not shown is summed up in one more.
pub const ROWS_MAX: usize = 1_000;

/// A step of an explanation.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Step {
    /// Its name: `line`, `price`, `pool`, `traces` ...
    pub step: &'static str,
    /// The rules behind it, by id.
    pub rules: &'static [&'static str],
    /// In sentences.
    pub says: Vec<String>,
    /// Calculations, written out.
    pub arithmetic: Vec<String>,
    /// What is added up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<Table>,
}

impl Step {
    /// A step without content.
    pub(crate) const fn new(step: &'static str, rules: &'static [&'static str]) -> Self {
        Self { step, rules, says: Vec::new(), arithmetic: Vec::new(), table: None }
    }

    pub(crate) fn say(mut self, text: impl Into<String>) -> Self {
        self.says.push(text.into());
        self
    }

    pub(crate) fn calculate(mut self, text: impl Into<String>) -> Self {
        self.arithmetic.push(text.into());
        self
    }

    pub(crate) fn with(mut self, table: Table) -> Self {
        self.table = Some(table);
        self
    }
}

/// A column: its title, and whether it holds figures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Column {
    /// Its title.
    pub name: &'static str,
    /// Figures, to be read from the right.
    pub figure: bool,
}

impl Column {
    /// A column of names, or of figures where the title is written with a leading `#`.
    fn of(title: &'static str) -> Self {
        let figure = title.strip_prefix('#');
        Self { name: figure.unwrap_or(title), figure: figure.is_some() }
    }
}

/// A table: its columns in order, rows of texts, and below them what is not shown and the sum.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Table {
    /// The columns.
    pub columns: Vec<Column>,
    /// Rows in order, a text for each column.
    pub rows: Vec<Vec<String>>,
    /// The rows that are not shown, added up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rest: Option<Vec<String>>,
    /// All rows, shown or not, added up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<Vec<String>>,
    /// How many rows there are in all.
    pub rows_in_all: usize,
}

/// A row on its way into a table: its names, and the figures that are added up.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) names: Vec<String>,
    pub(crate) figures: Vec<Amount>,
}

impl Table {
    /// A table of rows that add up: the first `shown`, the rest as one, and the sum. `names` stand before `figures`. The
    /// title of a column of figures is written with a leading `#`.
    pub(crate) fn of(
        (names, figures): (&[&'static str], &[&'static str]),
        rows: Vec<Row>,
        shown: usize,
    ) -> Result<Self, Refusal> {
        let rows_in_all = rows.len();
        let shown = shown.min(ROWS_MAX);
        let sum = |rows: &[Row]| -> Result<Vec<String>, Refusal> {
            let sums = (0..figures.len()).map(|at| {
                let column = rows.iter().map(|row| row.figures.get(at).copied().unwrap_or_default());
                Amount::checked_sum(column).map(|sum| sum.to_string()).ok_or_else(overflow)
            });
            sums.collect()
        };
        let labelled = |label: String, sums: Vec<String>| {
            let blanks = std::iter::repeat_n(String::new(), names.len().saturating_sub(1));
            std::iter::once(label).chain(blanks).chain(sums).collect::<Vec<_>>()
        };
        let total = labelled("total".to_owned(), sum(&rows)?);
        let hidden = rows.get(shown..).unwrap_or_default();
        let rest = match hidden.len() {
            0 => None,
            more => Some(labelled(format!("{more} more"), sum(hidden)?)),
        };
        let text = |row: Row| row.names.into_iter().chain(row.figures.iter().map(ToString::to_string)).collect();
        Ok(Self {
            columns: names.iter().chain(figures).copied().map(Column::of).collect(),
            rows: rows.into_iter().take(shown).map(text).collect(),
            rest,
            total: Some(total),
            rows_in_all,
        })
    }

    /// A table of texts that do not add up; of more than `shown` rows the first are kept.
    pub(crate) fn list(columns: &[&'static str], rows: Vec<Vec<String>>, shown: usize) -> Self {
        let rows_in_all = rows.len();
        let rows = rows.into_iter().take(shown.min(ROWS_MAX)).collect();
        Self { columns: columns.iter().copied().map(Column::of).collect(), rows, rest: None, total: None, rows_in_all }
    }
}

/// Two figures that have to be one.
#[derive(Clone, Debug, Serialize)]
pub struct Tie {
    /// Which figure.
    pub what: String,
    /// As it was added up again.
    pub found: Amount,
    /// As it stands.
    pub expected: Amount,
    /// Whether they are equal.
    pub holds: bool,
}

/// The steps and checks of an explanation while it is made.
#[derive(Debug, Default)]
pub(crate) struct Explained {
    pub(crate) steps: Vec<Step>,
    pub(crate) ties: Vec<Tie>,
    /// What the arithmetic gives for the line.
    pub(crate) readded: Amount,
}

impl Explained {
    pub(crate) fn step(&mut self, step: Step) {
        self.steps.push(step);
    }

    pub(crate) fn tie(&mut self, what: impl Into<String>, found: Amount, expected: Amount) {
        self.ties.push(Tie { what: what.into(), found, expected, holds: found == expected });
    }
}

pub(crate) fn overflow() -> Refusal {
    Refusal::computation("explain a line", "a sum overflows")
}

/// The sum of amounts.
pub(crate) fn sum(amounts: impl IntoIterator<Item = Amount>) -> Result<Amount, Refusal> {
    Amount::checked_sum(amounts).ok_or_else(overflow)
}

/// Adds to an amount.
pub(crate) fn plus(sum: &mut Amount, more: Amount) -> Result<(), Refusal> {
    *sum = sum.checked_add(more).ok_or_else(overflow)?;
    Ok(())
}

/// A count as a decimal.
pub(crate) fn whole(count: u64) -> Result<Amount, Refusal> {
    Amount::from_pico(recoup_money::PICO_PER_UNIT).checked_mul(i128::from(count)).ok_or_else(overflow)
}
