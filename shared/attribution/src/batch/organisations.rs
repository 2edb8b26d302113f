//! The versions of the organisation file as places in the table of names.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use recoup_model::Calendar;
use recoup_model::organisation::{Billing, History, Organisation};

use super::measure::Today;
use super::{Name, Names, place_of};

/// What one day's version of the organisation file says, by name.
pub(super) struct View<'h> {
    organisation: &'h Organisation,
    pools: Vec<Name>,
    teams: Vec<bool>,
    people: BTreeMap<Name, Name>,
}

impl<'h> View<'h> {
    fn new(organisation: &'h Organisation, names: &mut Names) -> Self {
        let mut pools = Vec::new();
        for (agent, declared) in &organisation.agents {
            if let Some(pool) = &declared.shared_pool {
                let (agent, pool) = (names.place(agent), names.place(pool));
                put(&mut pools, agent, pool);
            }
        }
        let mut teams = Vec::new();
        for team in organisation.teams.keys() {
            put(&mut teams, names.place(team), true);
        }
        let mut people = BTreeMap::new();
        for (user, person) in &organisation.people {
            // Their events may come later.
            if let Some(team) = &person.team {
                people.insert(names.place(user), names.place(team));
            }
        }
        Self { organisation, pools, teams, people }
    }

    /// The pool of a shared agent (ATR-4); 0: none.
    pub(super) fn pool_of(&self, agent: Name) -> Name {
        at(&self.pools, agent)
    }

    pub(super) fn has_team(&self, team: Name) -> bool {
        at(&self.teams, team)
    }

    /// The team of a user's entry in `[[people]]`; 0: none.
    pub(super) fn team_of(&self, user: Name) -> Name {
        self.people.get(&user).copied().unwrap_or_default()
    }
}

fn put<T: Clone + Default>(list: &mut Vec<T>, name: Name, value: T) {
    let place = place_of(name);
    if list.len() <= place {
        list.resize(place.saturating_add(1), T::default());
    }
    if let Some(slot) = list.get_mut(place) {
        *slot = value;
    }
}

fn at<T: Copy + Default>(list: &[T], name: Name) -> T {
    usize::try_from(name).ok().and_then(|place| list.get(place)).copied().unwrap_or_default()
}

/// The views of the days on which the batch has events.
pub(super) struct Organisations<'h> {
    history: &'h History,
    calendar: Calendar,
    places: BTreeMap<NaiveDate, usize>,
    views: Vec<View<'h>>,
}

impl<'h> Organisations<'h> {
    pub(super) fn new(history: &'h History) -> Self {
        Self { history, calendar: history.calendar(), places: BTreeMap::new(), views: Vec::new() }
    }

    /// The place of a day's view.
    pub(super) fn place(&mut self, day: NaiveDate, names: &mut Names) -> usize {
        if let Some(place) = self.places.get(&day) {
            return *place;
        }
        let place = self.views.len();
        self.views.push(View::new(&self.history.on(day).organisation, names));
        self.places.insert(day, place);
        place
    }

    pub(super) fn view(&self, place: usize) -> Option<&View<'h>> {
        self.views.get(place)
    }

    /// The billing model of (team, agent) on the day on which a task ended (PRC-7); none without a payer.
    pub(super) fn billing(
        &self,
        names: &Names,
        (team, agent): (Name, Name),
        (ended_on, today): (NaiveDate, Today),
    ) -> Option<Billing> {
        let view = self.view(today.view).filter(|_| ended_on == today.day);
        let organisation = view.map_or_else(|| &*self.history.on(ended_on).organisation, |view| view.organisation);
        Some(organisation.billing(names.text(team)?, names.text(agent).map(|agent| &**agent)))
    }

    pub(super) fn day_of(&self, instant_ns: i64) -> NaiveDate {
        self.calendar.day_of(instant_ns)
    }
}
