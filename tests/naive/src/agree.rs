//! Does the engine agree with the reference? Where not: the smallest world that still shows it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::engine::{WAYS, Way};
use crate::facts::{Figures, Replayed};
use crate::world::World;
use crate::{engine, reference};

/// Worlds tried while one is made smaller.
const SHRINKS_MAX: usize = 3_000;

/// A figure that a side does not have.
const ABSENT: &str = "(absent)";

/// What differs: name, reference, engine.
pub type Difference = (String, String, String);

/// Figures that only one side has, or that both have differently.
#[must_use]
pub fn differences(ours: &Figures, theirs: &Figures) -> Vec<Difference> {
    let names = ours.keys().chain(theirs.keys().filter(|name| !ours.contains_key(*name)));
    let of = |figures: &Figures, name: &String| figures.get(name).cloned().unwrap_or_else(|| ABSENT.to_owned());
    let both = names.map(|name| (name.clone(), of(ours, name), of(theirs, name)));
    both.filter(|(_, ours, theirs)| ours != theirs).collect()
}

/// Runs one side; where it stops, that is its only figure.
fn run(side: &str, replay: impl Fn() -> Replayed) -> Replayed {
    catch_unwind(AssertUnwindSafe(replay)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let months = [(format!("{side} stopped"), text.unwrap_or_default())].into();
        Replayed { days: Figures::new(), months }
    })
}

/// What the reference makes of a world.
fn expected(world: &World) -> Replayed {
    run("the reference", || reference::replay(world))
}

/// What one way of the engine makes otherwise of a world.
fn compare(world: &World, way: &Way, ours: &Replayed) -> Vec<Difference> {
    let theirs = run("the engine", || engine::replay(world, way.build));
    let mut found = if way.is_fine { differences(&ours.days, &theirs.days) } else { Vec::new() };
    found.extend(differences(&ours.months, &theirs.months));
    found
}

/// Holds every way of the engine against the reference.
///
/// # Errors
/// The smallest world found that differs, and how.
pub fn agree(seed: u64, world: &World) -> Result<(), String> {
    let ours = expected(world);
    for way in WAYS {
        let found = compare(world, way, &ours);
        let Some(first) = found.first() else { continue };
        let family = family(&first.0);
        let small = shrink(world, &|smaller| {
            compare(smaller, way, &expected(smaller)).iter().any(|difference| self::family(&difference.0) == family)
        });
        let shown: Vec<String> = compare(&small, way, &expected(&small))
            .into_iter()
            .map(|(name, ours, theirs)| format!("  {name}\n    reference {ours}\n    engine    {theirs}"))
            .collect();
        return Err(format!(
            "seed {seed}, by {}: {} figures differ\n{small}{}\n",
            way.name,
            found.len(),
            shown.join("\n")
        ));
    }
    Ok(())
}

/// What kind of figure it is: a world is made smaller as long as one of the same kind differs.
fn family(name: &str) -> String {
    let words: Vec<&str> = name.split(' ').filter(|word| word.chars().all(|letter| letter.is_alphabetic())).collect();
    words.first().map_or_else(String::new, |word| (*word).to_owned())
}

/// A smaller world that still fails: events, months, lines of the organisation file left out as long as it does.
#[must_use]
pub fn shrink(world: &World, fails: &dyn Fn(&World) -> bool) -> World {
    let mut best = world.clone();
    let mut tries = 0;
    loop {
        let before = best.clone();
        for smaller in steps(&best) {
            tries += 1;
            if tries > SHRINKS_MAX {
                return best;
            }
            if smaller.history().is_some() && fails(&smaller) {
                best = smaller;
                break;
            }
        }
        if best == before {
            return best;
        }
    }
}

/// Worlds that are smaller by one piece, the largest pieces first.
fn steps(world: &World) -> Vec<World> {
    let mut all = Vec::new();
    if world.months > 1 {
        let mut shorter = world.clone();
        shorter.months -= 1;
        shorter.through.pop();
        shorter.approved.pop();
        all.push(shorter);
    }
    for file in 1..world.files.len() {
        let mut fewer = world.clone();
        fewer.files.remove(file);
        all.push(fewer);
    }
    let events = world.events.len();
    for size in [events / 2, events / 4, events / 8, 1] {
        let starts = (0..events).step_by(size.max(1)).filter(|_| size > 0);
        for start in starts {
            let mut fewer = world.clone();
            fewer.events.drain(start..(start + size).min(events));
            all.push(fewer);
        }
    }
    for file in 0..world.files.len() {
        for line in 0..world.files[file].policy.len() {
            let mut fewer = world.clone();
            fewer.files[file].policy.remove(line);
            all.push(fewer);
        }
        for entry in 0..world.files[file].entries.len() {
            let mut fewer = world.clone();
            fewer.files[file].entries.remove(entry);
            all.push(fewer);
        }
    }
    for event in 0..events {
        all.extend(simpler_events(world, event));
    }
    all
}

/// The world with one field of one event left out.
fn simpler_events(world: &World, at: usize) -> Vec<World> {
    let mut all = Vec::new();
    let mut with = |change: &dyn Fn(&mut recoup_model::Recorded)| {
        let mut simpler = world.clone();
        change(&mut simpler.events[at].recorded);
        if simpler != *world {
            all.push(simpler);
        }
    };
    with(&|it| it.origin = recoup_model::Origin::default());
    with(&|it| it.event.retry_of = None);
    with(&|it| it.event.supersedes = None);
    with(&|it| it.event.response_id = None);
    with(&|it| it.event.reported = None);
    with(&|it| it.event.quantity = None);
    with(&|it| it.event.usage = None);
    with(&|it| it.event.service_tier = None);
    with(&|it| it.event.duration_ms = None);
    with(&|it| it.event.status = None);
    with(&|it| it.event.tags.user = None);
    with(&|it| it.event.tags.project = None);
    with(&|it| it.event.tags.task_type = None);
    with(&|it| it.event.tags.agent = None);
    with(&|it| it.event.tags.team = None);
    with(&|it| it.event.parent_id = None);
    with(&|it| {
        it.event.provider = None;
        it.event.model = None;
    });
    all
}
