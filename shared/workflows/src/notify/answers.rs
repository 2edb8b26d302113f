//! Answers to those who pressed a button, for nobody else to see. They wait in the books like everything else that goes out,
//! but not for long: the address to answer at is good for half an hour.

use recoup_messages::slack::ephemeral;
use recoup_store::{ChannelError, Expect, Key, Slack, Write, causes};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::backoff::wait;
use super::sending::in_time;
use crate::app::App;
use crate::error::Refusal;
use crate::records;

/// The partition of answers that were not given.
const ANSWERS: &str = "slack-answers";
/// How long an address to answer at is good, with some time to spare.
pub(super) const ADDRESS_GOOD_NS: i64 = 25 * 60 * 1_000_000_000;
/// An address takes five answers.
const ATTEMPTS_MAX: u32 = 5;
/// Answers given by one step.
const ANSWERS_MAX: usize = 100;

/// An answer that waits in the books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer(String);

#[derive(Serialize, Deserialize)]
struct Waiting {
    response_url: String,
    message: Value,
    attempts: u32,
    not_before_ns: i64,
    until_ns: i64,
}

impl App {
    pub(super) async fn put_answer(&self, response_url: String, words: &str) -> Result<Answer, Refusal> {
        let now_ns = self.now_ns();
        let waiting = Waiting {
            response_url,
            message: ephemeral(words),
            attempts: 0,
            not_before_ns: 0,
            until_ns: now_ns.saturating_add(ADDRESS_GOOD_NS),
        };
        let mut random = [0_u8; 6];
        getrandom::fill(&mut random).map_err(|error| Refusal::computation("name an answer", error))?;
        let sort = format!("{:020}-{}", now_ns.max(0), hex::encode(random));
        let put = records::put(Key::new(ANSWERS, &sort), &waiting, Expect::Absent)?;
        self.books().write(vec![put]).await?;
        Ok(Answer(sort))
    }

    /// Whether an answer waits.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn has_answers(&self) -> Result<bool, Refusal> {
        Ok(!self.books().scan(ANSWERS, "", None, 1).await?.records.is_empty())
    }

    /// Gives the answers that wait.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn give_answers(&self, slack: &dyn Slack) -> Result<(), Refusal> {
        let page = self.books().scan(ANSWERS, "", None, ANSWERS_MAX).await?;
        for record in page.records {
            self.give_answer(slack, &Answer(record.key.sort)).await?;
        }
        Ok(())
    }

    /// Gives an answer, unless it was given or has to wait.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn give_answer(&self, slack: &dyn Slack, answer: &Answer) -> Result<(), Refusal> {
        let key = Key::new(ANSWERS, &answer.0);
        let Some((waiting, version)) = records::get::<Waiting>(self.books(), &key).await? else { return Ok(()) };
        let now_ns = self.now_ns();
        if waiting.not_before_ns > now_ns {
            return Ok(());
        }
        let delete = Write::Delete { key: key.clone(), expect: Expect::Any };
        let write = match in_time("Slack", slack.respond(&waiting.response_url, &waiting.message)).await {
            Ok(()) => delete,
            Err(ChannelError::Again { after, .. })
                if waiting.attempts.saturating_add(1) < ATTEMPTS_MAX && waiting.until_ns > now_ns =>
            {
                let attempts = waiting.attempts.saturating_add(1);
                let pause = wait(attempts, after, getrandom::u64().unwrap_or_default());
                let not_before_ns = now_ns.saturating_add(i64::try_from(pause.as_nanos()).unwrap_or(i64::MAX));
                records::put(key, &Waiting { attempts, not_before_ns, ..waiting }, Expect::Version(version))?
            }
            Err(error) => {
                tracing::warn!(error = causes(&error), "somebody who pressed a button was not answered");
                delete
            }
        };
        // A conflict says that somebody else has given it.
        drop(self.books().write(vec![write]).await);
        Ok(())
    }
}
