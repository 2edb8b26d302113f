//! `recoup sample`: made-up events.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use chrono::NaiveDate;
use clap::Args;
use recoup_model::Period;

use crate::failure::{Failure, Verdict};
use crate::sample::{Sample, SampleOptions, Scenario, organisation_file};
use crate::screen::Screen;

/// Events between two moves of the bar.
const STEP: u64 = 1_000;

/// Writes made-up events of a made-up company, one per line, in the order in which they would arrive. The same options give
/// the same bytes. Apply the organisation file that belongs to them with --organisation.
#[derive(Debug, Args)]
#[command(after_help = "\
One event per line, in the order in which they would arrive. The same options
give the same bytes.

Examples:
  recoup sample --spans 100000 -o events.ndjson --organisation recoup.toml
  recoup --data demo apply recoup.toml
  recoup --data demo ingest events.ndjson
  recoup sample --spans 5000 --from 2026-10-01 --days 7 | head -1")]
pub(crate) struct SampleCommand {
    /// Distinct spans, about
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    spans: u64,
    /// The same seed gives the same events
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// First local day [default: the first of last month]
    #[arg(long, value_name = "DAY")]
    from: Option<NaiveDate>,
    /// Local days [default: the whole month of --from]
    #[arg(long, value_name = "N")]
    days: Option<u32>,
    /// Plant everything that goes wrong in practice, as `recoup demo` does
    #[arg(long)]
    troubled: bool,
    /// Where to write the events; - is standard output
    #[arg(long, short, value_name = "FILE", default_value = "-")]
    output: PathBuf,
    /// Write the organisation file that belongs to them here
    #[arg(long, value_name = "FILE")]
    organisation: Option<PathBuf>,
}

impl SampleCommand {
    /// Runs the verb.
    pub(crate) fn run(&self, screen: Screen, today: NaiveDate) -> Result<Verdict, Failure> {
        let options = self.options(today);
        let sample = Sample::new(options).map_err(|error| Failure::usage(error.to_string()))?;
        if let Some(path) = &self.organisation {
            std::fs::write(path, organisation_file()).map_err(|error| unwritten(path, error))?;
        }
        let to_stdout = self.output == Path::new("-");
        let mut out: BufWriter<Box<dyn Write>> = BufWriter::new(if to_stdout {
            Box::new(io::stdout())
        } else {
            Box::new(File::create(&self.output).map_err(|error| unwritten(&self.output, error))?)
        });
        let events = write_all(screen, options.spans, sample, &mut out)?;
        if !to_stdout {
            screen.note(format!("wrote {events} events to {}", self.output.display()))?;
        }
        Ok(Verdict::Yes)
    }

    fn options(&self, today: NaiveDate) -> SampleOptions {
        let first_day = self.from.unwrap_or_else(|| Period::of(today).previous().first_day());
        let rest_of_month = || Period::of(first_day).next().first_day().signed_duration_since(first_day).num_days();
        SampleOptions {
            seed: self.seed,
            spans: self.spans,
            first_day,
            days: self.days.unwrap_or_else(|| u32::try_from(rest_of_month()).unwrap_or(1)),
            scenario: if self.troubled { Scenario::Demo } else { Scenario::Plain },
        }
    }
}

/// A file that could not be written: where the path is the reason, whoever named it can name another.
pub(super) fn unwritten(path: &Path, error: io::Error) -> Failure {
    use io::ErrorKind::{IsADirectory, NotADirectory, NotFound, PermissionDenied};
    match error.kind() {
        NotFound | NotADirectory | IsADirectory | PermissionDenied => Failure::usage(format!(
            "could not write `{}`: {error}; name a file in a folder that is there and may be written to",
            path.display()
        )),
        _ => Failure::caused(format!("could not write `{}`", path.display()), error),
    }
}

fn write_all(screen: Screen, spans: u64, sample: Sample, out: &mut impl Write) -> Result<u64, Failure> {
    let bar = screen.steps(spans, "events");
    let mut events = 0_u64;
    for event in sample {
        out.write_all(event.json.as_bytes())?;
        out.write_all(b"\n")?;
        events = events.saturating_add(1);
        if events.is_multiple_of(STEP) {
            bar.set_position(events);
        }
    }
    out.flush()?;
    bar.finish_and_clear();
    Ok(events)
}
