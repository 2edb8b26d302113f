//! Pre-flight: whether work may begin, by every budget that it counts for (BUD-3) and the cap of its task (BUD-4).

use std::collections::BTreeMap;

use chrono::NaiveDate;
use recoup_model::organisation::{Budget, History, Unavailable};
use recoup_model::{Calendar, Id, Organisation, Tags};
use recoup_money::Amount;

use crate::counter::{Counter, PeriodKind, scope_of};

/// The period of a task's counter: a task is accumulated for as long as it lives.
pub const TASK_PERIOD: &str = "task";
/// The tier that is the kill switch, percent.
pub const KILL_SWITCH_PERCENT: u32 = 100;
/// Draws that a lease is made large enough for, while there is room: at least so many, and as many as there were already.
const DRAWS_PER_GRANT_MIN: u32 = 64;
const DRAWS_PER_GRANT_MAX: u32 = 4_096;
/// A grant takes at most this part of what is left, so that chains beside it find room.
const ROOM_PARTS: i128 = 16;

/// Who wants to begin.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Asker {
    /// Its team.
    pub team: Option<Id>,
    /// Its project.
    pub project: Option<Id>,
    /// Its agent.
    pub agent: Option<Id>,
    /// Its user, by the name that events carry.
    pub user: Option<Id>,
    /// Its task: `task_id`, else the trace.
    pub task: Option<Id>,
    /// The kind of task.
    pub task_type: Option<Id>,
}

impl Asker {
    /// What some tags name.
    pub(crate) fn of(tags: &Tags) -> Self {
        Self {
            team: tags.team.clone(),
            project: tags.project.clone(),
            agent: tags.agent.clone(),
            user: tags.user.clone(),
            task: tags.task_id.clone(),
            task_type: tags.task_type.clone(),
        }
    }

    /// Each that it does not name as another names it.
    pub(crate) fn or(self, other: &Self) -> Self {
        let first = |own: Option<Id>, other: &Option<Id>| own.or_else(|| other.clone());
        Self {
            team: first(self.team, &other.team),
            project: first(self.project, &other.project),
            agent: first(self.agent, &other.agent),
            user: first(self.user, &other.user),
            task: first(self.task, &other.task),
            task_type: first(self.task_type, &other.task_type),
        }
    }

    /// Whether its claim to be critical is honoured (BUD-2): the organisation file declares its agent or task type so.
    #[must_use]
    pub fn may_be_critical(&self, organisation: &Organisation) -> bool {
        let agent = self.agent.as_ref().and_then(|agent| organisation.agents.get(agent));
        let task_type = self.task_type.as_ref().and_then(|task_type| organisation.task_types.get(task_type));
        agent.is_some_and(|agent| agent.critical) || task_type.is_some_and(|task_type| task_type.critical)
    }
}

/// A limit that applies to somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// What is counted.
    pub counter: Counter,
    /// The scope as the organisation file names it.
    pub scope: String,
    /// The limit in this period: the base and what was approved for it.
    pub limit: Amount,
    /// The tiers of the budget, lowest first; empty: the cap of a task.
    pub tiers: Vec<u32>,
    /// What happens while it cannot be read (BUD-5).
    pub unavailable: Unavailable,
}

impl Link {
    /// Whether it is the cap of a task.
    #[must_use]
    pub fn is_cap(&self) -> bool {
        self.tiers.is_empty()
    }
}

/// When room is needed: from a local day until another, which may lie in the next period.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// Now.
    pub from: NaiveDate,
    /// When a reservation would expire.
    pub until: NaiveDate,
}

impl Span {
    /// That between two instants.
    #[must_use]
    pub fn between(calendar: Calendar, from_ns: i64, until_ns: i64) -> Self {
        Self { from: calendar.day_of(from_ns), until: calendar.day_of(until_ns) }
    }
}

/// What was approved beyond the limits of budgets, by (scope as the organisation file names it, period).
pub type Extended = BTreeMap<(String, String), Amount>;

/// The limits that apply to somebody: those of the running periods, those of the next ones where the span reaches into them
/// (BUD-3), and the cap of the task. Each period has the budgets of the version that is in force on the span's day in it: the
/// running one those of `from`, the next one those of `until`, which may have other limits, more budgets or fewer.
#[must_use]
pub fn chain(
    asker: &Asker,
    span: Span,
    history: &History,
    extended: &Extended,
    pseudonym_of: &impl Fn(&str) -> String,
) -> Vec<Link> {
    let today = &history.on(span.from).organisation;
    let links_of = |organisation: &Organisation, day: NaiveDate, is_meant: &dyn Fn(PeriodKind) -> bool| -> Vec<Link> {
        let of_asker = organisation.budgets.iter().filter(|budget| is_of(budget, asker, organisation, pseudonym_of));
        let kinds = of_asker.filter_map(|budget| Some((budget, PeriodKind::from_name(&budget.period)?)));
        let meant = kinds.filter(|(_, kind)| is_meant(*kind));
        meant.map(|(budget, kind)| link(budget, kind.period_of(day), extended, pseudonym_of)).collect()
    };
    let mut links = links_of(today, span.from, &|_| true);
    if span.until != span.from {
        let is_next = |kind: PeriodKind| kind.period_of(span.until) != kind.period_of(span.from);
        links.extend(links_of(&history.on(span.until).organisation, span.until, &is_next));
    }
    links.extend(cap_of(asker, today));
    links
}

fn link(budget: &Budget, period: String, extended: &Extended, pseudonym_of: &impl Fn(&str) -> String) -> Link {
    Link {
        limit: limit_of(budget, &period, extended),
        counter: Counter { scope: scope_of(budget, pseudonym_of), period },
        scope: budget.scope.clone(),
        tiers: budget.tiers.clone(),
        unavailable: budget.unavailable,
    }
}

/// The limit of a budget in a period: the base and what was approved for it (BUD-1).
#[must_use]
pub fn limit_of(budget: &Budget, period: &str, extended: &Extended) -> Amount {
    let more = extended.get(&(budget.scope.clone(), period.to_owned())).copied().unwrap_or_default();
    budget.limit.checked_add(more).unwrap_or(budget.limit)
}

fn is_of(budget: &Budget, asker: &Asker, organisation: &Organisation, pseudonym_of: &impl Fn(&str) -> String) -> bool {
    let is = |id: &Option<Id>, name: &str| id.as_deref() == Some(name);
    match budget.scope.split_once(':') {
        None => budget.scope == "organisation",
        // A team that the organisation file does not have is nobody's.
        Some(("team", id)) => is(&asker.team, id) && organisation.teams.contains_key(id),
        Some(("project", id)) => is(&asker.project, id),
        Some(("agent", id)) => is(&asker.agent, id),
        Some(("user", id)) => asker.user.as_deref().is_some_and(|user| user == pseudonym_of(id)),
        Some(("task", id)) => is(&asker.task, id),
        Some(_) => false,
    }
}

fn cap_of(asker: &Asker, organisation: &Organisation) -> Option<Link> {
    let cap = organisation.task_types.get(asker.task_type.as_ref()?)?.cap?;
    let scope = format!("task:{}", asker.task.as_ref()?);
    let counter = Counter { scope: scope.clone(), period: TASK_PERIOD.to_owned() };
    Some(Link { counter, scope, limit: cap, tiers: Vec::new(), unavailable: Unavailable::Deny })
}

/// The cap that an estimate goes beyond by itself, of a task that nobody has named yet (BUD-4). Where the task is known its
/// cap is a link of the chain.
#[must_use]
pub fn cap_beyond(asker: &Asker, organisation: &Organisation, estimate: Amount) -> Option<Amount> {
    if asker.task.is_some() {
        return None;
    }
    organisation.task_types.get(asker.task_type.as_ref()?)?.cap.filter(|cap| estimate > *cap)
}

/// How a link stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// What is posted.
    pub posted: Amount,
    /// What is reserved by others, without what is set aside and free.
    pub reserved: Amount,
}

impl Standing {
    /// What is posted and reserved; `None`: more than fits.
    #[must_use]
    pub fn committed(self) -> Option<Amount> {
        self.posted.checked_add(self.reserved)
    }
}

/// Whether work may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may.
    Admit,
    /// It may not, because of the link with this number.
    Deny(usize),
}

/// Whether work may begin: posted + reserved + estimate <= limit at every link, and no kill switch. `critical` work is
/// bound by the cap of its task alone.
#[must_use]
pub fn admit(links: &[Link], standings: &[Standing], estimate: Amount, critical: bool) -> Verdict {
    let refuses = |(link, standing): (&Link, &Standing)| {
        if critical && !link.is_cap() {
            return false;
        }
        let wanted = standing.committed().and_then(|committed| committed.checked_add(estimate));
        let is_killed = !link.is_cap() && standing.posted >= link.limit;
        is_killed || wanted.is_none_or(|wanted| wanted > link.limit)
    };
    match links.iter().zip(standings).position(refuses) {
        Some(at) => Verdict::Deny(at),
        None => Verdict::Admit,
    }
}

/// The highest tier of a link that what is posted has reached.
#[must_use]
pub fn tier_reached(link: &Link, posted: Amount) -> Option<u32> {
    let reached = |tier: &&u32| is_reached(**tier, link.limit, posted);
    link.tiers.iter().filter(reached).max().copied()
}

/// Whether what is posted has reached a tier: 100 * posted >= tier * limit (BUD-2).
#[must_use]
pub fn is_reached(tier: u32, limit: Amount, posted: Amount) -> bool {
    match (posted.pico().checked_mul(100), limit.pico().checked_mul(i128::from(tier))) {
        (Some(posted), Some(limit)) => posted >= limit,
        // Only what does not fit: it is above every limit that does.
        (None, _) => posted.pico() > 0,
        (_, None) => false,
    }
}

/// How much room to take for an estimate: enough for many more of its kind while there is plenty, the estimate alone near a
/// limit. What was drawn from a lease so often already is granted in larger slices.
#[must_use]
pub fn slice(links: &[Link], standings: &[Standing], estimate: Amount, drawn: u32) -> Amount {
    let left = |(link, standing): (&Link, &Standing)| {
        standing.committed().and_then(|committed| link.limit.checked_sub(committed)).unwrap_or_default().pico()
    };
    let left = links.iter().zip(standings).map(left).min().unwrap_or_default();
    let share = left.checked_div(ROOM_PARTS).unwrap_or_default();
    let draws = share.checked_div(estimate.pico()).unwrap_or_default();
    let most = drawn.clamp(DRAWS_PER_GRANT_MIN, DRAWS_PER_GRANT_MAX);
    let draws = draws.clamp(1, i128::from(most));
    estimate.checked_mul(draws).unwrap_or(estimate)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use std::sync::Arc;

    use recoup_model::Digest;
    use recoup_model::organisation::Version;

    use super::*;

    fn amount(text: &str) -> Amount {
        Amount::parse_rounded(text).unwrap()
    }

    fn link(scope: &str, limit: &str) -> Link {
        let counter = Counter { scope: scope.into(), period: "2026-11".into() };
        let tiers = if scope.starts_with("task:") { vec![] } else { vec![70, 90, 100] };
        Link { counter, scope: scope.into(), limit: amount(limit), tiers, unavailable: Unavailable::Deny }
    }

    fn standing(posted: &str, reserved: &str) -> Standing {
        Standing { posted: amount(posted), reserved: amount(reserved) }
    }

    fn organisation() -> Organisation {
        recoup_model::organisation::parse(
            r#"
            [organisation]
            name = "A"
            currency = "USD"
            time_zone = "Europe/Berlin"
            [[teams]]
            id = "support"
            [[agents]]
            id = "triage"
            critical = true
            [[task_types]]
            id = "ticket"
            cap = "2"
            [[task_types]]
            id = "outage"
            critical = true
            [[budgets]]
            scope = "organisation"
            limit = "100"
            [[budgets]]
            scope = "team:support"
            period = "day"
            limit = "10"
            [[budgets]]
            scope = "user:ana"
            limit = "5"
            [[budgets]]
            scope = "project:x"
            period = "week"
            limit = "7"
            "#,
        )
        .unwrap()
    }

    fn scopes(asker: &Asker, from: &str, until: &str) -> Vec<(String, String, String)> {
        scopes_in(&history(&[(None, organisation())]), asker, from, until)
    }

    /// Versions by the day from which they hold.
    fn history(versions: &[(Option<&str>, Organisation)]) -> History {
        let version = |(number, (effective, organisation)): (u32, &(Option<&str>, Organisation))| Version {
            number,
            effective: effective.map(|day| day.parse().unwrap()),
            digest: Digest::of(b""),
            text: String::new(),
            organisation: Arc::new(organisation.clone()),
        };
        History::new((1..).zip(versions).map(version).collect()).unwrap()
    }

    fn scopes_in(history: &History, asker: &Asker, from: &str, until: &str) -> Vec<(String, String, String)> {
        let span = Span { from: from.parse().unwrap(), until: until.parse().unwrap() };
        let extended = Extended::from([(("team:support".into(), "2026-11-30".into()), amount("3"))]);
        let links = chain(asker, span, history, &extended, &|user| format!("u_{user}"));
        links.into_iter().map(|link| (link.counter.scope, link.counter.period, link.limit.to_string())).collect()
    }

    fn of(scope: &str, period: &str, limit: &str) -> (String, String, String) {
        (scope.into(), period.into(), limit.into())
    }

    #[test]
    fn bud_3_a_chain_has_every_budget_of_the_asker_and_the_cap_of_its_task() {
        let asker = Asker {
            team: Some("support".into()),
            project: Some("y".into()),
            user: Some("u_ana".into()),
            task: Some("t1".into()),
            task_type: Some("ticket".into()),
            ..Asker::default()
        };
        let expected = [
            of("organisation", "2026-11", "100"),
            of("team:support", "2026-11-24", "10"),
            of("user:u_ana", "2026-11", "5"),
            of("task:t1", "task", "2"),
        ];
        assert_eq!(scopes(&asker, "2026-11-24", "2026-11-24"), expected);
    }

    #[test]
    fn bud_3_what_outlives_a_period_is_in_both_and_an_extension_in_its_own() {
        let asker = Asker { team: Some("support".into()), ..Asker::default() };
        let expected = [
            of("organisation", "2026-11", "100"),
            of("team:support", "2026-11-30", "13"),
            of("organisation", "2026-12", "100"),
            of("team:support", "2026-12-01", "10"),
        ];
        assert_eq!(scopes(&asker, "2026-11-30", "2026-12-01"), expected);
    }

    #[test]
    fn bud_3_each_period_has_the_limits_of_the_version_in_force_then() {
        let asker = Asker {
            team: Some("support".into()),
            agent: Some("triage".into()),
            user: Some("u_ana".into()),
            ..Asker::default()
        };
        let mut later = organisation();
        later.budgets.retain(|budget| budget.scope != "user:ana");
        let [of_all, of_team] = later.budgets.get_mut(..2).unwrap() else { unreachable!() };
        (of_all.limit, of_team.limit) = (amount("40"), amount("4"));
        let fresh = |period: &str| Budget { scope: "agent:triage".into(), period: period.into(), ..of_team.clone() };
        let fresh = [fresh("day"), fresh("week")];
        later.budgets.extend(fresh);
        let since = |day: &'static str| history(&[(None, organisation()), (Some(day), later.clone())]);
        let today = [
            of("organisation", "2026-11", "100"),
            of("team:support", "2026-11-30", "13"),
            of("user:u_ana", "2026-11", "5"),
        ];
        let tomorrow = [
            of("organisation", "2026-12", "40"),
            of("team:support", "2026-12-01", "4"),
            of("agent:triage", "2026-12-01", "4"),
        ];
        let both = [today.clone(), tomorrow].concat();
        assert_eq!(scopes_in(&since("2026-12-01"), &asker, "2026-11-30", "2026-12-01"), both, "a week goes on");
        assert_eq!(scopes_in(&since("2026-12-01"), &asker, "2026-11-30", "2026-11-30"), today);
        let still = scopes_in(&since("2026-12-02"), &asker, "2026-11-30", "2026-12-01");
        assert_eq!(still, scopes(&asker, "2026-11-30", "2026-12-01"), "it holds from the day after");
    }

    #[test]
    fn bud_1_a_team_that_is_not_declared_is_nobodys() {
        let asker = Asker { team: Some("marketing".into()), ..Asker::default() };
        assert_eq!(scopes(&asker, "2026-11-24", "2026-11-24"), [of("organisation", "2026-11", "100")]);
    }

    #[test]
    fn bud_3_admitted_to_the_last_unit_and_not_beyond() {
        let links = [link("organisation", "100"), link("team:a", "10")];
        let standings = [standing("50", "10"), standing("6", "1")];
        assert_eq!(admit(&links, &standings, amount("3"), false), Verdict::Admit);
        assert_eq!(admit(&links, &standings, amount("3.000000000001"), false), Verdict::Deny(1));
        assert_eq!(admit(&links, &standings, amount("41"), false), Verdict::Deny(0));
        assert_eq!(admit(&[], &[], amount("41"), false), Verdict::Admit, "nothing limits what has no budget");
    }

    #[test]
    fn bud_2_the_kill_switch_stops_even_what_costs_nothing() {
        let links = [link("team:a", "10")];
        assert_eq!(admit(&links, &[standing("9.99", "0")], Amount::ZERO, false), Verdict::Admit);
        assert_eq!(admit(&links, &[standing("10", "0")], Amount::ZERO, false), Verdict::Deny(0));
        assert_eq!(admit(&links, &[standing("10", "0")], amount("5"), true), Verdict::Admit, "critical work goes on");
    }

    #[test]
    fn bud_4_a_cap_binds_critical_work_too_and_may_be_used_up() {
        let links = [link("team:a", "10"), link("task:t", "2")];
        let standings = [standing("20", "0"), standing("1.5", "0.25")];
        assert_eq!(admit(&links, &standings, amount("0.25"), true), Verdict::Admit);
        assert_eq!(admit(&links, &standings, amount("0.26"), true), Verdict::Deny(1));
    }

    #[test]
    fn bud_2_critical_is_what_the_organisation_declares() {
        let organisation = organisation();
        let asker = |agent: &str, task_type: &str| Asker {
            agent: Some(agent.into()),
            task_type: Some(task_type.into()),
            ..Asker::default()
        };
        assert!(asker("triage", "ticket").may_be_critical(&organisation));
        assert!(asker("other", "outage").may_be_critical(&organisation));
        assert!(!asker("other", "ticket").may_be_critical(&organisation));
        assert!(!Asker::default().may_be_critical(&organisation));
    }

    #[test]
    fn bud_3_slices_shrink_to_the_estimate_near_the_limit() {
        let links = [link("organisation", "1000"), link("team:a", "100")];
        let taken = |posted: &str, estimate: &str| {
            slice(&links, &[standing("0", "0"), standing(posted, "0")], amount(estimate), 0).to_string()
        };
        assert_eq!(taken("0", "0.01"), "0.64");
        assert_eq!(taken("0", "1"), "6", "whole estimates");
        assert_eq!(taken("92", "1"), "1");
        assert_eq!(taken("120", "1"), "1");
        let busy = |drawn| slice(&links[..1], &[standing("0", "0")], amount("0.01"), drawn).to_string();
        assert_eq!([busy(64), busy(1_000), busy(u32::MAX)], ["0.64", "10", "40.96"]);
    }
}
