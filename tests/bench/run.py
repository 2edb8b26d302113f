"""Runs the benchmarks against the release build; called by tests/bench/{blocks,ingest,lanes,nightly}."""

import argparse
import collections
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
RECOUP = os.path.join(ROOT, "target", "release", "recoup")


def build(*arguments):
    subprocess.run(["cargo", "build", "--release", "--quiet", *arguments], cwd=ROOT, check=True)


def recoup(data, *arguments, capture=False):
    return subprocess.run([RECOUP, "--data", data, *arguments], check=True, text=True,
                          stdout=subprocess.PIPE if capture else subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def sample(folder, spans, seed):
    events, organisation = os.path.join(folder, "events.ndjson"), os.path.join(folder, "recoup.toml")
    recoup(folder, "sample", "--spans", str(spans), "--seed", str(seed), "--from", first_of_last_month(),
           "--output", events, "--organisation", organisation)
    return events, organisation


def first_of_last_month():
    now = time.gmtime()
    year, month = (now.tm_year, now.tm_mon - 1) if now.tm_mon > 1 else (now.tm_year - 1, 12)
    return f"{year:04}-{month:02}-01"


def blocks(options, folder):
    build("-p", "recoup", "-p", "recoup-bench")
    events, _ = sample(folder, options.spans, options.seed)
    subprocess.run([os.path.join(ROOT, "target", "release", "blocks"), events], check=True)


def free_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


def ingest(options, folder):
    build("-p", "recoup", "-p", "recoup-bench")
    events, organisation = sample(folder, options.spans, options.seed)
    data = os.path.join(folder, "data")
    recoup(data, "apply", organisation, "--yes")
    key = json.loads(recoup(data, "keys", "create", "--role", "ingest", "--json", capture=True).stdout)["key"]
    port = free_port()
    server = subprocess.Popen([RECOUP, "--data", data, "serve", "--listen", f"127.0.0.1:{port}"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        for _ in range(100):
            try:
                urllib.request.urlopen(url + "/healthz", timeout=1)
                break
            except OSError:
                time.sleep(0.1)
        subprocess.run([os.path.join(ROOT, "target", "release", "ingest_load"), events, url, key, str(options.batch),
                        str(options.connections), str(options.rounds)], check=True)
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(30)


def timed(data, *arguments):
    """Wall seconds and peak memory in MB of one command."""
    started = time.monotonic()
    process = subprocess.Popen([RECOUP, "--data", data, *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"recoup {' '.join(arguments)} failed")
    return round(time.monotonic() - started, 3), usage.ru_maxrss // 1024


def nightly(options, folder):
    build("-p", "recoup")
    events, organisation = sample(folder, options.spans, options.seed)
    data = os.path.join(folder, "data")
    recoup(data, "apply", organisation, "--yes")
    month = first_of_last_month()[:7]
    result = {"bench": "nightly", "spans": options.spans}
    result["ingest_s"], result["ingest_mb"] = timed_ok(data, "ingest", events)
    result["nightly_s"], result["nightly_mb"] = timed(data, "nightly", "--all")
    result["nightly_again_s"], _ = timed(data, "nightly", "--all")
    later = time.strftime("%Y-%m-%dT00:00:00Z", time.gmtime(time.time() + 40 * 86400))
    result["close_s"], result["close_mb"] = timed(data, "close", month, "--as-of", later)
    result["data_mb"] = sum(os.path.getsize(os.path.join(where, name)) for where, _, names in os.walk(data)
                            for name in names) >> 20
    print(json.dumps(result))


def lanes(options, folder):
    """The same month in more and more lanes: how evenly they split it, and that no figure moves."""
    build("-p", "recoup")
    events, organisation = sample(folder, options.spans, options.seed)
    with open(organisation, encoding="utf-8") as file:
        text = file.read()
    month = first_of_last_month()[:7]
    rows, statements = [], []
    for count in (1, 4, 16, 64):
        data, own = os.path.join(folder, f"lanes-{count}"), os.path.join(folder, f"lanes-{count}.toml")
        with open(own, "w", encoding="utf-8") as file:
            file.write(re.sub(r"(?m)^lanes = .*\n", "", text).replace("[policy]", f"[policy]\nlanes = {count}", 1))
        recoup(data, "apply", own, "--yes")
        timed_ok(data, "ingest", events)
        started = time.monotonic()
        outcome = json.loads(recoup(data, "nightly", "--all", "--json", capture=True).stdout)
        seconds = time.monotonic() - started
        days = (outcome.get("outcome") or outcome)["days"]
        parts = collections.defaultdict(dict)
        for day in days:
            parts[day["day"]][day["lane"]] = day["events"]
        total = sum(day["events"] for day in days)
        # A worker per lane: a night lasts as long as its largest lane. One lane takes what was measured for all of them.
        largest = sum(max(part.values()) for part in parts.values())
        rows.append({"lanes": count, "parts": len(days), "events": total, "all_parts_s": round(seconds, 2),
                     "largest_lane_share": round(largest / total, 4), "ideal_share": round(1 / count, 4),
                     "speed_up_with_a_worker_each": round(total / largest, 1)})
        later = time.strftime("%Y-%m-%dT00:00:00Z", time.gmtime(time.time() + 40 * 86400))
        recoup(data, "close", month, "--as-of", later)
        statements.append({team: lines_of(data, team, month) for team in teams(data, month)})
    equal = all(one == statements[0] for one in statements)
    print(json.dumps({"bench": "lanes", "spans": options.spans, "rows": rows, "lines_equal": equal}))
    if not equal:
        sys.exit("the lines differ between numbers of lanes")


def teams(data, month):
    rows = json.loads(recoup(data, "statements", month, "--json", capture=True).stdout)
    return sorted(row["team"] for row in rows["rows"])


def lines_of(data, team, month):
    return json.loads(recoup(data, "statement", team, month, "--format", "json", capture=True).stdout)["lines"]


def timed_ok(data, *arguments):
    """As `timed`, but conflicts planted in the sample (exit code 1) are no failure."""
    started = time.monotonic()
    process = subprocess.Popen([RECOUP, "--data", data, *arguments], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status) not in (0, 1):
        sys.exit(f"recoup {' '.join(arguments)} failed")
    return round(time.monotonic() - started, 3), usage.ru_maxrss // 1024


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bench", choices=["blocks", "ingest", "lanes", "nightly"])
    parser.add_argument("--spans", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--batch", type=int, default=500)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.TemporaryDirectory() as folder:
        {"blocks": blocks, "ingest": ingest, "lanes": lanes, "nightly": nightly}[options.bench](options, folder)


if __name__ == "__main__":
    main()
