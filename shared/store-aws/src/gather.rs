//! Many calls at once, but not all.

use std::future::Future;

use recoup_store::StoreError;
use tokio::task::JoinSet;

/// Calls under way at once for one caller.
const CALLS_AT_ONCE: usize = 8;

/// Makes a call for each item and gives the answers in order of the items. The first that fails stops those that have not
/// ended; whether they did something nobody knows.
pub(crate) async fn gather<T, R, F>(
    doing: &'static str,
    items: impl IntoIterator<Item = T>,
    call: impl Fn(T) -> F,
) -> Result<Vec<R>, StoreError>
where
    R: Send + 'static,
    F: Future<Output = Result<R, StoreError>> + Send + 'static,
{
    let mut waiting = items.into_iter().enumerate();
    let mut running: JoinSet<(usize, Result<R, StoreError>)> = JoinSet::new();
    let mut answers: Vec<(usize, R)> = Vec::new();
    loop {
        while running.len() < CALLS_AT_ONCE
            && let Some((at, item)) = waiting.next()
        {
            let called = call(item);
            running.spawn(async move { (at, called.await) });
        }
        let Some(ended) = running.join_next().await else { break };
        let (at, answer) = ended.map_err(|stopped| StoreError::unavailable(doing, stopped))?;
        answers.push((at, answer?));
    }
    answers.sort_unstable_by_key(|(at, _)| *at);
    Ok(answers.into_iter().map(|(_, answer)| answer).collect())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn rat_3_answers_stand_in_order_and_calls_are_bounded() {
        let running = Arc::new(AtomicUsize::new(0));
        let most = Arc::new(AtomicUsize::new(0));
        let answers = gather("count", 0..50_u64, |number| {
            let (running, most) = (Arc::clone(&running), Arc::clone(&most));
            async move {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis((number * 7) % 5)).await;
                running.fetch_sub(1, Ordering::SeqCst);
                Ok(number)
            }
        })
        .await
        .unwrap();
        assert_eq!(answers, (0..50).collect::<Vec<_>>());
        assert_eq!(most.load(Ordering::SeqCst), CALLS_AT_ONCE);
    }

    #[tokio::test]
    async fn rat_3_one_failure_fails_the_whole() {
        let call = |number: u64| async move {
            if number == 3 { Err(StoreError::unavailable("count", "three")) } else { Ok(number) }
        };
        assert!(gather("count", 0..5, call).await.is_err());
    }
}
