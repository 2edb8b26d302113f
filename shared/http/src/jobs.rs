//! Where nights and closes are run: in this process, or by somebody else who is told to.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use recoup_workflows::nightly::Through;
use recoup_workflows::{App, Job, Principal, Refusal};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle};

/// Ended jobs that nobody waited for and that are still remembered.
const UNWATCHED_MAX: usize = 64;
/// How long a request waits for a run that is elsewhere: a gateway gives up after 30 s.
const WAIT_MAX: Duration = Duration::from_secs(20);
/// First pause between two looks at a run; each one is twice as long, up to [`PAUSE_MAX`].
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Whoever runs nights and closes.
#[async_trait]
pub trait Jobs: Send + Sync {
    /// Sees to it that a job is run under this name; it was announced and allowed before. Returns once that is certain.
    async fn start(&self, run: &str, job: &Job) -> Result<(), Refusal>;
    /// Sees to it that a simulation is answered that was kept in the books. Returns once that is certain.
    async fn simulate(&self, run: &str) -> Result<(), Refusal> {
        Err(Refusal::NotFound(format!("the simulation {run} cannot be started here; the API's own function does it")))
    }
    /// Whether they are run by another process: then what this one is asked to wait for it looks for in the books, and only
    /// for a bounded time.
    fn elsewhere(&self) -> bool {
        true
    }
    /// Waits for a run to end: `false` if it still goes on.
    async fn wait(&self, app: &App, run: &str) -> Result<bool, Refusal> {
        look(app, run, WAIT_MAX).await
    }
}

/// Looks at a run until it has ended, or the time is over.
async fn look(app: &App, run: &str, most: Duration) -> Result<bool, Refusal> {
    let mut pauses = Pauses::within(most);
    while app.run(run).await?.is_running() {
        if !pauses.next().await {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Growing pauses between looks at something that has not ended.
pub(crate) struct Pauses {
    next: Duration,
    left: Duration,
}

impl Pauses {
    /// Within what a request may wait for what another process does.
    pub(crate) const fn of_a_request() -> Self {
        Self::within(WAIT_MAX)
    }

    const fn within(most: Duration) -> Self {
        Self { next: PAUSE, left: most }
    }

    /// Pauses; `false`: the time is over.
    pub(crate) async fn next(&mut self) -> bool {
        if self.left.is_zero() {
            return false;
        }
        tokio::time::sleep(self.next).await;
        self.left = self.left.saturating_sub(self.next);
        self.next = self.next.saturating_mul(2).min(PAUSE_MAX);
        true
    }
}

/// Jobs at the same time; all but one wait for their turn.
const JOBS_MAX: usize = 1_000;

/// Runs them in this process.
pub struct InProcess {
    app: Arc<App>,
    working: Mutex<BTreeMap<String, JoinHandle<Result<Value, Refusal>>>>,
    running: Arc<Running>,
}

/// Jobs that have not ended, whoever waits for them.
#[derive(Default)]
struct Running {
    count: watch::Sender<usize>,
    handles: Mutex<BTreeMap<String, AbortHandle>>,
}

/// A job that goes on; dropped with it.
struct Place {
    run: String,
    running: Arc<Running>,
}

impl Running {
    fn enter(self: &Arc<Self>, run: &str) -> Result<Place, Refusal> {
        let has_room = self.count.send_if_modified(|count| {
            let has_room = *count < JOBS_MAX;
            *count = count.saturating_add(usize::from(has_room));
            has_room
        });
        if has_room {
            return Ok(Place { run: run.to_owned(), running: Arc::clone(self) });
        }
        let detail = format!("{JOBS_MAX} runs wait for their turn; try again when some have ended");
        Err(Refusal::Conflict { kind: "too-many-runs", detail })
    }

    fn may_be_cut(&self, run: &str, working: &JoinHandle<Result<Value, Refusal>>) {
        if let Ok(mut handles) = self.handles.lock()
            && !working.is_finished()
        {
            handles.insert(run.to_owned(), working.abort_handle());
        }
    }

    async fn all_ended(&self) {
        // An error means that nobody counts any more: then no job is left either.
        drop(self.count.subscribe().wait_for(|count| *count == 0).await);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Ok(mut handles) = self.running.handles.lock() {
            handles.remove(&self.run);
        }
        self.running.count.send_modify(|count| *count = count.saturating_sub(1));
    }
}

impl InProcess {
    /// For an application of this process.
    #[must_use]
    pub fn new(app: Arc<App>) -> Self {
        Self { app, working: Mutex::new(BTreeMap::new()), running: Arc::default() }
    }

    /// Waits until every job has ended, to what follows from it: a run says that it is done before that.
    pub async fn all_ended(&self) {
        self.running.all_ended().await;
    }

    /// Ends every job where it is, and waits until it has ended; what they have written stands.
    pub async fn cut(&self) {
        let handles = self.running.handles.lock().map_or_else(|_| BTreeMap::new(), |mut all| std::mem::take(&mut *all));
        handles.values().for_each(AbortHandle::abort);
        self.all_ended().await;
    }
}

async fn work(app: Arc<App>, run: String, job: Job) -> Result<Value, Refusal> {
    // Whoever asked for it was allowed to.
    let principal = Principal::operator();
    let outcome = match job {
        Job::Nightly(through) => app.nightly(&principal, &run, through).await,
        Job::Close(request) => app.close(&principal, &run, request).await,
    };
    if let Err(refusal) = &outcome {
        let error = recoup_store::causes(refusal);
        if refusal.refuses() {
            tracing::info!(run, error, "a run was refused");
        } else {
            tracing::error!(run, error, "a run failed");
        }
    }
    outcome
}

#[async_trait]
impl Jobs for InProcess {
    async fn start(&self, run: &str, job: &Job) -> Result<(), Refusal> {
        let place = self.running.enter(run)?;
        let work = work(Arc::clone(&self.app), run.to_owned(), job.clone());
        let working = tokio::spawn(async move {
            let _place = place;
            work.await
        });
        self.running.may_be_cut(run, &working);
        if let Ok(mut all) = self.working.lock() {
            if all.len() >= UNWATCHED_MAX {
                all.retain(|_, working| !working.is_finished());
            }
            all.insert(run.to_owned(), working);
        }
        Ok(())
    }

    fn elsewhere(&self) -> bool {
        false
    }

    async fn wait(&self, app: &App, run: &str) -> Result<bool, Refusal> {
        let working = self.working.lock().ok().and_then(|mut all| all.remove(run));
        match working {
            Some(working) => {
                working.await.map_err(|error| Refusal::computation("finish a run", error))??;
                Ok(true)
            }
            None => look(app, run, Duration::MAX).await,
        }
    }
}

/// Reads which days a night runs.
pub(crate) fn through(text: Option<&str>) -> Result<Through, Refusal> {
    text.map_or(Ok(Through::Yesterday), str::parse)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn so_many_jobs_are_on_their_way_and_no_more() {
        let running = Arc::new(Running::default());
        let mut places: Vec<Place> = (0..JOBS_MAX).map(|run| running.enter(&run.to_string()).unwrap()).collect();
        let refused = running.enter("one more").err().unwrap();
        assert!(matches!(refused, Refusal::Conflict { kind: "too-many-runs", .. }), "{refused}");
        places.pop();
        assert!(running.enter("one more").is_ok());
    }
}
