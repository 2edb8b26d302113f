//! What an e-mail says, and that it loads and runs nothing.

use recoup_messages::email::{plain_text, render};
use recoup_messages::{Action, Notice, ascii_line, grouped, one_line};

use crate::samples::{HOSTILE, acknowledged, all, bare, endless, failed, hostile, statement, tier};

#[test]
fn a_text_says_all_that_the_notice_does() {
    let expected = "The team support has spent 4,512.30 USD of 5,000.00 USD in 2026-11 (90%).\n\n\
        Spent      4,512.30 USD\nBudget     5,000.00 USD\nUsed       90%\nLeft       487.70 USD\nDays left  7\n\
        Runs out   26 Nov 2026\n\n\
        Top agents\nAgent                  Cost\ntriage         2,104.18 USD\nrefund-writer  1,511.90 USD\n\
        summaries         96.02 USD\n\n\
        What to do\n- Acknowledge this alert, or it is escalated: recoup alerts ack alr-5f0c2b7d\n\
        - If more is needed this month, ask for it in time: recoup budgets extend team:support --amount AMOUNT --reason WORDS\n\n\
        Open dashboard: https://recoup.example.com/?period=2026-11\n\n\
        alr-5f0c2b7d\n23 Nov 2026, 12:00 UTC\n";
    assert_eq!(plain_text(&tier()), expected);
    assert_eq!(render(&tier()).text, expected);
    assert_eq!(render(&tier()).subject, "[recoup] Budget at 90%: team support, 2026-11");
    let done = plain_text(&acknowledged());
    assert!(done.contains("Acknowledged by ana, 23 Nov 2026, 12:41 UTC") && !done.contains("What to do"), "{done}");
    assert!(plain_text(&statement()).contains("- Check it: recoup verify 2026-10-support.json\n"), "without backticks");
    assert!(plain_text(&failed()).contains("disk I/O error\n  at block <42>\n\nDays that"), "an error keeps its lines");
}

#[test]
fn a_page_shows_the_same() {
    let html = render(&tier()).html;
    for words in [
        "Needs attention",
        "Budget at 90%: team support, 2026-11",
        "4,512.30 USD",
        "refund-writer",
        "What to do",
        "href=\"https://recoup.example.com/?period=2026-11\"",
        "the lead of the team support",
        "alr-5f0c2b7d",
    ] {
        assert!(html.contains(words), "{words} is not in\n{html}");
    }
    assert!(render(&statement()).html.contains(">recoup verify 2026-10-support.json</code>"));
    let done = render(&acknowledged()).html;
    assert!(done.contains("&#10003; Acknowledged by ana") && !done.contains("What to do"));
    assert!(render(&failed()).html.contains("Act now"));
}

#[test]
fn a_page_loads_and_runs_nothing() {
    for (name, notice) in all() {
        let html = render(&notice).html;
        for sign in ["<img", "<script", "<link", "<style", "url(", "javascript:", "<iframe", "@import", "onclick"] {
            assert!(!html.contains(sign), "{sign} in {name}");
        }
        // Scripts and mentions of others stand there as text.
        assert_eq!(html.matches("<body").count(), 1, "{name}");
    }
    let html = render(&hostile()).html;
    assert!(html.contains("&lt;!channel&gt;") && html.contains("&quot;q&quot; &#39;x&#39;"));
    assert!(html.contains("href=\"https://example.com/?a=1&amp;b=2\""));
    assert_eq!(html.matches("href=").count(), 1, "what is no address of a page is no link");
}

#[test]
fn a_subject_is_one_line_of_a_header() {
    for (name, notice) in all() {
        let subject = render(&notice).subject;
        assert!(!subject.contains(|letter: char| letter.is_control()), "{name}: {subject:?}");
        assert!(subject.starts_with("[recoup] ") && subject.encode_utf16().count() <= 200, "{name}");
    }
    let title = "Größe\r\nBcc: all@example.com".to_owned();
    assert_eq!(render(&Notice { title, ..bare() }).subject, "[recoup] Größe Bcc: all@example.com");
}

#[test]
fn an_endless_notice_is_an_e_mail_with_an_end() {
    let email = render(&endless());
    assert!(email.html.len() < 600_000, "{}", email.html.len());
    assert!(email.html.contains("and 10 more"));
}

#[test]
fn links_are_listed_in_the_order_of_their_actions() {
    let open = |label: &str| Action::Open { label: label.into(), url: format!("https://example.com/{label}") };
    let html = render(&Notice { actions: vec![open("first"), Action::Acknowledge, open("second")], ..bare() }).html;
    let at = |words: &str| html.find(words).unwrap();
    assert!(at("/first") < at("/second") && !html.contains("Acknowledge"), "a button of Slack is none of an e-mail");
}

#[test]
fn lines_are_made_of_any_text() {
    assert_eq!(one_line(" a\r\n\tb \u{0}c\u{202e}d "), "a b cd");
    assert!(!one_line(HOSTILE).contains('\n'));
    assert_eq!(ascii_line("Größe\n des  Teams – ok", 100), "Groesse des Teams - ok");
    assert_eq!(ascii_line("模", 100), "\\u{6a21}");
    assert_eq!(ascii_line(&"a".repeat(100), 100), "a".repeat(100));
    assert_eq!(ascii_line(&"a".repeat(101), 100), format!("{}...", "a".repeat(97)));
}

#[test]
fn figures_have_commas_between_their_thousands() {
    let cases = [
        ("0", "0"),
        ("999", "999"),
        ("1000", "1,000"),
        ("-1000.50", "-1,000.50"),
        ("-100", "-100"),
        ("1234567.8901", "1,234,567.8901"),
        ("", ""),
        (".5", ".5"),
        ("123456", "123,456"),
    ];
    for (figure, expected) in cases {
        assert_eq!(grouped(figure), expected);
    }
}
