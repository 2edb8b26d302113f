//! An outlet: what is left to send to one target, worked off by one process at a time.

use std::collections::BTreeSet;

use recoup_messages::Severity;
use recoup_store::{Expect, Key, Write, WriteError};
use serde::{Deserialize, Serialize};

use super::Channels;
use super::delivery::{DUE, Due};
use crate::app::App;
use crate::error::Refusal;
use crate::records;

/// The partition of outlets.
const OUTLETS: &str = "delivery-outlets";
/// Messages that a target gets in any minute. What is more comes as one digest, which counts as one of them.
pub(super) const MESSAGES_PER_MINUTE_MAX: usize = 10;
const MINUTE_NS: i64 = 60_000_000_000;
/// How long an outlet is held by a process that does not say more.
const HOLD_NS: i64 = 60_000_000_000;
/// Deliveries of an outlet that are looked at.
const LOOKED_AT_MAX: usize = 500;
/// Steps of one call.
const STEPS_MAX: usize = 1_000;

/// What is known of an outlet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Outlet {
    /// The process that works it off.
    holder: Option<u64>,
    /// And until when nobody else does.
    until_ns: i64,
    /// Nothing is tried before.
    pub(super) not_before_ns: i64,
    /// When its last messages were sent.
    pub(super) sent_ns: Vec<i64>,
}

impl Outlet {
    fn room(&self, now_ns: i64) -> usize {
        let recent = self.sent_ns.iter().filter(|sent_ns| now_ns.saturating_sub(**sent_ns) < MINUTE_NS).count();
        MESSAGES_PER_MINUTE_MAX.saturating_sub(recent)
    }

    /// When there is room for one more.
    fn room_at_ns(&self, now_ns: i64) -> i64 {
        let is_recent = |sent_ns: &&i64| now_ns.saturating_sub(**sent_ns) < MINUTE_NS;
        self.sent_ns.iter().filter(is_recent).min().map_or(now_ns, |oldest_ns| oldest_ns.saturating_add(MINUTE_NS))
    }

    /// A message was sent.
    pub(super) fn count(&mut self, now_ns: i64) {
        self.sent_ns.retain(|sent_ns| now_ns.saturating_sub(*sent_ns) < MINUTE_NS);
        self.sent_ns.push(now_ns);
    }
}

/// An outlet that this process holds.
pub(super) struct Held {
    key: Key,
    version: u64,
    pub(super) outlet: Outlet,
}

/// A delivery that is left to do, as it stands in the books.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) key: Key,
    pub(super) version: u64,
    pub(super) due: Due,
}

/// How an outlet was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worked {
    /// Nothing is left.
    Empty,
    /// What is left waits until then, nanoseconds since 1970.
    Waits(i64),
    /// Another process works it off.
    Elsewhere,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Nothing,
    Wait(i64),
    One(usize),
    Digest(Vec<usize>),
}

/// The next step of an outlet: in order, except that the gravest come first where not all of them fit into the minute.
fn next_step(due: &[Due], outlet: &Outlet, now_ns: i64) -> Step {
    let Some(head) = due.first() else { return Step::Nothing };
    if outlet.not_before_ns > now_ns {
        return Step::Wait(outlet.not_before_ns);
    }
    if head.is_update() {
        return Step::One(0);
    }
    let room = outlet.room(now_ns);
    if room == 0 {
        let left: BTreeSet<&str> = due.iter().map(|due| due.alert.as_str()).collect();
        // What was posted before can be changed all the same.
        let update = due.iter().position(|due| due.is_update() && !left.contains(due.notice.id.as_str()));
        return update.map_or_else(|| Step::Wait(outlet.room_at_ns(now_ns)), Step::One);
    }
    let posts: Vec<usize> = due.iter().enumerate().filter(|(_, due)| !due.is_update()).map(|(at, _)| at).collect();
    if posts.len() <= room {
        return Step::One(0);
    }
    if room == 1 {
        return Step::Digest(posts);
    }
    let gravity = |at: &usize| due.get(*at).map_or(0, |due| rank(due.notice.severity));
    // Of equals the first.
    let gravest = posts.iter().rev().max_by_key(|at| gravity(at)).copied().unwrap_or_default();
    Step::One(gravest)
}

/// How grave it is.
pub(super) const fn rank(severity: Severity) -> u8 {
    match severity {
        Severity::Info => 0,
        Severity::Warning => 1,
        Severity::Critical => 2,
    }
}

impl App {
    /// Outlets that have something to send now.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn outlets_with_work(&self) -> Result<BTreeSet<String>, Refusal> {
        let mut outlets = BTreeSet::new();
        let mut after: Option<String> = None;
        loop {
            let page = self.books().scan(DUE, "", after.as_deref(), 1).await?;
            let Some(record) = page.records.first() else { return Ok(outlets) };
            let outlet = record.key.sort.split('|').next().unwrap_or_default().to_owned();
            // The next sign after `|`: no name of an outlet has the latter in it.
            after = Some(format!("{outlet}}}"));
            if let Step::One(_) | Step::Digest(_) = self.look_at_outlet(&outlet).await?.2 {
                outlets.insert(outlet);
            }
        }
    }

    async fn look_at_outlet(&self, name: &str) -> Result<(Vec<Entry>, Held, Step), Refusal> {
        let key = Key::new(OUTLETS, name);
        let (outlet, version) = records::get::<Outlet>(self.books(), &key).await?.unwrap_or_default();
        let held = Held { key, version, outlet };
        let page = self.books().scan(DUE, &format!("{name}|"), None, LOOKED_AT_MAX).await?;
        let mut entries = Vec::new();
        for record in page.records {
            let due =
                serde_json::from_str(&record.value).map_err(|error| Refusal::computation("read a delivery", error))?;
            entries.push(Entry { key: record.key, version: record.version, due });
        }
        let due: Vec<Due> = entries.iter().map(|entry| entry.due.clone()).collect();
        let step = next_step(&due, &held.outlet, self.now_ns());
        Ok((entries, held, step))
    }

    /// Works an outlet off, as far as it can be now.
    ///
    /// # Errors
    /// When the store fails; what was sent and could not be noted is sent again.
    pub async fn work_outlet(&self, channels: &Channels, name: &str) -> Result<Worked, Refusal> {
        for _ in 0..STEPS_MAX {
            let (entries, mut held, step) = self.look_at_outlet(name).await?;
            match step {
                Step::Nothing => return self.let_go(held, Worked::Empty).await,
                Step::Wait(until_ns) => return self.let_go(held, Worked::Waits(until_ns)).await,
                Step::One(_) | Step::Digest(_) if !self.hold(&mut held).await? => return Ok(Worked::Elsewhere),
                Step::One(at) => {
                    let Some(entry) = entries.get(at) else { continue };
                    self.send_one(channels, &mut held, entry).await?;
                }
                Step::Digest(all) => {
                    let entries: Vec<&Entry> = all.iter().filter_map(|at| entries.get(*at)).collect();
                    self.send_digest(channels, &mut held, &entries).await?;
                }
            }
        }
        Ok(Worked::Waits(self.now_ns()))
    }

    /// Takes an outlet, unless another process has it. Where this process has the books for itself, whoever held it is dead.
    async fn hold(&self, held: &mut Held) -> Result<bool, Refusal> {
        let now_ns = self.now_ns();
        let is_ours = held.outlet.holder.is_none_or(|holder| holder == self.nonce);
        if !is_ours && self.sharing && held.outlet.until_ns > now_ns {
            return Ok(false);
        }
        held.outlet.holder = Some(self.nonce);
        self.write_with_outlet(held, Vec::new()).await
    }

    async fn let_go(&self, mut held: Held, worked: Worked) -> Result<Worked, Refusal> {
        if self.sharing && held.outlet.holder == Some(self.nonce) {
            held.outlet.holder = None;
            self.write_with_outlet(&mut held, Vec::new()).await?;
        }
        Ok(worked)
    }

    /// Writes in one group with the outlet, which is held for longer; `false`: another process has taken the outlet meanwhile,
    /// and nothing was written.
    pub(super) async fn write_with_outlet(&self, held: &mut Held, mut writes: Vec<Write>) -> Result<bool, Refusal> {
        held.outlet.until_ns = self.now_ns().saturating_add(HOLD_NS);
        let expect = if held.version == 0 { Expect::Absent } else { Expect::Version(held.version) };
        writes.push(records::put(held.key.clone(), &held.outlet, expect)?);
        match self.books().write(writes).await {
            Ok(()) => {
                held.version = held.version.saturating_add(1);
                Ok(true)
            }
            Err(WriteError::Conflict(key)) => {
                tracing::warn!(outlet = held.key.sort, record = key.sort, "somebody else works here as well");
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use recoup_messages::{Notice, Outcome, Severity};

    use super::super::delivery::{Channel, Due};
    use super::super::targets::Target;
    use super::{MESSAGES_PER_MINUTE_MAX, MINUTE_NS, Outlet, Step, next_step};

    fn due(alert: &str, severity: Severity) -> Due {
        let notice = Notice {
            id: alert.into(),
            kind: "budget-tier".into(),
            severity,
            title: "t".into(),
            summary: "s".into(),
            facts: Vec::new(),
            table: None,
            next_steps: Vec::new(),
            actions: Vec::new(),
            team: None,
            audience: Vec::new(),
            thread: None,
            outcome: None,
            at: String::new(),
        };
        Due {
            alert: alert.into(),
            target: Target { channel: Channel::Slack, to: "#a".into() },
            notice,
            attempts: 0,
            posts: false,
            planned_at: String::new(),
            note: None,
        }
    }

    fn change(of: &str) -> Due {
        let mut due = due(of, Severity::Info);
        due.alert = format!("{of}-acknowledged");
        due.notice.outcome = Some(Outcome { what: "seen".into(), at: String::new() });
        due
    }

    fn outlet(sent: usize) -> Outlet {
        Outlet { sent_ns: vec![0; sent], ..Outlet::default() }
    }

    fn many(count: usize) -> Vec<Due> {
        (0..count).map(|number| due(&format!("a{number}"), Severity::Info)).collect()
    }

    #[test]
    fn what_fits_into_the_minute_goes_in_order() {
        assert_eq!(next_step(&[], &outlet(0), 1), Step::Nothing);
        assert_eq!(next_step(&many(MESSAGES_PER_MINUTE_MAX), &outlet(0), 1), Step::One(0));
        assert_eq!(next_step(&many(1), &outlet(MESSAGES_PER_MINUTE_MAX - 1), 1), Step::One(0));
    }

    #[test]
    fn what_does_not_fit_is_one_digest_and_the_gravest_come_first() {
        let mut storm = many(50);
        if let Some(due) = storm.get_mut(30) {
            due.notice.severity = Severity::Critical;
        }
        assert_eq!(next_step(&storm, &outlet(0), 1), Step::One(30));
        assert_eq!(next_step(&many(50), &outlet(0), 1), Step::One(0));
        assert_eq!(next_step(&many(50), &outlet(MESSAGES_PER_MINUTE_MAX - 1), 1), Step::Digest((0..50).collect()));
        assert_eq!(next_step(&many(50), &outlet(MESSAGES_PER_MINUTE_MAX), 1), Step::Wait(MINUTE_NS));
        assert_eq!(next_step(&many(3), &outlet(MESSAGES_PER_MINUTE_MAX), MINUTE_NS), Step::One(0));
    }

    #[test]
    fn what_was_posted_is_changed_also_in_a_full_minute() {
        let full = outlet(MESSAGES_PER_MINUTE_MAX);
        let waiting = [due("b", Severity::Info), change("b"), change("a")];
        assert_eq!(next_step(&waiting, &full, 1), Step::One(2));
        let held_up = Outlet { not_before_ns: 9, ..outlet(0) };
        assert_eq!(next_step(&waiting, &held_up, 1), Step::Wait(9));
    }
}
