//! From columns back to events: equal texts of a block share one allocation.

use std::sync::Arc;

use recoup_model::{Event, Id, Kind, Origin, Quantity, Recorded, Tags};

use super::{Columns, ExtraTags, IdBuffer, NOT_HERE, TextColumn, TextRef, entry_of};

/// The shared texts of one column, made when an event first asks for them.
#[derive(Debug, Default)]
struct Shared(Vec<Option<Id>>);

impl Shared {
    fn slot(&mut self, entry: usize, entries: usize) -> Option<&mut Option<Id>> {
        if self.0.is_empty() {
            self.0.resize(entries, None);
        }
        self.0.get_mut(entry)
    }

    fn get(&mut self, column: &TextColumn, at: usize) -> Option<Id> {
        let entry = entry_of(column.codes.at(at))?;
        let text = column.texts.get(entry)?;
        let slot = self.slot(entry, column.texts.len())?;
        Some(Id::clone(slot.get_or_insert_with(|| Id::from(text))))
    }
}

#[derive(Debug, Default)]
struct SharedTags {
    agent: Shared,
    task_type: Shared,
    task_id: Shared,
    user: Shared,
    team: Shared,
    project: Shared,
    names: Shared,
    values: Shared,
}

#[derive(Debug, Default)]
struct SharedTexts {
    event_id: Shared,
    trace_id: Shared,
    provider: Shared,
    model: Shared,
    service_tier: Shared,
    response_id: Shared,
    retry_of: Shared,
    supersedes: Shared,
    reservation_id: Shared,
    key_id: Shared,
    resource_team: Shared,
    sku: Shared,
    unit: Shared,
    tags: SharedTags,
}

/// Makes events of columns. One that is used for many events of a block shares their texts.
#[derive(Debug)]
pub struct Restore<'a> {
    columns: &'a Columns,
    shared: SharedTexts,
}

impl Columns {
    /// An event as it was encoded; `None` behind the end.
    #[must_use]
    pub fn event(&self, at: usize) -> Option<Recorded> {
        self.restore().event(at)
    }

    /// All events as they were encoded.
    #[must_use]
    pub fn events(&self) -> Vec<Recorded> {
        let mut restore = self.restore();
        (0..self.len).filter_map(|at| restore.event(at)).collect()
    }

    /// Makes events one by one.
    #[must_use]
    pub fn restore(&self) -> Restore<'_> {
        Restore { columns: self, shared: SharedTexts::default() }
    }
}

impl Restore<'_> {
    /// An event as it was encoded; `None` behind the end.
    pub fn event(&mut self, at: usize) -> Option<Recorded> {
        let columns = self.columns;
        let event_id = self.event_id(at)?;
        let parent_id = self.parent_id(at);
        let tags = self.tags(at);
        let quantity = self.quantity(at);
        let shared = &mut self.shared;
        let event = Event {
            trace_id: shared.trace_id.get(&columns.trace_id, at),
            event_id,
            parent_id,
            used_at_ns: columns.used_at_ns.get(at).copied().unwrap_or_default(),
            duration_ms: columns.duration_ms(at),
            kind: columns.kind.get(at).copied().unwrap_or(Kind::Agent),
            tags,
            critical: columns.critical.get(at).copied().unwrap_or_default(),
            status: columns.status.get(at).copied().flatten(),
            provider: shared.provider.get(&columns.provider, at),
            model: shared.model.get(&columns.model, at),
            service_tier: shared.service_tier.get(&columns.service_tier, at),
            usage: columns.usage.get(at),
            quantity,
            reported: columns.reported.get(at),
            response_id: shared.response_id.get(&columns.response_id, at),
            retry_of: shared.retry_of.get(&columns.retry_of, at),
            supersedes: shared.supersedes.get(&columns.supersedes, at),
            reservation_id: shared.reservation_id.get(&columns.reservation_id, at),
        };
        let origin = Origin {
            key_id: shared.key_id.get(&columns.key_id, at),
            key_tags: columns.key_tags.get(at).map(Arc::clone).unwrap_or_default(),
            resource_team: shared.resource_team.get(&columns.resource_team, at),
        };
        let recorded_at_ns = columns.recorded_at_ns.get(at).copied().unwrap_or_default();
        Some(Recorded { event, origin, recorded_at_ns })
    }

    fn text_of(&self, id: TextRef) -> Id {
        Id::from(self.columns.id(id).as_str(&mut IdBuffer::default()))
    }

    fn event_id(&mut self, at: usize) -> Option<Id> {
        let id = *self.columns.event_id.get(at)?;
        if let Some(Some(known)) = self.shared.event_id.0.get(at) {
            return Some(Id::clone(known));
        }
        let text = self.text_of(id);
        let slot = self.shared.event_id.slot(at, self.columns.len)?;
        Some(Id::clone(slot.get_or_insert(text)))
    }

    fn parent_id(&mut self, at: usize) -> Option<Id> {
        let id = self.columns.parent_id.get(at).copied().filter(|id| !id.is_none())?;
        match self.columns.parent_at.get(at) {
            Some(&NOT_HERE) | None => Some(self.text_of(id)),
            Some(parent) => self.event_id(usize::try_from(*parent).ok()?),
        }
    }

    fn tags(&mut self, at: usize) -> Tags {
        let columns = self.columns;
        let shared = &mut self.shared.tags;
        let bound = |at: usize| columns.extra.starts.get(at).and_then(|bound| usize::try_from(*bound).ok());
        let pairs = bound(at).unwrap_or_default()..bound(at.saturating_add(1)).unwrap_or_default();
        let mut extra = std::collections::BTreeMap::new();
        for pair in pairs {
            let name = shared.names.get(&columns.extra.names, pair);
            extra.extend(name.zip(shared.values.get(&columns.extra.values, pair)));
        }
        Tags {
            agent: shared.agent.get(&columns.agent, at),
            task_type: shared.task_type.get(&columns.task_type, at),
            task_id: shared.task_id.get(&columns.task_id, at),
            user: shared.user.get(&columns.user, at),
            team: shared.team.get(&columns.team, at),
            project: shared.project.get(&columns.project, at),
            extra,
        }
    }

    fn quantity(&mut self, at: usize) -> Option<Quantity> {
        let columns = self.columns;
        let quantity = columns.quantity.get(at)?;
        let sku = self.shared.sku.get(&columns.sku, at)?;
        Some(Quantity { sku, quantity, unit: self.shared.unit.get(&columns.unit, at) })
    }
}

/// One of some sets of tags in columns: `agent`, `task_type`, `task_id`, `user`, `team`, `project`, and extra ones.
pub(in crate::block) fn tag_set(named: &[TextColumn; 6], extra: &ExtraTags, at: usize) -> Tags {
    let [agent, task_type, task_id, user, team, project] = named.each_ref().map(|column| column.get(at).map(Id::from));
    let extra = extra.get(at).map(|(name, value)| (Id::from(name), Id::from(value))).collect();
    Tags { agent, task_type, task_id, user, team, project, extra }
}
