//! The chains of those who ask again and again: which limits apply to them, and the lease that their reservations draw from.
//!
//! They follow from the organisation file, from what was approved and from the days that a reservation lives on, and are
//! forgotten when one of these is another one. Nothing here decides.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use foldhash::fast::RandomState;
use recoup_budgets::admission::{Asker, Extended, Link, Span, chain};
use recoup_model::Organisation;

use super::room;
use crate::app::World;

/// Chains remembered; beyond it the memory is emptied.
const CHAINS_REMEMBERED_MAX: usize = 10_000;

/// What a chain is.
pub(crate) struct Chain {
    /// The limits that apply.
    pub(crate) links: Vec<Link>,
    /// Of the lease, whichever minute it ends at.
    pub(crate) lease: u64,
}

/// What chains follow from. Every request brings it, so it is borrowed: counting its users would be shared by all processors.
#[derive(Clone, Copy)]
pub(crate) struct GroundOf<'a> {
    pub(crate) world: &'a Arc<World>,
    pub(crate) extended: &'a Arc<Extended>,
    pub(crate) span: Span,
}

struct Ground {
    world: Arc<World>,
    extended: Arc<Extended>,
    span: Span,
}

impl Ground {
    fn new(of: GroundOf<'_>) -> Self {
        Self { world: Arc::clone(of.world), extended: Arc::clone(of.extended), span: of.span }
    }

    fn is(&self, of: GroundOf<'_>) -> bool {
        Arc::ptr_eq(&self.world, of.world)
            && Arc::ptr_eq(&self.extended, of.extended)
            && (self.span.from, self.span.until) == (of.span.from, of.span.until)
    }

    /// Those that hold on the days that a reservation lives on.
    fn organisations(&self) -> impl Iterator<Item = &Organisation> {
        [self.span.from, self.span.until].into_iter().map(|day| &*self.world.history.on(day).organisation)
    }
}

/// The memory.
#[derive(Default)]
pub(crate) struct Chains(Mutex<Option<Memory>>);

struct Memory {
    ground: Ground,
    /// Whether a budget is for one task: then a task decides on the chain even without a cap.
    has_tasks: bool,
    known: HashMap<Asker, Arc<Chain>, RandomState>,
}

impl Memory {
    fn new(ground: Ground) -> Self {
        let is_of_task =
            |organisation: &Organisation| organisation.budgets.iter().any(|budget| budget.scope.starts_with("task:"));
        let has_tasks = ground.organisations().any(is_of_task);
        Self { ground, has_tasks, known: HashMap::default() }
    }

    /// The asker without what does not matter.
    fn named(&self, asker: &Asker) -> Asker {
        let task_type = |organisation: &Organisation| Some(organisation.task_types.get(asker.task_type.as_ref()?)?.cap);
        let has_cap = |organisation: &Organisation| task_type(organisation).flatten().is_some();
        let matters = self.has_tasks || self.ground.organisations().any(has_cap);
        Asker { task: asker.task.clone().filter(|_| matters), ..asker.clone() }
    }
}

impl Chains {
    /// The chain of an asker, as it is remembered or as it follows from the ground. `nonce` tells leases of processes apart.
    pub(crate) fn of(
        &self,
        asker: &Asker,
        ground: GroundOf<'_>,
        nonce: u64,
        pseudonym_of: &impl Fn(&str) -> String,
    ) -> Arc<Chain> {
        // What a panicking holder left is still true.
        let mut memory = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let memory = match &mut *memory {
            Some(memory) if memory.ground.is(ground) => memory,
            other => other.insert(Memory::new(Ground::new(ground))),
        };
        let name = memory.named(asker);
        if let Some(known) = memory.known.get(&name) {
            return Arc::clone(known);
        }
        let Ground { world, extended, span } = &memory.ground;
        let links = chain(asker, *span, &world.history, extended, pseudonym_of);
        let lease = room::lease_of(&links, nonce);
        let made = Arc::new(Chain { links, lease });
        if memory.known.len() >= CHAINS_REMEMBERED_MAX {
            memory.known.clear();
        }
        memory.known.insert(name, Arc::clone(&made));
        made
    }
}
