//! The turn: nights and closes change the same figures, so that one of them goes on at a time.
//!
//! A record in the books names the run that has its turn. One process of its own books waits for it behind a lock, and a
//! record that it finds then was left by a process that died. Where many processes share the books the record is a lease:
//! every step of the run renews it, and another run takes it over once it has expired.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use recoup_model::period::format_instant;
use recoup_store::{Expect, Key, Write, WriteError};
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedMutexGuard;

use crate::app::App;
use crate::error::Refusal;
use crate::records;

/// How long a lease lasts after a step renewed it: longer than the longest step may take.
pub const TURN_LASTS: Duration = Duration::from_secs(20 * 60);
/// What must be left of a lease for a step to spare itself renewing it.
const FRESH: Duration = Duration::from_secs(19 * 60);
/// Attempts at changing the record while others change it too.
const ATTEMPTS_MAX: usize = 8;

/// The record.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Turn {
    /// Who has it.
    pub(crate) run: String,
    /// `nightly` or `close`.
    pub(crate) kind: String,
    /// Since when, RFC 3339.
    since: String,
    /// Until when, nanoseconds since 1970.
    until_ns: i64,
}

/// The lock of this process.
#[derive(Default)]
pub(crate) struct TurnLock {
    lock: Arc<tokio::sync::Mutex<()>>,
    held: Mutex<BTreeMap<String, OwnedMutexGuard<()>>>,
}

impl TurnLock {
    /// Waits for the turn, unless the run has it.
    pub(crate) async fn wait(&self, run: &str) {
        if self.held.lock().is_ok_and(|held| held.contains_key(run)) {
            return;
        }
        let guard = Arc::clone(&self.lock).lock_owned().await;
        if let Ok(mut held) = self.held.lock() {
            held.insert(run.to_owned(), guard);
        }
    }

    fn release(&self, run: &str) {
        if let Ok(mut held) = self.held.lock() {
            held.remove(run);
        }
    }
}

/// Lets go of this process's lock when whoever goes through the steps of a run stops, however that comes about.
pub(crate) struct Stopping<'a> {
    app: &'a App,
    run: &'a str,
}

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.app.runs.turn.release(self.run);
    }
}

fn turn_key() -> Key {
    Key::new("state", "turn")
}

fn lasting(from_ns: i64, how_long: Duration) -> i64 {
    from_ns.saturating_add(i64::try_from(how_long.as_nanos()).unwrap_or(i64::MAX))
}

fn busy(turn: &Turn) -> Refusal {
    let detail = format!(
        "the {} run {} has the turn since {}; try again when it has ended (at {} its turn expires unless it goes on)",
        turn.kind,
        turn.run,
        turn.since,
        format_instant(turn.until_ns),
    );
    Refusal::Conflict { kind: "busy", detail }
}

fn lost(run: &str, turn: Option<&Turn>) -> Refusal {
    let now = match turn {
        Some(turn) => format!("the {} run {} has it since {}", turn.kind, turn.run, turn.since),
        None => "nobody has it".to_owned(),
    };
    Refusal::Conflict { kind: "turn-lost", detail: format!("the run {run} has lost its turn: {now}; start a new one") }
}

fn contended() -> Refusal {
    Refusal::Conflict { kind: "busy", detail: "several runs want the turn at once; try again".into() }
}

impl App {
    /// See [`Stopping`].
    pub(crate) const fn stopping<'a>(&'a self, run: &'a str) -> Stopping<'a> {
        Stopping { app: self, run }
    }

    /// Refuses as `busy` while a run has the turn.
    pub(crate) async fn nobody_has_the_turn(&self) -> Result<(), Refusal> {
        match records::get::<Turn>(self.books(), &turn_key()).await? {
            Some((turn, _)) if turn.until_ns > self.now_ns() => Err(busy(&turn)),
            _ => Ok(()),
        }
    }

    /// Takes the turn for a run, which may have it already. Another's turn is waited for in this process, and refused as
    /// `busy` where processes share the books. Returns whose turn was taken over because it died.
    pub(crate) async fn take_turn(&self, run: &str, kind: &str) -> Result<Option<Turn>, Refusal> {
        if !self.sharing {
            self.runs.turn.wait(run).await;
        }
        for _ in 0..ATTEMPTS_MAX {
            let now_ns = self.now_ns();
            let held = records::get::<Turn>(self.books(), &turn_key()).await?;
            let (expect, before) = match held {
                None => (Expect::Absent, None),
                Some((turn, _)) if turn.run != run && self.sharing && turn.until_ns > now_ns => {
                    return Err(busy(&turn));
                }
                Some((turn, version)) => (Expect::Version(version), Some(turn)),
            };
            let ours = before.as_ref().filter(|turn| turn.run == run);
            let since = ours.map_or_else(|| format_instant(now_ns), |turn| turn.since.clone());
            let turn =
                Turn { run: run.to_owned(), kind: kind.to_owned(), since, until_ns: lasting(now_ns, TURN_LASTS) };
            match self.books().write(vec![records::put(turn_key(), &turn, expect)?]).await {
                Ok(()) => return Ok(before.filter(|turn| turn.run != run)),
                Err(WriteError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(contended())
    }

    /// Refuses unless the run has the turn, and renews it.
    pub(crate) async fn keep_turn(&self, run: &str) -> Result<(), Refusal> {
        for _ in 0..ATTEMPTS_MAX {
            let held = records::get::<Turn>(self.books(), &turn_key()).await?;
            let Some((turn, version)) = held else { return Err(lost(run, None)) };
            if turn.run != run {
                return Err(lost(run, Some(&turn)));
            }
            let now_ns = self.now_ns();
            if !self.sharing || turn.until_ns > lasting(now_ns, FRESH) {
                return Ok(());
            }
            let turn = Turn { until_ns: lasting(now_ns, TURN_LASTS), ..turn };
            match self.books().write(vec![records::put(turn_key(), &turn, Expect::Version(version))?]).await {
                Ok(()) => return Ok(()),
                // Another step of the run, or somebody who takes it over.
                Err(WriteError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(contended())
    }

    /// Gives the turn back, if the run has it.
    pub(crate) async fn give_turn_back(&self, run: &str) -> Result<(), Refusal> {
        for _ in 0..ATTEMPTS_MAX {
            let held = records::get::<Turn>(self.books(), &turn_key()).await?;
            let Some((_, version)) = held.filter(|(turn, _)| turn.run == run) else { break };
            let delete = Write::Delete { key: turn_key(), expect: Expect::Version(version) };
            match self.books().write(vec![delete]).await {
                Ok(()) => break,
                Err(WriteError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.runs.turn.release(run);
        Ok(())
    }
}
