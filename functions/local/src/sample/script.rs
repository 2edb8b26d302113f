//! Writes one trace: who pays, which agent plays, what goes wrong.

use recoup_model::{Kind, Status};

use super::chance::{Chance, Range};
use super::company::{DISSOLVED_TEAM, JOBS, Job, Team, job, team};
use super::habits::Habits;
use super::playbooks::playbook;
use super::rhythm::SECOND_NS;
use super::stage::{Stage, Turn, nanoseconds};
use super::trace::{Root, Span, Task, Trace};

/// Tickets are counted from here.
const FIRST_TICKET: u64 = 10_000;

/// How long a person takes to approve: between 20 hours and two days.
const APPROVAL_MS: Range = (20 * 3_600_000, 48 * 3_600_000);

/// A trace to write.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order {
    pub(super) start_ns: i64,
    /// Whether people are at work.
    pub(super) is_business: bool,
    /// How many traces came before.
    pub(super) ordinal: u64,
    /// No span is used at or after this.
    pub(super) limit_ns: i64,
    pub(super) twist: Twist,
}

/// What a trace is told to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Twist {
    /// Whatever comes.
    None,
    /// It waits until after midnight.
    CrossesMidnight,
    /// It runs away and is stopped.
    RunsAway,
}

/// Who pays, as the root tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Payer {
    /// The root names a team of the organisation file.
    Named,
    /// Only a user of `[[people]]`.
    UserOnly,
    /// A team that the organisation file does not know.
    Dissolved,
    /// Neither team nor user.
    Nobody,
}

/// A trace and what was planted in it.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) trace: Trace,
    pub(super) payer: Payer,
    /// Whether somebody had to approve, days later.
    pub(super) is_approved_later: bool,
}

/// Writes a trace.
pub(super) fn write(order: Order, habits: &'static Habits, chance: &mut Chance) -> Option<Scene> {
    let job = choose_job(order, chance)?;
    let (payer_team, _) = chance.weighted(job.payers, |payer| payer.1)?;
    let (payer, root) = choose_payer(team(payer_team)?, habits, chance);
    let id = (chance.bits(), chance.bits());
    if order.twist == Twist::None && chance.per_mille(habits.traceless) {
        let spans = Stage::new(chance, habits, order.start_ns).refresh_index("knowledge");
        let mut trace = Trace { id: None, root, spans };
        keep_before(&mut trace, order.limit_ns);
        return Some(Scene { trace, payer, is_approved_later: false });
    }
    let status = choose_status(order.twist, habits, chance);
    let may_wait = order.start_ns.saturating_add(nanoseconds(APPROVAL_MS.1)) < order.limit_ns;
    let is_approved_later = job.agent == "reconciler" && order.twist == Twist::None && chance.percent(12) && may_wait;
    let pause_ns = match order.twist {
        Twist::CrossesMidnight => nanoseconds(chance.between((600_000, 2_400_000))),
        _ if is_approved_later => nanoseconds(chance.between(APPROVAL_MS)),
        _ => 0,
    };
    let turn = Turn { pause_ns, stops_early: status == Status::Error, runs_away: order.twist == Twist::RunsAway };
    let number = order.ordinal.saturating_add(FIRST_TICKET);
    let task = job.task_type.map(|task_type| Task { task_type, ticket: job.ticket, number });
    let is_critical = chance.percent(job.critical_percent);
    let root = Root { task, status: Some(status), is_critical, ..root };
    let spans = Stage::new(chance, habits, order.start_ns).play(playbook(job.agent)?, turn);
    let mut trace = Trace { id: Some(id), root, spans };
    keep_before(&mut trace, order.limit_ns);
    Some(Scene { trace, payer, is_approved_later })
}

fn choose_job(order: Order, chance: &mut Chance) -> Option<&'static Job> {
    match order.twist {
        Twist::RunsAway => job("resolver"),
        Twist::CrossesMidnight => job(chance.pick(&["incident", "code-reviewer", "docs"])?),
        Twist::None if order.is_business => chance.weighted(JOBS, |job| job.weights.0),
        Twist::None => chance.weighted(JOBS, |job| job.weights.1),
    }
}

fn choose_payer(team: &Team, habits: &Habits, chance: &mut Chance) -> (Payer, Root) {
    let project = chance.percent(55).then(|| chance.pick(team.projects)).flatten().copied();
    let campaign = chance.percent(70).then(|| chance.pick(team.campaigns)).flatten().copied();
    let root = Root { project, campaign, ..Root::default() };
    let draw = chance.below(1_000);
    let dissolved = habits.no_payer.saturating_add(habits.dissolved_team);
    if draw < habits.no_payer {
        (Payer::Nobody, root)
    } else if draw < dissolved {
        (Payer::Dissolved, Root { team: Some(DISSOLVED_TEAM), ..root })
    } else if draw < dissolved.saturating_add(habits.user_only) {
        (Payer::UserOnly, Root { user: chance.pick(team.listed).copied(), ..root })
    } else {
        (Payer::Named, Root { team: Some(team.id), user: chance.pick(team.users).copied(), ..root })
    }
}

fn choose_status(twist: Twist, habits: &Habits, chance: &mut Chance) -> Status {
    let draw = chance.below(1_000);
    match twist {
        Twist::RunsAway => Status::Killed,
        Twist::CrossesMidnight => Status::Ok,
        Twist::None if draw < habits.failed => Status::Error,
        Twist::None if draw < habits.failed.saturating_add(habits.killed) => Status::Killed,
        Twist::None => Status::Ok,
    }
}

/// Moves a trace so that all of it is used before `limit_ns`.
fn keep_before(trace: &mut Trace, limit_ns: i64) {
    let (_, end_ns) = trace.bounds_ns();
    let excess_ns = end_ns.saturating_sub(limit_ns.saturating_sub(SECOND_NS)).max(0);
    for span in &mut trace.spans {
        span.end_ns = span.end_ns.saturating_sub(excess_ns);
    }
}

/// Takes an inner frame away from a trace, so that what was below it is left without a parent: how many spans.
pub(super) fn lose_frame(trace: &mut Trace) -> usize {
    let is_inner = |span: &&Span| span.kind == Kind::Agent && span.parent.is_some();
    let Some(lost) = trace.spans.iter().find(is_inner).map(|span| span.id) else {
        return 0;
    };
    trace.spans.retain(|span| span.id != lost);
    trace.spans.iter().filter(|span| span.parent == Some(lost)).count()
}

/// The gateway's own report of a call that the trace holds too: a trace of one span that names nobody.
pub(super) fn report_from_gateway(trace: &Trace, chance: &mut Chance) -> Option<Trace> {
    let call = trace.spans.iter().rev().find(|span| span.response.is_some())?;
    let mut span = call.clone();
    span.id = chance.bits();
    (span.parent, span.agent, span.retry_of) = (None, None, None);
    span.end_ns = span.end_ns.saturating_add(nanoseconds(chance.between((20, 400))));
    Some(Trace { id: Some((chance.bits(), chance.bits())), root: Root::default(), spans: vec![span] })
}
