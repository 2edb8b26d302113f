"""The same month in recoup: how it is loaded, and how it is closed."""

import datetime
import json
import os
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
RECOUP = os.path.join(ROOT, "target", "release", "recoup")
# More than `soft_close_days`.
CLOSE_AFTER_DAYS = 5


def closing(month):
    """The commands that are timed: from stored blocks to statements on disk."""
    as_of = month.next + datetime.timedelta(CLOSE_AFTER_DAYS)
    return [["close", month.name, "--run-missing-nights", "--as-of", f"{as_of}T00:00:00Z"]]


def nights():
    """The command that leaves nothing to do but what arrives late."""
    return ["nightly", "--all"]


def documents(data):
    """Where the statements are."""
    return os.path.join(data, "documents")


def run(data, command, output=subprocess.DEVNULL):
    """Runs a command; its seconds and its peak memory in MB."""
    os.makedirs(data, exist_ok=True)
    report = f"{data}.usage"
    with open(f"{data}.log", "ab") as log:
        measure = [sys.executable, "-I", "-S", os.path.join(HERE, "measure.py"), report]
        subprocess.run([*measure, RECOUP, "--data", data, *command], check=True, stdout=output, stderr=log)
    with open(report) as file:
        code, seconds, peak_mb = json.load(file)
    if code:
        sys.exit(f"recoup {' '.join(command)} failed; see {data}.log")
    return seconds, peak_mb


def ingest(data, events, accepted, duplicate=0):
    """Sends events; every one of them has to be taken as what it is."""
    answer = f"{data}.answer"
    with open(answer, "wb") as output:
        seconds, _ = run(data, ["--json", "ingest", events], output)
    with open(answer) as file:
        receipt = json.load(file)
    wanted = {"accepted": accepted, "duplicate": duplicate, "conflict": 0, "rejected": 0}
    if any(receipt[name] != count for name, count in wanted.items()):
        sys.exit(f"{events}: ingest answered {receipt}, not {wanted}")
    return seconds


def load(data, organisation, events, counts):
    """A new data folder with the month's events; the seconds that ingest took."""
    shutil.rmtree(data, ignore_errors=True)
    run(data, ["apply", organisation, "--yes"])
    return ingest(data, events, counts["spans"], counts["deliveries"] - counts["spans"])


def copy(source, data):
    """A copy to close; what was written is on disk before anything is timed."""
    shutil.rmtree(data, ignore_errors=True)
    shutil.copytree(source, data)
    os.sync()


def close(data, month):
    """Nights and close; the seconds of each command and the largest peak memory in MB."""
    measured = [run(data, command) for command in closing(month)]
    return [seconds for seconds, _ in measured], max(peak for _, peak in measured)
