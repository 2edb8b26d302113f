//! Requests as Slack documents them, and others.

use recoup_messages::slack::callback::{
    BODY_BYTES_MAX, Button, Callback, CallbackError, Click, ExtensionForm, SlackUser, parse,
};
use recoup_messages::slack::{Field, extension_modal, modal_error};
use serde_json::{Value, json};

fn form(payload: &Value) -> Vec<u8> {
    format!("payload={}", form_urlencoded::byte_serialize(payload.to_string().as_bytes()).collect::<String>())
        .into_bytes()
}

fn click(action: &str, value: Option<&str>) -> Value {
    json!({
        "type": "block_actions",
        "user": { "id": "U2CERLKJA", "username": "roadrunner", "name": "roadrunner", "team_id": "T1" },
        "api_app_id": "A1", "token": "x", "team": { "id": "T1", "domain": "example" },
        "container": { "type": "message", "message_ts": "1795437660.000100", "channel_id": "C1", "is_ephemeral": false },
        "channel": { "id": "C1", "name": "budgets" },
        "message": { "type": "message", "ts": "1795437660.000100", "text": "Budget", "thread_ts": "1795437000.000100" },
        "trigger_id": "13345224609.8534564800.6f8ab1f53e13d0cd15f96106292d5536",
        "response_url": "https://hooks.slack.com/actions/T1/1/x",
        "state": { "values": {} },
        "actions": [{ "type": "button", "action_id": action, "block_id": "b", "value": value, "action_ts": "1795437661.1" }],
    })
}

fn submission(values: Value) -> Value {
    json!({
        "type": "view_submission",
        "team": { "id": "T1", "domain": "example" },
        "user": { "id": "U2CERLKJA", "name": "roadrunner", "team_id": "T1" },
        "trigger_id": "1.2.3", "response_urls": [],
        "view": {
            "id": "V1", "type": "modal", "callback_id": "extension", "private_metadata": "alr-1", "hash": "1.x",
            "state": { "values": values }, "blocks": [], "title": { "type": "plain_text", "text": "Request extension" },
        },
    })
}

fn typed(amount: Value, reason: Value) -> Value {
    json!({
        "amount": { "amount": { "type": "plain_text_input", "value": amount } },
        "reason": { "reason": { "type": "plain_text_input", "value": reason } },
    })
}

fn user() -> SlackUser {
    SlackUser { id: "U2CERLKJA".into(), name: "roadrunner".into() }
}

#[test]
fn a_click_names_who_where_and_what() {
    let read = parse(&form(&click("acknowledge", Some("alr-1 & more=%41+")))).unwrap();
    let expected = Click {
        user: user(),
        channel: Some("C1".into()),
        message_ts: Some("1795437660.000100".into()),
        response_url: Some("https://hooks.slack.com/actions/T1/1/x".into()),
        trigger_id: Some("13345224609.8534564800.6f8ab1f53e13d0cd15f96106292d5536".into()),
        button: Button::Acknowledge,
        notice: "alr-1 & more=%41+".into(),
    };
    assert_eq!(read, Callback::Click(expected));
}

#[test]
fn each_button_is_known_by_the_name_that_messages_give_it() {
    let buttons = [
        ("acknowledge", Button::Acknowledge),
        ("request_extension", Button::RequestExtension),
        ("approve", Button::Approve),
        ("decline", Button::Decline),
        ("open", Button::Open),
        ("open-2", Button::Open),
    ];
    for (name, expected) in buttons {
        let Callback::Click(click) = parse(&form(&click(name, Some("n1")))).unwrap() else { unreachable!() };
        assert_eq!(click.button, expected, "{name}");
    }
    for notice in [crate::samples::tier(), crate::samples::asked()] {
        for block in crate::slack::blocks(&notice) {
            for button in block["elements"].as_array().into_iter().flatten().filter(|part| part["type"] == "button") {
                let sent = click(button["action_id"].as_str().unwrap(), button["value"].as_str());
                assert!(parse(&form(&sent)).is_ok(), "{button}");
            }
        }
    }
}

#[test]
fn what_slack_leaves_out_is_left_out() {
    let mut sparse = click("open", Some("n1"));
    for part in ["channel", "container", "message", "response_url", "trigger_id"] {
        sparse.as_object_mut().unwrap().remove(part);
    }
    sparse["user"] = json!({ "id": "U1" });
    let Callback::Click(read) = parse(&form(&sparse)).unwrap() else { unreachable!() };
    assert_eq!((read.user.name.as_str(), read.channel, read.message_ts, read.trigger_id), ("U1", None, None, None));
}

#[test]
fn a_sent_modal_brings_what_was_typed() {
    let read = parse(&form(&submission(typed(json!("250,00 €"), json!("a launch\n& more"))))).unwrap();
    let expected = ExtensionForm {
        user: user(),
        alert: "alr-1".into(),
        amount: "250,00 €".into(),
        reason: "a launch\n& more".into(),
    };
    assert_eq!(read, Callback::Extension(expected));
    let Callback::Extension(empty) = parse(&form(&submission(typed(Value::Null, Value::Null)))).unwrap() else {
        unreachable!()
    };
    assert_eq!((empty.amount.as_str(), empty.reason.as_str()), ("", ""));
}

#[test]
fn the_modal_has_the_inputs_that_are_read_and_can_say_what_is_wrong_with_them() {
    let ask = recoup_messages::slack::ExtensionAsk {
        alert: "alr-1",
        scope: "team:support",
        period: "2026-11",
        currency: "USD",
    };
    let modal = extension_modal(&ask);
    assert_eq!((&modal["private_metadata"], &modal["callback_id"]), (&json!("alr-1"), &json!("extension")));
    let inputs = modal["blocks"].as_array().unwrap().iter().filter(|block| block["type"] == "input");
    let named: Vec<(&str, &str)> = inputs
        .map(|block| (block["block_id"].as_str().unwrap(), block["element"]["action_id"].as_str().unwrap()))
        .collect();
    assert_eq!(named, [("amount", "amount"), ("reason", "reason")]);
    let wrong = modal_error(Field::Amount, "`x` is no amount");
    assert_eq!(wrong, json!({ "response_action": "errors", "errors": { "amount": "`x` is no amount" } }));
}

#[test]
fn what_means_nothing_to_us_is_named() {
    let mut no_value = click("acknowledge", None);
    let mut no_action = click("acknowledge", Some("n1"));
    no_action["actions"] = json!([]);
    let mut other_view = submission(typed(json!("1"), json!("x")));
    other_view["view"]["callback_id"] = json!("other");
    let mut no_alert = submission(typed(json!("1"), json!("x")));
    no_alert["view"]["private_metadata"] = json!("");
    let mut without_user = click("acknowledge", Some("n1"));
    without_user.as_object_mut().unwrap().remove("user");
    let cases: [(Vec<u8>, &str); 14] = [
        (form(&json!({ "type": "shortcut" })), "callbacks of the type `shortcut` are not known"),
        (form(&json!({ "type": "view_closed" })), "callbacks of the type `view_closed` are not known"),
        (form(&click("delete_everything", Some("n1"))), "the action `delete_everything` is not known"),
        (form(&click("open-x", Some("n1"))), "the action `open-x` is not known"),
        (form(&no_value), "the payload has no `value`"),
        (form(&no_action), "the payload has no `actions`"),
        (form(&other_view), "the modal `other` is not known"),
        (form(&no_alert), "the payload has no `private_metadata`"),
        (form(&submission(json!({ "reason": { "reason": { "value": "x" } } }))), "the payload has no `amount`"),
        (form(&without_user), "the payload cannot be read"),
        (form(&json!([1])), "the payload cannot be read"),
        (b"payload=%7B".to_vec(), "the payload cannot be read"),
        (b"token=x&payloads=%7B%7D".to_vec(), "the request has no field `payload`"),
        (Vec::new(), "the request has no field `payload`"),
    ];
    no_value["actions"][0]["value"] = json!("");
    assert!(matches!(parse(&form(&no_value)), Err(CallbackError::Missing("value"))));
    for (body, words) in cases {
        assert_eq!(parse(&body).unwrap_err().to_string(), words);
    }
}

#[test]
fn a_request_is_read_up_to_its_limit() {
    let mut body = form(&click("acknowledge", Some("n1")));
    body.extend_from_slice(b"&filler=");
    body.resize(BODY_BYTES_MAX, b'x');
    assert!(parse(&body).is_ok());
    body.push(b'x');
    assert!(matches!(parse(&body), Err(CallbackError::TooLarge { bytes }) if bytes == BODY_BYTES_MAX + 1));
}
