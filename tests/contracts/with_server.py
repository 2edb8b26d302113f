#!/usr/bin/env python3
"""Runs a command against a fresh recoup server.

    with_server.py BIN COMMAND [ARGUMENT...]

Starts `BIN --data TMP serve` on a free port of this machine, in a new data folder with an organisation and an admin key, runs the
command with the server's URL and the key appended, ends the server by its process id, and exits with the command's exit code.
"""

import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

PATIENCE_S = 30
ATTEMPTS = 5

ORGANISATION = """\
[organisation]
name = "Contracts"
currency = "USD"
time_zone = "Europe/Berlin"
[policy]
extra_tags = ["campaign"]
[[teams]]
id = "support"
[[teams]]
id = "marketing"
[[agents]]
id = "triage"
owner = "support"
billing = "task"
[[agents]]
id = "guardrail"
owner = "support"
shared_pool = "safety"
[[pools]]
id = "safety"
basis = "invocations"
[[task_types]]
id = "research"
cap = "2"
[[budgets]]
scope = "organisation"
limit = "90000"
[[budgets]]
scope = "team:support"
period = "day"
limit = "0.5"
[[prices]]
provider = "example"
model = "example-large"
from = "2025-01-01"
per_million = { input = "3.00", output = "15.00" }
"""


def environment():
    """Ours, without what it may say to the binary."""
    return {name: value for name, value in os.environ.items() if not name.startswith("RECOUP_")}


def run(binary, data, *arguments):
    """A verb that has to succeed; returns what it answered."""
    command = [binary, "--data", data, *arguments]
    done = subprocess.run(command, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"with_server: {' '.join(command)} ended with {done.returncode}")
    return done.stdout


def prepare(binary, folder):
    """Makes books with an organisation; returns the data folder and an admin key."""
    data, organisation = str(folder / "data"), folder / "recoup.toml"
    organisation.write_text(ORGANISATION, encoding="utf-8")
    run(binary, data, "apply", str(organisation))
    return data, json.loads(run(binary, data, "--json", "keys", "create", "--role", "admin"))["key"]


def free_port():
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(url, path="/healthz"):
    """Whether the server is there."""
    try:
        with urllib.request.urlopen(f"{url}{path}", timeout=5) as reply:
            return reply.status == 200
    except (urllib.error.URLError, OSError):
        return False


def start(binary, data, log, more=None):
    """The server's process and its address; another port where the first was taken. `more` is added to its environment."""
    for _ in range(ATTEMPTS):
        address = f"127.0.0.1:{free_port()}"
        command = [binary, "--data", data, "serve", "--listen", address]
        server = subprocess.Popen(command, env={**environment(), **(more or {})}, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + PATIENCE_S
        while server.poll() is None and time.monotonic() < deadline:
            if answers(f"http://{address}"):
                return server, f"http://{address}"
            time.sleep(0.05)
        stop(server)
    return None, None


def stop(server):
    """Ends the server; by force where it does not listen."""
    if server.poll() is None:
        server.terminate()
    try:
        server.wait(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    binary, command = str(pathlib.Path(sys.argv[1]).resolve()), sys.argv[2:]
    if not os.access(binary, os.X_OK):
        sys.exit(f"with_server: {binary} is not there; run `cargo build -p recoup`")
    with tempfile.TemporaryDirectory(prefix="recoup-") as folder:
        folder = pathlib.Path(folder)
        log_path = folder / "server.log"
        data, key = prepare(binary, folder)
        with log_path.open("wb") as log:
            server, url = start(binary, data, log)
        if server is None:
            sys.exit(f"with_server: the server did not start\n{log_path.read_text(encoding='utf-8', errors='replace')}")
        try:
            code = subprocess.run([*command, url, key]).returncode
            died = server.poll()
        finally:
            stop(server)
        if died is not None:
            sys.exit(f"with_server: the server ended with {died}\n{log_path.read_text(encoding='utf-8', errors='replace')}")
        sys.exit(code)


if __name__ == "__main__":
    main()
