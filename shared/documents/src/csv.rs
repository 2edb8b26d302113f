//! A statement as CSV (RFC 4180): a header, a row for each line, the total last.

use crate::statement::{Statement, StatementLine};

const COLUMNS: &[&str] = &[
    "statement",
    "revision",
    "team",
    "cost_centre",
    "period",
    "mode",
    "kind",
    "agent",
    "task_type",
    "pool",
    "billing",
    "provider",
    "model",
    "class",
    "sku",
    "quantity",
    "unit",
    "price",
    "from",
    "method",
    "basis",
    "ratio",
    "original_period",
    "original_kind",
    "exact",
    "amount",
    "currency",
];

/// The CSV of a statement, lines ended by CRLF.
///
/// Text that a spreadsheet would take for a formula (it begins with `=`, `+`, `-`, `@`, a tab or a carriage return) is
/// given a leading apostrophe. Amounts are plain decimals.
#[must_use]
pub fn statement_csv(statement: &Statement) -> String {
    let mut out = String::new();
    push_row(&mut out, COLUMNS.iter().map(|name| (*name).to_owned()));
    for line in &statement.lines {
        let row = cells(statement, line);
        push_row(&mut out, row.into_iter());
    }
    let total = total_row(statement);
    push_row(&mut out, total.into_iter());
    out
}

fn push_row(out: &mut String, cells: impl Iterator<Item = String>) {
    let quoted: Vec<String> = cells.map(|cell| quote(&cell)).collect();
    out.push_str(&quoted.join(","));
    out.push_str("\r\n");
}

fn quote(cell: &str) -> String {
    if cell.contains([',', '"', '\r', '\n']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell.to_owned() }
}

fn text(value: impl std::fmt::Display) -> String {
    let value = value.to_string();
    if value.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{value}") } else { value }
}

fn optional<T: std::fmt::Display>(value: Option<&T>) -> String {
    value.map(text).unwrap_or_default()
}

fn head(statement: &Statement) -> Vec<String> {
    vec![
        text(&statement.statement),
        statement.revision.to_string(),
        text(&statement.team),
        optional(statement.cost_centre.as_ref()),
        statement.period.to_string(),
        statement.mode.clone(),
    ]
}

fn cells(statement: &Statement, printed: &StatementLine) -> Vec<String> {
    let line = &printed.line;
    let key = &line.key;
    let plain = |value: Option<recoup_money::Amount>| value.map(|value| value.to_string()).unwrap_or_default();
    let mut row = head(statement);
    row.extend([
        key.kind.name().to_owned(),
        optional(key.agent.as_ref()),
        optional(key.task_type.as_ref()),
        optional(key.pool.as_ref()),
        key.billing.map(|billing| billing.name().to_owned()).unwrap_or_default(),
        optional(key.provider.as_ref()),
        optional(key.model.as_ref()),
        key.class.map(|class| class.name().to_owned()).unwrap_or_default(),
        optional(key.sku.as_ref()),
        plain(line.quantity),
        optional(key.unit.as_ref()),
        plain(line.price),
        key.from.map(|day| day.to_string()).unwrap_or_default(),
        optional(line.method.as_ref()),
        optional(line.basis.as_ref()),
        optional(line.ratio.as_ref()),
        key.original_period.map(|period| period.to_string()).unwrap_or_default(),
        key.original_kind.map(|kind| kind.name().to_owned()).unwrap_or_default(),
        line.exact.to_string(),
        printed.amount.clone(),
        statement.currency.to_string(),
    ]);
    row
}

fn total_row(statement: &Statement) -> Vec<String> {
    let mut row = head(statement);
    row.push("total".to_owned());
    let blanks = COLUMNS.len().saturating_sub(row.len()).saturating_sub(3);
    row.extend(std::iter::repeat_n(String::new(), blanks));
    row.extend([statement.exact_total.to_string(), statement.total.clone(), statement.currency.to_string()]);
    row
}

#[cfg(test)]
mod tests {
    use super::{quote, text};

    #[test]
    fn clo_2_text_is_quoted_and_never_a_formula() {
        let cells = ["=1+1", "+a", "-a", "@a", "\ta", "a-b", "a,\"b\"\r\n", ""].map(|cell| quote(&text(cell)));
        assert_eq!(cells, ["'=1+1", "'+a", "'-a", "'@a", "'\ta", "a-b", "\"a,\"\"b\"\"\r\n\"", ""]);
    }
}
