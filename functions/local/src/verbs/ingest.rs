//! `recoup ingest`: events from a file.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Args;
use indicatif::ProgressBar;
use recoup_model::limits::REQUEST_EVENTS_MAX;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::mpsc;

use super::Desk;
use crate::api::{Api, Ask, NDJSON};
use crate::failure::{Failure, Verdict};
use crate::input;
use crate::ndjson::{Batch, LINE_BYTES_MAX, Piece, Pieces};

/// Problems that are told one by one.
const PROBLEMS_TOLD: usize = 20;
/// Requests that are read ahead of the one on its way.
const READ_AHEAD: usize = 2;
/// Attempts at a request that may succeed when it is made again; sending events twice changes nothing.
const ATTEMPTS: u32 = 6;
/// Pause after the first failed attempt; each one is twice as long.
const PAUSE: Duration = Duration::from_millis(250);

/// Sends events from a file: one JSON object per line, or a small JSON array; .gz and .zst are decompressed. Events that were
/// sent before are recognised, so that sending a file again is safe.
#[derive(Debug, Args)]
#[command(after_help = "\
One JSON object per line, or a small JSON array; .gz and .zst are decompressed.
Events that were sent before are recognised: sending a file again is safe.
Exit code 1: an event was rejected, or conflicts with one of the same identity.
The others are stored.

Examples:
  recoup ingest events.ndjson
  recoup ingest events.ndjson.zst --json
  recoup sample --spans 10000 | recoup ingest -")]
pub(crate) struct Ingest {
    /// The file, or - for standard input
    file: PathBuf,
    /// Events in one request
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(1..=REQUEST_EVENTS_MAX as u64))]
    batch: u64,
}

/// What became of events.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
pub(crate) struct Receipt {
    /// Stored.
    pub(crate) accepted: u64,
    /// There before.
    pub(crate) duplicate: u64,
    /// There before with other content.
    pub(crate) conflict: u64,
    /// No events.
    pub(crate) rejected: u64,
    /// Those that were not accepted.
    #[serde(default)]
    results: Vec<ItemResult>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
struct ItemResult {
    index: usize,
    event_id: Option<String>,
    error: Option<ItemProblem>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
struct ItemProblem {
    field: String,
    detail: String,
}

impl Receipt {
    /// Adds the counts of another.
    pub(crate) fn add(&mut self, other: &Self) {
        self.accepted = self.accepted.saturating_add(other.accepted);
        self.duplicate = self.duplicate.saturating_add(other.duplicate);
        self.conflict = self.conflict.saturating_add(other.conflict);
        self.rejected = self.rejected.saturating_add(other.rejected);
    }

    fn events(&self) -> u64 {
        [self.duplicate, self.conflict, self.rejected].into_iter().fold(self.accepted, u64::saturating_add)
    }
}

/// What became of a whole file.
#[derive(Default)]
struct Tally {
    receipt: Receipt,
    problems: BTreeMap<u64, String>,
    problems_in_all: u64,
}

impl Tally {
    fn tell(&mut self, line: u64, problem: String) {
        self.problems_in_all = self.problems_in_all.saturating_add(1);
        self.problems.insert(line, problem);
        if self.problems.len() > PROBLEMS_TOLD {
            self.problems.pop_last();
        }
    }

    fn add(&mut self, lines: &[u64], receipt: &Receipt) {
        self.receipt.add(receipt);
        for result in &receipt.results {
            if let (Some(line), Some(problem)) = (lines.get(result.index), &result.error) {
                let id = result.event_id.as_ref().map(|id| format!(" ({id})")).unwrap_or_default();
                let field = if problem.field.is_empty() { String::new() } else { format!("{}: ", problem.field) };
                self.tell(*line, format!("{field}{}{id}", problem.detail));
            }
        }
    }

    fn too_long(&mut self, line: u64, bytes: u64) {
        self.receipt.rejected = self.receipt.rejected.saturating_add(1);
        self.tell(line, format!("has {bytes} bytes, more than {LINE_BYTES_MAX}; an event cannot be so long"));
    }
}

/// Sends a request of events, again where that may help.
///
/// # Errors
/// When it is refused, or not answered after several attempts.
pub(crate) async fn post(api: &Api, body: Bytes) -> Result<Receipt, Failure> {
    let mut pause = PAUSE;
    for attempt in 1.. {
        let ask = Ask::post(&["v1", "events"], NDJSON, body.clone()).with("results", "errors");
        match api.ask(ask).await {
            Ok(answer) => return answer.read(),
            Err(failure) if failure.code() == 3 && attempt < ATTEMPTS => {
                tokio::time::sleep(pause).await;
                pause = pause.saturating_mul(2);
            }
            Err(failure) => return Err(failure),
        }
    }
    Err(Failure::failed("no attempt was made"))
}

impl Ingest {
    /// Runs the verb.
    pub(crate) async fn run(&self, desk: &Desk) -> Result<Verdict, Failure> {
        let started = Instant::now();
        let input = input::open(&self.file)?;
        let bar = desk.screen.bytes(input.total, "");
        let read = Arc::clone(&input.read);
        let pieces = Pieces::of(input.reader, usize::try_from(self.batch).unwrap_or(1))
            .map_err(|error| input::unreadable(&self.file, &error))?;
        let noun = pieces.noun();
        let (sender, mut receiver) = mpsc::channel(READ_AHEAD);
        let reader = tokio::task::spawn_blocking(move || {
            for piece in pieces {
                if sender.blocking_send(piece).is_err() {
                    return;
                }
            }
        });
        let mut tally = Tally::default();
        let sent = self.send_all(desk, &mut receiver, &mut tally, &Progress { bar: &bar, read: &read, started }).await;
        bar.finish_and_clear();
        drop(receiver);
        reader.await.map_err(|error| Failure::caused("could not read on", error))?;
        show(desk, &tally, noun, started)?;
        sent?;
        Ok(Verdict::of(tally.receipt.rejected == 0 && tally.receipt.conflict == 0))
    }

    async fn send_all(
        &self,
        desk: &Desk,
        receiver: &mut mpsc::Receiver<std::io::Result<Piece>>,
        tally: &mut Tally,
        progress: &Progress<'_>,
    ) -> Result<(), Failure> {
        // One request after the other: of two events of one identity the first in the file is recorded first (EVT-2).
        while let Some(piece) = receiver.recv().await {
            match piece.map_err(|error| input::unreadable(&self.file, &error))? {
                Piece::TooLong { line, bytes } => tally.too_long(line, bytes),
                Piece::Batch(Batch { lines, body }) => {
                    let receipt = post(&desk.api, Bytes::from(body)).await?;
                    tally.add(&lines, &receipt);
                    progress.tell(tally);
                }
            }
        }
        Ok(())
    }
}

struct Progress<'a> {
    bar: &'a ProgressBar,
    read: &'a AtomicU64,
    started: Instant,
}

impl Progress<'_> {
    fn tell(&self, tally: &Tally) {
        self.bar.set_position(self.read.load(Ordering::Relaxed));
        let rate = per_second(tally.receipt.events(), self.started.elapsed());
        self.bar.set_message(format!("{} events, {rate}/s", tally.receipt.events()));
    }
}

/// Events per second, rounded down.
pub(crate) fn per_second(events: u64, elapsed: Duration) -> u128 {
    u128::from(events).saturating_mul(1_000).checked_div(elapsed.as_millis()).unwrap_or_else(|| u128::from(events))
}

fn show(desk: &Desk, tally: &Tally, noun: &str, started: Instant) -> Result<(), Failure> {
    let receipt = &tally.receipt;
    for (line, problem) in &tally.problems {
        desk.screen.note(format!("{noun} {line}: {problem}"))?;
    }
    let told = u64::try_from(tally.problems.len()).unwrap_or(u64::MAX);
    if tally.problems_in_all > told {
        desk.screen.note(format!("and {} more problems", tally.problems_in_all.saturating_sub(told)))?;
    }
    if desk.screen.json() {
        let problems = tally.problems.iter().map(|(line, problem)| json!({ noun: line, "detail": problem }));
        let document = json!({
            "accepted": receipt.accepted, "duplicate": receipt.duplicate, "conflict": receipt.conflict,
            "rejected": receipt.rejected, "problems": problems.collect::<Vec<_>>(),
        });
        return desk.screen.document(document.to_string().as_bytes());
    }
    let elapsed = started.elapsed();
    desk.screen.line(format!(
        "{} accepted, {} duplicate, {} conflicting, {} rejected; {} events/s",
        receipt.accepted,
        receipt.duplicate,
        receipt.conflict,
        receipt.rejected,
        per_second(receipt.events(), elapsed)
    ))
}

#[cfg(test)]
mod tests {
    use super::{ItemProblem, ItemResult, PROBLEMS_TOLD, Receipt, Tally};

    fn rejected(index: usize) -> ItemResult {
        let error = ItemProblem { field: "kind".into(), detail: "is missing".into() };
        ItemResult { index, event_id: Some(format!("e{index}")), error: Some(error) }
    }

    #[test]
    fn problems_are_told_by_line_the_first_ones_only() {
        let mut tally = Tally::default();
        let late = Receipt { rejected: 30, results: (0..30).map(rejected).collect(), ..Receipt::default() };
        tally.add(&(101..=130).collect::<Vec<_>>(), &late);
        let early = Receipt { rejected: 1, accepted: 1, results: vec![rejected(1)], ..Receipt::default() };
        tally.add(&[3, 5], &early);
        tally.too_long(4, 2_000_000);
        assert_eq!(tally.problems_in_all, 32);
        assert_eq!(tally.problems.len(), PROBLEMS_TOLD);
        let first: Vec<_> = tally.problems.iter().take(3).map(|(line, problem)| (*line, problem.as_str())).collect();
        let too_long = "has 2000000 bytes, more than 1048576; an event cannot be so long";
        assert_eq!(first, [(4, too_long), (5, "kind: is missing (e1)"), (101, "kind: is missing (e0)")]);
        assert_eq!((tally.receipt.accepted, tally.receipt.rejected), (1, 32));
    }
}
