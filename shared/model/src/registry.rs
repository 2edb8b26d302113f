//! The registry of invariants. Code, tests and findings cite these ids; `tests/tidy` checks that they exist and that
//! those marked `enforced` are cited by a test.

/// One rule that a number of this product obeys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invariant {
    /// The id that code and tests cite.
    pub id: &'static str,
    /// The rule in a few words.
    pub rule: &'static str,
    /// Whether the code of today implements it, so that a test has to cite it.
    pub enforced: bool,
}

/// Every invariant.
pub const REGISTRY: &[Invariant] = &[
    Invariant {
        id: "MON-1",
        rule: "Amounts are exact decimals of at most 12 fraction digits (a picodollar), with a currency",
        enforced: true,
    },
    Invariant { id: "MON-2", rule: "Only a statement rounds to the currency's minor unit", enforced: true },
    Invariant { id: "MON-3", rule: "Every sum and product is checked", enforced: true },
    Invariant { id: "MON-4", rule: "An organisation has one reporting currency", enforced: true },
    Invariant {
        id: "SPL-1",
        rule: "Split A (signed integer units) over integer weights w_i >= 0 (pico, calls, tokens, ms, scaled percent), W = su",
        enforced: true,
    },
    Invariant {
        id: "CRX-1",
        rule: "A correction is (new full split) - (old full split), never a split of the difference.",
        enforced: true,
    },
    Invariant {
        id: "SPL-2",
        rule: "Hierarchies split top first (team, then inside the team), so every sub-total ties.",
        enforced: true,
    },
    Invariant { id: "SPL-3", rule: "When all weights are zero and A is not", enforced: true },
    Invariant { id: "EVT-1", rule: "One event is one cost-bearing span", enforced: true },
    Invariant { id: "EVT-2", rule: "Identity is (trace_id, event_id)", enforced: true },
    Invariant { id: "EVT-3", rule: "A correction names the event it supersedes; history keeps both.", enforced: true },
    Invariant { id: "EVT-4", rule: "Token counts are stored as disjoint classes", enforced: true },
    Invariant {
        id: "EVT-5",
        rule: "A wrapper is an agent event that carries usage (invoke_agent, workflow/chain and AI-SDK parent spans, *.aggreg",
        enforced: true,
    },
    Invariant { id: "EVT-6", rule: "The catalogue prices first", enforced: true },
    Invariant { id: "EVT-7", rule: "used_at from 400 days back to 1 hour ahead is accepted.", enforced: true },
    Invariant {
        id: "RAT-1",
        rule: "Price = entry of (provider, model) effective at used_at, by token class, service tier (standard, batch, flex, ",
        enforced: true,
    },
    Invariant { id: "RAT-2", rule: "No price found", enforced: true },
    Invariant { id: "RAT-3", rule: "Catalogue versions are append-only", enforced: true },
    Invariant {
        id: "ATR-1",
        rule: "The initiator pays. The root of a trace is its parentless span, else its topmost orphan",
        enforced: true,
    },
    Invariant {
        id: "ATR-2",
        rule: "A frame of an agent starts at any span whose resolved agent differs from its parent's, and at each agent span ",
        enforced: true,
    },
    Invariant { id: "ATR-3", rule: "A loop of parent pointers is cut at its earliest start", enforced: true },
    Invariant {
        id: "ATR-4",
        rule: "A span whose agent is declared shared (an effective-dated property in the organisation file) puts its cost int",
        enforced: true,
    },
    Invariant {
        id: "ATR-5",
        rule: "Sum of exclusive costs of a trace = cost of the trace, under any order, duplication or regrouping of its event",
        enforced: true,
    },
    Invariant {
        id: "ATR-6",
        rule: "With unattributed_pool set in the organisation file, unattributed cost goes to that pool and is distributed li",
        enforced: true,
    },
    Invariant { id: "POOL-1", rule: "Basis per pool", enforced: true },
    Invariant {
        id: "POOL-2",
        rule: "Pools may consume each other (an invocation below another pool's frame counts for that pool)",
        enforced: true,
    },
    Invariant { id: "POOL-3", rule: "Parts equal the whole of the group to the last picodollar", enforced: true },
    Invariant {
        id: "POOL-4",
        rule: "Cost and basis of a pool are those of the billing period, not of single days",
        enforced: true,
    },
    Invariant {
        id: "POOL-5",
        rule: "Costs that arrive as a bill and not as events (a VM, a vector store's monthly fee) are [[recurring]] entries",
        enforced: true,
    },
    Invariant { id: "PRC-0", rule: "A root with a task_type is one task of its agent", enforced: true },
    Invariant { id: "PRC-1", rule: "For (agent, task_type) on local day d", enforced: true },
    Invariant { id: "PRC-2", rule: "Enough evidence = 30 completed tasks or 3 days with tasks", enforced: true },
    Invariant { id: "PRC-3", rule: "Locks", enforced: true },
    Invariant { id: "PRC-4", rule: "Time price", enforced: true },
    Invariant {
        id: "PRC-5",
        rule: "A markup (percent or fixed) is part of the price model, shown apart, and no part of the variance.",
        enforced: true,
    },
    Invariant { id: "PRC-6", rule: "Token price", enforced: true },
    Invariant { id: "PRC-7", rule: "Each team x agent has one billing model at a time", enforced: true },
    Invariant { id: "LED-1", rule: "Every transaction balances per currency", enforced: true },
    Invariant {
        id: "LED-2",
        rule: "Variance V = charges (without markup) - actual cost of the period (events by used_at), per (agent, task type, ",
        enforced: true,
    },
    Invariant { id: "LED-3", rule: "Close policy for V: settle (default", enforced: true },
    Invariant { id: "LED-4", rule: "A closed period never changes", enforced: true },
    Invariant { id: "BUD-1", rule: "Scopes", enforced: false },
    Invariant { id: "BUD-2", rule: "Tiers 70 / 90 / 100 % by default, measured on posted cost", enforced: false },
    Invariant { id: "BUD-3", rule: "Pre-flight (authorize)", enforced: false },
    Invariant { id: "BUD-4", rule: "Per-task cap", enforced: false },
    Invariant { id: "BUD-5", rule: "If the service cannot answer, the documented default is", enforced: false },
    Invariant {
        id: "BUD-6",
        rule: "An extension needs somebody other than the requester (four eyes), a reason, and leaves an audit record.",
        enforced: false,
    },
    Invariant {
        id: "ANO-1",
        rule: "Baseline of (agent, task_type) = the 7 complete local days before, the candidate excluded",
        enforced: true,
    },
    Invariant {
        id: "ANO-2",
        rule: "A day whose cost per task exceeds 3x the 7-day mean (or mean + 3 sd with at least 5 days) is an anomaly even i",
        enforced: true,
    },
    Invariant { id: "ANO-3", rule: "Fewer than 3 days or 20 tasks", enforced: true },
    Invariant { id: "ANO-4", rule: "Forecast of month end per budget", enforced: true },
    Invariant { id: "REC-1", rule: "Per provider and UTC month, by line (model, token class)", enforced: false },
    Invariant {
        id: "REC-2",
        rule: "The difference is explained by named parts (cache, batch, retries, unpriced, credits, boundary of time zone, t",
        enforced: false,
    },
    Invariant { id: "REC-3", rule: "A team moves from showback to chargeback only when", enforced: false },
    Invariant { id: "REC-4", rule: "Parse traps", enforced: false },
    Invariant { id: "CLO-1", rule: "Period states", enforced: true },
    Invariant { id: "CLO-2", rule: "Statement per team and month", enforced: true },
    Invariant { id: "CLO-3", rule: "A statement once issued is never overwritten", enforced: false },
    Invariant { id: "CLO-4", rule: "Exactly", enforced: true },
    Invariant {
        id: "CLO-5",
        rule: "Two hosts, two arrival orders, two batchings of the same accepted events give the same statement bytes, apart ",
        enforced: true,
    },
];
