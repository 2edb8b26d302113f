//! Jobs of one kind that wait at the same time and are committed together: a commit costs a write to disk, however much is
//! in it.

use recoup_store::{StoreError, causes};
use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::oneshot;

use crate::failure::failed;

/// Commits jobs together, each in a savepoint of its own, so that one that is refused changes nothing and takes no other
/// with it; answers once they are durable.
pub(crate) fn commit<Job, Done, Error: From<StoreError>>(
    connection: &mut Connection,
    doing: &'static str,
    jobs: Vec<(Job, oneshot::Sender<Result<Done, Error>>)>,
    apply: impl Fn(&Connection, &Job) -> Result<Done, Error>,
) {
    let (jobs, replies): (Vec<_>, Vec<_>) = jobs.into_iter().unzip();
    // A caller that no longer waits for its answer changes nothing.
    match committed(connection, doing, &jobs, apply) {
        Ok(answers) => replies.into_iter().zip(answers).for_each(|(reply, answer)| drop(reply.send(answer))),
        Err(error) => replies.into_iter().for_each(|reply| drop(reply.send(Err(again(&error).into())))),
    }
}

/// The answer of each job; an error is that of all.
fn committed<Job, Done, Error>(
    connection: &mut Connection,
    doing: &'static str,
    jobs: &[Job],
    apply: impl Fn(&Connection, &Job) -> Result<Done, Error>,
) -> Result<Vec<Result<Done, Error>>, StoreError> {
    let mut transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed(doing))?;
    let mut answers = Vec::with_capacity(jobs.len());
    for job in jobs {
        let savepoint = transaction.savepoint().map_err(failed(doing))?;
        let answer = apply(&savepoint, job);
        // What is not committed is rolled back.
        if answer.is_ok() { savepoint.commit() } else { savepoint.finish() }.map_err(failed(doing))?;
        answers.push(answer);
    }
    transaction.commit().map_err(failed(doing))?;
    Ok(answers)
}

/// The same error for one more caller.
fn again(error: &StoreError) -> StoreError {
    match error {
        StoreError::Unavailable { doing, source } => StoreError::unavailable(doing, causes(source.as_ref())),
        StoreError::Damaged { what, detail } => StoreError::Damaged { what: what.clone(), detail: detail.clone() },
    }
}
