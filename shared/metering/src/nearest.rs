//! The known name that a mistyped one was probably meant to be.

/// Names longer than this are not compared: no known name is as long.
const COMPARED_BYTES_MAX: usize = 40;
/// Edits within which a name counts as mistyped.
const EDITS_MAX: usize = 2;

/// Names that other formats use for our fields.
const FOREIGN: &[(&str, &str)] = &[
    ("id", "event_id"),
    ("span_id", "event_id"),
    ("parent_span_id", "parent_id"),
    ("time", "used_at"),
    ("timestamp", "used_at"),
    ("end_time", "used_at"),
    ("latency_ms", "duration_ms"),
    ("type", "kind"),
    ("agent", "tags.agent"),
    ("task_type", "tags.task_type"),
    ("task_id", "tags.task_id"),
    ("user", "tags.user"),
    ("team", "tags.team"),
    ("project", "tags.project"),
    ("tokens", "usage"),
    ("cost_usd", "cost"),
    ("response_cost", "cost"),
    ("reported_cost", "cost"),
    ("total_cost", "cost"),
    ("currency", "cost.currency"),
    ("amount", "cost.amount"),
];

/// What a client that wrote `name` as a top-level field probably meant.
pub(crate) fn field<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    FOREIGN.iter().find(|(foreign, _)| *foreign == name).map(|(_, ours)| *ours).or_else(|| among(name, known))
}

/// The known name nearest to `name`, if it is near enough to be a slip.
pub(crate) fn among<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    if name.len() > COMPARED_BYTES_MAX {
        return None;
    }
    known
        .iter()
        .map(|candidate| (edits(name, candidate), *candidate))
        .filter(|(edits, candidate)| *edits <= EDITS_MAX && *edits < candidate.len().div_ceil(2))
        .min()
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance in bytes, case aside.
fn edits(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (above, x) in a.bytes().enumerate() {
        let mut diagonal = above;
        let mut left = above.saturating_add(1);
        for (cell, y) in row.iter_mut().skip(1).zip(b.bytes()) {
            let replaced = diagonal.saturating_add(usize::from(!x.eq_ignore_ascii_case(&y)));
            diagonal = *cell;
            *cell = replaced.min(left.saturating_add(1)).min(diagonal.saturating_add(1));
            left = *cell;
        }
        if let Some(first) = row.first_mut() {
            *first = above.saturating_add(1);
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evt_1_a_slip_finds_its_field() {
        let known = ["event_id", "used_at", "usage", "usage_native", "kind"];
        for (slip, meant) in [
            ("event_Id", Some("event_id")),
            ("eventid", Some("event_id")),
            ("usedAt", Some("used_at")),
            ("usgae", Some("usage")),
            ("timestamp", Some("used_at")),
            ("team", Some("tags.team")),
            ("reported_cost", Some("cost")),
            ("colour", None),
            ("x", None),
        ] {
            assert_eq!(field(slip, &known), meant, "{slip}");
        }
    }

    #[test]
    fn evt_1_distance_is_levenshtein_s() {
        for (a, b, distance) in [("kitten", "sitting", 3), ("", "abc", 3), ("abc", "", 3), ("same", "SAME", 0)] {
            assert_eq!(edits(a, b), distance, "{a} {b}");
        }
    }
}
