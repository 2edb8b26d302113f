//! What a later version of the organisation file may never change.

use crate::organisation::{FileProblem, Organisation};

/// Everything that `new` changes and that the first version fixed: the currency, the time zone and the lanes of the
/// event log. The problems have no line (0), as they are not ones of the text.
#[must_use]
pub fn check_succession(old: &Organisation, new: &Organisation) -> Vec<FileProblem> {
    let fixed = [
        ("organisation.currency", old.currency.code().to_owned(), new.currency.code().to_owned()),
        ("organisation.time_zone", old.time_zone.name().to_owned(), new.time_zone.name().to_owned()),
        ("policy.lanes", old.policy.lanes.to_string(), new.policy.lanes.to_string()),
    ];
    let changed = fixed.into_iter().filter(|(_, before, after)| before != after);
    changed
        .map(|(path, before, after)| FileProblem {
            line: 0,
            path: path.to_owned(),
            problem: format!("the first version fixed it as `{before}`; `{after}` cannot replace that"),
            remedy: format!("write `{before}`, or begin with a new data folder"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::organisation::parse;

    fn organisation(name: &str, currency: &str, zone: &str, lanes: u16) -> Organisation {
        let head = format!("name = \"{name}\"\ncurrency = \"{currency}\"\ntime_zone = \"{zone}\"");
        parse(&format!("[organisation]\n{head}\n[policy]\nlanes = {lanes}\n")).unwrap()
    }

    #[test]
    fn mon_4_the_first_version_fixes_currency_zone_and_lanes() {
        let old = organisation("A", "USD", "Europe/Berlin", 1);
        let problems = check_succession(&old, &organisation("B", "EUR", "UTC", 2));
        let words: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            words,
            [
                "organisation.currency: the first version fixed it as `USD`; `EUR` cannot replace that; \
                 write `USD`, or begin with a new data folder",
                "organisation.time_zone: the first version fixed it as `Europe/Berlin`; `UTC` cannot replace that; \
                 write `Europe/Berlin`, or begin with a new data folder",
                "policy.lanes: the first version fixed it as `1`; `2` cannot replace that; \
                 write `1`, or begin with a new data folder",
            ]
        );
    }

    #[test]
    fn a_later_version_may_change_the_rest() {
        let old = organisation("A", "USD", "UTC", 1);
        let mut new = organisation("B", "USD", "UTC", 1);
        new.policy.half_life_days = 30;
        assert!(check_succession(&old, &new).is_empty());
    }
}
