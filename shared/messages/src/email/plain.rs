//! A notice as text.

use crate::notice::Notice;
use crate::table;
use crate::text::{lines, one_line, spans, when};

/// A notice for people who read e-mail as text.
#[must_use]
pub fn plain_text(notice: &Notice) -> String {
    let mut parts = vec![lines(&notice.summary), facts(notice)];
    parts.extend(
        notice
            .table
            .as_ref()
            .filter(|table| !table.rows.is_empty())
            .map(|table| format!("{}\n{}", one_line(&table.title), table::aligned(table, usize::MAX).join("\n"))),
    );
    parts.extend(notice.outcome.as_ref().map(|done| format!("{}, {}", one_line(&done.what), when(&done.at))));
    if notice.outcome.is_none() && !notice.next_steps.is_empty() {
        let steps: String = notice.next_steps.iter().map(|step| format!("\n- {}", words(step))).collect();
        parts.push(format!("What to do{steps}"));
    }
    let links: Vec<String> = notice.links().map(|(label, url)| format!("{}: {url}", one_line(label))).collect();
    parts.push(links.join("\n"));
    parts.push(format!("{}\n{}", one_line(&notice.id), when(&notice.at)));
    parts.retain(|part| !part.trim().is_empty());
    format!("{}\n", parts.join("\n\n"))
}

fn facts(notice: &Notice) -> String {
    let labels: Vec<String> = notice.facts.iter().map(|fact| one_line(&fact.label)).collect();
    let width = labels.iter().map(|label| label.chars().count()).max().unwrap_or_default();
    let line = |(label, value): (&String, String)| format!("{label:width$}  {value}").trim_end().to_owned();
    let values = notice.facts.iter().map(|fact| one_line(&fact.value));
    labels.iter().zip(values).map(line).collect::<Vec<_>>().join("\n")
}

/// Without the backticks, which text does not need.
fn words(step: &str) -> String {
    spans(&one_line(step)).into_iter().map(|(words, _)| words).collect()
}
