//! Tables and amounts for people to read. Programs read `--json`.

use comfy_table::{Cell, CellAlignment, ColumnConstraint, ContentArrangement, Table, TableComponent, Width};
use recoup_money::{Amount, round_to_step};
use serde_json::Value;

/// Letters that a column of prose keeps at least when the terminal is narrow.
const PROSE_MIN: u16 = 24;
/// Blanks between columns.
const GAP: u16 = 2;

/// What stands in a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    /// Names and dates, never broken.
    Name(&'static str),
    /// Amounts and counts, at the right.
    Figure(&'static str),
    /// Sentences, broken where the terminal ends.
    Prose(&'static str),
}

impl Column {
    const fn title(self) -> &'static str {
        match self {
            Self::Name(title) | Self::Figure(title) | Self::Prose(title) => title,
        }
    }
}

/// A table without borders: a header, a line, the rows, and below a second line the sum, where there is one.
#[derive(Clone, Debug)]
pub(crate) struct Grid {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
    sum: Option<Vec<String>>,
}

impl Grid {
    /// A table of these columns.
    pub(crate) fn new(columns: impl Into<Vec<Column>>) -> Self {
        Self { columns: columns.into(), rows: Vec::new(), sum: None }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| single_line(&cell)).collect());
    }

    /// Sets the last row.
    pub(crate) fn sum(&mut self, cells: impl IntoIterator<Item = String>) {
        self.sum = Some(cells.into_iter().collect());
    }

    /// Whether it has no rows.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table as text, each line without trailing blanks. Columns that are empty in every row are left out; prose is
    /// broken at `width`, or not at all without one.
    pub(crate) fn render(&self, width: Option<u16>) -> String {
        let shown: Vec<usize> = (0..self.columns.len()).filter(|at| self.is_used(*at)).collect();
        let mut table = Table::new();
        table.load_preset(comfy_table::presets::NOTHING).force_no_tty();
        table.set_style(TableComponent::HeaderLines, '-');
        match width {
            Some(width) => table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width),
            None => table.set_content_arrangement(ContentArrangement::Disabled),
        };
        let titles = shown.iter().filter_map(|at| self.columns.get(*at)).map(|column| Cell::new(column.title()));
        table.set_header(titles.collect::<Vec<_>>());
        for cells in self.rows.iter().chain(&self.sum) {
            let picked = shown.iter().map(|at| Cell::new(cells.get(*at).map_or("", String::as_str)));
            table.add_row(picked.collect::<Vec<_>>());
        }
        for (place, at) in shown.iter().enumerate() {
            if let (Some(column), Some(kind)) = (table.column_mut(place), self.columns.get(*at)) {
                let is_last = place.saturating_add(1) == shown.len();
                column.set_padding((0, if is_last { 0 } else { GAP }));
                column.set_cell_alignment(match kind {
                    Column::Figure(_) => CellAlignment::Right,
                    Column::Name(_) | Column::Prose(_) => CellAlignment::Left,
                });
                column.set_constraint(match kind {
                    Column::Prose(_) => ColumnConstraint::LowerBoundary(Width::Fixed(PROSE_MIN)),
                    Column::Name(_) | Column::Figure(_) => ColumnConstraint::ContentWidth,
                });
            }
        }
        self.with_sum_line(&table.trim_fmt())
    }

    /// Repeats the header's line above the sum.
    fn with_sum_line(&self, text: &str) -> String {
        let mut lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        let rule = lines.get(1).copied().unwrap_or_default();
        if self.sum.is_some() && !self.rows.is_empty() {
            lines.insert(lines.len().saturating_sub(1), rule);
        }
        lines.join("\n")
    }

    fn is_used(&self, at: usize) -> bool {
        self.rows.iter().any(|cells| cells.get(at).is_some_and(|cell| !cell.is_empty()))
    }
}

fn single_line(cell: &str) -> String {
    cell.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

/// A field of a JSON object as text: nothing for a missing one, `yes` for a flag that is set.
pub(crate) fn field(row: &Value, name: &str) -> String {
    plain(row.get(name).unwrap_or(&Value::Null))
}

/// A JSON value as text.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::Null | Value::Bool(false) => String::new(),
        Value::Bool(true) => "yes".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// An amount rounded half to even to `digits` fraction digits, for display. What is not zero never reads as zero.
pub(crate) fn money(text: &str, digits: u32) -> String {
    let Ok(exact) = text.parse::<Amount>() else { return text.to_owned() };
    let step = 10_i128.saturating_pow(12_u32.saturating_sub(digits));
    let Some(pico) = round_to_step(exact.pico(), 1, step, 1) else { return text.to_owned() };
    let rounded = Amount::from_pico(pico);
    if rounded.is_zero() && !exact.is_zero() {
        let sign = if exact < Amount::ZERO { ">-" } else { "<" };
        return format!("{sign}{}", with_digits(Amount::from_pico(step), digits));
    }
    with_digits(rounded, digits)
}

/// A field that is an amount, rounded for display.
pub(crate) fn money_field(row: &Value, name: &str, digits: u32) -> String {
    money(&field(row, name), digits)
}

fn with_digits(amount: Amount, digits: u32) -> String {
    let text = amount.to_string();
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    if digits == 0 {
        return whole.to_owned();
    }
    let width = usize::try_from(digits).unwrap_or(0);
    format!("{whole}.{fraction:0<width$}")
}

/// A time to the second; midnight in UTC is a date.
pub(crate) fn moment(text: &str) -> String {
    let Some((date, time)) = text.split_once('T').filter(|(_, time)| time.ends_with('Z')) else {
        return text.to_owned();
    };
    match time.trim_end_matches('Z').split('.').next().unwrap_or_default() {
        "00:00:00" => date.to_owned(),
        seconds => format!("{date} {seconds}Z"),
    }
}

/// The beginning of a digest or an id, enough to tell it from others.
pub(crate) fn short(text: &str) -> String {
    let head: String = text.chars().take(12).collect();
    if head.len() < text.len() { format!("{head}..") } else { head }
}

#[cfg(test)]
mod tests {
    use super::{Column, Grid, field, moment, money, short};
    use serde_json::json;

    fn grid() -> Grid {
        let mut grid =
            Grid::new([Column::Name("team"), Column::Figure("cost"), Column::Name("gone"), Column::Prose("why")]);
        grid.row(
            ["support", "12.5000", "", "because it asked for a very long answer, twice, and then once more"]
                .map(String::from),
        );
        grid.row(["x", "1000.2500", "", "a\nb"].map(String::from));
        grid
    }

    #[test]
    fn figures_stand_right_and_empty_columns_are_left_out() {
        let mut grid = grid();
        grid.sum(["total", "1012.7500"].map(String::from));
        let text = grid.render(None);
        let lines: Vec<&str> = text.lines().collect();
        let rule = lines.get(1).copied().unwrap_or_default();
        assert!(rule.chars().all(|letter| letter == '-') && rule.len() > 30, "{text}");
        assert_eq!(lines.first().map(|line| line.trim_end()), Some("team          cost  why"));
        assert_eq!(lines.get(3).map(|line| line.trim_end()), Some("x        1000.2500  a b"));
        assert_eq!(lines.get(4).copied(), Some(rule));
        assert_eq!(lines.get(5).map(|line| line.trim_end()), Some("total    1012.7500"));
    }

    #[test]
    fn prose_is_broken_and_names_are_not() {
        let text = grid().render(Some(60));
        assert!(text.lines().all(|line| line.len() <= 60), "{text}");
        assert!(text.lines().count() > 4 && text.contains("support") && text.contains("1000.2500"), "{text}");
    }

    #[test]
    fn mon_1_amounts_are_rounded_for_display_without_floats() {
        assert_eq!(money("12.34565", 4), "12.3456");
        assert_eq!(money("12.34575", 4), "12.3458");
        assert_eq!(money("-0.5", 4), "-0.5000");
        assert_eq!(money("3", 2), "3.00");
        assert_eq!(money("3", 0), "3");
        assert_eq!(money("0.000000125", 4), "<0.0001");
        assert_eq!(money("-0.000000125", 4), ">-0.0001");
        assert_eq!(money("0", 4), "0.0000");
        assert_eq!(money("n/a", 4), "n/a");
    }

    #[test]
    fn fields_are_text() {
        let row = json!({ "a": "x", "b": 3, "c": null, "d": true, "e": false });
        let texts: Vec<String> = ["a", "b", "c", "d", "e", "f"].iter().map(|name| field(&row, name)).collect();
        assert_eq!(texts, ["x", "3", "", "yes", "", ""]);
        assert_eq!(short("0123456789abcdef"), "0123456789ab..");
        assert_eq!(short("0123"), "0123");
    }

    #[test]
    fn times_are_shown_to_the_second() {
        assert_eq!(moment("2026-11-23T19:33:46.022118523Z"), "2026-11-23 19:33:46Z");
        assert_eq!(moment("2026-11-23T00:00:00Z"), "2026-11-23");
        assert_eq!(moment("2026-11-23"), "2026-11-23");
        assert_eq!(moment(""), "");
    }
}
