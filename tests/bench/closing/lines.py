"""recoup's statement lines as the CSV that the SQL writes, and the first differences between two such files."""

import glob
import itertools
import json
import os

COLUMNS = ["team", "kind", "agent", "task_type", "pool", "billing", "provider", "model", "class", "from", "unit",
           "quantity", "price", "exact", "amount", "basis", "method", "ratio"]
AMOUNTS = {"price", "exact"}
KEY = 11
DIFFERENCES_TOLD = 10


def write_ours(documents, period, path):
    """The lines of every team's statement, in the order of the statements; returns how many."""
    statements = glob.glob(os.path.join(documents, "statements", period, "*", "r1.json"))
    count = 0
    with open(path, "w") as file:
        file.write(",".join(COLUMNS) + "\n")
        for statement in sorted(statements, key=lambda name: name.encode()):
            with open(statement, "rb") as document:
                content = json.load(document)
            team = content["team"]
            file.writelines(row(team, line) for line in content["lines"])
            count += len(content["lines"])
    return count


def row(team, line):
    unknown = line.keys() - set(COLUMNS)
    if unknown:
        raise ValueError(f"a line of {team} has fields that are not compared: {sorted(unknown)}")
    values = [team] + [fixed(line[name]) if name in AMOUNTS and name in line else line.get(name, "")
                       for name in COLUMNS[1:]]
    return ",".join(values) + "\n"


def fixed(amount):
    """With all twelve decimals, as DECIMAL(38,12) prints it."""
    whole, _, fraction = amount.partition(".")
    return f"{whole}.{fraction:0<12}"


def differences(ours, theirs):
    """What differs, told in a few lines; empty where the files are the same byte for byte."""
    with open(ours, "rb") as one, open(theirs, "rb") as other:
        if all(a == b for a, b in itertools.zip_longest(chunks(one), chunks(other))):
            return []
    with open(ours) as one, open(theirs) as other:
        mine, their = one.read().splitlines(), other.read().splitlines()
    only_mine, only_their = keyed(set(mine) - set(their)), keyed(set(their) - set(mine))
    if not only_mine and not only_their:
        return [f"the same {len(mine)} lines in another order, or repeated ({len(their)})"]
    told = [f"{len(only_mine)} of {len(mine)} lines are only ours, {len(only_their)} of {len(their)} only theirs"]
    for key in sorted(only_mine.keys() | only_their.keys())[:DIFFERENCES_TOLD]:
        for name, lines in (("ours  ", only_mine), ("theirs", only_their)):
            rests = " ".join(",".join(rest) for rest in lines.get(key, []))
            told.append(f"  {name} {','.join(key)} -> {rests or 'no line'}")
    return told


def chunks(file):
    return iter(lambda: file.read(1 << 20), b"")


def keyed(lines):
    """Lines by their dimensions."""
    by_key = {}
    for line in lines:
        fields = line.split(",")
        by_key.setdefault(tuple(fields[:KEY]), []).append(fields[KEY:])
    return by_key
