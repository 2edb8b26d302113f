#!/usr/bin/env python3
"""Compares the product's statements with what recompute.py found, line by line; prints every difference, exits 1 on any.

compare.py STATEMENTS_DIR OUT.json      reads STATEMENTS_DIR/<period>/<team>/r1.json
compare.py FILE... OUT.json             reads the statements listed
"""

import json
import pathlib
import sys
from collections import defaultdict
from fractions import Fraction

NAMES = ("kind", "agent", "task_type", "pool", "billing", "provider", "model", "class", "sku")
AMOUNTS = ("exact", "amount")
MEASURES = ("quantity", "unit")
MEASURED = ("charge", "markup")
NUMBERS = ("quantity", "price", "exact", "amount")


def value_of(line, name):
    """A field as it is compared: numbers by value, absent, null and empty alike."""
    value = line.get(name)
    if value in (None, ""):
        return None
    return Fraction(str(value)) if name in NUMBERS else value


def group_lines(lines):
    """Lines by what identifies them, apart from `from`, in the order of `from` and then of their amount."""
    groups = defaultdict(list)
    for line in lines:
        unit = value_of(line, "unit") if line["kind"] in MEASURED else None
        groups[(*(value_of(line, name) for name in (*NAMES, "price")), unit)].append(line)
    for group in groups.values():
        group.sort(key=lambda line: (line.get("from") or "", Fraction(line["exact"])))
    return groups


def align(theirs, ours):
    """Sorts both sides by amount where one of them does not say `from`."""
    if any(line.get("from") for line in theirs) != any(line.get("from") for line in ours):
        for side in (theirs, ours):
            side.sort(key=lambda line: Fraction(line["exact"]))


def name_of(line):
    """The words that identify a line in a message."""
    return " ".join(f"{name}={line[name]}" for name in (*NAMES, "price", "from") if line.get(name) not in (None, ""))


def compare_line(theirs, ours):
    """Differences of two lines that stand for the same thing."""
    fields = list(AMOUNTS)
    # What a pool or variance line measures is the product's to choose.
    fields += [name for name in MEASURES if ours["kind"] in MEASURED or (theirs.get(name) and ours.get(name))]
    fields += ["from"] if theirs.get("from") and ours.get("from") else []
    for name in fields:
        if value_of(theirs, name) != value_of(ours, name):
            yield f"{name_of(ours)}: {name} is {theirs.get(name)}, expected {ours.get(name)}"


def compare_statement(theirs, ours):
    """Differences of one team's statement."""
    left, right = group_lines(theirs["lines"]), group_lines(ours["lines"])
    for key in sorted(left.keys() | right.keys(), key=str):
        align(left[key], right[key])
        pairs = min(len(left[key]), len(right[key]))
        for pair in zip(left[key], right[key]):
            yield from compare_line(*pair)
        for line in left[key][pairs:]:
            yield f"{name_of(line)}: not expected, exact {line['exact']}"
        for line in right[key][pairs:]:
            yield f"{name_of(line)}: missing, expected exact {line['exact']}"
    for name in ("exact_total", "total", "unpriced_events"):
        if Fraction(str(theirs[name])) != Fraction(str(ours[name])):
            yield f"{name} is {theirs[name]}, expected {ours[name]}"
    printed = sum((Fraction(str(line["amount"])) for line in theirs["lines"]), Fraction(0))
    if printed != Fraction(str(theirs["total"])):
        yield f"MON-2: the amounts do not sum to the total {theirs['total']} but to {printed.numerator}/{printed.denominator}"


def read_statements(places, expected):
    """Statements by team, from files or from a folder of the expected period."""
    files = []
    for place in map(pathlib.Path, places):
        files += sorted(place.glob(f"{expected['period']}/*/r1.json")) if place.is_dir() else [place]
    statements = {}
    for path in files:
        statement = json.loads(path.read_text(encoding="utf-8"))
        statement = statement.get("body", statement)
        statements[statement["team"]] = statement
    return statements


def compare(statements, expected):
    """All differences; a team without lines needs no statement."""
    for team in sorted(statements.keys() | expected["teams"].keys()):
        if team not in expected["teams"]:
            yield f"{team}: a statement for an unknown team"
            continue
        ours = expected["teams"][team]
        if team not in statements:
            if ours["lines"] or ours["unpriced_events"]:
                yield f"{team}: no statement, expected {len(ours['lines'])} lines, exact_total {ours['exact_total']}"
            continue
        theirs = statements[team]
        for name in ("period", "currency"):
            if theirs.get(name) != expected[name]:
                yield f"{team}: {name} is {theirs.get(name)}, expected {expected[name]}"
        for difference in compare_statement(theirs, ours):
            yield f"{team}: {difference}"


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    expected = json.loads(pathlib.Path(sys.argv[-1]).read_text(encoding="utf-8"))
    statements = read_statements(sys.argv[1:-1], expected)
    differences = list(compare(statements, expected))
    print("\n".join(differences) if differences else f"{len(statements)} statements equal")
    sys.exit(1 if differences else 0)


if __name__ == "__main__":
    main()
