#!/usr/bin/env python3
"""Applies every upgrade of stored data that is not applied yet, in the order of their numbers.

    apply.py EVENTS_TABLE BOOKS_TABLE      with the credentials and the region of the environment

Prints one word per upgrade: its name and `applied` or `standing`. Applying it again changes nothing.
"""

import importlib.util
import pathlib
import sys

import boto3


def upgrades():
    """The steps beside this file: `NNNN-what-it-does.py`, each with `apply(client, events_table, books_table) -> bool`."""
    for path in sorted(pathlib.Path(__file__).parent.glob("[0-9][0-9][0-9][0-9]-*.py")):
        spec = importlib.util.spec_from_file_location(path.stem.replace("-", "_"), path)
        step = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(step)
        yield path.stem, step


def main():
    events_table, books_table = sys.argv[1:3]
    client = boto3.client("dynamodb")
    for name, step in upgrades():
        print(f"{name}:{'applied' if step.apply(client, events_table, books_table) else 'standing'}")


if __name__ == "__main__":
    main()
