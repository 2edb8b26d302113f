//! What a message shows, what its buttons send, and where it is cut.

use recoup_messages::slack::{HeldBack, TITLES_MAX, digest, message};
use recoup_messages::{Action, Notice, Outcome, Severity, Table};
use serde_json::{Value, json};

use crate::samples::{HOSTILE, acknowledged, asked, bare, endless, facts, hostile, tier};

pub(crate) fn blocks(notice: &Notice) -> Vec<Value> {
    message(notice).blocks.as_array().unwrap().clone()
}

fn of_type(notice: &Notice, kind: &str) -> Vec<Value> {
    blocks(notice).into_iter().filter(|block| block["type"] == kind).collect()
}

fn header(notice: &Notice) -> String {
    of_type(notice, "header")[0]["text"]["text"].as_str().unwrap().to_owned()
}

fn sections(notice: &Notice) -> Vec<String> {
    let text = |block: Value| block["text"]["text"].as_str().map(str::to_owned);
    of_type(notice, "section").into_iter().filter_map(text).collect()
}

fn fields(notice: &Notice) -> Vec<Vec<String>> {
    let texts = |block: Value| {
        let fields = block["fields"].as_array()?;
        Some(fields.iter().map(|field| field["text"].as_str().unwrap().to_owned()).collect())
    };
    of_type(notice, "section").into_iter().filter_map(texts).collect()
}

fn buttons(notice: &Notice) -> Vec<Value> {
    of_type(notice, "actions").iter().flat_map(|block| block["elements"].as_array().unwrap().clone()).collect()
}

fn names(notice: &Notice) -> Vec<String> {
    buttons(notice).iter().map(|button| button["action_id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_tier_shows_its_figures_and_what_can_be_done() {
    let notice = tier();
    let kinds: Vec<String> = blocks(&notice).iter().map(|block| block["type"].as_str().unwrap().to_owned()).collect();
    assert_eq!(kinds, ["header", "section", "section", "section", "section", "actions", "context"]);
    assert_eq!(header(&notice), "⚠️ Budget at 90%: team support, 2026-11");
    assert_eq!(fields(&notice)[0][0], "*Spent*\n4,512.30 USD");
    let table = "*Top agents*\n```Agent                  Cost\ntriage         2,104.18 USD\n\
                 refund-writer  1,511.90 USD\nsummaries         96.02 USD```";
    assert!(sections(&notice).contains(&table.to_owned()), "{:?}", sections(&notice));
    assert_eq!(names(&notice), ["acknowledge", "request_extension", "open"]);
    assert!(buttons(&notice).iter().all(|button| button["value"] == notice.id.as_str()));
    assert_eq!(buttons(&notice)[2]["url"], "https://recoup.example.com/?period=2026-11");
    assert_eq!(
        message(&notice).text,
        "⚠️ Budget at 90%: team support, 2026-11. The team support has spent 4,512.30 USD of 5,000.00 USD in 2026-11 (90%)."
    );
}

#[test]
fn commands_are_named_where_no_button_does_it() {
    let steps = |notice: Notice| sections(&notice).pop().unwrap();
    let expected = "*What to do*\n• Acknowledge this alert, or it is escalated.\n\
                    • If more is needed this month, ask for it in time.";
    assert_eq!(steps(tier()), expected);
    let without = Notice { actions: Vec::new(), ..tier() };
    assert!(steps(without).contains("escalated: `recoup alerts ack alr-5f0c2b7d`"));
}

#[test]
fn an_approval_is_asked_about_once_more() {
    let buttons = buttons(&asked());
    assert_eq!(names(&asked()), ["approve", "decline"]);
    assert_eq!(buttons[0]["confirm"]["confirm"]["text"], "Approve");
    assert_eq!(buttons[0]["confirm"]["text"]["text"], asked().title);
    assert_eq!(buttons[1]["confirm"], Value::Null);
    assert_eq!((&buttons[0]["style"], &buttons[1]["style"]), (&json!("primary"), &json!("danger")));
}

#[test]
fn what_was_done_takes_the_place_of_its_buttons() {
    let done = acknowledged();
    let shown = "✅ *Acknowledged by ana*, <!date^1795437660^{date_short_pretty}, {time}|23 Nov 2026, 12:41 UTC>";
    assert!(sections(&done).contains(&shown.to_owned()), "{:?}", sections(&done));
    assert_eq!(names(&done), ["request_extension", "open"], "more can still be asked for");
    assert!(!sections(&done).iter().any(|text| text.contains("What to do")));
    assert!(message(&done).text.contains("Acknowledged by ana"));
    let outcome = Outcome { what: "Approved by frank".into(), at: String::new() };
    let approved = Notice { outcome: Some(outcome), ..asked() };
    assert_eq!(of_type(&approved, "actions"), Vec::<Value>::new());
    assert!(sections(&approved).contains(&"✅ *Approved by frank*".to_owned()));
}

#[test]
fn text_of_others_is_shown_and_does_nothing() {
    let mut shown = message(&hostile());
    // What a button sends back is the id as it is, which nobody is shown.
    for button in shown.blocks[5]["elements"].as_array_mut().unwrap() {
        assert_eq!(button.as_object_mut().unwrap().remove("value"), Some(json!(HOSTILE)));
    }
    let shown = serde_json::to_string(&shown).unwrap();
    for markup in ["<!channel>", "<@U1>", "<https:", "\\r", "\u{202e}", "\\u0000", "javascript:", "<script>"] {
        assert!(!shown.contains(markup), "{markup} in {shown}");
    }
    assert!(shown.contains("&lt;!channel&gt; &lt;@U1&gt;"));
    let table = sections(&hostile()).into_iter().find(|text| text.contains("\n```")).unwrap();
    assert_eq!(table.matches("```").count(), 2, "those of the block: {table}");
    let links: Vec<Value> = buttons(&hostile()).into_iter().filter(|button| !button["url"].is_null()).collect();
    assert_eq!(links.len(), 1, "what is no address of a page has no button: {links:?}");
    for block in blocks(&hostile()).iter().filter(|block| block["text"]["type"] == "mrkdwn") {
        assert_eq!(block["text"]["verbatim"], true, "mentions are made of plain text otherwise: {block}");
    }
}

#[test]
fn texts_are_whole_at_their_limit_and_end_with_an_ellipsis_beyond() {
    // A mark and a space stand before a title: "ℹ️ " has three units.
    let title = |length: usize| header(&Notice { title: "a".repeat(length), ..bare() });
    assert_eq!(title(147), format!("ℹ️ {}", "a".repeat(147)));
    assert_eq!(title(148), format!("ℹ️ {}…", "a".repeat(146)));
    let summary = |text: String| sections(&Notice { summary: text, ..bare() })[0].clone();
    assert_eq!(summary("a".repeat(3_000)), "a".repeat(3_000));
    assert_eq!(summary("a".repeat(3_001)), format!("{}…", "a".repeat(2_999)));
    // `&amp;` is five characters, and is never cut apart.
    assert_eq!(summary("&".repeat(600)), "&amp;".repeat(600));
    assert_eq!(summary("&".repeat(601)), format!("{}…", "&amp;".repeat(599)));
    assert_eq!(summary(format!("{}&", "a".repeat(2_996))), format!("{}…", "a".repeat(2_996)));
    // Slack may count a letter beyond the basic plane twice.
    assert_eq!(summary("😀".repeat(1_500)), "😀".repeat(1_500));
    assert_eq!(summary("😀".repeat(1_501)), format!("{}…", "😀".repeat(1_499)));
    let value =
        |length: usize| fields(&Notice { facts: facts(&[("Name", &"v".repeat(length))]), ..bare() })[0][0].clone();
    assert_eq!(value(1_993), format!("*Name*\n{}", "v".repeat(1_993)));
    assert_eq!(value(1_994), format!("*Name*\n{}…", "v".repeat(1_992)));
    let label = |length: usize| {
        let open = Action::Open { label: "b".repeat(length), url: "https://example.com".into() };
        buttons(&Notice { actions: vec![open], ..bare() })[0]["text"]["text"].as_str().unwrap().to_owned()
    };
    assert_eq!((label(75), label(76)), ("b".repeat(75), format!("{}…", "b".repeat(74))));
}

#[test]
fn an_address_or_an_id_is_left_out_rather_than_cut() {
    let link = |length: usize| {
        let url = format!("https://example.com/{}", "a".repeat(length - "https://example.com/".len()));
        names(&Notice { actions: vec![Action::Open { label: "Open".into(), url }], ..bare() }).len()
    };
    assert_eq!((link(3_000), link(3_001)), (1, 0));
    let id = |id: String| names(&Notice { id, actions: vec![Action::Acknowledge], ..bare() }).len();
    assert_eq!((id("i".repeat(2_000)), id("i".repeat(2_001)), id(String::new())), (1, 0, 0));
}

#[test]
fn a_figure_without_a_name_or_a_value_is_a_field_all_the_same() {
    let notice = Notice { facts: facts(&[("", ""), ("", "value"), ("Name", " ")]), ..bare() };
    assert_eq!(fields(&notice)[0], ["–", "value", "*Name*\n–"]);
}

#[test]
fn figures_stand_in_tens_and_the_rest_is_left_out() {
    let notice = |count: usize| Notice { facts: facts(&vec![("Name", "value"); count]), ..bare() };
    let lengths = |count| fields(&notice(count)).iter().map(Vec::len).collect::<Vec<_>>();
    assert_eq!(lengths(0), Vec::<usize>::new());
    assert_eq!(lengths(10), [10]);
    assert_eq!(lengths(11), [10, 1]);
    assert_eq!(lengths(45), [10, 10, 10]);
}

#[test]
fn a_long_table_says_how_many_rows_are_left_out() {
    let rows = |count: usize| (0..count).map(|at| vec![format!("agent-{at}"), "1.00 USD".to_owned()]).collect();
    let shown = |count: usize| {
        let table = Table { title: "Agents".into(), columns: vec!["Agent".into(), "Cost".into()], rows: rows(count) };
        sections(&Notice { table: Some(table), ..bare() }).get(1).cloned()
    };
    assert_eq!(shown(0), None);
    assert!(!shown(100).unwrap().contains("more"));
    let long = shown(1_000).unwrap();
    let left_out: usize = long.rsplit_once("… and ").unwrap().1.split_once(' ').unwrap().0.parse().unwrap();
    // The title with the opening line, the last line, the head.
    assert_eq!(long.lines().count() - 2 - 1 + left_out, 1_000);
    assert!(long.ends_with(" more```") && long.encode_utf16().count() <= 3_000);
}

#[test]
fn buttons_have_one_name_each() {
    let open = |label: &str| Action::Open { label: label.into(), url: "https://example.com".into() };
    let actions = vec![
        Action::Acknowledge,
        Action::Acknowledge,
        open(" "),
        open("Two"),
        open("Three"),
        open("Four"),
        open("Five"),
    ];
    let notice = Notice { actions, ..bare() };
    assert_eq!(names(&notice), ["acknowledge", "open", "open-2", "open-3", "open-4"]);
    assert_eq!(buttons(&notice)[1]["text"]["text"], "Open");
}

#[test]
fn a_message_without_words_still_has_a_text() {
    let empty = Notice {
        id: String::new(),
        kind: String::new(),
        title: String::new(),
        summary: " \n ".into(),
        at: String::new(),
        ..bare()
    };
    let message = message(&empty);
    assert!(!message.text.trim().is_empty());
    let kinds: Vec<&Value> = message.blocks.as_array().unwrap().iter().map(|block| &block["type"]).collect();
    assert_eq!(kinds, ["header"]);
}

#[test]
fn the_endless_notice_is_cut_everywhere() {
    let notice = endless();
    assert!(message(&notice).text.encode_utf16().count() <= 3_000);
    assert!(header(&notice).ends_with('…'));
    assert!(sections(&notice).iter().all(|text| text.encode_utf16().count() <= 3_000));
    assert_eq!(names(&notice).len(), 5);
}

#[test]
fn a_digest_says_how_many_and_lists_the_first_ten() {
    let held = |count: usize| -> Vec<HeldBack> {
        (1..=count)
            .map(|at| HeldBack { severity: Severity::Critical, title: format!("Title {at} {HOSTILE}") })
            .collect()
    };
    let list =
        |message: recoup_messages::slack::SlackMessage| message.blocks[2]["text"]["text"].as_str().unwrap().to_owned();
    let twelve = digest(&held(12), 12, "2026-11-23T12:00:00Z");
    assert_eq!(twelve.text, "12 notices were held back: more came at once than this channel is sent.");
    let lines = list(twelve);
    assert_eq!(lines.lines().count(), TITLES_MAX + 1);
    assert!(lines.starts_with("• 🚨 Title 1 &lt;!channel&gt;") && lines.ends_with("… and 2 more"), "{lines}");
    assert!(!list(digest(&held(10), 10, "")).contains("more"));
    assert!(digest(&held(1), 1, "").text.starts_with("1 notice was held back"));
    assert!(list(digest(&[], 5, "")).contains("5 in all"));
    let long = vec![HeldBack { severity: Severity::Info, title: "&".repeat(4_000) }; 10];
    assert!(list(digest(&long, 10, "")).encode_utf16().count() <= 3_000);
}

#[test]
fn a_notice_survives_the_way_through_a_topic() {
    for (name, notice) in crate::samples::all() {
        let text = serde_json::to_string(&notice).unwrap();
        assert_eq!(serde_json::from_str::<Notice>(&text).unwrap(), notice, "{name}");
    }
}
