//! A process that is killed while it appends: what it acknowledged is there, once.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use recoup_store::conformance::event_log::{contents, event, incoming};
use recoup_store::{Appended, EventLog, Incoming};
use recoup_store_sqlite::{Options, SqliteStore};

const FOLDER_VARIABLE: &str = "RECOUP_TEST_CRASH_FOLDER";
const TASKS: usize = 8;
const REQUEST: usize = 20;
const KILLS: usize = 4;
const ACKNOWLEDGED_BEFORE_KILL: usize = 60;

fn request(run: usize, task: usize, number: usize) -> Vec<Incoming> {
    let trace = format!("r{run}-t{task}-{number}");
    (0..REQUEST).map(|at| incoming(event(&trace, &format!("e{at}"), 1))).collect()
}

/// The child: appends without end and says on standard output what was acknowledged.
async fn append_until_killed(folder: &Path) {
    let run = std::env::var("RECOUP_TEST_CRASH_RUN").unwrap().parse().unwrap();
    let store = Arc::new(SqliteStore::open(folder, Options::default()).unwrap());
    let appending = (0..TASKS).map(|task| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for number in 0..usize::MAX {
                let outcomes = store.append(request(run, task, number)).await.unwrap();
                assert!(outcomes.iter().all(|outcome| *outcome == Appended::Accepted));
                let mut out = std::io::stdout().lock();
                writeln!(out, "\nack {task} {number}").unwrap();
                out.flush().unwrap();
            }
        })
    });
    for task in appending.collect::<Vec<_>>() {
        task.await.unwrap();
    }
}

/// Starts this test again as the child, kills it once it has acknowledged enough, and gives all it acknowledged.
fn run_and_kill(folder: &Path, run: usize) -> Vec<(usize, usize)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "evt_2_what_was_acknowledged_survives_a_kill", "--nocapture"])
        .env(FOLDER_VARIABLE, folder)
        .env("RECOUP_TEST_CRASH_RUN", run.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut acknowledged = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        // The last line may be cut off by the kill; it was acknowledged to nobody.
        let Some(numbers) = line.strip_prefix("ack ") else { continue };
        let Some((task, number)) = numbers.split_once(' ') else { continue };
        acknowledged.push((task.parse().unwrap(), number.parse().unwrap()));
        if acknowledged.len() == ACKNOWLEDGED_BEFORE_KILL + run {
            child.kill().unwrap();
        }
    }
    assert!(!child.wait().unwrap().success(), "the child ended on its own");
    acknowledged
}

#[tokio::test(flavor = "multi_thread")]
async fn evt_2_what_was_acknowledged_survives_a_kill() {
    if let Some(folder) = std::env::var_os(FOLDER_VARIABLE) {
        return append_until_killed(Path::new(&folder)).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut expected = Vec::new();
    for run in 0..KILLS {
        for (task, number) in run_and_kill(folder.path(), run) {
            expected.extend(request(run, task, number));
        }
    }
    let store = Arc::new(SqliteStore::open(folder.path(), Options::default()).unwrap());
    let log: Arc<dyn EventLog> = Arc::clone(&store) as Arc<dyn EventLog>;
    let mut stored: BTreeMap<(String, String), usize> = BTreeMap::new();
    for recorded in contents(&log).await {
        let trace = recorded.event.trace_id.unwrap().to_string();
        *stored.entry((trace, recorded.event.event_id.to_string())).or_default() += 1;
    }
    assert!(stored.values().all(|times| *times == 1), "an event is stored twice");
    assert!(expected.len() >= KILLS * ACKNOWLEDGED_BEFORE_KILL * REQUEST);
    assert_eq!(stored.len() % REQUEST, 0, "a request is stored in part");
    let outcomes = store.append(expected).await.unwrap();
    assert!(outcomes.iter().all(|outcome| *outcome == Appended::Duplicate), "an acknowledged event is missing");
}
