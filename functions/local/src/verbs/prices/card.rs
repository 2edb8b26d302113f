//! The rate card of a month: to see, and to approve.

use clap::Args;
use recoup_model::Period;
use serde_json::{Value, json};

use crate::api::{Answer, Ask};
use crate::failure::{Failure, Verdict};
use crate::screen::{Screen, can_ask};
use crate::table::{Column, Grid, field, moment, money_field, short};
use crate::verbs::Desk;

/// Which card to show.
#[derive(Debug, Args)]
pub(super) struct Card {
    /// The month whose prices they are [default: this one]
    month: Option<Period>,
}

/// Which card to approve.
#[derive(Debug, Args)]
pub(super) struct Approve {
    /// The month whose prices they are
    month: Period,
    /// The digest of the card that you looked at [default: the card as it is now, after showing it]
    #[arg(long, value_name = "SHA256")]
    digest: Option<String>,
}

impl Card {
    pub(super) async fn run(&self, desk: &Desk) -> Result<(), Failure> {
        let month = self.month.unwrap_or_else(|| Period::of(chrono::Utc::now().date_naive()));
        let card = fetch(desk, month).await?;
        if desk.screen.json() { desk.screen.document(&card.bytes) } else { show(desk.screen, &card.json()?) }
    }
}

impl Approve {
    pub(super) async fn run(&self, desk: &Desk) -> Result<Verdict, Failure> {
        let digest = match &self.digest {
            Some(digest) => digest.clone(),
            None => {
                let card = fetch(desk, self.month).await?.json()?;
                if !desk.screen.json() {
                    show(desk.screen, &card)?;
                }
                if can_ask() && !desk.screen.confirm(&format!("Approve the rate card of {}?", self.month))? {
                    return Ok(Verdict::No);
                }
                field(&card, "digest")
            }
        };
        let month = self.month.to_string();
        let path = ["v1", "rate-cards", &month, "approval"];
        let answer = desk.api.ask(Ask::post_json(&path, &json!({ "digest": digest }))).await?;
        if desk.screen.json() {
            desk.screen.document(&answer.bytes)?;
        } else {
            desk.screen
                .line(format!("approved the rate card of {month}; its prices hold once the next night has run"))?;
        }
        Ok(Verdict::Yes)
    }
}

async fn fetch(desk: &Desk, month: Period) -> Result<Answer, Failure> {
    desk.api.ask(Ask::get(&["v1", "rate-cards", &month.to_string()])).await
}

fn show(screen: Screen, card: &Value) -> Result<(), Failure> {
    let rows = card.get("rows").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if !rows.is_empty() {
        screen.table(&grid(rows))?;
    }
    screen.line(format!("rate card of {}, {}: {}", field(card, "period"), short(&field(card, "digest")), state(card)))
}

fn grid(rows: &[Value]) -> Grid {
    let mut grid = Grid::new([
        Column::Name("agent"),
        Column::Name("task_type"),
        Column::Name("per"),
        Column::Figure("approved last"),
        Column::Figure("on this card"),
        Column::Figure("change"),
    ]);
    for row in rows {
        let of = |name| field(row, name);
        let per = if of("model") == "time" { "minute".to_owned() } else { of("model") };
        let price = if of("price").is_empty() { "none".to_owned() } else { money_field(row, "price", 4) };
        let change = match of("change_percent") {
            change if change.is_empty() => String::new(),
            change => format!("{change} %"),
        };
        grid.row([of("agent"), of("task_type"), per, price, money_field(row, "candidate", 4), change]);
    }
    grid
}

/// What a card's state means for whoever reads it.
fn state(card: &Value) -> String {
    let approval = card.get("approval").unwrap_or(&Value::Null);
    match field(card, "state").as_str() {
        "provisional" => "the month before has nights to come, it may change".to_owned(),
        "waiting" => "waits for approval; what was approved last holds until then".to_owned(),
        "approved" => match (field(approval, "approved_at"), field(approval, "approved_by")) {
            (at, _) if at.is_empty() => "approved".to_owned(),
            (at, by) if by.is_empty() => format!("approved by the operator, {}", moment(&at)),
            (at, by) => format!("approved by key {by}, {}", moment(&at)),
        },
        "lapsed" => "the month is closed without it".to_owned(),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{grid, state};

    #[test]
    fn prc_3_a_card_shows_what_would_change() {
        let rows = [
            json!({ "agent": "triage", "task_type": "t", "model": "task", "price": "0.35", "candidate": "0.37",
                    "change_percent": "5.71" }),
            json!({ "agent": "voice", "task_type": "call", "model": "time", "price": null, "candidate": "1.2",
                    "change_percent": null }),
        ];
        let text = grid(&rows).render(None);
        for expected in
            ["triage  t          task           0.3500        0.3700  5.71 %", "minute           none        1.2000"]
        {
            assert!(text.contains(expected), "{expected} is not in\n{text}");
        }
    }

    #[test]
    fn prc_3_a_card_says_where_it_is() {
        let approved = json!({ "state": "approved",
            "approval": { "approved_at": "2026-11-02T08:30:00Z", "approved_by": "4f1b", "role": "finance" } });
        assert!(state(&approved).starts_with("approved by key 4f1b, 2026-11-02"), "{}", state(&approved));
        assert!(state(&json!({ "state": "waiting", "approval": null })).contains("approved last holds"));
    }
}
