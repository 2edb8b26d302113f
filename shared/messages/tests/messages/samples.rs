//! Notices of every kind, and some that mean no good.

use recoup_messages::{Action, Audience, Fact, Notice, Outcome, Severity, Table};

/// Text that would be markup, a mention, a header of its own, or the end of what it stands in.
pub(crate) const HOSTILE: &str =
    "<!channel> <@U1> <https://evil.example|ok> & \"q\" 'x' ``` *b*\r\nBcc: all@example.com\u{202e}\u{0}";

pub(crate) fn facts(named: &[(&str, &str)]) -> Vec<Fact> {
    let fact = |(label, value): &(&str, &str)| Fact { label: (*label).to_owned(), value: (*value).to_owned() };
    named.iter().map(fact).collect()
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn open(label: &str, path: &str) -> Action {
    Action::Open { label: label.into(), url: format!("https://recoup.example.com{path}") }
}

/// A notice that says as little as one can.
pub(crate) fn bare() -> Notice {
    Notice {
        id: "n1".into(),
        kind: "test".into(),
        severity: Severity::Info,
        title: "Title".into(),
        summary: "Summary.".into(),
        facts: Vec::new(),
        table: None,
        next_steps: Vec::new(),
        actions: Vec::new(),
        team: None,
        audience: vec![Audience::FinOps],
        thread: None,
        outcome: None,
        at: "2026-11-23T12:00:00Z".into(),
    }
}

pub(crate) fn tier() -> Notice {
    Notice {
        id: "alr-5f0c2b7d".into(),
        kind: "budget-tier".into(),
        severity: Severity::Warning,
        title: "Budget at 90%: team support, 2026-11".into(),
        summary: "The team support has spent 4,512.30 USD of 5,000.00 USD in 2026-11 (90%).".into(),
        facts: facts(&[
            ("Spent", "4,512.30 USD"),
            ("Budget", "5,000.00 USD"),
            ("Used", "90%"),
            ("Left", "487.70 USD"),
            ("Days left", "7"),
            ("Runs out", "26 Nov 2026"),
        ]),
        table: Some(Table {
            title: "Top agents".into(),
            columns: texts(&["Agent", "Cost"]),
            rows: vec![
                texts(&["triage", "2,104.18 USD"]),
                texts(&["refund-writer", "1,511.90 USD"]),
                texts(&["summaries", "96.02 USD"]),
            ],
        }),
        next_steps: texts(&[
            "Acknowledge this alert, or it is escalated: `recoup alerts ack alr-5f0c2b7d`",
            "If more is needed this month, ask for it in time: `recoup budgets extend team:support --amount AMOUNT --reason WORDS`",
        ]),
        actions: vec![Action::Acknowledge, Action::RequestExtension, open("Open dashboard", "/?period=2026-11")],
        team: Some("support".into()),
        audience: vec![Audience::Lead, Audience::FinOps],
        thread: Some("budget-team:support-2026-11".into()),
        ..bare()
    }
}

pub(crate) fn used_up() -> Notice {
    let killed = "Work that is not declared critical is denied from now on.";
    Notice {
        id: "alr-77aa01c3".into(),
        severity: Severity::Critical,
        title: "Budget at 100%: team support, 2026-11".into(),
        summary: format!("The team support has spent 5,004.10 USD of 5,000.00 USD in 2026-11 (100%). {killed}"),
        facts: facts(&[
            ("Spent", "5,004.10 USD"),
            ("Budget", "5,000.00 USD"),
            ("Used", "100%"),
            ("Over by", "4.10 USD"),
            ("Days left", "7"),
        ]),
        next_steps: texts(&[
            "Ask for an extension, or wait for the next month: `recoup budgets extend team:support --amount AMOUNT --reason WORDS`",
            "Acknowledge this alert: `recoup alerts ack alr-77aa01c3`",
        ]),
        ..tier()
    }
}

pub(crate) fn acknowledged() -> Notice {
    let outcome = Outcome { what: "Acknowledged by ana".into(), at: "2026-11-23T12:41:00Z".into() };
    Notice { kind: "budget-tier-changed".into(), outcome: Some(outcome), ..tier() }
}

pub(crate) fn asked() -> Notice {
    Notice {
        id: "ext-09b1".into(),
        kind: "extension-requested".into(),
        severity: Severity::Warning,
        title: "750.00 USD more asked for: team support, 2026-11".into(),
        summary: "ana asks for 750.00 USD more for the team support in 2026-11: Black Friday brings twice the tickets"
            .into(),
        facts: facts(&[
            ("Budget", "team support, 2026-11"),
            ("More", "750.00 USD"),
            ("Asked for by", "ana"),
            ("Reason", "Black Friday brings twice the tickets"),
        ]),
        next_steps: texts(&[
            "Somebody other than the one who asks decides: `recoup budgets approve ext-09b1` or `recoup budgets decline ext-09b1`",
        ]),
        actions: vec![Action::Approve, Action::Decline],
        team: Some("support".into()),
        thread: Some("budget-team:support-2026-11".into()),
        ..bare()
    }
}

pub(crate) fn declined() -> Notice {
    let outcome = Outcome { what: "Declined by frank".into(), at: "2026-11-23T15:02:00Z".into() };
    Notice { kind: "extension-decided".into(), severity: Severity::Info, outcome: Some(outcome), ..asked() }
}

pub(crate) fn statement() -> Notice {
    Notice {
        id: "statement-ready-2026-10-support-r1".into(),
        kind: "statement-ready".into(),
        title: "Statement of support for 2026-10: 4821.07 EUR".into(),
        summary: "Example GmbH: the chargeback statement of the team support for 2026-10 was issued.\n\n\
                  It is booked on your cost centre."
            .into(),
        facts: facts(&[
            ("Total", "4821.07 EUR"),
            ("Statement", "2026-10-support, revision 1"),
            ("Document", "statements/2026-10/support/r1.json"),
            ("Digest", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"),
        ]),
        next_steps: texts(&[
            "Read it: `recoup statement support 2026-10`",
            "Check it: `recoup verify 2026-10-support.json`",
            "Ask about a line: `recoup explain 2026-10-support LINE`",
        ]),
        actions: vec![open("Open statement", "/statements/2026-10/support?revision=1")],
        team: Some("support".into()),
        audience: vec![Audience::Lead],
        thread: Some("statement-2026-10-support".into()),
        ..bare()
    }
}

pub(crate) fn failed() -> Notice {
    Notice {
        id: "night-failed-2026-11-23-1".into(),
        kind: "night-failed".into(),
        severity: Severity::Critical,
        title: "The nightly run failed".into(),
        summary: "The nightly run 2026-11-23-1 failed.\n\nthe store failed: disk I/O error\n  at block <42>\n\n\
                  Days that it had done stay done, the others stay marked and are run by the next night."
            .into(),
        facts: facts(&[("Run", "2026-11-23-1")]),
        next_steps: texts(&["Mend the cause that is named above.", "Run the night: `recoup nightly`"]),
        ..bare()
    }
}

/// Each text of it means no good.
pub(crate) fn hostile() -> Notice {
    Notice {
        id: HOSTILE.into(),
        kind: HOSTILE.into(),
        title: HOSTILE.into(),
        summary: HOSTILE.into(),
        facts: facts(&[(HOSTILE, HOSTILE), ("", "")]),
        table: Some(Table {
            title: HOSTILE.into(),
            columns: texts(&[HOSTILE]),
            rows: vec![texts(&[HOSTILE, HOSTILE])],
        }),
        next_steps: texts(&[HOSTILE]),
        actions: vec![
            Action::Approve,
            Action::Open { label: HOSTILE.into(), url: "javascript:alert(1)".into() },
            Action::Open { label: HOSTILE.into(), url: "https://example.com/?a=1&b=\"><script>".into() },
            Action::Open { label: HOSTILE.into(), url: "https://example.com/?a=1&b=2".into() },
        ],
        team: Some(HOSTILE.into()),
        audience: vec![Audience::Lead],
        thread: Some(HOSTILE.into()),
        at: HOSTILE.into(),
        ..bare()
    }
}

/// Everything is longer, and there is more of it, than any channel takes.
pub(crate) fn endless() -> Notice {
    let long = "&<ü>".repeat(2_000);
    Notice {
        title: long.clone(),
        summary: long.clone(),
        facts: facts(&vec![(long.as_str(), long.as_str()); 45]),
        table: Some(Table {
            title: long.clone(),
            columns: vec![long.clone(); 12],
            rows: vec![vec![long.clone(); 12]; 40],
        }),
        next_steps: vec![long.clone(); 30],
        actions: (0..30).map(|at| open(&long, &format!("/{at}"))).collect(),
        team: Some(long.clone()),
        thread: Some(long.clone()),
        kind: long.clone(),
        ..bare()
    }
}

/// Each by the name of its golden files.
pub(crate) fn all() -> Vec<(&'static str, Notice)> {
    vec![
        ("tier-90", tier()),
        ("tier-100", used_up()),
        ("acknowledged", acknowledged()),
        ("extension-requested", asked()),
        ("extension-declined", declined()),
        ("statement-ready", statement()),
        ("night-failed", failed()),
        ("bare", bare()),
        ("hostile", hostile()),
        ("endless", endless()),
    ]
}
