//! How long whoever asks for leave to begin waits: until an instant that everything which is done for the answer shares (BUD-5).

use std::future::Future;
use std::sync::Arc;

use recoup_store::StoreError;
use tokio::time::Instant;

use crate::app::{App, World};
use crate::error::Refusal;

/// Until when there is time; `None`: for as long as it takes.
#[derive(Clone, Copy)]
pub(crate) struct Patience(Option<Instant>);

impl Patience {
    /// What some work comes to in time. What it does not come to counts as a store that cannot be reached; what it has reserved
    /// for nobody stays so until its lease ends.
    pub(crate) async fn for_work<T, F>(self, work: impl FnOnce() -> F) -> Result<T, Refusal>
    where
        F: Future<Output = Result<T, Refusal>>,
    {
        let Some(until) = self.0 else { return work().await };
        match tokio::time::timeout_at(until, Box::pin(work())).await {
            Ok(done) => done,
            Err(late) => Err(StoreError::unavailable("answer in time", late).into()),
        }
    }
}

impl App {
    /// That of somebody who asks now.
    pub(crate) fn patience(&self) -> Patience {
        Patience(self.authorize_within.and_then(|within| Instant::now().checked_add(within)))
    }

    /// Organisation versions and prices; while they cannot be read what was known of them holds.
    pub(super) async fn world_in_time(&self, patience: Patience) -> Result<Arc<World>, Refusal> {
        match patience.for_work(|| self.world()).await {
            Err(Refusal::Store(error)) => self.known_world().ok_or(Refusal::Store(error)),
            found => found,
        }
    }
}
