//! `recoup audit`: who did what, when, from where.

use chrono::{DateTime, Days, NaiveDate, NaiveTime, SecondsFormat, Utc};
use clap::Args;
use serde_json::Value;

use super::Desk;
use super::range::at_least_one;
use crate::api::Ask;
use crate::failure::{Failure, Verdict};
use crate::table::{Column, Grid, field, moment, plain};

/// Items of a list that are shown; all with --json.
const ITEMS_MAX: usize = 3;
/// Days shown when none is named.
const DAYS_DEFAULT: u64 = 31;

/// Lists what people did: closes, rate cards, price lists, limits, acknowledgements, extensions, reviews, keys, organisation
/// files, and what critical work was let through for. The newest entry is the last.
#[derive(Debug, Args)]
#[command(after_help = "\
Who is a person, else an API key, else the operator at this machine; from is the
address that connected, or a user of this machine. Nothing is ever removed.
Role: finance or admin.

Examples:
  recoup audit
  recoup audit --from 2026-11-01 --limit 500
  recoup --json audit | jq '.rows[] | select(.action == \"budget-set\")'")]
pub(crate) struct Audit {
    /// First day, UTC, or an instant as 2026-11-01T08:00:00Z [default: 31 days ago]
    #[arg(long, value_name = "TIME", value_parser = instant)]
    from: Option<DateTime<Utc>>,
    /// Entries shown at most, the newest ones
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = at_least_one())]
    limit: usize,
}

fn instant(text: &str) -> Result<DateTime<Utc>, String> {
    let day = text.parse::<NaiveDate>().map(|day| day.and_time(NaiveTime::MIN).and_utc());
    day.or_else(|_| text.parse())
        .map_err(|_| "write a day as 2026-11-01, or an instant as 2026-11-01T08:00:00Z".to_owned())
}

impl Audit {
    /// Runs the verb.
    pub(crate) async fn run(&self, desk: &Desk) -> Result<Verdict, Failure> {
        let recent = || Utc::now().checked_sub_days(Days::new(DAYS_DEFAULT));
        let from = self.from.or_else(recent).map(|from| from.to_rfc3339_opts(SecondsFormat::Secs, true));
        let newest = Ask::get(&["v1", "audit"]).with("newest", true).with_some("from", from);
        // One more than is shown tells whether there are more.
        let mut found = desk.api.rows(newest, self.limit.saturating_add(1)).await?;
        let has_older = found.rows.len() > self.limit;
        found.rows.truncate(self.limit);
        found.rows.reverse();
        found.more = false;
        if desk.screen.json() {
            desk.screen.document(found.to_json().to_string().as_bytes())?;
        } else if found.rows.is_empty() {
            desk.screen.line("nothing was done in that time")?;
        } else {
            desk.screen.table(&grid(&found.rows))?;
            if has_older {
                desk.screen.line(format!("only the last {} are shown; more with --limit", self.limit))?;
            }
        }
        Ok(Verdict::Yes)
    }
}

fn grid(rows: &[Value]) -> Grid {
    let mut grid = Grid::new([
        Column::Name("at"),
        Column::Name("who"),
        Column::Name("via"),
        Column::Name("from"),
        Column::Name("key"),
        Column::Name("action"),
        Column::Name("target"),
        Column::Prose("detail"),
    ]);
    for row in rows {
        let text = |name| field(row, name);
        let [who, via, from, key, action, target] = ["who", "via", "from", "key", "action", "target"].map(text);
        grid.row([moment(&text("at")), who, via, from, key, action, target, detail(row)]);
    }
    grid
}

fn detail(row: &Value) -> String {
    let fields = row.get("detail").and_then(Value::as_object).into_iter().flatten();
    let said = fields.filter(|(_, value)| !value.is_null());
    let texts = said.map(|(name, value)| match value {
        Value::Array(list) => {
            let shown: Vec<String> = list.iter().take(ITEMS_MAX).map(plain).collect();
            let more = list.len().saturating_sub(ITEMS_MAX);
            let more = if more > 0 { format!("; and {more} more") } else { String::new() };
            format!("{name}: {}{more}", shown.join("; "))
        }
        // Whether it was asked for is told either way.
        Value::Bool(false) => format!("{name}: no"),
        other => format!("{name}: {}", plain(other)),
    });
    texts.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{detail, instant};

    #[test]
    fn a_day_is_its_first_instant() {
        assert_eq!(instant("2026-11-01").map(|at| at.to_rfc3339()), Ok("2026-11-01T00:00:00+00:00".to_owned()));
        assert_eq!(
            instant("2026-11-01T08:30:00+01:00").map(|at| at.to_rfc3339()),
            Ok("2026-11-01T07:30:00+00:00".to_owned())
        );
        assert!(instant("yesterday").is_err());
    }

    #[test]
    fn what_is_known_is_told_in_words() {
        let row = json!({ "detail": { "limit": "5", "before": null, "changes": ["~ a: 1 -> 2", "+ b", "+ c", "+ d", "+ e"] } });
        assert_eq!(detail(&row), "changes: ~ a: 1 -> 2; + b; + c; and 2 more, limit: 5");
        assert_eq!(detail(&json!({ "detail": { "asked": false, "reserved": true } })), "asked: no, reserved: yes");
    }
}
