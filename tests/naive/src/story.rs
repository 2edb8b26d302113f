//! Worlds written by hand: an organisation file and events as the contract writes them, one a line.

use std::sync::Arc;

use recoup_metering::{Rules, read_event};
use recoup_model::{Origin, Period, Recorded};

use crate::world::{File, Placed, World};

/// A world of one organisation file. Events are lines of the contract's JSON; `@1 ` before one says that it comes after the
/// first month was closed.
///
/// ```
/// let organisation = "[organisation]\nname = \"A\"\ncurrency = \"USD\"\ntime_zone = \"UTC\"\n";
/// let event = r#"@1 {"event_id":"a","used_at":"2026-10-01T08:00:00Z","kind":"llm"}"#;
/// let world = recoup_naive::story::world(organisation, ("2026-10", 2), event);
/// assert_eq!(world.events[0].known, 1);
/// recoup_naive::agree::agree(0, &world).unwrap();
/// ```
#[must_use]
pub fn world(organisation: &str, (first, months): (&str, usize), events: &str) -> World {
    let first: Period = first.parse().unwrap();
    let file = File { effective: None, head: organisation.to_owned(), policy: Vec::new(), entries: Vec::new() };
    let mut world = World {
        files: vec![file],
        first,
        months,
        through: Vec::new(),
        approved: vec![true; months],
        events: read(events),
    };
    world.through = world.periods().iter().map(|period| period.days().last().unwrap()).collect();
    world
}

/// Adds a version of the organisation file from a local day on.
#[must_use]
pub fn then(mut world: World, effective: &str, organisation: &str) -> World {
    let effective = Some(effective.parse().unwrap());
    world.files.push(File { effective, head: organisation.to_owned(), policy: Vec::new(), entries: Vec::new() });
    world
}

/// Events of a text, each one line; blank lines do not count.
#[must_use]
pub fn read(events: &str) -> Vec<Placed> {
    events.lines().map(str::trim).filter(|line| !line.is_empty()).map(read_line).collect()
}

fn read_line(line: &str) -> Placed {
    let (known, text) = match line.strip_prefix('@').and_then(|rest| rest.split_once(' ')) {
        Some((known, text)) => (known.parse().unwrap(), text),
        None => (0, line),
    };
    let allowed = ["campaign".into()];
    // Any time of these years is accepted.
    let rules = Rules { now_ns: 1_800_000_000_000_000_000, extra_tags: &allowed };
    let event = read_event(text, &rules).unwrap_or_else(|error| panic!("{error}: {text}"));
    let origin = Origin { key_tags: Arc::default(), ..Origin::default() };
    Placed { known, recorded: Recorded { event, origin, recorded_at_ns: 0 } }
}
