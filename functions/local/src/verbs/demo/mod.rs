//! `recoup demo`: a made-up month of a made-up company, from its events to its statements, and what can be relied on.

mod delivery;
mod story;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc};
use clap::Args;
use recoup_model::Period;
use serde_json::{Value, json};

use self::delivery::{Delivered, deliver, deliver_sample};
use super::ingest::per_second;
use crate::api::{Api, Ask};
use crate::cli::Place;
use crate::failure::{Failure, Verdict};
use crate::host::{Host, NotOpened, has_books};
use crate::reach::socket_of;
use crate::sample::{SampleOptions, organisation_file};
use crate::screen::Screen;
use crate::table::{field, money_field, plain};
use crate::watch;

/// Day of the next month for which the month is closed: the soft-close days are over then.
const CLOSE_DAY: u64 = 4;

/// Makes a data folder with a month of a made-up company: applies its organisation file, posts its events to the HTTP endpoint
/// (twice delivered, late, unpriced and unattributed ones among them), runs the nights, closes the month and shows what came
/// out and that it ties. The folder stays, ready for `recoup serve`.
#[derive(Debug, Args)]
#[command(after_help = "\
Applies the company's organisation file, posts its events to the HTTP endpoint
(twice delivered, late, unpriced and unattributed ones among them), runs the
nights, closes the month, and shows what came out and that it ties. The folder
stays, ready for `recoup serve`.

Examples:
  recoup demo                              in ./recoup-data
  recoup --data elsewhere demo --seed 7    another folder, another month")]
pub(crate) struct Demo {
    /// The same seed gives the same events
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

/// The demo's company, opened.
struct Stage {
    screen: Screen,
    folder: PathBuf,
    operator: Api,
    server: String,
    key: String,
    month: Period,
    days: (NaiveDate, NaiveDate),
    currency: String,
}

impl Demo {
    /// Runs the verb.
    pub(crate) async fn run(&self, place: &Place, screen: Screen, today: NaiveDate) -> Result<Verdict, Failure> {
        let Place::Folder(folder) = place else {
            return Err(Failure::usage("`recoup demo` makes a data folder; name one with --data, not --server"));
        };
        if screen.json() {
            return Err(Failure::usage("`recoup demo` is to be read; for JSON use the commands that it ends with"));
        }
        if has_books(folder) {
            return Err(Failure::usage(format!(
                "`{0}` holds books already; the demo wants a folder of its own: recoup --data {0}-demo demo",
                folder.display()
            )));
        }
        let began = Instant::now();
        let mut host = open(folder)?;
        let result = self.play(&mut host, folder, screen, today).await;
        host.close().await;
        result?;
        screen.line(format!("\nAll of this took {}.", seconds(began.elapsed())))?;
        Ok(Verdict::Yes)
    }

    async fn play(&self, host: &mut Host, folder: &Path, screen: Screen, today: NaiveDate) -> Result<(), Failure> {
        let options = SampleOptions::demo(self.seed, today);
        let stage = set_up(host, folder, screen, options).await?;
        let posted = deliver_sample(&stage.server, &stage.key, options, screen).await?;
        stage.tell_delivery("events", &posted.delivered)?;
        let first = stage.run_nights().await?;
        stage.tell_nights(&first)?;
        let late = deliver(&stage.server, &stage.key, posted.late).await?;
        stage.tell_delivery("late events", &late)?;
        let second = stage.run_nights().await?;
        stage.tell_again(&second)?;
        let closed = stage.close(today).await?;
        let mut receipt = posted.delivered.receipt.clone();
        receipt.add(&late.receipt);
        story::tell(&stage, &posted.summary, &receipt, &closed, posted.trace.as_deref()).await
    }
}

fn open(folder: &Path) -> Result<Host, Failure> {
    Host::open(folder, None).map_err(|error| match error {
        NotOpened::Held { holder } => Failure::failed(format!("the data folder is held by {holder}")),
        NotOpened::Failed(failure) => failure,
    })
}

async fn set_up(host: &mut Host, folder: &Path, screen: Screen, options: SampleOptions) -> Result<Stage, Failure> {
    let socket = socket_of(folder);
    host.listen_on_socket(&socket)?;
    let address = host.listen_on_tcp("127.0.0.1:0", None).await?;
    let operator = Api::over_socket(&socket)?;
    let organisation = Ask::put(&["v1", "organisation"], "application/toml", organisation_file());
    let applied = operator.ask(organisation).await?.json()?;
    let ingest = json!({ "role": "ingest" });
    let made = operator.ask(Ask::post_json(&["v1", "keys"], &ingest)).await?.json()?;
    let costs = operator.ask(Ask::get(&["v1", "costs"])).await?.json()?;
    let currency = costs.pointer("/total/currency").map(plain).unwrap_or_default();
    let month = Period::of(options.first_day);
    let after = options.first_day.checked_add_days(Days::new(options.days.into())).unwrap_or(options.first_day);
    screen.line(format!("recoup demo: {month} at Lindenfels Robotics, a company that we made up\n"))?;
    let entries = applied.get("changes").and_then(Value::as_array).map_or(0, Vec::len);
    screen.line(format!("  organisation   {entries} entries applied: teams, agents, pools, people, prices"))?;
    let key = field(&made, "key");
    let server = format!("http://{address}");
    Ok(Stage {
        screen,
        folder: folder.to_owned(),
        operator,
        server,
        key,
        month,
        days: (options.first_day, after),
        currency,
    })
}

impl Stage {
    fn tell_delivery(&self, what: &str, delivered: &Delivered) -> Result<(), Failure> {
        let Delivered { receipt, posted, requests, elapsed } = delivered;
        let rate = per_second(*posted, *elapsed);
        self.screen.line(format!(
            "  {what:<14} {posted} posted to {}/v1/events in {requests} requests, {} ({rate}/s)",
            self.server,
            seconds(*elapsed)
        ))?;
        self.screen.line(format!(
            "  {:<14} {} accepted, {} duplicate, {} conflicting, {} rejected",
            "", receipt.accepted, receipt.duplicate, receipt.conflict, receipt.rejected
        ))
    }

    async fn run_nights(&self) -> Result<(Value, Duration), Failure> {
        let began = Instant::now();
        let outcome = watch::run_to_end(&self.operator, self.screen, &watch::nightly("all")).await?;
        Ok((outcome, began.elapsed()))
    }

    fn tell_nights(&self, (outcome, elapsed): &(Value, Duration)) -> Result<(), Failure> {
        let days = outcome.get("days").and_then(Value::as_array).map_or(0, Vec::len);
        let totals = self.period(outcome).and_then(|period| period.get("totals")).unwrap_or(&Value::Null);
        let cost = money_field(totals, "priced_cost", 2);
        self.screen.line(format!(
            "  nights         {days} days in {}: {cost} {} priced in {}",
            seconds(*elapsed),
            self.currency,
            self.month
        ))
    }

    fn tell_again(&self, (outcome, elapsed): &(Value, Duration)) -> Result<(), Failure> {
        let days = outcome.get("days").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let changed = days.iter().filter(|day| day.get("changed").and_then(Value::as_bool) == Some(true)).count();
        let totals = self.period(outcome).and_then(|period| period.get("totals")).unwrap_or(&Value::Null);
        self.screen.line(format!(
            "  nights again   {} days touched, {changed} changed, in {}: {} {} priced in {}",
            days.len(),
            seconds(*elapsed),
            money_field(totals, "priced_cost", 2),
            self.currency,
            self.month
        ))
    }

    fn period<'a>(&self, outcome: &'a Value) -> Option<&'a Value> {
        let periods = outcome.get("periods").and_then(Value::as_array)?;
        periods.iter().find(|period| field(period, "period") == self.month.to_string())
    }

    /// Closes the month for a time at which its soft-close days are over.
    async fn close(&self, today: NaiveDate) -> Result<Value, Failure> {
        let began = Instant::now();
        let soft_close_over = self.month.next().first_day().checked_add_days(Days::new(CLOSE_DAY)).unwrap_or(today);
        let as_of: DateTime<Utc> = soft_close_over.max(today).and_time(NaiveTime::MIN).and_utc();
        let command = watch::close(&self.month.to_string(), Some(&as_of.to_rfc3339()), (false, false));
        let outcome = watch::run_to_end(&self.operator, self.screen, &command).await?;
        let issued = outcome.get("statements").and_then(Value::as_array).map_or(0, Vec::len);
        if outcome.get("closed").and_then(Value::as_bool) != Some(true) {
            return Err(Failure::failed(format!("the month was not closed: {}", field(&outcome, "findings"))));
        }
        let took = seconds(began.elapsed());
        self.screen.line(format!(
            "  close          {} closed as of {}, {issued} statements, {took}",
            self.month,
            as_of.date_naive()
        ))?;
        Ok(outcome)
    }
}

/// A duration in seconds with one digit.
fn seconds(elapsed: Duration) -> String {
    let tenths = elapsed.as_millis() / 100;
    format!("{}.{} s", tenths / 10, tenths % 10)
}
