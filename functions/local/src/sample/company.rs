//! Lindenfels Robotics: who asks which agent for what, and how often. `demo.toml` declares the same organisation.

/// People by team. Those of `demo.toml` are `LISTED`: their roots may leave the team out.
pub(super) struct Team {
    pub(super) id: &'static str,
    pub(super) users: &'static [&'static str],
    /// The users whose team stands in `[[people]]`.
    pub(super) listed: &'static [&'static str],
    pub(super) projects: &'static [&'static str],
    pub(super) campaigns: &'static [&'static str],
}

/// Every payer.
pub(super) const TEAMS: &[Team] = &[
    Team {
        id: "support",
        users: &["u01", "u02", "u03", "u04", "u05", "u06", "u07", "u08", "u09"],
        listed: &["u01", "u02", "u03"],
        projects: &["returns-portal"],
        campaigns: &[],
    },
    Team {
        id: "marketing",
        users: &["u11", "u12", "u13", "u14", "u15", "u16"],
        listed: &["u11", "u12"],
        projects: &["autumn-launch", "website-relaunch"],
        campaigns: &["warehouse-week", "arm-r2-launch", "newsletter"],
    },
    Team {
        id: "engineering",
        users: &["u21", "u22", "u23", "u24", "u25", "u26", "u27", "u28", "u29", "u30"],
        listed: &["u21", "u22"],
        projects: &["arm-r2", "fleet-os"],
        campaigns: &[],
    },
    Team {
        id: "finance-ops",
        users: &["u31", "u32", "u33", "u34"],
        listed: &["u31", "u32"],
        projects: &["erp-migration"],
        campaigns: &[],
    },
    Team { id: "platform", users: &["u41", "u42", "u43"], listed: &["u41"], projects: &[], campaigns: &[] },
];

/// A team that somebody still writes into tags although it was dissolved.
pub(super) const DISSOLVED_TEAM: &str = "growth";

/// A kind of root: an agent that somebody starts.
pub(super) struct Job {
    pub(super) agent: &'static str,
    /// `None`: work outside any task.
    pub(super) task_type: Option<&'static str>,
    /// What the task's number is counted in.
    pub(super) ticket: &'static str,
    /// How often in business hours, and how often at night and at weekends.
    pub(super) weights: (u64, u64),
    /// Who starts it and pays.
    pub(super) payers: &'static [(&'static str, u64)],
    /// How many in a hundred claim `priority: critical`.
    pub(super) critical_percent: u64,
}

/// Every job.
pub(super) const JOBS: &[Job] = &[
    Job {
        agent: "triage",
        task_type: Some("classify_ticket"),
        ticket: "TICKET",
        weights: (26, 16),
        payers: &[("support", 90), ("finance-ops", 10)],
        critical_percent: 0,
    },
    Job {
        agent: "resolver",
        task_type: Some("resolve_ticket"),
        ticket: "TICKET",
        weights: (20, 12),
        payers: &[("support", 92), ("engineering", 8)],
        critical_percent: 10,
    },
    Job {
        agent: "knowledge",
        task_type: Some("answer_question"),
        ticket: "QUESTION",
        weights: (11, 3),
        payers: &[("support", 35), ("marketing", 20), ("engineering", 25), ("finance-ops", 15), ("platform", 5)],
        critical_percent: 0,
    },
    Job {
        agent: "call-notes",
        task_type: Some("summarise_call"),
        ticket: "CALL",
        weights: (8, 2),
        payers: &[("support", 80), ("marketing", 20)],
        critical_percent: 0,
    },
    Job {
        agent: "copywriter",
        task_type: Some("write_copy"),
        ticket: "COPY",
        weights: (13, 1),
        payers: &[("marketing", 100)],
        critical_percent: 0,
    },
    Job {
        agent: "researcher",
        task_type: Some("market_research"),
        ticket: "BRIEF",
        weights: (5, 2),
        payers: &[("marketing", 75), ("engineering", 25)],
        critical_percent: 4,
    },
    Job {
        agent: "seo",
        task_type: Some("audit_page"),
        ticket: "PAGE",
        weights: (1, 26),
        payers: &[("marketing", 100)],
        critical_percent: 0,
    },
    Job {
        agent: "translator",
        task_type: Some("translate_page"),
        ticket: "PAGE",
        weights: (9, 6),
        payers: &[("marketing", 60), ("support", 40)],
        critical_percent: 0,
    },
    Job {
        agent: "code-reviewer",
        task_type: Some("review_change"),
        ticket: "CHANGE",
        weights: (18, 6),
        payers: &[("engineering", 96), ("platform", 4)],
        critical_percent: 0,
    },
    Job {
        agent: "test-runner",
        task_type: None,
        ticket: "BUILD",
        weights: (1, 12),
        payers: &[("engineering", 90), ("platform", 10)],
        critical_percent: 0,
    },
    Job {
        agent: "incident",
        task_type: Some("investigate_incident"),
        ticket: "INCIDENT",
        weights: (3, 8),
        payers: &[("engineering", 100)],
        critical_percent: 80,
    },
    Job {
        agent: "docs",
        task_type: Some("update_docs"),
        ticket: "DOC",
        weights: (4, 18),
        payers: &[("engineering", 85), ("platform", 15)],
        critical_percent: 0,
    },
    Job {
        agent: "invoice-reader",
        task_type: Some("read_invoice"),
        ticket: "INVOICE",
        weights: (12, 18),
        payers: &[("finance-ops", 100)],
        critical_percent: 0,
    },
    Job {
        agent: "reconciler",
        task_type: Some("match_payments"),
        ticket: "BATCH",
        weights: (4, 8),
        payers: &[("finance-ops", 100)],
        critical_percent: 0,
    },
    Job {
        agent: "forecaster",
        task_type: Some("forecast_demand"),
        ticket: "FORECAST",
        weights: (3, 2),
        payers: &[("finance-ops", 70), ("marketing", 30)],
        critical_percent: 0,
    },
];

/// The job of an agent.
pub(super) fn job(agent: &str) -> Option<&'static Job> {
    JOBS.iter().find(|job| job.agent == agent)
}

/// The team of that id.
pub(super) fn team(id: &str) -> Option<&'static Team> {
    TEAMS.iter().find(|team| team.id == id)
}
