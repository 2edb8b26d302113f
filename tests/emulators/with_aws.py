#!/usr/bin/env python3
"""Runs a command against a fresh emulator of AWS.

    with_aws.py ministack|moto -- COMMAND [ARGUMENT...]

Starts the emulator on a free port of this machine with nothing in it, waits until it answers, sets AWS_ENDPOINT_URL, test
credentials and a region, and RECOUP_TEST_AWS to the emulator's name; runs the command, ends the emulator by its process id,
and exits with the command's exit code. Run it with the interpreter whose environment has `requirements.txt` installed.
"""

import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

PATIENCE_S = 60
ATTEMPTS = 5
REGION = "eu-central-1"
# moto undoes a refused transaction by putting its whole table back, and with it what others wrote meanwhile: it has to
# answer one request after the other.
ONE_AT_A_TIME = """
from moto import server
run = server.run_simple
server.run_simple = lambda *given, **named: run(*given, **{**named, "threaded": False})
server.main()
"""
HEALTH = {"ministack": "/_ministack/health", "moto": "/moto-api/"}


def emulator_command(name, port):
    """How an emulator is started, and what its environment has to say besides."""
    programs = pathlib.Path(sys.executable).parent
    if name == "ministack":
        own = {"GATEWAY_PORT": str(port), "BIND_HOST": "127.0.0.1", "MINISTACK_REGION": REGION}
        return [str(programs / "ministack")], own
    return [sys.executable, "-c", ONE_AT_A_TIME, "-H", "127.0.0.1", "-p", str(port)], {}


def credentials():
    """What every client of an emulator needs, and nothing of the caller's own account."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return kept | {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


def free_port():
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(url):
    """Whether the emulator is there."""
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            return reply.status == 200
    except (urllib.error.URLError, OSError):
        return False


def start(name, folder, log):
    """The emulator's process and its address; another port where the first was taken."""
    for _ in range(ATTEMPTS):
        port = free_port()
        command, extra = emulator_command(name, port)
        # A session of its own, so that what it starts can be ended with it.
        options = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log, "start_new_session": True}
        process = subprocess.Popen(command, env=credentials() | extra, cwd=folder, **options)
        deadline = time.monotonic() + PATIENCE_S
        while process.poll() is None and time.monotonic() < deadline:
            if answers(f"http://127.0.0.1:{port}{HEALTH[name]}"):
                return process, f"http://127.0.0.1:{port}"
            time.sleep(0.1)
        stop(process)
    return None, None


def stop(process):
    """Ends the emulator with what it started; by force where it does not listen."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def main():
    if len(sys.argv) < 4 or sys.argv[1] not in HEALTH or sys.argv[2] != "--":
        sys.exit(__doc__)
    name, command = sys.argv[1], sys.argv[3:]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(f"with_aws: told to end while {name} was running"))
    with tempfile.TemporaryDirectory(prefix="recoup-aws-") as folder:
        log_path = pathlib.Path(folder) / "emulator.log"
        with log_path.open("wb") as log:
            emulator, url = start(name, folder, log)
        if emulator is None:
            sys.exit(f"with_aws: {name} did not start\n{log_path.read_text(encoding='utf-8', errors='replace')}")
        try:
            ours = {"AWS_ENDPOINT_URL": url, "RECOUP_TEST_AWS": name}
            code = subprocess.run(command, env=credentials() | ours).returncode
            died = emulator.poll()
        finally:
            stop(emulator)
        if died is not None:
            sys.exit(f"with_aws: {name} ended with {died}\n{log_path.read_text(encoding='utf-8', errors='replace')}")
        sys.exit(code)


if __name__ == "__main__":
    main()
