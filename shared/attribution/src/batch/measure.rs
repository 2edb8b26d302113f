//! What a regular trace contributes to a day: the rules of [`resolve`](crate::resolve()) and
//! [`DayBuilder`](crate::DayBuilder) over rows.
#![expect(clippy::indexing_slicing, reason = "measured hot loop; every index is a place that was counted here")]

use chrono::NaiveDate;
use recoup_model::organisation::Billing;
use recoup_model::{FindingKind, Kind, Status, TokenClass};
use recoup_money::Amount;

use super::organisations::Organisations;
use super::regular::{NONE, Tree};
use super::sums::{CellCode, FRAME, PoolCode, REPORTED, Sums, TaskCode, TaskSumCode, UNITS, UserCode, whole};
use super::work::{CallList, Ended, called};
use super::{Batch, KeyNames, Name, Rated, classes_of};
use crate::error::AttributionError;
use crate::grain::Grain;
use crate::sum::{add_amount, add_count};

const OVERFLOW: AttributionError = AttributionError::Overflow { field: "cells.cost" };

/// What the rules find out about a row, by position.
#[derive(Clone, Copy)]
pub(super) struct Spot {
    row: u32,
    agent: Name,
    task_type: Name,
    /// An agent that only the row's own key names is not handed down; neither is such a task type.
    agent_of_key: bool,
    task_of_key: bool,
    pool: Name,
    via: Name,
    /// Position of the nearest span of a pool at or above, and of the nearest one of another pool above that.
    pool_at: u32,
    other_pool_at: u32,
    /// Which frame of its agent starts here: 0 none, 1, 2, 3 and later ones.
    frame: u8,
    /// Position of the nearest frame that starts at or above.
    frame_at: u32,
    pub(super) is_today: bool,
}

#[derive(Clone, Copy, Default)]
pub(super) struct PayerNames {
    pub(super) team: Name,
    pub(super) project: Name,
    pub(super) user: Name,
    /// The team as it was named, known or not.
    pub(super) named: Name,
    /// Position of the span that named it; the root's unless only a span below did.
    pub(super) named_at: u32,
}

#[derive(Clone, Copy)]
struct TaskSpan {
    code: TaskCode,
    direct_cost: Amount,
    active_ns: u64,
    idle_ns: u64,
    billing: Option<Billing>,
}

/// Instants of the day, and its place among the organisation's versions.
#[derive(Clone, Copy)]
pub(super) struct Today {
    pub(super) day: NaiveDate,
    pub(super) begin_ns: i64,
    pub(super) end_ns: i64,
    pub(super) view: usize,
    pub(super) grain: Grain,
}

/// Room for one trace after the other.
#[derive(Default)]
pub(super) struct Measure {
    pub(super) tree: Tree,
    pub(super) spots: Vec<Spot>,
    /// The task, if it ended today, and what it called.
    pub(super) ended: Option<Ended>,
    pub(super) calls: CallList,
    running: Vec<i128>,
}

impl Measure {
    /// Resolves a trace whose tree is planted and adds what it contributes; none where it is not regular after all.
    pub(super) fn add(
        &mut self,
        batch: &mut Batch<'_>,
        organisations: &mut Organisations<'_>,
        today: Today,
        sums: &mut Sums,
    ) -> Result<Option<PayerNames>, AttributionError> {
        self.ended = None;
        self.inherit(batch, organisations, today);
        let payer = self.payer(batch, organisations, today);
        let task = match self.task(batch, organisations, (today, &payer))? {
            // A task that is billed by time and has none is a finding, which the careful way words.
            Some(task) if task.billing == Some(Billing::Time) && !task.code.timed => return Ok(None),
            task => task,
        };
        let place = task.as_ref().map_or(0, |task| sums.task(task.code));
        let root_agent = self.spots[0].agent;
        for spot in &self.spots {
            let rated = &batch.rows[spot.row as usize];
            look_up(sums, batch, rated);
            if !spot.is_today {
                continue;
            }
            if spot.pool != 0 {
                add_pool_use(sums, (&payer, root_agent), spot, (batch, rated))?;
            }
            if today.grain == Grain::Query {
                add_cost(sums, (&payer, place), spot, (batch, rated))?;
            }
        }
        match today.grain {
            Grain::Query => self.add_agents(batch, sums)?,
            Grain::Settlement => self.add_coarse(batch, sums, (&payer, place, task.as_ref()))?,
        }
        if let Some(task) = task.filter(|task| task.code.ended_on == today.day) {
            self.add_task(batch, sums, (&payer, &task, today.grain))?;
            if batch.dearest_max.is_some() {
                self.gather_calls(batch, (payer.team, task.code))?;
            }
        }
        Ok(Some(payer))
    }

    fn inherit(&mut self, batch: &mut Batch<'_>, organisations: &mut Organisations<'_>, today: Today) {
        self.spots.clear();
        for at in 0..self.tree.ranks.len() {
            let row_place = self.tree.ranked[self.tree.ranks[at] as usize].row;
            let rated = &batch.rows[row_place as usize];
            let (row, key) = (&rated.row, &batch.keys[rated.row.key as usize]);
            let above = self.tree.parents[at];
            let parent = (above != NONE).then(|| self.spots[above as usize]);
            let (agent, agent_of_key) =
                inherited(row.agent, parent.map(|parent| (parent.agent, parent.agent_of_key)), key.agent);
            let (task_type, task_of_key) =
                inherited(row.task_type, parent.map(|parent| (parent.task_type, parent.task_of_key)), key.task_type);
            let is_today = (today.begin_ns..today.end_ns).contains(&row.used_at_ns);
            let view = if is_today {
                today.view
            } else {
                organisations.place(organisations.day_of(row.used_at_ns), &mut batch.names)
            };
            let pool = organisations.view(view).map_or(0, |view| view.pool_of(agent));
            let spot = Spot {
                row: row_place,
                agent,
                task_type,
                agent_of_key,
                task_of_key,
                pool,
                via: 0,
                pool_at: parent.map_or(NONE, |parent| parent.pool_at),
                other_pool_at: parent.map_or(NONE, |parent| parent.other_pool_at),
                frame: 0,
                frame_at: parent.map_or(NONE, |parent| parent.frame_at),
                is_today,
            };
            let starts = (rated.row.kind == Kind::Agent && rated.row.agent != 0)
                || agent != parent.map_or(0, |parent| parent.agent);
            self.spots.push(spot);
            self.place_pool(at);
            if starts && agent != 0 {
                self.start_frame(at);
            }
        }
    }

    /// POOL-2: the nearest other pool above.
    fn place_pool(&mut self, at: usize) {
        let spot = self.spots[at];
        if spot.pool == 0 {
            return;
        }
        let pool_at = |place: u32| if place == NONE { 0 } else { self.spots[place as usize].pool };
        let other = if pool_at(spot.pool_at) == spot.pool { spot.other_pool_at } else { spot.pool_at };
        let via = pool_at(other);
        let spot = &mut self.spots[at];
        (spot.via, spot.other_pool_at, spot.pool_at) = (via, other, super::number(at));
    }

    /// ATR-2: the how-manieth frame of its agent on the way down.
    fn start_frame(&mut self, at: usize) {
        let agent = self.spots[at].agent;
        let (mut frame, mut above) = (1_u8, self.spots[at].frame_at);
        while above != NONE && frame < 3 {
            let upper = &self.spots[above as usize];
            frame = frame.saturating_add(u8::from(upper.agent == agent));
            let parent = self.tree.parents[above as usize];
            above = if parent == NONE { NONE } else { self.spots[parent as usize].frame_at };
        }
        let spot = &mut self.spots[at];
        (spot.frame, spot.frame_at) = (frame, super::number(at));
    }

    /// ATR-1, in the order of `find_payer`.
    fn payer(&self, batch: &mut Batch<'_>, organisations: &mut Organisations<'_>, today: Today) -> PayerNames {
        let root = &batch.rows[self.spots[0].row as usize].row;
        let key: KeyNames = batch.keys[root.key as usize];
        let (team, resource_team, user, project) = (root.team, root.resource_team, root.user, root.project);
        let place = if self.spots[0].is_today {
            today.view
        } else {
            organisations.place(organisations.day_of(root.used_at_ns), &mut batch.names)
        };
        let Some(view) = organisations.view(place) else { return PayerNames::default() };
        let of_key_user = if user == 0 { view.team_of(key.user) } else { 0 };
        let sources = [team, resource_team, view.team_of(user), key.team, of_key_user];
        let (named, named_at) = match sources.into_iter().find(|team| *team != 0) {
            Some(named) => (named, 0),
            None => self.first_named(batch).unwrap_or_default(),
        };
        PayerNames {
            team: if view.has_team(named) { named } else { 0 },
            project: if project == 0 { key.project } else { project },
            user: if user == 0 { key.user } else { user },
            named,
            named_at,
        }
    }

    /// The first row by rank that names a team, with its position.
    fn first_named(&self, batch: &Batch<'_>) -> Option<(Name, u32)> {
        let rank = self.tree.ranked.iter().position(|ranked| batch.rows[ranked.row as usize].row.team != 0)?;
        let row = self.tree.ranked[rank].row;
        let at = self.spots.iter().position(|spot| spot.row == row)?;
        Some((batch.rows[row as usize].row.team, super::number(at)))
    }

    /// PRC-0, PRC-4.
    fn task(
        &self,
        batch: &Batch<'_>,
        organisations: &Organisations<'_>,
        (today, payer): (Today, &PayerNames),
    ) -> Result<Option<TaskSpan>, AttributionError> {
        let root = &self.spots[0];
        if root.task_type == 0 {
            return Ok(None);
        }
        let mut direct_cost = 0_i128;
        for spot in self.spots.iter().filter(|spot| spot.pool == 0) {
            direct_cost = direct_cost.saturating_add(i128::from(batch.rows[spot.row as usize].cost_pico));
        }
        let row = &batch.rows[root.row as usize].row;
        let (whole_begin_ns, whole_end_ns) = (row.started_at_ns(), row.used_at_ns);
        let (mut active_ns, mut busy_ns, mut timed) = (0_u64, 0_u64, false);
        let mut union: Option<(i64, i64)> = None;
        let mut close = |(begin_ns, end_ns): (i64, i64)| {
            add_count(&mut active_ns, end_ns.abs_diff(begin_ns), "active_ns")?;
            let (begin_ns, end_ns) = (begin_ns.max(whole_begin_ns), end_ns.min(whole_end_ns));
            if begin_ns < end_ns { add_count(&mut busy_ns, end_ns.abs_diff(begin_ns), "active_ns") } else { Ok(()) }
        };
        // Ranks are in order of begin, as a union needs them.
        for ranked in &self.tree.ranked {
            let row = &batch.rows[ranked.row as usize].row;
            let (begin_ns, end_ns) = (ranked.started_at_ns, row.used_at_ns);
            if row.kind == Kind::Agent || begin_ns >= end_ns {
                continue;
            }
            timed = true;
            match &mut union {
                Some((_, last_ns)) if begin_ns <= *last_ns => *last_ns = (*last_ns).max(end_ns),
                open => {
                    open.replace((begin_ns, end_ns)).map_or(Ok(()), &mut close)?;
                }
            }
        }
        union.map_or(Ok(()), &mut close)?;
        let whole_ns = if whole_begin_ns < whole_end_ns { whole_end_ns.abs_diff(whole_begin_ns) } else { 0 };
        let ended_on = if root.is_today { today.day } else { organisations.day_of(row.used_at_ns) };
        let code = TaskCode { agent: root.agent, task_type: root.task_type, ended_on, timed };
        Ok(Some(TaskSpan {
            code,
            direct_cost: Amount::from_pico(direct_cost),
            active_ns,
            idle_ns: whole_ns.saturating_sub(busy_ns),
            billing: organisations.billing(&batch.names, (payer.team, root.agent), (ended_on, today)),
        }))
    }

    /// Cost in the grain of settlements, see [`Grain::Settlement`].
    fn add_coarse(
        &self,
        batch: &Batch<'_>,
        sums: &mut Sums,
        (payer, place, task): (&PayerNames, u32, Option<&TaskSpan>),
    ) -> Result<(), AttributionError> {
        let nobody = CellCode { kind: Kind::Agent, item: REPORTED, ..CellCode::default() };
        let team_only = CellCode { team: payer.team, ..nobody };
        let priced = task.is_some_and(|task| task.code.agent != 0 && task.billing != Some(Billing::Token));
        let (mut cost_pico, mut events) = (0_i64, 0_u64);
        for spot in self.spots.iter().filter(|spot| spot.is_today) {
            let rated = &batch.rows[spot.row as usize];
            if spot.pool != 0 {
                sums.add_cell(CellCode { pool: spot.pool, ..team_only }, rated.cost_pico, Amount::ZERO, 1)?;
            } else if payer.team == 0 || priced {
                cost_pico = cost_pico.checked_add(rated.cost_pico).ok_or(OVERFLOW)?;
                events = events.saturating_add(1);
            } else {
                let code = CellCode {
                    agent: spot.agent,
                    task_type: spot.task_type,
                    product: if rated.row.kind == Kind::Agent { 0 } else { batch.untiered[rated.row.product as usize] },
                    task: place,
                    ..team_only
                };
                add_items(sums, code, (batch, rated))?;
            }
        }
        if events > 0 {
            sums.add_cell(CellCode { task: place, ..team_only }, cost_pico, Amount::ZERO, events)?;
        }
        Ok(())
    }

    fn add_agents(&mut self, batch: &Batch<'_>, sums: &mut Sums) -> Result<(), AttributionError> {
        self.running.clear();
        self.running.push(0);
        let mut running = 0_i128;
        for spot in &self.spots {
            if spot.is_today {
                running = running.saturating_add(i128::from(batch.rows[spot.row as usize].cost_pico));
            }
            self.running.push(running);
        }
        for (at, spot) in self.spots.iter().enumerate().filter(|(_, spot)| spot.agent != 0) {
            let end = at.saturating_add(self.tree.sizes[at] as usize);
            let below = if spot.frame == 1 || spot.frame == 2 {
                Amount::from_pico(self.running[end].saturating_sub(self.running[at]))
            } else {
                Amount::ZERO
            };
            if !spot.is_today && below.is_zero() {
                continue;
            }
            let agent = sums.agents.entry(spot.agent).or_default();
            match spot.frame {
                1 => add_amount(&mut agent.inclusive, below, "agents.inclusive")?,
                2 => add_amount(&mut agent.reentrant, below, "agents.reentrant")?,
                _ => {}
            }
            if spot.is_today {
                let cost = Amount::from_pico(i128::from(batch.rows[spot.row as usize].cost_pico));
                add_amount(&mut agent.exclusive, cost, "agents.exclusive")?;
                add_count(&mut agent.frames, u64::from(spot.frame != 0), "agents.frames")?;
            }
        }
        Ok(())
    }

    fn add_task(
        &self,
        batch: &Batch<'_>,
        sums: &mut Sums,
        (payer, task, grain): (&PayerNames, &TaskSpan, Grain),
    ) -> Result<(), AttributionError> {
        let code = TaskSumCode { team: payer.team, agent: task.code.agent, task_type: task.code.task_type };
        let value = sums.tasks.entry(code).or_default();
        add_count(&mut value.tasks, 1, "tasks")?;
        let root = &batch.rows[self.spots[0].row as usize];
        match root.row.status {
            Some(Status::Ok) => add_count(&mut value.completed, 1, "tasks.completed")?,
            Some(Status::Error) => add_count(&mut value.failed, 1, "tasks.failed")?,
            Some(Status::Killed) => add_count(&mut value.killed, 1, "tasks.killed")?,
            None => {}
        }
        add_amount(&mut value.direct_cost, task.direct_cost, "tasks.direct_cost")?;
        add_count(&mut value.active_ns, task.active_ns, "tasks.active_ns")?;
        add_count(&mut value.idle_ns, task.idle_ns, "tasks.idle_ns")?;
        if task.code.timed {
            add_amount(&mut value.timed_cost, task.direct_cost, "tasks.timed_cost")?;
            add_count(&mut value.timed_tasks, 1, "tasks.timed_tasks")?;
            let completed = u64::from(root.row.status == Some(Status::Ok));
            add_count(&mut value.timed_completed, completed, "tasks.timed_completed")?;
            if task.billing == Some(Billing::Time) {
                add_count(value.durations_ns.entry(task.active_ns).or_default(), 1, "tasks.durations_ns")?;
                if task.idle_ns > 0 {
                    add_count(value.idles_ns.entry(task.idle_ns).or_default(), 1, "tasks.idles_ns")?;
                }
            }
        }
        if grain == Grain::Query {
            let user = sums.users.entry(user_code(payer, &self.spots[0], (batch, root))).or_default();
            add_count(&mut user.tasks, 1, "users.tasks")?;
        }
        Ok(())
    }

    /// What the task called, on whatever day (ANO-1).
    fn gather_calls(&mut self, batch: &Batch<'_>, (team, task): (Name, TaskCode)) -> Result<(), AttributionError> {
        self.calls.clear();
        for spot in &self.spots {
            let rated = &batch.rows[spot.row as usize];
            if rated.row.kind == Kind::Agent {
                continue;
            }
            let sku = if rated.row.sku == 0 { 0 } else { batch.skus[rated.row.sku as usize].sku };
            let called = called(sku, batch.products[rated.row.product as usize].model, rated.row.kind);
            let tokens = tokens_of(batch, rated).iter().fold(0_u64, |sum, tokens| sum.saturating_add(*tokens));
            self.calls.add(called, tokens, rated.cost_pico)?;
        }
        let Rated { row, number: root, .. } = batch.rows[self.spots[0].row as usize];
        let (agent, task_type) = (task.agent, task.task_type);
        self.ended = Some(Ended { agent, task_type, team, trace: row.identity.trace, root, at_ns: row.used_at_ns });
        Ok(())
    }

    /// The source's rows whose reported cost is used, of today.
    pub(super) fn reported<'a>(&'a self, batch: &'a Batch<'_>) -> impl Iterator<Item = u64> + 'a {
        let today = self.spots.iter().filter(|spot| spot.is_today).map(|spot| &batch.rows[spot.row as usize]);
        today.filter(|rated| rated.is_reported).map(|rated| rated.number)
    }

    /// What a trace as a whole has to be told, with the source's row that it concerns.
    pub(super) fn unpaid(&self, batch: &Batch<'_>, payer: &PayerNames) -> Option<(FindingKind, u64)> {
        let (kind, at) = match (payer.named, payer.team) {
            (0, _) => (FindingKind::Unattributed, 0),
            (_, 0) => (FindingKind::UnknownTeam, payer.named_at),
            _ => return None,
        };
        let spot = &self.spots[at as usize];
        spot.is_today.then(|| (kind, batch.rows[spot.row as usize].number))
    }
}

/// Which prices the day hangs on.
fn look_up(sums: &mut Sums, batch: &Batch<'_>, rated: &Rated) {
    if rated.row.product != 0 {
        sums.look_up(batch.untiered[rated.row.product as usize]);
    }
    if rated.row.sku != 0 {
        sums.look_up_sku(rated.row.sku);
    }
}

fn inherited(own: Name, above: Option<(Name, bool)>, of_key: Name) -> (Name, bool) {
    match above {
        _ if own != 0 => (own, false),
        Some((tag, false)) if tag != 0 => (tag, false),
        _ => (of_key, true),
    }
}

fn add_pool_use(
    sums: &mut Sums,
    (payer, agent): (&PayerNames, Name),
    spot: &Spot,
    (batch, rated): (&Batch<'_>, &Rated),
) -> Result<(), AttributionError> {
    let code = PoolCode { pool: spot.pool, team: payer.team, via: spot.via, agent };
    let used = sums.pools.entry(code).or_default();
    add_count(&mut used.invocations, u64::from(spot.frame == 1), "pools.invocations")?;
    let duration_ms = rated.row.duration_ms.filter(|_| rated.row.kind != Kind::Agent).unwrap_or_default();
    // `Usage` saturates: a count is bounded at the door.
    let tokens = tokens_of(batch, rated).iter().fold(0_u64, |sum, tokens| sum.saturating_add(*tokens));
    add_count(&mut used.tokens, tokens, "pools.tokens")?;
    add_count(&mut used.duration_ms, u64::from(duration_ms), "pools.duration_ms")?;
    add_amount(&mut used.cost, Amount::from_pico(i128::from(rated.cost_pico)), "pools.cost")
}

fn add_cost(
    sums: &mut Sums,
    (payer, task): (&PayerNames, u32),
    spot: &Spot,
    (batch, rated): (&Batch<'_>, &Rated),
) -> Result<(), AttributionError> {
    let is_frame = rated.row.kind == Kind::Agent;
    let code = CellCode {
        team: payer.team,
        project: payer.project,
        agent: spot.agent,
        task_type: spot.task_type,
        product: if is_frame { 0 } else { batch.untiered[rated.row.product as usize] },
        pool: spot.pool,
        task,
        kind: rated.row.kind,
        item: FRAME,
    };
    add_items(sums, code, (batch, rated))?;
    let user = sums.users.entry(user_code(payer, spot, (batch, rated))).or_default();
    add_amount(&mut user.cost, Amount::from_pico(i128::from(rated.cost_pico)), "users.cost")?;
    add_count(&mut user.events, 1, "users.events")
}

/// The items of a row, at least one.
fn add_items(
    sums: &mut Sums,
    mut code: CellCode,
    (batch, rated): (&Batch<'_>, &Rated),
) -> Result<(), AttributionError> {
    let is_frame = rated.row.kind == Kind::Agent;
    if is_frame || rated.is_reported {
        code.item = if is_frame { FRAME } else { REPORTED };
        return sums.add_cell(code, rated.cost_pico, Amount::ZERO, 1);
    }
    if rated.row.sku != 0 {
        code.item = UNITS.saturating_add(rated.row.sku);
        let quantity = batch.quantities[rated.slot as usize];
        return sums.add_cell(code, rated.cost_pico, Amount::from_pico(quantity), 1);
    }
    add_tokens(sums, code, (batch, rated))
}

/// A cell for each class; the event counts in the first, also where there is no token at all.
fn add_tokens(sums: &mut Sums, code: CellCode, (batch, rated): (&Batch<'_>, &Rated)) -> Result<(), AttributionError> {
    let rates = &batch.tariffs[rated.tariff as usize].per_token_pico;
    let mut events = 1;
    for (class, tokens) in classes_of(rated.classes).zip(tokens_of(batch, rated)) {
        let rate = rates[class].unwrap_or_default();
        let tokens_signed = i64::try_from(*tokens).unwrap_or(i64::MAX);
        let item = super::number(class);
        sums.add_cell(CellCode { item, ..code }, rate.saturating_mul(tokens_signed), whole(*tokens), events)?;
        events = 0;
    }
    if events == 1 {
        sums.add_cell(CellCode { item: TokenClass::Input as u32, ..code }, 0, Amount::ZERO, 1)?;
    }
    Ok(())
}

fn tokens_of<'b>(batch: &'b Batch<'_>, rated: &Rated) -> &'b [u64] {
    if rated.row.sku != 0 {
        return &[];
    }
    let begin = super::tokens_at(rated.slot);
    let count = rated.classes.count_ones() as usize;
    batch.tokens.get(begin..begin.saturating_add(count)).unwrap_or_default()
}

fn user_code(payer: &PayerNames, spot: &Spot, (batch, rated): (&Batch<'_>, &Rated)) -> UserCode {
    let is_frame = rated.row.kind == Kind::Agent;
    UserCode {
        team: payer.team,
        project: payer.project,
        user: payer.user,
        agent: spot.agent,
        task_type: spot.task_type,
        model: if is_frame { 0 } else { batch.products[rated.row.product as usize].model },
        kind: rated.row.kind,
    }
}
