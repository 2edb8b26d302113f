//! A table of letters of one width.

use crate::notice::Table;
use crate::text::{ELLIPSIS, one_line};

/// Characters of a cell.
const CELL_MAX: usize = 40;
/// Columns that are shown.
const COLUMNS_MAX: usize = 8;

/// The head, where there is one, and so many rows of a table, each a line; figures stand at the right of their column.
pub(crate) fn aligned(table: &Table, rows_max: usize) -> Vec<String> {
    let head = (!table.columns.is_empty()).then_some(&table.columns);
    let rows: Vec<Vec<String>> =
        head.into_iter().chain(table.rows.iter().take(rows_max)).map(|row| cells(row)).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns).map(|at| widest(&rows, at)).collect();
    let is_figures: Vec<bool> = (0..columns).map(|at| is_of_figures(table, at)).collect();
    rows.iter().map(|row| line(row, &widths, &is_figures)).collect()
}

/// Whether most cells of a column are figures, with or without a unit behind them.
pub(crate) fn is_of_figures(table: &Table, column: usize) -> bool {
    let is_figure = |cell: &String| {
        let first = cell.trim_start_matches(['-', '+', '−']).chars().next();
        first.is_some_and(|letter| letter.is_ascii_digit())
    };
    let cells = table.rows.iter().filter_map(|row| row.get(column)).filter(|cell| !cell.is_empty());
    let (figures, others): (Vec<_>, Vec<_>) = cells.partition(|cell| is_figure(cell));
    figures.len() > others.len()
}

fn cells(row: &[String]) -> Vec<String> {
    row.iter().take(COLUMNS_MAX).map(|cell| shortened(&one_line(cell))).collect()
}

fn shortened(cell: &str) -> String {
    if cell.chars().count() <= CELL_MAX {
        return cell.to_owned();
    }
    cell.chars().take(CELL_MAX.saturating_sub(1)).chain([ELLIPSIS]).collect()
}

fn widest(rows: &[Vec<String>], column: usize) -> usize {
    rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or_default()
}

fn line(row: &[String], widths: &[usize], is_figures: &[bool]) -> String {
    let pad = |((cell, width), is_figures): ((&String, &usize), &bool)| {
        if *is_figures { format!("{cell:>width$}") } else { format!("{cell:width$}") }
    };
    let cells: Vec<String> = row.iter().zip(widths).zip(is_figures).map(pad).collect();
    cells.join("  ").trim_end().to_owned()
}
