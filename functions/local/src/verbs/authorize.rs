//! `recoup authorize`: whether work may begin; `recoup release`: what it reserved is given back; `recoup extend`: it lives
//! longer.

use clap::Args;
use serde_json::{Map, Value, json};

use super::Desk;
use crate::api::Ask;
use crate::failure::{Failure, Verdict};
use crate::table::{Column, Grid, field, moment};

/// Asks whether work may begin, and reserves what it costs at most at every limit that applies, or at none.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit code 0: it may begin. 1: it may not. 2 and 3: there is no answer; the
documented default is then to refuse work that is not critical. Name the
reservation as `reservation_id` in the event that reports the cost, or give it
back with `recoup release`. With --ask nothing is reserved.
Role: ingest or admin.

Examples:
  recoup authorize --team support --agent triage --amount 0.05
  recoup authorize --team support --provider anthropic \\
      --model claude-sonnet-4-6 --input-tokens 12000 --max-output-tokens 1000
  recoup authorize --team support --amount 0.05 --ask && ./agent")]
pub(crate) struct Authorize {
    /// Whose budget
    #[arg(long, value_name = "ID")]
    team: Option<String>,
    /// Which agent
    #[arg(long, value_name = "ID")]
    agent: Option<String>,
    /// Which project
    #[arg(long, value_name = "ID")]
    project: Option<String>,
    /// For whom
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// What kind of task
    #[arg(long, value_name = "ID")]
    task_type: Option<String>,
    /// Which task
    #[arg(long, value_name = "ID")]
    task_id: Option<String>,
    /// The trace, which names the task where --task-id does not
    #[arg(long, value_name = "ID")]
    trace_id: Option<String>,
    /// What it costs at most
    #[arg(long, value_name = "AMOUNT", conflicts_with_all = ["provider", "model", "service_tier", "input_tokens", "max_output_tokens"])]
    amount: Option<String>,
    /// The currency of --amount [default: the organisation's]
    #[arg(long, value_name = "CODE", requires = "amount")]
    currency: Option<String>,
    /// Who sells the model
    #[arg(long, value_name = "NAME", requires_all = ["model", "input_tokens", "max_output_tokens"])]
    provider: Option<String>,
    /// The model, which is priced by the catalogue
    #[arg(long, value_name = "NAME", requires = "provider")]
    model: Option<String>,
    /// The service tier that the model is called on [default: standard]
    #[arg(long, value_name = "NAME", requires = "provider")]
    service_tier: Option<String>,
    /// Most tokens that go in, priced as the dearest input that the model has (a write to a cache, say)
    #[arg(long, value_name = "N", requires = "provider")]
    input_tokens: Option<u64>,
    /// Most tokens that come out, priced as the dearest output that the model has
    #[arg(long, value_name = "N", requires = "provider")]
    max_output_tokens: Option<u64>,
    /// The work is critical; honoured where the organisation file declares its agent or task type so
    #[arg(long)]
    critical: bool,
    /// Seconds that the reservation lives [default: 900]
    #[arg(long, value_name = "SECONDS")]
    ttl: Option<u32>,
    /// Only ask; nothing is reserved
    #[arg(long)]
    ask: bool,
}

/// Gives back what a reservation holds: nothing was spent, or the event that says so does not name it.
#[derive(Debug, Args)]
#[command(after_help = "\
Once it is settled or has ended this changes nothing. A reservation belongs to
the key that asked for it; an admin may give back any. Role: ingest or admin.

Example:
  recoup release rsv2_AcjmgJ-G...")]
pub(crate) struct Release {
    /// The reservation
    id: String,
}

/// Makes a reservation live longer, from now on. It has a new id then, which takes the place of the old one.
#[derive(Debug, Args)]
#[command(after_help = "\
Not beyond the end of a period that it is counted in: then release it and ask
for a new one, which counts in both. A reservation belongs to the key that asked
for it; an admin may extend any. Role: ingest or admin.

Example:
  recoup extend rsv2_AcjmgJ-G... --ttl 7200")]
pub(crate) struct Extend {
    /// The reservation
    id: String,
    /// Seconds that it lives from now on
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    ttl: u32,
}

impl Authorize {
    /// Runs the verb.
    pub(crate) async fn run(&self, desk: &Desk) -> Result<Verdict, Failure> {
        let answer = desk.api.ask(Ask::post_json(&["v1", "authorize"], &self.body())).await?;
        let said = answer.json()?;
        if desk.screen.json() {
            desk.screen.document(&answer.bytes)?;
        } else {
            show(desk, &said)?;
        }
        Ok(Verdict::of(field(&said, "decision") == "allow"))
    }

    fn body(&self) -> Value {
        let tags = [
            ("team", &self.team),
            ("agent", &self.agent),
            ("project", &self.project),
            ("user", &self.user),
            ("task_type", &self.task_type),
            ("task_id", &self.task_id),
        ];
        let tags = tags.into_iter().filter_map(|(name, value)| Some((name.to_owned(), Value::from(value.clone()?))));
        let mut body = Map::new();
        body.insert("tags".into(), Value::Object(tags.collect()));
        body.extend(self.estimate().map(|estimate| ("estimate".to_owned(), estimate)));
        body.extend(self.trace_id.as_ref().map(|trace| ("trace_id".to_owned(), Value::from(trace.as_str()))));
        body.extend(self.critical.then(|| ("priority".to_owned(), Value::from("critical"))));
        body.extend(self.ttl.map(|ttl| ("ttl_s".to_owned(), Value::from(ttl))));
        body.extend(self.ask.then(|| ("reserve".to_owned(), Value::Bool(false))));
        Value::Object(body)
    }

    fn estimate(&self) -> Option<Value> {
        if let Some(amount) = &self.amount {
            return Some(json!({ "amount": amount, "currency": self.currency }));
        }
        let provider = self.provider.as_ref()?;
        Some(json!({
            "provider": provider, "model": self.model, "service_tier": self.service_tier,
            "input_tokens": self.input_tokens, "max_output_tokens": self.max_output_tokens,
        }))
    }
}

fn show(desk: &Desk, said: &Value) -> Result<(), Failure> {
    desk.screen.line(headline(said))?;
    let reservation = field(said, "reservation_id");
    if !reservation.is_empty() {
        desk.screen.line(format!("reservation {reservation}"))?;
    }
    let rows = said.get("scopes").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if rows.is_empty() {
        return Ok(());
    }
    let mut grid = Grid::new([
        Column::Name("scope"),
        Column::Name("period"),
        Column::Figure("limit"),
        Column::Figure("committed"),
        Column::Figure("left"),
    ]);
    for row in rows {
        grid.row(["scope", "period", "limit", "committed", "remaining"].map(|name| field(row, name)));
    }
    desk.screen.line("")?;
    desk.screen.table(&grid)
}

/// `allow: 0.05 USD is reserved until ..`, or who denies it and why.
fn headline(said: &Value) -> String {
    let decision = field(said, "decision");
    let mut words = Vec::new();
    let until = moment(&field(said, "expires_at"));
    if !until.is_empty() {
        words.push(format!("{} {} is reserved until {until}", field(said, "estimate"), field(said, "currency")));
    }
    if let Some(by) = said.get("decided_by").filter(|by| !by.is_null()) {
        let tier = field(by, "tier");
        let tier = if tier.is_empty() { tier } else { format!(" at {tier}%") };
        words.push(format!("{} by {}{tier}", field(by, "reason"), field(by, "scope")));
    }
    if words.is_empty() { decision } else { format!("{decision}: {}", words.join(", ")) }
}

impl Release {
    /// Runs the verb.
    pub(crate) async fn run(&self, desk: &Desk) -> Result<Verdict, Failure> {
        desk.api.ask(Ask::delete(&["v1", "reservations", &self.id])).await?;
        if desk.screen.json() {
            desk.screen.document(json!({ "released": self.id }).to_string().as_bytes())?;
        } else {
            desk.screen.line("released")?;
        }
        Ok(Verdict::Yes)
    }
}

impl Extend {
    /// Runs the verb.
    pub(crate) async fn run(&self, desk: &Desk) -> Result<Verdict, Failure> {
        let path = ["v1", "reservations", &self.id, "extension"];
        let answer = desk.api.ask(Ask::post_json(&path, &json!({ "ttl_s": self.ttl }))).await?;
        if desk.screen.json() {
            desk.screen.document(&answer.bytes)?;
        } else {
            let said = answer.json()?;
            desk.screen.line(format!("reserved until {}", moment(&field(&said, "expires_at"))))?;
            desk.screen.line(format!("reservation {}", field(&said, "reservation_id")))?;
        }
        Ok(Verdict::Yes)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::headline;

    #[test]
    fn bud_3_the_first_line_says_what_was_decided_and_by_whom() {
        let allowed =
            json!({ "decision": "allow", "expires_at": "2026-11-10T08:16:00Z", "estimate": "0.05", "currency": "USD" });
        assert_eq!(headline(&allowed), "allow: 0.05 USD is reserved until 2026-11-10 08:16:00Z");
        let by = json!({ "scope": "team:support", "tier": 90, "reason": "budget-exceeded" });
        let denied = json!({ "decision": "deny", "decided_by": by });
        assert_eq!(headline(&denied), "deny: budget-exceeded by team:support at 90%");
        assert_eq!(headline(&json!({ "decision": "allow" })), "allow");
    }
}
