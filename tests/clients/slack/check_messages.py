#!/usr/bin/env python3
"""Checks our messages for Slack with Slack's own models, and against the limits that Slack documents beside them.

    python3 check_messages.py ../../../shared/messages/tests/golden
    python3 -m unittest check_messages          # that it finds what is broken

The files are those that the tests of `recoup-messages` write: `slack-*.json` are messages, `modal-*.json` views.
Prints what is wrong, a line each, and exits 1 on any. Start reading at `wrongs_of_message`.
"""

import json
import pathlib
import re
import sys
import unittest

from slack_sdk.errors import SlackObjectFormationError
from slack_sdk.models.blocks import Block
from slack_sdk.models.views import View

BLOCKS_MAX = 50
TEXT_MAX = 40_000
SECTION_TEXT_MAX = 3_000
FIELDS_MAX, FIELD_TEXT_MAX = 10, 2_000
ACTIONS_MAX = 25
CONTEXT_MAX = 10
# Of Slack's sequences in angle brackets we write times, and nothing else.
SEQUENCE = re.compile(r"<(?!!date\^\d+\^\{date_short_pretty\}, \{time\}\|[^<>]*>)[^>]*>?")


def parsed(model, value, where):
    """The findings of a model: what it refuses, and what it does not know and would drop."""
    try:
        one = Block.parse(value) if model is Block else View(**value)
        if one is None:
            return [f"{where}: no block that the models know"]
        one.validate_json()
        known = one.to_dict()
    except (SlackObjectFormationError, TypeError, KeyError) as error:
        return [f"{where}: {error}"]
    return [f"{where}: {line}" for line in differences(value, known)]


def differences(ours, known, path=""):
    if isinstance(ours, dict) and isinstance(known, dict):
        names = sorted(ours.keys() | known.keys())
        return [line for name in names for line in differences(ours.get(name), known.get(name), f"{path}.{name}")]
    if isinstance(ours, list) and isinstance(known, list) and len(ours) == len(known):
        return [line for at, pair in enumerate(zip(ours, known)) for line in differences(*pair, f"{path}[{at}]")]
    return [] if ours == known else [f"{path[1:]} is {ours!r}, the models keep {known!r}"]


def texts(value):
    """Every text object below a value."""
    if isinstance(value, dict):
        if value.get("type") in ("plain_text", "mrkdwn"):
            yield value
        for part in value.values():
            yield from texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from texts(part)


def limits(block, where):
    """What the models leave to the server."""
    found = []

    def at_most(count, most, what):
        if not 1 <= count <= most:
            found.append(f"{where}: {count} {what}, from 1 to {most} are taken")

    if block["type"] == "section":
        if "fields" in block:
            at_most(len(block["fields"]), FIELDS_MAX, "fields")
            for field in block["fields"]:
                at_most(len(field["text"]), FIELD_TEXT_MAX, "characters of a field")
        if "text" in block:
            at_most(len(block["text"]["text"]), SECTION_TEXT_MAX, "characters of a section")
    if block["type"] == "actions":
        at_most(len(block["elements"]), ACTIONS_MAX, "elements")
        names = [element.get("action_id") for element in block["elements"]]
        if None in names or len(set(names)) < len(names):
            found.append(f"{where}: the actions are not named one by one: {names}")
    if block["type"] == "context":
        at_most(len(block["elements"]), CONTEXT_MAX, "elements")
    for text in texts(block):
        at_most(len(text["text"]), SECTION_TEXT_MAX, "characters of a text")
        if SEQUENCE.search(text["text"]):
            found.append(f"{where}: Slack would read {SEQUENCE.search(text['text'])[0]!r}")
        if text["type"] == "mrkdwn" and text.get("verbatim") is not True:
            found.append(f"{where}: Slack would make mentions and links of {text['text'][:60]!r}")
    return found


def wrongs_of_message(message):
    found = [f"a message has no {name!r}" for name in ("text", "blocks") if not message.get(name)]
    found += [f"a message has {name!r}" for name in message if name not in ("text", "blocks")]
    if found:
        return found
    if len(message["text"]) > TEXT_MAX or SEQUENCE.search(message["text"]):
        found.append("the text is too long, or Slack would read more than text in it")
    if len(message["blocks"]) > BLOCKS_MAX:
        found.append(f"{len(message['blocks'])} blocks, at most {BLOCKS_MAX} are taken")
    for at, block in enumerate(message["blocks"]):
        where = f"block {at} ({block.get('type')})"
        found += parsed(Block, block, where) or limits(block, where)
    return found


def wrongs_of_view(view):
    found = parsed(View, view, "view")
    names = [block.get("block_id") for block in view["blocks"] if block["type"] == "input"]
    if None in names or len(set(names)) < len(names):
        found.append(f"the inputs are not named one by one: {names}")
    for at, block in enumerate(view["blocks"]):
        found += parsed(Block, block, f"block {at}") or limits(block, f"block {at}")
    return found


def main(folder):
    messages, views = sorted(folder.glob("slack-*.json")), sorted(folder.glob("modal-*.json"))
    if not messages or not views:
        sys.exit(f"{folder}: no messages or no views to check")
    checks = [(file, wrongs_of_message) for file in messages] + [(file, wrongs_of_view) for file in views]
    found = [f"{file.name}: {wrong}" for file, check in checks for wrong in check(json.loads(file.read_text()))]
    print("\n".join(found) or f"{len(messages)} messages and {len(views)} views are as Slack's models and limits have them")
    return 1 if found else 0


class Broken(unittest.TestCase):
    """Each breaks a good message in one way."""

    def broken(self, change):
        button = {"type": "button", "action_id": "a", "value": "n1", "text": {"type": "plain_text", "text": "A"}}
        message = {
            "text": "Text",
            "blocks": [
                {"type": "header", "text": {"type": "plain_text", "text": "Header"}},
                {"type": "section", "text": {"type": "mrkdwn", "text": "Text", "verbatim": True}},
                {"type": "section", "fields": [{"type": "mrkdwn", "text": "Field", "verbatim": True}]},
                {"type": "actions", "elements": [button]},
                {"type": "context", "elements": [{"type": "mrkdwn", "text": "Context", "verbatim": True}]},
            ],
        }
        self.assertEqual(wrongs_of_message(message), [])
        change(message, message["blocks"], message["blocks"][3]["elements"])
        return wrongs_of_message(message)

    def test_each_is_found(self):
        changes = {
            "no text": lambda message, blocks, buttons: message.pop("text"),
            "no blocks": lambda message, blocks, buttons: message.update(blocks=[]),
            "51 blocks": lambda message, blocks, buttons: blocks.extend([blocks[0]] * 46),
            "an unknown block": lambda message, blocks, buttons: blocks[0].update(type="heading"),
            "a long header": lambda message, blocks, buttons: blocks[0]["text"].update(text="h" * 151),
            "a header with marks": lambda message, blocks, buttons: blocks[0]["text"].update(type="mrkdwn"),
            "a long section": lambda message, blocks, buttons: blocks[1]["text"].update(text="s" * 3001),
            "an empty section": lambda message, blocks, buttons: blocks[1]["text"].update(text=""),
            "a section without text": lambda message, blocks, buttons: blocks[1].pop("text"),
            "an unknown part": lambda message, blocks, buttons: blocks[1].update(colour="red"),
            "11 fields": lambda message, blocks, buttons: blocks[2].update(fields=blocks[2]["fields"] * 11),
            "a long field": lambda message, blocks, buttons: blocks[2]["fields"][0].update(text="f" * 2001),
            "a mention": lambda message, blocks, buttons: blocks[2]["fields"][0].update(text="<!channel>"),
            "mentions of names": lambda message, blocks, buttons: blocks[2]["fields"][0].pop("verbatim"),
            "an unknown style": lambda message, blocks, buttons: buttons[0].update(style="loud"),
            "a long label": lambda message, blocks, buttons: buttons[0]["text"].update(text="b" * 76),
            "a long value": lambda message, blocks, buttons: buttons[0].update(value="v" * 2001),
            "a long address": lambda message, blocks, buttons: buttons[0].update(url="https://" + "u" * 3000),
            "a name twice": lambda message, blocks, buttons: buttons.append(buttons[0]),
            "26 buttons": lambda message, blocks, buttons: buttons.extend(
                [buttons[0] | {"action_id": str(at)} for at in range(25)]
            ),
            "11 elements": lambda message, blocks, buttons: blocks[4].update(elements=blocks[4]["elements"] * 11),
        }
        for name, change in changes.items():
            with self.subTest(name):
                self.assertTrue(self.broken(change))

    def test_a_broken_view_is_found(self):
        view = {
            "type": "modal",
            "title": {"type": "plain_text", "text": "Title"},
            "blocks": [{"type": "header", "text": {"type": "plain_text", "text": "Header"}}],
        }
        self.assertEqual(wrongs_of_view(view), [])
        self.assertTrue(wrongs_of_view(view | {"title": {"type": "plain_text", "text": "t" * 25}}))
        self.assertTrue(wrongs_of_view(view | {"private_metadata": "p" * 3001}))
        self.assertTrue(wrongs_of_view(view | {"type": "window"}))


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1])))
